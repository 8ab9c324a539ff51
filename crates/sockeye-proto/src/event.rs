//! What [`Connection::receive`](crate::conn::Connection::receive) reports. Payloads are views of
//! the caller's buffer.

use alloc::borrow::{Cow, ToOwned};
use alloc::string::String;
use alloc::vec::Vec;

use crate::wire::MessageKind;

/// Something that the peer sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Event<'b> {
    /// A piece of a message.
    Fragment(Fragment<'b>),
    /// A ping. The pong is already queued.
    Ping(&'b [u8]),
    /// A pong, solicited or not.
    Pong(&'b [u8]),
    /// The peer's Close frame. The answer, if one is due, is already queued. This is the last event
    /// of a connection.
    Close(CloseFrame<'b>),
    /// Bytes of a compressed message: [`Connection::inflate`](crate::conn::Connection::inflate) makes a [`Fragment`] of them.
    Compressed,
}

/// A piece of a message: at most the payload of one frame (inflated, if it is compressed), at most
/// [`ProtocolLimits::piece_bytes`](crate::limits::ProtocolLimits::piece_bytes), and at least one byte unless it is the last
/// piece of its message.
///
/// How a message is cut into pieces depends on the peer's frames and on the reads that delivered
/// them, so only the concatenation of the pieces is meaningful.
///
/// ```
/// use sockeye_proto::event::Fragment;
///
/// /// Counts the bytes of messages as they arrive. Returns the number when a message is complete.
/// fn count(bytes: &mut usize, fragment: &Fragment<'_>) -> Option<usize> {
///     if fragment.first {
///         *bytes = 0;
///     }
///     *bytes += fragment.payload.as_bytes().len();
///     fragment.last.then_some(*bytes)
/// }
/// # let _ = count;
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Fragment<'b> {
    /// Text or binary. The same for all pieces of a message.
    pub kind: MessageKind,
    /// Whether the message begins with this piece.
    pub first: bool,
    /// Whether the message ends with this piece. The last piece may be empty.
    pub last: bool,
    /// How many payload bytes of the current frame have not been reported yet. Of a compressed message that is not known, and
    /// this is 0.
    pub remaining: u64,
    /// The bytes of the piece.
    pub payload: Payload<'b>,
}

impl<'b> Fragment<'b> {
    /// A message that has one piece.
    #[must_use]
    #[inline(always)]
    pub const fn whole(payload: Payload<'b>) -> Self {
        Self { kind: payload.kind(), first: true, last: true, remaining: 0, payload }
    }
}

/// A piece of a binary message that was received where the message is collected, behind what was there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PieceInPlace {
    /// How many bytes it has; 0 if nothing came.
    pub bytes: usize,
    /// How many payload bytes of the current frame have not been received yet.
    pub remaining: u64,
    /// Whether the message ends with this piece.
    pub last: bool,
}

impl PieceInPlace {
    /// If the message ends with this piece, its end as [`receive`](crate::conn::Connection::receive) reports it: a last piece
    /// that is empty. For callers that complete messages in one place.
    #[must_use]
    pub fn end(&self) -> Option<Fragment<'static>> {
        let payload = Payload::Binary(&[]);
        self.last.then_some(Fragment { kind: payload.kind(), first: false, last: true, remaining: 0, payload })
    }
}

/// The bytes of a [`Fragment`], unmasked. Text never ends inside a code point.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "RFC 6455 has two kinds of data, and matching both is the point")]
pub enum Payload<'b> {
    /// Valid text.
    Text(&'b str),
    /// Arbitrary bytes.
    Binary(&'b [u8]),
}

impl<'b> Payload<'b> {
    /// The bytes of either kind.
    #[must_use]
    #[inline]
    pub const fn as_bytes(&self) -> &'b [u8] {
        match self {
            Payload::Text(text) => text.as_bytes(),
            Payload::Binary(bytes) => bytes,
        }
    }

    /// The kind of the message.
    #[must_use]
    #[inline]
    pub const fn kind(&self) -> MessageKind {
        match self {
            Payload::Text(_) => MessageKind::Text,
            Payload::Binary(_) => MessageKind::Binary,
        }
    }
}

/// What can be sent as a message without being given away: text (`str`, `String`), bytes (`[u8]`, `[u8; N]`,
/// `Vec<u8>`), a [`Payload`], a [`Cow`] of text or bytes, and references to them.
///
/// ```
/// use sockeye_proto::event::{AsPayload, Payload};
///
/// assert_eq!("text".as_payload(), Payload::Text("text"));
/// assert_eq!(String::from("text").as_payload(), Payload::Text("text"));
/// assert_eq!(b"bytes".as_payload(), Payload::Binary(b"bytes"));
/// assert_eq!(vec![1, 2].as_payload(), Payload::Binary(&[1, 2]));
/// ```
pub trait AsPayload {
    /// The text or the bytes.
    fn as_payload(&self) -> Payload<'_>;
}

impl AsPayload for Payload<'_> {
    #[inline]
    fn as_payload(&self) -> Payload<'_> {
        *self
    }
}

impl AsPayload for str {
    #[inline]
    fn as_payload(&self) -> Payload<'_> {
        Payload::Text(self)
    }
}

impl AsPayload for String {
    #[inline]
    fn as_payload(&self) -> Payload<'_> {
        Payload::Text(self)
    }
}

impl AsPayload for [u8] {
    #[inline]
    fn as_payload(&self) -> Payload<'_> {
        Payload::Binary(self)
    }
}

impl<const N: usize> AsPayload for [u8; N] {
    #[inline]
    fn as_payload(&self) -> Payload<'_> {
        Payload::Binary(self)
    }
}

impl AsPayload for Vec<u8> {
    #[inline]
    fn as_payload(&self) -> Payload<'_> {
        Payload::Binary(self)
    }
}

impl<B: AsPayload + ToOwned + ?Sized> AsPayload for Cow<'_, B> {
    #[inline]
    fn as_payload(&self) -> Payload<'_> {
        (**self).as_payload()
    }
}

impl<T: AsPayload + ?Sized> AsPayload for &T {
    #[inline]
    fn as_payload(&self) -> Payload<'_> {
        (**self).as_payload()
    }
}

/// The content of a received Close frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct CloseFrame<'b> {
    /// The code, which is legal by RFC 6455 section 7.4. `None`: the frame has no body.
    pub code: Option<u16>,
    /// The reason. Empty if there is none.
    pub reason: &'b str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_are_payloads_borrowed_or_owned() {
        fn of(payload: impl AsPayload) -> (MessageKind, Vec<u8>) {
            let payload = payload.as_payload();
            (payload.kind(), payload.as_bytes().to_vec())
        }
        let text = (MessageKind::Text, b"abc".to_vec());
        let owned = String::from("abc");
        assert_eq!(
            [of("abc"), of(&owned), of(owned.clone()), of(Payload::Text("abc"))],
            [(); 4].map(|()| text.clone())
        );
        assert_eq!([of(Cow::Borrowed("abc")), of(Cow::<str>::Owned(owned))], [text.clone(), text]);
        let bytes = (MessageKind::Binary, b"abc".to_vec());
        let owned = b"abc".to_vec();
        assert_eq!(
            [of(b"abc"), of(*b"abc"), of(&owned), of(&owned[..]), of(owned.clone())],
            [(); 5].map(|()| bytes.clone())
        );
        assert_eq!([of(Cow::Borrowed(&b"abc"[..])), of(Cow::<[u8]>::Owned(owned))], [bytes.clone(), bytes]);
    }
}
