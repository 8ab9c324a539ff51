//! The type that the other files of this folder add methods to.

use alloc::sync::Arc;

use super::close_handshake::CloseHandshake;
use super::control::ControlQueue;
use super::receiver::Receiver;
use super::state::State;
use crate::ext::deflate::Agreed;
use crate::limits::ProtocolLimits;
use crate::time::Instant;
use crate::wire::{MessageKind, Role};

/// One end of an established WebSocket connection.
///
/// It never touches a socket, a clock or a random source: the caller supplies bytes, the time and
/// masking keys.
///
/// # Order of calls
///
/// * When bytes have arrived: make an [`Input`](super::Input) of them and call
///   [`receive`](Self::receive) until it returns `Ok(None)` or an error, then call
///   [`receive_done`](Self::receive_done) once. Call [`transmit`](Self::transmit) after each event,
///   as long as the output accepts data.
/// * When [`receive`](Self::receive) returns [`Event::Compressed`](crate::event::Event::Compressed), which happens only
///   [`with_deflate`](Self::with_deflate): call [`inflate`](Self::inflate) with the same input, once, and go on with `receive`,
///   until that returns `Ok(None)`. One may stop before, keep the rest of the input, and go on later.
/// * When the peer has ended its side of the stream: [`handle_eof`](Self::handle_eof). When reading
///   or writing failed: [`handle_reset`](Self::handle_reset).
/// * To send data: [`frame`](Self::frame) returns the frame header. Put it and the payload on the
///   wire, after all earlier output.
/// * [`close`](Self::close), [`ping`](Self::ping), [`pong`](Self::pong) and
///   [`handle_timeout`](Self::handle_timeout) only queue frames. Call [`transmit`](Self::transmit) whenever
///   [`wants_transmit`](Self::wants_transmit) is true.
/// * When the output is empty (the transport has accepted everything) and the
///   [`state`](Self::state) is [`State::Draining`]: [`handle_flushed`](Self::handle_flushed).
/// * After any of these calls, check [`state`](Self::state): at [`State::Ended`], end the TCP
///   connection. Call [`handle_timeout`](Self::handle_timeout) at
///   [`next_deadline`](Self::next_deadline).
/// * After the end, [`closed`](Self::closed) returns the reason.
///
/// A server ends the TCP connection as soon as both Close frames are through and its own is
/// flushed. A client waits for the server to do so, at most for [`ProtocolLimits::close_timeout`].
///
/// # Memory
///
/// A data frame never causes an allocation. (What is kept of compressed ones is outside, in an [`Inflation`](super::Inflation).) A
/// connection allocates for an incomplete control frame at the end of an input, for a ping or pong with a payload that waits to
/// be sent, and for the Close frames.
#[derive(Debug)]
pub struct Connection {
    pub(super) limits: Arc<ProtocolLimits>,
    pub(super) receiver: Receiver,
    pub(super) control: ControlQueue,
    pub(super) handshake: CloseHandshake,
    /// When the peer was last heard from.
    pub(super) activity: Instant,
    /// While open: when the unanswered keepalive ping was queued. Later: the deadline of the
    /// closing handshake. `None`: not running.
    pub(super) timer: Option<Instant>,
    pub(super) state: State,
    pub(super) role: Role,
    /// The kind of the unfinished message that we are sending.
    pub(super) sending: Option<MessageKind>,
    pub(super) deflate: Option<Agreed>,
}

impl Connection {
    /// A connection whose opening handshake is complete, as seen by `role` at the time `now`.
    #[must_use]
    pub fn new(role: Role, limits: Arc<ProtocolLimits>, now: Instant) -> Self {
        Self {
            receiver: Receiver::new(limits.piece_bytes),
            limits,
            control: ControlQueue::default(),
            handshake: CloseHandshake::default(),
            activity: now,
            timer: None,
            state: State::Open,
            role,
            sending: None,
            deflate: None,
        }
    }

    /// The same connection with compression of messages (RFC 7692), as both sides agreed in the opening handshake: it reports
    /// [`Event::Compressed`](crate::event::Event::Compressed), and [`frame_compressed`](Self::frame_compressed) may be used.
    #[must_use]
    pub fn with_deflate(self, agreed: Agreed) -> Self {
        Self { deflate: Some(agreed), ..self }
    }

    /// What both sides agreed on compression; `None`: messages are not compressed.
    #[must_use]
    #[inline]
    pub const fn deflate(&self) -> Option<Agreed> {
        self.deflate
    }

    /// Which end this is.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// How many payload bytes have arrived of the message that is being received, of a compressed one as they were sent;
    /// `None` between messages.
    #[must_use]
    pub fn received_bytes(&self) -> Option<u64> {
        self.receiver.kind.map(|_| self.receiver.message - self.receiver.remaining)
    }

    /// Its limits.
    #[must_use]
    #[inline]
    pub fn limits(&self) -> &Arc<ProtocolLimits> {
        &self.limits
    }

    /// Replaces the limits, from the next frame on: a peer that has logged in may send more than a stranger.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use sockeye_proto::{conn::Connection, limits::ProtocolLimits, time::Instant, wire::Role};
    /// let stranger = Arc::new(ProtocolLimits::default());
    /// let mut friend = ProtocolLimits::default();
    /// friend.message_bytes *= 4;
    /// let mut connection = Connection::new(Role::Server, stranger, Instant::from_nanos(0));
    /// connection.set_limits(Arc::new(friend));
    /// assert_eq!(connection.limits().message_bytes, 64 * 1024 * 1024);
    /// ```
    pub fn set_limits(&mut self, limits: Arc<ProtocolLimits>) {
        self.receiver.pieces_change(limits.piece_bytes);
        self.limits = limits;
    }

    /// The current state.
    #[must_use]
    #[inline]
    pub const fn state(&self) -> State {
        self.state
    }
}
