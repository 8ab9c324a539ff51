//! A dialogue whose broker is the test.

use sockeye::proto::wire::MessageKind;
use sockeye_hub::backplane::{Backplane, BrokerError, Event, Io, Position, Publish, PublishError};
use sockeye_nats::{History, Nats};

/// A backplane, and what it says to its broker.
pub(crate) struct Scripted {
    pub(crate) nats: Nats,
    pub(crate) out: Vec<u8>,
    pub(crate) events: Vec<Event>,
    /// In pieces of how many bytes the broker's words arrive.
    pub(crate) size: usize,
    pub(crate) wants_tls: bool,
    pub(crate) room: usize,
}

impl Scripted {
    pub(crate) fn new(nats: Nats, size: usize) -> Self {
        let mut scripted = Self { nats, out: Vec::new(), events: Vec::new(), size, wants_tls: false, room: 1 << 20 };
        scripted.act(|nats, io| nats.opened(io));
        scripted
    }

    pub(crate) fn act<T>(&mut self, act: impl FnOnce(&mut Nats, &mut Io<'_>) -> T) -> T {
        let mut io = Io::new(&mut self.out, &mut self.events, self.room);
        let result = act(&mut self.nats, &mut io);
        self.wants_tls |= io.wants_tls();
        result
    }

    pub(crate) fn hears(&mut self, bytes: &[u8]) -> Result<(), BrokerError> {
        bytes.chunks(self.size).try_for_each(|piece| self.act(|nats, io| nats.receive(piece, io)))
    }

    /// What was sent since the last look.
    pub(crate) fn said(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.out)).into_owned()
    }

    pub(crate) fn happened(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    pub(crate) fn ticks(&mut self, seconds: u32) {
        for _ in 0..seconds {
            self.act(|nats, io| nats.tick(io));
        }
    }

    pub(crate) fn publish(&mut self, ticket: u64, topic: &str, payload: &[u8]) -> Result<(), PublishError> {
        self.act(|nats, io| nats.publish(Publish { ticket, topic, kind: MessageKind::Text, key: None, payload }, io))
    }

    /// Answers the last request that was sent, by its inbox.
    pub(crate) fn answers(&mut self, headers: &str, json: &str) -> Result<(), BrokerError> {
        let said = self.said();
        let inbox =
            said.split_whitespace().rev().find(|word| word.starts_with("_INBOX.") && !word.ends_with('*')).unwrap();
        let (inbox, total) = (inbox.to_owned(), headers.len() + json.len());
        let line = if headers.is_empty() {
            format!("MSG {inbox} 1 {total}")
        } else {
            format!("HMSG {inbox} 1 {} {total}", headers.len())
        };
        self.hears(format!("{line}\r\n{headers}{json}\r\n").as_bytes())
    }
}

pub(crate) fn nats() -> Nats {
    Nats::new("nats://h").unwrap()
}

pub(crate) fn ready(nats: Nats, size: usize) -> Scripted {
    let mut scripted = Scripted::new(nats, size);
    scripted.hears(INFO).unwrap();
    scripted.hears(b"PONG\r\n").unwrap();
    scripted
}

/// With a stream whose epoch is 5.
pub(crate) fn ready_with_history(size: usize) -> Scripted {
    let mut scripted = ready(nats().history(History::new(3)).unwrap(), size);
    scripted.answers("", &stream("")).unwrap();
    assert_eq!(scripted.happened().len(), 1);
    scripted
}

/// What JetStream says of a stream, with `state`.
pub(crate) fn stream(state: &str) -> String {
    format!(
        r#"{{"type":"x","config":{{"subjects":["sockeye.in.>"],"retention":"limits","discard":"old","max_msgs_per_subject":3,"max_age":0,"republish":{{"src":"sockeye.in.>","dest":"sockeye.out.>"}}}},"created":"1970-01-01T00:00:00.000000005Z","state":{{{state}}}}}"#
    )
}

pub(crate) fn republished(sid: u64, sequence: u64, last: u64, text: &str) -> String {
    let headers =
        format!("NATS/1.0\r\nNats-Stream: SOCKEYE\r\nNats-Sequence: {sequence}\r\nNats-Last-Sequence: {last}\r\n\r\n");
    format!("HMSG sockeye.out.t {sid} {} {}\r\n{headers}{text}\r\n", headers.len(), headers.len() + text.len())
}

/// Subscribes to `t`, with two messages in the stream up to number 9. The consumer's messages go to the subscription 3.
pub(crate) fn reading(size: usize) -> Scripted {
    let mut scripted = ready_with_history(size);
    let after = Some(Position { epoch: 5, offset: 0 });
    scripted.act(|nats, io| nats.subscribe("t", after, io)).unwrap();
    assert!(scripted.out.starts_with(b"SUB sockeye.out.t 2\r\nPING\r\nPUB $JS.API.STREAM.INFO.SOCKEYE "));
    scripted.answers("", &stream(r#""first_seq":1,"last_seq":9,"subjects":{"sockeye.in.t":2}"#)).unwrap();
    scripted.answers("", r#"{"name":"c"}"#).unwrap();
    scripted
}

/// Numbers of messages, each with that of the one before.
pub(crate) fn places(events: &[Event]) -> Vec<(u64, u64)> {
    let place = |event: &Event| match event {
        Event::Message { message, .. } => (message.offset, message.previous),
        other => panic!("{other:?}"),
    };
    events.iter().map(place).collect()
}

pub(crate) const INFO: &[u8] =
    b"INFO {\"server_name\":\"n\",\"headers\":true,\"max_payload\":1000,\"jetstream\":true} \r\n";
pub(crate) const SIZES: [usize; 4] = [1, 2, 7, 10_000];
