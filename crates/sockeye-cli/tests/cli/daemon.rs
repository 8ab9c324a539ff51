//! `--daemonize`, `--pid-file`, `--user` and `--group`.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

use nix::sys::signal::SigSet;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, geteuid, pidfd_open, pidfd_send_signal};

use crate::support::{Client, Folder, PATIENCE, Running, finished, program, sockeye};

/// A daemon, by its pid file. Dropping it kills it.
struct Background {
    process: u32,
    handle: OwnedFd,
    /// What its starter printed.
    said: String,
}

impl Background {
    /// Starts it, with the pid file `FOLDER/pid`. That the starter's outputs end with it shows that the daemon lets go of them.
    fn start(folder: &Folder, arguments: &[&str]) -> Self {
        let pid = folder.path("pid");
        Self::of(&mut sockeye(&[arguments, &["--daemonize", "--pid-file", &pid]].concat()), &folder.0.join("pid"))
    }

    fn of(command: &mut Command, pid_file: &Path) -> Self {
        let output = finished(command);
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stderr));
        let text = fs::read_to_string(pid_file).unwrap();
        let process = text.strip_suffix('\n').expect("a whole line").parse().unwrap();
        let number = Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
        Self { process, handle: pidfd_open(number, PidfdFlags::empty()).unwrap(), said }
    }

    fn address(&self) -> &str {
        self.said.split_once("://").and_then(|(_, rest)| rest.strip_suffix("/\n")).unwrap()
    }

    fn echoes(&self) {
        let mut client = Client::open(self.address(), "").unwrap();
        client.text("still there");
        client.expect("still there");
    }

    /// A connection that it has answered a request on, and that stays open.
    fn serves(&self) -> TcpStream {
        let mut client = TcpStream::connect(self.address()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        assert_ne!(client.read(&mut [0; 1]).unwrap(), 0, "an answer");
        client
    }

    fn signal(&self, signal: Signal) {
        pidfd_send_signal(&self.handle, signal).unwrap();
    }

    /// Waits for its end.
    fn ended(self) {
        let patience = Timespec::try_from(PATIENCE).unwrap();
        let count = poll(&mut [PollFd::new(&self.handle, PollFlags::IN)], Some(&patience)).unwrap();
        assert_eq!(count, 1, "it did not end");
    }

    /// A line of `/proc/PID/status`.
    fn status(&self, name: &str) -> String {
        status(&format!("/proc/{}/status", self.process), name)
    }

    fn proc(&self, name: &str) -> PathBuf {
        format!("/proc/{}/{name}", self.process).into()
    }

    /// The descriptors, and what they are.
    fn descriptors(&self) -> Vec<(u32, String)> {
        let entries = fs::read_dir(self.proc("fd")).unwrap().map(|entry| {
            let entry = entry.unwrap();
            let number = entry.file_name().to_str().unwrap().parse().unwrap();
            (number, fs::read_link(entry.path()).unwrap().to_str().unwrap().to_owned())
        });
        let mut descriptors: Vec<_> = entries.collect();
        descriptors.sort();
        descriptors
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = pidfd_send_signal(&self.handle, Signal::KILL);
    }
}

fn status(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}: {text}"));
    line.trim_start_matches(':').trim().to_owned()
}

/// The exit code and the message when no daemon is started. It does not matter whether this machine has syslog.
fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let log = if arguments.contains(&"--log-to") { &[][..] } else { &["--log-to", "/dev/null"] };
    let Output { status, stdout, stderr } = finished(&mut sockeye(&[arguments, log].concat()));
    assert_eq!(stdout, b"");
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn the_starter_ends_once_the_daemon_serves() {
    let folder = Folder::new("daemon");
    let daemon = Background::start(&folder, &["echo", "--port", "0"]);
    daemon.echoes();
    assert_eq!(fs::metadata(folder.0.join("pid")).unwrap().permissions().mode() & 0o7777, 0o644);
    assert_eq!(fs::read_link(daemon.proc("cwd")).unwrap(), Path::new("/"));
    assert_eq!(daemon.status("Umask"), "0022");
    assert_eq!(daemon.status("Name"), "sockeye");
    let stat = fs::read_to_string(daemon.proc("stat")).unwrap();
    // Behind the name: state, parent, process group, session, terminal.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let own = fs::read_to_string("/proc/self/stat").unwrap();
    let own: Vec<&str> = own.rsplit(')').next().unwrap().split_whitespace().collect();
    assert_ne!(fields[1], std::process::id().to_string(), "its parent is gone");
    assert!(fields[3] != own[3] && fields[3] != daemon.process.to_string(), "in another session, but not its leader");
    assert_eq!(fields[4], "0", "no terminal");
    daemon.signal(Signal::TERM);
    daemon.ended();
    assert!(!folder.0.join("pid").exists());
}

#[test]
fn nothing_that_the_starter_had_open_is_open_in_the_daemon() {
    let folder = Folder::new("daemon");
    let script = format!("exec 3<&0 7</etc/passwd 9>{}; umask 0; exec \"$0\" \"$@\"", folder.path("open"));
    let mut command = Command::new("sh");
    command.args(["-c", &script]).arg(program()).args(["serve", "--port", "0", "--daemonize", "--pid-file"]);
    command.arg(folder.path("pid")).stdin(UnixStream::pair().map(|pair| OwnedFd::from(pair.0)).unwrap());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let daemon = Background::of(&mut command, &folder.0.join("pid"));
    let pid_file = folder.path("pid");
    // What starting it needed is closed only once it serves, which may be after its starter has ended.
    let _client = daemon.serves();
    let mut sockets = 0;
    for (number, what) in daemon.descriptors() {
        match number {
            0..=2 => assert_eq!(what, "/dev/null", "{number}"),
            _ if what.starts_with("socket:") => sockets += 1,
            _ => assert!(what.starts_with("anon_inode:") || what == pid_file, "{number}: {what}"),
        }
    }
    // The listener, the client, and the two ends of the pair that signals come by.
    assert_eq!(sockets, 4, "{:?}", daemon.descriptors());
    assert_eq!(daemon.status("Umask"), "0022", "the starter's was 0");
    assert_eq!(fs::metadata(&pid_file).unwrap().permissions().mode() & 0o7777, 0o644);
}

#[test]
fn a_second_start_is_refused_and_the_first_serves_on() {
    let folder = Folder::new("daemon");
    let daemon = Background::start(&folder, &["echo", "--port", "0"]);
    let (pid, number) = (folder.path("pid"), daemon.process.to_string());
    for arguments in [
        &["echo", "--port", "0", "--daemonize", "--pid-file", &pid][..],
        &["serve", "--port", "0", "--daemonize", "--pid-file", &pid],
        &["echo", "--port", "0", "--pid-file", &pid],
    ] {
        let (code, text) = refused(arguments);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(&format!("already running as pid {number}\n")), "{text}");
    }
    daemon.echoes();
    assert_eq!(fs::read_to_string(&pid).unwrap(), format!("{number}\n"));
}

#[test]
fn what_a_killed_daemon_left_is_taken_over() {
    let folder = Folder::new("daemon");
    let first = Background::start(&folder, &["echo", "--port", "0"]);
    first.signal(Signal::KILL);
    let number = first.process;
    first.ended();
    assert_eq!(fs::read_to_string(folder.0.join("pid")).unwrap(), format!("{number}\n"), "it could not clean up");
    let second = Background::start(&folder, &["echo", "--port", "0"]);
    second.echoes();
    second.signal(Signal::INT);
    second.ended();
    assert!(!folder.0.join("pid").exists());
    // And one that names a process which lives, but is no server.
    fs::write(folder.0.join("pid"), format!("{}\n", std::process::id())).unwrap();
    Background::start(&folder, &["echo", "--port", "0"]).echoes();
}

#[test]
fn a_link_or_a_file_of_another_kind_in_the_way_is_refused() {
    let folder = Folder::new("daemon");
    let (pid, precious) = (folder.path("pid"), folder.path("precious"));
    fs::write(&precious, "12 precious\n").unwrap();
    symlink(&precious, &pid).unwrap();
    let start = |file: &str| refused(&["echo", "--port", "0", "--daemonize", "--pid-file", file]);
    for (file, why) in [
        (&pid, "it is a symbolic link"),
        (&precious, "something other than a process id"),
        (&folder.path("no/pid"), ""),
    ] {
        let (code, text) = start(file);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.starts_with(&format!("sockeye: --pid-file {file}: ")) && text.contains(why), "{text}");
    }
    assert_eq!(fs::read_to_string(&precious).unwrap(), "12 precious\n");
    assert!(fs::symlink_metadata(&pid).unwrap().is_symlink());
}

/// A file of root that others may write to can be opened and locked by them, and no more.
#[test]
fn a_pid_file_whose_mode_cannot_be_set_is_refused_by_what_failed() {
    if !geteuid().is_root() {
        return;
    }
    let folder = Folder::new("daemon");
    let pid = folder.path("pid");
    fs::write(&pid, "").unwrap();
    fs::set_permissions(&pid, fs::Permissions::from_mode(0o666)).unwrap();
    let output = finished(sockeye(&["echo", "--port", "0", "--pid-file", &pid]).uid(65534).gid(65534));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    let why = "its mode cannot be set to 0644, which only its owner may do: Operation not permitted";
    assert!(said.contains(&format!("--pid-file {pid}: {why}")), "{said}");
}

#[test]
fn what_fails_is_said_on_the_terminal_and_leaves_nothing() {
    let folder = Folder::new("daemon");
    let pid = folder.path("pid");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let port = address.port().to_string();
    let in_use = address.to_string();
    for (arguments, code, why) in [
        (&["echo", "--port", &port][..], 2, in_use.as_str()),
        (&["serve", "--port", &port], 2, &in_use),
        (&["serve", "/no/such/folder"], 2, "/no/such/folder"),
        (&["echo", "--port", "0", "--interface", "nosuch0"], 2, "nosuch0"),
        (&["echo", "--port", "0", "--user", "no-such-user"], 2, "there is no user \"no-such-user\""),
        (&["echo", "--port", "0", "--group", "no-such-group"], 2, "there is no group \"no-such-group\""),
        (
            &["echo", "--port", "0", "--log-to", "stderr"],
            2,
            "a daemon has no standard error; use a file, syslog or journal",
        ),
    ] {
        let (status, text) = refused(&[arguments, &["--daemonize", "--pid-file", &pid]].concat());
        assert_eq!(status, Some(code), "{text}");
        assert!(text.starts_with("sockeye: ") && text.contains(why) && text.lines().count() == 1, "{text}");
        assert!(!Path::new(&pid).exists(), "{arguments:?}");
    }
}

#[test]
fn what_the_starter_was_told_of_signals_is_no_matter() {
    let folder = Folder::new("daemon");
    // Children of one that ignores SIGCHLD are nobody's to wait for.
    let mut command = Command::new("env");
    command.arg("--ignore-signal=CHLD").arg(program()).args(["echo", "--port", "0"]);
    command.args(["--daemonize", "--pid-file", &folder.path("pid")]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let daemon = Background::of(&mut command, &folder.0.join("pid"));
    daemon.echoes();
    // What is blocked in a thread is blocked in the children that it makes.
    let blocked = || {
        SigSet::all().thread_block().unwrap();
        let pid = folder.path("pid2");
        Background::of(
            &mut sockeye(&["echo", "--port", "0", "--daemonize", "--pid-file", &pid]),
            &folder.0.join("pid2"),
        )
    };
    let daemon = thread::scope(|scope| scope.spawn(blocked).join().unwrap());
    assert_eq!(daemon.status("SigBlk").trim_matches('0'), "");
    daemon.signal(Signal::TERM);
    daemon.ended();
}

#[test]
fn paths_are_those_of_whoever_starts_it() {
    let folder = Folder::new("daemon");
    fs::create_dir(folder.0.join("public")).unwrap();
    fs::write(folder.0.join("public/hello.txt"), "hello").unwrap();
    let mut command = sockeye(&["serve", "public", "--port", "0", "--daemonize", "--pid-file", "pid"]);
    let daemon = Background::of(command.current_dir(&folder.0), &folder.0.join("pid"));
    assert_eq!(crate::support::get(daemon.address(), "/hello.txt").1, b"hello");
    drop(daemon);
    let mut command = sockeye(&["echo", "--interface", "unix:socket", "--daemonize", "--pid-file", "pid2"]);
    let daemon = Background::of(command.current_dir(&folder.0), &folder.0.join("pid2"));
    assert_eq!(daemon.said, format!("listening on unix:{}\n", folder.path("socket")));
    UnixStream::connect(folder.0.join("socket")).unwrap();
    daemon.signal(Signal::TERM);
    daemon.ended();
    assert!(!folder.0.join("socket").exists() && !folder.0.join("pid2").exists());
}

#[test]
fn a_pid_file_does_without_a_daemon() {
    let folder = Folder::new("daemon");
    let pid = folder.path("pid");
    let running = Running::start(&["echo", "--port", "0", "--pid-file", &pid]);
    let address = running.address();
    let number: u32 = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    assert!(fs::read_to_string(format!("/proc/{number}/cmdline")).unwrap().contains("--pid-file"));
    TcpStream::connect(address).unwrap();
    running.signal(Signal::TERM);
    assert_eq!(running.ended().code(), Some(0));
    assert!(!Path::new(&pid).exists());
}

#[test]
fn rights_are_dropped_by_all_threads_once_it_listens() {
    if !geteuid().is_root() {
        return;
    }
    let folder = Folder::new("daemon");
    // Only root can make a socket there.
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o700)).unwrap();
    let interface = format!("unix:{}", folder.path("socket"));
    let daemon = Background::start(
        &folder,
        &[
            "echo",
            "--port",
            "0",
            "--interface",
            "127.0.0.1",
            "--interface",
            &interface,
            "--user",
            "65534",
            "--group",
            "54321",
        ],
    );
    let threads: Vec<_> = fs::read_dir(daemon.proc("task")).unwrap().map(|thread| thread.unwrap().path()).collect();
    assert!(threads.len() > 1, "{threads:?}");
    for thread in threads {
        let path = thread.join("status");
        let path = path.to_str().unwrap();
        assert_eq!(status(path, "Uid").split_whitespace().collect::<Vec<_>>(), ["65534"; 4]);
        assert_eq!(status(path, "Gid").split_whitespace().collect::<Vec<_>>(), ["54321"; 4]);
        assert!(!status(path, "Groups").split_whitespace().any(|group| group == "0"));
        assert_eq!(u64::from_str_radix(&status(path, "CapEff"), 16), Ok(0));
        assert_eq!(u64::from_str_radix(&status(path, "CapPrm"), 16), Ok(0));
    }
    let address = daemon.said.lines().next().unwrap().split_once("://").unwrap().1.trim_end_matches('/');
    let mut client = Client::open(address, "").unwrap();
    client.text("as nobody");
    client.expect("as nobody");
    daemon.signal(Signal::TERM);
    daemon.ended();
    // It may not remove a file there any more; an empty one is in nobody's way.
    assert_eq!(fs::read_to_string(folder.0.join("pid")).unwrap(), "");
    Background::start(&folder, &["echo", "--port", "0"]).echoes();
}

#[test]
fn rights_that_cannot_be_dropped_are_fatal() {
    let mut command = sockeye(&["echo", "--port", "0", "--user", "root"]);
    if geteuid().is_root() {
        command.uid(65534).gid(65534);
        // The build folder may be out of reach for anybody else.
        if command.spawn().is_err() {
            return;
        }
    }
    let output = finished(&mut command);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]), "{text}");
    assert!(text.contains("groups cannot be changed") && text.contains("only root can"), "{text}");
}
