//! BP: peers that do not read.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use super::support::{
    BINARY, CONTINUATION, Case, FIN, Launch, Noise, PATIENCE, PING, PONG, Peer, Request, Row, Server, TEXT, TempDir,
    eventually, frame, pass, rows, scaled, strict,
};

/// The hard bound of the output of one connection.
const OUTPUT: u64 = 16 << 20;

pub(crate) fn rows() -> Vec<Case> {
    rows![
        Slow:
            bp03_dead_readers_of_the_mirror_stop_it_for_seconds_only,
            bp03_what_cannot_be_mirrored_is_one_line_in_the_log,
            bp04_small_socket_buffers_carry_large_messages;
        Heavy:
            bp01_an_echo_that_is_not_read_is_bounded,
            bp01_a_broadcast_that_is_not_read_is_bounded,
            bp01_a_burst_that_is_not_read_leaves_no_memory_behind,
            bp02_stalled_subscribers_do_not_hold_up_the_others,
            bp02_tiny_publications_cost_what_they_carry,
            bp05_a_crowd_stays_within_what_may_be_held,
            bp06_a_flood_of_many_leaves_turns_short;
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

fn bp01_a_burst_that_is_not_read_leaves_no_memory_behind() {
    let mut server = Server::echo();
    let row = Row::begin(&server);
    // An allocator that was taught by the first burst keeps what the second one took, below what came later and stayed.
    burst(&server, &row);
    let later = burst(&server, &row);
    drop(later);
    row.end(&mut server);
}

/// Some peers read late, some leave without, and some leave in the middle of their message. Others come meanwhile: these
/// are returned.
fn burst(server: &Server, row: &Row) -> Vec<Peer> {
    const PEERS: usize = 30;
    const LATER: usize = 200;
    const SIZE: usize = 6 << 20;
    let payload = Noise::new(1).bytes(SIZE);
    let (whole, half) = (frame(FIN | BINARY, &payload), SIZE / 2);
    let mut peers: Vec<Peer> = (0..PEERS)
        .map(|number| {
            let mut peer = Peer::connect_with_buffers(server, 64 << 10);
            peer.upgrade(&Request::upgrade("/"));
            match number % 3 {
                0 => peer.send(&whole),
                1 => {
                    peer.send_frame(BINARY, &payload[..half]);
                    peer.send_frame(CONTINUATION | FIN, &payload[half..]);
                }
                _ => peer.send_frame(BINARY, &payload[..half]),
            }
            peer
        })
        .collect();
    // Two thirds are whole messages whose echo waits for its reader, in the server as far as the sockets are full.
    let held = u64::try_from(PEERS / 3 * 2 * SIZE).expect("small");
    eventually("the server holds what is not read", PATIENCE, || {
        server.process().resident() >= row.resident() + held / 2
    });
    let mut later: Vec<Peer> = (0..LATER).map(|_| Peer::upgraded(server)).collect();
    row.canaries_sing();
    for (number, mut peer) in peers.drain(..).enumerate() {
        if number % 2 == 0 && number % 3 != 2 {
            peer.expect(BINARY, &payload);
            peer.echoes();
        }
    }
    later.iter_mut().for_each(Peer::echoes);
    eventually("they are gone", PATIENCE, || server.process().descriptors() <= row.descriptors() + LATER);
    later
}

/// Reads broadcast messages off all `peers` in turn, and demands that each gets all of them in order.
fn follow(peers: &mut [Peer], count: u64) {
    let mut next = vec![0_u64; peers.len()];
    while next.iter().any(|next| *next < count) {
        for (peer, next) in peers.iter_mut().zip(&mut next) {
            if *next == count {
                continue;
            }
            let mut ping = None;
            peer.each_frame(|first, payload| {
                // Who sends nothing for 25 s is pinged, and a busy machine may need longer for all of this.
                if first == FIN | PING {
                    ping = Some(payload.to_vec());
                    return;
                }
                assert_eq!(first, FIN | BINARY);
                assert_eq!(payload.len(), 1024);
                assert_eq!(payload[4..12], next.to_be_bytes(), "lost, doubled or out of order");
                *next += 1;
            });
            if let Some(ping) = ping {
                peer.send_frame(FIN | PONG, ping);
            }
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

fn bp02_tiny_publications_cost_what_they_carry() {
    const STALLED: usize = 100;
    let count = scaled(20_000);
    let mut server = Launch::echo().with("--broadcast").with("!").start();
    let idle = server.process().resident();
    let mut sender = Peer::upgraded(&server);
    let stalled: Vec<Peer> = (0..STALLED)
        .map(|_| {
            let mut peer = Peer::connect_with_buffers(&server, 4096);
            peer.upgrade(&Request::upgrade("/"));
            peer
        })
        .collect();
    // First what the sockets themselves hold. From then on all waits in the server.
    let filling = b"!".repeat(128 << 10);
    for _ in 0..64 {
        sender.send_frame(FIN | BINARY, &filling);
        sender.expect(BINARY, &filling);
    }
    let filled = server.process().resident();
    // Each leaves by itself: the sender waits for its own copy.
    let most = most_resident(&server, || {
        let bytes = frame(FIN | TEXT, "!tiny");
        for _ in 0..count {
            sender.send(&bytes);
            sender.expect(TEXT, "!tiny");
        }
    });
    let carried = u64::try_from(STALLED * count * b"\x81\x05!tiny".len()).expect("small");
    println!("{carried} bytes carried, {} resident for them at most", most.saturating_sub(filled));
    // Buffers grow by doubling.
    assert!(most <= filled + 2 * carried + (8 << 20), "{most} bytes resident, {filled} before");
    sender.echoes();
    drop((stalled, sender));
    eventually("its memory is back", PATIENCE, || server.process().resident() <= idle + (8 << 20));
    let row = Row::begin(&server);
    row.end(&mut server);
}

const MIRROR: &str = "lws-mirror-protocol";

fn bp03_dead_readers_of_the_mirror_stop_it_for_seconds_only() {
    const DEAD: usize = 25;
    const MESSAGES: usize = 600;
    /// For all of them together. One reader is waited for 5 s: one after the other they would take 125 s.
    const STOPPED: Duration = Duration::from_secs(60);
    let folder = TempDir::new();
    let mut server = Server::serve(folder.path());
    let row = Row::begin_serve(&server, folder.path());
    let request = Request::upgrade("/").add("Sec-WebSocket-Protocol", MIRROR);
    let [mut writer, mut reader] = [(); 2].map(|()| Peer::upgraded_by(&server, &request));
    let mut dead = Vec::new();
    let started = Instant::now();
    for number in 0..MESSAGES {
        // They stop all over the ring, not at one place.
        if number % 5 == 0 && dead.len() < DEAD {
            let mut peer = Peer::connect_with_buffers(&server, 4096);
            peer.upgrade(&request);
            dead.push(peer);
        }
        let text = format!("{number} {}", "x".repeat(32 << 10));
        writer.send_frame(FIN | TEXT, &text);
        writer.expect(TEXT, &text);
        reader.expect(TEXT, &text);
        assert!(started.elapsed() < STOPPED, "{number} messages in {:?}", started.elapsed());
    }
    println!("{MESSAGES} messages beside {DEAD} dead readers in {:?}", started.elapsed());
    row.canaries_sing();
    // They were given up, though they are here still: only the two are left.
    eventually("the dead readers are gone", PATIENCE, || server.process().descriptors() <= row.descriptors() + 2);
    drop((writer, reader, dead));
    row.end(&mut server);
}

fn bp03_what_cannot_be_mirrored_is_one_line_in_the_log() {
    let folder = TempDir::new();
    let mut server = Server::serve(folder.path());
    let row = Row::begin_serve(&server, folder.path());
    let request = Request::upgrade("/").add("Sec-WebSocket-Protocol", MIRROR);
    let started = Instant::now();
    let noise = frame(FIN | BINARY, b"\xff\xfe");
    // One that goes on and on, and one that comes back again and again.
    let mut peer = Peer::upgraded_by(&server, &request);
    for _ in 0..1000 {
        peer.send(&noise);
    }
    for _ in 0..100 {
        let mut peer = Peer::upgraded_by(&server, &request);
        peer.send(&noise);
        peer.send_frame(FIN | TEXT, "but this is");
        peer.expect(TEXT, "but this is");
    }
    let took = started.elapsed();
    drop(peer);
    let lines = || server.log_since(started).iter().filter(|(_, line)| line.contains("not mirrored")).count();
    eventually("the log says so", PATIENCE, || lines() > 0);
    println!("{} lines in {took:?}", lines());
    assert!(lines() as u64 <= took.as_secs() + 1, "{} lines in {took:?}", lines());
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

/// A peer of a crowd that sends as much as the server takes, and reads nothing.
struct Pusher<'a> {
    stream: TcpStream,
    rest: &'a [u8],
}

impl Pusher<'_> {
    /// Whether the server took something.
    fn push(&mut self) -> bool {
        let some = &self.rest[..self.rest.len().min(64 << 10)];
        match self.stream.write(some) {
            Ok(count) => {
                self.rest = &self.rest[count..];
                count > 0
            }
            Err(error) => {
                // What is shed has been reset.
                if error.kind() != ErrorKind::WouldBlock {
                    self.rest = &[];
                }
                false
            }
        }
    }
}

fn bp05_a_crowd_stays_within_what_may_be_held() {
    const PEERS: usize = 1000;
    const HELD: u64 = 64 << 20;
    let launch = Launch::echo().with("--metrics").with("/metrics").with("--max-memory").with("64M");
    // Room for the program itself, its stacks and what the allocator keeps.
    let mut server = launch.address_space(HELD + (128 << 20)).start();
    let row = Row::begin(&server);
    let unfinished = &frame(FIN | BINARY, Noise::new(51).bytes(15 << 20))[..1 << 20];
    let echoes = frame(FIN | BINARY, Noise::new(52).bytes(100 << 10)).repeat(20);
    let pages = Request::get("/metrics").bytes().repeat(500);
    let mut crowd: Vec<Pusher<'_>> = (0..PEERS)
        .map(|number| {
            let rest = [unfinished, &echoes, &pages][number % 3];
            let mut peer = Peer::connect_with_buffers(&server, 16 << 10);
            if number % 3 < 2 {
                peer.upgrade(&Request::upgrade("/"));
            }
            peer.stream.set_nonblocking(true).expect("a socket");
            Pusher { stream: peer.stream, rest }
        })
        .collect();
    server.process().forget_peak();
    let began = Instant::now();
    let mut last = began;
    // Until nothing more is taken for a second.
    while last.elapsed() < Duration::from_secs(1) && began.elapsed() < Duration::from_secs(30) {
        if crowd.iter_mut().map(Pusher::push).filter(|&took| took).count() > 0 {
            last = Instant::now();
        } else {
            pass(Duration::from_millis(10));
        }
    }
    let most = server.process().peak();
    let shed = metric(&server, "sockeye_limits_hit_total{limit=\"total_bytes\"}");
    println!(
        "{most} bytes resident at most, {} before; {shed} connections shed in {:?}; the longest turn took {:.1} ms",
        row.resident(),
        began.elapsed(),
        longest_turn(&server)
    );
    assert!(shed > 0.0, "the crowd asked for more than may be held");
    assert!(most <= row.resident() + HELD + HELD / 10, "{most} bytes resident");
    row.canaries_sing();
    drop(crowd);
    // All is back within ten seconds.
    row.end(&mut server);
}

/// 500 peers send as much as the server takes for three seconds, in frames of all sizes, and read all that comes back.
fn bp06_a_flood_of_many_leaves_turns_short() {
    const PEERS: usize = 500;
    let mut server = Launch::echo().with("--metrics").with("/metrics").start();
    let row = Row::begin(&server);
    let floods = [20, 1000, 16 << 10, 200 << 10].map(|bytes| {
        let one = frame(FIN | BINARY, Noise::new(61).bytes(bytes));
        one.repeat((64_usize << 10).div_ceil(one.len()))
    });
    let mut crowd: Vec<(TcpStream, &[u8], usize)> = (0..PEERS)
        .map(|number| {
            let mut peer = Peer::connect_with_buffers(&server, 64 << 10);
            peer.upgrade(&Request::upgrade("/"));
            peer.stream.set_nonblocking(true).expect("a socket");
            (peer.stream, &floods[number % floods.len()][..], 0)
        })
        .collect();
    let (mut sent, mut got) = (0, 0);
    let mut drain = vec![0; 256 << 10];
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        for (stream, flood, at) in &mut crowd {
            match stream.write(&flood[*at..]) {
                Ok(count) => (sent, *at) = (sent + count, (*at + count) % flood.len()),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "a peer that reads is not shed"),
            }
            match stream.read(&mut drain) {
                Ok(count) => got += count,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "a peer that reads is not shed"),
            }
        }
    }
    let longest = longest_turn(&server);
    println!("{} MiB sent, {} MiB back; the longest turn took {longest:.1} ms", sent >> 20, got >> 20);
    assert!(got > 8 << 20, "{got} bytes came back");
    assert!(!strict() || longest <= 20.0, "a turn took {longest} ms");
    row.canaries_sing();
    drop(crowd);
    row.end(&mut server);
}

/// The longest turn of the server's loop, in milliseconds.
fn longest_turn(server: &Server) -> f64 {
    metric(server, "sockeye_turn_longest_seconds") * 1e3
}

/// A number of the server's page.
fn metric(server: &Server, name: &str) -> f64 {
    let mut peer = Peer::connect(server);
    peer.send(Request::get("/metrics").bytes());
    let reply = peer.reply().expect("a page");
    let text = String::from_utf8(reply.body).expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name} in {text}"));
    line.trim().parse().expect("a number")
}
