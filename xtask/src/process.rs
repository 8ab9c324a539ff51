//! Programs run from here: every wait has a deadline, and whatever was started is ended, children included.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{output::say, processor};

/// How often an ended program is looked for.
const POLL: Duration = Duration::from_millis(10);

/// How long a server may take until it listens.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a program may be silent until it is looked at whether it has ended.
const POLL_OUTPUT: Duration = Duration::from_millis(500);

/// From the polite request to end until the impolite one.
const GRACE: Duration = Duration::from_secs(10);

/// What a program that ended by itself, in time, has said.
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) lines: Vec<String>,
}

impl Output {
    /// The output of a program that must succeed.
    pub(crate) fn success(self, shown: &str) -> Result<Self, String> {
        if self.status.success() { Ok(self) } else { Err(format!("`{shown}` failed ({})", self.status)) }
    }
}

/// The command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut words = vec![program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|argument| argument.to_string_lossy().into_owned()));
    words.join(" ")
}

/// Runs a program, passing on what it prints as it comes, and keeping it. It is ended when it outlives `limit`.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Result<Output, String> {
    let shown = shown(command);
    say!("$ {shown}");
    let (start, spent) = (Instant::now(), processor::spent());
    let output = collect(command, limit, &shown, true)?;
    let (time, work) = (start.elapsed().as_secs_f64(), (processor::spent() - spent).as_secs_f64());
    say!("  {time:.1} s, {work:.1} s of processors: $ {shown}");
    Ok(output)
}

/// Runs a program whose output is only wanted as a value.
pub(crate) fn read(command: &mut Command, limit: Duration) -> Result<Output, String> {
    let shown = shown(command);
    collect(command, limit, &shown, false)
}

fn collect(command: &mut Command, limit: Duration, shown: &str, echo: bool) -> Result<Output, String> {
    let start = Instant::now();
    let deadline = start + limit;
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = Owned(child.map_err(|error| format!("cannot run `{shown}`: {error}"))?);
    let pipes = Pipes::of(&child.0);
    let (sender, receiver) = mpsc::channel();
    forward_lines(child.0.stdout.take(), sender.clone());
    forward_lines(child.0.stderr.take(), sender);
    let mut lines: Vec<String> = Vec::new();
    let mut ended: Option<Instant> = None;
    loop {
        let now = Instant::now();
        // A program that has ended may have left others behind that have its output open, and never close it.
        let until = ended.map_or(deadline, |ended| (ended + GRACE).min(deadline));
        if now >= until {
            let waited = start.elapsed().as_secs();
            let what = if ended.is_some() { "ended, but its output is open" } else { "did not end" };
            let running = pipes.holders();
            pipes.end_holders();
            let last = lines.last().map(String::as_str).unwrap_or_default();
            return Err(format!(
                "`{shown}` {what} after {waited} s; what runs of it was ended:\n{running}\nIts last line: {last}"
            ));
        }
        match receiver.recv_timeout(POLL_OUTPUT.min(until - now)) {
            Ok(line) => {
                if echo {
                    say!("{line}");
                }
                lines.push(line);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                ended = ended.or_else(|| child.has_ended().then(Instant::now));
            }
        }
    }
    let status = child.wait_until(deadline.max(Instant::now() + GRACE));
    let status =
        status.ok_or_else(|| format!("`{shown}` closed its output, but did not end within {} s", limit.as_secs()))?;
    Ok(Output { status, lines })
}

/// The outputs of a program: whoever has one open was started by it.
struct Pipes(Vec<PathBuf>);

impl Pipes {
    fn of(child: &Child) -> Self {
        let outputs = [child.stdout.as_ref().map(AsRawFd::as_raw_fd), child.stderr.as_ref().map(AsRawFd::as_raw_fd)];
        let names = outputs.into_iter().flatten().map(|fd| fs::read_link(format!("/proc/self/fd/{fd}")));
        Self(names.flatten().collect())
    }

    fn processes(&self) -> Vec<Pid> {
        let own = std::process::id().to_string();
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let others = names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()) && *name != own);
        let holds = |name: &String| {
            let open = fs::read_dir(format!("/proc/{name}/fd")).into_iter().flatten().flatten();
            open.filter_map(|fd| fs::read_link(fd.path()).ok()).any(|link| self.0.contains(&link))
        };
        others.filter(holds).filter_map(|name| Pid::from_raw(name.parse().ok()?)).collect()
    }

    /// The numbers and command lines of those that have one open.
    fn holders(&self) -> String {
        let line = |pid: &Pid| {
            let number = pid.as_raw_nonzero();
            let words = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
            format!("  {number} {}", String::from_utf8_lossy(&words).replace('\0', " "))
        };
        let lines: Vec<String> = self.processes().iter().map(line).collect();
        if lines.is_empty() { "  nothing".to_owned() } else { lines.join("\n") }
    }

    fn end_holders(&self) {
        for pid in self.processes() {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

fn forward_lines(source: Option<impl Read + Send + 'static>, sender: Sender<String>) {
    let Some(source) = source else { return };
    thread::spawn(move || {
        let mut reader = BufReader::new(source);
        let mut line = Vec::new();
        while let Ok(1..) = reader.read_until(b'\n', &mut line) {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
            line.clear();
            // A receiver that is gone wants nothing more, but the program must not block on a full pipe.
            let _ = sender.send(text);
        }
    });
}

/// A TCP port of 127.0.0.1 that nobody listens on, for programs that cannot say which one they took.
pub(crate) fn free_port() -> Result<u16, String> {
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    address.map(|address| address.port()).map_err(|error| format!("no free port on 127.0.0.1: {error}"))
}

/// A `sockeye serve` or `sockeye echo` that listens. Dropping it ends it.
pub(crate) struct Server {
    child: Owned,
    shown: String,
    url: String,
    log: PathBuf,
    stdout: Receiver<String>,
}

impl Server {
    /// Starts `binary` and waits until it says where it listens. What it logs goes to the file `log`.
    pub(crate) fn start(binary: &Path, arguments: &[&str], log: PathBuf) -> Result<Self, String> {
        Self::start_command(Command::new(binary).args(arguments), log)
    }

    /// The same with any program that keeps to it.
    pub(crate) fn start_command(command: &mut Command, log: PathBuf) -> Result<Self, String> {
        let shown = shown(command);
        say!("$ {shown} &");
        let errors = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors).spawn();
        let mut child = Owned(child.map_err(|error| format!("cannot run `{shown}`: {error}"))?);
        let (sender, stdout) = mpsc::channel();
        forward_lines(child.0.stdout.take(), sender);
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) = stdout.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            if let Some(url) = line.strip_prefix("listening on ") {
                // A site is told as one that a browser opens.
                let url = url.trim();
                let url = url.strip_prefix("http").map_or_else(|| url.to_owned(), |rest| format!("ws{rest}"));
                return Ok(Self { child, shown, url, log, stdout });
            }
        }
        let waited = PATIENCE.as_secs();
        Err(format!("`{shown}` did not say `listening on URL` within {waited} s; its log ends:\n{}", tail(&log)))
    }

    /// `ws://HOST:PORT/`, or `wss:` with TLS.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The process that was started: the server, or what it runs below.
    pub(crate) fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// Waits until it has logged this.
    pub(crate) fn logged(&self, text: &str) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while !String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).contains(text) {
            if Instant::now() >= deadline {
                return Err(format!("`{}` did not log {text:?}; its log ends:\n{}", self.shown, tail(&self.log)));
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Waits until it ends by itself, with exit code 0.
    pub(crate) fn end(mut self) -> Result<(), String> {
        match self.child.wait_until(Instant::now() + GRACE) {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(format!("`{}` ended with {status}; its log ends:\n{}", self.shown, tail(&self.log))),
            None => Err(format!("`{}` did not end within {} s", self.shown, GRACE.as_secs())),
        }
    }

    /// Asks it to end; it must do so by itself and with exit code 0.
    ///
    /// A tracer does not pass signals on, so the process furthest below it is asked.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        let ended = processor::collect(&mut self.child.0).ok().flatten();
        if let Some(status) = ended {
            return Err(format!(
                "`{}` ended while it was tested ({status}); its log ends:\n{}",
                self.shown,
                tail(&self.log)
            ));
        }
        match descendants(self.child.0.id()).last() {
            Some(traced) => drop(kill_process(*traced, Signal::TERM)),
            None => self.child.signal(Signal::TERM),
        }
        match self.child.wait_until(Instant::now() + GRACE) {
            Some(status) if status.success() => {}
            Some(status) => return Err(format!("`{}` ended with {status} on SIGTERM", self.shown)),
            None => return Err(format!("`{}` did not end within {} s of SIGTERM", self.shown, GRACE.as_secs())),
        }
        drop(self.stdout);
        Ok(())
    }
}

/// A program of others that listens on a port it was given, and says nothing of it. Dropping it ends it.
pub(crate) struct Foreign {
    child: Owned,
    shown: String,
    port: u16,
    log: PathBuf,
}

impl Foreign {
    /// Starts what `command` makes for a free port of 127.0.0.1, and waits until it listens. What it prints goes to the file
    /// `log`.
    pub(crate) fn start(command: impl FnOnce(u16) -> Result<Command, String>, log: PathBuf) -> Result<Self, String> {
        let port = free_port()?;
        let mut command = command(port)?;
        let shown = shown(&command);
        say!("$ {shown} &");
        let output = File::create(&log).and_then(|output| Ok((output.try_clone()?, output)));
        let (output, errors) = output.map_err(|error| format!("{}: {error}", log.display()))?;
        let child = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn();
        let child = Owned(child.map_err(|error| format!("cannot run `{shown}`: {error}"))?);
        let mut foreign = Self { child, shown, port, log };
        let deadline = Instant::now() + PATIENCE;
        let place = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        while TcpStream::connect_timeout(&place, PATIENCE).is_err() {
            foreign.check()?;
            if Instant::now() >= deadline {
                let waited = PATIENCE.as_secs();
                let (shown, log) = (&foreign.shown, tail(&foreign.log));
                return Err(format!("`{shown}` does not listen after {waited} s; its log ends:\n{log}"));
            }
            thread::sleep(POLL);
        }
        foreign.check()?;
        Ok(foreign)
    }

    /// It listens on this port of 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// How often `text` is in what it has printed so far.
    pub(crate) fn printed(&self, text: &str) -> usize {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).matches(text).count()
    }

    /// It must be running still.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        let Some(status) = processor::collect(&mut self.child.0).ok().flatten() else { return Ok(()) };
        Err(format!("`{}` ended while it was needed ({status}); its log ends:\n{}", self.shown, tail(&self.log)))
    }
}

/// A child that does not outlive us.
struct Owned(Child);

impl Owned {
    fn wait_until(&mut self, deadline: Instant) -> Option<ExitStatus> {
        loop {
            if let Ok(Some(status)) = processor::collect(&mut self.0) {
                return Some(status);
            }
            if Instant::now() >= deadline {
                return None;
            }
            thread::sleep(POLL);
        }
    }

    fn has_ended(&mut self) -> bool {
        matches!(processor::collect(&mut self.0), Ok(Some(_)))
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        // Found first: once their parent is gone, nothing tells whose children they were.
        let descendants = descendants(self.0.id());
        self.signal(Signal::TERM);
        if self.wait_until(Instant::now() + GRACE).is_none() {
            let _ = self.0.kill();
            // A program that the kernel cannot end is left to it.
            let _ = self.wait_until(Instant::now() + GRACE);
        }
        for pid in descendants {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// The processes below `pid`, deepest last.
fn descendants(pid: u32) -> Vec<Pid> {
    let mut all = Vec::new();
    let mut parents = vec![pid.to_string()];
    while let Some(parent) = parents.pop() {
        let Ok(threads) = fs::read_dir(format!("/proc/{parent}/task")) else { continue };
        for thread in threads.flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            for child in children.split_whitespace() {
                all.extend(child.parse().ok().and_then(Pid::from_raw));
                parents.push(child.to_owned());
            }
        }
    }
    all
}

/// The last lines of a log, for a message of failure.
pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    /// Nobody may have collected its exit code yet, but it does not run.
    fn is_running(pid: Pid) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).is_some_and(|state| state != 'Z')
    }

    #[test]
    fn output_of_both_kinds_is_kept() {
        let output = read(&mut shell("echo one; echo two >&2; exit 3"), Duration::from_secs(20)).expect("it ends");
        let mut lines = output.lines;
        lines.sort();
        assert_eq!((lines, output.status.code()), (vec!["one".to_owned(), "two".to_owned()], Some(3)));
    }

    #[test]
    fn what_outlives_its_limit_is_ended() {
        let begin = Instant::now();
        let error = read(&mut shell("exec sleep 600"), Duration::from_millis(200)).err().expect("it does not end");
        assert!(error.contains("did not end after") && error.contains("sleep 600"), "{error}");
        assert!(begin.elapsed() < GRACE);
    }

    #[test]
    fn what_is_left_behind_with_the_output_open_is_ended_and_named() {
        let limit = Duration::from_secs(600);
        let error =
            read(&mut shell("echo begun; setsid sleep 601 & exit 0"), limit).err().expect("its output stays open");
        assert!(error.contains("ended, but its output is open") && error.contains("sleep 601"), "{error}");
        assert!(error.contains("Its last line: begun"), "{error}");
    }

    #[test]
    fn children_of_children_are_ended_too() {
        let child = Owned(shell("sleep 600 & wait").spawn().expect("there is a shell"));
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut below = Vec::new();
        while below.is_empty() && Instant::now() < deadline {
            below = descendants(child.0.id());
            thread::sleep(POLL);
        }
        let pid = *below.first().expect("the shell has started its child");
        assert!(is_running(pid));
        drop(child);
        while is_running(pid) && Instant::now() < deadline {
            thread::sleep(POLL);
        }
        assert!(!is_running(pid));
    }

    #[test]
    fn a_server_that_does_not_listen_is_an_error() {
        let log = std::env::temp_dir().join(format!("sockeye-xtask-{}.log", std::process::id()));
        let error = Server::start(Path::new("true"), &[], log.clone()).err().expect("`true` does not listen");
        assert!(error.contains("did not say"), "{error}");
        let _ = fs::remove_file(log);
    }

    #[test]
    fn a_program_that_ends_instead_of_listening_is_an_error() {
        let log = std::env::temp_dir().join(format!("sockeye-xtask-foreign-{}.log", std::process::id()));
        let error = Foreign::start(|_| Ok(shell("echo why; exit 4")), log.clone()).err().expect("it ends");
        assert!(error.contains("ended while it was needed") && error.contains("why"), "{error}");
        let _ = fs::remove_file(log);
    }
}
