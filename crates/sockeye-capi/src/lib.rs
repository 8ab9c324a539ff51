//! The C library of Sockeye: programs written for libwebsockets run on its loop.
//!
//! There is one engine and there are two interfaces on it: that of January 2013 ([`face13`]), and that of version 4.1.6. Each is made
//! into a shared library by a crate of its own below this folder, whose list of functions is what it exports: enum values differ
//! between the two, and some names have other meanings.
//!
//! A program has pointers to contexts and connections. Each call finds out first whether they are ours and alive, so a pointer to
//! what has ended is refused and not followed. The service is touched by one thread at a time: inside a callback a call acts on what
//! the callback was lent, between turns under a lock, and from another thread it is posted.
//!
//! Unsafe code has few homes: calls of the program's functions (`callbacks`), its memory (`caller`, `face13::tables`), the records
//! that its pointers mean (`pool`), what a callback was lent (`door`), and the process (`process`, `poll`, `context`, `protocol`).

mod answer;
mod callbacks;
mod caller;
mod context;
mod dial;
mod door;
mod exchange;
mod export;
mod face;
pub mod face13;
pub mod face17;
mod frame;
mod heads;
mod hook;
mod lock;
pub mod log;
mod make;
mod mounts;
mod poll;
mod pool;
mod process;
mod protocol;
mod reason;
mod regular;
mod spoken;
mod texts;
mod timers;
mod tls;
mod turn;
mod vhost;
mod write;
mod wsi;

pub use self::context::{Context, contexts};
pub use self::export::enter;
pub use self::log::Emit;
pub use self::vhost::Vhost;
pub use self::wsi::Wsi;
