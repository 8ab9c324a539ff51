//! Runs the built command, and a WebSocket client that is just good enough to look at it from outside.
//!
//! Nothing here sleeps: tests wait for lines, bytes and exits, each at most [`PATIENCE`].

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use sockeye::{Protocol, Service};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A folder of its own for a test, removed at the end.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    /// `what` is in its name.
    pub(crate) fn new(what: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sockeye-{what}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The command that is tested: the one built beside these tests, unless `SOCKEYE_BIN` names another build of it.
pub(crate) fn program() -> OsString {
    std::env::var_os("SOCKEYE_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_sockeye").into())
}

pub(crate) fn sockeye(arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // What this machine says about colours and proxies must not matter.
    command.env_remove("NO_COLOR");
    for variable in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(variable).env_remove(variable.to_uppercase());
    }
    without_manager(&mut command);
    command
}

/// Nor must what a service manager expects of the process that runs the tests.
pub(crate) fn without_manager(command: &mut Command) {
    for variable in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
        command.env_remove(variable);
    }
}

/// Runs to the end, with `input` as standard input: exit code, standard output, standard error.
pub(crate) fn fed(arguments: &[&str], input: &[u8]) -> (Option<i32>, String, String) {
    let mut command = sockeye(arguments);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let (mut writer, input) = (child.stdin.take().unwrap(), input.to_vec());
    // A process that ended early takes no more.
    thread::spawn(move || _ = writer.write_all(&input));
    let output = waited_for(child, &command);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Runs to the end.
pub(crate) fn output(arguments: &[&str]) -> Output {
    finished(&mut sockeye(arguments))
}

pub(crate) fn finished(command: &mut Command) -> Output {
    waited_for(command.spawn().unwrap(), command)
}

fn waited_for(child: Child, command: &Command) -> Output {
    let pid = pid(&child);
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    receiver.recv_timeout(PATIENCE).map_or_else(
        |_| {
            let _ = kill_process(pid, Signal::KILL);
            panic!("it did not end: {command:?}")
        },
        Result::unwrap,
    )
}

/// The exit code and what was written to standard error.
pub(crate) fn failure(arguments: &[&str]) -> (Option<i32>, String) {
    let output = output(arguments);
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// A command that is running. Dropping it kills it.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    log: Receiver<String>,
}

impl Running {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::of(sockeye(arguments).spawn().unwrap())
    }

    pub(crate) fn of(mut child: Child) -> Self {
        let (lines, log) = (lines(child.stdout.take()), lines(child.stderr.take()));
        Self { child, lines, log }
    }

    /// The next line on standard output.
    pub(crate) fn line(&self) -> String {
        self.lines
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| panic!("no line; log: {:?}", self.log.try_iter().collect::<Vec<_>>()))
    }

    /// The next line of the log that has `text` in it.
    pub(crate) fn log_line(&self, text: &str) -> String {
        loop {
            let line = self.log.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no line with {text:?} in the log"));
            if line.contains(text) {
                return line;
            }
        }
    }

    /// `127.0.0.1:PORT` of the next `listening on` line.
    pub(crate) fn address(&self) -> String {
        let line = self.line();
        let url = line.strip_prefix("listening on ").and_then(|url| url.split_once("://"));
        let (_, url) = url.unwrap_or_else(|| panic!("{line}"));
        url.strip_suffix('/').unwrap_or_else(|| panic!("{line}")).to_owned()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(pid(&self.child), signal).unwrap();
    }

    /// Waits until it stands still, after SIGSTOP.
    pub(crate) fn stopped(&self) {
        let status = waitpid(Some(pid(&self.child)), WaitOptions::UNTRACED).unwrap();
        assert!(status.is_some_and(|(_, status)| status.stopped()), "{status:?}");
    }

    /// For how many descriptors the kernel's table has room.
    pub(crate) fn table_size(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("FDSize:")).unwrap();
        line.trim().parse().unwrap()
    }

    /// The processor time it has used, in ticks, of which a second has a hundred.
    pub(crate) fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The name, in parentheses, may have spaces in it; utime and stime are the 14th and the 15th field.
        let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
        fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
    }

    /// Its status, once signals of this kind have ended it. They are repeated, since several at a time are one.
    pub(crate) fn ended_by(self, signal: Signal) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "it did not end");
            self.signal(signal);
            // What it logs does not matter; the log's end does.
            match self.log.recv_timeout(Duration::from_millis(100)) {
                Err(RecvTimeoutError::Disconnected) => return self.ended(),
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Its status, once it has ended by itself.
    pub(crate) fn ended(mut self) -> ExitStatus {
        // The end of the log is the end of the process; threads of it do not outlive it.
        while self.log.recv_timeout(PATIENCE).is_ok() {}
        let pid = pid(&self.child);
        let (sender, receiver) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| sender.send(self.child.wait()));
            receiver.recv_timeout(PATIENCE).unwrap_or_else(|_| {
                let _ = kill_process(pid, Signal::KILL);
                panic!("it did not end")
            })
        })
        .unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

fn lines(source: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    let Some(source) = source else { return receiver };
    thread::spawn(move || {
        for line in BufReader::new(source).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// One answer to a request, up to the end of its body.
pub(crate) fn request(address: &str, text: &str) -> (String, Vec<u8>) {
    let mut stream = connect(address);
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a whole head") + 4;
    (String::from_utf8(answer[..end].to_vec()).unwrap(), answer[end..].to_vec())
}

pub(crate) fn get(address: &str, path: &str) -> (String, Vec<u8>) {
    request(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"))
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// A client's side of one connection. It sends whole messages of less than 64 KiB and reads unfragmented ones.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects and upgrades; gives the head of the answer when it is not 101.
    pub(crate) fn open(address: &str, extra: &str) -> Result<Self, String> {
        Self::open_at(address, "/", extra)
    }

    /// As [`open`](Self::open), with another path and query.
    pub(crate) fn open_at(address: &str, target: &str, extra: &str) -> Result<Self, String> {
        let mut stream = connect(address);
        let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
        write!(
            stream,
            "GET {target} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{key}{extra}\r\n"
        )
        .unwrap();
        let mut stream = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(stream.read_line(&mut head).unwrap(), 0, "{head:?}");
        }
        if head.starts_with("HTTP/1.1 101 ") { Ok(Self { stream }) } else { Err(head) }
    }

    pub(crate) fn speaking(address: &str, protocol: &str) -> Self {
        Self::open(address, &format!("Sec-WebSocket-Protocol: {protocol}\r\n")).unwrap()
    }

    pub(crate) fn send(&mut self, opcode: u8, payload: &[u8]) {
        let mut frame = vec![0x80 | opcode];
        match u16::try_from(payload.len()).unwrap() {
            length @ ..126 => frame.push(0x80 | length as u8),
            length => {
                frame.push(0x80 | 126);
                frame.extend(length.to_be_bytes());
            }
        }
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.stream.get_mut().write_all(&frame).unwrap();
    }

    /// Another end of the same connection, for a thread that reads while this one writes.
    pub(crate) fn reader(&self) -> Self {
        assert!(self.stream.buffer().is_empty());
        Self { stream: BufReader::new(self.stream.get_ref().try_clone().unwrap()) }
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.send(TEXT, text.as_bytes());
    }

    /// The next frame of an unfragmented message: its opcode and payload.
    pub(crate) fn frame(&mut self) -> (u8, Vec<u8>) {
        let (first, payload) = self.any_frame();
        assert_eq!(first & 0xf0, 0x80, "not fragmented");
        (first & 0x0f, payload)
    }

    /// The next frame: its first byte and payload.
    pub(crate) fn any_frame(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).unwrap();
        let mut long = [0; 2];
        let length = match head[1] {
            length @ ..126 => usize::from(length),
            126 => {
                self.stream.read_exact(&mut long).unwrap();
                usize::from(u16::from_be_bytes(long))
            }
            _ => panic!("a longer frame than any test asks for"),
        };
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).unwrap();
        (head[0], payload)
    }

    pub(crate) fn expect(&mut self, text: &str) {
        assert_eq!(self.frame(), (TEXT, text.as_bytes().to_vec()), "{text}");
    }

    /// Reads to the Close frame and returns its code.
    pub(crate) fn closed(&mut self) -> u16 {
        loop {
            let (opcode, payload) = self.frame();
            if opcode == CLOSE {
                return u16::from_be_bytes([payload[0], payload[1]]);
            }
        }
    }
}

/// A server of ours in a thread of this process, for what the command's own servers do not do. Gives `127.0.0.1:PORT`.
pub(crate) fn service<P: Protocol>(protocol: impl FnOnce() -> P + Send + 'static) -> String {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut service = Service::builder().fallback(protocol()).listen("127.0.0.1:0").build().unwrap();
        sender.send(service.local_addresses()[0].to_string()).unwrap();
        let _ = service.run();
    });
    receiver.recv_timeout(PATIENCE).unwrap()
}
