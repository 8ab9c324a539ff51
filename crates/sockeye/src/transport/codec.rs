//! The codec: zlib-rs, by the interface of the protocol crate. The one file that knows it.

use sockeye_proto::deflate::{self, Inflated, Stop};
use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush, Status};

/// A decompressor of the largest window, which reads what any smaller one may hold.
pub(crate) struct Inflater(Inflate);

impl Inflater {
    /// How much memory one takes (measured).
    pub(crate) const BYTES: usize = 48 * 1024;

    pub(crate) fn new() -> Option<Self> {
        // No number of a peer's comes here: the constructor panics for a window that there is not.
        Some(Self(Inflate::new(false, 15)))
    }
}

impl deflate::Inflate for Inflater {
    fn begin(&mut self, history: &[u8]) {
        self.0.reset(false);
        if !history.is_empty() {
            // A raw stream takes a dictionary at any time.
            _ = self.0.set_dictionary(history);
        }
    }

    fn inflate(&mut self, input: &[u8], output: &mut [u8]) -> Inflated {
        let (read, made) = (self.0.total_in(), self.0.total_out());
        let stop = match self.0.decompress(input, output, InflateFlush::NoFlush) {
            Ok(Status::StreamEnd) => Stop::Final,
            Ok(Status::Ok | Status::BufError) => Stop::Waiting,
            Err(_) => Stop::Corrupt,
        };
        // Both are lengths of slices.
        let (consumed, produced) = ((self.0.total_in() - read) as usize, (self.0.total_out() - made) as usize);
        Inflated { consumed, produced, stop }
    }
}

/// A compressor.
pub(crate) struct Deflater(Deflate);

impl Deflater {
    /// How much memory one takes (measured).
    pub(crate) const BYTES: usize = 384 * 1024;

    /// `window_bits` from 9 to 15, `level` from 1 to 9; what is beyond is taken for the nearest.
    pub(crate) fn new(level: u8, window_bits: u8) -> Option<Self> {
        Some(Self(Deflate::new(i32::from(level.clamp(1, 9)), false, window_bits.clamp(9, 15))))
    }
}

impl deflate::Deflate for Deflater {
    fn begin(&mut self, history: &[u8]) {
        self.0.reset();
        if !history.is_empty() {
            // As above.
            _ = self.0.set_dictionary(history);
        }
    }

    fn deflate(&mut self, input: &[u8], output: &mut [u8]) -> Option<usize> {
        let (read, made) = (self.0.total_in(), self.0.total_out());
        self.0.compress(input, output, DeflateFlush::SyncFlush).ok()?;
        let (consumed, made) = ((self.0.total_in() - read) as usize, (self.0.total_out() - made) as usize);
        // With the output filled to its last byte, the flush may have more to come.
        let is_whole = consumed == input.len() && output.get(..made)?.ends_with(&[0, 0, 0xff, 0xff]);
        is_whole.then_some(made)
    }
}
