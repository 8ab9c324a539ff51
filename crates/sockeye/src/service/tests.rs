//! Pauses that must end: of accepting, and of reading.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::sim::{Faults, Network, Outcome, Peer, Turn};
use crate::{Close, Closed, Cx, Fragment, Limits, Protocol, Service, Tx};

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

    fn open(&mut self, _: &mut Cx<'_>) {}

    fn receive(&mut self, cx: &mut Cx<'_>, (): &mut (), _: Fragment<'_>) -> Result<(), Close> {
        cx.pause_reading();
        Ok(())
    }

    fn writable(&mut self, _: &mut Cx<'_>, (): &mut (), _: Tx<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn closed(&mut self, _: &mut Cx<'_>, (): (), closed: Closed) {
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
