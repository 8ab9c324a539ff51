//! Deadlines, on the virtual clock: exact.

use std::time::Duration;

use sockeye::Limits;
use sockeye::proto::close::Cause;
use sockeye::sim::{Faults, PeerEnd};
use sockeye_proto::close::Timeout;
use sockeye_testing::server::{Bench, Heard};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn silence_is_answered_with_a_ping_and_then_with_the_end() {
    let mut bench = Bench::new();
    let client = bench.open();
    let pings = |bench: &Bench| bench.count(client, |heard| matches!(heard, Heard::Ping(_)));
    // Activity moves the deadline, without a timer being moved.
    bench.pass(20 * SECOND);
    bench.clients[client].text("here");
    assert_eq!(bench.until(|bench| pings(bench) == 1), 25 * SECOND);
    // Its pong is activity too.
    bench.clients[client].answers = false;
    assert_eq!(bench.until(|bench| pings(bench) == 2), 25 * SECOND);
    assert_eq!(bench.until(|bench| bench.closed(client).is_some()), 20 * SECOND);
    assert_eq!(bench.closed(client).unwrap().cause, Cause::Timeout(Timeout::Keepalive));
    assert_eq!(bench.clients[client].end(), Some(PeerEnd::Reset));
    bench.finish();
}

#[test]
fn a_connection_that_is_paused_does_not_die_of_silence() {
    let mut bench = Bench::new();
    let client = bench.open();
    bench.clients[client].text("!pause 200000");
    bench.clients[client].text("waits");
    bench.pass(199 * SECOND);
    assert_eq!((bench.notes(client).received.len(), bench.closed(client)), (1, None));
    bench.pass(2 * SECOND);
    assert_eq!(bench.notes(client).received.len(), 2);
    bench.close(client);
    bench.finish();
}

#[test]
fn a_handshake_has_ten_seconds_in_all() {
    // Nothing, a piece, and a trickle.
    for (first, trickle, status) in
        [("", "", None), ("GET / HT", "", Some(408)), ("GET / HTTP/1.1\r\n", "a: b\r\n", Some(408))]
    {
        let mut bench = Bench::new();
        let client = bench.connect();
        bench.clients[client].raw(first.as_bytes());
        for _ in 0..9 {
            bench.pass(SECOND);
            bench.clients[client].raw(trickle.as_bytes());
        }
        assert_eq!(bench.service.connections(), 1);
        assert_eq!(bench.until(|bench| bench.clients[client].end().is_some()), SECOND);
        assert_eq!(bench.clients[client].status, status);
        bench.finish();
    }
}

#[test]
fn timers_fire_once_at_their_time_and_not_for_those_that_are_gone() {
    let mut bench = Bench::new();
    let client = bench.open();
    bench.clients[client].text("!timer 500");
    // The machine itself checks that it fires at its time.
    assert_eq!(bench.until(|bench| bench.replies(client) == 1), SECOND / 2);
    bench.clients[client].text("!again 1000");
    assert_eq!(bench.until(|bench| bench.replies(client) == 2), Duration::ZERO);
    // A timer that is armed anew with no delay has its turn, and so has everybody else.
    assert!(bench.turns >= 1000, "{} turns", bench.turns);
    bench.clients[client].text("!timer 60000");
    bench.close(client);
    bench.finish();
}

/// An administrator, or the network's time, sets the clock an hour forward and then back.
#[test]
fn deadlines_do_not_follow_the_clock_on_the_wall() {
    let mut bench = Bench::new();
    let client = bench.open();
    let pings = |bench: &Bench| bench.count(client, |heard| matches!(heard, Heard::Ping(_)));
    for ahead in [3600, -3600] {
        let already = pings(&bench);
        bench.clients[client].text("!timer 10000");
        let handshake = bench.connect();
        bench.clients[handshake].raw(b"GET / HTTP/1.1\r\n");
        bench.pass(5 * SECOND);
        bench.host.set_wall_clock_ahead(ahead);
        let replies = bench.replies(client);
        assert_eq!(bench.until(|bench| bench.replies(client) > replies), 5 * SECOND);
        assert_eq!(bench.until(|bench| bench.clients[handshake].end().is_some()), Duration::ZERO);
        assert_eq!(bench.clients[handshake].status, Some(408));
        assert_eq!(bench.until(|bench| pings(bench) > already), 15 * SECOND);
        bench.pass(SECOND);
    }
    bench.close(client);
    bench.finish();
}

/// States in which nothing is to do for some seconds: the loop must sleep.
#[test]
fn nothing_spins() {
    let state = |name: &str, limits: Limits, prepare: &dyn Fn(&mut Bench, usize)| {
        let mut bench = Bench::with(Faults::none().with_buffers(1000, 1000), limits);
        let client = bench.open();
        bench.clients[client].answers = false;
        prepare(&mut bench, client);
        bench.pass(SECOND / 10);
        bench.turns = 0;
        bench.pass(4 * SECOND);
        assert!(bench.turns <= 40, "{name}: {} turns in 4 s", bench.turns);
        bench.deaf.clear();
        bench.finish();
    };
    let send = |text: &'static str| move |bench: &mut Bench, client: usize| bench.clients[client].text(text);
    let stuck = |bench: &mut Bench, client: usize| {
        bench.clients[client].peer.as_ref().unwrap().set_window(0);
        bench.clients[client].text("!big 50000");
        bench.pass(Duration::from_millis(1));
    };
    state("open", Limits::default(), &|_, _| {});
    state("handshake", Limits::default(), &|bench, _| {
        let other = bench.connect();
        bench.clients[other].raw(b"GET / HTTP/1.1\r\n");
    });
    state("closing", Limits::default(), &send("!close 1000"));
    state("paused", Limits::default(), &|bench, client| {
        bench.clients[client].text("!pause 60000");
        bench.clients[client].binary(&[0; 30_000]);
    });
    state("paused, ended", Limits::default(), &|bench, client| {
        bench.clients[client].text("!pause 60000");
        bench.clients[client].shutdown();
    });
    state("stuck", Limits::default(), &stuck);
    state("stuck, asked for", Limits::default(), &|bench, client| {
        stuck(bench, client);
        bench.clients[client].text("more");
    });
    state("stuck, ended", Limits::default(), &|bench, client| {
        stuck(bench, client);
        bench.clients[client].shutdown();
    });
    state("stuck, failed", Limits::default(), &|bench, client| {
        stuck(bench, client);
        bench.clients[client].raw(&[0xFF, 0xFF]);
    });
    state("lingering with a timer", Limits::default(), &|bench, client| {
        bench.clients[client].text("!timer 200");
        bench.clients[client].raw(&[0xFF, 0xFF]);
    });
    let mut full = Limits::default();
    full.connections = Some(1);
    state("full", full, &|bench, _| _ = bench.connect());
}
