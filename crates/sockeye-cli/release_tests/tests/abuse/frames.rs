//! FR: frames that break RFC 6455.

use std::sync::Arc;
use std::time::Duration;

use sockeye_proto::conn::{Connection, HEADROOM, Input};
use sockeye_proto::limits::ProtocolLimits;
use sockeye_proto::time::Instant;
use sockeye_proto::wire::Role;

use super::c_library;
use super::support::{
    BINARY, CLOSE, CONTINUATION, Case, FIN, Noise, PATIENCE, PING, PONG, Peer, Row, Server, Size, TEXT, eventually,
    frame, header, rows, scaled,
};

/// `ProtocolLimits::message_bytes`.
const MESSAGE: u64 = 16 << 20;

pub(crate) fn rows() -> Vec<Case> {
    rows![
        Slow: fr08_stalled_large_messages_cost_what_was_received;
        Heavy: fr06_a_mutated_header_never_panics;
        Quick:
            fr01_reserved_bits_fail_with_1002,
            fr02_reserved_opcodes_fail_with_1002,
            fr03_unmasked_input_fails_with_1002,
            fr04_longer_length_forms_than_needed_fail_with_1002,
            fr05_huge_lengths_fail_at_the_header,
            fr07_a_message_over_the_limit_fails_before_its_payload,
            fr09_control_frames_are_short_and_whole,
            fr10_fragments_out_of_order_fail_with_1002;
    ]
}

/// Each input, on an upgraded connection of its own, ends it with one of the codes.
fn violations(inputs: &[(&str, Vec<u8>)], codes: &[u16]) {
    let mut server = Server::echo();
    let row = Row::begin(&server);
    for (what, bytes) in inputs {
        for cut in [false, true] {
            let mut peer = Peer::upgraded(&server);
            if cut {
                peer.send_bytewise(bytes)
            } else {
                peer.send(bytes)
            }
            peer.fails_with(codes, what);
            // What follows a violation is not read any more.
            let mut peer = Peer::upgraded(&server);
            peer.send([bytes.as_slice(), &frame(FIN | TEXT, "too late")].concat());
            peer.fails_with(codes, what);
        }
    }
    let grown = server.process().peak().saturating_sub(row.resident());
    assert!(grown < 4 << 20, "{grown} bytes for headers alone");
    row.end(&mut server);
}

fn fr01_reserved_bits_fail_with_1002() {
    violations(
        &[
            ("RSV1 on text", frame(FIN | 0x40 | TEXT, "a")),
            ("RSV2 on text", frame(FIN | 0x20 | TEXT, "a")),
            ("RSV3 on text", frame(FIN | 0x10 | TEXT, "a")),
            ("all on binary", frame(FIN | 0x70 | BINARY, "a")),
            ("RSV1 on ping", frame(FIN | 0x40 | PING, "a")),
            ("RSV2 on pong", frame(FIN | 0x20 | PONG, "a")),
            ("RSV3 on close", frame(FIN | 0x10 | CLOSE, "")),
            ("RSV1 on a continuation", [frame(TEXT, "a"), frame(FIN | 0x40 | CONTINUATION, "b")].concat()),
        ],
        &[1002],
    );
}

fn fr02_reserved_opcodes_fail_with_1002() {
    let mut inputs = Vec::new();
    for opcode in (3..=7).chain(0xb..=0xf) {
        inputs.push(("a reserved opcode", frame(FIN | opcode, "a")));
        inputs.push(("a reserved opcode without FIN", frame(opcode, "")));
    }
    violations(&inputs, &[1002]);
}

fn fr03_unmasked_input_fails_with_1002() {
    violations(
        &[
            ("unmasked text", b"\x81\x05hello".to_vec()),
            ("unmasked empty text", b"\x81\x00".to_vec()),
            ("unmasked binary in 16 bits", [&b"\x82\x7e\x01\x00"[..], &[0; 256]].concat()),
            ("unmasked ping", b"\x89\x00".to_vec()),
            ("unmasked close", b"\x88\x02\x03\xe8".to_vec()),
            ("a request", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
            ("unmasked continuation", [frame(TEXT, "a"), b"\x80\x01b".to_vec()].concat()),
        ],
        &[1002],
    );
}

fn fr04_longer_length_forms_than_needed_fail_with_1002() {
    violations(
        &[
            ("5 in 16 bits", [header(FIN | TEXT, Size::Two(5)), b"hello".to_vec()].concat()),
            ("5 in 64 bits", [header(FIN | TEXT, Size::Eight(5)), b"hello".to_vec()].concat()),
            ("0 in 16 bits", header(FIN | BINARY, Size::Two(0))),
            ("125 in 16 bits", header(FIN | BINARY, Size::Two(125))),
            ("126 in 64 bits", header(FIN | BINARY, Size::Eight(126))),
            ("65535 in 64 bits", header(FIN | BINARY, Size::Eight(65535))),
        ],
        &[1002],
    );
}

fn fr05_huge_lengths_fail_at_the_header() {
    violations(
        &[
            ("2^63", header(FIN | BINARY, Size::Eight(1 << 63))),
            ("2^64-1", header(FIN | BINARY, Size::Eight(u64::MAX))),
            ("2^63 in a fragment", header(TEXT, Size::Eight(1 << 63))),
        ],
        &[1002],
    );
    let over_any_limit = [
        ("2^63-1", header(FIN | BINARY, Size::Eight((1 << 63) - 1))),
        ("2^63-1 after a byte", [frame(BINARY, "a"), header(CONTINUATION, Size::Eight((1 << 63) - 1))].concat()),
    ];
    violations(&over_any_limit, &[1009]);
    // A C program takes messages of these lengths, piece by piece.
    let over_ours =
        [("2^32", header(FIN | TEXT, Size::Eight(1 << 32))), ("2^31", header(FIN | BINARY, Size::Eight(1 << 31)))];
    if !c_library::is_tried() {
        violations(&over_ours, &[1009]);
    }
}

const FR06: [u8; 14] = [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xeb, 0x0e, 0x8f];

fn mutated(noise: &mut Noise) -> Vec<u8> {
    let mut bytes = FR06.to_vec();
    for _ in 0..=noise.below(4) {
        let at = noise.below(bytes.len());
        match noise.below(4) {
            0 => bytes[at] = noise.next().to_le_bytes()[0],
            1 => bytes[at] ^= 1 << noise.below(8),
            2 => bytes.insert(at, noise.next().to_le_bytes()[0]),
            _ if bytes.len() > 1 => drop(bytes.remove(at)),
            _ => {}
        }
    }
    bytes
}

fn fr06_a_mutated_header_never_panics() {
    // A million in the protocol core itself, where one costs less than a microsecond,
    let limits = Arc::new(ProtocolLimits::default());
    let mut noise = Noise::new(6);
    for _ in 0..1_000_000 {
        let bytes = mutated(&mut noise);
        let mut connection = Connection::new(Role::Server, Arc::clone(&limits), Instant::from_nanos(0));
        let mut buffer = [0; HEADROOM + 32];
        let end = HEADROOM + bytes.len();
        buffer[HEADROOM..end].copy_from_slice(&bytes);
        let mut input = Input::new(&mut buffer[..end], HEADROOM);
        while let Ok(Some(_)) = connection.receive(&mut input) {}
        connection.handle_eof();
    }
    // and some by way of the finished command.
    let mut server = Server::echo();
    let row = Row::begin(&server);
    let mut peer = Peer::upgraded(&server);
    peer.send(FR06);
    peer.fails_with(&[1002, 1009], "the original");
    for _ in 0..scaled(20_000) {
        let bytes = mutated(&mut noise);
        let mut peer = Peer::upgraded(&server);
        peer.send(&bytes);
        peer.finish();
        peer.rest(PATIENCE, &format!("{bytes:02x?}"));
    }
    row.end(&mut server);
}

fn fr07_a_message_over_the_limit_fails_before_its_payload() {
    let kilobyte = vec![b'a'; 1024];
    violations(
        &[
            ("one frame", header(FIN | BINARY, Size::Minimal(MESSAGE + 1))),
            ("one frame, with 1 KB", [header(FIN | TEXT, Size::Minimal(MESSAGE + 1)), kilobyte.clone()].concat()),
            ("two frames", [frame(BINARY, &kilobyte), header(FIN, Size::Minimal(MESSAGE - 1023))].concat()),
        ],
        &[1009],
    );
}

fn fr08_stalled_large_messages_cost_what_was_received() {
    const PEERS: usize = 1000;
    let mut server = Server::echo();
    let row = Row::begin(&server);
    let mut peers: Vec<Peer> = (0..PEERS).map(|_| Peer::upgraded(&server)).collect();
    row.canaries_sing();
    let idle = server.process().resident();
    let opened = std::time::Instant::now();
    let start = [header(FIN | BINARY, Size::Minimal(MESSAGE - 1)), vec![0; 1024]].concat();
    peers.iter_mut().for_each(|peer| peer.send(&start));
    row.canaries_sing();
    let grown = server.process().resident().saturating_sub(idle);
    // Twice the bytes received, and pages that are not full.
    assert!(grown <= 2 * 1024 * PEERS as u64 + (2 << 20), "{grown} bytes for 1000 stalled messages");
    let full = server.process().descriptors();
    // Of a message that is held, 4 KiB must come in each window of ten seconds; the first whole window is judged.
    eventually("their windows end them", Duration::from_secs(50) + PATIENCE, || {
        server.process().descriptors() + PEERS <= full
    });
    assert!(opened.elapsed() >= Duration::from_secs(10), "ended after {:?}", opened.elapsed());
    for peer in &mut peers {
        peer.rest(PATIENCE, "stalled");
    }
    drop(peers);
    row.end(&mut server);
}

fn fr09_control_frames_are_short_and_whole() {
    let long = vec![b'a'; 126];
    violations(
        &[
            ("a ping of 126 bytes", frame(FIN | PING, &long)),
            ("a pong of 126 bytes", frame(FIN | PONG, &long)),
            ("a close of 126 bytes", frame(FIN | CLOSE, [&[3, 0xe8], &long[2..]].concat())),
            ("a ping in 64 bits", header(FIN | PING, Size::Eight(65536))),
            ("a ping without FIN", frame(PING, "a")),
            ("a pong without FIN", frame(PONG, "a")),
            ("a close without FIN", frame(CLOSE, [3, 0xe8])),
        ],
        &[1002],
    );
    let mut server = Server::echo();
    let row = Row::begin(&server);
    let mut peer = Peer::upgraded(&server);
    peer.send_frame(TEXT, "one ");
    peer.send_frame(FIN | PING, "between");
    // Answered now, not after the message. Who echoes pieces has sent the first.
    let mut echoed = Vec::new();
    let mut pong = |peer: &mut Peer| loop {
        let frame = peer.frame().expect("a pong");
        if frame.first == FIN | PONG {
            break frame.payload;
        }
        assert!(c_library::is_tried() && frame.first & FIN == 0, "{:02x} before the end of the message", frame.first);
        echoed.extend(frame.payload);
    };
    assert_eq!(pong(&mut peer), b"between");
    peer.send_frame(FIN | PONG, "unasked");
    peer.send_frame(CONTINUATION, "two ");
    peer.send_frame(FIN | PING, vec![b'p'; 125]);
    assert_eq!(pong(&mut peer), vec![b'p'; 125]);
    peer.send_frame(FIN | CONTINUATION, "three");
    while !echoed.ends_with(b"three") {
        echoed.extend(peer.frame().expect("the rest").payload);
    }
    assert_eq!(echoed, b"one two three");
    peer.send_frame(BINARY, "not the end");
    peer.send_frame(FIN | CLOSE, [3, 0xe8]);
    peer.fails_with(&[1000], "a close between fragments");
    row.end(&mut server);
}

fn fr10_fragments_out_of_order_fail_with_1002() {
    violations(
        &[
            ("a continuation of nothing", frame(CONTINUATION, "a")),
            ("a last continuation of nothing", frame(FIN | CONTINUATION, "a")),
            ("text inside binary", [frame(BINARY, "a"), frame(FIN | TEXT, "b")].concat()),
            ("binary inside text", [frame(TEXT, "a"), frame(BINARY, "b")].concat()),
            ("text inside text", [frame(TEXT, "a"), frame(FIN | TEXT, "b")].concat()),
            ("a continuation after a whole message", [frame(FIN | TEXT, "a"), frame(FIN | CONTINUATION, "b")].concat()),
            (
                "a continuation after the end",
                [frame(TEXT, "a"), frame(FIN | CONTINUATION, "b"), frame(FIN | CONTINUATION, "c")].concat(),
            ),
        ],
        &[1002],
    );
}
