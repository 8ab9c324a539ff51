//! Peers that do not read.

use std::time::Duration;

use sockeye::Limits;
use sockeye::proto::close::Cause;
use sockeye::sim::Faults;
use sockeye_proto::close::Timeout;
use sockeye_testing::server::{Bench, Heard};

const PING: &[u8] = b"\x89\x84\0\0\0\0";

#[test]
fn a_peer_that_never_reads_is_read_no_more_and_ends() {
    let mut bench = Bench::with(Faults::none().with_buffers(50_000, 50_000), Limits::default());
    let client = bench.open_echo();
    bench.clients[client].peer.as_ref().unwrap().set_window(0);
    bench.deaf.push(client);
    let message = b"\x82\xFE\x40\x00\0\0\0\0".iter().copied().chain([7; 16384]).collect::<Vec<_>>();
    let flood = message.repeat(1000);
    bench.clients[client].raw(&flood);
    bench.pass(Duration::from_secs(1));
    let taken = flood.len() - bench.clients[client].peer.as_ref().unwrap().unsent();
    assert!(taken < 2 << 20, "{taken} bytes were taken of a peer that takes none");
    let took = bench.until(|bench| bench.closed(client).is_some());
    assert_eq!(took, Duration::from_secs(44));
    assert_eq!(bench.closed(client).unwrap().cause, Cause::Timeout(Timeout::Keepalive));
    bench.finish();
}

/// The systems of both sides take some of the output, too little for a writable edge. That shows when the loop sends once
/// more, and says nothing of a peer that has not read since it was pinged.
#[test]
fn what_our_own_system_takes_is_no_sign_of_life() {
    let mut bench = Bench::with(Faults::none().with_buffers(30_000, 30_000), Limits::default());
    let client = bench.open();
    bench.clients[client].peer.as_ref().unwrap().set_window(8_000);
    bench.deaf.push(client);
    bench.clients[client].text("!big 500000");
    let took = bench.until(|bench| bench.closed(client).is_some());
    assert_eq!(took, Duration::from_secs(45));
    assert_eq!(bench.closed(client).unwrap().cause, Cause::Timeout(Timeout::Keepalive));
    bench.finish();
}

/// What it reads is too little for a writable edge between a ping and the time for its pong, and shows that it is there.
#[test]
fn a_peer_that_reads_very_slowly_is_alive() {
    let mut bench = Bench::with(Faults::none().with_buffers(60_000, 30_000), Limits::default());
    let client = bench.open();
    bench.deaf.push(client);
    bench.clients[client].text("!big 500000");
    for second in 1..=300 {
        bench.clients[client].peer.as_ref().unwrap().set_window(500 * second);
        bench.pass(Duration::from_secs(1));
        assert_eq!(bench.closed(client), None, "given up after {:?}", bench.time());
    }
    bench.finish();
}

#[test]
fn a_peer_that_reads_slowly_is_served_to_the_end() {
    let mut bench = Bench::with(Faults::none().with_buffers(20_000, 20_000), Limits::default());
    let client = bench.open_echo();
    bench.deaf.push(client);
    let count = 150;
    bench.clients[client].peer.as_ref().unwrap().set_window(10_000);
    for _ in 0..count {
        bench.clients[client].binary(&[9; 10_000]);
    }
    // 10 KB a second: the outbox stays full and reading paused for longer than the keepalive would bear.
    for _ in 0..200 {
        bench.pass(Duration::from_secs(1));
        let now = bench.network.now();
        bench.clients[client].pump(10_000, now);
        assert_eq!(bench.closed(client), None, "given up after {:?}", bench.time());
    }
    assert_eq!(bench.replies(client), count);
    bench.deaf.clear();
    bench.close(client);
    bench.finish();
}

#[test]
fn every_ping_is_answered_while_there_is_room_and_the_newest_when_there_is_none() {
    let mut bench = Bench::with(Faults::none().with_buffers(2000, 2000), Limits::default());
    let client = bench.open();
    let pongs = |bench: &Bench| bench.count(client, |heard| matches!(heard, Heard::Pong(_)));
    let ping = |number: u32| [PING, &number.to_be_bytes()].concat();
    bench.clients[client].raw(&(0..3000).flat_map(ping).collect::<Vec<u8>>());
    bench.until(|bench| bench.clients[client].heard.contains(&Heard::Pong(2999_u32.to_be_bytes().to_vec())));
    let answered = pongs(&bench);
    assert!(answered > 300, "{answered} pongs of 3000");
    // Nobody reads: at most what fits is kept, then one.
    bench.clients[client].peer.as_ref().unwrap().set_window(0);
    bench.clients[client].raw(&(3000..203_000).flat_map(ping).collect::<Vec<u8>>());
    bench.pass(Duration::from_secs(10));
    bench.clients[client].peer.as_ref().unwrap().set_window(1 << 30);
    bench.until(|bench| bench.clients[client].heard.contains(&Heard::Pong(202_999_u32.to_be_bytes().to_vec())));
    // 2000 bytes in the socket, 64 KiB corked, and the newest.
    let most = (2000 + 65536 + 6) / 6 + 2;
    assert!(pongs(&bench) - answered <= most, "{} pongs were kept", pongs(&bench) - answered);
    let numbers: Vec<u32> = bench.clients[client]
        .heard
        .iter()
        .filter_map(|heard| match heard {
            Heard::Pong(payload) => payload.as_slice().try_into().ok().map(u32::from_be_bytes),
            _ => None,
        })
        .collect();
    assert!(numbers.is_sorted());
    bench.close(client);
    bench.finish();
}

#[test]
fn all_pings_are_answered_when_the_peer_reads() {
    let mut bench = Bench::new();
    let client = bench.open();
    bench.clients[client].raw(&(0..20_000_u32).flat_map(|n| [PING, &n.to_be_bytes()].concat()).collect::<Vec<u8>>());
    bench.until(|bench| bench.count(client, |heard| matches!(heard, Heard::Pong(_))) == 20_000);
    // Pongs that nobody asked for are taken in silence.
    bench.clients[client].raw(&b"\x8A\x80\0\0\0\0".repeat(20_000));
    bench.pass(Duration::from_secs(1));
    bench.close(client);
    bench.finish();
}

#[test]
fn a_pause_loses_nothing() {
    let mut bench = Bench::with(Faults::none().with_buffers(5000, 5000), Limits::default());
    let client = bench.open();
    for round in 0..50 {
        bench.clients[client].text("!pause 10");
        for number in 0..7 {
            bench.clients[client].text(&format!("{round} {number} {}", "y".repeat(number * 300)));
        }
    }
    bench.until(|bench| bench.replies(client) == 350);
    assert_eq!(bench.notes(client).received.len(), 400);
    bench.close(client);
    bench.finish();
}

#[test]
fn others_can_pause_and_resume_a_connection() {
    let mut bench = Bench::new();
    let (client, other) = (bench.open(), bench.open());
    for round in 1..=3 {
        bench.clients[other].text(&format!("!hold {client}"));
        bench.pass(Duration::from_millis(1));
        for _ in 0..5 {
            bench.clients[client].text("waits");
        }
        bench.pass(Duration::from_secs(1));
        assert_eq!(bench.notes(client).received.len(), (round - 1) * 5);
        bench.clients[other].text(&format!("!free {client}"));
        assert_eq!(bench.until(|bench| bench.replies(client) == round * 5), Duration::ZERO);
    }
    bench.close(client);
    bench.finish();
}
