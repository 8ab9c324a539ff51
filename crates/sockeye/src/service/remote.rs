//! The one thing that crosses threads: closures that run on the loop's thread.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::iter;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits::Limits;
use crate::protocol::UnknownProtocol;
use crate::service::Control;
use crate::shared::Named;
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

    pub(crate) fn jobs(&self) -> &Arc<Jobs> {
        &self.jobs
    }

    /// Has the loop's thread run `job` between two callbacks, and wakes the loop. Jobs of one thread run in order.
    ///
    /// # Errors
    /// [`RemoteError::Gone`] when the service is over, [`RemoteError::Full`] when
    /// [`Limits::remote_jobs`](crate::Limits::remote_jobs) are waiting. The job is dropped then.
    pub fn run(&self, job: impl FnOnce(&mut Control<'_>) + Send + 'static) -> Result<(), RemoteError> {
        put_all(&[&self.jobs], 0, iter::once(Box::new(job) as Job))
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
    /// Too many jobs are waiting, or jobs with too many bytes.
    Full,
    /// The services of a [`Group`](crate::Group) are still being built.
    Starting,
    /// None of the services of a [`Group`](crate::Group) has a protocol of that name that could do what was asked.
    UnknownProtocol,
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "the service is over",
            Self::Full => "too many jobs wait for the service (Limits::remote_jobs, Limits::remote_bytes)",
            Self::Starting => "the services are still being built",
            Self::UnknownProtocol => "no service of the group has a protocol of that name that could do it",
        })
    }
}

impl Error for RemoteError {}

pub(crate) type Job = Box<dyn FnOnce(&mut Control<'_>) + Send>;

/// What threads and loop share.
pub(crate) struct Jobs {
    inner: Mutex<Inner>,
    wake: Arc<dyn Wake>,
    /// The endpoints of the service.
    names: Arc<[Named]>,
    limit: usize,
    limit_bytes: usize,
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Job>,
    /// What the waiting jobs carry.
    bytes: usize,
    over: bool,
    /// The service is to be drained, behind the jobs. No job, so that there is always room for it.
    drain: bool,
}

impl Jobs {
    pub(crate) fn new(wake: Arc<dyn Wake>, names: Arc<[Named]>, limits: &Limits) -> Self {
        let (limit, limit_bytes) = (limits.remote_jobs, limits.remote_bytes);
        Self { inner: Mutex::default(), wake, names, limit, limit_bytes }
    }

    /// Whether the service has an endpoint of that name that can do what `unknown` would miss.
    pub(crate) fn knows(&self, unknown: UnknownProtocol, name: &str) -> bool {
        self.names.iter().any(|endpoint| endpoint.name == name && unknown.is_wanted(endpoint.kind))
    }

    /// Takes all that wait now, and whether to drain after them; what a job adds meanwhile wakes the loop again.
    pub(crate) fn take(&self) -> (VecDeque<Job>, bool) {
        let mut inner = self.lock();
        inner.bytes = 0;
        (std::mem::take(&mut inner.waiting), std::mem::take(&mut inner.drain))
    }

    /// Asks for a drain. False when the service is over.
    pub(crate) fn drain(&self) -> bool {
        let over = {
            let mut inner = self.lock();
            inner.drain = !inner.over;
            inner.over
        };
        if !over {
            self.wake.wake();
        }
        !over
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

/// Gives each of the services a job, or none of them one, under all their locks at once: so what is given to the same
/// several services comes in one order to all. Services that are over are passed over.
///
/// `services` come in the order in which everybody locks them, none twice. The locks are held for the time it takes to
/// append a pointer to each queue; no foreign code runs under them, so `jobs` must not call any.
pub(crate) fn put_all(
    services: &[&Arc<Jobs>],
    bytes: usize,
    jobs: impl Iterator<Item = Job>,
) -> Result<(), RemoteError> {
    let mut living: Vec<_> =
        services.iter().map(|service| (*service, service.lock())).filter(|(_, inner)| !inner.over).collect();
    if living.is_empty() {
        return Err(RemoteError::Gone);
    }
    // A message that is larger than the bound by itself may wait alone.
    let is_full = |service: &Jobs, inner: &Inner| {
        inner.waiting.len() >= service.limit
            || (inner.bytes > 0 && inner.bytes.saturating_add(bytes) > service.limit_bytes)
    };
    if living.iter().any(|(service, inner)| is_full(service, inner)) {
        return Err(RemoteError::Full);
    }
    let mut idle = Vec::new();
    for ((service, inner), job) in living.iter_mut().zip(jobs) {
        inner.waiting.push_back(job);
        inner.bytes = inner.bytes.saturating_add(bytes);
        if inner.waiting.len() == 1 {
            idle.push(*service);
        }
    }
    drop(living);
    idle.iter().for_each(|service| service.wake.wake());
    Ok(())
}
