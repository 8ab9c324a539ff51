//! The log: events of this process, written to a terminal, a file, syslog or the journal.
//!
//! The levels are those of libwebsockets, where `notice` is on by default and `info` is not. Levels of the library map to
//! them: ERROR to err, WARN to warn, INFO to notice, DEBUG to info, TRACE to debug. Events of the target `sockeye::access`
//! belong to the access log, whatever their level.
//!
//! Any field may contain bytes of a peer, so everything that could end a line, move a cursor or look like another field is
//! escaped ([`form`]), and a peer that causes many lines is limited ([`pace`]). A log that cannot be written neither stops nor
//! blocks the process: a separate thread writes it ([`backlog`], [`sink`]), errors are dropped, and lines that cannot be
//! written in time are counted instead of kept.

mod backlog;
mod form;
mod pace;
mod sink;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use tracing::metadata::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use self::backlog::{Backlog, Note};
use self::form::{ACCESS, Form, Line};
use self::pace::Pace;
use self::sink::Target;
use crate::failure::Failure;
use crate::options::logging::LogLevel;
use crate::options::logging::{LogFormat, LogTo, Logging};
use crate::signals;

pub(crate) use self::form::{Utc, escape};

/// Sends the events of this process to where the command line says.
pub(crate) fn start(logging: &Logging) -> Result<(), Failure> {
    let human = || if io::stderr().is_terminal() { LogFormat::Human } else { LogFormat::Logfmt };
    let lines = |format: LogFormat| match format {
        LogFormat::Human => Form::Human,
        LogFormat::Logfmt => Form::Logfmt,
        LogFormat::Json => Form::Json,
    };
    let to = logging.to.as_ref().unwrap_or(&LogTo::Stderr);
    let (form, target) = match to {
        LogTo::Stderr => (lines(logging.format.unwrap_or_else(human)), Target::Stderr),
        LogTo::File(path) => {
            let target =
                Target::file(path).map_err(|error| Failure::usage(format!("--log-to {}: {error}", path.display())))?;
            (lines(logging.format.unwrap_or(LogFormat::Logfmt)), target)
        }
        LogTo::Syslog | LogTo::Journal if logging.format.is_some() => {
            return Err(Failure::usage("--log-format applies to standard error and files only".to_owned()));
        }
        LogTo::Syslog => (Form::Syslog, packets("syslog", &logging.syslog_socket)),
        LogTo::Journal => (Form::Journal, packets("journal", &logging.journal_socket)),
    };
    if matches!(to, LogTo::File(_)) {
        BACKLOG.set_reopens();
    }
    ELSEWHERE.store(*to != LogTo::Stderr, Ordering::Relaxed);
    let note = move |note: Note| form.note(&note, SystemTime::now());
    // Signals are for the other threads, which know when they can be handled.
    let thread = signals::without_signals(|| {
        thread::Builder::new().name("log".to_owned()).spawn(move || BACKLOG.write_to(target, note))
    });
    THREADLESS.store(thread.is_err(), Ordering::Relaxed);
    let filter = match logging.level {
        LogLevel::Err => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Notice => LevelFilter::INFO,
        LogLevel::Info => LevelFilter::DEBUG,
        LogLevel::Debug => LevelFilter::TRACE,
    };
    // Fails only when there is one already, and this is called once.
    let _ =
        tracing::subscriber::set_global_default(Log { filter, access: logging.access, form, pace: Pace::default() });
    Ok(())
}

/// A socket that accepts packets. It may appear later, so a missing one is not an error; but it is reported on standard error,
/// since the log cannot.
fn packets(name: &str, path: &Path) -> Target {
    if let Some(error) = sink::refusal(path) {
        let mut text = format!("sockeye: warning: --log-to {name}: ");
        escape(&mut text, &path.display().to_string(), "");
        if error.kind() == io::ErrorKind::NotFound {
            text.push_str(" is not there; nothing is logged until it is\n");
        } else {
            text.push_str(&format!(": {error}; nothing is logged until it can be\n"));
        }
        print(&text);
    }
    Target::socket(path)
}

/// Has `show` take what is written to standard error from now on. Where it says `false` it goes there as before.
pub(crate) fn divert(show: fn(&[u8]) -> bool) {
    // There is one terminal, so there is one who draws on it.
    let _ = sink::DIVERTED.set(show);
}

/// Writes a line for people as it is, on standard error, behind the events that go there.
pub(crate) fn print(line: &str) {
    if THREADLESS.load(Ordering::Relaxed) || ELSEWHERE.load(Ordering::Relaxed) {
        // Not `eprint!`, which panics without a reader.
        let _ = io::stderr().write_all(line.as_bytes());
    } else {
        BACKLOG.push(line.as_bytes());
    }
}

/// Has the log file opened anew, which says so in the log. False: the log goes to no file.
pub(crate) fn reopen() -> bool {
    BACKLOG.reopen()
}

/// Whether the log goes to another place than standard error.
pub(crate) fn is_elsewhere() -> bool {
    ELSEWHERE.load(Ordering::Relaxed)
}

/// Waits for what is not written yet, but not for a reader who stopped reading. Called before the process ends.
pub(crate) fn flush() {
    BACKLOG.flush(PATIENCE);
}

static BACKLOG: Backlog = Backlog::new();

/// There is no thread, not yet or because the system gave none. Lines are written at once then.
static THREADLESS: AtomicBool = AtomicBool::new(true);

/// Events do not go to standard error.
static ELSEWHERE: AtomicBool = AtomicBool::new(false);

/// For a reader who is slow, and for the thread that writes, which gets no time at once on a busy machine. Only one who does
/// not read at all costs that much.
const PATIENCE: Duration = Duration::from_secs(2);

struct Log {
    filter: LevelFilter,
    access: bool,
    form: Form,
    pace: Pace,
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let wanted = if metadata.target() == ACCESS { self.access } else { *metadata.level() <= self.filter };
        // Besides events there are questions whether one would be taken.
        !metadata.is_span() && wanted
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(if self.access { self.filter.max(LevelFilter::DEBUG) } else { self.filter })
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::of(event);
        if !self.pace.admits(&mut line, Instant::now()) {
            return;
        }
        let record = self.form.record(&line, SystemTime::now());
        if THREADLESS.load(Ordering::Relaxed) {
            let _ = io::stderr().write_all(&record);
        } else {
            BACKLOG.push(&record);
        }
    }

    // Spans are not shown. Every one may have the same id: none is looked up.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}
