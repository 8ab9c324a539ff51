//! A hub's part, with a blocking socket: bytes between a [`Nats`] and a server, and waits with an end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use sockeye::proto::wire::MessageKind;
use sockeye_hub::backplane::{Backplane, BrokerError, Event, Io, Loaded, Position, Publish, PublishError, Stored};
use sockeye_nats::Nats;

const LIMIT: Duration = Duration::from_secs(30);
const ROOM: usize = 64 << 20;

pub(crate) struct Hub {
    pub(crate) nats: Nats,
    socket: TcpStream,
    /// What has happened and was not waited for.
    pub(crate) events: Vec<Event>,
    tickets: u64,
    pub(crate) most_bytes: usize,
}

impl Hub {
    pub(crate) fn connect(nats: Nats, address: SocketAddr) -> Self {
        Self::try_connect(nats, address).unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn try_connect(nats: Nats, address: SocketAddr) -> Result<Self, BrokerError> {
        let socket = TcpStream::connect_timeout(&address, LIMIT).expect("a connection");
        socket.set_read_timeout(Some(LIMIT)).expect("a limit");
        socket.set_write_timeout(Some(LIMIT)).expect("a limit");
        let mut hub = Self { nats, socket, events: Vec::new(), tickets: 0, most_bytes: 0 };
        hub.act(|nats, io| nats.opened(io));
        hub.most_bytes = hub.try_wait("ready", |event| match event {
            Event::Ready { most_bytes } => Some(*most_bytes),
            _ => None,
        })?;
        Ok(hub)
    }

    /// The same backplane on another connection.
    pub(crate) fn reconnect(mut self, address: SocketAddr) -> Self {
        self.nats.lost();
        Self::connect(self.nats, address)
    }

    pub(crate) fn act<T>(&mut self, act: impl FnOnce(&mut Nats, &mut Io<'_>) -> T) -> T {
        let mut out = Vec::new();
        let mut io = Io::new(&mut out, &mut self.events, ROOM);
        let result = act(&mut self.nats, &mut io);
        assert!(!io.wants_tls(), "nobody asked for TLS");
        // A broken connection is seen by reading.
        let _ = self.socket.write_all(&out);
        result
    }

    /// Waits until `find` finds something in an event, which is taken.
    pub(crate) fn try_wait<T>(&mut self, what: &str, find: impl Fn(&Event) -> Option<T>) -> Result<T, BrokerError> {
        let start = Instant::now();
        let mut looked = 0;
        loop {
            for at in looked..self.events.len() {
                if let Some(found) = find(&self.events[at]) {
                    self.events.remove(at);
                    return Ok(found);
                }
            }
            looked = self.events.len();
            assert!(start.elapsed() < LIMIT, "waited for {what}; there are {:?}", self.events);
            self.receive(what)?;
        }
    }

    pub(crate) fn wait<T>(&mut self, what: &str, find: impl Fn(&Event) -> Option<T>) -> T {
        self.try_wait(what, find).unwrap_or_else(|error| panic!("waited for {what}: {error}"))
    }

    fn receive(&mut self, what: &str) -> Result<(), BrokerError> {
        let mut bytes = vec![0; 64 << 10];
        let count = match self.socket.read(&mut bytes) {
            Ok(0) => return Err(BrokerError::Protocol("the end".to_owned())),
            Ok(count) => count,
            Err(error) => panic!("waited for {what}: {error}; there are {:?}", self.events),
        };
        self.act(|nats, io| nats.receive(&bytes[..count], io))
    }

    /// Waits until the connection ends.
    pub(crate) fn wait_for_end(&mut self) -> BrokerError {
        let start = Instant::now();
        loop {
            assert!(start.elapsed() < LIMIT, "waited for the end of the connection");
            if let Err(error) = self.receive("the end of the connection") {
                return error;
            }
        }
    }

    /// Waits until the broker has looked at all that was sent, and what it sent before is here.
    pub(crate) fn settle(&mut self) {
        self.subscribe_after("settled", None);
        self.act(|nats, io| nats.unsubscribe("settled", io));
    }

    pub(crate) fn subscribe(&mut self, topic: &str) -> Option<Loaded> {
        self.subscribe_after(topic, None)
    }

    pub(crate) fn subscribe_after(&mut self, topic: &str, after: Option<Position>) -> Option<Loaded> {
        self.act(|nats, io| nats.subscribe(topic, after, io)).expect("a name");
        self.wait("a subscription", |event| match event {
            Event::Subscribed { topic: subscribed, history } if subscribed == topic => Some(history.clone()),
            _ => None,
        })
    }

    pub(crate) fn send(
        &mut self,
        topic: &str,
        kind: MessageKind,
        key: Option<&[u8]>,
        payload: &[u8],
    ) -> Result<u64, PublishError> {
        self.tickets += 1;
        let ticket = self.tickets;
        self.act(|nats, io| nats.publish(Publish { ticket, topic, kind, key, payload }, io))?;
        Ok(ticket)
    }

    pub(crate) fn text(&mut self, topic: &str, text: &str) -> u64 {
        self.send(topic, MessageKind::Text, None, text.as_bytes()).expect("a message that can be sent")
    }

    /// Waits until a message is taken.
    pub(crate) fn published(&mut self, ticket: u64) -> Option<Position> {
        self.wait("a confirmation", |event| match event {
            Event::Published { ticket: published, position } if *published == ticket => Some(*position),
            Event::Refused { ticket: refused, reason } if *refused == ticket => panic!("refused: {reason}"),
            _ => None,
        })
    }

    pub(crate) fn refused(&mut self, ticket: u64) -> String {
        self.wait("a refusal", |event| match event {
            Event::Published { ticket: published, .. } if *published == ticket => panic!("published"),
            Event::Refused { ticket: refused, reason } if *refused == ticket => Some(reason.clone()),
            _ => None,
        })
    }

    /// Waits until a message is refused and the connection ends with it.
    pub(crate) fn refused_then_ended(&mut self, ticket: u64) -> String {
        let error = self.wait_for_end();
        let is_refusal = |event: &Event| matches!(event, Event::Refused { ticket: refused, .. } if *refused == ticket);
        assert!(self.events.iter().any(is_refusal), "{error}: {:?}", self.events);
        error.to_string()
    }

    pub(crate) fn publish(&mut self, topic: &str, text: &str) -> Option<Position> {
        let ticket = self.text(topic, text);
        self.published(ticket)
    }

    /// The next message of a topic.
    pub(crate) fn message(&mut self, topic: &str) -> Stored {
        self.wait(&format!("a message of {topic:?}"), |event| match event {
            Event::Message { topic: of, message } if of == topic => Some(message.clone()),
            _ => None,
        })
    }

    pub(crate) fn texts(&mut self, topic: &str, count: usize) -> Vec<String> {
        (0..count).map(|_| text_of(&self.message(topic))).collect()
    }
}

pub(crate) fn text_of(message: &Stored) -> String {
    String::from_utf8_lossy(&message.payload).into_owned()
}

/// A client that speaks the protocol as anybody may.
pub(crate) struct Client {
    socket: TcpStream,
    seen: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect_timeout(&address, LIMIT).expect("a connection");
        socket.set_read_timeout(Some(LIMIT)).expect("a limit");
        let mut client = Self { socket, seen: Vec::new() };
        client.send(
            b"CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\nSUB _INBOX.client 1\r\nPING\r\n",
        );
        client.wait("PONG\r\n");
        client
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("bytes that can be sent");
    }

    /// All that has arrived up to and with `end`.
    pub(crate) fn wait(&mut self, end: &str) -> String {
        let start = Instant::now();
        loop {
            if let Some(at) = self.seen.windows(end.len()).position(|window| window == end.as_bytes()) {
                let rest = self.seen.split_off(at + end.len());
                return String::from_utf8_lossy(&std::mem::replace(&mut self.seen, rest)).into_owned();
            }
            assert!(start.elapsed() < LIMIT, "waited for {end:?}");
            let mut bytes = [0; 4096];
            let count = self.socket.read(&mut bytes).unwrap_or_else(|error| panic!("waited for {end:?}: {error}"));
            assert!(count > 0, "waited for {end:?}; the connection has ended");
            self.seen.extend_from_slice(&bytes[..count]);
        }
    }

    /// Publishes, and waits until that is done.
    pub(crate) fn publish(&mut self, subject: &str, payload: &[u8]) {
        self.send(format!("PUB {subject} {}\r\n", payload.len()).as_bytes());
        self.send(payload);
        self.send(b"\r\nPING\r\n");
        self.wait("PONG\r\n");
    }

    /// Asks JetStream for something.
    pub(crate) fn ask(&mut self, name: &str, body: &str) -> String {
        self.send(format!("PUB $JS.API.{name} _INBOX.client {}\r\n{body}\r\n", body.len()).as_bytes());
        self.wait("\"type\":");
        self.wait("}\r\n")
    }
}
