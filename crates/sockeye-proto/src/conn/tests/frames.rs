//! Headers, fragmentation, control frames, limits: rows FR and FG of the abuse table.

use super::*;
use crate::close::CloseCode;
use Violation as V;

#[test]
fn messages_of_every_length_field_arrive_whole() {
    for role in BOTH {
        for len in [0, 1, 2, 125, 126, 127, 128, 300] {
            let payload: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            assert_eq!(check(role, &frame(role, 0x82, &payload)).received, [Received::Binary(payload)]);
        }
        for len in [65_535, 65_536, 70_000] {
            let payload: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            let stream = frame(role, 0x82, &payload);
            for size in [stream.len(), 65_535, 1_000, 13] {
                for way in [Way::Usual, Way::General] {
                    assert_eq!(
                        feed(open(role), way, stream.chunks(size)).received,
                        [Received::Binary(payload.clone())]
                    );
                }
            }
        }
    }
}

#[test]
fn fragments_are_joined_and_control_frames_between_them_are_reported_at_once() {
    for role in BOTH {
        let stream = [
            frame(role, 0x02, b"ab"),
            frame(role, 0x89, b"one"),
            frame(role, 0x00, b""),
            frame(role, 0x00, b"c"),
            frame(role, 0x8a, b""),
            frame(role, 0x80, b""),
            frame(role, 0x81, b""),
            frame(role, 0x01, b""),
            frame(role, 0x80, b"text"),
        ]
        .concat();
        let log = check(role, &stream);
        let expected = [
            Received::Ping(b"one".to_vec()),
            Received::Pong(Vec::new()),
            Received::Binary(b"abc".to_vec()),
            Received::Text(String::new()),
            Received::Text("text".to_string()),
        ];
        assert_eq!(log.received, expected);
        assert_eq!(log.output, frame(!role, 0x8a, b"one"));
    }
}

#[test]
fn every_fragment_reports_what_remains_of_its_frame() {
    let mut connection = open(Role::Client);
    let mut pieces = Vec::new();
    for read in [&[0x02, 5, 1, 2][..], &[3], &[4, 5, 0x80, 1, 6]] {
        let mut buffer = [&[0; HEADROOM][..], read].concat();
        let mut input = Input::new(&mut buffer, HEADROOM);
        while let Some(Event::Fragment(piece)) = connection.receive(&mut input).unwrap() {
            pieces.push((piece.first, piece.last, piece.remaining, piece.payload.as_bytes().to_vec()));
        }
    }
    let expected = [
        (true, false, 3, vec![1, 2]),
        (false, false, 2, vec![3]),
        (false, false, 0, vec![4, 5]),
        (false, true, 0, vec![6]),
    ];
    assert_eq!(pieces, expected);
}

#[test]
fn fr01_reserved_bits_fail_at_the_first_byte() {
    for role in BOTH {
        for opcode in [0x80, 0x81, 0x82, 0x01, 0x88, 0x89, 0x8a] {
            for bits in 1..8 {
                check_fails(role, &[opcode | bits << 4], V::ReservedBit);
            }
        }
    }
}

#[test]
fn a_negotiated_reserved_bit_is_legal_only_in_the_first_frame_of_a_message() {
    use crate::wire::{FrameHeader, Parsed};
    for role in BOTH {
        for first in [0xc1, 0xc2, 0x41, 0x42] {
            let parsed = FrameHeader::parse(&header(role, first, 1), role, 0x40).unwrap();
            assert!(matches!(parsed, Parsed::Complete(FrameHeader { rsv: 0x40, .. }, _)));
        }
        for first in [0xc0, 0x40, 0xc8, 0xc9, 0xca, 0xa1, 0x92] {
            assert_eq!(FrameHeader::parse(&[first], role, 0x40), Err(V::ReservedBit));
        }
    }
}

#[test]
fn fr02_reserved_opcodes_fail_at_the_first_byte() {
    for role in BOTH {
        for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
            check_fails(role, &[0x80 | opcode], V::ReservedOpCode);
            check_fails(role, &[opcode], V::ReservedOpCode);
        }
    }
}

#[test]
fn fr03_the_wrong_mask_bit_fails_at_the_second_byte() {
    for first in [0x81, 0x02, 0x88, 0x89, 0x8a] {
        check_fails(Role::Server, &[first, 5], V::MaskMissing);
        check_fails(Role::Client, &[first, 0x85], V::MaskForbidden);
    }
    check_fails(Role::Server, b"G", V::ReservedBit);
}

#[test]
fn fr04_lengths_in_too_many_bytes_fail() {
    for role in BOTH {
        let medium = second(role, 126);
        let long = second(role, 127);
        check_fails(role, &[0x82, medium, 0, 5], V::LengthNotMinimal);
        check_fails(role, &[0x82, medium, 0, 125], V::LengthNotMinimal);
        check_fails(role, &[0x82, long, 0, 0, 0, 0, 0, 0], V::LengthNotMinimal);
        let whole = feed(open(role), Way::Usual, [&[0x82, long, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4][..]]);
        assert_eq!(whole.received, [Received::Failed(V::LengthNotMinimal)]);
    }
}

#[test]
fn fr05_impossible_lengths_fail_with_the_header() {
    for role in BOTH {
        let long = second(role, 127);
        check_fails(role, &[0x82, long, 0x80], V::LengthTopBit);
        check_fails(role, &[0x02, long, 0xff], V::LengthTopBit);
        for len in [(1 << 63) - 1, 1 << 32, 1 << 31, 16 * 1024 * 1024 + 1] {
            check_fails(role, &header(role, 0x82, len), V::MessageTooBig);
            check_fails(role, &header(role, 0x01, len), V::MessageTooBig);
        }
    }
}

#[test]
fn fr06_a_frame_that_crashed_other_implementations() {
    let row = [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xeb, 0x0e, 0x8f];
    for role in BOTH {
        assert_eq!(check(role, &row).received, [Received::Failed(V::ControlFragmented)]);
        let mut data = row;
        for first in [0x82, 0x02] {
            data[0] = first;
            let wrong = if role == Role::Server { V::LengthTopBit } else { V::MaskForbidden };
            assert_eq!(check(role, &data).received, [Received::Failed(wrong)]);
        }
    }
}

#[test]
fn fr07_and_fg04_a_message_may_have_exactly_the_limit() {
    let limited = |role| with_limits(role, ProtocolLimits { message_bytes: 200, ..ProtocolLimits::default() });
    for role in BOTH {
        let make = || limited(role);
        let whole = Received::Binary(vec![7; 200]);
        assert_eq!(check_with(make, &frame(role, 0x82, &[7; 200])).received, core::slice::from_ref(&whole));
        check_fails_with(make, &header(role, 0x82, 201), V::MessageTooBig);
        check_fails_with(make, &header(role, 0x02, 201), V::MessageTooBig);
        let two = [frame(role, 0x02, &[7; 150]), frame(role, 0x80, &[7; 50])].concat();
        // The limit applies to each message separately.
        assert_eq!(check_with(make, &two.repeat(2)).received, [whole.clone(), whole]);
        let over = [frame(role, 0x02, &[7; 150]), header(role, 0x80, 51)].concat();
        check_fails_with(make, &over, V::MessageTooBig);
        let over = [frame(role, 0x02, &[7; 200]), header(role, 0x00, 1)].concat();
        check_fails_with(make, &over, V::MessageTooBig);
    }
}

#[test]
fn fr09_control_frames_are_short_and_whole() {
    for role in BOTH {
        for opcode in [8, 9, 10] {
            check_fails(role, &[opcode], V::ControlFragmented);
            check_fails(role, &[0x80 | opcode, second(role, 126)], V::ControlTooLong);
            check_fails(role, &[0x80 | opcode, second(role, 127)], V::ControlTooLong);
        }
        let log = check(role, &frame(role, 0x89, &[b'p'; 125]));
        assert_eq!(log.received, [Received::Ping(vec![b'p'; 125])]);
        assert_eq!(log.output, frame(!role, 0x8a, &[b'p'; 125]));
    }
}

#[test]
fn fr10_frames_out_of_order_fail_at_the_first_byte() {
    for role in BOTH {
        let whole = frame(role, 0x82, b"x");
        let begun = frame(role, 0x02, b"x");
        let ended = [&begun[..], &frame(role, 0x80, b"y")].concat();
        for stray in [0x80, 0x00] {
            check_fails(role, &[stray], V::ContinuationUnexpected);
            check_fails(role, &[&whole[..], &[stray]].concat(), V::ContinuationUnexpected);
            check_fails(role, &[&ended[..], &[stray]].concat(), V::ContinuationUnexpected);
        }
        for new in [0x81, 0x82, 0x01, 0x02] {
            check_fails(role, &[&begun[..], &[new]].concat(), V::MessageUnfinished);
        }
        // A violation in the first byte takes precedence over one in the second, however they
        // arrive.
        assert_eq!(check(role, &[0x80, second(!role, 5)]).received, [Received::Failed(V::ContinuationUnexpected)]);
    }
}

#[test]
fn fg05_and_fg06_tiny_fragments_are_counted() {
    for role in BOTH {
        let make = || with_limits(role, ProtocolLimits { tiny_fragments: 3, ..ProtocolLimits::default() });
        let tiny = frame(role, 0x00, &[1; 15]);
        let begun = frame(role, 0x02, b"");
        let two_more = [&begun[..], &tiny, &tiny].concat();
        check_fails_with(make, &[&two_more[..], &header(role, 0x00, 1)].concat(), V::FragmentsTooTiny);
        check_fails_with(make, &[&two_more[..], &header(role, 0x80, 0)].concat(), V::FragmentsTooTiny);
        // Larger fragments and control frames do not count, and each message starts at zero.
        let fine = [
            &two_more[..],
            &frame(role, 0x89, b""),
            &frame(role, 0x00, &[1; 16]),
            &frame(role, 0x80, &[1; 16]),
            &frame(role, 0x82, b"").repeat(9),
            &two_more,
        ]
        .concat();
        assert_eq!(check_with(make, &fine).received.len(), 11);
    }
}

#[test]
fn an_incomplete_header_reports_how_many_bytes_it_needs() {
    use crate::wire::{FrameHeader, Parsed};
    for role in BOTH {
        for len in [0, 125, 126, 65_535, 65_536, (1 << 63) - 1] {
            let bytes = header(role, 0x81, len);
            let mut there = 0;
            loop {
                match FrameHeader::parse(&bytes[..there], role, 0).unwrap() {
                    Parsed::NeedMore(more) => {
                        assert!(more > 0);
                        there += more;
                        assert!(there <= bytes.len(), "it never needs more than the header");
                    }
                    Parsed::Complete(header, used) => {
                        assert_eq!((used, there, header.len, header.fin), (bytes.len(), bytes.len(), len, true));
                        assert_eq!(header.mask, (role == Role::Server).then_some(KEY));
                        break;
                    }
                }
            }
        }
    }
}

#[test]
#[should_panic(expected = "HEADROOM")]
fn an_input_without_headroom_panics() {
    let mut connection = open(Role::Client);
    let _ = connection.receive(&mut Input::new(&mut [0x82], 0));
    let _ = connection.receive(&mut Input::new(&mut [0x00], 0));
}

#[test]
fn a_violation_is_answered_with_its_code_and_reported_once() {
    for role in BOTH {
        let mut recorder = Recorder::new(open(role), Way::Usual);
        recorder.read(&[0xc1]);
        recorder.read(b"anything");
        assert_eq!(recorder.received, [Received::Failed(V::ReservedBit)]);
        let mut body = 1002u16.to_be_bytes().to_vec();
        body.extend_from_slice(b"reserved bit set without an extension");
        assert_eq!(recorder.output, frame(!role, 0x88, &body));
        assert!(!recorder.connection.can_send());
    }
}

/// Text is checked as it arrives, and what a program has closed is dropped.
#[test]
fn what_can_be_received_in_place() {
    for role in BOTH {
        let missing = |first: u8, arrived: usize, limits: ProtocolLimits| {
            let mut connection = with_limits(role, limits);
            let mut buffer = vec![0; HEADROOM];
            buffer.extend_from_slice(&frame(role, first, &[b'a'; 300])[..arrived]);
            let mut input = Input::new(&mut buffer, HEADROOM);
            while connection.receive(&mut input).unwrap().is_some() {}
            connection
        };
        let header = if role == Role::Server { 8 } else { 4 };
        let limits = ProtocolLimits::default;
        assert_eq!(missing(0x82, header + 1, limits()).missing_in_place(), 299);
        assert_eq!(missing(0x02, header + 1, limits()).missing_in_place(), 299);
        assert_eq!(missing(0x82, header, limits()).missing_in_place(), 0, "nothing of the message is reported");
        assert_eq!(missing(0x82, header - 1, limits()).missing_in_place(), 0);
        assert_eq!(missing(0x82, header + 300, limits()).missing_in_place(), 0);
        assert_eq!(missing(0x81, header + 1, limits()).missing_in_place(), 0);
        let mut pieces = limits();
        pieces.piece_bytes = Some(1000);
        assert_eq!(missing(0x82, header + 1, pieces).missing_in_place(), 0);

        let mut connection = missing(0x82, header + 1, limits());
        assert_eq!(connection.receive_in_place(Input::new(&mut [], 0)).remaining, 299);
        connection.close(CloseCode::NORMAL.into(), NOW);
        assert_eq!(connection.missing_in_place(), 0);
        assert_eq!(connection.receive_in_place(Input::new(&mut [], 0)).remaining, 0);
    }
}

#[test]
#[should_panic(expected = "bytes beyond the frame")]
fn bytes_beyond_the_frame_are_not_received_in_place() {
    let _ = open(Role::Client).receive_in_place(Input::new(&mut [1], 0));
}
