//! The queue of jobs that other threads give to a loop.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits::Limits;
use crate::state::{EndpointIndex, EndpointInfo, EndpointKind};
use crate::sys::Wake;

/// The queue that threads and loop share: jobs of type `J`, in order.
pub(crate) struct JobQueue<J> {
    inner: Mutex<Inner<J>>,
    /// The handles on it that other threads may have.
    handles: AtomicUsize,
    wake: Arc<dyn Wake>,
    /// The endpoints of the service.
    names: Arc<[EndpointInfo]>,
    limit: usize,
    limit_bytes: usize,
}

struct Inner<J> {
    /// With the bytes that each carries.
    waiting: VecDeque<(J, usize)>,
    /// The bytes that the waiting jobs carry.
    bytes: usize,
    over: bool,
    /// Drain the service after so many of the waiting jobs. It is not a job, so that there is always
    /// room for it, and jobs that come later cannot put it off.
    drain_after: Option<usize>,
}

impl<J> JobQueue<J> {
    pub(crate) fn new(wake: Arc<dyn Wake>, names: Arc<[EndpointInfo]>, limits: &Limits) -> Self {
        let (limit, limit_bytes) = (limits.remote_jobs, limits.remote_bytes);
        let inner = Inner { waiting: VecDeque::new(), bytes: 0, over: false, drain_after: None };
        Self { inner: Mutex::new(inner), handles: AtomicUsize::new(0), wake, names, limit, limit_bytes }
    }

    /// The WebSocket protocol of that name, if the service has one.
    pub(crate) fn find_protocol(&self, name: &str) -> Option<EndpointIndex> {
        let is_wanted = |endpoint: &EndpointInfo| endpoint.kind == EndpointKind::WebSocket && endpoint.name == name;
        self.names.iter().position(is_wanted).map(|index| EndpointIndex(index as u16))
    }

    /// There is one handle more.
    pub(crate) fn attach(&self) {
        self.handles.fetch_add(1, Ordering::Relaxed);
    }

    /// There is one handle less. The loop may have waited for the last one.
    pub(crate) fn detach(&self) {
        // Pairs with the load of `is_idle`: what the last handle gave is seen there.
        if self.handles.fetch_sub(1, Ordering::Release) == 1 && !self.lock().over {
            self.wake.wake();
        }
    }

    /// Whether no job waits, and no handle is left to give one.
    pub(crate) fn is_idle(&self) -> bool {
        if self.handles.load(Ordering::Acquire) > 0 {
            return false;
        }
        let inner = self.lock();
        inner.waiting.is_empty() && inner.drain_after.is_none()
    }

    /// Takes the jobs of one turn, and whether to drain after them. Jobs that are left, or added
    /// meanwhile, wake the loop again.
    pub(crate) fn take(&self) -> (VecDeque<(J, usize)>, bool) {
        let mut inner = self.lock();
        if inner.waiting.len() <= JOBS_PER_TURN {
            inner.bytes = 0;
            return (std::mem::take(&mut inner.waiting), inner.drain_after.take().is_some());
        }
        let taken: VecDeque<_> = inner.waiting.drain(..JOBS_PER_TURN).collect();
        inner.bytes -= taken.iter().map(|(_, bytes)| bytes).sum::<usize>().min(inner.bytes);
        let drains = inner.drain_after.is_some_and(|jobs| jobs <= JOBS_PER_TURN);
        inner.drain_after = inner.drain_after.filter(|_| !drains).map(|jobs| jobs - JOBS_PER_TURN);
        drop(inner);
        self.wake.wake();
        (taken, drains)
    }

    /// Requests a drain. False when the service has ended.
    pub(crate) fn drain(&self) -> bool {
        let over = {
            let mut inner = self.lock();
            if !inner.over {
                let jobs = inner.waiting.len();
                inner.drain_after.get_or_insert(jobs);
            }
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

    fn lock(&self) -> MutexGuard<'_, Inner<J>> {
        // No foreign code runs under the lock, so a poisoned one holds nothing half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives a job to all of the services or to none, under all their locks at once, so that jobs for
/// the same services arrive everywhere in one order. Services that have ended are skipped.
///
/// `services` are in the order in which every caller locks them, each once. The locks are held for
/// the time it takes to append a pointer to each queue; no foreign code may run under them, so
/// `job_of`, which gets the index of a service, must not call any.
pub(crate) fn put_all<J>(
    services: &[&Arc<JobQueue<J>>],
    bytes: usize,
    mut job_of: impl FnMut(usize) -> Option<J>,
) -> Result<(), RemoteError> {
    let locked = services.iter().enumerate().map(|(index, service)| (index, *service, service.lock()));
    let mut living: Vec<_> = locked.filter(|(.., inner)| !inner.over).collect();
    if living.is_empty() {
        return Err(RemoteError::Gone);
    }
    // A message that is larger than the bound by itself may wait alone.
    let is_full = |service: &JobQueue<J>, inner: &Inner<J>| {
        inner.waiting.len() >= service.limit
            || (inner.bytes > 0 && inner.bytes.saturating_add(bytes) > service.limit_bytes)
    };
    if living.iter().any(|(_, service, inner)| is_full(service, inner)) {
        return Err(RemoteError::Full);
    }
    let mut idle = Vec::new();
    for (index, service, inner) in &mut living {
        inner.waiting.extend(job_of(*index).map(|job| (job, bytes)));
        inner.bytes = inner.bytes.saturating_add(bytes);
        if inner.waiting.len() == 1 {
            idle.push(*service);
        }
    }
    drop(living);
    idle.iter().for_each(|service| service.wake.wake());
    Ok(())
}

/// Jobs that run in one turn: other threads may give them faster than they run.
const JOBS_PER_TURN: usize = 1024;

/// Why a job was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RemoteError {
    /// The service has ended.
    Gone,
    /// Too many jobs are waiting, or jobs with too many bytes.
    Full,
    /// The services of a [`Group`](crate::threads::Group) are still being built.
    Starting,
    /// None of the services of a [`Group`](crate::threads::Group) has a WebSocket protocol of that name.
    UnknownProtocol,
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "the service has ended",
            Self::Full => "too many jobs wait for the service (Limits::remote_jobs, Limits::remote_bytes)",
            Self::Starting => "the services are still being built",
            Self::UnknownProtocol => "no service of the group has a WebSocket protocol of that name",
        })
    }
}

impl Error for RemoteError {}
