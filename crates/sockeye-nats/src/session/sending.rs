//! What the hub asks for.

use sockeye_hub::backplane::{Io, Position, Publish, PublishError};

use super::load::{Load, Stage};
use super::state::{Phase, Session, Side, subject};
use super::topics::Topic;
use crate::settings::Settings;
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
        let subject = subject(settings, Side::In, message.topic)?;
        let mut block = Vec::new();
        headers::write(&mut block, message.kind, message.key);
        let broker = self.stream.as_ref().map_or(usize::MAX, |stream| stream.most_bytes).min(self.info.max_payload);
        let most = broker.saturating_sub(block.len()).min(settings.message_bytes);
        if message.payload.len() > most || block.len() > broker {
            return Err(PublishError::TooLarge { most });
        }
        if self.phase != Phase::Ready || io.room() == 0 || self.publishes.is_full() {
            return Err(PublishError::QueueFull);
        }
        self.sent += 1;
        self.publishes.add(self.sent, message.ticket, &subject);
        if self.stream.is_some() {
            let reply = format!("{}.{}", settings.inbox, self.sent);
            encode::publish(io.out(), &subject, Some(&reply), &block, message.payload);
        } else {
            encode::publish(io.out(), &subject, None, &block, message.payload);
            self.send_ping(io);
        }
        Ok(())
    }
}
