//! What a starter learns of its daemon, whatever becomes of that.
//!
//! This program is both: a test runs it again with a scenario in its environment, and reads what the starter has to say.
//! A daemon tells its number by a file, so that it can be waited for.

use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use sockeye::daemon::{self, Daemon, Side};

use crate::systemd;

pub(crate) const SCENARIO: &str = "SOCKEYE_TEST_SCENARIO";
const FOLDER: &str = "SOCKEYE_TEST_FOLDER";

/// The starter prints the outcome; the daemon does what the scenario says.
///
/// Nothing if this is not one of the two, but the tests.
pub(crate) fn play() -> Option<ExitCode> {
    let scenario = std::env::var(SCENARIO).ok()?;
    if systemd::play(&scenario) {
        return Some(ExitCode::SUCCESS);
    }
    let within = Duration::from_millis(match scenario.as_str() {
        "hang" => 500,
        "hurry" => 0,
        _ => 60_000,
    });
    match daemon::detach().unwrap() {
        Side::Starter(starter) => {
            println!("{:?}", starter.wait(within).unwrap());
        }
        Side::Daemon(daemon) => act(&scenario, daemon),
    }
    Some(ExitCode::SUCCESS)
}

fn act(scenario: &str, daemon: Daemon) {
    let folder = PathBuf::from(std::env::var_os(FOLDER).unwrap());
    let number = std::process::id().to_string();
    fs::write(folder.join("new"), &number).unwrap();
    fs::rename(folder.join("new"), folder.join("daemon")).unwrap();
    match scenario {
        "ready" => {
            daemon.ready(&format!("{number} is ready\n")).unwrap();
            println!("into the void");
            // As a daemon does whose program starts others: these are no daemons of this module.
            let mut other = Command::new(std::env::current_exe().unwrap());
            let output = other.arg("--list").env_remove(SCENARIO).stdin(Stdio::null()).output().unwrap();
            fs::write(folder.join("listed"), output.stdout).unwrap();
        }
        "failed" => daemon.failed(77, "no\nluck"),
        "abandoned" => {
            // The starter is ended by the test.
            let mut ended = String::new();
            fs::File::open(folder.join("ended")).unwrap().read_to_string(&mut ended).unwrap();
            let error = daemon.ready("").unwrap_err();
            fs::write(folder.join("told"), error.to_string()).unwrap();
        }
        "die" => panic!("on purpose"),
        _ => loop {
            thread::park();
        },
    }
}

/// How long a test waits for something that is certain to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a command to its end and to the end of its outputs.
pub(crate) fn output(command: &mut Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_child(&child);
    let (sender, receiver) = mpsc::channel();
    let (stdout, stderr) = (reader(child.stdout.take(), &sender), reader(child.stderr.take(), &sender));
    // The handle of the process is readable once it has ended.
    if !is_gone(&pidfd_open(pid, PidfdFlags::empty()).unwrap()) {
        kill_process(pid, Signal::KILL).unwrap();
        panic!("waited for the end of {command:?}");
    }
    drop(sender);
    for _ in 0..2 {
        receiver.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("waited for the end of the outputs of {command:?}"));
    }
    Output { status: child.wait().unwrap(), stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

/// Reads a pipe to its end in a thread of its own, and reports that.
fn reader(pipe: Option<impl Read + Send + 'static>, done: &mpsc::Sender<()>) -> thread::JoinHandle<Vec<u8>> {
    let (mut pipe, done) = (pipe.unwrap(), done.clone());
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        let _ = done.send(());
        bytes
    })
}

/// Waits for the end of a process; false when it lives on.
fn is_gone(process: &OwnedFd) -> bool {
    let patience = Timespec::try_from(PATIENCE).unwrap();
    poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&patience)).unwrap() == 1
}

struct Stage(PathBuf);

impl Stage {
    fn new(scenario: &str) -> (Self, Command) {
        let folder = std::env::temp_dir().join(format!("sockeye-daemon-{scenario}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env(SCENARIO, scenario).env(FOLDER, &folder).stdin(Stdio::null());
        (Self(folder), command)
    }

    /// What the starter says at its end, and the end of its outputs.
    fn play(scenario: &str) -> (Self, String) {
        let (stage, mut command) = Self::new(scenario);
        let output = output(&mut command);
        assert!(output.status.success(), "{output:?}");
        (stage, String::from_utf8(output.stdout).unwrap())
    }

    /// Waits until the daemon is gone.
    fn gone(&self) {
        let number = fs::read_to_string(self.0.join("daemon")).unwrap().parse().ok().and_then(Pid::from_raw);
        ended(number.unwrap());
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn ended(process: Pid) {
    // A number that nobody has is that of a process that ended.
    let Ok(handle) = pidfd_open(process, PidfdFlags::empty()) else { return };
    assert!(is_gone(&handle), "waited for the end of the daemon");
}

pub(crate) fn one_that_is_ready() {
    let (stage, said) = Stage::play("ready");
    let number = fs::read_to_string(stage.0.join("daemon")).unwrap();
    assert_eq!(said, format!("Ready(\"{number} is ready\\n\")\n"));
    stage.gone();
    let listed = fs::read_to_string(stage.0.join("listed")).unwrap();
    assert!(listed.contains("one_that_is_ready: test"), "{listed}");
}

pub(crate) fn one_that_says_why_not() {
    let (stage, said) = Stage::play("failed");
    assert_eq!(said, "Failed { code: 77, text: \"no\\nluck\" }\n");
    stage.gone();
}

pub(crate) fn one_that_ends_without_a_word() {
    let (stage, said) = Stage::play("die");
    assert_eq!(said, "Died\n");
    stage.gone();
}

pub(crate) fn one_that_hangs_is_ended() {
    let (stage, said) = Stage::play("hang");
    assert_eq!(said, "TimedOut\n");
    // On a busy machine it may not have come to the point where it hangs.
    if stage.0.join("daemon").exists() {
        stage.gone();
    }
}

pub(crate) fn without_any_time_nothing_is_left() {
    // The outputs end when the last process has ended that has them open.
    let (_stage, said) = Stage::play("hurry");
    assert_eq!(said, "TimedOut\n");
}

pub(crate) fn one_that_nobody_waits_for_is_told_so() {
    let (stage, mut command) = Stage::new("abandoned");
    let pipe = stage.0.join("ended");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let mut starter = command.stdout(Stdio::null()).spawn().unwrap();
    // Opening waits until the daemon opens the other end.
    let end = fs::File::options().write(true).open(&pipe).unwrap();
    kill_process(Pid::from_child(&starter), Signal::KILL).unwrap();
    starter.wait().unwrap();
    drop(end);
    stage.gone();
    assert_told(&stage.0.join("told"));
}

fn assert_told(path: &Path) {
    let told = fs::read_to_string(path).unwrap();
    // The other end is gone. Linux calls that a reset when something that was sent there had not been read yet.
    let gone = ["Broken pipe", "os error 32", "Connection reset", "os error 104"];
    assert!(gone.iter().any(|gone| told.contains(gone)), "{told}");
}
