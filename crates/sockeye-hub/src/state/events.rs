//! What the broker reports.

use std::sync::Arc;
use std::time::Duration;

use super::link::{LinkState, Ticket};
use super::{Answer, Refusal, State};
use crate::backplane::{Event, Loaded, Position, Stored};
use crate::outlet::Outlet;
use crate::topic::AtBroker;
use crate::wire::reply::{Code, Message};

impl State {
    /// Does what the backplane has reported.
    pub(crate) fn apply_events(&mut self, now: Duration, out: &mut dyn Outlet) {
        // An event may have the backplane report more.
        loop {
            let Some(mut events) = self.link.as_mut().and_then(LinkState::take_events) else { return };
            for event in events.drain(..) {
                self.apply(event, now, out);
            }
            if let Some(link) = &mut self.link {
                link.give_back(events);
            }
        }
    }

    fn apply(&mut self, event: Event, now: Duration, out: &mut dyn Outlet) {
        match event {
            Event::Ready { most_bytes } => self.begin_all(most_bytes, out),
            Event::Subscribed { topic, history } => self.subscribed(&topic, history, now, out),
            Event::Unsubscribed { topic, reason } => self.unsubscribed(&topic, &reason, now, out),
            Event::Message { topic, message } => self.take_message(&topic, message, now, out),
            Event::Published { ticket, position } => {
                let Some(Ticket { from, position: own }) = self.confirm(ticket) else { return };
                self.tell(from, Answer::Published(position.or(own)), out);
            }
            Event::Refused { ticket, reason } => {
                self.counts.refused += 1;
                let Some(Ticket { from, position }) = self.confirm(ticket) else { return };
                if let Some(unsaid) = self.refusals.happens(now) {
                    tracing::warn!(%reason, since_the_last_line = unsaid, "the broker refuses a message");
                }
                // Where the broker keeps no history, subscribers of this server have it already.
                let answer = if position.is_some() || !self.keeps_at_broker() {
                    Answer::Unknown(format!("the broker refused it ({reason}), so only this server has it"))
                } else {
                    Answer::Refused(Refusal::new(Code::Unavailable, format!("the broker refused it: {reason}")))
                };
                self.tell(from, answer, out);
            }
            Event::Missed { topic } => self.missed(&topic, out),
        }
    }

    fn confirm(&mut self, ticket: u64) -> Option<Ticket> {
        self.link.as_mut()?.confirm(ticket)
    }

    /// Subscribes to all topics again.
    fn begin_all(&mut self, most_bytes: usize, out: &mut dyn Outlet) {
        let keeps = self.keeps_at_broker();
        if let Some(link) = &mut self.link {
            link.becomes_ready(most_bytes);
        }
        for name in self.topics.names() {
            let Some(topic) = self.topics.get_mut(&name) else { continue };
            if topic.broker == AtBroker::Unasked {
                continue;
            }
            let after = topic.after(keeps);
            topic.broker = AtBroker::AskedAgain;
            if self.ask(&name, after).is_err() {
                // It was possible before. Subscribers keep what they get from here.
                tracing::warn!(topic = %name, "the broker cannot have this topic any more");
                if let Some(topic) = self.topics.get_mut(&name) {
                    topic.broker = AtBroker::Stale;
                }
            }
        }
        self.wake_link(out);
    }

    fn subscribed(&mut self, name: &str, history: Option<Loaded>, now: Duration, out: &mut dyn Outlet) {
        let Some(before) = self.topics.get(name).map(|topic| topic.broker) else { return };
        // Once more, unasked: the broker has begun a new epoch.
        let is_renewed = before == AtBroker::Current && history.is_some();
        if !is_renewed && !matches!(before, AtBroker::Asked | AtBroker::AskedAgain) {
            return;
        }
        match history {
            Some(history) => self.load(name, history, before != AtBroker::Asked, now, out),
            None if before == AtBroker::AskedAgain => self.missed(name, out),
            None => {}
        }
        let Some(topic) = self.topics.get_mut(name) else { return };
        topic.broker = AtBroker::Current;
        match std::mem::take(&mut topic.refusals) {
            0 => {}
            refusals => tracing::info!(topic = %name, refusals, "the broker takes the subscription"),
        }
        for place in std::mem::take(&mut topic.waiting) {
            self.wake(place, out);
        }
    }

    /// Takes over what the broker keeps.
    fn load(&mut self, name: &str, history: Loaded, is_again: bool, now: Duration, out: &mut dyn Outlet) {
        let Loaded { base, messages, offset, is_complete } = history;
        let Some(topic) = self.topics.get(name) else { return };
        let (seen, is_live) = (topic.at, is_again && topic.subscribers > 0);
        let is_same = is_again && seen.epoch == base.epoch;
        if is_same && is_complete {
            for message in messages.into_iter().filter(|message| message.offset > seen.offset) {
                self.store(name, message, now, true, out);
            }
            return;
        }
        let Some(topic) = self.topics.change(name) else { return };
        topic.forget_until(base);
        self.topics.settle(name, now);
        if is_live && is_same {
            // What is still there follows.
            let from = Position { epoch: base.epoch, offset: base.offset.max(seen.offset) };
            self.tell_gap_at(name, from, out);
        }
        let after = if is_same { seen.offset } else { u64::MAX };
        for message in messages {
            let is_wanted = is_live && message.offset > after;
            self.store(name, message, now, is_wanted, out);
        }
        if let Some(topic) = self.topics.get_mut(name) {
            topic.at.offset = topic.at.offset.max(offset);
        }
        if is_live && !is_same {
            self.tell_gap(name, out);
        }
    }

    fn tell_gap_at(&mut self, name: &str, position: Position, out: &mut dyn Outlet) {
        let Some(topic) = self.topics.get_mut(name) else { return };
        let at = std::mem::replace(&mut topic.at, position);
        self.tell_gap(name, out);
        if let Some(topic) = self.topics.get_mut(name) {
            topic.at = at;
        }
    }

    fn unsubscribed(&mut self, name: &str, reason: &str, now: Duration, out: &mut dyn Outlet) {
        self.counts.refused += 1;
        let Some(topic) = self.topics.get_mut(name) else { return };
        topic.refusals += 1;
        // Clients choose the topics.
        let unsaid = if topic.refusals == 1 { self.refused_topics.happens(now) } else { None };
        if let Some(unsaid) = unsaid {
            tracing::warn!(topic = %name, %reason, since_the_last_line = unsaid, "the broker refuses a subscription");
        }
        let waiting = std::mem::take(&mut topic.waiting);
        let (was_asked, has_subscribers) = (topic.broker == AtBroker::Asked, topic.subscribers > 0);
        topic.broker = if was_asked || !has_subscribers { AtBroker::Unasked } else { AtBroker::Stale };
        if !was_asked && has_subscribers {
            // The next tick asks again.
            self.troubled.insert(Arc::clone(&topic.name));
        } else if !was_asked {
            // The next subscriber has it asked for again, and something may be published until then.
            self.missed(name, out);
        }
        for place in waiting {
            self.wake(place, out);
        }
    }

    /// A message has arrived.
    fn take_message(&mut self, name: &str, message: Stored, now: Duration, out: &mut dyn Outlet) {
        self.counts.from_broker += 1;
        let keeps = self.keeps_at_broker();
        let Some(topic) = self.topics.get(name) else { return };
        let (at, is_live) = (topic.at, topic.subscribers > 0);
        if !keeps {
            let numbered = Stored { offset: at.offset + 1, previous: at.offset, ..message };
            self.store(name, numbered, now, is_live, out);
            return;
        }
        if message.offset <= at.offset {
            return;
        }
        if message.previous > at.offset {
            // Subscribers see it by `previous`. Who comes later must not be told that nothing is missing.
            let position = Position { epoch: at.epoch, offset: message.previous };
            if let Some(topic) = self.topics.change(name) {
                topic.forget_until(position);
                self.topics.settle(name, now);
            }
        }
        self.store(name, message, now, is_live, out);
    }

    /// Adds a message to what is kept, and gives it to the subscribers.
    fn store(&mut self, name: &str, message: Stored, now: Duration, is_live: bool, out: &mut dyn Outlet) {
        if message.payload.len() > self.config.message_bytes {
            return self.skip(name, &message, now, is_live, out);
        }
        let Stored { kind, key, payload, offset, previous } = message;
        let key = key.as_deref().and_then(|key| std::str::from_utf8(key).ok());
        let key = key.filter(|key| key.len() <= self.config.name_bytes);
        let frame = Message { topic: name, key, kind, payload: &payload, offset, previous }.frame(&mut self.scratch);
        if let Some(topic) = self.topics.get_mut(name).filter(|_| is_live) {
            if out.deliver(&topic.data, key, &frame).is_err() {
                topic.has_hole = true;
                self.troubled.insert(Arc::clone(&topic.name));
            }
        }
        self.topics.append(name, offset, frame, now, &self.config);
    }

    /// A message is longer than this hub takes, so there is a gap in its place.
    fn skip(&mut self, name: &str, message: &Stored, now: Duration, is_live: bool, out: &mut dyn Outlet) {
        self.counts.refused += 1;
        if let Some(unsaid) = self.too_long.happens(now) {
            let bytes = message.payload.len();
            tracing::warn!(topic = %name, bytes, since_the_last_line = unsaid, "a message of the broker is longer than the hub takes");
        }
        let Some(topic) = self.topics.change(name) else { return };
        topic.forget_until(Position { offset: message.offset, ..topic.at });
        self.topics.settle(name, now);
        if is_live {
            self.tell_gap(name, out);
        }
    }

    /// Something of a topic may be missing here. Its numbers go on behind it, where they are our own.
    fn missed(&mut self, name: &str, out: &mut dyn Outlet) {
        let keeps = self.keeps_at_broker();
        let now = Duration::ZERO;
        let Some(topic) = self.topics.change(name) else { return };
        let idle = topic.idle;
        let offset = topic.at.offset + u64::from(!keeps);
        topic.forget_until(Position { offset, ..topic.at });
        self.topics.settle(name, now);
        debug_assert!(self.topics.get(name).is_some_and(|topic| topic.idle == idle));
        self.tell_gap(name, out);
    }

    /// The connection to the broker is lost, or was not made.
    pub(crate) fn lose_link(&mut self, error: &str, out: &mut dyn Outlet) {
        let keeps = self.keeps_at_broker();
        let Some(link) = &mut self.link else { return };
        for Ticket { from, .. } in link.lose(error.to_owned()) {
            self.counts.unknown += 1;
            let reason = "the connection to the broker was lost before it confirmed the message";
            self.tell(from, Answer::Unknown(reason.to_owned()), out);
        }
        for name in self.topics.names() {
            let Some(topic) = self.topics.get_mut(&name) else { continue };
            topic.broker = match topic.broker {
                AtBroker::Unasked => AtBroker::Unasked,
                // Nothing of it is here yet.
                AtBroker::Asked if keeps => AtBroker::Unasked,
                _ => AtBroker::Stale,
            };
            for place in std::mem::take(&mut topic.waiting) {
                self.wake(place, out);
            }
        }
    }
}
