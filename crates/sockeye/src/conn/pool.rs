//! Buffers that connections borrow while they need them, so that an idle connection owns none and a busy one
//! allocates none.

/// How many spare buffers are kept.
const SPARE: usize = 64;
/// How many bytes all spare buffers may hold together.
const SPARE_BYTES: usize = 16 * 1024 * 1024;

/// Spare buffers, empty and with their memory.
///
/// Invariants: `spare.len() <= SPARE`; the sum of capacities is `bytes <= SPARE_BYTES`.
#[derive(Default)]
pub(crate) struct Pool {
    spare: Vec<Vec<u8>>,
    bytes: usize,
}

impl Pool {
    /// An empty buffer, with memory if there is a spare one.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let buffer = self.spare.pop().unwrap_or_default();
        self.bytes -= buffer.capacity();
        buffer
    }

    /// Gives a buffer back.
    pub(crate) fn give(&mut self, mut buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        if capacity == 0 || self.spare.len() >= SPARE || capacity > SPARE_BYTES - self.bytes {
            return;
        }
        buffer.clear();
        self.bytes += capacity;
        self.spare.push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_with_its_memory_and_the_hoard_is_bounded() {
        let mut pool = Pool::default();
        pool.give(Vec::with_capacity(100));
        assert!(pool.take().capacity() >= 100);
        assert_eq!(pool.take().capacity(), 0);
        for _ in 0..SPARE * 2 {
            pool.give(Vec::with_capacity(1024 * 1024));
        }
        assert!(pool.bytes <= SPARE_BYTES && pool.spare.len() <= SPARE);
        pool.give(Vec::with_capacity(SPARE_BYTES + 1));
        assert!(pool.bytes <= SPARE_BYTES);
    }
}
