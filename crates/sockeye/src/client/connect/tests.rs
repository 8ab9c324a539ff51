use sockeye_proto::handshake::client;
use sockeye_proto::http::ResponseHead;
use sockeye_proto::limits::ProtocolLimits;

use super::*;
use crate::client::{RedirectError, Refusal};

fn connect(url: &str) -> Connect {
    Connect::new(url).unwrap()
}

fn written(connect: &Connect) -> String {
    let mut out = Vec::new();
    connect.request([0; 16], None, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn redirect(connect: &Connect, location: &str) -> Result<Connect, RedirectError> {
    let head = format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\n\r\n");
    connect.redirected(&Refusal::new(&ResponseHead::parse(head.as_bytes(), &ProtocolLimits::default()).unwrap(), 0))
}

#[test]
fn the_request_has_everything_described() {
    let connect = connect("ws://joe:pw@example.com:8080/a?b")
        .subprotocol("one")
        .and_then(|connect| connect.subprotocol("two"))
        .and_then(|connect| connect.header("Cookie", "c=d"))
        .and_then(|connect| connect.origin("http://example.com"))
        .unwrap();
    let expected = "GET /a?b HTTP/1.1\r\nHost: example.com:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\nOrigin: http://example.com\r\n\
        Sec-WebSocket-Protocol: one, two\r\nAuthorization: Basic am9lOnB3\r\nCookie: c=d\r\n\r\n";
    assert_eq!(written(&connect), expected);
}

#[test]
fn the_response_is_checked_against_the_offer() {
    let connect = connect("ws://a/").subprotocol("one").unwrap();
    let accept = sockeye_proto::handshake::key::accept(&sockeye_proto::handshake::key::encode([0; 16]));
    let accept = std::str::from_utf8(&accept).unwrap();
    let head = |protocol| {
        format!(
            "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\
             Sec-WebSocket-Protocol: {protocol}\r\n\r\n"
        )
    };
    let limits = ProtocolLimits::default();
    assert_eq!(connect.check(head("one").as_bytes(), [0; 16], None, &limits).unwrap().protocol, Some("one"));
    let wrong = connect.check(head("two").as_bytes(), [0; 16], None, &limits).unwrap_err();
    assert_eq!(wrong, client::HandshakeError::ProtocolNotOffered);
}

/// No setter accepts a text that could begin another field or another request.
#[test]
fn text_that_would_split_the_request_is_rejected() {
    let new = || connect("ws://example.com/");
    let misuse = |result: Result<Connect, ConnectError>| match result {
        Err(ConnectError::Handshake(error)) => error,
        other => panic!("{other:?}"),
    };
    for byte in ['\r', '\n', '\0', '\x1b', '\x7f'] {
        let text = format!("a{byte}b");
        assert!(Connect::new(&format!("ws://{text}/")).is_err(), "{byte:?}");
        assert!(Connect::new(&format!("ws://example.com/{text}")).is_err(), "{byte:?}");
        assert!(Connect::new(&format!("ws://example.com/?{text}")).is_err(), "{byte:?}");
        assert!(Connect::new(&format!("ws://{text}@example.com/")).is_err(), "{byte:?}");
        assert_eq!(misuse(new().header(&*text, "v")), ApiMisuse::FieldName);
        assert_eq!(misuse(new().header("X-A", &*text)), ApiMisuse::FieldValue);
        assert_eq!(misuse(new().header("Authorization", &*text)), ApiMisuse::FieldValue);
        assert_eq!(misuse(new().subprotocol(&*text)), ApiMisuse::Protocol);
        assert_eq!(misuse(new().origin(format!("http://{text}"))), ApiMisuse::Origin);
        assert!(new().basic_auth(&text, "").is_err() && new().basic_auth("", &text).is_err());
    }
    for text in ["", "a b", "a,b", "\u{e9}"] {
        assert_eq!(misuse(new().subprotocol(text)), ApiMisuse::Protocol, "{text:?}");
        assert_eq!(misuse(new().header(text, "v")), ApiMisuse::FieldName, "{text:?}");
    }
    assert_eq!(misuse(new().subprotocol("a").unwrap().subprotocol("a")), ApiMisuse::ProtocolRepeated);
    let reserved = [
        "Host",
        "CONNECTION",
        "upgrade",
        "Origin",
        "Content-Length",
        "Transfer-Encoding",
        "Trailer",
        "Sec-WebSocket-Key",
        "sec-websocket-version",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Extensions",
        "Sec-WebSocket-Anything",
    ];
    for name in reserved {
        assert_eq!(misuse(new().header(name, "v")), ApiMisuse::FieldReserved, "{name}");
    }
}

#[test]
fn authorization_is_sent_once() {
    let credentials = connect("ws://joe:pw@a/").basic_auth("ann", "geheim").unwrap();
    assert!(written(&credentials).contains("\r\nAuthorization: Basic YW5uOmdlaGVpbQ==\r\n"));
    let token = credentials.header("authorization", "Bearer t").unwrap();
    assert!(written(&token).contains("\r\nAuthorization: Bearer t\r\n"));
    assert_eq!(written(&token).matches("uthorization").count(), 1);
    assert_eq!(
        connect("ws://a/").basic_auth("a:b", "c").err(),
        Some(ConnectError::Credentials(CredentialsError::Colon))
    );
}

#[test]
fn debug_shows_no_secrets() {
    let proxy = Proxy::parse("http://pat:verborgen@proxy:3128").unwrap();
    let connect = connect("ws://joe:geheim@a/path?token=tief")
        .header("Cookie", "session=leise")
        .and_then(|connect| connect.header("Authorization", "Bearer stumm"))
        .unwrap()
        .proxy(proxy);
    let shown = format!("{connect:?} {:#?}", connect);
    for secret in ["joe", "geheim", "tief", "leise", "stumm", "pat:", "verborgen"] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
    assert!(shown.contains("ws://a/path") && shown.contains("http://proxy:3128") && shown.contains("Cookie"));
}

#[test]
fn the_first_host_is_the_proxys_unless_addresses_are_given() {
    let direct = connect("wss://a/");
    assert_eq!(direct.first_host(), ("a", 443));
    let through = direct.proxy(Proxy::parse("socks5://[::1]").unwrap());
    assert_eq!((through.first_host(), through.via().is_some()), (("::1", 1080), true));
    let given = through.clone().to([Address::Unix("/s".into())]);
    assert_eq!((given.first_host(), given.via(), given.addresses().len()), (("a", 443), None, 1));
    assert!(given.to([]).via().is_some());
    assert_eq!(through.no_proxy().first_host(), ("a", 443));
}

#[test]
fn a_redirect_sends_no_secret_to_another_origin() {
    let start = connect("ws://joe:pw@a/x/y?q")
        .subprotocol("one")
        .and_then(|connect| connect.header("Cookie", "c=d"))
        .unwrap()
        .to([Address::Unix("/s".into())])
        .redirects(2);
    let same = redirect(&start, "../z").unwrap();
    assert_eq!((same.url().to_string().as_str(), same.redirects), ("ws://a/z", 1));
    assert!(written(&same).contains("Basic am9lOnB3") && written(&same).contains("Cookie"));
    assert_eq!(same.addresses().len(), 1);
    for elsewhere in ["http://b/", "ws://a:81/", "wss://a/", "//b/x"] {
        let moved = redirect(&start, elsewhere).unwrap();
        let request = written(&moved);
        assert!(!request.contains("Authorization") && !request.contains("Cookie"), "{elsewhere}: {request}");
        assert!(request.contains("Sec-WebSocket-Protocol: one"));
        assert!(moved.addresses().is_empty() && moved.url().userinfo().is_none());
    }
    // Back again: what was dropped stays dropped.
    let back = redirect(&redirect(&start, "http://b/").unwrap(), "http://a/").unwrap();
    assert!(!written(&back).contains("Authorization"));
    assert_eq!(redirect(&back, "/").err(), Some(RedirectError::TooMany));
}

#[test]
fn redirects_that_are_not_followed() {
    let secure = connect("wss://a/").redirects(1);
    assert_eq!(redirect(&secure, "http://a:443/").err(), Some(RedirectError::Downgrade));
    assert!(redirect(&secure, "/b").is_ok());
    let plain = connect("ws://a/").redirects(1);
    assert!(redirect(&plain, "https://a/").is_ok());
    assert_eq!(redirect(&plain, "ftp://a/").err(), Some(RedirectError::Location(UrlError::Scheme)));
    assert_eq!(redirect(&plain, "ws://u:p@b/").err(), Some(RedirectError::Location(UrlError::Userinfo)));
    assert_eq!(redirect(&plain, "/a b").err(), Some(RedirectError::Location(UrlError::Character { at: 2 })));
    assert_eq!(redirect(&connect("ws://a/"), "/b").err(), Some(RedirectError::TooMany));
    let head = ResponseHead::parse(b"HTTP/1.1 302 x\r\n\r\n", &ProtocolLimits::default()).unwrap();
    assert_eq!(plain.redirected(&Refusal::new(&head, 0)).err(), Some(RedirectError::LocationMissing));
}

#[test]
fn times_have_their_defaults_and_bounds() {
    let connect = connect("ws://a/").timeout(Duration::from_secs(3)).unwrap();
    assert_eq!((connect.timeout, connect.timeouts.head_start), (Duration::from_secs(3), Duration::from_millis(250)));
    let timeouts = Timeouts { head_start: Duration::from_millis(9), ..Timeouts::default() };
    let error = connect.timeouts(timeouts).unwrap_err();
    assert_eq!(error.to_string(), "Timeouts::head_start is 9 ms, and the least is 10 ms");
}
