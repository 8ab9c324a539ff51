//! Signals of the servers. A separate thread waits for them, so that a second signal ends the process even if the loop is
//! doing. Everything else is done by the loop, which is woken for it.

use std::io::IsTerminal as _;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use sockeye::service::RemoteError;
use sockeye::statistics::Statistics;
use sockeye::threads::Group;
use sockeye::tls::ServerTls;
use sockeye::{Control, Remote};

use super::manager::Manager;
use super::statistics;
use super::tls;
use super::usage::Usage;
use crate::failure::Failure;
use crate::{log, signals};

/// SIGINT and SIGTERM from here on; see [`stop_on`].
pub(crate) fn signals() -> Result<Signals, Failure> {
    signals::catch(&[SIGINT, SIGTERM])
}

/// Those of a server from here on; see [`serve_on`].
pub(super) fn all() -> Result<Signals, Failure> {
    signals::catch(&[SIGINT, SIGTERM, SIGHUP, SIGUSR1])
}

/// The first signal has `stop` run on the loop; the next one ends the process at once, in the way of that signal.
pub(crate) fn stop_on(
    signals: Signals,
    remote: Remote,
    stop: impl Fn(&mut Control<'_>) + Clone + Send + 'static,
) -> Result<(), Failure> {
    watch(signals, move |_| remote.run(stop.clone()))
}

/// SIGINT and SIGTERM drain the services of all threads, the next of them ends the process at once. SIGHUP has reloaded
/// what can be, with `tls` the files of certificates, SIGUSR1 has statistics logged.
pub(super) fn serve_on(
    signals: Signals,
    group: Group,
    threads: usize,
    max_connections: usize,
    manager: Manager,
    tls: Option<ServerTls>,
) -> Result<(), Failure> {
    let started = Instant::now();
    let terminals = Terminals::now();
    let mut telling = Telling::default();
    watch(signals, move |signal| match signal {
        SIGHUP if !terminals.are_closed() => {
            let manager = manager.clone();
            let Some(server) = tls.clone() else {
                return group.remote(0)?.run(move |_| manager.around_reload(reload));
            };
            log::reopen();
            // Certificates may be slow to read: neither a loop waits for them, nor the next signal.
            let thread = thread::Builder::new().name("reload".to_owned());
            if let Err(error) = thread.spawn(move || manager.around_reload(|| tls::reload(&server))) {
                tracing::error!(%error, "SIGHUP: cannot spawn a thread to reload");
            }
            Ok(())
        }
        SIGUSR1 => telling.begin().map_or(Ok(()), |all| tell(&group, threads, max_connections, started, &all)),
        _ => {
            manager.stopping();
            group.drain()
        }
    })
}

/// The terminals from which a person could end the process.
struct Terminals(Vec<BorrowedFd<'static>>);

impl Terminals {
    /// A daemon has none, and neither has one under nohup(1).
    fn now() -> Self {
        let standard = [rustix::stdio::stdin(), rustix::stdio::stderr()];
        Self(standard.into_iter().filter(|fd| fd.is_terminal()).collect())
    }

    /// Whether SIGHUP came because a terminal was closed. It may also be meant for the log: in a container with a terminal, or
    /// in tmux(1).
    fn are_closed(&self) -> bool {
        self.0.iter().any(|terminal| {
            let mut asked = [PollFd::new(terminal, PollFlags::empty())];
            poll(&mut asked, Some(&Timespec::default())).is_ok() && asked[0].revents().contains(PollFlags::HUP)
        })
    }
}

fn reload() {
    if !log::reopen() {
        tracing::info!("SIGHUP: nothing to reload; files are read for each request");
    }
}

/// Has each thread log what it has done, and the last of them what all have.
fn tell(
    group: &Group,
    threads: usize,
    max_connections: usize,
    started: Instant,
    all: &Arc<All>,
) -> Result<(), RemoteError> {
    (0..threads).try_for_each(|index| {
        let all = Arc::clone(all);
        group.remote(index)?.run(move |control| {
            // Threads log one after another.
            let turn = TURN.lock();
            let (usage, thread) = (Usage::now(), (threads > 1).then_some(index));
            tracing::info!(
                thread,
                connections = control.connections(),
                max_connections,
                descriptors = usage.descriptors,
                descriptor_limit = usage.limit,
                seconds = started.elapsed().as_secs(),
                "statistics"
            );
            statistics::log(control.statistics(), thread);
            // `all` may log when it is dropped, and takes a turn for it.
            drop(turn);
            all.add(control.statistics());
        })
    })
}

/// Has `act` see to each signal. Of those that are to end the process only to the first one: the next ends it at once.
fn watch(
    mut signals: Signals,
    mut act: impl FnMut(i32) -> Result<(), RemoteError> + Send + 'static,
) -> Result<(), Failure> {
    let thread = thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut stopping: Option<Instant> = None;
        for signal in signals.forever() {
            if !matches!(signal, SIGINT | SIGTERM) {
                // A loop that is over, or has 65,536 other jobs, has no use for it.
                let _ = act(signal);
                continue;
            }
            if stopping.is_some_and(|since| since.elapsed() < signals::SAME) {
                continue;
            }
            tracing::info!(signal, at_once = stopping.is_some(), "stopping");
            if stopping.is_some() || act(signal).is_err() {
                log::flush();
                let _ = emulate_default_handler(signal);
            }
            stopping = Some(Instant::now());
        }
    });
    thread.map(drop).map_err(|error| Failure::general(format!("cannot spawn a thread for signals: {error}")))
}

/// Statistics that are being logged, if any.
#[derive(Default)]
struct Telling(Weak<All>);

impl Telling {
    /// Starts over. As with signals themselves, a wish that comes while the one before it waits is the same: else a crowd of them
    /// would keep the loops from their work for as long as it takes.
    fn begin(&mut self) -> Option<Arc<All>> {
        if self.0.strong_count() > 0 {
            return None;
        }
        let all = Arc::new(All::default());
        self.0 = Arc::downgrade(&all);
        Some(all)
    }
}

/// What the threads have done together, logged when the last of them has said what it did, or is over and says nothing.
#[derive(Default)]
struct All(Mutex<(usize, Statistics)>);

impl All {
    fn add(&self, statistics: &Statistics) {
        let (threads, sum) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *threads += 1;
        *sum += statistics;
    }
}

impl Drop for All {
    fn drop(&mut self) {
        let (threads, sum) = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if *threads > 1 {
            let _turn = TURN.lock();
            tracing::info!(threads = *threads, "statistics of all threads");
            statistics::log(sum, None);
        }
    }
}

/// Held by the thread whose statistics are being logged.
static TURN: Mutex<()> = Mutex::new(());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_that_are_being_logged_are_not_asked_for_again() {
        let mut telling = Telling::default();
        let first = telling.begin().expect("nothing is under way");
        // A second thread has its share still.
        let other = Arc::clone(&first);
        drop(first);
        assert!(telling.begin().is_none());
        drop(other);
        assert!(telling.begin().is_some());
    }
}
