//! zlib-rs as a codec, as a caller would write it.

use alloc::vec;
use alloc::vec::Vec;

use zlib_rs::{DeflateFlush, InflateFlush};

use super::*;
use crate::deflate::{Deflate, Inflate, Inflated, Stop};
use crate::ext::deflate::{Agreed, Direction, WindowBits};

pub(super) struct Inflater(zlib_rs::Inflate);

impl Default for Inflater {
    fn default() -> Self {
        Self(zlib_rs::Inflate::new(false, 15))
    }
}

impl Inflate for Inflater {
    fn begin(&mut self, history: [&[u8]; 2]) {
        self.0.reset(false);
        for part in history.into_iter().filter(|part| !part.is_empty()) {
            self.0.set_dictionary(part).expect("a raw stream takes a dictionary");
        }
    }

    fn inflate(&mut self, input: &[u8], output: &mut [u8]) -> Inflated {
        let (before_in, before_out) = (self.0.total_in(), self.0.total_out());
        let stop = match self.0.decompress(input, output, InflateFlush::NoFlush) {
            Ok(zlib_rs::Status::StreamEnd) => Stop::Final,
            Ok(_) => Stop::Waiting,
            Err(_) => Stop::Corrupt,
        };
        let (consumed, produced) = (self.0.total_in() - before_in, self.0.total_out() - before_out);
        Inflated { consumed: consumed as usize, produced: produced as usize, stop }
    }
}

pub(super) struct Deflater(pub(super) zlib_rs::Deflate);

impl Deflater {
    pub(super) fn new(level: i32, window_bits: u8) -> Self {
        Self(zlib_rs::Deflate::new(level, false, window_bits.max(9)))
    }
}

impl Deflate for Deflater {
    fn begin(&mut self, history: [&[u8]; 2]) {
        self.0.reset();
        for part in history.into_iter().filter(|part| !part.is_empty()) {
            self.0.set_dictionary(part).expect("a raw stream takes a dictionary");
        }
    }

    fn deflate(&mut self, input: &[u8], output: &mut [u8]) -> Option<usize> {
        let (before_in, before_out) = (self.0.total_in(), self.0.total_out());
        self.0.compress(input, output, DeflateFlush::SyncFlush).ok()?;
        let (consumed, made) = (self.0.total_in() - before_in, self.0.total_out() - before_out);
        // With the output filled to the last byte there may be more of the flush to come.
        if consumed as usize == input.len() && (made as usize) < output.len() {
            return Some(made as usize);
        }
        self.drain();
        None
    }
}

impl Deflater {
    /// Discards what had no room. The compressor keeps it when it is reset, and would begin the next message with it.
    fn drain(&mut self) {
        let mut rest = [0; 1024];
        loop {
            let before = self.0.total_out();
            let done = self.0.compress(&[], &mut rest, DeflateFlush::SyncFlush);
            if done.is_err() || self.0.total_out() - before < rest.len() as u64 {
                return;
            }
        }
    }
}

pub(super) const NO_TAKEOVER: Direction = Direction { window: WindowBits::MAX, takeover: false };

pub(super) fn direction(bits: u8, takeover: bool) -> Direction {
    Direction { window: bits.try_into().unwrap(), takeover }
}

/// A connection with compression, with the same for both directions.
pub(super) fn open_compressed(role: Role, both: Direction) -> Connection {
    open(role).with_deflate(Agreed { send: both, receive: both })
}

/// A message as DEFLATE data, without the four bytes at its end, and with nothing before it.
pub(super) fn compressed(payload: &[u8]) -> Vec<u8> {
    let mut data = vec![0; payload.len() * 2 + 64];
    let made = Deflater::new(6, 15).deflate(payload, &mut data).expect("there is room");
    data.truncate(made - 4);
    data
}
