//! zlib-rs as it is, for what compression is compared with, and for the clients that it is measured with.

use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush};

/// What a compressor goes on with from one message to the next.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
#[expect(clippy::exhaustive_enums, reason = "programs of this crate match on all of them")]
pub enum Memory {
    /// Nothing.
    None,
    /// The end of the messages before, given to a machine that anybody has used.
    History,
    /// All that its window holds: the machine is for this connection alone.
    Stateful,
}

/// How much of the messages before a machine is given.
pub const HISTORY: usize = 2048;

/// Compresses messages.
#[expect(missing_debug_implementations, reason = "that of zlib-rs has none")]
pub struct Packer(Deflate);

impl Packer {
    /// With a window of 9 to 15 bits.
    #[must_use]
    pub fn new(level: u8, window_bits: u8) -> Self {
        Self(Deflate::new(i32::from(level), false, window_bits))
    }

    /// As browsers have it, with the window that was agreed on.
    #[must_use]
    pub fn for_client(window_bits: u8) -> Self {
        Self::new(6, window_bits)
    }

    /// Forgets everything, and takes the end of what went before, if it is to.
    #[inline]
    pub fn begin(&mut self, history: &[u8]) {
        self.0.reset();
        if !history.is_empty() {
            self.0.set_dictionary(history).expect("a raw stream takes a dictionary");
        }
    }

    /// Compresses a message into `out`, which has room for it, and returns how long it is without the flush.
    #[inline]
    pub fn message(&mut self, payload: &[u8], out: &mut [u8]) -> usize {
        let before = self.0.total_out();
        self.0.compress(payload, out, DeflateFlush::SyncFlush).expect("it can be compressed");
        let made = (self.0.total_out() - before) as usize;
        assert!(made < out.len() && out[..made].ends_with(&TAIL), "the output was too short");
        made - TAIL.len()
    }
}

/// Decompresses messages.
#[expect(missing_debug_implementations, reason = "as above")]
pub struct Unpacker(Inflate);

impl Default for Unpacker {
    fn default() -> Self {
        Self(Inflate::new(false, 15))
    }
}

impl Unpacker {
    /// Forgets everything, and takes the end of what went before, if it is to.
    #[inline]
    pub fn begin(&mut self, history: &[u8]) {
        self.0.reset(false);
        if !history.is_empty() {
            self.0.set_dictionary(history).expect("a raw stream takes a dictionary");
        }
    }

    /// Decompresses a message, which has its flush, into `out`, which has room for it. Returns how long it is.
    #[inline]
    pub fn message(&mut self, packed: &[u8], out: &mut [u8]) -> usize {
        let (read, made) = (self.0.total_in(), self.0.total_out());
        self.0.decompress(packed, out, InflateFlush::SyncFlush).expect("it can be decompressed");
        assert_eq!((self.0.total_in() - read) as usize, packed.len(), "all of it is one message");
        (self.0.total_out() - made) as usize
    }
}

/// As a client compresses it, whose window is small enough for what the server keeps.
#[must_use]
pub fn client_packed(packer: &mut Packer, memory: Memory, text: &[u8]) -> Vec<u8> {
    let mut packed = vec![0; text.len() * 2 + 64];
    if memory == Memory::None {
        packer.begin(&[]);
    }
    let len = packer.message(text, &mut packed);
    packed.truncate(len);
    packed
}

/// How long messages are, compressed one after another by a machine of their own with the largest window.
#[must_use]
pub fn stateful_bytes(level: u8, messages: &[String]) -> usize {
    let mut packer = Packer::new(level, 15);
    let mut out = vec![0; 64 * 1024];
    messages.iter().map(|message| packer.message(message.as_bytes(), &mut out)).sum()
}

/// What ends a compressed message, and is not sent (RFC 7692 section 7.2.1).
pub const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpora::Corpus;

    #[test]
    fn messages_come_back() {
        let (mut out, mut back) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
        for level in [1, 6] {
            let (mut packer, mut unpacker) = (Packer::new(level, 15), Unpacker::default());
            let mut history = Vec::new();
            for (index, message) in Corpus::Chat.messages(1, 50).iter().enumerate() {
                if index % 3 == 0 {
                    packer.begin(&history);
                    unpacker.begin(&history);
                }
                let made = packer.message(message.as_bytes(), &mut out);
                out[made..made + TAIL.len()].copy_from_slice(&TAIL);
                let len = unpacker.message(&out[..made + TAIL.len()], &mut back);
                assert_eq!(&back[..len], message.as_bytes());
                history.extend_from_slice(message.as_bytes());
            }
        }
    }
}
