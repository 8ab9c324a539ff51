//! What peers make a service hold: as much as they sent and no copies, and given back when they are gone. Counted in
//! resident pages, on real sockets, with the peers in the same thread.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, ExitCode};
use std::time::Duration;
use std::{env, fs};

use sockeye::http::{Response, Routes};
use sockeye::sys::Address;
use sockeye::{Builder, Close, Cx, Fragment, Handshake, Limits, Protocol, Service, Tx, messages};
use sockeye_proto::wire::{EncodedHeader, OpCode};

const HANDSHAKE: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const MIB: usize = 1024 * 1024;
/// How much more may be resident than before, beside a tenth of that.
const SLACK: usize = 8 * MIB;

/// The resident bytes of this process.
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

fn assert_is_back(before: usize, what: &str) {
    let now = resident();
    let most = before + SLACK.max(before / 10);
    assert!(now <= most, "{what}: {} KiB resident before, {} KiB after", before / 1024, now / 1024);
}

pub(crate) struct Site {
    pub(crate) service: Service,
    address: SocketAddr,
}

impl Site {
    fn new(limits: Limits, routes: Routes) -> Self {
        Self::serving(Service::builder().limits(limits).routes(routes).protocol(messages::echo("echo")))
    }

    pub(crate) fn serving(builder: Builder) -> Self {
        let service = builder.listen("127.0.0.1:0").build().unwrap();
        let Address::Ip(address) = service.local_addresses()[0].clone() else { panic!("no address") };
        Self { service, address }
    }

    pub(crate) fn turns(&mut self, count: usize) {
        for _ in 0..count {
            self.service.run_once(Some(Duration::ZERO)).unwrap();
        }
    }

    fn connect(&self) -> TcpStream {
        let peer = TcpStream::connect(self.address).unwrap();
        peer.set_nonblocking(true).unwrap();
        peer
    }

    /// A WebSocket.
    fn open(&mut self) -> TcpStream {
        self.open_with("")
    }

    /// A WebSocket whose request has more lines.
    pub(crate) fn open_with(&mut self, lines: &str) -> TcpStream {
        let mut peer = self.connect();
        let request = [&HANDSHAKE[..HANDSHAKE.len() - 2], lines.as_bytes(), b"\r\n"].concat();
        assert_eq!(peer.write(&request).unwrap(), request.len());
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            self.turns(1);
            take(&mut peer, &mut answer);
        }
        peer
    }

    /// Sends all of it, or what the service takes of it before it ends the connection.
    pub(crate) fn send(&mut self, peer: &mut TcpStream, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match peer.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.turns(1),
                Err(_) => break,
            }
        }
        self.turns(1);
    }

    fn assert_echoes(&mut self, peer: &mut TcpStream) {
        self.send(peer, b"\x81\x82\0\0\0\0hi");
        let mut answer = Vec::new();
        while answer.len() < 4 {
            self.turns(1);
            take(peer, &mut answer);
        }
        assert_eq!(answer, b"\x81\x02hi");
    }

    fn until_gone(&mut self, left: usize) {
        while self.service.connections() > left {
            self.turns(1);
        }
        // What was not needed for a second is given back.
        for _ in 0..5 {
            self.service.run_once(Some(Duration::from_millis(500))).unwrap();
        }
    }
}

pub(crate) fn take(peer: &mut TcpStream, into: &mut Vec<u8>) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = peer.read(&mut buffer) {
        into.extend_from_slice(&buffer[..count]);
    }
}

/// The head of a message that is not masked with anything but zeros.
fn head(len: usize) -> Vec<u8> {
    EncodedHeader::new(true, 0, OpCode::Binary, len as u64, Some([0; 4])).to_vec()
}

pub(crate) fn a_page_that_is_not_read_is_not_copied() {
    let page: &'static [u8] = Box::leak(vec![b'x'; 32 * MIB].into_boxed_slice());
    let routes = Routes::new().get("/", move |_| Response::bytes("text/plain", page));
    let mut site = Site::new(Limits::default(), routes);
    let mut canary = site.open();
    let before = resident();
    let mut peers = Vec::new();
    for _ in 0..8 {
        let mut peer = site.connect();
        site.send(&mut peer, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        peers.push(peer);
    }
    site.turns(200);
    assert_is_back(before, "eight pages of 32 MiB wait");
    site.assert_echoes(&mut canary);

    // Each is there whole for those who read.
    let mut got = Vec::new();
    while got.len() < page.len() {
        site.turns(1);
        take(&mut peers[3], &mut got);
    }
    assert!(got.ends_with(&page[..MIB]) && got.starts_with(b"HTTP/1.1 200 OK\r\n"));
}

pub(crate) fn what_a_crowd_held_is_given_back() {
    for (announced, sent, piece) in [(15 * MIB, 300_000, 60_000), (15 * MIB, 31_000, 8_000), (100_000, 90_000, 90_000)]
    {
        let mut site = Site::new(Limits::default(), Routes::new());
        let mut first = site.open();
        let before = resident();
        let mut crowd: Vec<_> = (0..500).map(|_| site.open()).collect();
        for peer in &mut crowd {
            site.send(peer, &head(announced));
        }
        let payload = vec![0; piece];
        for _ in 0..sent / piece {
            for peer in &mut crowd {
                site.send(peer, &payload);
            }
        }
        let mut later = site.open();
        drop(crowd);
        site.until_gone(2);
        assert_is_back(before, &format!("500 peers sent {sent} of {announced} bytes"));
        site.assert_echoes(&mut first);
        site.assert_echoes(&mut later);
    }
}

/// Each has blocks that are too small for mappings of their own, as sessions of TLS are, and something that stays was allocated
/// behind them.
pub(crate) fn small_blocks_of_a_crowd_are_given_back() {
    struct Heavy;

    impl Protocol for Heavy {
        type Session = Vec<Vec<u8>>;

        fn name(&self) -> &str {
            "heavy"
        }

        fn open(&mut self, _: &mut Cx<'_>, _: &Handshake<'_>) -> Self::Session {
            vec![vec![1; 4000]; 10]
        }

        fn receive(&mut self, _: &mut Cx<'_>, _: &mut Self::Session, _: Fragment<'_>) -> Result<(), Close> {
            Ok(())
        }

        fn writable(&mut self, _: &mut Cx<'_>, _: &mut Self::Session, _: Tx<'_>) -> Result<(), Close> {
            Ok(())
        }
    }

    let mut site = Site::serving(Service::builder().protocol(Heavy));
    let before = resident();
    let crowd: Vec<_> = (0..600).map(|_| site.open()).collect();
    assert!(resident() > before + 20 * MIB, "they were not held");
    let stays = vec![1u8; 2000];
    drop(crowd);
    site.until_gone(0);
    assert_is_back(before, "600 sessions of 40 KB");
    assert_eq!(stays.len(), 2000);
}

/// Messages wait for a reader that falls behind, catches up and stays; something else that stays was allocated behind them.
pub(crate) fn what_waited_for_a_slow_reader_is_given_back() {
    let mut limits = Limits::default();
    limits.output_hard = 64 * MIB;
    let mut site = Site::new(limits, Routes::new());
    let mut peer = site.open();
    let before = resident();
    let message = "x".repeat(3000);
    let mut stays = Vec::new();
    for number in 0..10_000 {
        site.service.control().protocol_named("echo").unwrap().publish_text(&message);
        site.turns(1);
        if number % 500 == 499 {
            stays.push(vec![1u8; 2000]);
        }
    }
    assert!(resident() > before + 20 * MIB, "they were not held");
    let mut read = 0;
    while read < 10_000 * (message.len() + 4) {
        site.turns(1);
        let mut part = Vec::new();
        take(&mut peer, &mut part);
        read += part.len();
    }
    site.until_gone(1);
    assert_is_back(before, "30 MB for a slow reader");
    assert_eq!(stays.len(), 20);
    site.assert_echoes(&mut peer);
}

/// A head that never ends, with the tables of the service growing between them.
pub(crate) fn the_heads_of_a_crowd_are_given_back() {
    let mut site = Site::new(Limits::default(), Routes::new());
    let mut canary = site.open();
    let before = resident();
    let begun = [&b"GET / HTTP/1.1\r\nA: "[..], &[b'a'; 15_000]].concat();
    let mut peers = Vec::new();
    for _ in 0..3000 {
        let mut peer = site.connect();
        site.send(&mut peer, &begun);
        peers.push(peer);
    }
    site.assert_echoes(&mut canary);
    assert!(resident() > before + 40 * MIB, "they were not held");
    drop(peers);
    site.until_gone(1);
    assert_is_back(before, "3,000 heads");
    site.assert_echoes(&mut canary);
}

/// The same program once more, with little memory.
pub(crate) fn memory_that_cannot_be_had_ends_a_connection_and_not_the_process() {
    run_with_memory(256 * MIB, "refused");
}

/// 1,000 hostile peers at once: a third each sends an unfinished message, asks for large pages without reading, and
/// subscribes without reading.
pub(crate) fn a_hostile_crowd_stays_within_what_may_be_held() {
    run_with_memory(TOTAL + 128 * MIB, "crowd");
}

fn run_with_memory(bytes: usize, part: &str) {
    let this = env::current_exe().unwrap();
    let limit = format!("ulimit -v {} && exec \"$0\"", bytes / 1024);
    let child = Command::new("sh").args(["-c", &limit]).arg(this).env(LITTLE_MEMORY, part).output().unwrap();
    let said = String::from_utf8_lossy(&child.stderr).into_owned() + &String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{}: {said}", child.status);
}

/// The part of that program. `None`: this is not it.
pub(crate) fn play() -> Option<ExitCode> {
    match env::var(LITTLE_MEMORY).ok()?.as_str() {
        "crowd" => play_crowd(),
        _ => play_refused(),
    }
    Some(ExitCode::SUCCESS)
}

fn play_refused() {
    let mut site = Site::new(Limits::default(), Routes::new());
    let mut canary = site.open();
    let payload = vec![0; MIB];
    let mut codes = Vec::new();
    let mut peers = Vec::new();
    for _ in 0..24 {
        let mut peer = site.open();
        site.send(&mut peer, &head(16 * MIB));
        for _ in 0..15 {
            site.send(&mut peer, &payload);
        }
        let mut answer = Vec::new();
        take(&mut peer, &mut answer);
        codes.extend(answer.get(2..4).map(|code| u16::from_be_bytes([code[0], code[1]])));
        peers.push(peer);
        site.assert_echoes(&mut canary);
    }
    // RFC 6455 section 7.4.1: 1011, "an unexpected condition that prevented it from fulfilling the request".
    assert!(codes.len() >= 5 && codes.iter().all(|&code| code == 1011), "{codes:?}");
}

fn play_crowd() {
    let mut limits = Limits::default();
    limits.total_bytes = Some(TOTAL);
    limits.protocol_mut().message_bytes = MIB as u64;
    let routes = Routes::new().get("/", |_| Response::bytes("text/plain", vec![b'x'; MIB]));
    let mut site = Site::new(limits, routes);
    let mut canary = site.open();
    let before = resident();
    let mut peers = Vec::new();
    let part = vec![0; 700 * 1024];
    for index in 0..1000 {
        let mut peer = site.open();
        match index % 3 {
            0 => {
                site.send(&mut peer, &head(MIB));
                site.send(&mut peer, &part);
            }
            1 => {
                let mut reader = site.connect();
                site.send(&mut reader, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
                peers.push(reader);
            }
            _ => {}
        }
        peers.push(peer);
        if index % 20 == 0 {
            let news = "n".repeat(50_000);
            site.service.control().protocol_named("echo").unwrap().publish_text(&news);
            site.turns(1);
            let mut got = Vec::new();
            while got.len() < news.len() + 4 {
                site.turns(1);
                take(&mut canary, &mut got);
            }
        }
        let held = site.service.statistics().held_bytes as usize;
        assert!(held <= TOTAL + TOTAL / 10, "{held}");
    }
    assert!(site.service.statistics().limits.total_bytes > 0, "the crowd asked for more than may be held");
    site.assert_echoes(&mut canary);
    drop(peers);
    site.until_gone(1);
    assert_eq!(site.service.statistics().held_bytes, 0);
    assert_is_back(before, "1,000 hostile peers");
    site.assert_echoes(&mut canary);
}

const LITTLE_MEMORY: &str = "SOCKEYE_TEST_LITTLE_MEMORY";
/// What the service may hold for the crowd.
const TOTAL: usize = 64 * MIB;
