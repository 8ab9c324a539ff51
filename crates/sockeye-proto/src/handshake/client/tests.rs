use alloc::format;
use alloc::string::{String, ToString};

use super::*;
use crate::handshake::server::{self, Offer};
use crate::http::{HeadScanner, RequestHead};

/// The example of RFC 6455 section 1.2.
const NONCE: [u8; 16] = *b"the sample nonce";
const ACCEPT: &str = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n";

fn checked(status_line: &str, lines: &[&str], offered: &[&str]) -> Result<Option<String>, HandshakeError> {
    let head = format!("{status_line}\r\n{}\r\n", lines.concat());
    check(head.as_bytes(), NONCE, offered, None, &ProtocolLimits::default())
        .map(|accepted| accepted.protocol.map(String::from))
}

fn switched(lines: &[&str]) -> Result<Option<String>, HandshakeError> {
    checked("HTTP/1.1 101 Switching Protocols", lines, &["chat", "superchat"])
}

#[test]
fn the_request_is_the_example_of_the_rfc() {
    let request = UpgradeRequest::new("server.example.com", "/chat?a=b").unwrap();
    let request =
        request.origin("http://example.com").unwrap().protocol("chat").unwrap().protocol("superchat").unwrap();
    let request = request.header("Cookie", "a=b; c=d").unwrap();
    let mut out = Vec::new();
    request.write(&mut out, NONCE);
    assert_eq!(
        core::str::from_utf8(&out).unwrap(),
        "GET /chat?a=b HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: http://example.com\r\n\
         Sec-WebSocket-Protocol: chat, superchat\r\nCookie: a=b; c=d\r\n\r\n"
    );
}

#[test]
fn client_and_server_agree() {
    let limits = ProtocolLimits::default();
    let request = UpgradeRequest::new("[::1]:7681", "/").unwrap().protocol("a").unwrap().protocol("b").unwrap();
    let (mut sent, mut answer) = (Vec::new(), Vec::new());
    request.write(&mut sent, [42; 16]);
    assert_eq!(HeadScanner::new(&limits).scan(&sent), Ok(Some(sent.len())));
    let head = RequestHead::parse(&sent, &limits).unwrap();
    Offer::of(&head).unwrap().unwrap().accept(&mut answer, Some("b"), None, &[("Server", "sockeye")]).unwrap();
    assert_eq!(HeadScanner::new(&limits).scan(&answer), Ok(Some(answer.len())));
    let accepted = check(&answer, [42; 16], request.protocols(), None, &limits).unwrap();
    assert_eq!(accepted.protocol, Some("b"));
    assert_eq!(accepted.head.fields.get("server"), Some(&b"sockeye"[..]));
    assert_eq!(check(&answer, [43; 16], request.protocols(), None, &limits).err(), Some(HandshakeError::Accept));
    answer.clear();
    server::refuse(&mut answer, 403, "", None);
    assert_eq!(check(&answer, [42; 16], &[], None, &limits).err(), Some(HandshakeError::Status(403)));
}

#[test]
fn compression_is_offered_and_agreed_to() {
    let limits = ProtocolLimits::default();
    let settings = deflate::Settings::client();
    let request = UpgradeRequest::new("a", "/").unwrap().protocol("b").unwrap().header("C", "d").unwrap();
    let mut plain = Vec::new();
    request.write(&mut plain, NONCE);
    let mut sent = Vec::new();
    request.deflate(settings).write(&mut sent, NONCE);
    let line = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    assert_eq!(core::str::from_utf8(&sent).unwrap().replace(line, "").as_bytes(), plain);
    let head = RequestHead::parse(&sent, &limits).unwrap();
    let offer = Offer::of(&head).unwrap().unwrap();
    for (server, receives) in [(None, None), (Some(deflate::Settings::server()), Some(2048))] {
        let mut answer = Vec::new();
        let at_server = offer.accept(&mut answer, Some("b"), server, &[]).unwrap();
        let at_client = check(&answer, NONCE, &["b"], Some(settings), &limits).unwrap().deflate;
        assert_eq!(at_client.map(|agreed| (agreed.send, agreed.receive)), {
            at_server.map(|agreed| (agreed.receive, agreed.send))
        });
        assert_eq!(at_server.map(|agreed| agreed.receive.history_bytes()), receives);
        let unasked = check(&answer, NONCE, &["b"], None, &limits).err();
        assert_eq!(unasked, receives.map(|_| HandshakeError::ExtensionNotOffered));
    }
}

#[test]
fn a_wrong_answer_to_an_offer_of_compression_fails_the_handshake() {
    let failure = |value: &str| {
        let head = format!("HTTP/1.1 101 x\r\n{UPGRADE}{ACCEPT}Sec-WebSocket-Extensions: {value}\r\nX: y\r\n\r\n");
        let settings = Some(deflate::Settings::client());
        let error = check(head.as_bytes(), NONCE, &[], settings, &ProtocolLimits::default()).unwrap_err();
        assert!(error.to_string().contains("(RFC "), "{error}");
        error
    };
    for (value, expected) in [
        ("permessage-deflate;", HandshakeError::ExtensionMalformed),
        ("permessage-deflate; server_max_window_bits=\"\"", HandshakeError::ExtensionMalformed),
        ("x", HandshakeError::ExtensionNotOffered),
        ("permessage-deflate, x", HandshakeError::ExtensionNotOffered),
        ("permessage-deflate; x", HandshakeError::Deflate(NegotiationError::ParameterUnknown)),
        (
            "permessage-deflate\r\nSec-WebSocket-Extensions: permessage-deflate",
            HandshakeError::Deflate(NegotiationError::ExtensionRepeated),
        ),
        (
            "permessage-deflate; client_max_window_bits",
            HandshakeError::Deflate(NegotiationError::ParameterValue(deflate::Parameter::ClientMaxWindowBits)),
        ),
    ] {
        assert_eq!(failure(value), expected, "{value}");
    }
}

#[test]
fn parts_that_would_split_a_request_are_refused() {
    let new = |host, target| UpgradeRequest::new(host, target).err();
    for host in ["", "a b", "a\r\nX: y", "a\n", "a\0", "a/b", "u@a", "a:x", "\u{e9}", " a", "a "] {
        assert_eq!(new(host, "/"), Some(ApiMisuse::Host), "{host:?}");
    }
    for target in
        ["", "a", "*", "http://a/", "/ ", "/a b", "/\r\nX: y", "/\n", "/\0", "/#a", "/\u{e9}", "/\t", "/\u{7f}"]
    {
        assert_eq!(new("a", target), Some(ApiMisuse::Target), "{target:?}");
    }
    let request = || UpgradeRequest::new("a", "/").unwrap();
    for origin in [
        "",
        "a",
        "http://",
        "http://a/b",
        "http://a b",
        "http://a\r\nX: y",
        "http://a\0",
        "http://a, http://b",
        " null",
    ] {
        assert_eq!(request().origin(origin).err(), Some(ApiMisuse::Origin), "{origin:?}");
    }
    assert!(request().origin("null").is_ok());
    for protocol in ["", "a b", "a,b", "a\r\nX: y", "a\0", "\u{e9}", "a;b"] {
        assert_eq!(request().protocol(protocol).err(), Some(ApiMisuse::Protocol), "{protocol:?}");
    }
    assert_eq!(request().protocol("a").unwrap().protocol("a").err(), Some(ApiMisuse::ProtocolRepeated));
    for (name, value, misuse) in [
        ("", "b", ApiMisuse::FieldName),
        ("A B", "c", ApiMisuse::FieldName),
        ("A:", "c", ApiMisuse::FieldName),
        ("A\r\nB", "c", ApiMisuse::FieldName),
        ("A", "b\r\nC: d", ApiMisuse::FieldValue),
        ("A", "b\n", ApiMisuse::FieldValue),
        ("A", "b\0", ApiMisuse::FieldValue),
        ("Host", "b", ApiMisuse::FieldReserved),
        ("ORIGIN", "http://a", ApiMisuse::FieldReserved),
        ("Content-Length", "5", ApiMisuse::FieldReserved),
        ("sec-websocket-key", "x", ApiMisuse::FieldReserved),
    ] {
        assert_eq!(request().header(name, value).err(), Some(misuse), "{name:?} {value:?}");
    }
}

#[test]
fn a_valid_response_is_accepted_in_any_spelling() {
    assert_eq!(switched(&[UPGRADE, ACCEPT]), Ok(None));
    assert_eq!(switched(&["UPGRADE: WebSocket\r\nconnection: keep-alive, UPGRADE\r\n", ACCEPT]), Ok(None));
    assert_eq!(switched(&[UPGRADE, ACCEPT, "Sec-WebSocket-Protocol: chat\r\n"]), Ok(Some("chat".into())));
    assert_eq!(switched(&[UPGRADE, ACCEPT, "Sec-WebSocket-Extensions:\r\n"]), Ok(None));
}

#[test]
fn each_broken_rule_has_its_error() {
    use HandshakeError::{
        Accept, Connection, ExtensionMalformed, ExtensionNotOffered, OldHttp, ProtocolNotOffered, ProtocolRepeated,
        Upgrade,
    };
    let accept_of = |value: &str| format!("Sec-WebSocket-Accept: {value}\r\n");
    for (lines, failure) in [
        (&["Connection: Upgrade\r\n", ACCEPT][..], Upgrade),
        (&["Upgrade: h2c\r\nConnection: Upgrade\r\n", ACCEPT], Upgrade),
        (&["Upgrade: websocket, h2c\r\nConnection: Upgrade\r\n", ACCEPT], Upgrade),
        (&["Upgrade: websocket\r\n", UPGRADE, ACCEPT], Upgrade),
        (&["Upgrade: websocket\r\n", ACCEPT], Connection),
        (&["Upgrade: websocket\r\nConnection: close\r\n", ACCEPT], Connection),
        (&[UPGRADE], Accept),
        (&[UPGRADE, ACCEPT, ACCEPT], Accept),
        (&[UPGRADE, &accept_of("")], Accept),
        (&[UPGRADE, &accept_of("S3pPLMBiTxaQ9kYGzzhZRbK+xOo=")], Accept),
        (&[UPGRADE, &accept_of("s3pPLMBiTxaQ9kYGzzhZRbK+xOo")], Accept),
        (&[UPGRADE, &accept_of("dGhlIHNhbXBsZSBub25jZQ==")], Accept),
        (&[UPGRADE, ACCEPT, "Sec-WebSocket-Protocol: other\r\n"], ProtocolNotOffered),
        (&[UPGRADE, ACCEPT, "Sec-WebSocket-Protocol: Chat\r\n"], ProtocolNotOffered),
        (&[UPGRADE, ACCEPT, "Sec-WebSocket-Protocol: chat, superchat\r\n"], ProtocolRepeated),
        (&[UPGRADE, ACCEPT, "Sec-WebSocket-Protocol:\r\n"], ProtocolNotOffered),
        (&[UPGRADE, ACCEPT, "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: chat\r\n"], ProtocolRepeated),
        (&[UPGRADE, ACCEPT, "Sec-WebSocket-Extensions: permessage-deflate\r\n"], ExtensionNotOffered),
        (
            &[UPGRADE, ACCEPT, "Sec-WebSocket-Extensions: permessage-deflate, permessage-deflate\r\n"],
            ExtensionNotOffered,
        ),
        (&[UPGRADE, ACCEPT, "Sec-WebSocket-Extensions: x; server_max_window_bits=99\r\n"], ExtensionNotOffered),
        (&[UPGRADE, ACCEPT, "Sec-WebSocket-Extensions: ;\r\n"], ExtensionMalformed),
    ] {
        assert_eq!(switched(lines), Err(failure), "{lines:?}");
    }
    assert_eq!(checked("HTTP/1.0 101 Switching", &[UPGRADE, ACCEPT], &[]), Err(OldHttp));
    for status in [100, 200, 302, 401, 403, 426, 503] {
        assert_eq!(
            checked(&format!("HTTP/1.1 {status} x"), &[UPGRADE, ACCEPT], &[]),
            Err(HandshakeError::Status(status))
        );
    }
    assert_eq!(checked("HTTP/2.0 101 x", &[UPGRADE, ACCEPT], &[]), Err(HandshakeError::Head(HeadError::Version)));
    assert_eq!(checked("SSH-2.0-x", &[], &[]), Err(HandshakeError::Head(HeadError::Ssh)));
    assert_eq!(
        check(b"HTTP/1.1 101", NONCE, &[], None, &ProtocolLimits::default()).err(),
        Some(HandshakeError::Head(HeadError::Incomplete))
    );
}

#[test]
fn an_endless_response_is_refused_at_the_limit() {
    let limits = ProtocolLimits::default();
    let endless = [&b"HTTP/1.1 200 OK\r\n"[..], &b"A: b\r\n".repeat(10_000)].concat();
    assert_eq!(HeadScanner::new(&limits).scan(&endless), Err(HeadError::TooManyLines));
}

#[test]
fn errors_are_small() {
    assert!(size_of::<HandshakeError>() <= 4);
}
