//! TL: hostile peers of a server that speaks TLS.

use std::io::{ErrorKind, Read};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ContentType};

use super::support::{
    BINARY, Case, Credentials, FIN, GONE, Noise, PATIENCE, PONG, Peer, Request, Row, Server, TEXT, Tls, eventually,
    frame, optimised, pass, rows, strict,
};

pub(crate) fn rows() -> Vec<Case> {
    rows![
        Slow:
            tl02_half_a_hello_and_silence_end_at_the_deadline,
            tl03_an_end_in_any_state_is_an_end;
        Heavy:
            tl04_mutated_flights_end_no_more_than_their_connection,
            tl05_records_of_every_size_are_opened_and_echoed,
            tl06_floods_of_records_end_their_connection,
            tl06_records_without_plaintext_hold_up_nobody,
            tl07_a_peer_that_does_not_read_is_bounded;
        Quick:
            tl01_what_is_no_tls_is_refused_at_once,
            tl01_a_hello_on_a_plain_port_is_refused_at_once,
            tl05_a_hello_may_be_cut_at_every_byte;
    ]
}

/// What should happen at once: judged more strictly on a machine with nothing else to do.
fn at_once() -> Duration {
    if strict() { Duration::from_secs(1) } else { GONE }
}

fn tl01_what_is_no_tls_is_refused_at_once() {
    let mut server = Server::secured();
    let row = Row::begin(&server);
    let mut peer = Peer::connect_bare(&server);
    peer.send(Request::upgrade("/").bytes());
    let reply = peer.reply().expect("an answer that a person can act on");
    assert_eq!(reply.status, 400);
    assert!(String::from_utf8_lossy(&reply.body).contains("wss://"), "{reply:?}");
    assert!(peer.rest(at_once(), "plain HTTP").is_empty());

    let mut noise = Noise::new(1);
    for round in 0..50 {
        let what = format!("noise {round}");
        let mut bytes = noise.bytes(64 << 10);
        match round {
            0 => bytes = b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n".to_vec(),
            // Noise behind what looks like a record.
            1..25 => bytes[..3].copy_from_slice(&[22, 3, 1]),
            _ => {}
        }
        let mut peer = Peer::connect_bare(&server);
        peer.send(&bytes);
        // A record may be said to be longer than what comes.
        peer.finish();
        let rest = peer.rest(at_once(), &what);
        let is_alert = rest.first() == Some(&21) && rest.len() == 7;
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 400 ") || is_alert, "{what}: {rest:?}");
    }
    row.end(&mut server);
}

fn tl01_a_hello_on_a_plain_port_is_refused_at_once() {
    let mut server = Server::echo();
    let row = Row::begin(&server);
    let mut peer = Peer::connect(&server);
    peer.send(Tls::new(&Credentials::new().client(&TLS13)).sealed());
    let rest = peer.rest(at_once(), "a hello");
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 400 "), "{rest:?}");
    row.end(&mut server);
}

fn hello(config: &Arc<ClientConfig>) -> Vec<u8> {
    Tls::new(config).sealed()
}

fn tl02_half_a_hello_and_silence_end_at_the_deadline() {
    const PEERS: usize = 1000;
    let mut server = Server::secured();
    let hello = hello(&server.client(&TLS13));
    let row = Row::begin(&server);
    let before = server.process().resident();
    let started = Instant::now();
    let mut peers: Vec<Peer> = (0..PEERS)
        .map(|_| {
            let mut peer = Peer::connect_bare(&server);
            peer.send(&hello[..hello.len() / 2]);
            peer
        })
        .collect();
    // One byte a second is as good as silence: the time for a handshake is absolute.
    let mut slow: Vec<Peer> = (0..20).map(|_| Peer::connect_bare(&server)).collect();
    let wanted = row.descriptors() + peers.len() + slow.len();
    eventually("all are accepted", PATIENCE, || server.process().descriptors() >= wanted);
    let each = server.process().resident().saturating_sub(before) / PEERS as u64;
    println!("{each} bytes resident for each half of a hello");
    assert!(each <= 20 << 10, "{each} bytes for each half of a hello");
    let (spent, ()) = row.cpu_of(&server, || pass(Duration::from_secs(3)));
    assert!(!optimised() || spent < Duration::from_millis(60), "{spent:?} of CPU in three seconds of silence");
    let mut second = 0;
    while started.elapsed() < Duration::from_secs(9) {
        for peer in &mut slow {
            peer.send(&hello[second..=second]);
        }
        second += 1;
        pass(Duration::from_secs(1));
    }
    for peer in peers.iter_mut().chain(&mut slow) {
        peer.rest(Duration::from_secs(12).saturating_sub(started.elapsed()) + GONE, "half a hello");
    }
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(9), "gone after {took:?}");
    assert!(!strict() || took <= Duration::from_millis(11_500), "gone after {took:?}");
    row.end(&mut server);
}

/// How far a peer got.
const STATES: [&str; 9] = [
    "nothing",
    "half a hello",
    "a hello",
    "a hello, and the answer read",
    "the handshake",
    "half a request",
    "the upgrade",
    "half a frame",
    "half a record",
];

/// A peer that got so far, and whether it can seal.
fn reached(server: &Server, config: &Arc<ClientConfig>, state: &str) -> Peer {
    let mut peer = Peer::connect_bare(server);
    match state {
        "nothing" => {}
        "half a hello" => {
            let hello = hello(config);
            peer.send(&hello[..hello.len() / 2]);
        }
        "a hello" => peer.begin_tls(config),
        "a hello, and the answer read" => {
            peer.begin_tls(config);
            let count = peer.stream.read(&mut [0; 8192]).expect("a flight of the server");
            assert!(count > 0, "the end instead of a flight");
        }
        _ => {
            peer = peer.secured_by(config);
            match state {
                "the handshake" => {}
                "half a request" => peer.send(b"GET / HTTP/1.1\r\nHost: a"),
                _ => _ = peer.upgrade(&server.upgrade),
            }
            match state {
                "half a frame" => peer.send(&frame(FIN | TEXT, "half a frame")[..9]),
                "half a record" => {
                    let record = peer.tls().seal(&frame(FIN | TEXT, "half a record"));
                    peer.send_bare(&record[..record.len() / 2]);
                }
                _ => {}
            }
        }
    }
    peer
}

/// What ends a connection in any state.
const ENDS: [&str; 5] = ["FIN", "close_notify", "close_notify, then data", "warnings", "a reset"];

/// A warning (RFC 5246 section 7.2), as it goes before there are keys.
const fn warning(description: u8) -> [u8; 7] {
    [21, 3, 3, 0, 2, 1, description]
}
const CLOSE_NOTIFY: u8 = 0;
const USER_CANCELED: u8 = 90;

fn end(mut peer: Peer, state: &str, how: &str) -> Option<Peer> {
    let is_sealed = STATES.iter().position(|other| *other == state) > Some(3);
    match how {
        "FIN" => peer.finish(),
        "a reset" => {
            peer.reset();
            return None;
        }
        "warnings" => {
            for _ in 0..100 {
                // Behind the handshake it is not a sealed record, which is as wrong.
                peer.send_bare(warning(USER_CANCELED));
            }
        }
        _ => {
            let notice = if is_sealed { peer.tls().close_notify() } else { warning(CLOSE_NOTIFY).to_vec() };
            peer.send_bare(notice);
            if how != "close_notify" {
                peer.send_bare([23, 3, 3, 0, 20]);
                peer.send_bare([7; 2000]);
            }
        }
    }
    Some(peer)
}

fn tl03_an_end_in_any_state_is_an_end() {
    let mut server = Server::secured();
    let row = Row::begin(&server);
    for version in [&TLS13, &TLS12] {
        let config = server.client(version);
        let mut peers = Vec::new();
        for state in STATES {
            for how in ENDS {
                let peer = end(reached(&server, &config, state), state, how);
                peers.extend(peer.map(|peer| (format!("{version:?}: {state}, then {how}"), peer)));
            }
        }
        for (what, mut peer) in peers {
            // What is half of something gets another half, so that it need not be waited for.
            peer.send_bare([0; 300]);
            // What comes is not looked at: the server may be in the middle of its flight.
            Peer::over(peer.stream).rest(GONE, &what);
        }
    }
    row.canaries_sing();
    row.end(&mut server);
}

/// How many flights are changed: `ABUSE_MUTATIONS`, or ten thousand.
fn mutations() -> usize {
    let asked = std::env::var("ABUSE_MUTATIONS").ok();
    asked.map_or(10_000, |count| count.parse().expect("a count of mutations"))
}

/// Changes a flight of a client, and waits for the end of the connection. In one of eight it is the second flight, with what
/// follows it; the others are hellos.
fn mutated(server: &Server, config: &Arc<ClientConfig>, hello: &[u8], noise: &mut Noise, what: &str) {
    let mut peer = Peer::connect_bare(server);
    let mut flight = if noise.below(8) == 0 {
        peer.begin_tls(config);
        let mut first = [0; 8192];
        let count = peer.stream.read(&mut first).expect("a flight of the server");
        let mut tls = peer.take_tls();
        // TLS 1.2 may need a second part of it; what is there is changed.
        tls.open(&first[..count], &mut Vec::new());
        let mut flight = tls.sealed();
        if !tls.is_handshaking() {
            flight.extend(tls.seal(&server.upgrade.bytes()));
            flight.extend(tls.seal(&frame(FIN | TEXT, "a message")));
        }
        flight
    } else {
        hello.to_vec()
    };
    noise.mutate(&mut flight);
    peer.send_bare(&flight);
    peer.finish();
    peer.rest(GONE, what);
}

fn tl04_mutated_flights_end_no_more_than_their_connection() {
    const THREADS: usize = 2;
    let mut server = Server::secured();
    let row = Row::begin(&server);
    let configs = [&TLS13, &TLS12].map(|version| server.client(version));
    let hellos = configs.each_ref().map(hello);
    let (started, each) = (Instant::now(), mutations() / THREADS);
    thread::scope(|scope| {
        for index in 0..THREADS {
            let (server, configs, hellos) = (&server, &configs, &hellos);
            scope.spawn(move || {
                let mut noise = Noise::new(0x5eed + index as u64);
                for round in 0..each {
                    let version = round % 2;
                    let what = format!("mutation {round} of thread {index}");
                    mutated(server, &configs[version], &hellos[version], &mut noise, &what);
                }
            });
        }
    });
    println!("{} mutations in {:?}", each * THREADS, started.elapsed());
    row.canaries_sing();
    row.end(&mut server);
}

/// The hello of the command itself: with aws-lc it has a key of ML-KEM and needs two segments.
fn hello_of_the_command() -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("wss://localhost:{}/", listener.local_addr().expect("bound").port());
    let mut child = Command::new(sockeye_release_tests::command())
        .args(["connect", "--insecure", &url])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the command starts");
    let (mut stream, _) = listener.accept().expect("it connects");
    let mut head = [0; 5];
    stream.read_exact(&mut head).expect("a record");
    let mut body = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
    stream.read_exact(&mut body).expect("a hello");
    let _ = child.kill();
    let _ = child.wait();
    [&head[..], &body].concat()
}

fn tl05_a_hello_may_be_cut_at_every_byte() {
    let mut server = Server::secured();
    let row = Row::begin(&server);
    for hello in [hello_of_the_command(), hello(&server.client(&TLS13)), hello(&server.client(&TLS12))] {
        println!("a hello of {} bytes", hello.len());
        for cuts in (1..hello.len()).collect::<Vec<_>>().chunks(500) {
            let mut peers = Vec::new();
            for &cut in cuts {
                let mut peer = Peer::connect_bare(&server);
                peer.send(&hello[..cut]);
                peers.push((cut, peer));
            }
            for (cut, peer) in &mut peers {
                peer.send(&hello[*cut..]);
            }
            for (cut, mut peer) in peers {
                let mut answer = [0; 6];
                peer.stream.set_read_timeout(Some(PATIENCE)).expect("legal");
                peer.stream.read_exact(&mut answer).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
                assert_eq!((answer[0], answer[5]), (22, 2), "cut at {cut}: a hello of the server");
                peer.reset();
            }
        }
    }
    row.end(&mut server);
}

fn tl05_records_of_every_size_are_opened_and_echoed() {
    const LARGEST: usize = 16 << 10;
    let mut server = Server::secured();
    let row = Row::begin(&server);
    let source = Noise::new(5).bytes(LARGEST);
    let step = if optimised() { 1 } else { 37 };
    let sizes: Vec<usize> = (1..=LARGEST).step_by(step).chain([LARGEST]).collect();
    thread::scope(|scope| {
        for (index, version) in [&TLS13, &TLS12].into_iter().enumerate() {
            let (server, source, sizes) = (&server, &source, &sizes);
            scope.spawn(move || {
                let mut peer = Peer::connect_bare(server).secured_by(&server.client(version));
                peer.upgrade(&server.upgrade);
                // Each version has half of the sizes, and both those of a few bytes.
                for &size in sizes.iter().filter(|&&size| size < 300 || size % 2 == index) {
                    // A frame of just this size, if there is one; else in pieces of this size.
                    let head = if size < 132 { 6 } else { 8 };
                    let payload = &source[..size.saturating_sub(head).max(1)];
                    let sealed: Vec<u8> =
                        frame(FIN | BINARY, payload).chunks(size).flat_map(|piece| peer.tls().seal(piece)).collect();
                    peer.send_bare(&sealed);
                    peer.expect(BINARY, payload);
                }
            });
        }
    });
    row.end(&mut server);
}

/// Sends what `make` gives until the connection is gone, which must be before `most` times.
fn floods_in_vain(mut peer: Peer, most: usize, what: &str, mut make: impl FnMut() -> Vec<u8>) {
    for _ in 0..most {
        peer.send_bare(make());
        if peer.is_gone() {
            return;
        }
    }
    peer.rest(GONE, what);
}

fn tl06_floods_of_records_end_their_connection() {
    const BATCH: usize = 1000;
    const MOST: usize = 1000;
    /// no_renegotiation, RFC 5246 section 7.2.2.
    const NO_RENEGOTIATION: u8 = 100;
    let mut server = Server::secured();
    let row = Row::begin(&server);
    let before = server.process().cpu();
    let upgraded = |version| {
        let mut peer = Peer::connect_bare(&server).secured_by(&server.client(version));
        peer.upgrade(&server.upgrade);
        peer
    };
    for version in [&TLS13, &TLS12] {
        let mut peer = upgraded(version);
        let mut forger = peer.take_tls().forger();
        let what = format!("{version:?}: a million empty records");
        floods_in_vain(peer, MOST, &what, || {
            (0..BATCH).flat_map(|_| forger.record(ContentType::ApplicationData, &[])).collect()
        });

        let mut peer = upgraded(version);
        let mut forger = peer.take_tls().forger();
        floods_in_vain(peer, MOST, &format!("{version:?}: warnings"), || {
            (0..BATCH).flat_map(|_| forger.record(ContentType::Alert, &[1, NO_RENEGOTIATION])).collect()
        });

        let mut peer = upgraded(version);
        let mut forger = peer.take_tls().forger();
        floods_in_vain(peer, MOST, &format!("{version:?}: changes of ciphers"), || {
            (0..BATCH).flat_map(|_| forger.record(ContentType::ChangeCipherSpec, &[1])).collect()
        });

        // A handshake message in pieces, which has no end.
        let mut peer = upgraded(version);
        let mut forger = peer.take_tls().forger();
        let mut piece = vec![24, 0, 0xff, 0xff];
        floods_in_vain(peer, MOST, &format!("{version:?}: a message without an end"), || {
            let mut batch = forger.record(ContentType::Handshake, &std::mem::replace(&mut piece, vec![0]));
            batch.extend((0..BATCH).flat_map(|_| forger.record(ContentType::Handshake, &[0])));
            batch
        });

        // In the clear, before there are keys: changes of ciphers are ignored up to a number.
        let mut peer = Peer::connect_bare(&server);
        peer.begin_tls(&server.client(version));
        peer.take_tls();
        floods_in_vain(peer, MOST, &format!("{version:?}: early changes of ciphers"), || {
            [20, 3, 3, 0, 1, 1].repeat(BATCH)
        });
    }

    // Each hello asks to negotiate again.
    let mut peer = upgraded(&TLS12);
    let mut forger = peer.take_tls().forger();
    let hello = hello(&server.client(&TLS12))[5..].to_vec();
    floods_in_vain(peer, MOST, "renegotiations", || {
        (0..BATCH).flat_map(|_| forger.record(ContentType::Handshake, &hello)).collect()
    });

    let mut peer = upgraded(&TLS13);
    let mut tls = peer.take_tls();
    floods_in_vain(peer, MOST, "key updates", || (0..100).flat_map(|_| tls.key_update()).collect());
    println!("{:?} of CPU for all floods, with the canaries", server.process().cpu().saturating_sub(before));
    row.end(&mut server);
}

fn tl06_records_without_plaintext_hold_up_nobody() {
    const ROUNDS: usize = 30_000;
    let mut server = Server::secured();
    let row = Row::begin(&server);
    let pong = frame(FIN | PONG, "");
    let most = row.resident() + (8 << 20);
    thread::scope(|scope| {
        // Thirty empty records, and then data, so that the count of the empty ones begins anew.
        scope.spawn(|| {
            let mut peer = Peer::connect(&server);
            peer.upgrade(&server.upgrade);
            let mut forger = peer.take_tls().forger();
            let rounds = if optimised() { ROUNDS } else { ROUNDS / 10 };
            for _ in 0..rounds {
                let mut batch: Vec<u8> =
                    (0..30).flat_map(|_| forger.record(ContentType::ApplicationData, &[])).collect();
                batch.extend(forger.record(ContentType::ApplicationData, &pong));
                peer.send_bare(batch);
            }
            assert!(!peer.is_gone(), "empty records between others are legal");
        });
        // A change of keys, and then data. The answers are never read.
        scope.spawn(|| {
            let mut peer = Peer::connect_with_buffers(&server, 4096);
            peer.upgrade(&server.upgrade);
            let rounds = if optimised() { ROUNDS } else { ROUNDS / 10 };
            for _ in 0..rounds {
                let mut batch = peer.tls().key_update();
                batch.extend(peer.tls().seal(&pong));
                peer.send_bare(batch);
            }
        });
    });
    assert!(server.process().peak() <= most, "{} bytes resident", server.process().peak());
    row.end(&mut server);
}

fn tl07_a_peer_that_does_not_read_is_bounded() {
    /// The hard bound of the output of one connection, and what of it may be held twice while it is sealed.
    const OUTPUT: u64 = (16 << 20) + (1 << 20);
    let mut server = Server::secured();
    let row = Row::begin(&server);
    // It takes the handshake and then nothing. Then it ends in each way.
    for how in ["FIN", "close_notify", "a reset"] {
        let mut peer = Peer::stuffed(&server);
        let (spent, ()) = row.cpu_of(&server, || pass(Duration::from_secs(2)));
        assert!(!optimised() || spent < Duration::from_millis(60), "{how}: {spent:?} of CPU in two seconds");
        let resident = server.process().resident();
        assert!(resident <= row.resident() + OUTPUT + (8 << 20), "{how}: {resident} bytes resident");
        match how {
            "FIN" => peer.finish(),
            "close_notify" => {
                let notice = peer.tls().close_notify();
                // The server reads no more: it may not take this either.
                peer.stream.set_nonblocking(true).expect("own socket");
                match std::io::Write::write(&mut peer.stream, &notice) {
                    Err(error) if error.kind() != ErrorKind::WouldBlock => panic!("{error}"),
                    _ => {}
                }
            }
            _ => {}
        }
        peer.reset();
    }
    row.end(&mut server);
}
