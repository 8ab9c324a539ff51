//! Collects fragments into messages. The protocol has already limited their total size.
//!
//! It does not use the `Assembler` of `sockeye-proto`, which lends a message and keeps its buffer for the next one of
//! the same connection: here the buffers are the loop's, so that an idle connection has none, and a message is given
//! away, so that an answer is sent from where it was collected.

use std::borrow::Cow;

use sockeye_proto::event::{Fragment, Payload};

use crate::messages::Message;
use crate::protocol::Commands;

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

    pub(crate) fn push(&mut self, fragment: &Fragment<'_>, commands: &mut Commands) {
        if fragment.first {
            let buffer = commands.take_buffer();
            *self = match fragment.payload {
                // An empty buffer is valid UTF-8.
                Payload::Text(_) => Self::Text(String::from_utf8(buffer).unwrap_or_default()),
                Payload::Binary(_) => Self::Binary(buffer),
            };
        }
        match (self, fragment.payload) {
            (Self::Text(text), Payload::Text(more)) => text.push_str(more),
            (Self::Binary(payload), Payload::Binary(more)) => payload.extend_from_slice(more),
            // The protocol keeps the kind of a message to its end.
            _ => debug_assert!(false, "the kind of a message changed"),
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
