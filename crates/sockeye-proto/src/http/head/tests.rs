use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

fn parse(head: &[u8]) -> Result<RequestHead<'_>, HeadError> {
    RequestHead::parse(head, &ProtocolLimits::default())
}

fn refused(head: &[u8]) -> Option<HeadError> {
    parse(head).err()
}

#[test]
fn a_request_is_parsed() {
    let bytes = b"\r\nGET /a?b HTTP/1.1\r\nHOST: example.com\r\nX: \t 1, two \t\r\nx:\r\nX:3\r\nY: \xe9\r\n\r\nrest";
    let head = parse(bytes).unwrap();
    assert_eq!((head.method, head.target, head.version), ("GET", "/a?b", Version::Http11));
    assert_eq!(head.fields.len(), 5);
    assert_eq!(head.fields.get("host"), Some(&b"example.com"[..]));
    assert_eq!(head.fields.get("x"), Some(&b"1, two"[..]));
    assert_eq!(head.fields.all("X").collect::<Vec<_>>(), [&b"1, two"[..], b"", b"3"]);
    assert_eq!(head.fields.get("y"), Some(&b"\xe9"[..]));
    assert_eq!(head.fields.get("z"), None);
    assert!(head.fields.has_token("x", "TWO") && head.fields.has_token("X", "3"));
    assert!(
        !head.fields.has_token("x", "1, two") && !head.fields.has_token("x", "") && !head.fields.has_token("x", "tw")
    );
    assert_eq!(head.fields.iter().next(), Some(("HOST", &b"example.com"[..])));
    assert_eq!(head.host(), Some("example.com"));
}

#[test]
fn http_1_0_needs_no_host() {
    let head = parse(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!((head.version, head.host()), (Version::Http10, None));
    assert!(head.fields.is_empty());
}

#[test]
fn persistence_follows_rfc_9112() {
    for (version, option, keeps) in [
        ("1.1", "x", true),
        ("1.1", "Close", false),
        ("1.1", "keep-alive, close", false),
        ("1.0", "x", false),
        ("1.0", "x, Keep-Alive", true),
    ] {
        let head = format!("GET / HTTP/{version}\r\nHost: a\r\nConnection: {option}\r\n\r\n");
        assert_eq!(parse(head.as_bytes()).unwrap().keeps_alive(), keeps, "{version} {option}");
    }
}

#[test]
fn an_absolute_target_overrides_the_host() {
    let head = parse(b"GET http://b:81/x HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(head.host(), Some("b:81"));
}

#[test]
fn start_lines_are_strict() {
    use HeadError::{StartLine, Target, Version};
    let cases: [(&[u8], HeadError); 22] = [
        (b"GET", StartLine),
        (b"GET /", StartLine),
        (b"GET / ", StartLine),
        (b"GET  / HTTP/1.1", StartLine),
        (b"GET /  HTTP/1.1", StartLine),
        (b" GET / HTTP/1.1", StartLine),
        (b"GET / HTTP/1.1 ", StartLine),
        (b"GET\t/ HTTP/1.1", StartLine),
        (b"GET /\tHTTP/1.1", StartLine),
        (b"G@T / HTTP/1.1", StartLine),
        (b"GET / http/1.1", StartLine),
        (b"GET / HTTP/11", StartLine),
        (b"GET / HTTP/1.10", StartLine),
        (b"GET / HTTP/1", StartLine),
        (b"GET / FOO/1.1", StartLine),
        (b"GET / x HTTP/1.1", StartLine),
        (b"GET / HTTP/0.9", Version),
        (b"GET / HTTP/1.2", Version),
        (b"PRI * HTTP/2.0", Version),
        (b"GET / HTTP/3.0", Version),
        (b"GET /#a HTTP/1.1", Target),
        (b"GET /\xc3\xa9 HTTP/1.1", Target),
    ];
    for (line, error) in cases {
        let head = [line, b"\r\nHost: a\r\n\r\n"].concat();
        assert_eq!(refused(&head), Some(error), "{:?}", String::from_utf8_lossy(line));
    }
    // Bytes that are not UTF-8.
    assert!(refused(b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n").is_some_and(|error| error.status() == 400));
    assert_eq!(Version.status(), 505);
}

#[test]
fn field_lines_are_strict() {
    let lines: [&[u8]; 15] = [
        b"A : b",
        b"A\t: b",
        b": b",
        b"A",
        b"A b: c",
        b"A\x80: b",
        b"\xc3\xa9: b",
        b"A(: b",
        b"A: b\r\n c",
        b"A: b\r\n\tc",
        b"A: b\0",
        b"A\0: b",
        b"A: b\x01",
        b"A: b\rc",
        b"A: b\nC: d",
    ];
    for line in lines {
        for head in [
            [b"GET / HTTP/1.1\r\nHost: a\r\n", line, b"\r\n\r\n"].concat(),
            [b"GET / HTTP/1.1\r\n", line, b"\r\nHost: a\r\n\r\n"].concat(),
            [b"GET / HTTP/1.1\r\nHost: a\r\n", line, b"\r\nB: c\r\n\r\n"].concat(),
        ] {
            let error = refused(&head);
            assert!(error.is_some_and(|error| error.status() == 400), "{:?} {error:?}", String::from_utf8_lossy(&head));
        }
    }
}

#[test]
fn a_request_needs_exactly_one_valid_host() {
    use HeadError::{HostInvalid, HostMissing, HostRepeated};
    for (lines, error) in [
        ("", Some(HostMissing)),
        ("Host: a\r\nHost: a\r\n", Some(HostRepeated)),
        ("Host: a\r\nhost: b\r\n", Some(HostRepeated)),
        ("Host:\r\n", Some(HostInvalid)),
        ("Host: a b\r\n", Some(HostInvalid)),
        ("Host: a/b\r\n", Some(HostInvalid)),
        ("Host: user@a\r\n", Some(HostInvalid)),
        ("Host: a:99999\r\n", Some(HostInvalid)),
        ("Host: \u{e9}\r\n", Some(HostInvalid)),
        ("Host: http://a\r\n", Some(HostInvalid)),
        ("Host: [::1]:7681\r\n", None),
        ("Host: a:80\r\n", None),
    ] {
        let head = format!("GET / HTTP/1.1\r\n{lines}\r\n");
        assert_eq!(refused(head.as_bytes()), error, "{lines:?}");
    }
    assert_eq!(refused(b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"), Some(HostRepeated));
}

#[test]
fn a_hundred_lines_are_accepted_and_one_more_is_not() {
    let head = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(count - 1));
    assert_eq!(parse(head(100).as_bytes()).unwrap().fields.len(), 100);
    assert_eq!(refused(head(101).as_bytes()), Some(HeadError::TooManyLines));
    let limits = ProtocolLimits { head_lines: 1000, ..ProtocolLimits::default() };
    assert_eq!(RequestHead::parse(head(1000).as_bytes(), &limits).unwrap().fields.len(), 1000);
}

#[test]
fn an_incomplete_head_is_reported() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for end in 0..head.len() {
        assert_eq!(refused(&head[..end]), Some(HeadError::Incomplete));
    }
}

#[test]
fn responses_are_parsed_as_strictly() {
    let parse = |head| ResponseHead::parse(head, &ProtocolLimits::default());
    let head = parse(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n").unwrap();
    assert_eq!((head.version, head.status, head.fields.len()), (Version::Http11, 101, 1));
    assert_eq!(parse(b"HTTP/1.0 200 \r\n\r\n").unwrap().version, Version::Http10);
    assert_eq!(parse(b"HTTP/2.0 200 OK\r\n\r\n").err(), Some(HeadError::Version));
    let bad: [&[u8]; 7] = [
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
    ];
    for head in bad {
        assert!(parse(head).is_err(), "{:?}", String::from_utf8_lossy(head));
    }
}

const VALID: [&[u8]; 4] = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /a%20b?c HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
    b"\r\nGET http://a/ HTTP/1.0\r\nRange: bytes=0-1,-5\r\nIf-None-Match: W/\"a\", \"b\"\r\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n",
    b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
      Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: a, b\r\nOrigin: http://a\r\nSec-WebSocket-Extensions: x; y=\"1\"\r\n\r\n\x81\x80",
];

/// Calls everything that reads a head, and asserts what is guaranteed.
fn exercise(bytes: &[u8]) {
    if let Ok(head) = parse(bytes) {
        assert!(head.target.is_ascii() && !head.method.is_empty());
        for (name, value) in head.fields.iter() {
            assert!(!name.is_empty() && !name.contains([' ', ':', '\r', '\n', '\0']));
            assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
            assert_eq!(value, super::super::syntax::trim_ows(value));
        }
        let _ = target::normalise(head.target);
        let _ = crate::http::body::Length::of_request(&head);
        let _ = crate::http::conditional::evaluate(&head, "\"b\"", 784_111_777);
        let _ = crate::http::range::single(&head, 10, "\"b\"", 784_111_777);
        if let Ok(Some(offer)) = crate::handshake::server::Offer::of(&head) {
            let mut out = Vec::new();
            for protocol in offer.protocols() {
                offer.accept(&mut out, Some(protocol), None, &[]).unwrap();
            }
            let _ = offer.origin();
        }
    }
    let _ = ResponseHead::parse(bytes, &ProtocolLimits::default());
}

proptest! {
    #[test]
    fn mutations_of_valid_heads_do_not_panic(
        which in 0..VALID.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..4_u8, prop_oneof![
            Just(b'\r'), Just(b'\n'), Just(b' '), Just(b','), Just(b'"'), Just(b':'), Just(b';'), Just(b'%'), Just(b'0'), any::<u8>()
        ]), 0..8),
    ) {
        let mut bytes = VALID[which].to_vec();
        for (at, kind, byte) in changes {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 if bytes.len() > 1 => { bytes.remove(at); }
                _ => bytes.extend_from_within(at..),
            }
        }
        exercise(&bytes);
    }

    #[test]
    fn random_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        exercise(&bytes);
    }
}
