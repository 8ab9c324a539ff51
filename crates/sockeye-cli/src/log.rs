//! The log on standard error: one line an event, `time LEVEL target: message key=value ..`.
//!
//! The levels are those of libwebsockets, of which `notice` is on by default and `info` is not. The events of the library
//! use them so: ERROR is err, WARN is warn, INFO is notice, DEBUG is info, TRACE is debug.
//!
//! What a peer sent may be in any field, so nothing that could end a line, move a cursor or pass for another field is
//! written as it came. A log that cannot be written is no reason to stop, nor to wait: a thread of its own writes it, errors
//! are dropped, and lines that nobody reads in time are counted instead of kept.

mod backlog;

use std::fmt::{self, Debug, Write as _};
use std::io::{self, Write as _};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::metadata::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use self::backlog::Backlog;
use crate::args::LogLevel;

/// Sends the events of this process from `level` up to standard error.
pub(crate) fn start(level: LogLevel) {
    let thread = thread::Builder::new().name("log".to_owned()).spawn(|| BACKLOG.write_to(Way, missed));
    THREADLESS.store(thread.is_err(), Ordering::Relaxed);
    let filter = match level {
        LogLevel::Err => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Notice => LevelFilter::INFO,
        LogLevel::Info => LevelFilter::DEBUG,
        LogLevel::Debug => LevelFilter::TRACE,
    };
    // Fails only when there is one already, and this is called once.
    let _ = tracing::subscriber::set_global_default(Log { filter });
}

/// Has `show` take what is written from now on. Where it says `false` it goes to standard error as before.
pub(crate) fn divert(show: fn(&[u8]) -> bool) {
    // There is one terminal, so there is one who draws on it.
    let _ = DIVERTED.set(show);
}

/// Writes a line as it is, behind the events.
pub(crate) fn say(line: &str) {
    if THREADLESS.load(Ordering::Relaxed) {
        // Not `eprint!`, which panics when nobody reads.
        let _ = io::stderr().write_all(line.as_bytes());
    } else {
        BACKLOG.push(line);
    }
}

/// Waits for what is not written yet, but not for a reader who stopped reading. Called before the process ends.
pub(crate) fn flush() {
    BACKLOG.flush(PATIENCE);
}

fn missed(count: u64) -> String {
    format!("{} WARN   sockeye: {count} log lines were not read in time and are lost\n", Utc::of(SystemTime::now()))
}

/// Standard error, or whoever draws on the terminal that it is.
struct Way;

impl io::Write for Way {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if DIVERTED.get().is_some_and(|show| show(bytes)) { Ok(bytes.len()) } else { io::stderr().write(bytes) }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

static BACKLOG: Backlog = Backlog::new();

static DIVERTED: OnceLock<fn(&[u8]) -> bool> = OnceLock::new();

/// The system gave no thread. Lines are written at once then.
static THREADLESS: AtomicBool = AtomicBool::new(false);

/// For a reader who is slow, and for the thread that writes, which gets no time at once on a busy machine. Only one who does
/// not read at all costs that much.
const PATIENCE: Duration = Duration::from_secs(2);

struct Log {
    filter: LevelFilter,
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= self.filter
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.filter)
    }

    fn event(&self, event: &Event<'_>) {
        say(&Line::format(event, SystemTime::now()));
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

/// The message goes before the fields, whatever their order.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Line {
    fn format(event: &Event<'_>, now: SystemTime) -> String {
        let mut line = Self::default();
        event.record(&mut line);
        let level = match *event.metadata().level() {
            Level::ERROR => "ERR",
            Level::WARN => "WARN",
            Level::INFO => "NOTICE",
            Level::DEBUG => "INFO",
            Level::TRACE => "DEBUG",
        };
        let target = event.metadata().target();
        format!("{} {level:<6} {target}: {}{}\n", Utc::of(now), line.message, line.fields)
    }

    fn field(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            escape(&mut self.message, value, "");
            return;
        }
        self.fields.push(' ');
        self.fields.push_str(field.name());
        self.fields.push('=');
        if value.is_empty() || value.contains([' ', '"', '=', '\\']) {
            self.fields.push('"');
            escape(&mut self.fields, value, "\"\\");
            self.fields.push('"');
        } else {
            escape(&mut self.fields, value, "");
        }
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.field(field, &format!("{value:?}"));
    }
}

/// Appends `text` without anything a terminal or a reader of lines could take for more than text.
pub(crate) fn escape(out: &mut String, text: &str, also: &str) {
    for c in text.chars() {
        match c {
            '"' | '\\' if also.contains(c) => out.extend(['\\', c]),
            // Marks that change the direction of the text around them, invisible ones, and line ends beyond ASCII.
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => {
                out.extend(c.escape_unicode())
            }
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
}

/// Seconds since 1970 as `2026-11-22T14:02:37.123Z`.
pub(crate) struct Utc {
    seconds: u64,
    millis: u32,
}

impl Utc {
    pub(crate) fn of(time: SystemTime) -> Self {
        // A clock before 1970 was never set.
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { seconds: since.as_secs(), millis: since.subsec_millis() }
    }
}

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Years begin in March here, so that the leap day is the last one; an era has 400 years.
        let days = self.seconds / 86_400 + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        let (hours, minutes, seconds) = (self.seconds / 3600 % 24, self.seconds / 60 % 60, self.seconds % 60);
        let mut text = String::with_capacity(24);
        write!(text, "{:04}-{month:02}-{day:02}T", era * 400 + year + next)?;
        write!(text, "{hours:02}:{minutes:02}:{seconds:02}.{:03}Z", self.millis)?;
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64, millis: u32) -> String {
        Utc { seconds, millis }.to_string()
    }

    #[test]
    fn times() {
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_399, 999), "2000-02-28T23:59:59.999Z");
        assert_eq!(at(951_782_400, 0), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(951_868_800, 0), "2000-03-01T00:00:00.000Z");
        assert_eq!(at(1_359_504_000, 7), "2013-01-30T00:00:00.007Z");
        assert_eq!(at(4_107_542_399, 0), "2100-02-28T23:59:59.000Z");
        assert_eq!(at(4_107_542_400, 0), "2100-03-01T00:00:00.000Z");
        assert_eq!(Utc::of(UNIX_EPOCH - Duration::from_secs(1)).to_string(), at(0, 0));
    }

    /// Keeps lines instead of writing them.
    struct Kept(Arc<Mutex<Vec<String>>>);

    impl Subscriber for Kept {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            Log { filter: LevelFilter::DEBUG }.enabled(metadata)
        }
        fn event(&self, event: &Event<'_>) {
            self.0.lock().unwrap().push(Line::format(event, UNIX_EPOCH));
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    fn lines(log: impl FnOnce()) -> Vec<String> {
        let kept = Arc::new(Mutex::new(Vec::new()));
        tracing::subscriber::with_default(Kept(Arc::clone(&kept)), log);
        Arc::try_unwrap(kept).unwrap().into_inner().unwrap()
    }

    #[test]
    fn a_line_has_time_level_target_message_and_fields() {
        let lines = lines(|| {
            tracing::info!(target: "sockeye", peer = %"192.0.2.1:80", count = 3, "accepted");
            tracing::debug!(target: "sockeye", "quiet");
            tracing::trace!(target: "sockeye", "left out");
        });
        assert_eq!(
            lines,
            [
                "1970-01-01T00:00:00.000Z NOTICE sockeye: accepted peer=192.0.2.1:80 count=3\n",
                "1970-01-01T00:00:00.000Z INFO   sockeye: quiet\n",
            ]
        );
    }

    #[test]
    fn what_a_peer_sent_cannot_forge_a_line_or_a_field() {
        let lines = lines(|| {
            let origin = "x\r\n\u{1b}[31m peer=1.2.3.4 \"\\\u{202e}\u{85}";
            tracing::warn!(target: "t", origin, empty = "", plain = %"a\tb", "refused\n{}", "fake");
        });
        let fields = r#"origin="x\r\n\u{1b}[31m peer=1.2.3.4 \"\\\u{202e}\u{85}" empty="" plain=a\tb"#;
        assert_eq!(lines, [format!("1970-01-01T00:00:00.000Z WARN   t: refused\\nfake {fields}\n")]);
    }
}
