//! The way of a daemon into the background, what can end it on the way, and that nothing is left of one that is not wanted.
//!
//! This program is both: a test runs it again with a scenario in its environment, and reads what the starter prints. `main` runs in
//! the starter, in the session leader and in the daemon, so a scenario can stop any of them at its beginning.
//! Every wait here is bounded and says what it waited for.

use std::env;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{self, Child, Command, ExitCode, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, getpid, getppid, kill_process, pidfd_open, waitid,
};
use sockeye::daemon::{self, Daemon, Outcome, Side};

use crate::systemd;

pub(crate) const SCENARIO: &str = "SOCKEYE_TEST_SCENARIO";
const FOLDER: &str = "SOCKEYE_TEST_FOLDER";

/// The starter prints the outcome; the daemon does what the scenario says.
///
/// Nothing if this is not one of the processes of a scenario, but the tests.
pub(crate) fn play() -> Option<ExitCode> {
    let scenario = env::var(SCENARIO).ok()?;
    if !systemd::play(&scenario) {
        play_start(&scenario);
    }
    Some(ExitCode::SUCCESS)
}

fn play_start(scenario: &str) {
    match env::var("SOCKEYE_DAEMON_STAGE").as_deref() {
        Ok("leader") => begin_leader(scenario),
        Ok("daemon") => begin_daemon(scenario),
        _ => {}
    }
    let within = Duration::from_millis(match scenario {
        "hang" | "hang-early" | "stopped" | "lives-on" | "silent" | "leader-stopped" => 500,
        hurry if hurry.starts_with("hurry-") => hurry["hurry-".len()..].parse().unwrap(),
        _ => 60_000,
    });
    match daemon::detach().unwrap() {
        Side::Starter(starter) => match starter.wait(within).unwrap() {
            // On a fast machine it may be there in time.
            Outcome::Ready(_) if scenario.starts_with("hurry-") => println!("TimedOut"),
            outcome => println!("{outcome:?}"),
        },
        Side::Daemon(daemon) => act(scenario, daemon),
    }
}

fn begin_leader(scenario: &str) {
    write("leader", &process::id().to_string());
    match scenario {
        "leader-stopped" => kill_process(getpid(), Signal::STOP).unwrap(),
        "leader-killed-early" => kill_process(getpid(), Signal::KILL).unwrap(),
        _ => {}
    }
}

fn begin_daemon(scenario: &str) {
    write("begun", &process::id().to_string());
    match scenario {
        "hang-early" => hang(),
        "abandoned-early" => wait_at_gate(),
        "leader-killed-late" => {
            let leader = fs::read_to_string(folder().join("leader")).unwrap();
            // It is another process if the leader has ended already.
            if let Some(parent) = getppid().filter(|parent| leader == parent.as_raw_nonzero().to_string()) {
                let _ = kill_process(parent, Signal::KILL);
            }
        }
        _ => {}
    }
}

fn act(scenario: &str, daemon: Daemon) {
    let number = process::id().to_string();
    write("daemon", &number);
    match scenario {
        "ready" => {
            daemon.ready(&format!("{number} is ready\n")).unwrap();
            println!("into the void");
            // As a daemon does whose program starts others: these are no daemons of this module.
            let mut other = Command::new(env::current_exe().unwrap());
            let output = other.arg("--list").env_remove(SCENARIO).stdin(Stdio::null()).output().unwrap();
            write("listed", &String::from_utf8(output.stdout).unwrap());
        }
        "leader-killed-late" => daemon.ready("").unwrap(),
        "starter-stopped" => {
            wait_at_gate();
            daemon.ready("at last").unwrap();
            write("said", "");
        }
        "failed" => daemon.failed(77, "no\nluck"),
        "lives-on" => {
            daemon.failed(1, "");
            hang();
        }
        "silent" => {
            drop(daemon);
            hang();
        }
        "stopped" => kill_process(getpid(), Signal::STOP).unwrap(),
        "abandoned" => {
            wait_at_gate();
            hang();
        }
        "die" => panic!("on purpose"),
        _ => hang(),
    }
}

fn hang() {
    loop {
        thread::park();
    }
}

pub(crate) fn one_that_is_ready() {
    let mut run = Run::new("ready");
    let said = run.said();
    assert_eq!(said, format!("Ready(\"{} is ready\\n\")\n", run.file("daemon").unwrap()));
    run.assert_gone("daemon");
    let listed = run.file("listed").unwrap();
    assert!(listed.contains("daemon::one_that_is_ready: test"), "{listed}");
}

pub(crate) fn one_that_says_why_not() {
    let mut run = Run::new("failed");
    assert_eq!(run.said(), "Failed { code: 77, text: \"no\\nluck\" }\n");
    run.assert_gone("daemon");
}

pub(crate) fn one_that_says_why_not_and_lives_on_is_ended() {
    let mut run = Run::new("lives-on");
    assert_eq!(run.said(), "Failed { code: 1, text: \"\" }\n");
    run.assert_gone("daemon");
}

pub(crate) fn one_that_dies_without_a_word() {
    let mut run = Run::new("die");
    assert_eq!(run.said(), "Died\n");
    run.assert_gone("daemon");
}

pub(crate) fn one_that_gives_up_silently_and_lives_on_is_ended() {
    let mut run = Run::new("silent");
    assert_eq!(run.said(), "Died\n");
    run.assert_gone("daemon");
}

/// On a busy machine the daemon may be ended before it comes to the point where it hangs.
fn assert_timed_out(scenario: &str) {
    let mut run = Run::new(scenario);
    assert_eq!(run.said(), "TimedOut\n", "{scenario}");
    for process in ["leader", "begun"].into_iter().filter(|process| run.file(process).is_some()) {
        run.assert_gone(process);
    }
}

pub(crate) fn one_that_hangs_is_ended() {
    assert_timed_out("hang");
}

pub(crate) fn one_that_hangs_before_it_is_a_daemon_is_ended() {
    assert_timed_out("hang-early");
}

pub(crate) fn one_that_is_stopped_is_ended() {
    assert_timed_out("stopped");
}

pub(crate) fn nothing_is_left_whenever_the_time_is_over() {
    for milliseconds in 0..25 {
        assert_timed_out(&format!("hurry-{milliseconds}"));
    }
}

pub(crate) fn one_whose_starter_is_killed_ends() {
    let mut run = Run::new("abandoned");
    let gate = run.gate();
    let starter = run.command.stdout(Stdio::null()).spawn().unwrap();
    // It is opened to hang.
    drop(reached(gate));
    kill(starter);
    run.assert_gone("daemon");
}

pub(crate) fn one_whose_starter_was_killed_never_begins() {
    let mut run = Run::new("abandoned-early");
    let gate = run.gate();
    let starter = run.command.stdout(Stdio::null()).spawn().unwrap();
    let open = reached(gate);
    kill(starter);
    drop(open);
    run.assert_gone("begun");
    assert_eq!(run.file("daemon"), None);
}

pub(crate) fn a_starter_that_is_stopped_loses_nothing() {
    let mut run = Run::new("starter-stopped");
    let gate = run.gate();
    let starter = run.command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let open = reached(gate);
    stop(&starter);
    drop(open);
    run.assert_gone("daemon");
    assert!(run.file("said").is_some(), "the daemon was ready without waiting for its starter");
    kill_process(Pid::from_child(&starter), Signal::CONT).unwrap();
    let output = finished(starter);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "Ready(\"at last\")\n");
}

pub(crate) fn a_leader_that_is_stopped_is_ended() {
    assert_timed_out("leader-stopped");
}

pub(crate) fn a_leader_that_is_killed_early_leaves_nothing() {
    let mut run = Run::new("leader-killed-early");
    assert_eq!(run.said(), "Died\n");
    run.assert_gone("leader");
    assert_eq!(run.file("begun"), None);
}

pub(crate) fn a_leader_that_is_killed_late_is_not_missed() {
    let mut run = Run::new("leader-killed-late");
    assert_eq!(run.said(), "Ready(\"\")\n");
    run.assert_gone("daemon");
}

/// How long a test waits for something that is certain to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A run of a scenario, with a folder of its own that is removed at the end.
struct Run {
    folder: PathBuf,
    command: Command,
}

impl Run {
    fn new(scenario: &str) -> Self {
        let folder = env::temp_dir().join(format!("sockeye-daemon-{scenario}-{}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut command = Command::new(env::current_exe().unwrap());
        command.env(SCENARIO, scenario).env(FOLDER, &folder).stdin(Stdio::null());
        Self { folder, command }
    }

    /// Runs the starter to its end and to the end of its outputs, and returns what it printed. The daemon has the same
    /// outputs, so they end when the last of the processes has ended or let go of them.
    fn said(&mut self) -> String {
        let output = output(&mut self.command);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Makes a pipe that a process of the scenario waits at.
    fn gate(&self) -> PathBuf {
        let path = self.folder.join(GATE);
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
        path
    }

    fn file(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.folder.join(name)).ok()
    }

    /// Waits until the process with the number in this file is gone.
    fn assert_gone(&self, name: &str) {
        let number = self.file(name).unwrap_or_else(|| panic!("no file {name}"));
        // A number without a process is that of one that has ended.
        let Ok(handle) = pidfd_open(number.parse().ok().and_then(Pid::from_raw).unwrap(), PidfdFlags::empty()) else {
            return;
        };
        assert!(ends(&handle), "waited for the end of the process in {name}");
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // A test that failed leaves nothing that keeps the outputs of the tests open.
        for process in ["leader", "begun", "daemon"].into_iter().filter_map(|name| self.file(name)) {
            let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
            if String::from_utf8_lossy(&environment).contains(self.folder.to_str().unwrap()) {
                let _ = process.parse().ok().and_then(Pid::from_raw).map(|process| kill_process(process, Signal::KILL));
            }
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

const GATE: &str = "gate";

/// In a process of a scenario: waits until the test opens the gate.
fn wait_at_gate() {
    let mut nothing = String::new();
    File::open(folder().join(GATE)).unwrap().read_to_string(&mut nothing).unwrap();
}

/// In a process of a scenario: writes a file, which is never seen half written.
fn write(name: &str, text: &str) {
    let folder = folder();
    let new = folder.join(format!("{name}.{}", process::id()));
    fs::write(&new, text).unwrap();
    fs::rename(new, folder.join(name)).unwrap();
}

fn folder() -> PathBuf {
    PathBuf::from(env::var_os(FOLDER).unwrap())
}

/// Opens the end of a gate for writing, once a process waits at it. Dropping it opens the gate.
fn reached(gate: PathBuf) -> File {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(File::options().write(true).open(gate).unwrap()));
    receiver.recv_timeout(PATIENCE).expect("waited for a process to reach the gate")
}

/// Runs a command to its end and to the end of its outputs.
pub(crate) fn output(command: &mut Command) -> Output {
    finished(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

fn finished(mut child: Child) -> Output {
    let pid = Pid::from_child(&child);
    let (sender, receiver) = mpsc::channel();
    let (stdout, stderr) = (reader(child.stdout.take(), &sender), reader(child.stderr.take(), &sender));
    if !ends(&pidfd_open(pid, PidfdFlags::empty()).unwrap()) {
        kill_process(pid, Signal::KILL).unwrap();
        panic!("waited for the end of the starter");
    }
    drop(sender);
    for _ in 0..2 {
        receiver.recv_timeout(PATIENCE).expect("waited for the end of the outputs, which the daemon has too");
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
fn ends(process: &OwnedFd) -> bool {
    let patience = Timespec::try_from(PATIENCE).unwrap();
    poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&patience)).unwrap() == 1
}

/// Kills a child for good.
fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Stops a child, and waits until it has stopped.
fn stop(child: &Child) {
    let pid = Pid::from_child(child);
    kill_process(pid, Signal::STOP).unwrap();
    // It comes at once: a signal to stop cannot be blocked.
    waitid(WaitId::Pid(pid), WaitIdOptions::STOPPED).unwrap();
}
