//! The end of a connection that said its last word while the peer may still be sending.
//!
//! Closing a TCP socket with unread input resets the connection, and a reset can overtake our last bytes (RFC 9112
//! section 9.6). So our side is ended first, and input is read and dropped until the peer ends its own or time is up.

use sockeye_proto::time::Instant;

use crate::conn::read::{Filled, fill};
use crate::conn::{Conn, NEVER, Phase, Stage, Step};
use crate::output::{Bits, Out};
use crate::sys::CloseHow;

/// Flush, end our side, drain.
pub(crate) struct Linger {
    pub(crate) until: Instant,
    shut: bool,
    ended: bool,
}

/// The phase of a connection that has none any more: its socket is about to be closed.
pub(crate) fn over() -> Phase {
    Phase::Linger(Linger { until: NEVER, shut: true, ended: true })
}

/// Turns `conn` to lingering; what it has queued is still sent.
pub(crate) fn begin(conn: &mut Conn, until: Instant) -> Step {
    conn.phase = Phase::Linger(Linger { until, shut: false, ended: false });
    conn.stash = None;
    conn.user_timer = NEVER;
    Step::Again
}

pub(crate) fn step(stage: &mut Stage, conn: &mut Conn) -> Step {
    Out::new(&mut stage.outlet, &mut conn.link).flush();
    let Phase::Linger(linger) = &mut conn.phase else { return Step::Again };
    if conn.link.bits.has(Bits::BROKEN) {
        return Step::Gone(CloseHow::Normal);
    }
    if conn.link.queue.is_none() && !linger.shut {
        linger.shut = true;
        if stage.outlet.sys.shutdown_write(conn.link.handle).is_err() {
            return Step::Gone(CloseHow::Normal);
        }
    }
    let mut ended = linger.ended;
    let mut budget = stage.limits.turn_bytes;
    while !ended {
        if budget == 0 {
            return Step::Yield;
        }
        match fill(&mut Out::new(&mut stage.outlet, &mut conn.link), &mut conn.stash, &mut stage.rx, budget) {
            Filled::Bytes(count) => budget -= count.min(budget),
            Filled::Nothing => return Step::Wait,
            Filled::End => ended = true,
            Filled::Failed => return Step::Gone(CloseHow::Normal),
        }
    }
    if conn.link.queue.is_none() {
        return Step::Gone(CloseHow::Normal);
    }
    if let Phase::Linger(linger) = &mut conn.phase {
        linger.ended = true;
    }
    Step::Wait
}
