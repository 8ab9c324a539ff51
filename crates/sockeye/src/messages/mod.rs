//! Whole messages: the quick start.
//!
//! Fragments are collected up to [`Limits::message_bytes`](sockeye_proto::limits::Limits::message_bytes), and what is sent
//! goes through a bounded [`Outbox`] that the layer empties in writable callbacks. While an outbox is well filled,
//! reading from that peer pauses, so a peer that does not read cannot make anything grow.
//!
//! A chat room:
//!
//! ```no_run
//! use sockeye::{Service, messages};
//!
//! # fn main() -> Result<(), sockeye::Error> {
//! let chat = messages::on("chat", |talk, message| {
//!     talk.publish(&message);
//!     Ok(())
//! });
//! let mut service = Service::builder().protocol(chat).listen("127.0.0.1:7681").build()?;
//! service.run()
//! # }
//! ```

mod collect;
mod handler;
mod outbox;

use std::borrow::Cow;

use sockeye_proto::close::{Close, CloseCode, Closed};
use sockeye_proto::event::Fragment;
use sockeye_proto::wire::Kind;

use self::collect::Partial;
use crate::protocol::{Cx, Decision, Protocol, Request, Tx, Wishes};

pub use self::handler::{Closure, Handler, Talk};
pub use self::outbox::{Full, Outbox};

/// A whole message.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "RFC 6455 section 5.6 has two kinds of data")]
pub enum Message<'m> {
    /// Text, which is valid UTF-8.
    Text(Cow<'m, str>),
    /// Any bytes.
    Binary(Cow<'m, [u8]>),
}

impl Message<'_> {
    /// Text or binary.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Text(_) => Kind::Text,
            Self::Binary(_) => Kind::Binary,
        }
    }

    /// The payload.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(payload) => payload,
        }
    }

    /// The text, if it is a text message.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }
}

impl<'m> From<&'m str> for Message<'m> {
    fn from(text: &'m str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Message<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl<'m> From<&'m [u8]> for Message<'m> {
    fn from(payload: &'m [u8]) -> Self {
        Self::Binary(Cow::Borrowed(payload))
    }
}

impl From<Vec<u8>> for Message<'_> {
    fn from(payload: Vec<u8>) -> Self {
        Self::Binary(Cow::Owned(payload))
    }
}

/// A protocol whose messages are handled by a closure.
pub fn on<F>(name: impl Into<String>, handle: F) -> Messages<Closure<F>>
where
    F: FnMut(&mut Talk<'_, '_>, Message<'_>) -> Result<(), Close> + 'static,
{
    with(name, Closure { handle })
}

/// A protocol whose messages are handled by a [`Handler`], which can keep a state for each connection.
pub fn with<H: Handler>(name: impl Into<String>, handler: H) -> Messages<H> {
    Messages { name: name.into(), handler, bound: DEFAULT_BOUND, spare: Vec::new() }
}

/// A protocol that sends each message back to where it came from.
pub fn echo(name: impl Into<String>) -> Messages<impl Handler> {
    on(name, |talk, message| talk.push(message).map_err(|_| CloseCode::TRY_AGAIN.into()))
}

/// One message of the default limit, and what may wait before it.
const DEFAULT_BOUND: usize = 17 * 1024 * 1024;
/// At most so many idle [`Busy`] are kept.
const SPARE: usize = 64;

/// A [`Protocol`] of whole messages; see the [module](self).
pub struct Messages<H: Handler> {
    name: String,
    handler: H,
    bound: usize,
    /// For connections that become busy, so that becoming busy allocates nothing.
    #[expect(clippy::vec_box, reason = "the boxes themselves are what is kept for the next connection")]
    spare: Vec<Box<Busy>>,
}

impl<H: Handler> Messages<H> {
    /// How many payload bytes an outbox holds at most. Default 17 MiB: a message of the default limit, after what may
    /// wait when reading pauses. Reading pauses at half of it, and at 512 KiB already when that is less.
    #[must_use]
    pub fn outbox_bytes(mut self, bound: usize) -> Self {
        self.bound = bound;
        self
    }
}

/// What is kept for a connection: 8 bytes and the handler's state.
pub struct Session<S> {
    state: S,
    busy: Option<Box<Busy>>,
}

/// What a connection has only while a message is on its way.
#[derive(Default)]
pub(crate) struct Busy {
    partial: Partial,
    outbox: Outbox,
    /// Reading is paused because the outbox is well filled.
    paused: bool,
}

impl Busy {
    fn is_idle(&self) -> bool {
        self.outbox.is_empty() && self.partial.is_none() && !self.paused
    }
}

impl<H: Handler> Messages<H> {
    fn busy(&mut self) -> Box<Busy> {
        let mut busy = self.spare.pop().unwrap_or_default();
        busy.outbox.set_bound(self.bound);
        busy
    }

    /// After a callback of the handler: asks for the writable callback, pauses, or lets go of what is not needed.
    #[inline]
    fn after(&mut self, cx: &mut Cx<'_>, session: &mut Session<H::State>) {
        let Some(busy) = &mut session.busy else { return };
        if !busy.outbox.is_empty() {
            cx.request_writable();
            if !busy.paused && busy.outbox.is_well_filled() {
                busy.paused = true;
                cx.pause_reading();
            }
        } else if busy.is_idle() {
            self.rest(session);
        }
    }

    fn rest(&mut self, session: &mut Session<H::State>) {
        if let Some(busy) = session.busy.take().filter(|_| self.spare.len() < SPARE) {
            self.spare.push(busy);
        }
    }

    #[inline]
    fn deliver(&mut self, cx: &mut Cx<'_>, session: &mut Session<H::State>, message: Message<'_>) -> Result<(), Close> {
        let mut busy = match session.busy.take() {
            Some(busy) => busy,
            None => self.busy(),
        };
        let result = self.handler.message(&mut Talk { cx, outbox: &mut busy.outbox }, &mut session.state, message);
        session.busy = Some(busy);
        self.after(cx, session);
        result
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

    fn open(&mut self, cx: &mut Cx<'_>) -> Self::Session {
        let mut busy = self.busy();
        let state = self.handler.open(&mut Talk { cx, outbox: &mut busy.outbox });
        let mut session = Session { state, busy: Some(busy) };
        self.after(cx, &mut session);
        session
    }

    #[inline]
    fn receive(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session, fragment: Fragment<'_>) -> Result<(), Close> {
        if fragment.first && fragment.last {
            return self.deliver(cx, session, fragment.payload.into());
        }
        if session.busy.is_none() {
            session.busy = Some(self.busy());
        }
        let Some(busy) = &mut session.busy else { return Ok(()) };
        busy.partial.push(&fragment, cx.pool);
        if !fragment.last {
            return Ok(());
        }
        match busy.partial.take() {
            Some(message) => self.deliver(cx, session, message),
            None => Ok(()),
        }
    }

    fn writable(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session, tx: Tx<'_>) -> Result<(), Close> {
        let Some(busy) = &mut session.busy else { return Ok(()) };
        busy.outbox.send(tx);
        if busy.paused && !busy.outbox.is_well_filled() {
            busy.paused = false;
            cx.resume_reading();
        }
        if !busy.outbox.is_empty() {
            cx.request_writable();
        } else if busy.is_idle() {
            self.rest(session);
        }
        Ok(())
    }

    fn pong(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session, payload: &[u8]) -> Result<(), Close> {
        let _ = (cx, session, payload);
        Ok(())
    }

    fn closed(&mut self, cx: &mut Cx<'_>, session: Self::Session, closed: Closed) {
        self.handler.closed(cx, session.state, closed);
        if let Some(mut busy) = session.busy {
            busy.partial.clear();
            busy.outbox.clear();
            busy.paused = false;
            if self.spare.len() < SPARE {
                self.spare.push(busy);
            }
        }
    }

    fn interval(&self) -> Option<std::time::Duration> {
        self.handler.interval()
    }

    fn tick(&mut self, wishes: &mut Wishes<'_>) {
        self.handler.tick(wishes);
    }
}
