//! What a message costs the server's processor, as a ratio to the floor.
//!
//! Times of different runs, let alone machines, say nothing about each other. So the two servers take turns within one
//! run, each on a processor of its own beside the load's, and only the ratio of their medians is judged by the reader.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::{
    Programs, reading, statistics,
    table::{Table, short},
};
use crate::{
    gate::{Checks, Failure},
    output::say,
    workspace::Workspace,
};

/// What is sent, what the engine is started with beyond `echo`, the floor's mode, and the ratio aimed at.
struct Scenario {
    name: &'static str,
    load: &'static [&'static str],
    echo: &'static [&'static str],
    floor: &'static str,
    goal: f64,
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "20 B, 200 x 1 in flight",
        load: &["echo", "--connections", "200", "--flight", "1", "--size", "20"],
        echo: &[],
        floor: "ws",
        goal: 1.15,
    },
    Scenario {
        name: "20 B, 200 x 16 in flight",
        load: &["echo", "--connections", "200", "--flight", "16", "--size", "20"],
        echo: &[],
        floor: "ws",
        goal: 1.10,
    },
    Scenario {
        name: "16 KiB binary, 200 x 1",
        load: &["echo", "--connections", "200", "--size", "16384"],
        echo: &[],
        floor: "ws",
        goal: 1.15,
    },
    Scenario {
        name: "16 KiB text, 200 x 1",
        load: &["echo", "--connections", "200", "--size", "16384", "--text"],
        echo: &[],
        floor: "ws",
        goal: 1.25,
    },
    Scenario {
        name: "1 MiB, 10 x 1",
        load: &["echo", "--connections", "10", "--size", "1048576"],
        echo: &[],
        floor: "wsmsg",
        goal: 1.10,
    },
    Scenario {
        name: "broadcast 100 B to 1,000",
        load: &["broadcast", "--connections", "1000", "--flight", "16", "--size", "100"],
        echo: &["--broadcast", "P"],
        floor: "broadcast",
        goal: 1.10,
    },
    Scenario {
        name: "connect, upgrade, close",
        load: &["open", "--connections", "50"],
        echo: &[],
        floor: "ws",
        goal: 1.10,
    },
];

/// Prints the table of ratios after `rounds` rounds. It never fails for a number.
pub(crate) fn run(workspace: &Workspace, rounds: u64, only: Option<&str>) -> Result<Checks, Failure> {
    let programs = Programs::build(workspace, &["floor"])?;
    let processors = Processors::find()?;
    let wanted: Vec<&Scenario> =
        SCENARIOS.iter().filter(|scenario| only.is_none_or(|only| scenario.name.contains(only))).collect();
    let mut costs = vec![[Vec::new(), Vec::new()]; wanted.len()];
    for round in 0..rounds {
        for (scenario, costs) in wanted.iter().zip(&mut costs) {
            // Who comes first changes, so that a machine that grows slower or faster favours nobody.
            for turn in [round % 2, 1 - round % 2] {
                costs[turn as usize].push(cost(&programs, &processors, scenario, turn == 0)?);
            }
        }
        say!("round {} of {rounds} done", round + 1);
    }
    let mut table = Table::new(&["server CPU, us", "sockeye", "spread", "floor", "spread", "ratio", "goal"]);
    for (scenario, [ours, floor]) in wanted.iter().zip(&costs) {
        let percent = |costs: &[f64]| format!("{:.0} %", statistics::spread(costs) * 100.0);
        let (cost, least) = (statistics::median(ours), statistics::median(floor));
        table.row([
            scenario.name.to_owned(),
            short(cost),
            percent(ours),
            short(least),
            percent(floor),
            format!("{:.2}", cost / least),
            format!("{:.2}", scenario.goal),
        ]);
    }
    say!("\nMedians of {rounds} rounds, for each message (delivery, connection):\n\n{table}");
    Ok(Checks::passed(wanted.len() as u64))
}

/// Microseconds of the server's time for each message of one run.
fn cost(programs: &Programs<'_>, processors: &Processors, scenario: &Scenario, ours: bool) -> Result<f64, Failure> {
    let binary = if ours { programs.workspace.binary() } else { programs.release("floor") };
    let binary = binary.to_string_lossy();
    let mut words = vec![&*binary, if ours { "echo" } else { scenario.floor }, "--port", "0"];
    if ours {
        words.extend(scenario.echo);
    }
    let server = processors.on(0, || programs.server(&[], &words))?;
    let line = processors.on(1, || programs.load(&server, scenario.load))?;
    let (messages, nanos) = (reading::number(&line, "messages"), reading::number(&line, "server_ns"));
    match (messages, nanos) {
        (Some(messages @ 1.0..), Some(nanos)) => Ok(nanos / messages / 1000.0),
        _ => Err(format!("`load` measured nothing: {line}").into()),
    }
}

/// The processors that this program may use: the first is the server's, the last the load's.
pub(super) struct Processors {
    all: CpuSet,
    places: [usize; 2],
}

impl Processors {
    pub(super) fn find() -> Result<Self, Failure> {
        let all = sched_getaffinity(None).map_err(|error| format!("the processors are not known: {error}"))?;
        let mut allowed = (0..CpuSet::MAX_CPU).filter(|&processor| all.is_set(processor));
        let first = allowed.next().ok_or("there is no processor")?;
        let last = allowed.next_back().unwrap_or(first);
        if first == last {
            say!("There is one processor only: load and server share it, and the ratios are worth less.");
        }
        Ok(Self { all, places: [first, last] })
    }

    /// What `start` starts inherits the place.
    pub(super) fn on<T>(&self, place: usize, start: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        let mut set = CpuSet::new();
        set.set(self.places[place]);
        let pin = |set: &CpuSet| sched_setaffinity(None, set).map_err(|error| format!("pinning failed: {error}"));
        pin(&set)?;
        let started = start();
        pin(&self.all)?;
        started
    }
}
