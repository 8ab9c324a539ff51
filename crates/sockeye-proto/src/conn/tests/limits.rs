//! Any value of a limit is safe: the service checks ranges, but this crate is used alone too.

use core::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::http::body::{Decoder, Length};
use crate::http::{HeadScanner, RequestHead};

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1), Just(u64::MAX), Just(i64::MAX as u64), Just(1 << 46), 0..300_u64]
}

fn time() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::ZERO),
        Just(Duration::MAX),
        Just(Duration::from_nanos(u64::MAX)),
        Just(Duration::new(1, 0))
    ]
}

prop_compose! {
    fn limits()(
        numbers in prop::array::uniform8(number()),
        (close_timeout, pong_within) in (time(), time()),
        ping_after in prop::option::of(time()),
        piece in prop::option::of(number()),
    ) -> ProtocolLimits {
        let [head, lines, line, body, message, fragments, fragment, response] = numbers;
        ProtocolLimits {
            head_bytes: head as usize,
            head_lines: lines as usize,
            request_line_bytes: line as usize,
            body_bytes: body,
            message_bytes: message,
            tiny_fragments: fragments as u32,
            tiny_fragment_bytes: fragment,
            piece_bytes: piece.map(|bytes| bytes as usize),
            close_timeout,
            ping_after,
            pong_within,
            response_body_bytes: response,
        }
    }
}

/// Unmasked frames with short and with extreme lengths, and other bytes.
fn wire() -> impl Strategy<Value = Vec<u8>> {
    let frame = (any::<u8>(), prop_oneof![0_u64..200, Just(65_536), Just(1 << 62), Just(i64::MAX as u64)]).prop_map(
        |(first, len)| {
            let first = if first & 0x40 == 0 { first & 0x81 } else { first & 0x8b };
            let mut frame = vec![first];
            match len {
                0..126 => frame.push(len as u8),
                126..65_536 => frame.extend([&[126][..], &(len as u16).to_be_bytes()].concat()),
                _ => frame.extend([&[127][..], &len.to_be_bytes()].concat()),
            }
            frame.resize(frame.len() + len.min(200) as usize, b'a');
            frame
        },
    );
    prop_oneof![4 => prop::collection::vec(frame, 0..12).prop_map(|frames| frames.concat()), 1 => any::<Vec<u8>>()]
}

/// The lengths of the pieces of a message of ten four-byte code points.
fn pieces(piece_bytes: Option<usize>) -> Vec<usize> {
    let text = "\u{10348}".repeat(10);
    let limits = ProtocolLimits { piece_bytes, ..ProtocolLimits::default() };
    let mut buffer = [vec![0; HEADROOM], frame(Role::Server, 0x81, text.as_bytes())].concat();
    let (mut input, mut connection) = (Input::new(&mut buffer, HEADROOM), with_limits(Role::Server, limits));
    let mut lengths = Vec::new();
    while let Some(Event::Fragment(fragment)) = connection.receive(&mut input).unwrap() {
        lengths.push(fragment.payload.as_bytes().len());
        assert_eq!(fragment.remaining == 0, fragment.last);
    }
    lengths
}

#[test]
fn pieces_are_as_long_as_the_limit_allows() {
    assert_eq!(pieces(None), [40]);
    for least in [0, 1, 3, 4] {
        assert_eq!(pieces(Some(least)), [4; 10], "{least}");
    }
    assert_eq!(pieces(Some(20)), [20, 20]);
    // Two bytes of a code point wait for the next piece.
    assert_eq!(pieces(Some(22)), [20, 20]);
    assert_eq!(pieces(Some(39)), [36, 4]);
    for more in [40, 41, usize::MAX] {
        assert_eq!(pieces(Some(more)), [40], "{more}");
    }
}

#[test]
fn messages_of_one_piece_and_longer_ones_take_turns() {
    for (piece_bytes, message_bytes, whole) in [(5, 100, 5), (3, 100, 4), (100, 6, 6), (usize::MAX, 7, 7)] {
        let limits = ProtocolLimits { piece_bytes: Some(piece_bytes), message_bytes, ..ProtocolLimits::default() };
        let mut connection = with_limits(Role::Server, limits);
        for len in [whole, whole + 1, whole] {
            let mut buffer = [vec![0; HEADROOM], frame(Role::Server, 0x82, &vec![7; len])].concat();
            let mut input = Input::new(&mut buffer, HEADROOM);
            if len as u64 > message_bytes {
                assert_eq!(connection.receive(&mut input), Err(Violation::MessageTooBig));
                break;
            }
            let mut pieces = Vec::new();
            while let Some(Event::Fragment(fragment)) = connection.receive(&mut input).unwrap() {
                assert_eq!((fragment.first, fragment.last), (pieces.is_empty(), fragment.remaining == 0));
                pieces.push(fragment.payload.as_bytes().to_vec());
            }
            assert_eq!((pieces[0].len(), pieces.concat()), (whole, vec![7; len]));
        }
    }
}

#[test]
fn the_pieces_of_an_unfinished_message_come_before_another() {
    let limits = ProtocolLimits { piece_bytes: Some(10), ..ProtocolLimits::default() };
    let mut connection = with_limits(Role::Server, limits);
    let mut buffer = [vec![0; HEADROOM], frame(Role::Server, 0x02, b"a"), frame(Role::Server, 0x82, b"b")].concat();
    let mut input = Input::new(&mut buffer, HEADROOM);
    assert!(connection.receive(&mut input).unwrap().is_some());
    assert_eq!(connection.receive(&mut input), Err(Violation::MessageUnfinished));
}

#[test]
fn another_length_is_for_the_next_piece() {
    let mut connection = open(Role::Server);
    let set = |connection: &mut Connection, piece_bytes| {
        connection.set_limits(Arc::new(ProtocolLimits { piece_bytes, ..ProtocolLimits::default() }));
    };
    let mut buffer = [vec![0; HEADROOM], frame(Role::Server, 0x82, &[7; 100])].concat();
    let mut input = Input::new(&mut buffer, HEADROOM);
    let mut lengths = Vec::new();
    for most in [Some(10), Some(5), None] {
        set(&mut connection, most);
        let Some(Event::Fragment(fragment)) = connection.receive(&mut input).unwrap() else { panic!("no piece") };
        lengths.push(fragment.payload.as_bytes().len());
    }
    assert_eq!(lengths, [10, 5, 85]);
}

proptest! {
    #[test]
    fn no_value_of_a_limit_makes_a_connection_panic(limits in limits(), wire in wire(), at in number()) {
        let now = Instant::from_nanos(at);
        let mut connection = Connection::new(Role::Client, Arc::new(limits), now);
        let mut buffer = vec![0; HEADROOM];
        buffer.extend_from_slice(&wire);
        let mut input = Input::new(&mut buffer, HEADROOM);
        while let Ok(Some(_)) = connection.receive(&mut input) {}
        connection.receive_done(now);
        let mut out = Vec::new();
        for _ in 0..4 {
            let Some(due) = connection.next_deadline() else { break };
            connection.handle_timeout(due);
            connection.transmit(&mut out, &mut || KEY);
        }
        connection.close(crate::close::CloseCode::NORMAL.into(), now);
        connection.transmit(&mut out, &mut || KEY);
        if let Some(due) = connection.next_deadline() {
            connection.handle_timeout(due);
        }
        prop_assert!(out.len() <= 8 * 131);
    }

    #[test]
    fn no_value_of_a_limit_makes_a_head_or_a_body_panic(limits in limits(), noise in any::<Vec<u8>>()) {
        for head in [b"GET / HTTP/1.1\r\nHost: a\r\nB: c\r\n\r\n".to_vec(), noise] {
            let scanned = HeadScanner::new(&limits).scan(&head);
            let parsed = RequestHead::parse(&head, &limits);
            prop_assert!(parsed.is_err() || matches!(scanned, Ok(Some(_))));
            for length in [Length::Exact(u64::MAX), Length::Chunked, Length::UntilClose] {
                let mut decoder = Decoder::new(length, limits.body_bytes);
                let mut input = &head[..];
                while let Ok(Some(_)) = decoder.decode(&mut input) {}
            }
        }
    }
}
