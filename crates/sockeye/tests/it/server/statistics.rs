//! What the service says it did, to the last byte.

use std::collections::BTreeMap;
use std::time::Duration;

use sockeye::http::{Response, Routes};
use sockeye::protocol::ProtocolMut;
use sockeye::service::{Hosts, Origins};
use sockeye::sim::{Fault, Faults, Network, Outcome, Peer, PeerEnd, Turn};
use sockeye::statistics::Statistics;
use sockeye::{Builder, Close, CloseCode, Cx, Decision, Fragment, Handshake, Limits, Protocol, Request, Service, Tx};
use sockeye_testing::server::{Bench, upgrade};

/// What happened since `earlier`, as lines without those that say "none".
fn named(statistics: impl Iterator<Item = (&'static str, u64)>) -> Vec<(&'static str, u64)> {
    statistics.filter(|(_, count)| *count > 0).collect()
}

#[test]
fn traffic_each_way() {
    let mut bench = Bench::new();
    let client = bench.open();
    let (before, received) = (bench.service.statistics().clone(), bench.clients[client].received);
    let mut bytes = 0;
    // Whole; in three frames, the last of which is cut; a ping in between, and a pong that nobody asked for.
    for piece in [
        &b"\x81\x82\0\0\0\0hi"[..],
        b"\x01\x81\0\0\0\0a\x00\x81\0\0\0\0b",
        b"\x89\x84\0\0\0\0ping\x8a\x80\0\0\0\0\x80\x83\0\0\0\0c",
        b"de",
    ] {
        bytes += piece.len() as u64;
        bench.clients[client].raw(piece);
        bench.turn();
    }
    bench.until(|bench| bench.replies(client) == 2);
    let since = bench.service.statistics().since(&before);
    assert_eq!((since.received.bytes, since.received.messages, since.received.parts), (bytes, 2, 2));
    assert_eq!((since.received.pings, since.received.pongs, since.received.closes), (1, 1, 0));
    assert_eq!(since.received.frames(), 6);
    assert_eq!((since.sent.messages, since.sent.parts, since.sent.pings, since.sent.pongs), (2, 0, 0, 1));
    assert_eq!(since.sent.bytes, (bench.clients[client].received - received) as u64);

    let before = bench.service.statistics().clone();
    bench.clients[client].text("!frag 3 abcdef");
    bench.clients[client].text("!own to be kept");
    bench.clients[client].text("!ping of ours");
    bench.until(|bench| bench.replies(client) == 4);
    bench.close(client);
    let since = bench.service.statistics().since(&before);
    assert_eq!((since.sent.messages, since.sent.parts, since.sent.pings, since.sent.closes), (2, 2, 1, 1));
    assert_eq!((since.received.messages, since.received.pongs, since.received.closes), (3, 1, 1));
    bench.finish();
}

#[test]
fn what_a_full_socket_leaves_behind_is_counted_when_it_goes() {
    let mut bench = Bench::with(Faults::none().with_buffers(1000, 1000), Limits::default());
    let client = bench.open();
    bench.clients[client].peer.as_ref().unwrap().set_window(0);
    let (before, received) = (bench.service.statistics().clone(), bench.clients[client].received);
    bench.clients[client].text("!big 50000");
    bench.pass(Duration::from_millis(10));
    let since = bench.service.statistics().since(&before);
    assert_eq!((since.sent.messages, since.sent.bytes, since.work.queues), (1, 1000, 1));
    bench.clients[client].peer.as_ref().unwrap().set_window(1 << 20);
    bench.until(|bench| bench.replies(client) == 1);
    let since = bench.service.statistics().since(&before);
    assert_eq!((since.sent.bytes, since.work.queues), (50_004, 1));
    assert_eq!(since.sent.bytes, (bench.clients[client].received - received) as u64);
    bench.finish();
}

#[test]
fn published_messages_count_for_each_that_they_go_to() {
    let mut bench = Bench::new();
    let clients = [bench.open(), bench.open(), bench.open()];
    bench.open_echo();
    let before = bench.service.statistics().clone();
    bench.clients[clients[0]].text("!pub one");
    bench.clients[clients[1]].text("!pub two");
    bench.until(|bench| clients.iter().all(|&client| bench.replies(client) == 2));
    let since = bench.service.statistics().since(&before);
    assert_eq!((since.received.messages, since.sent.messages, since.work.publishes), (2, 6, 1));
    bench.finish();
}

#[test]
fn connections_and_websockets_now_and_at_most() {
    let mut bench = Bench::new();
    let clients = [bench.open(), bench.open()];
    bench.connect();
    bench.turn();
    let seen = bench.service.statistics();
    assert_eq!((seen.connections_now, seen.connections_most, seen.connections.accepted), (3, 3, 3));
    assert_eq!((seen.websockets_now, seen.websockets_most, seen.websockets.opened_by_peers), (2, 2, 2));
    bench.close(clients[0]);
    bench.until(|bench| bench.service.connections() == 2);
    let seen = bench.service.control().statistics().clone();
    assert_eq!((seen.connections_now, seen.connections_most, seen.connections.closed), (2, 3, 1));
    assert_eq!((seen.websockets_now, seen.websockets_most, seen.websockets.closed), (1, 2, 1));
    assert_eq!((seen.connections.connected, seen.websockets.opened_by_us), (0, 0));
    assert_eq!(seen.responses, BTreeMap::from([(101, 2)]));
    bench.finish();
}

#[test]
fn ends_by_cause_and_code() {
    let mut limits = Limits::default();
    limits.protocol_mut().message_bytes = 1000;
    let mut bench = Bench::with(Faults::none(), limits);
    let clients: Vec<usize> = (0..6).map(|_| bench.open()).collect();
    let now = bench.network.now();
    bench.clients[clients[0]].close(CloseCode::NORMAL, now);
    bench.clients[clients[1]].text("!close 3001");
    bench.clients[clients[2]].shutdown();
    bench.clients[clients[3]].reset();
    bench.clients[clients[4]].raw(b"\x81\x02hi");
    bench.clients[clients[5]].binary(&[0; 1001]);
    bench.until(|bench| clients.iter().all(|&client| bench.closed(client).is_some()));
    let seen = bench.service.statistics();
    assert_eq!(named(seen.closes.named()), [("handshake", 2), ("eof", 1), ("reset", 1), ("violation", 2)]);
    assert_eq!(named(seen.limits.named()), [("message_bytes", 1)]);
    assert_eq!(named(seen.codes_sent.named()), [("c1000", 1), ("c1002", 1), ("c1006", 2), ("c1009", 1), ("c3xxx", 1)]);
    assert_eq!(named(seen.codes_received.named()), [("c1000", 1), ("c1006", 4), ("c3xxx", 1)]);
    bench.finish();
}

/// A service on a simulated network with what its test wants of it.
struct Site {
    network: Network,
    service: Service,
}

/// Refuses who asks for `/no`, and ticks each second.
struct Choosy;

impl Protocol for Choosy {
    type Session = ();

    fn name(&self) -> &'static str {
        "choosy"
    }

    fn filter(&mut self, request: &Request<'_>) -> Decision {
        if request.path() == "/no" { Decision::refuse(418, "no") } else { Decision::accept() }
    }

    fn open(&mut self, cx: &mut Cx<'_>, _: &Handshake<'_>) {
        cx.set_timer(Duration::from_millis(1500));
    }

    fn receive(&mut self, _: &mut Cx<'_>, (): &mut (), _: Fragment<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn writable(&mut self, _: &mut Cx<'_>, (): &mut (), _: Tx<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn interval(&self) -> Option<Duration> {
        Some(Duration::from_secs(1))
    }

    fn tick(&mut self, _: &mut ProtocolMut<'_>) {}
}

impl Site {
    fn new(build: impl FnOnce(Builder) -> Builder) -> Self {
        Self::with(Faults::none(), build)
    }

    fn with(faults: Faults, build: impl FnOnce(Builder) -> Builder) -> Self {
        let network = Network::with_faults(1, faults);
        let builder = build(Service::builder().protocol(Choosy).listen("127.0.0.1:80"));
        let service = builder.build_with(network.sys()).unwrap();
        Self { network, service }
    }

    fn limited(change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        change(&mut limits);
        Self::new(|builder| builder.limits(limits))
    }

    fn connect(&self) -> Peer {
        self.network.connect(&self.service.local_addresses()[0]).unwrap()
    }

    fn asking(&self, request: &[u8]) -> Peer {
        let peer = self.connect();
        peer.send(request);
        peer
    }

    fn until(&mut self, mut done: impl FnMut() -> bool) {
        let limit = self.network.now() + Duration::from_secs(60);
        let outcome = self.network.run(|| {
            self.service.run_once(Some(Duration::ZERO)).unwrap();
            assert!(self.network.now() < limit, "it did not come");
            let deadline = self.service.next_deadline().unwrap_or(limit).min(limit);
            if done() { Turn::Done } else { Turn::Sleep(Some(deadline)) }
        });
        assert_eq!(outcome, Outcome::Done);
    }

    fn turns(&mut self, count: usize) {
        for _ in 0..count {
            self.service.run_once(Some(Duration::ZERO)).unwrap();
        }
    }

    /// Asks, and waits for the end of the connection.
    fn answer(&mut self, request: &[u8]) -> String {
        let peer = self.asking(request);
        let mut bytes = Vec::new();
        self.until(|| {
            bytes.extend(peer.recv());
            peer.is_closed()
        });
        String::from_utf8(bytes).unwrap()
    }

    fn seen(&self) -> &Statistics {
        self.service.statistics()
    }
}

fn get(path: &str, fields: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").into_bytes()
}

#[test]
fn every_refusal_has_a_reason() {
    let replaced = |from: &str, to: &str| {
        let request = String::from_utf8(upgrade("")).unwrap();
        assert!(request.contains(from));
        request.replace(from, to).into_bytes()
    };
    let cases: [(&str, u16, Vec<u8>); 8] = [
        ("host", 421, replaced("Host: localhost", "Host: elsewhere")),
        ("origin", 403, upgrade("Origin: https://elsewhere\r\n")),
        ("subprotocol", 400, upgrade("Sec-WebSocket-Protocol: other\r\n")),
        ("filter", 418, replaced("GET /", "GET /no")),
        ("handshake", 426, replaced("Version: 13", "Version: 12")),
        ("request", 400, b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n".to_vec()),
        ("slow", 408, b"GET / HTTP/1.1\r\nHost".to_vec()),
        ("plain", 426, get("/", "")),
    ];
    for (reason, status, request) in cases {
        let origins = Origins::only(["https://here"]).unwrap().or_missing();
        let mut site = Site::new(|builder| builder.hosts(Hosts::local()).origins(origins));
        assert!(site.answer(&request).starts_with(&format!("HTTP/1.1 {status} ")), "{reason}");
        assert_eq!(named(site.seen().refusals.named()), [(reason, 1)]);
        assert_eq!(site.seen().responses, BTreeMap::from([(status, 1)]));
        assert_eq!(site.seen().websockets.opened_by_peers, 0);
    }
}

#[test]
fn refusals_before_a_word_was_said() {
    let mut site = Site::new(|builder| builder.filter(|_| false));
    let peer = site.connect();
    site.until(|| peer.is_closed());
    assert_eq!(named(site.seen().refusals.named()), [("address", 1)]);
    assert_eq!(site.seen().connections.accepted, 0);

    let mut limits = Limits::default();
    limits.connections_per_address = Some(1);
    let mut site = Site::new(|builder| builder.limits(limits));
    let (_first, second) = (site.connect(), site.connect());
    site.until(|| second.is_closed());
    assert_eq!(named(site.seen().refusals.named()), [("per_address", 1)]);
    assert_eq!(named(site.seen().limits.named()), [("connections_per_address", 1)]);
    assert_eq!(site.seen().connections.accepted, 1);

    let mut site = Site::new(|builder| builder);
    site.network.set_faults(Faults::none().with(Fault::RegisterFailed, 1000));
    let peer = site.connect();
    site.until(|| peer.is_closed());
    assert_eq!(named(site.seen().refusals.named()), [("unwatched", 1)]);

    let mut site = Site::new(|builder| builder);
    let peer = site.connect();
    site.turns(2);
    peer.send(b"GET / HTTP/1.1\r\n");
    site.turns(2);
    site.service.drain();
    peer.send(&upgrade("")[b"GET / HTTP/1.1\r\n".len()..]);
    site.until(|| peer.is_closed());
    assert_eq!(named(site.seen().refusals.named()), [("draining", 1)]);
}

#[test]
fn bounds_of_requests_by_name() {
    let large = |limits: &mut Limits| {
        limits.protocol_mut().head_bytes = 256;
        limits.protocol_mut().head_lines = 8;
        limits.protocol_mut().request_line_bytes = 64;
        limits.protocol_mut().body_bytes = 5;
    };
    let chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n123456\r\n0\r\n\r\n";
    for (limit, request) in [
        ("head_bytes", get("/", &format!("A: {}\r\n", "x".repeat(300)))),
        ("head_lines", get("/", &"A: 1\r\n".repeat(8))),
        ("request_line_bytes", get(&format!("/{}", "x".repeat(70)), "")),
        ("body_bytes", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n".to_vec()),
        ("body_bytes", chunked.to_vec()),
        ("handshake_timeout", b"GET".to_vec()),
        ("handshake_timeout", Vec::new()),
    ] {
        let mut limits = Limits::default();
        large(&mut limits);
        let routes = Routes::new().get("/", |_| Response::text("x")).post("/", |_| Response::text("x"));
        let mut site = Site::new(|builder| builder.limits(limits).routes(routes));
        let peer = site.connect();
        if !request.is_empty() {
            peer.send(&request);
        }
        site.until(|| peer.is_closed());
        assert_eq!(named(site.seen().limits.named()), [(limit, 1)], "{}", String::from_utf8_lossy(&request));
        let slow = u64::from(request == b"GET");
        assert_eq!(site.seen().refusals.slow, slow);
        assert_eq!(site.seen().refusals.request, u64::from(request.len() > 3));
    }
    let mut site = Site::new(|builder| builder.routes(Routes::new().get("/", |_| Response::text("x"))));
    let peer = site.asking(&get("/", ""));
    site.until(|| peer.is_closed());
    assert_eq!(named(site.seen().limits.named()), [("idle_timeout", 1)]);
    assert_eq!((site.seen().responses.clone(), site.seen().refusals.slow), (BTreeMap::from([(200, 1)]), 0));
}

#[test]
fn bounds_of_connections_by_name() {
    let mut site = Site::limited(|limits| limits.connections = Some(1));
    let (first, _second) = (site.connect(), site.connect());
    site.turns(3);
    assert_eq!(named(site.seen().limits.named()), [("connections", 1)]);
    assert_eq!((site.seen().work.accept_pauses, site.seen().connections.accepted), (1, 1));
    drop(first);

    let mut site = Site::limited(|limits| limits.turn_accepts = 2);
    let _peers: Vec<_> = (0..3).map(|_| site.connect()).collect();
    site.turns(3);
    assert_eq!(named(site.seen().limits.named()), [("turn_accepts", 1)]);
    assert_eq!((site.seen().work.accept_pauses, site.seen().connections.accepted), (0, 3));

    let network = Network::with_faults(1, Faults::none());
    let host = network.host();
    let service = Service::builder().protocol(Choosy).listen("127.0.0.1:80").build_with(host.sys()).unwrap();
    host.set_descriptor_limit(5);
    let mut site = Site { network, service };
    let _peers: Vec<_> = (0..2).map(|_| site.connect()).collect();
    site.turns(3);
    assert_eq!(named(site.seen().limits.named()), [("descriptors", 1)]);
    assert_eq!(site.seen().work.accept_pauses, 1);

    let mut bench = Bench::with(Faults::none().with_buffers(1000, 1000), Limits::default());
    let slow = bench.open();
    bench.clients[slow].peer.as_ref().unwrap().set_window(0);
    bench.clients[slow].text("!big 5000");
    bench.until(|bench| bench.closed(slow).is_some());
    assert_eq!(named(bench.service.statistics().limits.named()), [("pong_within", 1)]);
    assert_eq!(named(bench.service.statistics().closes.named()), [("keepalive_timeout", 1)]);
    bench.finish();
}

#[test]
fn a_reader_of_a_page_that_is_too_slow() {
    let routes = Routes::new().get("/", |_| Response::bytes("text/plain", vec![b'x'; 50_000]));
    let mut site = Site::with(Faults::none().with_buffers(1000, 1000), |builder| builder.routes(routes));
    let peer = site.asking(&get("/", ""));
    peer.set_window(0);
    site.until(|| peer.is_closed());
    assert_eq!(peer.end(), Some(PeerEnd::Reset));
    assert_eq!(named(site.seen().limits.named()), [("slow_reader_bytes", 1)]);
}

#[test]
fn the_work_of_the_loop() {
    let mut site = Site::new(|builder| builder);
    let peer = site.asking(&upgrade(""));
    site.turns(3);
    let before = site.seen().clone();
    let steps = before.work.steps;
    assert_eq!(before.work.turns, 3);
    peer.send(b"\x81\x82\0\0\0\0hi");
    site.turns(1);
    let work = site.seen().since(&before).work;
    assert_eq!((work.turns, work.events, work.steps, work.ready_rounds), (1, 1, 1, 0));

    site.service.remote().run(|control| _ = control.statistics()).unwrap();
    site.turns(1);
    assert_eq!(site.seen().work.jobs, 1);
    site.service.control().protocol_named("choosy").unwrap().request_writable();
    site.turns(2);
    let work = site.seen().work;
    assert_eq!((work.ready_rounds, work.ready_steps, work.steps - steps), (1, 1, 2));

    // One callback of a timer after 1.5 s; a tick each second.
    site.network.advance(Duration::from_millis(1500));
    site.turns(1);
    assert_eq!((site.seen().work.deadlines, site.seen().work.ticks), (1, 1));
    site.network.advance(Duration::from_secs(1));
    site.turns(1);
    assert_eq!((site.seen().work.deadlines, site.seen().work.ticks), (1, 2));
}

#[test]
fn a_share_that_is_used_up() {
    let mut limits = Limits::default();
    limits.turn_frames = 10;
    let mut site = Site::new(|builder| builder.limits(limits));
    let peer = site.asking(&upgrade(""));
    site.turns(3);
    peer.send(&b"\x81\x82\0\0\0\0hi".repeat(25));
    site.turns(4);
    assert_eq!(site.seen().received.messages, 25);
    assert_eq!(named(site.seen().limits.named()), [("turn_bytes", 2)]);
}

#[test]
fn the_page_for_prometheus_is_a_route_that_is_asked_for() {
    let mut limits = Limits::default();
    limits.connections = Some(17);
    let mut site = Site::new(|builder| builder.limits(limits).routes(Routes::new().metrics("/metrics")));
    assert!(site.answer(&get("/other", "Connection: close\r\n")).starts_with("HTTP/1.1 404 "));
    let page = site.answer(&get("/metrics", "Connection: close\r\n"));
    let (head, body) = page.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{head}");
    assert!(body.contains("\nsockeye_http_responses_total{status=\"404\"} 1\n"), "{body}");
    assert!(body.contains("\nsockeye_connections 1\n"), "{body}");
    assert!(body.contains("\nsockeye_connections_limit 17\n"), "{body}");
}
