//! Loads of histories: each topic's through its stages, a few at a time.

use serde_json::{Value, json};
use sockeye_hub::backplane::{BrokerError, Event, Io};

use super::load::{Finished, Load, MAX_ROUNDS, MAX_STOPS, Next, Reading, Span, Stage, Status};
use super::receiving::stored;
use super::state::{Request, Session, Side, Stream, subject};
use super::stream::{Answer, Failure, MAX_ANSWER_BYTES, bounds, delivered, epoch};
use crate::settings::Settings;
use crate::wire::decode::{Body, Message};
use crate::wire::encode;
use crate::wire::headers::Marks;

impl Session {
    /// Begins as many loads as may be under way.
    pub(super) fn load_waiting(&mut self, settings: &Settings, io: &mut Io<'_>) {
        let most = MAX_LOADS.min(MAX_LOADED_BYTES / self.batch_bytes());
        loop {
            let Some(stream) = &mut self.stream else { return };
            if stream.loads > 0 && stream.loads >= most {
                return;
            }
            let Some(sid) = stream.waiting.pop_front() else { return };
            let Some(topic) = self.topics.topic(sid) else { continue };
            let Ok(out) = subject(settings, Side::Out, &topic.name) else { continue };
            stream.loads += 1;
            self.send_subscribe(&out, sid, sid, io);
            self.stage(sid, Stage::Counting);
            self.ask_bounds(sid, settings, io);
        }
    }

    /// Reads what is missing of a topic that is subscribed to. Its load holds what is there.
    pub(super) fn catch_up(&mut self, sid: u64, settings: &Settings, io: &mut Io<'_>) {
        if let Some(stream) = &mut self.stream {
            stream.loads += 1;
        }
        self.stage(sid, Stage::Counting);
        self.ask_bounds(sid, settings, io);
    }

    /// Asks where the stream begins and ends, and how many messages it has of the topic.
    pub(super) fn ask_bounds(&mut self, sid: u64, settings: &Settings, io: &mut Io<'_>) {
        let (Some(stream), Some(topic)) = (&self.stream, self.topics.topic(sid)) else { return };
        let Ok(subject) = subject(settings, Side::In, &topic.name) else { return };
        let name = format!("STREAM.INFO.{}", stream.wanted.name);
        self.request(Request::Bounds(sid), &name, &json!({"subjects_filter": subject}), settings, io);
    }

    pub(super) fn on_bounds(
        &mut self,
        sid: u64,
        answer: Answer,
        settings: &Settings,
        io: &mut Io<'_>,
    ) -> Result<(), BrokerError> {
        let (Some(stream), Some(topic)) = (&self.stream, self.topics.topic(sid)) else { return Ok(()) };
        let answer = match answer {
            Answer::Done(answer) => answer,
            Answer::Nobody => return Err(BrokerError::Refused(stream.is_gone())),
            Answer::Failed(failure) => return self.fail(sid, &failure, settings, io),
        };
        if epoch(&answer)? != stream.rules.epoch {
            return Err(BrokerError::Refused(stream.is_gone()));
        }
        let Ok(subject) = subject(settings, Side::In, &topic.name) else { return Ok(()) };
        let Some(bounds) = bounds(&answer, &subject) else {
            return Err(BrokerError::Protocol("JetStream tells no numbers of a stream".to_owned()));
        };
        let Some(load) = &mut topic.load else { return Ok(()) };
        if let Stage::Verifying = load.stage {
            return self.verified(sid, settings, io);
        }
        let is_next = load.held.is_next(topic.floor, topic.newest);
        if topic.is_confirmed && !is_next && load.rounds < MAX_ROUNDS {
            load.rounds += 1;
            self.ask_bounds(sid, settings, io);
            return Ok(());
        }
        if topic.is_confirmed && is_next {
            // What was missing has come meanwhile.
            if let Some(stream) = &mut self.stream {
                stream.loads = stream.loads.saturating_sub(1);
            }
            let load = topic.load.take();
            self.release(sid, load, false, settings, io)?;
            self.load_waiting(settings, io);
            return Ok(());
        }
        if bounds.count == 0 {
            let end = bounds.finish(stream.rules, load.after);
            return self.loaded(sid, end, settings, io);
        }
        let start = topic.newest.filter(|_| topic.is_confirmed).unwrap_or(0);
        self.ask_consumer(sid, &subject, Span { bounds, start }, settings, io);
        Ok(())
    }

    fn ask_consumer(&mut self, sid: u64, subject: &str, span: Span, settings: &Settings, io: &mut Io<'_>) {
        let Some(stream) = &self.stream else { return };
        let name = format!("CONSUMER.CREATE.{}", stream.wanted.name);
        let mut config = json!({
            "deliver_policy": "all",
            "ack_policy": "none",
            "replay_policy": "instant",
            "filter_subject": subject,
            "inactive_threshold": INACTIVE_NANOS,
            // One alone may be given to a server that has just died, and would never answer.
            "num_replicas": stream.replicas,
            "mem_storage": true,
        });
        if span.start > 0 {
            config["deliver_policy"] = json!("by_start_sequence");
            config["opt_start_seq"] = json!(span.start);
        }
        let body = json!({"stream_name": stream.wanted.name, "config": config});
        self.stage(sid, Stage::Beginning(span));
        self.request(Request::Consumer(sid), &name, &body, settings, io);
    }

    pub(super) fn on_consumer(
        &mut self,
        sid: u64,
        answer: Answer,
        settings: &Settings,
        io: &mut Io<'_>,
    ) -> Result<(), BrokerError> {
        let Some(stream) = &self.stream else { return Ok(()) };
        let answer = match answer {
            Answer::Done(answer) => answer,
            Answer::Nobody => return Err(BrokerError::Refused(stream.is_gone())),
            Answer::Failed(failure) => return self.fail(sid, &failure, settings, io),
        };
        // It becomes part of subjects.
        let Some(consumer) = answer["name"].as_str().filter(|name| name.len() <= 64 && crate::names::is_token(name))
        else {
            return Err(BrokerError::Protocol("JetStream gives a consumer no name".to_owned()));
        };
        let load = self.topics.load(sid);
        let Some(&mut Load { stage: Stage::Beginning(span), .. }) = load else {
            // The hub has unsubscribed meanwhile.
            self.delete_consumer(consumer, settings, io);
            return Ok(());
        };
        self.last_sid += 1;
        let delivery = self.last_sid;
        if let Some(stream) = &mut self.stream {
            stream.deliveries.insert(delivery, sid);
        }
        self.send_subscribe(&delivery_subject(settings, delivery), delivery, sid, io);
        let (asked, size) = self.ask_batch(consumer, delivery, settings, io);
        self.stage(sid, Stage::Reading(Reading::new(span, consumer.to_owned(), delivery, asked, size)));
        Ok(())
    }

    /// A message of the past, or the end of a batch of them.
    pub(super) fn on_delivery(
        &mut self,
        sid: u64,
        message: &Message<'_>,
        settings: &Settings,
        io: &mut Io<'_>,
    ) -> Result<(), BrokerError> {
        let load = self.topics.load(sid);
        let Some(Load { stage: Stage::Reading(reading), .. }) = load else { return Ok(()) };
        let marks = message.body.as_ref().map(|body| Marks::read(body.headers)).unwrap_or_default();
        let next = if let Some(given) = message.reply.and_then(delivered) {
            let stored = message.body.as_ref().map(|body| stored(body, &marks, given.sequence, 0));
            reading.message(given, stored)
        } else if let Some(code) = marks.status {
            reading.batch_ended(Status { code, text: marks.description })
        } else {
            // Anybody may send something here.
            Next::Wait
        };
        match next {
            Next::Wait => Ok(()),
            Next::Batch => {
                self.read_on(sid, settings, io);
                Ok(())
            }
            Next::Smaller(size) => {
                if let Some(stream) = &mut self.stream {
                    // For all that follow. Other topics may have heard of it already.
                    stream.batch = stream.batch.min(size);
                }
                self.read_on(sid, settings, io);
                Ok(())
            }
            Next::Done => self.read(sid, settings, io),
            Next::Stopped(text) => {
                self.read_again(sid, &text, settings, io);
                Ok(())
            }
        }
    }

    fn read_on(&mut self, sid: u64, settings: &Settings, io: &mut Io<'_>) {
        let Some(Load { stage: Stage::Reading(reading), .. }) = self.topics.load(sid) else { return };
        let (consumer, delivery) = (reading.consumer.clone(), reading.sid);
        let (asked, size) = self.ask_batch(&consumer, delivery, settings, io);
        if let Some(Load { stage: Stage::Reading(reading), .. }) = self.topics.load(sid) {
            reading.batch_begins(asked, size);
        }
    }

    /// The consumer has stopped before its end. Another one reads all of it, a few times.
    fn read_again(&mut self, sid: u64, text: &str, settings: &Settings, io: &mut Io<'_>) {
        let Some(load) = self.topics.load(sid) else { return };
        let Stage::Reading(reading) = std::mem::replace(&mut load.stage, Stage::Counting) else { return };
        load.stops += 1;
        let stops = load.stops;
        self.end_consumer(&reading.consumer, reading.sid, settings, io);
        if stops < MAX_STOPS {
            self.ask_bounds(sid, settings, io);
        } else {
            self.refuse_topic(sid, &format!("JetStream does not give all of its history: {text}"), settings, io);
            self.load_waiting(settings, io);
        }
    }

    /// The consumer has given all that it has to give.
    fn read(&mut self, sid: u64, settings: &Settings, io: &mut Io<'_>) -> Result<(), BrokerError> {
        let (Some(stream), Some(topic)) = (&self.stream, self.topics.topic(sid)) else { return Ok(()) };
        let rules = stream.rules;
        let Some(load) = &mut topic.load else { return Ok(()) };
        let Stage::Reading(reading) = std::mem::replace(&mut load.stage, Stage::Counting) else { return Ok(()) };
        let after = load.after;
        self.end_consumer(&reading.consumer, reading.sid, settings, io);
        if reading.is_whole() {
            return self.loaded(sid, reading.finish(rules, after), settings, io);
        }
        self.check(sid, reading, 0, settings, io)
    }

    /// Asks whether a message that was read is still there.
    fn check(
        &mut self,
        sid: u64,
        reading: Reading,
        at: usize,
        settings: &Settings,
        io: &mut Io<'_>,
    ) -> Result<(), BrokerError> {
        let (Some(stream), Some(load)) = (&self.stream, self.topics.load(sid)) else { return Ok(()) };
        let Some(sequence) = reading.sequence(at) else {
            let end = reading.finish_empty(stream.rules, load.after);
            return self.loaded(sid, end, settings, io);
        };
        load.stage = Stage::Checking(reading, at);
        let name = format!("STREAM.MSG.GET.{}", stream.wanted.name);
        self.request(Request::Check(sid), &name, &json!({"seq": sequence}), settings, io);
        Ok(())
    }

    /// An answer to [`check`](Self::check): the message, which does not matter, or an error.
    pub(super) fn on_check(
        &mut self,
        sid: u64,
        body: Option<&Body<'_>>,
        settings: &Settings,
        io: &mut Io<'_>,
    ) -> Result<(), BrokerError> {
        let (Some(stream), Some(load)) = (&self.stream, self.topics.load(sid)) else { return Ok(()) };
        let (rules, after) = (stream.rules, load.after);
        // What is longer than answers are is a message.
        let short = body.filter(|body| body.payload.len() <= MAX_ANSWER_BYTES);
        let failure = match short.map(|body| Answer::read(body.headers, body.payload)).transpose()? {
            None | Some(Answer::Done(_)) => None,
            Some(Answer::Nobody) => return Err(BrokerError::Refused(stream.is_gone())),
            Some(Answer::Failed(failure)) => Some(failure),
        };
        let Stage::Checking(..) = &load.stage else { return Ok(()) };
        let Stage::Checking(reading, at) = std::mem::replace(&mut load.stage, Stage::Counting) else { return Ok(()) };
        match failure {
            None => self.loaded(sid, reading.finish_at(at, rules, after), settings, io),
            Some(failure) if failure.lacks_message() => {
                let next = reading.next_check(at);
                self.check(sid, reading, next, settings, io)
            }
            Some(failure) => self.fail(sid, &failure, settings, io),
        }
    }

    /// Reports a topic's history, and what has arrived since.
    fn loaded(&mut self, sid: u64, end: Finished, settings: &Settings, io: &mut Io<'_>) -> Result<(), BrokerError> {
        if let Some(stream) = &mut self.stream {
            stream.loads = stream.loads.saturating_sub(1);
        }
        if self.topics.topic(sid).is_some_and(|topic| topic.is_confirmed) {
            self.caught_up(sid, end, settings, io)?;
        } else if let Some(topic) = self.topics.topic(sid) {
            topic.is_confirmed = true;
            (topic.offset, topic.floor, topic.newest) = (end.loaded.offset, end.bound, end.newest);
            let load = topic.load.take();
            io.event(Event::Subscribed { topic: topic.name.clone(), history: Some(end.loaded) });
            self.release(sid, load, false, settings, io)?;
        }
        self.load_waiting(settings, io);
        Ok(())
    }

    /// Reports what the hub has not seen: of what was read, and of what had arrived and is not kept any more.
    fn caught_up(&mut self, sid: u64, end: Finished, settings: &Settings, io: &mut Io<'_>) -> Result<(), BrokerError> {
        let Some(topic) = self.topics.topic(sid) else { return Ok(()) };
        let base = end.loaded.base.offset;
        topic.newest = end.newest.filter(|_| !end.loaded.messages.is_empty());
        let is_read = topic.newest.is_some();
        let mut messages = end.loaded.messages;
        let load = topic.load.take();
        messages.extend(load.iter().flat_map(|load| load.held.up_to(end.bound)));
        // Of two with one number the first stays, which was read.
        messages.sort_by_key(|message| message.offset);
        messages.dedup_by_key(|message| message.offset);
        messages.retain(|message| message.offset > topic.floor);
        for mut message in messages {
            if message.previous <= topic.floor {
                message.previous = topic.offset;
            }
            (topic.offset, topic.floor) = (message.offset, message.offset);
            io.event(Event::Message { topic: topic.name.clone(), message });
        }
        if !is_read && base > topic.floor {
            // The next message says this as its previous one, which the hub has not seen.
            topic.offset = base;
            io.event(Event::Missed { topic: topic.name.clone() });
        }
        topic.floor = topic.floor.max(end.bound);
        self.release(sid, load, false, settings, io)
    }

    /// The stream is the same: what was before the first message that waits has expired, or somebody has deleted it.
    fn verified(&mut self, sid: u64, settings: &Settings, io: &mut Io<'_>) -> Result<(), BrokerError> {
        let load = self.topics.topic(sid).and_then(|topic| topic.load.take());
        self.release(sid, load, true, settings, io)
    }

    /// Reports messages that were held, once each.
    fn release(
        &mut self,
        sid: u64,
        load: Option<Load>,
        is_verified: bool,
        settings: &Settings,
        io: &mut Io<'_>,
    ) -> Result<(), BrokerError> {
        let (Some(stream), Some(topic)) = (&self.stream, self.topics.topic(sid)) else { return Ok(()) };
        let Some(held) = load.map(|load| load.held) else { return Ok(()) };
        let floor = topic.floor;
        let has_lost = held.has_lost;
        let mut messages = held.into_messages();
        messages.make_contiguous().sort_by_key(|message| message.offset);
        // The stream has counted these already.
        messages.retain(|message| message.offset > floor);
        if let Some(first) = messages.front_mut() {
            let unseen = first.offset - 1;
            if has_lost {
                // Reading finds them, if they are kept.
                first.previous = first.previous.max(unseen);
            } else if is_verified && first.previous <= floor && topic.newest != Some(first.previous) {
                // Between servers of a cluster a message can be lost, and expire before the next one tells of it.
                if stream.is_local || unseen <= floor { topic.newest = None } else { first.previous = unseen }
            }
        }
        while let Some(message) = messages.pop_front() {
            self.on_live(sid, message, settings, io)?;
            if let Some(load) = self.topics.load(sid) {
                messages.drain(..).for_each(|message| load.held.push(message));
                if has_lost {
                    // What was given up does not come by waiting.
                    load.rounds = MAX_ROUNDS;
                }
            }
        }
        Ok(())
    }

    /// A load that cannot be done.
    fn fail(&mut self, sid: u64, failure: &Failure, settings: &Settings, io: &mut Io<'_>) -> Result<(), BrokerError> {
        if let Some(stream) = self.stream.as_ref().filter(|_| failure.lacks_stream()) {
            return Err(BrokerError::Refused(stream.is_gone()));
        }
        self.refuse_topic(sid, &failure.text, settings, io);
        self.load_waiting(settings, io);
        Ok(())
    }

    /// Asks for messages of the past. The number of the request, and of messages.
    fn ask_batch(&mut self, consumer: &str, delivery: u64, settings: &Settings, io: &mut Io<'_>) -> (u64, usize) {
        self.sent += 1;
        let Some(stream) = &self.stream else { return (self.sent, 0) };
        let size = stream.batch;
        let body = json!({"batch": size, "no_wait": true, "max_bytes": self.batch_bytes()});
        let name = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{consumer}", stream.wanted.name);
        let reply = delivery_subject(settings, delivery);
        encode::publish(io.out(), &name, Some(reply.as_bytes()), b"", body.to_string().as_bytes());
        (self.sent, size)
    }

    /// The most bytes of a batch. It has room for the longest message with its subjects, or that would never come.
    fn batch_bytes(&self) -> usize {
        self.info.max_payload.saturating_add(64 << 10).clamp(1 << 20, 1 << 30)
    }

    /// Ends what reads a topic's past.
    pub(super) fn end_consumer(&mut self, consumer: &str, delivery: u64, settings: &Settings, io: &mut Io<'_>) {
        if let Some(stream) = &mut self.stream {
            stream.deliveries.remove(&delivery);
        }
        encode::unsubscribe(io.out(), delivery);
        self.delete_consumer(consumer, settings, io);
    }

    fn delete_consumer(&mut self, consumer: &str, settings: &Settings, io: &mut Io<'_>) {
        let Some(stream) = &self.stream else { return };
        let name = format!("CONSUMER.DELETE.{}.{consumer}", stream.wanted.name);
        self.request(Request::Forgotten, &name, &Value::Null, settings, io);
    }

    fn stage(&mut self, sid: u64, stage: Stage) {
        if let Some(load) = self.topics.load(sid) {
            load.stage = stage;
        }
    }
}

impl Stream {
    /// What is said when it is not the stream of this connection any more.
    pub(super) fn is_gone(&self) -> String {
        format!("the stream {} was deleted", self.wanted.name)
    }
}

fn delivery_subject(settings: &Settings, delivery: u64) -> String {
    // Two tokens behind the inbox, so that the subscription for answers does not get it.
    format!("{}.d.{delivery}", settings.inbox)
}

/// How many histories are read at once.
const MAX_LOADS: usize = 16;

/// What the broker may be asked for at once. It disconnects those that have more than 64 MiB to read, by default.
const MAX_LOADED_BYTES: usize = 32 << 20;

/// After how long without a request the broker forgets a consumer that was not deleted.
const INACTIVE_NANOS: u64 = 10_000_000_000;
