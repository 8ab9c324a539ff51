//! What [`Connection::receive`](crate::conn::Connection::receive) reports. Payloads are views of
//! the caller's buffer.

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
}

/// A piece of a message: at most the payload of one frame, at most
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
    /// How many payload bytes of the current frame have not been reported yet.
    pub remaining: u64,
    /// The bytes of the piece.
    pub payload: Payload<'b>,
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

impl<'b> From<&'b str> for Payload<'b> {
    fn from(text: &'b str) -> Self {
        Self::Text(text)
    }
}

impl<'b> From<&'b String> for Payload<'b> {
    fn from(text: &'b String) -> Self {
        Self::Text(text)
    }
}

impl<'b> From<&'b [u8]> for Payload<'b> {
    fn from(bytes: &'b [u8]) -> Self {
        Self::Binary(bytes)
    }
}

impl<'b> From<&'b Vec<u8>> for Payload<'b> {
    fn from(bytes: &'b Vec<u8>) -> Self {
        Self::Binary(bytes)
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
