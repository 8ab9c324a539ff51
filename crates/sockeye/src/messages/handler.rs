//! The handler of messages, and the context of its callbacks.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use sockeye_proto::close::{Close, Closed};

use crate::client::Failure;
use crate::messages::{Full, Message, Outbox};
use crate::protocol::{ClosedCx, ConnId, Cx, Decision, Handshake, ProtocolMut, Request};

/// Handles the messages of one protocol: one object for all connections, and a state for each.
pub trait Handler: 'static {
    /// The state of one connection.
    type State: 'static;

    /// As [`Protocol::filter`](crate::Protocol::filter).
    fn filter(&mut self, request: &Request<'_>) -> Decision {
        let _ = request;
        Decision::accept()
    }

    /// The connection is open.
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

    /// The connection has ended.
    fn closed(&mut self, cx: &mut ClosedCx<'_>, state: Self::State, closed: Closed) {
        let _ = (cx, state, closed);
    }

    /// As [`Protocol::failed`](crate::Protocol::failed).
    fn failed(&mut self, own: &mut ProtocolMut<'_>, id: ConnId, failure: Failure) {
        let _ = own;
        failure.warn_unheard(id);
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
    /// Puts a message into this connection's outbox. It is sent when the socket accepts it, in this
    /// turn if possible.
    ///
    /// # Errors
    /// [`Full`] with the message, when the outbox has no room for it, because the peer reads less
    /// than it is sent. The right reaction depends on the message, so `?` alone does not work:
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
        self.outbox.push(message.into(), self.cx)
    }

    /// Sends a message to every connection of this protocol, including this one; see
    /// [`ProtocolMut::publish_text`](crate::protocol::ProtocolMut::publish_text).
    pub fn publish(&mut self, message: &Message<'_>) {
        match message {
            Message::Text(text) => self.cx.own_protocol().publish_text(text),
            Message::Binary(payload) => self.cx.own_protocol().publish_binary(payload),
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
