//! Which processor cores a thread runs on.

use std::io;

/// Keeps the calling thread on one core: the one with number `index` of those that it may run on, counted round.
///
/// # Errors
/// The system's; that it cannot be done, where the system has no such call.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn pin(index: usize) -> io::Result<()> {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    let allowed = sched_getaffinity(None)?;
    let cores: Vec<_> = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).collect();
    let Some(&core) = cores.get(index % cores.len().max(1)) else { return Err(io::ErrorKind::NotFound.into()) };
    let mut only = CpuSet::new();
    only.set(core);
    Ok(sched_setaffinity(None, &only)?)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn pin(_: usize) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "threads cannot be pinned to cores on this system"))
}
