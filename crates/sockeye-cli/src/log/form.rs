//! What a line of the log looks like, in each place that it may go to.
//!
//! What to know before editing: messages and values may be a peer's. In a form of lines, what could end the line or the value is
//! escaped; in the journal's, a value says how long it is. Names of fields are the program's own.

use std::fmt::{self, Debug, Write as _};
use std::process;
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::backlog::Note;

/// An event, apart from its time.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) level: Level,
    pub(super) target: String,
    message: String,
    fields: Vec<(&'static str, Value)>,
}

#[derive(Debug)]
struct Value {
    text: String,
    /// A number or a truth, which JSON writes without quotes.
    bare: bool,
}

impl Line {
    pub(super) fn of(event: &Event<'_>) -> Self {
        let mut line = Self::new(*event.metadata().level(), event.metadata().target(), String::new());
        event.record(&mut line);
        line
    }

    fn new(level: Level, target: &str, message: String) -> Self {
        Self { level, target: target.to_owned(), message, fields: Vec::new() }
    }

    /// The value of a field.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value.text.as_str())
    }

    pub(super) fn add(&mut self, name: &'static str, number: u64) {
        self.fields.push((name, Value { text: number.to_string(), bare: true }));
    }

    fn field(&mut self, field: &Field, text: String, bare: bool) {
        if field.name() == "message" {
            self.message = text;
        } else {
            self.fields.push((field.name(), Value { text, bare }));
        }
    }

    /// The message and the fields behind it.
    fn text(&self) -> String {
        let mut out = String::new();
        escape(&mut out, &self.message, "");
        self.append_fields(&mut out);
        out
    }

    fn append_fields(&self, out: &mut String) {
        for (name, value) in &self.fields {
            out.extend([" ", name, "="]);
            quote(out, &value.text);
        }
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field, value.to_owned(), false);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.field(field, format!("{value:?}"), false);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field, value.to_string(), true);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field, value.to_string(), true);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field, value.to_string(), true);
    }
}

/// A form for a place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    Human,
    Logfmt,
    Json,
    /// A packet as `syslog(3)` sends it, but without the time: that would have to be local time, and every daemon takes the
    /// moment of arrival where there is none.
    Syslog,
    /// A packet of the journal's own protocol.
    Journal,
}

impl Form {
    pub(super) fn record(self, line: &Line, now: SystemTime) -> Vec<u8> {
        match self {
            Self::Human => ended(human(line, now)),
            Self::Logfmt => ended(logfmt(line, now)),
            Self::Json => ended(json(line, now)),
            Self::Syslog => syslog(line).into_bytes(),
            Self::Journal => journal(line),
        }
    }

    /// A line about the log itself.
    pub(super) fn note(self, note: &Note, now: SystemTime) -> Vec<u8> {
        let (level, message) = match note {
            Note::Lost(count) => {
                (Level::WARN, format!("{count} log lines were dropped because they were not read in time"))
            }
            Note::Reopened => (Level::INFO, "SIGHUP: log file reopened".to_owned()),
            Note::NotReopened(error) => {
                (Level::WARN, format!("SIGHUP: cannot reopen the log file, keeping the old one: {error}"))
            }
        };
        self.record(&Line::new(level, "sockeye", message), now)
    }
}

fn ended(mut line: String) -> Vec<u8> {
    line.push('\n');
    line.into_bytes()
}

fn human(line: &Line, now: SystemTime) -> String {
    format!("{} {:<6} {}: {}", Utc::of(now), name(line.level).to_ascii_uppercase(), line.target, line.text())
}

fn logfmt(line: &Line, now: SystemTime) -> String {
    let mut out = format!("time={} level={} target={} msg=", Utc::of(now), name(line.level), line.target);
    quote(&mut out, &line.message);
    line.append_fields(&mut out);
    out
}

fn json(line: &Line, now: SystemTime) -> String {
    let mut out = format!("{{\"time\":\"{}\",\"level\":\"{}\",\"target\":", Utc::of(now), name(line.level));
    json_text(&mut out, &line.target);
    out.push_str(",\"message\":");
    json_text(&mut out, &line.message);
    for (name, value) in &line.fields {
        out.push(',');
        json_text(&mut out, name);
        out.push(':');
        if value.bare { out.push_str(&value.text) } else { json_text(&mut out, &value.text) }
    }
    out.push('}');
    out
}

fn syslog(line: &Line) -> String {
    let mut out = format!("<{}>sockeye[{}]: ", DAEMON << 3 | severity(line.level), process::id());
    out.push_str(&line.text());
    let mut end = out.len().min(SYSLOG_BYTES);
    while !out.is_char_boundary(end) {
        end -= 1;
    }
    out.truncate(end);
    out
}

fn journal(line: &Line) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, "MESSAGE", &line.text());
    put(&mut out, "PRIORITY", &severity(line.level).to_string());
    put(&mut out, "SYSLOG_FACILITY", &DAEMON.to_string());
    put(&mut out, "SYSLOG_IDENTIFIER", "sockeye");
    put(&mut out, "SYSLOG_PID", &process::id().to_string());
    put(&mut out, "SOCKEYE_TARGET", &line.target);
    for (name, value) in &line.fields {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        put(&mut out, &format!("SOCKEYE_{}", name.chars().map(plain).collect::<String>()), &value.text);
    }
    out
}

/// A field of the journal. One that has several lines says how long it is.
fn put(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value.as_bytes());
    out.push(b'\n');
}

fn name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "err",
        Level::WARN => "warn",
        Level::INFO => "notice",
        Level::DEBUG => "info",
        Level::TRACE => "debug",
    }
}

/// As syslog and the journal count.
fn severity(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 5,
        Level::DEBUG => 6,
        Level::TRACE => 7,
    }
}

/// Appends a value, in quotes if it could be taken for more than one.
fn quote(out: &mut String, text: &str) {
    if text.is_empty() || text.contains([' ', '"', '=', '\\']) {
        out.push('"');
        escape(out, text, "\"\\");
        out.push('"');
    } else {
        escape(out, text, "");
    }
}

fn json_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() || is_invisible(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Appends `text` without anything a terminal or a reader of lines could take for more than text.
pub(crate) fn escape(out: &mut String, text: &str, also: &str) {
    for c in text.chars() {
        match c {
            '"' | '\\' if also.contains(c) => out.extend(['\\', c]),
            c if is_invisible(c) => out.extend(c.escape_unicode()),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
}

/// Marks that change the direction of text, invisible characters (including tags, which can spell hidden words), and line ends
/// beyond ASCII.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The facility of daemons.
const DAEMON: u8 = 3;

/// What every daemon takes, cut here rather than there.
const SYSLOG_BYTES: usize = 8 * 1024;

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

/// The target of events of the access log.
pub(super) const ACCESS: &str = "sockeye::access";

#[cfg(test)]
impl Line {
    pub(super) fn about(level: Level, target: &str, peer: Option<&str>) -> Self {
        let mut line = Self::new(level, target, "something".to_owned());
        line.fields.extend(peer.map(|peer| ("peer", Value { text: peer.to_owned(), bare: false })));
        line
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use tracing::span::{Attributes, Id, Record};
    use tracing::{Metadata, Subscriber};

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

    /// Keeps records instead of writing them.
    struct Kept(Form, Arc<Mutex<Vec<u8>>>);

    impl Subscriber for Kept {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.is_event()
        }
        fn event(&self, event: &Event<'_>) {
            self.1.lock().unwrap().extend(self.0.record(&Line::of(event), UNIX_EPOCH));
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    fn logged(form: Form, log: impl FnOnce()) -> String {
        let kept = Arc::new(Mutex::new(Vec::new()));
        tracing::subscriber::with_default(Kept(form, Arc::clone(&kept)), log);
        let bytes = std::mem::take(&mut *kept.lock().unwrap());
        String::from_utf8(bytes).unwrap()
    }

    fn accepted() {
        tracing::info!(target: "sockeye", peer = %"192.0.2.1:80", count = 3, good = true, "a b");
    }

    /// What a peer may send to pass for more than it is.
    fn hostile() {
        let origin = "x\r\n\u{1b}[31m peer=1.2.3.4 \"\\\u{202e}\u{85}";
        tracing::warn!(target: "t", origin, empty = "", plain = %"a\tb", "refused\n{}", "fake");
    }

    #[test]
    fn for_people() {
        let line = "1970-01-01T00:00:00.000Z NOTICE sockeye: a b peer=192.0.2.1:80 count=3 good=true\n";
        assert_eq!(logged(Form::Human, accepted), line);
        let fields = r#"origin="x\r\n\u{1b}[31m peer=1.2.3.4 \"\\\u{202e}\u{85}" empty="" plain=a\tb"#;
        let line = format!("1970-01-01T00:00:00.000Z WARN   t: refused\\nfake {fields}\n");
        assert_eq!(logged(Form::Human, hostile), line);
    }

    #[test]
    fn as_keys_and_values() {
        let begin = "time=1970-01-01T00:00:00.000Z level=notice target=sockeye msg=\"a b\"";
        assert_eq!(logged(Form::Logfmt, accepted), format!("{begin} peer=192.0.2.1:80 count=3 good=true\n"));
        let fields =
            r#"msg=refused\nfake origin="x\r\n\u{1b}[31m peer=1.2.3.4 \"\\\u{202e}\u{85}" empty="" plain=a\tb"#;
        let line = format!("time=1970-01-01T00:00:00.000Z level=warn target=t {fields}\n");
        assert_eq!(logged(Form::Logfmt, hostile), line);
    }

    #[test]
    fn as_json() {
        let begin = r#"{"time":"1970-01-01T00:00:00.000Z","level":"notice","target":"sockeye","message":"a b""#;
        assert_eq!(
            logged(Form::Json, accepted),
            format!("{begin},\"peer\":\"192.0.2.1:80\",\"count\":3,\"good\":true}}\n")
        );
        let line = logged(Form::Json, hostile);
        assert!(line.trim_end().bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{line}");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["message"], "refused\nfake");
        assert_eq!(value["origin"], "x\r\n\u{1b}[31m peer=1.2.3.4 \"\\\u{202e}\u{85}");
    }

    #[test]
    fn what_nobody_sees_is_shown() {
        let text = "a\u{ad}\u{61c}\u{200d}\u{2067}\u{fffb}\u{e0041}z";
        let mut out = String::new();
        escape(&mut out, text, "");
        assert_eq!(out, r"a\u{ad}\u{61c}\u{200d}\u{2067}\u{fffb}\u{e0041}z");
        out.clear();
        json_text(&mut out, text);
        assert_eq!(out, r#""a\u00ad\u061c\u200d\u2067\ufffb\udb40\udc41z""#);
        assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
    }

    #[test]
    fn for_syslog() {
        let id = process::id();
        assert_eq!(
            logged(Form::Syslog, accepted),
            format!("<29>sockeye[{id}]: a b peer=192.0.2.1:80 count=3 good=true")
        );
        let packet = logged(Form::Syslog, hostile);
        assert!(packet.starts_with(&format!("<28>sockeye[{id}]: refused\\nfake origin=")), "{packet}");
        assert!(!packet.contains(char::is_control), "{packet}");
        let long = logged(Form::Syslog, || tracing::error!("{}", "ü".repeat(10_000)));
        assert!(long.starts_with("<27>") && (8_190..=8_192).contains(&long.len()), "{}", long.len());
    }

    #[test]
    fn for_the_journal() {
        let id = process::id();
        assert_eq!(
            logged(Form::Journal, accepted),
            format!(
                "MESSAGE=a b peer=192.0.2.1:80 count=3 good=true\nPRIORITY=5\nSYSLOG_FACILITY=3\nSYSLOG_IDENTIFIER=sockeye\n\
                 SYSLOG_PID={id}\nSOCKEYE_TARGET=sockeye\nSOCKEYE_PEER=192.0.2.1:80\nSOCKEYE_COUNT=3\nSOCKEYE_GOOD=true\n"
            )
        );
        let packet = logged(Form::Journal, || tracing::warn!(target: "t", origin = "a\nPRIORITY=0\nb", "m"));
        assert!(packet.starts_with("MESSAGE=m origin=\"a\\nPRIORITY=0\\nb\"\nPRIORITY=4\n"), "{packet}");
        assert!(packet.ends_with("SOCKEYE_ORIGIN\n\u{e}\0\0\0\0\0\0\0a\nPRIORITY=0\nb\n"), "{packet:?}");
    }
}
