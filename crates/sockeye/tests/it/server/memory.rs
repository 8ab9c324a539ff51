//! What is held for all peers together has a bound, and those that hold most are shed; a message that has begun goes on.

use std::time::Duration;

use sockeye::http::{Response, Routes};
use sockeye::sim::{Faults, Network, Outcome, Peer, Turn};
use sockeye::{Limits, Service, messages};
use sockeye_testing::server::upgrade;

const MIB: usize = 1024 * 1024;
const SECOND: Duration = Duration::from_secs(1);

struct Site {
    network: Network,
    service: Service,
}

impl Site {
    fn new(limits: Limits) -> Self {
        let network = Network::with_faults(1, Faults::none());
        let routes = Routes::new().get("/", |_| Response::bytes("text/plain", vec![b'x'; 5 * MIB]));
        let builder = Service::builder().limits(limits).routes(routes).protocol(messages::echo("echo"));
        let service = builder.listen("127.0.0.1:80").build_with(network.sys()).unwrap();
        Self { network, service }
    }

    fn with_total(bytes: usize) -> Self {
        let mut limits = Limits::default();
        limits.total_bytes = Some(bytes);
        Self::new(limits)
    }

    fn connect(&self) -> Peer {
        self.network.connect(&self.service.local_addresses()[0]).unwrap()
    }

    fn open(&mut self) -> Peer {
        let peer = self.connect();
        peer.send(&upgrade(""));
        self.pass(Duration::from_millis(10));
        assert!(peer.recv().starts_with(b"HTTP/1.1 101 "));
        peer
    }

    fn pass(&mut self, time: Duration) {
        let until = self.network.now() + time;
        let (network, service) = (&self.network, &mut self.service);
        let outcome = network.run(|| {
            service.run_once(Some(Duration::ZERO)).unwrap();
            if network.now() >= until {
                return Turn::Done;
            }
            Turn::Sleep(Some(service.next_deadline().map_or(until, |at| at.min(until))))
        });
        assert_eq!(outcome, Outcome::Done);
    }

    /// Sends a part of a message of 16 MiB.
    fn begin(&mut self, peer: &Peer, bytes: usize) {
        peer.send(&[&[0x82, 0xff][..], &(16 * MIB as u64).to_be_bytes(), &[0; 4]].concat());
        peer.send(&vec![0; bytes]);
        self.pass(Duration::from_millis(10));
    }

    fn assert_echoes(&mut self, peer: &Peer) {
        peer.send(b"\x81\x82\0\0\0\0hi");
        self.pass(Duration::from_millis(10));
        assert_eq!(peer.recv(), b"\x81\x02hi");
    }

    fn held(&self) -> u64 {
        self.service.statistics().held_bytes
    }
}

/// The code of the Close frame that was sent.
fn code(peer: &Peer) -> Option<u16> {
    let bytes = peer.recv();
    let close = bytes.windows(4).find(|window| window[..2] == [0x88, 2])?;
    Some(u16::from_be_bytes([close[2], close[3]]))
}

#[test]
fn those_that_hold_most_are_shed_and_the_others_go_on() {
    // These send 8 MiB together.
    let mut site = Site::with_total(7 * MIB);
    let canary = site.open();
    let peers: Vec<Peer> = (0..6).map(|_| site.open()).collect();
    for (index, peer) in peers.iter().enumerate() {
        site.begin(peer, if index == 2 { 3 * MIB } else { MIB });
        site.assert_echoes(&canary);
        assert!(site.held() <= 7 * MIB as u64, "{}", site.held());
    }
    // RFC 6455's registry: 1013, try again later.
    let codes: Vec<_> = peers.iter().map(code).collect();
    assert_eq!(codes[2], Some(1013));
    assert_eq!(codes.iter().flatten().count(), 1, "{codes:?}");
    let statistics = site.service.statistics();
    assert_eq!((statistics.closes.shed, statistics.limits.total_bytes), (1, 1));
    assert!(statistics.held_bytes_most > 7 * MIB as u64 && statistics.held_bytes_limit == 7 * MIB as u64);
    drop(peers);
    site.pass(SECOND);
    site.assert_echoes(&canary);
    assert_eq!(site.held(), 0);
}

#[test]
fn what_is_held_is_counted_until_it_is_gone() {
    let mut site = Site::with_total(64 * MIB);
    let peer = site.open();
    site.begin(&peer, MIB);
    let held = site.held() as usize;
    assert!((MIB..=2 * MIB).contains(&held), "{held}");
    peer.send(&vec![0; 15 * MIB]);
    let mut got = 0;
    while got < 16 * MIB {
        site.pass(Duration::from_millis(10));
        got += peer.recv().len();
    }
    site.pass(SECOND);
    assert_eq!(site.held(), 0, "the echo has left");

    // A page that is not read, and the head of a request.
    let reader = site.connect();
    reader.set_window(0);
    reader.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let asking = site.connect();
    asking.send(b"GET / HTTP/1.1\r\nA: b");
    site.pass(Duration::from_millis(10));
    assert!(site.held() as usize >= 5 * MIB, "{}", site.held());
    reader.reset();
    asking.reset();
    site.pass(SECOND);
    assert_eq!(site.held(), 0);
}

#[test]
fn a_message_that_stops_is_found_and_a_slow_one_is_not() {
    let mut site = Site::new(Limits::default());
    let (idle, stuck, slow) = (site.open(), site.open(), site.open());
    site.begin(&stuck, MIB);
    site.begin(&slow, MIB);
    let mut closed = (None, None);
    for second in 0..30 {
        // 500 bytes a second: slower than any line for which 16 MiB make sense.
        slow.send(&[0; 500]);
        site.pass(SECOND);
        closed.0 = closed.0.or_else(|| code(&stuck).map(|code| (code, second)));
        closed.1 = closed.1.or_else(|| code(&slow));
    }
    // After the first whole window.
    assert_eq!(closed, (Some((1008, 19)), None));
    let statistics = site.service.statistics();
    assert_eq!((statistics.closes.message_timeout, statistics.limits.slow_sender_bytes), (1, 1));
    // Its keepalive ping.
    assert_eq!(idle.recv(), [0x89, 0]);
    site.assert_echoes(&idle);
}

/// Each is far below the limit of a head.
#[test]
fn heads_that_are_not_complete_are_held_too() {
    let mut site = Site::with_total(MIB);
    let canary = site.open();
    let head = [&b"GET / HTTP/1.1\r\nA: "[..], &[b'a'; 15_000]].concat();
    let peers: Vec<Peer> = (0..200).map(|_| site.connect()).collect();
    for peer in &peers {
        // In two pieces, as it may come.
        for piece in head.chunks(8_000) {
            peer.send(piece);
            site.pass(Duration::from_millis(1));
            assert!(site.held() <= MIB as u64, "{}", site.held());
        }
    }
    assert!(site.held() > 512 * 1024, "{}", site.held());
    let refused = peers.iter().filter(|peer| peer.recv().starts_with(b"HTTP/1.1 503 ")).count();
    assert!((100..190).contains(&refused), "{refused}");
    site.assert_echoes(&canary);
    drop(peers);
    site.pass(SECOND);
    assert_eq!(site.held(), 0);
}
