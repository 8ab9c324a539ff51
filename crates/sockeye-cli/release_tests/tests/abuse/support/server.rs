//! The server under test: a child process, ended by its own id.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustls::{ClientConfig, SupportedProtocolVersion};

use super::{Credentials, PATIENCE, Process, Request, eventually};
use crate::target;

/// A line of its standard error, and when it came.
type Line = (Instant, String);

/// How a server is started.
pub(crate) struct Launch {
    program: OsString,
    arguments: Vec<OsString>,
    open_files: Option<u32>,
    variable: Option<&'static str>,
    address_space: Option<u64>,
    stack_kib: Option<u32>,
    upgrade: Request,
    credentials: Option<Arc<Credentials>>,
}

impl Launch {
    pub(crate) fn new(subcommand: &str) -> Self {
        Self::of(sockeye_release_tests::command().into(), vec![subcommand.into()], Request::upgrade("/"))
    }

    fn of(program: OsString, arguments: Vec<OsString>, upgrade: Request) -> Self {
        Self {
            program,
            arguments,
            open_files: None,
            address_space: None,
            stack_kib: None,
            variable: None,
            upgrade,
            credentials: None,
        }
    }

    /// The service of [`target`](crate::target): the command has no responders, so this program is started once more.
    pub(crate) fn responders() -> Self {
        let program = std::env::current_exe().expect("a test knows its program");
        let launch = Self::of(program.into(), Vec::new(), Request::upgrade("/"));
        Self { variable: Some(target::VARIABLE), ..launch }
    }

    /// The example of a bare poll(2) loop, with the files of `root` if any.
    pub(crate) fn poll_loop(root: Option<&Path>) -> Self {
        let program = sockeye_release_tests::build_folder().join("examples/poll_loop");
        let build = "cargo build -p sockeye --example poll_loop, with the profile of this test";
        assert!(program.exists(), "{program:?} is not built: {build}");
        let arguments = [Some(OsString::from("127.0.0.1:0")), root.map(Into::into)];
        let upgrade = Request::upgrade("/").add("Sec-WebSocket-Protocol", "echo");
        Self::of(program.into(), arguments.into_iter().flatten().collect(), upgrade)
    }

    pub(crate) fn echo() -> Self {
        Self::new("echo").with("--port").with("0")
    }

    pub(crate) fn serve(root: &Path) -> Self {
        Self::new("serve").with(root).with("--port").with("0")
    }

    /// Speaks TLS, as its peers do, in the newest version.
    pub(crate) fn secured(mut self, credentials: &Arc<Credentials>) -> Self {
        self.credentials = Some(Arc::clone(credentials));
        self.with("--tls-cert").with(credentials.chain())
    }

    pub(crate) fn with(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().into());
        self
    }

    /// Lowers its limit of open descriptors.
    pub(crate) fn open_files(mut self, limit: u32) -> Self {
        self.open_files = Some(limit);
        self
    }

    /// Limits its address space, in bytes. The reservations that glibc makes for each thread (64 MiB) are left out.
    pub(crate) fn address_space(mut self, bytes: u64) -> Self {
        self.address_space = Some(bytes);
        self
    }

    /// Limits the stack of its first thread, in KiB.
    pub(crate) fn stack(mut self, kib: u32) -> Self {
        self.stack_kib = Some(kib);
        self
    }

    pub(crate) fn command(&self) -> Command {
        let files = self.open_files.map(|limit| format!("ulimit -n {limit}"));
        let space = self.address_space.map(|bytes| format!("ulimit -v {}", bytes / 1024));
        let stack = self.stack_kib.map(|kib| format!("ulimit -s {kib}"));
        let limits: Vec<String> = files.into_iter().chain(space).chain(stack).collect();
        let mut command = if limits.is_empty() {
            Command::new(&self.program)
        } else {
            let mut shell = Command::new("sh");
            shell.arg("-c").arg(format!("{} && exec \"$0\" \"$@\"", limits.join(" && "))).arg(&self.program);
            shell
        };
        if let Some(variable) = self.variable {
            command.env(variable, "1");
        }
        if self.address_space.is_some() {
            command.env("MALLOC_ARENA_MAX", "1");
        }
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts it and waits until it listens.
    pub(crate) fn start(self) -> Server {
        Server::start(&self)
    }

    /// Runs it to its end, which must come by itself: exit code and standard error.
    pub(crate) fn fails(&self) -> (Option<i32>, String) {
        let mut child = self.command().spawn().expect("the command starts");
        let deadline = Instant::now() + PATIENCE;
        while child.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < deadline {
            super::pass(Duration::from_millis(5));
        }
        // Does nothing to one that has ended.
        let _ = child.kill();
        let output = child.wait_with_output().expect("own child");
        let code = output.status.code();
        assert!(code.is_some(), "{:?} should fail, but runs", self.arguments);
        (code, String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

pub(crate) struct Server {
    child: Child,
    /// What it printed as its address: the URL's authority.
    pub(crate) authority: String,
    /// What [`Peer::upgraded`](super::Peer::upgraded) asks for: an endpoint that echoes.
    pub(crate) upgrade: Request,
    /// What its peers begin TLS with.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// Its files are there while it runs.
    credentials: Option<Arc<Credentials>>,
    log: Arc<Mutex<Vec<Line>>>,
}

impl Server {
    pub(crate) fn echo() -> Self {
        Launch::echo().start()
    }

    /// An echo that speaks TLS.
    pub(crate) fn secured() -> Self {
        Launch::echo().secured(&Arc::new(Credentials::new())).start()
    }

    /// Its certificate, if it speaks TLS.
    pub(crate) fn credentials(&self) -> &Credentials {
        self.credentials.as_ref().expect("it speaks TLS")
    }

    /// What a peer begins TLS of this version with.
    pub(crate) fn client(&self, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
        self.credentials().client(version)
    }

    pub(crate) fn serve(root: &Path) -> Self {
        Launch::serve(root).start()
    }

    fn start(launch: &Launch) -> Self {
        let mut child = launch.command().spawn().expect("the command starts");
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&log);
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        thread::spawn(move || {
            for line in stderr.split(b'\n').map_while(Result::ok) {
                let text = String::from_utf8_lossy(&line).into_owned();
                lines.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), text));
            }
        });
        let (sender, receiver) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let (upgrade, credentials) = (launch.upgrade.clone(), launch.credentials.clone());
        let tls = credentials.as_ref().map(|credentials| credentials.client(&rustls::version::TLS13));
        let mut server = Self { child, authority: String::new(), upgrade, tls, credentials, log };
        let Ok(line) = receiver.recv_timeout(PATIENCE) else {
            panic!("{:?} did not print its address", launch.arguments)
        };
        let url = line.strip_prefix("listening on ").unwrap_or_else(|| panic!("not an address: {line:?}"));
        let authority = url.split_once("://").and_then(|(_, rest)| rest.strip_suffix('/')).unwrap_or(url);
        authority.clone_into(&mut server.authority);
        server
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.authority.parse().unwrap_or_else(|_| panic!("not an IP address and port: {}", self.authority))
    }

    pub(crate) fn process(&self) -> Process {
        Process(self.child.id())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("own child");
    }

    pub(crate) fn assert_alive(&mut self) {
        if let Some(status) = self.child.try_wait().expect("own child") {
            panic!("the server ended: {status}");
        }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("own child").is_some()
    }

    /// Its exit, which must come within `limit`.
    pub(crate) fn exit(&mut self, limit: Duration) -> ExitStatus {
        let mut status = None;
        eventually("the server ends", limit, || {
            status = self.child.try_wait().expect("own child");
            status.is_some()
        });
        status.expect("just seen")
    }

    /// What it logged since `start`.
    pub(crate) fn log_since(&self, start: Instant) -> Vec<Line> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().filter(|(time, _)| *time >= start).cloned().collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            for (_, line) in log.iter().rev().take(20).rev() {
                eprintln!("server: {line}");
            }
        }
    }
}
