//! Random services in simulated networks that do everything wrong that a network may.
//!
//! A seed is a script: limits, peers, what they say and how they end. It runs on a network of its own; most scripts run on a
//! second one too, which cuts and delays everything in other places, and must come to the same.
//!
//! * `SOCKEYE_SIM_SEEDS`: how many seeds to run;
//! * `SOCKEYE_SIM_SEED`: the first of them. Alone, or with a count of 1, it runs that seed and tells all of it.

use std::env;

use sockeye::sim::Fault;

mod actor;
#[expect(dead_code, reason = "the scenarios use the rest")]
mod client;
mod echo;
mod hub;
mod machine;
mod plan;
mod rng;
mod world;

/// Seeds of a plain `cargo test`.
const USUAL: u64 = 200;

#[test]
fn seeds() {
    let (first, count) = (number("SOCKEYE_SIM_SEED"), number("SOCKEYE_SIM_SEEDS"));
    let count = count.unwrap_or_else(|| if first.is_some() { 1 } else { USUAL });
    let range = first.unwrap_or(0)..first.unwrap_or(0) + count;
    let verbose = first.is_some() && count == 1;
    let mut failed = 0;
    for seed in range {
        if let Err(why) = world::run_seed(seed, None, verbose) {
            println!("seed {seed} failed: {why}");
            println!(
                "to repeat it: SOCKEYE_SIM_SEED={seed} cargo test -p sockeye --test simulator seeds -- --nocapture"
            );
            failed += 1;
        }
    }
    assert_eq!(failed, 0, "{failed} of {count} seeds failed");
    println!("{count} seeds passed");
}

/// One writable wake-up in a thousand is lost, as a mistake in the loop would: a harness that does not notice this would not
/// notice the mistake either.
#[test]
fn a_planted_bug_is_found() {
    let found = (0..2000).find(|seed| world::run_seed(*seed, Some(Fault::LostEdge), false).is_err());
    assert!(found.is_some(), "no seed noticed a lost wake-up");
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is {text:?}, and should be a number")))
}
