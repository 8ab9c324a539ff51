//! How raw connections end.

use std::io::ErrorKind;
use std::time::Duration;

use sockeye::raw::RawClosed;
use sockeye::sim::{Faults, Peer, PeerEnd};
use sockeye::{CloseCode, ConnId, Limits};
use sockeye_testing::raw::{Bench, Note};

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.protocol_mut().close_timeout = Duration::from_secs(5);
    limits
}

#[test]
fn the_end_of_input_comes_once_and_behind_all_that_came_before() {
    let mut bench = Bench::new();
    let peer = bench.connect();
    peer.send(b"last words");
    peer.shutdown();
    bench.until(|bench| bench.closed(0).is_some());
    assert_eq!(bench.story(0).received, b"last words");
    assert_eq!(bench.story(0).notes, [Note::Open, Note::Ended, Note::Closed(RawClosed::Peer)]);
    // What was asked for before the end is written only by those who go on: a callback comes no more.
    bench.until(|_| peer.end() == Some(PeerEnd::Finished));
    drop(peer);
    bench.finish();
}

#[test]
fn who_goes_on_may_answer_a_peer_that_has_ended_its_side() {
    let mut bench = Bench::with(Faults::none().with_buffers(4 << 10, 4 << 10), limits());
    let peer = bench.connect();
    peer.send(b"HB");
    peer.shutdown();
    let mut back = Vec::new();
    bench.until(|_| {
        back.extend(peer.recv());
        peer.end() == Some(PeerEnd::Finished)
    });
    assert_eq!(back.len(), (1 << 20) + "after your end".len());
    assert!(back.ends_with(b"after your end"));
    assert_eq!(bench.closed(0), Some(RawClosed::Local));
    drop(peer);
    bench.finish();
}

#[test]
fn a_reset_is_told_with_its_reason() {
    let mut bench = Bench::new();
    let peer = bench.connect();
    bench.until(|bench| bench.is_open(0));
    peer.reset();
    bench.until(|bench| bench.closed(0).is_some());
    assert_eq!(bench.closed(0), Some(RawClosed::Broken(Some(ErrorKind::ConnectionReset))));
    bench.finish();
}

#[test]
fn an_end_of_our_own_delivers_the_last_words_though_the_peer_goes_on_sending() {
    for order in [b"BN".as_slice(), b"BC", b"BL"] {
        let mut bench = Bench::with(Faults::none().with_buffers(16 << 10, 16 << 10), limits());
        let peer = bench.connect();
        let wrote_all = order == b"BL";
        peer.send(order);
        let (mut back, mut more) = (Vec::new(), 100);
        bench.until(|_| {
            if more > 0 {
                more -= 1;
                peer.send(&[b'z'; 1000]);
            }
            back.extend(peer.recv_at_most(64 << 10));
            peer.is_closed() && (back.len() >= 1 << 20) == wrote_all
        });
        assert_eq!((peer.end(), bench.closed(0)), (Some(PeerEnd::Finished), Some(RawClosed::Local)), "{order:?}");
        drop(peer);
        bench.finish();
    }
}

/// A connection that has written more than its peer, who reads nothing yet, has taken.
fn with_output_stuck() -> (Bench, Peer, ConnId) {
    let mut bench = Bench::with(Faults::none().with_buffers(16 << 10, 16 << 10), limits());
    let peer = bench.connect();
    peer.set_window(0);
    peer.send(b"B");
    bench.until(|bench| *bench.most.borrow() > 0);
    let id = bench.id(0);
    (bench, peer, id)
}

#[test]
fn a_peer_that_reads_only_when_it_has_sent_everything_gets_the_last_words_too() {
    let (mut bench, peer, id) = with_output_stuck();
    bench.service.control().connection(id).unwrap().close(CloseCode::NORMAL);
    peer.send(&[b'z'; 1 << 20]);
    let mut back = Vec::new();
    bench.until(|_| {
        if peer.unsent() == 0 {
            peer.set_window(usize::MAX);
        }
        back.extend(peer.recv());
        peer.is_closed()
    });
    assert_eq!((bench.closed(0), peer.end()), (Some(RawClosed::Local), Some(PeerEnd::Finished)));
    assert_eq!(back.len(), *bench.most.borrow());
    drop(peer);
    bench.finish();
}

#[test]
fn an_end_whose_last_words_were_lost_is_told_as_broken() {
    let (mut bench, peer, id) = with_output_stuck();
    bench.service.control().connection(id).unwrap().close(CloseCode::NORMAL);
    bench.settle();
    peer.reset();
    bench.until(|bench| bench.closed(0).is_some());
    assert!(matches!(bench.closed(0), Some(RawClosed::Broken(_))), "{:?}", bench.closed(0));
    bench.finish();
}

#[test]
fn nothing_is_delivered_behind_an_end() {
    for order in [b'N', b'R', b'C'] {
        let mut bench = Bench::new();
        let peer = bench.connect();
        peer.send(&[b'a', order, b'c']);
        bench.settle();
        peer.send(b"def");
        bench.until(|bench| bench.closed(0).is_some());
        assert_eq!(bench.story(0).received, [b'a', order, b'c']);
        assert_eq!(bench.story(0).pieces.len(), 1);
        drop(peer);
        bench.finish();
    }
}

#[test]
fn a_reset_of_our_own_is_seen_as_one() {
    let mut bench = Bench::new();
    let peer = bench.connect();
    peer.send(b"R");
    bench.until(|bench| bench.closed(0).is_some());
    assert_eq!((peer.end(), bench.closed(0)), (Some(PeerEnd::Reset), Some(RawClosed::Reset)));
    drop(peer);
    bench.finish();
}

#[test]
fn a_peer_that_does_not_take_the_last_words_is_reset_in_the_end() {
    let (mut bench, peer, id) = with_output_stuck();
    bench.service.control().connection(id).unwrap().close(CloseCode::NORMAL);
    let waited = bench.until(|bench| bench.closed(0).is_some());
    assert_eq!((waited, bench.closed(0)), (Duration::from_secs(5), Some(RawClosed::Timeout)));
    assert_eq!(peer.end(), Some(PeerEnd::Reset));
    drop(peer);
    bench.finish();
}

#[test]
fn a_paused_connection_keeps_what_came_before_its_end() {
    let mut bench = Bench::new();
    let peer = bench.connect();
    peer.send(b"P");
    bench.until(|bench| bench.is_open(0) && bench.story(0).received == b"P");
    peer.send(b"rest");
    peer.shutdown();
    bench.settle();
    let steps = bench.service.statistics().work.steps;
    bench.settle();
    assert_eq!(bench.service.statistics().work.steps, steps, "it waits without a step");
    assert_eq!((bench.story(0).received.clone(), bench.closed(0)), (b"P".to_vec(), None));
    let id = bench.id(0);
    bench.service.control().connection(id).unwrap().resume_reading();
    bench.until(|bench| bench.closed(0).is_some());
    assert_eq!((bench.story(0).received.clone(), bench.closed(0)), (b"Prest".to_vec(), Some(RawClosed::Peer)));
    drop(peer);
    bench.finish();
}

#[test]
fn a_paused_connection_that_broke_waits_but_not_for_what_never_comes() {
    for (wants_to_write, ends) in [(false, false), (true, true)] {
        let mut bench = Bench::new();
        let peer = bench.connect();
        peer.send(b"P");
        bench.until(|bench| bench.is_open(0) && bench.story(0).received == b"P");
        bench.settle();
        peer.reset();
        bench.settle();
        assert_eq!(bench.closed(0), None);
        let id = bench.id(0);
        if wants_to_write {
            bench.service.control().connection(id).unwrap().request_writable();
            bench.settle();
        }
        assert_eq!(bench.closed(0).is_some(), ends);
        if !ends {
            bench.service.control().connection(id).unwrap().resume_reading();
            bench.until(|bench| bench.closed(0).is_some());
            assert_eq!(bench.closed(0), Some(RawClosed::Broken(Some(ErrorKind::ConnectionReset))));
        }
        bench.finish();
    }
}

#[test]
fn a_drain_ends_them_in_good_order_and_resets_the_stuck() {
    let mut bench = Bench::with(Faults::none().with_buffers(16 << 10, 16 << 10), limits());
    let (good, stuck) = (bench.connect(), bench.connect());
    stuck.set_window(0);
    good.send(b"hello");
    stuck.send(b"B");
    bench.until(|bench| *bench.most.borrow() > 5 && bench.story(1).pieces.len() + bench.story(0).pieces.len() == 2);
    bench.service.drain();
    let mut back = Vec::new();
    let waited = bench.until(|bench| {
        back.extend(good.recv());
        if good.is_closed() {
            good.shutdown();
        }
        bench.drained
    });
    assert_eq!(waited, Duration::from_secs(5));
    assert_eq!(
        (back.as_slice(), good.end(), stuck.end()),
        (b"hello".as_slice(), Some(PeerEnd::Finished), Some(PeerEnd::Reset))
    );
    let mut ends = [bench.closed(0).unwrap(), bench.closed(1).unwrap()];
    ends.sort_by_key(|ended| *ended == RawClosed::Timeout);
    assert_eq!(ends, [RawClosed::Local, RawClosed::Timeout]);
    drop((good, stuck));
    bench.finish();
}

#[test]
fn dropping_the_service_tells_them() {
    let mut bench = Bench::new();
    let peer = bench.connect();
    bench.until(|bench| bench.is_open(0));
    let (log, host) = (bench.log.clone(), bench.host.clone());
    drop(bench);
    assert_eq!(log.borrow()[0].1.notes, [Note::Open, Note::Closed(RawClosed::Dropped)]);
    assert_eq!(host.leaked_handles(), 0);
    drop(peer);
}
