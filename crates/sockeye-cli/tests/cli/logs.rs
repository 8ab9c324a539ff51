//! Where the log of a server goes, and what is in it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixDatagram;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, mkfifoat};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;

use crate::support::{CLOSE, Client, Folder, PATIENCE, Running, finished, get, request, sockeye};

/// What syslogd or journald would be.
struct Daemon(UnixDatagram);

impl Daemon {
    fn at(path: &str) -> Self {
        let _ = fs::remove_file(path);
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    /// The next packet that has `text` in it.
    fn packet(&self, text: &str) -> String {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = self.0.recv(&mut buffer).unwrap_or_else(|error| panic!("no packet with {text:?}: {error}"));
            let packet = String::from_utf8(buffer[..count].to_vec()).unwrap();
            if packet.contains(text) {
                return packet;
            }
        }
    }
}

/// A head has room for 8 KiB of a name: no line of the log has.
#[test]
fn what_a_peer_says_at_length_is_cut() {
    let running = Running::start(&["echo", "--port", "0", "--log-level", "info"]);
    let address = running.address();
    let long = "x".repeat(4000);
    Client::open(&address, &format!("Sec-WebSocket-Protocol: {long}\r\n")).unwrap();
    let line = running.log_line("msg=open ");
    assert!(line.contains(&long[..200]) && line.len() < 600, "{line}");
    let foreign = format!("GET / HTTP/1.1\r\nHost: {long}.example\r\nConnection: close\r\n\r\n");
    assert!(request(&address, &foreign).0.starts_with("HTTP/1.1 4"));
    let line = running.log_line("others like it");
    assert!(line.contains(&long[..200]) && line.len() < 900, "{line}");
}

#[test]
fn syslog_gets_packets_also_when_it_was_started_anew() {
    let folder = Folder::new("logs");
    let path = folder.path("syslog");
    let daemon = Daemon::at(&path);
    let arguments = ["echo", "--port", "0", "--log-level", "info", "--log-to", "syslog", "--syslog-socket", &path];
    let running = Running::start(&arguments);
    let address = running.address();
    let packet = daemon.packet("limit of connections");
    let (head, rest) = packet.split_once(": ").unwrap();
    // Facility daemon, level notice.
    let process = head.strip_prefix("<29>sockeye[").and_then(|head| head.strip_suffix(']')).expect("a tag");
    assert!(fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap().contains(&path), "{packet}");
    assert!(rest.contains(" max_connections=") && !packet.ends_with('\n'), "{packet}");
    Client::open(&address, "").unwrap();
    assert!(daemon.packet(": accepted id=").starts_with("<30>"));
    drop(daemon);
    let daemon = Daemon::at(&path);
    running.signal(Signal::USR1);
    daemon.packet("statistics");
}

#[test]
fn a_syslog_that_is_not_there_or_does_not_read_stops_nothing() {
    let folder = Folder::new("logs");
    let path = folder.path("syslog");
    for there in [false, true] {
        let daemon = there.then(|| Daemon::at(&path));
        let arguments = [
            "serve",
            "--port",
            "0",
            "--access-log",
            "--log-level",
            "debug",
            "--log-to",
            "syslog",
            "--syslog-socket",
            &path,
        ];
        let running = Running::start(&arguments);
        if !there {
            // Else nobody would ever know where the log is.
            let said = running.log_line("");
            let wanted =
                format!("sockeye: warning: --log-to syslog: {path} is not there; nothing is logged until it is");
            assert_eq!(said, wanted);
        }
        let address = running.address();
        for _ in 0..400 {
            assert!(get(&address, "/nothing").0.starts_with("HTTP/1.1 404 "));
        }
        running.signal(Signal::TERM);
        assert_eq!(running.ended().code(), Some(0));
        drop(daemon);
    }
}

#[test]
fn the_journal_gets_fields_that_no_peer_can_add_to() {
    let folder = Folder::new("logs");
    let path = folder.path("journal");
    let daemon = Daemon::at(&path);
    let arguments = ["serve", "--port", "0", "--access-log", "--log-to", "journal", "--journal-socket", &path];
    let running = Running::start(&arguments);
    let address = running.address();
    let packet = daemon.packet("limit of connections");
    for field in
        ["\nPRIORITY=5\n", "\nSYSLOG_IDENTIFIER=sockeye\n", "\nSYSLOG_FACILITY=3\n", "\nSOCKEYE_MAX_CONNECTIONS="]
    {
        assert!(packet.starts_with("MESSAGE=limit of") && packet.contains(field), "{field:?}: {packet}");
    }
    let _ = get(&address, "/a%0aPRIORITY=0");
    let packet = daemon.packet("SOCKEYE_STATUS=404\n");
    assert_eq!(packet.matches("\nPRIORITY=").count(), 1, "{packet}");
}

#[test]
fn a_file_is_opened_anew_at_hup() {
    let folder = Folder::new("logs");
    let running = Running::start(&["echo", "--port", "0", "--log-to", &folder.path("log")]);
    running.address();
    fs::rename(folder.0.join("log"), folder.0.join("log.1")).unwrap();
    running.signal(Signal::HUP);
    running.signal(Signal::TERM);
    assert_eq!(running.ended().code(), Some(0));
    let [old, new] = ["log.1", "log"].map(|name| fs::read_to_string(folder.0.join(name)).unwrap());
    assert!(
        old.starts_with("time=") && old.contains("level=notice target=sockeye::server msg=\"limit of connections"),
        "{old}"
    );
    assert!(new.contains("log file reopened"), "{new}");
}

#[test]
fn a_file_that_cannot_be_opened_anew_is_kept() {
    let folder = Folder::new("logs");
    fs::create_dir(folder.0.join("logs")).unwrap();
    let running = Running::start(&["echo", "--port", "0", "--log-to", &folder.path("logs/log")]);
    running.address();
    fs::rename(folder.0.join("logs"), folder.0.join("moved")).unwrap();
    running.signal(Signal::HUP);
    running.signal(Signal::TERM);
    assert_eq!(running.ended().code(), Some(0));
    let kept = fs::read_to_string(folder.0.join("moved/log")).unwrap();
    assert!(kept.contains("level=warn") && kept.contains("cannot reopen the log file, keeping the old one"), "{kept}");
}

#[test]
fn a_pipe_that_nobody_reads_is_refused_and_kept_waiting_for_by_nobody() {
    let folder = Folder::new("logs");
    let pipe = folder.path("pipe");
    mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
    for daemonize in [&[][..], &["--daemonize"]] {
        let arguments = [&["echo", "--port", "0", "--log-to", &pipe], daemonize].concat();
        let output = finished(&mut sockeye(&arguments));
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert_eq!(text, format!("sockeye: --log-to {pipe}: it is a pipe without a reader\n"));
    }
    // One that is read is as good as a file.
    let reader = fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let running = Running::start(&["echo", "--port", "0", "--log-to", &pipe]);
    let mut lines = BufReader::new(reader);
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert!(line.contains("limit of connections"), "{line}");
    drop(running);
}

#[test]
fn a_pipe_in_the_place_of_the_file_does_not_stop_the_log() {
    let folder = Folder::new("logs");
    let running = Running::start(&["echo", "--port", "0", "--log-to", &folder.path("log")]);
    running.address();
    fs::rename(folder.0.join("log"), folder.0.join("log.1")).unwrap();
    mkfifoat(CWD, folder.path("log"), Mode::RUSR | Mode::WUSR).unwrap();
    running.signal(Signal::HUP);
    running.signal(Signal::TERM);
    assert_eq!(running.ended().code(), Some(0));
    let kept = fs::read_to_string(folder.0.join("log.1")).unwrap();
    assert!(
        kept.contains("keeping the old one: it is a pipe without a reader") && kept.contains("no connections"),
        "{kept}"
    );
}

#[test]
fn hup_is_for_the_log_while_the_terminal_is_open() {
    let folder = Folder::new("logs");
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let slave = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    let socket = folder.path("socket");
    let daemon = Daemon::at(&socket);
    let mut command = sockeye(&["echo", "--port", "0", "--log-to", "syslog", "--syslog-socket", &socket]);
    command.stdin(slave.try_clone().unwrap()).stderr(slave);
    let running = Running::of(command.spawn().unwrap());
    drop(command);
    let mut client = Client::open(&running.address(), "").unwrap();
    running.signal(Signal::HUP);
    daemon.packet("nothing to reload");
    client.text("still there");
    client.expect("still there");
    drop(master);
    running.signal(Signal::HUP);
    assert_eq!(client.closed(), 1001);
    client.send(CLOSE, &1001_u16.to_be_bytes());
    assert_eq!(running.ended().code(), Some(0));
}

#[test]
fn each_form_has_its_option() {
    for (options, begin) in [
        (&[][..], "time="),
        (&["--log-format", "logfmt"], "time="),
        (&["--log-format", "human"], "20"),
        (&["--log-format", "json"], "{\"time\":\""),
    ] {
        let running = Running::start(&[&["echo", "--port", "0"], options].concat());
        let line = running.log_line("limit of connections");
        assert!(line.starts_with(begin), "{line}");
    }
}

/// The line of the access log of an answer.
fn answered(running: &Running) -> Value {
    let line = running.log_line("sockeye::access");
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn the_access_log_has_a_line_for_each_answer() {
    let running = Running::start(&[
        "serve",
        "--port",
        "0",
        "--access-log",
        "--log-level",
        "err",
        "--log-format",
        "json",
        "--origin",
        "http://a.test",
    ]);
    let address = running.address();
    let (_, page) = get(&address, "/?secret=1");
    let line = answered(&running);
    assert_eq!((&line["status"], &line["method"], &line["path"]), (&200.into(), &"GET".into(), &"/".into()));
    assert_eq!((&line["bytes"], &line["complete"]), (&page.len().into(), &true.into()));
    assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:") && line["milliseconds"].is_u64(), "{line}");
    assert!(!line.to_string().contains("secret") && line["reason"].is_null(), "{line}");

    let client = Client::open(&address, "Origin: http://a.test\r\nSec-WebSocket-Protocol: lws-mirror-protocol\r\n");
    let line = answered(&running);
    assert_eq!((&line["status"], &line["origin"]), (&101.into(), &"http://a.test".into()));
    assert_eq!((&line["protocol"], &line["bytes"]), (&"lws-mirror-protocol".into(), &0.into()));
    drop(client);

    Client::open(&address, "Origin: http://evil\u{202e}\" status=200\r\n").err().unwrap();
    let line = answered(&running);
    assert_eq!((&line["status"], &line["complete"]), (&403.into(), &true.into()));
    assert_eq!(line["origin"], "http://evil\u{202e}\" status=200");

    for (text, status, method, reason) in [
        ("HEAD /app.js HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 200, "HEAD", Value::Null),
        ("GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 404, "GET", Value::Null),
        ("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n", 405, "POST", "takes".into()),
        ("no request at all\r\n\r\n", 400, "", "the first line is malformed".into()),
        ("GET / HTTP/1.1\r\n\r\n", 400, "", "Host".into()),
    ] {
        request(&address, text);
        let line = answered(&running);
        assert_eq!((&line["status"], &line["method"]), (&status.into(), &method.into()), "{text}");
        match reason.as_str() {
            Some(reason) => assert!(line["reason"].as_str().is_some_and(|said| said.contains(reason)), "{line}"),
            None => assert!(line["reason"].is_null(), "{line}"),
        }
    }
}

#[test]
fn without_the_option_there_is_no_access_log() {
    let running = Running::start(&["serve", "--port", "0", "--log-level", "debug", "--log-format", "json"]);
    let address = running.address();
    get(&address, "/");
    running.signal(Signal::USR1);
    loop {
        let line = running.log_line("");
        assert!(!line.contains("sockeye::access"), "{line}");
        if line.contains("statistics") {
            break;
        }
    }
}

#[test]
fn a_place_for_the_log_that_is_not_there_is_told_and_a_later_one_is_used() {
    let folder = Folder::new("logs");
    let path = folder.path("journal");
    let there = ["--log-to", "journal", "--journal-socket", &path];
    let running = Running::start(&[&["echo", "--port", "0"], &there[..]].concat());
    assert!(running.log_line("warning: ").contains(&format!("--log-to journal: {path} is not there")));
    running.address();
    let journal = Daemon::at(&path);
    running.signal(Signal::USR1);
    journal.packet("statistics");
    running.signal(Signal::TERM);
    assert_eq!(running.ended().code(), Some(0));
    // Nobody is behind this one any more.
    drop(journal);
    fs::remove_file(&path).unwrap_or_default();
    drop(UnixDatagram::bind(&path).unwrap());
    let running = Running::start(&[&["echo", "--port", "0"], &there[..]].concat());
    let said = running.log_line("warning: ");
    assert!(said.contains(": Connection refused") && said.contains("nothing is logged until it can be"), "{said}");
}

#[test]
fn a_daemon_without_syslog_has_its_starter_say_so() {
    let folder = Folder::new("logs");
    let (path, pid) = (folder.path("syslog"), folder.path("pid"));
    let output =
        finished(&mut sockeye(&["echo", "--port", "0", "--daemonize", "--pid-file", &pid, "--syslog-socket", &path]));
    let number = fs::read_to_string(&pid).unwrap().trim().parse().ok().and_then(Pid::from_raw);
    pidfd_send_signal(pidfd_open(number.unwrap(), PidfdFlags::empty()).unwrap(), Signal::KILL).unwrap();
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8(output.stderr).unwrap();
    let wanted = format!("sockeye: warning: --log-to syslog: {path} is not there; nothing is logged until it is\n");
    assert_eq!(said, wanted);
}

#[test]
fn a_daemon_logs_to_syslog_unless_it_is_told_otherwise() {
    let folder = Folder::new("logs");
    let syslog = Daemon::at(&folder.path("syslog"));
    let (path, pid) = (folder.path("syslog"), folder.path("pid"));
    for options in [&["--syslog-socket", &path][..], &["--log-to", "./log"]] {
        let mut command = sockeye(&[&["echo", "--port", "0", "--daemonize", "--pid-file", &pid], options].concat());
        let output = finished(command.current_dir(&folder.0));
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let number = fs::read_to_string(&pid).unwrap().trim().parse().ok().and_then(Pid::from_raw);
        let process = pidfd_open(number.unwrap(), PidfdFlags::empty()).unwrap();
        pidfd_send_signal(&process, Signal::TERM).unwrap();
        if options.len() == 2 && options[0] == "--syslog-socket" {
            syslog.packet("stopping");
        }
        // What it had to log is there when it is gone, and its pid file may be gone before.
        let patience = Timespec::try_from(PATIENCE).unwrap();
        assert_eq!(poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&patience)).unwrap(), 1, "it did not end");
    }
    assert!(fs::read_to_string(folder.0.join("log")).unwrap().contains("msg=stopping"));
}
