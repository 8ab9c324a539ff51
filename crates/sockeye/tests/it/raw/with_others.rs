//! Raw connections beside WebSockets, and what they may ask of each other.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sockeye::protocol::{ProtocolMut, UnknownProtocol};
use sockeye::raw::{EndpointMut, Raw, RawClose, RawCx, RawWritable};
use sockeye::sim::{Faults, Network, Peer};
use sockeye::sys::Address;
use sockeye::{Close, Connect, Cx, Failure, Fragment, Handshake, Limits, Protocol, Service, Tx};
use sockeye_testing::raw::{Bench, Note};

const HANDSHAKE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn handshake(bench: &mut Bench, name: Option<&str>) -> (Peer, String) {
    let address = bench.service.local_addresses()[0].clone();
    let peer = bench.network.connect(&address).unwrap();
    peer.send(HANDSHAKE.as_bytes());
    peer.send(name.map_or(String::new(), |name| format!("Sec-WebSocket-Protocol: {name}\r\n")).as_bytes());
    peer.send(b"\r\n");
    let mut answer = Vec::new();
    bench.until(|_| {
        answer.extend(peer.recv());
        answer.windows(4).any(|window| window == b"\r\n\r\n")
    });
    (peer, String::from_utf8_lossy(&answer).into_owned())
}

#[test]
fn no_handshake_leads_to_a_raw_endpoint() {
    let mut bench = Bench::new();
    // It is the first of the endpoints; a client that names none gets the first protocol.
    let (peer, answer) = handshake(&mut bench, None);
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    assert_eq!(bench.service.statistics().websockets_now, 1);
    assert!(bench.log.borrow().is_empty());
    drop(peer);
    let (peer, answer) = handshake(&mut bench, Some("obeys"));
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    drop(peer);
    bench.finish();
}

#[test]
fn filter_and_bounds_hold_for_raw_connections() {
    let mut limits = Limits::default();
    limits.connections_per_address = Some(2);
    let mut bench = Bench::built(Faults::none(), 1, |builder| builder.limits(limits));
    let peers = [bench.connect(), bench.connect(), bench.connect()];
    bench.settle();
    assert_eq!((bench.service.connections(), bench.service.statistics().refusals.per_address), (2, 1));
    drop(peers);
    bench.finish();
    let mut bench = Bench::built(Faults::none(), 1, |builder| builder.filter(|_| false));
    let peer = bench.connect();
    bench.until(|_| peer.is_closed());
    assert_eq!((bench.log.borrow().len(), bench.service.statistics().refusals.address), (0, 1));
    drop(peer);
    bench.finish();
}

#[test]
fn a_trusted_proxy_says_who_connects_wherever_its_header_is_cut() {
    let said = b"PROXY TCP4 192.0.2.7 192.0.2.8 1234 7\r\nhello";
    for cut in 0..said.len() {
        let everybody = "0.0.0.0/0".parse().unwrap();
        let seen = Rc::new(RefCell::new(Vec::new()));
        let log = Rc::clone(&seen);
        let mut bench = Bench::built(Faults::none(), 8192, |builder| {
            builder.proxy_protocol([everybody]).filter(move |accepted| {
                log.borrow_mut().push(accepted.peer().to_string());
                true
            })
        });
        let peer = bench.connect();
        peer.send(&said[..cut]);
        bench.settle();
        peer.send(&said[cut..]);
        let mut back = Vec::new();
        bench.until(|_| {
            back.extend(peer.recv());
            back == b"hello"
        });
        assert_eq!(*seen.borrow(), ["192.0.2.7:1234"]);
        drop(peer);
        bench.finish();
    }
}

/// A protocol that notes what was asked of it.
struct Feed {
    failed: Rc<RefCell<Vec<String>>>,
}

impl Protocol for Feed {
    type Session = ();

    fn name(&self) -> &str {
        "feed"
    }

    fn open(&mut self, _: &mut Cx<'_>, _: &Handshake<'_>) {}

    fn receive(&mut self, _: &mut Cx<'_>, _: &mut (), _: Fragment<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn writable(&mut self, _: &mut Cx<'_>, _: &mut (), tx: Tx<'_>) -> Result<(), Close> {
        if let Some(permission) = tx.idle() {
            permission.text("asked");
        }
        Ok(())
    }

    fn failed(&mut self, _: &mut ProtocolMut<'_>, _: sockeye::ConnId, failure: Failure) {
        self.failed.borrow_mut().push(failure.to_string());
    }
}

/// What each line of its connections asks for.
struct Asks {
    failed: Rc<RefCell<Vec<String>>>,
    unknown: Rc<RefCell<Vec<UnknownProtocol>>>,
}

impl Raw for Asks {
    type Session = ();

    fn name(&self) -> &str {
        "asks"
    }

    fn open(&mut self, _: &mut RawCx<'_>) {}

    fn receive(&mut self, cx: &mut RawCx<'_>, (): &mut (), bytes: &[u8]) -> Result<(), RawClose> {
        let nowhere = || Connect::new("ws://192.0.2.1/").unwrap();
        let asked = match bytes {
            b"text" => cx.protocol_named("feed").map(|mut protocol| protocol.publish_text("news")),
            b"binary" => cx.protocol_named("feed").map(|mut protocol| protocol.publish_binary(b"\0")),
            b"writable" => cx.protocol_named("feed").map(|mut protocol| protocol.request_writable()),
            b"connect as" => cx.protocol_named("feed").map(|mut protocol| protocol.connect(nowhere())).map(drop),
            b"connect wrong" => cx.protocol_named("asks").map(|mut protocol| protocol.connect(nowhere())).map(drop),
            b"publish wrong" => cx.protocol_named("asks").map(|mut protocol| protocol.publish_text("lost")),
            _ => cx.protocol_named("nobody").map(|mut protocol| protocol.request_writable()),
        };
        self.unknown.borrow_mut().extend(asked.err());
        Ok(())
    }

    fn writable(&mut self, _: &mut RawCx<'_>, (): &mut (), _: RawWritable<'_>) -> Result<(), RawClose> {
        Ok(())
    }

    fn adoption_failed(&mut self, _: &mut EndpointMut<'_>, _: sockeye::ConnId, error: std::io::Error) {
        self.failed.borrow_mut().push(error.to_string());
    }
}

#[test]
fn a_raw_endpoint_reaches_the_protocols_beside_it() {
    let network = Network::with_faults(1, Faults::none());
    let host = network.host();
    let unreachable = Address::Ip(([192, 0, 2, 1], 80).into());
    network.unreachable(&unreachable);
    let (failed, unknown) = (Rc::default(), Rc::default());
    let (own, others) = (Rc::clone(&failed), Rc::new(RefCell::new(Vec::new())));
    let mut builder = Service::builder();
    let asks = builder.add_raw(Asks { failed: own, unknown: Rc::clone(&unknown) });
    let mut service = builder
        .protocol(Feed { failed: Rc::clone(&others) })
        .listen(Address::Ip(([127, 0, 0, 1], 80).into()))
        .listen_raw(Address::Ip(([127, 0, 0, 1], 7).into()), asks)
        .build_with(host.sys())
        .unwrap();
    let addresses = service.local_addresses().to_vec();
    let mut settle = || {
        for _ in 0..20 {
            service.run_once(Some(Duration::ZERO)).unwrap();
            network.advance(Duration::from_millis(1));
        }
    };
    let (web, raw) = (network.connect(&addresses[0]).unwrap(), network.connect(&addresses[1]).unwrap());
    web.send(format!("{HANDSHAKE}\r\n").as_bytes());
    settle();
    assert!(web.recv().starts_with(b"HTTP/1.1 101"));
    let mut ask = |what: &[u8]| {
        raw.send(what);
        settle();
        web.recv()
    };
    assert_eq!(ask(b"text"), b"\x81\x04news");
    assert_eq!(ask(b"binary"), b"\x82\x01\0");
    assert_eq!(ask(b"writable"), b"\x81\x05asked");
    ask(b"connect as");
    for wrong in [b"connect wrong".as_slice(), b"publish wrong", b"nobody"] {
        ask(wrong);
    }
    assert!(failed.borrow().is_empty(), "the protocol is told of its connect, and nobody else");
    assert_eq!(others.borrow().len(), 1);
    assert_eq!(*unknown.borrow(), [UnknownProtocol::Protocol; 3]);
    assert!(raw.recv().is_empty());
    assert_eq!(service.statistics().work.publishes, 2);
}

#[test]
fn a_raw_endpoint_ticks_and_its_connections_are_closed_by_id() {
    let mut bench = Bench::new();
    let (first, second) = (bench.connect(), bench.connect());
    bench.until(|bench| bench.is_open(1));
    let id = bench.id(1);
    bench.service.control().connection(id).unwrap().close(sockeye::CloseCode::NORMAL);
    bench.until(|bench| bench.closed(1).is_some());
    assert!(bench.service.control().connection(id).is_err());
    assert_eq!(bench.story(0).notes, [Note::Open]);
    drop((first, second));
    bench.finish();
}

#[test]
fn a_name_that_no_endpoint_has_is_an_error() {
    let network = Network::with_faults(1, Faults::none());
    let mut service = Service::builder()
        .raw(Asks { failed: Rc::default(), unknown: Rc::default() })
        .protocol(Feed { failed: Rc::default() })
        .build_with(network.sys())
        .unwrap();
    let mut control = service.control();
    control.protocol_named("feed").unwrap().publish_text("news");
    control.protocol_named("feed").unwrap().publish_binary(b"news");
    control.protocol_named("feed").unwrap().request_writable();
    control.endpoint_named("asks").unwrap().request_writable();
    for (error, kind, text) in [
        (control.protocol_named("fed").err(), UnknownProtocol::Protocol, "no WebSocket protocol of that name"),
        (control.protocol_named("asks").err(), UnknownProtocol::Protocol, "no WebSocket protocol of that name"),
        (control.endpoint_named("ask").err(), UnknownProtocol::Endpoint, "no endpoint of that name"),
        (control.endpoint_named("feed").err(), UnknownProtocol::Endpoint, "no endpoint of that name"),
    ] {
        assert_eq!(error, Some(kind));
        assert!(kind.to_string().contains(text), "{kind}");
    }
}
