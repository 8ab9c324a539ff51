//! Keepalive, of both roles and in both kinds of loop: when which side is pinged, to the instant.

use std::time::Duration;

use sockeye::Limits;
use sockeye::sim::Faults;
use sockeye_testing::pair::{Pair, Script};

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

fn orders([a, b, c]: [Duration; 3]) -> [[Duration; 3]; 6] {
    [[a, b, c], [a, c, b], [b, a, c], [b, c, a], [c, a, b], [c, b, a]]
}
