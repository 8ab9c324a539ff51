//! What the broker says.

use sockeye::proto::wire::MessageKind;
use sockeye_hub::backplane::{BrokerError, Event, Io, Position, Stored};

use super::load::Load;
use super::sending::SEVERAL_BYTES;
use super::state::{INBOX_SID, Phase, Request, Session, Side, before_token, topic};
use super::stream::{self, Answer};
use crate::settings::Settings;
use crate::wire::decode::{Body, Message, Op};
use crate::wire::headers::{MAX_KEY_BYTES, Marks, number};
use crate::wire::several::{self, Part};
use crate::wire::{encode, info::shown};

impl Session {
    pub(crate) fn on_op(&mut self, op: Op<'_>, settings: &Settings, io: &mut Io<'_>) -> Result<(), BrokerError> {
        match (self.phase, op) {
            (_, Op::Error(text)) => self.on_error(text, settings, io),
            (_, Op::Ok) => Ok(()),
            (Phase::Securing, _) => Err(BrokerError::Protocol("it goes on without TLS".to_owned())),
            (_, Op::Info(json)) => self.on_info(json, settings, io),
            (Phase::Hello, _) => Err(BrokerError::Protocol("its first line is not INFO".to_owned())),
            (_, Op::Ping) => {
                encode::pong(io.out());
                Ok(())
            }
            (_, Op::Pong) => self.on_pong(settings, io),
            (Phase::Greeting, Op::Message(_)) => {
                Err(BrokerError::Protocol("it sends a message before it has accepted the connection".to_owned()))
            }
            (_, Op::Message(message)) => self.on_message(message, settings, io),
        }
    }

    fn on_pong(&mut self, settings: &Settings, io: &mut Io<'_>) -> Result<(), BrokerError> {
        let Some(number) = self.pings.pop_front() else {
            return Err(BrokerError::Protocol("it answers a PING that was not sent".to_owned()));
        };
        if self.phase == Phase::Greeting {
            self.greeted(settings, io);
            return Ok(());
        }
        self.check_answers()?;
        let has_history = self.stream.is_some();
        let outcome = self.publishes.reached(number, !has_history)?;
        for (ticket, reason) in outcome.refused {
            io.event(Event::Refused { ticket, reason });
        }
        self.on_subscribed(number, settings, io);
        for ticket in outcome.taken {
            io.event(Event::Published { ticket, position: None });
        }
        self.send_waiting(io);
        let is_confirmed = self.publishes.is_empty() && self.waiting.is_empty();
        if !(has_history || is_confirmed) {
            self.ping_behind(io);
        } else if !self.unconfirmed.is_empty() {
            self.send_ping(io);
        }
        Ok(())
    }

    /// The broker has looked at the subscriptions that were sent up to `number`.
    fn on_subscribed(&mut self, number: u64, settings: &Settings, io: &mut Io<'_>) {
        let too_many = self.too_many.take();
        while let Some(&(_, sid)) = self.unconfirmed.front().filter(|(sent, _)| *sent <= number) {
            self.unconfirmed.pop_front();
            match &too_many {
                // The error names none. All that may be meant are given up.
                Some(text) => self.refuse_topic(sid, text, settings, io),
                None if self.stream.is_none() => self.confirm(sid, io),
                None => {}
            }
        }
        self.load_waiting(settings, io);
    }

    pub(super) fn refuse_topic(&mut self, sid: u64, text: &str, settings: &Settings, io: &mut Io<'_>) {
        if let Some(topic) = self.drop_topic(sid, settings, io) {
            io.event(Event::Unsubscribed { topic: topic.name, reason: text.to_owned() });
        }
    }

    /// Without history: tells the hub that a subscription has begun, once.
    fn confirm(&mut self, sid: u64, io: &mut Io<'_>) {
        let Some(topic) = self.topics.topic(sid).filter(|topic| !topic.is_confirmed) else { return };
        topic.is_confirmed = true;
        io.event(Event::Subscribed { topic: topic.name.clone(), history: None });
    }

    fn on_message(
        &mut self,
        mut message: Message<'_>,
        settings: &Settings,
        io: &mut Io<'_>,
    ) -> Result<(), BrokerError> {
        let sid = message.sid;
        if self.stream.is_some() && sid == INBOX_SID {
            return self.on_answer(&message, settings, io);
        }
        let Some(stream) = &self.stream else {
            self.on_plain(&message, settings, io);
            return Ok(());
        };
        message.body = message.body.filter(|body| body.payload.len() <= settings.message_bytes);
        if let Some(&topic) = stream.deliveries.get(&sid) {
            return self.on_delivery(topic, &message, settings, io);
        }
        self.on_republished(&message, settings, io)
    }

    fn on_plain(&mut self, message: &Message<'_>, settings: &Settings, io: &mut Io<'_>) {
        // It can arrive before the PONG that says that the subscription has begun; and after its end, when it is not wanted.
        self.confirm(message.sid, io);
        let Some(topic) = self.topics.topic(message.sid) else { return };
        let mut report = |message: Option<Stored>| {
            let (topic, message) = (topic.name.clone(), message.filter(|m| m.payload.len() <= settings.message_bytes));
            io.event(match message {
                Some(message) => Event::Message { topic, message },
                None => Event::Missed { topic },
            });
        };
        let Some(body) = &message.body else { return report(None) };
        let marks = Marks::read(body.headers);
        let several = marks.messages.filter(|_| body.payload.len() <= SEVERAL_BYTES);
        if let Some(parts) = several.and_then(|count| several::read(body.payload, count)) {
            return parts.for_each(|part| report(Some(stored_part(&part))));
        }
        let fits = body.payload.len() <= settings.message_bytes;
        report(fits.then(|| stored(body, &marks, 0, 0)));
    }

    /// An answer to a request, or to a message for the stream.
    fn on_answer(&mut self, message: &Message<'_>, settings: &Settings, io: &mut Io<'_>) -> Result<(), BrokerError> {
        let token = message.subject.rsplit(|byte| *byte == b'.').next();
        let Some(number) = token.and_then(number) else { return Ok(()) };
        if let Some(Request::Check(sid)) = self.requests.get(&number) {
            let sid = *sid;
            self.requests.remove(&number);
            return self.on_check(sid, message.body.as_ref(), settings, io);
        }
        let Some(body) = &message.body else {
            return Err(BrokerError::Protocol("an answer of JetStream is too long".to_owned()));
        };
        if let Some(ticket) = self.publishes.answered(number) {
            return self.on_acknowledged(ticket, body, io);
        }
        let Some(request) = self.requests.remove(&number) else { return Ok(()) };
        let answer = Answer::read(body.headers, body.payload)?;
        match request {
            Request::Look | Request::Create => self.on_stream(request, answer, settings, io),
            Request::Bounds(sid) => self.on_bounds(sid, answer, settings, io),
            Request::Consumer(sid) => self.on_consumer(sid, answer, settings, io),
            Request::Check(_) | Request::Forgotten => Ok(()),
        }
    }

    fn on_acknowledged(&self, ticket: u64, body: &Body<'_>, io: &mut Io<'_>) -> Result<(), BrokerError> {
        let Some(stream) = &self.stream else { return Ok(()) };
        let name = &stream.wanted.name;
        let mut stored = |offset| {
            if offset <= stream.last {
                // It is taken, but by another stream of this name.
                io.event(Event::Published { ticket, position: None });
                return Err(BrokerError::Refused(stream.is_gone()));
            }
            let position = Some(Position { epoch: stream.rules.epoch, offset });
            io.event(Event::Published { ticket, position });
            Ok(())
        };
        if let Some(offset) = stream::stored_as(body, name) {
            return stored(offset);
        }
        match Answer::read(body.headers, body.payload)? {
            Answer::Done(answer) => match answer["seq"].as_u64().filter(|_| answer["stream"] == **name) {
                Some(offset) => stored(offset),
                None => {
                    let text = format!("JetStream confirms a message by {:?}", shown(body.payload));
                    Err(BrokerError::Protocol(text))
                }
            },
            Answer::Failed(failure) => {
                io.event(Event::Refused { ticket, reason: failure.text });
                Ok(())
            }
            Answer::Nobody => {
                let reason = stream.is_gone();
                io.event(Event::Refused { ticket, reason: reason.clone() });
                // The next connection makes it anew.
                Err(BrokerError::Refused(reason))
            }
        }
    }

    /// A message that the stream has stored.
    fn on_republished(
        &mut self,
        message: &Message<'_>,
        settings: &Settings,
        io: &mut Io<'_>,
    ) -> Result<(), BrokerError> {
        let (Some(stream), Some(topic)) = (&self.stream, self.topics.topic(message.sid)) else { return Ok(()) };
        let Some(body) = &message.body else {
            // The next message tells that its previous one was not seen.
            io.event(Event::Missed { topic: topic.name.clone() });
            return Ok(());
        };
        let marks = Marks::read(body.headers);
        let (Some(sequence), Some(last)) = (marks.sequence, marks.last_sequence) else { return Ok(()) };
        if marks.stream != Some(stream.wanted.name.as_bytes()) {
            return Ok(());
        }
        let stored = stored(body, &marks, sequence, last);
        if let Some(load) = &mut topic.load {
            load.held.push(stored);
            return Ok(());
        }
        self.on_live(message.sid, stored, settings, io)
    }

    /// A message whose topic is read up to where it begins.
    pub(super) fn on_live(
        &mut self,
        sid: u64,
        mut message: Stored,
        settings: &Settings,
        io: &mut Io<'_>,
    ) -> Result<(), BrokerError> {
        let Some(topic) = self.topics.topic(sid) else { return Ok(()) };
        let last = message.previous;
        let is_new = message.offset > topic.floor;
        let contradicted =
            topic.newest.filter(|newest| is_new && last <= topic.floor && (topic.offset..last).contains(newest));
        if let Some(newest) = contradicted {
            // One that was not read is between these: not all is known up to the floor.
            topic.floor = newest;
        }
        if is_new && last <= topic.floor && topic.newest.is_none_or(|newest| newest == last) {
            message.previous = topic.offset;
        } else if !is_new || last <= topic.floor {
            // It was counted already, or what was before it has expired or was deleted. Or the stream was deleted and made anew.
            let mut load = Load::verifying();
            load.held.push(message);
            topic.load = Some(load);
            self.ask_bounds(sid, settings, io);
            return Ok(());
        } else {
            // The one before is missing: it was lost, or publishers of one moment have been overtaken by others.
            let mut load = Load::new(None);
            load.held.push(message);
            topic.load = Some(load);
            self.catch_up(sid, settings, io);
            return Ok(());
        }
        (topic.offset, topic.floor) = (message.offset, message.offset);
        topic.newest = Some(message.offset);
        io.event(Event::Message { topic: topic.name.clone(), message });
        Ok(())
    }

    fn on_error(&mut self, text: &[u8], settings: &Settings, io: &mut Io<'_>) -> Result<(), BrokerError> {
        let words = String::from_utf8_lossy(text);
        let subject = words.split('"').nth(1).unwrap_or_default();
        let lower = words
            .get(..PUBLISH.len().max(SUBSCRIPTION.len()).min(words.len()))
            .unwrap_or_default()
            .to_ascii_lowercase();
        if lower.starts_with(PUBLISH) && subject.starts_with(&before_token(settings, Side::In)) {
            self.publishes.violation(subject, shown(text));
            self.send_ping(io);
            return Ok(());
        }
        if lower.starts_with(SUBSCRIPTION) && subject.starts_with(&before_token(settings, Side::Out)) {
            if let Some(sid) = topic(settings, Side::Out, subject).and_then(|name| self.topics.sid(&name)) {
                self.refuse_topic(sid, &shown(text), settings, io);
                self.load_waiting(settings, io);
            }
            return Ok(());
        }
        if lower.starts_with(TOO_MANY) {
            self.too_many = Some(shown(text));
            self.send_ping(io);
            return Ok(());
        }
        Err(self.refusal(text, settings))
    }
}

pub(super) fn stored(body: &Body<'_>, marks: &Marks<'_>, offset: u64, previous: u64) -> Stored {
    let kind = marks.kind(body.payload);
    Stored { kind, key: marks.key.clone(), payload: body.payload.to_vec(), offset, previous }
}

fn stored_part(part: &Part<'_>) -> Stored {
    let is_text = part.kind == MessageKind::Text && std::str::from_utf8(part.payload).is_ok();
    let kind = if is_text { MessageKind::Text } else { MessageKind::Binary };
    let key = part.key.filter(|key| key.len() <= MAX_KEY_BYTES).map(<[u8]>::to_vec);
    Stored { kind, key, payload: part.payload.to_vec(), offset: 0, previous: 0 }
}

const PUBLISH: &str = "permissions violation for publish";
const SUBSCRIPTION: &str = "permissions violation for subscription";
const TOO_MANY: &str = "maximum subscriptions exceeded";
