//! A connection, as server and as client: the same messages, control frames and violation however
//! the bytes are cut. The other end accepts everything that it answers.

use std::slice;
use std::sync::Arc;

use sockeye_proto::conn::{Connection, HEADROOM, Input};
use sockeye_proto::event::Event;
use sockeye_proto::limits::ProtocolLimits;
use sockeye_proto::message::Assembler;
use sockeye_proto::time::Instant;
use sockeye_proto::wire::{MessageKind, Role};

use crate::Cut;

/// Small limits, so that short inputs reach them.
const MESSAGE_BYTES: u64 = 2000;

pub fn check(data: &[u8]) {
    let cut = Cut::new(data);
    for role in [Role::Server, Role::Client] {
        let whole = run(role, slice::from_ref(&cut.data).iter().copied());
        let pieces = run(role, cut.pieces());
        assert_eq!(whole, pieces, "{role:?}, cut into pieces of {}", cut.step);
        accepted_by_the_other_end(role, &whole.answer);
    }
}

/// Everything about a connection that must not depend on how its input is cut.
#[derive(Debug, PartialEq)]
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

fn limits() -> Arc<ProtocolLimits> {
    let mut limits = ProtocolLimits::default();
    limits.message_bytes = MESSAGE_BYTES;
    limits.tiny_fragments = 20;
    Arc::new(limits)
}

pub(crate) fn connection(role: Role) -> Connection {
    Connection::new(role, limits(), Instant::from_nanos(0))
}

fn run<'d>(role: Role, pieces: impl Iterator<Item = &'d [u8]>) -> Outcome {
    let mut connection = connection(role);
    let mut assembler = Assembler::new(MESSAGE_BYTES);
    let mut outcome = Outcome { received: Vec::new(), violation: None, answer: Vec::new(), state: String::new() };
    for piece in pieces {
        let mut buffer = vec![0; HEADROOM];
        buffer.extend_from_slice(piece);
        let mut input = Input::new(&mut buffer, HEADROOM);
        loop {
            match connection.receive(&mut input) {
                Ok(Some(event)) => outcome.received.extend(received(event, &mut assembler)),
                Ok(None) => break,
                Err(violation) => {
                    assert!(outcome.violation.is_none(), "a violation is reported only once");
                    outcome.violation = Some(violation.to_string());
                }
            }
            connection.transmit(&mut outcome.answer, &mut || [1, 2, 3, 4]);
        }
        assert!(input.is_empty(), "input is left although there are no more events");
    }
    connection.transmit(&mut outcome.answer, &mut || [1, 2, 3, 4]);
    assert!(!connection.wants_transmit(), "something is left to be transmitted");
    outcome.state = format!("{:?}", connection.state());
    outcome
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

/// Asserts that the other end accepts `answer`.
fn accepted_by_the_other_end(role: Role, answer: &[u8]) {
    let other = if role == Role::Server { Role::Client } else { Role::Server };
    let outcome = run(other, slice::from_ref(&answer).iter().copied());
    assert_eq!(outcome.violation, None, "our own answer was refused");
}
