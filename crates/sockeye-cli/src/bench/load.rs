//! What the loop's owner ([`drive`](super::drive)) and the protocols share: one thread, so a `RefCell` is enough.

use nix::time::{ClockId, clock_gettime};
use sockeye::{ConnId, Connect};

use super::lines::Lines;
use super::pace::Pace;
use super::script::Script;
use super::tally::Tally;
use super::targets::Targets;

/// A run, as far as it is.
pub(crate) struct Load {
    pub(crate) clock: Clock,
    pub(crate) script: Script,
    pub(crate) pace: Pace,
    pub(crate) tally: Tally,
    pub(crate) lines: Lines,
    pub(crate) targets: Targets,
    /// Messages, or handshakes, that may still begin. At a fixed rate the beat decides instead.
    pub(crate) left: u64,
    /// Messages that were sent, in all and on each connection.
    pub(crate) sent: u64,
    pub(crate) sent_on: Vec<u64>,
    /// Messages without an answer, on open connections.
    pub(crate) in_flight: u64,
    /// When anything was last answered, opened or ended.
    pub(crate) last_sign: u64,
    /// The first wrong answer. Then no figure is worth anything.
    pub(crate) wrong: Option<String>,
    /// Connections are being closed because the run is over.
    pub(crate) closing: bool,
}

impl Load {
    pub(crate) fn new(script: Script, pace: Pace, targets: Targets) -> Self {
        Self {
            clock: Clock::start(),
            script,
            pace,
            tally: Tally::new(),
            lines: Lines::new(),
            targets,
            left: 0,
            sent: 0,
            sent_on: Vec::new(),
            in_flight: 0,
            last_sign: 0,
            wrong: None,
            closing: false,
        }
    }

    /// Has `connect` make the next connection.
    pub(crate) fn connect(&mut self, connect: impl FnOnce(Connect) -> ConnId) {
        let (wanted, target) = self.targets.take();
        let id = connect(wanted);
        self.targets.connecting(id, &target);
        let now = self.clock.now();
        self.lines.asked(id, now);
    }

    /// Messages that were answered, or handshakes, whether they count or not.
    pub(crate) fn answered(&self) -> u64 {
        // Without messages it is about the handshakes.
        if self.sent == 0 { self.lines.opened } else { self.sent - self.in_flight }
    }

    /// Whether all that was to be sent on open connections has been sent, and all that was sent is answered.
    pub(crate) fn is_settled(&self, now: u64) -> bool {
        let owes = |number: usize| match &self.pace {
            Pace::Closed { .. } => false,
            Pace::Open(beat) => self.sent_on.get(number).copied().unwrap_or_default() < beat.due_on(number, now),
        };
        self.in_flight == 0 && !(0..self.lines.numbers()).any(|number| self.lines.get(number).is_some() && owes(number))
    }
}

/// Nanoseconds since the run began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: u64,
}

impl Clock {
    fn start() -> Self {
        Self { start: monotonic() }
    }

    #[inline]
    pub(crate) fn now(self) -> u64 {
        monotonic().saturating_sub(self.start)
    }
}

/// Nanoseconds of the system's monotonic clock, which is read for each connection in a turn: without the checks and the
/// arithmetic of two words of `std::time::Instant`.
#[inline]
fn monotonic() -> u64 {
    // It fails for clocks that do not exist only.
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |time| (time.tv_sec() as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec() as u64))
}

/// The endpoint of this process that the connections belong to.
pub(crate) const NAME: &str = "bench";
