//! The options of a server's log.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, ValueEnum, ValueHint};

#[derive(Args, Clone, Debug)]
pub(crate) struct Logging {
    /// Least severe messages to log
    #[arg(long = "log-level", value_name = "LEVEL", default_value = "notice")]
    pub(crate) level: LogLevel,

    /// Where to log; a FILE needs a slash, such as ./log [default: stderr, or syslog with --daemonize]
    ///
    /// SIGHUP reopens a file. A new file gets mode 0640; a named pipe needs its reader first. A daemon has no standard error. If
    /// syslog or the journal is not running, a warning on standard error says so at the start, and nothing is logged until it
    /// is. Lines that cannot be written in time are dropped and counted.
    #[arg(long = "log-to", value_name = "stderr|syslog|journal|FILE", value_hint = ValueHint::FilePath,
          value_parser = OsStringValueParser::new().try_map(parse_log_to))]
    pub(crate) to: Option<LogTo>,

    /// Format of lines on standard error and in files [default: human on a terminal, logfmt otherwise]
    #[arg(long = "log-format", value_name = "FORMAT")]
    pub(crate) format: Option<LogFormat>,

    /// Log a line for each response: peer, method, path, status, origin, body bytes and milliseconds
    #[arg(long = "access-log")]
    pub(crate) access: bool,

    /// Socket of the syslog daemon
    #[arg(long, value_name = "PATH", default_value = "/dev/log", hide = true)]
    pub(crate) syslog_socket: PathBuf,

    /// Socket of the journal
    #[arg(long, value_name = "PATH", default_value = "/run/systemd/journal/socket", hide = true)]
    pub(crate) journal_socket: PathBuf,
}

impl Logging {
    /// For people, on standard error.
    pub(crate) fn plain(level: LogLevel) -> Self {
        Self {
            level,
            to: Some(LogTo::Stderr),
            format: Some(LogFormat::Human),
            access: false,
            syslog_socket: PathBuf::new(),
            journal_socket: PathBuf::new(),
        }
    }
}

/// The levels of libwebsockets.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum LogLevel {
    Err,
    Warn,
    Notice,
    Info,
    Debug,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum LogTo {
    Stderr,
    Syslog,
    Journal,
    File(PathBuf),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Time, level, message and fields
    Human,
    /// Keys and values
    Logfmt,
    /// An object a line
    Json,
}

fn parse_log_to(text: OsString) -> Result<LogTo, &'static str> {
    match text.as_bytes() {
        b"stderr" => Ok(LogTo::Stderr),
        b"syslog" => Ok(LogTo::Syslog),
        b"journal" => Ok(LogTo::Journal),
        // A slash is required so that a misspelt word does not create a file of that name.
        bytes if bytes.contains(&b'/') => Ok(LogTo::File(text.into())),
        _ => Err("write stderr, syslog, journal, or a path with a slash in it, such as ./log"),
    }
}
