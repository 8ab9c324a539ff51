//! Exact counts for an echoed message: system calls, user instructions, and bytes of an idle connection.
//!
//! Each is the difference of a longer run and a shorter one, divided by the messages between them, so that what happens
//! once cancels out.

use std::{collections::BTreeMap, fs, path::Path};

use super::{
    Programs, reading, require,
    table::{Table, short},
};
use crate::{
    gate::{Checks, Failure},
    output::say,
    process::Server,
    workspace::Workspace,
};

/// What is sent, how many messages of each connection in the shorter and in the longer run, and the goals: what was measured last,
/// and a little more.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) connections: u64,
    pub(super) flight: &'static str,
    pub(super) size: &'static str,
    pub(super) messages: [u64; 2],
    /// Waits apart; `None`: they are not counted here.
    calls: Option<f64>,
    instructions: f64,
    /// Without the wide registers that masking takes where they are.
    instructions_narrow: f64,
}

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "20 B, 1 in flight",
        connections: 50,
        flight: "1",
        size: "20",
        messages: [80, 480],
        calls: Some(2.0),
        instructions: 755.0,
        instructions_narrow: 755.0,
    },
    Scenario {
        name: "20 B, 16 in flight",
        connections: 50,
        flight: "16",
        size: "20",
        messages: [80, 880],
        calls: Some(0.135),
        instructions: 322.0,
        instructions_narrow: 322.0,
    },
    Scenario {
        name: "16 KiB, 1 in flight",
        connections: 50,
        flight: "1",
        size: "16384",
        messages: [20, 100],
        calls: Some(2.0),
        instructions: 2500.0,
        instructions_narrow: 4550.0,
    },
    Scenario {
        name: "20 B, each in a turn of its own",
        connections: 1,
        flight: "1",
        size: "20",
        messages: [1000, 5000],
        calls: None,
        instructions: 1355.0,
        instructions_narrow: 1355.0,
    },
];

pub(super) const IDLE: &str = "9000";
/// 290 to 309 were measured, of builds that differ in nothing that a connection has: the heap grows by steps that are 6 bytes
/// for each of so many connections.
const IDLE_BYTES: f64 = 315.0;

/// Calls of `epoll_wait` a message: each returns the events of many connections, of more the busier the server is. On an
/// idle machine they are 0.02 to 0.04.
const WAITS: f64 = 0.3;

/// A goal is missed when it is exceeded by more than this share: what the counts vary by.
const TOLERANCE: f64 = 0.02;

/// A server that echoes: its words, and a variable that it runs with.
pub(super) struct Subject {
    variable: Option<String>,
    words: Vec<String>,
}

impl Subject {
    /// `sockeye echo`.
    pub(super) fn command(programs: &Programs<'_>) -> Self {
        let words = [&text(&programs.workspace.binary()), "echo", "--port", "0"].map(str::to_owned);
        Self { variable: None, words: words.into() }
    }

    /// A program with `NAME=value` in its environment.
    pub(super) fn with(variable: String, program: &Path) -> Self {
        Self { variable: Some(variable), words: vec![text(program)] }
    }

    /// Starts it below `tracer`, which may be no words at all.
    pub(super) fn start(&self, programs: &Programs<'_>, tracer: &[&str]) -> Result<Server, Failure> {
        // It becomes what it runs, so the process is the same.
        let variable = self.variable.iter().flat_map(|variable| ["env", variable.as_str()]);
        let before: Vec<&str> = variable.chain(tracer.iter().copied()).collect();
        programs.server(&before, &self.words.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

/// Prints the table. Goals that are missed are a failure, unless they are only to be reported.
pub(crate) fn run(workspace: &Workspace, report_only: bool) -> Result<Checks, Failure> {
    require(&["strace", "valgrind"])?;
    let programs = Programs::build_to_count(workspace)?;
    let mut report =
        Report { table: Table::new(&["figure", "measured", "goal", "verdict"]), checks: Checks::default() };
    let mut kinds = String::new();
    let subject = Subject::command(&programs);
    for scenario in SCENARIOS {
        let Some(goal) = scenario.calls else { continue };
        let mut calls = calls(&programs, &subject, scenario)?;
        let sum: f64 = calls.values().sum();
        kinds += &format!("{}: {sum:.3}: {}\n", scenario.name, by_kind(&calls));
        let waits = calls.remove("epoll_wait").unwrap_or_default();
        report.figure(&format!("system calls but waits, {}", scenario.name), calls.values().sum(), goal);
        report.figure(&format!("waits, {}", scenario.name), waits, WAITS);
    }
    for scenario in SCENARIOS {
        let goal = if has_wide_registers() { scenario.instructions } else { scenario.instructions_narrow };
        let instructions = least_instructions(&programs, &subject, scenario, goal)?;
        report.figure(&format!("user instructions, {}", scenario.name), instructions, goal);
    }
    let server = subject.start(&programs, &[])?;
    let idle = programs.load(&server, &["idle", "--connections", IDLE, "--size", "1024"])?;
    server.stop()?;
    for (when, name) in [("after the upgrade", "after_upgrade"), ("after 1 KiB", "after_message")] {
        let bytes = reading::number(&idle, name).ok_or("`load` did not tell the memory")?;
        report.figure(&format!("bytes of an idle connection, {when}"), bytes, IDLE_BYTES);
    }
    say!("\nSystem calls a message, by kind:\n{kinds}\n{}", report.table);
    say!("Profiles: callgrind_annotate {}/callgrind.*", programs.folder()?.display());
    match report.checks.failed {
        missed if missed == 0 || report_only => Ok(report.checks),
        missed => Err(Failure::new(format!("{missed} goals are missed"), report.checks)),
    }
}

struct Report {
    table: Table,
    checks: Checks,
}

impl Report {
    fn figure(&mut self, name: &str, measured: f64, goal: f64) {
        let met = meets(measured, goal);
        self.checks += if met { Checks::passed(1) } else { Checks { passed: 0, failed: 1 } };
        let verdict = if met { "met" } else { "MISSED" };
        self.table.row([name.to_owned(), short(measured), short(goal), verdict.to_owned()]);
    }
}

/// Whether masking takes registers of 256 bits on this machine.
fn has_wide_registers() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// Not when it is no number, either.
fn meets(measured: f64, goal: f64) -> bool {
    measured <= goal * (1.0 + TOLERANCE)
}

/// System calls a message, by kind.
pub(super) fn calls(
    programs: &Programs<'_>,
    subject: &Subject,
    scenario: &Scenario,
) -> Result<BTreeMap<String, f64>, Failure> {
    let mut runs = Vec::new();
    for messages in scenario.messages {
        let summary = programs.folder()?.join("strace");
        let tracer = ["strace", "-f", "-c", "-o", &text(&summary)];
        echo(programs, subject.start(programs, &tracer)?, scenario, messages)?;
        runs.push(reading::calls(&read(&summary)?));
    }
    let each = |(name, longer): (&String, &u64)| {
        let shorter = runs[0].get(name).copied().unwrap_or(0);
        (name.clone(), difference(shorter, *longer, scenario))
    };
    Ok(runs[1].iter().map(each).collect())
}

/// The least of up to three measurements, the first that meets the goal: other work on the machine only adds to it. A loop that
/// was stopped for long in the middle of a turn reads the clock after each callback for a while.
fn least_instructions(
    programs: &Programs<'_>,
    subject: &Subject,
    scenario: &Scenario,
    goal: f64,
) -> Result<f64, Failure> {
    let mut least = f64::INFINITY;
    for _ in 0..3 {
        least = least.min(instructions(programs, subject, scenario)?);
        if meets(least, goal) {
            break;
        }
        say!("{}: {} instructions, goal {}", scenario.name, short(least), short(goal));
    }
    Ok(least)
}

/// User instructions a message.
pub(super) fn instructions(programs: &Programs<'_>, subject: &Subject, scenario: &Scenario) -> Result<f64, Failure> {
    let mut runs = Vec::new();
    for messages in scenario.messages {
        let name = format!("callgrind.{}x{}", scenario.size, scenario.flight);
        let profile = programs.folder()?.join(name);
        let out = format!("--callgrind-out-file={}", text(&profile));
        let tracer = ["valgrind", "--tool=callgrind", &out];
        echo(programs, subject.start(programs, &tracer)?, scenario, messages)?;
        runs.push(reading::instructions(&read(&profile)?).ok_or("callgrind wrote no sum")?);
    }
    Ok(difference(runs[0], runs[1], scenario))
}

/// One run of an echo, whose tracer writes what it found when the server has ended.
fn echo(programs: &Programs<'_>, server: Server, scenario: &Scenario, messages: u64) -> Result<(), Failure> {
    let (connections, messages) = (scenario.connections.to_string(), messages.to_string());
    let mut arguments = vec!["echo", "--connections", &connections, "--messages", &messages];
    arguments.extend(["--flight", scenario.flight, "--size", scenario.size]);
    programs.load(&server, &arguments)?;
    Ok(server.stop()?)
}

fn difference(shorter: u64, longer: u64, scenario: &Scenario) -> f64 {
    let [few, many] = scenario.messages;
    (longer as f64 - shorter as f64) / ((many - few) * scenario.connections) as f64
}

/// The kinds that matter, the most frequent first.
pub(super) fn by_kind(calls: &BTreeMap<String, f64>) -> String {
    let mut kinds: Vec<(&String, f64)> = calls.iter().map(|(name, count)| (name, *count)).collect();
    kinds.retain(|(_, count)| *count >= 0.001);
    kinds.sort_by(|a, b| b.1.total_cmp(&a.1));
    kinds.iter().map(|(name, count)| format!("{name} {count:.3}")).collect::<Vec<_>>().join(", ")
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()).into())
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_the_slope_between_two_runs() {
        let scenario = &SCENARIOS[0];
        assert_eq!(difference(1000, 1000 + 400 * scenario.connections * 3, scenario), 3.0);
    }

    #[test]
    fn what_varies_does_not_miss_a_goal() {
        assert!(meets(2.05, 2.05) && meets(2.08, 2.05) && !meets(2.1, 2.05) && !meets(f64::NAN, 2.05));
    }

    #[test]
    fn kinds_are_listed_by_frequency() {
        let calls = [("close", 0.0), ("epoll_wait", 0.02), ("recvfrom", 1.0)];
        let calls = calls.map(|(name, count)| (name.to_owned(), count)).into();
        assert_eq!(by_kind(&calls), "recvfrom 1.000, epoll_wait 0.020");
    }
}
