//! Connections that are no WebSockets, in the simulator: the raw connections of a listener.

#[path = "../simulator/outer.rs"]
mod outer;
#[path = "../simulator/rng.rs"]
#[expect(dead_code, reason = "the random test of the simulator uses the rest")]
mod rng;

mod bench;
mod ends;
mod random;
mod talk;
mod with_others;
