//! To test raw connections and watched descriptors: on the simulated network and on the real system.

mod bench;
mod real;

pub use bench::{Bench, Log, MUTE, NAME, Note, Obeys, Session, Story};
pub use real::{POURS, Real, both, both_with};
