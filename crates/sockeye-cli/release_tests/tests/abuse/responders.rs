//! The rows of requests against responders: handlers that take bodies in pieces, and answer at once, later, or in a
//! stream. Beside U1 to U8, every session has ended once, in the way that is expected.

use std::time::{Duration, Instant};

use super::support::{
    Case, End, Launch, Noise, PATIENCE, Peer, Request, Row, Server, eventually, pass, refused, rows, scaled,
};

pub(crate) fn rows() -> Vec<Case> {
    rows![
        Slow:
            slow_bodies_end_with_408,
            slow_readers_of_answers_are_reset,
            connections_without_a_next_request_are_closed;
        Heavy: resets_at_any_byte_leave_nothing_open;
        Quick:
            sm01_a_length_beside_chunks_is_refused,
            sm02_bad_lengths_are_refused,
            sm03_malformed_fields_are_refused,
            sm04_bad_chunks_end_the_request,
            odd_but_valid_chunks_are_one_body,
            hs03_other_protocols_are_declined_and_nothing_follows,
            hs17_heads_are_accepted_up_to_the_limit,
            bodies_up_to_the_limit_are_accepted,
            answers_without_a_body_do_not_shift_the_next_one,
            a_client_is_told_to_continue_once_and_only_if_its_body_is_wanted,
            what_is_behind_an_unread_body_is_no_request,
            pipelined_requests_wait_in_the_kernel_and_are_answered_in_order,
            a_peer_that_goes_ends_its_request;
    ]
}

/// Runs `abuse` beside the responders. No session is left afterwards, and those that ended did so in one of `ways`.
fn on_responders(ways: &[&str], abuse: impl FnOnce(&Server, &Row)) {
    let mut server = Launch::responders().start();
    let row = Row::begin_responders(&server);
    abuse(&server, &row);
    eventually("all sessions have ended", PATIENCE, || sessions(&server).starts_with("0 "));
    let ended = sessions(&server);
    let others = ended.split('"').skip(1).step_by(2).filter(|way| !ways.contains(way));
    assert_eq!(others.collect::<Vec<_>>(), [""; 0], "ways to end: {ended}");
    row.end(&mut server);
}

fn sessions(server: &Server) -> String {
    let mut peer = Peer::connect(server);
    peer.send(Request::get("/sessions").bytes());
    String::from_utf8(peer.reply().expect("an answer").body).expect("text")
}

/// Each way to be answered; all take a body.
const PATHS: [&str; 8] = ["/echo", "/count", "/later", "/wait", "/stream/5000", "/length", "/paused", "/now"];

const SMUGGLED: &str = "GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn post(path: &str) -> Request {
    Request::get(path).method("POST")
}

fn chunked(path: &str, chunks: &str) -> Request {
    post(path).add("Transfer-Encoding", "chunked").body(chunks)
}

/// All that a connection of its own is sent as an answer to `bytes`, until it is gone.
fn whole(server: &Server, what: &str, bytes: impl AsRef<[u8]>) -> String {
    let mut peer = Peer::connect(server);
    peer.send(bytes);
    String::from_utf8_lossy(&peer.rest(PATIENCE, what)).into_owned()
}

fn statuses(answers: &str) -> Vec<&str> {
    answers.match_indices("HTTP/1.1 ").map(|(at, found)| &answers[at + found.len()..][..3]).collect()
}

fn sm01_a_length_beside_chunks_is_refused() {
    on_responders(&[], |server, _| {
        for path in PATHS {
            for method in ["GET", "POST", "PUT", "DELETE", "HEAD"] {
                let request = Request::get(path).method(method);
                let body = format!("0\r\n\r\n{SMUGGLED}");
                let both = request.clone().add("Content-Length", "5").add("Transfer-Encoding", "chunked").body(&body);
                refused(server, path, both.bytes(), &[400]);
                let turned = request.add("Transfer-Encoding", "chunked").add("Content-Length", "5").body(&body);
                refused(server, path, turned.bytes(), &[400]);
            }
        }
    });
}

fn sm02_bad_lengths_are_refused() {
    let lengths = [
        "-1",
        "+5",
        "0x5",
        "5 5",
        "5, 6",
        "",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "5,",
        ",5",
        "5;",
        "\u{b2}",
        "1e1",
        "0000000000000000000000000000000000000000000000000000018446744073709551616",
    ];
    // Legal, but larger than a body may be. The head already says so to one that answers by the head.
    let large = ["9223372036854775807", "1048577"];
    on_responders(&["the body is too large", "answered"], |server, _| {
        for path in PATHS {
            for length in lengths {
                let request = post(path).add("Content-Length", length).body("12345");
                refused(server, &format!("{path}, Content-Length: {length:?}"), request.bytes(), &[400]);
            }
            let two = post(path).add("Content-Length", "5").add("Content-Length", "6").body("123456");
            refused(server, &format!("{path}, two lengths"), two.bytes(), &[400]);
        }
        for path in ["/echo", "/later", "/wait", "/stream/5000", "/length"] {
            for length in large {
                let request = post(path).add("Content-Length", length).body("12345");
                refused(server, &format!("{path}, Content-Length: {length}"), request.bytes(), &[413]);
            }
        }
        for length in large {
            refused(server, length, post("/now").add("Content-Length", length).body(SMUGGLED).bytes(), &[200]);
        }
    });
}

fn sm03_malformed_fields_are_refused() {
    let lines: [&[u8]; 22] = [
        b"X-Name : value\r\n",
        b"X-Name\t: value\r\n",
        b"X-Name: one\r\n two\r\n",
        b"X-Name: one\r\n\ttwo\r\n",
        b" X-Name: first\r\n",
        b"X-Name: a\0b\r\n",
        b"X-Name: a\rb\r\n",
        b"X-Name: a\x01b\r\n",
        b"X-Name: a\x7fb\r\n",
        b"X-\0Name: a\r\n",
        b"X-Name\0: a\r\n",
        b"X-\rName: a\r\n",
        b": no name\r\n",
        b"X-\x80: a\r\n",
        b"X Name: a\r\n",
        b"X(Name): a\r\n",
        b"no colon\r\n",
        b"X-Name: bare line feed\n",
        b"X-Name: a\nY: b\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    ];
    on_responders(&[], |server, _| {
        for path in PATHS {
            for line in lines {
                let mut bytes = post(path).bytes();
                bytes.truncate(bytes.len() - 2);
                bytes.extend_from_slice(line);
                bytes.extend_from_slice(b"\r\n");
                refused(server, &format!("{path}, {:?}", String::from_utf8_lossy(line)), bytes, &[400]);
            }
            let text = String::from_utf8(post(path).bytes()).expect("ASCII");
            refused(server, &format!("{path}, bare line feeds"), text.replace("\r\n", "\n"), &[400]);
            let old = chunked(path, "0\r\n\r\n").version("HTTP/1.0");
            refused(server, &format!("{path}, chunks in HTTP/1.0"), old.bytes(), &[400]);
        }
    });
}

fn sm04_bad_chunks_end_the_request() {
    let extension = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(1 << 20));
    let trailers: String = (0..10_000).map(|n| format!("X-{n}: y\r\n")).collect();
    let trailers = format!("1\r\na\r\n0\r\n{trailers}\r\n");
    let bodies = [
        ("ffffffffffffffff\r\na", "413"),
        ("fffffffffffffffe\r\na", "413"),
        ("100001\r\na", "413"),
        ("fffffffffffffffff\r\na", "413"),
        ("00000000000000001\r\na\r\n0\r\n\r\n", "400"),
        ("-1\r\na\r\n0\r\n\r\n", "400"),
        ("+3\r\nabc\r\n0\r\n\r\n", "400"),
        ("0x3\r\nabc\r\n0\r\n\r\n", "400"),
        ("\r\nabc\r\n0\r\n\r\n", "400"),
        ("g\r\nabc\r\n0\r\n\r\n", "400"),
        ("3\nabc\n0\n\n", "400"),
        ("3\r\nabc\n0\r\n\r\n", "400"),
        ("3\r\nabcd\r\n0\r\n\r\n", "400"),
        ("3 \r\nabc\r\n0\r\n\r\n", "400"),
        ("3;a\nb\r\nabc\r\n0\r\n\r\n", "400"),
        ("3\r\nabc\r\n0\r\n folded: x\r\n\r\n", "400"),
        ("3\r\nabc\r\n0\r\nX : y\r\n\r\n", "400"),
        ("3\r\nabc\r\n0\r\nX: a\0b\r\n\r\n", "400"),
        (extension.as_str(), "400"),
        (trailers.as_str(), "400"),
    ];
    let ways = [
        "the body is too large",
        "a chunk size must be 1 to 16 hexadecimal digits (RFC 9112 section 7.1)",
        "a line of a chunked body must end in CR LF (RFC 9112 section 7.1)",
        "a trailer line is malformed (RFC 9112 section 7.1.2)",
        "chunk extensions and trailers are too long",
    ];
    on_responders(&ways, |server, _| {
        for (body, status) in bodies {
            let text = &body[..body.len().min(40)];
            for path in ["/echo", "/later", "/wait", "/length"] {
                let answer = whole(server, path, chunked(path, &format!("{body}{SMUGGLED}")).bytes());
                assert_eq!(statuses(&answer), [status], "{path}, chunks {text:?}: {answer}");
            }
            // Decided by the head, before the body is looked at; and what is in the body is no request.
            let answer = whole(server, "/now", chunked("/now", &format!("{body}{SMUGGLED}")).bytes());
            assert_eq!(statuses(&answer), ["200"], "chunks {text:?}: {answer}");
            assert!(answer.ends_with("\r\n\r\ndecided by the head"), "chunks {text:?}: {answer}");
            // Of an answer that has begun, the end must be missing.
            let mut peer = Peer::connect(server);
            peer.send(post("/stream").add("Transfer-Encoding", "chunked").bytes());
            peer.read_exactly(10_000);
            peer.send(body);
            let rest = String::from_utf8_lossy(&peer.rest(PATIENCE, text)).into_owned();
            assert!(statuses(&rest).is_empty() && !rest.ends_with("0\r\n\r\n"), "chunks {text:?}");
        }
    });
}

fn odd_but_valid_chunks_are_one_body() {
    on_responders(&["answered"], |server, _| {
        let chunks =
            "4;name=value\r\nwiki\r\n0003 ;a=\"b;\\\"c\"\r\nped\r\nA\r\n0123456789\r\n000\r\nX-Sum: 1\r\nY:\r\n\r\n";
        let chunks = chunks.replace("0003 ;", "0003;");
        for path in ["/echo", "/later", "/length", "/paused"] {
            let mut peer = Peer::connect(server);
            let mut requests = chunked(path, &chunks).bytes();
            requests.extend(Request::get("/now").bytes());
            peer.send_bytewise(&requests);
            let reply = peer.reply().expect("an answer");
            assert_eq!((reply.status, &*reply.body), (200, &b"wikiped0123456789"[..]), "{path}");
            assert_eq!(peer.reply().expect("an answer").body, b"decided by the head", "{path}");
        }
    });
}

fn hs03_other_protocols_are_declined_and_nothing_follows() {
    on_responders(&["answered"], |server, _| {
        for protocol in ["h2c", "TLS/1.0", "foo"] {
            for path in ["/echo", "/later", "/stream/100", "/now"] {
                let upgrade = post(path).add("Upgrade", protocol).add("Connection", "Upgrade").body(SMUGGLED);
                let answer = whole(server, protocol, upgrade.bytes());
                assert_eq!(statuses(&answer), ["200"], "{path}, {protocol}: {answer}");
                assert!(answer.contains("\r\nConnection: close\r\n"), "{path}, {protocol}: {answer}");
            }
        }
        // An upgrade to WebSocket is for the protocols, whatever the path.
        let reply = Peer::connect(server).upgrade(&Request::upgrade("/echo"));
        assert_eq!(reply.status, 101);
    });
}

fn hs17_heads_are_accepted_up_to_the_limit() {
    on_responders(&["answered"], |server, _| {
        let lines = |count| (1..count).fold(post("/later"), |request, n| request.add(format!("X-{n}"), "y"));
        refused(server, "5000 fields", lines(5000).bytes(), &[431]);
        refused(server, "101 fields", lines(101).bytes(), &[431]);
        refused(server, "a target of 100 KB", post(&format!("/echo/{}", "u".repeat(100_000))).bytes(), &[414, 431]);
        refused(server, "a head of 1 MB", post("/echo").add("X-Long", "x".repeat(1 << 20)).bytes(), &[431]);
        refused(server, "a head of 16 KiB and 1", post("/echo").padded_to((16 << 10) + 1).bytes(), &[431]);
        for request in [lines(100), post("/echo").padded_to(16 << 10)] {
            let mut peer = Peer::connect(server);
            peer.send(request.bytes());
            assert_eq!(peer.reply().expect("an answer").status, 200);
            // In single bytes, on the same connection.
            peer.send_bytewise(request.bytes());
            assert_eq!(peer.reply().expect("an answer").status, 200);
        }
    });
}

fn bodies_up_to_the_limit_are_accepted() {
    on_responders(&["answered", "the body is too large"], |server, _| {
        let body = Noise::new(1).bytes(1 << 20);
        for path in ["/echo", "/length", "/paused", "/later"] {
            let mut peer = Peer::connect(server);
            peer.send(post(path).add("Content-Length", "1048576").body(&body).bytes());
            assert!(peer.reply().expect("an answer").body == body, "{path}");
            // A byte a chunk, as far as this goes.
            peer.send(chunked(path, &format!("{}0\r\n\r\n", "1\r\nx\r\n".repeat(50_000))).bytes());
            assert_eq!(peer.reply().expect("an answer").body.len(), 50_000, "{path}");
            let large = format!("{}0\r\n\r\n", format!("8000\r\n{}\r\n", "x".repeat(0x8000)).repeat(33));
            refused(server, path, chunked(path, &large).bytes(), &[413]);
        }
        let mut peer = Peer::connect(server);
        peer.send(post("/count").add("Content-Length", "33554432").bytes());
        for _ in 0..32 {
            peer.send(vec![b'x'; 1 << 20]);
        }
        assert_eq!(peer.reply().expect("an answer").body, b"33554432");
    });
}

fn answers_without_a_body_do_not_shift_the_next_one() {
    on_responders(&["answered"], |server, _| {
        let mut peer = Peer::connect(server);
        for status in [204, 205, 304] {
            for method in ["GET", "POST", "HEAD", "DELETE"] {
                let ask = Request::get(format!("/status/{status}")).method(method).add("Content-Length", "0");
                peer.send([ask.bytes(), Request::get("/now").bytes()].concat());
                let reply = peer.reply_to(method).expect("an answer");
                assert_eq!((reply.status, reply.body.len()), (status, 0), "{method}");
                assert_eq!(reply.field("Transfer-Encoding"), None, "{method} {status}");
                assert!(status == 205 || reply.field("Content-Length").is_none(), "{method} {status}: {reply:?}");
                assert_eq!(peer.reply().expect("an answer").body, b"decided by the head", "{method} {status}");
            }
        }
        for path in ["/echo", "/later", "/stream/5000", "/stream", "/length", "/now"] {
            let body = if path.starts_with("/stream") { "" } else { "abc" };
            let head = Request::get(path).method("HEAD").add("Content-Length", body.len().to_string()).body(body);
            peer.send([head.bytes(), Request::get("/now").bytes()].concat());
            let reply = peer.reply_to("HEAD").expect("an answer");
            assert_eq!((reply.status, reply.body.len()), (200, 0), "{path}");
            if path == "/now" {
                // Its body is not read, so nothing may follow.
                peer.gone(path);
                peer = Peer::connect(server);
            } else {
                assert_eq!(peer.reply().expect("an answer").body, b"decided by the head", "{path}");
            }
        }
    });
}

fn a_client_is_told_to_continue_once_and_only_if_its_body_is_wanted() {
    on_responders(&["answered"], |server, _| {
        let expects = |path, length| post(path).add("Content-Length", length).add("Expect", "100-continue");
        for path in ["/echo", "/later", "/length", "/paused"] {
            let mut peer = Peer::connect(server);
            peer.send(expects(path, "5").bytes());
            assert_eq!(peer.reply().expect("100").status, 100, "{path}");
            peer.send("12345");
            let reply = peer.reply().expect("an answer");
            assert_eq!((reply.status, &*reply.body), (200, &b"12345"[..]), "{path}");
            // One that does not wait is not told.
            peer.send(expects(path, "5").body("67890").bytes());
            assert_eq!(peer.reply().expect("an answer").body, b"67890", "{path}");
            // Nothing to wait for.
            peer.send(expects(path, "0").bytes());
            assert_eq!(peer.reply().expect("an answer").status, 200, "{path}");
        }
        // Decided by the head: the answer comes instead.
        assert_eq!(statuses(&whole(server, "/now", expects("/now", "5").bytes())), ["200"]);
        assert_eq!(statuses(&whole(server, "/none", expects("/none", "5").bytes())), ["404"]);
        // RFC 9110 section 10.1.1: "A server that receives a 100-continue expectation in an HTTP/1.0 request MUST ignore
        // that expectation."
        let mut peer = Peer::connect(server);
        peer.send(expects("/echo", "5").version("HTTP/1.0").bytes());
        assert_eq!(peer.patience(Duration::from_millis(100)).reply().err(), Some(End::Silence));
        peer.send("12345");
        assert_eq!(peer.patience(PATIENCE).reply().expect("an answer").status, 200);
        // Accepted, so it is told, and answered before the body has come.
        let mut peer = Peer::connect(server);
        peer.send(expects("/stream/5", "5").bytes());
        assert_eq!(peer.reply().expect("100").status, 100);
        let reply = peer.reply().expect("an answer");
        assert_eq!((reply.status, &*reply.body), (200, &b"....."[..]));
        peer.gone("the body was not read");
    });
}

fn what_is_behind_an_unread_body_is_no_request() {
    on_responders(&["answered"], |server, _| {
        for path in ["/now", "/early", "/stream/5000", "/none"] {
            for bytes in [100_000, 1 << 20] {
                let body = SMUGGLED.repeat(bytes / SMUGGLED.len());
                let request = post(path).add("Content-Length", body.len().to_string()).body(body);
                let answer = whole(server, path, request.bytes());
                assert_eq!(statuses(&answer).len(), 1, "{path}, {bytes} bytes: {answer}");
                assert!(answer.contains("\r\nConnection: close\r\n"), "{path}, {bytes} bytes: {answer}");
            }
        }
    });
}

fn pipelined_requests_wait_in_the_kernel_and_are_answered_in_order() {
    on_responders(&["answered", "ended by the peer", "broken"], |server, row| {
        let mut peer = Peer::connect(server);
        let count = 500;
        for number in 0..count {
            let path = ["/echo", "/length", "/now"][number % 3];
            let body = if path == "/now" { String::new() } else { format!("number {number}") };
            peer.send(post(path).add("Content-Length", body.len().to_string()).body(body).bytes());
        }
        for number in 0..count {
            let expected = if number % 3 == 2 { "decided by the head".to_owned() } else { format!("number {number}") };
            assert_eq!(String::from_utf8_lossy(&peer.reply().expect("an answer").body), expected);
        }
        // Behind a request that is never answered no more is read than a head may have.
        let peers: Vec<Peer> = (0..100).map(|_| Peer::connect(server)).collect();
        let behind = Request::get("/echo").bytes().repeat(10_000);
        for mut peer in peers.iter().map(|peer| Peer::over(peer.stream.try_clone().expect("own socket"))) {
            peer.send(Request::get("/wait").bytes());
            peer.stream.set_nonblocking(true).expect("own socket");
            let mut left = &behind[..];
            while let Ok(count @ 1..) = std::io::Write::write(&mut peer.stream, left) {
                left = &left[count..];
            }
        }
        row.canaries_sing();
        let grown = server.process().peak().saturating_sub(row.resident());
        assert!(grown <= 100 * (64 << 10), "{grown} bytes more");
        // By a reset: an orderly end would wait behind all that.
        peers.into_iter().for_each(Peer::reset);
    });
}

fn a_peer_that_goes_ends_its_request() {
    on_responders(&["ended by the peer", "broken", "broken: connection reset", "broken: broken pipe"], |server, _| {
        let half = post("/echo").add("Content-Length", "10").body("half").bytes();
        let waits = Request::get("/wait").bytes();
        let behind = [waits.clone(), Request::get("/echo").bytes()].concat();
        let endless = Request::get("/stream").bytes();
        for request in [half, waits, behind, endless] {
            let mut peer = Peer::connect(server);
            peer.send(&request);
            eventually("it has begun", PATIENCE, || sessions(server).starts_with("1 "));
            peer.reset();
            eventually("it has ended", PATIENCE, || sessions(server).starts_with("0 "));
            let mut peer = Peer::connect(server);
            peer.send(&request);
            eventually("it has begun", PATIENCE, || sessions(server).starts_with("1 "));
            peer.finish();
            if !request.starts_with(b"GET /stream") {
                // Nothing that a peer could take for an answer.
                assert_eq!(peer.rest(PATIENCE, "the peer has gone"), b"");
            }
            drop(peer);
            eventually("it has ended", PATIENCE, || sessions(server).starts_with("0 "));
        }
    });
}

fn slow_bodies_end_with_408() {
    const PEERS: usize = 200;
    on_responders(&["the body came too slowly"], |server, row| {
        let mut open: Vec<(Instant, &str, Peer)> = Vec::new();
        for number in 0..PEERS {
            let path = ["/echo", "/count", "/later", "/wait"][number % 4];
            let mut peer = Peer::connect(server);
            let request = if number % 8 < 4 {
                post(path).add("Content-Length", "1000000").bytes()
            } else {
                chunked(path, "fff\r\n").bytes()
            };
            peer.send(request);
            open.push((Instant::now(), path, peer));
        }
        let (mut ages, mut answered) = (Vec::new(), Vec::new());
        while !open.is_empty() {
            let mut still = Vec::with_capacity(open.len());
            for (since, path, mut peer) in open {
                peer.send("x");
                match peer.patience(Duration::ZERO).reply() {
                    Ok(reply) => {
                        assert_eq!(reply.status, 408, "{path}");
                        ages.push(since.elapsed());
                        answered.push((path, peer));
                    }
                    Err(End::Silence) if since.elapsed() < PATIENCE => still.push((since, path, peer)),
                    Err(end) => panic!("{path}: {end:?} instead of an answer"),
                }
            }
            open = still;
            pass(Duration::from_millis(200));
        }
        answered.into_iter().for_each(|(path, mut peer)| peer.gone(path));
        let grown = server.process().peak().saturating_sub(row.resident());
        assert!(grown <= PEERS as u64 * (20 << 10), "{grown} bytes more");
        let (first, last) = (ages.iter().min().expect("200"), ages.iter().max().expect("200"));
        assert!(*first >= Duration::from_secs(9) && *last <= Duration::from_secs(13), "from {first:?} to {last:?}");
    });
}

fn slow_readers_of_answers_are_reset() {
    const PEERS: u64 = 100;
    on_responders(&["the answer was read too slowly"], |server, row| {
        let mut peers: Vec<Peer> = (0..PEERS)
            .map(|number| {
                let mut peer = Peer::connect_with_buffers(server, 4096);
                peer.send(Request::get(if number % 2 == 0 { "/stream" } else { "/stream/20000000" }).bytes());
                peer
            })
            .collect();
        let bound = row.resident() + PEERS * (256 << 10);
        let process = server.process();
        eventually("the slow readers are reset", Duration::from_secs(60) + PATIENCE, || {
            peers.iter_mut().for_each(|peer| peer.trickle(1));
            pass(Duration::from_secs(1));
            assert!(process.resident() <= bound, "{} bytes resident", process.resident());
            process.descriptors() <= row.descriptors()
        });
        row.canaries_sing();
    });
}

fn connections_without_a_next_request_are_closed() {
    on_responders(&["answered"], |server, _| {
        let mut peers: Vec<(Peer, Instant)> = ["/echo", "/later", "/stream/100", "/now"]
            .map(|path| {
                let mut peer = Peer::connect(server);
                peer.send(Request::get(path).bytes());
                assert_eq!(peer.reply().expect("an answer").status, 200);
                (peer, Instant::now())
            })
            .into();
        // Half of a next head does not help.
        peers[0].0.send("GET /ech");
        for (number, (peer, since)) in peers.iter_mut().enumerate() {
            let rest = String::from_utf8_lossy(&peer.rest(PATIENCE, "idle")).into_owned();
            assert_eq!(statuses(&rest), if number == 0 { vec!["408"] } else { vec![] });
            let age = since.elapsed();
            assert!(age >= Duration::from_secs(9) && age <= Duration::from_secs(12), "{age:?}");
        }
    });
}

fn resets_at_any_byte_leave_nothing_open() {
    let ways = ["answered", "ended by the peer", "broken", "broken: connection reset", "broken: broken pipe"];
    on_responders(&ways, |server, _| {
        let mut noise = Noise::new(3);
        let requests = [
            post("/echo").add("Content-Length", "50000").body(vec![b'x'; 50_000]).bytes(),
            chunked("/later", &format!("{}0\r\n\r\n", format!("400\r\n{}\r\n", "x".repeat(0x400)).repeat(20))).bytes(),
            Request::get("/stream").bytes(),
            Request::get("/stream/1000000").bytes(),
            post("/length").add("Content-Length", "5000").body(vec![b'x'; 5000]).bytes(),
        ];
        for round in 0..scaled(5000) {
            let request = &requests[round % requests.len()];
            let mut peer = Peer::connect(server);
            peer.send(&request[..noise.below(request.len() + 1)]);
            if round % 2 == 0 {
                peer.trickle(noise.below(100_000));
            }
            if round % 3 == 0 { drop(peer) } else { peer.reset() }
        }
    });
}
