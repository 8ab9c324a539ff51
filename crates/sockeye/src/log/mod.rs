//! Logs of a program: lines on standard error, in a file, in syslog or in the journal, or for a function of the program.
//!
//! The library logs through [`tracing`], and any subscriber can collect that. This module has what the layers of `tracing-subscriber`
//! lack for a program with one loop:
//!
//! * **It never blocks the loop.** A thread of its own writes. Lines that cannot be written in time are dropped, counted, and
//!   reported in the log.
//! * **It shows nothing that a peer could forge.** What could end a line, move a cursor or pass for another field is
//!   [escaped](escape()).
//! * **No peer can fill it.** Lines about one peer are [limited](Logger::peer_limit).
//! * **It survives its destination.** A [file is reopened](Log::reopen) after a rotation, and a syslog daemon may be restarted.
//!
//! ```no_run
//! use sockeye::log::{Level, Logger};
//!
//! # fn main() -> std::io::Result<()> {
//! let log = Logger::file("/var/log/chat.log").level(Level::Info).install()?;
//! tracing::info!(address = "127.0.0.1:7681", "listening");
//! // On SIGHUP, after logrotate(8):
//! log.reopen();
//! # Ok(()) }
//! ```
//!
//! Levels have the names of syslog: see [`Level`] for what they are in `tracing`. A line has the fields of its event and of the
//! spans around it; the inner one counts where both have a name.
//!
//! # With other layers
//!
//! [`Log::layer`] is a layer for a subscriber of the program. It keeps its level to itself, so several logs and other layers can
//! have levels of their own:
//!
//! ```
//! use sockeye::log::{Level, Logger};
//! use tracing_subscriber::prelude::*;
//!
//! # fn main() -> std::io::Result<()> {
//! let journal = Logger::journal().level(Level::Warn).start()?;
//! let terminal = Logger::stderr().level(Level::Debug).start()?;
//! let subscriber = tracing_subscriber::registry().with(journal.layer()).with(terminal.layer());
//! tracing::subscriber::with_default(subscriber, || tracing::debug!("for the terminal alone"));
//! # Ok(()) }
//! ```
//!
//! A formatter of `tracing-subscriber` can write into a [`Log`], too, as an `Arc<Log>` is what it calls a `MakeWriter`. Such lines
//! do not block, and their file is reopened, but they are neither escaped nor limited here.
//!
//! # A program's own emitter
//!
//! ```
//! use std::sync::mpsc::channel;
//! use sockeye::log::{Level, Logger};
//!
//! # fn main() -> std::io::Result<()> {
//! let (sender, lines) = channel();
//! let log = Logger::emitter(move |level, target, line| {
//!     let _ = sender.send(format!("{level} {target}: {line}"));
//! })
//! .start()?;
//! let subscriber = tracing_subscriber::Layer::with_subscriber(log.layer(), tracing_subscriber::registry());
//! tracing::subscriber::with_default(subscriber, || tracing::warn!(target: "chat", name = "a\nb", "refused"));
//! drop(log);
//! assert_eq!(lines.recv().unwrap(), r"warn chat: refused name=a\nb");
//! # Ok(()) }
//! ```

mod backlog;
mod escape;
mod form;
mod layer;
mod level;
mod line;
mod pace;
mod shared;
mod sink;

use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{env, fmt, thread};

use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, layer::SubscriberExt as _};

use self::backlog::{Backlog, Note};
use self::form::{Form, Tag};
use self::layer::LogLayer;
use self::line::{ACCESS, Line, TARGET};
use self::pace::Pace;
use self::shared::Shared;
use self::sink::{Emit, Target};

pub use self::escape::{Escaped, escape, quote};
pub use self::form::Format;
pub use self::level::{Level, UnknownLevel};

/// What a log takes, what its lines look like, and where they go.
///
/// Made by the destination; [`install`](Self::install) or [`start`](Self::start) opens it.
#[must_use = "a log begins with `install` or `start`"]
pub struct Logger {
    to: To,
    level: Level,
    targets: Vec<(String, Option<Level>)>,
    access: bool,
    format: Option<Format>,
    name: Option<String>,
    burst: u32,
    every: Duration,
    backlog_bytes: usize,
}

enum To {
    Stderr,
    File(PathBuf),
    Syslog(PathBuf),
    Journal(PathBuf),
    Writer(Box<dyn Write + Send>),
    Emitter(Emit),
}

impl Logger {
    /// Lines on standard error.
    pub fn stderr() -> Self {
        Self::to(To::Stderr)
    }

    /// Lines at the end of a file, which is created with mode 0640 if it is not there. A named pipe needs its reader first.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::to(To::File(path.into()))
    }

    /// Packets to the syslog daemon, at `/dev/log`, with the facility `daemon`. The daemon may start later, and may be restarted:
    /// see [`Log::check`].
    pub fn syslog() -> Self {
        Self::syslog_at("/dev/log")
    }

    /// As [`syslog`](Self::syslog), with another socket.
    pub fn syslog_at(socket: impl Into<PathBuf>) -> Self {
        Self::to(To::Syslog(socket.into()))
    }

    /// Entries of the journal of systemd, with a field for each field: `peer` becomes `CHAT_PEER` in a program that is
    /// [named](Self::name) `chat`. The journal may be restarted.
    pub fn journal() -> Self {
        Self::journal_at("/run/systemd/journal/socket")
    }

    /// As [`journal`](Self::journal), with another socket.
    pub fn journal_at(socket: impl Into<PathBuf>) -> Self {
        Self::to(To::Journal(socket.into()))
    }

    /// Lines into any writer, on the log's thread. A writer that fails loses the line.
    pub fn writer(writer: impl Write + Send + 'static) -> Self {
        Self::to(To::Writer(Box::new(writer)))
    }

    /// Calls `emit` for each line, on the log's thread, with level, target, and the line without its end. Lines are
    /// [`Format::Bare`] unless another format is chosen. What `emit` logs itself comes back to it.
    pub fn emitter(emit: impl FnMut(Level, &str, &str) + Send + 'static) -> Self {
        Self::to(To::Emitter(Box::new(emit)))
    }

    fn to(to: To) -> Self {
        Self {
            to,
            level: Level::default(),
            targets: Vec::new(),
            access: false,
            format: None,
            name: None,
            burst: 20,
            every: Duration::from_secs(1),
            backlog_bytes: 256 * 1024,
        }
    }

    /// The least severe level that is logged; at first [`Level::Notice`].
    pub fn level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// Another level for events whose target begins with this module path; `None` for none of them. The longest one counts.
    pub fn target(mut self, target: impl Into<String>, level: impl Into<Option<Level>>) -> Self {
        self.targets.push((target.into(), level.into()));
        self
    }

    /// Whether the access log is part of it: a line for each response, with the target `sockeye::access`, at any level.
    /// At first it is not.
    pub fn access(mut self, access: bool) -> Self {
        self.access = access;
        self
    }

    /// What lines look like. At first [`Format::Human`] on a terminal, [`Format::Bare`] for an emitter, otherwise [`Format::Logfmt`].
    /// Syslog and the journal have forms of their own.
    pub fn format(mut self, format: Format) -> Self {
        self.format = Some(format);
        self
    }

    /// The program's name in syslog and the journal; at first that of its file.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How many lines about one peer are logged in a row, and in what time it may cause one more; at first 20 and one second. At
    /// least one line and one nanosecond count.
    ///
    /// Limited are lines of `notice` and above with a field `peer`, an IP address with or without a port; the addresses of a /64 of IPv6
    /// are one peer, and so are all peers without an address. The next line about the peer has the field `suppressed`: how many
    /// were left out. [`Log::suppressed`] counts all of them. Less severe levels and the access log are not limited: they are shown only on request.
    pub fn peer_limit(mut self, lines: u32, every: Duration) -> Self {
        (self.burst, self.every) = (lines, every);
        self
    }

    /// How many bytes of lines may wait to be written; at first 256 KiB.
    pub fn backlog_bytes(mut self, most: usize) -> Self {
        self.backlog_bytes = most;
        self
    }

    /// Opens the destination, starts the thread that writes to it, and makes this the log of the whole process.
    ///
    /// # Errors
    /// As for [`start`](Self::start); [`AlreadyExists`](io::ErrorKind::AlreadyExists) if the process has a `tracing` subscriber.
    ///
    /// ```
    /// use sockeye::log::Logger;
    ///
    /// let log = Logger::stderr().install().unwrap();
    /// tracing::info!("listening");
    /// let another = Logger::stderr().install();
    /// assert!(another.is_err_and(|error| error.kind() == std::io::ErrorKind::AlreadyExists));
    /// # drop(log);
    /// ```
    pub fn install(self) -> io::Result<Log> {
        let log = self.start()?;
        let subscriber = tracing_subscriber::registry().with(log.layer());
        tracing::subscriber::set_global_default(subscriber)
            .map_err(|error| io::Error::new(io::ErrorKind::AlreadyExists, error))?;
        Ok(log)
    }

    /// Opens the destination and starts the thread that writes to it. [`Log::layer`] takes events.
    ///
    /// The thread gets the signal mask of the caller: block signals that other threads handle.
    ///
    /// # Errors
    /// The file cannot be opened, or the system gives no thread. A syslog daemon or journal that is not there is no error.
    pub fn start(self) -> io::Result<Log> {
        let named = || env::args_os().next().as_ref().map(|path| file_name(Path::new(path))).unwrap_or_default();
        let tag = || Tag::new(&self.name.clone().unwrap_or_else(named));
        let format = |usual| self.format.unwrap_or(usual);
        let mut socket = None;
        let (form, target) = match self.to {
            To::Stderr => {
                let usual = if io::stderr().is_terminal() { Format::Human } else { Format::Logfmt };
                (Form::Lines(format(usual)), Target::stream(io::stderr()))
            }
            To::File(path) => (Form::Lines(format(Format::Logfmt)), Target::file(&path)?),
            To::Writer(writer) => (Form::Lines(format(Format::Logfmt)), Target::stream(writer)),
            To::Emitter(emit) => (Form::Emitted(format(Format::Bare)), Target::Emitter(emit)),
            To::Syslog(path) => (Form::Syslog(tag()), Target::socket(socket.insert(path))),
            To::Journal(path) => (Form::Journal(tag()), Target::socket(socket.insert(path))),
        };
        let access = if self.access { LevelFilter::TRACE } else { LevelFilter::OFF };
        let mut filter = Targets::new().with_default(self.level.filter()).with_target(ACCESS, access);
        for (target, level) in self.targets {
            filter = filter.with_target(target, level.map_or(LevelFilter::OFF, Level::filter));
        }
        let shared = Shared {
            filter,
            form,
            pace: Pace::new(self.burst, self.every),
            backlog: Arc::new(Backlog::new(self.backlog_bytes)),
            socket,
            reopens: matches!(target, Target::File { .. }),
        };
        let (backlog, form) = (Arc::clone(&shared.backlog), shared.form.clone());
        let note = move |note: Note| form.record(&said(&note), SystemTime::now());
        thread::Builder::new().name("log".to_owned()).spawn(move || backlog.write_to(target, note))?;
        Ok(Log(Arc::new(shared)))
    }
}

impl fmt::Debug for Logger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logger").field("level", &self.level).field("format", &self.format).finish_non_exhaustive()
    }
}

/// A log that was started.
///
/// Dropped, it waits as [`flush`](Self::flush) does. Its [layers](Self::layer) go on without it.
pub struct Log(Arc<Shared>);

impl Log {
    /// A layer that takes events into this log, with the levels of its [`Logger`].
    #[must_use]
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + 'static
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        LogLayer(Arc::clone(&self.0)).with_filter(self.0.filter.clone())
    }

    /// Reopens the file once the waiting lines are written, as after a rotation; the log says that this was done, or why the old file is
    /// kept. False: this log goes to no file.
    pub fn reopen(&self) -> bool {
        if self.0.reopens {
            self.0.backlog.reopen();
        }
        self.0.reopens
    }

    /// Waits until everything is written, but at most two seconds: a reader that does not read holds nothing up. To be called before the
    /// process ends.
    pub fn flush(&self) {
        self.0.backlog.flush(PATIENCE);
    }

    /// How many lines were dropped because they could not be written, or not in time. Those that [`Logger::peer_limit`] left
    /// out are not among them.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.backlog.lost()
    }

    /// How many lines [`Logger::peer_limit`] left out.
    pub fn suppressed(&self) -> u64 {
        self.0.pace.suppressed()
    }

    /// Whether the syslog daemon or the journal takes packets at the moment. Without one nothing is logged until it is there, so a
    /// program may want to say so. Other destinations are well.
    ///
    /// # Errors
    /// Why a packet would not be taken, such as [`NotFound`](io::ErrorKind::NotFound).
    pub fn check(&self) -> io::Result<()> {
        self.0.socket.as_deref().map_or(Ok(()), sink::check)
    }

    /// Writes text as it is, behind the lines that wait: what a program has to say beside its events, or what another formatter
    /// made. Syslog, the journal and an emitter get it as a line of the level `notice`, escaped.
    pub fn print(&self, text: &str) {
        match &self.0.form {
            Form::Lines(_) => self.0.backlog.push(text.as_bytes()),
            _ => self.0.push(&Line::new(Level::Notice, TARGET, text.trim_end().to_owned())),
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.flush();
    }
}

/// As [`Log::print`]: each call is a record, so pass whole lines, with `write_all`.
impl Write for &Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.print(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    /// Waits for nothing: see [`Log::flush`].
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("filter", &self.0.filter).field("form", &self.0.form).finish_non_exhaustive()
    }
}

/// What the log says of itself.
fn said(note: &Note) -> Line {
    let (level, message) = match note {
        Note::Lost(count) => {
            (Level::Warn, format!("{count} log lines were dropped because they were not read in time"))
        }
        Note::Reopened => (Level::Notice, "log file reopened".to_owned()),
        Note::NotReopened(error) => (Level::Warn, format!("cannot reopen the log file, keeping the old one: {error}")),
    };
    Line::new(level, TARGET, message)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// For a reader who is slow, and for the thread that writes, which gets no time at once on a busy machine. Only one who does
/// not read at all costs that much.
const PATIENCE: Duration = Duration::from_secs(2);
