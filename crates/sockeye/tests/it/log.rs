//! Logs of programs: what is logged, what it looks like, where it goes. No test installs one for the whole process.

use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use std::{env, fs, process};

use sockeye::log::{Format, Level, Log, Logger};
use tracing::{debug, error, info, info_span, trace, warn};
use tracing_subscriber::prelude::*;

/// A log that calls back, and the lines that it got.
fn emitted(build: impl FnOnce(Logger) -> Logger) -> (Log, Receiver<String>) {
    let (sender, lines) = channel();
    let emit = move |level: Level, target: &str, line: &str| _ = sender.send(format!("{level} {target}: {line}"));
    (build(Logger::emitter(emit)).start().unwrap(), lines)
}

/// What is written of the events of `act`.
fn written(log: &Log, act: impl FnOnce()) {
    tracing::subscriber::with_default(tracing_subscriber::registry().with(log.layer()), act);
    log.flush();
}

fn lines_of(build: impl FnOnce(Logger) -> Logger, act: impl FnOnce()) -> Vec<String> {
    let (log, lines) = emitted(build);
    written(&log, act);
    lines.try_iter().collect()
}

#[test]
fn notice_is_shown_and_info_hidden_unless_asked_otherwise() {
    let act = || {
        error!(target: "a", "1");
        warn!(target: "a", "2");
        info!(target: "a", "3");
        debug!(target: "a", "4");
        trace!(target: "a", "5");
        debug!(target: "a::b::c", "6");
        error!(target: "quiet", "7");
        debug!(target: "sockeye::access", "8");
        error!(target: "sockeye::access", "9");
    };
    assert_eq!(lines_of(|log| log, act), ["err a: 1", "warn a: 2", "notice a: 3", "err quiet: 7"]);
    let all = lines_of(|log| log.level(Level::Debug), act);
    assert_eq!(all.len(), 7, "the access log is asked for by name: {all:?}");
    let chosen =
        lines_of(|log| log.level(Level::Err).target("a::b", Level::Info).target("quiet", None).access(true), act);
    assert_eq!(chosen, ["err a: 1", "info a::b::c: 6", "info sockeye::access: 8", "err sockeye::access: 9"]);
}

#[test]
fn logs_in_one_subscriber_have_levels_of_their_own() {
    let (quiet, warnings) = emitted(|log| log.level(Level::Warn));
    let (loud, all) = emitted(|log| log.level(Level::Debug));
    let subscriber = tracing_subscriber::registry().with(quiet.layer()).with(loud.layer());
    tracing::subscriber::with_default(subscriber, || {
        let _span = info_span!("connection", peer = "192.0.2.1:7").entered();
        warn!(target: "t", "1");
        trace!(target: "t", "2");
    });
    drop((quiet, loud));
    assert_eq!(warnings.iter().collect::<Vec<_>>(), ["warn t: 1"], "its spans are of a level that it does not log");
    assert_eq!(all.iter().collect::<Vec<_>>(), ["warn t: 1 peer=192.0.2.1:7", "debug t: 2 peer=192.0.2.1:7"]);
}

#[test]
fn a_line_has_the_fields_of_the_spans_around_it() {
    let lines = lines_of(
        |log| log,
        || {
            let outer = info_span!("outer", a = 1, b = "x", later = tracing::field::Empty).entered();
            outer.record("later", "y\nz");
            let _inner = info_span!("inner", b = 2).entered();
            info!(target: "t", c = true, a = 0.5, "m");
        },
    );
    assert_eq!(lines, [r"notice t: m c=true a=0.5 b=2 later=y\nz"]);
}

#[test]
fn what_peers_sent_cannot_pass_for_a_line() {
    let origin = "x\r\n\u{1b}[2J2026-11-22T14:02:37.123Z ERR    sockeye: faked";
    for format in [Format::Human, Format::Logfmt, Format::Json, Format::Bare] {
        let (log, lines) = emitted(|log| log.format(format));
        written(&log, || warn!(target: "t", origin, debugged = ?origin, shown = %origin, "refused {origin}"));
        let line = lines.recv().unwrap();
        assert!(!line.contains(char::is_control) && line.contains("faked"), "{line:?}");
        assert!(lines.try_recv().is_err(), "one line");
    }
    let lines = lines_of(|log| log, || warn!(target: "t", body = "x".repeat(1 << 20), "m"));
    assert!((16_000..17_000).contains(&lines[0].len()) && lines[0].ends_with('…'), "{}", lines[0].len());
}

#[test]
fn lines_about_one_peer_are_limited() {
    let (log, lines) = emitted(|log| log.level(Level::Info).peer_limit(2, Duration::from_secs(3600)));
    written(&log, || {
        let _span = info_span!("connection", peer = "192.0.2.1:7").entered();
        (0..100).for_each(|number| warn!(target: "t", number, "loud"));
        debug!(target: "t", "asked for");
        warn!(target: "t", peer = "192.0.2.2:7", "another");
    });
    let lines: Vec<_> = lines.try_iter().collect();
    assert_eq!((log.suppressed(), log.dropped()), (98, 0));
    let expected = [
        "warn t: loud number=0 peer=192.0.2.1:7",
        "warn t: loud number=1 peer=192.0.2.1:7",
        "info t: asked for peer=192.0.2.1:7",
        "warn t: another peer=192.0.2.2:7",
    ];
    assert_eq!(lines, expected);
}

/// A writer that is stuck until it is told to go on.
#[derive(Clone, Default)]
struct Stuck(Arc<(Mutex<bool>, Condvar)>);

impl Stuck {
    fn go_on(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

struct Pipe(Stuck, Sender<Vec<u8>>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Stuck(stuck) = &self.0;
        drop(stuck.1.wait_while(stuck.0.lock().unwrap(), |go| !*go).unwrap());
        self.1.send(bytes.to_vec()).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_destination_that_is_stuck_stops_nobody_and_what_is_dropped_is_said() {
    let (stuck, (sender, received)) = (Stuck::default(), channel());
    let log = Logger::writer(Pipe(stuck.clone(), sender)).backlog_bytes(10_000).format(Format::Bare).start().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(log.layer()), || {
        (0..1000).for_each(|number| info!("{number:0>99}"));
    });
    let dropped = log.dropped();
    // One backlog is being written, and one waits.
    assert!((800..=900).contains(&dropped), "{dropped}");
    stuck.go_on();
    drop(log);
    let text = String::from_utf8(received.iter().flatten().collect()).unwrap();
    let (lines, notes): (Vec<_>, Vec<_>) = text.lines().partition(|line| line.len() == 99);
    assert_eq!(lines.len() as u64, 1000 - dropped);
    // Behind each of the two, if lines were dropped before it was taken.
    let said = notes.iter().map(|note| note.strip_suffix(" log lines were dropped because they were not read in time"));
    assert_eq!(said.map(|count| count.unwrap().parse::<u64>().unwrap()).sum::<u64>(), dropped, "{notes:?}");
}

/// A folder that goes away.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("sockeye-log-{name}-{}", process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_file_is_opened_anew_behind_what_waits() {
    let folder = Folder::new("file");
    let [path, moved] = ["log", "log.1"].map(|name| folder.0.join(name));
    let log = Logger::file(&path).format(Format::Bare).start().unwrap();
    written(&log, || info!("old"));
    fs::rename(&path, &moved).unwrap();
    written(&log, || info!("still old"));
    assert!(log.reopen());
    log.flush();
    written(&log, || info!("new"));
    assert_eq!(fs::read_to_string(moved).unwrap(), "old\nstill old\n");
    assert_eq!(fs::read_to_string(path).unwrap(), "log file reopened\nnew\n");
    assert_eq!(log.dropped(), 0);
    assert!(Logger::file(folder.0.join("no/log")).start().is_err_and(|error| error.kind() == io::ErrorKind::NotFound));
    assert!(!emitted(|log| log).0.reopen());
}

#[test]
fn syslog_and_the_journal_get_packets_and_may_come_later() {
    let folder = Folder::new("sockets");
    for (name, begin) in [("syslog", "<28>my_chat["), ("journal", "MESSAGE=refused origin=\"a\\nb c\"\nPRIORITY=4\n")] {
        let path = folder.0.join(name);
        let logger = if name == "syslog" { Logger::syslog_at(&path) } else { Logger::journal_at(&path) };
        let log = logger.name("my chat").start().unwrap();
        assert!(log.check().is_err_and(|error| error.kind() == io::ErrorKind::NotFound));
        written(&log, || warn!("nobody hears it"));
        assert_eq!(log.dropped(), 1);
        let daemon = UnixDatagram::bind(&path).unwrap();
        log.check().unwrap();
        written(&log, || warn!(origin = "a\nb c", "refused"));
        let packet = || {
            let mut buffer = vec![0; 4096];
            let count = daemon.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..count].to_vec()).unwrap()
        };
        let first = packet();
        assert!(first.starts_with(begin), "{first}");
        assert_eq!(first.contains("\nMY_CHAT_ORIGIN\n\u{5}\0\0\0\0\0\0\0a\nb c\n"), name == "journal", "{first}");
        let lost = packet();
        assert!(lost.contains("1 log lines were dropped"), "{lost}");
    }
}

#[test]
fn programs_and_other_formatters_write_into_a_log_too() {
    let (sender, received) = channel();
    let stuck = Stuck::default();
    stuck.go_on();
    let log = Arc::new(Logger::writer(Pipe(stuck, sender)).start().unwrap());
    log.print("ready\n");
    let theirs = tracing_subscriber::fmt::layer().without_time().with_ansi(false).with_writer(Arc::clone(&log));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(theirs), || info!(target: "t", a = 1, "m"));
    drop(log);
    let text = String::from_utf8(received.iter().flatten().collect()).unwrap();
    assert_eq!(text, "ready\n INFO t: m a=1\n");
    let (log, lines) = emitted(|log| log);
    log.print("it begins\n");
    drop(log);
    assert_eq!(lines.recv().unwrap(), "notice sockeye::log: it begins");
}
