//! The end of what was sent or received, which the next message may refer to.

use alloc::vec::Vec;

/// The last bytes of the messages of one direction, uncompressed. Takes no memory until something is added.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct History {
    /// `bytes.len() <= most`
    bytes: Vec<u8>,
    most: u32,
}

impl History {
    /// A history of at most `most` bytes.
    #[must_use]
    pub(crate) const fn new(most: u32) -> Self {
        Self { bytes: Vec::new(), most }
    }

    /// The bytes, oldest first.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bytes it may have.
    #[must_use]
    pub const fn most(&self) -> usize {
        self.most as usize
    }

    /// How many bytes of memory it holds.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Adds what was sent or received, and drops the oldest bytes beyond the most.
    pub(crate) fn add(&mut self, data: &[u8]) {
        let most = self.most();
        if most == 0 || data.is_empty() {
            return;
        }
        let data = &data[data.len().saturating_sub(most)..];
        let kept = self.bytes.len().min(most - data.len());
        if self.bytes.capacity() < most {
            // Once, and all of it: what grows by doubling is seldom of the length that was allowed.
            self.bytes.reserve_exact(most - self.bytes.len());
        }
        let dropped = self.bytes.len() - kept;
        self.bytes.copy_within(dropped.., 0);
        self.bytes.truncate(kept);
        self.bytes.extend_from_slice(data);
    }

    /// Gives its memory back.
    pub(crate) fn forget(&mut self) {
        self.bytes = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_are_kept() {
        let mut history = History::new(5);
        assert_eq!((history.bytes(), history.held_bytes()), (&b""[..], 0));
        let mut all = Vec::new();
        for piece in [&b"abc"[..], b"", b"d", b"ef", b"ghijklmn", b"o", b"pqrst", b"uvwx"] {
            history.add(piece);
            all.extend_from_slice(piece);
            assert_eq!(history.bytes(), &all[all.len().saturating_sub(5)..]);
            assert_eq!(history.held_bytes(), 5);
        }
        history.forget();
        assert_eq!((history.bytes(), history.held_bytes()), (&b""[..], 0));
    }

    #[test]
    fn without_a_length_nothing_is_kept() {
        let mut history = History::new(0);
        history.add(b"abc");
        assert_eq!((history.bytes(), history.held_bytes()), (&b""[..], 0));
    }
}
