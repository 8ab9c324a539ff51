//! Signals of the commands that connect: the first one ends in good order, a later one at once.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use signal_hook::consts::{SIGCONT, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::failure::Failure;
use crate::log;

/// From when this exists no signal ends the process by itself.
pub(crate) struct Stop(Signals);

impl Stop {
    /// # Errors
    /// The system's.
    pub(crate) fn prepare() -> Result<Self, Failure> {
        catch(&[SIGINT, SIGTERM, SIGCONT]).map(Self)
    }

    /// Calls `stop` for the first signal to end; for a later one `abandon`, and ends the process in the way of that signal.
    /// `resume` is called when the process goes on after it was stopped.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn watch(
        mut self,
        stop: impl Fn() + Send + 'static,
        abandon: impl Fn() + Send + 'static,
        resume: impl Fn() + Send + 'static,
    ) -> io::Result<()> {
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            let mut stopping: Option<Instant> = None;
            for signal in self.0.forever() {
                match stopping {
                    _ if signal == SIGCONT => resume(),
                    None => {
                        stopping = Some(Instant::now());
                        stop();
                    }
                    Some(since) if since.elapsed() < SAME => {}
                    Some(_) => {
                        abandon();
                        log::flush();
                        let _ = emulate_default_handler(signal);
                    }
                }
            }
        })?;
        Ok(())
    }
}

/// Has these signals come to the process from here on, even if whoever started it had blocked them: then a process that waits
/// for them could not be ended by them.
///
/// # Errors
/// The system's.
pub(crate) fn catch(signals: &[i32]) -> Result<Signals, Failure> {
    let failed = |error| Failure::general(format!("signals cannot be handled: {error}"));
    // One that comes between the handler and what it does is lost for ever, so none comes meanwhile.
    let caught = without_signals(|| Signals::new(signals)).map_err(failed)?;
    let set: SigSet = signals.iter().filter_map(|&signal| Signal::try_from(signal).ok()).collect();
    set.thread_unblock().map_err(|error| failed(error.into()))?;
    Ok(caught)
}

/// Does something while no signal can come to this thread; they wait. A thread that is begun so gets none in all its life.
pub(crate) fn without_signals<T>(act: impl FnOnce() -> T) -> T {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
    let result = act();
    // It is a mask that the system gave: it takes it back.
    let _ = before.and_then(|before| before.thread_set_mask());
    result
}

/// Signals so close together are one: timeout(1) signals a process and then its group, which is the process again.
pub(crate) const SAME: Duration = Duration::from_millis(300);
