//! What TLS costs: beside an echo in C on OpenSSL, and beside rustls alone.
//!
//! In [`times`] the two servers take turns within one run, as in [`speed`](super::speed), under the load of `sockeye bench`; they have
//! the same certificate, and must agree on the same cipher. [`instructions`] counts, so what it finds repeats.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use super::{
    COUNTABLE, LIMIT, Programs, reading, require,
    speed::Processors,
    statistics,
    table::{Table, short},
};
use crate::{
    gate::{Checks, Failure},
    output::say,
    process,
    process::Server,
    workspace::Workspace,
};

/// A certificate for `localhost`, and programs that are built for this.
struct Bench<'a> {
    programs: Programs<'a>,
    certificate: String,
    key: String,
}

impl<'a> Bench<'a> {
    fn new(workspace: &'a Workspace) -> Result<Self, Failure> {
        require_openssl()?;
        let programs = Programs::build_with_tls(workspace)?;
        let folder = programs.folder()?;
        let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
        let bench = Self { certificate: path("tls.pem"), key: path("tls.key"), programs };
        let configuration = folder.join("openssl.cnf");
        fs::write(&configuration, "[req]\ndistinguished_name = name\n[name]\n")
            .map_err(|error| format!("{}: {error}", configuration.display()))?;
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]);
        command.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
        command.arg("-config").arg(configuration).args(["-keyout", &bench.key, "-out", &bench.certificate]);
        process::read(&mut command, LIMIT)?.success(&process::shown(&command))?;
        Ok(bench)
    }

    /// Builds the echo in C.
    fn openssl_echo(&self) -> Result<PathBuf, Failure> {
        let program = self.programs.folder()?.join("openssl-echo");
        let mut command = Command::new("cc");
        command.args(["-O3", "-Wall", "-Wextra", "-o"]).arg(&program);
        command.arg(self.programs.workspace.root().join("benches/openssl/echo.c")).args(["-lssl", "-lcrypto"]);
        process::run(&mut command, LIMIT)?.success(&process::shown(&command))?;
        Ok(program)
    }

    /// `sockeye echo` below `tracer`, with TLS or without.
    fn echo(&self, tracer: &[&str], with_tls: bool) -> Result<Server, Failure> {
        let binary = self.programs.workspace.binary();
        let binary = binary.to_string_lossy();
        let mut words = vec![&*binary, "echo", "--port", "0"];
        if with_tls {
            words.extend(["--tls-cert", &self.certificate, "--tls-key", &self.key]);
        }
        self.programs.server(tracer, &words)
    }

    /// Runs `sockeye bench` until `count` messages, or handshakes, are done.
    fn load(&self, server: &Server, arguments: &[&str], count: u64) -> Result<Value, Failure> {
        let mut command = Command::new(self.programs.workspace.binary());
        command.args(["bench", "--json", "--log-level", "err", "--connect-timeout", "60s", "--grace", "60s"]);
        if server.url().starts_with("wss:") {
            command.arg("--insecure");
        }
        command.args(arguments).args(["--count", &count.to_string(), server.url()]);
        let output = process::read(&mut command, LIMIT)?;
        let report = output.lines.iter().find_map(|line| serde_json::from_str::<Value>(line).ok());
        // Handshakes are counted in a mode of their own.
        let done = |report: &Value| report["messages"].as_u64().or_else(|| report["handshakes"].as_u64());
        match report.filter(|report| output.status.success() && done(report) >= Some(count)) {
            Some(report) => Ok(report),
            None => Err(format!("`{}` failed: {}", process::shown(&command), output.lines.join("\n")).into()),
        }
    }
}

/// An error that names what to install, unless OpenSSL, its headers and a C compiler are there.
fn require_openssl() -> Result<(), Failure> {
    if Path::new("/usr/include/openssl/ssl.h").is_file() && process::read(&mut compiler(), LIMIT).is_ok() {
        return Ok(());
    }
    Err("OpenSSL for C programs is missing\nType: sudo apt-get install -y openssl libssl-dev gcc".into())
}

fn compiler() -> Command {
    let mut command = Command::new("cc");
    command.arg("--version");
    command
}

/// What is sent, and how much of it in one round.
struct Load {
    name: &'static str,
    arguments: &'static [&'static str],
    /// As few as open all connections, for what opening costs.
    few: u64,
    many: u64,
}

const LOADS: &[Load] = &[
    Load { name: "20 B, 200 x 1 in flight", arguments: &["--connections", "200", "-s", "20"], few: 200, many: 60_000 },
    Load {
        name: "20 B, 200 x 16 in flight",
        arguments: &["--connections", "200", "-s", "20", "--pipeline", "16"],
        few: 3_200,
        many: 600_000,
    },
    Load { name: "16 KiB, 200 x 1", arguments: &["--connections", "200", "-s", "16K"], few: 200, many: 15_000 },
    Load { name: "1 MiB, 10 x 1", arguments: &["--connections", "10", "-s", "1M"], few: 10, many: 400 },
    Load { name: "handshakes, full", arguments: &["--mode", "handshake", "--connections", "8"], few: 8, many: 3_000 },
    Load {
        name: "handshakes, resumed",
        arguments: &["--mode", "handshake", "--connections", "8", "--resume"],
        // The first of each is a full one, and the command fails where none is resumed.
        few: 16,
        many: 3_000,
    },
];

/// With so much of the other's rate the two are level.
const LEVEL: f64 = 0.9;

/// Messages, or handshakes, of one server: for a second of its processor, and for a second.
#[derive(Default)]
struct Rates {
    processor: Vec<f64>,
    wall: Vec<f64>,
}

/// Prints the table of rates after `rounds` rounds. It never fails for a number.
pub(crate) fn times(workspace: &Workspace, rounds: u64, only: Option<&str>) -> Result<Checks, Failure> {
    let bench = Bench::new(workspace)?;
    let (other, processors) = (bench.openssl_echo()?, Processors::find()?);
    let start = |is_ours: bool| {
        processors.on(0, || {
            if is_ours {
                return bench.echo(&[], true);
            }
            bench.programs.server(&[], &[&other.to_string_lossy(), "0", &bench.certificate, &bench.key])
        })
    };
    let ciphers = [cipher(&start(true)?)?, cipher(&start(false)?)?];
    if ciphers[0] != ciphers[1] {
        return Err(format!("the ciphers differ: {} and {}", ciphers[0], ciphers[1]).into());
    }
    let loads: Vec<&Load> = LOADS.iter().filter(|load| only.is_none_or(|only| load.name.contains(only))).collect();
    let mut rates: Vec<[Rates; 2]> = loads.iter().map(|_| Default::default()).collect();
    for round in 0..rounds {
        for (load, rates) in loads.iter().zip(&mut rates) {
            // Who comes first changes, so that a machine that grows slower or faster favours nobody.
            for turn in [round % 2, 1 - round % 2] {
                let server = start(turn == 0)?;
                let (processor, wall) = processors.on(1, || rate(&bench, &server, load))?;
                server.stop()?;
                rates[turn as usize].processor.push(processor);
                rates[turn as usize].wall.push(wall);
            }
        }
        say!("round {} of {rounds} done", round + 1);
    }
    say!("\nMedians of {rounds} rounds, {}; at least {LEVEL} of OpenSSL's is the goal:\n", ciphers[0]);
    say!("{}", table("for a second of the server's CPU", &loads, &rates, |rates| &rates.processor));
    say!("{}", table("a second", &loads, &rates, |rates| &rates.wall));
    Ok(Checks::passed(loads.len() as u64))
}

fn table(unit: &str, loads: &[&Load], rates: &[[Rates; 2]], of: impl Fn(&Rates) -> &Vec<f64>) -> Table {
    let mut table = Table::new(&[unit, "sockeye", "spread", "OpenSSL", "spread", "ratio", "goal"]);
    for (load, [ours, others]) in loads.iter().zip(rates) {
        let spread = |rates: &Rates| format!("{:.0} %", statistics::spread(of(rates)) * 100.0);
        let (our, other) = (statistics::median(of(ours)), statistics::median(of(others)));
        let ratio = our / other;
        let goal = if ratio >= LEVEL { "met" } else { "MISSED" };
        let row = [short(our), spread(ours), short(other), spread(others), format!("{ratio:.2}"), goal.to_owned()];
        let [a, b, c, d, e, f] = row;
        table.row([load.name.to_owned(), a, b, c, d, e, f]);
    }
    table
}

/// One run: the rate for a second of the server's processor, without what opening costs, and that of the clock.
fn rate(bench: &Bench<'_>, server: &Server, load: &Load) -> Result<(f64, f64), Failure> {
    let cost = |count| {
        let before = processor_nanos(server.pid());
        let report = bench.load(server, load.arguments, count)?;
        Ok::<_, Failure>((processor_nanos(server.pid()) - before, report))
    };
    let ((opening, _), (all, report)) = (cost(load.few)?, cost(load.many)?);
    if load.arguments.contains(&"--resume") {
        let resumed = report.pointer("/tls/resumed/handshakes").and_then(Value::as_u64).unwrap_or(0);
        if resumed * 10 < load.many * 9 {
            return Err(format!("only {resumed} handshakes of {} were resumed", load.many).into());
        }
    }
    let wall = report["rate"].as_f64().ok_or("`sockeye bench` told no rate")?;
    Ok(((load.many - load.few) as f64 * 1e9 / (all - opening), wall))
}

/// Nanoseconds that all threads have run.
fn processor_nanos(pid: u32) -> f64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return f64::NAN };
    let read = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("schedstat")).ok();
    threads.flatten().filter_map(read).filter_map(|text| text.split(' ').next()?.parse::<f64>().ok()).sum()
}

/// The version and the cipher that a client of OpenSSL gets.
fn cipher(server: &Server) -> Result<String, Failure> {
    let place = server.url().trim_start_matches("wss://").trim_end_matches('/');
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", place]);
    let lines = process::read(&mut command, LIMIT)?.lines;
    let line = lines.iter().find(|line| line.contains("Cipher is"));
    Ok(line.ok_or("`openssl s_client` told no cipher")?.trim_start_matches("New, ").to_owned())
}

/// What is echoed, how many messages of each connection in the shorter and in the longer run, and what it is in records.
struct Counted {
    name: &'static str,
    arguments: &'static [&'static str],
    messages: [u64; 2],
    opened: &'static str,
    sealed: &'static str,
    /// Messages that share records.
    together: f64,
}

const CONNECTIONS: u64 = 50;

const COUNTED: &[Counted] = &[
    Counted {
        name: "20 B, 1 in flight",
        arguments: &["--connections", "50", "-s", "20"],
        messages: [40, 240],
        opened: "26",
        sealed: "22",
        together: 1.0,
    },
    Counted {
        name: "20 B, 16 in flight",
        arguments: &["--connections", "50", "-s", "20", "--pipeline", "16"],
        messages: [80, 880],
        opened: "416",
        sealed: "352",
        together: 16.0,
    },
    Counted {
        name: "16 KiB, 1 in flight",
        arguments: &["--connections", "50", "-s", "16K"],
        messages: [20, 60],
        opened: "16392",
        sealed: "16388",
        together: 1.0,
    },
];

/// What TLS may cost, in what rustls alone does for the same records.
const ALLOWED: f64 = 1.1;
/// The counts vary by so much.
const TOLERANCE: f64 = 0.02;

/// Counts user instructions of a message: plain, with TLS, and those of rustls alone for the same records.
pub(crate) fn instructions(workspace: &Workspace, report_only: bool) -> Result<Checks, Failure> {
    require(&["valgrind"])?;
    let bench = Bench::new(workspace)?;
    let mut table = Table::new(&["user instructions", "plain", "rustls alone", "TLS", "goal", "verdict"]);
    let mut checks = Checks::default();
    for counted in COUNTED {
        let (plain, with_tls) = (of_echo(&bench, counted, false)?, of_echo(&bench, counted, true)?);
        let alone = of_rustls(&bench, counted)? / counted.together;
        let goal = plain + ALLOWED * alone;
        let is_met = with_tls <= goal * (1.0 + TOLERANCE);
        checks += if is_met { Checks::passed(1) } else { Checks { passed: 0, failed: 1 } };
        let verdict = if is_met { "met" } else { "MISSED" };
        table.row([
            counted.name.to_owned(),
            short(plain),
            short(alone),
            short(with_tls),
            short(goal),
            verdict.to_owned(),
        ]);
    }
    say!("\nFor each message; plain and {ALLOWED} times what rustls does alone is the goal:\n\n{table}");
    match checks.failed {
        missed if missed == 0 || report_only => Ok(checks),
        missed => Err(Failure::new(format!("{missed} goals are missed"), checks)),
    }
}

/// User instructions of a message, from a shorter and a longer run.
fn of_echo(bench: &Bench<'_>, counted: &Counted, with_tls: bool) -> Result<f64, Failure> {
    let [few, many] = counted.messages;
    let mut runs = [0.0; 2];
    for (messages, run) in counted.messages.iter().zip(&mut runs) {
        let profile = bench.programs.folder()?.join(if with_tls { "callgrind.tls" } else { "callgrind.plain" });
        let out = format!("--callgrind-out-file={}", profile.display());
        // The turns of the loop, and not the start: how long the provider gathers entropy is up to chance.
        let countable = format!("{}={}", COUNTABLE.0, COUNTABLE.1);
        let tracer =
            ["env", &countable, "valgrind", "--tool=callgrind", "--toggle-collect=*core::Service>::turn", &out];
        let server = bench.echo(&tracer, with_tls)?;
        bench.load(&server, counted.arguments, messages * CONNECTIONS)?;
        server.stop()?;
        *run = counted_in(&profile)?;
    }
    Ok((runs[1] - runs[0]) / ((many - few) * CONNECTIONS) as f64)
}

/// User instructions of rustls for the records of one batch.
fn of_rustls(bench: &Bench<'_>, counted: &Counted) -> Result<f64, Failure> {
    const ROUNDS: [u64; 2] = [10, 210];
    let mut runs = [0.0; 2];
    for (rounds, run) in ROUNDS.iter().zip(&mut runs) {
        let profile = bench.programs.folder()?.join("callgrind.records");
        let mut command = Command::new("valgrind");
        command.env(COUNTABLE.0, COUNTABLE.1).args(["--tool=callgrind", "--toggle-collect=*echo_once*"]);
        command.arg(format!("--callgrind-out-file={}", profile.display())).arg(bench.programs.release("records"));
        command.args(["--certificate", &bench.certificate, "--key", &bench.key]);
        command.args(["--opened", counted.opened, "--sealed", counted.sealed, "--rounds", &rounds.to_string()]);
        process::read(&mut command, LIMIT)?.success(&process::shown(&command))?;
        *run = counted_in(&profile)?;
    }
    Ok((runs[1] - runs[0]) / (ROUNDS[1] - ROUNDS[0]) as f64)
}

fn counted_in(profile: &Path) -> Result<f64, Failure> {
    let text = fs::read_to_string(profile).map_err(|error| format!("{}: {error}", profile.display()))?;
    match reading::instructions(&text) {
        Some(0) | None => {
            Err(format!("{}: callgrind counted nothing: is the function inlined?", profile.display()).into())
        }
        Some(count) => Ok(count as f64),
    }
}
