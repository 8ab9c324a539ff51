//! The other end of permessage-deflate (RFC 7692) by zlib as others use it: a stream for each direction that lives as long as
//! the connection, with the window that was agreed on.
//!
//! It knows nothing of the library's own compression, and so tells what is wrong with it: a byte that refers to more than the
//! window, or to a message that this side never saw, is an error here.

use sockeye_proto::ext::params;
use sockeye_proto::wire::{FrameHeader, Parsed, Role};
use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush, Status};

/// One direction as a handshake agreed on it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Way {
    pub window_bits: u8,
    pub takeover: bool,
}

/// What a server's answer says: how the client may compress, and how the server does. `None`: nothing was accepted.
pub fn agreed(answer: &[u8]) -> Option<(Way, Way)> {
    let answer = params::parse([answer]).expect("a well-formed answer");
    let [answer] = &answer[..] else { return None };
    assert_eq!(answer.name, "permessage-deflate");
    let window = |name: &str| {
        let value = answer.params.iter().find(|param| param.name == name)?.value.clone()?;
        value.parse().ok()
    };
    let takeover = |name: &str| answer.params.iter().all(|param| param.name != name);
    let way = |side: &str| Way {
        window_bits: window(&format!("{side}_max_window_bits")).unwrap_or(15),
        takeover: takeover(&format!("{side}_no_context_takeover")),
    };
    Some((way("client"), way("server")))
}

/// Compresses messages.
pub struct Packer {
    way: Way,
    deflate: Deflate,
}

impl Packer {
    pub fn new(way: Way) -> Self {
        // zlib has no raw windows of 8 bits to compress with.
        let deflate = Deflate::new(6, false, way.window_bits.max(9));
        Self { way, deflate }
    }

    /// The payload of a frame that has this part of a message.
    pub fn part(&mut self, payload: &[u8], last: bool) -> Vec<u8> {
        let mut out = vec![0; payload.len() * 2 + 200];
        let before = self.deflate.total_out();
        let status = self.deflate.compress(payload, &mut out, DeflateFlush::SyncFlush).expect("it can be compressed");
        assert!(matches!(status, Status::Ok | Status::BufError));
        out.truncate((self.deflate.total_out() - before) as usize);
        if !last {
            return out;
        }
        if !self.way.takeover {
            self.deflate.reset();
        }
        if out.is_empty() {
            // Nothing since the last flush, so zlib says nothing: an empty block.
            return vec![0];
        }
        assert!(out.ends_with(&TAIL));
        out.truncate(out.len() - TAIL.len());
        out
    }

    pub fn message(&mut self, payload: &[u8]) -> Vec<u8> {
        self.part(payload, true)
    }
}

/// Decompresses messages.
pub struct Unpacker {
    way: Way,
    inflate: Inflate,
}

impl Unpacker {
    pub fn new(way: Way) -> Self {
        Self { way, inflate: Inflate::new(false, way.window_bits) }
    }

    /// What a frame of a compressed message says.
    pub fn part(&mut self, packed: &[u8], last: bool) -> Result<Vec<u8>, String> {
        let input = [packed, if last { &TAIL } else { &[] }].concat();
        let (mut used, mut out, mut scratch) = (0, Vec::new(), vec![0; 20_000]);
        loop {
            let (read, made) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress(&input[used..], &mut scratch, InflateFlush::NoFlush);
            let made = (self.inflate.total_out() - made) as usize;
            used += (self.inflate.total_in() - read) as usize;
            out.extend_from_slice(&scratch[..made]);
            match status {
                Ok(Status::Ok | Status::BufError) if made == scratch.len() => {}
                Ok(Status::Ok | Status::BufError) if used == input.len() => break,
                other => return Err(format!("{other:?} {:?}", self.inflate.error_message())),
            }
        }
        if last && !self.way.takeover {
            self.inflate = Inflate::new(false, self.way.window_bits);
        }
        Ok(out)
    }
}

/// Turns a stream of frames with compressed messages into one without.
pub struct Plain {
    unpacker: Unpacker,
    /// The beginning of a frame.
    input: Vec<u8>,
    /// The message in progress is compressed.
    is_packed: bool,
    /// How many compressed messages there were.
    pub packed: usize,
    /// How long their payloads were as they came, and how long they are.
    pub bytes: (usize, usize),
    /// What was wrong.
    pub failed: Option<String>,
}

impl Plain {
    pub fn new(way: Way) -> Self {
        let unpacker = Unpacker::new(way);
        Self { unpacker, input: Vec::new(), is_packed: false, packed: 0, bytes: (0, 0), failed: None }
    }

    /// The bytes of a server, as they came. Returns whole frames, whose payloads are plain.
    pub fn frames(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.input.extend_from_slice(bytes);
        let (mut out, mut used) = (Vec::new(), 0);
        while self.failed.is_none() {
            let rest = &self.input[used..];
            let Ok(Parsed::Complete(header, len)) = FrameHeader::parse(rest, Role::Client, 0x40) else { break };
            let Some(payload) = rest.get(len..len + header.len as usize) else { break };
            used += len + payload.len();
            if header.opcode.is_control() {
                out.extend_from_slice(&rest[..len + payload.len()]);
                continue;
            }
            let opcode = rest[0] & 15;
            if opcode > 0 {
                self.is_packed = header.rsv != 0;
                self.packed += usize::from(self.is_packed);
            } else if header.rsv != 0 {
                self.failed = Some("the bit of a compressed message in another than the first frame".to_owned());
            }
            let first = u8::from(header.fin) << 7 | opcode;
            if !self.is_packed {
                out.extend(crate::client::frame(first, payload));
                continue;
            }
            match self.unpacker.part(payload, header.fin) {
                Ok(plain) => {
                    self.bytes = (self.bytes.0 + payload.len(), self.bytes.1 + plain.len());
                    out.extend(crate::client::frame(first, &plain));
                }
                Err(why) => self.failed = Some(why),
            }
        }
        self.input.drain(..used);
        out
    }
}

/// `len` zeros, compressed at best.
pub fn bomb(len: usize) -> Vec<u8> {
    let mut deflate = Deflate::new(9, false, 15);
    let (zeros, mut packed) = (vec![0; len.min(1 << 20)], Vec::new());
    let mut out = vec![0; 1 << 20];
    for at in (0..len).step_by(zeros.len()) {
        let input = &zeros[..zeros.len().min(len - at)];
        let before = deflate.total_out();
        deflate.compress(input, &mut out, DeflateFlush::NoFlush).expect("there is room");
        packed.extend_from_slice(&out[..(deflate.total_out() - before) as usize]);
    }
    let before = deflate.total_out();
    deflate.compress(&[], &mut out, DeflateFlush::SyncFlush).expect("there is room");
    packed.extend_from_slice(&out[..(deflate.total_out() - before) as usize]);
    packed.truncate(packed.len() - TAIL.len());
    packed
}

/// RFC 7692 section 7.2.1.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
