//! A message as a handler receives and sends it.

use std::borrow::Cow;

use sockeye_proto::event::Payload;
use sockeye_proto::wire::MessageKind;

use crate::protocol::{AfterSend, Writable};

/// A whole message.
///
/// ```
/// use sockeye::messages::Message;
///
/// let message = Message::from("hello");
/// assert_eq!((message.as_text(), message.as_bytes()), (Some("hello"), &b"hello"[..]));
/// assert_eq!(Message::from(vec![1, 2]).as_text(), None);
/// ```
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
    pub fn kind(&self) -> MessageKind {
        match self {
            Self::Text(_) => MessageKind::Text,
            Self::Binary(_) => MessageKind::Binary,
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

    /// Sends it; what the socket does not take of an owned one is kept without a copy.
    #[inline(always)]
    pub(super) fn send(self, permission: Writable<'_>) -> AfterSend<'_> {
        let kind = self.kind();
        match self {
            Self::Text(Cow::Owned(text)) => permission.send_owned(kind, text.into_bytes()),
            Self::Binary(Cow::Owned(payload)) => permission.send_owned(kind, payload),
            borrowed => permission.send(kind, borrowed.as_bytes()),
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

impl<'m> From<&'m Message<'_>> for Payload<'m> {
    fn from(message: &'m Message<'_>) -> Self {
        match message {
            Message::Text(text) => Self::Text(text),
            Message::Binary(payload) => Self::Binary(payload),
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
