//! Compressed messages (RFC 7692), both ways.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use super::codec::{Deflater, Inflater, NO_TAKEOVER, compressed, direction, open_compressed};
use super::*;
use crate::conn::{Codec, Deflation, LEAST_OUTPUT, SendError};
use crate::deflate::{Deflate, Inflate};

/// FIN, RSV1, text; the same of a binary message; and without FIN.
const TEXT: u8 = 0xc1;
const BINARY: u8 = 0xc2;
const TEXT_BEGINS: u8 = 0x41;
const LAST: u8 = 0x80;

/// Numbers that are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

fn text(message: &str) -> Received {
    Received::Text(message.to_string())
}

/// All messages of RFC 7692, section 7.2.3, in both roles: a whole one, in two frames, two that share a history, without
/// compression, with a final block, with two blocks, and an empty one.
#[test]
fn the_examples_of_the_rfc() {
    for role in BOTH {
        let make = || open_compressed(role, direction(15, true));
        let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(check_with(make, &frame(role, TEXT, &hello)).received, [text("Hello")]);
        let parts = [frame(role, TEXT_BEGINS, &hello[..3]), frame(role, LAST, &hello[3..])].concat();
        assert_eq!(check_with(make, &parts).received, [text("Hello")]);
        let again = [frame(role, TEXT, &hello), frame(role, TEXT, &[0xf2, 0x00, 0x11, 0x00, 0x00])].concat();
        assert_eq!(check_with(make, &again).received, [text("Hello"), text("Hello")]);
        let stored = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
        assert_eq!(check_with(make, &frame(role, TEXT, &stored)).received, [text("Hello")]);
        let last_block = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
        assert_eq!(check_with(make, &frame(role, TEXT, &last_block)).received, [text("Hello")]);
        let two_blocks = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(check_with(make, &frame(role, TEXT, &two_blocks)).received, [text("Hello")]);
        assert_eq!(check_with(make, &frame(role, TEXT, &[0x00])).received, [text("")]);
    }
}

#[test]
fn without_an_agreement_a_compressed_message_is_a_violation() {
    for role in BOTH {
        check_fails(role, &[TEXT], Violation::ReservedBit);
    }
}

#[test]
fn only_the_first_frame_of_a_message_has_the_bit() {
    for role in BOTH {
        let make = || open_compressed(role, NO_TAKEOVER);
        for first in [0xc9, 0xca, 0xc8, 0xa1, 0x91, 0xe1, 0xd1] {
            check_fails_with(make, &[first], Violation::ReservedBit);
        }
        let begun = frame(role, TEXT_BEGINS, &[0xf2, 0x48]);
        check_fails_with(make, &[&begun[..], &[0xc0]].concat(), Violation::ReservedBit);
        check_fails_with(make, &[&begun[..], &[0x40]].concat(), Violation::ReservedBit);
        check_fails_with(make, &[&begun[..], &[TEXT]].concat(), Violation::MessageUnfinished);
    }
}

#[test]
fn control_frames_and_plain_messages_stand_between() {
    for role in BOTH {
        let make = || open_compressed(role, direction(9, true));
        let data = compressed("Zwölf Boxkämpfer".as_bytes());
        let mut stream = Vec::new();
        for (index, piece) in data.chunks(3).enumerate() {
            stream.extend(frame(role, if index == 0 { TEXT_BEGINS } else { 0 }, piece));
            stream.extend(frame(role, 0x89, b"p"));
            stream.extend(frame(role, 0, b""));
        }
        stream.extend(frame(role, LAST, b""));
        stream.extend(frame(role, 0x81, b"plain"));
        stream.extend(frame(role, BINARY, &compressed(b"bytes")));
        let log = check_with(make, &stream);
        let rest: Vec<_> = log.received.iter().filter(|received| !matches!(received, Received::Ping(_))).collect();
        assert_eq!(rest, [&text("Zwölf Boxkämpfer"), &text("plain"), &Received::Binary(b"bytes".to_vec())]);
    }
}

#[test]
fn corrupt_data_is_refused() {
    for role in BOTH {
        let make = || open_compressed(role, direction(15, true));
        let refused = |data: &[u8]| {
            let log = check_with(make, &frame(role, BINARY, data));
            assert_eq!(log.received, [Received::Failed(Violation::DeflateCorrupt)], "{data:x?}");
        };
        // A block type that is none; a stored block whose lengths do not fit; a distance into nothing; a message of no bytes.
        refused(&[0x07]);
        refused(&[0x00, 0x01, 0x00, 0x01, 0x00, 0x41, 0x00]);
        refused(&[0x02, 0x11, 0x00]);
        refused(&[]);
        // The message ends in the middle of a block: of a stored one, of one with codes.
        refused(&[0x00, 0x20, 0x00, 0xdf, 0xff, 0x41]);
        refused(&[0xf2, 0x48, 0xcd]);
        // Behind a final block there is the next, which here is cut.
        refused(&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
        // Of a stored block all lengths but one are cut: the four bytes that are appended fit into that.
        for missing in 1..20 {
            let data = [&[0x00, 20, 0x00, !20, 0xff][..], &[0x41; 20][missing..]].concat();
            if missing == 4 {
                let appended = [&[0x41; 16][..], &[0x00, 0x00, 0xff, 0xff]].concat();
                assert_eq!(check_with(make, &frame(role, BINARY, &data)).received, [Received::Binary(appended)]);
            } else {
                refused(&data);
            }
        }
    }
}

/// Every beginning of a message, ended there, is refused or is the message: nothing that is cut passes as whole.
#[test]
fn what_is_cut_is_not_whole() {
    let payload: Vec<u8> = (0..400u32).map(|at| (at * at / 7 % 61) as u8).collect();
    for level in [1, 6, 9] {
        let mut data = vec![0; 1024];
        let made = Deflater::new(level, 15).deflate(&payload, &mut data).unwrap();
        for end in 0..made - 4 {
            let mut recorder = Recorder::new(open_compressed(Role::Client, NO_TAKEOVER), Way::Usual);
            recorder.read(&frame(Role::Client, BINARY, &data[..end]));
            assert_eq!(
                recorder.finish().received,
                [Received::Failed(Violation::DeflateCorrupt)],
                "level {level}, {end} bytes"
            );
        }
    }
}

#[test]
fn what_is_before_the_window_is_refused() {
    let words: Vec<u8> = (0..1000u32).flat_map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    for (bits, is_kept) in [(8, false), (11, false), (12, true), (15, true)] {
        // A message that refers back 3,000 bytes.
        let mut deflater = zlib_rs::Deflate::new(9, false, 15);
        deflater.set_dictionary(&words[..3000]).unwrap();
        let mut data = vec![0; 400];
        let made = Deflater(deflater).deflate(&words[..200], &mut data).unwrap();
        assert!(made < 40);
        let mut recorder = Recorder::new(open_compressed(Role::Client, direction(bits, true)), Way::Usual);
        recorder.read(&frame(Role::Client, BINARY, &compressed(&words[..3000])));
        recorder.read(&frame(Role::Client, BINARY, &data[..made - 4]));
        let second =
            if is_kept { Received::Binary(words[..200].to_vec()) } else { Received::Failed(Violation::DeflateCorrupt) };
        assert_eq!(recorder.finish().received, [Received::Binary(words[..3000].to_vec()), second], "{bits} bits");
    }
}

#[test]
fn text_is_checked_inflated() {
    for role in BOTH {
        let make = || open_compressed(role, NO_TAKEOVER);
        for (bad, is_valid) in [
            (&b"ab\xff"[..], false),
            (b"\xe2\x82", false),
            (b"\xe2\x82\xac\xf0\x9f\x92\xa9", true),
            (b"\xed\xa0\x80", false),
        ] {
            let log = check_with(make, &frame(role, TEXT, &compressed(bad)));
            let expected = if is_valid {
                text(core::str::from_utf8(bad).unwrap())
            } else {
                Received::Failed(Violation::TextNotUtf8)
            };
            assert_eq!(log.received, [expected]);
        }
        // What is wrong first counts: text, then data.
        let stored = [0x00, 0x01, 0x00, 0xfe, 0xff, 0xff, 0x07];
        assert_eq!(check_with(make, &frame(role, TEXT, &stored)).received, [Received::Failed(Violation::TextNotUtf8)]);
    }
}

fn limited(role: Role, message_bytes: u64) -> Connection {
    let limits = ProtocolLimits { message_bytes, ..ProtocolLimits::default() };
    with_limits(role, limits)
        .with_deflate(crate::ext::deflate::Agreed { send: NO_TAKEOVER, receive: direction(9, true) })
}

#[test]
fn the_limit_of_a_message_is_that_of_its_inflated_bytes() {
    for role in BOTH {
        let exact = frame(role, BINARY, &compressed(&[7; 300]));
        assert_eq!(check_with(|| limited(role, 300), &exact).received, [Received::Binary(vec![7; 300])]);
        let log = check_with(|| limited(role, 299), &exact);
        assert_eq!(log.received, [Received::Failed(Violation::MessageTooBig)]);
        // Bad text behind the limit is not looked at, before it is.
        let late = frame(role, TEXT, &compressed(&[&[b'a'; 300][..], b"\xff"].concat()));
        assert_eq!(check_with(|| limited(role, 300), &late).received, [Received::Failed(Violation::MessageTooBig)]);
        let early = frame(role, TEXT, &compressed(&[b"\xff", &[b'a'; 300][..]].concat()));
        assert_eq!(check_with(|| limited(role, 300), &early).received, [Received::Failed(Violation::TextNotUtf8)]);
    }
}

#[test]
fn what_comes_in_is_limited_too() {
    let role = Role::Server;
    // Data without content, one byte more than the largest message may become by compressing it.
    let most = 400 + 50 + 64;
    let make = || limited(role, 400);
    check_fails_with(make, &header(role, BINARY, most + 1), Violation::MessageTooBig);
    let mut recorder = Recorder::new(make(), Way::Usual);
    for block in 0..5 {
        recorder.read(&frame(role, if block == 0 { 0x42 } else { 0 }, &[0, 0, 0, 0xff, 0xff].repeat(20)));
    }
    recorder.read(&frame(role, LAST, &[0; 15]));
    assert_eq!(recorder.finish().received, [Received::Failed(Violation::MessageTooBig)]);
}

/// An output of any length gives the same message, a call never fills more, and never uses more input than that.
#[test]
fn a_bomb_comes_in_pieces() {
    let bomb = compressed(&vec![0; 1 << 20]);
    assert!(bomb.len() < 1100);
    for room in [LEAST_OUTPUT, 1000, 64 * 1024, 1 << 20] {
        let mut recorder = Recorder::new(open_compressed(Role::Server, NO_TAKEOVER), Way::Usual);
        recorder.room = room;
        recorder.read(&frame(Role::Server, BINARY, &bomb));
        assert!(recorder.inflation.take_work() >= 1 << 20);
        assert_eq!(recorder.finish().received, [Received::Binary(vec![0; 1 << 20])], "{room}");
    }
}

/// Streams of all levels and strategies, with outputs and reads of any length.
#[test]
fn random_messages_arrive_whole_however_they_are_cut() {
    let mut random = Numbers(7);
    for round in 0..140 {
        let bits = 9 + (round % 7) as u8;
        let takeover = round % 2 == 0;
        let (mut deflater, mut deflation) =
            (Deflater::new(round % 10, bits), Deflation::new(direction(bits, takeover), 700));
        let mut sender = open_compressed(Role::Server, direction(bits, takeover));
        let (mut wire, mut sent) = (Vec::new(), Vec::new());
        for _ in 0..random.below(12) {
            let payload: Vec<u8> = message_of(&mut random);
            let mut data = Vec::new();
            if random.below(4) > 0 && deflation.message(Codec::Any(&mut deflater), &payload, &mut data) {
                wire.extend_from_slice(
                    &sender.frame_compressed(MessageKind::Binary, true, data.len() as u64, None).unwrap(),
                );
                wire.extend_from_slice(&data);
            } else if random.below(2) == 0 {
                fragments(&mut random, &mut sender, &mut deflation, &mut deflater, &payload, &mut wire);
            } else {
                wire.extend_from_slice(
                    &sender.frame(Some(MessageKind::Binary), true, payload.len() as u64, None).unwrap(),
                );
                wire.extend_from_slice(&payload);
            }
            sent.push(Received::Binary(payload));
        }
        let mut recorder = Recorder::new(open_compressed(Role::Client, direction(bits, takeover)), Way::Pausing);
        recorder.room = LEAST_OUTPUT + random.below(3000);
        let mut rest = &wire[..];
        while !rest.is_empty() {
            let (read, after) = rest.split_at(rest.len().min(1 + random.below(2000)));
            recorder.read(read);
            rest = after;
        }
        assert_eq!(recorder.finish().received, sent, "round {round}");
    }
}

fn message_of(random: &mut Numbers) -> Vec<u8> {
    let (len, kinds) = (random.below(3000), 1 + random.below(200));
    (0..len).map(|_| random.below(kinds) as u8).collect()
}

fn fragments(
    random: &mut Numbers,
    sender: &mut Connection,
    deflation: &mut Deflation,
    deflater: &mut Deflater,
    payload: &[u8],
    wire: &mut Vec<u8>,
) {
    let pieces: Vec<_> = payload.chunks(1 + random.below(900)).chain([&b""[..]]).collect();
    for (index, piece) in pieces.iter().enumerate() {
        let (mut data, last) = (Vec::new(), index + 1 == pieces.len());
        assert_eq!(deflation.fragment(Codec::Any(deflater), piece, last, &mut data), !piece.is_empty());
        let header = if index == 0 {
            sender.frame_compressed(MessageKind::Binary, last, data.len() as u64, None)
        } else {
            sender.frame(None, last, data.len() as u64, None)
        };
        wire.extend_from_slice(&header.unwrap());
        wire.extend_from_slice(&data);
    }
}

/// A codec of the connection's own, and messages that others compressed for all, mixed with the connection's own ones.
#[test]
fn bound_codecs_and_published_messages_keep_the_history() {
    let both = direction(15, true);
    let mut random = Numbers(3);
    let (mut own, mut any) = (Deflater::new(1, 15), Deflater::new(1, 15));
    let (mut deflation, mut is_bound) = (Deflation::new(both, 2048), false);
    let mut recorder = Recorder::new(open_compressed(Role::Client, both), Way::Usual);
    let mut sent = Vec::new();
    for _ in 0..1000 {
        let payload = alloc::format!("{{\"id\":{},\"name\":\"{}\"}}", random.below(1000), "x".repeat(random.below(9)))
            .into_bytes();
        let mut data = Vec::new();
        let is_compressed = match random.below(4) {
            0 => {
                data = compressed(&payload);
                deflation.sent(&payload);
                is_bound = false;
                true
            }
            1 => {
                if random.below(20) == 0 {
                    deflation.forget();
                }
                is_bound = false;
                deflation.message(Codec::Any(&mut any), &payload, &mut data)
            }
            _ => {
                let codec = if is_bound { Codec::Bound(&mut own) } else { Codec::Any(&mut own) };
                is_bound = deflation.message(codec, &payload, &mut data);
                is_bound
            }
        };
        let (first, data) = if is_compressed { (BINARY, &data) } else { (0x82, &payload) };
        recorder.read(&frame(Role::Client, first, data));
        sent.push(Received::Binary(payload));
    }
    assert_eq!(recorder.finish().received, sent);
}

#[test]
fn a_message_that_does_not_shrink_is_not_compressed_and_not_kept() {
    let mut random = Numbers(9);
    let noise: Vec<u8> = (0..500).map(|_| random.below(256) as u8).collect();
    let mut deflation = Deflation::new(direction(15, true), 1000);
    let (mut codec, mut out) = (Deflater::new(1, 15), b"before".to_vec());
    assert!(!deflation.message(Codec::Any(&mut codec), &noise, &mut out));
    assert!(!deflation.message(Codec::Any(&mut codec), b"", &mut out));
    assert_eq!((&out[..], deflation.held_bytes()), (&b"before"[..], 0));
    // A first short message grows a little, and makes the next one short.
    let message = br#"{"kind":"position","x":12,"y":57}"#;
    assert!(deflation.message(Codec::Any(&mut codec), message, &mut out));
    assert!(out.len() > b"before".len() + message.len());
    out.clear();
    assert!(deflation.message(Codec::Any(&mut codec), message, &mut out));
    assert!(out.len() < 8, "{out:?}");
    // Not without a history.
    let mut deflation = Deflation::new(direction(15, false), 1000);
    assert!(!deflation.message(Codec::Any(&mut codec), message, &mut out));
    assert!(deflation.message(Codec::Any(&mut codec), &[b'a'; 100], &mut out));
    assert_eq!(deflation.held_bytes(), 0);
}

/// The codec of these tests keeps the contract: one that had no room for a message is as good as a new one for the next.
#[test]
fn a_codec_without_room_for_a_message_leaves_nothing_of_it() {
    let mut random = Numbers(17);
    for (level, bits) in [(1, 15), (1, 9), (3, 12), (6, 15), (9, 10)] {
        let mut codec = Deflater::new(level, bits);
        for round in 0..20 {
            let noise: Vec<u8> = (0..900 + round * 20_000).map(|_| random.below(256) as u8).collect();
            codec.begin([&[], &[]]);
            let room = [10, noise.len() / 2, noise.len() - 1][round % 3];
            assert_eq!(codec.deflate(&noise, &mut vec![0; room]), None);
            let (mut deflation, mut out) = (Deflation::new(direction(15, true), 2048), Vec::new());
            let message = "a message, and a message, ".repeat(1 + round * 70);
            assert!(deflation.message(Codec::Any(&mut codec), message.as_bytes(), &mut out));
            let (mut fresh, mut same) = (Deflation::new(direction(15, true), 2048), Vec::new());
            assert!(fresh.message(Codec::Any(&mut Deflater::new(level, bits)), message.as_bytes(), &mut same));
            assert_eq!(out, same, "level {level}, window {bits}, round {round}");
        }
    }
}

#[test]
fn frames_of_compressed_messages() {
    let mut plain = open(Role::Server);
    assert_eq!(plain.frame_compressed(MessageKind::Text, true, 1, None).unwrap_err(), SendError::NotNegotiated);
    let mut server = open_compressed(Role::Server, NO_TAKEOVER);
    assert_eq!(&*server.frame_compressed(MessageKind::Text, false, 1, None).unwrap(), [0x41, 1]);
    assert_eq!(server.frame_compressed(MessageKind::Text, true, 1, None).unwrap_err(), SendError::MidMessage);
    assert_eq!(&*server.frame(None, true, 1, None).unwrap(), [0x80, 1]);
    let mut client = open_compressed(Role::Client, NO_TAKEOVER);
    assert_eq!(client.frame_compressed(MessageKind::Text, true, 1, None).unwrap_err(), SendError::MaskMissing);
    assert_eq!(client.frame_compressed(MessageKind::Binary, true, 1, Some(KEY)).unwrap()[..2], [0xc2, 0x81]);
}

#[test]
fn after_our_close_compressed_data_is_dropped_unread() {
    for role in BOTH {
        let make = || {
            let mut connection = open_compressed(role, NO_TAKEOVER);
            connection.close(crate::close::Close::new(crate::close::CloseCode::NORMAL), NOW);
            connection
        };
        let stream = [
            frame(role, TEXT_BEGINS, &[0x07; 9]),
            frame(role, LAST, b""),
            frame(role, BINARY, b"not deflate"),
            frame(role, 0x88, &[3, 0xe8]),
        ]
        .concat();
        assert_eq!(check_with(make, &stream).received, [Received::Close(Some(1000), String::new())]);
    }
}

/// A codec that reports wrong counts fails its own connection and causes no panic.
#[test]
fn a_codec_without_progress_fails_the_connection() {
    struct Idle(crate::deflate::Inflated);
    impl Inflate for Idle {
        fn begin(&mut self, _: [&[u8]; 2]) {}
        fn inflate(&mut self, _: &[u8], _: &mut [u8]) -> crate::deflate::Inflated {
            self.0
        }
    }
    for (consumed, produced, stop) in [
        (0, 0, crate::deflate::Stop::Waiting),
        (usize::MAX, usize::MAX, crate::deflate::Stop::Waiting),
        (usize::MAX, 0, crate::deflate::Stop::Waiting),
        (0, 0, crate::deflate::Stop::Final),
    ] {
        let mut connection = limited(Role::Client, 1 << 20);
        let mut buffer = vec![0; HEADROOM];
        buffer.extend(frame(Role::Client, BINARY, &[1, 2, 3]));
        let mut input = Input::new(&mut buffer, HEADROOM);
        let (mut inflation, mut output) = (Inflation::new(NO_TAKEOVER), [0; 100]);
        let mut codec = Idle(crate::deflate::Inflated { consumed, produced, stop });
        let mut calls = 0;
        let mut result = Ok(None);
        while result.is_ok() && connection.receive(&mut input).is_ok_and(|event| event.is_some()) {
            result = connection.inflate(&mut input, &mut inflation, &mut codec, &mut output);
            calls += 1;
            assert!(calls < 100_000);
        }
        assert!(connection.state() != State::Open, "{consumed} {produced} {stop:?}");
    }
}

#[test]
fn any_inflater_goes_on_where_another_stopped() {
    let both = direction(10, true);
    let mut deflation = Deflation::new(both, 1024);
    let mut recorder = Recorder::new(open_compressed(Role::Client, both), Way::Usual);
    for number in 0..50u32 {
        let message = alloc::format!("message {number} of fifty, which are much alike");
        let mut data = Vec::new();
        assert!(deflation.message(Codec::Any(&mut Deflater::new(6, 10)), message.as_bytes(), &mut data));
        assert!(number == 0 || data.len() < 20);
        recorder.inflater = Inflater::default();
        recorder.read(&frame(Role::Client, TEXT, &data));
        assert_eq!(recorder.received.pop(), Some(text(&message)));
    }
    assert!(recorder.inflation.is_needed() && recorder.inflation.held_bytes() == 1024);
}

/// We close between two pieces: what is left of the message is not inflated, and the peer's Close frame is found behind it.
#[test]
fn closing_within_a_message_leaves_nothing_to_inflate() {
    let role = Role::Client;
    let data = compressed(&[b"abcdefghijkl".repeat(20), vec![0; 600]].concat());
    let mut was_used_up = false;
    // With all cuts of the data into two frames, in some of which all bytes are used and there is more to come.
    for cut in 1..data.len() {
        let mut connection = open_compressed(role, NO_TAKEOVER);
        let mut buffer = [&[0; HEADROOM][..], &frame(role, 0x42, &data[..cut])].concat();
        let mut input = Input::new(&mut buffer, HEADROOM);
        let (mut inflation, mut codec, mut output) = (Inflation::new(NO_TAKEOVER), Inflater::default(), [0; 20]);
        assert!(matches!(connection.receive(&mut input), Ok(Some(Event::Compressed))));
        let piece = connection.inflate(&mut input, &mut inflation, &mut codec, &mut output).unwrap();
        if piece.is_none_or(|piece| piece.payload.as_bytes().len() < 20) {
            continue;
        }
        was_used_up |= input.is_empty();
        assert!(connection.has_more() && connection.is_mid_frame());
        connection.close(crate::close::Close::new(crate::close::CloseCode::NORMAL), NOW);
        assert!(!connection.has_more());
        assert_eq!(connection.inflate(&mut input, &mut inflation, &mut codec, &mut output), Ok(None));
        assert_eq!(connection.receive(&mut input), Ok(None));
        assert!(input.is_empty() && !connection.is_mid_frame());
        let later = [frame(role, LAST, &data[cut..]), frame(role, 0x88, b"")].concat();
        let mut buffer = [&[0; HEADROOM][..], &later].concat();
        assert!(matches!(connection.receive(&mut Input::new(&mut buffer, HEADROOM)), Ok(Some(Event::Close(_)))));
    }
    assert!(was_used_up);
}

/// A violation ends inflating: of the data, and of a frame that comes within the message.
#[test]
fn nothing_is_inflated_after_a_violation() {
    let role = Role::Client;
    let begun = frame(role, TEXT_BEGINS, &[0xf2, 0x48]);
    for stream in [[&begun, &frame(role, 0x80, &[0x07])[..]].concat(), [&begun, &[TEXT, 0x00][..]].concat()] {
        let mut connection = open_compressed(role, direction(15, true));
        let mut buffer = [&[0; HEADROOM][..], &stream, &stream].concat();
        let mut input = Input::new(&mut buffer, HEADROOM);
        let (mut inflation, mut codec, mut output) =
            (Inflation::new(direction(15, true)), Inflater::default(), [0; LEAST_OUTPUT]);
        let mut violations = 0;
        loop {
            let is_failed = match connection.receive(&mut input) {
                Ok(None) => break,
                Ok(Some(_)) => connection.inflate(&mut input, &mut inflation, &mut codec, &mut output).is_err(),
                Err(_) => true,
            };
            violations += u32::from(is_failed);
        }
        assert_eq!(violations, 1);
        assert!(input.is_empty() && !connection.has_more());
        assert_eq!(connection.inflate(&mut input, &mut inflation, &mut codec, &mut output), Ok(None));
    }
}

/// Counts what it is given.
struct Counting(Inflater, usize);

impl Inflate for Counting {
    fn begin(&mut self, history: [&[u8]; 2]) {
        self.0.begin(history);
    }

    fn inflate(&mut self, input: &[u8], output: &mut [u8]) -> crate::deflate::Inflated {
        self.1 += input.len();
        self.0.inflate(input, output)
    }
}

/// Each final block begins a stream: that is counted, and what follows it is not unmasked and masked again each time.
#[test]
fn final_blocks_are_costly_in_proportion() {
    let role = Role::Server;
    let blocks = 16 * 1024;
    let mut buffer = [&[0; HEADROOM][..], &frame(role, BINARY, &[3, 0].repeat(blocks))].concat();
    let mut input = Input::new(&mut buffer, HEADROOM);
    let mut connection = open_compressed(role, NO_TAKEOVER);
    let (mut inflation, mut codec) = (Inflation::new(NO_TAKEOVER), Counting(Inflater::default(), 0));
    let mut output = vec![0; 64 * 1024];
    while let Ok(Some(Event::Compressed)) = connection.receive(&mut input) {
        _ = connection.inflate(&mut input, &mut inflation, &mut codec, &mut output);
    }
    // Behind the last one there is no other.
    assert!(connection.state() != State::Open);
    assert!(codec.1 < blocks * 2 * 64, "{}", codec.1);
    assert!(inflation.take_work() > blocks * 256);
}

/// A payload without compression ends as a flush does just where the room ends: the flush itself is still to come.
#[test]
fn the_bytes_of_a_flush_in_a_payload_end_nothing() {
    let both = direction(15, false);
    let mut random = Numbers(5);
    let mut compressed_anyhow = 0;
    for growth in [0, 3, 8, 24] {
        for flush_at in 172..=196 {
            let mut payload: Vec<u8> = (0..200).map(|_| random.below(256) as u8).collect();
            payload[flush_at..][..4].copy_from_slice(&[0x00, 0x00, 0xff, 0xff]);
            // Some repeated bytes, so that lengths around that of the payload occur.
            let repeated: [u8; 24] = payload[..24].try_into().unwrap();
            payload[100..100 + growth].copy_from_slice(&repeated[..growth]);
            for level in [1, 6] {
                let (mut deflation, mut data) = (Deflation::new(both, 0), Vec::new());
                if deflation.message(Codec::Any(&mut Deflater::new(level, 15)), &payload, &mut data) {
                    compressed_anyhow += 1;
                    let mut recorder = Recorder::new(open_compressed(Role::Client, both), Way::Usual);
                    recorder.read(&frame(Role::Client, BINARY, &data));
                    assert_eq!(recorder.finish().received, [Received::Binary(payload.clone())]);
                }
            }
        }
    }
    assert!(compressed_anyhow > 0);
}

/// Whatever it is told, it says what it is made for.
struct Says(Option<usize>);

impl Deflate for Says {
    fn begin(&mut self, _: [&[u8]; 2]) {}

    fn deflate(&mut self, _: &[u8], _: &mut [u8]) -> Option<usize> {
        self.0
    }
}

#[test]
fn a_compressor_that_fails_is_replaced_by_blocks_without_compression() {
    let both = direction(15, true);
    let payload: Vec<u8> = (0..150_000u32).map(|at| (at % 251) as u8).collect();
    for says in [None, Some(0), Some(3), Some(100), Some(usize::MAX)] {
        let (mut deflation, mut out) = (Deflation::new(both, 2048), b"before".to_vec());
        assert!(!deflation.message(Codec::Bound(&mut Says(says)), &payload, &mut out));
        assert_eq!((&out[..], deflation.held_bytes()), (&b"before"[..], 0));
        let mut recorder = Recorder::new(open_compressed(Role::Client, both), Way::Usual);
        for (first, last, piece) in [(0x42, false, &payload[..]), (0, false, b""), (LAST, true, &payload[..5])] {
            let mut data = Vec::new();
            let is_bound = deflation.fragment(Codec::Bound(&mut Says(says)), piece, last, &mut data);
            assert_eq!(is_bound, piece.is_empty());
            // One that has not begun is not bound.
            assert!(!deflation.fragment(Codec::Any(&mut Says(says)), b"", false, &mut data));
            recorder.read(&frame(Role::Client, first, &data));
        }
        // What went without compression may be referred to.
        let mut data = Vec::new();
        assert!(deflation.message(Codec::Any(&mut Deflater::new(6, 15)), &payload[149_000..], &mut data));
        assert!(data.len() < 400, "{}", data.len());
        recorder.read(&frame(Role::Client, BINARY, &data));
        let all = [&payload[..], &payload[..5]].concat();
        assert_eq!(recorder.finish().received, [Received::Binary(all), Received::Binary(payload[149_000..].to_vec())]);
    }
}

#[test]
fn a_bound_codec_begins_with_each_message_without_takeover() {
    let both = direction(15, false);
    let (mut deflation, mut codec) = (Deflation::new(both, 2048), Deflater::new(6, 15));
    let mut recorder = Recorder::new(open_compressed(Role::Client, both), Way::Usual);
    for _ in 0..3 {
        let mut data = Vec::new();
        assert!(deflation.message(Codec::Bound(&mut codec), &[b'a'; 100], &mut data));
        recorder.inflater = Inflater::default();
        recorder.read(&frame(Role::Client, BINARY, &data));
    }
    assert_eq!(
        recorder.finish().received,
        [const { [b'a'; 100] }; 3].map(|message| Received::Binary(message.to_vec()))
    );
}
