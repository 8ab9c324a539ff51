//! What this process itself uses: figures of a load that was short of time are figures of the load.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// CPU time in nanoseconds of the threads of this process, if the system tells.
///
/// Read from `/proc`, once at each end: a clock of the process is a call that rustix makes by way of the vDSO, which valgrind
/// hides, and work is counted with valgrind.
pub(crate) fn cpu() -> Option<u64> {
    let threads = fs::read_dir("/proc/self/task").ok()?;
    let read = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("schedstat")).ok();
    let times = threads.flatten().filter_map(read).filter_map(|text| text.split(' ').next()?.parse::<u64>().ok());
    // Without one number there is none for this process.
    times.reduce(|sum, time| sum + time)
}

/// Takes as many descriptors as the system lets this process have: every connection needs one.
pub(crate) fn take_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    // If refused, the limit stays as it is, and connecting reports what is missing.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        if fs::exists("/proc/self/schedstat").unwrap_or(false) {
            assert!(cpu().unwrap() > 0);
        }
    }
}
