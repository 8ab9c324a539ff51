//! To test a service as a server: clients at the other end of simulated connections, and protocols that note what they are
//! called for.

mod bench;
mod client;
pub mod echo;
mod hub;
pub mod machine;
mod upgrade;

pub use bench::Bench;
pub use client::{Client, Heard};
pub use hub::{Hub, Inside, Notes};
pub use machine::Machine;
pub use upgrade::upgrade;
