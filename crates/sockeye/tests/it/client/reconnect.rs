//! Staying connected: when the next attempt comes, under which id, and when none does.

use std::time::Duration;

use sockeye::client::Reconnect;
use sockeye::proto::close::Cause;
use sockeye::sim::Faults;
use sockeye::topics::TopicOptions;
use sockeye::{CloseCode, ConnId, Connect, Limits, messages};
use sockeye_testing::client::{Bench, MILLI, NAME, SECOND, Say, Server, frame, ip, to};

/// Waits that chance has no part in.
fn policy() -> Reconnect {
    Reconnect::new().jitter(0.0)
}

fn kept(policy: Reconnect) -> Connect {
    to("ws://10.0.0.1/").reconnect(policy).unwrap()
}

/// Until this attempt is over; the wait before the next, and its id.
fn next(bench: &mut Bench, id: ConnId) -> Option<(Duration, ConnId)> {
    bench.until(|bench| bench.notes.is_over(id));
    bench.notes.retry(id).map(|retry| (retry.after, retry.id))
}

#[test]
fn waits_grow_with_each_failure_up_to_the_cap() {
    let mut bench = Bench::new();
    let mut id = bench.connect(&kept(policy()));
    let mut waits = Vec::new();
    for _ in 0..9 {
        let (after, next) = next(&mut bench, id).unwrap();
        let begin = bench.time();
        assert_eq!(bench.host.open_handles(), 0);
        bench.until(|bench| bench.notes.is_over(next));
        assert_eq!(bench.time() - begin, after, "it comes when it was said");
        waits.push(after.as_millis());
        id = next;
    }
    assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
    let last = bench.notes.retry(id).unwrap().id;
    bench.service.control().connection(last).unwrap().close(CloseCode::NORMAL);
    bench.turn();
    assert_eq!(bench.why(last), "Resolve: cancelled");
    assert_eq!(bench.notes.retry(last), None);
    bench.finish();
}

#[test]
fn waits_vary_within_their_range() {
    let mut waits = Vec::new();
    for seed in 0..100 {
        let mut bench = Bench::with(seed, Faults::none(), Limits::default());
        let id = bench.connect(&kept(Reconnect::new()));
        let (after, id) = next(&mut bench, id).unwrap();
        assert!(after > 250 * MILLI && after <= 500 * MILLI, "{after:?}");
        waits.push(after);
        let (after, _) = next(&mut bench, id).unwrap();
        assert!(after > 500 * MILLI && after <= SECOND, "{after:?}");
        bench.drop_all();
    }
    waits.sort();
    waits.dedup();
    assert!(waits.len() > 90, "{} different waits", waits.len());
}

/// "How many attempts in a row may fail before it is given up, the first one included."
#[test]
fn attempts_are_bounded() {
    for bound in 1..5 {
        let mut bench = Bench::new();
        let mut id = bench.connect(&kept(policy().attempts(Some(bound))));
        while let Some((_, next)) = next(&mut bench, id) {
            id = next;
        }
        assert_eq!(bench.host.calls().connect, u64::from(bound));
        bench.finish();
    }
}

#[test]
fn a_connection_that_lasted_ends_the_row_of_failures_and_one_that_did_not_counts_as_one() {
    let mut bench = Bench::new();
    let mut id = bench.connect(&kept(policy()));
    for _ in 0..3 {
        id = next(&mut bench, id).unwrap().1;
    }
    // The fourth stands, and is lost before it counts as stable.
    let listener = bench.listen("10.0.0.1:80");
    let mut server = bench.asked(&listener);
    server.open("");
    bench.until(|bench| bench.notes.is_open(id));
    let mut limit = 59 * SECOND;
    let mut waits = Vec::new();
    for _ in 0..2 {
        while limit > Duration::ZERO {
            // Signs of life, so that it does not end of silence.
            server.send(frame(0x8A, b""));
            bench.pass(SECOND.min(limit));
            limit = limit.saturating_sub(SECOND);
        }
        server.peer.reset();
        let (after, next) = next(&mut bench, id).unwrap();
        waits.push(after.as_millis());
        id = next;
        server = bench.asked(&listener);
        server.open("");
        bench.until(|bench| bench.notes.is_open(id));
        limit = 60 * SECOND;
    }
    assert_eq!(waits, [4000, 500]);
    bench.drop_all();
}

/// A server that accepts and ends at once is waited for like one that does not accept.
#[test]
fn a_server_that_only_accepts_is_waited_for_longer_and_longer() {
    let mut bench = Bench::new();
    let listener = bench.listen("10.0.0.1:80");
    let mut id = bench.connect(&kept(policy().attempts(Some(4))));
    let mut waits = Vec::new();
    loop {
        let mut server = bench.asked(&listener);
        server.open("");
        bench.until(|bench| bench.notes.is_open(id));
        drop(server);
        let Some((after, next)) = next(&mut bench, id) else { break };
        waits.push(after.as_millis());
        id = next;
    }
    assert_eq!(waits, [500, 1000, 2000]);
    bench.finish();
}

/// How an open connection may end, and whether another attempt follows.
#[test]
fn whether_another_attempt_follows_an_end() {
    type Ending = fn(&mut Bench, ConnId, &mut Server);
    let endings: [(&str, bool, Ending); 9] = [
        ("reset", true, |_, _, server| server.peer.reset()),
        ("end of TCP", true, |_, _, server| server.peer.shutdown()),
        ("closed by the server", true, |_, _, server| {
            server.send(frame(0x88, &1001_u16.to_be_bytes()));
            server.peer.shutdown();
        }),
        ("silence", true, |_, _, _| ()),
        ("a broken rule", true, |_, _, server| server.send([0xFF, 0xFF])),
        ("closed by us", false, |bench, id, server| {
            bench.service.control().connection(id).unwrap().close(CloseCode::NORMAL);
            server.send(frame(0x88, &1000_u16.to_be_bytes()));
            server.peer.shutdown();
        }),
        ("closed by us, no answer", false, |bench, id, _| {
            bench.service.control().connection(id).unwrap().close(CloseCode::NORMAL);
        }),
        ("closed by us, then reset", false, |bench, id, server| {
            bench.service.control().connection(id).unwrap().close(CloseCode::NORMAL);
            server.peer.reset();
        }),
        ("closed by us, then a broken rule", false, |bench, id, server| {
            bench.service.control().connection(id).unwrap().close(CloseCode::NORMAL);
            server.send([0xFF, 0xFF]);
        }),
    ];
    for (name, follows, end) in endings {
        let mut bench = Bench::new();
        let listener = bench.listen("10.0.0.1:80");
        let (id, mut server) = bench.open(&kept(policy()), &listener);
        end(&mut bench, id, &mut server);
        assert_eq!(next(&mut bench, id).is_some(), follows, "{name}");
        bench.drop_all();
    }
}

/// A connection that reads nothing more, and for which one message of the topic `t` may wait.
fn subscribed_and_slow() -> (Bench, ConnId, Server) {
    let mut bench = Bench::with(1, Faults::none().with_buffers(500, 500), Limits::default());
    let listener = bench.listen("10.0.0.1:80");
    let (id, server) = bench.open(&kept(policy()), &listener);
    server.peer.set_window(0);
    let mut control = bench.service.control();
    control.connection(id).unwrap().push("x".repeat(3000)).unwrap();
    assert_eq!(control.connection(id).unwrap().subscribe("t"), Ok(true));
    let options = TopicOptions::default().with_waiting_messages(1);
    control.protocol_named(NAME).unwrap().topic("t").set_options(options).unwrap();
    bench.turn();
    (bench, id, server)
}

/// How many connections that closes.
fn publish(bench: &mut Bench) -> u64 {
    bench.service.control().protocol_named(NAME).unwrap().topic("t").publish("x").closed
}

/// The loop has ended it, and not the program.
#[test]
fn another_attempt_follows_when_a_topic_was_read_too_slowly() {
    let (mut bench, id, server) = subscribed_and_slow();
    assert_eq!([publish(&mut bench), publish(&mut bench)], [0, 1]);
    assert!(next(&mut bench, id).is_some());
    let sent = bench.notes.closed(id).unwrap().0.sent;
    assert_eq!(sent.and_then(|sent| sent.code()), Some(CloseCode::TRY_AGAIN));
    drop(server);
    bench.drop_all();
}

#[test]
fn no_other_attempt_follows_when_the_program_was_faster_than_the_topic() {
    let (mut bench, id, server) = subscribed_and_slow();
    publish(&mut bench);
    bench.service.control().connection(id).unwrap().close(CloseCode::NORMAL);
    publish(&mut bench);
    assert_eq!(next(&mut bench, id), None);
    drop(server);
    bench.drop_all();
}

#[test]
fn another_attempt_follows_when_a_slow_reader_then_breaks_a_rule() {
    let (mut bench, id, server) = subscribed_and_slow();
    assert_eq!([publish(&mut bench), publish(&mut bench)], [0, 1]);
    bench.turn();
    server.send([0xFF, 0xFF]);
    assert!(next(&mut bench, id).is_some());
    assert!(matches!(bench.notes.closed(id).unwrap().0.cause, Cause::Violation(_)));
    drop(server);
    bench.drop_all();
}

/// What is held for it still may be needed for others.
#[test]
fn no_other_attempt_follows_when_the_program_closed_what_is_shed() {
    let mut limits = Limits::default();
    limits.total_bytes = Some(1 << 20);
    let mut bench = Bench::with(1, Faults::none().with_buffers(500, 500), limits);
    let listener = bench.listen("10.0.0.1:80");
    let [(closed, one), (shed, other)] = [(); 2].map(|()| bench.open(&kept(policy()), &listener));
    for (id, server, count) in [(closed, &one, 7), (shed, &other, 6)] {
        server.peer.set_window(0);
        for _ in 0..count {
            bench.service.control().connection(id).unwrap().push(vec![0; 100_000]).unwrap();
            bench.turn();
        }
        if id == closed {
            bench.service.control().connection(id).unwrap().close(CloseCode::NORMAL);
            bench.turn();
        }
    }
    bench.until(|bench| bench.notes.closed(closed).is_some());
    assert_eq!(bench.notes.closed(closed).unwrap().0.cause, Cause::Shed);
    assert_eq!(next(&mut bench, closed), None);
    drop((one, other));
    bench.drop_all();
}

/// The peer is told of it, so that a Close frame has been sent, which looks like an end by the program.
#[test]
fn another_attempt_follows_when_too_much_was_held() {
    let mut limits = Limits::default();
    limits.total_bytes = Some(1 << 20);
    let whole = messages::on("whole", |_, _| Ok(()));
    let mut bench = Bench::described(|builder| builder.limits(limits).protocol(whole));
    let listener = bench.listen("10.0.0.1:80");
    let connect = kept(policy());
    bench.service.control().protocol_named("whole").unwrap().connect(connect);
    let mut server = bench.asked(&listener);
    server.open("");
    let part = vec![0; 1 << 20];
    server.send([&[0x02, 127][..], &(1_u64 << 20).to_be_bytes(), &part].concat());
    server.send([&[0x00, 127][..], &(1_u64 << 20).to_be_bytes(), &part].concat());
    bench.until(|bench| bench.service.statistics().closes.shed == 1);
    bench.asked(&listener);
    server.pump();
    assert_eq!(server.closes(), [&1013_u16.to_be_bytes()], "it was told");
    bench.drop_all();
}

#[test]
fn what_will_not_pass_is_not_tried_again() {
    for (answer, follows) in [
        ("HTTP/1.1 401 x\r\nContent-Length: 0\r\n\r\n", false),
        ("HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n", false),
        ("HTTP/1.1 200 x\r\nContent-Length: 0\r\n\r\n", false),
        ("HTTP/1.1 302 x\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", false),
        ("HTTP/1.1 101 x\r\n\r\n", false),
        ("HTTP/1.1 429 x\r\nContent-Length: 0\r\n\r\n", true),
        ("HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n", true),
    ] {
        let mut bench = Bench::new();
        let listener = bench.listen("10.0.0.1:80");
        let id = bench.connect(&kept(policy()));
        let server = bench.asked(&listener);
        server.send(answer);
        assert_eq!(next(&mut bench, id).is_some(), follows, "{answer}");
        bench.drop_all();
    }
}

/// RFC 9110 section 10.2.3.
#[test]
fn a_server_that_asks_to_be_left_alone_is() {
    for (fields, waits) in [
        ("503 x\r\nRetry-After: 40", [40_000, 40_000]),
        ("429 x\r\nRetry-After: 2", [2000, 2000]),
        ("503 x\r\nRetry-After: 4000", [100_000, 100_000]),
        (
            "503 x\r\nRetry-After: Sun, 06 Nov 1994 08:49:57 GMT\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT",
            [20_000, 20_000],
        ),
        ("503 x\r\nRetry-After: whenever", [500, 1000]),
        ("500 x\r\nRetry-After: 40", [500, 1000]),
    ] {
        let mut bench = Bench::new();
        let listener = bench.listen("10.0.0.1:80");
        let mut id = bench.connect(&kept(policy().max_retry_after(100 * SECOND)));
        for wait in waits {
            bench.asked(&listener).send(format!("HTTP/1.1 {fields}\r\nContent-Length: 0\r\n\r\n"));
            let (after, next) = next(&mut bench, id).unwrap();
            assert_eq!(after.as_millis(), wait, "{fields}");
            let begin = bench.time();
            bench.until(|bench| bench.host.open_handles() > 0);
            assert_eq!(bench.time() - begin, after, "it comes when it was said");
            id = next;
        }
        bench.drop_all();
    }
}

#[test]
fn stop_reconnecting_has_no_other_attempt_follow() {
    for when in ["open", "closed"] {
        let mut bench = Bench::new();
        let listener = bench.listen("10.0.0.1:80");
        if when == "open" {
            *bench.notes.in_open.borrow_mut() = Some(Box::new(|cx| cx.stop_reconnecting()));
        } else {
            *bench.notes.in_closed.borrow_mut() = Some(Box::new(|cx, _| cx.stop_reconnecting()));
        }
        let (id, server) = bench.open(&kept(policy()), &listener);
        server.peer.reset();
        let retry = next(&mut bench, id);
        assert_eq!(retry, None, "{when}");
        bench.pass(60 * SECOND);
        assert_eq!(bench.host.calls().connect, 1, "{when}");
        bench.finish();
    }
}

/// The callback that is told of the next attempt may call it off, and so may anybody until it is over.
#[test]
fn the_next_attempt_is_called_off_by_its_id() {
    let mut bench = Bench::new();
    *bench.notes.in_failed.borrow_mut() = Some(Box::new(|own, _, failure| {
        if let Some(retry) = failure.retry {
            own.connection(retry.id).unwrap().close(CloseCode::NORMAL);
        }
    }));
    let id = bench.connect(&kept(policy()));
    let (_, next_id) = next(&mut bench, id).unwrap();
    bench.until(|bench| bench.notes.is_over(next_id));
    assert_eq!(bench.why(next_id), "Resolve: cancelled");
    assert_eq!(bench.time(), Duration::ZERO);
    bench.finish();
    for wait in [Duration::ZERO, 499 * MILLI, 500 * MILLI] {
        let mut bench = Bench::new();
        bench.network.silence(&ip("10.0.0.1:80"));
        let connect = kept(policy()).timeout(SECOND).unwrap();
        let id = bench.connect(&connect);
        let (_, id) = next(&mut bench, id).unwrap();
        bench.pass(wait);
        bench.service.control().connection(id).unwrap().close(CloseCode::NORMAL);
        bench.turn();
        assert!(bench.why(id).ends_with("cancelled"));
        bench.finish();
    }
}

/// An attempt that follows at once does not find its predecessor in its place.
#[test]
fn a_limit_of_one_is_enough_for_one_that_is_kept_up() {
    let mut limits = Limits::default();
    limits.connections = Some(1);
    let mut bench = Bench::with(1, Faults::none(), limits);
    let listener = bench.listen("10.0.0.1:80");
    let at_once = policy().initial(Duration::from_millis(10)).attempts(Some(3));
    let mut id = bench.connect(&kept(at_once));
    for round in 0..5 {
        let mut server = bench.asked(&listener);
        server.open("");
        bench.until(|bench| bench.notes.is_open(id));
        // Stable.
        bench.say(id, Say::Ping(Vec::new()));
        for _ in 0..60 {
            server.send(frame(0x8A, b""));
            bench.pass(SECOND);
        }
        server.peer.reset();
        id = next(&mut bench, id).unwrap_or_else(|| panic!("round {round}")).1;
    }
    bench.drop_all();
}

#[test]
fn an_attempt_waits_beside_all_else() {
    let mut bench = Bench::new();
    let id = bench.connect(&kept(policy()));
    let (_, _) = next(&mut bench, id).unwrap();
    assert_eq!(bench.service.connections(), 1, "it counts");
    bench.service.drain();
    bench.until(|bench| bench.drained);
    bench.drop_all();
}
