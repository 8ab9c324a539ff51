//! What the command has in mind with its connection: what it sends, what it waits for, and when it is done.
//!
//! The console, which the loop calls, and the main thread, which looks after deadlines between turns, share one [`Dialog`].
//! It asks for nothing by itself: what it wants stands in `close` and `pings`, and both see to it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sockeye::messages::Message;
use sockeye::proto::close::{Cause, Initiator};
use sockeye::proto::conn::ControlPayload;
use sockeye::{Close, CloseCode, Closed, ConnId};

use crate::connect::command::{self, Command};
use crate::connect::event::{Event, Origin};
use crate::connect::expect::{Expectations, Unexpected};
use crate::connect::screen::Screen;
use crate::connect::stdin::{Input, Stdin};
use crate::ending;
use crate::failure::{self, Failure, GENERAL, THRESHOLD, TIMEOUT};

/// How long the connection stays open when nothing more is to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Hold {
    For(Duration),
    Forever,
}

/// What the command line asks for.
pub(crate) struct Plan {
    /// Sent on each connection before standard input.
    pub(crate) sends: Vec<Message<'static>>,
    pub(crate) expectations: Expectations,
    /// Messages after which it is over.
    pub(crate) count: Option<u64>,
    pub(crate) hold: Option<Hold>,
    pub(crate) deadline: Option<Instant>,
    /// For the text of its failure.
    pub(crate) timeout: Option<Duration>,
    pub(crate) ping_every: Option<Duration>,
    /// At a terminal an invalid line is reported, and the session continues.
    pub(crate) forgiving: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// There is no connection yet, or not again.
    Waiting,
    Talking,
    /// The input is at its end and everything was handed over. Each pong shows that the peer has read what was sent before
    /// the ping; the second one, that it has also sent what it had to say by then. Both together are as much as can be
    /// known of a peer that is not asked anything.
    Settling {
        pongs: u8,
        until: Instant,
    },
    /// The peer has read everything, and has not answered everything: it has a moment for that.
    Listening {
        until: Instant,
        end: Instant,
    },
    Holding {
        until: Option<Instant>,
    },
    Closing {
        until: Instant,
    },
    Over,
}

pub(crate) struct Dialog {
    plan: Plan,
    pub(crate) screen: Screen,
    pub(crate) stdin: Stdin,
    /// Those of the plan that were not sent on this connection.
    sends: VecDeque<Message<'static>>,
    phase: Phase,
    /// The open connection.
    conn: Option<ConnId>,
    input_ended: bool,
    received: u64,
    /// Messages that were handed over.
    sent: u64,
    /// Everything that was asked for was done: how the peer ends is a note from here on.
    done: bool,
    /// Somebody wants it to end by a signal.
    interrupted: bool,
    /// Reading is paused until the screen has room.
    pub(crate) paused: bool,
    /// A close that is requested but not carried out yet.
    pub(crate) close: Option<Close>,
    /// The writable callback was asked for and has not come: asking again would only turn the loop.
    pub(crate) asked: bool,
    /// Pings that a person typed, oldest first, and when: their pongs are shown.
    typed: VecDeque<(ControlPayload, Instant)>,
    /// Pings that want to be sent.
    pub(crate) pings: VecDeque<ControlPayload>,
    /// The first thing that went wrong.
    verdict: Option<Failure>,
}

impl Dialog {
    pub(crate) fn new(plan: Plan, screen: Screen, stdin: Stdin) -> Self {
        Self {
            plan,
            screen,
            stdin,
            sends: VecDeque::new(),
            phase: Phase::Waiting,
            conn: None,
            input_ended: false,
            received: 0,
            sent: 0,
            done: false,
            interrupted: false,
            paused: false,
            close: None,
            asked: false,
            typed: VecDeque::new(),
            pings: VecDeque::new(),
            verdict: None,
        }
    }

    pub(crate) fn conn(&self) -> Option<ConnId> {
        self.conn
    }

    pub(crate) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    pub(crate) fn ping_every(&self) -> Option<Duration> {
        self.plan.ping_every
    }

    /// Nothing is sent any more.
    fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing { .. } | Phase::Over)
    }

    pub(crate) fn opened(&mut self, id: ConnId) {
        self.conn = Some(id);
        self.asked = false;
        self.pings.clear();
        self.typed.clear();
        self.paused = false;
        if self.is_closing() {
            self.close = Some(CloseCode::NORMAL.into());
        } else {
            self.sends = self.plan.sends.iter().cloned().collect();
            self.phase = Phase::Talking;
        }
    }

    /// Sends a request before anything else.
    pub(crate) fn ask(&mut self, request: String) {
        if !self.is_closing() {
            self.sends.push_back(request.into());
        }
    }

    /// A message came.
    pub(crate) fn message(&mut self, message: &Message<'_>) {
        self.take(message, None);
    }

    /// A message of a topic came.
    pub(crate) fn message_of(&mut self, message: &Message<'_>, origin: &Origin<'_>) {
        self.take(message, Some(origin));
    }

    fn take(&mut self, message: &Message<'_>, origin: Option<&Origin<'_>>) {
        if self.is_closing() {
            return;
        }
        self.received += 1;
        self.screen.message(message, origin);
        if self.plan.expectations.message(message) == Err(Unexpected) {
            let missing = self.plan.expectations.missing().unwrap_or_default();
            self.fail("expect", THRESHOLD, format!("received message {} instead of {missing}", self.received));
        } else if self.plan.count.is_some_and(|count| self.received >= count) && !self.plan.expectations.are_met() {
            let missing = self.plan.expectations.missing().unwrap_or_default();
            self.fail("expect", THRESHOLD, format!("received {} messages, but not {missing}", self.received));
        } else {
            self.heard();
            self.rest();
        }
    }

    pub(crate) fn pong(&mut self, payload: &[u8]) {
        // RFC 6455 section 5.5.3: an endpoint "MAY elect to send a Pong frame for only the most recently processed Ping
        // frame", so those before it are answered, too.
        let answered = self.typed.iter().rposition(|(typed, _)| typed.as_bytes() == payload);
        let typed = answered.and_then(|at| self.typed.drain(..=at).next_back());
        self.screen.pong(payload, typed.map(|(_, sent)| sent.elapsed()));
        if let Phase::Settling { pongs, until } = self.phase {
            if payload == SETTLE {
                // All was read, so the second answer has nothing to wait for.
                self.phase = Phase::Settling { pongs: pongs + 1, until: until.min(Instant::now() + ANSWER) };
                if pongs + 1 == SETTLED { self.settled() } else { self.ask_to_settle() }
            }
        }
    }

    /// The next message to send. Commands and errors in front of it are handled on the way.
    pub(crate) fn next(&mut self) -> Option<Message<'static>> {
        if self.is_closing() {
            return None;
        }
        if let Some(message) = self.sends.pop_front() {
            self.sent += 1;
            return Some(message);
        }
        while self.phase == Phase::Talking || matches!(self.phase, Phase::Holding { .. }) {
            match self.stdin.pop()? {
                Input::Message(message) => {
                    self.sent += 1;
                    return Some(message);
                }
                Input::Command(Command::Send(text)) => return Some(text.into()),
                Input::Command(Command::Close(close)) => self.leave(close),
                Input::Command(Command::Ping(payload)) => {
                    // Who answers none of them is not waited for.
                    self.typed.truncate(TYPED - 1);
                    self.typed.push_back((payload, Instant::now()));
                    self.pings.push_back(payload);
                }
                Input::Command(Command::Help) => {
                    command::HELP.lines().for_each(|line| self.screen.answer(line));
                }
                Input::Wrong(error) if self.plan.forgiving => self.screen.answer(&error),
                Input::Wrong(error) => self.fail("input", GENERAL, error),
                Input::End => self.input_ended = true,
            }
        }
        None
    }

    /// Everything was handed over, or a message came: is that all?
    pub(crate) fn rest(&mut self) {
        if self.phase != Phase::Talking || !self.sends.is_empty() {
            return;
        }
        let reached = self.plan.count.is_none_or(|count| self.received >= count);
        let all = reached && self.plan.expectations.are_met();
        if self.has_goals() && all {
            self.done();
        } else if !self.has_goals() && self.input_ended {
            match self.plan.hold {
                Some(_) => self.done(),
                None => {
                    self.phase = Phase::Settling { pongs: 0, until: Instant::now() + PATIENCE };
                    self.ask_to_settle();
                }
            }
        }
    }

    fn has_goals(&self) -> bool {
        !self.plan.expectations.is_empty() || self.plan.count.is_some()
    }

    /// The peer has read everything. A server that looks something up first answers a moment later.
    fn settled(&mut self) {
        self.done = true;
        if self.received >= self.sent {
            return self.leave(CloseCode::NORMAL);
        }
        let end = Instant::now() + MOMENT;
        self.phase = Phase::Listening { until: end, end };
    }

    /// A message came while answers are waited for.
    fn heard(&mut self) {
        let Phase::Listening { end, .. } = self.phase else { return };
        if self.received >= self.sent {
            self.leave(CloseCode::NORMAL);
        } else {
            self.phase = Phase::Listening { until: end.min(Instant::now() + PAUSE), end };
        }
    }

    fn ask_to_settle(&mut self) {
        // It is short enough.
        self.pings.push_back(ControlPayload::new(SETTLE).unwrap_or_default());
    }

    /// Nothing more to do.
    fn done(&mut self) {
        self.done = true;
        match self.plan.hold {
            None => self.leave(CloseCode::NORMAL),
            Some(Hold::Forever) => self.phase = Phase::Holding { until: None },
            Some(Hold::For(span)) => self.phase = Phase::Holding { until: Some(Instant::now() + span) },
        }
    }

    /// Closes; without a connection it is over.
    fn leave(&mut self, close: impl Into<Close>) {
        self.leave_within(close, CLOSING);
    }

    fn leave_within(&mut self, close: impl Into<Close>, patience: Duration) {
        if self.conn.is_none() {
            self.phase = Phase::Over;
        } else if !self.is_closing() {
            self.close = Some(close.into());
            self.phase = Phase::Closing { until: Instant::now() + patience };
        }
    }

    /// Closes, since something went wrong.
    pub(crate) fn fail(&mut self, stage: &str, code: u8, message: String) {
        self.screen.event(&Event::Failure { stage, message: &message, status: None, retry: None });
        self.verdict.get_or_insert(Failure { code, message });
        // A peer that made us wait is not waited for again.
        self.leave_within(CloseCode::NORMAL, if code == TIMEOUT { BRIEF } else { CLOSING });
    }

    /// The connection is over. `retry`: after so long there will be another.
    pub(crate) fn closed(&mut self, closed: &Closed, retry: Option<Duration>) {
        self.conn = None;
        let how = closed.to_string();
        let reason = closed.received.as_ref().map_or("", |close| close.reason());
        self.screen.event(&Event::Close {
            code: closed.code_seen(),
            reason,
            by: ending::by(closed),
            clean: ending::is_clean(closed),
            how: &how,
        });
        let judged = self.judge(closed);
        // What ends as a failure is said there.
        if judged.is_ok() || retry.is_some() || self.verdict.is_some() {
            self.screen.note(&how);
        }
        if self.wait_for_another(retry) {
            return;
        }
        if self.verdict.is_none() {
            self.verdict = self.missing(&how).or_else(|| judged.err());
        } else if matches!(closed.cause, Cause::Violation(_)) {
            // A peer that broke a rule is what took too long, not the time.
            if let Err(broken) = judged {
                self.verdict = Some(broken);
            }
        }
        self.phase = Phase::Over;
    }

    /// Whether the end is a failure. Servers that end TCP instead of answering a Close frame are common, and what was asked of
    /// them has come.
    fn judge(&self, closed: &Closed) -> Result<(), Failure> {
        let is_unanswered = closed.initiator == Initiator::Local && matches!(closed.cause, Cause::Eof | Cause::Reset);
        if self.done && is_unanswered { Ok(()) } else { ending::judge(closed) }
    }

    /// There will be no connection; or there will, `retry` later.
    pub(crate) fn failed(&mut self, failure: &sockeye::Failure, retry: Option<Duration>) {
        let told = Failure::from(failure);
        self.screen.event(&Event::Failure {
            stage: stage(failure.stage),
            message: &told.message,
            status: failure::refusal(failure).map(|refusal| refusal.status()),
            retry,
        });
        if retry.is_some() {
            self.screen.note(&told.message);
        }
        if !self.wait_for_another(retry) {
            self.verdict.get_or_insert(told);
            self.phase = Phase::Over;
        }
    }

    fn wait_for_another(&mut self, retry: Option<Duration>) -> bool {
        let Some(after) = retry.filter(|_| !self.is_closing()) else { return false };
        if !after.is_zero() {
            self.screen.note(&format!("trying again in {:.1} s", after.as_secs_f64()));
        }
        self.phase = Phase::Waiting;
        true
    }

    /// What was asked for and did not come.
    fn missing(&self, how: &str) -> Option<Failure> {
        let message = match (self.plan.expectations.missing(), self.plan.count) {
            (Some(missing), _) => format!("the connection ended before {missing}: {how}"),
            (None, Some(count)) if self.received < count => {
                format!("the connection ended after {} of {count} messages: {how}", self.received)
            }
            _ => return None,
        };
        let stage = if self.plan.expectations.are_met() { "count" } else { "expect" };
        self.screen.event(&Event::Failure { stage, message: &message, status: None, retry: None });
        Some(Failure { code: THRESHOLD, message })
    }

    /// Looks after deadlines, signals and the reader of standard output, between two turns of the loop.
    pub(crate) fn look(&mut self, now: Instant) {
        if self.stdin.is_interrupted() && !self.is_closing() {
            self.interrupted = true;
            if self.conn.is_none() {
                self.verdict
                    .get_or_insert_with(|| Failure::general("interrupted before the connection was open".to_owned()));
            }
            self.leave(CloseCode::GOING_AWAY);
        }
        if self.conn.is_none() && self.stdin.wants_to_close() {
            self.leave(CloseCode::NORMAL);
        }
        if self.screen.is_closed() {
            self.leave(CloseCode::NORMAL);
        }
        if self.plan.deadline.is_some_and(|deadline| deadline <= now) && !self.is_closing() {
            let timeout = self.plan.timeout.unwrap_or_default();
            let message = match self.plan.expectations.missing() {
                Some(missing) => format!("{missing} did not arrive within {timeout:?}"),
                None => format!("not done within {timeout:?}"),
            };
            self.fail("timeout", TIMEOUT, message);
        }
        match self.phase {
            Phase::Listening { until, .. } if until <= now => {
                if self.received == 0 {
                    self.screen.note(&format!("no message came within {MOMENT:?}; --hold or --count waits longer"));
                }
                self.leave(CloseCode::NORMAL);
            }
            Phase::Settling { until, .. } | Phase::Holding { until: Some(until) } if until <= now => {
                self.leave(CloseCode::NORMAL);
            }
            Phase::Closing { until } if until <= now => self.phase = Phase::Over,
            _ => {}
        }
    }

    /// When to look again, if nothing happens before.
    pub(crate) fn next_look(&self) -> Option<Instant> {
        let phase = match self.phase {
            Phase::Settling { until, .. } | Phase::Listening { until, .. } | Phase::Closing { until } => Some(until),
            Phase::Holding { until } => until,
            _ => None,
        };
        let deadline = self.plan.deadline.filter(|_| !self.is_closing());
        phase.into_iter().chain(deadline).min()
    }

    /// Whether the writable callback has something to do.
    pub(crate) fn wants_to_write(&self) -> bool {
        let is_talking = matches!(self.phase, Phase::Talking | Phase::Holding { .. });
        let input = is_talking && !(self.stdin.is_empty() && self.sends.is_empty());
        !self.is_closing() && (input || !self.pings.is_empty()) || self.paused && !self.screen.is_full()
    }

    /// Ends it: shows what is left and gives the verdict.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        self.screen.finish();
        match self.verdict.take() {
            Some(failure) => Err(failure),
            None => {
                self.screen.written()?;
                if self.interrupted && !self.has_goals() { Err(Failure::interrupted()) } else { Ok(()) }
            }
        }
    }
}

fn stage(stage: sockeye::client::Stage) -> &'static str {
    use sockeye::client::Stage;
    match stage {
        Stage::Resolve => "resolve",
        Stage::Connect => "connect",
        Stage::Proxy => "proxy",
        Stage::Tls => "tls",
        _ => "handshake",
    }
}

/// The payload of pings that ask whether the peer has read everything. It is short, since libwebsockets answers a ping in pieces
/// when its receive buffer for a protocol, of 10 bytes in its own test server, does not hold it.
const SETTLE: &[u8] = b"read?";
/// So many pongs in a row say so.
const SETTLED: u8 = 2;
/// Time for the first of these pongs: what was sent may fill buffers before a slow line. A peer that does not answer is closed
/// all the same.
const PATIENCE: Duration = Duration::from_secs(20);
/// Time for the next one.
const ANSWER: Duration = Duration::from_secs(2);
/// Time for the answers of a peer that has read everything, from then on.
const MOMENT: Duration = Duration::from_secs(1);
/// Time for the next answer after one.
const PAUSE: Duration = Duration::from_millis(250);
/// Typed pings whose pongs are waited for.
const TYPED: usize = 64;
/// The library has its own limit for closing, which comes first.
const CLOSING: Duration = Duration::from_secs(8);
/// Time for the closing handshake when the time is over already.
const BRIEF: Duration = Duration::from_millis(500);

#[cfg(test)]
#[path = "dialog_tests.rs"]
mod tests;
