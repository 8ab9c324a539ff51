//! RFC 9112: where requests and answers begin and end, however the bytes are cut.

use sockeye::Limits;
use sockeye::sim::{Faults, seeds};

use super::bench::{Site, ask};

const INTERIM: &str = "HTTP/1.1 100 Continue\r\n\r\n";

/// Requests of every framing, pipelined, and what is answered.
fn conversation() -> (Vec<u8>, String) {
    let requests = [
        ask("POST /end", "Content-Length: 5\r\n\r\nhello"),
        ask("PUT /chunked", "Transfer-Encoding: chunked\r\n\r\n4;a=b\r\nwiki\r\n0003\r\nped\r\n0\r\nX: y\r\n\r\n"),
        ask("GET /now", "\r\n"),
        ask("DELETE /length", "Content-Length: 4\r\n\r\nmany"),
        ask("HEAD /end", "\r\n"),
        ask("HEAD /chunked", "Content-Length: 3\r\n\r\nabc"),
        ask("PATCH /none", "Content-Length: 3\r\n\r\nabc"),
        ask("GET /unchanged", "\r\n"),
        ask("GET /page", "\r\n"),
        ask("POST /write", "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
    ];
    const TEXT: &str = "Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n";
    const PLAIN: &str = "Content-Type: text/plain\r\nX-Content-Type-Options: nosniff\r\n";
    let answers = [
        format!("HTTP/1.1 200 OK\r\n{TEXT}Content-Length: 5\r\n\r\nhello"),
        format!("HTTP/1.1 200 OK\r\n{TEXT}Transfer-Encoding: chunked\r\n\r\n1\r\n<\r\n3\r\nwik\r\n3\r\niped\r\n")
            .replace("3\r\niped", "3\r\nipe\r\n1\r\nd")
            + "0\r\n\r\n",
        format!("HTTP/1.1 200 OK\r\n{TEXT}Content-Length: 19\r\n\r\ndecided by the head"),
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmany".to_owned(),
        format!("HTTP/1.1 200 OK\r\n{TEXT}Content-Length: 0\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\n{TEXT}Transfer-Encoding: chunked\r\n\r\n"),
        "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        format!("HTTP/1.1 304 Not Modified\r\n{TEXT}\r\n"),
        format!("HTTP/1.1 200 OK\r\n{TEXT}Content-Length: 6\r\n\r\na page"),
        format!("HTTP/1.1 200 OK\r\n{PLAIN}Content-Length: 1\r\nConnection: close\r\n\r\nx"),
    ];
    (requests.concat(), answers.concat())
}

fn is_answered_as_expected(site: &Site) -> bool {
    let lines = site.notes.lines.borrow();
    let bodies: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("ended ")).collect();
    bodies == ["hello", "wikiped", "many", "", "abc", "abc", "", "x"] && site.notes.ends.borrow().len() == 8
}

#[test]
fn requests_are_the_same_however_they_are_cut() {
    let (requests, answers) = conversation();
    for cut in 0..=requests.len() {
        let mut site = Site::new();
        let peer = site.connect();
        peer.send(&requests[..cut]);
        site.settle();
        peer.send(&requests[cut..]);
        assert_eq!(site.rest(&peer), answers, "cut at {cut}");
        assert!(is_answered_as_expected(&site), "cut at {cut}: {:?}", site.notes.lines.borrow());
    }
    let mut site = Site::with(1, Faults::none().with_segment(1), Limits::default());
    assert_eq!(site.answer(&requests), answers, "byte by byte");
    assert!(is_answered_as_expected(&site));
}

#[test]
fn an_interim_answer_is_the_same_however_its_request_is_cut() {
    let head = ask("POST /chunked", "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n");
    let body = b"2;a=b\r\nhi\r\n0\r\nX: y\r\n\r\n";
    for cut in 0..=head.len() {
        for bytes in [1, 3, body.len()] {
            let mut site = Site::new();
            let peer = site.connect();
            peer.send(&head[..cut]);
            site.settle();
            assert_eq!(peer.recv(), if cut == head.len() { INTERIM.as_bytes() } else { b"" }, "cut at {cut}");
            peer.send(&head[cut..]);
            site.settle();
            assert_eq!(peer.recv(), if cut == head.len() { b"" } else { INTERIM.as_bytes() }, "cut at {cut}");
            for piece in body.chunks(bytes) {
                peer.send(piece);
                site.settle();
            }
            let answer = site.rest(&peer);
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "cut at {cut}: {answer}");
            assert!(answer.ends_with("\r\n\r\n1\r\n<\r\n2\r\nhi\r\n0\r\n\r\n"), "cut at {cut}: {answer}");
        }
    }
}

#[test]
fn answers_are_the_same_however_they_are_cut() {
    let (requests, answers) = conversation();
    for room in 1..200 {
        let mut site = Site::with(1, Faults::none().with_buffers(room, 1 << 20), Limits::default());
        let peer = site.connect();
        peer.set_window(room);
        peer.send(&requests);
        assert_eq!(site.rest(&peer), answers, "room for {room}");
        assert!(is_answered_as_expected(&site), "room for {room}");
    }
}

#[test]
fn a_bad_network_changes_nothing() {
    let (requests, answers) = conversation();
    for seed in seeds(200) {
        let mut site = Site::with(seed, Faults::usual(), Limits::default());
        assert_eq!(site.answer(&requests), answers, "seed {seed}");
        assert!(is_answered_as_expected(&site), "seed {seed}");
    }
}

#[test]
fn a_small_share_of_the_turn_changes_nothing() {
    let (requests, answers) = conversation();
    for bytes in [64, 65, 99, 200] {
        let mut limits = Limits::default();
        limits.turn_bytes = bytes;
        limits.turn_frames = 1;
        let mut site = Site::with(1, Faults::none(), limits);
        assert_eq!(site.answer(&requests), answers, "{bytes} bytes a turn");
        assert!(is_answered_as_expected(&site), "{bytes} bytes a turn");
    }
}

#[test]
fn http_1_0_gets_a_length_or_the_end_of_the_connection() {
    let request = b"POST /chunked HTTP/1.0\r\nContent-Length: 4\r\n\r\nmany";
    let answer = Site::new().answer(request);
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("Connection: close\r\n\r\n<many"),
        "{answer}"
    );
    assert!(!answer.contains("chunked") && !answer.contains("Content-Length"), "{answer}");
    let answer = Site::new().answer(b"POST /length HTTP/1.0\r\nContent-Length: 4\r\n\r\nmany");
    assert!(answer.ends_with("Content-Length: 4\r\nConnection: close\r\n\r\nmany"), "{answer}");
}

#[test]
fn a_client_is_told_to_continue_once_its_body_is_wanted() {
    let expects = "Content-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
    let mut site = Site::new();
    let peer = site.connect();
    peer.send(&ask("POST /end", expects));
    site.settle();
    assert_eq!(String::from_utf8(peer.recv()).unwrap(), INTERIM);
    peer.send(b"hi");
    assert!(site.rest(&peer).ends_with("\r\n\r\nhi"));

    // Decided by the head: no 100, and the body is not read.
    let answer = Site::new().answer(&ask("POST /now", expects));
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("Connection: close\r\n"), "{answer}");

    // Not before the program reads.
    let mut site = Site::new();
    let peer = site.connect();
    peer.send(&ask("POST /pause", expects));
    site.settle();
    assert_eq!(peer.recv(), b"");
    site.until(|_| !peer.recv().is_empty());
    assert_eq!(site.notes.lines.borrow().last().unwrap(), "timer");
    peer.send(b"hi");
    assert!(site.rest(&peer).ends_with("\r\n\r\nhi"));

    // Not to those that did not wait, nor to HTTP/1.0.
    let answer = Site::new().answer(&[ask("POST /end", expects), b"hi".to_vec()].concat());
    assert!(!answer.contains("Continue"), "{answer}");
    let old = String::from_utf8(ask("POST /end", expects)).unwrap().replace("HTTP/1.1", "HTTP/1.0");
    let mut site = Site::new();
    let peer = site.connect();
    peer.send(old.as_bytes());
    site.settle();
    assert_eq!(peer.recv(), b"");
}

/// The rows of request smuggling: no responder is called, and nothing after the request is taken for another one.
#[test]
fn ambiguous_requests_reach_no_responder() {
    let smuggled = "GET /now HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 18446744073709551617\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "X: y\r\n folded\r\n",
        "X: \0\r\n",
        "Content-Length: 5\n",
    ] {
        let mut site = Site::new();
        let answer = site.answer(&ask("POST /end", &format!("{fields}\r\n0\r\n\r\n{smuggled}")));
        assert!(answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 501"), "{fields}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{fields}: {answer}");
        assert!(site.notes.lines.borrow().is_empty(), "{fields}");
    }
    for chunks in [
        "ffffffffffffffff\r\n",
        "fffffffffffffffe\r\n",
        "00000000000000005\r\nhello\r\n0\r\n\r\n",
        "-1\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "\r\nabc\r\n0\r\n\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\r\nabc\r\n0\r\n bad\r\n\r\n",
        &format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(1 << 20)),
        &format!("0\r\n{}\r\n", "a: b\r\n".repeat(10_000)),
    ] {
        let mut site = Site::new();
        let request = ask("POST /end", &format!("Transfer-Encoding: chunked\r\n\r\n{chunks}{smuggled}"));
        let answer = site.answer(&request);
        let text = &chunks[..chunks.len().min(20)];
        assert!(answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.1 413 "), "{text}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{text}: {answer}");
        assert!(matches!(site.end(), sockeye::responder::RequestEnd::BadBody(_)), "{text}");
    }
}
