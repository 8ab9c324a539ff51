//! Encoding of frame headers.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Deref;

use super::layout::{COMPRESSED, FIN, LENGTH_16, LENGTH_64, MASK, MAX_HEADER_BYTES, RSV};
use super::opcode::OpCode;

/// A frame header as bytes, ready to be sent. Dereferences to the bytes;
/// [`FrameHeader`](super::FrameHeader) is the parsed form.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct EncodedHeader {
    bytes: [u8; MAX_HEADER_BYTES],
    /// `len <= MAX_HEADER_BYTES`
    len: u8,
}

impl EncodedHeader {
    /// Encodes a header for a payload of `len` bytes. `rsv` holds the reserved bits in place; bits
    /// other than `0x70` are ignored. `mask` is the masking key.
    ///
    /// # Panics
    /// `len` is 2^63 or more. No slice is that long.
    #[must_use]
    #[inline(always)]
    pub fn new(fin: bool, rsv: u8, opcode: OpCode, len: u64, mask: Option<[u8; 4]>) -> Self {
        let mut bytes = [0; MAX_HEADER_BYTES];
        let first = (if fin { FIN } else { 0 }) | (rsv & RSV) | opcode as u8;
        // RFC 6455 section 5.2: "in all cases, the minimal number of bytes MUST be used to encode
        // the length".
        if len < u64::from(LENGTH_16) {
            // Most frames. A single store, because a load right after several smaller ones would
            // have to wait for them.
            let (key, masked) = mask.map_or((0, 0), |key| (u32::from_le_bytes(key), MASK));
            let word = u64::from(key) << 16 | (len | u64::from(masked)) << 8 | u64::from(first);
            bytes[..8].copy_from_slice(&word.to_le_bytes());
            return Self { bytes, len: if mask.is_some() { 6 } else { 2 } };
        }
        bytes[0] = first;
        let used = if let Ok(medium) = u16::try_from(len) {
            bytes[1] = LENGTH_16;
            bytes[2..4].copy_from_slice(&medium.to_be_bytes());
            4
        } else {
            // "the most significant bit MUST be 0"
            assert!(len >> 63 == 0, "a frame must have fewer than 2^63 payload bytes");
            bytes[1] = LENGTH_64;
            bytes[2..10].copy_from_slice(&len.to_be_bytes());
            10
        };
        let mut head = Self { bytes, len: used };
        if let Some(key) = mask {
            head.bytes[1] |= MASK;
            head.bytes[usize::from(used)..][..4].copy_from_slice(&key);
            head.len = used + 4;
        }
        head
    }

    /// The header of the first frame of a compressed message. RFC 7692 section 6.1: "Set the "Per-Message Compressed" bit to 1
    /// on the first fragment."
    pub(crate) fn compressed(mut self) -> Self {
        self.bytes[0] |= COMPRESSED;
        self
    }

    /// Appends the bytes to `out`. Cheaper than extending it by the slice, because it copies a
    /// fixed length.
    #[inline(always)]
    pub fn append_to(&self, out: &mut Vec<u8>) {
        let end = out.len() + usize::from(self.len);
        match *self {
            // Most frames are short: from a server,
            Self { bytes: [first, second, ..], len: 2 } => out.extend_from_slice(&[first, second]),
            // and from a client.
            Self { bytes: [a, b, c, d, e, f, g, h, ..], len: 6 } => {
                out.extend_from_slice(&[a, b, c, d, e, f, g, h]);
                out.truncate(end);
            }
            Self { bytes, .. } => {
                out.extend_from_slice(&bytes);
                out.truncate(end);
            }
        }
    }
}

impl Deref for EncodedHeader {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for EncodedHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EncodedHeader").field(&&**self).finish()
    }
}
