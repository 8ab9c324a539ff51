//! Time and random bytes.

use std::io;
use std::time::Duration;

use sockeye_proto::time::Instant;

/// The clocks of a [`Sys`](crate::sys::Sys).
pub trait Clock {
    /// The monotonic clock. Those of one process agree, and those of one simulated network.
    fn now(&mut self) -> Instant;

    /// Seconds since 1970, for `Date` fields. May jump.
    fn wall_clock(&mut self) -> u64;

    /// How much processor time the calling thread has used; `None` when that is not known.
    fn processor_time(&mut self) -> Option<Duration> {
        None
    }
}

/// The random source of a [`Sys`](crate::sys::Sys).
pub trait Random {
    /// Fills `out` from the system's cryptographically secure random source. No byte is ever returned twice, neither here
    /// nor in a child of this process. Small requests are cheap.
    ///
    /// # Errors
    /// The system's, when its source fails.
    fn random(&mut self, out: &mut [u8]) -> io::Result<()>;
}
