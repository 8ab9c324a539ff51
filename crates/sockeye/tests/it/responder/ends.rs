//! How requests end that are not answered, or not well.

use std::time::Duration;

use sockeye::Limits;
use sockeye::responder::{RequestEnd, ResponseFault};
use sockeye::sim::{Faults, PeerEnd};

use super::bench::{Site, ask};

const BODY: &str = "Content-Length: 4\r\n\r\nmany";

#[test]
fn too_many_and_too_few_bytes_end_the_connection() {
    for (request, fault) in [("POST /long", ResponseFault::TooLong), ("POST /short", ResponseFault::TooShort)] {
        let mut site = Site::new();
        let peer = site.connect();
        peer.send(&ask(request, BODY));
        assert_eq!(site.end(), RequestEnd::Fault(fault), "{request}");
        site.settle();
        assert_eq!(peer.end(), Some(PeerEnd::Reset), "{request}");
        assert_eq!(site.service.statistics().request_ends.fault, 1);
        // Nobody else notices.
        assert!(site.answer(&ask("GET /now", "Connection: close\r\n\r\n")).starts_with("HTTP/1.1 200"));
    }
}

#[test]
fn a_second_answer_ends_the_connection() {
    let mut site = Site::new();
    let peer = site.connect();
    peer.send(&ask("POST /twice", BODY));
    assert_eq!(site.end(), RequestEnd::Fault(ResponseFault::AnsweredTwice));
    site.settle();
    assert_eq!(peer.end(), Some(PeerEnd::Reset));
}

#[test]
fn a_peer_that_goes_is_noticed_while_its_answer_is_awaited() {
    // Before the body has come, before the answer, in the middle of it; with and without another request behind it.
    let half = ask("POST /wait", "Content-Length: 9\r\n\r\nmany");
    let whole = ask("POST /wait", BODY);
    let begun = ask("POST /begin", BODY);
    for request in [&half, &whole, &begun] {
        let mut site = Site::new();
        let peer = site.connect();
        peer.send(request);
        site.settle();
        assert!(site.notes.ends.borrow().is_empty());
        let _ = peer.recv();
        peer.close();
        assert_eq!(site.end(), RequestEnd::PeerGone);
        site.until(|service| service.connections() == 0);

        let mut site = Site::new();
        let peer = site.connect();
        peer.send(request);
        site.settle();
        peer.reset();
        assert!(matches!(site.end(), RequestEnd::Broken(_) | RequestEnd::PeerGone));
        site.until(|service| service.connections() == 0);
    }
    // With the next request behind it.
    let mut site = Site::new();
    let peer = site.connect();
    peer.send(&[whole.clone(), whole.clone()].concat());
    site.settle();
    peer.close();
    assert_eq!(site.end(), RequestEnd::PeerGone);
    // All at once.
    let mut site = Site::new();
    let peer = site.connect();
    peer.send(&whole);
    peer.shutdown();
    assert_eq!(site.end(), RequestEnd::PeerGone);
}

#[test]
fn a_peer_that_only_ends_its_side_gets_an_answer_that_is_known() {
    for path in ["end", "write", "now", "chunked", "fill"] {
        let mut site = Site::new();
        let peer = site.connect();
        peer.send(&ask(&format!("POST /{path}"), "Content-Length: 4\r\nConnection: close\r\n\r\nmany"));
        peer.shutdown();
        let answer = site.rest(&peer);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {answer}");
    }
}

#[test]
fn a_request_that_is_given_up_is_reset() {
    let mut site = Site::new();
    let peer = site.connect();
    peer.send(&ask("POST /abort", BODY));
    assert_eq!(site.end(), RequestEnd::Aborted);
    site.settle();
    assert_eq!(peer.end(), Some(PeerEnd::Reset));

    // From outside, also while the rest of a finished answer waits.
    for path in ["wait", "fill"] {
        let mut site = Site::new();
        let peer = site.connect();
        peer.set_window(0);
        peer.send(&ask(&format!("POST /{path}"), BODY));
        site.settle();
        let id = site.last_id();
        site.service.control().request(id).unwrap().abort();
        assert_eq!(site.end(), RequestEnd::Aborted, "{path}");
        site.settle();
        assert_eq!(peer.end(), Some(PeerEnd::Reset), "{path}");
    }
}

#[test]
fn a_connection_that_is_closed_behind_its_answer_sends_it_first() {
    let mut site = Site::new();
    let peer = site.connect();
    peer.send(&[ask("POST /close", BODY), ask("POST /end", BODY)].concat());
    let answer = site.rest(&peer);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.matches("HTTP/1.1").count() == 1, "{answer}");
    assert_eq!((site.end(), peer.end()), (RequestEnd::Answered, Some(PeerEnd::Finished)));
}

#[test]
fn an_answer_before_the_end_of_the_body_ends_the_connection_after_it() {
    let mut site = Site::with(1, Faults::none().with_buffers(1 << 10, 1 << 10), Limits::default());
    let peer = site.connect();
    peer.send(&ask("POST /early", "Content-Length: 1000000\r\n\r\n"));
    peer.send(&vec![b'x'; 100_000]);
    let answer = site.rest(&peer);
    assert!(answer.starts_with("HTTP/1.1 409 Conflict\r\n"), "{answer}");
    assert!(answer.contains("Connection: close\r\n"), "{answer}");
    assert_eq!(peer.end(), Some(PeerEnd::Finished), "not a reset, which could overtake the answer");
    assert_eq!(site.end(), RequestEnd::Answered);
}

#[test]
fn a_drain_lets_requests_finish_and_takes_no_new_ones() {
    let mut site = Site::new();
    let [pending, known, idle] = [(); 3].map(|()| site.connect());
    pending.send(&ask("GET /timer", "\r\n"));
    known.send(&ask("POST /wait", BODY));
    idle.send(b"GET /no");
    site.settle();
    let peers = [&pending, &known];
    site.service.drain();
    site.settle();
    idle.send(b"w HTTP/1.1\r\nHost: localhost\r\n\r\n");
    site.settle();
    assert!(idle.recv().starts_with(b"HTTP/1.1 503 "));
    // This one answers when it hears of the drain, that one after three seconds.
    let answer = known.recv();
    assert!(answer.ends_with(b"many"), "{}", answer.escape_ascii());
    let mut answer = Vec::new();
    site.until(|_| {
        answer.extend(pending.recv());
        pending.is_closed()
    });
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", answer.escape_ascii());
    assert!(peers.iter().all(|peer| peer.end() == Some(PeerEnd::Finished)));
    assert_eq!(*site.notes.ends.borrow(), [RequestEnd::Answered; 2]);
    assert_eq!(site.notes.lines.borrow().iter().filter(|line| *line == "draining").count(), 2);
}

#[test]
fn a_request_that_outlives_the_drain_is_reset() {
    let mut site = Site::new();
    let peer = site.connect();
    peer.send(&ask("GET /begin", "\r\n"));
    site.settle();
    site.service.drain();
    let ends = site.notes.ends.clone();
    assert_eq!(
        site.until(|_| {
            let _ = peer.recv();
            !ends.borrow().is_empty()
        }),
        Duration::from_secs(5)
    );
    assert_eq!(site.end(), RequestEnd::Drained);
}

#[test]
fn a_service_that_is_dropped_tells_its_requests() {
    let mut site = Site::new();
    let peer = site.connect();
    peer.send(&ask("POST /wait", BODY));
    site.settle();
    let Site { service, notes, .. } = site;
    drop(service);
    assert_eq!(*notes.ends.borrow(), [RequestEnd::Dropped]);
}
