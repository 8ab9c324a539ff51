//! The ends of connections, in good order and not.

use std::time::Duration;

use sockeye::proto::close::{Cause, Initiator};
use sockeye::sim::{Faults, PeerEnd};
use sockeye::{Close, CloseCode, Limits};
use sockeye_proto::close::Timeout;
use sockeye_testing::server::{Bench, echo, machine};

#[test]
fn a_close_is_answered_with_its_code_and_the_server_ends_tcp() {
    for code in [Some(1000), Some(1001), Some(3000), Some(4999), None] {
        let mut bench = Bench::new();
        let client = bench.open();
        let close = code.and_then(CloseCode::new).map_or_else(Close::empty, Close::new);
        let now = bench.network.now();
        bench.clients[client].close(close, now);
        let took = bench.until(|bench| bench.clients[client].end().is_some());
        assert_eq!(bench.clients[client].close_heard(), Some(code));
        assert_eq!(bench.clients[client].end(), Some(PeerEnd::Finished));
        assert_eq!(took, Duration::ZERO);
        let closed = bench.closed(client).unwrap();
        assert_eq!((closed.cause, closed.initiator), (Cause::Handshake, Initiator::Peer));
        assert_eq!(closed.code_seen(), code.unwrap_or(1005));
        bench.finish();
    }
}

#[test]
fn the_end_of_input_is_told_after_all_that_came_before_it() {
    // Data and end in one report (RDHUP with data), and in several.
    for faults in [Faults::none(), Faults::none().with_segment(3).with_latency(Duration::from_millis(1))] {
        for protocol in [machine::NAME, echo::NAME] {
            let mut bench = Bench::with(faults.clone(), Limits::default());
            let client = bench.open_as("plain", protocol);
            for number in 0..100 {
                bench.clients[client].text(&format!("message {number}"));
            }
            bench.clients[client].shutdown();
            bench.until(|bench| bench.closed(client).is_some());
            assert_eq!(bench.notes(client).received.len(), 100);
            assert_eq!(bench.closed(client).unwrap().cause, Cause::Eof);
            assert_eq!(bench.closed(client).unwrap().code_seen(), 1006);
            bench.finish();
        }
    }
}

#[test]
fn what_was_handed_over_still_leaves_after_the_end_of_input() {
    let mut bench = Bench::with(Faults::none().with_buffers(1000, 1000), Limits::default());
    let client = bench.open();
    bench.clients[client].peer.as_ref().unwrap().set_window(0);
    bench.clients[client].text("!big 50000");
    bench.pass(Duration::from_millis(10));
    bench.clients[client].shutdown();
    bench.until(|bench| bench.closed(client).is_some());
    bench.clients[client].peer.as_ref().unwrap().set_window(1 << 20);
    bench.until(|bench| bench.clients[client].end().is_some());
    assert_eq!(bench.replies(client), 1);
    assert_eq!(bench.clients[client].end(), Some(PeerEnd::Finished));
    bench.finish();
}

#[test]
fn a_peer_that_does_not_answer_a_close_is_gone_after_five_seconds() {
    for floods in [false, true] {
        let mut bench = Bench::new();
        let client = bench.open();
        bench.clients[client].answers = false;
        bench.clients[client].text("!close 1001");
        bench.until(|bench| bench.clients[client].close_heard().is_some());
        let begin = bench.time();
        if floods {
            let flood = b"\x82\xFE\x03\xE8\0\0\0\0".iter().copied().chain([0; 1000]).collect::<Vec<_>>().repeat(20_000);
            bench.clients[client].raw(&flood);
        }
        bench.until(|bench| bench.clients[client].end().is_some());
        assert_eq!(bench.time() - begin, Duration::from_secs(5));
        assert_eq!(bench.clients[client].end(), Some(PeerEnd::Reset));
        assert_eq!(bench.closed(client).unwrap().cause, Cause::Timeout(Timeout::Close));
        bench.finish();
    }
}

/// The output is full, so that the Close frame cannot even be sent.
#[test]
fn a_close_that_cannot_be_sent_ends_after_five_seconds() {
    for violates in [false, true] {
        let mut bench = Bench::with(Faults::none().with_buffers(1000, 1000), Limits::default());
        let client = bench.open();
        bench.clients[client].peer.as_ref().unwrap().set_window(0);
        bench.clients[client].text("!big 50000");
        if violates {
            bench.clients[client].raw(&[0xFF, 0xFF]);
        } else {
            bench.clients[client].text("!close 1001");
        }
        let took = bench.until(|bench| bench.service.connections() == 0);
        assert_eq!(took, Duration::from_secs(5));
        let cause = bench.closed(client).unwrap().cause;
        assert_eq!(matches!(cause, Cause::Violation(_)), violates, "{cause:?}");
        bench.finish();
    }
}

#[test]
fn closing_goes_on_while_reading_is_paused() {
    let mut bench = Bench::new();
    let (client, other) = (bench.open(), bench.open());
    bench.clients[client].text("!pause 60000");
    bench.pass(Duration::from_millis(1));
    bench.clients[client].text("what waits when the close comes is dropped");
    bench.clients[other].text(&format!("!kill {client}"));
    let took = bench.until(|bench| bench.clients[client].end().is_some());
    assert_eq!(bench.closed(client).unwrap().cause, Cause::Handshake);
    assert_eq!(took, Duration::ZERO);
    assert_eq!(bench.notes(client).received.len(), 1);
    bench.finish();
}

#[test]
fn nothing_is_delivered_to_a_connection_that_closes_in_open() {
    let mut bench = Bench::new();
    let number = bench.connect();
    let now = bench.network.now();
    let mut bytes = bench.clients[number].handshake_bytes(&format!("/{number}/close/4000"), machine::NAME);
    bytes.extend_from_slice(b"\x81\x82\0\0\0\0hi\x8A\x80\0\0\0\0");
    bench.clients[number].assume_open(now);
    bench.clients[number].raw(&bytes);
    bench.until(|bench| bench.clients[number].end().is_some());
    assert_eq!(bench.clients[number].close_heard(), Some(Some(4000)));
    assert!(bench.notes(number).received.is_empty(), "{:?}", bench.notes(number));
    assert_eq!(bench.closed(number).unwrap().cause, Cause::Handshake);
    bench.finish();
}

#[test]
fn a_reset_anywhere_ends_the_connection_at_once() {
    let mut bench = Bench::new();
    let head = bench.connect();
    let head = (head, bench.clients[head].handshake_bytes(&format!("/{head}/plain"), machine::NAME));
    // In the handshake: nobody hears of it.
    for cut in [0, 1, 50, head.1.len() - 1] {
        let number = bench.connect();
        bench.clients[number].raw(&head.1[..cut]);
        bench.pass(Duration::from_millis(1));
        bench.clients[number].reset();
        bench.until(|bench| bench.service.connections() == 1);
        assert_eq!(bench.notes(number).opened, 0);
    }
    // In a frame, in a closing handshake, while paused with unread input.
    let during: [&[&[u8]]; 4] = [
        &[b"\x81\x85\0\0\0\0he"],
        &[b"\x81\x8A\0\0\0\0!close 100"],
        &[b"\x81\x8B\0\0\0\0!close 1001"],
        &[b"\x81\x8B\0\0\0\0!pause 9999", b"\x81\x82\0\0\0\0hi"],
    ];
    for pieces in during {
        let number = bench.open();
        bench.clients[number].answers = false;
        for piece in pieces {
            bench.clients[number].raw(piece);
            bench.pass(Duration::from_millis(1));
        }
        bench.clients[number].reset();
        let took = bench.until(|bench| bench.closed(number).is_some());
        assert_eq!((took, bench.closed(number).unwrap().cause), (Duration::ZERO, Cause::Reset));
        assert_eq!(bench.closed(number).unwrap().code_seen(), 1006);
    }
    bench.finish();
}

#[test]
fn a_drain_tells_everybody_and_ends() {
    let mut bench = Bench::new();
    let (client, paused, silent) = (bench.open(), bench.open(), bench.open_echo());
    let half = bench.connect();
    bench.clients[half].raw(b"GET / HTTP/1.1\r\n");
    let idle = bench.connect();
    bench.clients[paused].text("!pause 60000");
    bench.clients[silent].answers = false;
    bench.pass(Duration::from_millis(1));
    let begin = bench.time();
    bench.service.drain();
    bench.until(|bench| bench.drained);
    for number in [client, paused, silent] {
        assert_eq!(bench.clients[number].close_heard(), Some(Some(1001)));
    }
    for (number, cause) in
        [(client, Cause::Handshake), (paused, Cause::Handshake), (silent, Cause::Timeout(Timeout::Close))]
    {
        assert_eq!(bench.closed(number).unwrap().cause, cause);
    }
    assert!(bench.clients[idle].end().is_some());
    assert_eq!(bench.time() - begin, Duration::from_secs(5));
    bench.finish();
}
