//! The processes: servers and their broker.

use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use crate::machine::{Machine, SERVER};

/// How long a process may take until it is ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder of a test, removed at the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("sockeye-cluster-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A child that does not outlive us.
struct Owned(Child);

impl Owned {
    fn kill(&mut self) {
        self.0.kill().expect("a process that runs");
        self.0.wait().expect("the end of the process");
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What stands between the servers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Redis,
    Nats,
}

impl Kind {
    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Nats => "nats",
        }
    }
}

/// A broker that keeps what it has in a folder.
pub(crate) struct Broker {
    kind: Kind,
    interface: Ipv4Addr,
    port: u16,
    folder: PathBuf,
    child: Option<Owned>,
}

impl Broker {
    pub(crate) fn start(kind: Kind, interface: Ipv4Addr, folder: &Path) -> Self {
        let folder = folder.join("broker");
        fs::create_dir_all(&folder).expect("a folder");
        let mut broker = Self { kind, interface, port: free_port(), folder, child: None };
        broker.run();
        broker
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Ends it at once, as a crash does.
    pub(crate) fn kill(&mut self) {
        self.child.take().expect("a broker that runs").kill();
    }

    /// Starts it, with what it has kept, and waits until it is ready.
    pub(crate) fn run(&mut self) {
        let (program, package, words) = match self.kind {
            Kind::Redis => ("redis-server", "redis-server", "Ready to accept connections"),
            // Where it is on Debian, for users whose search path lacks it.
            Kind::Nats => ("/usr/sbin/nats-server", "nats-server", "Server is ready"),
        };
        let mut command = Command::new(program);
        let interface = self.interface.to_string();
        match self.kind {
            Kind::Redis => {
                command.args(["--bind", &interface, "--port", &self.port.to_string(), "--save", ""]);
                command.args(["--protected-mode", "no"]);
                command.args(["--appendonly", "yes", "--dir"]).arg(&self.folder);
            }
            Kind::Nats => {
                command.args(["--addr", &interface, "--port", &self.port.to_string()]);
                command.args(["--jetstream", "--store_dir"]).arg(&self.folder);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child =
            command.spawn().unwrap_or_else(|error| panic!("{program}: {error}; type: apt-get install {package}"));
        let mut child = Owned(child);
        let (sender, lines) = mpsc::channel();
        forward(child.0.stdout.take(), sender.clone());
        forward(child.0.stderr.take(), sender);
        wait_for(&lines, |line| line.contains(words).then_some(()), program, words)
            .unwrap_or_else(|error| panic!("{error}"));
        self.child = Some(child);
    }
}

/// A `sockeye serve --topics`.
pub(crate) struct Server {
    arguments: Vec<String>,
    interface: String,
    /// 0 before the first start.
    port: u16,
    log: PathBuf,
    /// Where it lives, if not here.
    machine: Option<Machine>,
    child: Option<Owned>,
}

impl Server {
    /// `number` counts from 0. Each has an address of its own: no other socket takes its port while it is away.
    pub(crate) fn start(number: usize, backplane: &str, history: u32, folder: &Path, machine: Option<Machine>) -> Self {
        let history = history.to_string();
        let arguments = ["--topics", "--open-publish", "--history", &history, "--backplane", backplane];
        let mut server = Self {
            arguments: arguments.map(str::to_owned).to_vec(),
            interface: if machine.is_some() { SERVER.to_owned() } else { format!("127.0.0.{}", number + 2) },
            port: 0,
            log: folder.join(format!("server-{number}.log")),
            machine,
            child: None,
        };
        server.run();
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}:{}/topics", self.interface, self.port)
    }

    /// That which it has for itself.
    pub(crate) fn machine(&self) -> &Machine {
        self.machine.as_ref().expect("a machine of its own")
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.log.clone()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn kill(&mut self) {
        self.child.take().expect("a server that runs").kill();
    }

    /// Starts it, on the port that it had, and waits until it listens.
    pub(crate) fn run(&mut self) {
        let log = File::options().create(true).append(true).open(&self.log).expect("a log");
        let mut command = Command::new(sockeye_release_tests::command());
        command.args(["serve", "--interface", &self.interface, "--port", &self.port.to_string()]);
        for variable in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"]
        {
            command.env_remove(variable);
        }
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let child = match &self.machine {
            Some(machine) => machine.spawn(command),
            None => command.spawn(),
        };
        let mut child = Owned(child.expect("sockeye"));
        let (sender, lines) = mpsc::channel();
        forward(child.0.stdout.take(), sender);
        let words = "listening on";
        let port = |line: &str| line.strip_prefix(words)?.trim_end_matches('/').rsplit_once(':')?.1.parse().ok();
        self.port = wait_for(&lines, port, "sockeye serve", words)
            .unwrap_or_else(|error| panic!("{error}; its log: {}", self.log()));
        self.child = Some(child);
    }
}

/// Reads to the end, so that the process never waits for a full pipe.
fn forward(source: Option<impl Read + Send + 'static>, sender: Sender<String>) {
    let source = BufReader::new(source.expect("a pipe"));
    thread::spawn(move || {
        for line in source.lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
}

fn wait_for<R>(
    lines: &Receiver<String>,
    wanted: impl Fn(&str) -> Option<R>,
    who: &str,
    words: &str,
) -> Result<R, String> {
    let mut seen = Vec::new();
    loop {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) => match wanted(&line) {
                Some(found) => return Ok(found),
                None => seen.push(line),
            },
            Err(error) => return Err(format!("{who} did not say {words:?} ({error}); it said {seen:#?}")),
        }
    }
}

/// For programs that cannot say which one they took.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}
