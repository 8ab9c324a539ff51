//! The process's use of system resources.

use std::{fs, io};

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, getrlimit};

/// Descriptors: how many are open, and the limit at this moment. `None`: unknown, or no limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    pub(super) descriptors: Option<usize>,
    pub(super) limit: Option<u64>,
}

impl Usage {
    pub(super) fn now() -> Self {
        // Reading the folder takes one.
        let descriptors = fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count().saturating_sub(1));
        Self { descriptors, limit: getrlimit(Resource::Nofile).current }
    }
}

/// Makes the kernel's table of descriptors as large as `connections` need. It doubles when it is full, and while a process has
/// several threads that takes some 10 ms, during which the loop waits.
pub(super) fn enlarge_table(connections: Option<usize>) {
    let wanted = connections.map_or(u64::MAX, |count| count as u64).saturating_add(OTHERS).min(MOST);
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let last = i32::try_from(wanted.min(limit).saturating_sub(1)).unwrap_or(0);
    // If the kernel has no memory for it now, it grows later.
    drop(fcntl_dupfd_cloexec(io::stdin(), last));
}

/// Descriptors that are not those of connections.
const OTHERS: u64 = 64;

/// A larger table takes more than half a MiB of the kernel's memory.
const MOST: u64 = 64 * 1024;
