//! Keepalive, of both roles and in both kinds of loop: when which side is pinged, to the instant.

use std::time::Duration;

use sockeye::proto::close::{Cause, Timeout};
use sockeye::proto::conn::ControlPayload;
use sockeye::protocol::Keepalive;
use sockeye::sim::Faults;
use sockeye::{Close, CloseCode, Cx, Limits};
use sockeye_testing::pair::{Pair, Script, Session};
use sockeye_testing::server::{Bench, Heard};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn limits(ping_after: Option<Duration>, pong_within: Duration) -> Limits {
    let mut limits = Limits::default();
    limits.protocol_mut().ping_after = ping_after;
    limits.protocol_mut().pong_within = pong_within;
    limits
}

/// Neither side pings by itself.
fn silent() -> (Script, Limits) {
    (Script::new(), limits(None, SECOND))
}

/// All ways to have a connection of which one side pings: a name, whether it is the server, and whether the loop is
/// outside.
const WAYS: [(bool, bool); 4] = [(true, false), (false, false), (true, true), (false, true)];

fn pair(way: (bool, bool), pinging: (Script, Limits)) -> Pair {
    let (server, client) = if way.0 { (pinging, silent()) } else { (silent(), pinging) };
    let mut pair = Pair::new(Faults::none(), server, client, way.1);
    pair.until(|pair| pair.server.has("open") && pair.client.has("open"));
    pair
}

#[test]
fn pings_come_when_they_are_due_whatever_the_order_of_the_limits() {
    for way in WAYS {
        for [ping_after, pong_within, handshake] in orders([300 * MILLI, 1500 * MILLI, 10 * SECOND]) {
            let mut limits = limits(Some(ping_after), pong_within);
            limits.handshake_timeout = handshake;
            let mut pair = pair(way, (Script::new(), limits));
            let open = if way.0 { &pair.server } else { &pair.client }.times("open")[0];
            pair.until(|pair| if way.0 { &pair.client } else { &pair.server }.times("ping").len() == 4);
            let pinged = if way.0 { &pair.client } else { &pair.server };
            let expected: Vec<_> = (1..=4).map(|round| open + round * ping_after).collect();
            assert_eq!(pinged.times("ping"), expected, "{way:?} {ping_after:?} {pong_within:?} {handshake:?}");
        }
    }
}

/// What the pinging side does in its callbacks, with the default limits: 25 s and 20 s.
fn scripted(
    way: (bool, bool),
    hook: impl FnMut(&mut Cx<'_>, &mut Session, &str) -> Result<(), Close> + 'static,
) -> Pair {
    pair(way, (Script::with(hook), Limits::default()))
}

/// When the other side was pinged, after the opening; and the same of what else it was called for.
fn after_open(pair: &Pair, way: (bool, bool), what: &str) -> Vec<Duration> {
    let (pinging, pinged) = if way.0 { (&pair.server, &pair.client) } else { (&pair.client, &pair.server) };
    let open = pinging.times("open")[0];
    pinged.times(what).into_iter().map(|at| at.saturating_duration_since(open)).collect()
}

fn keepalive(ping_after: Duration, pong_within: Duration) -> Keepalive {
    Keepalive::new(ping_after, pong_within).unwrap()
}

#[test]
fn one_connection_has_other_times_from_whenever_they_are_set() {
    for way in WAYS {
        // In `open`; sooner, later, off and on again by a timer.
        let mut step = 0;
        let mut pair = scripted(way, move |cx, _, what| {
            if what == "open" {
                cx.set_keepalive(keepalive(3 * SECOND, SECOND));
                cx.set_timer(4 * SECOND);
            }
            if what == "timer" {
                step += 1;
                cx.set_timer(10 * SECOND);
                cx.set_keepalive(match step {
                    1 => keepalive(400 * MILLI, SECOND), // at 4 s: 3.4 s, 3.8 s and so on
                    2 => Keepalive::OFF,                 // at 14 s
                    3 => keepalive(SECOND, SECOND),      // at 24 s: due at once
                    _ => keepalive(SECOND, 9 * SECOND),  // at 34 s
                });
            }
            Ok(())
        });
        pair.pass(29 * SECOND + 500 * MILLI);
        let times: Vec<_> = after_open(&pair, way, "ping").into_iter().map(|at| at.as_millis()).collect();
        // The pong of the first came at 3 s, so the new 400 ms had passed when they were set at 4 s.
        let mut expected = vec![3000];
        expected.extend((0..26).map(|round| 4000 + round * 400));
        expected.extend([24_000, 25_000, 26_000, 27_000, 28_000, 29_000]);
        assert_eq!(times, expected, "{way:?}");
    }
}

#[test]
fn other_connections_keep_the_times_of_the_service() {
    let mut limits = Limits::default();
    limits.protocol_mut().ping_after = Some(10 * SECOND);
    let mut bench = Bench::with(Faults::none(), limits);
    let (first, second) = (bench.open(), bench.open());
    let id = bench.hub.id_of(first).unwrap();
    bench.service.control().connection(id).unwrap().set_keepalive(keepalive(SECOND, SECOND));
    bench.pass(10 * SECOND);
    let pings = |bench: &Bench, number| bench.count(number, |heard| matches!(heard, Heard::Ping(_)));
    assert_eq!((pings(&bench, first), pings(&bench, second)), (10, 1));
    bench.clients[first].answers = false;
    assert_eq!(bench.until(|bench| bench.closed(first).is_some()), 2 * SECOND);
    assert_eq!(bench.closed(first).unwrap().cause, Cause::Timeout(Timeout::Keepalive));
    bench.close(second);
    bench.finish();
}

#[test]
fn a_peer_that_is_noted_alive_is_pinged_later() {
    for way in WAYS {
        let mut times = 0;
        let mut pair = scripted(way, move |cx, _, what| {
            if what == "timer" {
                cx.note_alive();
                times += 1;
            }
            // At 20, 40 and 60 s.
            if times < 3 {
                cx.set_timer(20 * SECOND);
            }
            Ok(())
        });
        pair.pass(90 * SECOND);
        assert_eq!(after_open(&pair, way, "ping"), [85 * SECOND], "{way:?}");
    }
}

#[test]
fn the_program_gives_the_payload_of_keepalive_pings_or_leaves_them_out() {
    for way in WAYS {
        let mut pings = 0;
        let mut pair = scripted(way, move |cx, session, what| {
            if what == "due" {
                pings += 1;
                session.payload = pings.to_string().into_bytes();
                session.skips_pings = pings == 2;
                if pings == 4 {
                    cx.close(CloseCode::GOING_AWAY);
                }
            }
            Ok(())
        });
        pair.until(|pair| pair.server.has("closed") && pair.client.has("closed"));
        let (pinging, pinged) = if way.0 { (&pair.server, &pair.client) } else { (&pair.client, &pair.server) };
        assert_eq!(pinging.log(), ["open", "due", "pong 1", "due", "due", "pong 3", "due", CLOSED], "{way:?}");
        assert_eq!(pinged.log()[1..3], ["ping 1", "ping 3"]);
        assert_eq!(after_open(&pair, way, "ping"), [25 * SECOND, 75 * SECOND]);
        assert_eq!(after_open(&pair, way, "closed"), [100 * SECOND]);
    }
}

const CLOSED: &str = "closed Handshake Local [Some(1001), Some(1001)]";

#[test]
fn pings_and_pongs_of_a_connection_leave_at_once_and_before_messages() {
    for way in WAYS {
        let mut pair = scripted(way, |cx, session, what| {
            if what == "open" {
                session.queue.push("message".to_owned());
            }
            if what == "writable" {
                // The newer of two replaces the older, and a pong that waits stays.
                for payload in [b"old", b"new"] {
                    cx.ping(ControlPayload::new(payload).unwrap());
                    cx.pong(ControlPayload::new(payload).unwrap());
                }
            }
            Ok(())
        });
        pair.pass(Duration::ZERO);
        let (pinging, pinged) = if way.0 { (&pair.server, &pair.client) } else { (&pair.client, &pair.server) };
        assert_eq!(pinged.log(), ["open", "receive message", "ping new", "pong old"], "{way:?}");
        assert_eq!(pinging.log(), ["open", "writable", "pong new"], "{way:?}");
        // From outside of callbacks, and on one that has ended.
        let id = pair.id;
        pair.client.service.control().connection(id).unwrap().ping(ControlPayload::EMPTY);
        pair.client.service.control().connection(id).unwrap().close(CloseCode::NORMAL);
        pair.client.service.control().connection(id).unwrap().ping(ControlPayload::new(b"late").unwrap());
        pair.until(|pair| pair.server.has("closed") && pair.client.has("closed"));
        assert!(!pair.server.has("ping late"), "after a close");
        assert!(pair.client.service.control().connection(id).is_err());
    }
}

#[test]
fn times_of_keepalive_have_the_range_of_the_limits() {
    for (ping_after, pong_within, error) in [
        (Duration::ZERO, SECOND, "ProtocolLimits::ping_after is 0 s, and the least is 1 ms"),
        (SECOND, Duration::from_micros(1), "ProtocolLimits::pong_within is 1 \u{b5}s, and the least is 1 ms"),
    ] {
        assert_eq!(Keepalive::new(ping_after, pong_within).unwrap_err().to_string(), error);
    }
    let year = 365 * 24 * 3600 * SECOND;
    assert!(Keepalive::new(MILLI, year).is_ok() && Keepalive::new(year + MILLI, year).is_err());
}

fn orders([a, b, c]: [Duration; 3]) -> [[Duration; 3]; 6] {
    [[a, b, c], [a, c, b], [b, a, c], [b, c, a], [c, a, b], [c, b, a]]
}
