//! Collects fragments into messages. The protocol has already limited their total size.
//!
//! It does not use the `Assembler` of `sockeye-proto`, which lends a message and keeps its buffer for the next one of
//! the same connection: here the buffers are the loop's, so that an idle connection has none, and a message is given
//! away, so that an answer is sent from where it was collected.

use std::borrow::Cow;

use sockeye_proto::close::{Close, CloseCode};
use sockeye_proto::event::{Fragment, Payload};

use crate::messages::Message;
use crate::protocol::{Commands, Cx};

/// The part of a message that has arrived. Memory grows with the received bytes, not with the
/// announced length.
#[derive(Default)]
pub(crate) enum Partial {
    #[default]
    None,
    Text(String),
    Binary(Vec<u8>),
}

impl Partial {
    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// An error if the memory cannot be had: the connection is to be closed.
    pub(crate) fn push(&mut self, fragment: &Fragment<'_>, cx: &mut Cx<'_>) -> Result<(), Close> {
        if fragment.first {
            *self = match fragment.payload {
                Payload::Text(_) => Self::Text(String::new()),
                Payload::Binary(_) => Self::Binary(Vec::new()),
            };
        }
        let most = usize::try_from(cx.message_bytes()).unwrap_or(usize::MAX);
        let grown = match (&mut *self, fragment.payload) {
            (Self::Text(text), Payload::Text(more)) => cx.extend_text(text, more, most),
            (Self::Binary(payload), Payload::Binary(more)) => cx.extend_buffer(payload, more, most),
            // The protocol keeps the kind of a message to its end.
            _ => {
                debug_assert!(false, "the kind of a message changed");
                Ok(())
            }
        };
        grown.map_err(|error| {
            tracing::warn!(id = %cx.id(), peer = %cx.peer(), %error, "no memory for a message; the connection is closed");
            self.clear(cx);
            // RFC 6455 section 7.4.1: "1011 indicates that a server is terminating the connection because it encountered an
            // unexpected condition that prevented it from fulfilling the request." 1009 would say that the message is too
            // big at any time.
            CloseCode::INTERNAL.into()
        })
    }

    /// The bytes of a binary message that has begun, to receive more behind them.
    pub(crate) fn lend(&mut self) -> Option<Vec<u8>> {
        match self {
            Self::Binary(payload) if !payload.is_empty() => Some(std::mem::take(payload)),
            _ => None,
        }
    }

    /// What was [lent](Self::lend), and what came behind it.
    pub(crate) fn take_back(&mut self, payload: Vec<u8>) {
        *self = Self::Binary(payload);
    }

    /// How much memory it takes.
    pub(crate) fn memory(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Text(text) => text.capacity(),
            Self::Binary(payload) => payload.capacity(),
        }
    }

    pub(crate) fn take(&mut self) -> Option<Message<'static>> {
        match std::mem::take(self) {
            Self::None => None,
            Self::Text(text) => Some(Message::Text(Cow::Owned(text))),
            Self::Binary(payload) => Some(Message::Binary(Cow::Owned(payload))),
        }
    }

    pub(crate) fn clear(&mut self, commands: &mut Commands) {
        match std::mem::take(self) {
            Self::None => {}
            Self::Text(text) => commands.give_buffer(text.into_bytes()),
            Self::Binary(payload) => commands.give_buffer(payload),
        }
    }
}

impl<'b> From<Payload<'b>> for Message<'b> {
    fn from(payload: Payload<'b>) -> Self {
        match payload {
            Payload::Text(text) => Self::Text(Cow::Borrowed(text)),
            Payload::Binary(payload) => Self::Binary(Cow::Borrowed(payload)),
        }
    }
}
