//! The loop's stopwatch: what held it up, for how long, and who did.
//!
//! Reading the clock costs more instructions than a good part of a step, so it is read at the ends of a turn and of its
//! parts, around the callbacks that are rare, and every [`STEPS`] steps. A stall among steps is theirs together then,
//! and the loop becomes *watchful*: for a time it reads the clock after every callback, and whoever stalls it again is
//! named. That time begins with [`WATCHFUL`], and is doubled by each stall that could not be named, so that a stall
//! that stays alone costs little and one that comes again is found.

use std::fmt::{self, Display};
use std::time::Duration;

use sockeye_proto::time::Instant;

use crate::id::ConnId;

/// How the loop was held up. See [`Limits::stall`](crate::Limits::stall).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Stalls {
    /// How often, in pieces of work that the clock was read around.
    pub count: u64,
    /// All of them together.
    pub total: Duration,
    /// The longest. No counter: [`since`](super::Statistics::since) leaves it as it is.
    pub worst: Option<Stall>,
    /// The longest turn of the loop, the wait at its beginning not counted. No counter either.
    pub longest_turn: Duration,
    /// The time of all turns, without the waits.
    pub busy: Duration,
}

/// A piece of work that took too long.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Stall {
    /// How long.
    pub duration: Duration,
    /// What the loop was doing.
    pub culprit: Culprit,
    /// The protocol whose callback it was, or whose connection.
    pub protocol: Option<String>,
    /// The connection, if it is known to be one.
    pub connection: Option<ConnId>,
    /// The loop's thread used the processor for no longer than this of it; `None` when the system does not tell. Much
    /// less than the duration means that the thread did not compute: something in it waited, or the whole process was
    /// stopped.
    pub computed: Option<Duration>,
}

impl Stall {
    /// Whether the thread had the processor for less than half of it. It need not be the fault of what is named then: a
    /// process that is stopped, or gets no processor, stands still wherever it is.
    #[must_use]
    pub fn is_asleep(&self) -> bool {
        self.computed.is_some_and(|computed| computed < self.duration / 2)
    }
}

/// What the loop was doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Culprit {
    /// [`Protocol::filter`](crate::Protocol::filter).
    Filter,
    /// [`Protocol::open`](crate::Protocol::open).
    Open,
    /// [`Protocol::receive`](crate::Protocol::receive).
    Receive,
    /// [`Protocol::writable`](crate::Protocol::writable).
    Writable,
    /// [`Protocol::closed`](crate::Protocol::closed).
    Closed,
    /// [`Protocol::failed`](crate::Protocol::failed).
    Failed,
    /// [`Protocol::ping`](crate::Protocol::ping).
    Ping,
    /// [`Protocol::pong`](crate::Protocol::pong).
    Pong,
    /// [`Protocol::timer`](crate::Protocol::timer).
    Timer,
    /// [`Protocol::tick`](crate::Protocol::tick).
    Tick,
    /// A job of another thread, by [`Remote::run`](crate::Remote::run).
    Job,
    /// A handler of [`Routes`](crate::http::Routes).
    Handler,
    /// Accepting, with [`Builder::filter`](crate::Builder::filter).
    Accept,
    /// Sending what was published.
    Publish,
    /// So many steps of connections: their callbacks `receive` and `writable`, and the sockets.
    Steps(u32),
    /// No piece of the turn by itself, but all of it.
    Turn,
    /// The loop itself.
    Loop,
}

impl Display for Culprit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Filter => "the callback filter",
            Self::Open => "the callback open",
            Self::Receive => "the callback receive",
            Self::Writable => "the callback writable",
            Self::Closed => "the callback closed",
            Self::Failed => "the callback failed",
            Self::Ping => "the callback ping",
            Self::Pong => "the callback pong",
            Self::Timer => "the callback timer",
            Self::Tick => "the callback tick",
            Self::Job => "a job",
            Self::Handler => "a route's handler",
            Self::Accept => "accepting",
            Self::Publish => "publishing",
            Self::Steps(1) => "a step",
            Self::Steps(count) => return write!(f, "one of {count} steps"),
            Self::Turn => "a whole turn",
            Self::Loop => "the loop itself",
        })
    }
}

impl Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} in {}", self.duration, self.culprit)?;
        if let Some(protocol) = &self.protocol {
            write!(f, " of protocol {protocol}")?;
        }
        if let Some(connection) = self.connection {
            write!(f, ", connection {connection}")?;
        }
        match self.computed {
            Some(_) if self.is_asleep() => {
                f.write_str(", without the processor: it waited for something, or the process was stopped")
            }
            _ => Ok(()),
        }
    }
}

impl Stalls {
    pub(super) fn since(&self, earlier: &Self) -> Self {
        Self {
            count: self.count.saturating_sub(earlier.count),
            total: self.total.saturating_sub(earlier.total),
            worst: self.worst.clone(),
            longest_turn: self.longest_turn,
            busy: self.busy.saturating_sub(earlier.busy),
        }
    }

    /// Those of another loop, too.
    pub(super) fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.total = self.total.saturating_add(other.total);
        let duration = |stall: &Option<Stall>| stall.as_ref().map(|stall| stall.duration);
        if duration(&other.worst) > duration(&self.worst) {
            self.worst.clone_from(&other.worst);
        }
        self.longest_turn = self.longest_turn.max(other.longest_turn);
        self.busy = self.busy.saturating_add(other.busy);
    }
}

/// Steps between two looks at the clock, when nothing stalled of late.
const STEPS: u32 = 64;
/// How long the loop is watchful after the first stall that could not be named, and at most.
const WATCHFUL: Duration = Duration::from_secs(1);
const WATCHFUL_MOST: Duration = Duration::from_secs(64);
/// The processor's time is asked for no more often: it is a system call.
const PROCESSOR: Duration = Duration::from_secs(1);
/// At most one warning in such a time.
const QUIET: Duration = Duration::from_secs(1);

/// Whose work a piece was: an endpoint's, by its number, and a connection's.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Whose {
    pub(crate) endpoint: Option<u16>,
    pub(crate) id: Option<ConnId>,
}

impl Whose {
    pub(crate) fn of(endpoint: u16, id: ConnId) -> Self {
        Self { endpoint: Some(endpoint), id: Some(id) }
    }
}

/// The pieces of one turn that took too long.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    pub(crate) count: u64,
    pub(crate) total: Duration,
    pub(crate) worst: Duration,
    pub(crate) culprit: Option<Culprit>,
    pub(crate) whose: Whose,
}

/// Measures a turn, piece by piece.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    /// Steps since the last look at the clock.
    steps: u32,
    /// Steps after which the clock is looked at: [`STEPS`], or 0 when the loop is watchful.
    between: u32,
    /// Whose step was the last.
    last: ConnId,
    /// When the clock was last looked at.
    mark: Instant,
    begun: Instant,
    threshold: Option<Duration>,
    /// A turn is being measured.
    running: bool,
    watchful_until: Instant,
    /// How long it is watchful the next time.
    watchful: Duration,
    found: Found,
    /// What the processor's time was, and when.
    processor: Option<(Instant, Option<Duration>)>,
    warned_at: Option<Instant>,
    unsaid: u64,
}

impl Stopwatch {
    pub(crate) fn new(threshold: Option<Duration>) -> Self {
        let never = Instant::from_nanos(0);
        Self {
            steps: 0,
            between: STEPS,
            last: ConnId::default(),
            mark: never,
            begun: never,
            threshold,
            running: false,
            watchful_until: never,
            watchful: WATCHFUL,
            found: Found::default(),
            processor: None,
            warned_at: None,
            unsaid: 0,
        }
    }

    /// A step begins. Says whether the clock is to be looked at first.
    #[inline(always)]
    pub(crate) fn step(&mut self, id: ConnId) -> bool {
        self.last = id;
        self.steps += 1;
        self.steps > self.between
    }

    /// Whether every step and its callbacks are measured.
    pub(crate) fn is_watchful(&self) -> bool {
        self.running && self.between == 0
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running
    }

    /// The wait of a turn is over.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.running = self.threshold.is_some();
        (self.begun, self.mark, self.steps) = (now, now, 0);
        if self.between == 0 && self.watchful_until <= now {
            self.between = STEPS;
        }
    }

    /// Whether it is time to ask for the processor's time, as it was before the stall that may come.
    pub(crate) fn wants_processor(&self) -> bool {
        let old = |at: &Instant| self.begun.saturating_duration_since(*at) >= PROCESSOR;
        self.running && self.processor.as_ref().is_none_or(|(at, _)| old(at))
    }

    /// The processor's time now.
    pub(crate) fn processor(&mut self, time: Option<Duration>) {
        self.processor = Some((self.begun, time));
    }

    /// A piece of work is over.
    pub(crate) fn lap(&mut self, now: Instant, culprit: Culprit, whose: Whose) {
        let took = now.saturating_duration_since(self.mark);
        self.mark = now;
        // What is left of a step after a callback of it is that step's.
        self.steps = u32::from(whose.id.is_some());
        if self.threshold.is_some_and(|threshold| took >= threshold) {
            self.found.count += 1;
            self.found.total += took;
            if took > self.found.worst {
                (self.found.worst, self.found.culprit, self.found.whose) = (took, Some(culprit), whose);
            }
        }
    }

    /// The steps since the last look at the clock are over, all but `unfinished` of them.
    pub(crate) fn steps_over(&mut self, now: Instant, unfinished: u32) {
        let (culprit, whose) = match self.steps.saturating_sub(unfinished) {
            0 => (Culprit::Loop, Whose::default()),
            1 if unfinished == 0 => (Culprit::Steps(1), Whose { endpoint: None, id: Some(self.last) }),
            count => (Culprit::Steps(count), Whose::default()),
        };
        self.lap(now, culprit, whose);
        self.steps = unfinished;
    }

    /// The turn is over. Gives how long it was, and what was found.
    pub(crate) fn end(&mut self, now: Instant) -> (Duration, Option<Found>) {
        self.steps_over(now, 0);
        self.running = false;
        let took = now.saturating_duration_since(self.begun);
        let mut found = std::mem::take(&mut self.found);
        if found.count == 0 && self.threshold.is_some_and(|threshold| took >= threshold) {
            found = Found { count: 1, total: took, worst: took, culprit: Some(Culprit::Turn), whose: Whose::default() };
        }
        (took, (found.count > 0).then_some(found))
    }

    /// There was a stall: from here on every step is measured, if that may tell more of the next one.
    pub(crate) fn watch(&mut self, now: Instant, culprit: Culprit) {
        let is_watchful = self.between == 0;
        if matches!(culprit, Culprit::Steps(_)) {
            self.between = 0;
            self.watchful_until = now + self.watchful;
            self.watchful = (self.watchful * 2).min(WATCHFUL_MOST);
        } else if is_watchful {
            // Named, and perhaps not for the last time.
            self.watchful_until = self.watchful_until.max(now + WATCHFUL);
        }
    }

    /// How much processor time at most a stall took that ended just now, when that time is `time`.
    pub(crate) fn computed(&mut self, now: Instant, time: Option<Duration>, stall: Duration) -> Option<Duration> {
        let before = self.processor.and_then(|(_, before)| before);
        self.processor = Some((now, time));
        Some(time?.saturating_sub(before?).min(stall))
    }

    /// Whether a warning may be logged now; and how many were not, since the last one that was.
    pub(crate) fn may_warn(&mut self, now: Instant) -> Option<u64> {
        if self.warned_at.is_some_and(|at| now.saturating_duration_since(at) < QUIET) {
            self.unsaid += 1;
            return None;
        }
        self.warned_at = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}
