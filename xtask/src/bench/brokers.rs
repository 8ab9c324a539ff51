//! What two servers with a broker between them carry: from a publisher at one to a subscriber at the other, beside what programs of the
//! brokers' own do in the same run.
//!
//! All of it shares the processors of this machine, of which two servers, their clients and a broker want more than a client and a broker. So
//! there is a second ratio: of capacities, where each process would have a processor to itself. Ours is that of the busiest of both
//! servers and the broker, and that of the others is the broker's, as if their clients cost nothing.
//!
//! `redis-benchmark` sends many commands without waiting, as many as we have in flight. Most people read what it says without options: 50
//! clients that wait for each answer. So there is a ratio for both.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    LIMIT, Programs, reading, statistics,
    table::{Table, short},
};
use crate::{
    gate::{Checks, Failure},
    output::say,
    process::{self, Foreign, Server},
    tools,
    workspace::Workspace,
};

/// How a broker is used.
struct Scenario {
    name: &'static str,
    scheme: &'static str,
    /// What the hubs ask the broker to keep.
    history: &'static str,
    /// What it is compared with.
    beside: &'static str,
    messages: u64,
}

const SCENARIOS: [Scenario; 4] = [
    Scenario {
        name: "Redis, PUBLISH",
        scheme: "redis",
        history: "0",
        beside: "redis-benchmark PUBLISH",
        messages: 200_000,
    },
    Scenario {
        name: "Redis, streams",
        scheme: "redis",
        history: KEPT,
        beside: "redis-benchmark XADD",
        messages: 100_000,
    },
    Scenario { name: "NATS, core", scheme: "nats", history: "0", beside: "C, core", messages: 200_000 },
    Scenario { name: "NATS, JetStream", scheme: "nats", history: KEPT, beside: "C, JetStream", messages: 100_000 },
];

const KEPT: &str = "10000";

/// Bytes of a message, and how many are without an answer at a time.
const SIZE: usize = 128;
const WINDOW: &str = "512";

/// Of the goal.
const SHARE: f64 = 0.5;

/// Prints the table of medians after `rounds` rounds. It never fails for a number.
pub(crate) fn run(workspace: &Workspace, rounds: u64, only: Option<&str>) -> Result<Checks, Failure> {
    require()?;
    let programs = Programs::build(workspace, &["brokers"])?;
    let flow = flow(&programs)?;
    let wanted: Vec<&Scenario> =
        SCENARIOS.iter().filter(|scenario| only.is_none_or(|only| scenario.name.contains(only))).collect();
    let mut figures: Vec<Figures> = wanted.iter().map(|_| Figures::default()).collect();
    for round in 0..rounds {
        for (scenario, figures) in wanted.iter().zip(&mut figures) {
            let broker = Broker::start(&programs, scenario)?;
            // Who comes first changes, so that a machine that grows slower or faster favours nobody.
            for turn in [round % 2, 1 - round % 2] {
                if turn == 0 {
                    ours(&programs, scenario, &broker, figures)?;
                } else {
                    let before = nanos(broker.process.pid());
                    figures.beside.push(beside(scenario, &broker, &flow)?);
                    let used = nanos(broker.process.pid()).saturating_sub(before);
                    figures.beside_micros.push(used as f64 / scenario.messages as f64 / 1000.0);
                    if scenario.scheme == "redis" {
                        figures.waiting.push(redis_benchmark(scenario, &broker, &[])?);
                    }
                }
            }
        }
        say!("round {} of {rounds} done", round + 1);
    }
    let mut rates = Table::new(&[
        "messages/s",
        "sockeye",
        "spread",
        "beside",
        "spread",
        "ratio",
        "goal",
        "beside, by default (50 clients that wait)",
        "ratio",
    ]);
    let mut costs = Table::new(&[
        "CPU of a message, us",
        "publisher's server",
        "subscriber's server",
        "broker",
        "broker, beside",
        "ratio of capacities",
    ]);
    for (scenario, figures) in wanted.iter().zip(&figures) {
        let percent = |rates: &[f64]| format!("{:.0} %", statistics::spread(rates) * 100.0);
        let (own, other) = (statistics::median(&figures.rates), statistics::median(&figures.beside));
        let waiting = (!figures.waiting.is_empty()).then(|| statistics::median(&figures.waiting));
        rates.row([
            format!("{}; {}", scenario.name, scenario.beside),
            short(own),
            percent(&figures.rates),
            short(other),
            percent(&figures.beside),
            format!("{:.2}", own / other),
            format!("{SHARE:.2}"),
            waiting.map_or_else(String::new, short),
            waiting.map_or_else(String::new, |waiting| format!("{:.2}", own / waiting)),
        ]);
        let micros = figures.micros.each_ref().map(|micros| statistics::median(micros));
        let beside = statistics::median(&figures.beside_micros);
        let [one, two, broker] = micros.map(short);
        let ratio = beside / micros.into_iter().fold(0.0, f64::max);
        costs.row([scenario.name.to_owned(), one, two, broker, short(beside), format!("{ratio:.2}")]);
    }
    say!(
        "\nMedians of {rounds} rounds, {SIZE} B, {WINDOW} in flight, one publisher, one subscriber:\n\n{rates}\n{costs}"
    );
    Ok(Checks::passed(wanted.len() as u64))
}

/// Of one scenario, one of each round.
#[derive(Default)]
struct Figures {
    rates: Vec<f64>,
    beside: Vec<f64>,
    /// Of `redis-benchmark` without options.
    waiting: Vec<f64>,
    /// Microseconds of both servers and the broker, for each message.
    micros: [Vec<f64>; 3],
    /// Those of the broker with the others' clients.
    beside_micros: Vec<f64>,
}

struct Broker {
    process: Foreign,
    url: String,
    folder: PathBuf,
}

impl Broker {
    fn start(programs: &Programs<'_>, scenario: &Scenario) -> Result<Self, Failure> {
        let folder = programs.folder()?.join("broker");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let command = |port: u16| {
            let (port, is_redis) = (port.to_string(), scenario.scheme == "redis");
            let mut command = Command::new(if is_redis { "redis-server" } else { NATS });
            if is_redis {
                command.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--dir"]).arg(&folder);
            } else {
                command.args(["--addr", "127.0.0.1", "--port", &port, "--jetstream", "--store_dir"]).arg(&folder);
            }
            Ok(command)
        };
        let process = Foreign::start(command, programs.folder()?.join("broker.log"))?;
        let url = format!("{}://127.0.0.1:{}", scenario.scheme, process.port());
        Ok(Self { process, url, folder })
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // What it keeps is of no use.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Two servers.
fn ours(programs: &Programs<'_>, scenario: &Scenario, broker: &Broker, figures: &mut Figures) -> Result<(), Failure> {
    let binary = programs.workspace.binary();
    let words = ["serve", "--topics", "--open-publish", "--history", scenario.history, "--port", "0", "--backplane"];
    let start = |name: &str| {
        let log = programs.folder()?.join(format!("{name}.log"));
        Ok::<_, Failure>(Server::start(&binary, &[&words[..], &[&broker.url]].concat(), log)?)
    };
    let servers = [start("publisher")?, start("subscriber")?];
    servers.iter().try_for_each(|server| server.logged("the broker is connected"))?;
    let port = |server: &Server| server.url().trim_end_matches('/').rsplit(':').next().unwrap_or_default().to_owned();
    let pids = [servers[0].pid(), servers[1].pid(), broker.process.pid()].map(|pid| pid.to_string());
    let mut command = Command::new(programs.release("brokers"));
    command.args(["--publish", &port(&servers[0]), "--read", &port(&servers[1]), "--pids", &pids.join(",")]);
    command.args(["--messages", &scenario.messages.to_string(), "--window", WINDOW, "--size", &SIZE.to_string()]);
    let line = said(&mut command)?;
    figures.rates.push(rate(&line)?);
    for (name, micros) in ["publisher_ns", "reader_ns", "broker_ns"].iter().zip(&mut figures.micros) {
        let nanos = reading::number(&line, name).ok_or_else(|| format!("`brokers` said: {line}"))?;
        micros.push(nanos / scenario.messages as f64 / 1000.0);
    }
    servers.into_iter().try_for_each(Server::stop)?;
    Ok(())
}

/// Messages a second of a program of the broker's own.
fn beside(scenario: &Scenario, broker: &Broker, flow: &Path) -> Result<f64, Failure> {
    if scenario.scheme == "redis" {
        return redis_benchmark(scenario, broker, &["-c", "1", "-P", WINDOW]);
    }
    let kind = if scenario.history == KEPT { "jetstream" } else { "core" };
    let mut command = Command::new(flow);
    command.args([kind, &broker.url, &scenario.messages.to_string(), &SIZE.to_string(), WINDOW]);
    rate(&said(&mut command)?)
}

/// Commands a second.
fn redis_benchmark(scenario: &Scenario, broker: &Broker, options: &[&str]) -> Result<f64, Failure> {
    let (payload, messages) = ("x".repeat(SIZE), scenario.messages.to_string());
    let mut command = Command::new("redis-benchmark");
    command.args(["-p", &broker.process.port().to_string(), "-n", &messages, "--csv"]).args(options);
    if scenario.history == KEPT {
        command.args(["XADD", "flow", "MAXLEN", "~", KEPT, "*", "m", &payload]);
    } else {
        command.args(["PUBLISH", "flow", &payload]);
    }
    // The last line is `"command","requests a second",...`.
    let line = said(&mut command)?;
    let rate = line.split("\",\"").nth(1).and_then(|rate| rate.parse().ok());
    rate.ok_or_else(|| format!("redis-benchmark said: {line}").into())
}

/// The last line of a program that has to succeed.
fn said(command: &mut Command) -> Result<String, Failure> {
    let output = process::read(command, LIMIT)?;
    let all = output.lines.join("\n");
    let output = output.success(&process::shown(command)).map_err(|error| format!("{error}: {all}"))?;
    Ok(output.lines.last().cloned().unwrap_or_default())
}

fn rate(line: &str) -> Result<f64, Failure> {
    match (reading::number(line, "messages"), reading::number(line, "seconds")) {
        (Some(messages), Some(seconds)) if seconds > 0.0 => Ok(messages / seconds),
        _ => Err(format!("no rate was measured: {line}").into()),
    }
}

/// Nanoseconds that all threads of a process have run.
fn nanos(pid: u32) -> u64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let read = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("schedstat")).ok();
    threads.flatten().filter_map(read).filter_map(|text| text.split(' ').next()?.parse::<u64>().ok()).sum()
}

/// Compiles the program in C.
fn flow(programs: &Programs<'_>) -> Result<PathBuf, Failure> {
    let program = programs.folder()?.join("nats-flow");
    let mut command = Command::new("cc");
    command.args(["-std=gnu11", "-O3", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&program);
    command.arg(programs.workspace.root().join("benches/nats/flow.c")).args(["-lnats", "-lpthread"]);
    process::run(&mut command, LIMIT)?.success(&process::shown(&command))?;
    Ok(program)
}

fn require() -> Result<(), Failure> {
    let parts = [
        ("redis-server", tools::found(&["redis-server", "--version"])),
        ("redis-tools", tools::found(&["redis-benchmark", "--version"])),
        ("nats-server", Path::new(NATS).is_file()),
        ("libnats-dev", Path::new("/usr/include/nats/nats.h").is_file()),
    ];
    let missing: Vec<&str> = parts.iter().filter(|(_, is_there)| !is_there).map(|(package, _)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.join(" ");
    Err(format!("these Debian packages are missing: {missing}\nType: sudo apt-get install -y {missing}").into())
}

/// Where it is on Debian, for users whose search path lacks it.
const NATS: &str = "/usr/sbin/nats-server";
