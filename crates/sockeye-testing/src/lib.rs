//! What the tests of Sockeye share: benches, scripted peers, and protocols that check the rules of their callbacks.
//!
//! [`server`] tests a service whose peers are clients, [`client`] one that connects, [`raw`] one that adopts descriptors or
//! listens for raw connections. Each has a `Bench`: a service on a simulated network, or on the real system, with what a test
//! asks it. [`pair`] is two services, a server and a client of it. [`turns`] gives turns to a service on a simulated network,
//! [`outer`] is an event loop around a service, [`wire`] a scripted peer whose bytes may be sealed, [`zlib`] the other end
//! of compressed messages, [`rng`] the scripts' own random numbers, [`connector`] a proxy that a client connects through.
//!
//! A test that needs nothing from here is better off without it.

#![expect(
    missing_debug_implementations,
    missing_docs,
    clippy::exhaustive_enums,
    clippy::exhaustive_structs,
    clippy::new_without_default,
    reason = "its users are the tests beside it"
)]

pub mod client;
pub mod connector;
pub mod outer;
pub mod pair;
pub mod raw;
pub mod rng;
pub mod server;
pub mod turns;
pub mod wire;
pub mod zlib;

/// The code of the guide as doc tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide.md")]
mod guide {}
