//! Plain HTTP: whose bytes go where, and in which order.

use std::fs::{self, File};
use std::time::Duration;

use sockeye::http::{Files, Response, Routes};
use sockeye::service::Hosts;
use sockeye::sim::{Faults, Network, Outcome, Peer, PeerEnd, Turn};
use sockeye::{Close, Cx, Decision, Fragment, Handshake, Limits, Protocol, Request, Service, Tx, messages};
use sockeye_testing::server::upgrade;

const GET: &[u8] = b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n";
const PAGE: &str = "what a page says\n";

/// A service with plain routes, and the network that it is on.
struct Site {
    network: Network,
    service: Service,
}

impl Site {
    fn new(faults: Faults, limits: Limits, routes: Routes) -> Self {
        let network = Network::with_faults(1, faults);
        let builder = Service::builder().limits(limits).protocol(messages::echo("echo")).routes(routes);
        let service = builder.listen("127.0.0.1:80").build_with(network.sys()).unwrap();
        Self { network, service }
    }

    fn connect(&self) -> Peer {
        self.network.connect(&self.service.local_addresses()[0]).unwrap()
    }

    /// Takes turns until `done`, for a virtual minute at most.
    fn until(&mut self, mut done: impl FnMut() -> bool) {
        let limit = self.network.now() + Duration::from_secs(60);
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
    }

    /// Takes so many turns while the clock stands still.
    fn turns(&mut self, count: usize) {
        for _ in 0..count {
            self.service.run_once(Some(Duration::ZERO)).unwrap();
        }
    }

    /// What a new peer is answered until the connection ends.
    fn answer(&mut self, request: &[u8]) -> String {
        let peer = self.connect();
        peer.send(request);
        self.rest(&peer)
    }

    fn rest(&mut self, peer: &Peer) -> String {
        let mut bytes = Vec::new();
        self.until(|| {
            bytes.extend(peer.recv());
            peer.is_closed()
        });
        String::from_utf8(bytes).unwrap()
    }
}

fn page() -> Routes {
    Routes::new().get("/page", |_| Response::text(PAGE)).post("/page", |_| Response::text(PAGE))
}

#[test]
fn a_file_that_shrinks_ends_its_own_connection_and_nobody_elses() {
    let directory = std::env::temp_dir().join(format!("sockeye-shrinks-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join("file");
    fs::write(&path, vec![b'x'; 1 << 20]).unwrap();
    let mut limits = Limits::default();
    limits.turn_bytes = 64 << 10;
    let mut site = Site::new(Faults::none(), limits, page().files("/", Files::open(&directory).unwrap()));

    let first = site.connect();
    first.send(b"GET /file HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut received = Vec::new();
    site.until(|| {
        received.extend(first.recv());
        !received.is_empty()
    });
    // All that was read of it was sent; a little more is there when it is read next.
    let sent = received.iter().filter(|&&byte| byte == b'x').count() as u64;
    File::options().write(true).open(&path).unwrap().set_len(sent + 100).unwrap();
    let second = site.connect();
    second.send(GET);
    site.until(|| first.is_closed());
    assert_eq!(first.end(), Some(PeerEnd::Reset));
    let mut received = Vec::new();
    site.until(|| {
        received.extend(second.recv());
        received.ends_with(PAGE.as_bytes())
    });
    assert!(received.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&received));
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn an_answer_behind_a_full_socket_keeps_its_order() {
    for room in 20_000..20_400 {
        // Somewhere here the first answer fills the socket to the byte, and the interim answer has no room.
        let routes = Routes::new()
            .get("/fill", |_| Response::bytes("text/plain", vec![b'-'; 20_000]))
            .post("/page", |_| Response::text(PAGE));
        let mut site = Site::new(Faults::none().with_buffers(room, 1 << 20), Limits::default(), routes);
        let peer = site.connect();
        peer.set_window(0);
        peer.send(b"GET /fill HTTP/1.1\r\nHost: localhost\r\n\r\n");
        peer.send(b"POST /page HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n");
        site.turns(5);
        peer.send(b"hi");
        site.turns(5);
        peer.set_window(1 << 20);
        let answers = site.rest(&peer);
        let (_, last) = answers.rsplit_once("HTTP/1.1 200 OK\r\n").unwrap();
        assert!(last.ends_with(&format!("\r\n\r\n{PAGE}")), "room {room}: {last}");
        let (_, tail) = answers.split_once("\r\n\r\n").unwrap();
        assert!(tail[20_000..].starts_with("HTTP/1.1 "), "room {room}: {}", &tail[20_000..]);
    }
}

#[test]
fn an_error_that_answers_head_has_no_body() {
    let mut limits = Limits::default();
    limits.handshake_timeout = Duration::from_secs(1);
    for (what, request) in [
        ("an unknown path", &b"HEAD /none HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"[..]),
        ("above the root", b"HEAD /../x HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("no host", b"HEAD / HTTP/1.1\r\n\r\n"),
        ("a folded line", b"HEAD / HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n"),
        ("a length twice", b"HEAD / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"),
        ("a long body", b"HEAD / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n"),
        ("a broken body", b"HEAD / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nx"),
        ("a body that is late", b"HEAD / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nx"),
        ("a head that is late", b"HEAD / HTTP/1.1\r\nHost: localhost\r\n"),
        ("a handshake", b"HEAD / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
    ] {
        let mut site = Site::new(Faults::none(), limits.clone(), page());
        let answer = site.answer(request);
        assert!(answer.starts_with("HTTP/1.1 4"), "{what}: {answer}");
        assert!(answer.ends_with("\r\n\r\n"), "{what}: {answer}");
        // The same for GET has one.
        let get = [b"GET ", request.strip_prefix(b"HEAD ").unwrap()].concat();
        let answer = Site::new(Faults::none(), limits.clone(), page()).answer(&get);
        assert!(answer.starts_with("HTTP/1.1 4") && !answer.ends_with("\r\n\r\n"), "{what}: {answer}");
    }
}

#[test]
fn only_http_1_1_is_told_to_continue() {
    for (version, interim) in [("1.1", true), ("1.0", false)] {
        let mut site = Site::new(Faults::none(), Limits::default(), page());
        let peer = site.connect();
        let head = format!(
            "POST /page HTTP/{version}\r\nHost: localhost\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        );
        peer.send(head.as_bytes());
        site.turns(5);
        assert_eq!(peer.recv(), if interim { &b"HTTP/1.1 100 Continue\r\n\r\n"[..] } else { b"" }, "HTTP/{version}");
        peer.send(b"hi");
        let mut received = Vec::new();
        site.until(|| {
            received.extend(peer.recv());
            received.ends_with(PAGE.as_bytes())
        });
        assert!(received.starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
}

/// Accepts one origin; see the test below.
struct Gate;

impl Protocol for Gate {
    type Session = ();

    fn name(&self) -> &'static str {
        "gate"
    }

    fn filter(&mut self, request: &Request<'_>) -> Decision {
        match request.origin() {
            Some("http://good") => Decision::accept(),
            _ => Decision::refuse(403, "not from there"),
        }
    }

    fn open(&mut self, _: &mut Cx<'_>, _: &Handshake<'_>) {}

    fn receive(&mut self, _: &mut Cx<'_>, (): &mut (), _: Fragment<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn writable(&mut self, _: &mut Cx<'_>, (): &mut (), _: Tx<'_>) -> Result<(), Close> {
        Ok(())
    }
}

#[test]
fn two_origins_are_none() {
    for (origins, status) in [
        ("Origin: http://good\r\n", 101),
        ("Origin: http://good\r\nOrigin: http://evil\r\n", 403),
        ("Origin: http://evil\r\n", 403),
        ("", 403),
    ] {
        let network = Network::with_faults(1, Faults::none());
        let builder = Service::builder().protocol(Gate).listen("127.0.0.1:80");
        let mut service = builder.build_with(network.sys()).unwrap();
        let peer = network.connect(&service.local_addresses()[0]).unwrap();
        let request = format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{origins}\r\n"
        );
        peer.send(request.as_bytes());
        for _ in 0..5 {
            service.run_once(Some(Duration::ZERO)).unwrap();
        }
        let answer = peer.recv();
        assert!(answer.starts_with(format!("HTTP/1.1 {status} ").as_bytes()), "{origins}");
    }
}

#[test]
fn a_host_that_is_not_served_is_misdirected() {
    for (host, status) in
        [("served", 101), ("Served:80", 101), ("other", 421), ("served.other", 421), ("127.0.0.1", 421)]
    {
        let network = Network::with_faults(1, Faults::none());
        let builder = Service::builder().protocol(messages::echo("echo")).hosts(Hosts::only(["served"]).unwrap());
        let mut service = builder.listen("127.0.0.1:80").build_with(network.sys()).unwrap();
        let peer = network.connect(&service.local_addresses()[0]).unwrap();
        peer.send(String::from_utf8(upgrade("")).unwrap().replace("localhost", host).as_bytes());
        for _ in 0..5 {
            service.run_once(Some(Duration::ZERO)).unwrap();
        }
        let answer = peer.recv();
        assert!(answer.starts_with(format!("HTTP/1.1 {status} ").as_bytes()), "{host}");
    }
}

/// What comes behind a request is copied for each answer, so that not too much of it may be read with the request.
#[test]
fn many_requests_behind_a_body_take_few_turns() {
    const COUNT: usize = 5000;
    let mut site = Site::new(Faults::none().with_buffers(1 << 20, 1 << 20), Limits::default(), page());
    let peer = site.connect();
    peer.send(GET);
    site.turns(3);
    let answer = peer.recv().len();
    peer.send(b"POST /page HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nh");
    site.turns(3);
    peer.send(&[b"i", &*GET.repeat(COUNT)].concat());
    let (mut received, mut turns) = (0, 0);
    site.until(|| {
        turns += 1;
        received += peer.recv().len();
        received >= (COUNT + 1) * answer
    });
    assert!(turns < COUNT / 10, "{turns} turns");
}
