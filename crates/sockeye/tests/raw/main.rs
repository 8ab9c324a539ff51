//! Connections that are no WebSockets: the raw connections of a listener in the simulator, and descriptors of the system that are
//! adopted, in the service's own loop and in one outside.

#[path = "../simulator/outer.rs"]
mod outer;
#[path = "../simulator/rng.rs"]
#[expect(dead_code, reason = "the random test of the simulator uses the rest")]
mod rng;

mod adopted;
mod bench;
mod ends;
mod kinds;
mod random;
mod real;
mod talk;
mod unheard;
mod watched;
mod with_others;
