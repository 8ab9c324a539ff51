//! What is known of a connection, and its way to being ready.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde_json::Value;
use sockeye_hub::backplane::{BrokerError, Event, Io, PublishError};

use super::load::{BATCH, Rules};
use super::publishes::Publishes;
use super::stream::{Answer, Found, Wanted};
use super::topics::Topics;
use super::waiting::Waiting;
use crate::names;
use crate::settings::Settings;
use crate::wire::info::{Info, shown};
use crate::wire::{encode, headers};

#[derive(Debug, Default)]
pub(crate) struct Session {
    pub(super) phase: Phase,
    pub(super) info: Info,
    is_tls: bool,
    /// Counts what is sent that the broker answers or confirms.
    pub(super) sent: u64,
    /// What was sent when each PING left that is not answered, oldest first: [`MOST_PINGS`] at most.
    pub(super) pings: VecDeque<u64>,
    /// What was sent when answers were last looked for, how many seconds ago, and whether something older was open.
    last_asked: u64,
    ticks: u32,
    is_stuck: bool,
    pub(super) publishes: Publishes,
    pub(super) waiting: Waiting,
    pub(super) topics: Topics,
    /// Subscriptions that no PONG has confirmed: the number of what was sent, and the topic's.
    pub(super) unconfirmed: VecDeque<(u64, u64)>,
    /// The broker has said that it has no room for one of these.
    pub(super) too_many: Option<String>,
    pub(super) last_sid: u64,
    /// Requests to JetStream, by number.
    pub(super) requests: BTreeMap<u64, Request>,
    pub(super) stream: Option<Stream>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Phase {
    /// No connection, or its first line is to come.
    #[default]
    Hello,
    Securing,
    /// CONNECT has left.
    Greeting,
    /// The stream is looked at.
    Preparing,
    Ready,
}

/// What a request to JetStream is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Request {
    Look,
    Create,
    /// The stream's bounds, for the topic with this subscription.
    Bounds(u64),
    Consumer(u64),
    /// Whether a message is still there.
    Check(u64),
    /// The answer does not matter.
    Forgotten,
}

/// The stream of a history.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(super) wanted: Wanted,
    pub(super) rules: Rules,
    /// Its last number when the connection began. Messages of ours are behind it.
    pub(super) last: u64,
    /// The longest message, with headers.
    pub(super) most_bytes: usize,
    /// On how many servers it is.
    pub(super) replicas: u64,
    /// Whether the server that we talk to has the stream, so that nothing between servers loses messages.
    pub(super) is_local: bool,
    /// Topics whose histories are to be read.
    pub(super) waiting: VecDeque<u64>,
    pub(super) loads: usize,
    /// How many messages of the past are asked for at once.
    pub(super) batch: usize,
    /// The subscription of a topic by that of its consumer.
    pub(super) deliveries: HashMap<u64, u64>,
}

impl Session {
    pub(crate) fn opened(&mut self) {
        self.phase = Phase::Hello;
    }

    pub(crate) fn awaits_tls(&self) -> bool {
        self.phase == Phase::Securing
    }

    pub(crate) fn secured(&mut self, settings: &Settings, io: &mut Io<'_>) {
        if self.phase == Phase::Securing {
            self.is_tls = true;
            self.greet(settings, io);
        }
    }

    pub(super) fn on_info(&mut self, json: &[u8], settings: &Settings, io: &mut Io<'_>) -> Result<(), BrokerError> {
        let info = Info::read(json)?;
        if self.phase != Phase::Hello {
            // It tells of other servers, or that this one is about to stop: then it closes the connection, and until then all goes on.
            self.info = info;
            return Ok(());
        }
        if !info.has_headers {
            return Err(BrokerError::Refused("it has no headers: nats-server 2.2 or newer is needed".to_owned()));
        }
        if settings.is_tls && !info.offers_tls {
            let text = "it has no TLS, and the URL demands it: give nats-server a tls section, or write nats://";
            return Err(BrokerError::Refused(text.to_owned()));
        }
        let wants_tls = settings.is_tls || info.requires_tls;
        self.info = info;
        if wants_tls {
            self.phase = Phase::Securing;
            io.start_tls();
        } else {
            self.greet(settings, io);
        }
        Ok(())
    }

    fn greet(&mut self, settings: &Settings, io: &mut Io<'_>) {
        self.phase = Phase::Greeting;
        encode::connect(io.out(), settings.credentials.as_ref(), self.is_tls);
        self.send_ping(io);
    }

    /// The broker has answered the first PING, so it has accepted us.
    pub(super) fn greeted(&mut self, settings: &Settings, io: &mut Io<'_>) {
        let Some(history) = &settings.history else {
            self.become_ready(usize::MAX, settings, io);
            return;
        };
        self.phase = Phase::Preparing;
        let wanted = Wanted::new(settings, history);
        self.last_sid = INBOX_SID;
        encode::subscribe(io.out(), &format!("{}.*", settings.inbox), INBOX_SID);
        let look = format!("STREAM.INFO.{}", wanted.name);
        let rules =
            Rules { epoch: 0, messages: u64::try_from(history.messages()).unwrap_or(u64::MAX), is_endless: false };
        self.stream = Some(Stream {
            wanted,
            rules,
            last: 0,
            most_bytes: usize::MAX,
            replicas: 1,
            is_local: false,
            waiting: VecDeque::new(),
            loads: 0,
            batch: BATCH,
            deliveries: HashMap::new(),
        });
        self.request(Request::Look, &look, &Value::Null, settings, io);
    }

    /// JetStream has answered a question about the stream itself.
    pub(super) fn on_stream(
        &mut self,
        request: Request,
        answer: Answer,
        settings: &Settings,
        io: &mut Io<'_>,
    ) -> Result<(), BrokerError> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let name = &stream.wanted.name;
        match answer {
            Answer::Done(answer) => {
                let Found { epoch, last, most_bytes, replicas, is_endless, leader } = stream.wanted.check(&answer)?;
                (stream.rules.epoch, stream.rules.is_endless) = (epoch, is_endless);
                (stream.last, stream.most_bytes, stream.replicas) = (last, most_bytes, replicas);
                let is_leader = leader.is_none_or(|leader| leader == self.info.name);
                stream.is_local = is_leader && self.info.has_jetstream && !self.info.is_in_cluster;
                self.become_ready(most_bytes, settings, io);
                Ok(())
            }
            Answer::Nobody => Err(BrokerError::Refused(
                "it has no JetStream: start nats-server with -js, or ask for no history".to_owned(),
            )),
            Answer::Failed(failure) if request == Request::Look && failure.lacks_stream() => {
                let (create, configuration) = (format!("STREAM.CREATE.{name}"), stream.wanted.configuration());
                self.request(Request::Create, &create, &configuration, settings, io);
                Ok(())
            }
            // Another hub was faster, perhaps with another configuration. Looking again shows it.
            Answer::Failed(failure) if request == Request::Create && failure.is_other_configuration() => {
                let look = format!("STREAM.INFO.{name}");
                self.request(Request::Look, &look, &Value::Null, settings, io);
                Ok(())
            }
            Answer::Failed(failure) => Err(BrokerError::Refused(format!("the stream {name}: {}", failure.text))),
        }
    }

    fn become_ready(&mut self, most_bytes: usize, settings: &Settings, io: &mut Io<'_>) {
        self.phase = Phase::Ready;
        let most_bytes = most_bytes.min(self.info.max_payload).saturating_sub(headers::BYTES_WITHOUT_KEY);
        io.event(Event::Ready { most_bytes: most_bytes.min(settings.message_bytes) });
    }

    /// What the broker says when it does not like something.
    pub(super) fn refusal(&self, text: &[u8], settings: &Settings) -> BrokerError {
        let text = shown(text);
        let is_about_rights = text.to_ascii_lowercase().contains("authorization");
        BrokerError::Refused(match &settings.credentials {
            None if is_about_rights => {
                format!("{text} (no user was given: write nats://USER:PASSWORD@HOST or nats://TOKEN@HOST)")
            }
            _ => text,
        })
    }

    pub(crate) fn ping(&mut self, io: &mut Io<'_>) {
        if self.phase != Phase::Hello && self.phase != Phase::Securing {
            self.send_ping(io);
        }
    }

    pub(crate) fn tick(&mut self, io: &mut Io<'_>) {
        self.ticks += 1;
        if self.ticks < PATIENCE || self.phase != Phase::Ready {
            return;
        }
        self.ticks = 0;
        let request = self.requests.first_key_value().map(|(number, _)| *number);
        let batch = self.stream.as_ref().and_then(|stream| self.topics.oldest_batch(stream.deliveries.values()));
        let oldest = request.into_iter().chain(batch).chain(self.publishes.oldest()).min();
        self.is_stuck = oldest.is_some_and(|oldest| oldest <= self.last_asked);
        self.last_asked = self.sent;
        if self.is_stuck {
            // The answer ends the connection. Without one the hub does.
            self.send_ping(io);
        }
    }

    /// Whether JetStream has not answered something for long, while the broker itself does answer.
    pub(super) fn check_answers(&mut self) -> Result<(), BrokerError> {
        if !std::mem::take(&mut self.is_stuck) || self.stream.is_none() {
            return Ok(());
        }
        Err(BrokerError::Refused("JetStream does not answer: too few of its servers may be there to agree".to_owned()))
    }

    /// Subscribes for the topic that has the number `sid`: to it, or to what is read of its past.
    pub(super) fn send_subscribe(&mut self, subject: &str, own: u64, sid: u64, io: &mut Io<'_>) {
        encode::subscribe(io.out(), subject, own);
        self.sent += 1;
        self.unconfirmed.push_back((self.sent, sid));
        self.send_ping(io);
    }

    /// Asks how far the broker has come, unless that is asked already.
    pub(super) fn send_ping(&mut self, io: &mut Io<'_>) {
        if self.pings.is_empty() {
            self.ping_behind(io);
        }
    }

    /// Asks whether the broker has come to what was sent last, unless that is asked already, or too much.
    pub(super) fn ping_behind(&mut self, io: &mut Io<'_>) {
        let is_asked = self.pings.back().is_some_and(|number| *number >= self.sent);
        if !is_asked && self.pings.len() < MOST_PINGS {
            self.pings.push_back(self.sent);
            encode::ping(io.out());
        }
    }

    /// Sends a request to JetStream.
    pub(super) fn request(&mut self, request: Request, name: &str, body: &Value, settings: &Settings, io: &mut Io<'_>) {
        self.sent += 1;
        if request != Request::Forgotten {
            self.requests.insert(self.sent, request);
        }
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let reply = reply_subject(settings, self.sent);
        encode::publish(io.out(), &format!("$JS.API.{name}"), Some(&reply), b"", body.as_bytes());
    }
}

/// Where the answer to what has this number goes.
pub(super) fn reply_subject(settings: &Settings, number: u64) -> Vec<u8> {
    let mut subject = Vec::with_capacity(settings.inbox.len() + 21);
    subject.extend_from_slice(settings.inbox.as_bytes());
    subject.push(b'.');
    encode::number(&mut subject, number);
    subject
}

/// Which of a topic's subjects.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Side {
    /// What is published to.
    In,
    /// What is subscribed to.
    Out,
}

/// What is before the token of a topic.
pub(super) fn before_token(settings: &Settings, side: Side) -> String {
    parts_before_token(settings, side).concat()
}

fn parts_before_token(settings: &Settings, side: Side) -> [&str; 2] {
    let part = match (&settings.history, side) {
        (None, _) => ".",
        (Some(_), Side::In) => ".in.",
        (Some(_), Side::Out) => ".out.",
    };
    [&settings.prefix, part]
}

/// The subject of a topic.
pub(super) fn subject(settings: &Settings, side: Side, topic: &str) -> Result<String, PublishError> {
    let parts = parts_before_token(settings, side);
    let bytes = parts.map(str::len).iter().sum::<usize>() + names::encoded_bytes(topic.as_bytes());
    let mut subject = Vec::with_capacity(bytes);
    parts.iter().for_each(|part| subject.extend_from_slice(part.as_bytes()));
    names::encode(topic.as_bytes(), &mut subject);
    if subject.len() > MAX_SUBJECT_BYTES {
        return Err(PublishError::Name);
    }
    // It is ASCII.
    String::from_utf8(subject).map_err(|_| PublishError::Name)
}

/// The topic of a subject, if it is one of ours.
pub(super) fn topic(settings: &Settings, side: Side, subject: &str) -> Option<String> {
    let token = subject.strip_prefix(&before_token(settings, side))?;
    String::from_utf8(names::decode(token.as_bytes())?).ok()
}

/// How many PINGs are under way while messages wait: the broker has the next ones when it has answered one.
pub(super) const MOST_PINGS: usize = 2;

/// Seconds after which answers are looked for. What is open twice in a row is not answered any more.
const PATIENCE: u32 = 10;

/// Answers of JetStream.
pub(super) const INBOX_SID: u64 = 1;

/// A line of a client may have 4,096 bytes by default: the subject, an inbox, and two numbers.
const MAX_SUBJECT_BYTES: usize = 4096 - 160;
