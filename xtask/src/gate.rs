//! The gate: which steps there are, in which order they run, and the report at the end.

use std::{
    fmt,
    time::{Duration, Instant},
};

use crate::{
    api, bench, client, conformance, dist, fuzz, help, house, interop, package, rust, simulator, tools,
    workspace::Workspace,
};

/// How many single things were checked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Checks {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Checks {
    pub(crate) const fn passed(passed: u64) -> Self {
        Self { passed, failed: 0 }
    }
}

impl std::ops::AddAssign for Checks {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl fmt::Display for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// A step that failed: what to tell, and what it had checked.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) checks: Checks,
}

impl Failure {
    /// `message` with the counts; a failure counts once at least.
    pub(crate) fn new(message: impl Into<String>, checks: Checks) -> Self {
        Self { message: message.into(), checks: Checks { passed: checks.passed, failed: checks.failed.max(1) } }
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::new(message, Checks::default())
    }
}

impl From<&str> for Failure {
    fn from(message: &str) -> Self {
        message.to_owned().into()
    }
}

struct Step {
    name: &'static str,
    about: &'static str,
    run: fn(&Workspace) -> Result<Checks, Failure>,
}

const STEPS: &[Step] = &[
    Step { name: "tools", about: "programs and packages that the other steps need", run: tools::install },
    Step { name: "fmt", about: "formatting", run: rust::format },
    Step { name: "clippy", about: "lints, warnings denied, for each feature set", run: rust::lint },
    Step { name: "features", about: "the library without features, and with each alone", run: rust::features },
    Step { name: "test", about: "unit, integration, doc and compile-fail tests of every crate", run: rust::test },
    Step { name: "doc", about: "documentation without warnings", run: rust::document },
    Step {
        name: "api",
        about: "the public items of the libraries against docs/api",
        run: |workspace| api::run(workspace, false),
    },
    Step { name: "deny", about: "licences, sources and versions of the dependencies: deny.toml", run: rust::deny },
    Step { name: "house", about: "house rules: sizes, unsafe, layers, leftovers, README", run: house::run },
    Step {
        name: "sim",
        about: "2,000 seeds of the simulated network",
        run: |workspace| simulator::run(workspace, simulator::Range::default()),
    },
    Step {
        name: "fuzz",
        about: "the fuzz targets on a fixed count of inputs, under AddressSanitizer",
        run: fuzz::gate,
    },
    Step { name: "release", about: "release build of the command", run: rust::release },
    Step {
        name: "masks",
        about: "the masking benchmark, built for several kinds of processors",
        run: |workspace| bench::masks::run(workspace, false),
    },
    Step {
        name: "command",
        about: "the tests of the command on its release build, daemons included",
        run: rust::command,
    },
    Step {
        name: "dist",
        about: "an archive of the release build, its completions and man pages; docs/command.md against its help",
        run: |workspace| {
            let mut total = dist::run(workspace, None)?;
            total += help::run(workspace, false)?;
            Ok(total)
        },
    },
    Step { name: "package", about: "the crates as they are published, and their doc tests there", run: package::run },
    Step {
        name: "autobahn",
        about: "the Autobahn suite against `sockeye echo`, and against a client",
        run: conformance::both,
    },
    Step { name: "abuse", about: "hostile and unlucky peers against the release build", run: rust::abuse },
    Step {
        name: "soak",
        about: "2,000 connections held for half a minute, with keepalive, by the release build",
        run: |workspace| bench::soak::run(workspace, bench::soak::Plan::SHORT),
    },
    Step {
        name: "interop",
        about: "libwebsockets, ws and websockets against the release build, and their servers and gorilla's for a client; \
                fetch and curl on HTTP sessions",
        run: interop,
    },
    Step { name: "proxies", about: "a client through tinyproxy and microsocks", run: client::proxies },
    Step {
        name: "browser",
        about: "Chromium on the page of `sockeye serve`, of the poll(2) example, and of that of server-sent events",
        run: interop::browser,
    },
];

fn interop(workspace: &Workspace) -> Result<Checks, Failure> {
    let mut total = interop::clients(workspace)?;
    total += client::servers(workspace)?;
    Ok(total)
}

/// Which steps to run.
pub(crate) struct Selection {
    only: Vec<String>,
    skip: Vec<String>,
}

impl Selection {
    /// No `only` means all. Unknown names are refused.
    pub(crate) fn new(only: Vec<String>, skip: Vec<String>) -> Result<Self, String> {
        for name in only.iter().chain(&skip) {
            if !STEPS.iter().any(|step| step.name == name) {
                return Err(format!("no such step: {name} (see `cargo xtask test --list`)"));
            }
        }
        Ok(Self { only, skip })
    }

    fn wants(&self, name: &str) -> bool {
        let asked = self.only.is_empty() || self.only.iter().any(|only| only == name);
        asked && !self.skip.iter().any(|skip| skip == name)
    }
}

enum Verdict {
    Passed,
    Failed,
    LeftOut,
    NotReached,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::LeftOut => "LEFT OUT",
            Self::NotReached => "not reached",
        })
    }
}

struct Row {
    step: &'static Step,
    verdict: Verdict,
    checks: Checks,
    time: Duration,
}

/// Prints the names of the steps.
pub(crate) fn list() {
    for step in STEPS {
        println!("{:10}{}", step.name, step.about);
    }
}

/// Runs the selected steps up to the first that fails. True when none did.
pub(crate) fn run(workspace: &Workspace, selection: &Selection) -> bool {
    let begin = Instant::now();
    let count = STEPS.iter().filter(|step| selection.wants(step.name)).count();
    let mut rows: Vec<Row> = Vec::with_capacity(STEPS.len());
    let mut failure = None;
    let mut number = 0;
    for step in STEPS {
        let mut row = Row { step, verdict: Verdict::LeftOut, checks: Checks::default(), time: Duration::ZERO };
        if selection.wants(step.name) {
            row.verdict = Verdict::NotReached;
        }
        if selection.wants(step.name) && failure.is_none() {
            number += 1;
            println!("\n=== {number}/{count} {}: {}", step.name, step.about);
            let start = Instant::now();
            let result = (step.run)(workspace);
            row.time = start.elapsed();
            (row.checks, row.verdict) = match result {
                Ok(checks) => (checks, Verdict::Passed),
                Err(error) => {
                    failure = Some((step.name, error.message));
                    (error.checks, Verdict::Failed)
                }
            };
            println!(
                "=== {number}/{count} {}: {} ({}) in {:.1} s",
                step.name,
                row.verdict,
                row.checks,
                row.time.as_secs_f64()
            );
        }
        rows.push(row);
    }
    report(&rows, failure.as_ref().map(|(name, message)| (*name, message.as_str())), begin.elapsed());
    failure.is_none()
}

fn report(rows: &[Row], failure: Option<(&str, &str)>, time: Duration) {
    println!("\n{:10} {:12} {:>8} {:>8} {:>9}", "step", "result", "passed", "failed", "time");
    let mut total = Checks::default();
    for row in rows {
        let Row { step, verdict, checks, time } = row;
        let time = time.as_secs_f64();
        println!("{:10} {verdict:12} {:>8} {:>8} {time:>7.1} s", step.name, checks.passed, checks.failed);
        total += *checks;
    }
    println!("{:10} {:12} {:>8} {:>8} {:>7.1} s", "", "", total.passed, total.failed, time.as_secs_f64());
    let left_out: Vec<&str> =
        rows.iter().filter(|row| matches!(row.verdict, Verdict::LeftOut)).map(|row| row.step.name).collect();
    if !left_out.is_empty() {
        println!("\nNOT THE WHOLE GATE: left out as asked: {}", left_out.join(", "));
    }
    if let Some((name, message)) = failure {
        println!("\n{name} FAILED: {message}\nOnce mended: cargo xtask test --only {name}");
    }
    println!("\n{total}");
}
