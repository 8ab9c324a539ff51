//! The counters and the stopwatch of one loop.

use std::time::Duration;

use crate::statistics::{Statistics, Stopwatch};

/// The counters and the stopwatch of one loop.
#[derive(Debug)]
pub(crate) struct Meters {
    pub(crate) statistics: Statistics,
    pub(crate) stopwatch: Stopwatch,
}

impl Meters {
    /// Meters that report a piece of work as a stall when it takes longer than `stall`.
    pub(crate) fn new(stall: Option<Duration>) -> Self {
        Self { statistics: Statistics::default(), stopwatch: Stopwatch::new(stall) }
    }
}
