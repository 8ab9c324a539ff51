//! The tasks of this repository. `cargo xtask test` is the whole gate: what CI runs is exactly that.
//!
//! Layers, top to bottom: [`main`] reads the command line; [`gate`] knows the order of the steps and reports;
//! the steps ([`rust`], [`fuzz`], [`house`], [`api`], [`simulator`], [`mod@dist`], [`mod@capi`], [`help`], [`package`], [`conformance`], [`interop`], [`mod@client`]) each judge one
//! thing, and so does [`mod@bench`];
//! [`tools`] installs what they need; [`certificates`] makes what TLS needs; [`process`] runs programs, always with a deadline; [`output`] prints; [`workspace`] knows the
//! paths.

#![forbid(unsafe_code)]

mod api;
mod bench;
mod capi;
mod certificates;
mod client;
mod conformance;
mod dist;
mod fuzz;
mod gate;
mod help;
mod house;
mod interop;
mod output;
mod package;
mod process;
mod processor;
mod rust;
mod simulator;
mod tools;
mod workspace;

use std::{env, path::PathBuf, process::ExitCode};

use workspace::Workspace;

const USAGE: &str = "\
Usage: cargo xtask TASK

  test [--only STEP].. [--skip STEP].. [--binary FILE]
        The whole gate, in order; stops at the first step that fails.
  test --list
        The steps of the gate.
  house [--graph | --english]
        The house rules alone; or every circle of the import graph, by its files and names; or every phrase of the word list
        for comments and messages.
  api
        Writes the public items of the libraries into docs/api, one a line. The gate compares them.
  sim [--seeds N] [--seed S]
        N simulator seeds (2000), from seed S on (0). With --seed alone: just that one.
  conformance [--client] [--tls] [--cases LIST] [--repeat N] [--binary FILE]
        The Autobahn suite against `sockeye echo`, compared with conformance/expected-server.json, or against a client built on
        the library, compared with conformance/expected-client.json; plain or over TLS.
        LIST is comma-separated, `*` matches anything: '1.*,7.3.*'. Default: everything.
  fuzz [--seconds N] [TARGET]..
        Each fuzz target (or only those named) for N seconds (30).
  fuzz --replay FILE TARGET
        One input, such as one that was found.
  fuzz --minimise [TARGET]..
        Writes fuzz/corpus: the fewest inputs that cover what those committed and those that were found cover.
  cluster [--messages N] [--binary FILE]
        Three servers of topics with a broker between them, each of which is killed or cut off meanwhile, until N messages are acknowledged (as
        many as the gate takes). What is seen is compared with what was acknowledged. One of the servers lives in a network
        namespace, whose link is taken away: that needs root.
  bench brokers [--rounds N] [--only WORDS] [--binary FILE]
        From a publisher at one server to a subscriber at another one, by way of Redis and NATS, beside redis-benchmark and a publisher
        and a subscriber in C: messages a second, medians of N rounds (9), and what they cost.
  bench capi [--rounds N] [--only counts|times] [--binary FILE]
        A C echo on the C library, beside the same on Debian's libwebsockets and beside `sockeye echo`: medians of N rounds (9), counts.
  bench counts [--report-only] [--binary FILE]
        System calls and instructions of an echoed message, and memory of an idle connection, with their goals.
        A goal that is missed fails, unless it is only to be reported.
  bench deflate [--report-only] [--only WORDS]
        What compression saves of that which 32 KiB of history would, and its instructions beside those of zlib-rs alone, with their
        goals.
  bench speed [--rounds N] [--only WORDS] [--binary FILE]
        The server's CPU time of a message as a ratio to the least a server can do; medians of N rounds (5).
        Only the scenarios that have WORDS in their names, if given.
  bench masks
        Masking, built for x86-64, -v3, -v4 and this processor; runs where it has the registers: GB/s, with a goal.
  bench threads [--rounds N] [--binary FILE]
        The capacity of two threads as a ratio to that of one; medians of N rounds (5).
  bench tls [--rounds N] [--only WORDS] [--binary FILE]
        Messages and handshakes of `sockeye echo` with TLS beside those of an echo in C on OpenSSL; medians of N rounds (5).
  bench tls counts [--report-only] [--binary FILE]
        Instructions of an echoed message with TLS, beside those without and those of rustls alone, with their goals.
  bench topics [--report-only]
        Instructions of a message that is published to a topic, beside one to all connections, with their goals.
  bench soak [--connections N] [--minutes N] [--external] [--binary FILE]
        N connections (19900) held for N minutes (10) with keepalive on: lost ones, CPU time and memory of the server, with goals.
        With --external the server is the example of a bare poll(2) loop, and what it costs has no goal.
  dist [--out FOLDER] [--binary FILE]
        The program, shell completions, man pages, systemd units and licences, into FOLDER (dist in the build folder), and all
        of it as a .tar.gz; and the C libraries as a .deb.
  dist --help-texts [--binary FILE]
        Writes what `sockeye --help` says into docs/command.md.
  capi [--debug] [--prefix FOLDER]
        The C libraries, into `capi` in the build folder, and installed below FOLDER: lib, include. With --debug they are built in
        less time, with assertions.
  capi threads
        The C programs that call from several threads, on libraries that ThreadSanitizer watches.
  package
        The crates as they are published: packed, unpacked elsewhere, and tested there.

--binary FILE tests that program instead of the `sockeye` built here.
";

/// What can be asked for, as documents may name it.
const TASKS: &[&str] =
    &["test", "house", "api", "sim", "cluster", "conformance", "fuzz", "bench", "dist", "capi", "help"];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::from(2)
        }
    }
}

/// True when everything that was asked for passed. An error is one of usage.
fn dispatch(arguments: &[String]) -> Result<bool, String> {
    let Some((task, rest)) = arguments.split_first() else {
        return Err(format!("no task given\n\n{USAGE}"));
    };
    let mut options = Options::new(rest);
    match task.as_str() {
        "test" => test(&mut options),
        "sim" => {
            let (seeds, seed) = (options.number("--seeds")?, options.number("--seed")?);
            options.finish()?;
            let range = simulator::Range::new(seeds, seed);
            single(&Workspace::find(None)?, |workspace| simulator::run(workspace, range))
        }
        "cluster" => {
            let messages = options.number("--messages")?;
            let workspace = options.workspace()?;
            options.finish()?;
            single(&workspace, |workspace| rust::cluster(workspace, messages))
        }
        "conformance" => {
            let side = conformance::Side::new(options.flag("--client"), options.flag("--tls"));
            let cases = options.value("--cases")?.unwrap_or_else(|| "*".to_owned());
            let repeat = options.number("--repeat")?.unwrap_or(1);
            let workspace = options.workspace()?;
            options.finish()?;
            single(&workspace, |workspace| {
                conformance::run(workspace, side, &conformance::Plan::published(&cases, repeat))
            })
        }
        "fuzz" => {
            let seconds = options.number("--seconds")?.unwrap_or(30);
            let (replay, minimise) = (options.value("--replay")?.map(PathBuf::from), options.flag("--minimise"));
            let targets = options.free();
            options.finish()?;
            single(&Workspace::find(None)?, |workspace| match &replay {
                Some(input) => fuzz::replay(workspace, input, &targets),
                None if minimise => fuzz::minimise(workspace, &targets),
                None => fuzz::search(workspace, seconds, &targets),
            })
        }
        "bench" => bench(&mut options),
        "house" => {
            let (graph, english) = (options.flag("--graph"), options.flag("--english"));
            options.finish()?;
            let print = if graph { house::print_graph } else { house::print_english };
            single(&Workspace::find(None)?, if graph || english { print } else { house::run })
        }
        "dist" => dist(&mut options),
        "capi" => capi(&mut options),
        "api" => {
            options.finish()?;
            single(&Workspace::find(None)?, |workspace| api::run(workspace, true))
        }
        "package" => {
            options.finish()?;
            single(&Workspace::find(None)?, package::run)
        }
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(true)
        }
        other => Err(format!("no such task: {other}\n\n{USAGE}")),
    }
}

fn test(options: &mut Options) -> Result<bool, String> {
    if options.flag("--list") {
        options.finish()?;
        gate::list();
        return Ok(true);
    }
    let (only, skip) = (options.values("--only")?, options.values("--skip")?);
    let workspace = options.workspace()?;
    options.finish()?;
    Ok(gate::run(&workspace, &gate::Selection::new(only, skip)?))
}

fn bench(options: &mut Options) -> Result<bool, String> {
    let (report_only, external) = (options.flag("--report-only"), options.flag("--external"));
    let (connections, minutes) = (options.number("--connections")?, options.number("--minutes")?);
    let plan = bench::soak::Plan {
        connections: connections.unwrap_or(19_900),
        seconds: minutes.unwrap_or(10).saturating_mul(60),
        external,
    };
    let (rounds, only) = (options.number("--rounds")?, options.value("--only")?);
    let workspace = options.workspace()?;
    let kind = options.free();
    options.finish()?;
    match kind.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["brokers"] => {
            single(&workspace, |workspace| bench::brokers::run(workspace, rounds.unwrap_or(9), only.as_deref()))
        }
        ["deflate"] => single(&workspace, |workspace| bench::deflate::run(workspace, report_only, only.as_deref())),
        ["capi"] => single(&workspace, |workspace| bench::capi::run(workspace, rounds.unwrap_or(9), only.as_deref())),
        ["counts"] => single(&workspace, |workspace| bench::counts::run(workspace, report_only)),
        ["soak"] => single(&workspace, |workspace| bench::soak::run(workspace, plan)),
        ["masks"] => single(&workspace, |workspace| bench::masks::run(workspace, true)),
        ["threads"] => single(&workspace, |workspace| bench::threads::run(workspace, rounds.unwrap_or(5))),
        ["tls"] => single(&workspace, |workspace| bench::tls::times(workspace, rounds.unwrap_or(5), only.as_deref())),
        ["tls", "counts"] => single(&workspace, |workspace| bench::tls::instructions(workspace, report_only)),
        ["topics"] => single(&workspace, |workspace| bench::topics::run(workspace, report_only)),
        ["speed"] => single(&workspace, |workspace| bench::speed::run(workspace, rounds.unwrap_or(5), only.as_deref())),
        _ => Err(format!(
            "bench what: brokers, capi, counts, deflate, masks, soak, speed, threads, tls or topics?\n\n{USAGE}"
        )),
    }
}

fn dist(options: &mut Options) -> Result<bool, String> {
    let out = options.value("--out")?.map(PathBuf::from);
    let help_texts = options.flag("--help-texts");
    let workspace = options.workspace()?;
    options.finish()?;
    single(&workspace, |workspace| if help_texts { help::run(workspace, true) } else { dist::run(workspace, out) })
}

fn capi(options: &mut Options) -> Result<bool, String> {
    let profile = if options.flag("--debug") { capi::Profile::Debug } else { capi::Profile::Release };
    let prefix = options.value("--prefix")?.map(PathBuf::from);
    let what = options.free();
    options.finish()?;
    match what.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {}
        ["threads"] => return single(&Workspace::find(None)?, capi::threads),
        _ => return Err(format!("capi what: threads?\n\n{USAGE}")),
    }
    single(&Workspace::find(None)?, |workspace| capi::build(workspace, profile, prefix.as_deref()))
}

/// Runs one step outside the gate and says how it went.
fn single(
    workspace: &Workspace,
    step: impl FnOnce(&Workspace) -> Result<gate::Checks, gate::Failure>,
) -> Result<bool, String> {
    let (checks, passed) = match step(workspace) {
        Ok(checks) => (checks, true),
        Err(failure) => {
            println!("\n{}", failure.message);
            (failure.checks, false)
        }
    };
    println!("{checks}");
    Ok(passed)
}

/// What stands behind the task on the command line; each read takes its words out, so that the rest is a mistake.
struct Options {
    words: Vec<String>,
}

impl Options {
    fn new(words: &[String]) -> Self {
        Self { words: words.to_vec() }
    }

    fn flag(&mut self, name: &str) -> bool {
        let before = self.words.len();
        self.words.retain(|word| word != name);
        self.words.len() < before
    }

    fn value(&mut self, name: &str) -> Result<Option<String>, String> {
        let Some(at) = self.words.iter().position(|word| word == name) else { return Ok(None) };
        if at + 1 == self.words.len() {
            return Err(format!("{name} needs a value\n\n{USAGE}"));
        }
        self.words.remove(at);
        Ok(Some(self.words.remove(at)))
    }

    fn values(&mut self, name: &str) -> Result<Vec<String>, String> {
        let mut all = Vec::new();
        while let Some(value) = self.value(name)? {
            all.extend(value.split(',').map(str::to_owned));
        }
        Ok(all)
    }

    fn number(&mut self, name: &str) -> Result<Option<u64>, String> {
        let Some(value) = self.value(name)? else { return Ok(None) };
        value.parse().map(Some).map_err(|_| format!("{name} needs a number, not {value}"))
    }

    fn workspace(&mut self) -> Result<Workspace, String> {
        Workspace::find(self.value("--binary")?.map(PathBuf::from))
    }

    /// The words that are no options.
    fn free(&mut self) -> Vec<String> {
        let (options, free) = self.words.drain(..).partition(|word| word.starts_with('-'));
        self.words = options;
        free
    }

    fn finish(&self) -> Result<(), String> {
        if self.words.is_empty() { Ok(()) } else { Err(format!("not understood: {}\n\n{USAGE}", self.words.join(" "))) }
    }
}
