//! TL and LD: crowds of peers that speak TLS.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::support::{
    Case, FIN, PATIENCE, PING, PONG, Peer, Row, Server, TEXT, eventually, optimised, pass, percentile_99, rows, strict,
};

pub(crate) fn rows() -> Vec<Case> {
    rows![
        Slow: ld01_idle_connections_of_tls_are_kept_for_little;
        Heavy:
            tl06_three_hundred_handshakes_a_second_hold_up_nobody,
            tl06_certificates_are_read_again_under_load,
            tl08_a_thousand_handshakes_at_once_succeed;
    ]
}

/// What a connection of TLS may keep resident.
const IDLE: u64 = 4200;

fn ld01_idle_connections_of_tls_are_kept_for_little() {
    let (count, length) = if strict() { (9900, Duration::from_secs(600)) } else { (2000, Duration::from_secs(32)) };
    let mut server = Server::secured();
    let row = Row::begin(&server);
    let before = server.process().resident();
    let mut peers: Vec<Peer> = (0..count).map(|_| Peer::upgraded(&server)).collect();
    peers.iter_mut().for_each(Peer::echoes);
    let each = server.process().resident().saturating_sub(before) / count as u64;
    println!("{each} bytes resident for each idle connection of TLS");
    assert!(each <= IDLE, "{each} bytes for each idle connection of TLS");
    let (started, worked) = (Instant::now(), server.process().cpu());
    let mut pings = 0;
    while started.elapsed() < length {
        for peer in &mut peers {
            for frame in peer.waiting_frames() {
                assert_eq!(frame.opcode(), PING, "only pings come");
                peer.send_frame(FIN | PONG, frame.payload);
                pings += 1;
            }
        }
        pass(Duration::from_millis(500));
    }
    let worked = server.process().cpu() - worked;
    println!("{pings} pings, {worked:?} of CPU in {:?}", started.elapsed());
    assert!(!optimised() || worked < started.elapsed() / 20, "{worked:?} of CPU");
    assert!(pings >= peers.len(), "{pings} pings for {count} connections that were silent for {length:?}");
    peers.iter_mut().for_each(Peer::echoes);
    drop(peers);
    row.end(&mut server);
}

/// Rounds of messages there and back on all `peers`, until `is_over`: how long each took.
fn sing(peers: &mut [Peer], is_over: impl Fn() -> bool) -> Vec<Duration> {
    let mut latencies = Vec::new();
    while !is_over() {
        let sent: Vec<Instant> = peers
            .iter_mut()
            .map(|peer| {
                peer.send_frame(FIN | TEXT, "are you there?");
                Instant::now()
            })
            .collect();
        for (peer, sent) in peers.iter_mut().zip(sent) {
            let got = peer.answer().unwrap_or_else(|end| panic!("{end:?} instead of an echo"));
            assert_eq!((got.opcode(), &got.payload[..]), (TEXT, &b"are you there?"[..]));
            latencies.push(sent.elapsed());
        }
        pass(Duration::from_millis(10));
    }
    latencies
}

fn tl08_a_thousand_handshakes_at_once_succeed() {
    const CLIENTS: usize = 1000;
    const OPEN: usize = 100;
    let mut server = Server::secured();
    let row = Row::begin(&server);
    let config = server.tls.clone().expect("it speaks TLS");
    let mut open: Vec<Peer> = (0..OPEN).map(|_| Peer::upgraded(&server)).collect();
    let started = Instant::now();
    let quiet = percentile_99(sing(&mut open, || started.elapsed() > Duration::from_secs(2)));
    let (is_over, started) = (AtomicBool::new(false), Instant::now());
    let mut clients: Vec<Peer> = (0..CLIENTS).map(|_| Peer::connect_bare(&server)).collect();
    let busy = thread::scope(|scope| {
        let singing = scope.spawn(|| percentile_99(sing(&mut open, || is_over.load(Ordering::SeqCst))));
        clients.iter_mut().for_each(|client| client.begin_tls(&config));
        clients.iter_mut().for_each(Peer::end_handshake);
        println!("{CLIENTS} handshakes in {:?}", started.elapsed());
        is_over.store(true, Ordering::SeqCst);
        singing.join().expect("the open connections are answered")
    });
    println!("p99 of {OPEN} open connections: {quiet:?}, and during the handshakes {busy:?}");
    assert!(!strict() || busy <= quiet + Duration::from_millis(20), "p99 {quiet:?}, then {busy:?}");
    for client in &mut clients {
        client.upgrade(&server.upgrade);
        client.echoes();
    }
    drop((clients, open));
    row.end(&mut server);
}

fn tl06_three_hundred_handshakes_a_second_hold_up_nobody() {
    let seconds = if strict() { 20 } else { 4 };
    let mut server = Server::secured();
    let row = Row::begin(&server);
    let started = Instant::now();
    for tenth in 0..10 * seconds {
        for _ in 0..30 {
            Peer::connect(&server).reset();
        }
        pass((Duration::from_millis(100) * (tenth + 1)).saturating_sub(started.elapsed()));
    }
    println!("{} handshakes in {:?}", 300 * seconds, started.elapsed());
    row.end(&mut server);
}

fn tl06_certificates_are_read_again_under_load() {
    const RELOADS: usize = 100;
    const OPEN: usize = 20;
    let mut server = Server::secured();
    // No row: a hundred answers in the log are more lines than a peer may cause.
    let mut open: Vec<Peer> = (0..OPEN).map(|_| Peer::upgraded(&server)).collect();
    let (is_over, handshakes, started) = (AtomicBool::new(false), AtomicU64::new(0), Instant::now());
    let logged = |text: &str| server.log_since(started).iter().filter(|(_, line)| line.contains(text)).count();
    thread::scope(|scope| {
        let singing = scope.spawn(|| sing(&mut open, || is_over.load(Ordering::SeqCst)).len());
        let shaking: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    while !is_over.load(Ordering::SeqCst) {
                        let mut peer = Peer::upgraded(&server);
                        peer.echoes();
                        peer.reset();
                        handshakes.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        let credentials = server.credentials();
        for reload in 0..RELOADS {
            let is_whole = reload % 2 == 0;
            let text = if is_whole {
                credentials.renew();
                "certificates read again"
            } else {
                credentials.damage();
                "the certificates stay as they were"
            };
            server.signal(Signal::HUP);
            eventually("SIGHUP is answered", PATIENCE, || logged(text) == reload / 2 + 1);
            if is_whole {
                let shown = Peer::connect(&server).tls().certificate();
                assert_eq!(shown, credentials.certificate(), "reload {reload}: the certificate that is in the file");
            }
            let before = handshakes.load(Ordering::SeqCst);
            eventually("handshakes go on", PATIENCE, || handshakes.load(Ordering::SeqCst) >= before + 2);
        }
        is_over.store(true, Ordering::SeqCst);
        shaking.into_iter().for_each(|thread| thread.join().expect("no handshake fails"));
        println!("{} messages meanwhile", singing.join().expect("no connection is dropped"));
    });
    println!("{RELOADS} reloads and {} handshakes in {:?}", handshakes.into_inner(), started.elapsed());
    open.iter_mut().for_each(Peer::echoes);
    server.assert_alive();
}
