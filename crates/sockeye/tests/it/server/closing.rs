//! The ends of connections, in good order and not.

use std::time::Duration;

use sockeye::proto::close::{Cause, Initiator};
use sockeye::sim::{Faults, Network, PeerEnd, Turn};
use sockeye::{Close, CloseCode, Limits, Service};
use sockeye_proto::close::Timeout;
use sockeye_testing::pair::{NAME, Pair, Script};
use sockeye_testing::server::{Bench, Client, echo, machine};

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

/// What the server of a pair was called for, without the opening.
fn server_log(mut pair: Pair) -> Vec<String> {
    pair.until(|pair| pair.server.has("closed") && pair.client.has("closed"));
    pair.server.log().split_off(1)
}

fn pair(server: Script, client: Script) -> Pair {
    Pair::new(Faults::none(), (server, Limits::default()), (client, Limits::default()), false)
}

#[test]
fn the_peers_close_is_told_once_while_something_can_still_be_sent() {
    let server = Script::with(|_, session, what| {
        match what {
            "receive early" => session.queue.push("answer".to_owned()),
            _ if what.starts_with("closing") => session.queue.push("last".to_owned()),
            _ => {}
        }
        Ok(())
    });
    let client = Script::with(|cx, session, what| {
        match what {
            "open" => session.queue.push("early".to_owned()),
            "writable" => cx.close(Close::with_reason(CloseCode::new(4001).unwrap(), "enough").unwrap()),
            _ => {}
        }
        Ok(())
    });
    let mut pair = pair(server, client);
    pair.until(|pair| pair.server.has("closed") && pair.client.has("closed"));
    // The answer to what came in the same read, and the last words, in one last call.
    let server = pair.server.log().split_off(1);
    assert_eq!(
        server,
        ["receive early", "closing Some(4001) enough", "writable", "closed Handshake Peer [Some(4001), Some(4001)]"]
    );
    // Its own close is not told, and after it nothing is received.
    let client = pair.client.log();
    assert_eq!(client, ["open", "writable", "closed Handshake Local [Some(4001), Some(4001)]"]);
}

#[test]
fn without_a_request_nothing_comes_between_closing_and_the_end() {
    let client = Script::with(|_, _, what| if what == "open" { Err(Close::empty()) } else { Ok(()) });
    let log = server_log(pair(Script::new(), client));
    assert_eq!(log, ["closing None ", "closed Handshake Peer [None, None]"]);
}

#[test]
fn closes_that_cross_are_told_of_once_if_ours_has_not_left() {
    // The server closes in the callback before the one for the peer's Close frame: ours has not left.
    let closes = |on: &'static str, code: CloseCode| {
        Script::with(move |cx, session, what| {
            if what == "open" && on != "open" {
                session.queue.push("x".to_owned());
            }
            if what == on {
                cx.close(code);
            }
            Ok(())
        })
    };
    let server = Script::with(|cx, _, what| {
        if what == "receive x" {
            cx.close(CloseCode::POLICY);
        }
        Ok(())
    });
    let log = server_log(pair(server, closes("writable", CloseCode::NORMAL)));
    assert_eq!(log, ["receive x", "closing Some(1000) ", "closed Handshake Local [Some(1008), Some(1000)]"]);
    // Both close in `open`. The server's has left when the client's arrives, which is then the answer to it. It comes to
    // the client with the answer to the handshake, before its own can leave.
    let mut pair = pair(closes("open", CloseCode::POLICY), closes("open", CloseCode::NORMAL));
    pair.until(|pair| pair.server.has("closed") && pair.client.has("closed"));
    assert_eq!(pair.server.log(), ["open", "closed Handshake Local [Some(1008), Some(1000)]"]);
    let client = pair.client.log();
    assert_eq!(client, ["open", "closing Some(1008) ", "closed Handshake Local [Some(1000), Some(1008)]"]);
}

#[test]
fn an_end_without_a_close_frame_is_no_closing() {
    for bytes in [&b"\xFF\xFF"[..], b"\x88\x81\0\0\0\0x", b""] {
        let script = Script::new();
        let log = script.log();
        let network = Network::new(1);
        let builder = Service::builder().protocol(script).listen("10.0.0.1:80");
        let mut service = builder.build_with(network.sys()).unwrap();
        let mut client = Client::connect(&network, &service.local_addresses()[0], 1).unwrap();
        client.handshake("/", NAME);
        network.run(|| {
            service.run_once(Some(Duration::ZERO)).unwrap();
            let was_open = client.is_open();
            client.pump(usize::MAX, network.now());
            if client.is_open() && !was_open {
                client.raw(bytes);
                client.shutdown();
            }
            if log.borrow().len() == 2 { Turn::Done } else { Turn::Sleep(service.next_deadline()) }
        });
        assert!(log.borrow()[1].1.starts_with("closed"), "{:?}", log.borrow());
    }
}
