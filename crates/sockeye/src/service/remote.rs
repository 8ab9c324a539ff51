//! The one way across threads: closures that run on the loop's thread.

use std::fmt;
use std::sync::Arc;

use crate::service::core::{Control, Job, Jobs, Service};
use crate::service::jobs::{RemoteError, put_all};

/// A handle on a service for other threads. While one exists, [`Service::run`] waits for it.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mut service = sockeye::Service::builder().build()?;
/// let remote = service.remote();
/// std::thread::spawn(move || remote.run(|control| control.drain()));
/// service.run()?;
/// # Ok(()) }
/// ```
pub struct Remote {
    jobs: Arc<Jobs>,
}

impl Service {
    /// A handle for other threads.
    #[must_use]
    pub fn remote(&self) -> Remote {
        Remote::new(&self.jobs)
    }
}

impl Remote {
    fn new(jobs: &Arc<Jobs>) -> Self {
        jobs.attach();
        Self { jobs: Arc::clone(jobs) }
    }

    pub(crate) fn jobs(&self) -> &Arc<Jobs> {
        &self.jobs
    }

    /// Has the loop's thread run `job` between two callbacks, and wakes the loop. Jobs of one thread run in order.
    ///
    /// # Errors
    /// [`RemoteError::Gone`] when the service has ended, [`RemoteError::Full`] when
    /// [`Limits::remote_jobs`](crate::Limits::remote_jobs) are waiting. The job is dropped then.
    pub fn run(&self, job: impl FnOnce(&mut Control<'_>) + Send + 'static) -> Result<(), RemoteError> {
        let mut job = Some(Box::new(job) as Job);
        put_all(&[&self.jobs], 0, |_| job.take())
    }
}

impl Clone for Remote {
    fn clone(&self) -> Self {
        Self::new(&self.jobs)
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.jobs.detach();
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}
