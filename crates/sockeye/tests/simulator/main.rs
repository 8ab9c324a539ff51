//! Random services in simulated networks that do everything wrong that a network may.
//!
//! A seed is a script: limits, peers, what they say and how they end. It runs in several ways: on networks that cut and delay
//! everything in different places, in a loop inside and in one outside, and with bytes that are plain or go through a
//! transform, as TLS will. Unless connections are lost, all ways must come to the same.
//!
//! With the transform the other side seals what it sends and opens what it receives. Nothing else is allowed than with plain
//! bytes: where a connection is lost, by a reset or by an end inside a record, what comes out is the beginning of what
//! was sent, which ends with a whole record instead of anywhere. TLS has the same: half a record has no authentic bytes.
//!
//! `SOCKEYE_SEEDS` says which seeds to run: one (`7`), of which it tells all, or several (`1000..9000`).

use sockeye::sim::{self, Fault};

mod actor;
mod dial;
mod plan;
mod topics;
mod world;

/// Seeds of a plain `cargo test`.
const USUAL: u64 = 200;

#[test]
fn seeds() {
    run("seeds", world::run_seed);
}

#[test]
fn seeds_of_clients() {
    run("seeds_of_clients", dial::run_seed);
}

#[test]
fn seeds_of_topics() {
    run("seeds_of_topics", topics::run_seed);
}

type RunSeed = fn(u64, Option<Fault>, bool) -> Result<(), String>;

fn run(name: &str, run_seed: RunSeed) {
    let range = sim::seeds(USUAL);
    let count = range.end.saturating_sub(range.start);
    let mut failed = 0;
    for seed in range {
        if let Err(why) = run_seed(seed, None, count == 1) {
            println!("seed {seed} failed: {why}");
            println!(
                "to repeat it: SOCKEYE_SEEDS={seed} cargo test -p sockeye --test simulator {name} -- --exact --nocapture"
            );
            failed += 1;
        }
    }
    assert_eq!(failed, 0, "{failed} of {count} seeds failed");
    println!("{name}: {count} seeds passed, plain and scrambled");
}

/// One writable wake-up in a thousand is lost, as a mistake in the loop would: a harness that does not notice this would not
/// notice the mistake either.
#[test]
fn a_planted_bug_is_found() {
    for run_seed in [world::run_seed as RunSeed, dial::run_seed, topics::run_seed] {
        let found = (0..2000).find(|seed| run_seed(*seed, Some(Fault::LostEdge), false).is_err());
        assert!(found.is_some(), "no seed noticed a lost wake-up");
    }
}
