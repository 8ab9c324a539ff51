//! Random streams: one end receives what the other sends, however it is cut, and no stream makes a
//! connection panic.

use super::*;
use crate::close::{Close, CloseCode};
use crate::conn::ControlPayload;
use proptest::prelude::*;

/// An action of an application.
#[derive(Clone, Debug)]
enum Action {
    /// A message, with the places to cut it into fragments.
    Text(String, Vec<usize>),
    Binary(Vec<u8>, Vec<usize>),
    Ping(Vec<u8>),
    Close(Option<(u16, String)>),
}

fn action() -> impl Strategy<Value = Action> {
    let cuts = || prop::collection::vec(0..400usize, 0..5);
    prop_oneof![
        4 => (".{0,130}", cuts()).prop_map(|(text, cuts)| Action::Text(text, cuts)),
        4 => (prop::collection::vec(any::<u8>(), 0..400), cuts()).prop_map(|(bytes, cuts)| Action::Binary(bytes, cuts)),
        2 => prop::collection::vec(any::<u8>(), 0..=125).prop_map(Action::Ping),
    ]
}

fn close() -> impl Strategy<Value = Action> {
    let codes = prop_oneof![1000..=1003u16, 1007..=1014u16, 3000..=4999u16];
    prop::option::of((codes, ".{0,30}")).prop_map(Action::Close)
}

/// Puts `action` on the wire, pings between the fragments of messages, and what it should be
/// received as into `expected`.
fn perform(sender: &mut Connection, action: &Action, keys: &mut u32, wire: &mut Vec<u8>, expected: &mut Vec<Received>) {
    let mut fresh = || {
        *keys = keys.wrapping_mul(0x9e37_79b1).wrapping_add(7);
        keys.to_le_bytes()
    };
    let (kind, bytes, cuts) = match action {
        Action::Text(text, cuts) => (MessageKind::Text, text.as_bytes(), cuts),
        Action::Binary(bytes, cuts) => (MessageKind::Binary, &bytes[..], cuts),
        Action::Ping(payload) => {
            sender.ping(ControlPayload::new(payload).unwrap()).unwrap();
            sender.transmit(wire, &mut fresh);
            expected.push(Received::Ping(payload.clone()));
            return;
        }
        Action::Close(said) => {
            let close = said.as_ref().map_or_else(Close::empty, |(code, reason)| {
                Close::with_reason(CloseCode::new(*code).unwrap(), reason.clone()).unwrap()
            });
            sender.close(close.clone(), NOW);
            sender.transmit(wire, &mut fresh);
            expected.push(Received::Close(close.code().map(CloseCode::get), close.reason().to_string()));
            return;
        }
    };
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    ends.sort_unstable();
    ends.push(bytes.len());
    let mut start = 0;
    for (at, &end) in ends.iter().enumerate() {
        let last = at + 1 == ends.len();
        let key = (sender.role() == Role::Client).then(&mut fresh);
        let head = sender.frame((at == 0).then_some(kind), last, (end - start) as u64, key).unwrap();
        wire.extend_from_slice(&head);
        let payload = wire.len();
        wire.extend_from_slice(&bytes[start..end]);
        if let Some(key) = key {
            mask::apply(&mut wire[payload..], key, 0);
        }
        if !last {
            sender.ping(ControlPayload::new(&[at as u8]).unwrap()).unwrap();
            sender.transmit(wire, &mut fresh);
            expected.push(Received::Ping(vec![at as u8]));
        }
        start = end;
    }
    expected.push(match action {
        Action::Text(text, _) => Received::Text(text.clone()),
        _ => Received::Binary(bytes.to_vec()),
    });
}

/// `stream` in reads of these sizes, repeated.
fn reads<'s>(stream: &'s [u8], sizes: &'s [usize]) -> Vec<&'s [u8]> {
    let (mut reads, mut rest) = (Vec::new(), stream);
    for &size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (read, after) = rest.split_at(size.min(rest.len()));
        reads.push(read);
        rest = after;
    }
    reads
}

proptest! {
    #[test]
    fn one_end_receives_what_the_other_sends(
        role in prop::sample::select(&BOTH[..]),
        actions in prop::collection::vec(action(), 0..12),
        last in close(),
        sizes in prop::collection::vec(1..300usize, 1..20),
        mut keys: u32,
    ) {
        let (mut sender, mut wire, mut expected) = (open(!role), Vec::new(), Vec::new());
        for action in actions.iter().chain([&last]) {
            perform(&mut sender, action, &mut keys, &mut wire, &mut expected);
        }
        let whole = feed(open(role), Way::Usual, [&wire[..]]);
        prop_assert_eq!(&whole.received, &expected);
        for way in [Way::Usual, Way::General, Way::Pausing] {
            prop_assert_eq!(&feed(open(role), way, reads(&wire, &sizes)), &whole);
        }
        // The answers are legal too.
        let answers = feed(sender, Way::Usual, [&whole.output[..]]);
        prop_assert_eq!(answers.state, State::Draining);
        prop_assert_eq!(answers.closed.cause, crate::close::Cause::Handshake);
    }

    #[test]
    fn the_result_for_any_bytes_is_independent_of_cuts(
        role in prop::sample::select(&BOTH[..]),
        stream in prop::collection::vec(any::<u8>(), 0..200),
        sizes in prop::collection::vec(1..20usize, 1..20),
    ) {
        let whole = feed(open(role), Way::Usual, [&stream[..]]);
        for way in [Way::Usual, Way::General, Way::Pausing] {
            prop_assert_eq!(&feed(open(role), way, reads(&stream, &sizes)), &whole);
        }
    }
}

/// A small random generator, because the loop below must be fast in debug builds too.
struct Xorshift(u64);

impl Xorshift {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

#[test]
fn no_mutation_of_a_valid_stream_makes_a_connection_panic() {
    let mut random = Xorshift(0x5eed_cafe_f00d_beef);
    for role in BOTH {
        let valid = [
            frame(role, 0x81, "κόσμε".as_bytes()),
            frame(role, 0x01, &[0xe2, 0x82]),
            frame(role, 0x89, b"ping"),
            frame(role, 0x80, &[0xac]),
            frame(role, 0x82, &[1; 40]),
            frame(role, 0x88, b"\x03\xe8bye"),
        ]
        .concat();
        let row = [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xeb, 0x0e, 0x8f];
        for round in 0..50_000 {
            let mut stream = if round % 4 == 0 { row.to_vec() } else { valid.clone() };
            for _ in 0..=random.below(4) {
                let at = random.below(stream.len());
                match random.below(4) {
                    0 => stream[at] = random.below(256) as u8,
                    1 => stream[at] ^= 1 << random.below(8),
                    2 => stream.insert(at, random.below(256) as u8),
                    _ => stream.truncate(at.max(1)),
                }
            }
            let (front, back) = stream.split_at(random.below(stream.len() + 1));
            let log = feed(open(role), Way::Usual, [front, back]);
            let failures = log.received.iter().filter(|received| matches!(received, Received::Failed(_))).count();
            assert!(failures <= 1 && (failures == 0 || log.state == State::Draining));
        }
    }
}
