//! Pauses that must end: of accepting, and of reading.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sockeye_proto::close::{Cause, Timeout};

use crate::sim::{Faults, Network, Outcome, Peer, Turn};
use crate::sys::{Address, ListenOptions};
use crate::{Close, Closed, ClosedCx, Cx, Fragment, Handshake, Limits, Protocol, Service, Tx};

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const MESSAGE: &[u8] = b"\x81\x82\0\0\0\0hi";

/// Pauses reading at the first message, for ever.
#[derive(Clone, Default)]
struct Deaf {
    log: Rc<RefCell<Vec<u16>>>,
}

impl Protocol for Deaf {
    type Session = ();

    fn name(&self) -> &'static str {
        "deaf"
    }

    fn open(&mut self, _: &mut Cx<'_>, _: &Handshake<'_>) {}

    fn receive(&mut self, cx: &mut Cx<'_>, (): &mut (), _: Fragment<'_>) -> Result<(), Close> {
        cx.pause_reading();
        Ok(())
    }

    fn writable(&mut self, _: &mut Cx<'_>, (): &mut (), _: Tx<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn closed(&mut self, _: &mut ClosedCx<'_>, (): (), closed: Closed) {
        self.log.borrow_mut().push(closed.code_seen());
    }
}

fn service(network: &Network, limits: Limits) -> (Service, Deaf) {
    let protocol = Deaf::default();
    let builder = Service::builder().limits(limits).fallback(protocol.clone()).listen("127.0.0.1:80");
    (builder.build_with(network.sys()).unwrap(), protocol)
}

fn upgraded(network: &Network, service: &Service) -> Peer {
    let peer = network.connect(&service.local_addresses()[0]).unwrap();
    peer.send(UPGRADE);
    peer
}

/// Runs until `done`, and says how long that took on the virtual clock.
fn until(network: &Network, service: &mut Service, mut done: impl FnMut() -> bool) -> Duration {
    let started = network.now();
    let outcome = network.run(|| {
        service.run_once(Some(Duration::ZERO)).unwrap();
        let waited = network.now().saturating_duration_since(started);
        assert!(waited < Duration::from_secs(3600), "an hour of the virtual clock was not enough");
        if done() { Turn::Done } else { Turn::Sleep(service.next_deadline()) }
    });
    assert_eq!(outcome, Outcome::Done);
    network.now().saturating_duration_since(started)
}

#[test]
fn a_reset_ends_a_connection_that_is_not_read() {
    for stuffing in [0, 1, 100_000] {
        let network = Network::with_faults(1, Faults::none());
        let (mut service, protocol) = service(&network, Limits::default());
        let peer = upgraded(&network, &service);
        until(&network, &mut service, || peer.recv().starts_with(b"HTTP/1.1 101"));
        peer.send(MESSAGE);
        peer.send(&MESSAGE.repeat(stuffing));
        network.run(|| {
            service.run_once(Some(Duration::ZERO)).unwrap();
            if network.now().as_nanos() > 2_000_000_000 {
                Turn::Done
            } else {
                Turn::Sleep(Some(network.now() + Duration::from_secs(1)))
            }
        });
        assert_eq!(service.connections(), 1);
        peer.reset();
        let took = until(&network, &mut service, || !protocol.log.borrow().is_empty());
        assert!(took < Duration::from_secs(1), "noticed after {took:?}");
        assert_eq!(*protocol.log.borrow(), [1006]);
        drop(service);
        assert_eq!(network.open_handles(), 0, "leaked");
    }
}

#[test]
fn accepting_goes_on_as_soon_as_there_is_room() {
    let network = Network::with_faults(1, Faults::none());
    let limits = Limits { connections: Some(2), ..Limits::default() };
    let (mut service, _) = service(&network, limits);
    let mut peers: Vec<Peer> = (0..20).map(|_| upgraded(&network, &service)).collect();
    let took = until(&network, &mut service, || {
        let before = peers.len();
        // Each leaves as soon as it was answered.
        peers.retain(|peer| peer.recv().is_empty());
        assert!(before - peers.len() <= 2, "more than fit");
        peers.is_empty()
    });
    assert!(took < Duration::from_millis(200), "20 connections through 2 places took {took:?}");
}

#[test]
fn the_tables_of_a_crowd_are_given_back() {
    let network = Network::with_faults(1, Faults::none());
    let (host, protocol) = (network.host(), Deaf::default());
    host.set_descriptor_limit(20_000);
    let builder = Service::builder().fallback(protocol.clone()).listen("127.0.0.1:80");
    let mut service = builder.build_with(host.sys()).unwrap();
    let stays = upgraded(&network, &service);
    until(&network, &mut service, || stays.recv().starts_with(b"HTTP/1.1 101"));
    for round in 1..=2 {
        let mut crowd: Vec<Peer> = (0..1500).map(|_| upgraded(&network, &service)).collect();
        let mut open = 0;
        until(&network, &mut service, || {
            open += crowd.iter().filter(|peer| peer.recv().starts_with(b"HTTP/1.1 101")).count();
            open == crowd.len()
        });
        assert_eq!((service.connections(), service.connections.slots.len()), (1501, 1501));
        crowd.drain(..).for_each(|peer| peer.reset());
        until(&network, &mut service, || protocol.log.borrow().len() == 1500 * round);
        assert_eq!((service.connections(), service.connections.slots.len()), (1, 1));
        assert!(service.connections.slots.capacity() < 100);
    }
    stays.send(MESSAGE);
    stays.reset();
    until(&network, &mut service, || protocol.log.borrow().len() == 3001);
}

/// Sends without end: more than the socket takes, in each writable callback.
#[derive(Clone, Default)]
struct Streamer {
    log: Rc<RefCell<Vec<Closed>>>,
}

impl Protocol for Streamer {
    type Session = ();

    fn name(&self) -> &'static str {
        "streamer"
    }

    fn open(&mut self, cx: &mut Cx<'_>, _: &Handshake<'_>) {
        cx.request_writable();
    }

    fn receive(&mut self, _: &mut Cx<'_>, (): &mut (), _: Fragment<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn writable(&mut self, cx: &mut Cx<'_>, (): &mut (), tx: Tx<'_>) -> Result<(), Close> {
        if let Some(writable) = tx.idle() {
            writable.binary(&[0; 300_000]);
        }
        cx.request_writable();
        Ok(())
    }

    fn closed(&mut self, _: &mut ClosedCx<'_>, (): (), closed: Closed) {
        self.log.borrow_mut().push(closed);
    }
}

/// A stream's peer: the messages' heads are passed over, other frames are noted.
#[derive(Default)]
struct Listener {
    bytes: Vec<u8>,
    others: Vec<u8>,
    answered: bool,
}

impl Listener {
    fn hear(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if !self.answered {
            let Some(end) = self.bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return };
            self.bytes.drain(..end + 4);
            self.answered = true;
        }
        while let [first, second, ..] = self.bytes[..] {
            let length = if second == 127 { 10 + 300_000 } else { 2 + usize::from(second) };
            if self.bytes.len() < length {
                return;
            }
            if first != 0x82 {
                self.others.push(first);
            }
            self.bytes.drain(..length);
        }
    }
}

#[test]
fn a_stream_without_end_lets_pongs_and_the_close_frame_through() {
    for seed in 0..5 {
        let network = Network::new(seed);
        let protocol = Streamer::default();
        let builder = Service::builder().fallback(protocol.clone()).listen("127.0.0.1:80");
        let mut service = builder.build_with(network.sys()).unwrap();
        let peer = upgraded(&network, &service);
        peer.set_window(100_000);
        let mut listener = Listener::default();
        peer.send(b"\x89\x80\0\0\0\0");
        until(&network, &mut service, || {
            listener.hear(&peer.recv());
            listener.others.contains(&0x8a)
        });
        peer.send(b"\x88\x82\0\0\0\0\x03\xe8");
        let took = until(&network, &mut service, || {
            listener.hear(&peer.recv());
            listener.others.contains(&0x88) && !protocol.log.borrow().is_empty()
        });
        assert!(took < Duration::from_secs(5), "the close frame took {took:?}");
        assert_eq!(protocol.log.borrow()[0].cause, Cause::Handshake);
    }
}

#[test]
fn who_takes_a_stream_slowly_lives_and_who_takes_nothing_does_not() {
    for takes in [true, false] {
        let network = Network::with_faults(7, Faults::none());
        let protocol = Streamer::default();
        let builder = Service::builder().fallback(protocol.clone()).listen("127.0.0.1:80");
        let mut service = builder.build_with(network.sys()).unwrap();
        let peer = upgraded(&network, &service);
        peer.set_window(20_000);
        let minutes = network.now() + Duration::from_secs(100);
        let mut read_at = network.now();
        network.run(|| {
            service.run_once(Some(Duration::ZERO)).unwrap();
            if takes && network.now() >= read_at {
                let _ = peer.recv_at_most(20_000);
                read_at = network.now() + Duration::from_secs(1);
            }
            if network.now() >= minutes {
                return Turn::Done;
            }
            let wake = if takes { read_at } else { minutes };
            Turn::Sleep(Some(service.next_deadline().map_or(wake, |at| at.min(wake))))
        });
        assert_eq!(protocol.log.borrow().is_empty(), takes);
        assert!(takes || protocol.log.borrow()[0].cause == Cause::Timeout(Timeout::Keepalive));
    }
}

/// Ticks every 50 ms, and closes each connection at the first tick after it opened.
struct Clockwork {
    ticks: Rc<RefCell<u32>>,
    open: Vec<crate::ConnId>,
}

impl Protocol for Clockwork {
    type Session = ();

    fn name(&self) -> &'static str {
        "clockwork"
    }

    fn open(&mut self, cx: &mut Cx<'_>, _: &Handshake<'_>) {
        self.open.push(cx.id());
    }

    fn receive(&mut self, _: &mut Cx<'_>, (): &mut (), _: Fragment<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn writable(&mut self, _: &mut Cx<'_>, (): &mut (), _: Tx<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn interval(&self) -> Option<Duration> {
        Some(Duration::from_millis(50))
    }

    fn tick(&mut self, own: &mut crate::protocol::ProtocolMut<'_>) {
        *self.ticks.borrow_mut() += 1;
        for id in self.open.drain(..) {
            own.connection(id).unwrap().close(crate::CloseCode::NORMAL);
        }
    }
}

#[test]
fn nobody_ticks_for_connections_that_are_being_closed() {
    let network = Network::with_faults(1, Faults::none());
    let ticks = Rc::new(RefCell::new(0));
    let protocol = Clockwork { ticks: ticks.clone(), open: Vec::new() };
    let mut service = Service::builder().protocol(protocol).listen("127.0.0.1:80").build_with(network.sys()).unwrap();
    for round in 1..=2 {
        // It does not answer the close frame, and so stays for five seconds.
        let peer = upgraded(&network, &service);
        until(&network, &mut service, || *ticks.borrow() == round);
        until(&network, &mut service, || peer.is_closed());
        assert_eq!(*ticks.borrow(), round, "ticks went on");
    }
}

/// Counts its ticks, and has no connection.
struct Lonely {
    ticks: Rc<RefCell<u32>>,
    alone: bool,
}

impl crate::raw::Raw for Lonely {
    type Session = ();

    fn name(&self) -> &str {
        if self.alone { "alone" } else { "in-company" }
    }

    fn open(&mut self, _: &mut crate::raw::RawCx<'_>) {}

    fn receive(&mut self, _: &mut crate::raw::RawCx<'_>, (): &mut (), _: &[u8]) -> Result<(), crate::raw::RawClose> {
        Ok(())
    }

    fn interval(&self) -> Option<Duration> {
        Some(Duration::from_millis(50))
    }

    fn ticks_alone(&self) -> bool {
        self.alone
    }

    fn tick(&mut self, _: &mut crate::raw::EndpointMut<'_>) {
        *self.ticks.borrow_mut() += 1;
    }
}

#[test]
fn who_makes_its_connections_itself_ticks_without_one() {
    let network = Network::with_faults(1, Faults::none());
    let [alone, other] = [true, false].map(|alone| (Rc::new(RefCell::new(0)), alone));
    let raw = |(ticks, alone): &(Rc<RefCell<u32>>, bool)| Lonely { ticks: ticks.clone(), alone: *alone };
    let builder = Service::builder().raw(raw(&alone)).raw(raw(&other)).listen("127.0.0.1:80");
    let mut service = builder.build_with(network.sys()).unwrap();
    until(&network, &mut service, || *alone.0.borrow() == 3);
    assert_eq!(*other.0.borrow(), 0);
}

/// What was taken in before the peer's Close frame is answered before ours, however slowly that peer reads.
#[test]
fn an_outbox_is_emptied_before_the_close_frame() {
    const COUNT: usize = 6000;
    for seed in 0..5 {
        let network = Network::new(seed);
        let builder = Service::builder().fallback(crate::messages::echo("echo")).listen("127.0.0.1:80");
        let mut service = builder.build_with(network.sys()).unwrap();
        let peer = upgraded(&network, &service);
        peer.set_window(2_000);
        let message = [b"\x82\xc0\0\0\0\0".as_slice(), &[7; 64]].concat();
        peer.send(&message.repeat(COUNT));
        peer.send(b"\x88\x82\0\0\0\0\x03\xe8");
        // First it reads nothing, so that all is waiting when the Close frame comes.
        let started = network.now();
        network.run(|| {
            service.run_once(Some(Duration::ZERO)).unwrap();
            let waited = network.now().saturating_duration_since(started);
            if waited > Duration::from_secs(1) {
                Turn::Done
            } else {
                Turn::Sleep(Some(started + Duration::from_secs(2)))
            }
        });
        let mut heard = Vec::new();
        until(&network, &mut service, || {
            heard.extend(peer.recv());
            peer.end().is_some()
        });
        let frames = heard.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let answer = [b"\x82\x40".as_slice(), &[7; 64]].concat();
        let expected = [answer.repeat(COUNT), b"\x88\x02\x03\xe8".to_vec()].concat();
        let count = heard[frames..].len() / answer.len();
        assert!(heard[frames..] == expected, "seed {seed}: {count} of {COUNT} answers");
    }
}

#[test]
fn a_crowd_at_one_listener_does_not_keep_the_others_waiting() {
    let network = Network::with_faults(1, Faults::none());
    let limits = Limits { turn_accepts: 4, ..Limits::default() };
    let builder = Service::builder().limits(limits).fallback(Deaf::default());
    let mut service = builder.listen("127.0.0.1:80").listen("127.0.0.1:81").build_with(network.sys()).unwrap();
    let crowd: Vec<Peer> = (0..100).map(|_| upgraded(&network, &service)).collect();
    let other = network.connect(&service.local_addresses()[1]).unwrap();
    other.send(UPGRADE);
    until(&network, &mut service, || !other.recv().is_empty());
    assert!(service.connections() <= 20, "{} of {} were let in first", service.connections(), crowd.len());
}

#[test]
fn texts_name_unix_sockets_too() {
    let network = Network::with_faults(1, Faults::none());
    let builder = || Service::builder().fallback(Deaf::default());
    let service = builder().listen("unix:/run/x").listen("unix:@x").build_with(network.sys()).unwrap();
    assert_eq!(service.local_addresses(), [Address::Unix("/run/x".into()), Address::Abstract(b"x".to_vec())]);
    for text in ["unix:", "unix:@"] {
        let error = builder().listen(text).build_with(network.sys()).unwrap_err();
        assert!(
            error.to_string().contains(&format!("{text}: `unix:` must be followed by a path, or by `@` and a name")),
            "{error}"
        );
    }
    let options = ListenOptions { backlog: 0, ..ListenOptions::default() };
    let error = builder().listen_with("127.0.0.1:80", options).build_with(network.sys()).unwrap_err();
    assert!(error.to_string().contains("backlog is 0"), "{error}");
}

#[test]
fn the_simulated_system_takes_no_listeners_of_others() {
    let network = Network::with_faults(1, Faults::none());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let error = Service::builder().fallback(Deaf::default()).listen(listener).build_with(network.sys()).unwrap_err();
    assert!(
        error.as_listen().is_some() && error.to_string().contains("takes no listeners that others opened"),
        "{error}"
    );
}
