//! What a program implements and uses: the trait [`Protocol`], the traits [`Raw`] and [`Watcher`] for connections and
//! descriptors that are not WebSockets, and the views that callbacks borrow.
//!
//! Everything here that acts on a connection lives no longer than one callback, and none of it can leave the loop's
//! thread. Sending exists only on a [`Writable`], which only the writable callback is given.

pub(crate) mod answering;
mod commands;
#[cfg(feature = "client")]
mod connects;
pub(crate) mod cx;
mod debug;
pub(crate) mod end;
pub(crate) mod endpoint;
pub(crate) mod handle;
mod handshake;
mod push_error;
pub(crate) mod raw;
mod request;
pub(crate) mod request_views;
pub(crate) mod responder;
#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
mod secures;
mod sessions;
pub(crate) mod topics;
mod tx;
mod unknown;
pub(crate) mod views;
pub(crate) mod watch;

use std::time::Duration;

use sockeye_proto::close::{Close, CloseCode, Closed};
use sockeye_proto::conn::ControlPayload;
use sockeye_proto::event::Fragment;

pub(crate) use self::answering::{Answering, ResponseFault, ResponsePort, ResponseTx};
pub(crate) use self::cx::Outlet;
pub use self::cx::{ClosedCx, Cx};
pub(crate) use self::cx::{RawClosedCx, RawCx};
pub(crate) use self::end::{RawClose, RawClosed};
pub use self::handle::ProtocolHandle;
pub(crate) use self::handle::{EndpointHandle, HandleTarget, ResponderHandle};
pub use self::handshake::Handshake;
pub use self::push_error::PushError;
pub(crate) use self::raw::{Raw, RawSendCx, RawWritable};
pub use self::request::Request;
pub(crate) use self::request_views::{RequestClosedCx, RequestCx, ResponderMut};
pub(crate) use self::responder::{RequestEnd, RequestTimeout, Responder};
pub(crate) use self::tx::SendCx;
pub use self::tx::{AfterFragment, AfterSend, BinaryFragments, Fragmented, TextFragments, Tx, Writable};
pub use self::unknown::UnknownProtocol;
pub(crate) use self::views::EndpointMut;
pub use self::views::{ConnectionMut, ProtocolMut};
pub(crate) use self::watch::Watcher;
pub use crate::admission::Decision;
pub use crate::id::{ConnId, Gone, InvalidConnId};
pub use crate::limits::Keepalive;
pub use crate::limits::MessageLimits;
pub use crate::state::Commands;

/// A WebSocket protocol: the callbacks for all connections that chose it by its name, or by its path.
///
/// One object serves all of them, so its fields are what they share, without a lock. Each has a
/// [`Session`](Self::Session) of its own. Messages arrive in pieces; [`messages`](crate::messages) is the layer for whole ones.
///
/// ```
/// use sockeye::{Close, Cx, Fragment, Handshake, Protocol, Service, Tx};
///
/// /// Answers each message with its size.
/// struct Sizes;
///
/// impl Protocol for Sizes {
///     type Session = usize;
///
///     fn name(&self) -> &str {
///         "sizes"
///     }
///
///     fn open(&mut self, _: &mut Cx<'_>, _: &Handshake<'_>) -> usize {
///         0
///     }
///
///     fn receive(&mut self, cx: &mut Cx<'_>, size: &mut usize, fragment: Fragment<'_>) -> Result<(), Close> {
///         *size += fragment.payload.as_bytes().len();
///         if fragment.last {
///             cx.request_writable();
///             cx.pause_reading(); // the next message waits until this one is answered
///         }
///         Ok(())
///     }
///
///     fn writable(&mut self, cx: &mut Cx<'_>, size: &mut usize, tx: Tx<'_>) -> Result<(), Close> {
///         if let Some(permission) = tx.idle() {
///             permission.text(&std::mem::take(size).to_string());
///         }
///         cx.resume_reading();
///         Ok(())
///     }
/// }
/// # Service::builder().protocol(Sizes).build().unwrap();
/// ```
///
/// The callbacks of one connection come in this order: `filter` (only if the peer connected to us), `open`, then any of
/// `receive`, `writable`, `ping`, `pong`, `ping_due` and `timer`, then at most once `closing`, then `closed`. `closed` comes exactly
/// once for each `open`, and no callback after it. No callback runs inside another: what a callback requests from its
/// [`Cx`] is carried out after it has returned.
///
/// Returning `Err(close)` from a callback starts the closing handshake with that code and reason.
/// Once a close has started, from either side, `receive`, `ping`, `pong` and `ping_due` are no longer called; `timer` still
/// is.
/// `writable` is called at most once more, if it was requested before that or in `closing`; our Close frame waits for
/// it.
///
/// A panic in a callback is not caught: it unwinds through the loop.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a WebSocket protocol",
    label = "the trait `Protocol` is not implemented for it",
    note = "for a closure that gets whole messages: `messages::on(name, |cx, message| ..)`",
    note = "for a `messages::Handler`: `messages::with(name, handler)`",
    note = "for a `Raw` or a `Watcher`: `Builder::raw` or `Builder::watcher`"
)]
pub trait Protocol: 'static {
    /// The state of one connection.
    type Session: 'static;

    /// The token of `Sec-WebSocket-Protocol` (RFC 6455 section 1.9) that chooses this protocol.
    fn name(&self) -> &str;

    /// Decides on a handshake: accepted, refused with a status, or [later](Decision::later). The request has already passed
    /// the rules of RFC 6455 and the lists of origins and hosts. The default accepts it.
    fn filter(&mut self, request: &Request<'_>) -> Decision {
        let _ = request;
        Decision::accept()
    }

    /// The connection is open. Returns its session.
    fn open(&mut self, cx: &mut Cx<'_>, handshake: &Handshake<'_>) -> Self::Session;

    /// A piece of a message arrived. The network decides where pieces are cut, so only their
    /// concatenation has a meaning; see [`crate::messages`] for whole messages. A message ends with
    /// the piece that is `last`, which may be empty.
    ///
    /// # Errors
    /// The close to start.
    fn receive(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session, fragment: Fragment<'_>) -> Result<(), Close>;

    /// At least 64 KiB of a frame of binary data are missing, of a message of which [`receive`](Self::receive) had the
    /// beginning. Returns the buffer behind whose content they are to be received, without a copy; `None`, the default: they
    /// come in pieces, to `receive`.
    ///
    /// The loop makes room, receives what has arrived, and hands the buffer to [`take_back`](Self::take_back), before any
    /// other callback. For layers such as [`messages`](crate::messages).
    ///
    /// ```
    /// use sockeye::{Close, Cx, Fragment};
    ///
    /// /// A session that collects a message.
    /// #[derive(Default)]
    /// struct Upload {
    ///     bytes: Vec<u8>,
    /// }
    ///
    /// // In an implementation of `Protocol`:
    /// fn receive(_: &mut Cx<'_>, upload: &mut Upload, fragment: Fragment<'_>) -> Result<(), Close> {
    ///     upload.bytes.extend_from_slice(fragment.payload.as_bytes());
    ///     if fragment.last {
    ///         println!("{} bytes", upload.bytes.len());
    ///     }
    ///     Ok(())
    /// }
    ///
    /// fn lend_buffer(_: &mut Cx<'_>, upload: &mut Upload, _missing: u64) -> Option<Vec<u8>> {
    ///     Some(std::mem::take(&mut upload.bytes))
    /// }
    ///
    /// fn take_back(_: &mut Cx<'_>, upload: &mut Upload, bytes: Vec<u8>) -> Result<(), Close> {
    ///     upload.bytes = bytes;
    ///     Ok(())
    /// }
    /// # let _ = (receive, lend_buffer, take_back);
    /// ```
    fn lend_buffer(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session, missing: u64) -> Option<Vec<u8>> {
        let _ = (cx, session, missing);
        None
    }

    /// The buffer of [`lend_buffer`](Self::lend_buffer), and what came behind its content: the next bytes of the message,
    /// unmasked, if any came. If the message ends with them, [`receive`](Self::receive) is called next, with a last piece that is
    /// empty. The default fails: a protocol that lends takes back.
    ///
    /// # Errors
    /// The close to start.
    fn take_back(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session, buffer: Vec<u8>) -> Result<(), Close> {
        let _ = session;
        cx.give_buffer(buffer);
        tracing::warn!(protocol = self.name(), "it lends a buffer and does not take it back; the connection is closed");
        Err(CloseCode::INTERNAL.into())
    }

    /// The socket can take data, and a writable callback was requested, for instance by
    /// [`ConnectionMut::request_writable`]. Several requests before the call count as one. To be called again, request it
    /// again.
    ///
    /// # Errors
    /// The close to start.
    fn writable(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session, tx: Tx<'_>) -> Result<(), Close>;

    /// The bytes of the current read are about to be overwritten. Called only if [`Cx::keep_input`] asked for it.
    ///
    /// A callback may keep [ranges of the input](Cx::input_range) until then, so that data sent in
    /// the same step needs no copy: [`writable`](Self::writable), which comes before this, sends
    /// from [`Cx::input`]. Copy what you still need now, for example to a buffer of the loop
    /// ([`Commands::take_buffer`]). For layers such as [`messages`](crate::messages).
    fn release_input(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session) {
        let _ = (cx, session);
    }

    /// The peer's Close frame arrived, and ours has not been sent: the last chance to send something.
    ///
    /// Everything that the peer sent before it has been delivered; it sends nothing more. The answer, with the same
    /// code, is queued, so a close requested here has no effect. If [`request_writable`](ConnectionMut::request_writable)
    /// was called before or is called here, [`writable`](Self::writable) is called once more. RFC 6455 section 5.5.1:
    /// "An endpoint MAY delay sending a Close frame until its current message is sent". Then the answer leaves, and
    /// [`closed`](Self::closed) follows. All of this together has
    /// [`close_timeout`](sockeye_proto::limits::ProtocolLimits::close_timeout).
    ///
    /// It is called at most once, also when both sides close at the same time. It is not called when the frame answers
    /// a Close frame of ours, when the peer broke a rule, or when the TCP connection ends without a Close frame. While
    /// reading is paused the frame is not read.
    ///
    /// ```
    /// use sockeye::{Close, CloseCode, Cx};
    ///
    /// // In an implementation of `Protocol`:
    /// fn closing(cx: &mut Cx<'_>, report: &mut Option<String>, received: &Close) {
    ///     if received.code() == Some(CloseCode::NORMAL) {
    ///         *report = Some("all of yours was stored".to_owned());
    ///         cx.request_writable(); // `writable` sends it before the answer to the Close frame
    ///     }
    /// }
    /// # let _ = closing;
    /// ```
    fn closing(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session, received: &Close) {
        let _ = (cx, session, received);
    }

    /// The peer reads again: the bytes that wait for it had reached
    /// [`Limits::output_low_water`](crate::Limits::output_low_water), and are fewer now. A program that stops pushing while
    /// [`queued_bytes`](ConnectionMut::queued_bytes) is high goes on here.
    ///
    /// # Errors
    /// The close to start.
    fn low_water(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session) -> Result<(), Close> {
        let _ = (cx, session);
        Ok(())
    }

    /// The connection has ended. The session is passed by value: no callback follows.
    fn closed(&mut self, cx: &mut ClosedCx<'_>, session: Self::Session, closed: Closed) {
        let _ = (cx, session, closed);
    }

    /// A connection requested with [`connect`](ProtocolMut::connect) failed to open. Each connect
    /// has exactly one outcome: this or [`open`](Self::open). The default logs a warning, unless
    /// the program itself cancelled it.
    #[cfg(feature = "client")]
    fn failed(&mut self, own: &mut ProtocolMut<'_>, id: ConnId, failure: crate::client::Failure) {
        let _ = own;
        failure.warn_unheard(id);
    }

    /// A head of the opening handshake of a connection requested with [`connect`](ProtocolMut::connect), if its description
    /// [asks for that](crate::Connect::report_handshake): the request when it is sent, and each answer when it has arrived,
    /// before [`open`](Self::open) or [`failed`](Self::failed), and what TLS agreed on before the request. What arrived of an
    /// answer that cannot be used comes just before `failed`. A redirect and the connection after it have the same id. The
    /// default does nothing.
    #[cfg(feature = "client")]
    fn handshake_head(&mut self, own: &mut ProtocolMut<'_>, id: ConnId, head: crate::client::HandshakeHead<'_>) {
        let _ = (own, id, head);
    }

    /// A ping arrived. The loop answers it; this is only a notification.
    ///
    /// # Errors
    /// The close to start.
    fn ping(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session, payload: &[u8]) -> Result<(), Close> {
        let _ = (cx, session, payload);
        Ok(())
    }

    /// A pong arrived, solicited or not (RFC 6455 section 5.5.3).
    ///
    /// # Errors
    /// The close to start.
    fn pong(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session, payload: &[u8]) -> Result<(), Close> {
        let _ = (cx, session, payload);
        Ok(())
    }

    /// The peer was silent for so long that a keepalive ping is due
    /// ([`ping_after`](sockeye_proto::limits::ProtocolLimits::ping_after), or
    /// [`ConnectionMut::set_keepalive`]). Returns the payload of the ping, or `None` for no ping: then the silence
    /// counts from now, as after [`ConnectionMut::note_alive`]. The default is a ping without a payload.
    ///
    /// It is not called while reading is paused: the peer may have sent something that was not read.
    fn ping_due(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session) -> Option<ControlPayload> {
        let _ = (cx, session);
        Some(ControlPayload::EMPTY)
    }

    /// The timer set with [`ConnectionMut::set_timer`] is due.
    ///
    /// # Errors
    /// The close to start.
    fn timer(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session) -> Result<(), Close> {
        let _ = (cx, session);
        Ok(())
    }

    /// The limits of this protocol's connections, where they differ from the service's. The builder reads them once and
    /// refuses values out of their range. [`ConnectionMut::set_message_bytes`] is for a single connection.
    fn limits(&self) -> MessageLimits {
        MessageLimits::default()
    }

    /// How messages of this protocol's connections are compressed, if not as the [service's](crate::Builder::compression). The
    /// builder reads it once.
    #[cfg(feature = "deflate")]
    fn compression(&self) -> Option<crate::Compression> {
        None
    }

    /// A timer set with [`ProtocolMut::set_timer`] is due, with its token.
    fn own_timer(&mut self, own: &mut ProtocolMut<'_>, token: u64) {
        let _ = (own, token);
    }

    /// How often [`tick`](Self::tick) is called; `None`, the default: never. It is read once, when the protocol is added to
    /// the builder. [`Builder::build`](crate::Builder::build) refuses zero, with which the loop would never sleep.
    fn interval(&self) -> Option<Duration> {
        None
    }

    /// Called every [`interval`](Self::interval) while any connection of this protocol is open.
    /// Missed ticks are not repeated.
    fn tick(&mut self, own: &mut ProtocolMut<'_>) {
        let _ = own;
    }
}
