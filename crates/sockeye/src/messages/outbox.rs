//! Messages that wait to be sent to one peer, within a bound.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::error::Error;
use std::fmt;

use sockeye_proto::wire::Kind;

use crate::conn::pool::Pool;
use crate::messages::Message;
use crate::protocol::Tx;

/// A message under this many bytes is copied behind the others; a larger one keeps a buffer of its own.
const SMALL: usize = 4 * 1024;
/// An outbox with this many bytes pauses reading, whatever its bound.
const PAUSE: usize = 512 * 1024;

/// The messages that wait for one connection's socket. It never holds more than its bound.
#[derive(Default)]
pub struct Outbox {
    items: VecDeque<Item>,
    /// The small messages, one behind another; `taken` bytes of it are sent.
    small: Vec<u8>,
    taken: usize,
    /// Invariant: the sum of the payloads that wait; `bytes <= bound`.
    bytes: usize,
    bound: usize,
}

struct Item {
    kind: Kind,
    len: usize,
    /// Empty for a small message.
    large: Vec<u8>,
}

impl Outbox {
    /// How many messages wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// How many payload bytes wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn set_bound(&mut self, bound: usize) {
        self.bound = bound;
    }

    /// Whether reading should pause. Each message counts a little beside its bytes, so that empty ones count too.
    pub(super) fn is_well_filled(&self) -> bool {
        self.bytes.saturating_add(self.items.len().saturating_mul(64)) >= PAUSE.min(self.bound / 2).max(1)
    }

    /// Takes a message in.
    #[inline]
    pub(super) fn push<'m>(&mut self, message: Message<'m>, pool: &RefCell<Pool>) -> Result<(), Full<'m>> {
        let len = message.as_bytes().len();
        if len > self.bound - self.bytes || self.items.len() >= MOST {
            return Err(Full(message));
        }
        self.bytes += len;
        let kind = message.kind();
        if len < SMALL {
            self.small.extend_from_slice(message.as_bytes());
            self.items.push_back(Item { kind, len, large: Vec::new() });
            return Ok(());
        }
        let large = match message {
            Message::Text(Cow::Owned(text)) => text.into_bytes(),
            Message::Binary(Cow::Owned(payload)) => payload,
            borrowed => {
                let mut buffer = pool.borrow_mut().take();
                buffer.extend_from_slice(borrowed.as_bytes());
                buffer
            }
        };
        self.items.push_back(Item { kind, len, large });
        Ok(())
    }

    /// Sends while there is a permission to.
    pub(super) fn send(&mut self, tx: Tx<'_>) {
        let mut permission = tx.idle();
        while let Some(writable) = permission {
            let Some(item) = self.items.pop_front() else { break };
            self.bytes -= item.len;
            let sent = if item.large.is_empty() {
                let payload = &self.small[self.taken..self.taken + item.len];
                self.taken += item.len;
                writable.message(item.kind, payload)
            } else {
                writable.message_owned(item.kind, item.large)
            };
            permission = sent.more();
        }
        self.compact();
    }

    /// Forgets the small messages that are sent.
    fn compact(&mut self) {
        if self.items.is_empty() {
            self.small.clear();
            self.taken = 0;
            // A burst must not stay in memory for ever.
            if self.small.capacity() > KEEP {
                self.small.shrink_to(KEEP);
            }
        } else if self.taken > self.small.len() / 2 {
            self.small.drain(..self.taken);
            self.taken = 0;
        }
    }

    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.bytes = 0;
        self.compact();
    }
}

/// Messages in one outbox, however small.
const MOST: usize = 65_536;
/// Memory for small messages that an empty outbox keeps.
const KEEP: usize = 256 * 1024;

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("messages", &self.len()).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// The outbox has no room for this message; here it is back.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "it is what it holds")]
pub struct Full<'m>(pub Message<'m>);

impl fmt::Display for Full<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the outbox has no room for a message of {} bytes", self.0.as_bytes().len())
    }
}

impl Error for Full<'_> {}
