//! Benchmarks of Sockeye. `cargo xtask bench` runs them.
//!
//! The program `load` sends messages, verifies every byte that comes back, and says what they cost the server. It shares
//! nothing with the engine, so that it cannot flatter it.
//!
//! [`wire`] has the bytes that are exchanged; [`peers`] is the clients' side of them; [`usage`] reads what a process used.

#![forbid(unsafe_code)]

pub mod peers;
pub mod usage;
pub mod wire;
