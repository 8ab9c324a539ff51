//! Messages, and their answers.
//!
//! What to know before editing: `receive` and `writable` run for every message of a load that is to keep a core busy. They
//! allocate nothing, and the clock is read once for each connection in a turn.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use sockeye::{Cause, Close, CloseCode, Closed, ConnId, Cx, Failure, Fragment, Protocol, Tx, Wishes, Writable};

use super::NAME;
use super::load::Load;
use super::pace::Pace;
use super::reading::{Fault, Reading, Wrong};
use super::script::{Said, Script};

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
    reading: Reading,
    stamps: Stamps,
    /// The turn of the loop in which the clock was read, and what it said.
    turn: Option<sockeye::Instant>,
    now: u64,
    /// The writable callback is asked for already.
    asked: bool,
}

/// When the messages were sent that have no answer: runs of messages with the same moment.
#[derive(Debug, Default)]
struct Stamps(VecDeque<(u64, u32)>);

impl Line {
    fn new(load: &Load, number: usize) -> Self {
        // Connections begin at places that are far from each other, so that their answers differ.
        let first = (number as u64).wrapping_mul(SPREAD) % Script::LEN as u64;
        let stamps = match &load.pace {
            Pace::Closed { in_flight } => Stamps(VecDeque::with_capacity((*in_flight as usize).min(RUNS))),
            Pace::Open(_) => Stamps::default(),
        };
        Self {
            number,
            next: first,
            sent: 0,
            in_flight: 0,
            reading: Reading::new(first),
            stamps,
            turn: None,
            now: 0,
            asked: false,
        }
    }

    #[inline]
    fn now(&mut self, load: &Load, turn: sockeye::Instant) -> u64 {
        if self.turn != Some(turn) {
            self.turn = Some(turn);
            self.now = load.clock.now();
        }
        self.now
    }

    /// A piece of an answer came.
    #[inline]
    fn receive(&mut self, load: &mut Load, turn: sockeye::Instant, fragment: &Fragment<'_>) -> Result<bool, Wrong> {
        if self.in_flight == 0 {
            return Err(Wrong { answer: self.sent + 1, fault: Fault::Unasked });
        }
        let Some(bytes) = self.reading.take(&load.script, fragment)? else { return Ok(false) };
        let now = self.now(load, turn);
        let stamp = match &load.pace {
            Pace::Closed { .. } => self.stamps.take(),
            Pace::Open(beat) => beat.moment_on(self.number, self.sent - u64::from(self.in_flight)),
        };
        self.in_flight -= 1;
        load.in_flight -= 1;
        load.last_sign = now;
        load.tally.answered(stamp, now, bytes);
        Ok(true)
    }

    /// Whether a message may go out now.
    #[inline]
    fn may_send(&self, load: &Load) -> bool {
        match &load.pace {
            Pace::Closed { in_flight } => self.in_flight < *in_flight && load.left > 0,
            Pace::Open(beat) => self.sent < beat.due_on(self.number, self.now),
        }
    }

    #[inline]
    fn send<'a>(&mut self, load: &mut Load, writable: Writable<'a>) -> Option<Writable<'a>> {
        match load.pace {
            Pace::Closed { .. } => {
                load.left -= 1;
                self.stamps.put(self.now);
            }
            Pace::Open(_) => {
                if let Some(sent) = load.sent_on.get_mut(self.number) {
                    *sent += 1;
                }
            }
        }
        let sent = match load.script.message(self.next) {
            Said::Text(text) => writable.text(text),
            Said::Binary(bytes) => writable.binary(bytes),
        };
        self.next += 1;
        self.sent += 1;
        self.in_flight += 1;
        load.sent += 1;
        load.in_flight += 1;
        sent.more()
    }
}

impl Stamps {
    #[inline]
    fn put(&mut self, stamp: u64) {
        match self.0.back_mut() {
            Some((last, count)) if *last == stamp => *count += 1,
            _ => self.0.push_back((stamp, 1)),
        }
    }

    /// The oldest one.
    #[inline]
    fn take(&mut self) -> u64 {
        // There is one for every message in flight, and no answer is taken when there is none.
        let Some((stamp, count)) = self.0.front_mut() else { return 0 };
        let stamp = *stamp;
        *count -= 1;
        if *count == 0 {
            self.0.pop_front();
        }
        stamp
    }
}

impl Protocol for Echo {
    type Session = Line;

    fn name(&self) -> &str {
        NAME
    }

    fn open(&mut self, cx: &mut Cx<'_>) -> Line {
        let load = &mut *self.load.borrow_mut();
        let now = load.clock.now();
        load.last_sign = now;
        load.lines.opened(cx.id(), now);
        let number = load.lines.number(cx.id());
        load.sent_on.push(0);
        Line::new(load, number)
    }

    #[inline]
    fn receive(&mut self, cx: &mut Cx<'_>, line: &mut Line, fragment: Fragment<'_>) -> Result<(), Close> {
        let load = &mut *self.load.borrow_mut();
        match line.receive(load, cx.now(), &fragment) {
            Ok(whole) => {
                if whole && !line.asked && line.may_send(load) {
                    line.asked = true;
                    cx.request_writable();
                }
                Ok(())
            }
            Err(wrong) => {
                load.wrong.get_or_insert_with(|| format!("connection {}: {wrong}", line.number + 1));
                Err(CloseCode::POLICY.into())
            }
        }
    }

    #[inline]
    fn writable(&mut self, cx: &mut Cx<'_>, line: &mut Line, tx: Tx<'_>) -> Result<(), Close> {
        let load = &mut *self.load.borrow_mut();
        line.asked = false;
        line.now(load, cx.now());
        let mut permission = tx.idle();
        while line.may_send(load) {
            let Some(writable) = permission.take() else {
                line.asked = true;
                cx.request_writable();
                break;
            };
            permission = line.send(load, writable);
        }
        Ok(())
    }

    fn failed(&mut self, _: &mut Wishes<'_>, id: ConnId, failure: Failure) {
        let load = &mut *self.load.borrow_mut();
        load.last_sign = load.clock.now();
        load.lines.failed(id, &failure);
    }

    fn closed(&mut self, _: &mut Cx<'_>, line: Line, closed: Closed) {
        let load = &mut *self.load.borrow_mut();
        load.last_sign = load.clock.now();
        load.in_flight -= u64::from(line.in_flight);
        load.lines.closed(Some(line.number), &closed, load.closing);
        if let Cause::Violation(violation) = &closed.cause {
            // Text that is no UTF-8, a frame that must not be: that is a wrong answer too.
            load.wrong.get_or_insert_with(|| format!("connection {}: {violation}", line.number + 1));
        }
        if !load.closing {
            load.lines.errors.add("unanswered", u64::from(line.in_flight), || "the connection was over".to_owned());
        }
    }
}

/// An odd number: places do not repeat before all have been used.
const SPREAD: u64 = 1_237;

/// Moments that a connection has room for from the start.
const RUNS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_come_back_in_order() {
        let mut stamps = Stamps::default();
        let all = [5, 5, 5, 7, 8, 8, 5];
        all.iter().for_each(|stamp| stamps.put(*stamp));
        assert_eq!(stamps.0.len(), 4);
        assert_eq!(all.map(|_| stamps.take()), all);
        assert!(stamps.0.is_empty());
    }
}
