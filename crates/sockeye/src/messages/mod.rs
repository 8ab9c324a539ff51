//! Whole messages: the quick start.
//!
//! Fragments are collected up to
//! [`Limits::message_bytes`](sockeye_proto::limits::ProtocolLimits::message_bytes), and output goes
//! through a bounded [`Outbox`] that the layer empties in writable callbacks. While an outbox is
//! well filled, reading from that peer pauses, so a peer that does not read cannot make memory
//! grow.
//!
//! A chat room:
//!
//! ```no_run
//! use sockeye::{Service, messages};
//!
//! # fn main() -> Result<(), sockeye::Error> {
//! let chat = messages::on("chat", |cx, message| {
//!     cx.publish(message);
//!     Ok(())
//! });
//! let mut service = Service::builder().protocol(chat).listen("127.0.0.1:7681").build()?;
//! service.run()
//! # }
//! ```

mod collect;
mod handler;
mod message;
mod outbox;

use std::fmt;

use sockeye_proto::close::{Close, CloseCode, Closed};
use sockeye_proto::conn::ControlPayload;
use sockeye_proto::event::Fragment;

use self::collect::Partial;
use crate::protocol::{ClosedCx, Cx, Decision, Handshake, MessageLimits, Protocol, ProtocolMut, Request, Tx, Writable};

pub use self::handler::{Closure, Handler, MessageCx};
pub use self::message::Message;
pub use self::outbox::{Full, Outbox};

/// A protocol whose messages are handled by a closure.
///
/// ```
/// use sockeye::{CloseCode, messages};
///
/// let shout = messages::on("shout", |cx, message| {
///     let text = message.as_text().ok_or(CloseCode::UNSUPPORTED)?;
///     cx.push(text.to_uppercase()).map_err(|_| CloseCode::TRY_AGAIN)?;
///     Ok(())
/// });
/// # drop(shout);
/// ```
pub fn on<F>(name: impl Into<String>, handle: F) -> Messages<Closure<F>>
where
    F: FnMut(&mut MessageCx<'_, '_>, Message<'_>) -> Result<(), Close> + 'static,
{
    Messages { has_writable: false, ..with(name, Closure { handle }) }
}

/// A protocol whose messages are handled by a [`Handler`], which can keep a state for each connection.
pub fn with<H: Handler>(name: impl Into<String>, handler: H) -> Messages<H> {
    let (name, scratch, limits) = (name.into(), Outbox::default(), MessageLimits::default());
    let (outbox_bytes, low_water, has_writable, spare) = (0, 0, true, Vec::new());
    let messages = Messages {
        name,
        handler,
        outbox_bytes,
        low_water,
        has_writable,
        limits,
        #[cfg(feature = "deflate")]
        compression: None,
        scratch,
        spare,
    };
    messages.outbox_bytes(DEFAULT_LIMIT)
}

/// A protocol that sends each message back to where it came from.
pub fn echo(name: impl Into<String>) -> Messages<impl Handler> {
    on(name, |cx, message| cx.push(message).map_err(|_| CloseCode::TRY_AGAIN.into()))
}

/// One message of the default limit, and the load from which reading pauses.
const DEFAULT_LIMIT: usize = 17 * 1024 * 1024;
/// How many idle [`Busy`] are kept. After a crowd each keeps what was below it on the heap.
const SPARE: usize = 8;

/// A [`Protocol`] of whole messages; see the [module](self).
///
/// ```
/// use sockeye::{Service, messages};
///
/// let chat = messages::on("chat", |cx, message| {
///     cx.publish(message);
///     Ok(())
/// });
/// let builder = Service::builder().protocol(chat.message_bytes(4096).outbox_bytes(64 * 1024));
/// # drop(builder);
/// ```
pub struct Messages<H: Handler> {
    name: String,
    handler: H,
    outbox_bytes: usize,
    /// The handler's `writable` is called while no more than this waits.
    low_water: usize,
    /// Whether the handler may have a `writable`; a closure has none.
    has_writable: bool,
    limits: MessageLimits,
    #[cfg(feature = "deflate")]
    compression: Option<crate::Compression>,
    /// The output of the connection whose step is running, if nothing waited for it before. Empty
    /// between steps.
    scratch: Outbox,
    /// For connections that become busy, so that becoming busy allocates nothing.
    #[expect(clippy::vec_box, reason = "the boxes themselves are kept for the next connection")]
    spare: Vec<Box<Busy>>,
}

/// The state of a connection: 8 bytes and the handler's state.
pub struct Session<S> {
    state: S,
    busy: Option<Box<Busy>>,
}

impl<H: Handler> fmt::Debug for Messages<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages")
            .field("name", &self.name)
            .field("outbox_bytes", &self.outbox_bytes)
            .finish_non_exhaustive()
    }
}

impl<S: fmt::Debug> fmt::Debug for Session<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("state", &self.state).finish_non_exhaustive()
    }
}

/// What a connection has only while a message is on its way from one step to a later one.
#[derive(Default)]
pub(crate) struct Busy {
    partial: Partial,
    outbox: Outbox,
}

impl Busy {
    /// About how much memory it takes.
    fn memory(&self) -> usize {
        if self.is_idle() { 0 } else { self.partial.memory() + self.outbox.memory() }
    }

    fn is_idle(&self) -> bool {
        self.outbox.is_empty() && self.partial.is_none()
    }
}

/// Where a connection's next message waits: behind those that wait already.
#[cold]
#[inline(never)]
fn outbox_of<'o>(busy: &'o mut Busy, scratch: &'o mut Outbox) -> &'o mut Outbox {
    if busy.outbox.is_empty() { scratch } else { &mut busy.outbox }
}

impl<S> Session<S> {
    /// The handler's state of the connection.
    #[must_use]
    pub fn state(&self) -> &S {
        &self.state
    }

    /// The handler's state of the connection.
    #[must_use]
    pub fn state_mut(&mut self) -> &mut S {
        &mut self.state
    }
}

impl<H: Handler> Messages<H> {
    /// The handler.
    #[must_use]
    pub fn handler(&self) -> &H {
        &self.handler
    }

    /// The handler, for the program between turns: see [`Control::protocol_object`](crate::Control::protocol_object).
    #[must_use]
    pub fn handler_mut(&mut self) -> &mut H {
        &mut self.handler
    }

    /// The maximum bytes of an outbox; each message counts as its payload and 64 bytes. Default 17
    /// MiB: a message of the default limit, on top of the load at which reading pauses. Reading
    /// pauses at half of this, or at 512 KiB if that is less. The builder refuses less than 128 bytes.
    #[must_use]
    pub fn outbox_bytes(mut self, bytes: usize) -> Self {
        self.outbox_bytes = bytes;
        self.limits.outbox_bytes = Some(bytes);
        self.scratch.set_limit(bytes);
        self
    }

    /// [`Handler::writable`] is called when messages were sent and no more than this still waits;
    /// each message counts as its payload and 64 bytes. Default 0: the outbox is empty, so what is
    /// pushed then leaves next. More keeps a producer ahead of the socket. The builder refuses more
    /// than 4 EiB.
    #[must_use]
    pub fn outbox_low_water(mut self, bytes: usize) -> Self {
        self.low_water = bytes;
        self.limits.outbox_low_water = Some(bytes);
        self
    }

    /// The largest message in bytes that connections of this protocol receive. Default: that of the service,
    /// [`ProtocolLimits::message_bytes`](sockeye_proto::limits::ProtocolLimits::message_bytes).
    /// [`set_message_bytes`](crate::protocol::ConnectionMut::set_message_bytes) is for a single connection.
    ///
    /// ```
    /// use sockeye::{CloseCode, Service, messages};
    ///
    /// // A stranger can send short messages only.
    /// let files = messages::on("files", |cx, message| {
    ///     if message.as_text() == Some("the password") {
    ///         cx.set_message_bytes(64 << 20).map_err(|_| CloseCode::INTERNAL)?;
    ///     }
    ///     Ok(())
    /// });
    /// let service = Service::builder().protocol(files.message_bytes(200)).build()?;
    /// # let _ = service;
    /// # Ok::<(), sockeye::Error>(())
    /// ```
    #[must_use]
    pub fn message_bytes(mut self, bytes: u64) -> Self {
        self.limits.message_bytes = Some(bytes);
        self
    }

    /// How messages of this protocol are compressed. Default: as the [service's](crate::Builder::compression).
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn compression(mut self, compression: crate::Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// The connection's kept state, or a new one.
    fn take_busy(&mut self, session: &mut Session<H::State>) -> Box<Busy> {
        session.busy.take().unwrap_or_else(|| {
            let mut busy = self.spare.pop().unwrap_or_default();
            busy.outbox.set_limit(self.outbox_bytes);
            busy
        })
    }

    /// Keeps the state that must outlive the step.
    #[cold]
    fn keep(&mut self, cx: &mut Cx<'_>, session: &mut Session<H::State>) {
        let mut busy = self.take_busy(session);
        busy.outbox.release_input(cx);
        self.scratch.release_input(cx);
        self.scratch.move_to(&mut busy.outbox);
        session.busy = Some(busy);
        self.rest(cx, session);
    }

    /// Frees what an idle connection does not need, and says how much is held for another. What is published from now on goes
    /// behind messages that wait.
    fn rest(&mut self, cx: &mut Cx<'_>, session: &mut Session<H::State>) {
        cx.set_held_bytes(session.busy.as_ref().map_or(0, |busy| busy.memory()));
        cx.hold_back(session.busy.as_ref().is_some_and(|busy| !busy.outbox.is_empty()));
        if session.busy.as_ref().is_some_and(|busy| busy.is_idle()) {
            if let Some(busy) = session.busy.take() {
                self.spare(busy);
            }
        }
    }

    /// Keeps it for the next connection that becomes busy.
    fn spare(&mut self, mut busy: Box<Busy>) {
        busy.outbox.shrink();
        if self.spare.len() < SPARE {
            self.spare.push(busy);
        }
    }

    /// Sends what waited before this step.
    #[cold]
    fn send_busy<'t>(
        &mut self,
        cx: &mut Cx<'_>,
        session: &mut Session<H::State>,
        permission: Option<Writable<'t>>,
    ) -> Option<Writable<'t>> {
        let busy = session.busy.as_mut()?;
        let permission = busy.outbox.send(permission, cx.input());
        if !busy.outbox.is_empty() {
            cx.request_writable();
        }
        self.rest(cx, session);
        permission
    }

    /// Sends what the handler pushed in its `writable`. What is left is kept at the end of the step.
    #[inline(never)]
    fn send_pushed(&mut self, cx: &mut Cx<'_>, session: &Session<H::State>, permission: Option<Writable<'_>>) {
        self.scratch.send(permission, cx.input());
        if self.scratch.is_empty() {
            // What `send_busy` left may contain ranges of the input, too.
            cx.keep_input(session.busy.is_some());
        } else {
            cx.keep_input(true);
            cx.request_writable();
        }
        let busy_is_full = session.busy.as_ref().is_some_and(|busy| busy.outbox.is_well_filled());
        cx.set_back_pressure(busy_is_full || self.scratch.is_well_filled());
    }

    /// The writable callback of a connection for which messages wait.
    #[cold]
    fn write_rest(
        &mut self,
        cx: &mut Cx<'_>,
        session: &mut Session<H::State>,
        permission: Option<Writable<'_>>,
    ) -> Result<(), Close> {
        let permission = if session.busy.is_some() { self.send_busy(cx, session, permission) } else { permission };
        let permission = self.scratch.send(permission, cx.input());
        let mut result = Ok(());
        if self.is_low(session) {
            // As in `call`.
            let outbox = match &mut session.busy {
                None => &mut self.scratch,
                Some(busy) => outbox_of(busy, &mut self.scratch),
            };
            result = self.handler.writable(&mut MessageCx::new(cx, outbox), &mut session.state);
        }
        self.send_pushed(cx, session, permission);
        result
    }

    /// Calls the handler in a step. A connection for which nothing waits uses the scratch outbox,
    /// which is empty between steps, so messages in the scratch outbox are newer than those in the
    /// connection's own.
    #[inline(always)]
    fn call<R>(
        &mut self,
        cx: &mut Cx<'_>,
        session: &mut Session<H::State>,
        call: impl FnOnce(&mut H, &mut MessageCx<'_, '_>, &mut H::State) -> R,
    ) -> R {
        let outbox = match &mut session.busy {
            None => &mut self.scratch,
            Some(busy) => outbox_of(busy, &mut self.scratch),
        };
        let mut own = MessageCx::new(cx, &mut *outbox);
        let result = call(&mut self.handler, &mut own, &mut session.state);
        if own.answered && self.has_writable {
            cx.request_writable();
        }
        if !outbox.is_empty() {
            cx.keep_input(true);
            cx.request_writable();
            if outbox.is_well_filled() {
                cx.set_back_pressure(true);
            }
        }
        result
    }

    /// Calls the handler outside of a step: what it pushes is kept for the next one.
    #[cold]
    fn call_between<R>(
        &mut self,
        cx: &mut Cx<'_>,
        session: &mut Session<H::State>,
        call: impl FnOnce(&mut H, &mut MessageCx<'_, '_>, &mut H::State) -> R,
    ) -> R {
        let mut busy = self.take_busy(session);
        let result = call(&mut self.handler, &mut MessageCx::new(cx, &mut busy.outbox), &mut session.state);
        if !busy.outbox.is_empty() {
            cx.request_writable();
            if busy.outbox.is_well_filled() {
                cx.set_back_pressure(true);
            }
        }
        session.busy = Some(busy);
        self.rest(cx, session);
        result
    }

    /// Whether so little waits that the handler may push more.
    #[inline(always)]
    fn is_low(&self, session: &Session<H::State>) -> bool {
        self.scratch.is_under(self.low_water)
            && session.busy.as_ref().is_none_or(|busy| busy.outbox.is_under(self.low_water))
    }

    /// A message that arrives in pieces is collected in its own buffer.
    #[cold]
    fn collect(
        &mut self,
        cx: &mut Cx<'_>,
        session: &mut Session<H::State>,
        fragment: &Fragment<'_>,
    ) -> Result<Option<Message<'static>>, Close> {
        let mut busy = self.take_busy(session);
        let pushed = busy.partial.push(fragment, cx);
        let message = if fragment.last { busy.partial.take() } else { None };
        session.busy = Some(busy);
        self.rest(cx, session);
        pushed?;
        Ok(message)
    }
}

impl<H: Handler> Protocol for Messages<H> {
    type Session = Session<H::State>;

    fn name(&self) -> &str {
        &self.name
    }

    fn filter(&mut self, request: &Request<'_>) -> Decision {
        self.handler.filter(request)
    }

    fn open(&mut self, cx: &mut Cx<'_>, handshake: &Handshake<'_>) -> Self::Session {
        let mut busy = self.spare.pop().unwrap_or_default();
        busy.outbox.set_limit(self.outbox_bytes);
        let state = self.handler.open(&mut MessageCx::new(cx, &mut busy.outbox), handshake);
        if !busy.outbox.is_empty() {
            cx.request_writable();
        }
        let mut session = Session { state, busy: Some(busy) };
        self.rest(cx, &mut session);
        session
    }

    #[inline]
    fn receive(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session, fragment: Fragment<'_>) -> Result<(), Close> {
        let message = if fragment.first && fragment.last {
            fragment.payload.into()
        } else {
            match self.collect(cx, session, &fragment)? {
                Some(message) => message,
                None => return Ok(()),
            }
        };
        self.call(cx, session, |handler, cx, state| handler.message(cx, state, message))
    }

    fn lend_buffer(&mut self, _: &mut Cx<'_>, session: &mut Self::Session, _: u64) -> Option<Vec<u8>> {
        session.busy.as_mut()?.partial.lend()
    }

    #[cold]
    fn take_back(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session, buffer: Vec<u8>) -> Result<(), Close> {
        let mut busy = self.take_busy(session);
        busy.partial.take_back(buffer);
        session.busy = Some(busy);
        self.rest(cx, session);
        Ok(())
    }

    #[inline]
    fn writable(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session, tx: Tx<'_>) -> Result<(), Close> {
        let permission = tx.ahead_of_published().idle();
        if session.busy.is_some() {
            return self.write_rest(cx, session, permission);
        }
        let permission = self.scratch.send(permission, cx.input());
        if !self.scratch.is_empty() {
            return self.write_rest(cx, session, permission);
        }
        // Usually everything is sent by now, and the handler adds nothing.
        let result = self.handler.writable(&mut MessageCx::new(cx, &mut self.scratch), &mut session.state);
        if !self.scratch.is_empty() {
            self.send_pushed(cx, session, permission);
            return result;
        }
        cx.keep_input(false);
        cx.set_back_pressure(false);
        result
    }

    #[cold]
    fn release_input(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session) {
        if !self.scratch.is_empty() {
            self.keep(cx, session);
        } else if let Some(busy) = &mut session.busy {
            busy.outbox.release_input(cx);
            self.rest(cx, session);
        }
    }

    fn ping(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session, payload: &[u8]) -> Result<(), Close> {
        self.call(cx, session, |handler, cx, state| handler.ping(cx, state, payload))
    }

    fn pong(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session, payload: &[u8]) -> Result<(), Close> {
        self.call(cx, session, |handler, cx, state| handler.pong(cx, state, payload))
    }

    fn ping_due(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session) -> Option<ControlPayload> {
        self.call_between(cx, session, |handler, cx, state| handler.ping_due(cx, state))
    }

    fn timer(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session) -> Result<(), Close> {
        self.call_between(cx, session, |handler, cx, state| handler.timer(cx, state))
    }

    fn closing(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session, received: &Close) {
        self.call(cx, session, |handler, cx, state| handler.closing(cx, state, received));
    }

    fn low_water(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session) -> Result<(), Close> {
        self.handler.low_water(cx, &mut session.state)
    }

    fn closed(&mut self, cx: &mut ClosedCx<'_>, session: Self::Session, closed: Closed) {
        self.handler.closed(cx, session.state, closed);
        if let Some(mut busy) = session.busy {
            busy.partial.clear(cx);
            busy.outbox.clear(cx);
            self.spare(busy);
        }
    }

    #[cfg(feature = "client")]
    fn failed(&mut self, own: &mut ProtocolMut<'_>, id: crate::ConnId, failure: crate::Failure) {
        self.handler.failed(own, id, failure);
    }

    #[cfg(feature = "client")]
    fn handshake_head(&mut self, own: &mut ProtocolMut<'_>, id: crate::ConnId, head: crate::client::HandshakeHead<'_>) {
        self.handler.handshake_head(own, id, head);
    }

    fn limits(&self) -> MessageLimits {
        self.limits
    }

    #[cfg(feature = "deflate")]
    fn compression(&self) -> Option<crate::Compression> {
        self.compression
    }

    fn interval(&self) -> Option<std::time::Duration> {
        self.handler.interval()
    }

    fn own_timer(&mut self, own: &mut ProtocolMut<'_>, token: u64) {
        self.handler.own_timer(own, token);
    }

    fn tick(&mut self, own: &mut ProtocolMut<'_>) {
        self.handler.tick(own);
    }
}
