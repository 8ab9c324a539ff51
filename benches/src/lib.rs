//! Benchmarks of Sockeye: counts that repeat, and ratios measured within one run. `cargo xtask bench` runs them.
//!
//! Two programs that share nothing with the engine, so that neither flatters it:
//!
//! * `load` sends messages, verifies every byte that comes back, and says what they cost the server;
//! * `floor` is the least that a server can do for them, the measure of what is possible.
//!
//! Two more measure TLS: `records` is what rustls alone does, and `openssl/echo.c` a server in C on OpenSSL.
//!
//! `packed` measures compression: an echo of the library, its clients, and zlib-rs alone, all on the messages of [`corpora`].
//!
//! [`wire`] has the bytes that are exchanged; [`peers`] is the clients' side of them, [`frames`] the floor's; [`usage`]
//! reads what a process used, and [`packing`] is zlib-rs.

#![forbid(unsafe_code)]

pub mod corpora;
pub mod frames;
pub mod packing;
pub mod peers;
pub mod usage;
pub mod wire;
