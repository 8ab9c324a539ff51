//! To test a service as a client: servers written by hand, and a protocol that notes what it is called for.

mod bench;
mod cause;
mod probe;
mod server;

pub use bench::{Bench, MILLI, SECOND, ip, timeouts, to};
pub use cause::cause;
pub use probe::{NAME, Notes, Probe, Say, Seen, Session};
pub use server::{Frame, Server, frame};
