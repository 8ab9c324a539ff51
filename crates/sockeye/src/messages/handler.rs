//! The handler of messages, and the context of its callbacks.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use sockeye_proto::close::{Close, Closed};
use sockeye_proto::conn::ControlPayload;
use sockeye_proto::event::{AsPayload, Payload};

use crate::messages::{Full, Message, Outbox};
use crate::protocol::{ClosedCx, Cx, Decision, Handshake, ProtocolMut, Request};

/// Handles the messages of one protocol: one object for all connections, and a state for each.
///
/// The callbacks of one connection come in this order: `filter` (only if the peer connected to us), `open`, then any of
/// `message`, `writable`, `ping`, `pong`, `ping_due` and `timer`, then at most once `closing`, then `closed`. What is pushed in any
/// of them is sent in order. Once a close has started, from either side, `message`, `ping` and `pong` are no longer
/// called, and what waits in the outbox is sent before our Close frame.
///
/// ```
/// use sockeye::messages::{self, Handler, Message, MessageCx};
/// use sockeye::{Close, CloseCode, Closed, ClosedCx, Handshake};
///
/// /// Numbers the messages of each connection.
/// struct Numbering;
///
/// impl Handler for Numbering {
///     type State = u32;
///
///     fn open(&mut self, _: &mut MessageCx<'_, '_>, _: &Handshake<'_>) -> u32 {
///         0
///     }
///
///     fn message(&mut self, cx: &mut MessageCx<'_, '_>, count: &mut u32, message: Message<'_>) -> Result<(), Close> {
///         let text = message.as_text().ok_or(CloseCode::UNSUPPORTED)?;
///         *count += 1;
///         cx.push(format!("{count} {text}")).map_err(|_| CloseCode::TRY_AGAIN)?;
///         Ok(())
///     }
///
///     fn closed(&mut self, _: &mut ClosedCx<'_>, count: u32, closed: Closed) {
///         println!("{count} messages; {closed}");
///     }
/// }
///
/// let protocol = messages::with("numbering", Numbering);
/// # drop(protocol);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler of messages",
    label = "the trait `Handler` is not implemented for it",
    note = "for a closure: `messages::on(name, |cx, message| ..)`",
    note = "a `Protocol` needs no handler: give it to `Builder::protocol`"
)]
pub trait Handler: 'static {
    /// The state of one connection.
    type State: 'static;

    /// Decides on a handshake, as [`Protocol::filter`](crate::Protocol::filter). The default accepts it.
    fn filter(&mut self, request: &Request<'_>) -> Decision {
        let _ = request;
        Decision::accept()
    }

    /// The connection is open. Returns its state.
    fn open(&mut self, cx: &mut MessageCx<'_, '_>, handshake: &Handshake<'_>) -> Self::State;

    /// A whole message arrived.
    ///
    /// # Errors
    /// The close to start.
    fn message(
        &mut self,
        cx: &mut MessageCx<'_, '_>,
        state: &mut Self::State,
        message: Message<'_>,
    ) -> Result<(), Close>;

    /// The socket can take data and there is something to do: messages that were pushed have left, and at most
    /// [`Messages::outbox_low_water`] bytes still wait in the outbox (default 0: it is empty), or the callback was requested
    /// by [`request_writable`](crate::protocol::ConnectionMut::request_writable).
    ///
    /// Here a feed pushes its newest value: a peer that reads slowly misses the values in between, and nothing piles up
    /// for it. The callback may come without a request, so check whether there is something new.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use sockeye::messages::{self, Handler, Message, MessageCx};
    /// use sockeye::protocol::ProtocolMut;
    /// use sockeye::{Close, CloseCode, Handshake, Service};
    ///
    /// struct Feed {
    ///     price: u64,
    /// }
    ///
    /// impl Handler for Feed {
    ///     type State = u64; // the price that was pushed last
    ///
    ///     fn open(&mut self, cx: &mut MessageCx<'_, '_>, _: &Handshake<'_>) -> u64 {
    ///         cx.request_writable();
    ///         0
    ///     }
    ///
    ///     fn message(&mut self, _: &mut MessageCx<'_, '_>, _: &mut u64, _: Message<'_>) -> Result<(), Close> {
    ///         Err(CloseCode::POLICY.into())
    ///     }
    ///
    ///     fn writable(&mut self, cx: &mut MessageCx<'_, '_>, last: &mut u64) -> Result<(), Close> {
    ///         if *last != self.price {
    ///             *last = self.price;
    ///             cx.push(self.price.to_string()).map_err(|_| CloseCode::TRY_AGAIN)?;
    ///         }
    ///         Ok(())
    ///     }
    ///
    ///     fn interval(&self) -> Option<Duration> {
    ///         Some(Duration::from_millis(10))
    ///     }
    ///
    ///     fn tick(&mut self, own: &mut ProtocolMut<'_>) {
    ///         self.price += 1; // it comes from somewhere
    ///         own.request_writable(); // each connection, when its socket can take data
    ///     }
    /// }
    /// # Service::builder().protocol(messages::with("feed", Feed { price: 1 })).build().unwrap();
    /// ```
    ///
    /// [`Messages::outbox_low_water`]: crate::messages::Messages::outbox_low_water
    ///
    /// # Errors
    /// The close to start.
    fn writable(&mut self, cx: &mut MessageCx<'_, '_>, state: &mut Self::State) -> Result<(), Close> {
        let _ = (cx, state);
        Ok(())
    }

    /// As [`Protocol::ping`](crate::Protocol::ping).
    ///
    /// # Errors
    /// The close to start.
    fn ping(&mut self, cx: &mut MessageCx<'_, '_>, state: &mut Self::State, payload: &[u8]) -> Result<(), Close> {
        let _ = (cx, state, payload);
        Ok(())
    }

    /// As [`Protocol::pong`](crate::Protocol::pong).
    ///
    /// # Errors
    /// The close to start.
    fn pong(&mut self, cx: &mut MessageCx<'_, '_>, state: &mut Self::State, payload: &[u8]) -> Result<(), Close> {
        let _ = (cx, state, payload);
        Ok(())
    }

    /// As [`Protocol::ping_due`](crate::Protocol::ping_due).
    fn ping_due(&mut self, cx: &mut MessageCx<'_, '_>, state: &mut Self::State) -> Option<ControlPayload> {
        let _ = (cx, state);
        Some(ControlPayload::EMPTY)
    }

    /// As [`Protocol::timer`](crate::Protocol::timer).
    ///
    /// # Errors
    /// The close to start.
    fn timer(&mut self, cx: &mut MessageCx<'_, '_>, state: &mut Self::State) -> Result<(), Close> {
        let _ = (cx, state);
        Ok(())
    }

    /// As [`Protocol::closing`](crate::Protocol::closing): the peer's Close frame arrived. What is
    /// pushed here is still sent.
    fn closing(&mut self, cx: &mut MessageCx<'_, '_>, state: &mut Self::State, received: &Close) {
        let _ = (cx, state, received);
    }

    /// The connection has ended. The state is passed by value: no callback follows.
    fn closed(&mut self, cx: &mut ClosedCx<'_>, state: Self::State, closed: Closed) {
        let _ = (cx, state, closed);
    }

    /// As [`Protocol::failed`](crate::Protocol::failed).
    #[cfg(feature = "client")]
    fn failed(&mut self, own: &mut ProtocolMut<'_>, id: crate::ConnId, failure: crate::Failure) {
        let _ = own;
        failure.warn_unheard(id);
    }

    /// As [`Protocol::handshake_head`](crate::Protocol::handshake_head).
    #[cfg(feature = "client")]
    fn handshake_head(&mut self, own: &mut ProtocolMut<'_>, id: crate::ConnId, head: crate::client::HandshakeHead<'_>) {
        let _ = (own, id, head);
    }

    /// As [`Protocol::low_water`](crate::Protocol::low_water).
    ///
    /// # Errors
    /// The close to start.
    fn low_water(&mut self, cx: &mut Cx<'_>, state: &mut Self::State) -> Result<(), Close> {
        let _ = (cx, state);
        Ok(())
    }

    /// As [`Protocol::own_timer`](crate::Protocol::own_timer).
    fn own_timer(&mut self, own: &mut ProtocolMut<'_>, token: u64) {
        let _ = (own, token);
    }

    /// As [`Protocol::interval`](crate::Protocol::interval).
    fn interval(&self) -> Option<Duration> {
        None
    }

    /// As [`Protocol::tick`](crate::Protocol::tick).
    fn tick(&mut self, own: &mut ProtocolMut<'_>) {
        let _ = own;
    }
}

/// The context of a [`Handler`]'s callback: that of its connection, and an outbox.
///
/// It dereferences to [`Cx`], with its methods for the connection, its protocol and the service. It
/// lives for one callback.
///
/// ```
/// use sockeye::messages::{Message, MessageCx};
///
/// fn answer(cx: &mut MessageCx<'_, '_>, message: Message<'_>) {
///     let peer = cx.peer();
///     if cx.push(message).is_err() {
///         println!("{peer} reads less than it is sent: {} bytes wait", cx.outbox().bytes());
///     }
/// }
/// ```
pub struct MessageCx<'t, 'c> {
    pub(super) cx: &'t mut Cx<'c>,
    pub(super) outbox: &'t mut Outbox,
    /// A message left in this callback, without waiting in the outbox.
    pub(super) answered: bool,
}

impl<'t, 'c> MessageCx<'t, 'c> {
    #[inline(always)]
    pub(super) fn new(cx: &'t mut Cx<'c>, outbox: &'t mut Outbox) -> Self {
        Self { cx, outbox, answered: false }
    }
}

impl fmt::Debug for MessageCx<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageCx").field("cx", self.cx).field("outbox", self.outbox).finish()
    }
}

impl<'c> Deref for MessageCx<'_, 'c> {
    type Target = Cx<'c>;

    fn deref(&self) -> &Self::Target {
        self.cx
    }
}

impl DerefMut for MessageCx<'_, '_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.cx
    }
}

impl MessageCx<'_, '_> {
    /// Sends a message to this connection: at once if the socket takes data now and nothing waits before it, else from the
    /// outbox, in this turn if possible. Text and bytes may be borrowed or owned; an owned message that has to wait is kept
    /// without a copy. It arrives behind what was published or pushed before, and before what is published or pushed later.
    /// To send to another connection: [`ConnectionMut::push`](crate::protocol::ConnectionMut::push).
    ///
    /// ```
    /// use sockeye::messages::{Message, MessageCx};
    /// use sockeye::ConnId;
    ///
    /// fn pass_on(cx: &mut MessageCx<'_, '_>, to: ConnId, message: &Message<'_>) {
    ///     let sent = cx.connection(to).is_ok_and(|mut other| other.push(message).is_ok());
    ///     let _ = cx.push(if sent { "sent" } else { "not sent" });
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Full`] with the message, when the outbox has no room for it, because the peer reads less
    /// than it is sent. Behind a published message that waits, the room is that of
    /// [`Limits::output_hard`](crate::Limits::output_hard). The right reaction depends on the message, so `?` alone does not work:
    /// close with a code, or drop a message that a newer one replaces.
    ///
    /// ```
    /// # use sockeye::{CloseCode, messages};
    /// let echo = messages::on("echo", |cx, message| cx.push(message).map_err(|_| CloseCode::TRY_AGAIN.into()));
    /// let ticker = messages::on("ticker", |cx, _| {
    ///     if let Err(full) = cx.push("tick") {
    ///         println!("{} is behind: {full}", cx.peer());
    ///     }
    ///     Ok(())
    /// });
    /// # let _ = sockeye::Service::builder().protocol(echo).protocol(ticker);
    /// ```
    #[inline(always)]
    pub fn push<'m>(&mut self, message: impl Into<Message<'m>>) -> Result<(), Full<'m>> {
        let message = message.into();
        if let Some((kind, bytes)) = message.borrowed() {
            if self.outbox.is_empty() && self.outbox.has_room(bytes.len()) && self.cx.answer_short(kind, bytes) {
                self.answered = true;
                return Ok(());
            }
        }
        self.push_otherwise(message)
    }

    /// As [`push`](Self::push), of a message that is long or owned, or has to wait. It is apart, so that a short answer is sent
    /// without a call.
    #[cold]
    #[inline(never)]
    fn push_otherwise<'m>(&mut self, message: Message<'m>) -> Result<(), Full<'m>> {
        if self.outbox.is_empty() && self.cx.can_answer() && self.outbox.has_room(message.as_bytes().len()) {
            self.answered = true;
            self.cx.answer(|permission| _ = message.send(permission));
            return Ok(());
        }
        self.outbox.push(message, self.cx)
    }

    /// Sends a message to every connection of this protocol, including this one; see
    /// [`ProtocolMut::publish_text`](crate::protocol::ProtocolMut::publish_text). It takes what
    /// [`push`](crate::protocol::ConnectionMut::push) to another connection takes, borrowed or owned.
    pub fn publish(&mut self, message: impl AsPayload) {
        match message.as_payload() {
            Payload::Text(text) => self.cx.own_protocol().publish_text(text),
            Payload::Binary(payload) => self.cx.own_protocol().publish_binary(payload),
        }
    }

    /// The messages waiting to be sent.
    #[must_use]
    pub fn outbox(&self) -> &Outbox {
        self.outbox
    }
}

/// A [`Handler`] that is a closure; see [`on`](crate::messages::on).
pub struct Closure<F> {
    pub(super) handle: F,
}

impl<F> fmt::Debug for Closure<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closure").finish_non_exhaustive()
    }
}

impl<F> Handler for Closure<F>
where
    F: FnMut(&mut MessageCx<'_, '_>, Message<'_>) -> Result<(), Close> + 'static,
{
    type State = ();

    fn open(&mut self, _: &mut MessageCx<'_, '_>, _: &Handshake<'_>) {}

    #[inline(always)]
    fn message(&mut self, cx: &mut MessageCx<'_, '_>, (): &mut (), message: Message<'_>) -> Result<(), Close> {
        (self.handle)(cx, message)
    }
}
