//! One connection: what was sent, and so what the next answer belongs to. Redis answers in the order of the commands.

use std::collections::VecDeque;
use std::sync::Arc;

use sockeye_hub::backplane::{BrokerError, Event, Io, Position, Publish, PublishError, Stored};

use crate::address::Address;
use crate::batches::{Batch, Batches, Due};
use crate::envelope::{self, Bodies, Envelope, Origin};
use crate::history::{self, History, Trim};
use crate::refusal;
use crate::resp::{self, Bounds, Command, Reply};
use crate::text;
use crate::topics::{Arrival, Step, Topics};

/// What does not change from connection to connection.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) address: Address,
    pub(crate) prefix: String,
    pub(crate) history: Option<History>,
    pub(crate) origin: Origin,
    /// Of the epochs that this server begins.
    pub(crate) seed: u64,
}

#[derive(Debug)]
pub(crate) struct Session {
    /// Oldest first. At most: those of the beginning, three for each topic, one ping and [`PUBLISHES`].
    expected: VecDeque<Expected>,
    topics: Topics,
    batches: Batches,
    /// Topics whose turn to be loaded has not come. Some may be here that need it no more.
    waiting: VecDeque<Arc<str>>,
    /// How many of `expected` load a topic; at most [`History::most_loads`].
    loads: usize,
    /// How many of `expected` are of the beginning.
    beginning: usize,
    /// How many messages are without an answer.
    publishes: usize,
    /// How many of `expected` are scripts to keep.
    keeping: usize,
    is_pinging: bool,
    is_ready: bool,
    /// Which start of the server this is.
    run: String,
    trim: Trim,
    scripts: Scripts,
    /// Epochs that were offered to the server, on all connections.
    epochs: u64,
}

/// What the server calls the scripts.
#[derive(Debug, Default)]
struct Scripts {
    publish: String,
    load: String,
}

#[derive(Clone, Copy, Debug)]
enum Script {
    Publish,
    Load,
}

/// Whose answer is to come.
#[derive(Clone, Debug)]
enum Expected {
    Hello,
    Select,
    Info,
    Keep(Script),
    Subscribe(Arc<str>),
    Unsubscribe(Arc<str>),
    Load(Arc<str>),
    /// Messages of a topic.
    Publish(Arc<str>, Vec<u64>),
    Ping,
}

impl Session {
    /// What there is between two connections. `epochs` is that of the last one.
    pub(crate) fn new(settings: &Settings, epochs: u64) -> Self {
        Self {
            expected: VecDeque::new(),
            topics: Topics::new(settings.history.is_some()),
            batches: Batches::default(),
            waiting: VecDeque::new(),
            loads: 0,
            beginning: 0,
            publishes: 0,
            keeping: 0,
            is_pinging: false,
            is_ready: false,
            run: String::new(),
            trim: Trim::default(),
            scripts: Scripts::default(),
            epochs,
        }
    }

    /// Forgets a connection.
    pub(crate) fn reset(&mut self, settings: &Settings) {
        *self = Self::new(settings, self.epochs);
    }

    /// A connection is open.
    pub(crate) fn open(&mut self, settings: &Settings, io: &mut Io<'_>) {
        self.reset(settings);
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
        if settings.history.is_some() {
            Command::new(io.out(), "INFO", 1).argument(b"server");
            self.expected.push_back(Expected::Info);
            self.keep_scripts(io);
        }
        self.beginning = self.expected.len();
    }

    /// Has the server keep the scripts, unless it is about to.
    fn keep_scripts(&mut self, io: &mut Io<'_>) {
        if self.keeping > 0 {
            return;
        }
        for (script, text) in [(Script::Publish, history::PUBLISH), (Script::Load, history::LOAD)] {
            Command::new(io.out(), "SCRIPT", 2).argument(b"LOAD").argument(text.as_bytes());
            self.expected.push_back(Expected::Keep(script));
            self.keeping += 1;
        }
    }

    pub(crate) fn ping(&mut self, io: &mut Io<'_>) {
        if !self.is_pinging {
            self.is_pinging = true;
            Command::new(io.out(), "PING", 0);
            self.expected.push_back(Expected::Ping);
        }
    }

    pub(crate) fn subscribe(
        &mut self,
        settings: &Settings,
        topic: &str,
        after: Option<Position>,
        io: &mut Io<'_>,
    ) -> Result<(), PublishError> {
        if topic.len() > NAME_BYTES {
            return Err(PublishError::Name);
        }
        let (topic, step) = self.topics.want(topic, after);
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
        let names = 3 * (settings.prefix.len() + message.topic.len());
        let around = key.len() + names + COMMAND_BYTES;
        let bytes = message.payload.len() + around;
        if io.out().is_empty() && bytes > io.room() {
            // It would never have room.
            return Err(PublishError::TooLarge { most: io.room().saturating_sub(around) });
        }
        if !self.is_ready || bytes > io.room().saturating_sub(self.batches.bytes()) || self.publishes >= PUBLISHES {
            return Err(PublishError::QueueFull);
        }
        let body = envelope::body(&message);
        let due = self.batches.add(message.topic, message.ticket, &[&body, key, message.payload], bytes);
        self.publishes += 1;
        self.publish_due(settings, due, io);
        Ok(())
    }

    /// What is set aside in the queue for messages that wait.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.batches.bytes()
    }

    fn publish_due(&mut self, settings: &Settings, due: Due, io: &mut Io<'_>) {
        for (topic, batch) in due.into_iter().flatten() {
            self.publish_batch(settings, topic, batch, io);
        }
    }

    fn publish_batch(&mut self, settings: &Settings, topic: Arc<str>, batch: Batch, io: &mut Io<'_>) {
        let channel = [settings.prefix.as_bytes(), topic.as_bytes()];
        let count = batch.tickets.len();
        let head = envelope::several(count);
        // One has a form of its own, which takes less, and is what other programs may read.
        let several = [&head[..], batch.bodies()];
        let one = [batch.each().next().unwrap_or_default()];
        let body = if count == 1 { &one[..] } else { &several[..] };
        match &settings.history {
            None => {
                let start = envelope::plain(&settings.origin);
                let command = Command::new(io.out(), "PUBLISH", 2).parts(&channel);
                command.parts(&[&[&start[..]], body].concat());
            }
            Some(history) => {
                let trim = self.trim;
                let entries = if trim == Trim::Offsets { 1 } else { count };
                let script = self.run_script(settings, history, Script::Publish, &topic, 2 + entries, io);
                let script = script.parts(&channel).argument(trim.argument());
                if entries == 1 {
                    script.parts(body);
                } else {
                    batch.each().fold(script, |script, body| script.argument(body));
                }
            }
        }
        self.expected.push_back(Expected::Publish(topic, batch.tickets));
    }

    /// Begins the command that runs a script for a topic; `count` arguments have to follow.
    fn run_script<'a>(
        &mut self,
        settings: &Settings,
        history: &History,
        script: Script,
        topic: &str,
        count: usize,
        io: &'a mut Io<'_>,
    ) -> Command<'a> {
        self.epochs = self.epochs.wrapping_add(1);
        let epoch = history::draw(settings.seed, self.epochs);
        let name = match script {
            Script::Publish => &self.scripts.publish,
            Script::Load => &self.scripts.load,
        };
        let key = |end| [settings.prefix.as_bytes(), history::BEFORE_TOPIC, topic.as_bytes(), end];
        let [messages, age, _] = history.arguments();
        Command::new(io.out(), "EVALSHA", 8 + count)
            .argument(name.as_bytes())
            .argument(b"2")
            .parts(&key(history::AFTER_TOPIC_META))
            .parts(&key(history::AFTER_TOPIC_LOG))
            .argument(self.run.as_bytes())
            .argument(format!("{epoch:016x}").as_bytes())
            .argument(messages.as_bytes())
            .argument(age.as_bytes())
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
        let expected = self.expected.pop_front().ok_or_else(|| protocol("an answer that belongs to no command"))?;
        match (expected, reply) {
            (Expected::Publish(topic, tickets), reply) => {
                self.published(settings, &tickets, reply, io)?;
                if let Some(next) = self.batches.answered(&topic) {
                    self.publish_batch(settings, topic, next, io);
                }
                Ok(())
            }
            (Expected::Load(topic), reply) => {
                self.loads = self.loads.saturating_sub(1);
                self.loaded(settings, &topic, reply, io)?;
                self.resume(settings, io);
                Ok(())
            }
            (Expected::Subscribe(topic), Reply::Error(error)) => {
                let step = self.topics.refuse(&topic);
                self.act(settings, &topic, step, &text::shown(error), io);
                refusal::of_use(error).map_or(Ok(()), Err)
            }
            (Expected::Unsubscribe(_) | Expected::Ping, Reply::Error(error)) => {
                Err(BrokerError::Refused(text::shown(error)))
            }
            (Expected::Ping, Reply::Bytes(_)) => {
                self.is_pinging = false;
                Ok(())
            }
            (expected @ (Expected::Subscribe(_) | Expected::Unsubscribe(_) | Expected::Ping), _) => {
                Err(unknown_form(&expected))
            }
            (expected, reply) => self.begun(settings, &expected, reply, io),
        }
    }

    /// An answer to a command that the connection begins with.
    fn begun(
        &mut self,
        settings: &Settings,
        expected: &Expected,
        reply: &Reply<'_>,
        io: &mut Io<'_>,
    ) -> Result<(), BrokerError> {
        if let Reply::Error(error) = reply {
            let credentials = settings.address.credentials.as_ref();
            return Err(refusal::of_connection(error, credentials.map_or(&[], |(_, password)| password)));
        }
        match (expected, reply) {
            (Expected::Hello, reply @ Reply::Map(_)) => {
                let keeps_history = settings.history.is_some();
                let refusal = refusal::of_role(reply.field("mode"), reply.field("role"), keeps_history);
                refusal.map_or(Ok(()), Err)?;
            }
            (Expected::Select, Reply::Bytes(b"OK")) => {}
            (Expected::Info, Reply::Bytes(info)) => {
                self.run = history::run(info).ok_or_else(refusal::of_run)?;
                self.trim = Trim::of(info);
            }
            (Expected::Keep(script), Reply::Bytes(name)) => {
                let is_name = name.len() == 40 && name.iter().all(u8::is_ascii_hexdigit);
                let name = if is_name { String::from_utf8_lossy(name) } else { return Err(unknown_form(expected)) };
                match script {
                    Script::Publish => self.scripts.publish = name.into_owned(),
                    Script::Load => self.scripts.load = name.into_owned(),
                }
                self.keeping = self.keeping.saturating_sub(1);
            }
            _ => return Err(unknown_form(expected)),
        }
        self.beginning = self.beginning.saturating_sub(1);
        if self.beginning == 0 && !self.is_ready {
            self.is_ready = true;
            io.event(Event::Ready { most_bytes: MOST_BYTES });
        }
        Ok(())
    }

    /// The answer to messages of a topic.
    fn published(
        &mut self,
        settings: &Settings,
        tickets: &[u64],
        reply: &Reply<'_>,
        io: &mut Io<'_>,
    ) -> Result<(), BrokerError> {
        self.publishes = self.publishes.saturating_sub(tickets.len());
        if let Reply::Error(error) = reply {
            return self.refused(tickets, error, io);
        }
        let first = match (reply, &settings.history) {
            (Reply::Number, None) => None,
            (reply, Some(_)) => history::first(reply, tickets.len()),
            _ => return Err(protocol("an answer to a message that has an unknown form")),
        };
        if first.is_none() && settings.history.is_some() {
            return Err(protocol("an answer to messages that has an unknown form"));
        }
        for (ticket, behind) in tickets.iter().zip(0..) {
            let position = first.map(|first| Position { offset: first.offset + behind, ..first });
            io.event(Event::Published { ticket: *ticket, position });
        }
        Ok(())
    }

    fn refused(&mut self, tickets: &[u64], error: &[u8], io: &mut Io<'_>) -> Result<(), BrokerError> {
        for ticket in tickets {
            io.event(Event::Refused { ticket: *ticket, reason: text::shown(error) });
        }
        if text::code(error) == NO_SCRIPT {
            self.keep_scripts(io);
        }
        refusal::of_use(error).map_or(Ok(()), Err)
    }

    /// The answer of the script that loads what is kept of a topic.
    fn loaded(
        &mut self,
        settings: &Settings,
        topic: &Arc<str>,
        reply: &Reply<'_>,
        io: &mut Io<'_>,
    ) -> Result<(), BrokerError> {
        let Some(after) = self.topics.is_loading(topic) else { return Ok(()) };
        if let Reply::Error(error) = reply {
            let is_unknown = text::code(error) == NO_SCRIPT;
            if let Some(step) = is_unknown.then(|| self.topics.repeat(topic)).flatten() {
                self.keep_scripts(io);
                self.act(settings, topic, step, "", io);
                return Ok(());
            }
            io.event(Event::Unsubscribed { topic: topic.to_string(), reason: text::shown(error) });
            self.unsubscribe(settings, topic, io);
            return refusal::of_use(error).map_or(Ok(()), Err);
        }
        let Some(loaded) = history::loaded(reply, after, settings.history.map_or(0, |history| history.messages()))
        else {
            return Err(protocol("a history that has an unknown form"));
        };
        let has_missed = self.topics.load(topic, Position { epoch: loaded.base.epoch, offset: loaded.offset });
        io.event(Event::Subscribed { topic: topic.to_string(), history: Some(loaded) });
        if has_missed {
            io.event(Event::Missed { topic: topic.to_string() });
        }
        Ok(())
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

    fn message(&mut self, settings: &Settings, topic: &str, payload: &[u8], io: &mut Io<'_>) {
        let mut report = |message| io.event(Event::Message { topic: topic.to_owned(), message });
        match (settings.history.is_some(), envelope::open(payload)) {
            (true, Envelope::Numbered { last, bodies }) => self.numbered(settings, topic, last, bodies, io),
            // It has no place in the history.
            (true, Envelope::Plain { .. } | Envelope::Foreign(_)) => {}
            (false, _) if !self.topics.has_begun(topic) => {}
            (false, Envelope::Plain { origin, .. }) if origin == settings.origin => {}
            (false, Envelope::Plain { bodies, .. } | Envelope::Numbered { bodies, .. }) => bodies.for_each(report),
            (false, Envelope::Foreign(message)) => report(message),
        }
    }

    /// Messages of a topic with history.
    fn numbered(&mut self, settings: &Settings, topic: &str, last: Position, bodies: Bodies<'_>, io: &mut Io<'_>) {
        let before = last.offset.saturating_sub(bodies.len());
        for (message, previous) in bodies.zip(before..) {
            let offset = previous + 1;
            match self.topics.arrive(topic, Position { offset, ..last }) {
                Arrival::Report => {
                    let message = Stored { offset, previous, ..message };
                    io.event(Event::Message { topic: topic.to_owned(), message });
                }
                Arrival::Drop => {}
                Arrival::Load => self.act(settings, &Arc::from(topic), Step::Load, "", io),
            }
        }
    }

    fn act(&mut self, settings: &Settings, topic: &Arc<str>, step: Step, why: &str, io: &mut Io<'_>) {
        let channel = [settings.prefix.as_bytes(), topic.as_bytes()];
        match step {
            Step::Nothing => {}
            Step::Subscribe | Step::Load if self.loads >= settings.most_loads() => {
                self.topics.hold(topic);
                self.waiting.push_back(Arc::clone(topic));
            }
            Step::Subscribe => {
                Command::new(io.out(), "SUBSCRIBE", 1).parts(&channel);
                self.expected.push_back(Expected::Subscribe(Arc::clone(topic)));
                self.load(settings, topic, io);
            }
            Step::Unsubscribe => {
                Command::new(io.out(), "UNSUBSCRIBE", 1).parts(&channel);
                self.expected.push_back(Expected::Unsubscribe(Arc::clone(topic)));
            }
            Step::Load => self.load(settings, topic, io),
            Step::Report => io.event(Event::Subscribed { topic: topic.to_string(), history: None }),
            Step::ReportEnd => io.event(Event::Unsubscribed { topic: topic.to_string(), reason: why.to_owned() }),
        }
    }

    /// Goes on with topics that had to wait.
    fn resume(&mut self, settings: &Settings, io: &mut Io<'_>) {
        while self.loads < settings.most_loads() {
            let Some(topic) = self.waiting.pop_front() else { return };
            let step = self.topics.resume(&topic);
            self.act(settings, &topic, step, "", io);
        }
    }

    /// Asks for what is kept of a topic.
    fn load(&mut self, settings: &Settings, topic: &Arc<str>, io: &mut Io<'_>) {
        let Some(history) = &settings.history else { return };
        let [_, _, bytes] = history.arguments();
        self.run_script(settings, history, Script::Load, topic, 1, io).argument(bytes.as_bytes());
        self.expected.push_back(Expected::Load(Arc::clone(topic)));
        self.loads += 1;
    }
}

impl Settings {
    /// How many topics may be loaded at once. Without history none is.
    fn most_loads(&self) -> usize {
        self.history.as_ref().map_or(usize::MAX, History::most_loads)
    }

    /// What one reply may have: a message, its key and what is around it, or a history. `HELLO` lists all modules of the server, a dozen
    /// elements each.
    pub(crate) fn bounds(&self) -> Bounds {
        let (bytes, messages) =
            self.history.as_ref().map_or((0, 0), |history| (history.most_load_bytes(), history.messages()));
        Bounds {
            reply_bytes: bytes.max(MOST_BYTES) + messages * resp::ARGUMENT_BYTES + 1024 * 1024,
            elements: messages + 4096,
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

fn unknown_form(expected: &Expected) -> BrokerError {
    let command = match expected {
        Expected::Hello => "HELLO",
        Expected::Select => "SELECT",
        Expected::Info => "INFO",
        Expected::Keep(_) => "SCRIPT LOAD",
        Expected::Subscribe(_) => "SUBSCRIBE",
        Expected::Unsubscribe(_) => "UNSUBSCRIBE",
        Expected::Publish(..) => "PUBLISH",
        Expected::Load(_) => "EVALSHA",
        Expected::Ping => "PING",
    };
    BrokerError::Protocol(format!("an answer to {command} that has an unknown form"))
}

/// What the connection is called in `CLIENT LIST`.
const NAME: &[u8] = b"sockeye-redis";

/// The longest payload, with its key. Redis disconnects a subscriber that has 32 MiB waiting, unless told otherwise.
pub(crate) const MOST_BYTES: usize = 16 * 1024 * 1024;

/// The longest name of a topic. Redis has no limit that matters.
const NAME_BYTES: usize = 64 * 1024;

/// The most that a command takes which publishes, apart from names, key and payload.
const COMMAND_BYTES: usize = 13 * resp::ARGUMENT_BYTES + 256;

/// How many messages may be without an answer.
const PUBLISHES: usize = 65_536;

/// The server does not have the script: its scripts were flushed, or a replica has taken its place.
const NO_SCRIPT: &[u8] = b"NOSCRIPT";
