//! System calls of a running server, counted or made to fail.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use super::{PATIENCE, Process, Server, TempDir, eventually};

/// A tracer attached to a server; detached when dropped.
pub(crate) struct Strace {
    child: Child,
    output: PathBuf,
    /// What it prints on standard error. It may print at any time, for instance when a thread is inside a system call, and a closed
    /// pipe would end it (SIGPIPE).
    lines: Receiver<String>,
    _folder: TempDir,
}

impl Strace {
    /// Makes calls fail: `fault` is strace's own notation, for instance `accept4:error=EINTR:when=1`.
    pub(crate) fn inject(server: &Server, fault: &str) -> Self {
        let call = fault.split(':').next().expect("a call");
        Self::attach(server.process(), &["-e", &format!("trace={call}"), "-e", &format!("inject={fault}")])
    }

    fn attach(process: Process, options: &[&str]) -> Self {
        let folder = TempDir::new();
        let output = folder.path().join("trace");
        let mut child = Command::new("strace")
            .args(options)
            .args(["-f", "-p", &process.0.to_string(), "-o"])
            .arg(&output)
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace is installed");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || stderr.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
        let strace = Self { child, output, lines, _folder: folder };
        // It says "Process N attached" once it listens.
        let line = strace.lines.recv_timeout(PATIENCE).expect("strace says that it is attached");
        assert!(line.contains("attached"), "strace: {line}");
        strace
    }

    /// Waits until a call has been made to fail `times` times.
    pub(crate) fn injected(&self, times: usize) {
        eventually("the fault is injected", PATIENCE, || {
            fs::read_to_string(&self.output).unwrap_or_default().matches("(INJECTED)").count() >= times
        });
    }

    /// Counts the calls of all threads from now on.
    pub(crate) fn count(process: Process) -> Self {
        Self::attach(process, &["-c"])
    }

    /// How many there were until now.
    pub(crate) fn total(mut self) -> u64 {
        let ended = self.child.try_wait().expect("own child");
        self.detach();
        let lines: Vec<String> = self.lines.iter().collect();
        assert!(
            ended.is_none(),
            "strace ended before it was asked to, so its count is not whole: {ended:?}, {lines:#?}"
        );
        let table = fs::read_to_string(&self.output).unwrap_or_default();
        // `% time  seconds  usecs/call  calls  errors  syscall`, the last line being the total; no table if there was none.
        let total = table.lines().rev().find(|line| line.trim_end().ends_with("total"));
        total.map_or(0, |line| line.split_whitespace().nth(3).and_then(|calls| calls.parse().ok()).expect("a count"))
    }

    fn detach(&mut self) {
        // One that has ended has left its number to others.
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = kill_process(Pid::from_child(&self.child), Signal::INT);
            let _ = self.child.wait();
        }
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        self.detach();
    }
}
