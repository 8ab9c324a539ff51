//! One of the threads: it builds its service, waits until all others have built theirs, and serves.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use crate::error::Error;
use crate::service::places::{Places, Share};
use crate::service::{Builder, ListenAddr, Purpose, Remote, Service, ServiceState, Source};
use crate::statistics::{Board, BoardSlot, Statistics};
use crate::sys::{Address, ListenOptions, cores};
use crate::threads::group::Group;

/// An error of the closure that describes the service of a thread.
pub type BuildError = Box<dyn std::error::Error + Send + Sync>;

/// One of the threads, as the closure that describes its service sees it.
#[derive(Clone, Debug)]
pub struct Worker {
    pub(super) index: usize,
    pub(super) threads: usize,
    pub(super) group: Group,
}

impl Worker {
    /// The index of the thread, from 0.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// The number of threads.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// The group of all threads. It can be used from the first callback on; before that it returns
    /// [`RemoteError::Starting`](crate::service::RemoteError::Starting).
    #[must_use]
    pub fn group(&self) -> &Group {
        &self.group
    }
}

/// What a thread needs to start.
pub(super) struct WorkerConfig {
    pub(super) listen: Vec<(Source, ListenOptions, Purpose)>,
    pub(super) pinned: bool,
    /// Where the counters of all threads are published.
    pub(super) board: Arc<Board>,
    /// The limit of connections of all threads.
    pub(super) places: Arc<Places>,
    /// Receives the outcome of building.
    pub(super) report: Sender<Result<ReadyReport, Error>>,
    /// Receives a message when all threads are ready, and none if one failed.
    pub(super) start: Receiver<()>,
    /// Receives the outcome of serving.
    pub(super) ended: Sender<EndReport>,
}

/// How a thread ended.
pub(super) struct EndReport {
    pub(super) index: usize,
    pub(super) result: Result<(), Error>,
    pub(super) statistics: Statistics,
}

/// A service that was built and waits.
pub(super) struct ReadyReport {
    pub(super) remote: Remote,
    pub(super) addresses: Vec<Address>,
}

/// The main function of a thread. A panic becomes an error.
pub(super) fn work(
    worker: &Worker,
    describe: &dyn Fn(&Worker) -> Result<Builder, BuildError>,
    WorkerConfig { listen, pinned, board, places, report, start, ended }: WorkerConfig,
) {
    let index = worker.index;
    let slot = BoardSlot::new(Arc::clone(&board), index);
    let mut service = match caught(|| built(worker, describe, listen, pinned, slot, Share::new(&places, index))) {
        Ok(service) => service,
        Err(error) => {
            let _ = report.send(Err(error.in_thread(index)));
            return;
        }
    };
    let _ = report.send(Ok(ReadyReport { remote: service.remote(), addresses: service.local_addresses().to_vec() }));
    let result = if start.recv().is_ok() { caught(|| serve(&mut service, &worker.group)) } else { Ok(()) };
    if let Err(error) = &result {
        tracing::error!(thread = index, %error, "a thread failed; the others are drained");
    }
    // Its end, for any reason, ends the others. Before the start there is nothing to end.
    let _ = worker.group.drain();
    let statistics = service.statistics().clone();
    // Not while unwinding, so that another panic in a callback ends this thread and not the
    // process.
    let dropped = caught(|| {
        drop(service);
        Ok(())
    });
    board.end(index, &statistics);
    let result = result.and(dropped).map_err(|error| error.in_thread(index));
    let _ = ended.send(EndReport { index, result, statistics });
}

fn built(
    worker: &Worker,
    describe: &dyn Fn(&Worker) -> Result<Builder, BuildError>,
    listen: Vec<(Source, ListenOptions, Purpose)>,
    pinned: bool,
    slot: BoardSlot,
    places: Share,
) -> Result<Service, Error> {
    if pinned {
        // Before anything is allocated, so that memory is local to the core.
        cores::pin(worker.index).map_err(Error::system)?;
    }
    let builder = describe(worker).map_err(Error::build)?;
    let listen =
        listen.into_iter().map(|(source, options, purpose)| (ListenAddr::from(source), options, purpose)).collect();
    builder.shared(listen, worker.threads as u64, slot, places).build()
}

fn serve(service: &mut Service, group: &Group) -> Result<(), Error> {
    let mut told = false;
    while service.run_once(None)? == ServiceState::Running {
        if service.is_draining() && !told {
            // A callback of this thread requested a drain, which applies to all.
            told = true;
            let _ = group.drain();
        }
    }
    Ok(())
}

/// Turns a panic into an error. What was borrowed is only dropped afterwards.
fn caught<T>(run: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| Err(Error::panicked(&*payload)))
}
