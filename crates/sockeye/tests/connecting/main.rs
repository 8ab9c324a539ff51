//! Connections of our own, stage by stage, on the simulated network: its clock is virtual, so that each deadline is exact.

mod again;
mod answers;
mod bench;
mod callbacks;
mod cancel;
mod cause;
mod counted;
mod probe;
mod race;
mod redirects;
mod requests;
mod server;
mod stages;
mod talk;
