//! FG: messages, their fragments and their text.

use std::time::{Duration, Instant};

use super::support::{
    BINARY, CONTINUATION, Case, FIN, Noise, PATIENCE, PING, PONG, Peer, Row, Server, TEXT, frame, rows, scaled,
};

const MESSAGE: usize = 16 << 20;
/// `Limits::tiny_fragments`.
const TINY: usize = 4096;

pub(crate) fn rows() -> Vec<Case> {
    rows![
        Heavy:
            fg04_a_message_may_be_exactly_as_large_as_the_limit,
            fg05_endless_tiny_fragments_fail_with_1008,
            fg06_endless_empty_frames_are_bounded;
        Quick:
            fg01_illegal_text_fails_with_1007,
            fg03_code_points_survive_any_cut;
    ]
}

fn fg01_illegal_text_fails_with_1007() {
    let texts: [(&str, &[u8]); 12] = [
        ("FF FE", b"\xff\xfe"),
        ("C0 80", b"\xc0\x80"),
        ("ED A0 80", b"\xed\xa0\x80"),
        ("F4 90 80 80", b"\xf4\x90\x80\x80"),
        ("lone 80", b"\x80"),
        ("E2 82 at the end", b"\xe2\x82"),
        ("good, then bad", b"hello \xf0\x9f\x92\xa9 \xf8\x88\x80\x80\x80"),
        ("E0 9F 80", b"\xe0\x9f\x80"),
        ("F0 8F BF BF", b"\xf0\x8f\xbf\xbf"),
        ("F5", b"\xf5\x80\x80\x80"),
        ("C1 BF", b"\xc1\xbf"),
        ("E2 28 A1", b"\xe2\x28\xa1"),
    ];
    let mut server = Server::echo();
    let row = Row::begin(&server);
    for (what, text) in texts {
        let mut peer = Peer::upgraded(&server);
        peer.send_frame(FIN | TEXT, text);
        peer.fails_with(&[1007], what);

        let mut peer = Peer::upgraded(&server);
        peer.send_bytewise(frame(FIN | TEXT, text));
        peer.fails_with(&[1007], what);

        // Far behind a long good text, and in fragments of one byte.
        let mut peer = Peer::upgraded(&server);
        peer.send_frame(FIN | TEXT, [&vec![b'a'; 70_001][..], text].concat());
        peer.fails_with(&[1007], what);

        let mut peer = Peer::upgraded(&server);
        for (n, byte) in text.iter().enumerate() {
            let first = if n == 0 { TEXT } else { CONTINUATION };
            let fin = if n + 1 == text.len() { FIN } else { 0 };
            peer.send_frame(fin | first, [*byte]);
        }
        peer.fails_with(&[1007], what);

        // It is the text that is wrong, not the bytes.
        let mut peer = Peer::upgraded(&server);
        peer.send_frame(FIN | BINARY, text);
        peer.expect(BINARY, text);
    }
    // At the first bad byte, though the message goes on.
    let mut peer = Peer::upgraded(&server);
    peer.send_frame(TEXT, b"abc\xed");
    peer.send_frame(CONTINUATION, b"\xa0");
    peer.fails_with(&[1007], "a surrogate, cut after its second byte");
    row.end(&mut server);
}

fn fg03_code_points_survive_any_cut() {
    let mut server = Server::echo();
    let row = Row::begin(&server);
    let text = "\u{1f9a9}".as_bytes();
    for together in [true, false] {
        let mut peer = Peer::upgraded(&server);
        let mut bytes = Vec::new();
        for n in 0..4_u8 {
            let opcode = if n == 0 { TEXT } else { CONTINUATION };
            bytes.extend(frame(opcode | if n == 3 { FIN } else { 0 }, &text[usize::from(n)..=usize::from(n)]));
            if n < 3 {
                bytes.extend(frame(FIN | PING, [n]));
            }
        }
        if together {
            peer.send(&bytes)
        } else {
            peer.send_bytewise(&bytes)
        }
        for n in 0..3 {
            peer.expect(PONG, [n]);
        }
        peer.expect(TEXT, text);
    }
    // Any cut of a longer text into two and three fragments.
    let text = "a\u{e4}\u{20ac}\u{1f9a9}z".as_bytes();
    let mut peer = Peer::upgraded(&server);
    for first in 0..=text.len() {
        for second in first..=text.len() {
            peer.send_frame(TEXT, &text[..first]);
            peer.send_frame(CONTINUATION, &text[first..second]);
            peer.send_frame(FIN | CONTINUATION, &text[second..]);
            peer.expect(TEXT, text);
        }
    }
    drop(peer);
    row.end(&mut server);
}

/// `content` in `parts` fragments.
fn fragments(first: u8, content: &[u8], parts: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(content.len() + 14 * parts);
    let pieces = content.chunks(content.len().div_ceil(parts));
    let count = pieces.len();
    for (n, piece) in pieces.enumerate() {
        let opcode = if n == 0 { first } else { CONTINUATION };
        bytes.extend(frame(opcode | if n + 1 == count { FIN } else { 0 }, piece));
    }
    bytes
}

fn fg04_a_message_may_be_exactly_as_large_as_the_limit() {
    let mut server = Server::echo();
    let row = Row::begin(&server);
    let binary = Noise::new(4).bytes(MESSAGE);
    let text = vec![b't'; MESSAGE];
    for (opcode, content) in [(BINARY, &binary), (TEXT, &text)] {
        for parts in [1, 2, 65_536] {
            let mut peer = Peer::upgraded(&server);
            peer.send(fragments(opcode, content, parts));
            peer.expect(opcode, content);
            peer.echoes();
        }
    }
    let over = vec![b't'; MESSAGE + 1];
    for parts in [1, 2, 65_536] {
        let mut peer = Peer::upgraded(&server);
        peer.send(fragments(TEXT, &over, parts));
        peer.fails_with(&[1009], &format!("a byte over the limit in {parts} fragments"));
    }
    let mut peer = Peer::upgraded(&server);
    peer.send_frame(BINARY, &binary);
    peer.send_frame(FIN | CONTINUATION, "");
    peer.expect(BINARY, &binary);
    peer.send_frame(BINARY, &binary);
    peer.send_frame(CONTINUATION, "x");
    peer.fails_with(&[1009], "one byte more in a fragment of its own");
    row.end(&mut server);
}

fn fg05_endless_tiny_fragments_fail_with_1008() {
    let mut server = Server::echo();
    let row = Row::begin(&server);
    for opcode in [TEXT, BINARY] {
        let mut peer = Peer::upgraded(&server);
        let mut bytes = frame(opcode, "a");
        let piece = frame(CONTINUATION, "a");
        for _ in 0..200_000 {
            bytes.extend_from_slice(&piece);
        }
        peer.send(&bytes);
        peer.fails_with(&[1008], "200,000 fragments of one byte");
    }
    let grown = server.process().peak().saturating_sub(row.resident());
    assert!(grown <= 2 << 20, "{grown} bytes more");
    // Many fragments that carry something, and tiny ones below the limit, are nothing bad.
    let mut peer = Peer::upgraded(&server);
    let content = Noise::new(5).bytes(TINY);
    peer.send(fragments(BINARY, &content, TINY));
    peer.expect(BINARY, &content);
    let content = Noise::new(6).bytes(20_000 * 16);
    peer.send(fragments(BINARY, &content, 20_000));
    peer.expect(BINARY, &content);
    drop(peer);
    row.end(&mut server);
}

fn fg06_endless_empty_frames_are_bounded() {
    let mut server = Server::echo();
    let row = Row::begin(&server);
    let mut peer = Peer::upgraded(&server);
    let empty = frame(CONTINUATION, "");
    peer.send_frame(TEXT, "");
    peer.send(empty.repeat(TINY * 2));
    peer.fails_with(&[1008], "endless empty continuations");

    // Empty messages are messages: each is echoed, for ten seconds.
    let batch = 1000;
    let messages = frame(FIN | TEXT, "").repeat(batch);
    let mut peer = Peer::upgraded(&server);
    let started = Instant::now();
    let mut count = 0;
    while started.elapsed() < Duration::from_millis(u64::try_from(scaled(10_000)).expect("small")) {
        peer.patience(PATIENCE).send(&messages);
        for _ in 0..batch {
            peer.expect(TEXT, "");
        }
        count += batch;
    }
    println!("{count} empty messages");
    row.canaries_sing();
    drop(peer);
    row.end(&mut server);
}
