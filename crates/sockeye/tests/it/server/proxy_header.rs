//! Connections through a proxy that says whom they are for.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use sockeye::http::{Response, Routes};
use sockeye::service::PeerSet as Peers;
use sockeye::sim::{Faults, Network, Outcome, Peer, PeerEnd, Turn, seeds};
use sockeye::statistics::Statistics;
use sockeye::sys::Address;
use sockeye::{Builder, Close, Cx, Decision, Fragment, Handshake, Limits, Protocol, Request, Service, Tx};
use sockeye_testing::server::upgrade;

/// What callbacks were told: the peer of the filter, its proxy, the peer of `open`.
type Seen = Rc<RefCell<Vec<String>>>;

struct Witness(Seen);

impl Protocol for Witness {
    type Session = ();

    fn name(&self) -> &'static str {
        "witness"
    }

    fn filter(&mut self, request: &Request<'_>) -> Decision {
        let proxy = request.proxy().map_or_else(|| "nobody".to_owned(), Address::to_string);
        self.0.borrow_mut().push(format!("{} by {proxy}", request.peer()));
        Decision::accept()
    }

    fn open(&mut self, cx: &mut Cx<'_>, _: &Handshake<'_>) {
        self.0.borrow_mut().push(cx.peer().to_string());
    }

    fn receive(&mut self, _: &mut Cx<'_>, (): &mut (), _: Fragment<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn writable(&mut self, _: &mut Cx<'_>, (): &mut (), _: Tx<'_>) -> Result<(), Close> {
        Ok(())
    }
}

struct Site {
    network: Network,
    service: Service,
    seen: Seen,
}

impl Site {
    /// A service that trusts every peer over IPv4.
    fn new() -> Self {
        Self::with(|builder| builder.proxy_protocol(["0.0.0.0/0".parse().unwrap()]))
    }

    fn with(describe: impl FnOnce(Builder) -> Builder) -> Self {
        Self::on(Network::with_faults(1, Faults::none()), describe)
    }

    fn on(network: Network, describe: impl FnOnce(Builder) -> Builder) -> Self {
        let seen = Seen::default();
        let builder = Service::builder().protocol(Witness(Rc::clone(&seen))).listen("127.0.0.1:80");
        let service = describe(builder).build_with(network.sys()).unwrap();
        Self { network, service, seen }
    }

    fn connect(&self) -> Peer {
        self.network.connect(&self.service.local_addresses()[0]).unwrap()
    }

    /// Takes turns until `done`, for a virtual minute at most; says how long it took.
    fn until(&mut self, mut done: impl FnMut() -> bool) -> Duration {
        let begin = self.network.now();
        let limit = begin + Duration::from_secs(60);
        let outcome = self.network.run(|| {
            self.service.run_once(Some(Duration::ZERO)).unwrap();
            assert!(self.network.now() < limit, "it did not come");
            if done() {
                Turn::Done
            } else {
                Turn::Sleep(Some(self.service.next_deadline().unwrap_or(limit).min(limit)))
            }
        });
        assert_eq!(outcome, Outcome::Done);
        self.network.now().saturating_duration_since(begin)
    }

    /// A connection that sends these pieces, one a turn, and is answered.
    fn answer(&mut self, pieces: &[&[u8]]) -> (Peer, String) {
        let peer = self.connect();
        for piece in pieces {
            peer.send(piece);
            self.turns();
        }
        let mut answer = Vec::new();
        self.until(|| {
            answer.extend(peer.recv());
            answer.ends_with(b"\r\n\r\n") || peer.is_closed()
        });
        (peer, String::from_utf8(answer).unwrap())
    }

    fn turns(&mut self) {
        for _ in 0..3 {
            self.service.run_once(Some(Duration::ZERO)).unwrap();
        }
    }

    fn take_seen(&self) -> Vec<String> {
        self.seen.take()
    }

    fn statistics(&self) -> &Statistics {
        self.service.statistics()
    }

    /// The reasons of refusals, each once.
    fn refusals(&self) -> Vec<(&'static str, u64)> {
        self.statistics().refusals.named().filter(|(_, count)| *count > 0).collect()
    }

    fn limits_met(&self) -> Vec<(&'static str, u64)> {
        self.statistics().limits.named().filter(|(_, count)| *count > 0).collect()
    }
}

const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 203.0.113.1 56244 443\r\n";

/// A header of version 2 for the client 2001:db8::7, with so many bytes behind the addresses.
fn binary(command: u8, after: usize) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([command, 0x21]);
    header.extend(u16::try_from(36 + after).unwrap().to_be_bytes());
    header.extend("2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets());
    header.extend([0; 16]);
    header.extend([0x12, 0x34, 0, 80]);
    header.extend(vec![1; after]);
    header
}

#[test]
fn the_client_of_the_header_is_the_peer_wherever_it_is_cut() {
    let local = binary(0x20, 0);
    let own = |peer: &Peer| peer.address().to_string();
    for (header, client) in [
        (LINE.to_vec(), Some("192.0.2.7:56244")),
        (binary(0x21, 0), Some("[2001:db8::7]:4660")),
        (binary(0x21, 200), Some("[2001:db8::7]:4660")),
        (b"PROXY UNKNOWN whoever\r\n".to_vec(), None),
        (local, None),
    ] {
        let mut site = Site::new();
        let whole = [&header[..], &upgrade("")].concat();
        for cut in 0..=whole.len() {
            let (peer, answer) = site.answer(&[&whole[..cut], &whole[cut..]]);
            assert!(answer.starts_with("HTTP/1.1 101 "), "cut at {cut}: {answer}");
            let proxy = own(&peer);
            let client = client.unwrap_or(&proxy);
            assert_eq!(site.take_seen(), [format!("{client} by {proxy}"), client.to_owned()], "cut at {cut}");
        }
        assert_eq!(site.refusals(), []);
    }
}

/// Those of a proxy's own Unix socket.
#[test]
fn a_client_on_a_unix_socket_is_known_by_its_name() {
    for (name, client) in [(&b"/run/app"[..], "unix:/run/app"), (b"\0app", "unix:@app"), (b"", "unnamed")] {
        let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\xd8".to_vec();
        header.extend(name);
        header.resize(16 + 216, 0);
        let mut site = Site::new();
        let (_, answer) = site.answer(&[&header, &upgrade("")]);
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert_eq!(site.take_seen()[1], client);
    }
}

#[test]
fn what_follows_the_header_byte_by_byte_is_http() {
    let mut site = Site::new();
    let whole = [LINE, &upgrade("")].concat();
    let bytes: Vec<&[u8]> = whole.chunks(1).collect();
    assert!(site.answer(&bytes).1.starts_with("HTTP/1.1 101 "));
    assert_eq!(site.take_seen()[1], "192.0.2.7:56244");
    // One that asks for nothing afterwards may, as long as others.
    let peer = site.connect();
    peer.send(LINE);
    assert_eq!(site.until(|| peer.is_closed()), Limits::default().handshake_timeout);
    assert_eq!(site.refusals(), []);
}

#[test]
fn later_requests_of_a_connection_come_through_the_same_proxy() {
    let get = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let routes = Routes::new().get("/", |_| Response::text("a page"));
    let mut site = Site::with(|builder| builder.routes(routes).proxy_protocol(["0.0.0.0/0".parse().unwrap()]));
    let peer = site.connect();
    peer.send(&[LINE, get].concat());
    let mut answer = Vec::new();
    site.until(|| {
        answer.extend(peer.recv());
        answer.ends_with(b"a page")
    });
    peer.send(&upgrade(""));
    site.until(|| peer.recv().starts_with(b"HTTP/1.1 101 "));
    assert_eq!(site.take_seen(), [format!("192.0.2.7:56244 by {}", peer.address()), "192.0.2.7:56244".to_owned()]);
}

#[test]
fn a_trusted_proxy_that_does_not_begin_with_a_header_is_not_served() {
    let spoofed = [b"PROXY TCP4 192.0.2.7 203.0.113.1 56244 443 \r\n", &upgrade("")[..]].concat();
    for garbage in [upgrade(""), b"\x16\x03\x01".to_vec(), b"\r\n\r\n\0\r\nQUIT\r".to_vec(), spoofed] {
        for cut in 0..garbage.len().min(60) {
            let mut site = Site::new();
            let (peer, answer) = site.answer(&[&garbage[..cut], &garbage[cut..]]);
            assert_eq!((answer.as_str(), peer.is_closed()), ("", true));
            assert_eq!(site.refusals(), [("proxy_header", 1)]);
            assert_eq!(site.take_seen(), <[String; 0]>::default());
            assert_eq!(site.service.connections(), 0);
        }
    }
}

#[test]
fn a_header_from_anybody_else_is_a_bad_request() {
    let network: Peers = "198.51.100.0/24".parse().unwrap();
    for header in [LINE.to_vec(), binary(0x21, 0)] {
        for trusted in [vec![], vec![network, Peers::UNIX]] {
            let mut site = Site::with(|builder| builder.proxy_protocol(trusted));
            let (_, answer) = site.answer(&[&header, &upgrade("")]);
            assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
            assert_eq!(site.refusals(), [("request", 1)]);
        }
    }
    let mut site = Site::with(|builder| builder.proxy_protocol([network]));
    let (peer, answer) = site.answer(&[&upgrade("")]);
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert_eq!(site.take_seen()[0], format!("{} by nobody", peer.address()));
}

#[test]
fn the_header_has_the_time_of_the_handshake_and_no_more_bytes_than_the_limit() {
    let timeout = Limits::default().handshake_timeout;
    for (said, refusals) in [(&b""[..], &[][..]), (b"PROXY TCP4", &[("proxy_header", 1)])] {
        let mut site = Site::new();
        let peer = site.connect();
        peer.send(said);
        assert_eq!(site.until(|| peer.is_closed()), timeout);
        assert_eq!((&site.refusals()[..], site.limits_met()), (refusals, vec![("handshake_timeout", 1)]));
    }
    // The request does not have it anew.
    let mut site = Site::new();
    let peer = site.connect();
    site.turns();
    site.network.advance(timeout / 2);
    peer.send(LINE);
    site.turns();
    peer.send(b"GET ");
    let mut answer = Vec::new();
    let waited = site.until(|| {
        answer.extend(peer.recv());
        peer.is_closed()
    });
    assert_eq!(waited, timeout - timeout / 2);
    assert!(answer.starts_with(b"HTTP/1.1 408 "));

    let mut limits = Limits::default();
    limits.proxy_header_bytes = 232;
    let mut site = Site::with(|builder| builder.limits(limits).proxy_protocol(["0.0.0.0/0".parse().unwrap()]));
    assert!(site.answer(&[&binary(0x21, 232 - 52), &upgrade("")]).1.starts_with("HTTP/1.1 101 "));
    assert_eq!(site.answer(&[&binary(0x21, 233 - 52)]).1, "");
    assert_eq!((site.refusals(), site.limits_met()), (vec![("proxy_header", 1)], vec![("proxy_header_bytes", 1)]));
}

#[test]
fn a_header_that_ends_early_is_counted_and_silence_is_not() {
    let whole = binary(0x21, 3);
    for cut in 0..whole.len() {
        let mut site = Site::new();
        let peer = site.connect();
        peer.send(&whole[..cut]);
        peer.shutdown();
        assert_eq!(site.until(|| peer.is_closed()), Duration::ZERO);
        assert_eq!(site.statistics().refusals.proxy_header, u64::from(cut > 0), "cut at {cut}");
        assert_eq!((site.service.connections(), site.take_seen().len()), (0, 0));
    }
}

#[test]
fn addresses_are_judged_and_counted_by_the_header() {
    let asked: Rc<RefCell<Vec<String>>> = Rc::default();
    let banned: IpAddr = "192.0.2.66".parse().unwrap();
    let mut limits = Limits::default();
    limits.connections_per_address = Some(1);
    let mut site = Site::with(|builder| {
        let asked = Rc::clone(&asked);
        builder.limits(limits).proxy_protocol(["0.0.0.0/0".parse().unwrap()]).filter(move |accepted| {
            asked.borrow_mut().push(accepted.peer().to_string());
            !matches!(accepted.peer(), Address::Ip(ip) if ip.ip() == banned)
        })
    });
    let from = |client: &str| [format!("PROXY TCP4 {client} 203.0.113.1 1 2\r\n").as_bytes(), &upgrade("")].concat();
    // The proxy itself is not counted, and not asked about.
    let (idle, _idle) = (site.connect(), site.connect());
    site.turns();
    assert_eq!((site.service.connections(), asked.take().len()), (2, 0));

    let (banned, answer) = site.answer(&[&from("192.0.2.66")]);
    assert_eq!((answer.as_str(), banned.end()), ("", Some(PeerEnd::Reset)));
    assert_eq!((site.refusals(), asked.take()), (vec![("address", 1)], vec!["192.0.2.66:1".to_owned()]));

    // One client at a time from one address; that of the other is its own.
    let (first, answer) = site.answer(&[&from("192.0.2.7")]);
    assert!(answer.starts_with("HTTP/1.1 101 "));
    let (_other, answer) = site.answer(&[&from("192.0.2.8")]);
    assert!(answer.starts_with("HTTP/1.1 101 "));
    let (second, answer) = site.answer(&[&from("192.0.2.7")]);
    assert_eq!((answer.as_str(), second.end()), ("", Some(PeerEnd::Reset)));
    assert_eq!(site.refusals(), [("address", 1), ("per_address", 1)]);

    // An end of a connection without a name frees nobody's place; that of the first does.
    idle.reset();
    site.until(|| idle.is_closed());
    site.turns();
    assert_eq!(site.answer(&[&from("192.0.2.7")]).1, "");
    first.reset();
    site.turns();
    assert!(site.answer(&[&from("192.0.2.7")]).1.starts_with("HTTP/1.1 101 "));

    // A host has a whole /64 of IPv6 addresses.
    let six = |client: &str| [format!("PROXY TCP6 {client} 2001:db8::ffff 1 2\r\n").as_bytes(), &upgrade("")].concat();
    let (_first, answer) = site.answer(&[&six("2001:db8:1:2::1")]);
    assert!(answer.starts_with("HTTP/1.1 101 "));
    assert_eq!(site.answer(&[&six("2001:db8:1:2::2")]).1, "");
    assert!(site.answer(&[&six("2001:db8:1:3::1")]).1.starts_with("HTTP/1.1 101 "));

    // A header without a name counts for the proxy, which is one address of all its connections here.
    let own = [b"PROXY UNKNOWN\r\n", &upgrade("")[..]].concat();
    let (_own, answer) = site.answer(&[&own]);
    assert!(answer.starts_with("HTTP/1.1 101 "));
    assert_eq!(site.answer(&[&own]).1, "");
}

/// Wherever the words of a client end, and however: the place of its address is free again.
#[test]
fn every_end_frees_the_place_of_its_address() {
    let mut limits = Limits::default();
    limits.connections_per_address = Some(1);
    let mut site = Site::with(|builder| builder.limits(limits).proxy_protocol(["0.0.0.0/0".parse().unwrap()]));
    let bad = b"no request at all\r\n\r\n".to_vec();
    let get = b"GET / HTTP/1.0\r\n\r\n".to_vec();
    let close = [&upgrade("")[..], b"\x88\x80\0\0\0\0"].concat();
    for words in [upgrade(""), close, get, bad] {
        let whole = [LINE, &words].concat();
        for cut in (0..LINE.len() + 2).chain([whole.len() - 1, whole.len()]) {
            for end in [Peer::reset, Peer::shutdown, |_: &Peer| {}] {
                let peer = site.connect();
                peer.send(&whole[..cut]);
                site.turns();
                end(&peer);
                drop(peer);
                site.turns();
                let (again, answer) = site.answer(&[LINE, &upgrade("")]);
                assert!(answer.starts_with("HTTP/1.1 101 "), "cut at {cut}: {answer:?}");
                again.reset();
                site.turns();
            }
        }
    }
}

/// Late and spurious wake-ups, short reads, cuts anywhere.
#[test]
fn a_network_at_its_worst_changes_nothing() {
    let mut opened = 0;
    for seed in seeds(300) {
        let network = Network::new(seed);
        let mut site = Site::on(network, |builder| builder.proxy_protocol(["0.0.0.0/0".parse().unwrap()]));
        let whole = [&binary(0x21, 700)[..], &upgrade("")].concat();
        let (good, bad) = (site.connect(), site.connect());
        good.send(&whole);
        bad.send(b"PROXY TCP4 192.0.2.7 203.0.113.1 56244 443 \r\n\r\n");
        let mut answer = Vec::new();
        site.until(|| {
            answer.extend(good.recv());
            (answer.ends_with(b"\r\n\r\n") || good.is_closed()) && bad.is_closed()
        });
        if !good.is_closed() {
            assert!(answer.starts_with(b"HTTP/1.1 101 "), "seed {seed}");
            assert_eq!(site.take_seen()[1], "[2001:db8::7]:4660", "seed {seed}");
            opened += 1;
        }
        assert_eq!(bad.recv(), b"", "seed {seed}");
    }
    assert!(opened > 0, "no connection came about");
}

#[test]
fn a_drain_does_not_wait_for_a_header_that_did_not_begin() {
    let mut site = Site::new();
    let (silent, begun) = (site.connect(), site.connect());
    begun.send(&LINE[..9]);
    site.turns();
    site.service.drain();
    site.turns();
    assert!(silent.is_closed() && !begun.is_closed());
    begun.send(&LINE[9..]);
    assert_eq!(site.until(|| begun.is_closed()), Duration::ZERO);
    assert_eq!((begun.end(), site.service.connections()), (Some(PeerEnd::Finished), 0));
}
