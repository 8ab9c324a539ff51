//! One connection: its socket, its phase, and what it keeps while it cannot go on.
//!
//! ```text
//!  accept  ─▶ (Proxied) ─▶ Http ───── 101 ──▶ Ws ─── closed ──▶ (Linger) ─▶ gone
//!                           └── refused, or `Connection: close` ──▲
//!  connect ─▶ Opening ─────────────── 101 ──▶ Ws ─── closed ──▶ gone
//!              └── refused, or too late ─────────────────────────▲
//!  accept, of a raw listener ─▶ (Proxied) ─▶ Raw ─── closed ──▶ (Linger) ─▶ gone
//!  adopt ────────────────────────────────────▲
//! ```
//!
//! A *step* moves one connection as far as its socket, its share of the turn and its own state allow. Steps are
//! functions over a [`Stage`], which lends the loop's buffers and tables; nothing here knows the table of connections.

mod access;
pub(crate) mod admission;
pub(crate) mod http;
pub(crate) mod linger;
pub(crate) mod network;
pub(crate) mod opening;
pub(crate) mod policy;
pub(crate) mod proxied;
pub(crate) mod raw;
pub(crate) mod read;
pub(crate) mod upgrade;
mod watch;
pub(crate) mod ws;

use std::rc::Rc;

use sockeye_proto::conn::{Connection, State};
use sockeye_proto::time::Instant;

use crate::conn::policy::Policy;
use crate::limits::Limits;
use crate::output::pool::Buffer;
use crate::output::{Bits, Link, Outlet};
use crate::protocol::ConnId;
use crate::protocol::endpoint::Endpoint;
use crate::shared::{Live, Shared};
use crate::statistics::Place;
use crate::sys::{Address, CloseHow, Handle};

/// No deadline.
pub(crate) const NEVER: Instant = Instant::from_nanos(u64::MAX);

/// An open socket and where it is in its life.
pub(crate) struct Conn {
    pub(crate) phase: Phase,
    pub(crate) link: Link,
    /// Published frames that wait for the end of our own fragmented message; `None` when there are none.
    pub(crate) held: Option<Box<Held>>,
    /// What was read and not used up, because reading is paused or the turn's share was spent; `None` when nothing is.
    pub(crate) stash: Option<Box<read::Stash>>,
    /// The earliest entry in the loop's timers.
    pub(crate) armed: Instant,
    /// When the user's timer callback is due.
    pub(crate) user_timer: Instant,
    pub(crate) peer: Address,
}

/// Published frames, in order.
#[derive(Default)]
pub(crate) struct Held {
    pub(crate) frames: Vec<Rc<Buffer>>,
    /// What they hold, the cost of holding included.
    pub(crate) len: usize,
}

/// What the bytes mean.
pub(crate) enum Phase {
    /// A trusted proxy has not said yet who connects.
    Proxied(Box<proxied::Proxied>),
    Http(Box<http::Http>),
    Opening(Box<opening::Opening>),
    Ws(Connection),
    Raw(Box<raw::Raw>),
    Linger(linger::Linger),
}

impl Conn {
    pub(crate) fn new(handle: Handle, peer: Address, phase: Phase) -> Self {
        Self { phase, link: Link::new(handle), held: None, stash: None, armed: NEVER, user_timer: NEVER, peer }
    }

    /// Bytes that wait for the socket or for the end of a message.
    pub(crate) fn waiting(&self) -> usize {
        self.link.queued() + self.held.as_ref().map_or(0, |held| held.len)
    }

    /// Whether it is a WebSocket or raw connection that is not being closed.
    pub(crate) fn is_open(&self) -> bool {
        match &self.phase {
            Phase::Ws(ws) => ws.state() == State::Open,
            Phase::Raw(raw) => !raw.is_ending(),
            Phase::Http(_) | Phase::Opening(_) | Phase::Proxied(_) | Phase::Linger(_) => false,
        }
    }

    /// Whether a step may have brought the deadline forward. That of an open WebSocket moves back with each read.
    #[inline]
    pub(crate) fn needs_arming(&self) -> bool {
        self.armed == NEVER || !matches!(&self.phase, Phase::Ws(ws) if ws.state() == State::Open)
    }

    /// The next moment at which this connection must be looked at.
    #[inline]
    pub(crate) fn deadline(&self) -> Instant {
        let own = match &self.phase {
            Phase::Proxied(proxied) => proxied.deadline(),
            Phase::Http(http) => http.deadline(),
            Phase::Opening(opening) => opening.deadline(),
            Phase::Ws(ws) => ws.next_deadline().unwrap_or(NEVER),
            Phase::Raw(raw) => raw.deadline(),
            Phase::Linger(linger) => linger.until,
        };
        own.min(self.user_timer)
    }
}

/// What the steps of all connections work with, one after another.
pub(crate) struct Stage {
    pub(crate) outlet: Outlet,
    pub(crate) shared: Shared,
    pub(crate) endpoints: Vec<Box<dyn Endpoint>>,
    pub(crate) policy: Policy,
    /// The one receive buffer; its head room takes what a connection kept of the read before.
    pub(crate) rx: Box<[u8]>,
    pub(crate) limits: Limits,
    /// Where its numbers meet those of other threads, if there are any.
    pub(crate) place: Option<Place>,
}

impl Stage {
    /// A number that nobody can foretell; `None` when the system has none.
    pub(crate) fn random_u64(&mut self) -> Option<u64> {
        let mut bytes = [0; 8];
        self.outlet.sys.random(&mut bytes).ok()?;
        Some(u64::from_ne_bytes(bytes))
    }
}

/// What a step came to.
#[derive(Debug)]
pub(crate) enum Step {
    /// Wait for the socket, a deadline or a wish.
    Wait,
    /// The turn's share is spent: go on in the next round.
    Yield,
    /// There is more to do, though its share is not spent: go on in the next round.
    Later,
    /// The phase changed: take another step now.
    Again,
    /// The connection is over: close the socket so, and free the slot.
    Gone(CloseHow),
    /// A PROXY header is complete: see who connects, and go on with HTTP.
    Introduced,
    /// It did not become a WebSocket: close the socket, and see to what is on the list of the unopened.
    Unopened,
}

/// Moves one connection as far as it goes now.
#[inline]
pub(crate) fn step(stage: &mut Stage, id: ConnId, live: Live, conn: &mut Conn) -> Step {
    stage.outlet.statistics.work.steps += 1;
    let step = if stage.outlet.stopwatch.step(id) && look_at_the_clock(stage) {
        watched_step(stage, id, live, conn)
    } else if let Phase::Ws(_) = conn.phase {
        ws::step::<false>(stage, id, live, conn)
    } else {
        other_step(stage, id, live, conn)
    };
    match step {
        Step::Again => return step_again(stage, id, conn),
        // What was corked for this connection must not go to the next one.
        Step::Gone(_) | Step::Unopened => stage.outlet.cork.clear(),
        Step::Wait | Step::Yield | Step::Later | Step::Introduced => {}
    }
    debug_assert!(stage.outlet.cork.is_empty(), "the cork is empty between connections");
    step
}

/// Measures the steps before this one. Says whether this one is to be measured by itself.
#[cold]
fn look_at_the_clock(stage: &mut Stage) -> bool {
    stage.outlet.steps_over(1);
    stage.outlet.stopwatch.is_watchful()
}

/// A step that is measured, and its callbacks in it: something stalled of late.
#[cold]
fn watched_step(stage: &mut Stage, id: ConnId, live: Live, conn: &mut Conn) -> Step {
    let step = match conn.phase {
        Phase::Ws(_) => ws::step::<true>(stage, id, live, conn),
        _ => other_step(stage, id, live, conn),
    };
    stage.outlet.steps_over(0);
    step
}

/// A step of what is not, or no longer, a WebSocket.
#[cold]
fn other_step(stage: &mut Stage, id: ConnId, live: Live, conn: &mut Conn) -> Step {
    match conn.phase {
        Phase::Http(_) => http::step(stage, id, conn),
        Phase::Opening(_) => opening::step(stage, id, conn),
        Phase::Proxied(_) => proxied::step(stage, id, conn),
        Phase::Raw(_) => raw::step(stage, id, live, conn),
        Phase::Linger(_) => linger::step(stage, conn),
        Phase::Ws(_) => Step::Again,
    }
}

/// A step in the next phase. Phases follow each other and never come back, so this ends.
#[cold]
fn step_again(stage: &mut Stage, id: ConnId, conn: &mut Conn) -> Step {
    // `open` or `closed` may have been called.
    match stage.shared.live.get(id).copied() {
        Some(live) => step(stage, id, live, conn),
        None => Step::Gone(CloseHow::Normal),
    }
}

/// A deadline of this connection may be due.
pub(crate) fn due(stage: &mut Stage, id: ConnId, conn: &mut Conn) -> Step {
    let now = stage.shared.now;
    let Some(live) = stage.shared.live.get(id).copied() else { return Step::Gone(CloseHow::Normal) };
    let last_look = look_again(stage, id, live, conn, now);
    if matches!(last_look, Step::Gone(_) | Step::Unopened | Step::Introduced) {
        return last_look;
    }
    match &mut conn.phase {
        Phase::Ws(_) => {
            ws::due(stage, id, conn);
            // The callback of a timer may have wished for something.
            let live = stage.shared.live.get(id).copied().unwrap_or(live);
            step(stage, id, live, conn)
        }
        Phase::Http(http) if http.deadline() <= now => match http::due(stage, conn) {
            Step::Again => step(stage, id, live, conn),
            done => done,
        },
        Phase::Opening(opening) if opening.deadline() <= now => opening::due(stage, id, conn),
        Phase::Proxied(proxied) if proxied.deadline() <= now => proxied::due(stage, id, conn),
        Phase::Raw(_) => raw::due(stage, id, live, conn),
        Phase::Linger(linger) if linger.until <= now => Step::Gone(CloseHow::Reset),
        _ => last_look,
    }
}

/// Takes a step before a deadline ends the connection. If the loop itself was held up (stopped, or short of the processor)
/// the peer may have done its part long since, and the kernel tells of so many sockets at a time only.
fn look_again(stage: &mut Stage, id: ConnId, live: Live, conn: &mut Conn, now: Instant) -> Step {
    let ends = match &conn.phase {
        Phase::Http(http) => http.deadline() <= now,
        Phase::Opening(opening) => opening.deadline() <= now,
        Phase::Proxied(proxied) => proxied.deadline() <= now,
        // The ping after a silence ends nothing.
        Phase::Ws(ws) => {
            (ws.state() != State::Open || ws.awaits_pong()) && ws.next_deadline().is_some_and(|at| at <= now)
        }
        Phase::Raw(raw) => raw.deadline() <= now,
        Phase::Linger(linger) => linger.until <= now,
    };
    if !ends {
        return Step::Wait;
    }
    conn.link.bits.set(Bits::READABLE | Bits::WRITABLE);
    step(stage, id, live, conn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_no_larger_than_it_was() {
        assert!(size_of::<Conn>() <= 224, "{}", size_of::<Conn>());
        assert_eq!(size_of::<Live>(), 8);
    }
}
