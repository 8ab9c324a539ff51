//! BP: peers that do not read.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use super::support::{
    BINARY, Case, FIN, Launch, Noise, PATIENCE, Peer, Request, Row, Server, TEXT, eventually, frame, pass, rows, scaled,
};

/// The hard bound of the output of one connection.
const OUTPUT: u64 = 16 << 20;

pub(crate) fn rows() -> Vec<Case> {
    rows![
        Slow: bp04_small_socket_buffers_carry_large_messages;
        Heavy:
            bp01_an_echo_that_is_not_read_is_bounded,
            bp01_a_broadcast_that_is_not_read_is_bounded,
            bp02_stalled_subscribers_do_not_hold_up_the_others;
    ]
}

/// The most resident memory seen while `work` runs in a thread of its own.
fn most_resident(server: &Server, work: impl FnOnce() + Send) -> u64 {
    server.process().forget_peak();
    thread::scope(|scope| scope.spawn(work).join().expect("the work is done"));
    server.process().peak()
}

fn bp01_an_echo_that_is_not_read_is_bounded() {
    let mut server = Server::echo();
    let row = Row::begin(&server);
    let mut peer = Peer::upgraded(&server);
    let message = frame(FIN | BINARY, vec![b'm'; 1 << 20]);
    let mut stream = peer.stream.try_clone().expect("own socket");
    stream.set_write_timeout(Some(Duration::from_secs(2))).expect("legal");
    let mut taken = 0;
    let most = most_resident(&server, || {
        // A gigabyte, or until the server takes no more.
        for _ in 0..1024 {
            if stream.write_all(&message).is_err() {
                break;
            }
            taken += 1;
        }
    });
    println!("{taken} MiB taken, {most} bytes resident at most");
    // The output, the message under way, and the canaries' slack.
    let bound = row.resident() + OUTPUT + (2 << 20) + (8 << 20);
    assert!(most <= bound, "{most} bytes resident");
    for _ in 0..3 {
        peer.trickle(1);
        pass(Duration::from_secs(1));
        assert!(server.process().resident() <= bound);
    }
    row.canaries_sing();
    drop((peer, stream));
    row.end(&mut server);
}

fn bp01_a_broadcast_that_is_not_read_is_bounded() {
    let mut server = Launch::echo().with("--broadcast").with("all:").start();
    // Canaries would get the broadcast too: they come afterwards.
    let idle = server.process().resident();
    let mut slow = Peer::connect_with_buffers(&server, 4096);
    slow.upgrade(&Request::upgrade("/"));
    let mut sender = Peer::upgraded(&server);
    let message = [&b"all:"[..], &[b'm'; 64 << 10]].concat();
    let count = scaled(16 << 10);
    let most = most_resident(&server, || {
        let bytes = frame(FIN | BINARY, &message);
        for n in 0..count {
            sender.send(&bytes);
            sender.expect(BINARY, &message);
            if n % 4096 == 0 {
                slow.trickle(1);
            }
        }
    });
    println!("{most} bytes resident at most");
    assert!(most <= idle + OUTPUT + (8 << 20), "{most} bytes resident");
    sender.echoes();
    drop((slow, sender));
    let row = Row::begin(&server);
    row.end(&mut server);
}

/// Reads broadcast messages off all `peers` in turn, and demands that each gets all of them in order.
fn follow(peers: &mut [Peer], count: u64) {
    let mut next = vec![0_u64; peers.len()];
    while next.iter().any(|next| *next < count) {
        for (peer, next) in peers.iter_mut().zip(&mut next) {
            if *next == count {
                continue;
            }
            peer.each_frame(|first, payload| {
                assert_eq!(first, FIN | BINARY);
                assert_eq!(payload.len(), 1024);
                assert_eq!(payload[4..12], next.to_be_bytes(), "lost, doubled or out of order");
                *next += 1;
            });
        }
    }
}

fn bp02_stalled_subscribers_do_not_hold_up_the_others() {
    const STALLED: usize = 10;
    const READING: usize = 989;
    let count = u64::try_from(scaled(10_000)).expect("small");
    let mut server = Launch::echo().with("--broadcast").with("all:").start();
    // The server's own canaries would have to read the broadcast, so it goes without.
    let descriptors = server.process().descriptors();
    let idle = server.process().resident();
    let stalled: Vec<Peer> = (0..STALLED).map(|_| Peer::upgraded(&server)).collect();
    let mut reading: Vec<Peer> = (0..READING).map(|_| Peer::upgraded(&server)).collect();
    let mut sender = Peer::upgraded(&server);
    let from = sender.stream.try_clone().expect("own socket");
    let started = Instant::now();
    let most = most_resident(&server, || {
        thread::scope(|scope| {
            scope.spawn(move || {
                let mut sender = Peer::over(from);
                let mut payload = [&b"all:"[..], &Noise::new(2).bytes(1020)].concat();
                for n in 0..count {
                    payload[4..12].copy_from_slice(&n.to_be_bytes());
                    sender.send_frame(FIN | BINARY, &payload);
                }
            });
            let (left, right) = reading.split_at_mut(READING / 2);
            scope.spawn(|| follow(left, count));
            scope.spawn(|| follow(right, count));
            follow(std::slice::from_mut(&mut sender), count);
        });
    });
    println!("{count} messages to 1000 in {:?}, {most} bytes resident at most", started.elapsed());
    assert!(most <= idle + STALLED as u64 * OUTPUT + (20 << 20), "{most} bytes resident");
    sender.echoes();
    reading.iter_mut().for_each(Peer::echoes);
    drop((stalled, reading, sender));
    let row = Row::begin(&server);
    assert!(server.process().descriptors() <= descriptors + STALLED + READING + 21);
    eventually("its descriptors are back", PATIENCE, || server.process().descriptors() <= descriptors + 20);
    row.end(&mut server);
}

fn bp04_small_socket_buffers_carry_large_messages() {
    let mut server = Server::echo();
    let row = Row::begin(&server);
    let contents = [Noise::new(41).bytes(8 << 20), Noise::new(42).bytes(8 << 20)];
    for bytes in [2 << 10, 4 << 10] {
        let mut peer = Peer::connect_with_buffers(&server, bytes);
        peer.upgrade(&Request::upgrade("/"));
        peer.patience(Duration::from_secs(60));
        let stream = peer.stream.try_clone().expect("own socket");
        thread::scope(|scope| {
            // The second goes out while the first comes back.
            let contents = &contents;
            scope.spawn(move || {
                let mut writer = Peer::over(stream);
                contents.iter().for_each(|content| writer.send_frame(FIN | BINARY, content));
            });
            for content in contents {
                peer.expect(BINARY, content);
            }
        });
        peer.send_frame(FIN | TEXT, "and now nothing");
        peer.expect(TEXT, "and now nothing");
        // Nothing to write: no work, though the socket would take more.
        let (spent, ()) = row.cpu_of(&server, || pass(Duration::from_secs(2)));
        assert!(spent < Duration::from_millis(40), "{spent:?} of CPU with nothing to write");
    }
    row.end(&mut server);
}
