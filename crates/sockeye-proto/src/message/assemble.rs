//! Joins fragments into whole messages, which are borrowed.
//!
//! For programs with their own event loop. `sockeye` itself collects messages in its `messages`
//! module, in buffers that its connections share and that it hands over with the message.

use alloc::string::String;
use alloc::vec::Vec;

use crate::error::Violation;
use crate::event::{Fragment, Payload};

/// Collects the fragments of a message, up to a limit.
///
/// A message in one piece is returned without a copy. Memory grows with the bytes that have
/// arrived, not with the length that a frame header announces.
#[derive(Debug)]
pub struct Assembler {
    limit: u64,
    text: String,
    binary: Vec<u8>,
}

impl Assembler {
    /// An assembler for messages of at most `limit` bytes. `limit` is usually
    /// [`ProtocolLimits::message_bytes`](crate::limits::ProtocolLimits::message_bytes), which the
    /// connection enforces as well.
    #[must_use]
    pub const fn new(limit: u64) -> Self {
        Self { limit, text: String::new(), binary: Vec::new() }
    }

    /// Adds the next fragment. Returns the message if this fragment is its last.
    ///
    /// # Errors
    /// [`Violation::MessageTooBig`]: the message exceeds the limit. What was collected is dropped.
    pub fn push<'a>(&'a mut self, fragment: Fragment<'a>) -> Result<Option<Payload<'a>>, Violation> {
        if fragment.first {
            self.text.clear();
            self.binary.clear();
        }
        let payload = fragment.payload;
        let collected = self.text.len() + self.binary.len();
        if (collected as u64).saturating_add(payload.as_bytes().len() as u64) > self.limit {
            self.release();
            return Err(Violation::MessageTooBig);
        }
        if fragment.first && fragment.last {
            return Ok(Some(payload));
        }
        let message = match payload {
            Payload::Text(text) => {
                self.text.push_str(text);
                Payload::Text(&self.text)
            }
            Payload::Binary(bytes) => {
                self.binary.extend_from_slice(bytes);
                Payload::Binary(&self.binary)
            }
        };
        Ok(fragment.last.then_some(message))
    }

    /// Drops what was collected and frees its memory.
    pub fn release(&mut self) {
        self.text = String::new();
        self.binary = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::MessageKind;

    fn binary(first: bool, last: bool, payload: &[u8]) -> Fragment<'_> {
        Fragment { kind: MessageKind::Binary, first, last, remaining: 0, payload: Payload::Binary(payload) }
    }

    fn text(first: bool, last: bool, payload: &str) -> Fragment<'_> {
        Fragment { kind: MessageKind::Text, first, last, remaining: 0, payload: Payload::Text(payload) }
    }

    #[test]
    fn messages_are_joined_and_single_pieces_are_not_copied() {
        let mut assembler = Assembler::new(6);
        assert_eq!(assembler.push(text(true, false, "ab")), Ok(None));
        assert_eq!(assembler.push(text(false, false, "c")), Ok(None));
        assert_eq!(assembler.push(text(false, true, "")), Ok(Some(Payload::Text("abc"))));
        let piece = [1, 2, 3, 4, 5, 6];
        let Ok(Some(Payload::Binary(message))) = assembler.push(binary(true, true, &piece)) else { panic!() };
        assert!(core::ptr::eq(message, &piece));
        assert_eq!(assembler.push(binary(true, true, b"")), Ok(Some(Payload::Binary(b""))));
    }

    #[test]
    fn a_message_over_the_limit_is_dropped() {
        let mut assembler = Assembler::new(6);
        assert_eq!(assembler.push(binary(true, false, &[0; 4])), Ok(None));
        assert_eq!(assembler.push(binary(false, true, &[0; 3])), Err(Violation::MessageTooBig));
        assert_eq!(assembler.push(binary(true, true, &[0; 7])), Err(Violation::MessageTooBig));
        assert_eq!(assembler.push(binary(true, true, &[0; 6])), Ok(Some(Payload::Binary(&[0; 6]))));
    }
}
