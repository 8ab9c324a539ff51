//! Several addresses: who starts when, who wins, and what becomes of the others (RFC 8305).

use std::net::IpAddr;
use std::time::Duration;

use sockeye::sim::{Fault, Faults};
use sockeye::{CloseCode, Limits};
use sockeye_testing::client::{Bench, MILLI, SECOND, Server, ip, to};

fn named(bench: &Bench, addresses: &[&str]) {
    let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
    bench.network.name("example.com", addresses);
}

#[test]
fn the_second_starts_after_the_head_start_of_a_silent_first() {
    let mut bench = Bench::new();
    named(&bench, &["10.0.0.1", "10.0.0.2"]);
    bench.network.silence(&ip("10.0.0.1:80"));
    let listener = bench.listen("10.0.0.2:80");
    let id = bench.connect(&to("ws://example.com/"));
    bench.pass(249 * MILLI);
    assert_eq!((bench.host.calls().connect, bench.host.open_handles()), (1, 1));
    let mut server = bench.asked(&listener);
    assert_eq!(bench.time(), 250 * MILLI);
    // The loser is gone as soon as there is a winner.
    assert_eq!((bench.host.calls().connect, bench.host.open_handles()), (2, 1));
    server.open("");
    bench.until(|bench| bench.notes.is_open(id));
    assert_eq!(bench.time(), 250 * MILLI);
    drop(server);
    bench.finish();
}

#[test]
fn the_next_starts_at_once_when_the_one_before_it_is_refused() {
    let mut bench = Bench::new();
    named(&bench, &["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    bench.network.unreachable(&ip("10.0.0.2:80"));
    let listener = bench.listen("10.0.0.3:80");
    let id = bench.connect(&to("ws://example.com/"));
    let server = bench.asked(&listener);
    assert_eq!((bench.time(), bench.host.calls().connect), (Duration::ZERO, 3));
    server.send("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(bench.failed(id).1, "Handshake: refused 403 ");
    bench.finish();
}

#[test]
fn one_that_fails_at_once_beside_a_silent_one_costs_no_head_start() {
    let mut bench = Bench::new();
    named(&bench, &["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    bench.network.silence(&ip("10.0.0.1:80"));
    bench.network.unreachable(&ip("10.0.0.2:80"));
    let listener = bench.listen("10.0.0.3:80");
    let id = bench.connect(&to("ws://example.com/"));
    let server = bench.asked(&listener);
    assert_eq!(bench.time(), 250 * MILLI);
    drop(server);
    // Its request was left unread, so that its end is a reset.
    assert!(["Handshake: io ConnectionReset", "Handshake: ended"].contains(&&*bench.failed(id).1));
    bench.finish();
}

#[test]
fn all_refuse() {
    let mut bench = Bench::new();
    named(&bench, &["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    let id = bench.connect(&to("ws://example.com/"));
    let why = "Connect: connect 10.0.0.3:80 ConnectionRefused 3".to_owned();
    assert_eq!(bench.failed(id), (Duration::ZERO, why));
    bench.finish();
}

#[test]
fn all_are_silent() {
    let mut bench = Bench::new();
    let addresses: Vec<String> = (1..=30).map(|last| format!("10.0.0.{last}")).collect();
    named(&bench, &addresses.iter().map(String::as_str).collect::<Vec<_>>());
    addresses.iter().for_each(|address| bench.network.silence(&ip(&format!("{address}:80"))));
    let id = bench.connect(&to("ws://example.com/"));
    bench.pass(4 * SECOND - MILLI);
    assert_eq!(bench.host.open_handles(), 16);
    assert_eq!(bench.failed(id), (MILLI, "Connect: timeout 4s".to_owned()));
    assert_eq!(bench.host.open_handles(), 0);
    bench.finish();
}

#[test]
fn the_winner_takes_it_and_the_losers_are_closed() {
    // Latency: the second may stand before the first.
    for seed in 0..200 {
        let faults = Faults::usual().with(Fault::Cut, 0).with_latency(300 * MILLI);
        let mut bench = Bench::with(seed, faults, Limits::default());
        named(&bench, &["10.0.0.1", "::1", "10.0.0.2"]);
        let listeners = ["10.0.0.1:80", "[::1]:80", "10.0.0.2:80"].map(|address| bench.listen(address));
        let id = bench.connect(&to("ws://example.com/"));
        let mut servers = Vec::new();
        bench.until(|bench| {
            servers.extend(listeners.iter().filter_map(Server::accept));
            for server in &mut servers {
                if !server.is_open() && server.heard_head() {
                    server.open("");
                }
            }
            bench.notes.is_open(id)
        });
        assert_eq!(bench.host.open_handles(), 1, "seed {seed}");
        assert_eq!(servers.iter().filter(|server| server.is_open()).count(), 1, "seed {seed}");
        // Those who lost learn it.
        bench.until(|_| {
            servers.extend(listeners.iter().filter_map(Server::accept));
            servers.iter().all(|server| server.is_open() || server.end().is_some())
        });
        bench.service.control().connection(id).unwrap().close(CloseCode::NORMAL);
        drop(servers);
        bench.finish();
    }
}

/// No room for a socket is a failure of the address like others, and one that may pass.
#[test]
fn no_descriptors_are_left() {
    let mut bench = Bench::new();
    named(&bench, &["10.0.0.1", "10.0.0.2"]);
    let listener = bench.listen("10.0.0.1:80");
    bench.host.set_descriptor_limit(3);
    let id = bench.connect(&to("ws://example.com/"));
    let (took, why) = bench.failed(id);
    assert!(took.is_zero() && why.starts_with("Connect: connect 10.0.0.2:80 ") && why.ends_with(" 2"), "{why}");
    assert!(bench.notes.failure(id, sockeye::Failure::is_transient).unwrap());
    // One is there, but not for two at a time.
    bench.host.set_descriptor_limit(4);
    named(&bench, &["10.0.0.2", "10.0.0.1"]);
    bench.network.silence(&ip("10.0.0.2:80"));
    let id = bench.connect(&to("ws://example.com/"));
    assert_eq!(bench.failed(id), (4 * SECOND, "Connect: timeout 4s".to_owned()));
    drop(listener);
    bench.finish();
}

#[test]
fn a_connect_comes_from_the_address_that_was_chosen() {
    let mut bench = Bench::new();
    named(&bench, &["2001:db8::1", "10.0.0.1"]);
    let listener = bench.listen("10.0.0.1:80");
    let from = |source: &str| to("ws://example.com/").source(source.parse().unwrap());
    // The other family is not reached from it, and costs no time.
    let id = bench.connect(&from("10.0.0.77"));
    let mut server = bench.asked(&listener);
    let sockeye::sys::Address::Ip(peer) = server.peer.remote_address() else { panic!("not of TCP") };
    assert_eq!((peer.ip().to_string().as_str(), bench.time()), ("10.0.0.77", Duration::ZERO));
    server.open("");
    bench.until(|bench| bench.notes.is_open(id));
    let id = bench.connect(&from("2001:db8::77"));
    let why = bench.failed(id).1;
    assert!(why.starts_with("Connect: connect "), "{why}");
    drop(server);
    bench.finish();
}
