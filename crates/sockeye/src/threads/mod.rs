//! Several services on one address, each in a thread of its own.
//!
//! What threads can share:
//!
//! * An IP address, with `SO_REUSEPORT`: the kernel distributes connections. The first thread binds
//!   without the option, which fails if another process is there, and sets it afterwards
//!   ([`ListenOptions::claim`]). Otherwise a foreign server on the port would not be an error, and
//!   half of the clients would meet the wrong one.
//! * Not the path of a Unix socket: the kernel does not distribute its connections, so the first
//!   thread would serve all of them.
//! * A listener that is open already, such as one from a service manager: one queue, of which each
//!   thread watches a duplicate. A connection wakes all idle threads, and one gets it.

mod group;
#[cfg(test)]
mod tests;
mod worker;

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use crate::error::Error;
use crate::service::{Builder, ListenAddr, Remote, Source};
use crate::statistics::{Board, Statistics};
use crate::sys::{Address, ListenOptions};

use self::worker::{EndReport, ReadyReport, WorkerConfig, work};

pub use self::group::{Group, GroupProtocol};
pub use self::worker::{BuildError, Worker};

/// Describes several services that share addresses, a thread for each.
///
/// A [`Service`](crate::Service) stays on the thread that built it, and so do its protocols: a
/// closure describes it there, once in each thread. The system deals new connections out to the
/// threads (`SO_REUSEPORT`), and a connection stays where it came. What the threads have in common
/// crosses between them by a [`Group`], or is behind a lock of the program's.
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
/// [`Limits`](crate::Limits) and [filters](Builder::filter) are those of each service: with
/// `Limits::connections` at 1,000, four threads hold 4,000. Without it each has an equal share of
/// what the descriptor limit allows. A thread at its limit pauses accepting, and the connections
/// that the system dealt to it wait though other threads have room.
pub struct Threads {
    count: usize,
    /// With the raw endpoint that it is for.
    listen: Vec<(ListenAddr, ListenOptions, Option<String>)>,
    pinned: bool,
}

impl Threads {
    /// So many threads; 0: one for each core that the process may use.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let count = if count == 0 { thread::available_parallelism().map_or(1, Into::into) } else { count };
        Self { count, listen: Vec::new(), pinned: false }
    }

    /// How many threads there will be.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Has all threads listen there; may be called several times. Port 0 takes a free port, the same for all.
    ///
    /// No other process may listen there, not even with `SO_REUSEPORT`. Several threads cannot
    /// share the address of a Unix socket: starting fails. One of them can listen there, by
    /// [`Builder::listen`] in the closure. All threads share a listener that is already open, of
    /// any kind.
    #[must_use]
    pub fn listen(self, listen: impl Into<ListenAddr>) -> Self {
        self.listen_with(listen, ListenOptions::default())
    }

    /// As [`listen`](Self::listen), with options, of which `reuse_port` and `claim` are set as needed.
    #[must_use]
    pub fn listen_with(mut self, listen: impl Into<ListenAddr>, options: ListenOptions) -> Self {
        self.listen.push((listen.into(), options, None));
        self
    }

    /// Has all threads listen there for the [`Raw`](crate::raw::Raw) endpoint of that name, which
    /// each of their services must have; as [`listen`](Self::listen) otherwise, and
    /// [`Builder::listen_raw`].
    #[must_use]
    pub fn listen_raw(self, listen: impl Into<ListenAddr>, name: &str) -> Self {
        self.listen_raw_with(listen, ListenOptions::default(), name)
    }

    /// As [`listen_raw`](Self::listen_raw), with options, of which `reuse_port` and `claim` are set as needed.
    #[must_use]
    pub fn listen_raw_with(mut self, listen: impl Into<ListenAddr>, options: ListenOptions, name: &str) -> Self {
        self.listen.push((listen.into(), options, Some(name.to_owned())));
        self
    }

    /// Keeps each thread on a core of its own: the first one on the first core that the process may
    /// use, and so on, round and round. Default off: the system knows better when anything else
    /// runs on the machine.
    #[must_use]
    pub fn pin(mut self, pinned: bool) -> Self {
        self.pinned = pinned;
        self
    }

    /// Starts the threads, and lets them serve: [`build`](Self::build) and [`ReadyThreads::serve`].
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
    /// describes its service, which is built there with the shared listeners. When all are built
    /// this returns, and they wait.
    ///
    /// Connections that come meanwhile wait too, as they do for a busy server.
    ///
    /// # Errors
    /// The first one of any thread: of `describe`, as [`Error::build_error`]; of
    /// [`Builder::build`]; a panic. Nothing was served then: every service was dropped, its
    /// listeners with it, and every thread has ended.
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
            starters: Vec::new(),
            threads: Vec::new(),
            ended: None,
        };
        let (ended, endings) = mpsc::channel();
        starting.ended = Some(ended);
        // The first one finds the free ports, and whether anybody else listens there.
        let claimed = listen.iter().map(|(source, options, name)| {
            let mut options = *options;
            (options.reuse_port, options.claim) = (count > 1, count > 1);
            (source.clone(), options, name.clone())
        });
        let first = starting.spawn(0, claimed.collect())?;
        let first = starting.wait_until_ready(&first)?;
        // Those of the first service that it has in common with the others come first.
        let shared = first.addresses.iter().zip(&listen).map(|(address, (source, options, name))| {
            let mut options = *options;
            (options.reuse_port, options.claim) = (true, false);
            let source = match source {
                // With the port that it really has.
                Source::Address(_) => Source::Address(address.clone()),
                Source::Inherited(_) => source.clone(),
            };
            (source, options, name.clone())
        });
        let shared: Vec<_> = shared.collect();
        let mut ready = vec![first];
        let others = (1..count).map(|index| starting.spawn(index, shared.clone())).collect::<Result<Vec<_>, _>>()?;
        for report in others {
            ready.push(starting.wait_until_ready(&report)?);
        }
        // From here on the end of all shares means that all threads are over.
        starting.ended = None;
        let max_connections = ready.iter().map(|ready| ready.max_connections).sum();
        let mut addresses: Vec<Address> = Vec::new();
        for address in ready.iter().flat_map(|ready| &ready.addresses) {
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        let remotes = ready.into_iter().map(|ready| ready.remote).collect();
        Ok(ReadyThreads { starting, remotes, addresses, max_connections, endings })
    }

    /// Where to listen, names looked up.
    fn addresses(&self) -> Result<Vec<(Source, ListenOptions, Option<String>)>, Error> {
        if self.count > MOST {
            return Err(Error::configuration(format!("{} threads are too many: {MOST} is the most", self.count)));
        }
        let mut addresses = Vec::new();
        for (listen, options, name) in &self.listen {
            for source in listen.clone().resolve()? {
                if self.count > 1 && matches!(&source, Source::Address(address) if !matches!(address, Address::Ip(_))) {
                    return Err(Error::configuration(format!(
                        "{source} cannot be listened on by {} threads: connections to a Unix socket come to one thread only",
                        self.count
                    )));
                }
                addresses.push((source, *options, name.clone()));
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

/// Threads that are being started. Dropped before they serve, it ends them, and waits for that.
struct Starting {
    describe: Arc<Describe>,
    group: Group,
    count: usize,
    pinned: bool,
    board: Arc<Board>,
    /// Starts each thread, by a message, or ends it, by being dropped.
    starters: Vec<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
    /// For each thread a share of it.
    ended: Option<Sender<EndReport>>,
}

impl Starting {
    fn spawn(
        &mut self,
        index: usize,
        listen: Vec<(Source, ListenOptions, Option<String>)>,
    ) -> Result<Receiver<Result<ReadyReport, Error>>, Error> {
        let (report, reports) = mpsc::channel();
        let (starter, start) = mpsc::channel();
        let Some(ended) = self.ended.clone() else { return Err(Error::configuration("the threads serve already")) };
        let config = WorkerConfig { listen, pinned: self.pinned, board: Arc::clone(&self.board), report, start, ended };
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
        // A thread reports before it ends, whatever happens to it.
        report.recv().unwrap_or_else(|_| Err(Error::configuration("a thread exited before it reported its result")))
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.starters.clear();
        wait_for(&mut self.threads);
    }
}

/// Several services that are built and wait: nothing is accepted yet. Dropping it drops them, and
/// waits for the end of their threads.
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

    /// Lets them serve.
    #[must_use = "dropping what it returns ends the services"]
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

/// Several services that serve. Dropping it drains them and waits for their end.
pub struct RunningThreads {
    group: Group,
    addresses: Vec<Address>,
    max_connections: usize,
    board: Arc<Board>,
    threads: Vec<JoinHandle<()>>,
    endings: Receiver<EndReport>,
}

impl RunningThreads {
    /// Where they listen: what they share first, and each address once.
    #[must_use]
    pub fn local_addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// The most connections that there can be at one time, in all threads together.
    #[must_use]
    pub fn max_connections(&self) -> usize {
        self.max_connections
    }

    /// How many threads there are.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads.len()
    }

    /// A handle on all services.
    #[must_use]
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// What all services have done together, as it was at most a second ago unless their loops are held up.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.board.sum()
    }

    /// Ends all services in good order; see [`Commands::drain`](crate::Commands::drain).
    pub fn drain(&self) {
        // They are over already, or on the way.
        let _ = self.group.drain();
    }

    /// Waits until all threads are over: drained, by [`drain`](Self::drain) or by a callback of any
    /// thread, or failed. When one thread ends, for whatever reason, the others are drained.
    ///
    /// # Errors
    /// The first one: of a [`run`](crate::Service::run), or a panic ([`Error::is_panic`]).
    /// [`Error::thread`] says where.
    pub fn join(self) -> Result<(), Error> {
        self.join_each(|_, _| {})
    }

    /// As [`join`](Self::join), and hands over what each service has counted, as soon as its thread is over.
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
        // What it may have panicked with is in its report.
        let _ = thread.join();
    }
}

/// Far more than there are cores in any machine.
const MOST: usize = 1024;
