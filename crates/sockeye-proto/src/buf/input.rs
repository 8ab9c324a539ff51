//! The caller's receive buffer, borrowed for one round of `receive` calls.

use core::mem;

use crate::wire::mask::{self, LongMask};

/// How many free bytes the caller leaves before the data of an [`Input`].
///
/// A connection puts what it kept of the previous input there: at most 130 bytes of a control frame
/// (or 13 of a header) and, right before a text payload, at most 3 bytes of a code point.
pub const HEADROOM: usize = 160;

/// Bytes from the transport, to be decoded in place.
///
/// ```text
///  buffer  ├─── free room ───┤├──────── data ─────────┤
///          0                 start
/// ```
///
/// An event takes the part of the buffer up to the end of its payload. The input keeps what is
/// after it:
///
/// ```text
///  before  ├─ room ─┤├header┤├──payload──┤├───data────┤
///  after                      (the event) ├───data────┤
/// ```
#[derive(Debug)]
pub struct Input<'b> {
    buffer: &'b mut [u8],
    mask: LongMask,
    /// `start <= buffer.len()`, and `start` is at least the length of the connection's carry.
    start: usize,
}

impl<'b> Input<'b> {
    /// `buffer[start..]` came from the peer. `buffer[..start]` is free; leave [`HEADROOM`] bytes or
    /// more.
    ///
    /// # Panics
    /// `start` is past the end of the buffer.
    #[must_use]
    #[inline]
    pub fn new(buffer: &'b mut [u8], start: usize) -> Self {
        assert!(start <= buffer.len(), "the start of an input must be inside its buffer");
        Self { buffer, start, mask: mask::LONG_MASK }
    }

    /// Unmasks long payloads by `mask`, for instance one that is compiled for wider registers, which the caller found the
    /// processor to have.
    ///
    /// ```
    /// use sockeye_proto::conn::Input;
    /// use sockeye_proto::wire::mask;
    ///
    /// fn apply_wide(payload: &mut [u8], key: [u8; 4]) {
    ///     // In a function with `#[target_feature]`, this uses what is enabled there.
    ///     mask::apply_long(payload, key);
    /// }
    /// let mut buffer = [0; 4096];
    /// let input = Input::new(&mut buffer, 160).with_mask(apply_wide);
    /// # let _ = input;
    /// ```
    #[must_use]
    #[inline]
    pub fn with_mask(self, mask: LongMask) -> Self {
        Self { mask, ..self }
    }

    #[inline]
    pub(crate) fn mask(&self) -> LongMask {
        self.mask
    }

    /// How many bytes are still to be received.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Whether all bytes have been received.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes that have not been received, for a caller that stops before the end.
    #[must_use]
    #[inline]
    pub fn into_rest(self) -> &'b mut [u8] {
        &mut self.buffer[self.start..]
    }

    #[inline]
    pub(crate) fn data(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    #[inline]
    pub(crate) fn data_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..]
    }

    /// Drops `count` bytes of data. They become free room.
    #[inline]
    pub(crate) fn skip(&mut self, count: usize) {
        self.start += count;
    }

    /// Drops all data.
    pub(crate) fn clear(&mut self) {
        self.start = self.buffer.len();
    }

    /// Puts `bytes` right before the data, into the free room.
    pub(crate) fn prepend(&mut self, bytes: &[u8]) {
        let Some(start) = self.start.checked_sub(bytes.len()) else { no_room() };
        self.buffer[start..self.start].copy_from_slice(bytes);
        self.start = start;
    }

    /// Takes the next `count` bytes of data out, and the room before them.
    #[inline]
    pub(crate) fn take(&mut self, count: usize) -> &'b mut [u8] {
        self.take_after(0, count)
    }

    /// Drops `skipped` bytes of data, and takes the `count` bytes after them out.
    #[inline(always)]
    pub(crate) fn take_after(&mut self, skipped: usize, count: usize) -> &'b mut [u8] {
        let start = self.start;
        let (_, data) = mem::take(&mut self.buffer).split_at_mut(start);
        let (taken, rest) = data.split_at_mut(skipped + count);
        self.buffer = rest;
        self.start = 0;
        &mut taken[skipped..]
    }

    /// Like [`take`](Self::take), but leaves `room` free bytes before the rest: the bytes taken
    /// move to the front by that much.
    pub(crate) fn take_leaving(&mut self, count: usize, room: usize) -> &'b mut [u8] {
        if room > 0 {
            let from = self.start;
            let Some(to) = from.checked_sub(room) else { no_room() };
            self.buffer.copy_within(from..from + count, to);
            self.start = to;
        }
        let taken = self.take(count);
        self.start = room;
        taken
    }
}

/// A mistake of the caller, which no peer can cause: what a connection keeps of the previous input
/// is bounded by [`HEADROOM`], independent of the input, and the caller chooses the room before the data.
/// `sockeye` always leaves `HEADROOM`.
#[cold]
fn no_room() -> ! {
    panic!("an input needs HEADROOM free bytes before its data")
}
