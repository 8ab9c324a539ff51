//! Redirects (CL04, as far as it needs no TLS).

use sockeye::client::Proxy;
use sockeye::sys::Address;
use sockeye::{ConnId, Connect};
use sockeye_testing::client::{Bench, SECOND, Server, to};

fn redirect(server: &Server, status: u16, to: &str) {
    server.send(format!("HTTP/1.1 {status} x\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"));
}

fn secretive() -> Connect {
    to("ws://me:secret@one.example/a?b").subprotocol("chat").unwrap().header("X-Token", "abc").unwrap()
}

fn named() -> Bench {
    let bench = Bench::new();
    bench.network.name("one.example", ["10.0.0.1".parse().unwrap()]);
    bench.network.name("two.example", ["10.0.0.2".parse().unwrap()]);
    bench
}

fn opens(bench: &mut Bench, id: ConnId, mut server: Server) {
    server.open("");
    bench.until(|bench| bench.notes.is_open(id));
    drop(server);
    bench.until(|bench| bench.notes.is_over(id));
}

#[test]
fn cl04_a_redirect_is_reported_and_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        let mut bench = named();
        let listener = bench.listen("10.0.0.1:80");
        let id = bench.connect(&secretive());
        let server = bench.asked(&listener);
        redirect(&server, status, "ws://two.example/");
        assert_eq!(bench.failed(id).1, format!("Handshake: refused {status} "));
        let location = bench.notes.failure(id, |failure| failure.refusal().unwrap().location().map(str::to_owned));
        assert_eq!(location, Some(Some("ws://two.example/".to_owned())));
        assert_eq!(bench.host.calls().connect, 1);
        bench.finish();
    }
}

#[test]
fn on_the_same_origin_everything_goes_along() {
    for place in ["/new?x", "http://one.example/new?x", "ws://ONE.example:80/new?x", "//one.example/new?x"] {
        let mut bench = named();
        let listener = bench.listen("10.0.0.1:80");
        let id = bench.connect(&secretive().redirects(1));
        let server = bench.asked(&listener);
        redirect(&server, 307, place);
        let second = bench.asked(&listener);
        assert!(second.head.starts_with("GET /new?x HTTP/1.1\r\nHost: one.example\r\n"), "{place}: {}", second.head);
        assert_eq!(second.field("authorization"), Some("Basic bWU6c2VjcmV0"));
        assert_eq!((second.field("x-token"), second.field("sec-websocket-protocol")), (Some("abc"), Some("chat")));
        assert_ne!(second.field("sec-websocket-key"), server.field("sec-websocket-key"));
        drop(server);
        opens(&mut bench, id, second);
        bench.finish();
    }
}

#[test]
fn cl04_to_another_origin_go_no_credentials_and_no_fields() {
    for (place, at) in [
        ("ws://two.example/new", "10.0.0.2:80"),
        ("ws://one.example:81/new", "10.0.0.1:81"),
        ("//two.example/new", "10.0.0.2:80"),
    ] {
        let mut bench = named();
        let (first, second) = (bench.listen("10.0.0.1:80"), bench.listen(at));
        let id = bench.connect(&secretive().redirects(1));
        redirect(&bench.asked(&first), 302, place);
        let server = bench.asked(&second);
        assert!(server.head.starts_with("GET /new HTTP/1.1\r\n"), "{}", server.head);
        assert_eq!((server.field("authorization"), server.field("x-token")), (None, None), "{place}");
        assert!(!server.head.contains("secret") && !server.head.contains("abc"));
        assert_eq!(server.field("sec-websocket-protocol"), Some("chat"));
        opens(&mut bench, id, server);
        bench.finish();
    }
}

/// Back where it began, the credentials are not taken up again.
#[test]
fn cl04_credentials_do_not_come_back() {
    let mut bench = named();
    let (one, two) = (bench.listen("10.0.0.1:80"), bench.listen("10.0.0.2:80"));
    let id = bench.connect(&secretive().redirects(5));
    redirect(&bench.asked(&one), 302, "ws://two.example/");
    redirect(&bench.asked(&two), 302, "ws://one.example/");
    let server = bench.asked(&one);
    assert_eq!((server.field("authorization"), server.field("x-token")), (None, None));
    opens(&mut bench, id, server);
    bench.finish();
}

#[test]
fn cl04_a_loop_ends() {
    let mut bench = named();
    let listener = bench.listen("10.0.0.1:80");
    let id = bench.connect(&secretive().redirects(3));
    for _ in 0..4 {
        redirect(&bench.asked(&listener), 301, "/again");
    }
    assert_eq!(bench.failed(id).1, "Handshake: redirect TooMany");
    assert_eq!(bench.host.calls().connect, 4);
    bench.finish();
}

#[test]
fn redirects_that_lead_nowhere() {
    for (place, why) in [
        ("ftp://two.example/", "Handshake: redirect Location("),
        ("ws://two.example/ x", "Handshake: redirect Location("),
        ("http://", "Handshake: redirect Location("),
        // Credentials that the server chose.
        ("http://me:other@two.example/new", "Handshake: redirect Location(Userinfo)"),
        ("wss://two.example/", "Connect: unsupported"),
        ("ws://unknown.example/", "Resolve: resolve unknown.example NotFound"),
        ("ws://10.0.0.9/", "Connect: connect 10.0.0.9:80 ConnectionRefused 1"),
    ] {
        let mut bench = named();
        let listener = bench.listen("10.0.0.1:80");
        let id = bench.connect(&secretive().redirects(3));
        redirect(&bench.asked(&listener), 302, place);
        let (_, seen) = bench.failed(id);
        assert!(seen.starts_with(why), "{place}: {seen}");
        bench.finish();
    }
    let mut bench = named();
    let listener = bench.listen("10.0.0.1:80");
    let id = bench.connect(&secretive().redirects(3));
    bench.asked(&listener).send("HTTP/1.1 302 x\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(bench.failed(id).1, "Handshake: redirect LocationMissing");
    bench.finish();
}

/// The text of a page that says where it moved is of no use to who goes there anyway.
#[test]
fn a_redirect_is_followed_without_its_body() {
    let mut bench = named();
    let listener = bench.listen("10.0.0.1:80");
    let id = bench.connect(&secretive().redirects(1));
    let server = bench.asked(&listener);
    server.send("HTTP/1.1 302 x\r\nLocation: /new\r\n\r\n<html>");
    let begin = bench.time();
    let second = bench.asked(&listener);
    assert_eq!(bench.time(), begin);
    drop(server);
    opens(&mut bench, id, second);
    bench.finish();
}

/// Given addresses are for the given host only.
#[test]
fn addresses_that_were_given_are_for_the_first_origin() {
    let mut bench = named();
    let unix = bench.network.listen(&Address::Unix("/run/one".into()));
    let listener = bench.listen("10.0.0.2:80");
    let id = bench.connect(&secretive().to([Address::Unix("/run/one".into())]).redirects(2));
    redirect(&bench.asked(&unix), 302, "/new");
    redirect(&bench.asked(&unix), 302, "ws://two.example/");
    let server = bench.asked(&listener);
    opens(&mut bench, id, server);
    bench.finish();
}

/// The deadline of everything spans all of them; that of a stage begins anew.
#[test]
fn redirects_share_one_deadline() {
    let mut bench = named();
    let listener = bench.listen("10.0.0.1:80");
    let id = bench.connect(&secretive().redirects(9).timeout(10 * SECOND).unwrap());
    for _ in 0..2 {
        let server = bench.asked(&listener);
        bench.pass(4 * SECOND);
        redirect(&server, 302, "/new");
    }
    let server = bench.asked(&listener);
    assert_eq!(bench.failed(id), (2 * SECOND, "Handshake: timeout 10s".to_owned()));
    drop(server);
    bench.finish();
}

/// Whoever reads of a failure or of a connection is told which URL it is of.
#[test]
fn the_url_in_use_is_known() {
    let mut bench = named();
    let listener = bench.listen("10.0.0.1:80");
    let id = bench.connect(&secretive().redirects(2));
    let server = bench.asked(&listener);
    redirect(&server, 302, "wss://two.example/tls");
    bench.failed(id);
    let told = bench.notes.failure(id, |failure| (failure.to_string(), failure.redirected_to().cloned()));
    let (text, url) = told.unwrap();
    assert!(text.ends_with(" (redirected to wss://two.example/tls)"), "{text}");
    assert_eq!(url.unwrap().to_string(), "wss://two.example/tls");
    bench.finish();
}

#[test]
fn a_proxy_that_is_down_is_named() {
    let mut bench = named();
    let env = |name: &str| (name == "http_proxy").then(|| "http://joe:secret@10.0.0.9:3128".to_owned());
    let proxy = Proxy::from_env(to("ws://one.example/").url(), &env).unwrap().unwrap();
    let id = bench.connect(&to("ws://one.example/").proxy(proxy));
    bench.failed(id);
    let text = bench.notes.failure(id, |failure| failure.to_string()).unwrap();
    assert!(text.ends_with(" (the proxy http://10.0.0.9:3128, from http_proxy)"), "{text}");
    bench.finish();
}
