//! The service inside the program's own event loop.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use crate::error::Error;
use crate::poll::Ready;
use crate::service::core::{Service, ServiceState};
use crate::sys::Handle;

impl Service {
    /// Reports an event that the program's loop saw on a descriptor registered through the
    /// [`PollHook`](crate::poll::PollHook), and handles it without waiting. A report that is
    /// repeated, stale or wrong does no harm.
    ///
    /// # Errors
    /// [`Error::is_unknown_descriptor`] when the descriptor is not registered with this service, or
    /// no longer: an earlier event of the same batch may have closed it. As [`run`](Self::run)
    /// otherwise.
    pub fn service_fd(&mut self, fd: RawFd, ready: Ready) -> Result<ServiceState, Error> {
        self.report(fd, ready)?;
        self.turn(Some(Duration::ZERO), false)
    }

    /// Notes an event that the program's loop saw, as [`service_fd`](Self::service_fd), and leaves the handling to the next
    /// [`run_once`](Self::run_once): for a loop that sees many at once, which are handled in one turn then.
    ///
    /// # Errors
    /// [`Error::is_unknown_descriptor`], as there.
    pub fn report(&mut self, fd: RawFd, ready: Ready) -> Result<(), Error> {
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
        Ok(())
    }

    /// How long the program's loop may wait: until the service's next deadline, zero when work is
    /// pending, and without limit when this is `None`.
    #[must_use]
    pub fn next_timeout(&mut self) -> Option<Duration> {
        let now = self.env.io.sys.now();
        self.next_deadline().map(|at| at.saturating_duration_since(now))
    }

    /// Whether work is pending: then call [`run_once`](Self::run_once) before the loop waits.
    #[must_use]
    pub fn has_pending_work(&mut self) -> bool {
        self.next_timeout().is_some_and(|timeout| timeout.is_zero())
    }

    /// A single descriptor for the program's loop to watch: it is readable when
    /// [`run_once`](Self::run_once) has work on a socket; [`next_timeout`](Self::next_timeout)
    /// returns when else to call it. Watch it level-triggered, or edge-triggered if `run_once` is
    /// called until nothing is pending. Not useful with a [`PollHook`](crate::poll::PollHook),
    /// whose loop watches every descriptor. `None` where the system has none, as on the simulated
    /// one.
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.env.io.sys.descriptor()
    }
}
