//! The incomplete end of an input, kept for the next one.

use alloc::boxed::Box;

/// Part of a frame header or part of a control frame, as received.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    /// `len <= MAX`. Up to `INLINE` bytes are in `inline`, more are in `boxed`.
    len: u8,
    inline: [u8; INLINE],
    boxed: Option<Box<[u8; MAX]>>,
}

impl Tail {
    /// Keeps `bytes`, which must be shorter than a complete control frame.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        let place = if bytes.len() <= INLINE {
            &mut self.inline[..]
        } else {
            &mut self.boxed.get_or_insert_with(|| Box::new([0; MAX]))[..]
        };
        // A partial header has at most 13 bytes and a partial control frame at most `MAX`, so
        // neither line can fail.
        place[..bytes.len()].copy_from_slice(bytes);
        self.len = bytes.len() as u8;
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        let len = usize::from(self.len);
        match &self.boxed {
            Some(boxed) => &boxed[..len],
            None => &self.inline[..len],
        }
    }

    /// Drops the bytes and frees their memory.
    pub(crate) fn clear(&mut self) {
        self.len = 0;
        self.boxed = None;
    }
}

/// How many bytes are kept without an allocation: enough for any partial header.
const INLINE: usize = 15;
/// The longest incomplete control frame: a masked one of 125 bytes, without its last byte.
const MAX: usize = 130;
