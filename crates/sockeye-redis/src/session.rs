//! One connection: what was sent, and so what the next answer belongs to. Redis answers in the order of the commands.

use std::collections::VecDeque;
use std::sync::Arc;

use sockeye_hub::backplane::{BrokerError, Event, Io, Publish, PublishError};

use crate::address::Address;
use crate::envelope::{self, Envelope, Origin};
use crate::refusal;
use crate::resp::{self, Command, Reply};
use crate::text;
use crate::topics::{Step, Topics};

/// What does not change from connection to connection.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) address: Address,
    pub(crate) prefix: String,
    pub(crate) origin: Origin,
}

#[derive(Debug, Default)]
pub(crate) struct Session {
    /// Oldest first. At most: those of the beginning, one for each topic, one ping and [`PUBLISHES`].
    expected: VecDeque<Expected>,
    topics: Topics,
    /// How many of `expected` are messages.
    publishes: usize,
    is_pinging: bool,
    is_ready: bool,
}

/// Whose answer is to come.
#[derive(Clone, Debug)]
enum Expected {
    Hello,
    Select,
    Subscribe(Arc<str>),
    Unsubscribe(Arc<str>),
    Publish(u64),
    Ping,
}

impl Session {
    /// A connection is open.
    pub(crate) fn open(&mut self, settings: &Settings, io: &mut Io<'_>) {
        *self = Self::default();
        let address = &settings.address;
        match &address.credentials {
            None => drop(Command::new(io.out(), "HELLO", 3).argument(b"3").argument(b"SETNAME").argument(NAME)),
            Some((user, password)) => {
                let hello = Command::new(io.out(), "HELLO", 6).argument(b"3").argument(b"AUTH");
                hello.argument(user).argument(password).argument(b"SETNAME").argument(NAME);
            }
        }
        self.expected.push_back(Expected::Hello);
        if address.database != 0 {
            Command::new(io.out(), "SELECT", 1).argument(address.database.to_string().as_bytes());
            self.expected.push_back(Expected::Select);
        }
    }

    pub(crate) fn ping(&mut self, io: &mut Io<'_>) {
        if !self.is_pinging {
            self.is_pinging = true;
            Command::new(io.out(), "PING", 0);
            self.expected.push_back(Expected::Ping);
        }
    }

    pub(crate) fn subscribe(&mut self, settings: &Settings, topic: &str, io: &mut Io<'_>) -> Result<(), PublishError> {
        if topic.len() > NAME_BYTES {
            return Err(PublishError::Name);
        }
        let (topic, step) = self.topics.want(topic);
        self.act(settings, &topic, step, "", io);
        Ok(())
    }

    pub(crate) fn unsubscribe(&mut self, settings: &Settings, topic: &str, io: &mut Io<'_>) {
        let (topic, step) = self.topics.leave(topic);
        self.act(settings, &topic, step, "", io);
    }

    pub(crate) fn publish(
        &mut self,
        settings: &Settings,
        message: Publish<'_>,
        io: &mut Io<'_>,
    ) -> Result<(), PublishError> {
        if message.topic.len() > NAME_BYTES {
            return Err(PublishError::Name);
        }
        let key = message.key.unwrap_or_default();
        if message.payload.len().saturating_add(key.len()) > MOST_BYTES {
            return Err(PublishError::TooLarge { most: MOST_BYTES.saturating_sub(key.len()) });
        }
        let body = envelope::body(&message);
        let start = envelope::plain(&settings.origin);
        let sent = [&start[..], &body, key, message.payload];
        let names = settings.prefix.len() + message.topic.len();
        let bytes = sent.iter().map(|part| part.len()).sum::<usize>() + names + 4 * resp::ARGUMENT_BYTES;
        if !self.is_ready || bytes > io.room() || self.publishes >= PUBLISHES {
            return Err(PublishError::QueueFull);
        }
        let command = Command::new(io.out(), "PUBLISH", 2);
        command.parts(&[settings.prefix.as_bytes(), message.topic.as_bytes()]).parts(&sent);
        self.publishes += 1;
        self.expected.push_back(Expected::Publish(message.ticket));
        Ok(())
    }

    /// A reply has arrived.
    pub(crate) fn receive(
        &mut self,
        settings: &Settings,
        reply: &Reply<'_>,
        io: &mut Io<'_>,
    ) -> Result<(), BrokerError> {
        if let Reply::Push(parts) = reply {
            return self.push(settings, parts, io);
        }
        let Some(expected) = self.expected.pop_front() else {
            return Err(protocol("an answer that belongs to no command"));
        };
        match (expected, reply) {
            (Expected::Hello | Expected::Select, Reply::Error(error)) => {
                let credentials = settings.address.credentials.as_ref();
                Err(refusal::of_connection(error, credentials.map_or(&[], |(_, password)| password)))
            }
            (Expected::Hello, reply @ Reply::Map(_)) => {
                if let Some(refusal) = refusal::of_role(reply.field("mode"), reply.field("role"), false) {
                    return Err(refusal);
                }
                self.begin(io);
                Ok(())
            }
            (Expected::Select, Reply::Bytes(b"OK")) => {
                self.begin(io);
                Ok(())
            }
            (Expected::Publish(ticket), reply) => self.published(ticket, reply, io),
            (Expected::Subscribe(topic), Reply::Error(error)) => {
                let step = self.topics.refuse(&topic);
                self.act(settings, &topic, step, &text::shown(error), io);
                refusal::is_final(error).map_or(Ok(()), Err)
            }
            (Expected::Unsubscribe(_), Reply::Error(error)) => Err(BrokerError::Refused(text::shown(error))),
            (Expected::Ping, Reply::Bytes(_)) => {
                self.is_pinging = false;
                Ok(())
            }
            (Expected::Ping, Reply::Error(error)) => Err(BrokerError::Refused(text::shown(error))),
            (expected, _) => Err(protocol(&format!("an answer to {} that has an unknown form", expected.command()))),
        }
    }

    /// Reports that everything is accepted that the connection begins with, once it is.
    fn begin(&mut self, io: &mut Io<'_>) {
        if self.expected.is_empty() && !self.is_ready {
            self.is_ready = true;
            io.event(Event::Ready { most_bytes: MOST_BYTES });
        }
    }

    fn published(&mut self, ticket: u64, reply: &Reply<'_>, io: &mut Io<'_>) -> Result<(), BrokerError> {
        self.publishes = self.publishes.saturating_sub(1);
        match reply {
            Reply::Number => {
                io.event(Event::Published { ticket, position: None });
                Ok(())
            }
            Reply::Error(error) => {
                io.event(Event::Refused { ticket, reason: text::shown(error) });
                refusal::is_final(error).map_or(Ok(()), Err)
            }
            _ => Err(protocol("an answer to a message that has an unknown form")),
        }
    }

    fn push(&mut self, settings: &Settings, parts: &[Reply<'_>], io: &mut Io<'_>) -> Result<(), BrokerError> {
        let Some(kind) = parts.first().and_then(Reply::bytes) else { return Ok(()) };
        let name = parts.get(1).and_then(Reply::bytes).and_then(|channel| topic(settings, channel));
        match (kind, name) {
            (b"message", Some(topic)) => {
                let Some(payload) = parts.get(2).and_then(Reply::bytes) else {
                    return Err(protocol("a message without a payload"));
                };
                self.message(settings, topic, payload, io);
            }
            (b"subscribe", topic) => {
                let Some(Expected::Subscribe(asked)) = self.expected.pop_front() else {
                    return Err(protocol("a subscription that nothing has asked for"));
                };
                if Some(&*asked) != topic {
                    return Err(protocol("a subscription to another channel than was asked for"));
                }
                let step = self.topics.begin(&asked);
                self.act(settings, &asked, step, "", io);
            }
            (b"unsubscribe", Some(topic)) => {
                if matches!(self.expected.front(), Some(Expected::Unsubscribe(asked)) if **asked == *topic) {
                    self.expected.pop_front();
                }
                let step = self.topics.end(topic);
                self.act(settings, &Arc::from(topic), step, "the server has ended the subscription", io);
            }
            // Kinds that nothing here has asked for, and channels of others.
            _ => {}
        }
        Ok(())
    }

    fn message(&self, settings: &Settings, topic: &str, payload: &[u8], io: &mut Io<'_>) {
        if !self.topics.has_begun(topic) {
            return;
        }
        let mut message = match envelope::open(payload) {
            Envelope::Plain { origin, .. } if origin == settings.origin => return,
            Envelope::Plain { message, .. } | Envelope::Numbered { message, .. } | Envelope::Foreign(message) => {
                message
            }
        };
        (message.offset, message.previous) = (0, 0);
        io.event(Event::Message { topic: topic.to_owned(), message });
    }

    fn act(&mut self, settings: &Settings, topic: &Arc<str>, step: Step, why: &str, io: &mut Io<'_>) {
        let channel = [settings.prefix.as_bytes(), topic.as_bytes()];
        match step {
            Step::Nothing => {}
            Step::Subscribe => {
                Command::new(io.out(), "SUBSCRIBE", 1).parts(&channel);
                self.expected.push_back(Expected::Subscribe(Arc::clone(topic)));
            }
            Step::Unsubscribe => {
                Command::new(io.out(), "UNSUBSCRIBE", 1).parts(&channel);
                self.expected.push_back(Expected::Unsubscribe(Arc::clone(topic)));
            }
            Step::Report => io.event(Event::Subscribed { topic: topic.to_string(), history: None }),
            Step::ReportEnd => io.event(Event::Unsubscribed { topic: topic.to_string(), reason: why.to_owned() }),
        }
    }
}

impl Expected {
    fn command(&self) -> &'static str {
        match self {
            Self::Hello => "HELLO",
            Self::Select => "SELECT",
            Self::Subscribe(_) => "SUBSCRIBE",
            Self::Unsubscribe(_) => "UNSUBSCRIBE",
            Self::Publish(_) => "a message",
            Self::Ping => "PING",
        }
    }
}

/// The topic of a channel.
fn topic<'a>(settings: &Settings, channel: &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(channel.strip_prefix(settings.prefix.as_bytes())?).ok()
}

fn protocol(what: &str) -> BrokerError {
    BrokerError::Protocol(what.to_owned())
}

/// What the connection is called in `CLIENT LIST`.
const NAME: &[u8] = b"sockeye-redis";

/// The longest payload, with its key. Redis disconnects a subscriber that has 32 MiB waiting, unless told otherwise.
pub(crate) const MOST_BYTES: usize = 16 * 1024 * 1024;

/// The longest name of a topic. Redis has no limit that matters.
const NAME_BYTES: usize = 64 * 1024;

/// How many messages may be without an answer.
const PUBLISHES: usize = 65_536;
