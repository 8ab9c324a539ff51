//! A WebSocket client at the other end of a simulated connection, as well-behaved or not as its test wants.

use std::io;
use std::sync::Arc;

use sockeye::sim::{Network, PeerEnd};
use sockeye::sys::Address;
use sockeye_proto::close::Close;
use sockeye_proto::conn::{Connection, ControlPayload, HEADROOM, Input};
use sockeye_proto::event::{Event, Fragment};
use sockeye_proto::handshake::client::{UpgradeRequest, check};
use sockeye_proto::limits::ProtocolLimits;
use sockeye_proto::time::Instant;
use sockeye_proto::wire::{MessageKind, Role, mask};

use crate::rng::Rng;
use crate::wire::{Taken, Wire};
use crate::zlib::{self, Packer, Plain};

/// What a client heard.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Heard {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
    /// The server broke a rule.
    Failed(String),
}

/// The client's side of one connection.
pub struct Client {
    pub peer: Option<Wire>,
    conn: Option<Connection>,
    limits: Arc<ProtocolLimits>,
    rng: Rng,
    nonce: [u8; 16],
    protocol: String,
    head: Vec<u8>,
    /// The status of the server's answer to the handshake.
    pub status: Option<u16>,
    pub heard: Vec<Heard>,
    partial: Vec<u8>,
    /// Whether a Close frame of the server is answered, and pings.
    pub answers: bool,
    /// A Close frame of its own was sent first: nothing follows it.
    closing: bool,
    pub received: usize,
    ended: Option<PeerEnd>,
    ended_inside_record: bool,
    /// What it offers of compression: the value of `Sec-WebSocket-Extensions`.
    offer: Option<String>,
    /// Compresses what is sent from now on, if that was agreed on.
    pub packer: Option<Packer>,
    /// Decompresses what comes, if that was agreed on.
    pub plain: Option<Plain>,
}

impl Client {
    /// Connects; the handshake is not sent yet.
    pub fn connect(network: &Network, to: &Address, seed: u64) -> io::Result<Self> {
        Self::connect_scrambled(network, to, seed, None)
    }

    /// As [`connect`](Self::connect), to a service whose bytes are scrambled with this seed.
    pub fn connect_scrambled(network: &Network, to: &Address, seed: u64, scrambled: Option<u64>) -> io::Result<Self> {
        let mut limits = ProtocolLimits::default();
        limits.ping_after = None;
        let mut rng = Rng::new(seed);
        let mut nonce = [0; 16];
        nonce.fill_with(|| rng.draw() as u8);
        Ok(Self {
            peer: Some(Wire::new(network.connect(to)?, scrambled)),
            conn: None,
            limits: Arc::new(limits),
            rng,
            nonce,
            protocol: String::new(),
            head: Vec::new(),
            status: None,
            heard: Vec::new(),
            partial: Vec::new(),
            answers: true,
            closing: false,
            received: 0,
            ended: None,
            ended_inside_record: false,
            offer: None,
            packer: None,
            plain: None,
        })
    }

    /// Offers compression in the handshake that follows.
    pub fn offer(&mut self, extension: &str) {
        self.offer = Some(extension.to_owned());
    }

    /// Sends the handshake for `protocol`.
    pub fn handshake(&mut self, path: &str, protocol: &str) {
        let head = self.handshake_bytes(path, protocol);
        self.raw(&head);
    }

    /// The handshake, to be sent piece by piece or with something behind it.
    pub fn handshake_bytes(&mut self, path: &str, protocol: &str) -> Vec<u8> {
        let request = UpgradeRequest::new("localhost", path).and_then(|request| request.protocol(protocol));
        let mut head = Vec::new();
        request.expect("a legal request").write(&mut head, self.nonce);
        if let Some(offer) = &self.offer {
            head.truncate(head.len() - 2);
            head.extend_from_slice(format!("Sec-WebSocket-Extensions: {offer}\r\n\r\n").as_bytes());
        }
        self.protocol = protocol.to_owned();
        head
    }

    /// Sends bytes as they are.
    pub fn raw(&self, bytes: &[u8]) {
        if let Some(peer) = &self.peer {
            peer.send(bytes);
        }
    }

    /// Connects and speaks as if the handshake were through, for what is sent behind it without waiting.
    pub fn assume_open(&mut self, now: Instant) {
        self.conn.get_or_insert_with(|| Connection::new(Role::Client, self.limits.clone(), now));
    }

    /// Whether the server accepted.
    pub fn is_open(&self) -> bool {
        self.status == Some(101)
    }

    /// A message in so many frames.
    pub fn message(&mut self, kind: MessageKind, payload: &[u8], frames: usize) {
        let mut rest = payload;
        for frame in 0..frames.max(1) {
            let last = frame + 1 == frames.max(1);
            let count = if last { rest.len() } else { self.rng.of(0..rest.len() + 1) };
            let (piece, after) = rest.split_at(count);
            self.frame((frame == 0).then_some(kind), last, piece);
            rest = after;
        }
    }

    pub fn text(&mut self, text: &str) {
        self.message(MessageKind::Text, text.as_bytes(), 1);
    }

    pub fn binary(&mut self, payload: &[u8]) {
        self.message(MessageKind::Binary, payload, 1);
    }

    /// One data frame; nothing once a Close frame was sent.
    pub fn frame(&mut self, kind: Option<MessageKind>, last: bool, payload: &[u8]) {
        let key = self.key();
        let Some(conn) = &mut self.conn else { panic!("the handshake is not through") };
        let packed = self.packer.as_mut().map(|packer| packer.part(payload, last));
        let payload = packed.as_deref().unwrap_or(payload);
        let Ok(head) = conn.frame(kind, last, payload.len() as u64, Some(key)) else { return };
        let mut bytes = head.to_vec();
        if packed.is_some() && kind.is_some() {
            bytes[0] |= 0x40;
        }
        let start = bytes.len();
        bytes.extend_from_slice(payload);
        mask::apply(&mut bytes[start..], key, 0);
        self.raw(&bytes);
    }

    pub fn ping(&mut self, payload: &[u8]) {
        if let Some(conn) = &mut self.conn {
            let _ = conn.ping(ControlPayload::new(payload).expect("a short payload"));
        }
        self.transmit();
    }

    /// Sends a Close frame.
    pub fn close(&mut self, close: impl Into<Close>, now: Instant) {
        if let Some(conn) = &mut self.conn {
            conn.close(close.into(), now);
        }
        self.transmit();
        self.closing = true;
    }

    fn transmit(&mut self) {
        let mut out = Vec::new();
        let mut rng = self.rng.clone();
        let mut key = || (rng.draw() as u32).to_le_bytes();
        if let Some(conn) = &mut self.conn {
            conn.transmit(&mut out, &mut key);
        }
        self.rng = rng;
        if !out.is_empty() {
            self.raw(&out);
        }
    }

    fn key(&mut self) -> [u8; 4] {
        (self.rng.draw() as u32).to_le_bytes()
    }

    /// Takes up to `most` bytes that arrived, as the network carries them, and hears what they say.
    pub fn pump(&mut self, most: usize, now: Instant) {
        let Some(peer) = &self.peer else { return };
        let end = peer.end();
        let Taken { wire_bytes, plaintext: bytes } = peer.take(most);
        if wire_bytes == 0 {
            self.ended = self.ended.or(end);
            self.ended_inside_record = self.ended.is_some() && peer.is_inside_record();
            return;
        }
        self.received += wire_bytes;
        if self.status.is_none() {
            self.head.extend_from_slice(&bytes);
            if let Some(rest) = self.hear_head(now) {
                self.hear(&rest, now);
            }
        } else if self.is_open() {
            self.hear(&bytes, now);
        }
    }

    /// How the server ended the connection, once all before that was taken.
    pub fn end(&self) -> Option<PeerEnd> {
        self.ended
    }

    /// Whether the server's last record was not complete when the connection ended.
    pub fn ended_inside_record(&self) -> bool {
        self.ended_inside_record
    }

    fn hear_head(&mut self, now: Instant) -> Option<Vec<u8>> {
        let end = self.head.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = std::mem::take(&mut self.head);
        let status = head.get(9..12).and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
        self.status = Some(status.unwrap_or(0));
        if self.status != Some(101) {
            return None;
        }
        let checked = self.take_extensions(String::from_utf8_lossy(&head[..end]).into_owned());
        if let Err(failure) = check(checked.as_bytes(), self.nonce, &[&self.protocol], None, &self.limits) {
            self.heard.push(Heard::Failed(format!("the handshake: {failure:?} {:?}", String::from_utf8_lossy(&head))));
        }
        self.assume_open(now);
        Some(head[end..].to_vec())
    }

    /// Takes the answer on extensions out of a head.
    fn take_extensions(&mut self, mut head: String) -> String {
        const FIELD: &str = "sec-websocket-extensions: ";
        let Some(start) = head.to_ascii_lowercase().find(FIELD).filter(|_| self.offer.is_some()) else { return head };
        let end = start + head[start..].find("\r\n").map_or(0, |end| end + 2);
        let answer = head[start + FIELD.len()..end].trim();
        if let Some((send, receive)) = zlib::agreed(answer.as_bytes()) {
            self.plain = Some(Plain::new(receive));
            // One that did not wait for the answer goes on without.
            self.packer = self.conn.is_none().then(|| Packer::new(send));
        }
        head.replace_range(start..end, "");
        head
    }

    fn hear(&mut self, bytes: &[u8], now: Instant) {
        let mut buffer = vec![0; HEADROOM];
        match &mut self.plain {
            Some(plain) => {
                buffer.extend(plain.frames(bytes));
                self.heard.extend(plain.failed.take().map(Heard::Failed));
            }
            None => buffer.extend_from_slice(bytes),
        }
        let mut input = Input::new(&mut buffer, HEADROOM);
        while let Some(conn) = &mut self.conn {
            match conn.receive(&mut input) {
                Ok(None) => break,
                Ok(Some(Event::Fragment(fragment))) => self.hear_fragment(&fragment),
                Ok(Some(Event::Ping(payload))) => self.heard.push(Heard::Ping(payload.to_vec())),
                Ok(Some(Event::Pong(payload))) => self.heard.push(Heard::Pong(payload.to_vec())),
                Ok(Some(Event::Close(frame))) => self.heard.push(Heard::Close(frame.code)),
                Ok(Some(_)) => {}
                Err(violation) => self.heard.push(Heard::Failed(violation.to_string())),
            }
            if self.answers && !self.closing {
                self.transmit();
            }
        }
        if let Some(conn) = &mut self.conn {
            conn.receive_done(now);
        }
    }

    fn hear_fragment(&mut self, fragment: &Fragment<'_>) {
        self.partial.extend_from_slice(fragment.payload.as_bytes());
        if fragment.last {
            let payload = std::mem::take(&mut self.partial);
            self.heard.push(match fragment.kind {
                MessageKind::Text => Heard::Text(String::from_utf8(payload).expect("pieces of text are text")),
                MessageKind::Binary => Heard::Binary(payload),
            });
        }
    }

    /// The code of the Close frame that came.
    pub fn close_heard(&self) -> Option<Option<u16>> {
        self.heard.iter().find_map(|heard| match heard {
            Heard::Close(code) => Some(*code),
            _ => None,
        })
    }

    /// The messages that came.
    pub fn messages(&self) -> impl Iterator<Item = &Heard> {
        self.heard.iter().filter(|heard| matches!(heard, Heard::Text(_) | Heard::Binary(_)))
    }

    pub fn shutdown(&self) {
        if let Some(peer) = &self.peer {
            peer.shutdown();
        }
    }

    /// Ends the sending side, behind the beginning of a record if bytes are sealed.
    pub fn shutdown_inside_record(&self) {
        if let Some(peer) = &self.peer {
            // A message that is never complete.
            peer.shutdown_inside_record(b"\x81\x84\0\0\0\0lost");
        }
    }

    pub fn reset(&self) {
        if let Some(peer) = &self.peer {
            peer.reset();
        }
    }
}
