//! The end of what was sent or received, which the next message may refer to.

use alloc::vec::Vec;

/// The last bytes of the messages of one direction, uncompressed. Takes no memory until something is added.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Once there are `most`, they are a ring: nothing is moved when bytes are added.
    ring: Vec<u8>,
    /// Where the oldest is; `start <= ring.len()`.
    start: u32,
    most: u32,
}

impl History {
    /// A history of at most `most` bytes.
    #[must_use]
    pub(crate) const fn new(most: u32) -> Self {
        Self { ring: Vec::new(), start: 0, most }
    }

    /// The bytes, oldest first: those of the second part follow upon those of the first.
    #[must_use]
    pub fn parts(&self) -> [&[u8]; 2] {
        let (newer, older) = self.ring.split_at(self.start as usize);
        [older, newer]
    }

    /// A copy of the bytes, oldest first.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.parts().concat()
    }

    /// How many bytes it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// How many bytes it may have.
    #[must_use]
    pub const fn most(&self) -> usize {
        self.most as usize
    }

    /// How many bytes of memory it holds: none, or as many as it may have.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.ring.capacity()
    }

    /// Adds what was sent or received, and drops the oldest bytes beyond the most.
    #[inline]
    pub(crate) fn add(&mut self, data: &[u8]) {
        let start = self.start as usize;
        if self.ring.len() == self.most() {
            // It is full, and most messages are short: the oldest bytes that lie together make room.
            if let Some(oldest) = self.ring[start..].get_mut(..data.len()) {
                oldest.copy_from_slice(data);
                // At most 32 KiB.
                self.start += data.len() as u32;
                return;
            }
        }
        self.add_apart(data);
    }

    /// Adds what does not go into one place.
    fn add_apart(&mut self, data: &[u8]) {
        let most = self.most();
        let data = &data[data.len().saturating_sub(most)..];
        if data.is_empty() {
            return;
        }
        if self.ring.capacity() < most {
            // Once, and all of it: what grows by doubling is seldom of the length that was allowed.
            self.ring.reserve_exact(most - self.ring.len());
        }
        let (added, rest) = data.split_at(data.len().min(most - self.ring.len()));
        self.ring.extend_from_slice(added);
        if rest.is_empty() {
            return;
        }
        // It is full. The oldest make room: those from `start` on, and then those at the beginning.
        let (newer, older) = self.ring.split_at_mut(self.start as usize);
        let (first, second) = rest.split_at(rest.len().min(older.len()));
        older[..first.len()].copy_from_slice(first);
        newer[..second.len()].copy_from_slice(second);
        let is_at_end = first.len() == older.len();
        // At most 32 KiB.
        self.start = if is_at_end { second.len() as u32 } else { self.start + first.len() as u32 };
    }

    /// Gives its memory back.
    pub(crate) fn forget(&mut self) {
        self.ring = Vec::new();
        self.start = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_are_kept() {
        for most in [1, 5, 31, 32, 70] {
            let mut history = History::new(most);
            let most = history.most();
            assert!(history.is_empty() && history.held_bytes() == 0);
            let mut all = Vec::new();
            for round in 0..300 {
                let piece: Vec<u8> = (0..round * 7 % 13 + round * 11 % 5 * 9).map(|at| (at + round) as u8).collect();
                history.add(&piece);
                all.extend_from_slice(&piece);
                assert_eq!(history.bytes(), &all[all.len().saturating_sub(most)..]);
                assert_eq!((history.len(), history.is_empty()), (all.len().min(most), all.is_empty()));
                assert_eq!(history.held_bytes(), if all.is_empty() { 0 } else { most });
            }
            history.forget();
            assert!(history.is_empty() && history.held_bytes() == 0);
        }
    }

    #[test]
    fn without_a_length_nothing_is_kept() {
        let mut history = History::new(0);
        history.add(b"abc");
        assert!(history.is_empty() && history.held_bytes() == 0);
    }
}
