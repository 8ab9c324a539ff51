//! The process's use of system resources.

use std::fs;

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
