//! The incomplete end of an input, kept until the next one.

use alloc::boxed::Box;

/// Part of a frame header or part of a control frame, as received.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    /// `len <= MAX`; in `inline` up to `INLINE` bytes, in `boxed` above.
    len: u8,
    inline: [u8; INLINE],
    boxed: Option<Box<[u8; MAX]>>,
}

impl Tail {
    /// Keeps `bytes`, which are fewer than a whole control frame.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        let place = if bytes.len() <= INLINE {
            &mut self.inline[..]
        } else {
            &mut self.boxed.get_or_insert_with(|| Box::new([0; MAX]))[..]
        };
        // A partial header has 13 bytes at most and a partial control frame `MAX`, so that both conversions hold.
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

    /// Forgets the bytes and gives back their memory.
    pub(crate) fn clear(&mut self) {
        self.len = 0;
        self.boxed = None;
    }
}

/// Bytes kept without an allocation: enough for any partial header.
const INLINE: usize = 15;
/// A masked control frame of 125 bytes, less one.
const MAX: usize = 130;
