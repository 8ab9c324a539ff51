//! Catching signals, and keeping them from a thread.

use std::io;
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use signal_hook::iterator::Signals;

use crate::failure::Failure;

/// Delivers these signals to the process from here on, even if its parent blocked them: a process that waits for blocked
/// signals could not be ended by them.
///
/// # Errors
/// The system's.
pub(crate) fn catch(signals: &[i32]) -> Result<Signals, Failure> {
    let failed = |error: io::Error| Failure::general(format!("cannot handle signals: {error}"));
    // A signal between the installation of the handler and of its action would be lost, so none is delivered meanwhile.
    let caught = without_signals(|| Signals::new(signals)).map_err(failed)?;
    let set: SigSet = signals.iter().filter_map(|&signal| Signal::try_from(signal).ok()).collect();
    set.thread_unblock().map_err(|error| failed(error.into()))?;
    Ok(caught)
}

/// Runs `act` with all signals blocked in this thread; they stay pending. A thread spawned by `act` never receives any.
pub(crate) fn without_signals<T>(act: impl FnOnce() -> T) -> T {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
    let result = act();
    // The system returned this mask, so it accepts it.
    let _ = before.and_then(|before| before.thread_set_mask());
    result
}

/// Signals within this time count as one: timeout(1) signals a process and then its group, which includes the process.
pub(crate) const SAME: Duration = Duration::from_millis(300);
