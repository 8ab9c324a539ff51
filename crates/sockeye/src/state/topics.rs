//! Subscribing to topics and publishing to them: what callbacks may do of it.

use std::rc::Rc;

use sockeye_proto::close::{Close, CloseCode};
use sockeye_proto::wire::MessageKind;

use crate::id::ConnId;
use crate::state::commands::Commands;
use crate::state::endpoints::{EndpointIndex, EndpointKind};
use crate::state::queue::End;
use crate::state::registry::Entry;
use crate::topic::{Delivery, SlowReader, SubscribeError, TopicOptions};
use crate::transport::{Framed, Kept};

/// A message to the subscribers of a topic.
#[derive(Clone, Copy)]
pub(crate) struct ToTopic<'a> {
    pub(crate) kind: MessageKind,
    pub(crate) payload: &'a [u8],
    /// One that does not get it.
    pub(crate) except: Option<ConnId>,
    /// What a newer message with the same key replaces.
    pub(crate) key: Option<&'a [u8]>,
}

impl Commands {
    /// Subscribes a connection. Returns whether it was not subscribed before.
    pub(crate) fn subscribe(&mut self, id: ConnId, name: &str) -> Result<bool, SubscribeError> {
        let entry = self.registry.get(id).filter(|entry| entry.is_open() && !entry.is_too_slow());
        let entry = entry.filter(|entry| self.kind(entry.endpoint) == EndpointKind::WebSocket);
        let endpoint = entry.ok_or(SubscribeError::NotOpen)?.endpoint.0;
        let limits = self.topic_limits;
        if name.is_empty() || name.len() > limits.name_bytes {
            self.topic_counts.names += 1;
            self.topic_counts.are_new = true;
            return Err(SubscribeError::Name);
        }
        let mut topics = self.outgoing.topics_mut();
        let known = topics.find(endpoint, name);
        if known.is_some_and(|topic| topics.is_member(topic, id)) {
            return Ok(false);
        }
        if topics.of(id).take(limits.per_connection).count() == limits.per_connection {
            self.topic_counts.too_many_for_connection += 1;
            self.topic_counts.are_new = true;
            return Err(SubscribeError::TooManyForConnection);
        }
        if known.is_none() && topics.len() >= limits.topics {
            self.topic_counts.too_many_topics += 1;
            self.topic_counts.are_new = true;
            return Err(SubscribeError::TooManyTopics);
        }
        let joined = topics.join(endpoint, name, id);
        drop(topics);
        if let Some(topic) = joined {
            self.topic_counts.are_new = true;
            self.outgoing.joined(endpoint, topic, id);
        }
        Ok(joined.is_some())
    }

    /// Ends a subscription. Returns whether there was one.
    pub(crate) fn unsubscribe(&mut self, id: ConnId, name: &str) -> bool {
        let Some(entry) = self.registry.get(id).filter(|entry| entry.is_open()) else { return false };
        let topic = self.outgoing.topics().find(entry.endpoint.0, name);
        let is_member = topic.filter(|topic| self.outgoing.topics().is_member(*topic, id));
        is_member.map(|topic| self.leave_topic(entry, topic, id)).is_some()
    }

    /// The connection has ended.
    #[inline]
    pub(crate) fn end_topics(&mut self, id: ConnId) {
        if !self.outgoing.topics().is_unused() {
            self.topic_counts.are_new = true;
            self.outgoing.topics_mut().end(id);
        }
        if self.outgoing.is_slow(id) {
            self.outgoing.change_slow(|slow| slow.end(id, &self.account));
        }
    }

    fn leave_topic(&mut self, entry: Entry, topic: u32, id: ConnId) {
        self.topic_counts.are_new = true;
        self.outgoing.leaves(entry.endpoint.0, topic, id);
        self.outgoing.topics_mut().leave(topic, id);
        if self.outgoing.is_slow(id) {
            self.outgoing.change_slow(|slow| slow.leave(id, topic, &self.account));
        }
    }

    /// The names of a connection's topics, the oldest subscription first.
    pub(crate) fn topics_of(&self, id: ConnId) -> Vec<String> {
        if !self.registry.contains(id) {
            return Vec::new();
        }
        let topics = self.outgoing.topics();
        let mut names: Vec<String> = topics.of(id).filter_map(|topic| topics.name(topic)).map(str::to_owned).collect();
        names.reverse();
        names
    }

    /// The connections that are subscribed to a topic.
    pub(crate) fn subscribers_of(&self, endpoint: EndpointIndex, name: &str) -> Vec<ConnId> {
        let topics = self.outgoing.topics();
        let slots = topics.find(endpoint.0, name).and_then(|topic| topics.slots(topic));
        slots.into_iter().flatten().filter_map(|slot| self.registry.at(slot)).map(|(id, _)| id).collect()
    }

    /// How many connections are subscribed to a topic.
    pub(crate) fn subscriber_count(&self, endpoint: EndpointIndex, name: &str) -> usize {
        let topics = self.outgoing.topics();
        topics.find(endpoint.0, name).map_or(0, |topic| topics.members(topic))
    }

    /// The options of a topic.
    pub(crate) fn topic_options(&self, endpoint: EndpointIndex, name: &str) -> TopicOptions {
        self.outgoing.topics().options_of(endpoint.0, name)
    }

    /// Gives a topic options of its own, or takes them back.
    pub(crate) fn set_topic_options(
        &mut self,
        endpoint: EndpointIndex,
        name: &str,
        options: Option<TopicOptions>,
    ) -> Result<(), SubscribeError> {
        let mut topics = self.outgoing.topics_mut();
        let limits = self.topic_limits;
        if name.is_empty() || name.len() > limits.name_bytes {
            return Err(SubscribeError::Name);
        }
        if options.is_some() && topics.find(endpoint.0, name).is_none() && topics.len() >= limits.topics {
            return Err(SubscribeError::TooManyTopics);
        }
        self.topic_counts.are_new = true;
        topics.set_options(endpoint.0, name, options);
        Ok(())
    }

    /// Publishes a message to the subscribers of a topic.
    pub(crate) fn publish_to_topic(&mut self, endpoint: EndpointIndex, name: &str, message: ToTopic<'_>) -> Delivery {
        self.topic_counts.published += 1;
        self.topic_counts.are_new = true;
        let Some(topic) = self.outgoing.topics().find(endpoint.0, name) else { return Delivery::default() };
        let topics = self.outgoing.topics();
        let except = message.except.filter(|id| self.registry.contains(*id) && topics.is_member(topic, *id));
        let subscribers = (topics.members(topic) - usize::from(except.is_some())) as u64;
        drop(topics);
        let slow = if self.registry.has_behind() { self.slow_subscribers(topic, except) } else { Vec::new() };
        let mut delivery = self.keep_for_slow(endpoint, topic, message, &slow);
        let others = subscribers - slow.len() as u64;
        if others > 0 {
            let ToTopic { kind, payload, .. } = message;
            let is_kept = self.outgoing.publish_to(endpoint.0, topic, kind, payload, except, &slow);
            *if is_kept { &mut delivery.queued } else { &mut delivery.dropped } += others;
        }
        self.topic_counts.delivery += delivery;
        delivery
    }

    /// The subscribers for whose sockets something waits.
    fn slow_subscribers(&self, topic: u32, except: Option<ConnId>) -> Vec<ConnId> {
        let topics = self.outgoing.topics();
        let is_wanted = |id: &ConnId| except != Some(*id);
        // Whichever are fewer.
        if self.registry.behind_len() <= topics.members(topic) {
            let behind = self.registry.behind().filter(|id| topics.is_member(topic, *id));
            return behind.filter(is_wanted).collect();
        }
        let members = topics.slots(topic).into_iter().flatten().filter_map(|slot| self.registry.at(slot));
        members.filter(|(_, entry)| entry.is_behind()).map(|(id, _)| id).filter(is_wanted).collect()
    }

    /// Moves what the next flush has for a slow subscriber into its queue, before a message that is kept for it now. Returns whether
    /// there was room. Without room the flush decides what happens to the connection.
    fn put_before(&self, endpoint: EndpointIndex, id: ConnId) -> bool {
        let most = self.outgoing.hard.saturating_sub(self.registry.queued_bytes(id));
        if let Some(batch) = self.outgoing.take_waiting(endpoint.0, id, most) {
            let batch = batch.framed_for_one();
            batch.hold(&self.account);
            self.outgoing.change_slow(|slow| slow.keep_all(id, Rc::new(batch), 0, &self.account));
        }
        !self.outgoing.has_waiting_for_flush(endpoint.0, id)
    }

    /// Keeps a message of a topic for one slow subscriber.
    fn keep_for(
        &mut self,
        endpoint: EndpointIndex,
        topic: u32,
        id: ConnId,
        key: Option<&Rc<[u8]>>,
        message: &Rc<Framed>,
    ) -> Kept {
        let options = self.outgoing.topics().options(topic);
        let before = self.outgoing.slow_bytes(id);
        let kept = if self.put_before(endpoint, id) {
            let others = self.registry.queued_bytes(id).saturating_sub(before);
            // While more is held for all together than may be, nothing more is kept. The other half is for what is published to
            // all and pushed, beyond which the connection ends.
            let most = if self.account.is_over() { 0 } else { (self.outgoing.hard / 2).saturating_sub(others) };
            let account = &self.account;
            self.outgoing.change_slow(|slow| slow.keep(id, (topic, options), key, message, (most, account)))
        } else if options.slow_reader() == SlowReader::Close {
            Kept::TooMuch
        } else {
            Kept::Dropped
        };
        self.registry.change_queued(id, before, self.outgoing.slow_bytes(id));
        kept
    }

    #[cold]
    fn keep_for_slow(
        &mut self,
        endpoint: EndpointIndex,
        topic: u32,
        message: ToTopic<'_>,
        slow: &[ConnId],
    ) -> Delivery {
        let mut delivery = Delivery::default();
        if slow.is_empty() {
            return delivery;
        }
        let Some(framed) = Framed::of_one(message.kind, message.payload) else {
            tracing::error!(
                bytes = message.payload.len(),
                "no memory to publish a message to slow readers, who lose it"
            );
            delivery.dropped = slow.len() as u64;
            return delivery;
        };
        framed.hold(&self.account);
        let (framed, key) = (Rc::new(framed), message.key.map(Rc::from));
        for id in slow {
            match self.keep_for(endpoint, topic, *id, key.as_ref(), &framed) {
                Kept::Queued => delivery.queued += 1,
                Kept::InPlaceOf(_) | Kept::Dropped => delivery.dropped += 1,
                Kept::TooMuch => {
                    delivery.closed += 1;
                    self.close_slow(*id);
                }
            }
        }
        delivery
    }

    /// Ends a subscriber that reads too slowly. It gets nothing more of its topics.
    #[cold]
    fn close_slow(&mut self, id: ConnId) {
        let Some(entry) = self.registry.get_mut(id) else { return };
        entry.set_too_slow();
        let entry = *entry;
        let topics: Vec<u32> = self.outgoing.topics().of(id).collect();
        for topic in topics {
            self.leave_topic(entry, topic, id);
        }
        tracing::debug!(%id, "more of a topic waits than may; the connection is closed");
        self.push_end(id, End::Close(Close::new(CloseCode::TRY_AGAIN)));
    }
}
