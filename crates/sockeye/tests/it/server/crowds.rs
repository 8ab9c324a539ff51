//! Many connections: shares, limits, descriptors.

use std::time::Duration;

use sockeye::Limits;
use sockeye::proto::close::Cause;
use sockeye::sim::{Fault, Faults, PeerEnd};
use sockeye_testing::server::{Bench, Client, Heard};

#[test]
fn a_flood_does_not_starve_others() {
    let mut bench = Bench::new();
    let (canary, flood) = (bench.open(), bench.open_echo());
    bench.clients[flood].raw(&b"\x82\x94\0\0\0\0aaaaaaaaaaaaaaaaaaaa".repeat(500_000));
    for number in 1..=20 {
        bench.clients[canary].text("sing");
        bench.turns = 0;
        bench.until(|bench| bench.replies(canary) == number);
        assert!(bench.turns <= 2, "{} turns", bench.turns);
    }
    assert!(bench.replies(flood) < 500_000);
    bench.finish();
}

/// What comes while it waits for its next turn does not give it two shares of that turn.
#[test]
fn a_share_holds_for_the_turn() {
    let mut limits = Limits::default();
    limits.turn_frames = 10;
    let mut bench = Bench::with(Faults::none(), limits);
    let client = bench.open();
    bench.hub.most_receives.set(10);
    for _ in 0..50 {
        for _ in 0..20 {
            bench.clients[client].text("sing");
        }
        bench.turn();
    }
    bench.until(|bench| bench.replies(client) == 1000);
    bench.finish();
}

#[test]
fn connections_that_come_and_reset_leave_nothing_behind() {
    let mut bench = Bench::new();
    let canary = bench.open();
    for number in 1..=10 {
        for at in 0..300 {
            let client = bench.connect();
            if at % 2 == 0 {
                bench.clients[client].raw(b"GET / HTTP/1.1\r\nHost: a\r\n");
            }
            bench.clients[client].reset();
            bench.clients[client].peer = None;
        }
        bench.clients.truncate(1);
        bench.clients[canary].text("sing");
        bench.turns = 0;
        bench.until(|bench| bench.replies(canary) == number);
        assert!(bench.turns <= 3, "{} turns", bench.turns);
        bench.until(|bench| bench.service.connections() == 1 && bench.host.open_handles() == 2);
    }
    bench.finish();
}

#[test]
fn many_timers_with_one_deadline_fire_in_one_turn() {
    let mut limits = Limits::default();
    // They come at once too: what is looked at here is what follows.
    limits.turn_accepts = 5000;
    let mut bench = Bench::with(Faults::none(), limits);
    let canary = bench.open();
    let many = 5000;
    for number in 1..=many {
        let client = bench.connect();
        bench.clients[client].handshake(&format!("/{number}/timer/20000"), "machine");
    }
    bench.until(|bench| bench.clients.iter().all(Client::is_open));
    let opened = bench.time();
    bench.pass(Duration::from_secs(19));
    // That each fires at its time, and once, the machine itself checks.
    bench.turns = 0;
    bench.clients[canary].text("!timer 1000");
    bench.until(|bench| bench.replies(canary) == 1 && (1..=many).all(|number| bench.replies(number) == 1));
    assert!(bench.turns <= 5, "{} turns", bench.turns);
    assert_eq!(bench.time() - opened, Duration::from_secs(20));
    bench.finish();
}

#[test]
fn accepting_pauses_at_the_limits_and_goes_on() {
    let mut limits = Limits::default();
    limits.connections = Some(3);
    for by_descriptors in [false, true] {
        let mut bench = Bench::with(Faults::none(), if by_descriptors { Limits::default() } else { limits.clone() });
        let open: Vec<usize> = (0..3).map(|_| bench.open()).collect();
        if by_descriptors {
            bench.host.set_descriptor_limit(3 + 1 + 3);
        }
        let waiting: Vec<usize> = (0..3).map(|_| bench.connect()).collect();
        for number in &waiting {
            bench.clients[*number].handshake(&format!("/{number}/plain"), "machine");
        }
        let before = bench.host.calls().accept;
        bench.turns = 0;
        bench.pass(Duration::from_secs(2));
        assert!(bench.turns <= 12, "{} turns", bench.turns);
        assert!(bench.host.calls().accept - before <= 10);
        assert_eq!(bench.service.connections(), 3);
        bench.clients[open[0]].text("still served");
        bench.until(|bench| bench.replies(open[0]) == 1);
        for (leaves, comes) in open.iter().zip(&waiting) {
            bench.close(*leaves);
            assert!(bench.until(|bench| bench.clients[*comes].is_open()) <= Duration::from_millis(250));
        }
        bench.finish();
    }
}

#[test]
fn one_address_has_so_many_connections_and_no_more() {
    let mut limits = Limits::default();
    limits.connections_per_address = Some(3);
    let mut bench = Bench::with(Faults::none(), limits);
    let mut open: Vec<usize> = (0..3).map(|_| bench.open()).collect();
    for _ in 0..10 {
        let refused = bench.connect();
        bench.until(|bench| bench.clients[refused].end().is_some());
        assert_eq!(bench.clients[refused].end(), Some(PeerEnd::Reset));
        assert_eq!(bench.service.connections(), 3);
        // Who ends makes room for one, however it ends.
        let leaves = open.remove(0);
        if refused % 2 == 0 {
            bench.close(leaves);
        } else {
            bench.clients[leaves].reset();
        }
        bench.until(|bench| bench.service.connections() == 2);
        open.push(bench.open());
    }
    for number in open {
        bench.clients[number].text("sing");
        bench.until(|bench| bench.replies(number) == 1);
    }
    bench.finish();
}

#[test]
fn every_way_that_accept_can_fail_is_survived() {
    let faults = Faults::none().with(Fault::AcceptFailed, 700);
    let mut bench = Bench::with(faults, Limits::default());
    for _ in 0..100 {
        let client = bench.connect();
        bench.clients[client].handshake(&format!("/{client}/plain"), "machine");
    }
    bench.until(|bench| bench.clients.iter().all(|client| client.is_open() || client.end().is_some()));
    assert!(bench.clients.iter().filter(|client| client.is_open()).count() > 5);
    bench.finish();
}

#[test]
fn a_broadcast_passes_stalled_peers_by() {
    let mut limits = Limits::default();
    limits.output_hard = 256 * 1024;
    let mut bench = Bench::with(Faults::none().with_buffers(10_000, 10_000), limits);
    for _ in 0..20 {
        bench.open();
    }
    let stalled = [3, 4, 11];
    for number in stalled {
        bench.clients[number].peer.as_ref().unwrap().set_window(0);
    }
    bench.deaf.extend(stalled);
    for round in 0..100 {
        for number in 0..10 {
            let text = format!("{} {}", round * 10 + number, "x".repeat(1000));
            bench.service.control().protocol_named("machine").unwrap().publish_text(&text);
        }
        bench.pass(Duration::from_millis(1));
    }
    for number in 0..20 {
        if stalled.contains(&number) {
            assert_eq!(bench.closed(number).map(|closed| closed.cause), Some(Cause::Overflow));
            continue;
        }
        let heard: Vec<usize> = bench.clients[number]
            .messages()
            .filter_map(|heard| match heard {
                Heard::Text(text) => text.split(' ').next()?.parse().ok(),
                _ => None,
            })
            .collect();
        assert_eq!(heard, (0..1000).collect::<Vec<_>>());
    }
    bench.finish();
}
