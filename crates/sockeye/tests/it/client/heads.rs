//! The heads of an opening handshake, for those who ask for them.

use sockeye::client::Proxy;
use sockeye::sim::Faults;
use sockeye::{CloseCode, ConnId, Connect, Limits};
use sockeye_testing::client::{Bench, Server, to};

fn curious(url: &str) -> Connect {
    to(url).report_handshake()
}

fn heads(bench: &Bench, id: ConnId) -> Vec<String> {
    let heads = bench.notes.heads.borrow();
    heads.iter().filter(|(of, _)| *of == id).map(|(_, head)| head.clone()).collect()
}

/// What is reported while a server answers `answer` in pieces of `size` bytes and ends.
fn reported(connect: &Connect, answer: &str, size: usize) -> (Vec<String>, String, String) {
    let mut bench = Bench::new();
    let listener = bench.listen("10.0.0.1:80");
    let id = bench.connect(connect);
    let server = bench.asked(&listener);
    for piece in answer.as_bytes().chunks(size) {
        server.send(piece);
        bench.turn();
    }
    server.peer.shutdown();
    let (_, why) = bench.failed(id);
    let heads = heads(&bench, id);
    bench.finish();
    (heads, server.head, why)
}

#[test]
fn the_request_and_the_101_are_reported_before_it_opens() {
    let mut bench = Bench::new();
    let listener = bench.listen("10.0.0.1:80");
    let id = bench.connect(&curious("ws://me:secret@10.0.0.1/a?b"));
    let mut server = bench.asked(&listener);
    // It is known although nothing was answered.
    assert_eq!(heads(&bench, id), [format!("> {}", server.head)]);
    assert!(server.head.contains("Authorization: Basic bWU6c2VjcmV0\r\n"));
    let accepted = server.acceptance("X-A: 1\r\n");
    server.send("HTTP/1.1 103 Early\r\nLink: x\r\n\r\n");
    server.open("X-A: 1\r\n");
    bench.until(|bench| bench.notes.is_open(id));
    let early = "< HTTP/1.1 103 Early\r\nLink: x\r\n\r\n".to_owned();
    assert_eq!(heads(&bench, id)[1..], [early, format!("< {accepted}")]);
    drop(server);
    bench.until(|bench| bench.notes.is_over(id));
    bench.finish();
}

#[test]
fn nothing_is_reported_to_those_who_did_not_ask() {
    let (heads, ..) = reported(&to("ws://10.0.0.1/"), "HTTP/1.1 401 x\r\nContent-Length: 0\r\n\r\n", 1000);
    assert!(heads.is_empty());
}

#[test]
fn refusals_and_answers_that_are_none_are_reported_once() {
    let refusal = "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\nContent-Length: 4\r\n\r\n";
    for (answer, reported_heads, why) in [
        (format!("{refusal}wait"), vec![refusal], "Handshake: refused 401 wait"),
        (
            format!("HTTP/1.1 100 x\r\n\r\n{refusal}"),
            vec!["HTTP/1.1 100 x\r\n\r\n", refusal],
            "Handshake: refused 401  cut",
        ),
        (
            "HTTP/1.1 101 x\r\nUpgrade: h2c\r\n\r\n".to_owned(),
            vec!["HTTP/1.1 101 x\r\nUpgrade: h2c\r\n\r\n"],
            "Handshake: rule Upgrade",
        ),
        // It ends too early.
        ("HTTP/1.1 200 x\r\nA: ".to_owned(), vec!["HTTP/1.1 200 x\r\nA: "], "Handshake: ended"),
        (String::new(), vec![], "Handshake: ended"),
        // Lines that are folded are joined.
        (
            "HTTP/1.1 404 x\r\nA: b\r\n c\r\n\r\n".to_owned(),
            vec!["HTTP/1.1 404 x\r\nA: b   c\r\n\r\n"],
            "Handshake: refused 404 ",
        ),
    ] {
        for size in [1, 7, 1000] {
            let (heads, request, came) = reported(&curious("ws://10.0.0.1/"), &answer, size);
            let expected = reported_heads.iter().map(|head| format!("< {head}"));
            let expected: Vec<_> = std::iter::once(format!("> {request}")).chain(expected).collect();
            assert_eq!((heads, &*came), (expected, why), "{answer:?} in pieces of {size}");
        }
    }
    // What is no HTTP is known by its first bytes.
    let (heads, _, why) = reported(&curious("ws://10.0.0.1/"), "SSH-2.0-x\r\n", 1000);
    assert_eq!((&*heads[1], heads.len()), ("< SSH-2.0-x\r\n", 2), "{why}");
}

#[test]
fn no_more_of_a_head_is_reported_than_is_read() {
    let limits = Limits::default();
    let most = limits.protocol.head_bytes;
    let (heads, _, why) =
        reported(&curious("ws://10.0.0.1/"), &format!("HTTP/1.1 200 x\r\nA: {}", "a".repeat(most)), 4096);
    assert_eq!(why, "Handshake: rule Head(HeadTooLong)");
    assert!(heads[1].len() <= 2 * most + 2, "{}", heads[1].len());
}

#[test]
fn each_hop_of_a_redirect_is_reported() {
    let mut bench = Bench::new();
    let (first, second) = (bench.listen("10.0.0.1:80"), bench.listen("10.0.0.2:80"));
    let id = bench.connect(&curious("ws://10.0.0.1/").redirects(1));
    let server = bench.asked(&first);
    let redirect = "HTTP/1.1 302 x\r\nLocation: ws://10.0.0.2/\r\nContent-Length: 0\r\n\r\n";
    server.send(redirect);
    let mut moved = bench.asked(&second);
    let accepted = moved.acceptance("");
    moved.open("");
    bench.until(|bench| bench.notes.is_open(id));
    let all =
        [format!("> {}", server.head), format!("< {redirect}"), format!("> {}", moved.head), format!("< {accepted}")];
    assert_eq!(heads(&bench, id), all);
    drop((server, moved));
    bench.until(|bench| bench.notes.is_over(id));
    bench.finish();
}

fn through(bench: &mut Bench, proxy: &str) -> (ConnId, Server) {
    let listener = bench.listen("10.0.0.3:8080");
    let connect = curious("ws://10.0.0.1/").proxy(Proxy::parse(proxy).unwrap());
    let id = bench.connect(&connect);
    (id, bench.accepted(&listener))
}

#[test]
fn a_proxy_has_its_own_heads() {
    let mut bench = Bench::new();
    let (id, mut proxy) = through(&mut bench, "http://me:secret@10.0.0.3:8080");
    bench.until(|_| proxy.heard_head());
    let asked = std::mem::take(&mut proxy.head);
    assert_eq!(heads(&bench, id), [format!("p> {asked}")]);
    assert!(
        asked.starts_with("CONNECT 10.0.0.1:80 HTTP/1.1\r\n") && asked.contains("Proxy-Authorization: "),
        "{asked}"
    );
    proxy.send("HTTP/1.1 200 Tunnel\r\nVia: x\r\n\r\n");
    bench.until(|bench| heads(bench, id).len() == 3);
    assert_eq!(heads(&bench, id)[1], "p< HTTP/1.1 200 Tunnel\r\nVia: x\r\n\r\n");
    assert!(heads(&bench, id)[2].starts_with("> GET / HTTP/1.1\r\n"));
    drop(proxy);
    bench.until(|bench| bench.notes.is_over(id));
    bench.finish();
}

#[test]
fn a_proxy_that_refuses_is_reported() {
    let mut bench = Bench::new();
    let (id, proxy) = through(&mut bench, "http://10.0.0.3:8080");
    let refusal = "HTTP/1.1 407 x\r\nContent-Length: 2\r\n\r\n";
    proxy.send(format!("{refusal}no"));
    assert_eq!(bench.failed(id).1, "Proxy: proxy refused 407 no");
    assert_eq!(heads(&bench, id)[1..], [format!("p< {refusal}")]);
    bench.finish();
}

#[test]
fn a_socks_proxy_has_none() {
    let mut bench = Bench::new();
    let (id, proxy) = through(&mut bench, "socks5://10.0.0.3:8080");
    proxy.send([5, 0xff]);
    let (_, why) = bench.failed(id);
    assert!(why.starts_with("Proxy: "), "{why}");
    assert_eq!(heads(&bench, id), Vec::<String>::new());
    bench.finish();

    // One that connects us does not answer in HTTP either.
    let mut bench = Bench::new();
    let (id, proxy) = through(&mut bench, "socks5://10.0.0.3:8080");
    proxy.send([5, 0]);
    proxy.send([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    proxy.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    bench.failed(id);
    let heads = heads(&bench, id);
    assert!(heads.iter().all(|head| !head.contains("Proxy")) && heads.len() == 2, "{heads:?}");
    bench.finish();
}

#[test]
fn the_callback_may_end_the_connection() {
    for at in 0..2 {
        let mut bench = Bench::with(1, Faults::none(), Limits::default());
        let listener = bench.listen("10.0.0.1:80");
        let mut calls = 0;
        *bench.notes.in_head.borrow_mut() = Some(Box::new(move |own, id| {
            if calls == at {
                own.connection(id).unwrap().close(CloseCode::NORMAL);
            }
            calls += 1;
        }));
        let id = bench.connect(&curious("ws://10.0.0.1/"));
        let mut server = bench.accepted(&listener);
        if at == 1 {
            bench.until(|_| server.heard_head());
            server.open("");
        }
        bench.until(|bench| bench.notes.is_over(id));
        assert_eq!(bench.notes.heads.borrow().len(), at + 1);
        drop(server);
        bench.finish();
    }
}
