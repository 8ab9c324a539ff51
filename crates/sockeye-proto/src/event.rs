//! What [`Connection::receive`](crate::conn::Connection::receive) reports. Payloads are views into the caller's buffer.

use crate::wire::MessageKind;

/// One thing that the peer said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Event<'b> {
    /// A piece of a message.
    Fragment(Fragment<'b>),
    /// A ping; its pong is queued already.
    Ping(&'b [u8]),
    /// A pong, asked for or not.
    Pong(&'b [u8]),
    /// The peer's Close frame; the answer, if one is due, is queued already. The last event of a connection.
    Close(CloseFrame<'b>),
}

/// A piece of a message: at most one frame's payload, at least one byte unless it is the last of its message.
///
/// How a message is cut into pieces depends on the peer's frames and on how the network delivered them, so only the
/// concatenation of the pieces has a meaning.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Fragment<'b> {
    /// Text or binary, the same for all pieces of a message.
    pub kind: MessageKind,
    /// The message begins with this piece.
    pub first: bool,
    /// The message ends with this piece, which may be empty.
    pub last: bool,
    /// Bytes of the current frame that have not arrived yet.
    pub remaining: u64,
    /// The piece itself.
    pub payload: Payload<'b>,
}

/// The bytes of a [`Fragment`], decoded. Text never ends inside a code point.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "RFC 6455 has two kinds of data, and matching both is the point")]
pub enum Payload<'b> {
    /// Text, checked.
    Text(&'b str),
    /// Bytes.
    Binary(&'b [u8]),
}

impl<'b> Payload<'b> {
    /// The bytes, of text too.
    #[must_use]
    #[inline]
    pub const fn as_bytes(&self) -> &'b [u8] {
        match self {
            Payload::Text(text) => text.as_bytes(),
            Payload::Binary(bytes) => bytes,
        }
    }

    /// The kind of the data.
    #[must_use]
    #[inline]
    pub const fn kind(&self) -> MessageKind {
        match self {
            Payload::Text(_) => MessageKind::Text,
            Payload::Binary(_) => MessageKind::Binary,
        }
    }
}

/// What a received Close frame says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct CloseFrame<'b> {
    /// The code, legal by RFC 6455 section 7.4; `None` for a frame without a body.
    pub code: Option<u16>,
    /// The reason; empty if there is none.
    pub reason: &'b str,
}
