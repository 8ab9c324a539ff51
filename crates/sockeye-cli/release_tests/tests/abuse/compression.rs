//! CM: compressed messages (permessage-deflate, RFC 7692).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use sockeye_proto::handshake::key;
use sockeye_testing::zlib::{self, Packer, Unpacker, agreed};

use super::support::{
    BINARY, CLOSE, CONTINUATION, Case, FIN, Launch, Noise, PATIENCE, PING, PONG, Peer, Process, RSV1, Request, Row,
    Server, TEXT, close_body, frame, optimised, rows, scaled,
};

/// `ProtocolLimits::message_bytes`.
const MESSAGE: usize = 16 << 20;
/// Behind each block of a stream that is flushed.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// As Chrome offers it, and as Firefox does.
const CHROME: &str = "permessage-deflate; client_max_window_bits";
const FIREFOX: &str = "permessage-deflate";
/// What an amount of memory may exceed its bound by: the loop's own buffers and codecs, and pages of the allocator.
const SLACK: u64 = 2 << 20;

pub(crate) fn rows() -> Vec<Case> {
    rows![
        Heavy:
            cm01_bombs_are_refused_at_the_limit,
            cm08_ten_gigabytes_in_pieces_hold_nobody_up;
        Quick:
            cm01_a_server_that_sends_bombs_is_refused_at_the_limit,
            cm02_a_message_may_inflate_to_exactly_the_limit,
            cm03_bombs_that_wait_for_their_end_are_bounded_together,
            cm05_changed_streams_are_refused_or_read_rightly,
            cm06_blocks_without_content_cost_little_and_end,
            cm04_the_bit_of_compression_belongs_to_first_frames,
            cm04_odd_ends_of_messages_are_read_as_the_standard_has_them,
            cm05_what_is_no_deflate_fails_with_1007,
            cm06_tiny_fragments_fail_with_1008,
            cm07_the_histories_of_a_crowd_are_bounded;
    ]
}

fn launch() -> Launch {
    Launch::echo().with("--compress")
}

/// So many zeros and one in about a thousandth of the bytes.
fn bomb(len: usize) -> Vec<u8> {
    const UNIT: usize = 4 << 20;
    // Each unit refers to nothing before it, so they may follow each other.
    let unit = [&zlib::bomb(UNIT)[..], &TAIL].concat();
    let mut packed = unit.repeat(len / UNIT);
    packed.extend(zlib::bomb(len % UNIT + 1));
    packed
}

/// Frames of a compressed message: `packed` in so many.
fn fragments(opcode: u8, packed: &[u8], parts: usize) -> Vec<u8> {
    if packed.is_empty() {
        return frame(FIN | RSV1 | opcode, packed);
    }
    let mut bytes = Vec::with_capacity(packed.len() + 14 * parts);
    let pieces = packed.chunks(packed.len().div_ceil(parts));
    let count = pieces.len();
    for (n, piece) in pieces.enumerate() {
        let first = if n == 0 { RSV1 | opcode } else { CONTINUATION };
        bytes.extend(frame(first | if n + 1 == count { FIN } else { 0 }, piece));
    }
    bytes
}

/// A peer with a zlib of its own.
struct Packing {
    peer: Peer,
    packer: Packer,
    unpacker: Unpacker,
}

impl Packing {
    fn open(server: &Server, offer: &str) -> Self {
        let (peer, answer) = Peer::compressing(server, offer);
        let (send, receive) = agreed(answer.as_bytes()).expect("an answer");
        Self { peer, packer: Packer::new(send), unpacker: Unpacker::new(receive) }
    }

    fn send(&mut self, opcode: u8, payload: &[u8], parts: usize) {
        let packed = self.packer.message(payload);
        self.peer.send(fragments(opcode, &packed, parts));
    }

    /// The next message or control frame, except pings, which are answered.
    fn answer(&mut self) -> (u8, Vec<u8>) {
        let got = self.peer.answer().unwrap_or_else(|end| panic!("{end:?} instead of a message"));
        let is_packed = got.first & RSV1 != 0;
        let payload = if is_packed { self.unpacker.part(&got.payload, true).expect("DEFLATE") } else { got.payload };
        (got.first & 0x0f, payload)
    }

    #[track_caller]
    fn expect(&mut self, opcode: u8, payload: &[u8]) {
        let (got, plain) = self.answer();
        assert_eq!(got, opcode, "opcode; payload begins {:?}", &plain[..plain.len().min(200)]);
        assert!(plain == payload, "another payload, of {} bytes", plain.len());
    }

    /// Messages there and back, which refer to each other.
    #[track_caller]
    fn echoes(&mut self) {
        for number in 0..3 {
            let text = format!("are you there? are you there? This is the message of number {number}");
            self.send(TEXT, text.as_bytes(), 1);
            self.expect(TEXT, text.as_bytes());
        }
    }
}

fn grown(server: &Server, row: &Row) -> u64 {
    server.process().peak().saturating_sub(row.resident())
}

fn cm01_bombs_are_refused_at_the_limit() {
    let bombs = [("1 MiB for 1 GiB", bomb(1 << 30)), ("10 MB for 10 GB", bomb(10_000_000_000))];
    for limit in [1 << 20, MESSAGE] {
        let mut server = launch().with("--max-message").with(limit.to_string()).start();
        // The loop's codecs and buffers are there before it begins.
        let mut peer = Packing::open(&server, CHROME);
        let half = letters(limit / 2, 1);
        peer.send(TEXT, &half, 1);
        peer.expect(TEXT, &half);
        drop(peer);
        let row = Row::begin(&server);
        for (what, packed) in &bombs {
            for (parts, opcode) in [(1, BINARY), (1, TEXT), (100, BINARY), (30_000, TEXT)] {
                let wire = fragments(opcode, packed, parts);
                row.cheap(&server, what, Duration::from_millis(200), 1, || {
                    let (mut peer, _) = Peer::compressing(&server, CHROME);
                    peer.send(&wire);
                    peer.fails_with(&[1009], &format!("{what} in {parts} fragments"));
                });
            }
        }
        let grown = grown(&server, &row);
        println!("{grown} bytes more for a limit of {limit}");
        // Beside the message there is nothing; resident memory is counted in whole pages, and of the canaries, too.
        assert!(grown <= limit as u64 + (256 << 10), "{grown} bytes more for a limit of {limit}");
        row.canaries_sing();
        row.end(&mut server);
    }
}

/// Accepts one connection of a client that offers compression, and does to it what a server should not. Gives the code with which
/// the client closes, and the most memory that it ever had.
fn against_client(attack: &[u8]) -> (u16, u64) {
    struct Ended(Child);
    impl Drop for Ended {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("ws://{}/", listener.local_addr().expect("bound"));
    let mut command = Launch::new("connect").with(&url).with("--hold").command();
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let client = Ended(command.spawn().expect("the command starts"));
    let (stream, _) = listener.accept().expect("the client connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("a legal timeout");
    let mut reader = BufReader::new(stream.try_clone().expect("own socket"));
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).expect("a request") > 0, "the end instead of a request");
    }
    assert!(head.contains(&format!("Sec-WebSocket-Extensions: {CHROME}\r\n")), "{head}");
    let asked = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
    let accept = String::from_utf8(key::accept(asked.as_bytes()).to_vec()).expect("base64");
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\
         Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    );
    (&stream).write_all(answer.as_bytes()).expect("the client is there");
    let (mut sender, attack) = (stream.try_clone().expect("own socket"), attack.to_vec());
    // It may leave before all of it is sent.
    let sending = thread::spawn(move || _ = sender.write_all(&attack));
    let mut header = [0; 6];
    let (code, peak) = loop {
        reader.read_exact(&mut header).expect("a frame of the client");
        let mut body = vec![0; usize::from(header[1] & 0x7f)];
        reader.read_exact(&mut body).expect("a short frame");
        body.iter_mut().zip(header[2..].iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        match header[0] & 0x0f {
            // It waits for our answer meanwhile.
            CLOSE => break (u16::from_be_bytes([body[0], body[1]]), Process(client.0.id()).peak()),
            _ => assert_ne!(header[0] & 0x0f, TEXT, "it sends nothing by itself"),
        }
    };
    drop((reader, stream));
    drop(client);
    sending.join().expect("it writes and ends");
    (code, peak)
}

/// A server's frame.
fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u64::try_from(payload.len()).expect("a length");
    [&[first, 127][..], &length.to_be_bytes(), payload].concat()
}

fn cm01_a_server_that_sends_bombs_is_refused_at_the_limit() {
    // What it has without any of this.
    let (code, base) = against_client(&[FIN | RSV1 | TEXT, 1, 0x07]);
    assert_eq!(code, 1007, "a reserved kind of block");
    for (what, len) in [("1 MiB for 1 GiB", 1 << 30), ("10 MB for 10 GB", 10_000_000_000)] {
        let (code, peak) = against_client(&unmasked(FIN | RSV1 | BINARY, &bomb(len)));
        assert_eq!(code, 1009, "{what}");
        let grown = peak.saturating_sub(base);
        println!("{what}: {grown} bytes more");
        assert!(grown <= MESSAGE as u64 + SLACK, "{what}: {grown} bytes more");
    }
}

/// What compresses to about half.
fn letters(len: usize, seed: u64) -> Vec<u8> {
    Noise::new(seed).bytes(len).into_iter().map(|byte| b'a' + byte % 16).collect()
}

fn cm02_a_message_may_inflate_to_exactly_the_limit() {
    let mut server = launch().start();
    let row = Row::begin(&server);
    // Noise does not become shorter: more arrives than the message has.
    let contents = [
        ("zeros", BINARY, vec![0; MESSAGE]),
        ("letters", TEXT, letters(MESSAGE, 2)),
        ("noise", BINARY, Noise::new(2).bytes(MESSAGE)),
    ];
    for (what, opcode, content) in &contents {
        for parts in [1, 2, 1000] {
            let mut peer = Packing::open(&server, CHROME);
            peer.send(*opcode, content, parts);
            peer.expect(*opcode, content);
            peer.echoes();
            let over = [&content[..], b"+"].concat();
            peer.send(*opcode, &over, parts);
            peer.peer.fails_with(&[1009], &format!("{what}: a byte over the limit in {parts} fragments"));
        }
    }
    row.end(&mut server);
}

/// Each inflates to less than a message may have, and does not end.
fn cm03_bombs_that_wait_for_their_end_are_bounded_together() {
    const TOGETHER: usize = 64 << 20;
    let mut server = launch().with("--max-memory").with(TOGETHER.to_string()).start();
    let row = Row::begin(&server);
    let packed = bomb(MESSAGE - 1001);
    let mut peers = Vec::new();
    for number in 0..40 {
        let (mut peer, _) = Peer::compressing(&server, if number % 2 == 0 { CHROME } else { FIREFOX });
        peer.send_frame(RSV1 | BINARY, &packed);
        // All of it has been inflated.
        peer.send_frame(FIN | PING, "there?");
        match peer.answer() {
            Ok(got) if got.first & 0x0f == PONG => peers.push(peer),
            Ok(got) if got.opcode() == CLOSE => assert_eq!(got.code(), 1013),
            other => panic!("{other:?}"),
        }
    }
    let grown = grown(&server, &row);
    println!("{grown} bytes more");
    // Before one is closed it has exceeded what all may have, by no more than a piece; its own memory is given back with a step.
    assert!(grown <= (TOGETHER + MESSAGE) as u64 + SLACK, "{grown} bytes more");
    let mut closed = 40 - peers.len();
    for peer in &mut peers {
        peer.send_frame(FIN | PING, "still?");
        match peer.answer() {
            Ok(got) if got.first & 0x0f == PONG => {}
            Ok(got) if got.opcode() == CLOSE => {
                assert_eq!(got.code(), 1013);
                closed += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    println!("{closed} of 40 were closed");
    assert!((36..40).contains(&closed), "{closed} of 40 were closed");
    drop(peers);
    row.canaries_sing();
    row.end(&mut server);
}

fn cm04_the_bit_of_compression_belongs_to_first_frames() {
    let mut server = launch().start();
    let row = Row::begin(&server);
    let hello = Packer::new(zlib::Way { window_bits: 15, takeover: true }).message(b"Hello");
    let (first, rest) = hello.split_at(3);
    let wrong: [(&str, Vec<u8>); 8] = [
        ("on a continuation", [frame(RSV1 | TEXT, first), frame(FIN | RSV1 | CONTINUATION, rest)].concat()),
        ("on one that is not the last", [frame(RSV1 | TEXT, first), frame(RSV1 | CONTINUATION, rest)].concat()),
        ("on the continuation of a plain message", [frame(TEXT, "Hel"), frame(FIN | RSV1, "lo")].concat()),
        ("on a ping", frame(FIN | RSV1 | PING, "p")),
        ("on a pong", frame(FIN | RSV1 | PONG, "p")),
        ("on a close", frame(FIN | RSV1 | CLOSE, close_body(1000, ""))),
        ("with another bit", frame(FIN | RSV1 | 0x20 | TEXT, &hello)),
        ("on a ping within a message", [frame(RSV1 | TEXT, first), frame(FIN | RSV1 | PING, "p")].concat()),
    ];
    for (what, wire) in &wrong {
        for bytewise in [false, true] {
            for offer in [CHROME, FIREFOX] {
                let (mut peer, _) = Peer::compressing(&server, offer);
                if bytewise {
                    peer.send_bytewise(wire)
                } else {
                    peer.send(wire)
                }
                peer.fails_with(&[1002], what);
            }
        }
    }
    // Who did not ask for compression has no such bit, and who was refused neither.
    for request in [server.upgrade.clone(), server.upgrade.clone().add("Sec-WebSocket-Extensions", "permessage-bzip2")]
    {
        let mut peer = Peer::upgraded_by(&server, &request);
        peer.send_frame(FIN | RSV1 | TEXT, &hello);
        peer.fails_with(&[1002], "without agreement");
    }
    // Where it belongs it is read, with control frames between.
    let mut peer = Packing::open(&server, CHROME);
    peer.peer.send([frame(RSV1 | TEXT, first), frame(FIN | PING, "p"), frame(FIN, rest)].concat());
    peer.expect(PONG, b"p");
    peer.expect(TEXT, b"Hello");
    drop(peer);
    row.end(&mut server);
}

fn cm04_odd_ends_of_messages_are_read_as_the_standard_has_them() {
    let mut server = launch().start();
    let row = Row::begin(&server);
    // RFC 7692 section 7.2.3, and what it does not forbid.
    let legal: [(&str, &[u8], &[u8]); 8] = [
        ("a block with fixed codes", &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], b"Hello"),
        ("a block that is stored", &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00], b"Hello"),
        ("a final block", &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00], b"Hello"),
        ("two blocks", &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00], b"Hello"),
        ("no content", &[0x00], b""),
        ("a final block without content", &[0x03, 0x00, 0x00], b""),
        ("empty blocks around it", &[0, 0, 0, 0xff, 0xff, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], b"Hello"),
        (
            "another stream behind a final block",
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
            b"HelloHello",
        ),
    ];
    for (what, packed, plain) in legal {
        let mut peer = Packing::open(&server, CHROME);
        for parts in 1..=packed.len() {
            peer.peer.send(fragments(TEXT, packed, parts));
            let (opcode, got) = peer.answer();
            assert_eq!((opcode, &got[..]), (TEXT, plain), "{what} in {parts} fragments");
        }
    }
    let illegal: [(&str, &[u8]); 4] = [
        ("nothing at all", &[]),
        ("half a block", &[0xf2, 0x48, 0xcd]),
        ("noise behind a final block", &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0xfe, 0xdc]),
        ("a final block, and no place for the end of the message", &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07]),
    ];
    for (what, packed) in illegal {
        let (mut peer, _) = Peer::compressing(&server, CHROME);
        peer.send_frame(FIN | RSV1 | TEXT, packed);
        peer.fails_with(&[1007], what);
    }
    row.end(&mut server);
}

fn cm05_what_is_no_deflate_fails_with_1007() {
    let mut server = launch().start();
    let row = Row::begin(&server);
    let wrong: [(&str, &[u8]); 13] = [
        ("a reserved kind of block", &[0x07]),
        ("a stored block whose length is not its complement", &[0, 5, 0, 5, 0, 1, 2, 3, 4, 5]),
        ("a stored block that is cut", &[0, 5, 0, 0xfa, 0xff, 1, 2]),
        ("a reference before the beginning", &[0x4b, 0x04, 0x12, 0x00]),
        ("a reference of 32 KiB into nothing", &[0x4b, 0x04, 0x78, 0xfe, 0xff, 0x00]),
        ("a length that there is not", &[0x1b, 0x03, 0x00, 0x00]),
        ("more codes than there are", &[0x04, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ("codes with too few bits", &[0x05, 0xe0, 0x81, 0x08, 0x00, 0x00, 0x00, 0x00, 0x20, 0x7f, 0xeb, 0x0b]),
        ("a tree that is cut", &[0x05, 0xc0, 0x81]),
        ("nothing but ones", &[0xff; 300]),
        ("noise", &[0xa5, 0x5a, 0x3c, 0xc3, 0x99, 0x66, 0xf0, 0x0f]),
        ("a stream of zlib", &[0x78, 0x9c, 0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x05, 0x8c, 0x01, 0xf5]),
        ("a gzip file", &[0x1f, 0x8b, 0x08, 0, 0, 0, 0, 0, 0, 3]),
    ];
    for (what, packed) in wrong {
        for (parts, bytewise) in [(1, false), (packed.len(), false), (1, true)] {
            let (mut peer, _) = Peer::compressing(&server, CHROME);
            let wire = fragments(BINARY, packed, parts);
            if bytewise {
                peer.send_bytewise(wire)
            } else {
                peer.send(wire)
            }
            peer.fails_with(&[1007], what);
        }
        // Also where there is a history to refer to, and behind 100 KB that are good.
        let mut peer = Packing::open(&server, CHROME);
        peer.echoes();
        let good = [&zlib::bomb(100_000)[..], &TAIL].concat();
        if what != "a reference before the beginning" {
            peer.peer.send_frame(FIN | RSV1 | BINARY, [&good[..], packed].concat());
            peer.peer.fails_with(&[1007], what);
        }
    }
    let texts: [(&str, &[u8]); 5] = [
        ("FF FE", b"\xff\xfe"),
        ("ED A0 80", b"\xed\xa0\x80"),
        ("F4 90 80 80", b"\xf4\x90\x80\x80"),
        ("E2 82 at the end", b"\xe2\x82"),
        ("good, then bad", b"hello \xf0\x9f\x92\xa9 \xf8\x88\x80\x80\x80"),
    ];
    for (what, text) in texts {
        for before in [0, 70_001] {
            let whole = [&vec![b'a'; before][..], text].concat();
            for parts in [1, 7] {
                let mut peer = Packing::open(&server, CHROME);
                peer.send(TEXT, &whole, parts);
                peer.peer.fails_with(&[1007], what);
            }
            let mut peer = Packing::open(&server, CHROME);
            peer.send(BINARY, &whole, 3);
            peer.expect(BINARY, &whole);
        }
    }
    row.end(&mut server);
}

/// How many streams are changed: `ABUSE_MUTATIONS`, or ten thousand.
fn mutations() -> usize {
    let asked = std::env::var("ABUSE_MUTATIONS").ok();
    asked.map_or_else(|| scaled(10_000), |count| count.parse().expect("a count of mutations"))
}

/// With a stack of 256 KiB; what is not optimised does not even start with that.
fn cm05_changed_streams_are_refused_or_read_rightly() {
    let mut server = launch().stack(if optimised() { 256 } else { 8192 }).start();
    let row = Row::begin(&server);
    let mut noise = Noise::new(5);
    let (mut refused, mut read) = (0, 0);
    let mut kept: Option<Packing> = None;
    for number in 0..mutations() {
        let mut plain = letters(1 + noise.below(600), number as u64);
        plain.extend(b"again and ".repeat(noise.below(60)));
        let mut peer = kept.take().unwrap_or_else(|| {
            let mut peer = Packing::open(&server, "permessage-deflate; client_no_context_takeover");
            // Every message stands for itself, so the judge's stream does too.
            peer.packer = Packer::new(zlib::Way { window_bits: 15, takeover: false });
            peer
        });
        let mut packed = peer.packer.message(&plain);
        noise.mutate(&mut packed);
        let judged = Unpacker::new(zlib::Way { window_bits: 15, takeover: false }).part(&packed, true);
        peer.peer.send(fragments(BINARY, &packed, 1 + noise.below(4)));
        match peer.answer() {
            (BINARY, got) => {
                // That judge does not go on behind a final block.
                let is_final = judged.as_ref().is_err_and(|why| why.contains("StreamEnd"));
                assert!(is_final || judged == Ok(got), "{packed:02x?} is not read as {judged:02x?}");
                read += 1;
                kept = Some(peer);
            }
            (CLOSE, got) => {
                assert_eq!(got[..2], 1007_u16.to_be_bytes(), "{packed:02x?}");
                refused += 1;
            }
            other => panic!("{other:02x?}"),
        }
    }
    println!("{refused} were refused, {read} were read");
    assert!(refused > read / 10 && read > refused / 20);
    drop(kept);
    row.end(&mut server);
}

fn cm06_blocks_without_content_cost_little_and_end() {
    let blocks = [0, 0, 0, 0xff, 0xff].repeat(1 << 18);
    let finals = [3, 0].repeat(1 << 19);
    let mut server = launch().start();
    let row = Row::begin(&server);
    for (what, blocks) in [("stored", &blocks), ("final", &finals)] {
        // Some megabytes are a long way to say nothing.
        let wire = [frame(RSV1 | TEXT, blocks), frame(FIN, [0])].concat();
        row.cheap(&server, what, Duration::from_millis(400), 3, || {
            let mut peer = Packing::open(&server, CHROME);
            peer.peer.send(&wire);
            peer.expect(TEXT, b"");
        });
        // They count as if they had content, and something beside.
        let mut peer = Packing::open(&server, CHROME);
        peer.peer.send_frame(RSV1 | TEXT, blocks);
        let frame = frame(CONTINUATION, blocks);
        for _ in 0..20 {
            peer.peer.send(&frame);
        }
        peer.peer.fails_with(&[1009], &format!("endless {what} blocks"));
    }
    let grown = grown(&server, &row);
    assert!(grown <= SLACK, "{grown} bytes more");
    row.canaries_sing();
    row.end(&mut server);
}

fn cm06_tiny_fragments_fail_with_1008() {
    let mut server = launch().start();
    let row = Row::begin(&server);
    let packed = zlib::bomb(1 << 20);
    for (what, piece) in [("empty", &[][..]), ("of a byte", &[0])] {
        let mut peer = Packing::open(&server, CHROME);
        peer.peer.send_frame(RSV1 | TEXT, &packed);
        peer.peer.send_frame(CONTINUATION, TAIL);
        // `00` begins an empty stored block, and goes on with its lengths: it is corrupt before there are many.
        let pieces =
            if piece.is_empty() { vec![Vec::new()] } else { [0_u8, 0, 0, 0xff, 0xff].map(|byte| vec![byte]).to_vec() };
        let wire: Vec<u8> = pieces.iter().flat_map(|piece| frame(CONTINUATION, piece)).collect();
        peer.peer.send(wire.repeat(200_000 / pieces.len()));
        // Who does not answer pings is closed with 1008, too.
        let (opcode, close) = peer.answer();
        let why = String::from_utf8_lossy(close.get(2..).unwrap_or_default()).into_owned();
        assert_eq!(
            (opcode, close.get(..2), &*why),
            (CLOSE, Some(&1008_u16.to_be_bytes()[..]), "too many tiny fragments"),
            "{what}"
        );
        peer.peer.gone(what);
    }
    let grown = grown(&server, &row);
    assert!(grown <= SLACK + (2 << 20), "{grown} bytes more");
    row.end(&mut server);
}

fn cm07_the_histories_of_a_crowd_are_bounded() {
    const TOGETHER: usize = 8 << 20;
    const CROWD: u64 = 400;
    let mut server =
        launch().with("--compress-history").with("32K").with("--max-memory").with(TOGETHER.to_string()).start();
    let row = Row::begin(&server);
    let mut closed = 0;
    let mut peers = Vec::new();
    for number in 0..CROWD {
        let mut peer = Packing::open(&server, CHROME);
        // Both histories are 32 KiB then.
        let message = letters(40_000, number);
        peer.send(TEXT, &message, 1);
        match peer.answer() {
            (TEXT, got) => assert!(got == message),
            (CLOSE, got) => {
                assert_eq!(got[..2], 1013_u16.to_be_bytes());
                closed += 1;
                continue;
            }
            other => panic!("{other:?}"),
        }
        peers.push(peer);
    }
    let grown = grown(&server, &row);
    println!("{grown} bytes more");
    assert!(grown <= (TOGETHER + (4 << 20)) as u64, "{grown} bytes more");
    for mut peer in peers {
        peer.peer.send_frame(FIN | PING, "there?");
        match peer.peer.answer() {
            Ok(got) if got.opcode() == CLOSE => {
                assert_eq!(got.code(), 1013);
                closed += 1;
            }
            other => assert_eq!(other.map(|got| got.first & 0x0f), Ok(PONG)),
        }
    }
    println!("{closed} of {CROWD} were closed");
    // 64 KiB each, of 8 MiB.
    assert!((200..CROWD).contains(&closed), "{closed} of {CROWD} were closed");
    row.canaries_sing();
    row.end(&mut server);
}

fn cm08_ten_gigabytes_in_pieces_hold_nobody_up() {
    let length = if optimised() { 10_000_000_000 } else { 100_000_000 };
    let packed = bomb(length - 1);
    let mut server = Launch::responders().start();
    let counts = |protocol: &str| Request::upgrade("/").add("Sec-WebSocket-Protocol", protocol);
    server.upgrade = counts("echo");
    let row = Row::begin(&server);
    server.upgrade = counts("count");
    for parts in [1, 500] {
        let (mut peer, _) = Peer::compressing(&server, CHROME);
        let wire = fragments(BINARY, &packed, parts);
        let sending = thread::spawn(move || {
            peer.send(&wire);
            peer
        });
        // Meanwhile the others are answered.
        let mut rounds = 0;
        while !sending.is_finished() {
            row.canaries_sing();
            rounds += 1;
        }
        let mut peer = sending.join().expect("it writes and ends");
        row.canaries_sing();
        peer.expect(TEXT, length.to_string());
        println!("the others were answered {rounds} times meanwhile");
    }
    let grown = grown(&server, &row);
    println!("{grown} bytes more");
    assert!(grown <= SLACK, "{grown} bytes more");
    row.end(&mut server);
}
