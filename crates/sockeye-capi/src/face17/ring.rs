//! `lws_ring_*`: a ring of equal elements with one writer and any number of readers, each of which keeps its own tail.
//!
//! Tails are offsets in bytes, and stored by the program. One element of the ring stays empty, so that a full ring differs
//! from an empty one. Programs insert on one thread and consume on another without a lock (driftnet does), so the two offsets
//! that both sides read are atomics: an element is written before the head that covers it is published.

use std::ffi::c_void;
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};

use crate::pool::Pool;

/// A ring of a program.
#[derive(Debug, Default)]
pub struct Ring {
    offsets: Offsets,
    /// Memory of `units` times 16 bytes, as malloc(3) aligns. NULL: the record is nobody's.
    memory: AtomicPtr<u128>,
    units: AtomicUsize,
    /// The program's function for an element without readers.
    destroy: AtomicPtr<c_void>,
}

/// What a program has elements destroyed by.
pub type Destroy = unsafe extern "C" fn(*mut c_void);

static RINGS: Pool<Ring> = Pool::new();

impl Ring {
    /// A ring for `count` elements of `element` bytes, one of which stays empty. `None` if there is nothing to count.
    pub(crate) fn create(element: usize, count: usize, destroy: Option<Destroy>) -> Option<&'static Self> {
        let bytes = Offsets::bytes_of(element, count)?;
        let memory = vec![0_u128; (bytes as usize).div_ceil(size_of::<u128>())].into_boxed_slice();
        let ring = RINGS.take();
        ring.offsets.reset(u32::try_from(element).ok()?, bytes);
        ring.units.store(memory.len(), Ordering::Relaxed);
        ring.destroy.store(destroy.map_or(ptr::null_mut(), |destroy| destroy as *mut c_void), Ordering::Relaxed);
        ring.memory.store(Box::into_raw(memory).cast(), Ordering::Release);
        Some(ring)
    }

    /// The ring that a program's pointer means.
    pub(crate) fn find(pointer: *const Self) -> Option<&'static Self> {
        RINGS.find(pointer).filter(|ring| !ring.memory.load(Ordering::Acquire).is_null())
    }

    /// Destroys the elements that are left, and the ring.
    pub(crate) fn release(&'static self) {
        self.forget_until(self.offsets.head());
        let memory = self.memory.swap(ptr::null_mut(), Ordering::AcqRel);
        if memory.is_null() {
            return;
        }
        let units = self.units.swap(0, Ordering::Relaxed);
        // SAFETY: `create` made it of a box of so many units, and the swap gave it to this call alone.
        drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(memory, units)) });
        RINGS.give(self);
    }

    pub(crate) fn offsets(&self) -> &Offsets {
        &self.offsets
    }

    /// Where the element at `tail` is. `None` if none waits there.
    pub(crate) fn element(&self, tail: u32) -> Option<*mut c_void> {
        (self.offsets.waiting(tail) > 0).then(|| self.at(tail))
    }

    /// Copies as many elements in as there is room for. Returns how many.
    ///
    /// # Safety
    /// `from` has `count` elements.
    pub(crate) unsafe fn insert(&self, from: *const c_void, count: usize) -> usize {
        let count = count.min(self.offsets.free());
        let element = self.offsets.element();
        for index in 0..count {
            let head = self.offsets.head();
            // SAFETY: the caller says that so many are there; the element at the head is inside the memory, and no reader's, as it
            // counts as free.
            unsafe { ptr::copy_nonoverlapping(from.cast::<u8>().add(index * element), self.at(head).cast(), element) };
            self.offsets.publish(self.offsets.after(head));
        }
        count
    }

    /// Copies up to `count` elements from `tail` on out, or only passes over them without a place to copy to. Returns how many,
    /// and the tail behind them.
    ///
    /// # Safety
    /// `to` is NULL or has room for `count` elements.
    pub(crate) unsafe fn consume(&self, tail: u32, to: *mut c_void, count: usize) -> (usize, u32) {
        let count = count.min(self.offsets.waiting(tail));
        let element = self.offsets.element();
        let mut tail = tail;
        for index in 0..count {
            if !to.is_null() {
                // SAFETY: the caller says that there is room for so many; the element is one of the memory's, and published.
                unsafe {
                    ptr::copy_nonoverlapping(self.at(tail).cast(), to.cast::<u8>().add(index * element), element)
                };
            }
            tail = self.offsets.after(tail);
        }
        (count, tail)
    }

    /// Destroys what is before `tail`, and gives its room back.
    pub(crate) fn forget_until(&self, tail: u32) {
        if !self.offsets.is_tail(tail) {
            return;
        }
        let destroy = self.destroy.load(Ordering::Relaxed);
        let mut oldest = self.offsets.oldest();
        while oldest != tail && self.offsets.waiting(oldest) > 0 {
            if !destroy.is_null() {
                // SAFETY: `create` stored it of a function of this type, and gets an element that the program inserted.
                unsafe { mem::transmute::<*mut c_void, Destroy>(destroy)(self.at(oldest)) };
            }
            oldest = self.offsets.after(oldest);
        }
        self.offsets.release(tail);
    }

    /// The address of the element at an offset, which is inside the memory.
    fn at(&self, offset: u32) -> *mut c_void {
        self.memory.load(Ordering::Acquire).cast::<u8>().wrapping_add(offset as usize).cast()
    }
}

/// Offsets into the bytes of a ring: arithmetic only, no bytes.
#[derive(Debug, Default)]
pub struct Offsets {
    element: AtomicU32,
    bytes: AtomicU32,
    head: AtomicU32,
    oldest: AtomicU32,
}

impl Offsets {
    /// Bytes of `count` elements of `element` bytes. `None` if that is nothing, or more than an offset can say.
    #[must_use]
    pub fn bytes_of(element: usize, count: usize) -> Option<u32> {
        let bytes = element.checked_mul(count).filter(|bytes| *bytes != 0)?;
        u32::try_from(bytes).ok().filter(|bytes| *bytes <= i32::MAX.unsigned_abs())
    }

    fn reset(&self, element: u32, bytes: u32) {
        self.element.store(element, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
        self.head.store(0, Ordering::Relaxed);
        self.oldest.store(0, Ordering::Relaxed);
    }

    /// Bytes of an element.
    #[must_use]
    pub fn element(&self) -> usize {
        self.element.load(Ordering::Relaxed) as usize
    }

    /// The tail of the slowest reader.
    #[must_use]
    pub fn oldest(&self) -> u32 {
        self.oldest.load(Ordering::Acquire)
    }

    /// Where the next element goes.
    #[must_use]
    pub fn head(&self) -> u32 {
        self.head.load(Ordering::Acquire)
    }

    /// Elements between `tail` and the head. A tail that no element begins at waits for none.
    #[must_use]
    pub fn waiting(&self, tail: u32) -> usize {
        if !self.is_tail(tail) {
            return 0;
        }
        self.distance(tail, self.head()) as usize / self.element()
    }

    /// Elements that may be inserted.
    #[must_use]
    pub fn free(&self) -> usize {
        let used = self.distance(self.oldest(), self.head());
        ((self.bytes() - used) as usize / self.element()).saturating_sub(1)
    }

    /// The offset of the element after `tail`.
    #[must_use]
    pub fn after(&self, tail: u32) -> u32 {
        let next = tail + self.element.load(Ordering::Relaxed);
        if next >= self.bytes() { 0 } else { next }
    }

    /// Makes the elements before `head` visible to readers.
    pub fn publish(&self, head: u32) {
        self.head.store(head, Ordering::Release);
    }

    /// Gives the room before `tail` back to the writer.
    pub fn release(&self, tail: u32) {
        self.oldest.store(tail, Ordering::Release);
    }

    /// Whether an element begins at `tail`. A program's variable that was never set must not lead out of the ring.
    #[must_use]
    pub fn is_tail(&self, tail: u32) -> bool {
        tail < self.bytes() && tail.checked_rem(self.element.load(Ordering::Relaxed)) == Some(0)
    }

    fn distance(&self, from: u32, to: u32) -> u32 {
        if to >= from { to - from } else { self.bytes() - from + to }
    }

    fn bytes(&self) -> u32 {
        self.bytes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(element: usize, count: usize) -> Offsets {
        let offsets = Offsets::default();
        offsets.reset(u32::try_from(element).unwrap(), Offsets::bytes_of(element, count).unwrap());
        offsets
    }

    #[test]
    fn nothing_to_count_is_no_ring() {
        assert_eq!([Offsets::bytes_of(0, 4), Offsets::bytes_of(4, 0), Offsets::bytes_of(usize::MAX, 2)], [None; 3]);
        assert!(Offsets::bytes_of(1, i32::MAX as usize + 1).is_none());
        assert!(Offsets::bytes_of(1, i32::MAX as usize).is_some());
    }

    #[test]
    fn one_element_stays_empty() {
        for (count, holds) in [(1, 0), (2, 1), (4, 3)] {
            let ring = offsets(4, count);
            assert_eq!(ring.free(), holds);
            assert_eq!(ring.waiting(0), 0);
        }
    }

    #[test]
    fn tails_go_around() {
        let ring = offsets(4, 4);
        let mut head = 0;
        let mut tail = 0;
        for _ in 0..25 {
            assert_eq!(ring.free(), 3);
            for filled in 1..=3 {
                head = ring.after(head);
                ring.publish(head);
                assert_eq!((ring.waiting(tail), ring.free()), (filled, 3 - filled));
            }
            for left in (0..3).rev() {
                tail = ring.after(tail);
                ring.release(tail);
                assert_eq!((ring.waiting(tail), ring.free()), (left, 3 - left));
            }
        }
    }

    #[test]
    fn a_tail_that_is_none_waits_for_nothing() {
        let ring = offsets(4, 4);
        ring.publish(8);
        assert_eq!([0, 4, 8, 12, 16, 1, 7, u32::MAX].map(|tail| ring.waiting(tail)), [2, 1, 0, 3, 0, 0, 0, 0]);
    }

    static DESTROYED: AtomicU32 = AtomicU32::new(0);

    extern "C" fn destroy(element: *mut c_void) {
        // SAFETY: the ring has elements of this type.
        DESTROYED.fetch_add(unsafe { *element.cast::<u32>() }, Ordering::Relaxed);
    }

    #[test]
    fn elements_are_copied_in_and_out_and_destroyed_once() {
        let ring = Ring::create(4, 4, Some(destroy)).unwrap();
        let numbers = [1_u32, 2, 3, 4, 5];
        let mut out = [0_u32; 8];
        let mut tail = 0;
        // SAFETY: the arrays have as many elements as is said.
        unsafe {
            assert_eq!(ring.insert(numbers.as_ptr().cast(), 5), 3);
            assert_eq!(ring.insert(numbers.as_ptr().cast(), 5), 0);
            let (count, after) = ring.consume(tail, out.as_mut_ptr().cast(), 2);
            assert_eq!((count, after, out[0], out[1]), (2, 8, 1, 2));
            tail = after;
            assert_eq!(ring.offsets().free(), 0);
            ring.forget_until(tail);
            assert_eq!((ring.offsets().free(), DESTROYED.load(Ordering::Relaxed)), (2, 3));
            assert_eq!(ring.insert(numbers[3..].as_ptr().cast(), 2), 2);
            assert_eq!(ring.consume(tail, ptr::null_mut(), 9), (3, 4));
            assert_eq!((ring.element(4), *ring.element(8).unwrap().cast::<u32>()), (None, 3));
        }
        assert!(Ring::find(ptr::from_ref(ring)).is_some());
        ring.release();
        assert_eq!(DESTROYED.load(Ordering::Relaxed), 15);
        assert!(Ring::find(ptr::from_ref(ring)).is_none());
        assert!(Ring::find(ptr::null()).is_none());
    }
}
