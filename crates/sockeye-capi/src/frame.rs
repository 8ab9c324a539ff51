//! Frames that a program writes.

use sockeye::proto::wire::MessageKind;

/// The most in bytes that may wait for one peer. A program that writes more without looking has its connection closed, or a part of an
/// answer refused.
pub(crate) const QUEUE_BYTES: usize = 64 * 1024 * 1024;

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

impl Frame {
    /// Bytes that it takes while it waits: those of an empty one, too.
    pub(crate) fn cost(&self) -> usize {
        self.payload.len() + size_of::<Self>()
    }
}
