//! A nats-server on a port of its own, ended with the value.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    folder: PathBuf,
    is_kept: bool,
}

impl Server {
    /// With `configuration` in its file.
    pub(crate) fn start(configuration: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("nats-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).expect("a folder for the server");
        let store = folder.join("store");
        let text =
            format!("listen: \"127.0.0.1:-1\"\n{}\n", configuration.replace("STORE", &store.display().to_string()));
        fs::write(folder.join("server.conf"), text).expect("the server's configuration");
        Self::launch(folder)
    }

    pub(crate) fn with_jetstream() -> Self {
        Self::start(JETSTREAM)
    }

    fn launch(folder: PathBuf) -> Self {
        let spawn = |program: &str| {
            let mut command = Command::new(program);
            command.arg("-c").arg(folder.join("server.conf")).stdin(Stdio::null()).stdout(Stdio::null());
            command.stderr(Stdio::piped()).spawn()
        };
        let child = match spawn("nats-server") {
            Err(error) if error.kind() == ErrorKind::NotFound => spawn("/usr/sbin/nats-server"),
            child => child,
        };
        let mut child = child.unwrap_or_else(|error| panic!("nats-server: {error}; apt-get install nats-server"));
        let log = BufReader::new(child.stderr.take().expect("its log"));
        let (sender, lines) = mpsc::channel();
        // It reads to the end, so that the server never waits for its log.
        thread::spawn(move || log.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
        let (mut address, mut seen) = (None, Vec::new());
        let address = loop {
            let line = match lines.recv_timeout(Duration::from_secs(30)) {
                Ok(line) => line,
                Err(error) => panic!("nats-server does not say that it is ready: {error}\n{}", seen.join("\n")),
            };
            if let Some((_, listening)) = line.split_once("Listening for client connections on ") {
                address = listening.trim().parse().ok();
            }
            if line.contains("Server is ready") {
                break address.expect("an address in the log");
            }
            seen.push(line);
        };
        Self { child, address, folder, is_kept: false }
    }

    /// Ends it at once, as a crash would, and starts it again with what it has on disk.
    pub(crate) fn crash_and_restart(mut self) -> Self {
        self.is_kept = true;
        let folder = self.folder.clone();
        drop(self);
        Self::launch(folder)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGKILL.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !self.is_kept {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

pub(crate) const JETSTREAM: &str = "jetstream { store_dir: \"STORE\" }";
