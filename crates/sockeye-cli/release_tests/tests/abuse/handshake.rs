//! HS: the opening handshake.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::support::{
    Case, End, FIN, Launch, PATIENCE, Peer, Reply, Request, Row, Server, TEXT, TempDir, eventually, frame, pass,
    refused, rows, strict,
};

/// What a hostile list may cost.
const CHEAP: Duration = Duration::from_millis(5);

pub(crate) fn rows() -> Vec<Case> {
    rows![
        Slow: hs15_slow_heads_are_closed_at_ten_seconds;
        Quick:
            hs01_odd_but_valid_upgrades_are_accepted,
            hs02_bad_keys_are_refused_with_400,
            hs03_other_upgrades_get_a_plain_reply,
            hs05_other_versions_are_refused_with_426,
            hs06_other_methods_and_http_10_are_never_upgraded,
            hs08_odd_subprotocol_lists_are_cheap_and_never_echoed,
            hs09_a_quoted_extension_parameter_is_cheap,
            hs10_extension_offers_are_declined,
            hs12_bytes_behind_a_refused_upgrade_are_never_a_request,
            hs13_only_listed_origins_are_accepted,
            hs14_an_upgrade_is_judged_on_the_same_path_as_a_get,
            hs17_a_long_header_is_refused_with_431,
            hs17_a_head_in_one_byte_segments_costs_linear_time,
            hs18_heads_are_accepted_up_to_the_limit;
    ]
}

/// What the server says to `request`, on a connection of its own.
fn answer(server: &Server, request: &Request) -> Reply {
    let mut peer = Peer::connect(server);
    peer.send(request.bytes());
    peer.reply().unwrap_or_else(|end| panic!("{end:?} instead of an answer to {request:?}"))
}

/// Either a refusal with 400 and a close, or an upgrade that then works.
fn refused_or_upgraded(server: &Server, what: &str, request: &Request) -> Option<Reply> {
    let mut peer = Peer::connect(server);
    peer.send(request.bytes());
    let reply = peer.reply().unwrap_or_else(|end| panic!("{what}: {end:?} instead of an answer"));
    assert!(matches!(reply.status, 101 | 400), "{what}: {}", reply.status);
    if reply.status == 400 {
        peer.gone(what);
        return None;
    }
    assert_eq!(reply.field("Sec-WebSocket-Extensions"), None, "{what}");
    Some(reply)
}

fn hs01_odd_but_valid_upgrades_are_accepted() {
    let mut server = Server::echo();
    let row = Row::begin(&server);
    let plain = Request::upgrade("/");
    let odd_case = Request::get("/")
        .add("uPGRADE", "WebSocket")
        .add("CONNECTION", "uPgRaDe")
        .add("sec-websocket-KEY", "dGhlIHNhbXBsZSBub25jZQ==")
        .add("SEC-WEBSOCKET-version", "13");
    let split = plain.clone().set("Connection", "keep-alive").add("Connection", "Upgrade");
    let unknown = (0..50).fold(plain.clone(), |request, n| request.add(format!("X-Unknown-{n}"), "\u{e4}\tb c"));
    let requests = [
        ("plain", plain.clone()),
        ("odd case", odd_case),
        ("two tokens", plain.clone().set("Connection", "keep-alive, Upgrade")),
        ("two tokens, tight", plain.clone().set("Connection", "keep-alive,Upgrade")),
        ("two fields", split),
        ("unknown fields", unknown),
        ("spaces around the key", plain.clone().set("Sec-WebSocket-Key", "  dGhlIHNhbXBsZSBub25jZQ==\t ")),
    ];
    for (what, request) in requests {
        let mut peer = Peer::connect(&server);
        let reply = peer.upgrade(&request);
        assert_eq!(reply.field("Sec-WebSocket-Protocol"), None, "{what}");
        peer.echoes();
    }
    row.end(&mut server);
}

fn hs02_bad_keys_are_refused_with_400() {
    let mut server = Server::echo();
    let row = Row::begin(&server);
    let keys: [&[u8]; 9] = [
        b"",
        b"YQ==",
        b"dGhlIHNhbXBsZSBub25jZQ===",
        b"dGhlIHNhbXBsZSBub25jZQAA=",
        b"dGhlIHNhbXBsZSBub25jZQAA",
        b"dGhlIHNhbXBsZSBub25jZ!==",
        b"dGhlIHNhbXBsZS Bub25jZQ==",
        b"dGhlIHNhbXBsZSBub25jZQ=\xff",
        b"========================",
    ];
    refused(&server, "no key", Request::upgrade("/").remove("Sec-WebSocket-Key").bytes(), &[400]);
    for key in keys {
        let request = Request::upgrade("/").set("Sec-WebSocket-Key", key);
        refused(&server, &format!("key {key:?}"), request.bytes(), &[400]);
    }
    let twice = Request::upgrade("/").add("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    refused(&server, "two keys", twice.bytes(), &[400]);
    row.end(&mut server);
}

fn hs03_other_upgrades_get_a_plain_reply() {
    let folder = TempDir::new();
    folder.file("page.html", "<p>a page</p>");
    let mut server = Server::serve(folder.path());
    let row = Row::begin_serve(&server, folder.path());
    let echo = Server::echo();
    for path in ["/page.html", "/missing", "/"] {
        let upgrade = Request::upgrade(path);
        let requests = [
            ("h2c", upgrade.clone().set("Upgrade", "h2c").set("HTTP2-Settings", "AAMAAABkAAQAAP__")),
            ("foo", upgrade.clone().set("Upgrade", "foo")),
            ("websocket2", upgrade.clone().set("Upgrade", "websocket2")),
            ("no Upgrade", upgrade.clone().remove("Upgrade")),
            ("no Connection", upgrade.clone().remove("Connection")),
            ("Connection: close", upgrade.clone().set("Connection", "close")),
        ];
        for (what, request) in requests {
            for (which, server) in [("serve", &server), ("echo", &echo)] {
                let what = format!("{which}, {path}, {what}");
                let mut peer = Peer::connect(server);
                peer.send(request.bytes());
                let reply = peer.reply().unwrap_or_else(|end| panic!("{what}: {end:?}"));
                assert!(matches!(reply.status, 200 | 400 | 404 | 426), "{what}: {}", reply.status);
                if reply.has_token("Connection", "close") {
                    peer.gone(&what);
                } else {
                    // Nothing that follows is taken for anything but a request.
                    peer.send(Request::get("/missing").bytes());
                    assert_ne!(peer.reply().unwrap_or_else(|end| panic!("{what}: then {end:?}")).status, 101);
                }
            }
        }
    }
    row.end(&mut server);
}

fn hs05_other_versions_are_refused_with_426() {
    let mut server = Server::echo();
    let row = Row::begin(&server);
    let missing = Request::upgrade("/").remove("Sec-WebSocket-Version");
    let others = ["8", "12", "99", "13.0"].map(|version| Request::upgrade("/").set("Sec-WebSocket-Version", version));
    for request in others.iter().chain([&missing]) {
        let reply = refused(&server, &format!("{request:?}"), request.bytes(), &[426]);
        assert_eq!(reply.all("Sec-WebSocket-Version"), ["13"]);
    }
    row.end(&mut server);
}

fn hs06_other_methods_and_http_10_are_never_upgraded() {
    let folder = TempDir::new();
    let mut server = Server::serve(folder.path());
    let row = Row::begin_serve(&server, folder.path());
    let echo = Server::echo();
    for server in [&server, &echo] {
        for method in ["POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "get"] {
            let request = Request::upgrade("/").method(method);
            refused(server, method, request.bytes(), &[400, 405, 505]);
        }
        refused(server, "HTTP/1.0", Request::upgrade("/").version("HTTP/1.0").bytes(), &[400, 405, 505]);
    }
    row.end(&mut server);
}

fn hs08_odd_subprotocol_lists_are_cheap_and_never_echoed() {
    let folder = TempDir::new();
    let mut server = Server::serve(folder.path());
    let row = Row::begin_serve(&server, folder.path());
    let many = (0..500).fold(String::new(), |mut list, n| {
        write!(list, "name{n}, ").expect("memory");
        list
    });
    let spaces = format!("b{}x", " ".repeat(7000));
    let spaced = format!("b{},x", " ".repeat(7000));
    let lists: [&[u8]; 9] = [
        b"\xff\xfe",
        spaces.as_bytes(),
        spaced.as_bytes(),
        b"a,,b",
        b",,,,",
        b"",
        many.trim_end_matches(", ").as_bytes(),
        b"chat, superchat",
        b"\"dumb-increment-protocol\"",
    ];
    for list in lists {
        let what = format!("list of {} bytes, {:?}", list.len(), String::from_utf8_lossy(&list[..list.len().min(20)]));
        let request = Request::upgrade("/").add("Sec-WebSocket-Protocol", list);
        row.cheap(&server, &what, CHEAP, 10, || {
            let reply = refused_or_upgraded(&server, &what, &request);
            assert_eq!(reply.as_ref().and_then(|reply| reply.field("Sec-WebSocket-Protocol")), None, "{what}");
        });
    }
    let request = Request::upgrade("/").add("Sec-WebSocket-Protocol", "chat, lws-mirror-protocol");
    let reply = refused_or_upgraded(&server, "one we speak", &request).expect("accepted");
    assert_eq!(reply.all("Sec-WebSocket-Protocol"), ["lws-mirror-protocol"]);
    row.end(&mut server);
}

fn hs09_a_quoted_extension_parameter_is_cheap() {
    let mut server = Server::echo();
    let row = Row::begin(&server);
    for end in ["", "\""] {
        let value = format!("a; b=\"{}{end}", "\\c".repeat(3500));
        let request = Request::upgrade("/").add("Sec-WebSocket-Extensions", value);
        row.cheap(&server, "a quoted parameter", CHEAP, 20, || {
            refused_or_upgraded(&server, "a quoted parameter", &request);
        });
    }
    row.end(&mut server);
}

fn hs10_extension_offers_are_declined() {
    let mut server = Server::echo();
    let row = Row::begin(&server);
    let offers = [
        "constructor, ,;,".to_owned(),
        "__proto__; __proto__=1, toString".to_owned(),
        ["permessage-deflate"; 750].join(", "),
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover".to_owned(),
        "permessage-deflate; server_max_window_bits=99".to_owned(),
        "permessage-deflate; server_max_window_bits=7".to_owned(),
        "permessage-deflate; server_max_window_bits=08".to_owned(),
        "permessage-deflate; server_max_window_bits=\"\"".to_owned(),
        "permessage-deflate; client_max_window_bits".to_owned(),
        "x-webkit-deflate-frame, permessage-bzip2".to_owned(),
        ";".repeat(8000),
        ",".repeat(8000),
    ];
    for offer in offers {
        let what = format!("offer {:?}", &offer[..offer.len().min(80)]);
        let request = Request::upgrade("/").add("Sec-WebSocket-Extensions", offer);
        row.cheap(&server, &what, CHEAP, 10, || {
            refused_or_upgraded(&server, &what, &request);
        });
    }
    // A thousand offers do not fit in a head.
    let thousand = ["permessage-deflate"; 1000].join(", ");
    let request = Request::upgrade("/").add("Sec-WebSocket-Extensions", thousand);
    row.cheap(&server, "1000 offers", CHEAP, 10, || {
        refused(&server, "1000 offers", request.bytes(), &[400, 431]);
    });
    row.end(&mut server);
}

/// A server that accepts only pages of `http://good.com`.
fn picky(folder: &TempDir) -> Server {
    Launch::serve(folder.path()).with("--origin").with("http://good.com").start()
}

fn hs12_bytes_behind_a_refused_upgrade_are_never_a_request() {
    let folder = TempDir::new();
    folder.file("secret.html", "smuggled");
    let mut server = picky(&folder);
    let row = Row::begin_serve(&server, folder.path());
    let evil = Request::upgrade("/").add("Origin", "http://evil.com").bytes();
    let behind = [
        ("a frame", frame(FIN | TEXT, "early")),
        ("a request", Request::get("/secret.html").bytes()),
        ("a request in a frame", frame(FIN | TEXT, Request::get("/secret.html").bytes())),
        ("an upgrade", Request::upgrade("/").add("Origin", "http://good.com").bytes()),
    ];
    for (what, behind) in behind {
        for pause in [false, true] {
            let mut peer = Peer::connect(&server);
            peer.send(&evil);
            let reply = pause.then(|| peer.reply().unwrap_or_else(|end| panic!("{what}: {end:?}")));
            peer.send(&behind);
            let reply = reply.unwrap_or_else(|| peer.reply().unwrap_or_else(|end| panic!("{what}: {end:?}")));
            assert_eq!(reply.status, 403, "{what}");
            peer.gone(what);
        }
    }
    row.end(&mut server);
}

fn hs13_only_listed_origins_are_accepted() {
    let folder = TempDir::new();
    let mut server = picky(&folder);
    let row = Row::begin_serve(&server, folder.path());
    let upgrade = Request::upgrade("/");
    for origin in [
        "http://evil.com",
        "null",
        "",
        "*",
        "http://good.com.evil.com",
        "http://evilgood.com",
        "http://good.com@evil.com",
        "http://good.com:8080",
        "https://good.com",
        "ws://good.com",
        "http://127.0.0.1",
        "http://[::1]",
        "good.com",
        "http://good.com/",
        "http://good.com http://evil.com",
    ] {
        let request = upgrade.clone().add("Origin", origin);
        refused(&server, &format!("origin {origin:?}"), request.bytes(), &[403]);
    }
    let two = upgrade.clone().add("Origin", "http://good.com").add("Origin", "http://evil.com");
    refused(&server, "two origins", two.bytes(), &[400, 403]);
    let same = upgrade.clone().add("Origin", "http://good.com").add("Origin", "http://good.com");
    refused(&server, "the same origin twice", same.bytes(), &[400, 403]);
    // RFC 6454 compares scheme and host in lower case, so this may pass for the same origin.
    let upper = answer(&server, &upgrade.clone().add("Origin", "HTTP://GOOD.COM"));
    assert!(matches!(upper.status, 101 | 403), "upper case: {}", upper.status);
    assert_eq!(answer(&server, &upgrade.clone().add("Origin", "http://good.com")).status, 101);
    // Programs that are not browsers name no origin; the operator says whether they may come.
    assert_eq!(answer(&server, &upgrade).status, 101);
    let strict = Launch::serve(folder.path()).with("--origin").with("http://good.com").with("--require-origin").start();
    refused(&strict, "no origin", upgrade.bytes(), &[403]);
    assert_eq!(answer(&strict, &upgrade.clone().add("Origin", "http://good.com")).status, 101);
    // Plain requests name an origin when a script makes them; a page is loaded without one.
    assert_eq!(answer(&server, &Request::get("/canary.txt").add("Origin", "http://evil.com")).status, 403);
    assert_eq!(answer(&server, &Request::get("/canary.txt").add("Origin", "http://good.com")).status, 200);
    for host in ["evil.com", "good.com", "localhost.evil.com", "127.0.0.1.evil.com"] {
        let (get, upgrade) = (Request::get("/canary.txt").set("Host", host), upgrade.clone().set("Host", host));
        assert_eq!((answer(&server, &get).status, answer(&server, &upgrade).status), (421, 421), "{host}");
    }
    row.end(&mut server);
}

fn hs14_an_upgrade_is_judged_on_the_same_path_as_a_get() {
    let folder = TempDir::new();
    folder.file("admin", "the admin's page");
    let mut server = Server::serve(folder.path());
    let row = Row::begin_serve(&server, folder.path());
    let upgraded = answer(&server, &Request::upgrade("/admin")).status;
    let huge = format!("/{}", "a".repeat(9000));
    for target in ["/%61dmin", "/x/../admin", "//admin", "/./admin", "/admin?x=1", "/x/%2e%2e/admin"] {
        let plain = answer(&server, &Request::get(target));
        assert_eq!((plain.status, plain.body.as_slice()), (200, &b"the admin's page"[..]), "{target}");
        assert_eq!(answer(&server, &Request::upgrade(target)).status, upgraded, "{target}");
    }
    for target in ["/../admin", "/%zz", huge.as_str()] {
        let plain = answer(&server, &Request::get(target)).status;
        assert!(matches!(plain, 400 | 414), "{target}: {plain}");
        assert_eq!(answer(&server, &Request::upgrade(target)).status, plain, "{target}");
    }
    // No file can have such a name; what an endpoint is called for is up to the endpoint.
    for target in ["/%00admin", "/%c0%aeadmin", "/a%2fdmin", "/x\\admin"] {
        assert_eq!(answer(&server, &Request::get(target)).status, 400, "{target}");
        assert_eq!(answer(&server, &Request::upgrade(target)).status, upgraded, "{target}");
    }
    row.end(&mut server);
}

fn hs15_slow_heads_are_closed_at_ten_seconds() {
    const PEERS: usize = 500;
    let mut server = Server::echo();
    let row = Row::begin(&server);
    let head = Request::upgrade("/").padded_to(500).bytes();
    let mut open: Vec<(Instant, Peer)> = Vec::new();
    for _ in 0..PEERS {
        open.push((Instant::now(), Peer::connect(&server)));
    }
    let started = Instant::now();
    let mut ages = Vec::new();
    let mut sent = 0;
    while !open.is_empty() {
        assert!(started.elapsed() < PATIENCE, "{} connections are still open", open.len());
        if started.elapsed().as_secs() >= sent {
            let at = usize::try_from(sent).expect("seconds");
            open.iter_mut().for_each(|(_, peer)| peer.send(&head[at..=at]));
            sent += 1;
        }
        let mut still = Vec::with_capacity(open.len());
        for (since, mut peer) in open {
            if peer.is_gone() { ages.push(since.elapsed()) } else { still.push((since, peer)) }
        }
        open = still;
        pass(Duration::from_millis(20));
    }
    let grown = server.process().peak().saturating_sub(row.resident());
    assert!(grown <= 500 * (20 << 10), "{grown} bytes more");
    let (first, last) = (ages.iter().min().expect("500"), ages.iter().max().expect("500"));
    assert!(*first >= Duration::from_secs(9) && *last <= Duration::from_secs(11), "closed from {first:?} to {last:?}");
    row.end(&mut server);
}

fn hs17_a_long_header_is_refused_with_431() {
    let mut server = Server::echo();
    let row = Row::begin(&server);
    for megabytes in [1, 20] {
        let request = Request::upgrade("/").add("X-Long", vec![b'x'; megabytes << 20]);
        refused(&server, &format!("{megabytes} MB"), request.bytes(), &[431]);
    }
    // It does not take more than the limit to know.
    let mut peer = Peer::connect(&server);
    let long = Request::upgrade("/").add("X-Long", vec![b'x'; 20 << 10]).bytes();
    peer.send(&long[..(16 << 10) + 1]);
    assert_eq!(peer.reply().expect("an answer at the limit").status, 431);
    peer.gone("a head one byte over the limit");
    row.end(&mut server);
}

fn hs17_a_head_in_one_byte_segments_costs_linear_time() {
    const ROUNDS: u32 = 2;
    let mut server = Server::echo();
    let row = Row::begin(&server);
    // On a busy machine 8 KiB take longer than the ten seconds that a head has.
    let spent = [1 << 10, 2 << 10].map(|size| {
        let head = Request::upgrade("/").padded_to(size).bytes();
        let (spent, ()) = row.cpu_of(&server, || {
            for _ in 0..ROUNDS {
                let mut peer = Peer::connect(&server);
                for byte in head.chunks(1) {
                    // The server took it once it sleeps again; only then it sees the next one alone.
                    let naps = server.process().naps();
                    peer.send(byte);
                    eventually("the byte is taken", PATIENCE, || server.process().naps() > naps);
                }
                assert_eq!(peer.reply().expect("an answer").status, 101);
            }
        });
        spent / ROUNDS
    });
    println!("1 KiB in single bytes: {:?}, 2 KiB: {:?}", spent[0], spent[1]);
    // A wake-up for each byte is the peer's doing; re-reading all that came before would make it four times as much. That
    // nothing is read twice is counted in the tests of the protocol's head scanner; times are judged on a quiet machine.
    assert!(!strict() || spent[1] < 3 * spent[0], "1 KiB: {:?}, 2 KiB: {:?}", spent[0], spent[1]);
    row.end(&mut server);
}

fn hs18_heads_are_accepted_up_to_the_limit() {
    let mut server = Server::echo();
    let row = Row::begin(&server);
    let lines = |count| {
        let request = Request::upgrade("/");
        (5..count).fold(request, |request, n| request.add(format!("X-{n}"), "y"))
    };
    refused(&server, "5000 fields", lines(5000).bytes(), &[431]);
    refused(&server, "101 fields", lines(101).bytes(), &[431]);
    Peer::upgraded_by(&server, &lines(100)).echoes();

    let target = |line: usize| format!("/{}", "u".repeat(line - "GET / HTTP/1.1".len()));
    refused(&server, "a target of 100 KB", Request::upgrade(target(100_000)).bytes(), &[414, 431]);
    refused(&server, "a request line over 8 KiB", Request::upgrade(target(8 * 1024 + 3)).bytes(), &[414]);
    Peer::upgraded_by(&server, &Request::upgrade(target(8 * 1024 - 2))).echoes();

    let limit = 16 << 10;
    let exact = Request::upgrade("/").padded_to(limit);
    assert_eq!(exact.bytes().len(), limit);
    Peer::upgraded_by(&server, &exact).echoes();
    refused(&server, "a head of 16 KiB and 1", Request::upgrade("/").padded_to(limit + 1).bytes(), &[431]);

    // Cut anywhere, it is the same.
    let mut peer = Peer::connect(&server);
    let bytes = exact.bytes();
    for part in [&bytes[..limit - 1], &bytes[limit - 1..]] {
        assert_eq!(peer.patience(Duration::from_millis(50)).frame(), Err(End::Silence), "an answer to half a head");
        peer.send(part);
    }
    assert_eq!(peer.patience(PATIENCE).reply().expect("an answer").status, 101);
    drop(peer);
    row.end(&mut server);
}
