//! Signals of the commands that connect: the first one stops gracefully, the second one at once.

use std::io;
use std::thread;
use std::time::Instant;

use signal_hook::consts::{SIGCONT, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::failure::Failure;
use crate::{log, signals};

/// While this exists, no signal ends the process by itself.
pub(crate) struct Stop(Signals);

impl Stop {
    /// # Errors
    /// The system's.
    pub(crate) fn prepare() -> Result<Self, Failure> {
        signals::catch(&[SIGINT, SIGTERM, SIGCONT]).map(Self)
    }

    /// Calls `stop` for the first SIGINT or SIGTERM. For the second one it calls `abandon`, and the signal ends the process.
    /// Calls `resume` when the process continues after it was stopped.
    ///
    /// # Errors
    /// A thread cannot be spawned.
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
                    Some(since) if since.elapsed() < signals::SAME => {}
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
