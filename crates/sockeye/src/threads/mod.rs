//! Several services on one address, each in its own thread.
//!
//! What threads can share:
//!
//! * An IP address, with `SO_REUSEPORT`: the kernel distributes connections. The first thread binds
//!   without the option, which fails if another process is there, and sets it afterwards
//!   ([`ListenOptions::claim`]). Otherwise a foreign server on the port would not be an error, and
//!   half of the clients would reach the wrong one.
//! * Not the path of a Unix socket: the kernel does not distribute its connections, so the first
//!   thread would serve all of them.
//! * A listener that is already open, such as one from a service manager: one queue, of which each
//!   thread watches a duplicate. A connection wakes all idle threads, and one gets it.

mod group;
#[cfg(test)]
mod tests;
mod topic;
mod worker;

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use crate::error::Error;
use crate::service::places::Places;
use crate::service::{Builder, ListenAddr, Purpose, Remote, Source};
use crate::statistics::{Board, Statistics};
use crate::sys::{Address, ListenOptions};
#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
use crate::tls::ServerTls;

use self::worker::{EndReport, ReadyReport, WorkerConfig, work};

pub use self::group::{Group, GroupProtocol};
pub use self::topic::GroupTopic;
pub use self::worker::{BuildError, Worker};

/// Describes several services that share addresses, a thread for each.
///
/// A [`Service`](crate::Service) stays on the thread that built it, and so do its protocols: a
/// closure describes it there, once in each thread. The system distributes new connections to the
/// threads (`SO_REUSEPORT`), and a connection stays on its thread. Threads share data through a
/// [`Group`], or behind a lock of the program.
///
/// ```no_run
/// use sockeye::{Service, Threads, messages};
///
/// # fn main() -> Result<(), sockeye::Error> {
/// let threads = Threads::new(0).listen("127.0.0.1:7681").start(|worker| {
///     // Every connection of every thread.
///     let everyone = worker.group().protocol("shout");
///     let shout = messages::on("shout", move |_, message| {
///         let text = message.as_text().unwrap_or("something binary").to_uppercase();
///         everyone.publish_text(&text).map_err(|_| sockeye::CloseCode::TRY_AGAIN.into())
///     });
///     Ok(Service::builder().protocol(shout))
/// })?;
/// threads.join()
/// # }
/// ```
///
/// [`Limits`](crate::Limits) and [filters](Builder::filter) apply to each service, but for `Limits::connections`, which all
/// threads share: a thread pauses accepting only when all of them together are at the limit.
///
/// The group may give a service work at any time, so these services do not end when they are
/// [idle](crate::Service::is_idle); they end with a [drain](RunningThreads::drain).
pub struct Threads {
    count: usize,
    listen: Vec<(ListenAddr, ListenOptions, Purpose)>,
    pinned: bool,
}

impl Threads {
    /// Describes `count` threads; 0 means one for each core that the process may use.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let count = if count == 0 { thread::available_parallelism().map_or(1, Into::into) } else { count };
        Self { count, listen: Vec::new(), pinned: false }
    }

    /// The number of threads.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Adds a listener of all threads. May be called several times. Port 0 picks a free port, the
    /// same for all.
    ///
    /// No other process may listen there, not even with `SO_REUSEPORT`. Several threads cannot
    /// share the address of a Unix socket: starting fails. One of them can listen there, by
    /// [`Builder::listen`] in the closure. All threads share a listener that is already open, of
    /// any kind.
    #[must_use]
    pub fn listen(self, listen: impl Into<ListenAddr>) -> Self {
        self.listen_with(listen, ListenOptions::default())
    }

    /// As [`listen`](Self::listen), with options; `reuse_port` and `claim` are overwritten as
    /// needed.
    #[must_use]
    pub fn listen_with(mut self, listen: impl Into<ListenAddr>, options: ListenOptions) -> Self {
        self.listen.push((listen.into(), options, Purpose::default()));
        self
    }

    /// As [`listen`](Self::listen), with TLS, which all threads share: a [reload](ServerTls::reload) is seen by all at once. See
    /// [`Listen::tls`](crate::service::Listen::tls).
    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    #[must_use]
    pub fn listen_tls(self, listen: impl Into<ListenAddr>, tls: ServerTls) -> Self {
        self.listen_tls_with(listen, ListenOptions::default(), tls)
    }

    /// As [`listen_tls`](Self::listen_tls), with options; `reuse_port` and `claim` are overwritten as needed.
    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    #[must_use]
    pub fn listen_tls_with(mut self, listen: impl Into<ListenAddr>, options: ListenOptions, tls: ServerTls) -> Self {
        self.listen.push((listen.into(), options, Purpose::tls(tls)));
        self
    }

    /// Adds a listener of all threads for the [`Raw`](crate::raw::Raw) endpoint of that name, which
    /// each service must have. It is a name and not a handle, as in [`Builder::listen_raw`], because each thread has an
    /// endpoint of its own, and none exists yet. Otherwise as [`listen`](Self::listen) and [`Builder::listen_raw`].
    #[must_use]
    pub fn listen_raw(self, listen: impl Into<ListenAddr>, name: &str) -> Self {
        self.listen_raw_with(listen, ListenOptions::default(), name)
    }

    /// As [`listen_raw`](Self::listen_raw), with options; `reuse_port` and `claim` are overwritten
    /// as needed.
    #[must_use]
    pub fn listen_raw_with(mut self, listen: impl Into<ListenAddr>, options: ListenOptions, name: &str) -> Self {
        self.listen.push((listen.into(), options, Purpose::raw(name)));
        self
    }

    /// Pins each thread to a core: the first one to the first core that the process may use, and so
    /// on, round robin. Default off: the system schedules better when anything else runs on the
    /// machine.
    #[must_use]
    pub fn pin(mut self, pinned: bool) -> Self {
        self.pinned = pinned;
        self
    }

    /// Starts the threads and serves: [`build`](Self::build), then [`ReadyThreads::serve`].
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn start(
        self,
        describe: impl Fn(&Worker) -> Result<Builder, BuildError> + Send + Sync + 'static,
    ) -> Result<RunningThreads, Error> {
        Ok(self.build(describe)?.serve())
    }

    /// Starts the threads. `describe` is called in each of them, first in thread 0 alone, and
    /// describes its service, which is built there with the shared listeners. This returns when all
    /// are built, and waiting.
    ///
    /// New connections wait meanwhile, as for a busy server.
    ///
    /// # Errors
    /// The first error of any thread: of `describe`, as [`Error::build_error`]; of
    /// [`Builder::build`]; a panic. Then nothing was served: every service and listener was
    /// dropped, and every thread has ended.
    pub fn build(
        self,
        describe: impl Fn(&Worker) -> Result<Builder, BuildError> + Send + Sync + 'static,
    ) -> Result<ReadyThreads, Error> {
        let listen = self.addresses()?;
        let count = self.count;
        let mut starting = Starting {
            describe: Arc::new(describe),
            group: Group::starting(),
            count,
            pinned: self.pinned,
            board: Board::new(count),
            places: Places::new(count),
            starters: Vec::new(),
            threads: Vec::new(),
            ended: None,
        };
        let (ended, endings) = mpsc::channel();
        starting.ended = Some(ended);
        // The first one finds free ports, and conflicts with other processes.
        let claimed = listen.iter().map(|(source, options, purpose)| {
            let mut options = *options;
            (options.reuse_port, options.claim) = (count > 1, count > 1);
            (source.clone(), options, purpose.clone())
        });
        let first = starting.spawn(0, claimed.collect())?;
        let first = starting.wait_until_ready(&first)?;
        // The first service's shared listeners come first.
        let shared = first.addresses.iter().zip(&listen).map(|(address, (source, options, purpose))| {
            let mut options = *options;
            (options.reuse_port, options.claim) = (true, false);
            let source = match source {
                // With its actual port.
                Source::Address(_) => Source::Address(address.clone()),
                Source::Inherited(_) => source.clone(),
            };
            (source, options, purpose.clone())
        });
        let shared: Vec<_> = shared.collect();
        let mut ready = vec![first];
        let others = (1..count).map(|index| starting.spawn(index, shared.clone())).collect::<Result<Vec<_>, _>>()?;
        for report in others {
            ready.push(starting.wait_until_ready(&report)?);
        }
        // From here on, once all clones are dropped, all threads have ended.
        starting.ended = None;
        let max_connections = starting.places.limit();
        let mut addresses: Vec<Address> = Vec::new();
        for address in ready.iter().flat_map(|ready| &ready.addresses) {
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        let remotes = ready.into_iter().map(|ready| ready.remote).collect();
        Ok(ReadyThreads { starting, remotes, addresses, max_connections, endings })
    }

    /// The shared listeners, names resolved.
    fn addresses(&self) -> Result<Vec<(Source, ListenOptions, Purpose)>, Error> {
        if self.count > MOST {
            return Err(Error::configuration(format!("{} threads are too many: {MOST} is the most", self.count)));
        }
        let mut addresses = Vec::new();
        for (listen, options, purpose) in &self.listen {
            for source in listen.clone().resolve()? {
                if self.count > 1 && matches!(&source, Source::Address(address) if !matches!(address, Address::Ip(_))) {
                    return Err(Error::configuration(format!(
                        "{source} cannot be listened on by {} threads: connections to a Unix socket come to one thread only",
                        self.count
                    )));
                }
                addresses.push((source, *options, purpose.clone()));
            }
        }
        Ok(addresses)
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads").field("count", &self.count).field("listen", &self.listen).finish_non_exhaustive()
    }
}

type Describe = dyn Fn(&Worker) -> Result<Builder, BuildError> + Send + Sync;

/// Threads that are being started. Dropping it before they serve ends them and waits for their end.
struct Starting {
    describe: Arc<Describe>,
    group: Group,
    count: usize,
    pinned: bool,
    board: Arc<Board>,
    places: Arc<Places>,
    /// A message starts each thread; dropping the sender ends it.
    starters: Vec<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
    /// Cloned into each thread.
    ended: Option<Sender<EndReport>>,
}

impl Starting {
    fn spawn(
        &mut self,
        index: usize,
        listen: Vec<(Source, ListenOptions, Purpose)>,
    ) -> Result<Receiver<Result<ReadyReport, Error>>, Error> {
        let (report, reports) = mpsc::channel();
        let (starter, start) = mpsc::channel();
        let Some(ended) = self.ended.clone() else {
            return Err(Error::configuration("the threads are already serving"));
        };
        let config = WorkerConfig {
            listen,
            pinned: self.pinned,
            board: Arc::clone(&self.board),
            places: Arc::clone(&self.places),
            report,
            start,
            ended,
        };
        let worker = Worker { index, threads: self.count, group: self.group.clone() };
        let describe = Arc::clone(&self.describe);
        let thread = thread::Builder::new()
            .name(format!("sockeye-{index}"))
            .spawn(move || work(&worker, &*describe, config))
            .map_err(|error| Error::system(error).in_thread(index))?;
        self.starters.push(starter);
        self.threads.push(thread);
        Ok(reports)
    }

    /// Waits until the service of one thread is built.
    fn wait_until_ready(&self, report: &Receiver<Result<ReadyReport, Error>>) -> Result<ReadyReport, Error> {
        // A thread always reports before it ends.
        report.recv().unwrap_or_else(|_| Err(Error::configuration("a thread exited before it reported its result")))
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.starters.clear();
        wait_for(&mut self.threads);
    }
}

/// Several services that are built but do not accept yet. Dropping it drops them, and waits for the
/// end of their threads.
#[must_use = "dropping it ends the threads"]
pub struct ReadyThreads {
    starting: Starting,
    remotes: Vec<Remote>,
    addresses: Vec<Address>,
    max_connections: usize,
    endings: Receiver<EndReport>,
}

impl ReadyThreads {
    /// As [`RunningThreads::local_addresses`].
    #[must_use]
    pub fn local_addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// As [`RunningThreads::max_connections`].
    #[must_use]
    pub fn max_connections(&self) -> usize {
        self.max_connections
    }

    /// Starts serving.
    pub fn serve(mut self) -> RunningThreads {
        let group = self.starting.group.clone();
        group.complete(self.remotes);
        for hold in self.starting.starters.drain(..) {
            let _ = hold.send(());
        }
        RunningThreads {
            group,
            addresses: self.addresses,
            max_connections: self.max_connections,
            board: Arc::clone(&self.starting.board),
            threads: mem::take(&mut self.starting.threads),
            endings: self.endings,
        }
    }
}

impl fmt::Debug for ReadyThreads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadyThreads").field("local_addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// Several running services. Dropping it drains them and waits for their end.
///
/// ```
/// use sockeye::{Service, Threads, messages};
///
/// # fn main() -> Result<(), sockeye::Error> {
/// let threads = Threads::new(2).listen("127.0.0.1:0").start(|_| Ok(Service::builder().protocol(messages::echo("echo"))))?;
/// println!("{} connections so far", threads.statistics().connections.accepted);
/// threads.drain();
/// threads.join()
/// # }
/// ```
#[must_use = "dropping it drains the services and waits for their end"]
pub struct RunningThreads {
    group: Group,
    addresses: Vec<Address>,
    max_connections: usize,
    board: Arc<Board>,
    threads: Vec<JoinHandle<()>>,
    endings: Receiver<EndReport>,
}

impl RunningThreads {
    /// Where they listen: shared listeners first, each address once.
    #[must_use]
    pub fn local_addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// The maximum number of simultaneous connections, in all threads together.
    #[must_use]
    pub fn max_connections(&self) -> usize {
        self.max_connections
    }

    /// The number of threads.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads.len()
    }

    /// A handle on all services.
    #[must_use]
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// The sum of what all services have counted, at most a second old unless their loops are held
    /// up.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.board.sum()
    }

    /// Shuts all services down gracefully; see [`Commands::drain`](crate::Commands::drain).
    pub fn drain(&self) {
        // They have already ended, or are about to.
        let _ = self.group.drain();
    }

    /// Waits until all threads have ended: drained, by [`drain`](Self::drain) or by a callback of
    /// any thread, or failed. When one thread ends, for any reason, the others are drained.
    ///
    /// # Errors
    /// The first error: of a [`run`](crate::Service::run), or a panic ([`Error::is_panic`]).
    /// [`Error::thread`] names the thread.
    pub fn join(self) -> Result<(), Error> {
        self.join_each(|_, _| {})
    }

    /// As [`join`](Self::join), and passes on the statistics of each service as soon as its thread
    /// has ended.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub fn join_each(mut self, mut each: impl FnMut(usize, &Statistics)) -> Result<(), Error> {
        let mut first = Ok(());
        for ended in &self.endings {
            each(ended.index, &ended.statistics);
            first = first.and(ended.result);
        }
        wait_for(&mut self.threads);
        first
    }
}

impl fmt::Debug for RunningThreads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningThreads")
            .field("threads", &self.threads.len())
            .field("local_addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

impl Drop for RunningThreads {
    fn drop(&mut self) {
        self.drain();
        wait_for(&mut self.threads);
    }
}

fn wait_for(threads: &mut Vec<JoinHandle<()>>) {
    for thread in threads.drain(..) {
        // A panic is in its report already.
        let _ = thread.join();
    }
}

/// Far more than any machine has cores.
const MOST: usize = 1024;
