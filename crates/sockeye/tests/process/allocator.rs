//! The allocator of this program: the system's, and it counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::time::Instant;

static CALLS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicIsize = AtomicIsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often memory was asked for, since the program started.
pub(crate) fn calls() -> usize {
    CALLS.load(Ordering::Relaxed)
}

/// How many bytes are allocated now.
pub(crate) fn bytes_held() -> isize {
    BYTES.load(Ordering::Relaxed)
}

/// How many allocations the loop's pool may have made for itself since `begin`: once a second it looks at its spare buffers and gives
/// back those that were not needed, which are then allocated again. None within a second, which is enough for a test on a machine
/// that has nothing else to do. `buffers`: how many the test needs at once.
pub(crate) fn tidying(begin: Instant, buffers: usize) -> usize {
    let looks = usize::try_from(begin.elapsed().as_secs()).expect("a test ends");
    looks * (buffers + OF_A_LOOK)
}

/// The lists that a look sorts the buffers into.
const OF_A_LOOK: usize = 4;

struct Counting;

// SAFETY: all is passed on to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(size as isize - layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(block, layout, size) }
    }
}
