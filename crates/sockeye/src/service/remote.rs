//! The one thing that crosses threads: closures that run on the loop's thread.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::service::Control;
use crate::sys::Wake;

/// A handle on a service for other threads.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mut service = sockeye::Service::builder().build()?;
/// let remote = service.remote();
/// std::thread::spawn(move || remote.run(|control| control.drain()));
/// service.run()?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Remote {
    jobs: Arc<Jobs>,
}

impl Remote {
    pub(crate) fn new(jobs: Arc<Jobs>) -> Self {
        Self { jobs }
    }

    /// Has the loop's thread run `job` between two callbacks, and wakes the loop. Jobs of one thread run in order.
    ///
    /// # Errors
    /// [`RemoteError::Gone`] when the service is over, [`RemoteError::Full`] when
    /// [`Limits::remote_jobs`](crate::Limits::remote_jobs) are waiting. The job is dropped then.
    pub fn run(&self, job: impl FnOnce(&mut Control<'_>) + Send + 'static) -> Result<(), RemoteError> {
        let first = {
            let mut inner = self.jobs.lock();
            if inner.over {
                return Err(RemoteError::Gone);
            }
            if inner.waiting.len() >= self.jobs.limit {
                return Err(RemoteError::Full);
            }
            inner.waiting.push_back(Box::new(job));
            inner.waiting.len() == 1
        };
        if first {
            self.jobs.wake.wake();
        }
        Ok(())
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

/// Why a job was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RemoteError {
    /// The service is over.
    Gone,
    /// Too many jobs are waiting.
    Full,
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "the service is over",
            Self::Full => "too many jobs wait for the service (Limits::remote_jobs)",
        })
    }
}

impl Error for RemoteError {}

type Job = Box<dyn FnOnce(&mut Control<'_>) + Send>;

/// What threads and loop share.
pub(crate) struct Jobs {
    inner: Mutex<Inner>,
    wake: Arc<dyn Wake>,
    limit: usize,
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Job>,
    over: bool,
}

impl Jobs {
    pub(crate) fn new(wake: Arc<dyn Wake>, limit: usize) -> Self {
        Self { inner: Mutex::default(), wake, limit }
    }

    /// Takes all that wait now; what a job adds meanwhile wakes the loop again.
    pub(crate) fn take(&self) -> VecDeque<Job> {
        std::mem::take(&mut self.lock().waiting)
    }

    /// No more jobs. The waiting ones are dropped outside the lock: dropping them runs foreign code.
    pub(crate) fn end(&self) {
        let dropped = {
            let mut inner = self.lock();
            inner.over = true;
            std::mem::take(&mut inner.waiting)
        };
        drop(dropped);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No foreign code runs under the lock, so a poisoned one holds nothing half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
