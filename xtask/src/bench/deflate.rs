//! What compression saves and costs, beside zlib-rs alone on the same messages.
//!
//! What it saves is exact. So is what it costs but for an instruction in a thousand: user instructions of an echo whose clients take
//! turns, so that how many messages come with a turn is not up to chance.

use std::{fs, process::Command};

use super::{
    COUNTABLE, LIMIT, Programs, reading, require,
    table::{Table, short},
};
use crate::{
    gate::{Checks, Failure},
    output::say,
    process,
    process::Server,
    workspace::Workspace,
};

/// A kind of messages, and how many of each connection are in the shorter and in the longer run.
struct Corpus {
    name: &'static str,
    messages: [u64; 2],
}

const CORPORA: &[Corpus] = &[
    Corpus { name: "quotes", messages: [30, 90] },
    Corpus { name: "chat", messages: [30, 90] },
    Corpus { name: "mixed", messages: [10, 30] },
];

/// What compression goes on with from one message to the next.
struct Mode {
    name: &'static str,
    memory: &'static str,
    connections: u64,
    /// What compression may cost, in what zlib-rs does for the same.
    allowed: f64,
}

const MODES: &[Mode] = &[
    Mode { name: "no takeover", memory: "none", connections: CROWD, allowed: 1.1 },
    Mode { name: "histories", memory: "history", connections: CROWD, allowed: 1.1 },
    // The one compressor stays with the one connection; beside a compressor and a decompressor of its own.
    Mode { name: "busy connection", memory: "stateful", connections: 1, allowed: 1.3 },
];

/// More than the loop has compressors, so that taking turns each finds that of another.
const CROWD: u64 = 8;

/// The default, and the one that others take.
const LEVELS: [u64; 2] = [1, 6];

/// What is to be saved of that which compressors save that have 32 KiB before them, by level.
const SAVED: [f64; 2] = [0.95, 0.92];

/// Messages of each connection for what is saved.
const MANY: u64 = 1000;

/// Prints both tables. Goals that are missed are a failure, unless they are only to be reported. `only`: those lines that have
/// these words in their names.
pub(crate) fn run(workspace: &Workspace, report_only: bool, only: Option<&str>) -> Result<Checks, Failure> {
    require(&["valgrind"])?;
    let bench = Bench { programs: Programs::build_packed(workspace)?, only };
    let mut checks = Checks::default();
    let saved = bench.saved(&mut checks)?;
    let costs = bench.costs(&mut checks)?;
    say!("\nBytes, {MANY} messages of each of {CROWD} connections, and what is saved of what 32 KiB save:\n\n{saved}");
    say!("User instructions of an echoed message, beside those of zlib-rs alone:\n\n{costs}");
    match checks.failed {
        missed if missed == 0 || report_only => Ok(checks),
        missed => Err(Failure::new(format!("{missed} goals are missed"), checks)),
    }
}

struct Bench<'a> {
    programs: Programs<'a>,
    only: Option<&'a str>,
}

impl Bench<'_> {
    fn wants(&self, name: &str) -> bool {
        self.only.is_none_or(|only| name.contains(only))
    }

    fn saved(&self, checks: &mut Checks) -> Result<Table, Failure> {
        let mut table = Table::new(&["saved", "plain", "32 KiB", "histories", "share", "goal", "verdict"]);
        for corpus in CORPORA {
            for (level, goal) in LEVELS.into_iter().zip(SAVED) {
                let name = format!("{}, level {level}", corpus.name);
                if !self.wants(&name) {
                    continue;
                }
                let run = Run { way: "send", corpus: corpus.name, mode: &MODES[1], level, messages: MANY };
                let line = self.serve(&run, &[])?;
                let number = |name| reading::number(&line, name).ok_or("`packed` did not tell the bytes");
                let (plain, payloads, stateful) = (number("plain")?, number("payloads")?, number("stateful")?);
                let share = (plain - payloads) / (plain - stateful);
                let verdict = verdict(share >= goal, checks);
                let [plain, payloads, stateful] = [plain, payloads, stateful].map(short);
                table.row([name, plain, stateful, payloads, format!("{share:.4}"), short(goal), verdict]);
            }
        }
        Ok(table)
    }

    fn costs(&self, checks: &mut Checks) -> Result<Table, Failure> {
        let mut table = Table::new(&["cost", "zlib-rs sends", "receives", "compression", "ratio", "goal", "verdict"]);
        for mode in MODES {
            for corpus in CORPORA {
                let names = LEVELS.map(|level| format!("{}, {}, level {level}", mode.name, corpus.name));
                if !names.iter().any(|name| self.wants(name)) {
                    continue;
                }
                let run = |way, level| Run { way, corpus: corpus.name, mode, level, messages: 0 };
                let plain = self.of_server(&run("plain", 1), corpus)?;
                // It was compressed by the peer, at a level of its own.
                let received = self.of_zlib(&run("receive", 1), corpus)?;
                for (level, name) in LEVELS.into_iter().zip(names) {
                    if !self.wants(&name) {
                        continue;
                    }
                    let sent = self.of_zlib(&run("send", level), corpus)?;
                    let cost = self.of_server(&run("both", level), corpus)? - plain;
                    let ratio = cost / (sent + received);
                    let verdict = verdict(ratio <= mode.allowed, checks);
                    let [sent, received, cost] = [sent, received, cost].map(short);
                    table.row([name, sent, received, cost, format!("{ratio:.3}"), short(mode.allowed), verdict]);
                }
            }
        }
        Ok(table)
    }

    /// User instructions of the server for a message.
    fn of_server(&self, run: &Run<'_>, corpus: &Corpus) -> Result<f64, Failure> {
        self.slope(run, corpus, |run| {
            let profile = self.programs.folder()?.join("callgrind.packed");
            let out = format!("--callgrind-out-file={}", profile.display());
            self.serve(run, &["valgrind", "--tool=callgrind", &out])?;
            counted_in(&profile)
        })
    }

    /// Those of zlib-rs for the same.
    fn of_zlib(&self, run: &Run<'_>, corpus: &Corpus) -> Result<f64, Failure> {
        self.slope(run, corpus, |run| {
            let profile = self.programs.folder()?.join("callgrind.alone");
            let mut command = Command::new("valgrind");
            command.env(COUNTABLE.0, COUNTABLE.1).args(["--tool=callgrind", "--toggle-collect=*flate_once*"]);
            command.arg(format!("--callgrind-out-file={}", profile.display())).arg(self.programs.release("packed"));
            command.arg("alone").args(run.arguments());
            process::read(&mut command, LIMIT)?.success(&process::shown(&command))?;
            counted_in(&profile)
        })
    }

    /// What a message costs, from a shorter and a longer run.
    fn slope(
        &self,
        run: &Run<'_>,
        corpus: &Corpus,
        cost: impl Fn(&Run<'_>) -> Result<f64, Failure>,
    ) -> Result<f64, Failure> {
        let [few, many] = corpus.messages;
        let (shorter, longer) = (cost(&Run { messages: few, ..*run })?, cost(&Run { messages: many, ..*run })?);
        Ok((longer - shorter) / ((many - few) * run.mode.connections) as f64)
    }

    /// Runs an echo below a tracer, and its clients, who say what they sent and received.
    fn serve(&self, run: &Run<'_>, tracer: &[&str]) -> Result<String, Failure> {
        let packed = self.programs.release("packed").display().to_string();
        let arguments = run.arguments();
        let words: Vec<&str> = tracer.iter().copied().chain([packed.as_str(), "serve"]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(&arguments).env(COUNTABLE.0, COUNTABLE.1);
        let server = Server::start_command(&mut command, self.programs.folder()?.join("server.log"))?;
        let port = server.url().trim_end_matches('/').rsplit(':').next().unwrap_or_default().to_owned();
        let mut command = Command::new(&packed);
        command.arg("clients").args(&arguments).args(["--port", &port]);
        let output = process::read(&mut command, LIMIT)?;
        let line = output.lines.iter().find(|line| line.starts_with("plain=")).cloned();
        let line = line.ok_or_else(|| format!("`{}` failed: {}", process::shown(&command), output.lines.join("\n")))?;
        server.end()?;
        Ok(line)
    }
}

/// What `packed` is to do.
#[derive(Clone, Copy)]
struct Run<'a> {
    way: &'a str,
    corpus: &'a str,
    mode: &'a Mode,
    level: u64,
    messages: u64,
}

impl Run<'_> {
    fn arguments(&self) -> Vec<String> {
        let numbers = [self.mode.connections, self.messages, self.level].map(|number| number.to_string());
        let [connections, messages, level] = numbers.each_ref().map(String::as_str);
        let words = ["--way", self.way, "--corpus", self.corpus, "--memory", self.mode.memory];
        let more = ["--connections", connections, "--messages", messages, "--level", level];
        words.into_iter().chain(more).map(str::to_owned).collect()
    }
}

fn verdict(is_met: bool, checks: &mut Checks) -> String {
    *checks += if is_met { Checks::passed(1) } else { Checks { passed: 0, failed: 1 } };
    if is_met { "met" } else { "MISSED" }.to_owned()
}

fn counted_in(profile: &std::path::Path) -> Result<f64, Failure> {
    let text = fs::read_to_string(profile).map_err(|error| format!("{}: {error}", profile.display()))?;
    Ok(reading::instructions(&text).ok_or("callgrind wrote no sum")? as f64)
}
