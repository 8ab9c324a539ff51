//! What the hub asks for.

use sockeye_hub::backplane::{Event, Io, Position, Publish, PublishError};

use super::load::{Load, Stage};
use super::state::{MOST_PINGS, Phase, Session, Side, reply_subject, subject};
use super::topics::Topic;
use super::waiting::Batch;
use crate::settings::Settings;
use crate::wire::several::{self, Part};
use crate::wire::{encode, headers};

impl Session {
    pub(crate) fn subscribe(
        &mut self,
        topic: &str,
        after: Option<Position>,
        settings: &Settings,
        io: &mut Io<'_>,
    ) -> Result<(), PublishError> {
        let out = subject(settings, Side::Out, topic)?;
        self.unsubscribe(topic, settings, io);
        self.last_sid += 1;
        let sid = self.last_sid;
        if let Some(stream) = &mut self.stream {
            stream.waiting.push_back(sid);
            self.topics.insert(sid, topic, Some(Load::new(after)));
            self.load_waiting(settings, io);
        } else {
            self.topics.insert(sid, topic, None);
            self.send_subscribe(&out, sid, sid, io);
        }
        Ok(())
    }

    pub(crate) fn unsubscribe(&mut self, topic: &str, settings: &Settings, io: &mut Io<'_>) {
        if let Some(sid) = self.topics.sid(topic) {
            self.drop_topic(sid, settings, io);
            self.load_waiting(settings, io);
        }
    }

    /// Ends a subscription, whatever it is doing.
    pub(super) fn drop_topic(&mut self, sid: u64, settings: &Settings, io: &mut Io<'_>) -> Option<Topic> {
        let mut topic = self.topics.remove(sid)?;
        let Some(load) = topic.load.take() else {
            encode::unsubscribe(io.out(), sid);
            return Some(topic);
        };
        if let Stage::Waiting = load.stage {
            return Some(topic);
        }
        encode::unsubscribe(io.out(), sid);
        if let Some(stream) = &mut self.stream {
            match load.stage {
                Stage::Verifying => {}
                _ => stream.loads = stream.loads.saturating_sub(1),
            }
        }
        if let Stage::Reading(reading) = load.stage {
            self.end_consumer(&reading.consumer, reading.sid, settings, io);
        }
        Some(topic)
    }

    pub(crate) fn publish(
        &mut self,
        message: Publish<'_>,
        settings: &Settings,
        io: &mut Io<'_>,
    ) -> Result<(), PublishError> {
        let head = headers::bytes(message.kind, message.key);
        let broker = self.stream.as_ref().map_or(usize::MAX, |stream| stream.most_bytes).min(self.info.max_payload);
        let most = broker.saturating_sub(head).min(settings.message_bytes);
        if message.payload.len() > most || head > broker {
            return Err(PublishError::TooLarge { most });
        }
        let is_full = io.room() <= self.waiting.bytes() || self.publishes.is_full(self.waiting.messages());
        if self.phase != Phase::Ready || is_full {
            return Err(PublishError::QueueFull);
        }
        if self.stream.is_none() && (self.pings.len() >= MOST_PINGS || !self.waiting.is_empty()) {
            let most = broker.saturating_sub(headers::BYTES_OF_SEVERAL).min(SEVERAL_BYTES);
            let due = self.waiting.add(&message, most, || subject(settings, Side::In, message.topic))?;
            for batch in due.into_iter().flatten() {
                self.send_batch(batch, io);
            }
            return Ok(());
        }
        let subject = subject(settings, Side::In, message.topic)?;
        let Publish { ticket, kind, key, payload, .. } = message;
        let reply = self.stream.is_some().then(|| reply_subject(settings, self.sent + 1));
        self.send_message(&subject, reply.as_deref(), &Part { kind, key, payload }, ticket, io);
        if self.stream.is_none() {
            self.ping_behind(io);
        }
        Ok(())
    }

    /// What is set aside in the queue for messages that wait.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting.bytes()
    }

    /// Sends what has waited, if there is room: else after the next PONG.
    pub(super) fn send_waiting(&mut self, io: &mut Io<'_>) {
        if io.room() > 0 {
            for batch in self.waiting.take_all() {
                self.send_batch(batch, io);
            }
        }
    }

    fn send_batch(&mut self, batch: Batch, io: &mut Io<'_>) {
        let Batch { subject, mut tickets, parts, .. } = batch;
        let count = tickets.len();
        // Other programs can read what goes alone. And the broker's maximum may have changed since they were added.
        let is_split = count == 1 || parts.len() + headers::BYTES_OF_SEVERAL > self.info.max_payload;
        if let (true, Some(each)) = (is_split, several::read(&parts, count as u64)) {
            return each.zip(&tickets).for_each(|(part, ticket)| self.send_alone(&subject, &part, *ticket, io));
        }
        self.sent += 1;
        let first = tickets.remove(0);
        self.publishes.add(self.sent, first, tickets, &subject);
        let mut block = Vec::new();
        headers::write_several(&mut block, count);
        encode::publish(io.out(), &subject, None, &block, &parts);
    }

    /// Sends a message that has waited, unless the broker does not take it any more.
    fn send_alone(&mut self, subject: &str, part: &Part<'_>, ticket: u64, io: &mut Io<'_>) {
        let most = self.info.max_payload;
        if headers::bytes(part.kind, part.key) + part.payload.len() > most {
            let reason = format!("its maximum is {most} bytes now");
            return io.event(Event::Refused { ticket, reason });
        }
        self.send_message(subject, None, part, ticket, io);
    }

    fn send_message(&mut self, subject: &str, reply: Option<&[u8]>, part: &Part<'_>, ticket: u64, io: &mut Io<'_>) {
        self.sent += 1;
        self.publishes.add(self.sent, ticket, Vec::new(), subject);
        let mut block = Vec::new();
        headers::write(&mut block, part.kind, part.key, part.payload);
        encode::publish(io.out(), subject, reply, &block, part.payload);
    }
}

/// Messages that go together have no more bytes than this.
pub(super) const SEVERAL_BYTES: usize = 64 << 10;
