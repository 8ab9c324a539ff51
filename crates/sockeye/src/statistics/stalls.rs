//! The loop's stopwatch: what held it up, and for how long.
//!
//! Reading the clock costs a large part of the instructions of a step. So it is read at the ends of a turn and of its
//! parts, around rare callbacks and handshakes of TLS, and every [`STEPS`] steps. A stall among those steps is attributed to all of them, and
//! the loop becomes *watchful*: for a time it reads the clock after every callback, so that a second stall names its
//! culprit. That time starts at [`WATCHFUL`] and doubles with each stall without a culprit: a single stall costs
//! little, and a recurring one is found.

use std::fmt::{self, Display};
use std::time::Duration;

use sockeye_proto::time::Instant;

use crate::id::ConnId;

/// The stalls of the loop. See [`Limits::stall`](crate::Limits::stall).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Stalls {
    /// The number of stalls: pieces of measured work that took too long.
    pub count: u64,
    /// Their total duration.
    pub total: Duration,
    /// The longest stall. Not a counter: [`since`](crate::statistics::Statistics::since) keeps it.
    pub worst: Option<Stall>,
    /// The longest turn of the loop, without the wait at its beginning. Not a counter.
    pub longest_turn: Duration,
    /// The total duration of all turns, without waiting.
    pub busy: Duration,
}

/// A piece of work that took too long.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Stall {
    /// Its duration.
    pub duration: Duration,
    /// What the loop was doing.
    pub culprit: Culprit,
    /// The protocol of the callback or connection.
    pub protocol: Option<String>,
    /// The connection, if it is known.
    pub connection: Option<ConnId>,
    /// An upper bound of the CPU time that the loop's thread used of it; `None` if the system does not report it. Much
    /// less than the duration means that the thread blocked, or that the whole process was stopped.
    pub computed: Option<Duration>,
}

impl Stall {
    /// Whether the thread used the CPU for less than half of it. The named culprit may be innocent then: a process that
    /// is stopped or not scheduled stalls wherever it is.
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
    /// [`Protocol::open`](crate::Protocol::open), or [`Responder::request`](crate::responder::Responder::request).
    Open,
    /// [`Protocol::receive`](crate::Protocol::receive), or [`Responder::body`](crate::responder::Responder::body).
    Receive,
    /// [`Protocol::writable`](crate::Protocol::writable).
    Writable,
    /// [`Protocol::closing`](crate::Protocol::closing).
    Closing,
    /// [`Protocol::low_water`](crate::Protocol::low_water).
    LowWater,
    /// What one connection's handshake of TLS takes of a turn.
    TlsHandshake,
    /// `Raw::secured`.
    Secured,
    /// `Raw::tls_failed`.
    TlsFailed,
    /// [`Protocol::closed`](crate::Protocol::closed).
    Closed,
    /// [`Protocol::failed`](crate::Protocol::failed).
    Failed,
    /// [`Protocol::handshake_head`](crate::Protocol::handshake_head).
    HandshakeHead,
    /// The function of [`Builder::resolver`](crate::Builder::resolver).
    Resolver,
    /// [`Protocol::ping`](crate::Protocol::ping).
    Ping,
    /// [`Protocol::pong`](crate::Protocol::pong).
    Pong,
    /// [`Protocol::ping_due`](crate::Protocol::ping_due).
    PingDue,
    /// [`Protocol::timer`](crate::Protocol::timer).
    Timer,
    /// [`Protocol::own_timer`](crate::Protocol::own_timer).
    OwnTimer,
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
    /// One of this many steps of connections: their `receive` and `writable` callbacks, and socket operations.
    Steps(u32),
    /// The whole turn; no single piece of it took too long.
    Turn,
    /// The loop itself.
    Loop,
}

impl Display for Culprit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Filter => "the filter callback",
            Self::Open => "the open callback",
            Self::Receive => "the receive callback",
            Self::Writable => "the writable callback",
            Self::Closing => "the closing callback",
            Self::LowWater => "the low_water callback",
            Self::TlsHandshake => "a TLS handshake",
            Self::Secured => "the secured callback",
            Self::TlsFailed => "the tls_failed callback",
            Self::Closed => "the closed callback",
            Self::Failed => "the failed callback",
            Self::HandshakeHead => "the handshake_head callback",
            Self::Resolver => "the resolver",
            Self::Ping => "the ping callback",
            Self::Pong => "the pong callback",
            Self::PingDue => "the ping_due callback",
            Self::Timer => "the timer callback",
            Self::OwnTimer => "the own_timer callback",
            Self::Tick => "the tick callback",
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
                f.write_str(", mostly off the CPU: it waited for something, or the process was stopped")
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

    /// Adds the stalls of another loop.
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

/// Steps between two clock readings, unless the loop is watchful.
const STEPS: u32 = 64;
/// How long the loop is watchful after the first stall without a culprit, and at most.
const WATCHFUL: Duration = Duration::from_secs(1);
const WATCHFUL_MOST: Duration = Duration::from_secs(64);
/// Minimum time between two readings of the CPU time, which are system calls.
const PROCESSOR: Duration = Duration::from_secs(1);
/// Minimum time between two warnings.
const QUIET: Duration = Duration::from_secs(1);

/// The endpoint and connection that a piece of work belongs to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct WorkOwner {
    pub(crate) endpoint: Option<u16>,
    pub(crate) id: Option<ConnId>,
}

impl WorkOwner {
    pub(crate) fn of(endpoint: u16, id: ConnId) -> Self {
        Self { endpoint: Some(endpoint), id: Some(id) }
    }
}

/// The stalls of one turn.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TurnStalls {
    pub(crate) count: u64,
    pub(crate) total: Duration,
    pub(crate) worst: Duration,
    pub(crate) culprit: Option<Culprit>,
    pub(crate) owner: WorkOwner,
}

/// A turn that is over.
pub(crate) struct Ended {
    pub(crate) took: Duration,
    /// It took longer than all before it.
    pub(crate) is_longest: bool,
    pub(crate) found: Option<TurnStalls>,
}

/// A limit that is so long is never reached, as without one, but what is done is measured.
const UNREACHED: u64 = u64::MAX - 1;

/// Measures a turn, piece by piece.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    /// Steps since the clock was last read.
    steps: u32,
    /// Steps after which the clock is read: [`STEPS`], or 0 if the loop is watchful.
    between: u32,
    /// The connection of the last step.
    last: ConnId,
    /// The last reading of the clock.
    mark: Instant,
    begun: Instant,
    /// In nanoseconds: what takes less is not a stall. The most there are if nothing is measured.
    threshold: u64,
    /// The longest turn, in nanoseconds.
    longest: u64,
    /// A turn is being measured.
    running: bool,
    watchful_until: Instant,
    /// How long the loop is watchful the next time.
    watchful: Duration,
    found: TurnStalls,
    /// The last reading of the CPU time, and when the next is due.
    processor: Option<Duration>,
    processor_due: Instant,
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
            threshold: threshold.map_or(u64::MAX, |threshold| u64::try_from(threshold.as_nanos()).unwrap_or(UNREACHED)),
            longest: 0,
            running: false,
            watchful_until: never,
            watchful: WATCHFUL,
            found: TurnStalls::default(),
            processor: None,
            processor_due: never,
            warned_at: None,
            unsaid: 0,
        }
    }

    /// Notes that a step begins. Returns whether to read the clock first.
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

    /// Notes that the wait of a turn is over.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.running = self.threshold != u64::MAX;
        (self.begun, self.mark, self.steps) = (now, now, 0);
        if self.between == 0 && self.watchful_until <= now {
            self.between = STEPS;
        }
    }

    /// Whether to read the CPU time, as the base for a stall that may follow.
    pub(crate) fn wants_processor(&self) -> bool {
        self.running && self.begun >= self.processor_due
    }

    /// Notes the current CPU time.
    pub(crate) fn processor(&mut self, time: Option<Duration>) {
        (self.processor, self.processor_due) = (time, self.begun + PROCESSOR);
    }

    /// Notes that a piece of work is over.
    #[inline]
    pub(crate) fn lap(&mut self, now: Instant, culprit: Culprit, owner: WorkOwner) {
        if self.is_stall(now) {
            self.stalled(now, culprit, owner);
        }
        self.mark = now;
        // The rest of a step after its callback belongs to that step.
        self.steps = u32::from(owner.id.is_some());
    }

    /// Whether what was done since the last clock reading took too long.
    #[inline]
    fn is_stall(&self, now: Instant) -> bool {
        now.as_nanos().saturating_sub(self.mark.as_nanos()) >= self.threshold
    }

    #[cold]
    fn stalled(&mut self, now: Instant, culprit: Culprit, owner: WorkOwner) {
        let took = now.saturating_duration_since(self.mark);
        self.found.count += 1;
        self.found.total += took;
        if took > self.found.worst {
            (self.found.worst, self.found.culprit, self.found.owner) = (took, Some(culprit), owner);
        }
    }

    /// Notes that the steps since the last clock reading are over, except `unfinished` of them.
    #[inline]
    pub(crate) fn steps_over(&mut self, now: Instant, unfinished: u32) {
        if self.is_stall(now) {
            return self.steps_stalled(now, unfinished);
        }
        (self.mark, self.steps) = (now, unfinished);
    }

    #[cold]
    fn steps_stalled(&mut self, now: Instant, unfinished: u32) {
        let (culprit, owner) = match self.steps.saturating_sub(unfinished) {
            0 => (Culprit::Loop, WorkOwner::default()),
            1 if unfinished == 0 => (Culprit::Steps(1), WorkOwner { endpoint: None, id: Some(self.last) }),
            count => (Culprit::Steps(count), WorkOwner::default()),
        };
        self.lap(now, culprit, owner);
        self.steps = unfinished;
    }

    /// Notes that the turn is over. Returns its duration and its stalls.
    #[inline]
    pub(crate) fn end(&mut self, now: Instant) -> Ended {
        self.steps_over(now, 0);
        self.running = false;
        let nanos = now.as_nanos().saturating_sub(self.begun.as_nanos());
        let took = Duration::from_nanos(nanos);
        let is_longest = nanos > self.longest;
        if is_longest {
            self.longest = nanos;
        }
        let is_long = nanos >= self.threshold || self.found.count > 0;
        Ended { took, is_longest, found: if is_long { Some(self.take_found(took)) } else { None } }
    }

    /// What was found in a turn that took so long. If no part of it is to blame, the whole is.
    #[cold]
    fn take_found(&mut self, took: Duration) -> TurnStalls {
        let found = std::mem::take(&mut self.found);
        if found.count > 0 {
            return found;
        }
        TurnStalls { count: 1, total: took, worst: took, culprit: Some(Culprit::Turn), owner: WorkOwner::default() }
    }

    /// Notes a stall. Every step is measured from now on, if that may name the culprit of the next one.
    pub(crate) fn watch(&mut self, now: Instant, culprit: Culprit) {
        let is_watchful = self.between == 0;
        if matches!(culprit, Culprit::Steps(_)) {
            self.between = 0;
            self.watchful_until = now + self.watchful;
            self.watchful = (self.watchful * 2).min(WATCHFUL_MOST);
        } else if is_watchful {
            // It has a culprit, which may stall again.
            self.watchful_until = self.watchful_until.max(now + WATCHFUL);
        }
    }

    /// An upper bound of the CPU time of a stall that ended just now, at the CPU time `time`.
    pub(crate) fn computed(&mut self, now: Instant, time: Option<Duration>, stall: Duration) -> Option<Duration> {
        let before = self.processor;
        (self.processor, self.processor_due) = (time, now + PROCESSOR);
        Some(time?.saturating_sub(before?).min(stall))
    }

    /// Whether to log a warning now, with the number suppressed since the last one.
    pub(crate) fn may_warn(&mut self, now: Instant) -> Option<u64> {
        if self.warned_at.is_some_and(|at| now.saturating_duration_since(at) < QUIET) {
            self.unsaid += 1;
            return None;
        }
        self.warned_at = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}
