//! Many seeds of the simulated network. The harness is `crates/sockeye/tests/simulator/`; it reads which seeds to run from
//! `SOCKEYE_SEEDS` (a few when not set).
//!
//! It prints `seed S failed` for each seed that failed, and `N seeds passed` at the end when none did. That of hubs is the same.

use std::time::Duration;

use crate::{
    gate::{Checks, Failure},
    process, rust,
    workspace::Workspace,
};

/// Consecutive seeds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    first: u64,
    count: u64,
}

impl Range {
    /// What the command line says: a seed alone means that one.
    pub(crate) fn new(seeds: Option<u64>, seed: Option<u64>) -> Self {
        let count = seeds.unwrap_or_else(|| if seed.is_some() { 1 } else { Self::default().count });
        Self { first: seed.unwrap_or(0), count }
    }
}

impl Default for Range {
    fn default() -> Self {
        Self { first: 0, count: 2000 }
    }
}

pub(crate) fn run(workspace: &Workspace, range: Range) -> Result<Checks, Failure> {
    // Thousands of seeds in seconds, and every invariant checked.
    let mut command = rust::sim(workspace, "test");
    command.args(["--test", "simulator", "--", "--nocapture"]);
    command.env("SOCKEYE_SEEDS", format!("{}..{}", range.first, range.first.saturating_add(range.count)));
    let limit = Duration::from_secs(15 * 60 + range.count / 10);
    let output = process::run(&mut command, limit)?;
    let failed: Vec<u64> = output.lines.iter().filter_map(|line| failed_seed(line)).collect();
    let checks = Checks { passed: range.count.saturating_sub(failed.len() as u64), failed: failed.len() as u64 };
    if let Some(seed) = failed.first() {
        let message = format!("seed {seed} failed; run it alone: cargo xtask sim --seed {seed}");
        return Err(Failure::new(message, checks));
    }
    output.status.success().then_some(()).ok_or("the simulator failed without naming a seed")?;
    // A harness that lost its way to the variables would pass without having run anything.
    for test in ["seeds", "seeds_of_clients", "seeds_of_topics", "seeds_of_hubs"] {
        let summary = format!("{test}: {} seeds passed", range.count);
        if !output.lines.iter().any(|line| line.contains(&summary)) {
            return Err(format!("the simulator did not say `{summary}`").into());
        }
    }
    Ok(checks)
}

fn failed_seed(line: &str) -> Option<u64> {
    let rest = &line[line.find("seed ")? + "seed ".len()..];
    let (number, rest) = rest.split_once(' ')?;
    rest.starts_with("failed").then(|| number.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_alone_means_just_that_one() {
        let range = Range::new(None, Some(7));
        assert_eq!((range.first, range.count), (7, 1));
        let range = Range::new(Some(10), Some(7));
        assert_eq!((range.first, range.count), (7, 10));
        assert_eq!(Range::new(None, None).count, 2000);
    }

    #[test]
    fn failing_seeds_are_found_anywhere_in_a_line() {
        assert_eq!(failed_seed("seed 4711 failed: an event was lost"), Some(4711));
        assert_eq!(failed_seed("thread 'main' panicked: seed 3 failed"), Some(3));
        assert_eq!(failed_seed("2000 seeds passed, plain and scrambled"), None);
    }
}
