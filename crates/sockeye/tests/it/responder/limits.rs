//! Limits and deadlines of requests, on the virtual clock: exact.

use std::time::Duration;

use sockeye::Limits;
use sockeye::proto::http::body::BodyError;
use sockeye::responder::{RequestEnd, RequestTimeout};
use sockeye::sim::{Faults, PeerEnd};

use super::bench::{Site, ask};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_body_must_make_progress() {
    let mut site = Site::new();
    let peer = site.connect();
    peer.send(&ask("POST /end", "Content-Length: 100000\r\n\r\n"));
    // As fast as it must be, ..
    for _ in 0..20 {
        site.settle();
        assert!(site.notes.ends.borrow().is_empty());
        peer.send(&[b'x'; 4096]);
        site.settle();
        site.network.advance(10 * SECOND);
    }
    // .. and a byte too slow.
    peer.send(&[b'x'; 4095]);
    let answer = site.rest(&peer);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(site.end(), RequestEnd::Timeout(RequestTimeout::SlowSender));
    assert_eq!(site.service.statistics().limits.slow_sender_bytes, 1);
}

#[test]
fn a_body_that_the_program_does_not_read_is_not_slow() {
    let mut site = Site::new();
    let peer = site.connect();
    peer.send(&ask("POST /pause", "Content-Length: 2\r\nConnection: close\r\n\r\nh"));
    let lines = site.notes.lines.clone();
    assert_eq!(site.until(|_| lines.borrow().iter().any(|line| line == "timer")), 30 * SECOND);
    assert!(site.notes.ends.borrow().is_empty());
    peer.send(b"i");
    assert!(site.rest(&peer).ends_with("hi"));
}

#[test]
fn a_reader_must_make_progress() {
    for path in ["fill", "stream"] {
        let mut site = Site::new();
        let peer = site.connect();
        peer.set_window(1000);
        peer.send(&ask(&format!("POST /{path}"), "\r\n"));
        // As fast as it must be, ..
        for _ in 0..5 {
            site.settle();
            for _ in 0..5 {
                let _ = peer.recv_at_most(1000);
                site.settle();
            }
            assert!(site.notes.ends.borrow().is_empty(), "{path}");
            site.network.advance(10 * SECOND);
        }
        // .. and not at all.
        assert_eq!(site.end(), RequestEnd::Timeout(RequestTimeout::SlowReader), "{path}");
        site.settle();
        assert_eq!(peer.end(), Some(PeerEnd::Reset));
        assert_eq!(site.service.statistics().limits.slow_reader_bytes, 1);
    }
}

#[test]
fn an_answer_has_as_long_as_it_is_given() {
    let mut site = Site::new();
    let peer = site.connect();
    peer.send(&ask("GET /patient", "\r\n"));
    assert_eq!(site.until(|_| !peer.recv().is_empty()), 5 * SECOND);
    assert_eq!(site.end(), RequestEnd::Timeout(RequestTimeout::Answer));
    assert_eq!(site.service.statistics().responses[&503], 1);

    // Without a limit it waits as long as it takes.
    let mut site = Site::new();
    let peer = site.connect();
    peer.send(&ask("POST /wait", "Content-Length: 1\r\n\r\nx"));
    site.settle();
    site.network.advance(3600 * SECOND);
    site.settle();
    let id = site.last_id();
    site.service.control().request(id).unwrap().request_writable();
    site.settle();
    assert!(peer.recv().ends_with(b"x"));

    // A limit of the service is for all.
    let mut limits = Limits::default();
    limits.answer_timeout = Some(SECOND);
    let mut site = Site::with(1, Faults::none(), limits);
    let peer = site.connect();
    peer.send(&ask("GET /wait", "\r\n"));
    assert_eq!(site.until(|_| !peer.recv().is_empty()), SECOND);
}

#[test]
fn a_body_that_is_too_large_is_refused() {
    for (what, rest) in [
        ("declared", "Content-Length: 1048577\r\n\r\n".to_owned()),
        ("in a chunk", "Transfer-Encoding: chunked\r\n\r\n100001\r\n".to_owned()),
        (
            "in many",
            format!("Transfer-Encoding: chunked\r\n\r\n{}", format!("8000\r\n{}\r\n", "x".repeat(0x8000)).repeat(33)),
        ),
    ] {
        let mut site = Site::new();
        let answer = site.answer(&ask("POST /drop", &rest));
        assert!(answer.starts_with("HTTP/1.1 413 "), "{what}: {answer}");
        assert_eq!(site.end(), RequestEnd::BadBody(BodyError::TooLarge), "{what}");
        assert_eq!(site.service.statistics().limits.body_bytes, 1);
    }
}

#[test]
fn a_responder_may_allow_a_larger_body() {
    let mut site = Site::new();
    let peer = site.connect();
    let body = vec![b'x'; 3 << 20];
    peer.send(&ask("POST /large", &format!("Content-Length: {}\r\nConnection: close\r\n\r\n", body.len())));
    peer.send(&body);
    assert!(site.rest(&peer).starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(*site.notes.received.borrow(), body.len());
    let answer = Site::new().answer(&ask("POST /large", "Content-Length: 1073741825\r\n\r\n"));
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[test]
fn a_paused_body_stalls_its_sender() {
    let mut site = Site::new();
    let peer = site.connect();
    peer.send(&ask("POST /pause", "Content-Length: 1000000\r\n\r\n"));
    site.settle();
    peer.send(&vec![b'x'; 1_000_000]);
    site.settle();
    assert_eq!(*site.notes.received.borrow(), 0);
    assert!(peer.unsent() > 500_000, "{}", peer.unsent());
    let received = site.notes.received.clone();
    site.until(|_| *received.borrow() == 1_000_000);
}

/// One byte a chunk: the callbacks of one connection have their share of a turn, and no more.
#[test]
fn many_small_chunks_take_many_turns() {
    let mut site = Site::new();
    let [busy, other] = [(); 2].map(|()| site.connect());
    busy.send(&ask("POST /drop", &format!("Transfer-Encoding: chunked\r\n\r\n{}", "1\r\nx\r\n".repeat(40_000))));
    other.send(&ask("GET /now", "Connection: close\r\n\r\n"));
    site.until(|_| other.is_closed());
    assert!(*site.notes.received.borrow() < 10_000, "{}", site.notes.received.borrow());
    let received = site.notes.received.clone();
    site.until(|_| *received.borrow() == 40_000);
}
