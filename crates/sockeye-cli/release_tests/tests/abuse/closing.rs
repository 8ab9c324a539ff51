//! CT: close frames, pings and the end of TCP connections.

use std::net::TcpStream;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use super::support::{
    BINARY, CLOSE, Case, FIN, GONE, Launch, Noise, PATIENCE, PING, PONG, Peer, Request, Row, Server, Size, TEXT,
    TempDir, close_body, eventually, frame, header, isolated, pass, rows, scaled,
};

pub(crate) fn rows() -> Vec<Case> {
    rows![
        Slow:
            ct04_a_peer_that_ignores_our_close_is_dropped_at_five_seconds,
            ct08_peers_behind_a_dead_network_end_with_the_keepalive.with_root;
        Heavy:
            ct05_a_flood_of_pings_and_pongs_costs_nothing,
            ct07_resets_at_any_byte_leave_nothing_behind;
        Quick:
            u8_what_was_given_up_is_gone_though_the_peer_stays,
            ct01_illegal_close_frames_are_answered_with_the_rule,
            ct02_legal_close_frames_are_echoed_and_tcp_is_closed;
    ]
}

/// A peer that keeps its side open, and says nothing more, does not keep the connection either. Nor does one that talks on.
fn u8_what_was_given_up_is_gone_though_the_peer_stays() {
    let mut server = Server::echo();
    let row = Row::begin(&server);
    let upgrade = Request::upgrade("/");
    let violation = |bytes: Vec<u8>| [upgrade.bytes(), bytes].concat();
    let inputs = [
        ("not HTTP", b"\x16\x03\x01\x02\x00 nonsense\r\n\r\n".to_vec()),
        ("400", upgrade.clone().set("Sec-WebSocket-Key", "YQ==").bytes()),
        ("405", upgrade.clone().method("POST").bytes()),
        ("426", upgrade.clone().set("Sec-WebSocket-Version", "8").bytes()),
        ("431", upgrade.clone().add("X-Long", vec![b'x'; 20 << 10]).bytes()),
        ("414", Request::get(format!("/{}", "u".repeat(9000))).bytes()),
        ("505", Request::get("/").version("HTTP/2.0").bytes()),
        ("Connection: close", Request::get("/").add("Connection", "close").bytes()),
        ("a clean close", violation(frame(FIN | CLOSE, close_body(1000, "")))),
        ("1002", violation(b"\x81\x01a".to_vec())),
        ("1007", violation(frame(FIN | TEXT, b"\xff"))),
        ("1008", violation([frame(BINARY, ""), frame(0, "").repeat(5000)].concat())),
        ("1009", violation(header(FIN | BINARY, Size::Minimal((1 << 63) - 1)))),
    ];
    let mut peers = Vec::new();
    for (what, bytes) in &inputs {
        for talks in [false, true] {
            let mut peer = Peer::connect(&server);
            peer.send(bytes);
            peers.push((*what, talks, peer));
        }
    }
    let started = Instant::now();
    eventually("they are gone", GONE, || {
        for (_, _, peer) in peers.iter_mut().filter(|(_, talks, _)| *talks) {
            peer.send(b"and another thing");
        }
        server.process().descriptors() <= row.descriptors()
    });
    println!("gone after {:?}", started.elapsed());
    for (what, _, mut peer) in peers {
        peer.rest(Duration::from_secs(1), what);
    }
    row.end(&mut server);
}

fn ct01_illegal_close_frames_are_answered_with_the_rule() {
    let mut server = Server::echo();
    let row = Row::begin(&server);
    let fails = |what: &str, body: Vec<u8>, code: u16| {
        for cut in [false, true] {
            let mut peer = Peer::upgraded(&server);
            let bytes = frame(FIN | CLOSE, &body);
            if cut {
                peer.send_bytewise(&bytes)
            } else {
                peer.send(&bytes)
            }
            peer.fails_with(&[code], what);
        }
    };
    fails("a body of one byte", vec![3], 1002);
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
        fails(&format!("code {code}"), close_body(code, ""), 1002);
        fails(&format!("code {code} and a reason"), close_body(code, "why"), 1002);
    }
    for reason in [&b"\xff\xfe"[..], b"\xc0\x80", b"\xed\xa0\x80", b"\xe2\x82"] {
        fails(&format!("the reason {reason:02x?}"), close_body(1000, reason), 1007);
    }
    fails("a reason of 124 bytes", close_body(1000, [b'r'; 124]), 1002);
    row.end(&mut server);
}

fn ct02_legal_close_frames_are_echoed_and_tcp_is_closed() {
    let mut server = Server::echo();
    let row = Row::begin(&server);
    let mut bodies = vec![(Vec::new(), 1005)];
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999] {
        bodies.push((close_body(code, ""), code));
        bodies.push((close_body(code, "going home"), code));
    }
    bodies.push((close_body(1000, [b'r'; 123]), 1000));
    for (body, code) in bodies {
        let what = format!("code {code}");
        let mut peer = Peer::upgraded(&server);
        peer.echoes();
        peer.send_frame(FIN | CLOSE, body);
        assert_eq!(peer.close_code(&what), code, "the echo of {what}");
        // The server closes TCP first; we keep our side open.
        let rest = peer.rest(Duration::from_secs(1), &what);
        assert!(rest.is_empty(), "{what}: {rest:?} after the close frame");
    }
    // What follows a close frame is not answered.
    let mut peer = Peer::upgraded(&server);
    peer.send(
        [frame(FIN | CLOSE, close_body(1000, "")), frame(FIN | TEXT, "late"), frame(FIN | PING, "late")].concat(),
    );
    peer.fails_with(&[1000], "frames behind a close");
    row.end(&mut server);
}

fn ct04_a_peer_that_ignores_our_close_is_dropped_at_five_seconds() {
    let folder = TempDir::new();
    let mut server = Launch::serve(folder.path()).with("--close-test").start();
    let row = Row::begin_serve(&server, folder.path());
    let request = Request::upgrade("/").add("Sec-WebSocket-Protocol", "dumb-increment-protocol");
    let closing = |server: &Server| {
        let mut peer = Peer::connect(server);
        peer.upgrade(&request);
        peer.close_code("--close-test closes by itself");
        (Instant::now(), peer)
    };
    let held = Mutex::new(Vec::new());
    let hold = |peer| held.lock().expect("no panic").push(peer);
    thread::scope(|scope| {
        scope.spawn(|| {
            let (since, mut peer) = closing(&server);
            peer.gone("a close that is ignored");
            assert!(since.elapsed() >= Duration::from_millis(4500), "dropped after {:?}", since.elapsed());
            hold(peer);
        });
        scope.spawn(|| {
            let (_, mut peer) = closing(&server);
            peer.send_frame(FIN | CLOSE, close_body(1000, ""));
            let rest = peer.rest(Duration::from_secs(1), "a close that is answered, without our FIN");
            assert!(rest.is_empty());
            hold(peer);
        });
        scope.spawn(|| {
            let (since, mut peer) = closing(&server);
            let flood = frame(FIN | TEXT, "still here").repeat(100);
            while !peer.is_gone() {
                assert!(since.elapsed() < GONE, "a peer that floods is still there");
                peer.send(&flood);
            }
            hold(peer);
        });
        scope.spawn(|| {
            let (since, mut peer) = closing(&server);
            while !peer.is_gone() {
                assert!(since.elapsed() < GONE, "a peer that pings is still there");
                peer.send_frame(FIN | PING, "still here");
                pass(Duration::from_millis(100));
            }
            assert!(since.elapsed() >= Duration::from_millis(4500), "dropped after {:?}", since.elapsed());
            hold(peer);
        });
    });
    // Nobody has closed his side, and yet nothing is left of them.
    eventually("they are gone", PATIENCE, || server.process().descriptors() <= row.descriptors());
    drop(held);
    row.end(&mut server);
}

fn ct05_a_flood_of_pings_and_pongs_costs_nothing() {
    let count = scaled(1_000_000);
    let mut server = Server::echo();
    let row = Row::begin(&server);
    let payload = |number: usize| [&number.to_be_bytes()[..], &[b'p'; 117]].concat();
    let ping = |number: usize| frame(FIN | PING, payload(number));

    // Unread: only the newest pong is kept, and reading may stop as long as the output is stuck.
    let mut peer = Peer::upgraded(&server);
    let stream = peer.stream.try_clone().expect("own socket");
    // The one receive buffer of the loop comes into memory with the first large read, whatever that brings. What the message
    // itself took is given back. It is text: bytes would be received where they are collected.
    let large = vec![b'l'; 8 << 20];
    peer.send_frame(FIN | TEXT, &large);
    peer.expect(TEXT, &large);
    eventually("its memory is given back", PATIENCE, || server.process().resident() <= row.resident() + (2 << 20));
    let before = server.process().resident();
    thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let mut peer = Peer::over(stream);
            for batch in 0..count / 1000 {
                peer.send((0..1000).flat_map(|n| ping(batch * 1000 + n)).collect::<Vec<u8>>());
            }
            peer.send_frame(FIN | TEXT, "the end");
        });
        let started = Instant::now();
        while !writer.is_finished() && started.elapsed() < Duration::from_secs(8) {
            pass(Duration::from_millis(10));
        }
        row.canaries_sing();
        let grown = server.process().resident().saturating_sub(before);
        println!("{grown} bytes for {count} unread pongs");
        assert!(grown <= 4 << 20, "{grown} bytes for unread pongs");
        // The newest pong comes once there is room again; that may be behind the echo.
        let newest = payload(count - 1);
        let (mut last, mut over) = (Vec::new(), false);
        while !over || last != newest {
            let message = peer.message().expect("a pong or the end");
            if message.opcode() == PONG {
                assert!(message.payload.len() == 125 && last < message.payload, "pongs out of order");
                last = message.payload;
            } else {
                assert_eq!((over, message.payload.as_slice()), (false, &b"the end"[..]));
                over = true;
            }
        }
    });

    // Read: every ping is answered.
    drop(peer);
    let mut peer = Peer::upgraded(&server);
    for batch in 0..count / 1000 {
        peer.send((0..1000).flat_map(|n| ping(batch * 1000 + n)).collect::<Vec<u8>>());
        for n in 0..1000 {
            peer.expect(PONG, payload(batch * 1000 + n));
        }
    }

    let pongs = frame(FIN | PONG, [b'q'; 125]).repeat(1000);
    for _ in 0..count / 1000 {
        peer.send(&pongs);
    }
    peer.echoes();
    let grown = server.process().resident().saturating_sub(before);
    assert!(grown <= 4 << 20, "{grown} bytes after pongs");
    drop(peer);
    row.end(&mut server);
}

fn ct07_resets_at_any_byte_leave_nothing_behind() {
    let mut server = Server::echo();
    let row = Row::begin(&server);
    let head = Request::upgrade("/").bytes();
    let frames = [
        frame(FIN | TEXT, "a whole one"),
        frame(BINARY, vec![b'f'; 5000]),
        frame(FIN | PING, "between"),
        frame(FIN, vec![b'l'; 5000]),
        frame(FIN | CLOSE, close_body(1000, "bye")),
    ]
    .concat();
    let mut noise = Noise::new(7);
    for _ in 0..scaled(5000) {
        let mut peer = Peer::connect(&server);
        match noise.below(3) {
            0 => peer.send(&head[..noise.below(head.len())]),
            // Reset while the answers are under way.
            1 => {
                peer.upgrade(&Request::upgrade("/"));
                peer.send(&frames[..noise.below(frames.len())]);
            }
            // Reset with answers that were never read and frames that came with the head.
            _ => {
                let all = [head.as_slice(), &frames].concat();
                peer.send(&all[..noise.below(all.len())]);
            }
        }
        peer.reset();
    }
    row.end(&mut server);
}

/// Inside a network namespace of our own, whose only link goes down.
fn ct08_peers_behind_a_dead_network_end_with_the_keepalive() {
    const PEERS: usize = 100;
    isolated(|link| {
        let mut server = Server::echo();
        let idle = server.process().descriptors();
        let mut peers: Vec<Peer> = (0..PEERS).map(|_| Peer::upgraded(&server)).collect();
        peers.iter_mut().for_each(Peer::echoes);
        let (dead, worked) = (Instant::now(), server.process().cpu());
        link.down();
        eventually("keepalive ends them", Duration::from_secs(46) + PATIENCE, || {
            server.assert_alive();
            server.process().descriptors() <= idle
        });
        assert!(dead.elapsed() >= Duration::from_secs(44), "ended after {:?}", dead.elapsed());
        let worked = server.process().cpu() - worked;
        assert!(worked < dead.elapsed() / 50, "{worked:?} of CPU for dead connections");
        link.up();
        Peer::over(TcpStream::connect(server.address()).expect("it still listens")).upgrade(&Request::upgrade("/"));
        drop(peers);
    });
}
