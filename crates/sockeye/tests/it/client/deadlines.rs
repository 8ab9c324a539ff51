//! Each stage and its deadline, to the instant.

use std::time::Duration;

use sockeye::client::{Proxy, Timeouts};
use sockeye::sim::Faults;
use sockeye::{Connect, Limits};
use sockeye_testing::client::{Bench, MILLI, SECOND, Server, ip, to};

#[test]
fn a_name_that_stalls_is_given_up() {
    let mut bench = Bench::new();
    bench.network.name_stalls("slow.example");
    let id = bench.connect(&to("ws://slow.example/"));
    assert_eq!(bench.failed(id), (3 * SECOND, "Resolve: timeout 3s".to_owned()));
    bench.finish();
}

#[test]
fn a_name_that_fails_or_is_unknown_fails_at_once() {
    let mut bench = Bench::new();
    bench.network.name_fails("broken.example");
    let id = bench.connect(&to("ws://broken.example/"));
    assert_eq!(bench.failed(id), (Duration::ZERO, "Resolve: resolve broken.example Other".to_owned()));
    let id = bench.connect(&to("ws://unknown.example/"));
    assert_eq!(bench.failed(id), (Duration::ZERO, "Resolve: resolve unknown.example NotFound".to_owned()));
    bench.finish();
}

#[test]
fn an_address_that_swallows_everything_is_given_up() {
    let mut bench = Bench::new();
    bench.network.silence(&ip("10.0.0.1:80"));
    let id = bench.connect(&to("ws://10.0.0.1/"));
    assert_eq!(bench.failed(id), (4 * SECOND, "Connect: timeout 4s".to_owned()));
    bench.finish();
}

#[test]
fn a_proxy_that_says_nothing_is_given_up() {
    for proxy in ["http://10.0.0.3:3128", "socks5h://10.0.0.3:3128"] {
        let mut bench = Bench::new();
        let listener = bench.listen("10.0.0.3:3128");
        let id = bench.connect(&to("ws://example.com/").proxy(Proxy::parse(proxy).unwrap()));
        let server = bench.accepted(&listener);
        assert_eq!(bench.failed(id), (5 * SECOND, "Proxy: timeout 5s".to_owned()));
        drop(server);
        bench.finish();
    }
}

#[test]
fn a_proxy_that_was_let_through_leaves_the_handshake_its_own_time() {
    let mut bench = Bench::new();
    let listener = bench.listen("10.0.0.3:3128");
    let id = bench.connect(&to("ws://example.com/").proxy(Proxy::parse("10.0.0.3:3128").unwrap()));
    let mut proxy = bench.asked(&listener);
    assert!(proxy.head.starts_with("CONNECT example.com:80 HTTP/1.1\r\n"), "{}", proxy.head);
    bench.pass(4 * SECOND);
    proxy.send("HTTP/1.1 200 OK\r\n\r\n");
    bench.until(|_| proxy.heard_head());
    assert!(proxy.head.starts_with("GET / HTTP/1.1\r\nHost: example.com\r\n"), "{}", proxy.head);
    assert_eq!(bench.failed(id), (6 * SECOND, "Handshake: timeout 6s".to_owned()));
    drop(proxy);
    bench.finish();
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let mut bench = Bench::new();
    let listener = bench.listen("10.0.0.1:80");
    let id = bench.connect(&to("ws://10.0.0.1/"));
    let server = bench.asked(&listener);
    assert_eq!(bench.failed(id), (6 * SECOND, "Handshake: timeout 6s".to_owned()));
    drop(server);
    bench.finish();
}

/// CL03: activity does not move the deadline.
#[test]
fn a_head_that_trickles_in_is_given_up() {
    let mut bench = Bench::new();
    let listener = bench.listen("10.0.0.1:80");
    let id = bench.connect(&to("ws://10.0.0.1/"));
    let server = bench.asked(&listener);
    let answer = server.acceptance("");
    let begin = bench.time();
    let mut bytes = answer.as_bytes().chunks(1);
    while !bench.notes.is_over(id) {
        server.send(bytes.next().unwrap());
        bench.pass(SECOND);
    }
    assert_eq!((bench.time() - begin, bench.why(id)), (6 * SECOND, "Handshake: timeout 6s".to_owned()));
    drop(server);
    bench.finish();
}

#[test]
fn everything_together_has_a_deadline_in_whatever_stage() {
    let short = |connect: Connect| connect.timeout(2 * SECOND).unwrap();
    let mut bench = Bench::new();
    bench.network.name_stalls("slow.example");
    bench.network.silence(&ip("10.0.0.1:80"));
    let listener = bench.listen("10.0.0.2:80");
    let stalled = bench.connect(&short(to("ws://slow.example/")));
    let silent = bench.connect(&short(to("ws://10.0.0.1/")));
    let unanswered = bench.connect(&short(to("ws://10.0.0.2/")));
    let proxied = bench.connect(&short(to("ws://10.0.0.9/").proxy(Proxy::parse("10.0.0.2:80").unwrap())));
    bench.pass(2 * SECOND - MILLI);
    assert_eq!(bench.service.connections(), 4);
    let two: Vec<Server> = std::iter::from_fn(|| Server::accept(&listener)).collect();
    assert_eq!(two.len(), 2);
    bench.pass(MILLI);
    assert_eq!(bench.why(stalled), "Resolve: timeout 2s");
    assert_eq!(bench.why(silent), "Connect: timeout 2s");
    assert_eq!(bench.why(unanswered), "Handshake: timeout 2s");
    assert_eq!(bench.why(proxied), "Proxy: timeout 2s");
    assert_eq!(bench.time(), 2 * SECOND);
    drop(two);
    bench.finish();
}

/// Who sets both waits as long in any stage.
#[test]
fn a_stage_may_take_as_long_as_everything() {
    let patient = |connect: Connect| {
        connect.timeout(60 * SECOND).and_then(|connect| connect.timeouts(Timeouts::each(60 * SECOND))).unwrap()
    };
    let mut bench = Bench::new();
    bench.network.name_stalls("slow.example");
    bench.network.silence(&ip("10.0.0.1:80"));
    let listener = bench.listen("10.0.0.2:80");
    let ids = ["ws://slow.example/", "ws://10.0.0.1/", "ws://10.0.0.2/"].map(|url| bench.connect(&patient(to(url))));
    bench.pass(60 * SECOND - MILLI);
    assert_eq!(bench.service.connections(), 3);
    bench.pass(MILLI);
    let why = ids.map(|id| bench.why(id));
    assert_eq!(why, ["Resolve: timeout 60s", "Connect: timeout 60s", "Handshake: timeout 60s"]);
    drop(listener);
    bench.finish();
}

/// What took long in one stage is not there for the next.
#[test]
fn the_deadline_of_everything_spans_the_stages() {
    let mut bench = Bench::new();
    let listener = bench.listen("10.0.0.3:3128");
    let connect = to("ws://example.com/").timeout(7 * SECOND).unwrap().proxy(Proxy::parse("10.0.0.3:3128").unwrap());
    let id = bench.connect(&connect);
    let mut proxy = bench.asked(&listener);
    bench.pass(4 * SECOND);
    proxy.send("HTTP/1.1 200 OK\r\n\r\n");
    bench.until(|_| proxy.heard_head());
    assert_eq!(bench.failed(id), (3 * SECOND, "Handshake: timeout 7s".to_owned()));
    drop(proxy);
    bench.finish();
}

/// The loop was stopped, or short of the processor, while the others did their part in time.
#[test]
fn who_answered_in_time_is_not_too_late_because_we_are() {
    let mut bench = Bench::new();
    bench.network.name("example.com", ["10.0.0.1".parse().unwrap()]);
    let listener = bench.listen("10.0.0.1:80");
    let id = bench.connect(&to("ws://example.com/").timeout(60 * SECOND).unwrap());
    bench.turn();
    // The name is looked up.
    bench.network.advance(20 * SECOND);
    bench.turn();
    assert!(!bench.notes.is_over(id), "{:?}", bench.notes.seen.borrow());
    // The connection stands.
    bench.network.advance(20 * SECOND);
    bench.turn();
    assert!(!bench.notes.is_over(id), "{:?}", bench.notes.seen.borrow());
    let mut server = bench.asked(&listener);
    // The answer came.
    server.open("");
    bench.network.advance(10 * SECOND);
    bench.turn();
    assert!(bench.notes.is_open(id), "{:?}", bench.notes.seen.borrow());
    drop(server);
    bench.finish();
}

#[test]
fn stalled_stages_do_not_spin() {
    let mut bench = Bench::with(1, Faults::none(), Limits::default());
    bench.network.name_stalls("slow.example");
    bench.network.silence(&ip("10.0.0.1:80"));
    let listener = bench.listen("10.0.0.2:80");
    for url in ["ws://slow.example/", "ws://10.0.0.1/", "ws://10.0.0.2/"] {
        bench.connect(&to(url));
    }
    bench.pass(MILLI);
    bench.turns = 0;
    bench.pass(2 * SECOND);
    assert!(bench.turns <= 10, "{} turns", bench.turns);
    drop(listener);
    bench.finish();
}

#[test]
fn what_needs_tls_says_so() {
    let mut bench = Bench::new();
    let id = bench.connect(&to("wss://10.0.0.1/"));
    assert_eq!(bench.failed(id), (Duration::ZERO, "Connect: unsupported".to_owned()));
    bench.finish();
}
