//! What `serve`, `echo` and `fraggle` share: open listeners, report where they are, run, and stop gracefully.

mod addresses;
mod build_failure;
mod listen_addrs;
mod manager;
mod signals;
mod statistics;
mod tls;
mod usage;

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use sockeye::daemon::{Identity, PidFile, systemd};
use sockeye::http::Routes;
use sockeye::service::{Listen, ListenAddr};
use sockeye::statistics::Statistics;
use sockeye::sys::ListenOptions;
use sockeye::threads::{BuildError, Group, ReadyThreads, Worker};
use sockeye::tls::ServerTls;
use sockeye::{Builder, Control, Limits, Service, Threads};

pub(crate) use self::addresses::{Scheme, describe};
use self::manager::Manager;
pub(crate) use self::signals::{signals, stop_on};
use self::usage::Usage;
use crate::background::{self, Background};
use crate::failure::Failure;
use crate::options::admission::Admission;
use crate::options::listening::Listening;
use crate::options::server::{LEAST_MEMORY, Port, ServerArgs};
use crate::options::tls::ServerTlsArgs;

/// The thread that a service runs in, for its protocols.
#[derive(Clone)]
pub(crate) struct ThreadCx {
    pub(crate) index: usize,
    /// How many there are.
    pub(crate) threads: usize,
    /// All of them, if there are several.
    pub(crate) group: Option<Group>,
    /// When the server started: the same for all threads.
    pub(crate) started: Instant,
    /// How it speaks TLS, if it does: the same for all threads.
    pub(crate) tls: Option<ServerTls>,
}

impl ThreadCx {
    /// Runs `job` in another thread. False: that thread has too many jobs, or has ended.
    pub(crate) fn run_in(&self, thread: usize, job: impl FnOnce(&mut Control<'_>) + Send + 'static) -> bool {
        self.group.as_ref().is_some_and(|group| group.remote(thread).and_then(|remote| remote.run(job)).is_ok())
    }
}

/// The number of threads that the command line asks for.
pub(crate) fn threads(args: &ServerArgs) -> usize {
    Threads::new(args.threads).count()
}

/// The library's limits, changed by the command line. Each thread gets its share of the memory.
pub(crate) fn limits(args: &ServerArgs, thread: &ThreadCx) -> Limits {
    let mut limits = Limits::default();
    limits.connections = args.max_connections.map(NonZeroUsize::get);
    limits.total_bytes = args.max_memory.map(|all| all / thread.threads);
    limits
}

/// Runs a service, or one in each of several threads, until a signal ends it. `build` describes the service of one thread;
/// `announcement` is printed behind the addresses, with a line end.
pub(crate) fn run(
    scheme: Scheme,
    port: Port,
    args: &ServerArgs,
    background: &mut Background,
    announcement: &str,
    build: impl Fn(&ThreadCx) -> Result<Builder, Failure> + Send + Sync + 'static,
) -> Result<(), Failure> {
    // Before anything is opened here: the numbers of these descriptors are fixed.
    let sockets = systemd::sockets().map_err(|error| Failure::usage(error.to_string()))?;
    usage::enlarge_table(args.max_connections.map(NonZeroUsize::get));
    // A signal during the start should also end the service gracefully.
    let signals = signals::all()?;
    let identity = background::identity(&args.daemon)?;
    // Before the service, so that the file outlives it, and because this error explains more than a port in use.
    let pid_file = background::pid_file(&args.daemon)?;
    let (threads, started) = (threads(args), Instant::now());
    if let Some(all) = args.max_memory.filter(|all| all / threads < LEAST_MEMORY) {
        return Err(Failure::usage(format!(
            "--max-memory {all} is less than 1 MiB for each of {threads} threads; give at least {threads}M"
        )));
    }
    let addrs = listen_addrs::listen_addrs(&args.listening, port, sockets, threads)?;
    // Keys are for root alone, and root is given up below.
    let tls = tls::load(&args.tls, &args.admission, &args.listening)?;
    // What was made for this run is in no file.
    let read = tls.clone().filter(|_| args.tls.has_files());
    let scheme = if tls.is_some() { scheme.with_tls() } else { scheme };
    let pin = tls.as_ref().and_then(|tls| tls::pin(&args.tls, tls)).map(|pin| format!("{pin}\n")).unwrap_or_default();
    let more = pin + announcement;
    if threads > 1 {
        let of_workers = tls.clone();
        let several = build_threads(addrs, tls.as_ref(), args, threads, move |worker| {
            let (index, group) = (worker.index(), Some(worker.group().clone()));
            build(&ThreadCx { index, threads, group, started, tls: of_workers.clone() }).map_err(BuildError::from)
        })?;
        prepare(args, several.max_connections(), identity.as_ref())?;
        write(pid_file.as_ref())?;
        let several = several.serve();
        let manager = Manager::ready(several.local_addresses(), scheme, background.is_daemon());
        manager.watch(several.group(), threads)?;
        signals::serve_on(signals, several.group().clone(), threads, several.max_connections(), manager.clone(), read)?;
        background.report_ready(addresses::announcement(several.local_addresses(), scheme) + &more)?;
        tell_limit(several.max_connections());
        let mut all = Statistics::default();
        let result = several.join_each(|thread, statistics| {
            statistics::log_final(statistics, Some(thread));
            all += statistics;
        });
        manager.stopping();
        if all.connections.accepted > 0 {
            tracing::info!(threads, "final statistics of all threads");
        }
        statistics::log_final(&all, None);
        return result.map_err(|error| Failure::general(error.to_string()));
    }
    let builder = build(&ThreadCx { index: 0, threads, group: None, started, tls: tls.clone() })?;
    let mut service = open(builder, addrs, tls.as_ref(), "--port")?;
    prepare(args, service.max_connections(), identity.as_ref())?;
    // One turn shows that the service works before it is announced.
    service.run_once(Some(Duration::ZERO)).map_err(|error| Failure::general(error.to_string()))?;
    write(pid_file.as_ref())?;
    let (group, most) = (Group::of([service.remote()]), service.max_connections());
    let manager = Manager::ready(service.local_addresses(), scheme, background.is_daemon());
    manager.watch(&group, 1)?;
    signals::serve_on(signals, group, 1, most, manager.clone(), read)?;
    background.report_ready(addresses::announcement(service.local_addresses(), scheme) + &more)?;
    tell_limit(most);
    let result = service.run().map_err(|error| Failure::general(error.to_string()));
    manager.stopping();
    statistics::log_final(service.statistics(), None);
    result
}

/// The steps between listening and serving.
fn prepare(args: &ServerArgs, max_connections: usize, identity: Option<&Identity>) -> Result<(), Failure> {
    if let Some(wanted) = args.max_connections.filter(|wanted| wanted.get() > max_connections) {
        tracing::warn!(
            wanted,
            max_connections,
            "the descriptor limit allows fewer connections than --max-connections; raise it with `ulimit -n`"
        );
    }
    identity.map_or(Ok(()), background::assume)
}

fn tell_limit(max_connections: usize) {
    let usage = Usage::now();
    tracing::info!(
        max_connections,
        descriptor_limit = usage.limit,
        descriptors = usage.descriptors,
        "limit of connections"
    );
}

fn write(pid_file: Option<&PidFile>) -> Result<(), Failure> {
    let Some(file) = pid_file else { return Ok(()) };
    let failed = |error| Failure::general(format!("cannot write {}: {error}", file.path().display()));
    file.write().map_err(failed)
}

/// Builds a service in each of several threads, with their listeners.
fn build_threads(
    addrs: Vec<(ListenAddr, ListenOptions)>,
    tls: Option<&ServerTls>,
    args: &ServerArgs,
    count: usize,
    describe: impl Fn(&Worker) -> Result<Builder, BuildError> + Send + Sync + 'static,
) -> Result<ReadyThreads, Failure> {
    if args.max_connections.is_some_and(|all| all.get() < count) {
        return Err(Failure::usage(format!("--max-connections is less than one for each of the {count} threads")));
    }
    let mut threads = Threads::new(count);
    for (addr, options) in addrs {
        threads = match tls {
            Some(tls) => threads.listen_tls_with(addr, options, tls.clone()),
            None => threads.listen_with(addr, options),
        };
    }
    threads.build(describe).map_err(|error| match error.build_error().and_then(|own| own.downcast_ref::<Failure>()) {
        Some(failure) => failure.clone(),
        None => build_failure::explain(&error, "--port"),
    })
}

/// Adds the page for Prometheus, if the command line asks for it.
pub(crate) fn with_metrics(routes: Routes, args: &ServerArgs, thread: &ThreadCx) -> Routes {
    match (&args.metrics, &thread.tls) {
        (Some(path), Some(tls)) => routes.metrics_with_tls(path, tls),
        (Some(path), None) => routes.metrics(path),
        (None, _) => routes,
    }
}

/// A service that listens for a command that otherwise connects.
pub(crate) struct Listener {
    pub(crate) service: Service,
    pub(crate) scheme: Scheme,
    /// What to say of a certificate that no authority issued.
    pub(crate) pin: Option<String>,
}

/// Builds a service with its listeners. `option` is the one that gave the port.
pub(crate) fn listen(
    builder: Builder,
    listening: &Listening,
    tls: (&ServerTlsArgs, &Admission),
    port: u16,
    option: &str,
) -> Result<Listener, Failure> {
    let port = Port { given: Some(port), default: port };
    let (args, admission) = tls;
    let tls = tls::load(args, admission, listening)?;
    let scheme = if tls.is_some() { Scheme::Ws.with_tls() } else { Scheme::Ws };
    let pin = tls.as_ref().and_then(|tls| tls::pin(args, tls));
    let addrs = listen_addrs::listen_addrs(listening, port, Vec::new(), 1)?;
    Ok(Listener { service: open(builder, addrs, tls.as_ref(), option)?, scheme, pin })
}

fn open(
    mut builder: Builder,
    addrs: Vec<(ListenAddr, ListenOptions)>,
    tls: Option<&ServerTls>,
    option: &str,
) -> Result<Service, Failure> {
    for (addr, options) in addrs {
        let listen = Listen::new(addr).options(options);
        builder = builder.listener(match tls {
            Some(tls) => listen.tls(tls.clone()),
            None => listen,
        });
    }
    builder.build().map_err(|error| build_failure::explain(&error, option))
}
