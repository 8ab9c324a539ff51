//! The codec: zlib-rs, by the interface of the protocol crate. The one file that knows it.

use sockeye_proto::deflate::{self, Inflated, Stop};
use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush, Status};

/// A decompressor of the largest window, which reads what any smaller one may hold.
///
/// It is boxed: a connection has room for one, and seldom has one.
pub(crate) struct Inflater(Box<Inflate>);

impl Inflater {
    /// How much memory one takes (measured).
    pub(crate) const BYTES: usize = 48 * 1024;

    pub(crate) fn new() -> Option<Self> {
        // No number of a peer's comes here: the constructor panics for a window that there is not.
        Some(Self(Box::new(Inflate::new(false, 15))))
    }
}

impl deflate::Inflate for Inflater {
    fn begin(&mut self, history: [&[u8]; 2]) {
        self.0.reset(false);
        for part in &history {
            if !part.is_empty() {
                // A raw stream takes a dictionary at any time, and more of it.
                _ = self.0.set_dictionary(part);
            }
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
    fn begin(&mut self, history: [&[u8]; 2]) {
        self.0.reset();
        for part in history.into_iter().filter(|part| !part.is_empty()) {
            // As above.
            _ = self.0.set_dictionary(part);
        }
    }

    fn deflate(&mut self, input: &[u8], output: &mut [u8]) -> Option<usize> {
        let before = self.0.total_out();
        self.0.compress(input, output, DeflateFlush::SyncFlush).ok()?;
        let made = (self.0.total_out() - before) as usize;
        // With the output filled to its last byte there may be more to come, whatever that byte is: the message itself may have
        // the bytes of a flush.
        if made < output.len() {
            return Some(made);
        }
        self.drain();
        None
    }
}

impl Deflater {
    /// Discards output that did not fit. `reset` keeps it, so it would take room in the next message, and an open block would
    /// continue there.
    fn drain(&mut self) {
        let mut rest = [0; 4096];
        loop {
            let before = self.0.total_out();
            let done = self.0.compress(&[], &mut rest, DeflateFlush::SyncFlush);
            if done.is_err() || self.0.total_out() - before < rest.len() as u64 {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sockeye_proto::deflate::{Deflate as _, Inflate as _};

    use super::*;

    fn noise(len: usize, seed: u64) -> Vec<u8> {
        let mut state = seed;
        let mut byte = || {
            state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
            (state >> 56) as u8
        };
        (0..len).map(|_| byte()).collect()
    }

    fn inflated(packed: &[u8], len: usize) -> Vec<u8> {
        let mut out = vec![0; len + 1];
        let mut inflater = Inflater::new().unwrap();
        inflater.begin([&[], &[]]);
        let done = inflater.inflate(packed, &mut out);
        assert_eq!((done.consumed, done.stop), (packed.len(), Stop::Waiting));
        out.truncate(done.produced);
        out
    }

    /// After a message that became too long, at whatever place, the next is compressed as by a new compressor.
    #[test]
    fn what_had_no_room_leaves_nothing_behind() {
        for (level, window) in [(1, 15), (1, 9), (2, 15), (3, 15), (6, 12), (9, 9)] {
            let mut codec = Deflater::new(level, window).unwrap();
            for round in 0..5 {
                let long = noise(if round % 3 == 0 { 900 } else { 40_000 * round }, round as u64 + 1);
                codec.begin([&[], &[]]);
                let mut short = vec![0; [long.len() - 1, 10, long.len() / 2][round % 3]];
                assert_eq!(codec.deflate(&long, &mut short), None);
                let text = [&b"a message, "[..]; 3000].concat();
                codec.begin([b"the message", b" before"]);
                let mut packed = vec![0; text.len()];
                let made = codec.deflate(&text, &mut packed).unwrap();
                let mut fresh = Deflater::new(level, window).unwrap();
                fresh.begin([b"the message", b" before"]);
                let mut same = vec![0; text.len()];
                assert_eq!(
                    fresh.deflate(&text, &mut same),
                    Some(made),
                    "level {level}, window {window}, round {round}"
                );
                assert_eq!(packed, same);
            }
        }
    }

    /// A message with the bytes of a flush in it, at every place where its compressed form may be cut.
    #[test]
    fn the_bytes_of_a_flush_within_a_message_end_nothing() {
        for level in [1, 2, 6, 9] {
            let mut codec = Deflater::new(level, 15).unwrap();
            for at in 290..300 {
                let mut message = noise(300, 7);
                message.splice(at - 4..at, [0, 0, 0xff, 0xff]);
                for room in 296..316 {
                    let mut packed = vec![0; room];
                    codec.begin([&[], &[]]);
                    if let Some(made) = codec.deflate(&message, &mut packed) {
                        assert_eq!(inflated(&packed[..made], message.len()), message, "level {level}, {at} of {room}");
                    }
                }
            }
        }
    }
}
