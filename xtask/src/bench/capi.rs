//! What the C library costs: the same C program on it and on Debian's libwebsockets 4.1.6, and `sockeye echo` beside them.
//!
//! In [`times`] the three take turns within one run, as in [`speed`](super::speed). Counts are those of [`counts`].

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    LIMIT, Programs, counts,
    counts::{SCENARIOS, Scenario, Subject},
    reading, require,
    speed::Processors,
    statistics,
    table::{Table, short},
};
use crate::{
    capi,
    gate::{Checks, Failure},
    output::say,
    process,
    workspace::Workspace,
};

/// Whose figures are in which column.
const NAMES: [&str; 3] = ["Debian", "Sockeye, C", "Sockeye, Rust"];

/// What is sent while times are taken: connections, in flight, bytes.
const LOADS: [(&str, [&str; 3]); 3] = [
    ("20 B, 200 x 1 in flight", ["200", "1", "20"]),
    ("20 B, 200 x 16 in flight", ["200", "16", "20"]),
    ("16 KiB, 200 x 1", ["200", "1", "16384"]),
];

/// Prints the tables: times of `rounds` rounds, and counts. It never fails for a number.
pub(crate) fn run(workspace: &Workspace, rounds: u64, only: Option<&str>) -> Result<Checks, Failure> {
    require(&["strace", "valgrind"])?;
    let ours = capi::library(workspace)?;
    let programs = Programs::build(workspace, &[])?;
    let program = echo(&programs)?;
    let on = |folder: &Path| Subject::with(format!("LD_LIBRARY_PATH={}", folder.display()), &program);
    let subjects = [on(Path::new("")), on(&ours), Subject::command(&programs)];
    let mut tables = Vec::new();
    if only.is_none_or(|only| only == "counts") {
        tables.push(count(&programs, &subjects)?);
    }
    if only.is_none_or(|only| only == "times") {
        tables.push(times(&programs, &subjects, rounds)?);
    }
    if tables.is_empty() {
        return Err("--only counts, or --only times".into());
    }
    for table in &tables {
        say!("\n{table}");
    }
    Ok(Checks::passed(tables.len() as u64))
}

/// Compiles the program, by the header of Debian.
fn echo(programs: &Programs<'_>) -> Result<PathBuf, Failure> {
    if !Path::new("/usr/include/libwebsockets.h").is_file() {
        return Err(
            "the header of libwebsockets 4.1.6 is missing\nType: sudo apt-get install -y libwebsockets-dev".into()
        );
    }
    let program = programs.folder()?.join("lws-echo");
    let mut command = Command::new("cc");
    command.args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&program);
    command.arg(programs.workspace.root().join("benches/lws/echo.c")).arg("-lwebsockets");
    process::run(&mut command, LIMIT)?.success(&process::shown(&command))?;
    Ok(program)
}

/// A head of `what`, and a column for each of [`NAMES`].
fn table(what: &str) -> Table {
    Table::new(&[what, NAMES[0], NAMES[1], NAMES[2]])
}

/// System calls, user instructions and memory.
fn count(programs: &Programs<'_>, subjects: &[Subject; 3]) -> Result<Table, Failure> {
    let mut table = table("for each message");
    let mut row = |name: String, figure: &dyn Fn(&Subject) -> Result<f64, Failure>| -> Result<(), Failure> {
        let [debian, ours, rust] = subjects;
        table.row([name, short(figure(debian)?), short(figure(ours)?), short(figure(rust)?)]);
        Ok(())
    };
    for scenario @ Scenario { name, .. } in SCENARIOS {
        row(format!("system calls, {name}"), &|subject| {
            let calls: BTreeMap<String, f64> = counts::calls(programs, subject, scenario)?;
            say!("{name}: {}", counts::by_kind(&calls));
            Ok(calls.values().sum())
        })?;
    }
    for scenario @ Scenario { name, .. } in SCENARIOS {
        row(format!("user instructions, {name}"), &|subject| counts::instructions(programs, subject, scenario))?;
    }
    for (when, name) in [("after the upgrade", "after_upgrade"), ("after 1 KiB", "after_message")] {
        row(format!("bytes of an idle connection, {when}"), &|subject| {
            let server = subject.start(programs, &[])?;
            let idle = programs.load(&server, &["idle", "--connections", counts::IDLE, "--size", "1024"])?;
            server.stop()?;
            reading::number(&idle, name).ok_or_else(|| "`load` did not tell the memory".into())
        })?;
    }
    Ok(table)
}

/// Microseconds of the server's processor for each message, and messages a second, with how far the rounds are apart.
fn times(programs: &Programs<'_>, subjects: &[Subject; 3], rounds: u64) -> Result<Table, Failure> {
    let processors = Processors::find()?;
    let mut all = vec![[const { (Vec::new(), Vec::new()) }; 3]; LOADS.len()];
    for round in 0..rounds {
        for ((_, load), figures) in LOADS.iter().zip(&mut all) {
            // Who comes first changes, so that a machine that grows slower or faster favours nobody.
            for turn in 0..subjects.len() {
                let at = (turn + round as usize) % subjects.len();
                let (rate, cost) = time(programs, &processors, &subjects[at], *load)?;
                figures[at].0.push(cost);
                figures[at].1.push(rate);
            }
        }
        say!("round {} of {rounds} done", round + 1);
    }
    let mut table = table(&format!("medians of {rounds} rounds"));
    let shown =
        |values: &[f64]| format!("{} (±{:.0} %)", short(statistics::median(values)), statistics::spread(values) * 50.0);
    for ((name, _), [debian, ours, rust]) in LOADS.iter().zip(&all) {
        table.row([format!("server CPU, us, {name}"), shown(&debian.0), shown(&ours.0), shown(&rust.0)]);
        table.row([format!("messages a second, {name}"), shown(&debian.1), shown(&ours.1), shown(&rust.1)]);
    }
    Ok(table)
}

/// One run: messages for a second, and microseconds of the server's time for each.
fn time(
    programs: &Programs<'_>,
    processors: &Processors,
    subject: &Subject,
    [connections, flight, size]: [&str; 3],
) -> Result<(f64, f64), Failure> {
    let server = processors.on(0, || subject.start(programs, &[]))?;
    let load = ["echo", "--connections", connections, "--flight", flight, "--size", size, "--seconds", "1"];
    let line = processors.on(1, || programs.load(&server, &load))?;
    server.stop()?;
    match (reading::number(&line, "messages"), reading::number(&line, "server_ns")) {
        (Some(messages @ 1.0..), Some(nanos)) => Ok((messages, nanos / messages / 1000.0)),
        _ => Err(format!("`load` measured nothing: {line}").into()),
    }
}
