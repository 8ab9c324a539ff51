//! Reading and writing.

use std::time::Duration;

use sockeye::error::ErrorKind;
use sockeye::protocol::UnknownProtocol;
use sockeye::raw::EndpointHandle;
use sockeye::sim::Faults;
use sockeye::{Builder, Limits, Service, messages};
use sockeye_testing::raw::{Bench, NAME, Note};

use super::failures_logged::Silent;

const TEXT: &[u8] = b"the quick brown fox jumps over the lazy dog, twice.\n";

#[test]
fn what_comes_is_delivered_wherever_it_is_cut() {
    let mut bench = Bench::new();
    for (number, cut) in (0..TEXT.len()).enumerate() {
        let peer = bench.connect();
        let (first, second) = TEXT.split_at(cut);
        peer.send(first);
        bench.settle();
        peer.send(second);
        let mut back = Vec::new();
        bench.until(|_| {
            back.extend(peer.recv());
            back.len() == TEXT.len()
        });
        assert_eq!((back.as_slice(), bench.story(number).received.as_slice()), (TEXT, TEXT));
        assert_eq!(bench.story(number).pieces.len(), if cut == 0 { 1 } else { 2 });
    }
    bench.finish();
}

#[test]
fn one_byte_at_a_time_each_way() {
    let mut bench = Bench::built(Faults::none().with_segment(1).with_buffers(1, 1), 1, |builder| builder);
    let peer = bench.connect();
    peer.send(TEXT);
    let mut back = Vec::new();
    bench.until(|_| {
        back.extend(peer.recv());
        back.len() == TEXT.len()
    });
    assert_eq!(back, TEXT);
    drop(peer);
    bench.finish();
}

#[test]
fn the_permission_comes_back_while_the_peer_keeps_up_and_no_longer() {
    let mut bench = Bench::with(Faults::none().with_buffers(16 << 10, 16 << 10), Limits::default());
    let peer = bench.connect();
    peer.set_window(0);
    peer.send(b"B");
    bench.until(|bench| *bench.most.borrow() > 0);
    // The kernel's room, the low-water mark, and the one write that crossed it.
    assert!((64 << 10..=(64 + 16 + 8) << 10).contains(&*bench.most.borrow()), "{}", bench.most.borrow());
    peer.set_window(usize::MAX);
    let mut back = Vec::new();
    bench.until(|_| {
        back.extend(peer.recv());
        back.len() == 1 << 20
    });
    assert!(back.iter().all(|byte| *byte == b'b'));
    drop(peer);
    bench.finish();
}

#[test]
fn what_comes_while_reading_is_paused_waits_and_pushes_back() {
    let mut bench = Bench::with(Faults::none().with_buffers(1 << 10, 1 << 10), Limits::default());
    let peer = bench.connect();
    peer.send(b"P");
    bench.until(|bench| bench.is_open(0) && bench.story(0).received == b"P");
    peer.send(&[b'x'; 10_000]);
    bench.settle();
    assert_eq!(bench.story(0).received, b"P");
    assert!(peer.unsent() > 0);
    let id = bench.id(0);
    bench.service.control().connection(id).unwrap().resume_reading();
    bench.until(|bench| bench.story(0).received.len() == 10_001);
    drop(peer);
    bench.finish();
}

#[test]
fn a_timer_resumes_reading() {
    let mut bench = Bench::new();
    let peer = bench.connect();
    peer.send(b"Q");
    bench.until(|bench| bench.is_open(0) && bench.story(0).received == b"Q");
    peer.send(b"later");
    let waited = bench.until(|bench| bench.story(0).received.ends_with(b"later"));
    assert_eq!((waited, bench.story(0).notes.clone()), (Duration::from_secs(1), vec![Note::Open, Note::Timer]));
    drop(peer);
    bench.finish();
}

#[test]
fn a_share_of_the_turn_is_not_exceeded_by_bytes_or_callbacks() {
    let mut limits = Limits::default();
    (limits.turn_bytes, limits.turn_frames) = (1000, 4);
    let mut bench = Bench::with(Faults::none(), limits);
    let peer = bench.connect();
    peer.send(&[b'x'; 5500]);
    // It is accepted in the first turn, and read from in the next ones.
    let counts: Vec<_> = (0..8)
        .map(|_| {
            bench.turn();
            bench.story(0).received.len()
        })
        .collect();
    assert_eq!(counts, [0, 1000, 2000, 3000, 4000, 5000, 5500, 5500]);
    drop(peer);
    bench.finish();
}

#[test]
fn bytes_and_ends_are_counted() {
    let mut bench = Bench::new();
    let peer = bench.connect();
    peer.send(b"hello");
    bench.until(|_| peer.recv() == b"hello");
    let statistics = bench.service.statistics().clone();
    assert_eq!((statistics.received.bytes, statistics.sent.bytes), (5, 5));
    assert_eq!((statistics.connections.accepted, statistics.connections_now, statistics.websockets_now), (1, 1, 0));
    peer.shutdown();
    bench.until(|bench| bench.service.connections() == 0);
    let statistics = bench.service.statistics();
    assert_eq!((statistics.connections.closed, statistics.raw_closes.peer), (1, 1));
    assert!(statistics.to_string().contains("raw connections closed by cause: peer 1"), "{statistics}");
    assert!(statistics.prometheus().contains("sockeye_raw_closes_total{cause=\"peer\"} 1"));
    drop(peer);
    bench.finish();
}

#[test]
fn a_system_without_descriptors_says_so() {
    let mut bench = Bench::new();
    let (read, _write) = rustix::pipe::pipe().unwrap();
    let id = bench.service.control().endpoint_named(NAME).unwrap().adopt(read);
    bench.until(|bench| !bench.log.borrow().is_empty());
    assert_eq!(bench.id(0), id);
    let text = "this system takes no descriptors but those of its Network";
    assert_eq!(bench.story(0).notes, [Note::Failed(text.to_owned())]);
    let (read, _write) = rustix::pipe::pipe().unwrap();
    assert_eq!(bench.service.control().serve(read).unwrap_err().to_string(), text);
    bench.finish();
}

#[test]
fn a_simulated_descriptor_is_adopted_once() {
    let mut bench = Bench::new();
    let (fd, peer) = bench.network.descriptor();
    peer.send(b"early");
    let id = bench.service.control().endpoint_named(NAME).unwrap().adopt(fd);
    let mut back = Vec::new();
    bench.until(|_| {
        back.extend(peer.recv());
        back == b"early"
    });
    assert_eq!((bench.id(0), bench.service.statistics().connections.adopted), (id, 1));
    peer.shutdown();
    bench.until(|_| peer.is_closed());
    drop(peer);
    bench.finish();
}

#[test]
fn an_endpoint_that_is_of_another_service_or_kind_is_named() {
    let refused = |builder: Builder, handle: EndpointHandle<Silent>| {
        let error = builder.listen_raw("127.0.0.1:0", handle).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        error.to_string()
    };
    let mut builder = Service::builder().protocol(messages::echo("echo"));
    // Its type is a Raw, too.
    let watcher = builder.add_watcher(Silent("watch"));
    let text =
        "listen_raw: \"watch\" is a Watcher, which accepts from a listener that it adopts; only a Raw can be served";
    assert_eq!(refused(builder, watcher), text);
    let foreign = Service::builder().add_raw(Silent("raw"));
    let text = "listen_raw: the handle is of another service; use that of Builder::add_raw";
    assert_eq!(refused(Service::builder().raw(Silent("raw")), foreign), text);
    let twice = Service::builder().raw(Silent("twice")).watcher(Silent("twice")).build().unwrap_err();
    assert_eq!(twice.to_string(), "two endpoints have the name \"twice\"");
    let no_token = Service::builder().raw(Silent("a name")).build().unwrap_err();
    let text = "the endpoint name \"a name\" is not a token (RFC 9110 section 5.6.2)";
    assert_eq!(no_token.to_string(), text);
    let mut bench = Bench::new();
    let connect = sockeye::Connect::new("ws://127.0.0.1/").unwrap();
    let unknown: UnknownProtocol =
        bench.service.control().protocol_named(NAME).map(|mut protocol| protocol.connect(connect)).unwrap_err();
    assert_eq!(unknown.to_string(), "the service has no WebSocket protocol of that name (Builder::protocol)");
    bench.finish();
}
