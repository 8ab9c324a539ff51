use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::http::{HeadError, RequestHead, ResponseHead};
use crate::limits::ProtocolLimits;

fn length(version: &str, lines: &str) -> Result<Length, HeadError> {
    let head = format!("POST / HTTP/{version}\r\nHost: a\r\n{lines}\r\n");
    Length::of_request(&RequestHead::parse(head.as_bytes(), &ProtocolLimits::default())?)
}

#[test]
fn the_head_of_a_request_determines_the_length() {
    assert_eq!(length("1.1", ""), Ok(Length::None));
    assert_eq!(length("1.1", "Content-Length: 0\r\n"), Ok(Length::Exact(0)));
    assert_eq!(length("1.0", "Content-Length: 0042 \r\n"), Ok(Length::Exact(42)));
    assert_eq!(length("1.1", "Content-Length: 9223372036854775807\r\n"), Ok(Length::Exact(i64::MAX as u64)));
    assert_eq!(length("1.1", "Transfer-Encoding: Chunked\r\n"), Ok(Length::Chunked));
}

#[test]
fn ambiguous_lengths_are_refused() {
    use HeadError::{EncodingInvalid, EncodingOld, EncodingUnknown, LengthAndEncoding, LengthInvalid, LengthRepeated};
    for value in [
        "-1",
        "+5",
        "0x5",
        "5 5",
        "5, 6",
        "5,5",
        "5, 5",
        "",
        "9223372036854775808",
        "18446744073709551616",
        "-120",
        "5.0",
        "\u{665}",
        "5;",
    ] {
        assert_eq!(length("1.1", &format!("Content-Length: {value}\r\n")), Err(LengthInvalid), "{value}");
    }
    for (lines, error) in [
        ("Content-Length: 5\r\nContent-Length: 6\r\n", LengthRepeated),
        ("Content-Length: 5\r\ncontent-length: 5\r\n", LengthRepeated),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", LengthAndEncoding),
        ("Transfer-Encoding: chunked\r\nContent-Length: x\r\n", LengthAndEncoding),
        ("Transfer-Encoding: identity\r\nContent-Length: 5\r\nContent-Length: 5\r\n", LengthAndEncoding),
        ("Transfer-Encoding: xchunked\r\n", EncodingInvalid),
        ("Transfer-Encoding: chunkedx\r\n", EncodingInvalid),
        ("Transfer-Encoding: \"chunked\"\r\n", EncodingInvalid),
        ("Transfer-Encoding: chunked;a=b\r\n", EncodingInvalid),
        ("Transfer-Encoding:\r\n", EncodingInvalid),
        ("Transfer-Encoding: chunked, identity\r\n", EncodingInvalid),
        ("Transfer-Encoding: chunked, chunked\r\n", EncodingInvalid),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", EncodingInvalid),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", EncodingInvalid),
        ("Transfer-Encoding: chunked,\r\n", EncodingInvalid),
        ("Transfer-Encoding: ,chunked\r\n", EncodingInvalid),
        ("Transfer-Encoding: gzip chunked\r\n", EncodingInvalid),
        ("Transfer-Encoding: gzip, chunked\r\n", EncodingUnknown),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", EncodingUnknown),
    ] {
        assert_eq!(length("1.1", lines), Err(error), "{lines:?}");
        assert_eq!(error.status(), if error == EncodingUnknown { 501 } else { 400 });
    }
    assert_eq!(length("1.0", "Transfer-Encoding: chunked\r\n"), Err(EncodingOld));
}

#[test]
fn a_response_may_end_with_the_connection() {
    let length =
        |head: &str| Length::of_response(&ResponseHead::parse(head.as_bytes(), &ProtocolLimits::default()).unwrap());
    assert_eq!(length("HTTP/1.1 200 OK\r\n\r\n"), Ok(Length::UntilClose));
    assert_eq!(length("HTTP/1.1 403 No\r\nContent-Length: 3\r\n\r\n"), Ok(Length::Exact(3)));
    assert_eq!(length("HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n"), Ok(Length::Chunked));
    assert_eq!(length("HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\n"), Ok(Length::None));
    assert_eq!(length("HTTP/1.1 304 No\r\n\r\n"), Ok(Length::None));
    assert_eq!(length("HTTP/1.1 100 Continue\r\n\r\n"), Ok(Length::None));
}

#[derive(Debug, Eq, PartialEq)]
struct Outcome {
    body: Vec<u8>,
    end: Result<bool, BodyError>,
    used: usize,
}

/// Decodes `bytes`, which arrive cut at `cuts`.
fn decode_cut(length: Length, limit: u64, bytes: &[u8], cuts: &[usize]) -> Outcome {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.push(bytes.len());
    cuts.sort_unstable();
    let mut decoder = Decoder::new(length, limit);
    let (mut body, mut used) = (Vec::new(), 0);
    for cut in cuts {
        let mut input = &bytes[used..cut];
        loop {
            let step = decoder.decode(&mut input);
            used = cut - input.len();
            match step {
                Ok(Some(data)) => {
                    assert!(!data.is_empty());
                    body.extend_from_slice(data);
                }
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.decode(&mut input), Err(error), "an error stays");
                    return Outcome { body, end: Err(error), used };
                }
            }
        }
        assert!(decoder.is_done() || input.is_empty());
        if decoder.is_done() {
            break;
        }
    }
    Outcome { body, end: Ok(decoder.is_done()), used }
}

fn decode(length: Length, limit: u64, bytes: &[u8]) -> Outcome {
    let whole = decode_cut(length, limit, bytes, &[]);
    if bytes.len() < 300 {
        for cut in 0..bytes.len() {
            assert_eq!(decode_cut(length, limit, bytes, &[cut]), whole, "cut at {cut}");
        }
    }
    let all: Vec<usize> = (0..bytes.len()).collect();
    assert_eq!(decode_cut(length, limit, bytes, &all), whole, "one byte at a time");
    whole
}

fn chunked(bytes: &[u8]) -> Result<(Vec<u8>, usize), BodyError> {
    let outcome = decode(Length::Chunked, 1024, bytes);
    assert!(outcome.end?, "not done: {:?}", String::from_utf8_lossy(bytes));
    Ok((outcome.body, outcome.used))
}

#[test]
fn a_body_of_known_length_ends_there() {
    let outcome = decode(Length::Exact(5), 5, b"hello rest");
    assert_eq!(outcome, Outcome { body: b"hello".to_vec(), end: Ok(true), used: 5 });
    assert_eq!(decode(Length::None, 0, b"rest"), Outcome { body: vec![], end: Ok(true), used: 0 });
    assert!(Decoder::new(Length::None, 0).is_done() && Decoder::new(Length::Exact(0), 0).is_done());
    assert_eq!(decode(Length::Exact(5), 5, b"he").end, Ok(false));
}

#[test]
fn a_declared_length_over_the_limit_is_refused_at_once() {
    assert_eq!(Decoder::new(Length::Exact(6), 5).decode(&mut &b""[..]), Err(BodyError::TooLarge));
    assert_eq!(Decoder::new(Length::Exact(u64::MAX), 5).decode(&mut &b"x"[..]), Err(BodyError::TooLarge));
    assert_eq!(decode(Length::Chunked, 5, b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").end, Ok(true));
    assert_eq!(decode(Length::Chunked, 5, b"3\r\nabc\r\n3\r\n").end, Err(BodyError::TooLarge));
    assert_eq!(decode(Length::UntilClose, 5, b"hello").end, Ok(false));
    assert_eq!(decode_cut(Length::UntilClose, 5, b"hello!", &[]).end, Err(BodyError::TooLarge));
    assert_eq!(BodyError::TooLarge.status(), 413);
}

#[test]
fn chunks_are_joined() {
    for (bytes, body) in [
        (&b"0\r\n\r\n"[..], &b""[..]),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"1\r\na\r\n00A\r\n0123456789\r\n000\r\n\r\n", b"a0123456789"),
        (b"1;a\r\nx\r\n1;a=b;c=\"d e\"\r\ny\r\n0;z\r\n\r\n", b"xy"),
        (b"1 \t;a\r\nx\r\n0\r\nTrailer: v\r\nB:\r\n\r\n", b"x"),
        (b"0000000000000001\r\nx\r\n0000000000000000\r\n\r\n", b"x"),
    ] {
        let with_next = [bytes, b"GET /"].concat();
        assert_eq!(chunked(&with_next), Ok((body.to_vec(), bytes.len())), "{:?}", String::from_utf8_lossy(bytes));
        for end in 0..bytes.len() {
            assert_eq!(decode_cut(Length::Chunked, 1024, &bytes[..end], &[]).end, Ok(false));
        }
    }
}

#[test]
fn malformed_chunks_are_refused() {
    use BodyError::{ChunkSize, Extension, LineEnd, TooLarge, Trailer};
    let cases: [(&[u8], BodyError); 32] = [
        (b"\r\n", ChunkSize),
        (b"\n", ChunkSize),
        (b" 1\r\n", ChunkSize),
        (b";a\r\n", ChunkSize),
        (b"-1\r\n", ChunkSize),
        (b"+3\r\n", ChunkSize),
        (b"0x3\r\n", ChunkSize),
        (b"3g\r\n", ChunkSize),
        (b"3 3\r\n", ChunkSize),
        (b"3 \r\n", ChunkSize),
        (b"3_\r\n", ChunkSize),
        (b"\xef\xbc\x93\r\n", ChunkSize),
        (b"FFFFFFFFFFFFFFFF\r\n", TooLarge),
        (b"fffffffffffffffe\r\n", TooLarge),
        (b"10000000000000000\r\n", TooLarge),
        (b"00000000000000003\r\n", ChunkSize),
        (b"3\nabc", LineEnd),
        (b"3\rabc", LineEnd),
        (b"3\r\nabcd", LineEnd),
        (b"3\r\nabc\n", LineEnd),
        (b"3\r\nabc\rX", LineEnd),
        (b"3;a\nabc", LineEnd),
        (b"3;a\rabc", LineEnd),
        (b"3;\0\r\n", Extension),
        (b"3;\x7f\r\n", Extension),
        (b"0\r\n\n", LineEnd),
        (b"0\r\n\rX", LineEnd),
        (b"0\r\n A: b\r\n\r\n", Trailer),
        (b"0\r\nA : b\r\n\r\n", Trailer),
        (b"0\r\nA\r\n\r\n", Trailer),
        (b"0\r\nA: b\0\r\n\r\n", Trailer),
        (b"0\r\nA: b\n\r\n", LineEnd),
    ];
    for (bytes, error) in cases {
        assert_eq!(decode(Length::Chunked, 1024, bytes).end, Err(error), "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn extensions_and_trailers_are_bounded() {
    let extension = |len: usize| [&b"1;"[..], &vec![b'x'; len], b"\r\na\r\n0\r\n\r\n"].concat();
    assert_eq!(chunked(&extension(4095)).map(|(body, _)| body), Ok(b"a".to_vec()));
    assert_eq!(chunked(&extension(4096)), Err(BodyError::Overhead));
    let many = [b"1;abcdef\r\na\r\n".repeat(600), b"0\r\n\r\n".to_vec()].concat();
    assert_eq!(decode_cut(Length::Chunked, 1024, &many, &[]).end, Err(BodyError::Overhead));
    let trailers = [&b"0\r\n"[..], &b"A: b\r\n".repeat(10_000), b"\r\n"].concat();
    assert_eq!(decode_cut(Length::Chunked, 1024, &trailers, &[]).end, Err(BodyError::Overhead));
    let few = [&b"0\r\n"[..], &b"A: b\r\n".repeat(100), b"\r\n"].concat();
    assert_eq!(decode_cut(Length::Chunked, 1024, &few, &[]).end, Ok(true));
    assert_eq!(BodyError::Overhead.status(), 400);
}

proptest! {
    #[test]
    fn cuts_do_not_change_the_result(
        pieces in prop::collection::vec(prop_oneof![
            Just(&b"\r\n"[..]), Just(&b"0"[..]), Just(&b"3"[..]), Just(&b"abc"[..]), Just(&b";x=1"[..]), Just(&b"\n"[..]), Just(&b": "[..]),
            Just(&b"3\r\nabc\r\n"[..]), Just(&b"0\r\n\r\n"[..]), Just(&b"FFFFFFFF"[..]), Just(&b"\0"[..]),
        ], 0..12),
        cuts in prop::collection::vec(any::<usize>(), 0..6),
        limit in 0..12_u64,
        kind in 0..3_u8,
    ) {
        let bytes = pieces.concat();
        let length = match kind { 0 => Length::Chunked, 1 => Length::Exact(7), _ => Length::UntilClose };
        let whole = decode_cut(length, limit, &bytes, &[]);
        let cut = decode_cut(length, limit, &bytes, &cuts);
        prop_assert_eq!(&cut.end, &whole.end);
        if kind != 2 || whole.end.is_ok() {
            prop_assert_eq!(cut, whole);
        }
    }

    #[test]
    fn encoded_chunks_are_decoded(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6)) {
        let mut bytes = Vec::new();
        for chunk in &chunks {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        prop_assert_eq!(chunked(&bytes), Ok((chunks.concat(), bytes.len())));
    }

    #[test]
    fn random_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), cuts in prop::collection::vec(any::<usize>(), 0..4)) {
        prop_assert_eq!(decode_cut(Length::Chunked, 50, &bytes, &cuts), decode_cut(Length::Chunked, 50, &bytes, &[]));
    }
}

#[test]
fn the_data_before_the_next_framing_is_known() {
    let mut decoder = Decoder::new(Length::Exact(5), 10);
    assert_eq!(decoder.data_left(), 5);
    assert_eq!(decoder.decode(&mut &b"ab"[..]), Ok(Some(&b"ab"[..])));
    assert_eq!(decoder.data_left(), 3);
    let mut decoder = Decoder::new(Length::Chunked, 10);
    assert_eq!(decoder.data_left(), 0);
    assert_eq!(decoder.decode(&mut &b"4\r\na"[..]), Ok(Some(&b"a"[..])));
    assert_eq!(decoder.data_left(), 3);
    assert_eq!(decoder.decode(&mut &b"bcd\r"[..]), Ok(Some(&b"bcd"[..])));
    assert_eq!(decoder.data_left(), 0);
}
