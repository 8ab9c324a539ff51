//! The service inside a loop of the program's own.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use crate::error::Error;
use crate::poll::Ready;
use crate::service::core::{Service, ServiceState};
use crate::sys::Handle;

impl Service {
    /// Says what the program's loop saw of a descriptor that the [`PollHook`](crate::poll::PollHook) was told of, and
    /// does what there is to do about it, without waiting. A report that is repeated, stale or wrong does no harm.
    ///
    /// # Errors
    /// [`Error::is_unknown_descriptor`] when the descriptor is none of this service, or not any more: another one of
    /// the same batch may have ended it. As [`run`](Self::run) otherwise.
    pub fn service_fd(&mut self, fd: RawFd, ready: Ready) -> Result<ServiceState, Error> {
        let Some(watch) = self.external.clone().filter(|watch| watch.borrow().knows(fd)) else {
            return Err(Error::unknown_descriptor(fd));
        };
        let handle = u32::try_from(fd).ok().map(Handle::new);
        let is_waker = self.descriptor().is_some_and(|own| own.as_raw_fd() == fd);
        let confirmed = match handle {
            Some(handle) if ready.ended && !is_waker => self.env.io.sys.readiness(handle).ok(),
            _ => None,
        };
        watch.borrow_mut().report(fd, ready, confirmed);
        self.turn(Some(Duration::ZERO))
    }

    /// How long the program's loop may wait: until the next of the service's own deadlines, not at all when there is
    /// pending work, and as long as it likes when this is `None`.
    #[must_use]
    pub fn next_timeout(&mut self) -> Option<Duration> {
        let now = self.env.io.sys.now();
        self.next_deadline().map(|at| at.saturating_duration_since(now))
    }

    /// Whether there is something to do at once: then [`run_once`](Self::run_once) is to be called before the loop waits.
    #[must_use]
    pub fn has_pending_work(&mut self) -> bool {
        self.next_timeout().is_some_and(|timeout| timeout.is_zero())
    }

    /// One descriptor for loops that watch no more than one: it is readable when [`run_once`](Self::run_once) has
    /// something to do about a socket, and [`next_timeout`](Self::next_timeout) says when else to call that. Watched by
    /// level, or by edge if `run_once` is called until nothing is pending. Of no use with a
    /// [`PollHook`](crate::poll::PollHook), whose loop watches every descriptor. `None` where the system has none, as
    /// the simulated one.
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.env.io.sys.descriptor()
    }
}
