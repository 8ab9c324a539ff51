//! Watchdog pings for the service manager, which restarts a service that sends none.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::daemon::systemd::{Notify, Variables, environment, is_for_us, number};

/// The time within which the service manager expects a watchdog ping (`WATCHDOG_USEC`); `None` when it expects none from
/// this process. Send one every half of this time.
///
/// # Errors
/// `InvalidInput`: a variable is not a number, or the time is 0.
pub fn watchdog_time() -> io::Result<Option<Duration>> {
    time(&environment)
}

fn time(variables: Variables<'_>) -> io::Result<Option<Duration>> {
    if is_for_us(variables, "WATCHDOG_PID")? == Some(false) {
        return Ok(None);
    }
    match number(variables, "WATCHDOG_USEC")? {
        Some(0) => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "the variable WATCHDOG_USEC is 0: it must be at least 1"))
        }
        micros => Ok(micros.map(Duration::from_micros)),
    }
}

/// Sends a watchdog ping whenever each loop has reported that it is alive since the last ping.
///
/// A loop reports from inside: in a job of [`Remote::run`](crate::Remote::run) or between two turns. So a loop
/// that is stuck in a callback reports nothing, and one stuck loop of several stops the pings of the service.
#[derive(Debug)]
pub struct Watchdog {
    notify: Arc<Notify>,
    loops: Mutex<Vec<Life>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Life {
    /// Asked, and not answered yet.
    is_asked: bool,
    is_alive: bool,
}

impl Watchdog {
    /// A watchdog over this many loops.
    #[must_use]
    pub fn new(notify: Arc<Notify>, loops: usize) -> Self {
        Self { notify, loops: Mutex::new(vec![Life::default(); loops]) }
    }

    /// Whether to ask the loop now: false while an earlier question is unanswered, so that questions from another
    /// thread do not pile up in front of a stuck loop.
    #[must_use]
    pub fn ask(&self, index: usize) -> bool {
        let mut loops = self.lock();
        let Some(life) = loops.get_mut(index) else { return false };
        !std::mem::replace(&mut life.is_asked, true)
    }

    /// Takes the question back, because it could not be passed to the loop.
    pub fn withdraw(&self, index: usize) {
        if let Some(life) = self.lock().get_mut(index) {
            life.is_asked = false;
        }
    }

    /// Reports that this loop is alive. The report of the last loop sends the ping.
    pub fn alive(&self, index: usize) {
        let mut loops = self.lock();
        let Some(life) = loops.get_mut(index) else { return };
        *life = Life { is_asked: false, is_alive: true };
        if loops.iter().all(|life| life.is_alive) {
            loops.iter_mut().for_each(|life| life.is_alive = false);
            drop(loops);
            self.notify.watchdog();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Life>> {
        // Nothing panics under the lock.
        self.loops.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn the_time_is_for_the_process_that_is_named_or_for_all() {
        let own = std::process::id().to_string();
        let read = |micros: Option<&str>, process: Option<&str>| {
            let value = |name: &str| match name {
                "WATCHDOG_USEC" => micros.map(OsString::from),
                _ => process.map(OsString::from),
            };
            time(&value)
        };
        assert_eq!(read(None, None).unwrap(), None);
        assert_eq!(read(Some("3000000"), None).unwrap(), Some(Duration::from_secs(3)));
        assert_eq!(read(Some("3000000"), Some(&own)).unwrap(), Some(Duration::from_secs(3)));
        assert_eq!(read(Some("3000000"), Some("1")).unwrap(), None);
        for wrong in ["0", "", "soon", "-1", "99999999999999999999"] {
            assert!(read(Some(wrong), None).unwrap_err().to_string().contains("WATCHDOG_USEC is"), "{wrong}");
        }
    }

    #[test]
    fn all_loops_are_one_sign_of_life() {
        let path = std::env::temp_dir().join(format!("sockeye-watchdog-{}", std::process::id()));
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let beats = || std::iter::repeat_with(|| socket.recv(&mut [0; 64])).take_while(Result::is_ok).count();
        let watchdog = Watchdog::new(Arc::new(Notify::to(path.as_os_str()).unwrap()), 3);
        for _ in 0..2 {
            watchdog.alive(0);
            watchdog.alive(2);
            watchdog.alive(0);
            watchdog.alive(3);
            assert_eq!(beats(), 0, "the second is silent");
            watchdog.alive(1);
            assert_eq!(beats(), 1);
        }
        assert!(watchdog.ask(1) && !watchdog.ask(1) && !watchdog.ask(3));
        watchdog.withdraw(1);
        assert!(watchdog.ask(1));
        watchdog.alive(1);
        assert!(watchdog.ask(1));
        std::fs::remove_file(&path).unwrap();
    }
}
