//! The log of this process: that of the library, as the command line wants it.

use std::io::{self, IsTerminal as _, Write};
use std::path::Path;
use std::sync::OnceLock;

use sockeye::log::{Format, Level, Log, Logger, escape};

use crate::failure::Failure;
use crate::options::logging::{LogFormat, LogLevel, LogTo, Logging};
use crate::signals;

/// Sends the events of this process to where the command line says.
pub(crate) fn start(logging: &Logging) -> Result<(), Failure> {
    let to = logging.to.as_ref().unwrap_or(&LogTo::Stderr);
    let mut logger = match to {
        LogTo::Stderr if io::stderr().is_terminal() => Logger::writer(Stderr).format(Format::Human),
        LogTo::Stderr => Logger::writer(Stderr),
        LogTo::File(path) => Logger::file(path),
        LogTo::Syslog | LogTo::Journal if logging.format.is_some() => {
            return Err(Failure::usage("--log-format applies to standard error and files only".to_owned()));
        }
        LogTo::Syslog => Logger::syslog_at(&logging.syslog_socket),
        LogTo::Journal => Logger::journal_at(&logging.journal_socket),
    };
    if let Some(format) = logging.format {
        logger = logger.format(match format {
            LogFormat::Human => Format::Human,
            LogFormat::Logfmt => Format::Logfmt,
            LogFormat::Json => Format::Json,
        });
    }
    let logger = logger.name("sockeye").access(logging.access).level(match logging.level {
        LogLevel::Err => Level::Err,
        LogLevel::Warn => Level::Warn,
        LogLevel::Notice => Level::Notice,
        LogLevel::Info => Level::Info,
        LogLevel::Debug => Level::Debug,
    });
    // Signals are for the other threads, which know when they can be handled.
    let log = signals::without_signals(|| logger.install()).map_err(|error| match to {
        LogTo::File(path) => Failure::usage(format!("--log-to {}: {error}", path.display())),
        _ => Failure::general(format!("cannot start the log: {error}")),
    })?;
    if let Err(error) = log.check() {
        // The log itself cannot tell.
        print(&match to {
            LogTo::Syslog => unreachable("syslog", &logging.syslog_socket, &error),
            _ => unreachable("journal", &logging.journal_socket, &error),
        });
    }
    // This is called once.
    let _ = STARTED.set(Started { log, is_elsewhere: *to != LogTo::Stderr });
    Ok(())
}

/// A warning about a socket, which may appear later, so it is not an error.
fn unreachable(name: &str, path: &Path, error: &io::Error) -> String {
    let path = path.display().to_string();
    let path = escape(&path);
    if error.kind() == io::ErrorKind::NotFound {
        format!("sockeye: warning: --log-to {name}: {path} is not there; nothing is logged until it is\n")
    } else {
        format!("sockeye: warning: --log-to {name}: {path}: {error}; nothing is logged until it can be\n")
    }
}

/// Has `show` take what is written to standard error from now on. Where it says `false` it goes there as before.
pub(crate) fn divert(show: fn(&[u8]) -> bool) {
    // There is one terminal, so there is one who draws on it.
    let _ = DIVERTED.set(show);
}

/// Writes a line for people as it is, on standard error, behind the events that go there.
pub(crate) fn print(line: &str) {
    match STARTED.get() {
        Some(Started { log, is_elsewhere: false }) => log.print(line),
        // Not `eprint!`, which panics without a reader.
        _ => _ = io::stderr().write_all(line.as_bytes()),
    }
}

/// Reopens the log file, and notes it in the log. False: the log does not go to a file.
pub(crate) fn reopen() -> bool {
    STARTED.get().is_some_and(|started| started.log.reopen())
}

/// Whether the log goes to another place than standard error.
pub(crate) fn is_elsewhere() -> bool {
    STARTED.get().is_some_and(|started| started.is_elsewhere)
}

/// Waits for what is not written yet, but not for a reader who stopped reading. Called before the process ends.
pub(crate) fn flush() {
    if let Some(started) = STARTED.get() {
        started.log.flush();
    }
}

struct Started {
    log: Log,
    is_elsewhere: bool,
}

static STARTED: OnceLock<Started> = OnceLock::new();

/// Draws lines in place of standard error, if a line editor does.
static DIVERTED: OnceLock<fn(&[u8]) -> bool> = OnceLock::new();

/// Standard error, or the line editor that draws on its terminal.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if DIVERTED.get().is_some_and(|show| show(bytes)) { Ok(bytes.len()) } else { io::stderr().write(bytes) }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
