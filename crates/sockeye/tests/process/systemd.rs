//! Descriptors that a service manager passes: who owns them.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Command, Stdio};

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use sockeye::daemon::systemd;

use crate::daemon::{SCENARIO, output};

/// Plays a scenario of this file. False: it is one of another file.
pub(crate) fn play(scenario: &str) -> bool {
    match scenario {
        "systemd-taken" => taken(),
        "systemd-own-file" => own_file(),
        "systemd-gap" => gap(),
        "systemd-mixed" => mixed(),
        _ => return false,
    }
    true
}

/// Runs a scenario in a process that begins with `descriptors`, redirections of a shell, and with `count` announced.
fn run(scenario: &str, count: &str, descriptors: &str) -> String {
    let script = format!("LISTEN_PID=$$ LISTEN_FDS={count} LISTEN_FDNAMES=first exec \"$0\" {descriptors}");
    let mut command = Command::new("sh");
    command.args(["-c", &script]).arg(std::env::current_exe().unwrap()).env(SCENARIO, scenario);
    let output = output(command.stdin(Stdio::null()));
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Whether descriptor `number` is open, and if so whether it is closed on exec.
fn closed_on_exec(number: i32) -> Option<bool> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).ok()?;
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim().to_owned();
    Some(u32::from_str_radix(&flags, 8).unwrap() & 0o2_000_000 != 0)
}

fn taken() {
    let sockets = systemd::sockets().unwrap();
    let names: Vec<_> = sockets.iter().map(|socket| (socket.as_raw_fd(), socket.name())).collect();
    println!("{names:?} {:?} {:?}", closed_on_exec(3), closed_on_exec(4));
    println!("{}", systemd::sockets().unwrap().len());
    for socket in sockets {
        drop(OwnedFd::from(socket));
    }
    println!("{:?} {}", closed_on_exec(3), systemd::sockets().unwrap().len());
}

pub(crate) fn sockets_of_the_manager_are_taken_once() {
    let said = run("systemd-taken", "2", "3</dev/null 4</dev/zero");
    assert_eq!(said, "[(3, \"first\"), (4, \"unknown\")] Some(true) Some(true)\n0\nNone 0\n");
}

/// All calls here are safe, so what they leave behind may not cost the file its only owner.
fn own_file() {
    let path = std::env::temp_dir().join(format!("sockeye-daemon-own-{}", std::process::id()));
    let mut file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    assert_eq!(file.as_raw_fd(), 3, "the lowest number that is free");
    fcntl_setfd(file.as_fd(), FdFlags::empty()).unwrap();
    let error = systemd::sockets().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    println!("{error}");
    // Another file would have the number now.
    let _other = TcpListener::bind("127.0.0.1:0").unwrap();
    file.write_all(b"mine").unwrap();
    file.rewind().unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), fcntl_getfd(&file).unwrap()), ("mine", FdFlags::empty()));
    fs::remove_file(path).unwrap();
}

pub(crate) fn a_file_of_the_program_is_not_taken() {
    let said = run("systemd-own-file", "1", "");
    assert_eq!(said, "LISTEN_FDS announces 1 descriptor(s), and this process was not started with all of them\n");
}

fn gap() {
    let error = systemd::sockets().unwrap_err();
    println!("{error}; {:?}", closed_on_exec(3));
    // It stays that way.
    assert!(systemd::sockets().is_err());
    assert_eq!(closed_on_exec(3), Some(false));
}

pub(crate) fn a_refused_descriptor_leaves_the_others_alone() {
    let said = run("systemd-gap", "2", "3</dev/null");
    assert_eq!(said, "descriptor 4, which LISTEN_FDS announces, is not open; Some(false)\n");
}

/// The program opened a file itself where the manager should have passed a socket.
fn mixed() {
    let file = File::open("/dev/null").unwrap();
    fcntl_setfd(file.as_fd(), FdFlags::empty()).unwrap();
    assert_eq!(file.as_raw_fd(), 4, "the lowest number that is free");
    println!("{}", systemd::sockets().unwrap_err());
    assert_eq!((closed_on_exec(3), closed_on_exec(4)), (Some(false), Some(false)));
}

pub(crate) fn a_file_among_the_sockets_takes_none_of_them() {
    let said = run("systemd-mixed", "2", "3</dev/null");
    assert_eq!(said, "LISTEN_FDS announces 2 descriptor(s), and this process was not started with all of them\n");
}
