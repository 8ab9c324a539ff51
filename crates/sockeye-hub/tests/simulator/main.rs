//! Random hubs in simulated networks: in one service, in several threads, on several servers with a broker that keeps messages or does not.
//!
//! Clients subscribe, leave, come back with and without what they saw last, publish, and read slowly; brokers are killed and come
//! back. Whatever happens: each client sees the messages of a topic in order, none twice, and nothing is missing without a word.
//!
//! `SOCKEYE_SEEDS` says which seeds to run: one (`7`), of which it tells all, or several (`1000..9000`).

mod broker;
mod client;
mod edges;
mod world;

use sockeye::sim;

/// Seeds of a plain `cargo test`.
const USUAL: u64 = 200;

/// A seed that failed once has to fail again.
#[test]
fn a_seed_repeats_itself() {
    for seed in 0..40 {
        let [once, again] = [(); 2].map(|()| world::trace(seed));
        for (number, (one, other)) in once.iter().zip(&again).enumerate() {
            assert_eq!(one, other, "seed {seed}, line {number} of {} and {}", once.len(), again.len());
        }
        assert_eq!(once.len(), again.len(), "seed {seed}");
    }
}

#[test]
fn seeds_of_hubs() {
    let range = sim::seeds(USUAL);
    let count = range.end.saturating_sub(range.start);
    let mut failed = 0;
    let mut seen = world::Seen::default();
    for seed in range {
        match world::run_seed(seed, count == 1) {
            Ok(what) => seen += what,
            Err(why) => {
                println!("seed {seed} failed: {why}");
                println!(
                    "to repeat it: SOCKEYE_SEEDS={seed} cargo test -p sockeye-hub --test simulator -- --exact --nocapture"
                );
                failed += 1;
            }
        }
    }
    assert_eq!(failed, 0, "{failed} of {count} seeds failed");
    println!("seeds_of_hubs: {count} seeds passed: {seen:?}");
    if count >= USUAL {
        // A harness that never meets what it is for would find nothing.
        assert!(
            seen.messages > 0 && seen.recovered > 0 && seen.gaps > 0 && seen.unknown > 0 && seen.refused > 0,
            "{seen:?}"
        );
    }
}
