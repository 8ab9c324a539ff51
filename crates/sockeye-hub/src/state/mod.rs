//! All topics of a hub, for the services of all threads: behind one lock, so that every subscriber sees the messages of a topic in
//! one order.

pub(crate) mod events;
mod later;
pub(crate) mod link;
mod seldom;
mod table;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use sockeye::proto::wire::MessageKind;
use sockeye::responder::RequestId;

use self::later::Later;
use self::link::{LinkState, Ticket};
use self::seldom::Seldom;
use self::table::Table;
use crate::backplane::{Backplane, Position, Publish, PublishError};
use crate::config::Config;
use crate::outlet::{Asker, Busy, Joined, Joining, Outlet, Place};
use crate::statistics::HubStatistics;
use crate::topic::{AtBroker, Next, Start, Topic};
use crate::wire::reply::{self, Code, Message};
use crate::wire::request::Begin;

pub(crate) struct State {
    pub(crate) config: Config,
    pub(crate) topics: Table,
    pub(crate) link: Option<LinkState>,
    pub(crate) counts: HubStatistics,
    /// Topics whose presence has changed.
    changed: Vec<Arc<str>>,
    /// A timer is set to say so.
    is_timed: bool,
    /// Topics that are to be looked at by the next tick.
    troubled: BTreeSet<Arc<str>>,
    /// That of the last subscription in a loop.
    serial: u64,
    /// What requests by HTTP are to be told. Each has one at most, and takes it or ends.
    answers: HashMap<Asker, Answer>,
    later: Vec<Later>,
    /// Where messages are written before they are shared.
    scratch: Vec<u8>,
    /// The latest moment that any of the loops has named.
    now: Duration,
    refusals: Seldom,
    refused_topics: Seldom,
    too_long: Seldom,
}

/// Why something was not done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) reason: String,
}

impl Refusal {
    pub(crate) fn new(code: Code, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    pub(crate) fn busy() -> Self {
        Self::new(Code::Busy, "a queue of the hub is full; try again later")
    }

    fn away() -> Self {
        Self::new(Code::Unavailable, "the broker that keeps the messages is not connected; try again later")
    }
}

impl From<Busy> for Refusal {
    fn from(_: Busy) -> Self {
        Self::busy()
    }
}

impl From<PublishError> for Refusal {
    fn from(error: PublishError) -> Self {
        let code = match error {
            PublishError::TooLarge { .. } => Code::TooLarge,
            PublishError::QueueFull => Code::Busy,
            PublishError::Name => Code::Name,
        };
        Self::new(code, error.to_string())
    }
}

/// What became of a message that the broker was sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Answer {
    Published(Option<Position>),
    Unknown(String),
    Refused(Refusal),
}

/// What became of a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Receipt {
    /// It is in the topic.
    Done(Option<Position>),
    /// The broker has been sent it, with this ticket. Its answer follows.
    Pending(u64),
    /// It is in the topic of this server.
    Unknown(String),
}

/// A message that is published.
#[derive(Clone, Copy)]
pub(crate) struct ToPublish<'a> {
    pub(crate) topic: &'a str,
    pub(crate) key: Option<&'a str>,
    pub(crate) kind: MessageKind,
    pub(crate) payload: &'a [u8],
    pub(crate) from: Option<Asker>,
}

/// Whether a subscription can begin.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Subscribing {
    Begins {
        start: Start,
        /// There is nothing to read before what follows.
        is_joined: bool,
    },
    /// The broker is asked. The connection is woken.
    Waits,
}

/// What a connection gets next.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Reading {
    Next(Next),
    /// It has all, and gets what follows.
    Joined,
    /// The queue of its thread is full.
    Busy,
}

impl State {
    pub(crate) fn new(config: Config, epoch: u64, backplane: Option<Box<dyn Backplane>>) -> Self {
        let most = config.broker_queue_bytes;
        Self {
            config,
            topics: Table::new(epoch),
            link: backplane.map(|backplane| LinkState::new(backplane, most)),
            counts: HubStatistics::default(),
            changed: Vec::new(),
            is_timed: false,
            troubled: BTreeSet::new(),
            serial: 0,
            answers: HashMap::new(),
            later: Vec::new(),
            scratch: Vec::new(),
            now: Duration::ZERO,
            refusals: Seldom::default(),
            refused_topics: Seldom::default(),
            too_long: Seldom::default(),
        }
    }

    /// The time of a turn that began at `now`: turns of several threads come here in another order than they began.
    pub(crate) fn not_before(&mut self, now: Duration) -> Duration {
        self.now = self.now.max(now);
        self.now
    }

    pub(crate) fn statistics(&self) -> HubStatistics {
        let mut counts = self.counts.clone();
        counts.topics = self.topics.len();
        counts.history_bytes = self.topics.bytes();
        counts.broker = self.link.as_ref().map(LinkState::status);
        counts
    }

    fn keeps_at_broker(&self) -> bool {
        self.link.as_ref().is_some_and(LinkState::keeps_history)
    }

    fn is_broker_ready(&self) -> bool {
        self.link.as_ref().is_some_and(LinkState::is_ready)
    }

    fn check_name(&self, name: &str) -> Result<(), Refusal> {
        let most = self.config.name_bytes;
        if name.is_empty() || name.len() > most {
            return Err(Refusal::new(Code::Name, format!("the name of a topic has 1 to {most} bytes")));
        }
        Ok(())
    }

    /// Sees to it that a topic is there. False: there are too many.
    fn make(&mut self, name: &str, now: Duration, out: &mut dyn Outlet) -> bool {
        let is_there = self.topics.make(name, self.config.topics, now);
        self.let_go(out);
        is_there
    }

    /// Tells the broker of topics that are not there any more. One that is not ready knows of none.
    fn let_go(&mut self, out: &mut dyn Outlet) {
        let gone = self.topics.take_gone();
        let Some(link) = self.link.as_mut().filter(|link| link.is_ready() && !gone.is_empty()) else { return };
        for name in gone {
            link.with(|backplane, io| backplane.unsubscribe(&name, io));
        }
        self.wake_link(out);
    }

    /// Subscribes a connection. It is a subscriber until [`leave`](Self::leave).
    pub(crate) fn subscribe(
        &mut self,
        place: Place,
        name: &str,
        (begin, presence): (Begin, bool),
        now: Duration,
        out: &mut dyn Outlet,
    ) -> Result<Subscribing, Refusal> {
        self.check_name(name)?;
        let (keeps, ready) = (self.keeps_at_broker(), self.is_broker_ready());
        let is_away = self.link.is_some() && !ready;
        let broker = self.topics.get(name).map_or(AtBroker::Unasked, |topic| topic.broker);
        let asks = self.link.is_some() && broker == AtBroker::Unasked;
        if asks && is_away && keeps {
            return Err(Refusal::away());
        }
        if asks && ready && self.link.as_ref().is_some_and(LinkState::is_overfull) {
            return Err(Refusal::busy());
        }
        if !self.make(name, now, out) {
            let reason = format!("there are {} topics, as many as there may be", self.config.topics);
            return Err(Refusal::new(Code::TooMany, reason));
        }
        if asks && ready {
            self.ask(name, None)?;
            self.wake_link(out);
        }
        let Some(topic) = self.topics.change(name) else { return Err(Refusal::busy()) };
        if asks {
            topic.broker = if ready { AtBroker::Asked } else { AtBroker::Stale };
        }
        topic.subscribers += 1;
        topic.watchers += usize::from(presence);
        topic.joined += 1;
        topic.trim(now, self.config.history);
        self.topics.settle(name, now);
        self.counts.subscriptions += 1;
        self.note_presence(name);
        Ok(self.begin_here(place, name, (begin, presence), out))
    }

    /// Begins a subscription of a connection that waited.
    ///
    /// # Errors
    /// The broker has refused, or is away. The connection must [`leave`](Self::leave).
    pub(crate) fn begin(
        &mut self,
        place: Place,
        name: &str,
        how: (Begin, bool),
        out: &mut dyn Outlet,
    ) -> Result<Subscribing, Refusal> {
        match self.topics.get(name).map(|topic| topic.broker) {
            Some(AtBroker::Unasked) if self.link.is_some() => Err(Refusal::away()),
            _ => Ok(self.begin_here(place, name, how, out)),
        }
    }

    fn begin_here(
        &mut self,
        place: Place,
        name: &str,
        (begin, presence): (Begin, bool),
        out: &mut dyn Outlet,
    ) -> Subscribing {
        let keeps = self.keeps_at_broker();
        let Some(topic) = self.topics.get_mut(name) else { return Subscribing::Waits };
        if topic.broker == AtBroker::Asked {
            // Also one that waited before: the broker may have been lost, and asked again, since it was woken.
            topic.waiting.insert(place);
            return Subscribing::Waits;
        }
        let start = topic.start(begin, keeps);
        // While nothing is published: a message that came between could not be had later if the topic keeps none.
        let is_joined = topic.next(start.at, READ) == Next::Current && self.join(place, name, presence, out).is_ok();
        Subscribing::Begins { start, is_joined }
    }

    /// Ends a subscription.
    pub(crate) fn leave(&mut self, place: Place, name: &str, presence: bool, now: Duration) {
        let Some(topic) = self.topics.change(name) else { return };
        topic.subscribers = topic.subscribers.saturating_sub(1);
        topic.watchers = topic.watchers.saturating_sub(usize::from(presence));
        topic.left += 1;
        topic.joining.remove(&place);
        topic.waiting.remove(&place);
        self.topics.settle(name, now);
        self.counts.subscriptions = self.counts.subscriptions.saturating_sub(1);
        self.note_presence(name);
    }

    /// What follows `at` for a connection, which is subscribed in the loop if that is nothing.
    pub(crate) fn read(
        &mut self,
        place: Place,
        name: &str,
        at: Position,
        presence: bool,
        out: &mut dyn Outlet,
    ) -> Reading {
        let Some(topic) = self.topics.get(name) else { return Reading::Busy };
        match topic.next(at, READ) {
            Next::Current => {
                self.join(place, name, presence, out).map_or_else(|Busy| Reading::Busy, |()| Reading::Joined)
            }
            next => Reading::Next(next),
        }
    }

    fn join(&mut self, place: Place, name: &str, presence: bool, out: &mut dyn Outlet) -> Result<(), Busy> {
        let Some(topic) = self.topics.get_mut(name) else { return Err(Busy) };
        self.serial += 1;
        let joining = Joining {
            name: Arc::clone(&topic.name),
            data: Arc::clone(&topic.data),
            presence: presence.then(|| Arc::clone(&topic.presence)),
            serial: self.serial,
        };
        if out.join(place, joining)? == Joined::Later {
            topic.joining.insert(place, self.serial);
        }
        if presence {
            // It got no messages about presence since it subscribed.
            self.note_presence(name);
        }
        Ok(())
    }

    /// Whether a subscription that was to begin later is still wanted. It begins now, if so.
    pub(crate) fn still_joins(&mut self, place: Place, joining: &Joining) -> bool {
        let Some(topic) = self.topics.get_mut(&joining.name) else { return false };
        let is_wanted = topic.joining.get(&place) == Some(&joining.serial);
        if is_wanted {
            topic.joining.remove(&place);
        }
        is_wanted
    }

    fn wake_link(&mut self, out: &mut dyn Outlet) {
        if let Some(link) = &mut self.link
            && !link.is_woken
        {
            // If it cannot be woken now, its next tick looks.
            link.is_woken = out.wake_link().is_ok();
        }
    }

    /// Publishes a message.
    pub(crate) fn publish(
        &mut self,
        message: ToPublish<'_>,
        now: Duration,
        out: &mut dyn Outlet,
    ) -> Result<Receipt, Refusal> {
        self.check_name(message.topic)?;
        let most = self.config.message_bytes;
        if message.payload.len() > most {
            return Err(Refusal::new(Code::TooLarge, format!("a message has at most {most} bytes")));
        }
        if message.key.is_some_and(|key| key.len() > self.config.name_bytes) {
            return Err(Refusal::new(Code::Name, format!("a key has at most {} bytes", self.config.name_bytes)));
        }
        if self.keeps_at_broker() {
            if !self.is_broker_ready() {
                return Err(Refusal::away());
            }
            let ticket = self.send(message, None)?;
            self.wake_link(out);
            self.counts.published += 1;
            return Ok(Receipt::Pending(ticket));
        }
        let position = self.publish_here(message, now, out)?;
        self.counts.published += 1;
        if self.link.is_none() {
            return Ok(Receipt::Done(position));
        }
        if !self.is_broker_ready() {
            self.counts.only_here += 1;
            let reason = "the broker is not connected: subscribers at other servers do not get it";
            return Ok(Receipt::Unknown(reason.to_owned()));
        }
        match self.send(message, position) {
            Ok(ticket) => {
                self.wake_link(out);
                Ok(Receipt::Pending(ticket))
            }
            Err(refusal) => {
                self.counts.only_here += 1;
                Ok(Receipt::Unknown(format!("{}: subscribers at other servers do not get it", refusal.reason)))
            }
        }
    }

    /// Publishes to the subscribers of this server, numbered by this server.
    fn publish_here(
        &mut self,
        message: ToPublish<'_>,
        now: Duration,
        out: &mut dyn Outlet,
    ) -> Result<Option<Position>, Refusal> {
        let name = message.topic;
        let keeps = self.config.history.messages() > 0;
        if self.topics.get(name).is_none() && !(keeps && self.make(name, now, out)) {
            return if keeps {
                Err(Refusal::new(Code::TooMany, "there are as many topics as there may be"))
            } else {
                Ok(None)
            };
        }
        let Some(topic) = self.topics.get(name) else { return Ok(None) };
        let (previous, offset) = (topic.at.offset, topic.at.offset + 1);
        let ToPublish { key, kind, payload, .. } = message;
        let frame = Message { topic: name, key, kind, payload, offset, previous }.frame(&mut self.scratch);
        if topic.subscribers > 0 {
            out.deliver(&topic.data, key, &frame)?;
        }
        let epoch = topic.at.epoch;
        self.topics.append(name, offset, frame, now, &self.config);
        Ok(Some(Position { epoch, offset }))
    }

    /// Tells who asked.
    fn tell(&mut self, from: Option<Asker>, answer: Answer, out: &mut dyn Outlet) {
        match from {
            None => {}
            Some(Asker::Client(place, id)) => {
                let text = match answer {
                    Answer::Published(position) => reply::published(id, position),
                    Answer::Unknown(reason) => reply::unknown(id, &reason),
                    Answer::Refused(refusal) => reply::error(Some(id), refusal.code, &refusal.reason),
                };
                self.tell_client(place, text, out);
            }
            Some(asker @ Asker::Request(thread, id)) => {
                self.answers.insert(asker, answer);
                self.wake_request(thread, id, out);
            }
        }
    }

    /// What a request by HTTP is to be told, if that is known.
    pub(crate) fn take_answer(&mut self, thread: usize, id: RequestId) -> Option<Answer> {
        self.answers.remove(&Asker::Request(thread, id))
    }

    /// A request by HTTP has ended, whose message has this ticket.
    pub(crate) fn forget_request(&mut self, thread: usize, id: RequestId, ticket: u64) {
        self.answers.remove(&Asker::Request(thread, id));
        if let Some(link) = &mut self.link {
            link.forget(ticket);
        }
    }

    /// Gives the broker a message. Returns its ticket.
    fn send(&mut self, message: ToPublish<'_>, position: Option<Position>) -> Result<u64, Refusal> {
        if self.is_behind() {
            return Err(Refusal::busy());
        }
        let Some(link) = &mut self.link else { return Err(Refusal::away()) };
        let ToPublish { topic, key, kind, payload, from } = message;
        let key = key.map(str::as_bytes);
        let ticket = Ticket { from, position };
        link.publish(ticket, |ticket| Publish { ticket, topic, kind, key, payload }).map_err(Refusal::from)
    }

    /// Asks the broker for a topic.
    fn ask(&mut self, name: &str, after: Option<Position>) -> Result<(), Refusal> {
        let Some(link) = &mut self.link else { return Ok(()) };
        link.with(|backplane, io| backplane.subscribe(name, after, io)).map_err(Refusal::from)
    }

    fn note_presence(&mut self, name: &str) {
        let Some(topic) = self.topics.get_mut(name) else { return };
        if topic.watchers == 0 {
            (topic.joined, topic.left) = (0, 0);
        } else if !topic.is_due {
            topic.is_due = true;
            self.changed.push(Arc::clone(&topic.name));
        }
    }

    /// Whether a timer is to be set for messages about presence.
    pub(crate) fn wants_timer(&mut self) -> bool {
        !self.changed.is_empty() && !std::mem::replace(&mut self.is_timed, true)
    }

    /// How many subscribers a topic has at this server.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.topics.get(name).map_or(0, |topic| topic.subscribers)
    }

    /// Says how many subscribers there are, where that has changed.
    pub(crate) fn tell_presence(&mut self, out: &mut dyn Outlet) {
        self.is_timed = false;
        for name in std::mem::take(&mut self.changed) {
            let Some(topic) = self.topics.get_mut(&name) else { continue };
            topic.is_due = false;
            let text = reply::presence(&name, topic.subscribers, topic.joined, topic.left);
            if out.deliver(&topic.presence, Some(""), &reply::Frame::Text(text.into())).is_ok() {
                (topic.joined, topic.left) = (0, 0);
            } else {
                topic.is_due = true;
                self.changed.push(name);
            }
        }
    }

    /// What is to be done once in a while.
    pub(crate) fn tick(&mut self, now: Duration, out: &mut dyn Outlet) {
        self.try_again(out);
        self.topics.expire(now, &self.config);
        self.let_go(out);
        for name in std::mem::take(&mut self.troubled) {
            self.mend(&name, out);
        }
    }

    /// Tries again what failed before.
    fn mend(&mut self, name: &str, out: &mut dyn Outlet) {
        let is_ready = self.is_broker_ready();
        let Some(topic) = self.topics.get(name) else { return };
        if topic.has_hole {
            self.tell_gap(name, out);
        }
        let Some(topic) = self.topics.get(name) else { return };
        if topic.broker == AtBroker::Stale && is_ready {
            let after = self.keeps_at_broker().then_some(topic.at);
            if self.ask(name, after).is_ok() {
                self.wake_link(out);
                if let Some(topic) = self.topics.get_mut(name) {
                    topic.broker = AtBroker::AskedAgain;
                }
            }
        }
    }

    /// Tells the subscribers of a topic that something may be missing before its present position.
    fn tell_gap(&mut self, name: &str, out: &mut dyn Outlet) {
        let Some(topic) = self.topics.get_mut(name) else { return };
        self.counts.gaps += 1;
        let gap = reply::gap(name, topic.at);
        // Not as a message of the topic, which may be dropped: in a new epoch offsets begin anew, and a client that was not told would
        // take what follows for what it has seen.
        topic.has_hole = topic.subscribers > 0 && out.tell_all(&topic.data, &gap).is_err();
        if topic.has_hole {
            self.troubled.insert(Arc::clone(&topic.name));
        }
    }
}

/// As much of a history is given to a connection at a time.
const READ: usize = 64 * 1024;

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("topics", &self.topics.len()).finish_non_exhaustive()
    }
}

impl Topic {
    /// The position to continue from at the broker.
    fn after(&self, keeps: bool) -> Option<Position> {
        let was_here = matches!(self.broker, AtBroker::Current | AtBroker::Stale | AtBroker::AskedAgain);
        (keeps && was_here).then_some(self.at)
    }
}
