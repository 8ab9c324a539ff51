//! The log of a C program: one mask and one function for the process, as its interface has it. The library's own events go the
//! same way.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::mem;
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Who gets the lines of the log.
pub type Emit = unsafe extern "C" fn(c_int, *const c_char);

/// What kind of line it is: a bit of the mask.
pub const ERR: c_int = 1;
/// As [`ERR`].
pub const WARN: c_int = 2;
/// As [`ERR`].
pub const NOTICE: c_int = 4;
/// As [`ERR`].
pub const INFO: c_int = 8;
/// As [`ERR`].
pub const DEBUG: c_int = 16;

/// The longest line, with its end.
const LINE_BYTES: usize = 256;

static MASK: AtomicI32 = AtomicI32::new(ERR | WARN | NOTICE);
/// The program's function; none: standard error.
static EMIT: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// The function of the interface for lines that the program has none for; none: standard error in the form of 2013.
static DEFAULT: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// Sets who gets lines until the program sets a function.
pub fn set_default(function: Emit) {
    DEFAULT.store(function as *mut c_void, Ordering::Release);
}

/// Sets the mask, and the function if there is one.
pub fn set_level(mask: c_int, function: Option<Emit>) {
    MASK.store(mask, Ordering::Relaxed);
    if let Some(function) = function {
        EMIT.store(function as *mut c_void, Ordering::Release);
    }
    tracing::callsite::rebuild_interest_cache();
}

/// Whether lines of this kind are wanted.
#[must_use]
pub fn is_wanted(level: c_int) -> bool {
    MASK.load(Ordering::Relaxed) & level != 0
}

/// Logs a line of the library, without its end.
pub(crate) fn say(level: c_int, text: fmt::Arguments<'_>) {
    if !is_wanted(level) {
        return;
    }
    let mut line = Line { bytes: [0; LINE_BYTES], len: 0 };
    let _ = line.write_fmt(text);
    line.end();
    line_of(level, line.text());
}

macro_rules! err {
    ($($text:tt)*) => { $crate::log::say($crate::log::ERR, format_args!($($text)*)) };
}
macro_rules! warning {
    ($($text:tt)*) => { $crate::log::say($crate::log::WARN, format_args!($($text)*)) };
}
macro_rules! notice {
    ($($text:tt)*) => { $crate::log::say($crate::log::NOTICE, format_args!($($text)*)) };
}
macro_rules! info {
    ($($text:tt)*) => { $crate::log::say($crate::log::INFO, format_args!($($text)*)) };
}
pub(crate) use {err, info, notice, warning};

/// Hands a line to the program's function, or writes it to standard error.
pub fn line_of(level: c_int, line: &CStr) {
    let mut function = EMIT.load(Ordering::Acquire);
    if function.is_null() {
        function = DEFAULT.load(Ordering::Acquire);
    }
    if function.is_null() {
        return to_stderr(level, line);
    }
    // SAFETY: `set_level` stored it of a function of this type, which the program gave for lines of the log, and keeps.
    unsafe { mem::transmute::<*mut c_void, Emit>(function)(level, line.as_ptr()) }
}

/// `[seconds:fraction in 100 µs] NAME: text`, in one write.
fn to_stderr(level: c_int, line: &CStr) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut text = format!("[{}:{:04}] {}: ", since.as_secs(), since.subsec_micros() / 100, name(level)).into_bytes();
    text.extend_from_slice(line.to_bytes());
    let _ = std::io::stderr().write_all(&text);
}

const fn name(level: c_int) -> &'static str {
    match level {
        ERR => "ERR",
        WARN => "WARN",
        NOTICE => "NOTICE",
        INFO => "INFO",
        DEBUG => "DEBUG",
        32 => "PARSER",
        64 => "HEADER",
        128 => "EXTENSION",
        256 => "CLIENT",
        512 => "LATENCY",
        _ => "?",
    }
}

/// A line on the stack; what does not fit is cut.
struct Line {
    bytes: [u8; LINE_BYTES],
    len: usize,
}

impl Line {
    /// Ends it as lines end: a line feed and NUL.
    fn end(&mut self) {
        self.bytes[self.len] = b'\n';
        self.bytes[self.len + 1] = 0;
        self.len += 2;
    }

    fn text(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = LINE_BYTES - 2 - self.len;
        let text = &text.as_bytes()[..text.len().min(room)];
        for (place, byte) in self.bytes[self.len..].iter_mut().zip(text) {
            // A line is one line, and a NUL is its end.
            *place = if byte.is_ascii_control() { b' ' } else { *byte };
        }
        self.len += text.len();
        Ok(())
    }
}

/// Has the library's events go to the log.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // The shared library has its own copy of all of this, in which nothing else sets one.
        let _ = tracing::subscriber::set_global_default(Events { spans: AtomicU64::new(1) });
    });
}

/// The library's events, on the thread where they happen.
struct Events {
    spans: AtomicU64,
}

fn level_of(metadata: &Metadata<'_>) -> c_int {
    match *metadata.level() {
        Level::ERROR => ERR,
        Level::WARN => WARN,
        Level::INFO => INFO,
        _ => DEBUG,
    }
}

impl Subscriber for Events {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_wanted(level_of(metadata))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let wanted = [
            (DEBUG, LevelFilter::TRACE),
            (INFO, LevelFilter::INFO),
            (WARN, LevelFilter::WARN),
            (ERR, LevelFilter::ERROR),
        ];
        Some(wanted.into_iter().find(|(level, _)| is_wanted(*level)).map_or(LevelFilter::OFF, |(_, filter)| filter))
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed).max(1))
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line { bytes: [0; LINE_BYTES], len: 0 };
        event.record(&mut Values { line: &mut line, is_message: true });
        event.record(&mut Values { line: &mut line, is_message: false });
        line.end();
        line_of(level_of(event.metadata()), line.text());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The message first, and then the fields as `name=value`.
struct Values<'l> {
    line: &'l mut Line,
    is_message: bool,
}

impl Visit for Values<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match (field.name() == "message", self.is_message) {
            (true, true) => write!(self.line, "{value:?}"),
            (false, false) => write!(self.line, " {}={value:?}", field.name()),
            _ => Ok(()),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::{LINE_BYTES, Line};

    #[test]
    fn a_line_is_cut_and_ended() {
        for len in [0, 1, LINE_BYTES - 3, LINE_BYTES - 2, LINE_BYTES - 1, 10_000] {
            let mut line = Line { bytes: [0; LINE_BYTES], len: 0 };
            line.write_str(&"x".repeat(len)).unwrap();
            line.end();
            let text = line.text().to_bytes();
            assert_eq!(text.len(), len.min(LINE_BYTES - 2) + 1, "{len}");
            assert!(text.ends_with(b"\n"), "{len}");
        }
        let mut line = Line { bytes: [0; LINE_BYTES], len: 0 };
        line.write_str("a\0b\nc").unwrap();
        assert_eq!(&line.bytes[..line.len], b"a b c");
    }
}
