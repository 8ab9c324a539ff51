//! Handshakes on which the program decides later.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use sockeye::http::Response;
use sockeye::sim::{Peer, Turn};
use sockeye::{Builder, ConnId, Decision, Gone, Limits, Request};
use sockeye_testing::server::upgrade;

use super::handshake::{World, ask};

/// A service that decides later, and the id of the handshake that waits.
struct Waiting {
    world: World,
    id: Rc<Cell<Option<ConnId>>>,
}

impl Waiting {
    fn new() -> Self {
        Self::with(|builder| builder)
    }

    fn with(change: impl FnOnce(Builder) -> Builder) -> Self {
        let id = Rc::new(Cell::new(None));
        let filter = {
            let id = Rc::clone(&id);
            move |request: &Request<'_>| {
                assert_eq!(id.replace(Some(request.id())), None, "the filter is called once");
                Decision::later()
            }
        };
        Self { world: World::with(filter, change), id }
    }

    /// A peer whose handshake waits.
    fn ask(&mut self) -> (Peer, ConnId) {
        let peer = self.world.connect();
        peer.send(&upgrade(""));
        self.world.turns(3);
        assert_eq!(peer.recv(), b"");
        (peer, self.id.take().expect("the filter was called"))
    }

    fn decide(&mut self, id: ConnId, decision: Decision) -> Result<(), Gone> {
        let result = self.world.service.control().decide(id, decision);
        self.world.turns(3);
        result
    }

    /// Lets so much time pass.
    fn pass(&mut self, time: Duration) {
        let network = self.world.network.clone();
        let end = network.now() + time;
        network.run(|| {
            self.world.service.run_once(Some(Duration::ZERO)).unwrap();
            if network.now() >= end {
                return Turn::Done;
            }
            Turn::Sleep(Some(self.world.service.next_deadline().unwrap_or(end).min(end)))
        });
    }

    /// The handshake cannot be decided any more, and nothing is left of the connection.
    fn is_over(&mut self, id: ConnId) {
        assert!(self.decide(id, Decision::accept()).is_err());
        assert_eq!(self.world.service.connections(), 0);
        assert_eq!(self.world.network.open_handles(), usize::from(!self.world.service.is_draining()));
        assert!(self.world.notes().is_empty(), "`open` was called");
    }
}

#[test]
fn a_later_acceptance_opens_with_the_request_and_the_value_however_the_input_is_cut() {
    let request = ask("/who?room=a", "X-A: 1\r\nSec-WebSocket-Protocol: door\r\n");
    // A frame right behind the request: "hi", masked with zeros.
    let input = [&request[..], &[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']].concat();
    for cut in 0..=input.len() {
        let mut waiting = Waiting::new();
        let peer = waiting.world.connect();
        peer.send(&input[..cut]);
        waiting.world.turns(3);
        let asked = waiting.id.take();
        assert_eq!(asked.is_some(), cut >= request.len());
        // The rest comes before the decision, or after it.
        let is_early = asked.is_none() || cut % 2 == 0;
        if is_early {
            peer.send(&input[cut..]);
            waiting.world.turns(3);
        }
        let id = asked.or_else(|| waiting.id.take()).unwrap();
        assert!(peer.recv().is_empty() && waiting.world.notes().is_empty());
        assert!(waiting.decide(id, Decision::accept().with(7_u32).header("X-Node", "1").unwrap()).is_ok());
        if !is_early {
            peer.send(&input[cut..]);
            waiting.world.turns(3);
        }
        let answer = String::from_utf8(peer.recv()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 101 ") && answer.contains("X-Node: 1\r\n"), "{answer}");
        let seen = "/who /who?room=a Some(\"room=a\") Some(\"a\") None Some(\"1\") 1 [\"door\"]";
        let notes = waiting.world.notes();
        assert_eq!(notes[..3], ["open Some(\"door\")", "number 7", seen], "cut at {cut}");
        let received: String = notes[3..].concat();
        // A cut within the frame delivers it in two pieces.
        let pieces = ["receive [104, 105]", "receive [104]receive [105]", "receive []receive [104, 105]"];
        assert!(pieces.contains(&&*received), "cut at {cut}: {received}");
        assert!(waiting.decide(id, Decision::accept()).is_err(), "it is open");
    }
}

#[test]
fn a_later_refusal_is_answered_in_full() {
    let mut waiting = Waiting::new();
    let (peer, id) = waiting.ask();
    let response = Response::text("not you\n").with_status(403).header("X-Why", "list").unwrap();
    assert!(waiting.decide(id, Decision::respond(response)).is_ok());
    let answer = String::from_utf8(peer.recv()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.ends_with("\r\n\r\nnot you\n"), "{answer}");
    assert!(answer.contains("X-Why: list\r\n") && answer.contains("Connection: close\r\n"), "{answer}");
    peer.close();
    waiting.world.turns(3);
    waiting.is_over(id);
    assert_eq!(waiting.world.service.statistics().refusals.filter, 1);
}

#[test]
fn a_decision_is_made_once() {
    let mut waiting = Waiting::new();
    let (peer, id) = waiting.ask();
    let mut control = waiting.world.service.control();
    assert!(control.decide(ConnId::default(), Decision::accept()).is_err());
    assert!(control.decide(id, Decision::accept()).is_ok());
    assert!(control.decide(id, Decision::refuse(403, "too late")).is_err());
    waiting.world.turns(3);
    assert!(peer.recv().starts_with(b"HTTP/1.1 101 "));
    assert!(waiting.decide(id, Decision::refuse(403, "far too late")).is_err());
    assert_eq!(waiting.world.service.connections(), 1);
}

#[test]
fn later_again_waits_on() {
    let mut waiting = Waiting::new();
    let (peer, id) = waiting.ask();
    assert!(waiting.decide(id, Decision::later()).is_ok());
    assert_eq!(peer.recv(), b"");
    assert!(waiting.decide(id, Decision::accept()).is_ok());
    assert!(peer.recv().starts_with(b"HTTP/1.1 101 "));
    assert!(waiting.world.notes()[1].starts_with("/ / "), "the request is still known");
}

#[test]
fn without_a_decision_the_answer_is_503() {
    let mut limits = Limits::default();
    limits.decision_timeout = Duration::from_secs(3);
    let mut waiting = Waiting::with(|builder| builder.limits(limits));
    let (peer, id) = waiting.ask();
    waiting.pass(Duration::from_millis(2_999));
    assert_eq!(peer.recv(), b"");
    waiting.pass(Duration::from_millis(1));
    assert!(peer.recv().starts_with(b"HTTP/1.1 503 "));
    let statistics = waiting.world.service.statistics();
    assert_eq!((statistics.refusals.undecided, statistics.limits.decision_timeout), (1, 1));
    assert!(waiting.world.service.control().decide(id, Decision::accept()).is_err(), "it was answered");
    peer.close();
    waiting.world.turns(3);
    waiting.is_over(id);
}

#[test]
fn the_peers_end_is_noticed_and_its_bytes_are_left_in_its_socket() {
    type End = fn(Peer);
    for end in [Peer::close as End, |peer| peer.shutdown(), |peer| peer.reset()] {
        for unread in [0, 1, 1 << 20] {
            let mut waiting = Waiting::new();
            let (peer, id) = waiting.ask();
            let received = waiting.world.service.statistics().received.bytes;
            peer.send(&vec![0; unread]);
            waiting.world.turns(5);
            assert_eq!(waiting.world.service.statistics().received.bytes, received, "nothing more is read");
            assert_eq!(waiting.world.service.connections(), 1);
            end(peer);
            waiting.pass(Duration::from_millis(100));
            if unread <= 1 {
                waiting.is_over(id);
            }
        }
    }
}

#[test]
fn an_end_before_the_decision_is_carried_out_wins() {
    let mut waiting = Waiting::new();
    let (peer, id) = waiting.ask();
    // Both are noticed in one turn.
    assert!(waiting.world.service.control().decide(id, Decision::accept()).is_ok());
    waiting.world.service.control().connection(id).unwrap().close(sockeye::CloseCode::NORMAL);
    waiting.world.turns(3);
    assert!(peer.is_closed());
    waiting.is_over(id);
}

#[test]
fn a_drain_refuses_what_is_undecided() {
    let mut waiting = Waiting::new();
    let (peer, id) = waiting.ask();
    waiting.world.service.drain();
    waiting.world.turns(3);
    assert!(peer.recv().starts_with(b"HTTP/1.1 503 "));
    assert_eq!(waiting.world.service.statistics().refusals.draining, 1);
    peer.close();
    waiting.world.turns(3);
    waiting.is_over(id);
}

#[test]
fn a_decision_comes_from_another_thread() {
    let mut waiting = Waiting::new();
    let (peer, id) = waiting.ask();
    let remote = waiting.world.service.remote();
    let thread = std::thread::spawn(move || {
        remote.run(move |control| control.decide(id, Decision::accept().with(1_u32)).unwrap())
    });
    thread.join().unwrap().unwrap();
    waiting.world.turns(3);
    assert!(peer.recv().starts_with(b"HTTP/1.1 101 "));
    assert_eq!(waiting.world.notes()[1], "number 1");
}

#[test]
fn a_service_is_dropped_with_what_is_undecided() {
    let mut waiting = Waiting::new();
    let (peer, id) = waiting.ask();
    assert!(waiting.world.service.control().decide(id, Decision::accept().with(Rc::clone(&waiting.id))).is_ok());
    let (second, _) = waiting.ask();
    let shared = Rc::clone(&waiting.id);
    drop(waiting);
    assert_eq!(Rc::strong_count(&shared), 1, "the value is dropped too");
    assert!(peer.is_closed() && second.is_closed());
}

#[test]
fn many_may_wait_and_are_decided_in_any_order() {
    const COUNT: usize = 1000;
    let mut waiting = Waiting::new();
    let mut asked: Vec<_> = (0..COUNT).map(|_| waiting.ask()).collect();
    asked.reverse();
    let mut control = waiting.world.service.control();
    for (number, (_, id)) in asked.iter().enumerate() {
        let decision = if number % 2 == 0 { Decision::accept() } else { Decision::refuse(403, "odd") };
        assert!(control.decide(*id, decision).is_ok());
    }
    waiting.world.turns(3);
    for (number, (peer, _)) in asked.iter().enumerate() {
        let status = if number % 2 == 0 { "HTTP/1.1 101 " } else { "HTTP/1.1 403 " };
        assert!(peer.recv().starts_with(status.as_bytes()), "{number}");
    }
}
