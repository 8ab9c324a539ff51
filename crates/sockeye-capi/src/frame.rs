//! Frames that a program writes.

use sockeye::proto::wire::MessageKind;

/// What a program asks to be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// A message, or its beginning.
    Message(MessageKind),
    /// The next fragment of a message that has begun.
    Continuation,
    Ping,
    Pong,
}

/// A frame that waits.
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    pub(crate) is_last: bool,
    pub(crate) payload: Vec<u8>,
}
