//! What may be put into a request, and what is (CL06).

use sockeye::Connect;
use sockeye::client::Proxy;
use sockeye_testing::client::{Bench, to};

/// CL06: CR, LF, NUL, a space or any other control character, wherever a program may put one: an error, and nothing
/// that could be sent.
#[test]
fn cl06_nothing_that_would_split_a_request_can_be_described() {
    let new = || Connect::new("ws://example.com/").unwrap();
    for byte in ['\r', '\n', '\0', ' ', '\t', '\u{1}', '\u{7F}'] {
        let token = format!("a{byte}b");
        let line = format!("a{byte}X: y");
        for url in [
            format!("ws://a{byte}b/"),
            format!("ws://example.com/a{byte}b"),
            format!("ws://example.com/?a{byte}b"),
            format!("ws://example.com:80{byte}/"),
            format!("{byte}ws://example.com/"),
            format!("ws://example.com/{byte}"),
            format!("ws://example.com/a HTTP/1.1{byte}X: y"),
            format!("ws://me{byte}:pw@example.com/"),
        ] {
            assert!(Connect::new(&url).is_err(), "{url:?}");
        }
        assert!(new().subprotocol(&token).is_err(), "{byte:?}");
        assert!(new().header(&token, "b").is_err(), "{byte:?}");
        assert!(new().origin(format!("http://a{byte}b")).is_err(), "{byte:?}");
        assert!(Proxy::parse(&format!("http://a{byte}b:1")).is_err(), "{byte:?}");
        if !matches!(byte, ' ' | '\t') {
            for name in ["X-Token", "Cookie", "Authorization"] {
                assert!(new().header(name, &line).is_err(), "{name} {byte:?}");
            }
            assert!(new().basic_auth("me", &token).is_err() && new().basic_auth(&token, "pw").is_err(), "{byte:?}");
        }
    }
    assert!(new().basic_auth("a:b", "pw").is_err());
    for own in ["Host", "Upgrade", "Connection", "Sec-WebSocket-Key", "sec-websocket-version", "Content-Length"] {
        assert!(new().header(own, "x").is_err(), "{own} is written by the handshake itself");
    }
    for split in ["Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Transfer-Encoding", "Origin"] {
        assert!(new().header(split, "x").is_err(), "{split}");
    }
}

/// Byte for byte, but for the key, which is another one each time.
#[test]
fn a_request_says_what_was_described_and_no_more() {
    let mut bench = Bench::new();
    let listener = bench.listen("10.0.0.1:81");
    let connect = to("ws://me:p%20w@10.0.0.1:81/a%20b?c=d")
        .subprotocol("one")
        .and_then(|connect| connect.subprotocol("two"))
        .and_then(|connect| connect.header("Cookie", "a=b; c=d"))
        .and_then(|connect| connect.origin("https://example.com"))
        .unwrap();
    let mut keys = Vec::new();
    for _ in 0..20 {
        bench.connect(&connect);
        let server = bench.asked(&listener);
        let key = server.field("sec-websocket-key").unwrap().to_owned();
        let expected = format!(
            "GET /a%20b?c=d HTTP/1.1\r\nHost: 10.0.0.1:81\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nOrigin: https://example.com\r\n\
            Sec-WebSocket-Protocol: one, two\r\nAuthorization: Basic bWU6cCB3\r\nCookie: a=b; c=d\r\n\r\n"
        );
        assert_eq!(server.head, expected);
        assert!(server.input.is_empty(), "nothing is sent behind it before the answer");
        assert!(!keys.contains(&key));
        keys.push(key);
    }
    bench.finish();
}
