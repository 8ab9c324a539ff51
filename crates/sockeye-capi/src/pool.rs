//! Records that C programs have pointers to.
//!
//! A program may use a pointer after its connection has ended, or one that never was ours. Both are found out, and neither is
//! followed, because records are never given back to the allocator: a pointer is one of ours if it names a place in one of our
//! chunks, and what is there is always a record. Whether that is in use is up to the record.

use std::alloc::{Layout, alloc, handle_alloc_error};
use std::collections::VecDeque;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

/// Bytes of a chunk, and its alignment: the chunk of a pointer is found by its upper bits.
const CHUNK: usize = 1 << 16;

/// Records of one type. Those that were given back are used again in their order, so that one stays unused as long as possible.
pub(crate) struct Pool<T: 'static> {
    /// Addresses of the chunks, in order.
    chunks: RwLock<Vec<usize>>,
    /// Chunks that were found last, by the lowest bits of their number.
    recent: [AtomicUsize; 16],
    /// One that was named last, and will be looked for next, as the record of a callback is.
    last: Link<T>,
    free: Mutex<VecDeque<&'static T>>,
}

impl<T: Default + Sync> Pool<T> {
    const RECORDS: usize = CHUNK / size_of::<T>();

    pub(crate) const fn new() -> Self {
        Self {
            chunks: RwLock::new(Vec::new()),
            recent: [const { AtomicUsize::new(0) }; 16],
            last: Link(AtomicPtr::new(ptr::null_mut())),
            free: Mutex::new(VecDeque::new()),
        }
    }

    /// A record that is not in use.
    pub(crate) fn take(&self) -> &'static T {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.is_empty() {
            self.grow(&mut free);
        }
        free.pop_front().expect("`grow` adds at least one, as it asserts")
    }

    /// Gives a record back, whose owner has cleared it.
    pub(crate) fn give(&self, record: &'static T) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push_back(record);
    }

    fn grow(&self, free: &mut VecDeque<&'static T>) {
        const { assert!(CHUNK / size_of::<T>() > 0 && align_of::<T>() <= CHUNK, "a chunk has at least one record") };
        let layout = Layout::from_size_align(CHUNK, CHUNK).expect("both are the same power of two");
        // SAFETY: the layout has a size.
        let start = unsafe { alloc(layout) }.cast::<T>();
        if start.is_null() {
            handle_alloc_error(layout);
        }
        for at in 0..Self::RECORDS {
            // SAFETY: `RECORDS` records fit into the chunk, it is aligned for any of them, and it is not in `chunks` yet. It is never
            // freed, so a reference to it may be static.
            free.push_back(unsafe {
                let record = start.add(at);
                record.write(T::default());
                &*record
            });
        }
        let mut chunks = self.chunks.write().unwrap_or_else(PoisonError::into_inner);
        let at = chunks.partition_point(|&chunk| chunk < start.addr());
        chunks.insert(at, start.expose_provenance());
    }

    /// The record that this is the address of, in use or not. `None`: it is another address.
    #[inline]
    pub(crate) fn find(&self, pointer: *const T) -> Option<&'static T> {
        let last = self.last.get();
        // No record is at the address null: where nothing was named, a null pointer finds nothing.
        let address = last.map_or(ptr::null(), ptr::from_ref);
        if ptr::eq(address, pointer) { last } else { self.search(pointer) }
    }

    /// This record will be looked for next, as that of a callback is.
    #[inline]
    pub(crate) fn remember(&self, record: &'static T) {
        self.last.set(Some(record));
    }

    /// Not inlined, so that [`find`](Self::find) stays short for the record that was named last.
    #[inline(never)]
    fn search(&self, pointer: *const T) -> Option<&'static T> {
        let chunk = pointer.addr() & !(CHUNK - 1);
        let recent = &self.recent[(chunk / CHUNK) % self.recent.len()];
        if chunk == 0 || (recent.load(Ordering::Relaxed) != chunk && !self.look_up(chunk, recent)) {
            return None;
        }
        let offset = pointer.addr() - chunk;
        if offset % size_of::<T>() != 0 || offset / size_of::<T>() >= Self::RECORDS {
            return None;
        }
        // SAFETY: it is the address of a record of one of our chunks, all of which were written when the chunk was made, and are
        // never freed or moved.
        Some(unsafe { &*ptr::with_exposed_provenance::<T>(pointer.addr()) })
    }

    #[cold]
    fn look_up(&self, chunk: usize, recent: &AtomicUsize) -> bool {
        let is_ours = self.chunks.read().unwrap_or_else(PoisonError::into_inner).binary_search(&chunk).is_ok();
        if is_ours {
            recent.store(chunk, Ordering::Relaxed);
        }
        is_ours
    }
}

/// A reference to a record, or to none, that any thread may read or replace.
pub(crate) struct Link<T: 'static>(AtomicPtr<T>);

impl<T: Sync> Link<T> {
    #[inline]
    pub(crate) fn get(&self) -> Option<&'static T> {
        // SAFETY: only `set` stores here, and that takes static references.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }
    }

    #[inline]
    pub(crate) fn set(&self, record: Option<&'static T>) {
        let pointer = record.map_or(ptr::null_mut(), |record| ptr::from_ref(record).cast_mut());
        self.0.store(pointer, Ordering::Release);
    }
}

impl<T> Default for Link<T> {
    fn default() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }
}

/// A record that another belongs to, whose type the other does not know: the pool of the owner does.
#[derive(Default)]
pub(crate) struct Owner(AtomicPtr<()>);

impl Owner {
    pub(crate) fn set<T: Sync>(&self, owner: Option<&'static T>) {
        let pointer = owner.map_or(ptr::null_mut(), |owner| ptr::from_ref(owner).cast_mut().cast());
        self.0.store(pointer, Ordering::Release);
    }

    /// As another one.
    pub(crate) fn copy(&self, other: &Self) {
        self.0.store(other.0.load(Ordering::Acquire), Ordering::Release);
    }
}

impl<T: Default + Sync> Pool<T> {
    /// The record that `owner` means, if it means one of this pool.
    #[inline]
    pub(crate) fn owner(&self, owner: &Owner) -> Option<&'static T> {
        self.find(owner.0.load(Ordering::Acquire).cast_const().cast())
    }
}

#[cfg(test)]
mod tests {
    use std::ptr;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::{CHUNK, Link, Pool};

    static POOL: Pool<AtomicU64> = Pool::new();

    #[test]
    fn pointers_are_ours_or_not() {
        let records: Vec<_> = (0..3 * CHUNK / 8).map(|_| POOL.take()).collect();
        for (number, record) in (0..).zip(&records) {
            record.store(number, Ordering::Relaxed);
        }
        for (number, record) in (0..).zip(&records) {
            let found = POOL.find(ptr::from_ref(*record)).expect("one of ours");
            assert_eq!(found.load(Ordering::Relaxed), number);
        }
        let one = ptr::from_ref(records[7]);
        let unlike =
            [ptr::null(), one.wrapping_byte_add(1), one.wrapping_byte_sub(4), ptr::without_provenance(CHUNK * 3 + 8)];
        for pointer in unlike {
            assert!(POOL.find(pointer).is_none(), "{pointer:?}");
        }
        let outside = AtomicU64::new(0);
        assert!(POOL.find(&raw const outside).is_none());
        records.into_iter().for_each(|record| POOL.give(record));
    }

    #[test]
    fn records_are_used_again_as_late_as_possible() {
        #[derive(Default)]
        struct Large([[AtomicU64; 32]; 16]);
        static OWN: Pool<Large> = Pool::new();
        let first = OWN.take();
        OWN.give(first);
        for _ in 1..CHUNK / size_of::<Large>() {
            assert!(!ptr::eq(OWN.take(), first));
        }
        assert!(ptr::eq(OWN.take(), first));
        assert_eq!(first.0[0][0].load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_link_is_what_was_set() {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let link = Link::default();
        assert!(link.get().is_none());
        link.set(Some(&NUMBER));
        assert!(ptr::eq(link.get().unwrap(), &raw const NUMBER));
        link.set(None);
        assert!(link.get().is_none());
    }
}
