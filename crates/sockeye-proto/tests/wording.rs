//! What breaks a rule is told in words that name the rule: each wrong input beside a part of its message.

use sockeye_proto::conn::ControlPayload;
use sockeye_proto::handshake::client::{self, UpgradeRequest};
use sockeye_proto::http::body::{Decoder, Length};
use sockeye_proto::http::{HeadError, HeadScanner, RequestHead, emit, target};
use sockeye_proto::limits::ProtocolLimits;
use sockeye_proto::proxy_protocol::HeaderDecoder;

fn limits() -> ProtocolLimits {
    let mut limits = ProtocolLimits::default();
    (limits.head_bytes, limits.request_line_bytes, limits.head_lines) = (400, 100, 4);
    limits
}

/// What is wrong with the head of a request, and with its framing.
fn head_error(head: &[u8]) -> HeadError {
    let limits = limits();
    if let Err(error) = HeadScanner::new(&limits).scan(head) {
        return error;
    }
    let parsed = match RequestHead::parse(head, &limits) {
        Ok(parsed) => parsed,
        Err(error) => return error,
    };
    match Length::of_request(&parsed) {
        Err(error) => error,
        Ok(_) => target::normalise(parsed.target).expect_err("a wrong head"),
    }
}

#[test]
fn a_wrong_head_is_told() {
    let long_line = format!("GET /{} HTTP/1.1\r\n", "a".repeat(100));
    let long_head = format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}", "a".repeat(400));
    let many_lines = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(5));
    let with = |fields: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let to = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    let cases: &[(String, &str, u16)] = &[
        ("GET / HTTP/1.1\r\nHost: a\r\n".to_owned(), "not complete", 400),
        ("GET / HTTP/1.1\nHost: a\r\n\r\n".to_owned(), "CR LF", 400),
        ("\u{16}\u{3}\u{1}\0".to_owned(), "TLS", 400),
        (with("A: \0\r\n"), "forbidden", 400),
        (with(" A: b\r\n"), "white space", 400),
        (long_head, "the head is too long", 431),
        (many_lines, "too many field lines", 431),
        (long_line, "first line is too long", 414),
        ("GET / / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "malformed", 400),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n".to_owned(), "HTTP/1.0 and HTTP/1.1", 505),
        (with("A : b\r\n"), "followed by a colon", 400),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "must have a Host", 400),
        (with("Host: b\r\n"), "one Host field only", 400),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".to_owned(), "optional port", 400),
        (to("a"), "target is malformed", 400),
        (to("/%0"), "hexadecimal", 400),
        (to("/%00"), "forbidden character", 400),
        (to("/../a"), "above the root", 400),
        (with("Content-Length: +1\r\n"), "one decimal number", 400),
        (with("Content-Length: 1\r\nContent-Length: 1\r\n"), "more than once", 400),
        (with("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), "exclude each other", 400),
        ("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(), "HTTP/1.0 has no", 400),
        (with("Transfer-Encoding: chunked, chunked\r\n"), "end in one chunked", 400),
        (with("Transfer-Encoding: gzip, chunked\r\n"), "only supported transfer coding", 501),
    ];
    let mut told = Vec::new();
    for (head, words, status) in cases {
        let error = head_error(head.as_bytes());
        let text = error.to_string();
        assert!(text.contains(words) && !text.ends_with('.') && !text.contains('\n'), "{head:?}: {text}");
        assert_eq!(error.status(), *status, "{head:?}: {text}");
        assert!(!told.contains(&text), "{head:?} is told as another one: {text}");
        told.push(text);
    }
    for (answer, words) in [(&b"GET / HTTP/1.1\r\n"[..], "begin with HTTP/"), (b"SSH-2.0-x\r\n", "SSH")] {
        let error = HeadScanner::for_response(&limits()).scan(answer).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn a_wrong_body_is_told() {
    let cases: [(&[u8], &str); 5] = [
        (b"x", "1 to 16 hexadecimal digits"),
        (b"1\r\nab", "CR LF"),
        (b"1;\0", "extension"),
        (b"0\r\n:", "trailer"),
        (b"5\r\nabcde\r\n5\r\nabcde", "too large"),
    ];
    for (body, words) in cases {
        let mut decoder = Decoder::new(Length::Chunked, 8);
        let mut input = body;
        let error = loop {
            match decoder.decode(&mut input) {
                Ok(Some(_)) => {}
                Ok(None) => panic!("{body:?} is taken"),
                Err(error) => break error,
            }
        };
        assert!(error.to_string().contains(words), "{body:?}: {error}");
    }
    let long = [&b"1;"[..], &[b'a'; 100_000]].concat();
    let error = Decoder::new(Length::Chunked, 8).decode(&mut &long[..]).unwrap_err();
    assert!(error.to_string().contains("too long"), "{error}");
}

#[test]
fn a_wrong_proxy_header_is_told() {
    const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
    let v2 = |rest: &[u8]| [V2, rest].concat();
    let cases = [
        (b"GET / HTTP/1.1\r\n".to_vec(), "no PROXY header"),
        (v2(b"\x11\x11\0\x0c"), "version"),
        (v2(b"\x22\x11\0\x0c"), "command"),
        (v2(b"\x21\x12\0\x0c"), "family"),
        (b"PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n".to_vec(), "address"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 x 2\r\n".to_vec(), "port"),
        (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\rx".to_vec(), "CR LF"),
        ([b"PROXY UNKNOWN ".to_vec(), vec![b'a'; 107]].concat(), "107 bytes"),
        (v2(b"\x21\x11\0\x01"), "too short"),
        (v2(b"\x21\x11\xff\xff"), "longer than allowed"),
    ];
    for (header, words) in cases {
        let mut decoder = HeaderDecoder::new(500);
        assert!(decoder.is_untouched());
        let error = decoder.decode(&mut &header[..]).expect_err("a wrong header");
        assert!(error.to_string().contains(words), "{header:?}: {error}");
        assert!(!decoder.is_untouched());
    }
}

#[test]
fn a_wrong_answer_to_a_handshake_is_told() {
    const NONCE: [u8; 16] = *b"the sample nonce";
    let answer = |fields: &str| {
        format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{fields}\r\n")
    };
    let accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    let cases = [
        ("junk\r\n\r\n".to_owned(), "not HTTP"),
        ("HTTP/1.1 403 Forbidden\r\n\r\n".to_owned(), "403 instead of 101"),
        ("HTTP/1.0 101 x\r\n\r\n".to_owned(), "HTTP/1.0"),
        ("HTTP/1.1 101 x\r\n\r\n".to_owned(), "Upgrade is not websocket"),
        ("HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n".to_owned(), "lacks the token Upgrade"),
        (answer(""), "does not answer the key"),
        (answer(&format!("{accept}Sec-WebSocket-Extensions: ;;\r\n")), "is malformed"),
        (answer(&format!("{accept}Sec-WebSocket-Extensions: x\r\n")), "extension that was not offered"),
        (answer(&format!("{accept}Sec-WebSocket-Protocol: b\r\n")), "subprotocol that was not offered"),
        (answer(&format!("{accept}Sec-WebSocket-Protocol: a, b\r\n")), "more than one subprotocol"),
    ];
    for (head, words) in cases {
        let error = client::check(head.as_bytes(), NONCE, &["a"], None, &ProtocolLimits::default()).unwrap_err();
        assert!(error.to_string().contains(words), "{head:?}: {error}");
    }
}

#[test]
fn a_wrong_request_of_the_program_is_told() {
    let request = || UpgradeRequest::new("a", "/").unwrap();
    let cases = [
        (UpgradeRequest::new("a/b", "/").unwrap_err(), "host"),
        (UpgradeRequest::new("a", "b").unwrap_err(), "target"),
        (request().origin("a").unwrap_err(), "origin"),
        (request().protocol("a b").unwrap_err(), "token"),
        (request().protocol("a").unwrap().protocol("a").unwrap_err(), "only once"),
        (request().header("a b", "c").unwrap_err(), "field name"),
        (request().header("a", "\r").unwrap_err(), "field value"),
        (request().header("Upgrade", "x").unwrap_err(), "by the handshake itself"),
    ];
    for (error, words) in cases {
        assert!(error.to_string().contains(words), "{error}");
    }
    let long = ControlPayload::new(&[0; 126]).unwrap_err();
    assert_eq!(long.to_string(), "the payload of a control frame is limited to 125 bytes");
    let payload = ControlPayload::new(b"hi").unwrap();
    assert!(payload != ControlPayload::default() && format!("{payload:?}").contains("[104, 105]"));
    assert_eq!(emit::check_field("a b", "c").unwrap_err().to_string(), "a field name must be a token");
    assert!(emit::check_field("a", "\n").unwrap_err().to_string().contains("control characters"));
}

/// RFC 9110 section 15, RFC 6585 and RFC 8470: the phrases of the statuses that a server of ours sends.
#[test]
fn a_status_has_the_phrase_of_its_rfc() {
    const PHRASES: &str = "100 Continue,101 Switching Protocols,200 OK,201 Created,202 Accepted,204 No Content,\
        206 Partial Content,301 Moved Permanently,302 Found,303 See Other,304 Not Modified,307 Temporary Redirect,\
        308 Permanent Redirect,400 Bad Request,401 Unauthorized,403 Forbidden,404 Not Found,405 Method Not Allowed,\
        406 Not Acceptable,407 Proxy Authentication Required,408 Request Timeout,409 Conflict,410 Gone,\
        411 Length Required,412 Precondition Failed,413 Content Too Large,414 URI Too Long,\
        415 Unsupported Media Type,416 Range Not Satisfiable,417 Expectation Failed,421 Misdirected Request,\
        422 Unprocessable Content,425 Too Early,426 Upgrade Required,428 Precondition Required,\
        429 Too Many Requests,431 Request Header Fields Too Large,500 Internal Server Error,501 Not Implemented,\
        502 Bad Gateway,503 Service Unavailable,504 Gateway Timeout,505 HTTP Version Not Supported";
    for phrase in PHRASES.split(',') {
        let (status, phrase) = phrase.split_once(' ').unwrap();
        assert_eq!(emit::reason(status.parse().unwrap()), phrase, "{status}");
    }
    assert_eq!(emit::reason(299), "");
}
