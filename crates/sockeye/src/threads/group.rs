//! Several services as one: what is asked of a group is done in each of them.

use std::fmt;
use std::iter;
use std::sync::{Arc, OnceLock};

use crate::protocol::UnknownProtocol;
use crate::service::{Control, Job, Jobs, Remote, RemoteError, put_all};

/// A handle on several services, each in a thread of its own: those of [`Threads`](crate::Threads), or [any](Self::of).
///
/// What a group is asked for arrives in all of its services or in none, and in one order: when two threads publish at
/// the same time, either all services get the one message first or all get the other one. It passes through the queues
/// that [`Remote`] uses and is done between two callbacks, in the service of the caller too; in each service the
/// bounds are [`Limits::remote_jobs`](crate::Limits::remote_jobs) and [`Limits::remote_bytes`](crate::Limits::remote_bytes),
/// and the group is as full as the fullest of its services. Services that are over are passed over.
#[derive(Clone)]
pub struct Group {
    members: Arc<OnceLock<Members>>,
}

struct Members {
    /// By index.
    remotes: Vec<Remote>,
    /// In the order of their addresses, none twice: the order in which every group locks them.
    locking: Vec<Arc<Jobs>>,
}

impl Group {
    /// The services that these remotes reach, for a program that starts its threads itself.
    #[must_use]
    pub fn of(remotes: impl IntoIterator<Item = Remote>) -> Self {
        let group = Self::starting();
        group.complete(remotes.into_iter().collect());
        group
    }

    /// A group whose services are still being built.
    pub(super) fn starting() -> Self {
        Self { members: Arc::default() }
    }

    pub(super) fn complete(&self, remotes: Vec<Remote>) {
        let mut locking: Vec<_> = remotes.iter().map(|remote| Arc::clone(remote.jobs())).collect();
        locking.sort_by_key(Arc::as_ptr);
        locking.dedup_by(|a, b| Arc::ptr_eq(a, b));
        // It is completed once, by the one that made it.
        let _ = self.members.set(Members { remotes, locking });
    }

    /// The service of one thread.
    ///
    /// # Errors
    /// [`RemoteError::Gone`] when there is none of this index, [`RemoteError::Starting`] while the services are being built.
    pub fn remote(&self, index: usize) -> Result<Remote, RemoteError> {
        self.members()?.remotes.get(index).cloned().ok_or(RemoteError::Gone)
    }

    /// Has every service run `job` between two callbacks.
    ///
    /// # Errors
    /// [`RemoteError::Full`] when a service takes no more jobs, and then none gets this one; [`RemoteError::Gone`] when all
    /// services are over; [`RemoteError::Starting`] while they are being built.
    pub fn run_on_all(&self, job: impl Fn(&mut Control<'_>) + Send + Sync + 'static) -> Result<(), RemoteError> {
        self.put(0, job)
    }

    /// Sends a text message to every connection of the named protocol, in all services that have it; see
    /// [`Commands::publish_text`](crate::Commands::publish_text).
    ///
    /// # Errors
    /// As [`run_on_all`](Self::run_on_all), and [`RemoteError::UnknownProtocol`] when no service has a WebSocket
    /// protocol of that name.
    pub fn publish_text(&self, protocol: &str, text: &str) -> Result<(), RemoteError> {
        self.is_known(UnknownProtocol::WEBSOCKET, protocol)?;
        let (protocol, message) = (protocol.to_owned(), text.to_owned());
        self.put(text.len(), move |control| {
            // One that has no such protocol has nobody to send it to.
            let _ = control.publish_text(&protocol, &message);
        })
    }

    /// Sends a binary message to every connection of the named protocol, in all services that have it.
    ///
    /// # Errors
    /// As [`publish_text`](Self::publish_text).
    pub fn publish_binary(&self, protocol: &str, payload: &[u8]) -> Result<(), RemoteError> {
        self.is_known(UnknownProtocol::WEBSOCKET, protocol)?;
        let (protocol, message) = (protocol.to_owned(), payload.to_owned());
        self.put(payload.len(), move |control| {
            let _ = control.publish_binary(&protocol, &message);
        })
    }

    /// Asks for the writable callback of every connection of the named protocol, or endpoint of another kind, in all services
    /// that have it.
    ///
    /// # Errors
    /// As [`run_on_all`](Self::run_on_all), and [`RemoteError::UnknownProtocol`] when no service has one of that name.
    pub fn request_writable_all(&self, protocol: &str) -> Result<(), RemoteError> {
        self.is_known(UnknownProtocol::ANY, protocol)?;
        let protocol = protocol.to_owned();
        self.put(0, move |control| {
            let _ = control.request_writable_all(&protocol);
        })
    }

    /// Ends every service in good order, after the jobs that wait; see [`Control::drain`]. There is always room for this.
    ///
    /// # Errors
    /// [`RemoteError::Gone`] when all services are over; [`RemoteError::Starting`] while they are being built.
    pub fn drain(&self) -> Result<(), RemoteError> {
        let drained = self.members()?.locking.iter().filter(|service| service.drain()).count();
        if drained == 0 { Err(RemoteError::Gone) } else { Ok(()) }
    }

    /// Whether any service has an endpoint of that name that can do what `unknown` would miss.
    fn is_known(&self, unknown: UnknownProtocol, name: &str) -> Result<(), RemoteError> {
        let is_known = self.members()?.locking.iter().any(|service| service.knows(unknown, name));
        if is_known { Ok(()) } else { Err(RemoteError::UnknownProtocol) }
    }

    fn put(&self, bytes: usize, job: impl Fn(&mut Control<'_>) + Send + Sync + 'static) -> Result<(), RemoteError> {
        let services: Vec<_> = self.members()?.locking.iter().collect();
        let job = Arc::new(job);
        let each = iter::repeat_with(|| {
            let job = Arc::clone(&job);
            Box::new(move |control: &mut Control<'_>| job(control)) as Job
        });
        put_all(&services, bytes, each)
    }

    fn members(&self) -> Result<&Members, RemoteError> {
        self.members.get().ok_or(RemoteError::Starting)
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services = self.members.get().map(|members| members.remotes.len());
        f.debug_struct("Group").field("services", &services).finish_non_exhaustive()
    }
}
