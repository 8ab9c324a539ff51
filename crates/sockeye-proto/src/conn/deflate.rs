//! Compressing messages (RFC 7692 section 7.2.1) for [`Connection::frame_compressed`].

use alloc::vec::Vec;

use super::connection::Connection;
use super::send::SendError;
use crate::deflate::{Deflate, History};
use crate::ext::deflate::Direction;
use crate::wire::{EncodedHeader, MessageKind};

impl Connection {
    /// The header of the first frame of a compressed message, as [`frame`](Self::frame) makes that of another: `len` is that of
    /// the compressed payload. Frames that continue it come from `frame`.
    ///
    /// # Errors
    /// As [`frame`](Self::frame); [`SendError::NotNegotiated`] if compression was not agreed on.
    pub fn frame_compressed(
        &mut self,
        kind: MessageKind,
        last: bool,
        len: u64,
        mask: Option<[u8; 4]>,
    ) -> Result<EncodedHeader, SendError> {
        // RFC 7692 section 6: a message is sent compressed only where a compression extension is in use.
        if self.deflate.is_none() {
            return Err(SendError::NotNegotiated);
        }
        self.frame(Some(kind), last, len, mask).map(EncodedHeader::compressed)
    }
}

/// What compressing keeps of a connection: with context takeover the end of the messages that were sent.
#[derive(Debug)]
pub struct Deflation {
    /// Empty without context takeover.
    history: History,
    takeover: bool,
}

impl Deflation {
    /// For what a connection sends, as [`Agreed::send`](crate::ext::deflate::Agreed::send) says, with at most `history_bytes` of
    /// what was sent, which may be less than was agreed on. Allocates with the first message that has to be kept.
    #[must_use]
    pub fn new(send: Direction, history_bytes: usize) -> Self {
        // A compressor with a window of w bytes looks back at most w - 262: zlib keeps the longest match and the shortest,
        // and one byte, in front of it.
        let window = send.window.bytes().max(LEAST_WINDOW) - NOT_REACHED;
        let most = if send.takeover { history_bytes.min(window) } else { 0 };
        // At most 32 KiB.
        Self { history: History::new(most as u32), takeover: send.takeover }
    }

    /// What the next message may refer to.
    #[must_use]
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// How many bytes of memory it holds beside itself.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.history.held_bytes()
    }

    /// Appends the compressed form of a whole message to `out`, if it is shorter than `payload`, and returns whether it is. If
    /// not, nothing has changed, and the message is to be sent as it is.
    ///
    /// Until half of the history is there, a message of at most a quarter of it may become longer by 8 bytes: short messages
    /// refer to the ones before them, and the first has none.
    ///
    /// After `false` the codec may not be [`Bound`](Codec::Bound): it may have seen a message that the peer has not. It is
    /// [`Any`](Codec::Any) in the next call, also if it was bound before.
    pub fn message(&mut self, codec: Codec<'_>, payload: &[u8], out: &mut Vec<u8>) -> bool {
        let (kept, most) = (self.history.len(), self.history.most());
        let is_first = kept < most / 2 && payload.len() <= most / 4;
        let most = payload.len().saturating_sub(1) + if is_first { 1 + GROWTH } else { 0 };
        let is_shorter = !payload.is_empty() && self.compress(codec, payload, most + FLUSH.len(), true, out);
        if is_shorter {
            self.history.add(payload);
        }
        is_shorter
    }

    /// Appends the compressed form of a part of a message to `out`, which may be a few bytes longer than `payload`. `last` ends
    /// the message. All parts of a message are compressed, or none is.
    ///
    /// Returns whether the codec may be [`Bound`](Codec::Bound) from now on. If not, it has to begin: it has failed, and the data
    /// went without compression, or it was not needed and is not bound yet.
    pub fn fragment(&mut self, codec: Codec<'_>, payload: &[u8], last: bool, out: &mut Vec<u8>) -> bool {
        if payload.is_empty() {
            // RFC 7692 section 7.2.3.6: "an empty DEFLATE block" of an empty message, without its last four bytes. What is not
            // the end needs none.
            out.extend_from_slice(if last { &[0] } else { &[] });
            return matches!(codec, Codec::Bound(_));
        }
        // More than any compressor of RFC 1951 makes that falls back to blocks without compression.
        let most = payload.len() + payload.len() / 8 + 64;
        let is_made = self.compress(codec, payload, most, last, out);
        if !is_made {
            stored(payload, last, out);
        }
        self.history.add(payload);
        is_made
    }

    /// A message was sent that was compressed elsewhere, referring to nothing before it, as one for many receivers is.
    pub fn sent(&mut self, payload: &[u8]) {
        self.history.add(payload);
    }

    /// Gives the memory of the history back. A sender may always refer to less than its receiver keeps.
    pub fn forget(&mut self) {
        self.history.forget();
    }

    /// Appends at most `most` bytes, with the flush, which is then cut off if it `is_end`.
    fn compress(&self, codec: Codec<'_>, payload: &[u8], most: usize, is_end: bool, out: &mut Vec<u8>) -> bool {
        let codec = match codec {
            // What it knows may not be referred to.
            Codec::Bound(codec) if self.takeover => codec,
            Codec::Any(codec) | Codec::Bound(codec) => {
                codec.begin(self.history.parts());
                codec
            }
        };
        let start = out.len();
        // One byte more: what fills it may have more to come, though it ends as a flush does, if the payload has such bytes.
        out.resize(start + most + 1, 0);
        let made = codec
            .deflate(payload, &mut out[start..])
            .filter(|&made| made <= most && out[start..start + made].ends_with(&FLUSH));
        // RFC 7692 section 7.2.1: "Remove 4 octets (that are 0x00 0x00 0xff 0xff) from the tail end."
        let cut = if is_end { FLUSH.len() } else { 0 };
        out.truncate(made.map_or(start, |made| start + made - cut));
        made.is_some()
    }
}

/// The compressor of a call.
#[expect(clippy::exhaustive_enums, reason = "it is bound or it is not")]
pub enum Codec<'c> {
    /// One that anybody has used. It begins with the history.
    Any(&'c mut dyn Deflate),
    /// The one that compressed all of this connection's messages since it last began, for it alone, and none of those was
    /// compressed elsewhere or sent as it is after it had been tried: it knows the history, and goes on. Without context
    /// takeover it begins nevertheless.
    Bound(&'c mut dyn Deflate),
}

impl core::fmt::Debug for Codec<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Any(_) => "Codec::Any",
            Self::Bound(_) => "Codec::Bound",
        })
    }
}

/// `payload` in blocks without compression (RFC 1951 section 3.2.4).
fn stored(payload: &[u8], last: bool, out: &mut Vec<u8>) {
    for block in payload.chunks(usize::from(u16::MAX)) {
        // At most 65,535.
        let len = block.len() as u16;
        out.push(0);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&(!len).to_le_bytes());
        out.extend_from_slice(block);
    }
    out.push(0);
    out.extend_from_slice(if last { &[] } else { &FLUSH });
}

/// The end of an empty block without compression.
const FLUSH: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
/// How much longer a message may become until half of the history is there.
const GROWTH: usize = 8;
/// What zlib's compressors do not reach of their window.
const NOT_REACHED: usize = 262;
/// The least window that zlib's compressors have. What they make with it, a receiver with a window of 256 bytes can read, since
/// 512 - 262 is less than that.
const LEAST_WINDOW: usize = 512;
