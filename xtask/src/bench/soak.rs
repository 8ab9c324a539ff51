//! Many connections held for long, with keepalive on: whether one is lost, and what they cost the server.
//!
//! Two processes, each with its own limit of descriptors: the server, and the example `hold`, which connects, answers pings and at
//! the end asks each connection for an echo. What the server uses is read from `/proc` each second, between the last connect
//! and the first echo.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use super::{
    Programs, reading,
    table::{Table, short},
};
use crate::{
    gate::{Checks, Failure},
    output::say,
    process::{Server, shown},
    rust,
    workspace::Workspace,
};

/// What is held, for how long, and by which loop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) connections: u64,
    pub(crate) seconds: u64,
    /// By the example of a bare poll(2) loop instead of `sockeye echo`. What it costs is only told: poll(2) looks at every
    /// descriptor in every turn.
    pub(crate) external: bool,
}

impl Plan {
    /// So short that the gate can afford it, and long enough for a ping of each.
    pub(crate) const SHORT: Self = Self { connections: 2000, seconds: 32, external: false };
}

/// Row LD01 of the abuse matrix.
const CPU_PERCENT: f64 = 5.0;
const BYTES: f64 = 2048.0;

/// A peer that is silent is pinged after 25 s, and at the latest a second later.
const PING_SECONDS: u64 = 26;

// Short, but not too short for that.
const _: () = assert!(Plan::SHORT.seconds >= PING_SECONDS);

/// Connecting, and the echoes at the end.
const PATIENCE: Duration = Duration::from_secs(120);

/// Holds the connections, prints the table, and judges it.
pub(crate) fn run(workspace: &Workspace, plan: Plan) -> Result<Checks, Failure> {
    let programs = Programs::command(workspace)?;
    rust::examples(workspace)?;
    let binary = if plan.external { workspace.example("poll_loop") } else { workspace.binary() };
    let words: &[&str] = if plan.external { &["127.0.0.1:0"] } else { &["echo", "--port", "0"] };
    let server = programs.server(&[], &[&[&*binary.to_string_lossy()], words].concat())?;
    let before = Usage::of(server.pid())?;
    let held = hold(workspace, &server, plan)?;
    server.stop()?;
    report(plan, before, &held)
}

/// What the server uses, and when.
#[derive(Clone, Copy, Debug)]
struct Usage {
    at: Instant,
    /// In ticks of the kernel, user and system together.
    ticks: u64,
    resident: u64,
}

impl Usage {
    fn of(pid: u32) -> Result<Self, Failure> {
        let read = |name: &str| {
            let path = format!("/proc/{pid}/{name}");
            fs::read_to_string(&path).map_err(|error| format!("the server is gone: {path}: {error}"))
        };
        let (stat, status) = (read("stat")?, read("status")?);
        let resident = reading::kilobytes(&status, "VmRSS").ok_or("the server has ended")? * 1024;
        let ticks = reading::ticks(&stat).ok_or("the processor time of the server cannot be read")?;
        Ok(Self { at: Instant::now(), ticks, resident })
    }
}

/// What was seen of the server, and what the example `hold` said.
struct Held {
    first: Usage,
    last: Usage,
    said: String,
}

fn hold(workspace: &Workspace, server: &Server, plan: Plan) -> Result<Held, Failure> {
    let mut command = Command::new(workspace.example("hold"));
    command.args([server.url(), &plan.connections.to_string(), &plan.seconds.to_string()]);
    let shown = shown(&command);
    say!("$ {shown}");
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn();
    let mut holder = Holder(child.map_err(|error| format!("cannot run `{shown}`: {error}"))?);
    let lines = holder.lines();
    let deadline = Instant::now() + Duration::from_secs(plan.seconds) + PATIENCE;
    let (mut first, mut last, mut said) = (None, None, String::new());
    loop {
        match lines.recv_timeout(Duration::from_secs(1)) {
            Ok(line) => {
                say!("{line}");
                if line == "all open" {
                    first = Some(Usage::of(server.pid())?);
                }
                said += &line;
                said.push(' ');
            }
            // Nothing else happens in the second before the echoes are asked for.
            Err(RecvTimeoutError::Timeout) if said.contains("held=") => {}
            Err(RecvTimeoutError::Timeout) => {
                let within = |first: &Usage| first.at.elapsed() < Duration::from_secs(plan.seconds);
                if first.as_ref().is_some_and(within) {
                    last = Some(Usage::of(server.pid())?);
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if Instant::now() > deadline {
            let waited = plan.seconds + PATIENCE.as_secs();
            return Err(format!("`{shown}` did not end within {waited} s; it said: {said}").into());
        }
    }
    match (first, last) {
        (Some(first), Some(last)) => Ok(Held { first, last, said }),
        _ => Err(format!("`{shown}` held nothing: {said}").into()),
    }
}

/// Ended when dropped.
struct Holder(Child);

impl Holder {
    fn lines(&mut self) -> Receiver<String> {
        let (sender, receiver) = mpsc::channel();
        let stdout = self.0.stdout.take();
        thread::spawn(move || {
            let lines = stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines().map_while(Result::ok));
            lines.for_each(|line| _ = sender.send(line));
        });
        receiver
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn report(plan: Plan, before: Usage, held: &Held) -> Result<Checks, Failure> {
    let said = |name: &str| reading::number(&held.said, name).unwrap_or(f64::NAN);
    let connections = plan.connections as f64;
    let seconds = (held.last.at - held.first.at).as_secs_f64();
    let percent =
        (held.last.ticks - held.first.ticks) as f64 / rustix::param::clock_ticks_per_second() as f64 / seconds * 100.0;
    let bytes = |usage: Usage| usage.resident.saturating_sub(before.resident) as f64 / connections;
    let pings = (plan.seconds / PING_SECONDS) as f64 * connections;
    let rows = [
        Row { name: "held at the end, and answered", value: said("answered"), goal: Goal::AtLeast(connections) },
        Row { name: "lost", value: said("lost"), goal: Goal::AtMost(0.0) },
        Row { name: "pings answered", value: said("pongs"), goal: Goal::AtLeast(pings) },
        Row { name: "CPU of the server, percent", value: percent, goal: cheap(plan, CPU_PERCENT) },
        Row { name: "resident bytes a connection, once open", value: bytes(held.first), goal: cheap(plan, BYTES) },
        Row { name: "resident bytes a connection, at the end", value: bytes(held.last), goal: cheap(plan, BYTES) },
        Row { name: "resident bytes of the server before", value: before.resident as f64, goal: Goal::None },
        Row { name: "resident bytes of the server at the end", value: held.last.resident as f64, goal: Goal::None },
    ];
    let mut table = Table::new(&["figure", "measured", "goal", "verdict"]);
    let mut checks = Checks::default();
    for row in &rows {
        let met = row.goal.is_met(row.value);
        checks += match row.goal {
            Goal::None => Checks::default(),
            _ if met => Checks::passed(1),
            _ => Checks { passed: 0, failed: 1 },
        };
        let verdict = match row.goal {
            Goal::None => "",
            _ if met => "met",
            _ => "MISSED",
        };
        table.row([row.name.to_owned(), short(row.value), row.goal.shown(), verdict.to_owned()]);
    }
    let whose = if plan.external { "a poll(2) loop" } else { "sockeye echo" };
    say!("\n{connections} connections to {whose}, observed for {seconds:.0} s:\n\n{table}");
    match checks.failed {
        0 => Ok(checks),
        missed => Err(Failure::new(format!("{missed} goals are missed"), checks)),
    }
}

fn cheap(plan: Plan, most: f64) -> Goal {
    if plan.external { Goal::None } else { Goal::AtMost(most) }
}

struct Row {
    name: &'static str,
    value: f64,
    goal: Goal,
}

enum Goal {
    AtLeast(f64),
    AtMost(f64),
    None,
}

impl Goal {
    /// What is no number meets none.
    fn is_met(&self, value: f64) -> bool {
        match *self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
            Self::None => true,
        }
    }

    fn shown(&self) -> String {
        match *self {
            Self::AtLeast(least) => format!("at least {least}"),
            Self::AtMost(most) => format!("at most {most}"),
            Self::None => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_meets_no_goal() {
        assert!(Goal::AtMost(0.0).is_met(0.0) && !Goal::AtMost(0.0).is_met(1.0) && !Goal::AtMost(0.0).is_met(f64::NAN));
        assert!(Goal::AtLeast(2.0).is_met(2.0) && !Goal::AtLeast(2.0).is_met(1.0));
        assert!(!Goal::AtLeast(0.0).is_met(f64::NAN));
    }
}
