//! What is known to be no race, and what is known to be one: ThreadSanitizer must be silent about the first and report the second.
//! `known.c` calls a case from two threads at once.

use std::cell::UnsafeCell;
use std::collections::VecDeque;
use std::ffi::c_int;
use std::hint::black_box;
use std::sync::{Arc, Condvar, Mutex, RwLock};
use std::thread;

const ROUNDS: u64 = 2_000;

/// A number that any thread may get at, rightly or not.
struct Shared(UnsafeCell<u64>);

// SAFETY: three cases break the contract on purpose: ThreadSanitizer has to report them. In all others a lock is held around each use.
unsafe impl Sync for Shared {}

impl Shared {
    const fn new() -> Self {
        Self(UnsafeCell::new(0))
    }

    fn add(&self) {
        // SAFETY: see above.
        unsafe { *self.0.get() += black_box(1) }
    }
}

static NUMBER: Shared = Shared::new();

/// Both threads hold the lock while the other wants it.
fn lock() {
    static LOCK: Mutex<()> = Mutex::new(());
    for _ in 0..ROUNDS {
        let _locked = LOCK.lock().unwrap();
        NUMBER.add();
        thread::yield_now();
    }
}

fn lock_of_readers(thread: c_int) {
    static LOCK: RwLock<u64> = RwLock::new(0);
    for _ in 0..ROUNDS {
        if thread == 0 {
            *LOCK.write().unwrap() += 1;
        } else {
            black_box(*LOCK.read().unwrap());
        }
        thread::yield_now();
    }
}

/// One thread waits for what the other puts there.
fn condition(thread: c_int) {
    static QUEUE: Mutex<VecDeque<Box<u64>>> = Mutex::new(VecDeque::new());
    static FILLED: Condvar = Condvar::new();
    for round in 0..ROUNDS {
        let mut queue = QUEUE.lock().unwrap();
        if thread == 0 {
            queue.push_back(Box::new(round));
            FILLED.notify_one();
            continue;
        }
        while queue.is_empty() {
            queue = FILLED.wait(queue).unwrap();
        }
        let next = queue.pop_front().unwrap();
        drop(queue);
        assert_eq!(*next, round);
    }
}

/// The last owner ends what both have read.
fn owners() {
    static OWNED: Mutex<Option<Arc<Vec<u64>>>> = Mutex::new(None);
    for round in 0..ROUNDS {
        let own = {
            let mut owned = OWNED.lock().unwrap();
            match owned.take() {
                Some(owned) => owned,
                None => Arc::clone(owned.insert(Arc::new(vec![round; 4]))),
            }
        };
        black_box(own[0] + own[3]);
    }
    *OWNED.lock().unwrap() = None;
}

/// The lock is free again where it would be needed.
fn race_behind_a_lock() {
    static LOCK: Mutex<()> = Mutex::new(());
    for _ in 0..ROUNDS {
        drop(LOCK.lock().unwrap());
        NUMBER.add();
        thread::yield_now();
    }
}

/// Each thread has a lock of its own.
fn race_with_two_locks(thread: c_int) {
    static LOCKS: [Mutex<()>; 2] = [const { Mutex::new(()) }; 2];
    for _ in 0..ROUNDS {
        let _locked = LOCKS[usize::from(thread != 0)].lock().unwrap();
        NUMBER.add();
    }
}

/// Owners change what they share.
fn race_of_owners() {
    static OWNED: Mutex<Option<Arc<Shared>>> = Mutex::new(None);
    for _ in 0..ROUNDS {
        let own = Arc::clone(OWNED.lock().unwrap().get_or_insert_with(|| Arc::new(Shared::new())));
        own.add();
    }
}

/// Runs a case. Returns whether there is one of that number.
#[unsafe(no_mangle)]
pub extern "C" fn known(case: c_int, thread: c_int) -> bool {
    match case {
        0 => lock(),
        1 => lock_of_readers(thread),
        2 => condition(thread),
        3 => owners(),
        4 => race_behind_a_lock(),
        5 => race_with_two_locks(thread),
        6 => race_of_owners(),
        _ => return false,
    }
    true
}
