//! A Redis server of one test.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio, id};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long anything is waited for.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A server with a folder, which both end with the value.
pub(crate) struct Server {
    folder: PathBuf,
    options: Vec<String>,
    child: Child,
}

impl Server {
    /// Starts a server that saves nothing.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// Starts a server with options of its command line.
    pub(crate) fn with(options: &[&str]) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("sockeye-redis-{}-{count}", id()));
        fs::create_dir_all(&folder).expect("a folder");
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let child = spawn(&folder, &options);
        Self { folder, options, child }
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("socket")
    }

    /// Ends it at once, as a crash does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a server that runs");
        self.child.wait().expect("the end of the server");
    }

    /// Starts it again with what it has saved.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(&self.folder, &self.options);
    }

    /// Sends one command on a connection of its own, and returns the first line of the answer, or the string behind it.
    pub(crate) fn command(&self, arguments: &[&[u8]]) -> String {
        let mut stream = UnixStream::connect(self.socket()).expect("a server");
        stream.set_read_timeout(Some(LIMIT)).expect("a socket");
        let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
        for argument in arguments {
            bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            bytes.extend_from_slice(argument);
            bytes.extend_from_slice(b"\r\n");
        }
        stream.write_all(&bytes).expect("a server that reads");
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).expect("an answer");
        let Some(length) = line.strip_prefix('$') else { return line.trim_end().to_owned() };
        let length = length.trim_end().parse().expect("a length");
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("an answer");
        String::from_utf8_lossy(&body).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Starts a server and waits until it says that it is ready.
fn spawn(folder: &PathBuf, options: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    command.args(["--port", "0", "--save", "", "--dir"]).arg(folder);
    command.arg("--unixsocket").arg(folder.join("socket")).args(options);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("redis-server: {error}; type: apt-get install redis-server"));
    let output = BufReader::new(child.stdout.take().expect("its output"));
    let (sender, lines) = mpsc::channel();
    // Reads on until the server ends, so that it never waits for a full pipe.
    thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let mut seen = Vec::new();
    loop {
        match lines.recv_timeout(LIMIT) {
            Ok(line) if line.to_ascii_lowercase().contains("ready to accept connections") => return child,
            Ok(line) => seen.push(line),
            Err(error) => panic!("redis-server did not say that it is ready ({error}); it said {seen:#?}"),
        }
    }
}
