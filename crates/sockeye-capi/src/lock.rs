//! Locking.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks what no panic leaves half done: single assignments, pushes, removals.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
