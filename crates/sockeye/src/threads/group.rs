//! Several services as one: a request to a group is carried out in each of them.

use std::fmt;
use std::sync::{Arc, OnceLock};

use sockeye_proto::wire::MessageKind;

use crate::protocol::ProtocolMut;
use crate::service::{Control, Job, Jobs, Remote, RemoteError, put_all};
use crate::state::EndpointIndex;

/// A handle on several services, each in its own thread: those of [`Threads`](crate::Threads), or
/// [any](Self::of).
///
/// A request to a group arrives in all of its services or in none, and in one order: when two
/// threads publish at the same time, all services get the two messages in the same order. Requests
/// pass through the queues that [`Remote`] uses and are carried out between two callbacks, also in
/// the caller's own service; in each service the limits are
/// [`Limits::remote_jobs`](crate::Limits::remote_jobs) and
/// [`Limits::remote_bytes`](crate::Limits::remote_bytes), and the group is as full as the fullest
/// of its services. Services that have ended are skipped.
///
/// ```
/// use sockeye::threads::Group;
/// use sockeye::{Service, messages};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let services = [Service::builder().protocol(messages::echo("chat")).build()?];
/// let everyone = Group::of(services.iter().map(Service::remote));
/// everyone.protocol("chat").publish_text("from any thread")?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Group {
    members: Arc<OnceLock<Members>>,
}

struct Members {
    /// By index.
    remotes: Vec<Remote>,
    /// In the order of their addresses, each once: the order in which every group locks them.
    locking: Vec<Arc<Jobs>>,
}

impl Group {
    /// A group of the services that these remotes reach, for a program that starts its threads
    /// itself.
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
        // It is completed once, by its creator.
        let _ = self.members.set(Members { remotes, locking });
    }

    /// The service of one thread.
    ///
    /// # Errors
    /// [`RemoteError::Gone`] when no service has this index, [`RemoteError::Starting`] while the
    /// services are being built.
    pub fn remote(&self, index: usize) -> Result<Remote, RemoteError> {
        self.members()?.remotes.get(index).cloned().ok_or(RemoteError::Gone)
    }

    /// Has every service run `job` between two callbacks.
    ///
    /// # Errors
    /// [`RemoteError::Full`] when the queue of a service is full, and then no service gets the job;
    /// [`RemoteError::Gone`] when all services have ended; [`RemoteError::Starting`] while they are
    /// being built.
    pub fn run_on_all(&self, job: impl Fn(&mut Control<'_>) + Send + Sync + 'static) -> Result<(), RemoteError> {
        self.put(0, job)
    }

    /// The WebSocket protocol of that name, in all services that have it. The name is looked up once, at the first use.
    ///
    /// ```no_run
    /// use sockeye::{Service, Threads, messages};
    ///
    /// # fn main() -> Result<(), sockeye::Error> {
    /// let threads = Threads::new(4).listen("127.0.0.1:7681").start(|worker| {
    ///     let everyone = worker.group().protocol("shout");
    ///     let shout = messages::on("shout", move |_, message| {
    ///         let text = message.as_text().unwrap_or("something binary");
    ///         everyone.publish_text(text).map_err(|_| sockeye::CloseCode::TRY_AGAIN.into())
    ///     });
    ///     Ok(Service::builder().protocol(shout))
    /// })?;
    /// threads.join()
    /// # }
    /// ```
    #[must_use]
    pub fn protocol(&self, name: impl Into<String>) -> GroupProtocol {
        GroupProtocol { group: self.clone(), name: name.into(), found: OnceLock::new() }
    }

    /// Shuts every service down gracefully, after the waiting jobs; see
    /// [`Commands::drain`](crate::Commands::drain). There is always room for this.
    ///
    /// # Errors
    /// [`RemoteError::Gone`] when all services have ended; [`RemoteError::Starting`] while they are
    /// being built.
    pub fn drain(&self) -> Result<(), RemoteError> {
        let drained = self.members()?.locking.iter().filter(|service| service.drain()).count();
        if drained == 0 { Err(RemoteError::Gone) } else { Ok(()) }
    }

    fn put(&self, bytes: usize, job: impl Fn(&mut Control<'_>) + Send + Sync + 'static) -> Result<(), RemoteError> {
        let services: Vec<_> = self.members()?.locking.iter().collect();
        let job = Arc::new(job);
        put_all(&services, bytes, |_| {
            let job = Arc::clone(&job);
            Some(Box::new(move |control: &mut Control<'_>| job(control)) as Job)
        })
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

/// A WebSocket protocol of all services of a [`Group`] that have it; see [`Group::protocol`].
///
/// It is `Send` and `Sync`. Requests are carried out by each of these services, as [`Group`]
/// describes.
#[derive(Clone)]
pub struct GroupProtocol {
    group: Group,
    name: String,
    /// Set at the first use after all services were built.
    found: OnceLock<Vec<(Arc<Jobs>, EndpointIndex)>>,
}

impl GroupProtocol {
    /// The name of the protocol.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends a text message to every connection of the protocol, in all services; see
    /// [`ProtocolMut::publish_text`](crate::protocol::ProtocolMut::publish_text).
    ///
    /// # Errors
    /// [`RemoteError::UnknownProtocol`] when no service has a WebSocket protocol of that name; otherwise as
    /// [`Group::run_on_all`], where the services are those that have the protocol.
    pub fn publish_text(&self, text: &str) -> Result<(), RemoteError> {
        self.publish(MessageKind::Text, text.as_bytes())
    }

    /// Sends a binary message to every connection of the protocol, in all services.
    ///
    /// # Errors
    /// As [`publish_text`](Self::publish_text).
    pub fn publish_binary(&self, payload: &[u8]) -> Result<(), RemoteError> {
        self.publish(MessageKind::Binary, payload)
    }

    /// Requests the writable callback of every connection of the protocol, in all services.
    ///
    /// # Errors
    /// As [`publish_text`](Self::publish_text).
    pub fn request_writable(&self) -> Result<(), RemoteError> {
        self.put(0, |mut own| own.request_writable())
    }

    fn publish(&self, kind: MessageKind, payload: &[u8]) -> Result<(), RemoteError> {
        let copy = copied(payload)?;
        self.put(copy.len(), move |own| own.publish(kind, &copy))
    }

    pub(super) fn put(
        &self,
        bytes: usize,
        job: impl Fn(ProtocolMut<'_>) + Send + Sync + 'static,
    ) -> Result<(), RemoteError> {
        let found = self.find()?;
        let services: Vec<_> = found.iter().map(|(service, _)| service).collect();
        let job = Arc::new(job);
        put_all(&services, bytes, |index| {
            let (job, &(_, protocol)) = (Arc::clone(&job), found.get(index)?);
            Some(Box::new(move |control: &mut Control<'_>| job(control.protocol_at(protocol))) as Job)
        })
    }

    fn find(&self) -> Result<&[(Arc<Jobs>, EndpointIndex)], RemoteError> {
        if let Some(found) = self.found.get() {
            return Ok(found);
        }
        let services = self.group.members()?.locking.iter();
        let found: Vec<_> =
            services.filter_map(|jobs| Some((Arc::clone(jobs), jobs.find_protocol(&self.name)?))).collect();
        if found.is_empty() {
            return Err(RemoteError::UnknownProtocol);
        }
        Ok(self.found.get_or_init(|| found))
    }
}

impl fmt::Debug for GroupProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupProtocol").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A copy that other threads may have.
pub(super) fn copied(payload: &[u8]) -> Result<Vec<u8>, RemoteError> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(payload.len()).map_err(|_| RemoteError::Full)?;
    copy.extend_from_slice(payload);
    Ok(copy)
}
