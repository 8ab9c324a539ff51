//! Who handles messages, and what it may do meanwhile.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use sockeye_proto::close::{Close, Closed};

use crate::client::Failure;
use crate::messages::{Full, Message, Outbox};
use crate::protocol::{ClosedCx, ConnId, Cx, Decision, Handshake, ProtocolMut, Request};

/// Handles the messages of one protocol. There is one object for all connections, and a state for each.
pub trait Handler: 'static {
    /// What is kept for each connection.
    type State: 'static;

    /// As [`Protocol::filter`](crate::Protocol::filter).
    fn filter(&mut self, request: &Request<'_>) -> Decision {
        let _ = request;
        Decision::accept()
    }

    /// The connection is open.
    fn open(&mut self, cx: &mut MessageCx<'_, '_>, handshake: &Handshake<'_>) -> Self::State;

    /// A message came, whole.
    ///
    /// # Errors
    /// The close to start.
    fn message(
        &mut self,
        cx: &mut MessageCx<'_, '_>,
        state: &mut Self::State,
        message: Message<'_>,
    ) -> Result<(), Close>;

    /// The connection is over.
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
/// It dereferences to [`Cx`], so what is said there of a connection, its protocol and the service holds here. It lives for one
/// callback.
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
    /// Puts a message into this connection's outbox; it leaves when the socket takes it, in this turn if it can.
    ///
    /// # Errors
    /// [`Full`] with the message, when the outbox has no room for it, because the peer reads less than it is sent. What
    /// to do then depends on what the message is, so that `?` does not say it: close with a code, or leave out what
    /// only the newest of matters.
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

    /// The messages that wait to be sent.
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
