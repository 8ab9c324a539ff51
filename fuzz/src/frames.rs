//! A connection, as server and as client: the same messages, control frames and verdict however the bytes were cut; and
//! whatever it answers is accepted by the other end.

use std::{slice, sync::Arc};

use sockeye_proto::{
    conn::{Connection, HEADROOM, Input},
    event::Event,
    limits::ProtocolLimits,
    message::Assembler,
    time::Instant,
    wire::{MessageKind, Role},
};

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

/// Everything about a connection that must not depend on how its input was cut.
#[derive(Debug, PartialEq)]
struct Outcome {
    said: Vec<Said>,
    violation: Option<String>,
    answer: Vec<u8>,
    state: String,
}

#[derive(Debug, PartialEq)]
enum Said {
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
    let mut outcome = Outcome { said: Vec::new(), violation: None, answer: Vec::new(), state: String::new() };
    for piece in pieces {
        let mut buffer = vec![0; HEADROOM];
        buffer.extend_from_slice(piece);
        let mut input = Input::new(&mut buffer, HEADROOM);
        loop {
            match connection.receive(&mut input) {
                Ok(Some(event)) => outcome.said.extend(said(event, &mut assembler)),
                Ok(None) => break,
                Err(violation) => {
                    assert!(outcome.violation.is_none(), "one violation ends everything");
                    outcome.violation = Some(violation.to_string());
                }
            }
            connection.transmit(&mut outcome.answer, &mut || [1, 2, 3, 4]);
        }
        assert!(input.is_empty(), "input is left though nothing more was said");
    }
    connection.transmit(&mut outcome.answer, &mut || [1, 2, 3, 4]);
    assert!(!connection.wants_transmit(), "something is left to be sent");
    outcome.state = format!("{:?}", connection.state());
    outcome
}

fn said(event: Event<'_>, assembler: &mut Assembler) -> Option<Said> {
    match event {
        Event::Fragment(fragment) => {
            let message = assembler.push(fragment).expect("the connection keeps to the limit of messages");
            message.map(|payload| Said::Message(payload.kind(), payload.as_bytes().to_vec()))
        }
        Event::Ping(payload) => Some(Said::Ping(payload.to_vec())),
        Event::Pong(payload) => Some(Said::Pong(payload.to_vec())),
        Event::Close(frame) => Some(Said::Close(frame.code, frame.reason.to_owned())),
        other => panic!("an event that this harness does not know: {other:?}"),
    }
}

/// A pong for each ping, and one close at most: all of it legal.
fn accepted_by_the_other_end(role: Role, answer: &[u8]) {
    let other = if role == Role::Server { Role::Client } else { Role::Server };
    let heard = run(other, slice::from_ref(&answer).iter().copied());
    assert_eq!(heard.violation, None, "our own answer was refused");
}
