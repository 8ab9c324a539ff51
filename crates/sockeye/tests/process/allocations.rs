//! An echoed message allocates nothing once the service is warm: counted, not promised.
//!
//! On real sockets, with the other side in the same thread; what that does allocates nothing either.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use sockeye::sys::Address;
use sockeye::{CloseCode, Connect, Limits, Protocol, Service, messages};
use sockeye_proto::handshake::key;
use sockeye_proto::wire::{EncodedHeader, OpCode, mask};

use crate::allocator;

const HANDSHAKE: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

struct Bench {
    service: Service,
    other: TcpStream,
    buffer: Vec<u8>,
}

impl Bench {
    fn new(protocol: impl Protocol) -> Self {
        let service = Service::builder().limits(limits()).protocol(protocol).listen("127.0.0.1:0").build().unwrap();
        let Address::Ip(address) = service.local_addresses()[0].clone() else { panic!("no address") };
        let client = TcpStream::connect(address).unwrap();
        client.set_nonblocking(true).unwrap();
        client.set_nodelay(true).unwrap();
        let mut bench = Self { service, other: client, buffer: vec![0; 4 << 20] };
        let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        bench.exchange(HANDSHAKE, answer.len());
        bench
    }

    /// With the service as the client.
    fn connecting(protocol: impl Protocol) -> Self {
        let name = protocol.name().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut service = Service::builder().limits(limits()).protocol(protocol).build().unwrap();
        let connect = Connect::new(&format!("ws://{}/", listener.local_addr().unwrap())).unwrap();
        service.control().protocol_named(&name).unwrap().connect(connect);
        service.run_once(Some(Duration::ZERO)).unwrap();
        let (server, _) = listener.accept().unwrap();
        server.set_nonblocking(true).unwrap();
        server.set_nodelay(true).unwrap();
        let mut bench = Self { service, other: server, buffer: vec![0; 4 << 20] };
        let mut request = String::new();
        while !request.ends_with("\r\n\r\n") {
            bench.service.run_once(Some(Duration::ZERO)).unwrap();
            let count = bench.other.read(&mut bench.buffer).unwrap_or(0);
            request.push_str(std::str::from_utf8(&bench.buffer[..count]).unwrap());
        }
        let line = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
        let accept = String::from_utf8(key::accept(line.as_bytes()).to_vec()).unwrap();
        let head =
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept";
        write!(bench.other, "{head}: {accept}\r\n\r\n").unwrap();
        bench
    }

    /// Sends `request` and turns the service until `length` bytes came back.
    fn exchange(&mut self, request: &[u8], length: usize) {
        let (mut sent, mut received) = (0, 0);
        while received < length {
            if sent < request.len() {
                sent += self.other.write(&request[sent..]).unwrap_or(0);
            }
            self.service.run_once(Some(Duration::ZERO)).unwrap();
            while let Ok(count @ 1..) = self.other.read(&mut self.buffer[received..]) {
                received += count;
            }
        }
        assert_eq!(received, length);
    }
}

impl Bench {
    /// After as many rounds to grow warm.
    fn count_none(&mut self, name: &str, request: &[u8], length: usize, rounds: usize) {
        let begin = Instant::now();
        for _ in 0..rounds {
            self.exchange(request, length);
        }
        let before = allocator::calls();
        for _ in 0..rounds {
            self.exchange(request, length);
        }
        let count = allocator::calls() - before;
        assert!(before > 0, "the count counts");
        let most = allocator::tidying(begin, 4);
        assert!(count <= most, "{name}: {count} allocations in {rounds} rounds, {most} of them of the pool");
    }
}

/// A machine that is busy with other things makes the loop stall, and the report of that takes memory.
fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.stall = None;
    limits
}

/// So many equal frames, and how long their echo is.
fn frames(opcode: OpCode, payload: &[u8], count: usize) -> (Vec<u8>, usize) {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = EncodedHeader::new(true, 0, opcode, payload.len() as u64, Some(key)).to_vec();
    let start = frame.len();
    frame.extend_from_slice(payload);
    mask::apply(&mut frame[start..], key, 0);
    (frame.repeat(count), (start - 4 + payload.len()) * count)
}

/// The same of a server: not masked, and answered by frames that are.
fn frames_of_a_server(opcode: OpCode, payload: &[u8], count: usize) -> (Vec<u8>, usize) {
    let mut frame = EncodedHeader::new(true, 0, opcode, payload.len() as u64, None).to_vec();
    frame.extend_from_slice(payload);
    let length = frame.len() + 4;
    (frame.repeat(count), length * count)
}

pub(crate) fn an_echoed_message_allocates_nothing() {
    let text = "aé漢𝄞z".repeat(1490);
    let cases = [
        ("20 B, 1 in flight", frames(OpCode::Text, b"twenty bytes of text", 1), 1000),
        ("20 B, 16 in flight", frames(OpCode::Binary, b"twenty bytes of data", 16), 1000),
        ("16 KiB binary", frames(OpCode::Binary, &[7; 16 * 1024], 1), 300),
        ("16 KiB text", frames(OpCode::Text, text.as_bytes(), 1), 300),
        ("16 KiB, 16 in flight", frames(OpCode::Binary, &[7; 16 * 1024], 16), 30),
        ("1 MiB", frames(OpCode::Binary, &[7; 1024 * 1024], 1), 20),
    ];
    for (name, (request, length), rounds) in cases {
        let mut bench = Bench::new(messages::echo("echo"));
        bench.count_none(name, &request, length, rounds);
    }
    // An answer that is no piece of the question, but the handler's own.
    let (request, length) = frames(OpCode::Text, b"twenty bytes of text", 1);
    let fixed = messages::on("fixed", |cx, _| cx.push("other bytes, as many").map_err(|_| CloseCode::TRY_AGAIN.into()));
    Bench::new(fixed).count_none("a fixed answer", &request, length, 3000);
    // The same service as the client of another.
    let cases = [
        ("client, 20 B, 1 in flight", frames_of_a_server(OpCode::Text, b"twenty bytes of text", 1), 3000),
        ("client, 20 B, 16 in flight", frames_of_a_server(OpCode::Binary, b"twenty bytes of data", 16), 1000),
        ("client, ping", frames_of_a_server(OpCode::Ping, b"", 1), 1000),
        ("client, 16 KiB", frames_of_a_server(OpCode::Binary, &[7; 16 * 1024], 1), 300),
        ("client, 16 KiB, 16 in flight", frames_of_a_server(OpCode::Binary, &[7; 16 * 1024], 16), 30),
        ("client, 1 MiB", frames_of_a_server(OpCode::Binary, &[7; 1024 * 1024], 1), 20),
    ];
    for (name, (request, length), rounds) in cases {
        let mut bench = Bench::connecting(messages::echo("echo"));
        bench.count_none(name, &request, length, rounds);
    }
}
