//! The handler of the connection: it publishes what waits, and counts the answers.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sockeye::messages::{Handler, Message, MessageCx};
use sockeye::protocol::ProtocolMut;
use sockeye::{Close, CloseCode, Closed, ClosedCx, ConnId, Handshake};
use sockeye_hub::SUBPROTOCOL;
use sockeye_hub::client::{Asked, Client, HubEvent, RequestError};

use crate::connect::event::harmless;
use crate::connect::stdin::{Input, Stdin};
use crate::failure::{Failure, GENERAL, PROTOCOL, REFUSED, TIMEOUT};
use crate::stdout::Output;

/// What the command line asks for.
pub(super) struct Plan {
    pub(super) topic: String,
    pub(super) key: Option<String>,
    pub(super) timeout: Duration,
    pub(super) json: bool,
    /// There is one message, of the command line.
    pub(super) is_single: bool,
}

/// What the handler and the main thread share.
pub(super) struct Run {
    plan: Plan,
    client: Client,
    stdin: Stdin,
    pub(super) stdout: Output,
    conn: Option<ConnId>,
    /// The numbers of the messages, from 1, by the ids of those without an answer.
    numbers: BTreeMap<u64, u64>,
    sent: u64,
    published: u64,
    /// Where the last one is, if it is known.
    place: Option<String>,
    /// No more is sent.
    is_ending: bool,
    is_closing: bool,
    is_over: bool,
    is_interrupted: bool,
    /// Since then the hub has been silent, while an answer is due.
    silent: Option<Instant>,
    failure: Option<Failure>,
}

impl Run {
    pub(super) fn new(plan: Plan, token: Option<&str>, stdin: Stdin, stdout: Output) -> Self {
        let mut client = Client::new().most_publishes(MOST_UNANSWERED);
        // Without a connection it is only kept.
        _ = token.and_then(|token| client.authorize(token));
        Self {
            plan,
            client,
            stdin,
            stdout,
            conn: None,
            numbers: BTreeMap::new(),
            sent: 0,
            published: 0,
            place: None,
            is_ending: false,
            is_closing: false,
            is_over: false,
            is_interrupted: false,
            silent: None,
            failure: None,
        }
    }

    /// # Errors
    /// The name of the topic, or the key, cannot be one.
    pub(super) fn check(&self) -> Result<(), RequestError> {
        let key = self.plan.key.as_deref().map(str::as_bytes);
        match Client::new().publish(&self.plan.topic, "", key) {
            Err(RequestError::Closed) | Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    pub(super) fn conn(&self) -> Option<ConnId> {
        self.conn
    }

    /// Everything has its answer, and no more is sent.
    pub(super) fn wants_to_close(&mut self) -> bool {
        let closes = self.is_ending && self.numbers.is_empty() && !self.is_closing;
        self.is_closing |= closes;
        closes
    }

    pub(super) fn wants_to_write(&self) -> bool {
        !self.is_ending && self.numbers.len() < MOST_UNANSWERED && !self.stdin.is_empty()
    }

    /// When to look again, if nothing happens before.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.silent.map(|since| since + self.plan.timeout)
    }

    /// Looks after signals and the silence of the hub, between two turns of the loop.
    pub(super) fn look(&mut self, now: Instant) {
        if self.stdin.is_interrupted() && !self.is_interrupted {
            self.is_interrupted = true;
            self.is_ending = true;
            self.is_over |= self.conn.is_none();
        }
        if self.next_look().is_some_and(|at| at <= now) {
            let failure = Failure { code: TIMEOUT, message: format!("no answer within {:?}", self.plan.timeout) };
            self.failure.get_or_insert(failure);
            self.is_over = true;
        }
    }

    pub(super) fn summary(&self) -> String {
        let unanswered = match self.numbers.len() {
            0 => String::new(),
            count => format!(", {count} without an answer"),
        };
        match (&self.place, self.published) {
            (Some(place), 1) if self.plan.is_single => format!("published at {place}"),
            (_, 1) => format!("1 message published{unanswered}"),
            (_, count) => format!("{count} messages published{unanswered}"),
        }
    }

    /// # Errors
    /// The first thing that went wrong.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        match &self.failure {
            Some(failure) => Err(failure.clone()),
            None if self.is_interrupted => Err(Failure::interrupted()),
            None => Ok(()),
        }
    }

    /// The rest is not sent.
    fn fail(&mut self, code: u8, message: String) {
        self.failure.get_or_insert(Failure { code, message });
        self.is_ending = true;
    }

    /// What has to be sent next.
    fn next(&mut self) -> Option<Message<'static>> {
        while self.wants_to_write() {
            match self.stdin.pop()? {
                Input::Message(payload) => {
                    let key = self.plan.key.as_deref().map(str::as_bytes);
                    match self.client.publish(&self.plan.topic, payload, key) {
                        Ok((id, message)) => {
                            self.sent += 1;
                            self.numbers.insert(id, self.sent);
                            self.silent.get_or_insert_with(Instant::now);
                            return Some(message);
                        }
                        Err(error) => self.fail(GENERAL, error.to_string()),
                    }
                }
                Input::Wrong(error) => self.fail(GENERAL, error),
                Input::End => self.is_ending = true,
                Input::Command(_) => {}
            }
        }
        None
    }

    fn told(&mut self, event: HubEvent<'_>) {
        match event {
            HubEvent::Published { id, at } => {
                self.published += 1;
                self.place = at.as_ref().map(ToString::to_string);
                let (epoch, offset) = (at.as_ref().map(|at| at.epoch()), at.as_ref().map(|at| at.offset()));
                self.answered(id, json!({"event": "published", "epoch": epoch, "offset": offset}));
            }
            HubEvent::Unknown { id, reason } => {
                let number = self.answered(id, json!({"event": "unknown", "reason": reason}));
                let what = format!("{}may have reached all subscribers, some or none: {reason}", self.named(number));
                self.fail(PROTOCOL, what);
            }
            HubEvent::Refused { asked: Some(Asked::Publish(id)), code, reason } => {
                let number = self.answered(id, json!({"event": "refused", "code": code.as_str(), "reason": reason}));
                let what = format!("{}was refused: {code}: {reason}", self.named(number));
                self.fail(REFUSED, what);
            }
            HubEvent::Refused { code, reason, .. } => self.fail(REFUSED, format!("the hub refuses: {code}: {reason}")),
            _ => {}
        }
        self.silent = if self.numbers.is_empty() { None } else { Some(Instant::now()) };
    }

    /// A message has its answer; its number.
    fn answered(&mut self, id: u64, mut object: Value) -> u64 {
        let number = self.numbers.remove(&id).unwrap_or_default();
        if self.plan.json {
            object["message"] = number.into();
            self.stdout.push((harmless(&object) + "\n").as_bytes());
        }
        number
    }

    fn named(&self, number: u64) -> String {
        if self.plan.is_single { "the message ".to_owned() } else { format!("message {number} ") }
    }
}

/// One connection.
pub(super) struct Publisher {
    run: Rc<RefCell<Run>>,
}

impl Publisher {
    pub(super) fn new(run: Rc<RefCell<Run>>) -> Self {
        Self { run }
    }

    /// Sends what there is to send.
    fn send(&self, cx: &mut MessageCx<'_, '_>) -> Result<(), Close> {
        let mut run = self.run.borrow_mut();
        while cx.outbox().bytes() < ENOUGH {
            let Some(message) = run.next() else { break };
            // The outbox has room for a message of the usual maximum; a longer one is not sent.
            // Borrowed: what `push` does for owned ones stays inlined in `echo`, while that is the only one to call it.
            cx.push(&message).map_err(|_| CloseCode::TOO_BIG)?;
        }
        if run.wants_to_close() {
            return Err(CloseCode::NORMAL.into());
        }
        Ok(())
    }
}

impl Handler for Publisher {
    type State = ();

    fn open(&mut self, cx: &mut MessageCx<'_, '_>, handshake: &Handshake<'_>) {
        let mut run = self.run.borrow_mut();
        run.conn = Some(cx.id());
        if handshake.subprotocol() != Some(SUBPROTOCOL) {
            run.failure = Some(Failure::no_hub());
            run.is_ending = true;
            run.is_closing = true;
            return cx.close(CloseCode::NORMAL);
        }
        for request in run.client.opened() {
            // A token; the outbox is empty.
            _ = cx.push(request);
        }
        cx.request_writable();
    }

    fn message(&mut self, cx: &mut MessageCx<'_, '_>, (): &mut (), message: Message<'_>) -> Result<(), Close> {
        let mut run = self.run.borrow_mut();
        let events = match run.client.received(&message) {
            Ok(events) => events,
            Err(malformed) => {
                run.fail(PROTOCOL, malformed.to_string());
                return Err(malformed.into());
            }
        };
        events.for_each(|event| run.told(event));
        drop(run);
        self.send(cx)
    }

    fn writable(&mut self, cx: &mut MessageCx<'_, '_>, (): &mut ()) -> Result<(), Close> {
        self.send(cx)
    }

    fn closed(&mut self, _: &mut ClosedCx<'_>, (): (), closed: Closed) {
        let mut run = self.run.borrow_mut();
        run.is_over = true;
        if !run.is_closing {
            let lost = run.client.lost().map(|event| match event {
                HubEvent::Unknown { id, .. } => HubEvent::Unknown { id, reason: closed.to_string().into() },
                other => other,
            });
            lost.collect::<Vec<_>>().into_iter().for_each(|event| run.told(event));
            run.fail(PROTOCOL, closed.to_string());
        }
    }

    fn failed(&mut self, _: &mut ProtocolMut<'_>, _: ConnId, failure: sockeye::Failure) {
        let mut run = self.run.borrow_mut();
        run.failure.get_or_insert_with(|| Failure::from(&failure));
        run.is_over = true;
    }
}

/// Its name in the service; peers do not see it.
pub(super) const NAME: &str = "publish";

/// Messages whose answers are waited for at a time.
const MOST_UNANSWERED: usize = 256;
/// Bytes in the outbox from which on no more is put into it.
const ENOUGH: usize = 64 * 1024;
