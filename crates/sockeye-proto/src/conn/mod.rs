//! One WebSocket connection after its handshake, without I/O.
//!
//! Receiving (`receive`), sending (`send`), control frames (`control`), the closing handshake (`closing`) and keepalive
//! (`keepalive`) are files of their own over one [`Connection`]; `state` names what they share.

mod closing;
mod control;
mod keepalive;
mod receive;
mod send;
mod state;
#[cfg(test)]
mod tests;

use alloc::sync::Arc;

use self::closing::CloseHandshake;
use self::control::ControlQueue;
use self::receive::Receiver;
use crate::limits::ProtocolLimits;
use crate::time::Instant;
use crate::wire::{MessageKind, Role};

pub use self::control::{ControlPayload, PayloadTooLong};
pub use self::send::SendError;
pub use self::state::State;
pub use crate::buf::{HEADROOM, Input};

/// One end of an established WebSocket connection.
///
/// It never touches a socket, a clock or a random source: bytes, ticks and masking keys are handed in.
///
/// # Order of calls
///
/// * When bytes have arrived: make an [`Input`] of them and call [`receive`](Self::receive) until it says `Ok(None)` or an error,
///   then [`receive_done`](Self::receive_done) once. After each event, while the output takes data, [`transmit`](Self::transmit).
/// * When the peer has ended its side: [`handle_eof`](Self::handle_eof). When reading or writing failed:
///   [`handle_reset`](Self::handle_reset).
/// * To send data: [`frame`](Self::frame) gives the header; put it and the payload on the wire after everything before it.
/// * [`close`](Self::close), [`ping`](Self::ping) and [`handle_timeout`](Self::handle_timeout) only queue:
///   [`transmit`](Self::transmit) whenever [`wants_transmit`](Self::wants_transmit).
/// * When the output is empty, that is when the transport took all that was appended, and the [`state`](Self::state) is
///   [`State::Draining`]: [`handle_flushed`](Self::handle_flushed).
/// * After any of these calls, ask [`state`](Self::state) (end the TCP connection when it is [`State::Ended`]) and
///   [`next_deadline`](Self::next_deadline) (call [`handle_timeout`](Self::handle_timeout) then).
/// * When it is over, [`closed`](Self::closed) tells why.
///
/// A server ends TCP as soon as both Close frames are through and its own is flushed; a client waits for the server to do so, for
/// [`ProtocolLimits::close_timeout`] at most.
///
/// # Memory
///
/// A data frame never makes a connection allocate. Memory is taken for an incomplete control frame at the end of an input, for a
/// ping or pong with a payload that waits to be sent, and for the Close frames.
#[derive(Debug)]
pub struct Connection {
    limits: Arc<ProtocolLimits>,
    receiver: Receiver,
    control: ControlQueue,
    handshake: CloseHandshake,
    /// The last sign of life of the peer.
    activity: Instant,
    /// While open: when the keepalive ping that is not answered yet was queued. After that: when the closing handshake must be
    /// over. `None`: not running.
    timer: Option<Instant>,
    state: State,
    role: Role,
    /// The unfinished message that we send.
    sending: Option<MessageKind>,
}

impl Connection {
    /// A connection whose handshake is complete, as seen by `role`.
    #[must_use]
    pub fn new(role: Role, limits: Arc<ProtocolLimits>, now: Instant) -> Self {
        Self {
            limits,
            receiver: Receiver::default(),
            control: ControlQueue::default(),
            handshake: CloseHandshake::default(),
            activity: now,
            timer: None,
            state: State::Open,
            role,
            sending: None,
        }
    }

    /// Which end this is.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// How far the connection is.
    #[must_use]
    #[inline]
    pub const fn state(&self) -> State {
        self.state
    }
}
