//! What a hub does with a backplane, with a blocking socket.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use sockeye::proto::wire::MessageKind;
use sockeye_hub::backplane::{Backplane, BrokerError, Event, Io, Loaded, Position, Publish, PublishError, Stored};
use sockeye_redis::Redis;

use crate::redis::{LIMIT, Server};

/// How much a hub lets wait for the broker.
const QUEUE_BYTES: usize = 32 * 1024 * 1024;

/// A server's side of a broker.
pub(crate) struct Hub {
    redis: Redis,
    stream: Option<UnixStream>,
    events: VecDeque<Event>,
    ticket: u64,
    /// The server is to be taken for one of version 6.0.
    is_old: bool,
}

/// The URL is that of the credentials only: the connection goes to the socket.
pub(crate) fn hub(server: &Server) -> Hub {
    Hub::connected(Redis::new("redis://localhost").expect("a URL"), server)
}

impl Hub {
    /// Connects, and waits until the broker has accepted it.
    pub(crate) fn connected(redis: Redis, server: &Server) -> Self {
        let mut hub = Self::refused_or_connected(redis, server).unwrap_or_else(|error| panic!("{error}"));
        hub.expect_ready();
        hub
    }

    /// The same for a server that is taken for one that drops old messages by their number only.
    pub(crate) fn connected_as_old(redis: Redis, server: &Server) -> Self {
        let mut hub = Self::try_connect(redis, server, true).unwrap_or_else(|error| panic!("{error}"));
        hub.expect_ready();
        hub
    }

    /// Connects, and waits for the first event.
    pub(crate) fn refused_or_connected(redis: Redis, server: &Server) -> Result<Self, BrokerError> {
        Self::try_connect(redis, server, false)
    }

    fn try_connect(redis: Redis, server: &Server, is_old: bool) -> Result<Self, BrokerError> {
        let mut hub = Self { redis, stream: None, events: VecDeque::new(), ticket: 0, is_old };
        hub.open(server);
        while hub.events.is_empty() {
            hub.receive("the first event")?;
        }
        Ok(hub)
    }

    /// Connects again.
    pub(crate) fn reconnect(&mut self, server: &Server) {
        self.open(server);
        self.expect_ready();
    }

    fn open(&mut self, server: &Server) {
        let stream = UnixStream::connect(server.socket()).expect("a server");
        stream.set_read_timeout(Some(LIMIT)).expect("a socket");
        stream.set_write_timeout(Some(LIMIT)).expect("a socket");
        self.stream = Some(stream);
        self.call(|redis, io| redis.opened(io));
    }

    fn expect_ready(&mut self) {
        let event = self.event("Ready");
        assert!(matches!(event, Event::Ready { most_bytes } if most_bytes > 1_000_000), "{event:?}");
    }

    /// Reads until the server has closed the connection, and drops what else arrived.
    pub(crate) fn expect_lost(&mut self) {
        while self.receive("the end of the connection").expect("no error but the end") {}
        self.events.clear();
        self.stream = None;
        self.redis.lost();
    }

    /// Subscribes, and does not wait.
    pub(crate) fn subscribe(&mut self, topic: &str, after: Option<Position>) {
        self.call(|redis, io| redis.subscribe(topic, after, io)).expect("a name");
    }

    /// Subscribes, and waits until that has begun.
    pub(crate) fn subscribed(&mut self, topic: &str) {
        self.subscribe(topic, None);
        assert_eq!(self.event("Subscribed"), Event::Subscribed { topic: topic.to_owned(), history: None });
    }

    /// Subscribes with history, and waits for what is kept.
    pub(crate) fn loaded(&mut self, topic: &str, after: Option<Position>) -> Loaded {
        self.subscribe(topic, after);
        self.reloaded(topic)
    }

    /// Waits for what is kept.
    pub(crate) fn reloaded(&mut self, topic: &str) -> Loaded {
        match self.event("Subscribed") {
            Event::Subscribed { topic: found, history: Some(loaded) } if found == topic => loaded,
            event => panic!("{event:?} instead of Subscribed with history"),
        }
    }

    pub(crate) fn unsubscribe(&mut self, topic: &str) {
        self.call(|redis, io| redis.unsubscribe(topic, io));
    }

    /// Publishes a text, and does not wait.
    pub(crate) fn publish(&mut self, topic: &str, text: &str) -> u64 {
        self.try_publish(topic, MessageKind::Text, None, text.as_bytes()).expect("room")
    }

    /// Publishes a text, and waits until the broker has it. Messages that arrive before that are kept for later.
    pub(crate) fn published(&mut self, topic: &str, text: &str) -> Option<Position> {
        let sent = self.publish(topic, text);
        let mut others = VecDeque::new();
        loop {
            match self.event("Published") {
                Event::Published { ticket, position } if ticket == sent => {
                    others.append(&mut self.events);
                    self.events = others;
                    return position;
                }
                event @ Event::Message { .. } => others.push_back(event),
                event => panic!("{event:?}"),
            }
        }
    }

    pub(crate) fn try_publish(
        &mut self,
        topic: &str,
        kind: MessageKind,
        key: Option<&[u8]>,
        payload: &[u8],
    ) -> Result<u64, PublishError> {
        self.ticket += 1;
        let ticket = self.ticket;
        self.call(|redis, io| redis.publish(Publish { ticket, topic, kind, key, payload }, io))?;
        Ok(ticket)
    }

    pub(crate) fn ping(&mut self) {
        self.call(|redis, io| redis.ping(io));
    }

    /// The next event; `what` names it if it does not come.
    pub(crate) fn event(&mut self, what: &str) -> Event {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            match self.receive(what) {
                Ok(true) => {}
                Ok(false) => panic!("the connection has ended instead of {what}"),
                Err(error) => panic!("{error} instead of {what}"),
            }
        }
    }

    /// The error that ends the connection.
    pub(crate) fn error(&mut self, what: &str) -> BrokerError {
        loop {
            match self.receive(what) {
                Ok(true) => {}
                Ok(false) => panic!("the connection has ended instead of {what}"),
                Err(error) => return error,
            }
        }
    }

    /// The next event, which has to be a message.
    pub(crate) fn message(&mut self) -> (String, Stored) {
        match self.event("a message") {
            Event::Message { topic, message } => (topic, message),
            event => panic!("{event:?} instead of a message"),
        }
    }

    /// The text of the next event, which has to be a message of `topic`.
    pub(crate) fn text(&mut self, topic: &str) -> String {
        let (found, message) = self.message();
        assert_eq!((found.as_str(), message.kind), (topic, MessageKind::Text));
        String::from_utf8(message.payload).expect("a text")
    }

    /// Reads what is there, or waits for something. False at the end of the connection.
    fn receive(&mut self, what: &str) -> Result<bool, BrokerError> {
        let mut bytes = [0; 16 * 1024];
        let stream = self.stream.as_mut().expect("a connection");
        let count = match stream.read(&mut bytes) {
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("waited for {what}: {error}"),
        };
        if self.is_old {
            let version = b"redis_version:";
            if let Some(at) = bytes.windows(version.len()).position(|window| window == version) {
                let rest = &mut bytes[at + version.len()..];
                let end = rest.iter().position(|byte| *byte == b'\r').expect("the end of a line");
                rest[..end].fill(b' ');
                rest[..3].copy_from_slice(b"6.0");
                self.is_old = false;
            }
        }
        if count > 0 {
            self.call(|redis, io| redis.receive(&bytes[..count], io))?;
        }
        Ok(count > 0)
    }

    fn call<R>(&mut self, act: impl FnOnce(&mut Redis, &mut Io<'_>) -> R) -> R {
        let (mut out, mut events) = (Vec::new(), Vec::new());
        let result = act(&mut self.redis, &mut Io::new(&mut out, &mut events, QUEUE_BYTES));
        self.events.extend(events);
        // A server that is gone is noticed where something is read.
        let _ = self.stream.as_mut().expect("a connection").write_all(&out);
        result
    }
}
