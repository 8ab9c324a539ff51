use proptest::prelude::*;
use sockeye_proto::http::HeadError;
use sockeye_proto::limits::ProtocolLimits;

use crate::client::Proxy;
use crate::client::negotiate::{Negotiated, Negotiation, ProxyFailure};

fn negotiation(proxy: &str, host: &str, port: u16) -> Negotiation {
    Proxy::parse(proxy).unwrap().negotiate(host, port, &ProtocolLimits::default()).unwrap()
}

/// The result, the whole output, and the rest of the input.
type Outcome = (Result<Negotiated, ProxyFailure>, Vec<u8>, Vec<u8>);

/// Feeds pieces as the loop does, and collects what is left of them after the end.
fn feed<'i>(mut negotiation: Negotiation, pieces: impl IntoIterator<Item = &'i [u8]>) -> Outcome {
    let mut out = Vec::new();
    negotiation.start(&mut out);
    let mut left = Vec::new();
    let mut outcome = Ok(Negotiated::More);
    for piece in pieces {
        let mut input = piece;
        if outcome == Ok(Negotiated::More) {
            outcome = negotiation.feed(&mut input, &mut out);
            assert!(outcome != Ok(Negotiated::More) || input.is_empty(), "all input is consumed while more is needed");
        }
        left.extend_from_slice(input);
    }
    if let (Ok(Negotiated::More), Some(failure)) = (&outcome, negotiation.end()) {
        outcome = Err(failure);
    }
    if outcome != Ok(Negotiated::More) {
        let mut after: &[u8] = b"after";
        assert_eq!(negotiation.feed(&mut after, &mut Vec::new()), outcome, "the outcome stays the same");
        assert!(outcome.is_err() || after == b"after", "nothing is consumed after the end");
    }
    (outcome, out, left)
}

/// The outcome, which must be the same with the input split at each byte and into single bytes.
fn outcome(proxy: &str, host: &str, port: u16, input: &[u8]) -> Outcome {
    let run = |pieces: Vec<&[u8]>| feed(negotiation(proxy, host, port), pieces);
    let whole = run(vec![input]);
    let mut cuts: Vec<Outcome> = (0..=input.len()).map(|at| run(vec![&input[..at], &input[at..]])).collect();
    cuts.push(run(input.chunks(1).collect()));
    for cut in cuts {
        assert_eq!((&cut.0, &cut.1), (&whole.0, &whole.1));
        if whole.0.is_ok() {
            assert_eq!(cut.2, whole.2);
        }
    }
    whole
}

fn http(input: &[u8]) -> (Result<Negotiated, ProxyFailure>, Vec<u8>) {
    let (outcome, _, left) = outcome("p", "a", 80, input);
    (outcome, left)
}

fn socks(proxy: &str, input: &[u8]) -> Outcome {
    outcome(proxy, "example.com", 80, input)
}

#[test]
fn the_connect_request_names_host_and_port() {
    for (proxy, host, port, request) in [
        ("p", "a", 80, "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"),
        ("p", "::1", 443, "CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\r\n"),
        (
            "http://Aladdin:open%20sesame@p",
            "a.b",
            1,
            "CONNECT a.b:1 HTTP/1.1\r\nHost: a.b:1\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n",
        ),
    ] {
        let (outcome, out, _) = outcome(proxy, host, port, b"");
        assert_eq!((outcome, std::str::from_utf8(&out)), (Ok(Negotiated::More), Ok(request)));
    }
}

#[test]
fn bytes_after_a_2xx_are_the_servers() {
    for (answer, left) in [
        ("HTTP/1.1 200 Connection established\r\n\r\n", ""),
        ("HTTP/1.0 200 OK\r\nVia: p\r\n\r\n", ""),
        ("HTTP/1.1 204 \r\n\r\n", "\x00rest"),
        ("HTTP/1.1 299 x\r\nContent-Length: 5\r\n\r\n", "rest that is no body"),
        ("HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\n"),
        ("HTTP/1.1 200 x\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\n\r\n"),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "rest"),
    ] {
        let input = format!("{answer}{left}");
        assert_eq!(http(input.as_bytes()), (Ok(Negotiated::Done), left.as_bytes().to_vec()), "{answer:?}");
    }
}

#[test]
fn other_answers_of_an_http_proxy_are_failures() {
    use ProxyFailure::Head;
    let long_line = format!("HTTP/1.1 200 {}", "x".repeat(9000));
    for (answer, failure) in [
        ("HTTP/2.0 200 OK\r\n\r\n", Head(HeadError::Version)),
        ("HTTP/1.1 2000 OK\r\n\r\n", Head(HeadError::StartLine)),
        ("\x05\x00\r\n\r\n", Head(HeadError::NotHttp)),
        ("SSH-2.0-x\r\n\r\n", Head(HeadError::Ssh)),
        ("\x15\x03\x03\x00\x02\x02\x46", Head(HeadError::Tls)),
        ("HTTP/1.1 200 OK\n\n", Head(HeadError::LineEnd)),
        ("HTTP/1.1 200 OK\r\n folded\r\n\r\n", Head(HeadError::Folded)),
        ("HTTP/1.1 200 OK\r\nA b: c\r\n\r\n", Head(HeadError::FieldName)),
        (&*long_line, Head(HeadError::StartLineTooLong)),
    ] {
        let (outcome, _, _) = feed(negotiation("p", "a", 80), [answer.as_bytes()]);
        assert_eq!(outcome.as_ref(), Err(&failure), "{answer:?}");
        let (bytewise, _, _) = feed(negotiation("p", "a", 80), answer.as_bytes().chunks(1));
        assert_eq!(bytewise, Err(failure), "{answer:?}");
    }
}

/// A proxy that refuses says why in its body, as a server does.
#[test]
fn a_refusal_of_an_http_proxy_has_its_fields_and_its_body() {
    let most = usize::try_from(ProtocolLimits::default().response_body_bytes).unwrap();
    let long = format!("HTTP/1.1 403 x\r\n\r\n{}", "x".repeat(most + 1));
    for (answer, status, body, truncated) in [
        ("HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\nbody", 407, "body", false),
        ("HTTP/1.1 403 x\r\nContent-Length: 4\r\n\r\nbodyrest", 403, "body", false),
        ("HTTP/1.1 403 x\r\nContent-Length: 40\r\n\r\nbody", 403, "body", true),
        ("HTTP/1.1 403 x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n", 403, "body", false),
        ("HTTP/1.1 403 x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\nzz\r\n", 403, "bo", true),
        (&*long, 403, &*"x".repeat(most), true),
        ("HTTP/1.1 502 Bad Gateway\r\n\r\n", 502, "", false),
        ("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", 302, "", false),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", 101, "", false),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 Forbidden\r\n\r\n", 403, "", false),
        ("HTTP/1.1 999 x\r\n\r\n", 999, "", false),
    ] {
        let whole = feed(negotiation("p", "a", 80), [answer.as_bytes()]).0;
        assert_eq!(feed(negotiation("p", "a", 80), answer.as_bytes().chunks(1)).0, whole, "{answer:?}");
        let Err(ProxyFailure::Refused(refusal)) = whole else { panic!("{answer:?}: {whole:?}") };
        assert_eq!((refusal.status(), refusal.body()), (status, body.as_bytes()), "{answer:?}");
        assert_eq!(refusal.is_truncated(), truncated, "{answer:?}");
    }
    let mut machine = negotiation("p", "a", 80);
    assert_eq!((machine.end(), machine.cut()), (None, None));
    let mut input: &[u8] = b"HTTP/1.1 403 x\r\n\r\nno";
    assert_eq!(machine.feed(&mut input, &mut Vec::new()), Ok(Negotiated::More));
    let Some(ProxyFailure::Refused(refusal)) = machine.cut() else { panic!("it has begun") };
    assert_eq!((refusal.body(), refusal.is_truncated()), (&b"no"[..], true));
}

#[test]
fn an_endless_answer_is_bounded() {
    let limits = ProtocolLimits::default();
    let mut machine = negotiation("p", "a", 80);
    let mut sent = 0;
    let mut next: &[u8] = b"HTTP/1.1 200 OK\r\n";
    let failure = loop {
        sent += next.len();
        match machine.feed(&mut next, &mut Vec::new()) {
            Ok(progress) => assert_eq!(progress, Negotiated::More),
            Err(failure) => break failure,
        }
        next = b"X-Filler: ......................................................................................\
            ....................................................................................................\r\n";
        assert!(sent < 10 * limits.head_bytes);
    };
    assert_eq!(failure, ProxyFailure::Head(HeadError::HeadTooLong));
    assert!(sent <= limits.head_bytes + 300);
    // The same in one piece.
    let flood = [b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'x'; 1 << 20]].concat();
    let (outcome, _, _) = feed(negotiation("p", "a", 80), [&flood[..]]);
    assert_eq!(outcome, Err(ProxyFailure::Head(HeadError::HeadTooLong)));
    let lines = [b"HTTP/1.1 200 OK\r\n".to_vec(), b"A: b\r\n".repeat(101)].concat();
    let (outcome, _, _) = feed(negotiation("p", "a", 80), [&lines[..]]);
    assert_eq!(outcome, Err(ProxyFailure::Head(HeadError::TooManyLines)));
}

#[test]
fn interim_answers_are_bounded() {
    let answers =
        |count| [b"HTTP/1.1 100 Continue\r\n\r\n".repeat(count), b"HTTP/1.1 200 x\r\n\r\n+".to_vec()].concat();
    assert_eq!(http(&answers(16)), (Ok(Negotiated::Done), b"+".to_vec()));
    assert_eq!(http(&answers(17)).0, Err(ProxyFailure::Interim));
    let (outcome, _, _) = feed(negotiation("p", "a", 80), answers(100_000).chunks(4096));
    assert_eq!(outcome, Err(ProxyFailure::Interim));
}

#[test]
fn small_limits_hold_too() {
    for head_bytes in 0..40 {
        let mut limits = ProtocolLimits::default();
        limits.head_bytes = head_bytes;
        let machine = Proxy::parse("p").unwrap().negotiate("a", 80, &limits).unwrap();
        let answer = b"HTTP/1.1 200 OK\r\n\r\nrest";
        let (outcome, _, left) = feed(machine, [&answer[..]]);
        if head_bytes >= 19 {
            assert_eq!((outcome, &left[..]), (Ok(Negotiated::Done), &b"rest"[..]));
        } else {
            assert_eq!(outcome, Err(ProxyFailure::Head(HeadError::HeadTooLong)), "{head_bytes}");
        }
    }
}

#[test]
fn an_invalid_host_is_rejected_before_anything_is_sent() {
    let long = "a".repeat(256);
    for proxy in ["p", "socks5://p"] {
        let proxy = Proxy::parse(proxy).unwrap();
        let refused = |host| proxy.negotiate(host, 80, &ProtocolLimits::default()).err() == Some(ProxyFailure::Host);
        assert!(refused("") && refused(&long) && !refused(&long[1..]));
    }
    let proxy = Proxy::parse("p").unwrap();
    for host in ["a b", "a\r\nX: y", "a:80", "a/", "[::1]", "a\0", "\u{e9}"] {
        assert_eq!(proxy.negotiate(host, 80, &ProtocolLimits::default()).err(), Some(ProxyFailure::Host), "{host:?}");
    }
}

const GREETING: &[u8] = b"\x05\x01\x00";
const REQUEST: &[u8] = b"\x05\x01\x00\x03\x0bexample.com\x00\x50";

#[test]
fn a_connection_through_socks() {
    let name = [b"\x05\x00\x05\x00\x00\x03\xff".to_vec(), vec![b'n'; 255], b"\x01\x02".to_vec()].concat();
    for reply in [
        &b"\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50"[..],
        b"\x05\x00\x05\x00\xff\x01\x05\x05\x05\x05\x05\x05",
        b"\x05\x00\x05\x00\x00\x04................\x00\x50",
        b"\x05\x00\x05\x00\x00\x03\x00\x00\x50",
        &name,
    ] {
        for left in [&b""[..], b"rest\x05\x00"] {
            let (outcome, out, rest) = socks("socks5://p", &[reply, left].concat());
            assert_eq!((outcome, &rest[..]), (Ok(Negotiated::Done), left));
            assert_eq!(out, [GREETING, REQUEST].concat());
        }
    }
}

#[test]
fn socks_requests_name_addresses_as_addresses() {
    let asked = |host| outcome("socks5://p", host, 0x1234, b"\x05\x00").1[GREETING.len()..].to_vec();
    assert_eq!(asked("127.0.0.1"), b"\x05\x01\x00\x01\x7f\x00\x00\x01\x12\x34");
    assert_eq!(asked("::1"), b"\x05\x01\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x12\x34");
    let long = "a".repeat(255);
    assert_eq!(asked(&long), [b"\x05\x01\x00\x03\xff", long.as_bytes(), b"\x12\x34"].concat());
}

#[test]
fn socks_with_a_password() {
    let greeting: &[u8] = b"\x05\x02\x00\x02";
    let auth: &[u8] = b"\x01\x03joe\x02pw";
    let reply: &[u8] = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00";
    let proxy = "socks5://joe:pw@p";
    let (outcome, out, left) = socks(proxy, &[b"\x05\x02\x01\x00", reply, b"rest"].concat());
    assert_eq!((outcome, out, &left[..]), (Ok(Negotiated::Done), [greeting, auth, REQUEST].concat(), &b"rest"[..]));
    // The proxy may choose no authentication.
    let (outcome, out, _) = socks(proxy, &[b"\x05\x00", reply].concat());
    assert_eq!((outcome, out), (Ok(Negotiated::Done), [greeting, REQUEST].concat()));
    let long = format!("socks5://{}:{}@p", "u".repeat(255), "p".repeat(255));
    let (_, out, _) = socks(&long, b"\x05\x02");
    assert_eq!(out.len(), greeting.len() + 3 + 2 * 255);
    let (_, out, _) = socks("socks5://token@p", b"\x05\x02");
    assert_eq!(&out[greeting.len()..], b"\x01\x05token\x00");
}

#[test]
fn other_answers_of_a_socks_proxy_are_failures() {
    use ProxyFailure::*;
    let plain = "socks5://p";
    let with_password = "socks5://joe:pw@p";
    let mut table: Vec<(&str, Vec<u8>, ProxyFailure)> = vec![
        (plain, b"\x05\xff".to_vec(), SocksMethods),
        (with_password, b"\x05\xff".to_vec(), SocksMethods),
        (plain, b"\x05\x02".to_vec(), SocksMethod(2)),
        (plain, b"\x05\x01".to_vec(), SocksMethod(1)),
        (with_password, b"\x05\x03".to_vec(), SocksMethod(3)),
        (with_password, b"\x05\x02\x01\x01".to_vec(), SocksAuth),
        (with_password, b"\x05\x02\x01\xff".to_vec(), SocksAuth),
        (with_password, b"\x05\x02\x05\x00".to_vec(), SocksAuthVersion(5)),
        (plain, b"\x05\x00\x04\x00\x00\x01".to_vec(), SocksVersion(4)),
        (plain, b"\x05\x00\x05\x00\x00\x00".to_vec(), SocksAddress(0)),
        (plain, b"\x05\x00\x05\x00\x00\x02".to_vec(), SocksAddress(2)),
        (plain, b"\x05\x00\x05\x00\x00\xff".to_vec(), SocksAddress(255)),
    ];
    table.extend(
        (0..=255).filter(|&version| version != 5).map(|version| (plain, vec![version, 0], SocksVersion(version))),
    );
    table.extend((1..=255).map(|code| (plain, vec![5, 0, 5, code, 0, 1], SocksReply(code))));
    for (proxy, input, failure) in table {
        assert_eq!(socks(proxy, &input).0.as_ref(), Err(&failure), "{input:?}");
        assert!(!failure.to_string().is_empty());
    }
    assert_eq!(SocksVersion(b'H').to_string(), "the proxy speaks HTTP instead of SOCKS 5");
    assert_eq!(SocksVersion(21).to_string(), "the proxy speaks TLS instead of SOCKS 5");
    let of_tls = "the proxy speaks TLS instead of plain HTTP: is it to be written with https://?";
    assert_eq!(Head(HeadError::Tls).to_string(), of_tls);
    assert_eq!(SocksReply(2).to_string(), "the proxy failed to connect: connection not allowed by ruleset");
}

#[test]
fn an_answer_is_complete_with_its_last_byte_only() {
    let reply: &[u8] = b"\x05\x02\x01\x00\x05\x00\x00\x03\x03abc\x00\x50";
    for end in 0..reply.len() {
        assert_eq!(socks("socks5://joe:pw@p", &reply[..end]).0, Ok(Negotiated::More), "{end}");
    }
    let head = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
    for end in 0..head.len() {
        assert_eq!(http(&head[..end]).0, Ok(Negotiated::More), "{end}");
    }
}

#[test]
fn debug_shows_no_secrets() {
    for proxy in ["http://joe:geheim@p", "socks5://joe:geheim@p"] {
        let shown = format!("{:?}", negotiation(proxy, "a", 80));
        assert!(!shown.contains("joe") && !shown.contains("geheim"), "{shown}");
    }
}

proptest! {
    #[test]
    fn the_outcome_does_not_depend_on_splits(
        proxy in prop::sample::select(vec!["p", "socks5://p", "socks5://joe:pw@p"]),
        beginning in prop::sample::select(vec![
            &b""[..], b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 x\r\n\r\nHTTP/1.1 2", b"\x05\x00", b"\x05\x02\x01\x00",
            b"\x05\x00\x05\x00\x00\x03", b"\x05\x02\x01\x00\x05\x00\x00\x01",
        ]),
        bytes in prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(0), Just(5), any::<u8>()], 0..40),
    ) {
        let _ = outcome(proxy, "example.com", 80, &[beginning, &bytes].concat());
    }
}
