//! What a line of the log looks like, in each place that it may go to.
//!
//! What to know before editing: in a form of lines, what could end the line or the value is escaped; in the journal's, a value
//! says how long it is.

use std::fmt::Write;
use std::process;
use std::time::{SystemTime, UNIX_EPOCH};

use super::escape::{escape, push_json, push_value};
use super::line::Line;

/// What a line looks like on standard error, in a file, and for a program's own writer or emitter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Format {
    /// For people: `2026-11-22T14:02:37.123Z NOTICE sockeye: listening address=127.0.0.1:7681`.
    Human,
    /// Keys and values: `time=2026-11-22T14:02:37.123Z level=notice target=sockeye msg=listening address=127.0.0.1:7681`.
    Logfmt,
    /// A JSON object: `{"time":"..","level":"notice","target":"sockeye","message":"listening","address":"127.0.0.1:7681"}`.
    Json,
    /// The message and the fields alone, without time, level and target: `listening address=127.0.0.1:7681`.
    Bare,
}

/// A form for a place.
#[derive(Clone, Debug)]
pub(super) enum Form {
    Lines(Format),
    /// A packet as `syslog(3)` sends it, but without the time: that would have to be local time, and every daemon takes the
    /// moment of arrival where the event has none.
    Syslog(Tag),
    /// A packet of the journal's own protocol.
    Journal(Tag),
    /// A line without its end, behind its level and its target: see [`super::sink`].
    Emitted(Format),
}

/// The name of the program in syslog and in the journal.
#[derive(Clone, Debug)]
pub(super) struct Tag {
    name: String,
    /// Of the journal's fields: capital letters, digits and `_`, with a letter first.
    prefix: String,
}

impl Tag {
    pub(super) fn new(name: &str) -> Self {
        let prefix: String = name.trim_start_matches(|c: char| !c.is_ascii_alphabetic()).chars().map(plain).collect();
        let prefix = if prefix.is_empty() { "LOG".to_owned() } else { prefix };
        // What ends the name in a packet of syslog.
        let name = name.replace(|c: char| !c.is_ascii_graphic() || matches!(c, ':' | '['), "_");
        let name = if name.is_empty() { "-".to_owned() } else { name };
        Self { name, prefix }
    }
}

impl Form {
    pub(super) fn record(&self, line: &Line, now: SystemTime) -> Vec<u8> {
        match self {
            Self::Lines(format) => {
                let mut text = format.line(line, now);
                text.push('\n');
                text.into_bytes()
            }
            Self::Syslog(tag) => syslog(line, tag).into_bytes(),
            Self::Journal(tag) => journal(line, tag),
            Self::Emitted(format) => emitted(line, &format.line(line, now)),
        }
    }
}

impl Format {
    fn line(self, line: &Line, now: SystemTime) -> String {
        match self {
            Self::Human => human(line, now),
            Self::Logfmt => logfmt(line, now),
            Self::Json => json(line, now),
            Self::Bare => bare(line),
        }
    }
}

fn human(line: &Line, now: SystemTime) -> String {
    let level = line.level.name().to_ascii_uppercase();
    format!("{} {level:<6} {}: {}", time(now), line.target, bare(line))
}

fn logfmt(line: &Line, now: SystemTime) -> String {
    let mut out = format!("time={} level={} target={} msg=", time(now), line.level, line.target);
    push_value(&mut out, &line.message);
    push_fields(&mut out, line);
    out
}

fn json(line: &Line, now: SystemTime) -> String {
    let mut out = format!("{{\"time\":\"{}\",\"level\":\"{}\",\"target\":", time(now), line.level);
    push_json(&mut out, &line.target);
    out.push_str(",\"message\":");
    push_json(&mut out, &line.message);
    for (name, value) in line.fields.iter() {
        out.push(',');
        push_json(&mut out, name);
        out.push(':');
        if value.bare { out.push_str(&value.text) } else { push_json(&mut out, &value.text) }
    }
    out.push('}');
    out
}

fn bare(line: &Line) -> String {
    let mut out = escape(&line.message).to_string();
    push_fields(&mut out, line);
    out
}

fn push_fields(out: &mut String, line: &Line) {
    for (name, value) in line.fields.iter() {
        out.extend([" ", name, "="]);
        push_value(out, &value.text);
    }
}

fn syslog(line: &Line, tag: &Tag) -> String {
    let priority = DAEMON << 3 | line.level.severity();
    let mut out = format!("<{priority}>{}[{}]: {}", tag.name, process::id(), bare(line));
    let mut end = out.len().min(SYSLOG_BYTES);
    while !out.is_char_boundary(end) {
        end -= 1;
    }
    out.truncate(end);
    out
}

fn journal(line: &Line, tag: &Tag) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, "MESSAGE", &bare(line));
    put(&mut out, "PRIORITY", &line.level.severity().to_string());
    put(&mut out, "SYSLOG_FACILITY", &DAEMON.to_string());
    put(&mut out, "SYSLOG_IDENTIFIER", &tag.name);
    put(&mut out, "SYSLOG_PID", &process::id().to_string());
    put(&mut out, &format!("{}_TARGET", tag.prefix), &line.target);
    for (name, value) in line.fields.iter() {
        let mut field = format!("{}_{}", tag.prefix, name.chars().map(plain).collect::<String>());
        field.truncate(JOURNAL_NAME_BYTES);
        put(&mut out, &field, &value.text);
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

/// A character that the name of a field may have.
fn plain(c: char) -> char {
    if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }
}

fn emitted(line: &Line, text: &str) -> Vec<u8> {
    [&[line.level as u8], line.target.as_bytes(), b"\0", text.as_bytes()].concat()
}

/// As `2026-11-22T14:02:37.123Z`.
fn time(now: SystemTime) -> String {
    let mut text = String::with_capacity(24);
    // A clock before 1970 was never set; one beyond 9999 has no such form.
    if write!(text, "{}", humantime::format_rfc3339_millis(now.max(UNIX_EPOCH))).is_err() {
        text.push('-');
    }
    text
}

/// The facility of daemons.
const DAEMON: u8 = 3;

/// What every daemon takes, cut here rather than there.
const SYSLOG_BYTES: usize = 8 * 1024;

/// The journal ignores fields with a longer name.
const JOURNAL_NAME_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::log::level::Level;
    use crate::log::line::Value;

    fn logged(form: &Form, line: &Line) -> String {
        String::from_utf8(form.record(line, UNIX_EPOCH)).unwrap()
    }

    fn accepted() -> Line {
        let mut line = Line::new(Level::Notice, "sockeye", "a b".to_owned());
        line.fields.set("peer", Value::text("192.0.2.1:80"));
        line.fields.set("count", Value::bare(3));
        line.fields.set("good", Value::bare(true));
        line
    }

    /// What a peer may send to pass for more than it is.
    fn hostile() -> Line {
        let mut line = Line::new(Level::Warn, "t", "refused\nfake".to_owned());
        line.fields.set("origin", Value::text("x\r\n\u{1b}[31m peer=1.2.3.4 \"\\\u{202e}\u{85}"));
        line.fields.set("empty", Value::text(""));
        line.fields.set("plain", Value::text("a\tb"));
        line
    }

    #[test]
    fn times() {
        assert_eq!(time(UNIX_EPOCH + Duration::from_millis(951_782_399_999)), "2000-02-28T23:59:59.999Z");
        assert_eq!(time(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(UNIX_EPOCH + Duration::from_secs(1 << 50)), "-");
    }

    #[test]
    fn for_people() {
        let form = Form::Lines(Format::Human);
        let line = "1970-01-01T00:00:00.000Z NOTICE sockeye: a b peer=192.0.2.1:80 count=3 good=true\n";
        assert_eq!(logged(&form, &accepted()), line);
        let fields = r#"origin="x\r\n\u{1b}[31m peer=1.2.3.4 \"\\\u{202e}\u{85}" empty="" plain=a\tb"#;
        let line = format!("1970-01-01T00:00:00.000Z WARN   t: refused\\nfake {fields}\n");
        assert_eq!(logged(&form, &hostile()), line);
        assert_eq!(logged(&Form::Lines(Format::Bare), &accepted()), "a b peer=192.0.2.1:80 count=3 good=true\n");
    }

    #[test]
    fn as_keys_and_values() {
        let form = Form::Lines(Format::Logfmt);
        let begin = "time=1970-01-01T00:00:00.000Z level=notice target=sockeye msg=\"a b\"";
        assert_eq!(logged(&form, &accepted()), format!("{begin} peer=192.0.2.1:80 count=3 good=true\n"));
        let fields =
            r#"msg=refused\nfake origin="x\r\n\u{1b}[31m peer=1.2.3.4 \"\\\u{202e}\u{85}" empty="" plain=a\tb"#;
        let line = format!("time=1970-01-01T00:00:00.000Z level=warn target=t {fields}\n");
        assert_eq!(logged(&form, &hostile()), line);
    }

    #[test]
    fn as_json() {
        let form = Form::Lines(Format::Json);
        let begin = r#"{"time":"1970-01-01T00:00:00.000Z","level":"notice","target":"sockeye","message":"a b""#;
        let line = format!("{begin},\"peer\":\"192.0.2.1:80\",\"count\":3,\"good\":true}}\n");
        assert_eq!(logged(&form, &accepted()), line);
        let line = logged(&form, &hostile());
        assert!(line.trim_end().bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{line}");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["message"], "refused\nfake");
        assert_eq!(value["origin"], "x\r\n\u{1b}[31m peer=1.2.3.4 \"\\\u{202e}\u{85}");
    }

    #[test]
    fn for_syslog() {
        let (form, id) = (Form::Syslog(Tag::new("sockeye")), process::id());
        let packet = format!("<29>sockeye[{id}]: a b peer=192.0.2.1:80 count=3 good=true");
        assert_eq!(logged(&form, &accepted()), packet);
        let packet = logged(&form, &hostile());
        assert!(packet.starts_with(&format!("<28>sockeye[{id}]: refused\\nfake origin=")), "{packet}");
        assert!(!packet.contains(char::is_control), "{packet}");
        let long = logged(&form, &Line::new(Level::Err, "t", "ü".repeat(10_000)));
        assert!(long.starts_with("<27>") && (8_190..=8_192).contains(&long.len()), "{}", long.len());
    }

    #[test]
    fn for_the_journal() {
        let (form, id) = (Form::Journal(Tag::new("sockeye")), process::id());
        assert_eq!(
            logged(&form, &accepted()),
            format!(
                "MESSAGE=a b peer=192.0.2.1:80 count=3 good=true\nPRIORITY=5\nSYSLOG_FACILITY=3\nSYSLOG_IDENTIFIER=sockeye\n\
                 SYSLOG_PID={id}\nSOCKEYE_TARGET=sockeye\nSOCKEYE_PEER=192.0.2.1:80\nSOCKEYE_COUNT=3\nSOCKEYE_GOOD=true\n"
            )
        );
        let mut line = Line::new(Level::Warn, "t", "m".to_owned());
        line.fields.set("origin", Value::text("a\nPRIORITY=0\nb"));
        let packet = logged(&form, &line);
        assert!(packet.starts_with("MESSAGE=m origin=\"a\\nPRIORITY=0\\nb\"\nPRIORITY=4\n"), "{packet}");
        assert!(packet.ends_with("SOCKEYE_ORIGIN\n\u{e}\0\0\0\0\0\0\0a\nPRIORITY=0\nb\n"), "{packet:?}");
    }

    #[test]
    fn names_of_programs_are_made_fit() {
        for (name, tag, prefix) in
            [("my-server", "my-server", "MY_SERVER"), ("7zip: [x]\n", "7zip___x]_", "ZIP___X__"), ("", "-", "LOG")]
        {
            let made = Tag::new(name);
            assert_eq!((made.name.as_str(), made.prefix.as_str()), (tag, prefix), "{name:?}");
        }
    }
}
