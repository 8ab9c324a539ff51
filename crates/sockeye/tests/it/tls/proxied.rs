//! Clients that connect through a proxy which speaks TLS itself: to a server without TLS, and to one with TLS inside that of the
//! proxy.

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustls::ServerConnection;
use sockeye::client::{FailureCause, Proxy, ProxyFailure, Reconnect, Timeouts};
use sockeye::proto::limits::ProtocolLimits;
use sockeye::protocol::ProtocolMut;
use sockeye::service::Listen;
use sockeye::sim::{Faults, Network, Peer, Turn, seeds};
use sockeye::sys::Address;
use sockeye::{
    Close, CloseCode, Closed, ClosedCx, ConnId, Connect, Cx, Failure, Fragment, Handshake, Limits, Protocol, Service,
    Tx, messages,
};
use sockeye_testing::connector::{Connector, Heads};

use super::scripted::Scripted;
use super::server::quiet;
use super::{Certified, VERSIONS, certified};

/// What happened, in order.
type Log = Rc<RefCell<Vec<String>>>;

const LENGTHS: [usize; 7] = [0, 1, 126, 16_384, 16_385, 65_536, 300_000];

/// Sends messages of several lengths, each when the one before has come back, and closes.
struct Probe(Log);

#[derive(Default)]
struct Round {
    number: usize,
    got: Vec<u8>,
}

fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 7) as u8).collect()
}

impl Protocol for Probe {
    type Session = Round;

    fn name(&self) -> &str {
        "probe"
    }

    fn open(&mut self, cx: &mut Cx<'_>, handshake: &Handshake<'_>) -> Round {
        // The session is that with the server, and never that with the proxy.
        let name = handshake.tls().map(|tls| {
            let server = tls.peer_identity().unwrap();
            assert_eq!(server.certificate().names()[0].to_string(), "localhost");
            tls.server_name().unwrap_or("nobody").to_owned()
        });
        self.0.borrow_mut().push(format!("open {}", name.as_deref().unwrap_or("plain")));
        cx.request_writable();
        Round::default()
    }

    fn receive(&mut self, cx: &mut Cx<'_>, round: &mut Round, fragment: Fragment<'_>) -> Result<(), Close> {
        round.got.extend_from_slice(fragment.payload.as_bytes());
        if !fragment.last {
            return Ok(());
        }
        assert!(std::mem::take(&mut round.got) == payload(LENGTHS[round.number]), "message {}", round.number);
        round.number += 1;
        if round.number == LENGTHS.len() {
            return Err(CloseCode::NORMAL.into());
        }
        cx.request_writable();
        Ok(())
    }

    fn writable(&mut self, _: &mut Cx<'_>, round: &mut Round, tx: Tx<'_>) -> Result<(), Close> {
        if let Some(permission) = tx.idle() {
            permission.binary(&payload(LENGTHS[round.number]));
        }
        Ok(())
    }

    fn closed(&mut self, _: &mut ClosedCx<'_>, _: Round, closed: Closed) {
        self.0.borrow_mut().push(format!("closed {:?}", closed.cause));
    }

    fn failed(&mut self, _: &mut ProtocolMut<'_>, _: ConnId, failure: Failure) {
        let cause = match &failure.cause {
            FailureCause::Tls(cause) => format!("{:?}", cause.kind()),
            FailureCause::Proxy(ProxyFailure::Refused(refusal)) => format!("refused {}", refusal.status()),
            other => format!("{other:?}"),
        };
        self.0.borrow_mut().push(format!("failed {:?} {cause}: {failure}", failure.stage));
    }
}

/// The servers, the proxy in front of them, and the client.
struct Bench {
    network: Network,
    services: [Service; 3],
    log: Log,
    heads: Heads,
    certified: Certified,
}

const PROXY: &str = "https://localhost:3129";

impl Bench {
    fn new(faults: Faults, seed: u64) -> Self {
        Self::with(certified(VERSIONS[0]), Network::with_faults(seed, faults), Limits::default(), |connector| connector)
    }

    fn with(certified: Certified, network: Network, limits: Limits, change: fn(Connector) -> Connector) -> Self {
        network.name("localhost", [[127, 0, 0, 1].into()]);
        let listen = Listen::new("127.0.0.1:443").tls(certified.server.clone());
        let server = Service::builder().protocol(messages::echo("echo")).listener(listen).listen("127.0.0.1:80");
        let server = server.build_with(network.sys()).unwrap();
        let addresses = server.local_addresses().to_vec();
        let connector = Connector::new().place("localhost:443", addresses[0].clone());
        let connector = change(connector.place("localhost:80", addresses[1].clone()));
        let heads = connector.heads();
        let mut proxy = Service::builder();
        let endpoint = proxy.add_raw(connector);
        let listen = Listen::new("127.0.0.1:3129").raw(endpoint).tls(certified.server.clone());
        let proxy = proxy.listener(listen).build_with(network.sys()).unwrap();
        let log = Log::default();
        let client = Service::builder().limits(limits).protocol(Probe(Rc::clone(&log)));
        let client = client.build_with(network.sys()).unwrap();
        Self { network, services: [server, proxy, client], log, heads, certified }
    }

    fn to(&self, url: &str, proxy: &str) -> Connect {
        let connect = Connect::new(url).unwrap().subprotocol("echo").unwrap();
        let connect = connect.proxy(Proxy::parse(proxy).unwrap());
        connect.tls(self.certified.own.clone()).proxy_tls(self.certified.own.clone())
    }

    fn client(&mut self) -> &mut Service {
        &mut self.services[2]
    }

    fn connect(&mut self, connect: Connect) {
        self.client().control().protocol_named("probe").unwrap().connect(connect);
    }

    /// Turns of all services until the log satisfies.
    fn until(&mut self, mut between: impl FnMut(), done: impl Fn(&[String]) -> bool) -> Vec<String> {
        let Self { network, services, log, .. } = self;
        let mut turns = 0;
        network.run(|| {
            between();
            for service in services.iter_mut() {
                service.run_once(Some(Duration::ZERO)).unwrap();
            }
            turns += 1;
            assert!(turns < 1_000_000, "no end: {:?}", log.borrow());
            let next = services.iter_mut().filter_map(|service| service.next_deadline()).min();
            if done(&log.borrow()) { Turn::Done } else { Turn::Sleep(next) }
        });
        std::mem::take(&mut *self.log.borrow_mut())
    }

    /// The same, until the connect has an end.
    fn until_over(&mut self) -> Vec<String> {
        self.until(|| {}, |log| log.last().is_some_and(|last| !last.starts_with("open")))
    }

    fn assert_holds_nothing(&mut self) {
        let statistics = self.client().statistics();
        assert_eq!(statistics.held_bytes, 0, "{statistics}");
    }
}

#[test]
fn messages_of_every_size_go_both_ways() {
    for (faults, seed) in [
        (Faults::none(), 1),
        (Faults::none().with_segment(1000), 2),
        (Faults::none().with_buffers(700, 900), 3),
        (Faults::none().with_buffers(64 << 10, 300), 4),
        (Faults::none().with_segment(7).with_buffers(3000, 3000), 5),
    ] {
        let mut bench = Bench::new(faults, seed);
        for (url, opened) in [("wss://localhost/", "open localhost"), ("ws://localhost/", "open plain")] {
            let connect = bench.to(url, PROXY);
            bench.connect(connect);
            assert_eq!(bench.until_over(), [opened, "closed Handshake"], "{url}");
            bench.assert_holds_nothing();
        }
        let asked = bench.heads.take();
        assert_eq!(asked.len(), 2);
        for (head, port) in asked.iter().zip([443, 80]) {
            assert_eq!(*head, format!("CONNECT localhost:{port} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"));
        }
        assert_eq!(bench.client().statistics().closes.handshake, 2);
    }
}

/// Cuts at any byte, short sends, spurious and late readiness, interrupted calls.
#[test]
fn a_bad_network_changes_nothing() {
    for seed in seeds(20) {
        let mut bench = Bench::new(Faults::usual(), seed);
        let (url, opened) =
            if seed % 2 == 0 { ("wss://localhost/", "open localhost") } else { ("ws://localhost/", "open plain") };
        let connect = bench.to(url, PROXY);
        bench.connect(connect);
        assert_eq!(bench.until_over(), [opened, "closed Handshake"], "seed {seed}");
        bench.assert_holds_nothing();
    }
}

#[test]
fn a_failure_names_the_proxy() {
    let mut bench = Bench::new(Faults::none(), 1);
    let other = certified(VERSIONS[0]);
    bench.network.name("elsewhere", [[127, 0, 0, 1].into()]);
    let (own, url) = (bench.certified.own.clone(), "wss://localhost/");
    let without = Connect::new(url).unwrap().proxy(Proxy::parse(PROXY).unwrap()).tls(own);
    for (connect, says) in [
        (
            bench.to(url, "https://elsewhere:3129"),
            "failed Proxy WrongName: the certificate is not for the proxy elsewhere",
        ),
        (
            bench.to(url, PROXY).proxy_tls(other.own.clone()),
            "failed Proxy UnknownIssuer: the certificate of the proxy localhost was not issued",
        ),
        // Nothing of the one is the other's.
        (bench.to(url, PROXY).tls(other.own.clone()), "failed Tls UnknownIssuer: the certificate of localhost was not"),
        // It speaks HTTP on this port, and answers 400.
        (
            bench.to(url, "https://localhost:80"),
            "failed Proxy NotTls: what the proxy localhost sent is not TLS: does it",
        ),
        (bench.to("wss://nowhere/", PROXY), "failed Proxy refused 502: the proxy answered 502"),
        (bench.to("wss://127.0.0.1:443/", PROXY), "failed Tls WrongName: the certificate is not for 127.0.0.1"),
        (bench.to(url, "http://localhost:3129"), "failed Proxy refused 400: the proxy answered 400"),
        (without, "failed Connect Unsupported(\"a proxy of https:// needs TLS"),
    ] {
        bench.connect(connect);
        let log = bench.until_over();
        assert!(log.len() == 1 && log[0].starts_with(says), "{log:?}, not {says}");
        let is_of_proxy = says.starts_with("failed Proxy") || says.starts_with("failed Connect");
        assert_eq!(log[0].contains("(the proxy http"), is_of_proxy, "{log:?}");
        bench.assert_holds_nothing();
    }
    let failures = bench.client().statistics().failures;
    assert_eq!((failures.proxy, failures.tls, failures.connect), (5, 2, 1));
}

/// With TLS 1.3 a client is done before it hears that its certificate is missed (RFC 8446 section 2).
#[test]
fn a_proxy_may_ask_for_a_certificate() {
    let mut certified = certified(VERSIONS[0]);
    std::mem::swap(&mut certified.server, &mut certified.strict);
    let mut bench = Bench::with(certified, quiet(), Limits::default(), |connector| connector);
    let connect = bench.to("ws://localhost/", PROXY);
    bench.connect(connect.clone());
    let log = bench.until_over();
    assert!(log[0].starts_with("failed Proxy NoCertificate: the proxy localhost refused"), "{log:?}");
    bench.connect(connect.proxy_tls(bench.certified.own_with_certificate.clone()));
    assert_eq!(bench.until_over(), ["open plain", "closed Handshake"]);
    // The server's certificate is that of the proxy here, and it asks for one too: it gets none of the proxy's.
    let connect = bench.to("wss://localhost/", PROXY).proxy_tls(bench.certified.own_with_certificate.clone());
    bench.connect(connect);
    let log = bench.until_over();
    assert!(log[0].starts_with("failed Handshake NoCertificate: localhost refused"), "{log:?}");
}

#[test]
fn a_password_is_said_inside_the_proxys_tls_only() {
    let certified = certified(VERSIONS[0]);
    let mut bench =
        Bench::with(certified, quiet(), Limits::default(), |connector| connector.secret("Basic am9lOnNlY3JldA=="));
    let connect = bench.to("wss://localhost/", "https://joe:secret@localhost:3129");
    bench.connect(connect);
    assert_eq!(bench.until_over(), ["open localhost", "closed Handshake"]);
    let heads = bench.heads.take();
    assert!(heads[0].contains("\r\nProxy-Authorization: Basic am9lOnNlY3JldA==\r\n"), "{heads:?}");
    let connect = bench.to("wss://localhost/", "https://joe:wrong@localhost:3129");
    bench.connect(connect);
    let log = bench.until_over();
    assert!(log[0].starts_with("failed Proxy refused 407: the proxy answered 407 Proxy"), "{log:?}");
    // A proxy that is not the right one hears no request at all.
    let address = at(3130);
    let listener = bench.network.listen(&address);
    let other = super::certified(VERSIONS[0]);
    let connect = bench.to("wss://localhost/", "https://joe:secret@localhost:3130");
    bench.connect(connect);
    let (mut scripted, mut heard) = (None, Vec::new());
    let log = bench.until(
        || {
            if let Some(peer) = listener.accept() {
                scripted = Some(Scripted::secured(peer, &other.server_of_rustls));
            }
            if let Some(scripted) = &mut scripted {
                heard.extend(scripted.recv());
            }
        },
        |log| !log.is_empty(),
    );
    assert!(log[0].starts_with("failed Proxy UnknownIssuer"), "{log:?}");
    assert_eq!(heard, b"");
}

fn at(port: u16) -> Address {
    Address::Ip(([127, 0, 0, 1], port).into())
}

/// One peer that is the proxy, and inside it the server: each with a session of rustls.
struct Both {
    outer: Scripted,
    inner: Option<ServerConnection>,
    said: Vec<u8>,
}

impl Both {
    fn new(peer: Peer, outer: &Certified) -> Self {
        Self { outer: Scripted::secured(peer, &outer.server_of_rustls), inner: None, said: Vec::new() }
    }

    /// Whether the client said that nothing follows for the server.
    fn is_inner_closed(&mut self) -> bool {
        let inner = self.inner.as_mut().unwrap();
        inner.process_new_packets().is_ok_and(|state| state.peer_has_closed())
    }

    /// Answers the proxy's request. From then on all that is said is for the server.
    fn pump(&mut self, certified: &Certified) {
        let bytes = self.outer.recv();
        let Some(inner) = &mut self.inner else {
            self.said.extend(bytes);
            if self.said.ends_with(b"\r\n\r\n") {
                self.said.clear();
                self.outer.send(b"HTTP/1.1 200 OK\r\n\r\n");
                self.inner = Some(ServerConnection::new(certified.server_of_rustls.clone()).unwrap());
            }
            return;
        };
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            inner.read_tls(&mut rest).unwrap();
            let state = inner.process_new_packets().unwrap();
            let mut plain = vec![0; state.plaintext_bytes_to_read()];
            inner.reader().read_exact(&mut plain).unwrap();
            self.said.extend(plain);
        }
        self.push();
    }

    fn say(&mut self, bytes: &[u8]) {
        self.inner.as_mut().unwrap().writer().write_all(bytes).unwrap();
        self.push();
    }

    fn push(&mut self) {
        let mut sealed = Vec::new();
        let inner = self.inner.as_mut().unwrap();
        while inner.wants_write() {
            inner.write_tls(&mut sealed).unwrap();
        }
        if !sealed.is_empty() {
            self.outer.send(&sealed);
        }
    }

    /// Says this so often, each in a record of the server in a record of the proxy, and all at once.
    fn flight(&mut self, count: usize, bytes: &[u8]) {
        let mut all = Vec::new();
        for _ in 0..count {
            let inner = self.inner.as_mut().unwrap();
            inner.writer().write_all(bytes).unwrap();
            let mut sealed = Vec::new();
            inner.write_tls(&mut sealed).unwrap();
            self.outer.tls().writer().write_all(&sealed).unwrap();
            self.outer.tls().write_tls(&mut all).unwrap();
        }
        self.outer.peer.send(&all);
    }

    /// The answer to the request that was said.
    fn accept(&mut self) {
        let head = String::from_utf8(std::mem::take(&mut self.said)).unwrap();
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
        let accept = sockeye::proto::handshake::key::accept(key.as_bytes());
        let accept = String::from_utf8(accept.to_vec()).unwrap();
        let head = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: echo\r\n";
        self.say(format!("{head}Sec-WebSocket-Accept: {accept}\r\n\r\n").as_bytes());
    }
}

const PROXY_BY_HAND: &str = "https://localhost:3130";

impl Bench {
    /// Connects to a peer that does both by hand, and turns until the log satisfies. `act` has that peer once it is accepted.
    fn by_hand(
        &mut self,
        connect: Connect,
        outer: &Certified,
        inner: &Certified,
        mut act: impl FnMut(&mut Both),
        done: impl Fn(&[String]) -> bool,
    ) -> (Vec<String>, Option<Both>) {
        let listener = self.network.listen(&at(3130));
        self.connect(connect);
        let mut both: Option<Both> = None;
        let log = self.until(
            || {
                both = both.take().or_else(|| listener.accept().map(|peer| Both::new(peer, outer)));
                if let Some(both) = &mut both {
                    both.pump(inner);
                    act(both);
                }
            },
            done,
        );
        (log, both)
    }
}

fn is_request(said: &[u8]) -> bool {
    said.starts_with(b"GET ") && said.ends_with(b"\r\n\r\n")
}

const CLOSE: &[u8] = &[0x88, 2, 3, 0xe8];

/// Each layer has a version of its own, and the end of each is announced in its order.
#[test]
fn the_end_is_announced_inside_and_then_outside() {
    for (outer, inner) in VERSIONS.into_iter().flat_map(|outer| VERSIONS.map(|inner| (outer, inner))) {
        let mut bench = Bench::new(Faults::none(), 1);
        let (outer, inner) = (certified(outer), certified(inner));
        let connect = bench.to("wss://localhost/", PROXY_BY_HAND).tls(inner.own.clone()).proxy_tls(outer.own.clone());
        let mut has_ended = false;
        let act = |both: &mut Both| {
            if is_request(&both.said) {
                both.accept();
                both.say(CLOSE);
            }
            // The Close frame of the client, after its first message.
            if both.said.len() >= 14 && !std::mem::replace(&mut has_ended, true) {
                both.inner.as_mut().unwrap().send_close_notify();
                both.push();
                both.outer.end(true);
            }
        };
        let over = |log: &[String]| log.len() == 2;
        let (log, both) = bench.by_hand(connect, &outer, &inner, act, over);
        assert_eq!(log, ["open localhost", "closed Handshake"]);
        let mut both = both.unwrap();
        bench.until(|| both.pump(&inner), |_| false);
        assert!(both.is_inner_closed() && both.outer.is_closed());
        bench.assert_holds_nothing();
    }
}

/// However little a turn may move, and however much: the whole of a connection, there and back.
#[test]
fn the_least_and_the_most_of_the_limits_do() {
    for (turn_bytes, handshake_bytes, head_bytes) in
        [(64, 4 << 10, 256), (1000, 4 << 10, 1 << 20), (64 << 20, 1 << 20, 1 << 20)]
    {
        for url in ["wss://localhost/", "ws://localhost/"] {
            let mut limits = Limits::default();
            (limits.turn_bytes, limits.tls_handshake_bytes) = (turn_bytes, handshake_bytes);
            let mut protocol = ProtocolLimits::default();
            protocol.head_bytes = head_bytes;
            limits.protocol = protocol.into();
            let network = Network::with_faults(1, Faults::none().with_segment(5000));
            let mut bench = Bench::with(certified(VERSIONS[0]), network, limits, |connector| connector);
            let connect = bench.to(url, PROXY);
            bench.connect(connect);
            let log = bench.until_over();
            assert_eq!(log[1..], ["closed Handshake"], "{turn_bytes}, {url}: {log:?}");
            bench.assert_holds_nothing();
        }
    }
}

/// Who is silent is given up when the time for that stage is over, and who goes away at once.
#[test]
fn each_handshake_has_its_deadline() {
    let mut timeouts = Timeouts::default();
    (timeouts.proxy, timeouts.tls) = (Duration::from_secs(3), Duration::from_secs(7));
    // Silent before the TLS of the proxy, before its answer, and within the TLS of the server.
    for (silent_at, ends, says, seconds) in [
        (0, false, "failed Proxy Timeout { after: 3s }: the proxy did not answer within 3s (the proxy https", 3),
        (1, false, "failed Proxy Timeout { after: 3s }: the proxy did not answer within 3s (the proxy https", 3),
        (2, false, "failed Tls Timeout { after: 7s }: the server did not finish", 7),
        (0, true, "failed Proxy ClosedInHandshake: the proxy localhost ended the connection within", 0),
        (1, true, "failed Proxy Ended: the proxy closed the connection", 0),
        (2, true, "failed Tls ClosedInHandshake: localhost ended the connection within", 0),
    ] {
        let mut bench = Bench::new(Faults::none(), 1);
        let listener = bench.network.listen(&at(3130));
        let connect = bench.to("wss://localhost/", PROXY_BY_HAND).timeouts(timeouts).unwrap();
        let (begun, certified) = (bench.network.now(), certified(VERSIONS[0]));
        bench.connect(connect.proxy_tls(certified.own.clone()));
        let mut scripted: Option<Scripted> = None;
        let mut heard = Vec::new();
        let pump = || {
            if let Some(peer) = listener.accept() {
                let plain = Scripted::plain(peer);
                scripted = Some(plain);
                let scripted = scripted.as_mut().unwrap();
                if silent_at > 0 {
                    scripted.secure(&certified.server_of_rustls);
                } else if ends {
                    scripted.end(true);
                }
            }
            let Some(scripted) = &mut scripted else { return };
            if silent_at == 0 {
                return;
            }
            heard.extend(scripted.recv());
            if heard.ends_with(b"\r\n\r\n") {
                heard.clear();
                if silent_at == 2 {
                    scripted.send(b"HTTP/1.1 200 OK\r\n\r\n");
                }
                if ends {
                    scripted.end(true);
                }
            }
        };
        let log = bench.until(pump, |log| !log.is_empty());
        assert!(log[0].starts_with(says), "{log:?}, not {says}");
        let took = bench.network.now().saturating_duration_since(begun);
        assert_eq!(took, Duration::from_secs(seconds), "{says}");
        bench.assert_holds_nothing();
    }
}

/// A ServerHello of 65,535 bytes, in records of one byte.
fn endless() -> Vec<u8> {
    let message = [&[2, 0, 0xff, 0xff][..], &[0; 40_000]].concat();
    message.iter().flat_map(|byte| [22, 3, 3, 0, 1, *byte]).collect()
}

#[test]
fn a_handshake_without_an_end_is_given_up_in_either_layer() {
    let certified = certified(VERSIONS[0]);
    let mut bench = Bench::new(Faults::none(), 1);
    let listener = bench.network.listen(&at(3130));
    let connect = bench.to("wss://localhost/", PROXY_BY_HAND).proxy_tls(certified.own.clone());
    bench.connect(connect.clone());
    let mut peers = Vec::new();
    let pump = || {
        if let Some(peer) = listener.accept() {
            peer.send(&endless());
            peers.push(peer);
        }
    };
    let log = bench.until(pump, |log| !log.is_empty());
    assert!(log[0].starts_with("failed Proxy Io(Kind(InvalidData))"), "{log:?}");
    bench.assert_holds_nothing();

    bench.connect(connect);
    let mut scripted: Option<Scripted> = None;
    let mut heard = Vec::new();
    let pump = || {
        if let Some(peer) = listener.accept() {
            scripted = Some(Scripted::secured(peer, &certified.server_of_rustls));
        }
        let Some(scripted) = &mut scripted else { return };
        heard.extend(scripted.recv());
        if heard.ends_with(b"\r\n\r\n") {
            heard.clear();
            scripted.tls().set_buffer_limit(None);
            scripted.send(&[&b"HTTP/1.1 200 OK\r\n\r\n"[..], &endless()].concat());
        }
    };
    let log = bench.until(pump, |log| !log.is_empty());
    assert!(log[0].starts_with("failed Tls Io(Kind(InvalidData))"), "{log:?}");
    let statistics = bench.client().statistics();
    assert!(statistics.held_bytes_most < 512 << 10, "{}", statistics.held_bytes_most);
    bench.assert_holds_nothing();
}

/// A proxy that changes its keys again and again says nothing for the server by that: such records cost a turn as much as data.
#[test]
fn records_of_the_proxy_that_bring_nothing_end_their_turns() {
    let certified = certified(VERSIONS[0]);
    let mut bench = Bench::new(Faults::none(), 1);
    let connect =
        bench.to("wss://localhost/", PROXY_BY_HAND).proxy_tls(certified.own.clone()).tls(certified.own.clone());
    let (mut is_accepted, mut updates) = (false, 0);
    let act = |both: &mut Both| {
        if is_request(&both.said) {
            both.accept();
            both.say(&[0x89, 0]);
            is_accepted = true;
        }
        // In pieces that are inside records of the server: each begins within the one and ends within the other.
        if is_accepted && updates < 300 {
            for _ in 0..30 {
                both.outer.tls().refresh_traffic_keys().unwrap();
                updates += 1;
            }
            both.outer.push();
            both.say(&[0x89, 0]);
        }
        if both.said.len() > 6 + 4 * 6 {
            both.say(CLOSE);
            both.said.clear();
            both.inner.as_mut().unwrap().send_close_notify();
            both.push();
            both.outer.end(true);
        }
    };
    let (log, _) = bench.by_hand(connect, &certified, &certified, act, |log| log.len() == 2);
    assert_eq!(log, ["open localhost", "closed Handshake"]);
    bench.assert_holds_nothing();
}

/// Reads once in a while.
struct Sipper(Rc<Cell<usize>>, Duration);

impl Protocol for Sipper {
    type Session = ();

    fn name(&self) -> &str {
        "sipper"
    }

    fn open(&mut self, _: &mut Cx<'_>, _: &Handshake<'_>) {}

    fn receive(&mut self, cx: &mut Cx<'_>, (): &mut (), fragment: Fragment<'_>) -> Result<(), Close> {
        self.0.set(self.0.get() + fragment.payload.as_bytes().len());
        cx.pause_reading();
        cx.set_timer(self.1);
        Ok(())
    }

    fn writable(&mut self, _: &mut Cx<'_>, (): &mut (), _: Tx<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn timer(&mut self, cx: &mut Cx<'_>, (): &mut ()) -> Result<(), Close> {
        cx.resume_reading();
        Ok(())
    }
}

/// Neither an idle connection nor one whose reading is paused has the loop turn, whatever the layers hold.
#[test]
fn nothing_turns_while_nothing_can_be_done() {
    const BYTES: usize = 3_000_000;
    for (url, turn_bytes) in [("wss://localhost/", 20_000), ("ws://localhost/", 20_000), ("wss://localhost/", 1 << 20)]
    {
        let mut bench = Bench::with(certified(VERSIONS[0]), quiet(), Limits::default(), |connector| connector);
        let (host, got) = (bench.network.host(), Rc::new(Cell::new(0)));
        let mut limits = Limits::default();
        limits.turn_bytes = turn_bytes;
        let sipper = Service::builder().limits(limits).protocol(Sipper(Rc::clone(&got), Duration::from_secs(1)));
        bench.services[2] = sipper.build_with(host.sys()).unwrap();
        let connect = bench.to(url, PROXY);
        bench.client().control().protocol_named("sipper").unwrap().connect(connect);
        let Bench { network, services, .. } = &mut bench;
        let (mut turns, mut is_sent) = (0, false);
        network.run(|| {
            for service in services.iter_mut() {
                service.run_once(Some(Duration::ZERO)).unwrap();
            }
            if !is_sent && services[0].statistics().websockets.opened_by_peers > 0 {
                services[0].control().protocol_named("echo").unwrap().publish_binary(&vec![7; BYTES]);
                is_sent = true;
            }
            turns += 1;
            assert!(turns < 10_000, "{url}: {} bytes", got.get());
            let next = services.iter_mut().filter_map(|service| service.next_deadline()).min();
            if got.get() == BYTES { Turn::Done } else { Turn::Sleep(next) }
        });
        assert_eq!(got.get(), BYTES, "{url}");
        // And then nothing, but for pings.
        let (before, until, mut turns) = (host.calls(), network.now() + Duration::from_secs(60), 0);
        network.run(|| {
            services.iter_mut().for_each(|service| _ = service.run_once(Some(Duration::ZERO)).unwrap());
            turns += 1;
            let next = services.iter_mut().filter_map(|service| service.next_deadline()).min();
            if network.now() >= until { Turn::Done } else { Turn::Sleep(next.min(Some(until))) }
        });
        let (received, sent) = (host.calls().recv - before.recv, host.calls().send - before.send);
        assert!(turns < 60 && received < 20 && sent < 20, "{url}: {turns} turns, {received} and {sent} calls");
        bench.assert_holds_nothing();
    }
}

/// With a turn that is small, and a flight that is not, records of the server stay unopened in records of the proxy when the socket
/// has nothing more.
#[test]
fn what_one_layer_keeps_of_a_flight_is_not_forgotten() {
    for count in 33..=42 {
        let mut limits = Limits::default();
        limits.turn_bytes = 64;
        let mut bench = Bench::with(certified(VERSIONS[0]), quiet(), Limits::default(), |connector| connector);
        let got = Rc::new(Cell::new(0));
        let sipper = Service::builder().limits(limits).protocol(Sipper(Rc::clone(&got), Duration::from_millis(1)));
        bench.services[2] = sipper.build_with(bench.network.sys()).unwrap();
        let certified = certified(VERSIONS[0]);
        let connect = bench.to("wss://localhost/", PROXY_BY_HAND).tls(certified.own.clone());
        let connect = connect.proxy_tls(certified.own.clone());
        let listener = bench.network.listen(&at(3130));
        bench.client().control().protocol_named("sipper").unwrap().connect(connect);
        let (mut both, mut is_sent): (Option<Both>, _) = (None, false);
        let Bench { network, services, .. } = &mut bench;
        network.run(|| {
            both = both.take().or_else(|| listener.accept().map(|peer| Both::new(peer, &certified)));
            if let Some(both) = &mut both {
                both.pump(&certified);
                if is_request(&both.said) {
                    both.accept();
                } else if services[2].statistics().websockets.opened_by_us > 0 && !is_sent {
                    let message = super::server::answer(&[7; 500]);
                    both.flight(count, &message);
                    is_sent = true;
                }
            }
            services[2].run_once(Some(Duration::ZERO)).unwrap();
            if got.get() == 500 * count { Turn::Done } else { Turn::Sleep(services[2].next_deadline()) }
        });
        assert_eq!(got.get(), 500 * count);
    }
}

/// Once input is of no use neither layer keeps any, though the connection lingers.
#[test]
fn nothing_is_held_for_a_peer_that_broke_a_rule() {
    let certified = certified(VERSIONS[0]);
    let mut bench = Bench::new(Faults::none(), 1);
    let connect = bench.to("wss://localhost/", PROXY_BY_HAND).tls(certified.own.clone());
    let mut is_sent = false;
    let act = |both: &mut Both| {
        if is_request(&both.said) {
            both.accept();
        } else if both.said.len() >= 6 && !std::mem::replace(&mut is_sent, true) {
            // A frame that is wrong, and behind it the beginning of a large record.
            both.say(&[0xff, 0]);
            both.inner.as_mut().unwrap().writer().write_all(&[7; 16_000]).unwrap();
            let mut sealed = Vec::new();
            both.inner.as_mut().unwrap().write_tls(&mut sealed).unwrap();
            let mut twice = Vec::new();
            both.outer.tls().writer().write_all(&sealed).unwrap();
            both.outer.tls().write_tls(&mut twice).unwrap();
            both.outer.peer.send(&twice[..10_000]);
        }
    };
    let over = |log: &[String]| log.len() == 2;
    let (log, _both) = bench.by_hand(connect.proxy_tls(certified.own.clone()), &certified, &certified, act, over);
    assert_eq!(log, ["open localhost", "closed Violation(ReservedBit)"]);
    assert_eq!(bench.client().connections(), 1);
    bench.assert_holds_nothing();
}

/// Redirects and reconnects go the same way as the first connection.
#[test]
fn whatever_follows_goes_through_the_same_proxy() {
    let mut bench = Bench::new(Faults::none(), 1);
    let network = bench.network.clone();
    let listener = network.listen(&at(81));
    let mut answers = vec![
        "HTTP/1.1 307 x\r\nLocation: ws://localhost:81/there\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 307 x\r\nLocation: wss://localhost/\r\nContent-Length: 0\r\n\r\n",
    ]
    .into_iter();
    let connect = bench.to("ws://localhost:81/", PROXY).redirects(3).reconnect(Reconnect::default()).unwrap();
    bench.connect(connect);
    let mut accepted = Vec::new();
    let log = bench.until(
        || {
            if let Some(peer) = listener.accept() {
                accepted.push(peer);
            }
            for peer in &accepted {
                if peer.recv().ends_with(b"\r\n\r\n") {
                    peer.send(answers.next().unwrap().as_bytes());
                }
            }
        },
        |log| log.iter().any(|line| line.starts_with("closed")),
    );
    assert!(log[0].starts_with("failed Handshake Refused(Refusal { status: 503"), "{log:?}");
    assert_eq!(log[1..], ["open localhost", "closed Handshake"]);
    let heads = bench.heads.take();
    let asked: Vec<_> = heads.iter().map(|head| head.split(' ').nth(1).unwrap()).collect();
    assert_eq!(asked, ["localhost:81", "localhost:81", "localhost:81", "localhost:443"]);
}

/// What is said to a proxy must not go to the server, were it sealed for that.
#[test]
fn an_answer_that_comes_before_the_request_is_refused() {
    let mut bench = Bench::new(Faults::none().with_buffers(2, 64 << 10), 1);
    let listener = bench.network.listen(&at(3131));
    let connect = bench.to("wss://localhost/", "http://joe:secret@localhost:3131");
    bench.connect(connect);
    let mut hasty = None;
    let pump = || {
        if let Some(peer) = listener.accept() {
            peer.set_window(1);
            peer.send(b"HTTP/1.1 200 OK\r\n\r\n");
            hasty = Some(peer);
        }
    };
    let log = bench.until(pump, |log| !log.is_empty());
    assert!(log[0].starts_with("failed Proxy Proxy(Early): the proxy answered before"), "{log:?}");
}

/// On real sockets, all in one loop each: what the simulator does not know of TCP.
#[test]
fn over_real_sockets() {
    let certified = certified(VERSIONS[0]);
    let (sender, receiver) = mpsc::channel();
    let tls = certified.server.clone();
    let worker = thread::spawn(move || {
        let mut builder = Service::builder().protocol(messages::echo("echo"));
        let endpoint = builder.add_raw(Connector::new());
        let builder = builder.listener(Listen::new("127.0.0.1:0").tls(tls.clone())).listen("127.0.0.1:0");
        let proxy = Listen::new("127.0.0.1:0").raw(endpoint).tls(tls);
        let mut service = builder.listener(proxy).build().unwrap();
        let ports = [0, 1, 2].map(|index| match &service.local_addresses()[index] {
            Address::Ip(address) => address.port(),
            other => panic!("{other}"),
        });
        sender.send((ports, service.remote())).unwrap();
        service.run().unwrap();
    });
    let (ports, remote) = receiver.recv().unwrap();
    let log = Log::default();
    let mut client = Service::builder().protocol(Probe(Rc::clone(&log))).build().unwrap();
    let urls = [format!("wss://localhost:{}/", ports[0]), format!("ws://localhost:{}/", ports[1])];
    for url in &urls {
        let proxy = Proxy::parse(&format!("https://localhost:{}", ports[2])).unwrap();
        let connect = Connect::new(url).unwrap().subprotocol("echo").unwrap().proxy(proxy);
        let connect = connect.tls(certified.own.clone()).proxy_tls(certified.own.clone());
        client.control().protocol_named("probe").unwrap().connect(connect.send_buffer_bytes(4096).unwrap());
    }
    while log.borrow().iter().filter(|line| !line.starts_with("open")).count() < urls.len() {
        client.run_once(None).unwrap();
    }
    let mut said = log.take();
    said.sort();
    assert_eq!(said, ["closed Handshake", "closed Handshake", "open localhost", "open plain"]);
    remote.run(|control| control.drain()).unwrap();
    worker.join().unwrap();
}
