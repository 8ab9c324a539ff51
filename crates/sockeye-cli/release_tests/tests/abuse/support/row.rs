//! The conditions that hold after every row of the matrix (U1 to U8).
//!
//! U1 alive and no panic, U2 canaries served, U3 descriptors, U4 memory, U5 no work once idle, U7 log lines. That the offending
//! connection is gone (U8) each row demands of its peers. That `closed` follows each `open` once (U6) cannot be seen
//! from outside: the simulator's tests show it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::canary::{Canaries, Song, percentile_99};
use super::{Server, lend_turn, optimised, pass, strict};

const SETTLED: Duration = Duration::from_secs(30);
/// The window of U5 and the most it may work in it: 2 %.
const IDLE_WINDOW: Duration = Duration::from_secs(3);
const IDLE_WORK: Duration = Duration::from_millis(60);
/// U4.
const MEMORY_SLACK: u64 = 8 << 20;
/// U2.
const CANARY_P99: Duration = Duration::from_millis(50);

/// A row under way: a server, its canaries, and what it held before the abuse.
pub(crate) struct Row {
    canaries: Canaries,
    descriptors: usize,
    resident: u64,
    started: Instant,
}

impl Row {
    /// Beside an echo server.
    pub(crate) fn begin(server: &Server) -> Self {
        Self::with(server, Song::Echo)
    }

    /// Beside a server of the files in `root`.
    pub(crate) fn begin_serve(server: &Server, root: &Path) -> Self {
        let content = b"still singing\n".to_vec();
        fs::write(root.join("canary.txt"), &content).expect("own folder");
        Self::with(server, Song::Get("/canary.txt".into(), content))
    }

    /// Beside the service of [`target`](crate::target).
    pub(crate) fn begin_responders(server: &Server) -> Self {
        Self::with(server, Song::Get("/hello".into(), b"still singing\n".to_vec()))
    }

    fn with(server: &Server, song: Song) -> Self {
        let canaries = Canaries::start(server, song);
        let process = server.process();
        process.forget_peak();
        Self { canaries, descriptors: process.descriptors(), resident: process.resident(), started: Instant::now() }
    }

    /// Resident bytes when the row began.
    pub(crate) fn resident(&self) -> u64 {
        self.resident
    }

    /// Descriptors of the server when the row began.
    pub(crate) fn descriptors(&self) -> usize {
        self.descriptors
    }

    /// The canaries are answered, now.
    pub(crate) fn canaries_sing(&self) {
        self.canaries.sing_on();
    }

    /// CPU time of the server during `work`, while the canaries rest.
    pub(crate) fn cpu_of<T>(&self, server: &Server, work: impl FnOnce() -> T) -> (Duration, T) {
        self.canaries.rest();
        let before = server.process().cpu();
        let result = work();
        let spent = server.process().cpu().saturating_sub(before);
        self.canaries.wake();
        (spent, result)
    }

    /// As [`Self::cpu_of`], with a bound for each of `times` repetitions of `work`.
    #[track_caller]
    pub(crate) fn cheap(&self, server: &Server, what: &str, bound: Duration, times: u32, mut work: impl FnMut()) {
        let (spent, ()) = self.cpu_of(server, || {
            for _ in 0..times {
                work();
            }
        });
        assert!(!optimised() || spent / times < bound, "{what}: {:?} of CPU", spent / times);
    }

    /// Judges U1 to U7. The row's own connections must have been dropped.
    #[track_caller]
    pub(crate) fn end(self, server: &mut Server) {
        server.assert_alive();
        self.canaries.sing_on();
        let process = server.process();
        let limit = self.resident + MEMORY_SLACK.max(self.resident / 10);
        let before = self.descriptors;
        settled(|| process.descriptors(), |now| now <= before, "U3: descriptors", before);
        settled(|| process.resident(), |now| now <= limit, "U4: resident bytes", self.resident);
        let (spent, ()) = lend_turn(|| self.cpu_of(server, || pass(IDLE_WINDOW)));
        assert!(!optimised() || spent < IDLE_WORK, "U5: {spent:?} of CPU in {IDLE_WINDOW:?} of idleness");
        self.judge_log(server);
        let p99 = percentile_99(self.canaries.latencies());
        println!("canary p99 {p99:?}");
        assert!(!strict() || p99 <= CANARY_P99, "U2: canary p99 {p99:?}");
        server.assert_alive();
    }

    /// U1 and U7 on what was logged.
    #[track_caller]
    pub(crate) fn judge_log(&self, server: &Server) {
        let log = server.log_since(self.started);
        for (_, line) in &log {
            assert!(!line.contains("panicked"), "U1: {line}");
        }
        for eleven in log.windows(11) {
            let span = eleven[10].0.duration_since(eleven[0].0);
            assert!(span >= Duration::from_secs(1), "U7: eleven lines in {span:?}, such as {:?}", eleven[10].1);
        }
    }
}

#[track_caller]
fn settled<T: std::fmt::Display + Copy>(measure: impl Fn() -> T, fine: impl Fn(T) -> bool, what: &str, before: T) {
    let deadline = Instant::now() + SETTLED;
    loop {
        let now = measure();
        if fine(now) {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: {now}, {before} when the row began");
        pass(Duration::from_millis(10));
    }
}
