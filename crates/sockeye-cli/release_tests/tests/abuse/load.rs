//! LD: long and heavy use, at a tenth of the matrix's length.

use std::thread;
use std::time::{Duration, Instant};

use super::support::{
    BINARY, CLOSE, Case, FIN, Noise, PATIENCE, PING, PONG, Peer, Row, Server, TEXT, close_body, frame, optimised, pass,
    rows, scaled, strict,
};

pub(crate) fn rows() -> Vec<Case> {
    rows![
        Slow: ld01_idle_connections_are_kept_for_little;
        Heavy:
            ld02_a_million_messages_come_back_in_order,
            ld03_cycles_of_connect_and_close_leave_nothing;
    ]
}

fn ld01_idle_connections_are_kept_for_little() {
    const PEERS: usize = 1990;
    let mut server = Server::echo();
    let row = Row::begin(&server);
    let before = server.process().resident();
    let mut peers: Vec<Peer> = (0..PEERS).map(|_| Peer::upgraded(&server)).collect();
    peers.iter_mut().for_each(Peer::echoes);
    let each = server.process().resident().saturating_sub(before) / PEERS as u64;
    println!("{each} bytes resident for each idle connection");
    assert!(each <= 2 << 10, "{each} bytes for each idle connection");
    let (started, worked) = (Instant::now(), server.process().cpu());
    let mut pings = 0;
    while started.elapsed() < Duration::from_secs(60) {
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
    assert!(pings >= PEERS, "{pings} pings for {PEERS} connections that were silent for a minute");
    peers.iter_mut().for_each(Peer::echoes);
    drop(peers);
    row.end(&mut server);
}

/// A size between 0 and 1 MiB: nearly all are small, each power is there.
fn size(noise: &mut Noise) -> usize {
    let most = match noise.below(1000) {
        0 => 1 << 20,
        1..10 => 64 << 10,
        10..100 => 4 << 10,
        _ => 128,
    };
    noise.below(most + 1)
}

/// The payload of message `number`: where it lies in `source` depends on the number, so that any mistake shows.
fn content<'s>(source: &'s [u8], noise: &mut Noise, number: usize) -> &'s [u8] {
    let size = size(noise);
    let start = number.wrapping_mul(7919) % (source.len() - size);
    &source[start..start + size]
}

fn ld02_a_million_messages_come_back_in_order() {
    const CONNECTIONS: usize = 4;
    const IN_FLIGHT: usize = 32;
    let count = scaled(1_000_000) / CONNECTIONS;
    let mut server = Server::echo();
    let row = Row::begin(&server);
    let source = Noise::new(2).bytes(4 << 20);
    let started = Instant::now();
    let talk = |seed: usize| {
        let mut peer = Peer::upgraded(&server);
        let seed = u64::try_from(seed).expect("small");
        let (mut ahead, mut behind) = (Noise::new(seed), Noise::new(seed));
        let mut batch = Vec::new();
        for group in 0..count / IN_FLIGHT {
            let numbers = group * IN_FLIGHT..(group + 1) * IN_FLIGHT;
            batch.clear();
            let mut large = 0;
            for number in numbers.clone() {
                let payload = content(&source, &mut ahead, number);
                batch.extend(frame(FIN | BINARY, [&number.to_be_bytes()[..], payload].concat()));
                large += payload.len();
            }
            // A large group would fill both directions; it goes out beside the reading.
            let stream = (large > 64 << 10).then(|| peer.stream.try_clone().expect("own socket"));
            thread::scope(|scope| {
                match stream {
                    Some(stream) => {
                        let batch = &batch;
                        scope.spawn(move || Peer::over(stream).send(batch));
                    }
                    None => peer.send(&batch),
                }
                for number in numbers {
                    let expected = [&number.to_be_bytes()[..], content(&source, &mut behind, number)].concat();
                    peer.expect(BINARY, expected);
                }
            });
        }
    };
    let early = server.process().resident();
    thread::scope(|scope| {
        for seed in 0..CONNECTIONS {
            let talk = &talk;
            scope.spawn(move || talk(seed));
        }
    });
    let late = server.process().resident();
    println!("{} messages in {:?}; resident {early}, then {late}", count * CONNECTIONS, started.elapsed());
    row.end(&mut server);
}

fn ld03_cycles_of_connect_and_close_leave_nothing() {
    let count = scaled(100_000);
    let mut server = Server::echo();
    let row = Row::begin(&server);
    let (started, mut early) = (Instant::now(), 0);
    for cycle in 0..count {
        let mut peer = Peer::upgraded(&server);
        if cycle % 10 == 0 {
            peer.send_frame(FIN | TEXT, "hello");
            peer.expect(TEXT, "hello");
        }
        peer.send_frame(FIN | CLOSE, close_body(1000, ""));
        assert_eq!(peer.close_code("a cycle"), 1000);
        assert!(peer.rest(PATIENCE, "a cycle").is_empty());
        if cycle == count / 10 {
            early = server.process().resident();
        }
    }
    let rate = count as u64 * 1000 / u64::try_from(started.elapsed().as_millis()).expect("hours");
    let late = server.process().resident();
    println!("{count} cycles, {rate} a second; resident {early}, then {late}");
    assert!(!strict() || rate >= 5000, "{rate} cycles a second");
    assert!(late <= early + (4 << 20), "resident memory climbs: {early}, then {late}");
    row.end(&mut server);
}
