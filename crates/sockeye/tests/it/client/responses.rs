//! What servers answer, good and bad (CL01, CL02, CL03).

use std::time::Duration;

use sockeye::client::Proxy;
use sockeye::proto::wire::MessageKind;
use sockeye::sim::{Fault, Faults};
use sockeye::{Connect, Limits};
use sockeye_testing::client::{Bench, SECOND, Seen, Server, frame, to};

/// Has a server answer so, and then end or not; says what came of it.
fn outcome(
    bench: &mut Bench,
    connect: &Connect,
    answer: &dyn Fn(&Server) -> Vec<u8>,
    ends: bool,
) -> (Duration, String) {
    let listener = bench.listen("10.0.0.1:80");
    let id = bench.connect(connect);
    let server = bench.asked(&listener);
    server.send(answer(&server));
    if ends {
        server.peer.shutdown();
    }
    bench.failed(id)
}

fn answered(answer: &str, ends: bool) -> (Duration, String) {
    let mut bench = Bench::new();
    let connect = to("ws://10.0.0.1/").subprotocol("chat").unwrap();
    let outcome = outcome(&mut bench, &connect, &|_| answer.as_bytes().to_vec(), ends);
    bench.finish();
    outcome
}

/// An acceptance that a test changes.
fn changed(change: impl Fn(String) -> String) -> String {
    let mut bench = Bench::new();
    let connect = to("ws://10.0.0.1/").subprotocol("chat").unwrap().subprotocol("superchat").unwrap();
    let (took, why) = outcome(&mut bench, &connect, &|server| change(server.acceptance("")).into_bytes(), false);
    assert_eq!(took, Duration::ZERO);
    bench.finish();
    why
}

#[test]
fn cl01_acceptances_that_are_none() {
    let without = |line: &'static str| {
        move |text: String| text.split_inclusive("\r\n").filter(|l| !l.starts_with(line)).collect::<String>()
    };
    assert_eq!(changed(without("Upgrade")), "Handshake: rule Upgrade");
    assert_eq!(changed(without("Connection")), "Handshake: rule Connection");
    assert_eq!(changed(without("Sec-WebSocket-Accept")), "Handshake: rule Accept");
    assert_eq!(changed(|text| text.replace("Accept: ", "Accept: x")), "Handshake: rule Accept");
    assert_eq!(changed(|text| text.replace("Upgrade: websocket", "Upgrade: h2c")), "Handshake: rule Upgrade");
    assert_eq!(changed(|text| text.replace("HTTP/1.1", "HTTP/1.0")), "Handshake: rule OldHttp");
    let twice = |text: String| {
        let line = text.split_inclusive("\r\n").find(|line| line.contains("Accept")).unwrap().to_owned();
        text.replace(&line, &line.repeat(2))
    };
    assert_eq!(changed(twice), "Handshake: rule Accept");
    let with = |line: &'static str| move |text: String| text.replace("\r\n\r\n", &format!("\r\n{line}\r\n\r\n"));
    assert_eq!(changed(with("Sec-WebSocket-Protocol: other")), "Handshake: rule ProtocolNotOffered");
    assert_eq!(changed(with("Sec-WebSocket-Protocol: Chat")), "Handshake: rule ProtocolNotOffered");
    assert_eq!(changed(with("Sec-WebSocket-Protocol: chat, superchat")), "Handshake: rule ProtocolRepeated");
    assert_eq!(changed(with("Sec-WebSocket-Protocol: ")), "Handshake: rule ProtocolNotOffered");
    let both = "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: superchat";
    assert_eq!(changed(with(both)), "Handshake: rule ProtocolRepeated");
}

/// CL02, and HS10's mirror image.
#[test]
fn cl02_extensions_that_were_not_offered() {
    let with = |value: &str| {
        let line = format!("\r\nSec-WebSocket-Extensions: {value}\r\n\r\n");
        changed(move |text| text.replace("\r\n\r\n", &line))
    };
    for value in [
        "permessage-deflate",
        "permessage-deflate, permessage-deflate",
        "permessage-deflate; server_max_window_bits=99",
        "permessage-deflate; server_max_window_bits=\"\"",
        "permessage-deflate; unknown=1",
        "constructor",
        &"permessage-deflate,".repeat(400),
    ] {
        assert!(with(value).starts_with("Handshake: rule Extension"), "{value}");
    }
    for value in ["; ,", "a; b=\"", "a=b", "a; =1", "\u{1}"] {
        assert!(with(value).starts_with("Handshake: rule "), "{value:?}");
    }
}

/// HS01's mirror image: odd case, lists over several lines, lines that nobody knows.
#[test]
fn hs01_acceptances_in_odd_form() {
    let forms: [&dyn Fn(String) -> String; 5] = [
        &|text| text.replace("Upgrade: websocket", "uPgRaDe:WebSocket"),
        &|text| text.replace("Connection: Upgrade", "CONNECTION: keep-alive ,  uPGRADE"),
        &|text| text.replace("Connection: Upgrade", "Connection: keep-alive\r\nConnection: upgrade"),
        &|text| text.replace("\r\n\r\n", "\r\nX-Unknown: a:b\r\nSet-Cookie: x\r\nSet-Cookie: y\r\n\r\n"),
        &|text| text.replace("101 Switching Protocols", "101 "),
    ];
    for form in forms {
        let mut bench = Bench::new();
        let listener = bench.listen("10.0.0.1:80");
        let id = bench.connect(&to("ws://10.0.0.1/").subprotocol("chat").unwrap());
        let server = bench.asked(&listener);
        server.send(form(server.acceptance("Sec-WebSocket-Protocol: chat\r\n")));
        bench.until(|bench| bench.notes.is_open(id));
        assert!(matches!(&bench.notes.seen.borrow()[0].2, Seen::Open(Some(name)) if name == "chat"));
        drop(server);
        bench.finish();
    }
}

#[test]
fn what_is_no_http_or_ends_early() {
    for (answer, ends, why) in [
        ("", true, "Handshake: ended"),
        ("HTTP/1.1 101 Swit", true, "Handshake: ended"),
        ("HTTP/1.1 101 S\r\nUpgrade: websocket\r\n", true, "Handshake: ended"),
        ("SSH-2.0-OpenSSH_9.9\r\n", false, "Handshake: rule Head(Ssh)"),
        ("\x15\x03\x03\0\x02\x02\x16", false, "Handshake: rule Head(Tls)"),
        ("220 mail", false, "Handshake: rule Head(NotHttp)"),
        ("HTTP/1.1 99 x\r\n\r\n", false, "Handshake: rule Head"),
        ("HTTP/1.1 200 x\r\nA : b\r\n\r\n", false, "Handshake: rule Head"),
        ("HTTP/1.1 200 x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", false, "Handshake: rule Head"),
        ("\0\0\0\0\r\n\r\n", false, "Handshake: rule Head"),
    ] {
        let (took, seen) = answered(answer, ends);
        assert!(took.is_zero() && seen.starts_with(why), "{answer:?}: {seen}");
    }
}

/// RFC 9112 section 5.2.
#[test]
fn folded_lines_of_an_answer_are_unfolded() {
    let zero = Duration::ZERO;
    let refusal = "HTTP/1.1 401 x\r\nX: one\r\n\ttwo\r\nContent-Length: 5\r\n\r\nno!!!";
    assert_eq!(answered(refusal, false), (zero, "Handshake: refused 401 no!!!".to_owned()));
    let why = changed(|text| text.replace("Upgrade: websocket", "Upgrade:\r\n websocket").replace("Connection", "X"));
    assert_eq!(why, "Handshake: rule Connection", "the folded line was read");
}

#[test]
fn refusals_with_bodies() {
    let zero = Duration::ZERO;
    let said = |answer: &str, ends| answered(answer, ends);
    let exact = "HTTP/1.1 401 x\r\nContent-Length: 5\r\n\r\nno!!!";
    assert_eq!(said(exact, false), (zero, "Handshake: refused 401 no!!!".to_owned()));
    let chunked = "HTTP/1.1 503 x\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nno!\r\n2\r\n!!\r\n0\r\nA: b\r\n\r\n";
    assert_eq!(said(chunked, false), (zero, "Handshake: refused 503 no!!!".to_owned()));
    let close = "HTTP/1.1 200 x\r\n\r\nall of it";
    assert_eq!(said(close, true), (zero, "Handshake: refused 200 all of it".to_owned()));
    assert_eq!(said("HTTP/1.1 204 x\r\n\r\n", false), (zero, "Handshake: refused 204 ".to_owned()));
    assert_eq!(
        said("HTTP/1.1 304 x\r\nContent-Length: 9\r\n\r\n", false),
        (zero, "Handshake: refused 304 ".to_owned())
    );
    // Cut short by its end, by a fault, by time.
    let short = "HTTP/1.1 403 x\r\nContent-Length: 50\r\n\r\nno!!!";
    assert_eq!(said(short, true), (zero, "Handshake: refused 403 no!!! cut".to_owned()));
    let wrong = "HTTP/1.1 403 x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nno!\r\nzz\r\n";
    assert_eq!(said(wrong, false), (zero, "Handshake: refused 403 no! cut".to_owned()));
    let cut = "HTTP/1.1 403 x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nno!\r\n";
    assert_eq!(said(cut, true), (zero, "Handshake: refused 403 no! cut".to_owned()));
    for stalled in [short, cut, close] {
        let (took, why) = said(stalled, false);
        assert!(
            took == 6 * SECOND && why.starts_with("Handshake: refused ") && why.ends_with(" cut"),
            "{took:?} {why}"
        );
    }
}

/// CL01: at most 64 KiB of a body are kept, however it is sent.
#[test]
fn cl01_bodies_are_kept_up_to_a_limit() {
    const KEPT: usize = 64 << 10;
    for (length, size, kept, cut) in [
        (Some(KEPT), KEPT, KEPT, false),
        (Some(KEPT + 1), KEPT + 1, KEPT, true),
        (Some(usize::MAX >> 1), KEPT + 1, KEPT, true),
        (None, KEPT, KEPT, false),
        (None, 1 << 20, KEPT, true),
    ] {
        let mut bench = Bench::new();
        let listener = bench.listen("10.0.0.1:80");
        let id = bench.connect(&to("ws://10.0.0.1/"));
        let server = bench.asked(&listener);
        let length = length.map_or(String::new(), |length| format!("Content-Length: {length}\r\n"));
        server.send(format!("HTTP/1.1 503 x\r\n{length}\r\n{}", "b".repeat(size)));
        server.peer.shutdown();
        assert!(bench.failed(id).0.is_zero());
        let seen = bench.notes.failure(id, |failure| {
            let refusal = failure.refusal().unwrap();
            (refusal.status(), refusal.body().len(), refusal.is_truncated())
        });
        assert_eq!(seen, Some((503, kept, cut)));
        drop(server);
        bench.finish();
    }
}

/// A reset does not take back what was answered before it: servers that close with our bytes unread end like that.
#[test]
fn a_refusal_that_ends_in_a_reset_is_one() {
    for body in ["HTTP/1.1 403 x\r\nContent-Length: 50\r\n\r\nno!!!", "HTTP/1.1 403 x\r\n\r\nno!!!"] {
        let mut bench = Bench::new();
        let listener = bench.listen("10.0.0.1:80");
        let id = bench.connect(&to("ws://10.0.0.1/"));
        let server = bench.asked(&listener);
        server.send(body);
        bench.turn();
        bench.turn();
        server.peer.reset();
        assert_eq!(bench.failed(id).1, "Handshake: refused 403 no!!! cut");
        assert!(!bench.notes.failure(id, sockeye::Failure::is_transient).unwrap());
        bench.finish();
    }
}

#[test]
fn cl03_interim_answers_without_end() {
    let mut bench = Bench::new();
    let connect = to("ws://10.0.0.1/");
    let answer = "HTTP/1.1 100 Continue\r\n\r\n".repeat(100_000);
    let (took, why) = outcome(&mut bench, &connect, &|_| answer.clone().into_bytes(), false);
    assert!(took.is_zero() && why.starts_with("Handshake: rule Head"), "{why}");
    bench.finish();
    // A few are fine.
    let mut bench = Bench::new();
    let listener = bench.listen("10.0.0.1:80");
    let id = bench.connect(&connect);
    let mut server = bench.asked(&listener);
    server.send("HTTP/1.1 100 Continue\r\n\r\n".repeat(20));
    server.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    server.open("");
    bench.until(|bench| bench.notes.is_open(id));
    drop(server);
    bench.finish();
}

#[test]
fn cl03_heads_without_end() {
    let long_line = format!("HTTP/1.1 200 {}", "x".repeat(100_000));
    let long_field = format!("HTTP/1.1 200 x\r\nA: {}", "x".repeat(100_000));
    let many_fields = format!("HTTP/1.1 200 x\r\n{}", "a: b\r\n".repeat(1000));
    let no_line = "x".repeat(100_000);
    let empty_lines = "\r\n".repeat(50_000);
    for answer in [long_line, long_field, many_fields, no_line, empty_lines] {
        let (took, why) = answered(&answer, false);
        assert!(took.is_zero() && why.starts_with("Handshake: rule Head"), "{:.30}: {why}", answer);
    }
}

/// Frames right behind the acceptance, in one piece with it and cut at every byte.
#[test]
fn frames_behind_the_acceptance_are_not_lost() {
    let frames = [frame(0x81, b"first"), frame(0x89, b"ping"), frame(0x02, b"sec"), frame(0x80, b"ond")].concat();
    let mut stories = Vec::new();
    let mut at = 0;
    loop {
        let mut bench = Bench::new();
        let listener = bench.listen("10.0.0.1:80");
        let id = bench.connect(&to("ws://10.0.0.1/").subprotocol("chat").unwrap());
        let mut server = bench.asked(&listener);
        let mut bytes = server.acceptance("Sec-WebSocket-Protocol: chat\r\n").into_bytes();
        bytes.extend_from_slice(&frames);
        server.send(&bytes[..at]);
        bench.pass(SECOND);
        server.send(&bytes[at..]);
        server.speak();
        bench.until(|bench| {
            bench.notes.messages(id).len() == 2 && {
                server.pump();
                server.frames.len() == 1
            }
        });
        assert_eq!((server.frames[0].opcode, &server.frames[0].payload[..]), (10, &b"ping"[..]));
        stories.push(format!("{:?}", bench.notes.seen.borrow().iter().map(|(_, _, seen)| seen).collect::<Vec<_>>()));
        assert_eq!(bench.notes.messages(id)[1], (MessageKind::Binary, b"second".to_vec()));
        drop(server);
        bench.finish();
        at += 1;
        if at > bytes.len() {
            break;
        }
    }
    assert!(stories.iter().all(|story| *story == stories[0]));
}

/// However the answer is cut, the same comes of it.
#[test]
fn answers_cut_at_every_byte_come_to_the_same() {
    let answers = [
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 401 x\r\nWWW-Authenticate: Basic\r\nContent-Length: 5\r\n\r\nno!!!",
        "HTTP/1.1 503 x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nno!\r\n2\r\n!!\r\n0\r\n\r\n",
        "HTTP/1.1 403 x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nno!\r\nx\r\n",
        "HTTP/1.1 200 x\r\n\r\nto the end",
        "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n\r\n\x01\x01a",
        "HTTP/1.1 200 x\r\nA : b\r\n\r\n",
    ];
    for answer in answers {
        let mut stories = Vec::new();
        for at in 0..=answer.len() {
            let mut bench = Bench::new();
            let listener = bench.listen("10.0.0.1:80");
            let id = bench.connect(&to("ws://10.0.0.1/"));
            let server = bench.asked(&listener);
            server.send(&answer[..at]);
            bench.pass(SECOND);
            server.send(&answer[at..]);
            server.peer.shutdown();
            bench.failed(id);
            stories.push(bench.why(id));
            drop(server);
            bench.finish();
        }
        assert!(stories.iter().all(|story| *story == stories[0]), "{stories:?}");
    }
    // And byte by byte, with everything else that a network does.
    for seed in 0..50 {
        for (answer, proxied) in answers.iter().flat_map(|answer| [(answer, false), (answer, true)]) {
            let faults = Faults::usual().with_segment(3).with(Fault::Delayed, 10);
            let mut bench = Bench::with(seed, faults, Limits::default());
            let listener = bench.listen("10.0.0.1:80");
            let mut connect = to("ws://10.0.0.1/").timeout(600 * SECOND).unwrap().timeouts(Default::default()).unwrap();
            if proxied {
                connect = connect.proxy(Proxy::parse("10.0.0.1:80").unwrap());
            }
            let id = bench.connect(&connect);
            let mut server = bench.asked(&listener);
            if proxied {
                server.send("HTTP/1.1 200 OK\r\n\r\n");
                bench.until(|_| server.heard_head());
            }
            server.send(answer);
            server.peer.shutdown();
            bench.failed(id);
            let why = bench.why(id);
            let plain = answered(answer, true).1;
            assert_eq!(why, plain, "seed {seed}");
            drop(server);
            bench.finish();
        }
    }
}
