//! Where a server runs: in this process, or in the background, while its starter waits until it is ready or has failed.

use std::io::{self, Write as _};
use std::path::{self, PathBuf};
use std::thread;
use std::time::Duration;

use sockeye::daemon::{self, Daemon, Identity, Outcome, PidFile, Side, systemd};

use crate::failure::{Failure, TIMEOUT};
use crate::interface::Interface;
use crate::log;
use crate::options::daemon::DaemonArgs;
use crate::options::logging::LogTo;
use crate::options::server::ServerArgs;

/// This process, which is to do the work.
#[derive(Debug, Default)]
pub(crate) struct Background {
    /// Until its starter knows what became of it.
    daemon: Option<Daemon>,
}

impl Background {
    /// Goes into the background if that is asked for. `None`: it serves, and this process has nothing left to do.
    pub(crate) fn enter(args: &mut ServerArgs, folder: Option<&mut PathBuf>) -> Result<Option<Self>, Failure> {
        if !args.daemon.daemonize {
            return Ok(Some(Self::default()));
        }
        let passed = systemd::passed().map_err(|error| Failure::usage(error.to_string()))?;
        if passed > 0 {
            // A daemon is another process, which gets none of the descriptors, and the addresses are taken by them.
            return Err(Failure::usage(format!(
                "--daemonize: this was started with sockets (LISTEN_FDS={passed}) that a daemon would not have; the service \
                    manager keeps it in the background already: leave --daemonize out"
            )));
        }
        make_absolute(args, folder)
            .map_err(|error| Failure::usage(format!("cannot determine the working directory: {error}")))?;
        // Its standard error goes nowhere, once it serves.
        if args.logging.to == Some(LogTo::Stderr) {
            let text = "--log-to stderr: a daemon has no standard error; use a file, syslog or journal";
            return Err(Failure::usage(text.to_owned()));
        }
        args.logging.to.get_or_insert(LogTo::Syslog);
        match daemon::detach().map_err(|error| Failure::general(format!("cannot start a daemon: {error}")))? {
            Side::Daemon(daemon) => Ok(Some(Self { daemon: Some(daemon) })),
            Side::Starter(starter) => match starter.wait(START) {
                Ok(outcome) => started(outcome).map(|()| None),
                Err(error) => Err(Failure::general(format!("cannot wait for the daemon: {error}"))),
            },
        }
    }

    /// Whether this is a daemon whose starter waits.
    pub(crate) fn is_daemon(&self) -> bool {
        self.daemon.is_some()
    }

    /// Reports that the server is ready, and its addresses, to the starter.
    pub(crate) fn report_ready(&mut self, announcement: String) -> Result<(), Failure> {
        let Some(daemon) = self.daemon.take() else {
            return announce(announcement)
                .map_err(|error| Failure::general(format!("cannot spawn a thread for standard output: {error}")));
        };
        // What was logged until here is for the terminal.
        log::flush();
        daemon
            .ready(&announcement)
            .map_err(|error| Failure::general(format!("cannot report to the process that started the daemon: {error}")))
    }

    /// Tells the starter why this process does not serve. False: no starter waits.
    pub(crate) fn failed(&mut self, failure: &Failure) -> bool {
        let Some(daemon) = self.daemon.take() else { return false };
        daemon.failed(failure.code, &failure.message);
        true
    }
}

/// Makes paths absolute, since the daemon changes its working directory.
fn make_absolute(args: &mut ServerArgs, folder: Option<&mut PathBuf>) -> io::Result<()> {
    let sockets = args.listening.interfaces.iter_mut().filter_map(|interface| match interface {
        Interface::Unix(path) => Some(path),
        _ => None,
    });
    let log = match &mut args.logging.to {
        Some(LogTo::File(path)) => Some(path),
        _ => None,
    };
    for path in
        folder.into_iter().chain(sockets).chain(args.daemon.pid_file.as_mut()).chain(log).chain(args.tls.paths())
    {
        *path = path::absolute(&path)?;
    }
    Ok(())
}

/// What the starter has to say of it.
fn started(outcome: Outcome) -> Result<(), Failure> {
    match outcome {
        Outcome::Ready(announcement) => {
            // The output may have no reader.
            let mut stdout = io::stdout().lock();
            let _ = stdout.write_all(announcement.as_bytes()).and_then(|()| stdout.flush());
            Ok(())
        }
        Outcome::Failed { code, text } => Err(Failure { code, message: text }),
        Outcome::TimedOut => Err(Failure {
            code: TIMEOUT,
            message: format!("the daemon was not ready within {} s and was terminated", START.as_secs()),
        }),
        _ => Err(Failure::general("the daemon exited before it was ready".to_owned())),
    }
}

/// The user and group of the command line.
pub(crate) fn identity(args: &DaemonArgs) -> Result<Option<Identity>, Failure> {
    if args.user.is_none() && args.group.is_none() {
        return Ok(None);
    }
    let found = Identity::find(args.user.as_deref(), args.group.as_deref());
    found.map(Some).map_err(|error| {
        let text = format!("--user, --group: {error}");
        if error.is_unknown() { Failure::usage(text) } else { Failure::general(text) }
    })
}

/// Becomes that user, or does not go on.
pub(crate) fn assume(identity: &Identity) -> Result<(), Failure> {
    let hint = if rustix::process::geteuid().is_root() { "" } else { "; only root can change the user" };
    identity.assume().map_err(|error| Failure::general(format!("--user, --group: {error}{hint}")))
}

/// The pid file of the command line, locked.
pub(crate) fn pid_file(args: &DaemonArgs) -> Result<Option<PidFile>, Failure> {
    let Some(path) = &args.pid_file else { return Ok(None) };
    let locked = PidFile::lock(path);
    locked.map(Some).map_err(|error| Failure::usage(format!("--pid-file {}: {error}", path.display())))
}

/// Prints where the service listens, in a thread: standard output may have lost its reader, or be full and block, and neither
/// should stop the server.
fn announce(lines: String) -> io::Result<()> {
    thread::Builder::new().name("announce".to_owned()).spawn(move || {
        let mut stdout = io::stdout().lock();
        if let Err(error) = stdout.write_all(lines.as_bytes()).and_then(|()| stdout.flush()) {
            tracing::debug!(%error, "standard output is closed");
        }
    })?;
    Ok(())
}

/// For the daemon to listen. It is much: a name server may be slow.
const START: Duration = Duration::from_secs(30);
