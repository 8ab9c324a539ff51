use alloc::string::String;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::http::ResponseHead;

fn limits(head_bytes: usize, head_lines: usize, request_line_bytes: usize) -> ProtocolLimits {
    ProtocolLimits { head_bytes, head_lines, request_line_bytes, ..ProtocolLimits::default() }
}

/// Scans `buf` as it grows to each length in `cuts`, and then whole.
fn scan_cut(buf: &[u8], cuts: &[usize], limits: &ProtocolLimits) -> Result<Option<usize>, HeadError> {
    let mut scanner = HeadScanner::new(limits);
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (buf.len() + 1)).collect();
    cuts.sort_unstable();
    for cut in cuts {
        match scanner.scan(&buf[..cut]) {
            Ok(None) => {}
            over => return over,
        }
    }
    scanner.scan(buf)
}

/// The result, which must not depend on the cuts.
fn scan(buf: &[u8], limits: &ProtocolLimits) -> Result<Option<usize>, HeadError> {
    let whole = scan_cut(buf, &[], limits);
    for cut in 0..=buf.len() {
        assert_eq!(scan_cut(buf, &[cut], limits), whole, "cut at {cut}");
    }
    let bytes: Vec<usize> = (0..=buf.len()).collect();
    assert_eq!(scan_cut(buf, &bytes, limits), whole, "one byte at a time");
    whole
}

#[test]
fn the_end_is_found_and_what_follows_is_ignored() {
    let limits = ProtocolLimits::default();
    for (head, rest) in [
        ("GET / HTTP/1.1\r\n\r\n", ""),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\n\0garbage"),
        ("\r\nGET / HTTP/1.1\r\nHost: a\r\nB:\t\u{e9}\r\n\r\n", "GET"),
    ] {
        let buf = [head, rest].concat();
        assert_eq!(scan(buf.as_bytes(), &limits), Ok(Some(head.len())), "{head:?}");
    }
    for incomplete in
        ["", "\r", "\r\n", "G", "GET / HTTP/1.1\r", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\n\r", "x\r\ny"]
    {
        assert_eq!(scan(incomplete.as_bytes(), &limits), Ok(None), "{incomplete:?}");
    }
}

#[test]
fn a_complete_scanner_stays_complete() {
    let mut scanner = HeadScanner::new(&ProtocolLimits::default());
    assert_eq!(scanner.scan(b"x\r\n\r\n"), Ok(Some(5)));
    assert_eq!(scanner.scan(b"x\r\n\r\nmore"), Ok(Some(5)));
}

#[test]
fn malformed_lines_are_refused_however_they_are_cut() {
    use HeadError::{Control, Folded, LineEnd, StartLine, Tls};
    let cases: [(&[u8], HeadError); 22] = [
        (b"\n", LineEnd),
        (b"\r\r", LineEnd),
        (b"\r\n\r\n", StartLine),
        (b"\r\n\n", LineEnd),
        (b"\0", Control),
        (b"\x16\x03\x01", Tls),
        (b"GET / HTTP/1.1\n", LineEnd),
        (b"GET / HTTP/1.1\rX", LineEnd),
        (b"GET / HTTP/1.1\r\r\n", LineEnd),
        (b"GET /\0 HTTP/1.1\r\n", Control),
        (b"GET / HTTP/1.1\r\n\n", LineEnd),
        (b"GET / HTTP/1.1\r\n\rX", LineEnd),
        (b"GET / HTTP/1.1\r\n A: b", Folded),
        (b"GET / HTTP/1.1\r\nA: b\r\n\tc", Folded),
        (b"GET / HTTP/1.1\r\nA: b\n", LineEnd),
        (b"GET / HTTP/1.1\r\nA: b\rc", LineEnd),
        (b"GET / HTTP/1.1\r\nA: b\0", Control),
        (b"GET / HTTP/1.1\r\nA\0: b", Control),
        (b"GET / HTTP/1.1\r\nA: \x01", Control),
        (b"GET / HTTP/1.1\r\nA: \x7f", Control),
        (b"GET / HTTP/1.1\r\n\x0bA: ", Control),
        (b"GET / HTTP/1.1\r\nA: \x1b", Control),
    ];
    for (bytes, error) in cases {
        assert_eq!(scan(bytes, &ProtocolLimits::default()), Err(error), "{bytes:?}");
        assert_eq!(error.status(), 400);
        // What came before does not matter for what follows.
        let longer = [bytes, b"\r\n\r\n"].concat();
        assert_eq!(scan(&longer, &ProtocolLimits::default()), Err(error), "{bytes:?}");
    }
}

#[test]
fn a_head_at_the_limits_is_accepted_and_one_over_is_not() {
    let head = b"GET /path HTTP/1.1\r\nHost: a\r\nB: c\r\n\r\n";
    let (bytes, lines, line) = (head.len(), 2, "GET /path HTTP/1.1".len());
    assert_eq!(scan(head, &limits(bytes, lines, line)), Ok(Some(bytes)));
    assert_eq!(scan(head, &limits(bytes - 1, lines, line)), Err(HeadError::HeadTooLong));
    assert_eq!(scan(head, &limits(bytes, lines - 1, line)), Err(HeadError::TooManyLines));
    assert_eq!(scan(head, &limits(bytes, lines, line - 1)), Err(HeadError::StartLineTooLong));
    assert_eq!(scan(head, &limits(bytes, lines, 0)), Err(HeadError::StartLineTooLong));
    assert_eq!(scan(head, &limits(0, lines, line)), Err(HeadError::HeadTooLong));
    // The empty line before it counts towards the head, but not towards the request line.
    let late = [&b"\r\n"[..], head].concat();
    assert_eq!(scan(&late, &limits(bytes + 2, lines, line)), Ok(Some(bytes + 2)));
    assert_eq!(scan(&late, &limits(bytes + 1, lines, line)), Err(HeadError::HeadTooLong));
    assert_eq!(HeadError::HeadTooLong.status(), 431);
    assert_eq!(HeadError::TooManyLines.status(), 431);
    assert_eq!(HeadError::StartLineTooLong.status(), 414);
}

#[test]
fn no_more_than_the_limit_is_read() {
    let limits = ProtocolLimits::default();
    let mut endless = b"GET / HTTP/1.1\r\nA: ".to_vec();
    endless.resize(1024 * 1024, b'x');
    let mut scanner = HeadScanner::new(&limits);
    assert_eq!(scanner.scan(&endless), Err(HeadError::HeadTooLong));
    assert!(scanner.reads <= 2 * limits.head_bytes);
    // Detected as soon as the limit is reached, without a further byte.
    assert_eq!(scan_cut(&endless[..limits.head_bytes], &[], &limits), Err(HeadError::HeadTooLong));
    let mut target = b"GET /".to_vec();
    target.resize(100 * 1024, b'x');
    assert_eq!(scan_cut(&target, &[], &limits), Err(HeadError::StartLineTooLong));
}

#[test]
fn one_byte_segments_cost_no_more_than_three_pieces() {
    let mut head = String::from("GET / HTTP/1.1\r\n");
    while head.len() < 8 * 1024 - 100 {
        head += "X-Some-Field: some value of usual length, as cookies are\r\n";
    }
    head += "\r\n";
    let limits = ProtocolLimits { head_lines: 1000, ..ProtocolLimits::default() };
    let mut whole = HeadScanner::new(&limits);
    assert_eq!(whole.scan(head.as_bytes()), Ok(Some(head.len())));
    let mut pieces = HeadScanner::new(&limits);
    for end in 0..head.len() {
        assert_eq!(pieces.scan(&head.as_bytes()[..end]), Ok(None));
    }
    assert_eq!(pieces.scan(head.as_bytes()), Ok(Some(head.len())));
    assert!(whole.reads >= head.len());
    assert!(pieces.reads < 3 * whole.reads, "{} against {}", pieces.reads, whole.reads);
    assert!(pieces.reads <= 2 * head.len());
}

proptest! {
    #[test]
    fn cuts_do_not_change_the_result(
        bytes in prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'a'), Just(b' '), Just(b':'), any::<u8>()], 0..80),
        cuts in prop::collection::vec(any::<usize>(), 0..6),
        sizes in (0..80_usize, 0..4_usize, 0..20_usize),
    ) {
        let limits = limits(sizes.0, sizes.1, sizes.2);
        prop_assert_eq!(scan_cut(&bytes, &cuts, &limits), scan_cut(&bytes, &[], &limits));
    }
}

/// The result of a scan that gets one byte more each time, which is that of a scan of all at once.
fn scan_response(bytes: &[u8]) -> Result<Option<usize>, HeadError> {
    let limits = ProtocolLimits::default();
    let whole = HeadScanner::for_response(&limits).scan(bytes);
    let mut scanner = HeadScanner::for_response(&limits);
    let mut found = Ok(None);
    for end in 0..=bytes.len() {
        found = scanner.scan(&bytes[..end]);
        if found != Ok(None) {
            break;
        }
    }
    assert_eq!(found, whole, "{bytes:?}");
    whole
}

#[test]
fn an_answer_that_is_not_http_is_known_by_its_first_bytes() {
    for (bytes, found) in [
        (&b"SSH-"[..], Err(HeadError::Ssh)),
        (b"SSH", Ok(None)),
        (b"SMTP", Err(HeadError::NotHttp)),
        (b"\x15\x03\x03\0\x02\x02\x16", Err(HeadError::Tls)),
        (b"\x16", Err(HeadError::Tls)),
        (b"220 mail.example ESMTP", Err(HeadError::NotHttp)),
        (b"http/1.1", Err(HeadError::NotHttp)),
        (b"HTTP1", Err(HeadError::NotHttp)),
        (b"\0\0\x12\x04", Err(HeadError::NotHttp)),
        (b"<html>", Err(HeadError::NotHttp)),
        (b"HTTP/1.1 200", Ok(None)),
        (b"\r\nHTTP/1.1 200", Ok(None)),
        (b"\r\nx", Err(HeadError::NotHttp)),
    ] {
        assert_eq!(scan_response(bytes), found, "{bytes:?}");
    }
}

#[test]
fn folded_lines_of_a_response_are_one_line() {
    let limits = ProtocolLimits::default();
    for (folded, value) in [
        (&b"HTTP/1.1 200 OK\r\nA: one\r\n two\r\nB: c\r\n\r\n"[..], &b"one   two"[..]),
        (b"HTTP/1.1 200 OK\r\nA:\r\n\tone\r\n \r\n  two\r\nB: c\r\n\r\n", b"one       two"),
        (b"HTTP/1.1 200 OK\r\nA: one two\r\n \r\nB: c\r\n\r\n", b"one two"),
    ] {
        assert_eq!(scan_response(folded), Ok(Some(folded.len())));
        assert_eq!(ResponseHead::parse(folded, &limits).err(), Some(HeadError::Folded));
        let mut scanner = HeadScanner::for_response(&limits);
        let mut head = folded.to_vec();
        scanner.scan(&head).unwrap();
        scanner.unfold(&mut head);
        let head = ResponseHead::parse(&head, &limits).unwrap();
        assert_eq!((head.fields.get("A"), head.fields.get("B")), (Some(value), Some(&b"c"[..])));
    }
    // Nothing is there for it to go on.
    assert_eq!(scan_response(b"HTTP/1.1 200 OK\r\n A: b"), Err(HeadError::Folded));
}
