//! The responder's object, its sessions and its own timers, from outside the loop.

use std::rc::Rc;
use std::time::Duration;

use sockeye::protocol::UnknownProtocol;
use sockeye::responder::{RequestEnd, RequestTimeout};
use sockeye::sim::{PeerEnd, Turn};

use super::bench::{Site, ask};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_object_and_a_session_are_reached_between_turns() {
    let mut site = Site::new();
    let foreign = Site::new().handle;
    let handle = site.handle;
    let peer = site.connect();
    peer.send(&ask("GET /wait", "\r\n"));
    site.settle();
    let (id, tokens) = (site.last_id(), Rc::clone(&site.notes.tokens));
    let mut control = site.service.control();
    assert!(Rc::ptr_eq(&control.responder_object(handle).unwrap().notes.tokens, &tokens));
    assert_eq!(control.responder_object(foreign).err(), Some(UnknownProtocol::Handle));
    assert!(control.with_request_session(foreign, id, |_, _, _| unreachable!("of another service")).is_err());
    let seen = control.with_request_session(handle, id, |tester, cx, talk| {
        talk.body.extend_from_slice(b"left here");
        cx.request_writable();
        (Rc::ptr_eq(&tester.notes.tokens, &tokens), cx.id(), cx.own_responder().request_ids())
    });
    assert_eq!(seen.ok(), Some((true, id, vec![id])));
    site.settle();
    assert!(peer.recv().ends_with(b"\r\n\r\nleft here"));
    // It has ended: its connection may carry another by now.
    peer.send(&ask("GET /wait", "\r\n"));
    site.settle();
    let mut control = site.service.control();
    assert!(control.with_request_session(handle, id, |_, _, _| unreachable!("it has ended")).is_err());
    assert_ne!(site.last_id(), id);
    assert_eq!(site.service.control().responder(handle).unwrap().request_ids(), [site.last_id()]);
}

#[test]
fn a_session_is_not_reached_once_its_answer_is_complete() {
    let mut site = Site::new();
    let handle = site.handle;
    let peer = site.connect();
    peer.set_window(1000);
    peer.send(&ask("GET /fill", "\r\n"));
    site.settle();
    assert!(site.notes.ends.borrow().is_empty(), "the peer has not read it yet");
    let id = site.last_id();
    let mut control = site.service.control();
    assert!(control.request(id).is_ok());
    assert!(control.with_request_session(handle, id, |_, _, _| unreachable!("no callback follows")).is_err());
}

#[test]
fn what_a_visit_asks_for_is_done() {
    let mut site = Site::new();
    let handle = site.handle;
    let peer = site.connect();
    peer.send(&ask("GET /wait", "\r\n"));
    site.settle();
    let id = site.last_id();
    let mut visit = site.service.control();
    visit.with_request_session(handle, id, |_, cx, _| cx.limits().answer_timeout = Some(9 * SECOND)).unwrap();
    assert_eq!(site.until(|_| !peer.recv().is_empty()), 9 * SECOND);
    assert_eq!(site.end(), RequestEnd::Timeout(RequestTimeout::Answer));

    let peer = site.connect();
    peer.send(&ask("GET /timer", "\r\n"));
    site.settle();
    let id = site.last_id();
    site.service.control().with_request_session(handle, id, |_, cx, _| cx.set_timer(7 * SECOND)).unwrap();
    assert_eq!(site.until(|_| !peer.recv().is_empty()), 7 * SECOND);
    assert_eq!(site.end(), RequestEnd::Answered);

    let peer = site.connect();
    peer.send(&ask("GET /wait", "\r\n"));
    site.settle();
    let id = site.last_id();
    site.service.control().with_request_session(handle, id, |_, cx, _| cx.abort()).unwrap();
    assert_eq!(site.end(), RequestEnd::Aborted);
    site.settle();
    assert_eq!(peer.end(), Some(PeerEnd::Reset));
}

#[test]
fn a_timer_without_a_request_comes_exactly_then_and_once() {
    let mut site = Site::new();
    assert_eq!(site.service.next_deadline(), None);
    let begin = site.network.now();
    let mut control = site.service.control();
    let mut own = control.responder(site.handle).unwrap();
    own.set_timer(1, 9 * SECOND);
    own.set_timer(1, 3 * SECOND);
    own.set_timer(2, 2 * SECOND);
    own.set_timer(3, SECOND);
    own.clear_timer(3);
    let mut seen = Vec::new();
    let (network, service) = (&site.network, &mut site.service);
    network.run(|| {
        service.run_once(Some(Duration::ZERO)).unwrap();
        let elapsed = network.now().saturating_duration_since(begin);
        seen.extend(site.notes.tokens.borrow_mut().drain(..).map(|token| (elapsed, token)));
        service.next_deadline().map_or(Turn::Done, |at| Turn::Sleep(Some(at)))
    });
    assert_eq!(seen, [(2 * SECOND, 2), (3 * SECOND, 1)]);
    // A drained service does not wait for it.
    site.service.control().responder(site.handle).unwrap().set_timer(1, SECOND);
    site.service.drain();
    site.service.run_once(None).unwrap();
    assert_eq!(site.service.next_deadline(), None);
}
