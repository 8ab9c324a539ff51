use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::*;
use crate::limits::ProtocolLimits;

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const VERSION_13: &str = "Sec-WebSocket-Version: 13\r\n";
const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n";

/// The offer in a request: its subprotocols, or the status of the refusal.
fn answer(start_line: &str, lines: &[&str]) -> Result<Option<Vec<String>>, u16> {
    let head = format!("{start_line}\r\nHost: a\r\n{}\r\n", lines.concat());
    let head = RequestHead::parse(head.as_bytes(), &ProtocolLimits::default()).map_err(HeadError::status)?;
    match Offer::of(&head) {
        Ok(Some(offer)) => Ok(Some(offer.protocols().map(ToString::to_string).collect())),
        Ok(None) => Ok(None),
        Err(refusal) => Err(refusal.status),
    }
}

fn get(lines: &[&str]) -> Result<Option<Vec<String>>, u16> {
    answer("GET / HTTP/1.1", lines)
}

/// Accepts the offer with a subprotocol and extra fields.
fn accept(lines: &[&str], protocol: Option<&str>, extra: &[(&str, &str)]) -> Result<String, ApiMisuse> {
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{UPGRADE}{KEY}{VERSION_13}{}\r\n", lines.concat());
    let head = RequestHead::parse(head.as_bytes(), &ProtocolLimits::default()).unwrap();
    let offer = Offer::of(&head).unwrap().unwrap();
    let mut out = b"x".to_vec();
    let result = offer.accept(&mut out, protocol, None, extra);
    if result.is_err() {
        assert_eq!(out, b"x", "nothing is written");
    }
    assert!(result.is_err() || result == Ok(None), "nothing is compressed unless settings say how");
    result.map(|_| String::from_utf8(out.split_off(1)).unwrap())
}

#[test]
fn valid_offers_are_recognised_in_any_spelling() {
    let none = Ok(Some(Vec::new()));
    assert_eq!(get(&[UPGRADE, KEY, VERSION_13]), none);
    assert_eq!(
        get(&["UPGRADE: WebSocket\r\ncOnNeCtIoN: keep-alive, uPGRADE\r\n", KEY, VERSION_13, "X-Unknown: y\r\n"]),
        none
    );
    assert_eq!(
        get(&["Upgrade: websocket\r\nConnection: keep-alive\r\nConnection: Upgrade\r\n", KEY, VERSION_13]),
        none
    );
    assert_eq!(get(&["Upgrade: h2c, websocket\r\nConnection: Upgrade\r\n", KEY, VERSION_13]), none);
    assert_eq!(get(&[UPGRADE, KEY, VERSION_13, "Content-Length: 0\r\n"]), none);
    assert_eq!(answer("GET http://a/ HTTP/1.1", &[UPGRADE, KEY, VERSION_13]), none);
}

#[test]
fn other_upgrades_are_plain_requests() {
    for upgrade in [
        "",
        "Upgrade: h2c\r\n",
        "Upgrade: foo\r\n",
        "Upgrade: websocket2\r\n",
        "Upgrade: web socket\r\n",
        "Upgrade: websocket/13\r\n",
    ] {
        assert_eq!(get(&[upgrade, "Connection: Upgrade\r\n", KEY, VERSION_13]), Ok(None), "{upgrade}");
        assert_eq!(
            answer("POST / HTTP/1.0", &[upgrade, "Connection: Upgrade\r\n", KEY, VERSION_13]),
            Ok(None),
            "{upgrade}"
        );
    }
}

#[test]
fn only_a_get_in_http_1_1_upgrades() {
    for method in ["POST", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH", "get", "Get"] {
        assert_eq!(answer(&format!("{method} / HTTP/1.1"), &[UPGRADE, KEY, VERSION_13]), Err(405), "{method}");
    }
    assert_eq!(answer("GET / HTTP/1.0", &[UPGRADE, KEY, VERSION_13]), Err(505));
}

#[test]
fn an_upgrade_needs_its_connection_option() {
    assert_eq!(get(&["Upgrade: websocket\r\n", KEY, VERSION_13]), Err(400));
    assert_eq!(get(&["Upgrade: websocket\r\nConnection: close\r\n", KEY, VERSION_13]), Err(400));
}

#[test]
fn an_upgrade_must_not_have_a_body() {
    for lines in [
        "Content-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 0\r\nContent-Length: 0\r\n",
        "Content-Length: -1\r\n",
        "Transfer-Encoding: xchunked\r\n",
    ] {
        assert_eq!(get(&[UPGRADE, KEY, VERSION_13, lines]), Err(400), "{lines}");
    }
    let both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n";
    assert_eq!(answer("POST / HTTP/1.1", &[UPGRADE, KEY, VERSION_13, both]), Err(400), "framing before the method");
}

#[test]
fn the_version_must_be_13() {
    for version in ["8", "12", "99", "13.0", "013", "", "13, 8", "8, 13", "x"] {
        assert_eq!(get(&[UPGRADE, KEY, &format!("Sec-WebSocket-Version: {version}\r\n")]), Err(426), "{version}");
    }
    assert_eq!(get(&[UPGRADE, KEY]), Err(426));
    assert_eq!(get(&[UPGRADE]), Err(426), "an older client has no key either");
    assert_eq!(get(&[UPGRADE, KEY, VERSION_13, VERSION_13]), Err(400));
}

#[test]
fn the_key_must_have_16_bytes() {
    for key in [
        "",
        "YQ==",
        "dGhlIHNhbXBsZSBub25jZQ==A",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "!GhlIHNhbXBsZSBub25jZQ==",
        "dGhlIHNhbXBsZSBub25jZQAA",
    ] {
        assert_eq!(get(&[UPGRADE, VERSION_13, &format!("Sec-WebSocket-Key: {key}\r\n")]), Err(400), "{key}");
    }
    assert_eq!(get(&[UPGRADE, VERSION_13]), Err(400));
    assert_eq!(get(&[UPGRADE, VERSION_13, KEY, KEY]), Err(400));
}

#[test]
fn subprotocols_are_tokens_in_the_order_offered() {
    let offer = |lines: &str| get(&[UPGRADE, KEY, VERSION_13, lines]);
    let names = |names: &[&str]| Ok(Some(names.iter().map(ToString::to_string).collect::<Vec<_>>()));
    assert_eq!(offer("Sec-WebSocket-Protocol: b, a\r\nSec-WebSocket-Protocol:c\r\n"), names(&["b", "a", "c"]));
    assert_eq!(offer("Sec-WebSocket-Protocol: a,,b,\r\n"), names(&["a", "b"]));
    assert_eq!(offer("Sec-WebSocket-Protocol: a, A\r\n"), names(&["a", "A"]), "case matters");
    assert_eq!(offer("Sec-WebSocket-Protocol:\r\n"), names(&[]));
    for bad in ["a b", "a/b", "a, \"b\"", "\u{e9}", "a;b", "a, a", "a\r\nSec-WebSocket-Protocol: a"] {
        assert_eq!(offer(&format!("Sec-WebSocket-Protocol: {bad}\r\n")), Err(400), "{bad}");
    }
    assert_eq!(offer(&format!("Sec-WebSocket-Protocol: b{}x\r\n", " ".repeat(7000))), Err(400));
    let list = |count: usize| (0..count).map(|n| format!("p{n}")).collect::<Vec<_>>().join(",");
    assert_eq!(offer(&format!("Sec-WebSocket-Protocol: {}\r\n", list(64))).map(|names| names.unwrap().len()), Ok(64));
    assert_eq!(offer(&format!("Sec-WebSocket-Protocol: {}\r\n", list(65))), Err(400));
    assert_eq!(offer(&format!("Sec-WebSocket-Protocol: {}\r\n", list(500))), Err(400));
    assert_eq!(offer(&format!("Sec-WebSocket-Protocol: {}\r\n", ",".repeat(8000))), names(&[]));
    let bytes = [b"GET / HTTP/1.1\r\nHost: a\r\n", UPGRADE.as_bytes(), KEY.as_bytes(), VERSION_13.as_bytes()].concat();
    let bytes = [&bytes[..], b"Sec-WebSocket-Protocol: \xff\xfe\r\n\r\n"].concat();
    let head = RequestHead::parse(&bytes, &ProtocolLimits::default()).unwrap();
    assert_eq!(Offer::of(&head).err().map(|refusal| refusal.status), Some(400));
}

#[test]
fn extensions_are_parsed_and_declined() {
    let line = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    let out = accept(&[line], None, &[]).unwrap();
    assert!(!out.contains("Extensions"));
    for bad in ["constructor, ,;,", "a; b=\"c d\"", "a; server_max_window_bits=\"\""] {
        let line = format!("Sec-WebSocket-Extensions: {bad}\r\n");
        assert_eq!(get(&[UPGRADE, KEY, VERSION_13, &line]), Err(400), "{bad}");
    }
    for fine in [
        "a; server_max_window_bits=99",
        "a; server_max_window_bits=08; server_max_window_bits=7",
        "client_max_window_bits",
    ] {
        let line = format!("Sec-WebSocket-Extensions: {fine}\r\n");
        assert_eq!(get(&[UPGRADE, KEY, VERSION_13, &line]), Ok(Some(Vec::new())), "{fine}");
    }
}

#[test]
fn compression_is_accepted_by_a_server_that_has_settings() {
    let accepted = |lines: &[&str], protocol| {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{UPGRADE}{KEY}{VERSION_13}{}\r\n", lines.concat());
        let head = RequestHead::parse(head.as_bytes(), &ProtocolLimits::default()).unwrap();
        let mut out = Vec::new();
        let settings = Some(deflate::Settings::server());
        let agreed = Offer::of(&head).unwrap().unwrap().accept(&mut out, protocol, settings, &[("A", "b")]);
        (agreed, String::from_utf8(out).unwrap())
    };
    let start = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    let lines = [
        "Sec-WebSocket-Extensions: x, permessage-deflate; client_max_window_bits=99\r\n",
        "Sec-WebSocket-Protocol: chat\r\nsec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n",
    ];
    let (agreed, out) = accepted(&lines, Some("chat"));
    assert_eq!(agreed.unwrap().unwrap().receive.history_bytes(), 2048);
    assert_eq!(
        out,
        format!(
            "{start}Sec-WebSocket-Protocol: chat\r\n\
             Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=11\r\nA: b\r\n\r\n"
        )
    );
    // Nothing legal is offered: there is no field, rather than an empty one.
    for line in ["", "Sec-WebSocket-Extensions:\r\n", "Sec-WebSocket-Extensions: x\r\n", lines[0]] {
        assert_eq!(accepted(&[line], None), (Ok(None), format!("{start}A: b\r\n\r\n")), "{line}");
    }
    assert_eq!(accepted(&lines, Some("x")), (Err(ApiMisuse::ProtocolNotOffered), String::new()));
}

#[test]
fn the_response_is_the_example_of_the_rfc() {
    let protocols = "Sec-WebSocket-Protocol: chat, superchat\r\n";
    assert_eq!(
        accept(&[protocols], Some("chat"), &[("Server", "sockeye")]).unwrap(),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
         Sec-WebSocket-Protocol: chat\r\nServer: sockeye\r\n\r\n"
    );
    assert!(!accept(&[protocols], None, &[]).unwrap().contains("Protocol:"));
}

#[test]
fn a_response_cannot_have_forbidden_parts() {
    let protocols = "Sec-WebSocket-Protocol: chat\r\n";
    assert_eq!(accept(&[protocols], Some("other"), &[]), Err(ApiMisuse::ProtocolNotOffered));
    assert_eq!(accept(&[protocols], Some("Chat"), &[]), Err(ApiMisuse::ProtocolNotOffered));
    assert_eq!(accept(&[], Some("chat"), &[]), Err(ApiMisuse::ProtocolNotOffered));
    assert_eq!(accept(&[protocols], Some(""), &[]), Err(ApiMisuse::Protocol));
    assert_eq!(accept(&[protocols], Some("a\r\nb"), &[]), Err(ApiMisuse::Protocol));
    assert_eq!(accept(&[], None, &[("A", "b\r\nC: d")]), Err(ApiMisuse::FieldValue));
    assert_eq!(accept(&[], None, &[("A b", "c")]), Err(ApiMisuse::FieldName));
    for name in [
        "Upgrade",
        "connection",
        "Sec-WebSocket-Extensions",
        "SEC-WEBSOCKET-ACCEPT",
        "Content-Length",
        "Transfer-Encoding",
    ] {
        assert_eq!(accept(&[], None, &[("Ok", "ok"), (name, "x")]), Err(ApiMisuse::FieldReserved), "{name}");
    }
}

#[test]
fn origins_are_missing_single_or_several() {
    let origin = |lines: &[u8], check: fn(Origin<'_>)| {
        let start = format!("GET / HTTP/1.1\r\nHost: a\r\n{UPGRADE}{KEY}{VERSION_13}");
        let head = [start.as_bytes(), lines, b"\r\n"].concat();
        let head = RequestHead::parse(&head, &ProtocolLimits::default()).unwrap();
        check(Offer::of(&head).unwrap().unwrap().origin());
    };
    origin(b"", |origin| assert_eq!(origin, Origin::Missing));
    origin(b"Origin: http://a\r\n", |origin| assert_eq!(origin, Origin::One("http://a")));
    origin(b"Origin: http://a\r\nOrigin: http://a\r\n", |origin| assert_eq!(origin, Origin::Several));
    origin(b"Origin: \xff\r\n", |origin| assert_eq!(origin, Origin::Several));
}

#[test]
fn refusals_have_the_fields_of_their_status_and_close_the_connection() {
    let refusal = |status, reason| {
        let mut out = Vec::new();
        refuse(&mut out, status, reason, Some(784_111_777));
        String::from_utf8(out).unwrap()
    };
    assert_eq!(
        refusal(403, ""),
        "HTTP/1.1 403 Forbidden\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: close\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Length: 10\r\n\r\nForbidden\n"
    );
    let upgrade = refusal(426, "x");
    for line in [
        "Connection: close, Upgrade\r\n",
        "Upgrade: websocket\r\n",
        "Sec-WebSocket-Version: 13\r\n",
        "Content-Length: 2\r\n\r\nx\n",
    ] {
        assert!(upgrade.contains(line), "{line}");
    }
    let method = refusal(405, "x");
    assert!(method.contains("Allow: GET\r\n") && method.ends_with("Content-Length: 0\r\n\r\n"));
    let mut head = Vec::new();
    refuse_head(&mut head, 426, None);
    let head = String::from_utf8(head).unwrap();
    assert!(head.contains("Sec-WebSocket-Version: 13\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(!head.contains("Content-"), "{head}");
}
