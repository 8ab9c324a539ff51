//! Tests of the connection. Every stream is fed in several ways that must give the same result, see
//! [`check`].

mod closing;
mod codec;
mod deflate;
mod frames;
mod keepalive;
mod limits;
mod random;
mod sending;
mod text;

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::{Connection, HEADROOM, Inflation, Input, State};
use crate::close::Closed;
use crate::error::Violation;
use crate::event::{Event, Fragment};
use crate::limits::ProtocolLimits;
use crate::time::Instant;
use crate::wire::{EncodedHeader, MessageKind, OpCode, Role, mask};

const BOTH: [Role; 2] = [Role::Server, Role::Client];
const NOW: Instant = Instant::from_nanos(1_000_000_000);
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// What a connection reported, independent of how its input was cut.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Received {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Failed(Violation),
}

/// All results of a stream.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Log {
    received: Vec<Received>,
    /// The reported bytes of an unfinished message.
    unfinished: Vec<u8>,
    /// Control frames transmitted.
    output: Vec<u8>,
    state: State,
    closed: Closed,
}

/// A way to feed a stream to a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    /// Like a normal caller.
    Usual,
    /// Without the fast path for whole messages.
    General,
    /// Stopping after each event, and continuing with the rest in another buffer.
    Pausing,
    /// In pieces of so many bytes at most.
    Pieces(usize),
    /// The rest of binary frames where the message is, whenever a read begins in one.
    InPlace,
}

/// Feeds a connection and records what it reports. Asserts the properties of each piece.
struct Recorder {
    connection: Connection,
    way: Way,
    received: Vec<Received>,
    message: Option<(MessageKind, Vec<u8>)>,
    output: Vec<u8>,
    inflation: Inflation,
    inflater: codec::Inflater,
    /// How many bytes an inflated piece may have.
    room: usize,
}

impl Recorder {
    fn new(mut connection: Connection, way: Way) -> Self {
        let receive = connection.deflate().map_or(codec::NO_TAKEOVER, |agreed| agreed.receive);
        if let Way::Pieces(most) = way {
            let mut limits = ProtocolLimits::clone(connection.limits());
            limits.piece_bytes = Some(most);
            connection.set_limits(Arc::new(limits));
        }
        let inflation = Inflation::new(receive);
        let inflater = codec::Inflater::default();
        Self {
            connection,
            way,
            received: Vec::new(),
            message: None,
            output: Vec::new(),
            inflation,
            inflater,
            room: 64 * 1024,
        }
    }

    /// Feeds one read.
    fn read(&mut self, bytes: &[u8]) {
        let mut rest = self.read_in_place(bytes).to_vec();
        while let Some(after) = self.read_some(&rest) {
            rest = after;
        }
        self.connection.receive_done(NOW);
    }

    /// Feeds what belongs to the frame in progress where its message is, and returns the rest.
    fn read_in_place<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let missing = self.connection.missing_in_place();
        if self.way != Way::InPlace || missing == 0 {
            return bytes;
        }
        let (piece, rest) = bytes.split_at(bytes.len().min(missing as usize));
        let (kind, message) = self.message.as_mut().expect("a piece of it was reported");
        assert_eq!(*kind, MessageKind::Binary);
        let held = message.len();
        message.extend_from_slice(piece);
        let seen = self.connection.receive_in_place(Input::new(message, held));
        assert_eq!((seen.bytes, seen.remaining), (piece.len(), missing - piece.len() as u64));
        assert!(!seen.last || seen.remaining == 0);
        if seen.last {
            let (_, message) = self.message.take().unwrap();
            self.received.push(Received::Binary(message));
        }
        rest
    }

    /// Feeds `bytes` until they are used up, or until the next event if the way is `Pausing`.
    fn read_some(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut buffer = vec![0xee; HEADROOM];
        buffer.extend_from_slice(bytes);
        let mut input = Input::new(&mut buffer, HEADROOM);
        loop {
            let event = match self.way {
                Way::General => self.connection.receive_any(&mut input),
                Way::Usual | Way::Pausing | Way::Pieces(_) | Way::InPlace => self.connection.receive(&mut input),
            };
            match event {
                Ok(Some(Event::Compressed)) => self.inflate(&mut input),
                Ok(Some(event)) => self.record(event),
                Ok(None) => {
                    assert!(input.is_empty() && !self.connection.has_more());
                    return None;
                }
                Err(violation) => {
                    assert!(input.is_empty());
                    self.received.push(Received::Failed(violation));
                }
            }
            self.connection.transmit(&mut self.output, &mut || KEY);
            if self.way == Way::Pausing {
                return Some(input.into_rest().to_vec());
            }
        }
    }

    fn inflate(&mut self, input: &mut Input<'_>) {
        let mut output = vec![0xee; self.room];
        if !self.inflation.is_within() {
            // Any codec will do.
            self.inflater = codec::Inflater::default();
            if !self.inflation.is_needed() {
                let receive = self.connection.deflate().expect("compressed messages were agreed on").receive;
                self.inflation = Inflation::new(receive);
            }
        }
        match self.connection.inflate(input, &mut self.inflation, &mut self.inflater, &mut output) {
            Ok(None) => {}
            Ok(Some(fragment)) => self.record_fragment(&fragment),
            Err(violation) => {
                assert!(input.is_empty() && !self.inflation.is_needed());
                self.received.push(Received::Failed(violation));
            }
        }
    }

    fn record(&mut self, event: Event<'_>) {
        match event {
            Event::Compressed => unreachable!("it is inflated"),
            Event::Fragment(fragment) => self.record_fragment(&fragment),
            Event::Ping(payload) => self.received.push(Received::Ping(payload.to_vec())),
            Event::Pong(payload) => self.received.push(Received::Pong(payload.to_vec())),
            Event::Close(frame) => self.received.push(Received::Close(frame.code, frame.reason.to_string())),
        }
    }

    fn record_fragment(&mut self, fragment: &Fragment<'_>) {
        assert_eq!(fragment.first, self.message.is_none());
        assert_eq!(fragment.kind, fragment.payload.kind());
        assert!(fragment.last || !fragment.payload.as_bytes().is_empty());
        assert!(!fragment.last || fragment.remaining == 0);
        if let Way::Pieces(most) = self.way {
            assert!(fragment.payload.as_bytes().len() <= most);
        }
        let (kind, bytes) = self.message.get_or_insert((fragment.kind, Vec::new()));
        assert_eq!(*kind, fragment.kind);
        bytes.extend_from_slice(fragment.payload.as_bytes());
        if fragment.last {
            let (kind, bytes) = self.message.take().unwrap();
            self.received.push(match kind {
                MessageKind::Text => Received::Text(String::from_utf8(bytes).unwrap()),
                MessageKind::Binary => Received::Binary(bytes),
            });
        }
    }

    fn finish(self) -> Log {
        let failed = matches!(self.received.last(), Some(Received::Failed(_)));
        Log {
            received: self.received,
            // How much of a message is reported before its bad byte depends on the cuts.
            unfinished: self.message.filter(|_| !failed).map(|(_, bytes)| bytes).unwrap_or_default(),
            output: self.output,
            state: self.connection.state(),
            closed: self.connection.closed(),
        }
    }
}

/// A new connection.
fn open(role: Role) -> Connection {
    with_limits(role, ProtocolLimits::default())
}

fn with_limits(role: Role, limits: ProtocolLimits) -> Connection {
    Connection::new(role, Arc::new(limits), NOW)
}

fn feed<'s>(connection: Connection, way: Way, reads: impl IntoIterator<Item = &'s [u8]>) -> Log {
    let mut recorder = Recorder::new(connection, way);
    for read in reads {
        recorder.read(read);
    }
    recorder.finish()
}

/// The log of `stream`. Asserts that it is the same in one read, on the general path, with pauses, in short pieces,
/// one byte at a time, and in two reads cut at every byte.
fn check_with(make: impl Fn() -> Connection, stream: &[u8]) -> Log {
    let log = feed(make(), Way::Usual, [stream]);
    for way in [Way::General, Way::Pausing, Way::Pieces(4), Way::Pieces(5), Way::Pieces(7), Way::Pieces(1 << 20)] {
        assert_eq!(feed(make(), way, [stream]), log, "{way:?}");
    }
    for way in [Way::Usual, Way::General, Way::Pausing, Way::Pieces(4), Way::InPlace] {
        assert_eq!(feed(make(), way, stream.chunks(1)), log, "{way:?}, one byte at a time");
    }
    for cut in 0..=stream.len() {
        let (front, back) = stream.split_at(cut);
        for way in [Way::Usual, Way::Pieces(4), Way::InPlace] {
            assert_eq!(feed(make(), way, [front, back]), log, "{way:?}, cut at {cut}");
        }
    }
    log
}

fn check(role: Role, stream: &[u8]) -> Log {
    check_with(|| open(role), stream)
}

/// Asserts that `stream` fails at its last byte and not before, whether that byte arrives alone or
/// with the others.
fn check_fails(role: Role, stream: &[u8], violation: Violation) {
    check_fails_with(|| open(role), stream, violation);
}

fn check_fails_with(make: impl Fn() -> Connection, stream: &[u8], violation: Violation) {
    let before = check_with(&make, &stream[..stream.len() - 1]);
    assert!(
        !before.received.iter().any(|received| matches!(received, Received::Failed(_))),
        "too early: {stream:x?} {before:?}"
    );
    let log = check_with(&make, stream);
    assert_eq!(log.received.last(), Some(&Received::Failed(violation)), "{stream:x?}");
    assert_eq!(log.state, State::Draining);
    // What follows is ignored.
    let mut more = stream.to_vec();
    more.extend_from_slice(&[0x89, 0x80, 1, 2, 3, 4, 0xff, 0xff]);
    assert_eq!(check_with(&make, &more), log);
}

/// A frame as the peer of `role` sends it.
fn frame(role: Role, first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(role, first, payload.len() as u64);
    let start = bytes.len();
    bytes.extend_from_slice(payload);
    if role == Role::Server {
        mask::apply(&mut bytes[start..], KEY, 0);
    }
    bytes
}

/// The header of a frame as the peer of `role` sends it.
fn header(role: Role, first: u8, len: u64) -> Vec<u8> {
    let mut bytes =
        EncodedHeader::new(false, 0, OpCode::Continuation, len, (role == Role::Server).then_some(KEY)).to_vec();
    bytes[0] = first;
    bytes
}

/// The second byte of a header from the peer of `role`.
fn second(role: Role, field: u8) -> u8 {
    if role == Role::Server { 0x80 | field } else { field }
}

#[test]
fn a_connection_is_small() {
    assert!(size_of::<Connection>() <= 152, "{}", size_of::<Connection>());
    assert!(size_of::<Result<Option<Event<'_>>, Violation>>() <= 40);
}
