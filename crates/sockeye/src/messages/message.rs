//! A message as a handler receives and sends it.

use std::borrow::Cow;

use sockeye_proto::event::{AsPayload, Payload};
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

    /// Its kind and its bytes, unless it owns them.
    #[inline(always)]
    pub(super) fn borrowed(&self) -> Option<(MessageKind, &[u8])> {
        match self {
            Self::Text(Cow::Borrowed(text)) => Some((MessageKind::Text, text.as_bytes())),
            Self::Binary(Cow::Borrowed(payload)) => Some((MessageKind::Binary, payload)),
            Self::Text(Cow::Owned(_)) | Self::Binary(Cow::Owned(_)) => None,
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

impl AsPayload for Message<'_> {
    #[inline]
    fn as_payload(&self) -> Payload<'_> {
        match self {
            Self::Text(text) => Payload::Text(text),
            Self::Binary(payload) => Payload::Binary(payload),
        }
    }
}

/// A view of it, without a copy.
impl<'m> From<&'m Message<'_>> for Message<'m> {
    fn from(message: &'m Message<'_>) -> Self {
        message.as_payload().into()
    }
}

impl<'m> From<&'m str> for Message<'m> {
    fn from(text: &'m str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl<'m> From<&'m String> for Message<'m> {
    fn from(text: &'m String) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Message<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl<'m> From<Cow<'m, str>> for Message<'m> {
    fn from(text: Cow<'m, str>) -> Self {
        Self::Text(text)
    }
}

impl<'m> From<&'m [u8]> for Message<'m> {
    fn from(payload: &'m [u8]) -> Self {
        Self::Binary(Cow::Borrowed(payload))
    }
}

impl<'m, const N: usize> From<&'m [u8; N]> for Message<'m> {
    fn from(payload: &'m [u8; N]) -> Self {
        Self::Binary(Cow::Borrowed(payload))
    }
}

impl<const N: usize> From<[u8; N]> for Message<'_> {
    fn from(payload: [u8; N]) -> Self {
        Self::Binary(Cow::Owned(payload.to_vec()))
    }
}

impl<'m> From<&'m Vec<u8>> for Message<'m> {
    fn from(payload: &'m Vec<u8>) -> Self {
        Self::Binary(Cow::Borrowed(payload))
    }
}

impl From<Vec<u8>> for Message<'_> {
    fn from(payload: Vec<u8>) -> Self {
        Self::Binary(Cow::Owned(payload))
    }
}

impl<'m> From<Cow<'m, [u8]>> for Message<'m> {
    fn from(payload: Cow<'m, [u8]>) -> Self {
        Self::Binary(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_are_messages_borrowed_or_owned() {
        fn shown<'m>(message: impl Into<Message<'m>>) -> (bool, Message<'m>) {
            let message = message.into();
            let is_owned = matches!(message, Message::Text(Cow::Owned(_)) | Message::Binary(Cow::Owned(_)));
            (is_owned, message)
        }
        let (text, message) = ("abc".to_owned(), Message::from("abc"));
        for (is_owned, same) in [shown("abc"), shown(&text), shown(&message), shown(Cow::Borrowed("abc"))] {
            assert_eq!((is_owned, same), (false, message.clone()));
        }
        let owned = Message::from(text.clone());
        assert_eq!(shown(&owned), (false, message.clone()), "a view of an owned one is not a copy");
        assert_eq!(
            [shown(text.clone()), shown(Cow::<str>::Owned(text)), shown(owned)],
            [(); 3].map(|()| (true, message.clone()))
        );
        let (bytes, message) = (b"abc".to_vec(), Message::from(&b"abc"[..]));
        for (is_owned, same) in [shown(b"abc"), shown(&bytes), shown(&message), shown(Cow::Borrowed(&b"abc"[..]))] {
            assert_eq!((is_owned, same), (false, message.clone()));
        }
        assert_eq!(
            [shown(bytes.clone()), shown(Cow::<[u8]>::Owned(bytes)), shown(*b"abc")],
            [(); 3].map(|()| (true, message.clone()))
        );
    }
}
