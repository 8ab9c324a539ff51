//! Messages, and their answers.
//!
//! What to know before editing: `receive` and `writable` run for every message of a load that is to keep a core busy. They
//! allocate nothing, and the clock is read once for each connection in a turn.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use sockeye::proto::close::Cause;
use sockeye::proto::time::Instant;
use sockeye::protocol::ProtocolMut;
use sockeye::{Close, CloseCode, Closed, ClosedCx, ConnId, Cx, Failure, Fragment, Handshake, Protocol, Tx, Writable};

use super::load::{Load, NAME};
use super::pace::Pace;
use super::reading::{Fault, Reading, Wrong};
use super::tally::Tally;

/// All connections of a run.
pub(crate) struct Echo {
    load: Rc<RefCell<Load>>,
}

impl Echo {
    pub(crate) fn new(load: Rc<RefCell<Load>>) -> Self {
        Self { load }
    }
}

/// One connection.
pub(crate) struct Line {
    number: usize,
    /// Where in the script it is with sending.
    next: u64,
    /// Sent so far, and without an answer.
    sent: u64,
    in_flight: u32,
    /// The writable callback is asked for already.
    asked: bool,
    reading: Reading,
    stamps: Stamps,
    /// The turn of the loop in which the clock was read, and what it said.
    turn: Instant,
    now: u64,
}

/// When the messages were sent that have no answer: runs of messages with the same moment, the oldest first.
#[derive(Debug, Default)]
struct Stamps {
    /// Empty only if all are.
    first: (u64, u32),
    rest: VecDeque<(u64, u32)>,
    /// Of the first run, those that were answered in the last turn, and their bytes: they are counted together.
    answers: u32,
    bytes: u64,
}

impl Line {
    fn new(load: &Load, number: usize, turn: Instant, now: u64) -> Self {
        // Connections begin at places that are far from each other, so that their answers differ.
        let first = (number as u64).wrapping_mul(SPREAD) % load.script.len() as u64;
        Self {
            number,
            next: first,
            sent: 0,
            in_flight: 0,
            asked: false,
            reading: Reading::new(first),
            stamps: Stamps::default(),
            turn,
            now,
        }
    }

    #[inline]
    fn look_at_the_clock(&mut self, load: &mut Load, turn: Instant) {
        if self.turn != turn {
            self.stamps.settle(self.now, &mut load.tally);
            self.turn = turn;
            self.now = load.clock.now();
            load.last_sign = self.now;
        }
    }

    /// A piece came; whether an answer is whole with it.
    #[inline]
    fn receive(&mut self, load: &mut Load, turn: Instant, fragment: &Fragment<'_>) -> Result<bool, Wrong> {
        if self.in_flight == 0 {
            return Err(Wrong { answer: self.sent + 1, fault: Fault::Unasked });
        }
        let Some(bytes) = self.reading.take(&load.script, fragment)? else { return Ok(false) };
        self.look_at_the_clock(load, turn);
        match &load.pace {
            Pace::Closed { .. } => {
                if self.stamps.answered(bytes) {
                    self.stamps.settle(self.now, &mut load.tally);
                }
            }
            Pace::Open(beat) => {
                let due = beat.moment_on(self.number, self.sent - u64::from(self.in_flight));
                load.tally.answered(due, self.now, 1, bytes as u64);
            }
        }
        self.in_flight -= 1;
        load.in_flight -= 1;
        Ok(true)
    }

    /// Nothing that was measured is worth anything.
    #[cold]
    fn refuse(&self, load: &mut Load, wrong: Wrong) -> Close {
        load.wrong.get_or_insert_with(|| format!("connection {}: {wrong}", self.number + 1));
        CloseCode::POLICY.into()
    }

    /// How many messages may go out now.
    #[inline]
    fn due(&self, load: &Load) -> u64 {
        match &load.pace {
            Pace::Closed { in_flight } => load.left.min(u64::from(in_flight.saturating_sub(self.in_flight))),
            Pace::Open(beat) => beat.due_on(self.number, self.now).saturating_sub(self.sent),
        }
    }

    /// Has what is due sent: at once when nothing else comes from this connection, else behind the answers that are there,
    /// together.
    #[inline]
    fn go_on(&mut self, load: &mut Load, cx: &mut Cx<'_>) {
        let due = self.due(load);
        self.asked = due > 0;
        if self.asked && self.in_flight == 0 {
            cx.answer(|permission| self.asked = self.send(load, Some(permission), due) < due);
        }
        if self.asked {
            cx.request_writable();
        }
    }

    /// Sends what is due as far as it goes; gives how much of it went.
    #[inline]
    fn send(&mut self, load: &mut Load, mut permission: Option<Writable<'_>>, due: u64) -> u64 {
        let mut sent = 0;
        while sent < due {
            let Some(writable) = permission else { break };
            permission = writable.send(load.script.kind(), load.script.bytes(self.next)).more();
            self.next += 1;
            sent += 1;
        }
        // As many as a `u32` counts: a permission does not last for more.
        self.in_flight += sent as u32;
        self.sent += sent;
        load.sent += sent;
        load.in_flight += sent;
        match load.pace {
            Pace::Closed { .. } => {
                load.left -= sent;
                self.stamps.put(self.now, sent as u32);
            }
            Pace::Open(_) => load.sent_on[self.number] = self.sent,
        }
        sent
    }
}

impl Stamps {
    fn put(&mut self, stamp: u64, count: u32) {
        if count == 0 {
            return;
        }
        if self.first.1 == 0 {
            self.first = (stamp, count);
        } else {
            self.rest.push_back((stamp, count));
        }
    }

    /// The oldest message is answered; whether it is the last of its run. There is a stamp for every message in flight, and
    /// callers take an answer only while one is in flight.
    #[inline]
    fn answered(&mut self, bytes: usize) -> bool {
        self.answers += 1;
        self.bytes += bytes as u64;
        self.answers == self.first.1
    }

    /// Counts what was answered at `now`.
    fn settle(&mut self, now: u64, tally: &mut Tally) {
        if self.answers == 0 {
            return;
        }
        let (stamp, count) = self.first;
        tally.answered(stamp, now, self.answers, self.bytes);
        self.first = match count - self.answers {
            0 => self.rest.pop_front().unwrap_or_default(),
            left => (stamp, left),
        };
        (self.answers, self.bytes) = (0, 0);
    }
}

impl Protocol for Echo {
    type Session = Line;

    fn name(&self) -> &str {
        NAME
    }

    fn open(&mut self, cx: &mut Cx<'_>, handshake: &Handshake<'_>) -> Line {
        let load = &mut *self.load.borrow_mut();
        let now = load.clock.now();
        load.last_sign = now;
        load.lines.opened(cx.id(), handshake, now);
        let number = load.lines.number(cx.id());
        load.sent_on.push(0);
        Line::new(load, number, cx.now(), now)
    }

    #[inline]
    fn receive(&mut self, cx: &mut Cx<'_>, line: &mut Line, fragment: Fragment<'_>) -> Result<(), Close> {
        let load = &mut *self.load.borrow_mut();
        match line.receive(load, cx.now(), &fragment) {
            Ok(whole) => {
                if whole && !line.asked {
                    line.go_on(load, cx);
                }
                Ok(())
            }
            Err(wrong) => Err(line.refuse(load, wrong)),
        }
    }

    #[inline]
    fn writable(&mut self, cx: &mut Cx<'_>, line: &mut Line, tx: Tx<'_>) -> Result<(), Close> {
        let load = &mut *self.load.borrow_mut();
        line.look_at_the_clock(load, cx.now());
        let due = line.due(load);
        line.asked = line.send(load, tx.idle(), due) < due;
        if line.asked {
            cx.request_writable();
        }
        Ok(())
    }

    fn failed(&mut self, _: &mut ProtocolMut<'_>, id: ConnId, failure: Failure) {
        let load = &mut *self.load.borrow_mut();
        load.last_sign = load.clock.now();
        load.lines.failed(id, &failure, load.closing);
    }

    fn closed(&mut self, _: &mut ClosedCx<'_>, mut line: Line, closed: Closed) {
        let load = &mut *self.load.borrow_mut();
        line.stamps.settle(line.now, &mut load.tally);
        load.last_sign = load.clock.now();
        load.in_flight -= u64::from(line.in_flight);
        load.lines.closed(Some(line.number), &closed, load.closing);
        if let Cause::Violation(violation) = &closed.cause {
            // Text that is not UTF-8 and illegal frames are wrong answers too.
            load.wrong.get_or_insert_with(|| format!("connection {}: {violation}", line.number + 1));
        }
        if !load.closing {
            load.lines.errors.add("unanswered", u64::from(line.in_flight), || "the connection was closed".to_owned());
        }
    }
}

/// An odd number: places do not repeat before all have been used.
const SPREAD: u64 = 1_237;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_come_back_in_order() {
        let (mut stamps, mut tally) = (Stamps::default(), Tally::new());
        tally.begin(0);
        for (stamp, count) in [(5, 3), (7, 1), (8, 0), (8, 2), (5, 1)] {
            stamps.put(stamp, count);
        }
        // Those of a run are counted together, but for the first run: a turn ends within it.
        for (is_over, (stamp, now)) in [
            (false, (5, 100)),
            (false, (5, 200)),
            (true, (5, 200)),
            (true, (7, 200)),
            (false, (8, 200)),
            (true, (8, 200)),
            (true, (5, 300)),
        ] {
            assert_eq!((stamps.first.0, stamps.answered(10)), (stamp, is_over));
            if is_over || now == 100 {
                stamps.settle(now, &mut tally);
            }
        }
        let latencies = tally.latencies();
        assert_eq!((tally.messages(), tally.bytes(), latencies.p50, latencies.max), (7, 70, 193, 295));
        stamps.settle(400, &mut tally);
        stamps.put(9, 2);
        assert!([stamps.answered(0), stamps.answered(0)] == [false, true]);
        stamps.settle(500, &mut tally);
        assert!(stamps.first.1 == 0 && stamps.rest.is_empty() && tally.messages() == 9);
    }
}
