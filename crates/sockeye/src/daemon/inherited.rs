//! Descriptors that this process got from whoever started it.
//!
//! What to know before editing: nothing is closed here. Closing a number that somebody owns would have them use a stranger's
//! file later; a mark has the kernel close it when another program is executed, where no owner is left.

use std::fs;

/// Marks every descriptor but the standard three as one that ends with `exec`. The standard library and everything that
/// this crate opens have the mark already; what is left was inherited.
pub(super) fn end_at_exec() {
    let Ok(entries) = fs::read_dir("/proc/self/fd").or_else(|_| fs::read_dir("/dev/fd")) else { return };
    for number in entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()) {
        if number > 2 {
            // SAFETY: it takes two numbers and touches no memory of this process. It neither closes nor duplicates the
            // descriptor, so an owner keeps what it has, and of a number that is closed by now the system says `BADF`.
            unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
}
