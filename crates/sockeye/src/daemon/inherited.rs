//! Descriptors that this process inherited from its parent.
//!
//! What to know before editing: nothing is closed here. If a number that has an owner were closed, the owner would use
//! another file later. Instead the kernel closes marked descriptors on `exec`, where no owner is left.

use std::fs;

/// Sets close-on-exec on every descriptor but the standard three. Descriptors that the standard library and this crate open
/// have it already; the others were inherited.
pub(super) fn close_on_exec() {
    let Ok(entries) = fs::read_dir("/proc/self/fd").or_else(|_| fs::read_dir("/dev/fd")) else { return };
    for number in entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()) {
        if number > 2 {
            // SAFETY: the call takes numbers and touches no memory of this process. It neither closes nor duplicates the
            // descriptor, so an owner keeps it; for a number that was closed meanwhile the system returns `BADF`.
            unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
}
