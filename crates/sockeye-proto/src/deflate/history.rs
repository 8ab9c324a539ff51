//! The end of what was sent or received, which the next message may refer to.

use alloc::vec::Vec;

/// The last bytes of the messages of one direction, uncompressed. Takes no memory until something is added.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The last `most` of them are the history; `bytes.len() <= most + most / SPARE`.
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
        &self.bytes[self.bytes.len().saturating_sub(self.most())..]
    }

    /// How many bytes it may have.
    #[must_use]
    pub const fn most(&self) -> usize {
        self.most as usize
    }

    /// How many bytes of memory it holds: a thirty-second more than it may have.
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
        let room = most + most / SPARE;
        if self.bytes.len() + data.len() > room {
            // Seldom: with every piece of a few bytes, a peer could have the whole moved for each of them.
            let dropped = self.bytes.len() - self.bytes.len().min(most - data.len());
            self.bytes.drain(..dropped);
        }
        if self.bytes.capacity() < room {
            // Once, and all of it: what grows by doubling is seldom of the length that was allowed.
            self.bytes.reserve_exact(room - self.bytes.len());
        }
        self.bytes.extend_from_slice(data);
    }

    /// Gives its memory back.
    pub(crate) fn forget(&mut self) {
        self.bytes = Vec::new();
    }
}

/// The part of the length that it has as room beside: so many bytes are moved for each that is added, at most.
const SPARE: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_are_kept() {
        for (most, held) in [(1, 1), (5, 5), (31, 31), (32, 33), (70, 72)] {
            let mut history = History::new(most);
            let most = history.most();
            assert_eq!((history.bytes(), history.held_bytes()), (&b""[..], 0));
            let mut all = Vec::new();
            for round in 0..300 {
                let piece: Vec<u8> = (0..round * 7 % 13 + round * 11 % 5 * 9).map(|at| (at + round) as u8).collect();
                history.add(&piece);
                all.extend_from_slice(&piece);
                assert_eq!(history.bytes(), &all[all.len().saturating_sub(most)..]);
                assert_eq!(history.held_bytes(), if all.is_empty() { 0 } else { held });
            }
            history.forget();
            assert_eq!((history.bytes(), history.held_bytes()), (&b""[..], 0));
        }
    }

    /// Bytes that come one by one move the others once for every thirty-second that is new.
    #[test]
    fn little_is_moved() {
        let mut history = History::new(32 * 1024);
        history.add(&[1; 32 * 1024]);
        let (mut moves, mut start) = (0, history.bytes.len());
        for _ in 0..32 * 1024 {
            history.add(b"a");
            moves += u32::from(history.bytes.len() < start);
            start = history.bytes.len();
        }
        assert_eq!(moves, 31);
        assert_eq!(history.bytes(), [b'a'; 32 * 1024]);
    }

    #[test]
    fn without_a_length_nothing_is_kept() {
        let mut history = History::new(0);
        history.add(b"abc");
        assert_eq!((history.bytes(), history.held_bytes()), (&b""[..], 0));
    }
}
