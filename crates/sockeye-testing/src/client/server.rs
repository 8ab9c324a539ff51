//! The other side, written by hand: one connection that a scripted listener took.

use sockeye::sim::{Listener, Peer, PeerEnd};
use sockeye_proto::handshake::key;
use sockeye_proto::wire::mask;

use crate::wire::Wire;

/// A frame as it came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Frame {
    pub last: bool,
    pub opcode: u8,
    /// The reserved bits in place.
    pub rsv: u8,
    pub key: Option<[u8; 4]>,
    /// Unmasked.
    pub payload: Vec<u8>,
}

pub struct Server {
    pub peer: Wire,
    /// What came and was not used up.
    pub input: Vec<u8>,
    /// The last head that came.
    pub head: String,
    pub frames: Vec<Frame>,
    /// It was accepted: what comes are frames.
    open: bool,
}

impl Server {
    pub fn accept(listener: &Listener) -> Option<Self> {
        Self::accept_scrambled(listener, None)
    }

    /// As [`accept`](Self::accept), from a service whose bytes are scrambled with this seed.
    pub fn accept_scrambled(listener: &Listener, scrambled: Option<u64>) -> Option<Self> {
        Some(Self::on(Wire::new(listener.accept()?, scrambled)))
    }

    /// At the other end of a connection that was not accepted.
    pub fn of(peer: Peer) -> Self {
        Self::on(Wire::new(peer, None))
    }

    fn on(peer: Wire) -> Self {
        Self { peer, input: Vec::new(), head: String::new(), frames: Vec::new(), open: false }
    }

    pub fn send(&self, bytes: impl AsRef<[u8]>) {
        self.peer.send(bytes.as_ref());
    }

    /// Takes what came.
    pub fn pump(&mut self) {
        self.input.extend(self.peer.recv());
        while self.open {
            let Some((frame, len)) = parse(&self.input) else { break };
            self.input.drain(..len);
            self.frames.push(frame);
        }
    }

    /// Whether a head came, which is then in `head`.
    pub fn heard_head(&mut self) -> bool {
        self.pump();
        let Some(end) = self.input.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
        self.head = String::from_utf8(self.input.drain(..end + 4).collect()).unwrap();
        true
    }

    /// The value of a field of the last head.
    pub fn field(&self, name: &str) -> Option<&str> {
        let is = |line: &&str| line.split_once(": ").is_some_and(|(other, _)| other.eq_ignore_ascii_case(name));
        self.head.split("\r\n").find(is).and_then(|line| line.split_once(": ")).map(|(_, value)| value)
    }

    /// The answer that accepts, with more lines.
    pub fn acceptance(&self, more: &str) -> String {
        let key = self.field("sec-websocket-key").unwrap_or_default();
        let accept = String::from_utf8(key::accept(key.as_bytes()).to_vec()).unwrap();
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
        )
    }

    pub fn open(&mut self, more: &str) {
        self.send(self.acceptance(more));
        self.speak();
    }

    /// What comes from here on are frames.
    pub fn speak(&mut self) {
        self.open = true;
        self.pump();
    }

    pub fn is_open(&self) -> bool {
        self.open
    }

    pub fn end(&self) -> Option<PeerEnd> {
        self.peer.end()
    }

    /// The whole messages that came.
    pub fn messages(&self) -> Vec<Vec<u8>> {
        let mut messages: Vec<Vec<u8>> = Vec::new();
        for frame in self.frames.iter().filter(|frame| frame.opcode < 8) {
            match (frame.opcode, messages.last_mut()) {
                (0, Some(message)) => message.extend_from_slice(&frame.payload),
                _ => messages.push(frame.payload.clone()),
            }
        }
        messages
    }

    pub fn closes(&self) -> Vec<&[u8]> {
        self.frames.iter().filter(|frame| frame.opcode == 8).map(|frame| &frame.payload[..]).collect()
    }
}

/// A frame of a server.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ ..=125 => bytes.push(len as u8),
        len @ ..=65_535 => {
            bytes.push(126);
            bytes.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            bytes.push(127);
            bytes.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(payload);
    bytes
}

fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let number = |range: std::ops::Range<usize>| {
        bytes.get(range).map(|bytes| bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    };
    let (len, mut at) = match second & 127 {
        126 => (number(2..4)?, 4),
        127 => (number(2..10)?, 10),
        len => (usize::from(len), 2),
    };
    let mut key = None;
    if second & 128 != 0 {
        key = Some(bytes.get(at..at + 4)?.try_into().unwrap());
        at += 4;
    }
    let mut payload = bytes.get(at..at + len)?.to_vec();
    if let Some(key) = key {
        mask::apply(&mut payload, key, 0);
    }
    Some((Frame { last: first & 128 != 0, opcode: first & 15, rsv: first & 0x70, key, payload }, at + len))
}
