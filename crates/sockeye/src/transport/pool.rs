//! Buffers that connections borrow while they need them, so that an idle connection owns none and a busy one
//! allocates none.

use std::cell::OnceCell;
use std::collections::TryReserveError;
use std::rc::Rc;
use std::time::Duration;

use sockeye_proto::time::Instant;

use crate::transport::account::{Account, Charge};

/// How many spare buffers are kept.
const SPARE: usize = 64;
/// How many bytes all spare buffers may hold together, at most.
const SPARE_BYTES: usize = 16 * 1024 * 1024;
/// They are held for no peer, so they are not in the account; they take at most this part of what may be held.
const SPARE_PART: usize = 32;
/// How many buffers stay that were not needed for [`IDLE`]. A small one too keeps all that a crowd had below it on the
/// heap.
const IDLE_SPARE: usize = 8;
/// How many bytes stay in them, and no middling ones: the memory of a burst of large messages is freed.
const IDLE_BYTES: usize = 1024 * 1024;
const IDLE: Duration = Duration::from_secs(1);
/// From this capacity on the allocator maps a buffer by itself.
pub(crate) const MAPPED: usize = 128 * 1024;

/// The smallest block for what is too long for the heap. glibc leaves up to 128 KiB at the end of its heap when it grows
/// (`M_TOP_PAD` in mallopt(3)), and takes a block that fits from there.
pub(crate) const BLOCK: usize = 160 * 1024;

/// A buffer that grows with what a peer sends is on the allocator's heap up to this capacity, and then at once in a
/// mapping of its own: among blocks of a crowd that has gone, one that stays keeps the whole heap.
pub(crate) const HEAP: usize = 4 * 1024;
/// What must be left after a large buffer has grown, for the small allocations of the program, which cannot fail.
const LEFT: usize = 1024 * 1024;

/// Spare buffers, empty and with their memory.
///
/// Those of middling size are apart. Records that are incomplete, or did not leave, need them, and no large ones, which would be
/// missing where long messages are collected.
///
/// Invariants: `spare.len() <= SPARE`, and so `middling.len()`; the sum of all capacities is `bytes <= most`; `look_at` is
/// set while [`is_much`](Self::is_much) (from the end of the turn on).
pub(crate) struct Pool {
    /// Where the bytes are counted that are held for peers.
    account: Rc<Account>,
    spare: Vec<Vec<u8>>,
    /// Those of [middling size](is_middling).
    middling: Vec<Vec<u8>>,
    bytes: usize,
    /// How many bytes the spare buffers may hold together.
    most: usize,
    /// How many buffers at the bottom of the stack were not needed since `look_at` was set.
    unused: usize,
    /// As many of middling size.
    unused_middling: usize,
    look_at: Option<Instant>,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            account: Rc::default(),
            spare: Vec::new(),
            middling: Vec::new(),
            bytes: 0,
            most: SPARE_BYTES,
            unused: 0,
            unused_middling: 0,
            look_at: None,
        }
    }
}

impl Pool {
    /// So much may be held for peers.
    pub(crate) fn set_limit(&mut self, bytes: usize) {
        self.account.set_limit(bytes);
        self.most = SPARE_BYTES.min(bytes / SPARE_PART);
    }

    /// Where the bytes are counted that are held for peers.
    pub(crate) fn account(&self) -> &Rc<Account> {
        &self.account
    }

    /// An empty buffer, with memory if there is a spare one.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let Some(buffer) = self.spare.pop() else { return self.take_middling() };
        self.bytes -= buffer.capacity();
        self.unused = self.unused.min(self.spare.len());
        buffer
    }

    /// An empty buffer for less than a long message, with memory if there is a spare one of middling size.
    pub(crate) fn take_middling(&mut self) -> Vec<u8> {
        let buffer = self.middling.pop().unwrap_or_default();
        self.bytes -= buffer.capacity();
        self.unused_middling = self.unused_middling.min(self.middling.len());
        buffer
    }

    /// Gives a buffer back.
    pub(crate) fn give(&mut self, mut buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        let place = if is_middling(capacity) { &mut self.middling } else { &mut self.spare };
        if capacity == 0 || place.len() >= SPARE || capacity > self.most - self.bytes {
            release(buffer);
            return;
        }
        buffer.clear();
        self.bytes += capacity;
        place.push(buffer);
    }

    /// When [`tidy`](Self::tidy) has something to do.
    pub(crate) fn look_at(&self) -> Option<Instant> {
        self.look_at
    }

    /// Frees buffers that were unused for a while. Called once a turn.
    #[inline]
    pub(crate) fn tidy(&mut self, now: Instant) {
        if self.is_much() {
            self.look(now);
        } else {
            self.look_at = None;
        }
    }

    fn is_much(&self) -> bool {
        self.spare.len() > IDLE_SPARE || self.bytes > IDLE_BYTES || !self.middling.is_empty()
    }

    #[cold]
    fn look(&mut self, now: Instant) {
        if self.look_at.is_some_and(|at| at > now) {
            return;
        }
        if self.look_at.is_some() {
            self.free_unused();
        }
        (self.unused, self.unused_middling) = (self.spare.len(), self.middling.len());
        self.look_at = self.is_much().then_some(now + IDLE);
    }

    /// Frees as many as were not needed: those of middling size and large ones first, then of the small ones those at the end
    /// of the heap. What was used last stays on top.
    fn free_unused(&mut self) {
        for buffer in self.middling.drain(..self.unused_middling) {
            self.bytes -= buffer.capacity();
        }
        let all = std::mem::replace(&mut self.spare, Vec::with_capacity(SPARE));
        let (mut bytes, mut large, mut small) = (self.bytes, Vec::new(), Vec::new());
        let mut unused_small = 0;
        for (place, buffer) in all.into_iter().enumerate() {
            let is_unused = place < self.unused;
            if is_unused && bytes > IDLE_BYTES {
                bytes -= buffer.capacity();
                release(buffer);
            } else if buffer.capacity() > HEAP {
                large.push(buffer);
            } else {
                unused_small += usize::from(is_unused);
                small.push(buffer);
            }
        }
        small.sort_unstable_by_key(Vec::as_ptr);
        let too_many = (small.len() + large.len()).saturating_sub(IDLE_SPARE).min(unused_small);
        for buffer in small.split_off(small.len() - too_many) {
            bytes -= buffer.capacity();
        }
        self.bytes = bytes;
        self.spare.extend(small.into_iter().rev().chain(large));
    }
}

/// Whether it is a buffer on the allocator's heap that is larger than the small allocations around it. One that stays keeps all
/// that a crowd had below it.
fn is_middling(capacity: usize) -> bool {
    (HEAP + 1..MAPPED).contains(&capacity)
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.spare.drain(..).for_each(release);
    }
}

/// A buffer that [`make_room`] makes room in.
pub(crate) trait Room {
    fn len(&self) -> usize;
    fn capacity(&self) -> usize;
    fn try_reserve_exact(&mut self, more: usize) -> Result<(), TryReserveError>;
    fn shrink_to(&mut self, capacity: usize);
}

impl Room for Vec<u8> {
    fn len(&self) -> usize {
        self.len()
    }

    fn capacity(&self) -> usize {
        self.capacity()
    }

    fn try_reserve_exact(&mut self, more: usize) -> Result<(), TryReserveError> {
        self.try_reserve_exact(more)
    }

    fn shrink_to(&mut self, capacity: usize) {
        self.shrink_to(capacity);
    }
}

impl Room for String {
    fn len(&self) -> usize {
        self.len()
    }

    fn capacity(&self) -> usize {
        self.capacity()
    }

    fn try_reserve_exact(&mut self, more: usize) -> Result<(), TryReserveError> {
        self.try_reserve_exact(more)
    }

    fn shrink_to(&mut self, capacity: usize) {
        self.shrink_to(capacity);
    }
}

/// Makes room for `more` bytes in a buffer that will never hold more than `most`. It grows at least twofold, but not beyond
/// `most` or the smallest block that is mapped. An error if the memory cannot be had, with the buffer as it was: a peer decided how
/// much, so it must not end the process.
pub(crate) fn make_room(buffer: &mut impl Room, more: usize, most: usize) -> Result<(), TryReserveError> {
    if more <= buffer.capacity() - buffer.len() { Ok(()) } else { grow(buffer, more, most, left) }
}

/// `probe` says whether enough memory is left.
#[cold]
fn grow(
    buffer: &mut impl Room,
    more: usize,
    most: usize,
    probe: fn() -> Result<(), TryReserveError>,
) -> Result<(), TryReserveError> {
    let len = buffer.len();
    let needed = len.saturating_add(more);
    let doubled = needed.max(buffer.capacity().saturating_mul(2));
    let wanted = doubled.min(most).max(needed);
    let wanted = if wanted > HEAP { wanted.max(BLOCK) } else { wanted };
    let before = buffer.capacity();
    buffer.try_reserve_exact(wanted - len).or_else(|_| buffer.try_reserve_exact(more))?;
    if buffer.capacity() >= MAPPED {
        let result = probe();
        if result.is_err() {
            buffer.shrink_to(before.max(1));
        }
        return result;
    }
    Ok(())
}

/// Whether memory is left for the small allocations of the program.
fn left() -> Result<(), TryReserveError> {
    let mut left = Vec::new();
    let result = left.try_reserve_exact(LEFT);
    // The optimiser removes an allocation that is not looked at.
    release(std::hint::black_box(left));
    result
}

/// Gives memory back to the system.
///
/// Freeing a large mapped block teaches glibc's allocator to serve blocks of that size from its
/// heap from then on (`M_MMAP_THRESHOLD` in mallopt(3)), where up to twice as much stays behind
/// after a burst. A small one teaches it nothing.
pub(crate) fn release(mut buffer: Vec<u8>) {
    if buffer.capacity() >= MAPPED {
        buffer.clear();
        buffer.shrink_to(1);
    }
}

/// Bytes that give their memory back to the system when they are dropped; see [`release`].
#[derive(Debug, Default)]
pub(crate) struct Buffer(pub(crate) Vec<u8>, OnceCell<Charge>);

impl Buffer {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self(bytes, OnceCell::new())
    }

    /// Counts its memory as held for a peer until it is dropped or taken. Several may share it: it is counted once.
    pub(crate) fn hold(&self, account: &Rc<Account>) {
        self.1.get_or_init(|| {
            let mut held = Charge::default();
            held.set(account, self.0.capacity());
            held
        });
    }

    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.1.take();
        std::mem::take(&mut self.0)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        release(self.take());
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
        let mut small = Pool::default();
        small.set_limit(1024 * 1024);
        small.give(Vec::with_capacity(32 * 1024));
        small.give(Vec::with_capacity(1));
        assert_eq!(
            (small.bytes, small.middling.len(), small.spare.len()),
            (32 * 1024, 1, 0),
            "a small limit leaves little to spare"
        );
        pool.give(Vec::with_capacity(SPARE_BYTES + 1));
        assert!(pool.bytes <= SPARE_BYTES);
    }

    #[test]
    fn records_leave_large_buffers_to_long_messages() {
        let mut pool = Pool::default();
        pool.give(Vec::with_capacity(1024 * 1024));
        pool.give(Vec::with_capacity(20_000));
        assert_eq!(pool.take().capacity(), 1024 * 1024);
        pool.give(Vec::with_capacity(1024 * 1024));
        assert_eq!(pool.take_middling().capacity(), 20_000);
        assert_eq!(pool.take_middling().capacity(), 0);
        assert_eq!(pool.bytes, 1024 * 1024);
        // Any is better than none.
        pool.give(Vec::with_capacity(20_000));
        assert_eq!([0; 3].map(|_| pool.take().capacity()), [1024 * 1024, 20_000, 0]);
        assert_eq!(pool.bytes, 0);
    }

    #[test]
    fn a_buffer_grows_twofold_in_large_blocks_and_never_beyond_its_most() {
        let mut buffer = Vec::new();
        let mut seen = Vec::new();
        for _ in 0..16 * 1024 {
            make_room(&mut buffer, 1024, 16 * 1024 * 1024).unwrap();
            buffer.extend_from_slice(&[7; 1024]);
            if seen.last() != Some(&buffer.capacity()) {
                seen.push(buffer.capacity());
            }
        }
        let small = [1, 2, 4].map(|kib| kib * 1024);
        let large = (0..7).map(|power| BLOCK << power).chain([16 * 1024 * 1024]);
        assert_eq!(seen, small.into_iter().chain(large).collect::<Vec<_>>());

        // What is between the sizes of small allocations and of mapped blocks is never on the heap.
        for (more, most) in [(100_000, 100_000), (5000, 6000), (5000, usize::MAX)] {
            let mut buffer = Vec::new();
            make_room(&mut buffer, more, most).unwrap();
            assert_eq!(buffer.capacity(), BLOCK);
        }
        let mut buffer = vec![7; 10_000_000];
        make_room(&mut buffer, 1, 10_000_001).unwrap();
        assert_eq!(buffer.capacity(), 10_000_001);
    }

    #[test]
    fn memory_that_cannot_be_had_is_an_error() {
        for more in [usize::MAX, isize::MAX as usize, 1 << 62] {
            let mut buffer = vec![7; 3];
            assert!(make_room(&mut buffer, more, usize::MAX).is_err());
            assert_eq!(buffer, [7; 3]);
        }
    }

    /// When little memory is left for the others a buffer does not grow, and loses nothing.
    #[test]
    fn a_buffer_that_may_not_grow_is_as_it_was() {
        let refused = || Vec::<u8>::new().try_reserve_exact(usize::MAX);
        for (held, capacity) in [(0, 0), (3000, 4096), (BLOCK, BLOCK), (1 << 20, 1 << 20)] {
            let mut buffer = Vec::with_capacity(capacity);
            buffer.resize(held, 7_u8);
            assert!(grow(&mut buffer, 1 << 20, usize::MAX, refused).is_err());
            assert_eq!(buffer, vec![7; held]);
            assert!(buffer.capacity() <= capacity.max(1), "{}", buffer.capacity());
        }
        assert!(left().is_ok());
    }

    #[test]
    fn what_is_not_used_for_a_while_is_let_go() {
        let at = |millis: u64| Instant::from_nanos(millis * 1_000_000);
        let mut pool = Pool::default();
        pool.give(Vec::with_capacity(1000));
        pool.tidy(at(0));
        assert_eq!(pool.look_at(), None, "so little is kept");
        pool.give(Vec::with_capacity(100_000));
        pool.tidy(at(0));
        pool.tidy(at(1000));
        assert_eq!((pool.bytes, pool.look_at()), (1000, None), "its place on the heap is given back");

        let mut crowd: Vec<Vec<u8>> = (0..40).map(|_| Vec::with_capacity(1000)).collect();
        crowd.sort_unstable_by_key(Vec::as_ptr);
        let ends: Vec<_> = crowd.iter().map(Vec::as_ptr).take(IDLE_SPARE).collect();
        let mut small = Pool::default();
        crowd.into_iter().rev().for_each(|buffer| small.give(buffer));
        small.tidy(at(0));
        small.tidy(at(999));
        assert_eq!(small.spare.len(), 40);
        small.tidy(at(1000));
        let mut kept: Vec<_> = small.spare.iter().map(Vec::as_ptr).collect();
        kept.sort_unstable();
        assert_eq!((kept, small.bytes, small.look_at()), (ends, IDLE_SPARE * 1000, None), "the lowest stay");

        pool.give(Vec::with_capacity(SPARE_BYTES / 2));
        pool.tidy(at(0));
        assert_eq!(pool.look_at(), Some(at(1000)));
        let busy = pool.take();
        assert!(busy.capacity() > IDLE_BYTES);
        pool.give(busy);
        pool.tidy(at(1000));
        assert!(pool.bytes > IDLE_BYTES, "it was used");
        assert_eq!(pool.look_at(), Some(at(2000)));

        // Somebody may use another one all the time.
        pool.give(Vec::with_capacity(1000));
        let busy = pool.take();
        pool.give(busy);
        pool.tidy(at(1999));
        assert!(pool.bytes > IDLE_BYTES);
        pool.tidy(at(2000));
        assert!(pool.bytes <= IDLE_BYTES);
        assert_eq!(pool.look_at(), None, "nothing wakes an idle loop");
    }
}
