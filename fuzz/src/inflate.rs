//! Compressed messages: the same messages, control frames and violation however the bytes and the output are cut, within the
//! limits; and what our own side compressed is what the other receives.

use std::cell::RefCell;
use std::slice;
use std::sync::Arc;

use sockeye_proto::conn::{Codec, Connection, Deflation, HEADROOM, Inflation, Input, LEAST_OUTPUT};
use sockeye_proto::deflate::{Deflate, Inflate, Inflated, Stop};
use sockeye_proto::event::Event;
use sockeye_proto::ext::deflate::{Agreed, Direction};
use sockeye_proto::limits::ProtocolLimits;
use sockeye_proto::message::Assembler;
use sockeye_proto::time::Instant;
use sockeye_proto::wire::{MessageKind, Role};
use zlib_rs::{DeflateFlush, InflateFlush, Status};

use crate::Cut;

/// Small, so that short inputs reach it.
const MESSAGE_BYTES: u64 = 6000;

/// Enough for any message, so that only the room differs.
const LARGE: usize = 8 * 1024;

pub fn check(data: &[u8]) {
    let Some((&[choice, room], data)) = data.split_first_chunk() else { return };
    let both =
        Direction { window: (8 + choice % 8).try_into().expect("a window from 8 to 15"), takeover: choice & 8 != 0 };
    let room = LEAST_OUTPUT + usize::from(room) * usize::from(room);
    let pieces = (choice & 0x40 != 0).then_some(room);
    if choice & 0x80 != 0 {
        return made_here(both, room, data);
    }
    let role = if choice & 0x10 == 0 { Role::Client } else { Role::Server };
    let cut = Cut::new(data);
    let whole = run(role, both, (LARGE, None), slice::from_ref(&cut.data).iter().copied());
    let cut_up = run(role, both, (room, pieces), cut.pieces());
    assert_eq!(whole, cut_up, "{role:?}, {both:?}, cut into pieces of {}, room for {room}", cut.step);
}

/// Everything about a connection that must not depend on how its input and its output are cut.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    received: Vec<Received>,
    violation: Option<String>,
    answer: Vec<u8>,
    state: String,
}

#[derive(Debug, PartialEq)]
enum Received {
    Message(MessageKind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

fn connection(role: Role, both: Direction, piece_bytes: Option<usize>) -> Connection {
    let mut limits = ProtocolLimits::default();
    limits.message_bytes = MESSAGE_BYTES;
    limits.tiny_fragments = 20;
    limits.piece_bytes = piece_bytes;
    let agreed = Agreed { send: both, receive: both };
    Connection::new(role, Arc::new(limits), Instant::from_nanos(0)).with_deflate(agreed)
}

fn run<'d>(
    role: Role,
    both: Direction,
    (room, piece_bytes): (usize, Option<usize>),
    pieces: impl Iterator<Item = &'d [u8]>,
) -> Outcome {
    let mut connection = connection(role, both, piece_bytes);
    let mut assembler = Assembler::new(MESSAGE_BYTES);
    let mut inflation = Inflation::new(both);
    let mut output = vec![0; room];
    let mut outcome = Outcome::default();
    for piece in pieces {
        let mut buffer = vec![0; HEADROOM];
        buffer.extend_from_slice(piece);
        let mut input = Input::new(&mut buffer, HEADROOM);
        loop {
            let violation = match connection.receive(&mut input) {
                Ok(Some(Event::Compressed)) => {
                    inflate(&mut connection, &mut input, &mut inflation, &mut output, &mut assembler, &mut outcome)
                }
                Ok(Some(event)) => {
                    outcome.received.extend(received(event, &mut assembler));
                    None
                }
                Ok(None) => break,
                Err(violation) => Some(violation.to_string()),
            };
            if violation.is_some() {
                assert!(outcome.violation.is_none(), "a violation is reported only once");
                outcome.violation = violation;
            }
            connection.transmit(&mut outcome.answer, &mut || [1, 2, 3, 4]);
        }
        assert!(input.is_empty() && !connection.has_more(), "something is left although there are no more events");
    }
    connection.transmit(&mut outcome.answer, &mut || [1, 2, 3, 4]);
    outcome.state = format!("{:?}", connection.state());
    outcome
}

/// One call. Returns the violation.
fn inflate(
    connection: &mut Connection,
    input: &mut Input<'_>,
    inflation: &mut Inflation,
    output: &mut [u8],
    assembler: &mut Assembler,
    outcome: &mut Outcome,
) -> Option<String> {
    let room = output.len();
    let before = input.len();
    let result = INFLATER.with_borrow_mut(|inflater| {
        connection.inflate(input, inflation, inflater, output).map(|piece| {
            piece.map(|piece| {
                assert!(piece.last || !piece.payload.as_bytes().is_empty(), "an empty piece");
                assert!(piece.payload.as_bytes().len() <= room);
                assembler.push(piece).expect("the connection enforces the message limit").map(|payload| {
                    outcome.received.push(Received::Message(payload.kind(), payload.as_bytes().to_vec()));
                })
            })
        })
    });
    assert!(inflation.held_bytes() <= 34 * 1024);
    // The beginning of the message and that behind a final block, the input and the tail, and what was made.
    let most = 2 * (512 + 32 * 1024) + 4 * (room + 6) + room;
    assert!(inflation.take_work() <= most, "a call is bounded");
    match result {
        Ok(_) => {
            assert!(before - input.len() <= room);
            None
        }
        Err(violation) => {
            assert!(input.is_empty() && !inflation.is_needed() && inflation.held_bytes() == 0);
            Some(violation.to_string())
        }
    }
}

fn received(event: Event<'_>, assembler: &mut Assembler) -> Option<Received> {
    match event {
        Event::Fragment(fragment) => {
            let message = assembler.push(fragment).expect("the connection enforces the message limit");
            message.map(|payload| Received::Message(payload.kind(), payload.as_bytes().to_vec()))
        }
        Event::Ping(payload) => Some(Received::Ping(payload.to_vec())),
        Event::Pong(payload) => Some(Received::Pong(payload.to_vec())),
        Event::Close(frame) => Some(Received::Close(frame.code, frame.reason.to_owned())),
        other => panic!("an unknown event: {other:?}"),
    }
}

/// `data` as messages, compressed in all ways there are: the other end receives them.
fn made_here(both: Direction, room: usize, data: &[u8]) {
    DEFLATERS.with_borrow_mut(|deflaters| {
        let bits = both.window.get().max(9);
        let deflater =
            deflaters[usize::from(bits - 9)].get_or_insert_with(|| Deflater(zlib_rs::Deflate::new(1, false, bits)));
        made_with(deflater, both, room, data);
    });
}

fn made_with(deflater: &mut Deflater, both: Direction, room: usize, data: &[u8]) {
    let mut sender = connection(Role::Server, both, None);
    let mut deflation = Deflation::new(both, 700);
    let (mut wire, mut sent, mut is_bound, mut rest) = (Vec::new(), Vec::new(), false, data);
    while let Some((&[how, len], data)) = rest.split_first_chunk() {
        let (part, after) = data.split_at(usize::from(len).min(data.len()));
        rest = after;
        let payload = part.repeat(1 + usize::from(how >> 4));
        let codec = if is_bound { Codec::Bound(&mut *deflater) } else { Codec::Any(&mut *deflater) };
        let mut packed = Vec::new();
        match how % 4 {
            0 => {
                is_bound = false;
                deflation.forget();
                put(&mut sender, false, (Some(MessageKind::Binary), true), &payload, &mut wire);
            }
            1 => {
                is_bound = deflation.fragment(codec, &payload, false, &mut packed);
                put(&mut sender, true, (Some(MessageKind::Binary), false), &packed, &mut wire);
                packed.clear();
                let codec = if is_bound { Codec::Bound(&mut *deflater) } else { Codec::Any(&mut *deflater) };
                is_bound = deflation.fragment(codec, part, true, &mut packed);
                assert!(is_bound || part.is_empty(), "zlib falls back to blocks without compression");
                put(&mut sender, false, (None, true), &packed, &mut wire);
                sent.push(Received::Message(MessageKind::Binary, [&payload, part].concat()));
                continue;
            }
            _ => {
                is_bound = deflation.message(codec, &payload, &mut packed);
                let bytes = if is_bound { &packed } else { &payload };
                assert!(bytes.len() <= payload.len() + 8);
                put(&mut sender, is_bound, (Some(MessageKind::Binary), true), bytes, &mut wire);
                // What is compressed for one goes on only for messages that follow each other.
                is_bound &= how & 4 != 0;
            }
        }
        sent.push(Received::Message(MessageKind::Binary, payload));
    }
    let outcome = run(Role::Client, both, (room, None), wire.chunks(room));
    assert_eq!(outcome.violation, None);
    assert_eq!(outcome.received, sent);
}

fn put(
    sender: &mut Connection,
    is_compressed: bool,
    (kind, last): (Option<MessageKind>, bool),
    bytes: &[u8],
    wire: &mut Vec<u8>,
) {
    let len = bytes.len() as u64;
    let header = match kind {
        Some(kind) if is_compressed => sender.frame_compressed(kind, last, len, None),
        kind => sender.frame(kind, last, len, None),
    };
    wire.extend_from_slice(&header.expect("an open connection, between messages"));
    wire.extend_from_slice(bytes);
}

struct Inflater(zlib_rs::Inflate);

impl Inflate for Inflater {
    fn begin(&mut self, history: [&[u8]; 2]) {
        self.0.reset(false);
        for part in history.into_iter().filter(|part| !part.is_empty()) {
            self.0.set_dictionary(part).expect("a raw stream takes a dictionary");
        }
    }

    fn inflate(&mut self, input: &[u8], output: &mut [u8]) -> Inflated {
        let (read, made) = (self.0.total_in(), self.0.total_out());
        let stop = match self.0.decompress(input, output, InflateFlush::NoFlush) {
            Ok(Status::StreamEnd) => Stop::Final,
            Ok(_) => Stop::Waiting,
            Err(_) => Stop::Corrupt,
        };
        let (consumed, produced) = (self.0.total_in() - read, self.0.total_out() - made);
        Inflated { consumed: consumed as usize, produced: produced as usize, stop }
    }
}

struct Deflater(zlib_rs::Deflate);

impl Deflate for Deflater {
    fn begin(&mut self, history: [&[u8]; 2]) {
        self.0.reset();
        for part in history.into_iter().filter(|part| !part.is_empty()) {
            self.0.set_dictionary(part).expect("a raw stream takes a dictionary");
        }
    }

    fn deflate(&mut self, input: &[u8], output: &mut [u8]) -> Option<usize> {
        let (read, made) = (self.0.total_in(), self.0.total_out());
        self.0.compress(input, output, DeflateFlush::SyncFlush).ok()?;
        let (consumed, made) = ((self.0.total_in() - read) as usize, (self.0.total_out() - made) as usize);
        if consumed == input.len() && made < output.len() {
            return Some(made);
        }
        // What is left of the message has to come out: zlib-rs keeps it, and a block that is open, over a reset.
        let mut rest = [0; 4096];
        loop {
            let made = self.0.total_out();
            self.0.compress(&[], &mut rest, DeflateFlush::SyncFlush).ok()?;
            if self.0.total_out() - made < rest.len() as u64 {
                return None;
            }
        }
    }
}

thread_local! {
    /// It begins anew with each message, whosever.
    static INFLATER: RefCell<Inflater> = RefCell::new(Inflater(zlib_rs::Inflate::new(false, 15)));
    /// One of each window. It begins with each check.
    static DEFLATERS: RefCell<[Option<Deflater>; 7]> = const { RefCell::new([const { None }; 7]) };
}
