//! The gate: which steps there are, in which order they run, and the report at the end.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    api, bench, capi, client, conformance, dist, fuzz, help, house, interop,
    output::{self, say},
    package, processor, rust, simulator, tools,
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

/// What a step may run beside: nothing, or others of up to as many lanes as there are, which have no file in common with it but what they
/// build once. So it passes on a machine that has other work.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
enum Lane {
    Alone,
    /// Mostly compiles, with as many threads as there are processors.
    Main,
    /// Has one thread, or little to compile.
    Side,
    /// Waits more than it works: for peers, for packages.
    Waiting,
}

struct Step {
    name: &'static str,
    about: &'static str,
    lane: Lane,
    /// Steps before it that have to end before it begins.
    after: &'static [&'static str],
    run: Task,
}

type Task = fn(&Workspace) -> Result<Checks, Failure>;

impl Step {
    const fn alone(name: &'static str, about: &'static str, run: Task) -> Self {
        Self { name, about, lane: Lane::Alone, after: &[], run }
    }

    const fn main(name: &'static str, about: &'static str, run: Task) -> Self {
        Self { name, about, lane: Lane::Main, after: &[], run }
    }

    const fn side(name: &'static str, about: &'static str, run: Task) -> Self {
        Self { name, about, lane: Lane::Side, after: &[], run }
    }

    const fn waiting(name: &'static str, about: &'static str, run: Task) -> Self {
        Self { name, about, lane: Lane::Waiting, after: &[], run }
    }

    const fn after(self, steps: &'static [&'static str]) -> Self {
        Self { after: steps, ..self }
    }
}

/// In this order, each lane for itself; a lane that has ended takes steps of the others. A step that runs [alone](Lane::Alone) begins
/// when all before it have ended, and those after it then.
const STEPS: &[Step] = &[
    Step::main("fmt", "formatting", rust::format),
    Step::main("house", "house rules: sizes, unsafe, layers, leftovers, README", house::run),
    Step::main("features", "the library without features, and with each alone", rust::features),
    Step::main("clippy", "lints, warnings denied, for each feature set", rust::lint),
    Step::main("docs", "the documentation of everything, warnings denied", rust::documentation),
    Step::main("api", "the public items of the libraries against docs/api", |workspace| api::run(workspace, false)),
    Step::side("release", "release build of the command", rust::release),
    Step::waiting("tools", "programs and packages that the other steps need", tools::install),
    Step::main("deny", "licences, sources and versions of the dependencies: deny.toml", rust::deny).after(&["tools"]),
    Step::main("test", "unit, integration, doc and compile-fail tests of every crate", rust::test)
        .after(&["tools"]),
    Step::main("sim", "2,000 seeds of the simulated network", |workspace| {
        simulator::run(workspace, simulator::Range::default())
    }),
    Step::main("fuzz", "the fuzz targets on a fixed count of inputs, under AddressSanitizer", fuzz::gate),
    Step::main("package", "the crates as they are published, each compiled from its package alone", package::run),
    Step::main(
        "capi",
        "the C libraries, and the C programs that test them, under valgrind and with sanitizers too",
        capi::gate,
    )
    .after(&["tools"]),
    Step::side(
        "dist",
        "an archive of the release build, its completions and man pages; the Debian package of the C libraries; docs/command.md against its help",
        |workspace| {
            let mut total = dist::run(workspace, None)?;
            total += help::run(workspace, false)?;
            Ok(total)
        },
    )
    .after(&["tools"]),
    Step::side("abuse", "hostile and unlucky peers against the release build", rust::abuse).after(&["tools", "release"]),
    Step::side(
        "cluster",
        "three servers, a broker, and what happens to them: Redis and NATS, with and without history",
        |workspace| rust::cluster(workspace, None),
    )
    .after(&["tools", "release"]),
    Step::side("abuse-c", "the same peers against a C program on each of the C libraries", capi::abused).after(&["tools"]),
    Step::side(
        "counts",
        "system calls, instructions and bytes of the release build, against their goals",
        |workspace| bench::counts::run(workspace, false),
    )
    .after(&["tools", "release"]),
    Step::side("command", "the tests of the command on its release build, daemons included", rust::command)
        .after(&["tools", "release"]),
    Step::side("masks", "the masking benchmark, built for several kinds of processors", |workspace| {
        bench::masks::run(workspace, false)
    }),
    Step::waiting("client", "the Autobahn suite against a client, plain and over TLS", conformance::clients)
        .after(&["tools"]),
    Step::waiting("autobahn", "the Autobahn suite against `sockeye echo`, plain and over TLS", conformance::servers)
        .after(&["tools", "release"]),
    Step::waiting(
        "interop",
        "libwebsockets, ws and websockets against the release build, and their servers and gorilla's for a client, plain and over \
         TLS; s_client; fetch and curl on HTTP sessions",
        interop,
    )
    .after(&["tools", "release"]),
    Step::waiting("proxies", "a client through tinyproxy, behind stunnel too, and microsocks", client::proxies)
        .after(&["tools"]),
    Step::waiting(
        "capi17",
        "Debian's programs for libwebsockets 4.1.6, unchanged, on the C library: kamailio, swupdate, csound, driftnet, janus, rtpengine",
        capi::packaged,
    )
    .after(&["tools"]),
    Step::waiting(
        "soak",
        "2,000 connections held for half a minute, with keepalive, by the release build",
        |workspace| bench::soak::run(workspace, bench::soak::Plan::SHORT),
    ),
    Step::alone(
        "browser",
        "Chromium on the page of `sockeye serve`, over TLS too, of the poll(2) example, and of that of server-sent events",
        interop::browser,
    ),
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

#[derive(Clone, Copy)]
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
    verdict: Verdict,
    checks: Checks,
    time: Duration,
    /// Of all processors.
    work: Duration,
}

/// Prints the names of the steps.
pub(crate) fn list() {
    for step in STEPS {
        say!("{:10}{}", step.name, step.about);
    }
}

/// Runs the selected steps up to the first that fails. True when none did.
pub(crate) fn run(workspace: &Workspace, selection: &Selection) -> bool {
    let begin = Instant::now();
    let state = run_steps(workspace, STEPS, selection);
    report(selection, &state, begin.elapsed());
    state.failures.is_empty()
}

fn run_steps<'s>(workspace: &Workspace, steps: &'s [Step], selection: &Selection) -> State<'s> {
    let count = steps.iter().filter(|step| selection.wants(step.name)).count();
    let run = Run { workspace, selection, count, state: Mutex::default(), ended: Condvar::new() };
    for group in steps.chunk_by(|one, next| one.lane != Lane::Alone && next.lane != Lane::Alone) {
        run.group(group.iter().filter(|step| selection.wants(step.name)));
    }
    run.state.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The steps on their way.
struct Run<'w, 's> {
    workspace: &'w Workspace,
    selection: &'w Selection,
    count: usize,
    state: Mutex<State<'s>>,
    /// A step has ended.
    ended: Condvar,
}

#[derive(Default)]
struct State<'s> {
    /// What has not begun.
    lanes: BTreeMap<Lane, VecDeque<&'s Step>>,
    begun: usize,
    /// By the names of their steps.
    rows: BTreeMap<&'static str, Row>,
    failures: Vec<(&'static str, String)>,
}

impl<'s> State<'s> {
    /// The next step of a lane, or of the one that has the most left, the last of that, so that the two of them meet late.
    fn take(&mut self, lane: Lane) -> Option<&'s Step> {
        let own = self.lanes.get_mut(&lane).and_then(VecDeque::pop_front);
        own.or_else(|| self.lanes.values_mut().max_by_key(|steps| steps.len())?.pop_back())
    }
}

impl<'s> Run<'_, 's> {
    /// Runs steps that may run beside each other.
    fn group(&self, steps: impl Iterator<Item = &'s Step>) {
        let mut lanes: BTreeMap<Lane, VecDeque<&Step>> = BTreeMap::new();
        for step in steps {
            lanes.entry(step.lane).or_default().push_back(step);
        }
        let names: Vec<Lane> = lanes.keys().copied().collect();
        self.state().lanes = lanes;
        if let [only] = names[..] {
            return self.lane(only, |step| self.step(step));
        }
        thread::scope(|scope| {
            for lane in names {
                scope.spawn(move || self.lane(lane, |step| output::named(step.name, || self.step(step))));
            }
        });
    }

    /// Runs the steps of a lane, and then those that others have not begun.
    fn lane(&self, lane: Lane, run: impl Fn(&'s Step)) {
        loop {
            let next = self.state().take(lane);
            let Some(step) = next else { return };
            run(step);
        }
    }

    /// Runs one step, unless one has failed before.
    fn step(&self, step: &Step) {
        let Step { name, about, .. } = step;
        let Some(number) = self.begin(step) else { return };
        let count = self.count;
        say!("\n=== {number}/{count} {name}: {about}");
        let start = Instant::now();
        processor::take_spent();
        let result = (step.run)(self.workspace);
        let (time, work) = (start.elapsed(), processor::take_spent());
        let (checks, verdict, message) = match result {
            Ok(checks) => (checks, Verdict::Passed, None),
            Err(failure) => (failure.checks, Verdict::Failed, Some(failure.message)),
        };
        say!("=== {number}/{count} {name}: {verdict} ({checks}) in {:.1} s", time.as_secs_f64());
        let mut state = self.state();
        state.rows.insert(name, Row { verdict, checks, time, work });
        state.failures.extend(message.map(|message| (*name, message)));
        self.ended.notify_all();
    }

    /// The number of the next step, once it may begin.
    fn begin(&self, step: &Step) -> Option<usize> {
        let lacks_some = |state: &mut State<'_>| {
            let lacks = |name: &&str| self.selection.wants(name) && !state.rows.contains_key(name);
            state.failures.is_empty() && step.after.iter().any(lacks)
        };
        let mut state = self.ended.wait_while(self.state(), lacks_some).unwrap_or_else(PoisonError::into_inner);
        if !state.failures.is_empty() {
            return None;
        }
        state.begun += 1;
        Some(state.begun)
    }

    fn state(&self) -> MutexGuard<'_, State<'s>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn report(selection: &Selection, state: &State<'_>, time: Duration) {
    say!("\n{:10} {:12} {:>8} {:>8} {:>9} {:>9}", "step", "result", "passed", "failed", "time", "work");
    let (mut total, mut total_work) = (Checks::default(), Duration::ZERO);
    let mut left_out = Vec::new();
    for Step { name, .. } in STEPS {
        let row = state.rows.get(name);
        let verdict = match row {
            Some(row) => row.verdict,
            None if selection.wants(name) => Verdict::NotReached,
            None => Verdict::LeftOut,
        };
        if matches!(verdict, Verdict::LeftOut) {
            left_out.push(*name);
        }
        let (checks, time, work) = row.map(|row| (row.checks, row.time, row.work)).unwrap_or_default();
        say!("{name:10} {verdict:12} {}", figures(checks, time, work));
        total += checks;
        total_work += work;
    }
    say!("{:23} {}", "", figures(total, time, total_work));
    if !left_out.is_empty() {
        say!("\nNOT THE WHOLE GATE: left out as asked: {}", left_out.join(", "));
    }
    for (name, message) in &state.failures {
        say!("\n{name} FAILED: {message}\nOnce mended: cargo xtask test --only {name}");
    }
    say!("\n{total}");
}

/// Of the clock, and of the processors for what the step ran: the build and the tests, but not daemons.
fn figures(checks: Checks, time: Duration, work: Duration) -> String {
    let (time, work) = (time.as_secs_f64(), work.as_secs_f64());
    format!("{:>8} {:>8} {time:>7.1} s {work:>7.1} s", checks.passed, checks.failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state_after(steps: &[Step]) -> State<'_> {
        let selection = Selection { only: Vec::new(), skip: Vec::new() };
        run_steps(&Workspace::find(None).expect("this is a checkout"), steps, &selection)
    }

    #[test]
    fn lanes_run_beside_each_other() {
        static THERE: (Mutex<u32>, Condvar) = (Mutex::new(0), Condvar::new());
        fn meet(_: &Workspace) -> Result<Checks, Failure> {
            let mut count = THERE.0.lock().unwrap();
            *count += 1;
            THERE.1.notify_all();
            let some_lack = |count: &mut u32| *count < 3;
            let waited = THERE.1.wait_timeout_while(count, Duration::from_secs(60), some_lack).unwrap().1;
            if waited.timed_out() { Err("the other steps did not begin".into()) } else { Ok(Checks::passed(1)) }
        }
        let steps = [Step::main("main", "", meet), Step::side("side", "", meet), Step::waiting("waiting", "", meet)];
        let state = state_after(&steps);
        assert!(state.failures.is_empty(), "{:?}", state.failures);
        assert_eq!(state.rows.into_keys().collect::<Vec<_>>(), ["main", "side", "waiting"]);
    }

    #[test]
    fn what_a_step_needs_of_another_lane_is_there() {
        static IS_THERE: Mutex<bool> = Mutex::new(false);
        let steps = [
            Step::main("slow", "", |_| {
                thread::sleep(Duration::from_millis(20));
                *IS_THERE.lock().unwrap() = true;
                Ok(Checks::passed(1))
            }),
            Step::side("needs", "", |_| match *IS_THERE.lock().unwrap() {
                true => Ok(Checks::passed(1)),
                false => Err("it is not there".into()),
            })
            .after(&["slow"]),
        ];
        let state = state_after(&steps);
        assert!(state.failures.is_empty(), "{:?}", state.failures);
        assert_eq!(state.rows.len(), 2);
    }

    #[test]
    fn what_steps_need_is_a_step_before_them() {
        for (at, step) in STEPS.iter().enumerate() {
            for name in step.after {
                assert!(STEPS[..at].iter().any(|other| other.name == *name), "{} after {name}", step.name);
            }
        }
    }

    #[test]
    fn nothing_begins_after_a_failure() {
        let fine = |_: &Workspace| Ok(Checks::passed(1));
        let steps = [
            Step::alone("first", "", fine),
            Step::main("broken", "", |_| Err("broken".into())),
            Step::main("later", "", fine),
            Step::side("beside", "", fine).after(&["broken"]),
            Step::alone("last", "", fine),
        ];
        let state = state_after(&steps);
        assert_eq!(state.failures, [("broken", "broken".to_owned())]);
        assert_eq!(state.rows.into_keys().collect::<Vec<_>>(), ["broken", "first"]);
    }

    #[test]
    fn a_lane_that_has_ended_takes_the_last_steps_of_others() {
        static RAN: Mutex<Vec<&str>> = Mutex::new(Vec::new());
        static ENDED: Condvar = Condvar::new();
        fn note(name: &'static str) -> Result<Checks, Failure> {
            RAN.lock().unwrap().push(name);
            ENDED.notify_all();
            Ok(Checks::passed(1))
        }
        let steps = [
            // It ends when all others have, so another lane ran them.
            Step::main("long", "", |_| {
                let some_lack = |ran: &mut Vec<&str>| ran.len() < 3;
                let waited =
                    ENDED.wait_timeout_while(RAN.lock().unwrap(), Duration::from_secs(60), some_lack).unwrap().1;
                if waited.timed_out() { Err("nobody took the other steps".into()) } else { Ok(Checks::passed(1)) }
            }),
            Step::main("middle", "", |_| note("middle")),
            Step::main("last", "", |_| note("last")),
            Step::side("own", "", |_| note("own")),
        ];
        let state = state_after(&steps);
        assert!(state.failures.is_empty(), "{:?}", state.failures);
        let ran = RAN.lock().unwrap();
        assert!(
            ran.len() == 3
                && ran.iter().position(|name| *name == "last") < ran.iter().position(|name| *name == "middle")
        );
    }
}
