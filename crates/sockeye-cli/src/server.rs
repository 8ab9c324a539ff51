//! What `serve` and `echo` share: listen, say where, run, and stop in good order.

mod manager;
mod places;
mod signals;
mod usage;

use std::fmt::Write as _;
use std::io;
use std::time::{Duration, Instant};

use sockeye::daemon::{Identity, PidFile, systemd};
use sockeye::error::{ListenError, ListenTarget};
use sockeye::http::Routes;
use sockeye::service::ListenAddr;
use sockeye::statistics::Statistics;
use sockeye::sys::{Address, ListenOptions};
use sockeye::threads::{BuildError, Group, ReadyThreads, Worker};
use sockeye::{Builder, Control, Error, Limits, Service, Threads};

use self::manager::Manager;
pub(crate) use self::signals::{signals, stop_on};
use self::usage::Usage;
use crate::args::listening::Listening;
use crate::args::{Common, Port};
use crate::background::{self, Background};
use crate::failure::Failure;
use crate::log;

/// One of the threads that serve, as its protocols see it.
#[derive(Clone)]
pub(crate) struct Seat {
    pub(crate) index: usize,
    pub(crate) threads: usize,
    /// The threads, if there are several.
    pub(crate) group: Option<Group>,
    /// The same moment for all.
    pub(crate) started: Instant,
}

impl Seat {
    /// Has another thread run `job`. False: it cannot now, or it is over.
    pub(crate) fn tell(&self, thread: usize, job: impl FnOnce(&mut Control<'_>) + Send + 'static) -> bool {
        self.group.as_ref().is_some_and(|group| group.remote(thread).and_then(|remote| remote.run(job)).is_ok())
    }
}

/// How many threads the command line asks for.
pub(crate) fn threads(common: &Common) -> usize {
    Threads::new(common.threads).count()
}

/// The library's limits, with what the command line says about them. Of connections each thread has its share.
pub(crate) fn limits(common: &Common, seat: &Seat) -> Limits {
    let mut limits = Limits::default();
    limits.connections = common.max_connections.map(|all| share(all.get(), seat.index, seat.threads));
    limits
}

/// The share of one thread; all shares together are the whole.
fn share(all: usize, index: usize, threads: usize) -> usize {
    all / threads + usize::from(index < all % threads)
}

/// Runs a service, or one in each of the threads, until a signal ends them. `build` describes that of one thread.
pub(crate) fn run(
    port: Port,
    common: &Common,
    background: &mut Background,
    build: impl Fn(&Seat) -> Result<Builder, Failure> + Send + Sync + 'static,
) -> Result<(), Failure> {
    // Before anything is opened here.
    let sockets = systemd::sockets().map_err(|error| Failure::usage(error.to_string()))?;
    // A signal that comes early is to end the service in good order too.
    let signals = signals::all()?;
    let identity = background::identity(&common.standing)?;
    // Before the service, so that it is there until the service is gone; and the reason is clearer than a port in use.
    let pid_file = background::pid_file(&common.standing)?;
    let (threads, started) = (threads(common), Instant::now());
    let places = places::places(&common.listening, port, sockets, threads)?;
    if threads > 1 {
        let several = several(places, common, threads, move |worker| {
            let (index, group) = (worker.index(), Some(worker.group().clone()));
            build(&Seat { index, threads, group, started }).map_err(BuildError::from)
        })?;
        prepare(common, several.max_connections(), identity.as_ref())?;
        write(pid_file.as_ref())?;
        let several = several.serve();
        let manager = Manager::ready(several.local_addresses(), background.is_daemon());
        manager.watch(several.group(), threads)?;
        signals::serve_on(signals, several.group().clone(), threads, several.max_connections(), manager.clone())?;
        background.ready(announcement(several.local_addresses()))?;
        let mut all = Statistics::default();
        let result = several.join_each(|thread, statistics| {
            tracing::info!(thread, "what a thread has done");
            print_statistics(statistics, Some(thread));
            all += statistics;
        });
        manager.stopping();
        tracing::info!(threads, "what all threads have done");
        print_statistics(&all, None);
        return result.map_err(|error| Failure::general(error.to_string()));
    }
    let builder = build(&Seat { index: 0, threads, group: None, started })?;
    let mut service = open(builder, places, "--port")?;
    prepare(common, service.max_connections(), identity.as_ref())?;
    // A turn shows that it works, before anybody is told that it does.
    service.run_once(Some(Duration::ZERO)).map_err(|error| Failure::general(error.to_string()))?;
    write(pid_file.as_ref())?;
    let (group, most) = (Group::of([service.remote()]), service.max_connections());
    let manager = Manager::ready(service.local_addresses(), background.is_daemon());
    manager.watch(&group, 1)?;
    signals::serve_on(signals, group, 1, most, manager.clone())?;
    background.ready(announcement(service.local_addresses()))?;
    let result = service.run().map_err(|error| Failure::general(error.to_string()));
    manager.stopping();
    print_statistics(service.statistics(), None);
    result
}

/// What comes between listening and serving.
fn prepare(common: &Common, used: usize, identity: Option<&Identity>) -> Result<(), Failure> {
    if let Some(wanted) = common.max_connections.filter(|wanted| wanted.get() > used) {
        tracing::warn!(
            wanted,
            used,
            "the limit of open descriptors allows fewer connections than --max-connections asks for; `ulimit -n` raises it"
        );
    }
    let usage = Usage::now();
    tracing::info!(
        connections = used,
        descriptor_limit = usage.limit,
        descriptors = usage.descriptors,
        "the most connections there can be at one time"
    );
    identity.map_or(Ok(()), background::assume)
}

fn write(pid_file: Option<&PidFile>) -> Result<(), Failure> {
    let Some(file) = pid_file else { return Ok(()) };
    let failed = |error| Failure::general(format!("cannot write {}: {error}", file.path().display()));
    file.write().map_err(failed)
}

/// Builds a service in each of several threads, with their listeners.
fn several(
    places: Vec<(ListenAddr, ListenOptions)>,
    common: &Common,
    count: usize,
    describe: impl Fn(&Worker) -> Result<Builder, BuildError> + Send + Sync + 'static,
) -> Result<ReadyThreads, Failure> {
    if common.max_connections.is_some_and(|all| all.get() < count) {
        return Err(Failure::usage(format!("--max-connections is less than one for each of the {count} threads")));
    }
    let mut threads = Threads::new(count);
    for (place, options) in places {
        threads = threads.listen_with(place, options);
    }
    threads.build(describe).map_err(|error| match error.build_error().and_then(|own| own.downcast_ref::<Failure>()) {
        Some(failure) => failure.clone(),
        None => failed_to_start(&error, "--port"),
    })
}

/// Logs what a service has done, at notice level: at its end, and when it is asked for. `thread`: it is that of one of several.
pub(crate) fn print_statistics(statistics: &Statistics, thread: Option<usize>) {
    for line in statistics.to_string().lines() {
        tracing::info!(thread, "{line}");
    }
}

/// The page for Prometheus, if one is asked for, beside the others.
pub(crate) fn with_metrics(routes: Routes, common: &Common) -> Routes {
    match &common.metrics {
        Some(path) => routes.metrics(path),
        None => routes,
    }
}

/// Builds the service, with its listeners. `option` is the one that gave the port.
pub(crate) fn listen(builder: Builder, listening: &Listening, port: u16, option: &str) -> Result<Service, Failure> {
    let port = Port { given: Some(port), standard: port };
    open(builder, places::places(listening, port, Vec::new(), 1)?, option)
}

fn open(mut builder: Builder, places: Vec<(ListenAddr, ListenOptions)>, option: &str) -> Result<Service, Failure> {
    for (place, options) in places {
        builder = builder.listen_with(place, options);
    }
    builder.build().map_err(|error| failed_to_start(&error, option))
}

/// A listener that cannot be opened is the command line's to change: exit code 2, and how.
fn failed_to_start(error: &Error, option: &str) -> Failure {
    let system = error.io_error().and_then(io::Error::raw_os_error);
    let is_exhausted = system == Some(rustix::io::Errno::MFILE.raw_os_error());
    let hint = match error.as_listen() {
        _ if is_exhausted => "; raise the descriptor limit (ulimit -n)".to_owned(),
        Some(listen) => remedy(listen, option),
        None => String::new(),
    };
    match error.as_listen() {
        // Which thread was the first to find out does not matter.
        Some(listen) => Failure::usage(format!("{listen}{hint}")),
        None => Failure::general(format!("{error}{hint}")),
    }
}

/// What to change on the command line, or in the socket unit.
fn remedy(error: &ListenError, option: &str) -> String {
    use io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};
    match (error.target(), error.io_error().kind()) {
        (ListenTarget::Descriptor(_), _) => {
            "; of a socket unit it takes what ListenStream= makes, with Accept=no".to_owned()
        }
        (ListenTarget::Address(Address::Abstract(_)), AddrInUse) => {
            "; another socket has it: give another name".to_owned()
        }
        (ListenTarget::Address(Address::Unix(_)), AddrInUse) => {
            "; another server listens there: give another path".to_owned()
        }
        (_, AddrInUse) => {
            format!("; another program listens there: choose another port with {option}, 0 takes a free one")
        }
        (ListenTarget::Address(Address::Ip(_)), PermissionDenied) => {
            format!("; ports under 1024 are for privileged users: choose another with {option}")
        }
        (_, AddrNotAvailable) => "; this machine has no such address: choose another with --interface".to_owned(),
        _ => String::new(),
    }
}

/// A line for each listener.
fn announcement(addresses: &[Address]) -> String {
    let mut lines = String::new();
    for address in addresses {
        lines.push_str("listening on ");
        describe(&mut lines, address);
        lines.push('\n');
    }
    lines
}

/// As a URL, or as it was written.
pub(crate) fn describe(out: &mut String, address: &Address) {
    match address {
        // The `Display` of a socket address brackets IPv6. Writing to a `String` cannot fail.
        Address::Ip(address) => _ = write!(out, "ws://{address}/"),
        other => log::escape(out, &other.to_string(), ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_all_threads_are_the_whole() {
        let shares = |all, threads| (0..threads).map(|index| share(all, index, threads)).collect::<Vec<_>>();
        assert_eq!(shares(10, 4), [3, 3, 2, 2]);
        assert_eq!(shares(4, 4), [1; 4]);
        assert_eq!(shares(7, 1), [7]);
    }

    #[test]
    fn addresses_are_shown_as_urls_and_without_surprises() {
        let shown = |address: Address| {
            let mut text = String::new();
            describe(&mut text, &address);
            text
        };
        assert_eq!(shown(Address::Ip("127.0.0.1:80".parse().unwrap())), "ws://127.0.0.1:80/");
        assert_eq!(shown(Address::Ip("[::1]:80".parse().unwrap())), "ws://[::1]:80/");
        assert_eq!(shown(Address::Unix("/run/a\nb".into())), "unix:/run/a\\nb");
        assert_eq!(shown(Address::Abstract(b"a\0b".to_vec())), "unix:@a\\u{0}b");
    }
}
