//! UTF-8 in messages (RFC 6455 section 8.1): cut in every way, and failing at the first bad byte,
//! as sections 6.1 to 6.4 of the Autobahn suite require.

use super::*;

const GREEK: &[u8] = "κόσμε".as_bytes();

/// A text message of these fragments, with a ping after each but the last.
fn fragmented<'p>(role: Role, parts: impl IntoIterator<Item = &'p [u8]>) -> Vec<u8> {
    let mut stream = Vec::new();
    let parts: Vec<_> = parts.into_iter().collect();
    for (at, part) in parts.iter().enumerate() {
        let last = at + 1 == parts.len();
        let first = if at == 0 { 0x01 } else { 0x00 } | if last { 0x80 } else { 0 };
        stream.extend(frame(role, first, part));
        if !last {
            stream.extend(frame(role, 0x89, &[at as u8; 20]));
        }
    }
    stream
}

/// `bytes` cut in all possible ways: one bit for each position between two bytes.
fn all_cuts(bytes: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    (0..1u32 << (bytes.len() - 1)).map(|cuts| {
        let mut parts = Vec::new();
        let mut start = 0;
        for at in 1..bytes.len() {
            if cuts & 1 << (at - 1) != 0 {
                parts.push(&bytes[start..at]);
                start = at;
            }
        }
        parts.push(&bytes[start..]);
        parts
    })
}

#[test]
fn fg03_code_points_in_several_fragments_with_pings_between() {
    for role in BOTH {
        for text in
            ["\u{80}", "\u{7ff}", "\u{800}", "\u{d7ff}", "\u{e000}", "\u{ffff}", "\u{10000}", "\u{10ffff}", "aé漢𝄞"]
        {
            for parts in all_cuts(text.as_bytes()) {
                let log = check(role, &fragmented(role, parts.iter().copied()));
                assert_eq!(log.received.len(), parts.len());
                assert_eq!(log.received.last(), Some(&Received::Text(text.to_string())));
                let pongs: Vec<u8> = (1..parts.len()).flat_map(|n| frame(!role, 0x8a, &[n as u8 - 1; 20])).collect();
                assert_eq!(log.output, pongs);
            }
        }
    }
}

#[test]
fn every_code_point_survives_every_split() {
    for role in BOTH {
        let mut utf8 = [0; 4];
        let mut recorder = Recorder::new(open(role), Way::Usual);
        let mut expected = String::new();
        // The whole basic plane, and some of each other plane.
        for c in ('\u{80}'..='\u{ffff}').chain(('\u{10000}'..=char::MAX).step_by(97)) {
            let bytes = c.encode_utf8(&mut utf8).as_bytes();
            let mut stream = Vec::new();
            for parts in all_cuts(bytes) {
                stream.extend(fragmented(role, parts));
                expected.push(c);
            }
            recorder.read(&stream);
        }
        let mut received = String::new();
        for event in &recorder.received {
            match event {
                Received::Text(text) => received.push_str(text),
                Received::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(received == expected);
    }
}

#[test]
fn cuts_do_not_change_long_text() {
    let text = "aé漢𝄞".repeat(60);
    for role in BOTH {
        let whole = frame(role, 0x81, text.as_bytes());
        assert_eq!(check(role, &whole).received, [Received::Text(text.clone())]);
        for size in [1, 2, 3, 5, 129, 257] {
            let stream = fragmented(role, text.as_bytes().chunks(size));
            for read in [1, 7, 131, stream.len()] {
                let log = feed(open(role), Way::Usual, stream.chunks(read));
                assert_eq!(log.received.last(), Some(&Received::Text(text.clone())), "{size} {read}");
            }
        }
    }
}

/// Asserts that text fails exactly at the last byte of `bad`, in one frame, in a frame that
/// announces more, and in fragments.
fn check_bad(bad: &[u8]) {
    check_bad_piece(bad);
    for role in BOTH {
        let one = frame(role, 0x81, bad);
        assert_eq!(check(role, &one).received, [Received::Failed(Violation::TextNotUtf8)]);
        for parts in [bad.chunks(1), bad.chunks(2), bad.chunks(3)] {
            let mut stream = fragmented(role, parts);
            assert_eq!(check(role, &stream).received.last(), Some(&Received::Failed(Violation::TextNotUtf8)));
            // The same if the last frame is not the message's last: it fails at once (Autobahn
            // 6.4.1, 6.4.2).
            let final_frame = stream.len() - frame(role, 0x00, bad.chunks(1).last().unwrap_or_default()).len();
            if bad.len() > 1 && stream[final_frame] == 0x80 {
                stream[final_frame] = 0;
                check_fails(role, &stream, Violation::TextNotUtf8);
            }
        }
    }
}

/// Asserts that a frame that announces more fails exactly at the last byte of `bad`.
fn check_bad_piece(bad: &[u8]) {
    for role in BOTH {
        let mut long = header(role, 0x81, 1000);
        let start = long.len();
        long.extend_from_slice(bad);
        if role == Role::Server {
            mask::apply(&mut long[start..], KEY, 0);
        }
        check_fails(role, &long, Violation::TextNotUtf8);
    }
}

#[test]
fn fg01_bad_text_fails_at_its_first_bad_byte() {
    let bad: [&[u8]; 14] = [
        &[0xff],
        &[0xfe],
        &[0x80],
        &[0xc0],
        &[0xc1],
        &[0xf5],
        &[0xe0, 0x80],
        &[0xed, 0xa0],
        &[0xf0, 0x80],
        &[0xf4, 0x90],
        &[0xc3, b'a'],
        &[0xe2, 0x82, b'a'],
        &[0xf0, 0x9d, 0x84, b'a'],
        &[0xf0, 0x9d, 0xc3],
    ];
    for bad in bad {
        check_bad(bad);
        check_bad(&[GREEK, bad].concat());
    }
    // Long enough for the vectorised validator.
    check_bad_piece(&["x".repeat(200).as_bytes(), &[0xed, 0xa0]].concat());
    // Autobahn 6.3.1: a surrogate after good text, good text after it.
    let role = Role::Server;
    let after = frame(role, 0x81, &[GREEK, &[0xed, 0xa0, 0x80], b"edited"].concat());
    assert_eq!(check(role, &after).received, [Received::Failed(Violation::TextNotUtf8)]);
}

#[test]
fn text_must_not_end_inside_a_code_point() {
    for role in BOTH {
        for cut in [&[0xe2, 0x82][..], &[0xc3], &[0xf0, 0x9d, 0x84]] {
            // Detected at the last byte of the frame,
            check_fails(role, &frame(role, 0x81, &[GREEK, cut].concat()), Violation::TextNotUtf8);
            // or with the header of an empty last frame.
            let empty =
                [frame(role, 0x01, cut), frame(role, 0x89, b"ping"), frame(role, 0x00, b""), header(role, 0x80, 0)];
            check_fails(role, &empty.concat(), Violation::TextNotUtf8);
        }
    }
}

#[test]
fn the_carry_of_one_message_does_not_reach_the_next() {
    for role in BOTH {
        let stream =
            [fragmented(role, GREEK.chunks(1)), frame(role, 0x02, b"\xff"), frame(role, 0x80, b"\xfe")].concat();
        let log = check(role, &stream.repeat(2));
        assert_eq!(
            log.received.iter().filter(|received| **received == Received::Binary(b"\xff\xfe".to_vec())).count(),
            2
        );
    }
}
