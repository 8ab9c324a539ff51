//! Fragments to whole messages.

use alloc::string::String;
use alloc::vec::Vec;

use crate::error::Violation;
use crate::event::{Fragment, Payload};

/// Collects the fragments of a message, up to a limit.
///
/// A message that comes in one piece is handed through without a copy. Memory grows with the bytes that arrived, not with those
/// that were announced.
#[derive(Debug)]
pub struct Assembler {
    limit: u64,
    text: String,
    binary: Vec<u8>,
}

impl Assembler {
    /// An assembler of messages of at most `limit` bytes; usually
    /// [`Limits::message_bytes`](crate::limits::Limits::message_bytes), which the connection keeps to as well.
    #[must_use]
    pub const fn new(limit: u64) -> Self {
        Self { limit, text: String::new(), binary: Vec::new() }
    }

    /// Takes the next fragment, and gives the message if it ends with it.
    ///
    /// # Errors
    /// [`Violation::MessageTooBig`]; what was collected is dropped.
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

    /// Drops what was collected, and gives back its memory.
    pub fn release(&mut self) {
        self.text = String::new();
        self.binary = Vec::new();
    }
}
