//! A compressor for short messages that refer to nothing before them, as published ones do.
//!
//! One of zlib's kind begins by clearing a table of 128 KiB, which costs several times as much as compressing a message of 1 KiB. This
//! one has a small table and never clears it: a place from an earlier message is seen to be one. It compresses as zlib does at
//! level 1: fixed codes, one look for each place.

use sockeye_proto::deflate::Deflate;

/// The compressor. It takes messages of at most [`MOST`](Self::MOST) bytes.
pub(super) struct Quick {
    /// For each hash of four bytes, the last place where they were, plus `base`.
    places: Vec<u32>,
    /// Where the message begins; all places that are less are of earlier ones.
    base: u32,
    /// How far back it may refer.
    window: usize,
}

impl Quick {
    /// Longer messages are for other compressors.
    pub(super) const MOST: usize = 16 * 1024;
    /// How much memory one takes.
    pub(super) const BYTES: usize = PLACES * size_of::<u32>();

    pub(super) fn new() -> Self {
        Self { places: vec![0; PLACES], base: 1, window: 0 }
    }

    /// So far back the next message may refer.
    pub(super) fn set_window(&mut self, bytes: usize) {
        self.window = bytes;
    }

    /// The length of what is at `at` and was before in the same message, and how far before; a length of 0: nothing was.
    #[inline]
    fn find(&mut self, input: &[u8], at: usize) -> (usize, usize) {
        let four =
            |at: usize| input.get(at..).and_then(|rest| rest.first_chunk::<4>()).map(|four| u32::from_le_bytes(*four));
        let Some(here) = four(at) else { return (0, 0) };
        // Short messages only: it has room.
        let now = self.base + at as u32;
        let place = &mut self.places[here.wrapping_mul(0x9E37_79B1) as usize >> (32 - PLACES.ilog2())];
        let before = std::mem::replace(place, now);
        let distance = (now - before) as usize;
        if before < self.base || distance > self.window || four(at - distance) != Some(here) {
            return (0, 0);
        }
        let pairs = input[at..].iter().zip(&input[at - distance..]).take(LONGEST);
        (pairs.take_while(|(here, there)| here == there).count(), distance)
    }

    /// `None` if there is no room.
    fn compress(&mut self, input: &[u8], mut bits: Bits<'_>) -> Option<usize> {
        // A block with fixed codes that is not the last (RFC 1951 section 3.2.3).
        bits.put(0b010, 3)?;
        let mut at = 0;
        while let Some(&byte) = input.get(at) {
            let (len, distance) = self.find(input, at);
            if len < SHORTEST {
                bits.put_code(LITERALS[usize::from(byte)])?;
                at += 1;
            } else {
                bits.put_code(LENGTHS[len - SHORTEST])?;
                bits.put_distance(distance as u32)?;
                at += len;
            }
        }
        bits.put_code(END)?;
        // The head of an empty block without compression, which begins at the next byte.
        bits.put(0, 3)?;
        bits.finish()
    }
}

impl Deflate for Quick {
    fn begin(&mut self, _: [&[u8]; 2]) {}

    fn deflate(&mut self, input: &[u8], output: &mut [u8]) -> Option<usize> {
        if input.len() > Self::MOST {
            return None;
        }
        if self.base > u32::MAX / 2 {
            self.places.fill(0);
            self.base = 1;
        }
        let made = self.compress(input, Bits { output, len: 0, waiting: 0, count: 0 });
        // The next message knows nothing of this one, whatever became of it.
        self.base += input.len() as u32;
        made
    }
}

/// Bits on their way into bytes, the first ones lowest (RFC 1951 section 3.1.1).
struct Bits<'o> {
    output: &'o mut [u8],
    len: usize,
    waiting: u64,
    count: u32,
}

impl Bits<'_> {
    /// Appends at most 32 bits; `None` if there is no room.
    #[inline]
    fn put(&mut self, bits: u32, count: u32) -> Option<()> {
        self.waiting |= u64::from(bits) << self.count;
        self.count += count;
        if self.count >= 32 {
            let room = self.output.get_mut(self.len..)?.first_chunk_mut::<4>()?;
            *room = (self.waiting as u32).to_le_bytes();
            self.len += 4;
            self.waiting >>= 32;
            self.count -= 32;
        }
        Some(())
    }

    #[inline]
    fn put_code(&mut self, (bits, count): Code) -> Option<()> {
        self.put(u32::from(bits), u32::from(count))
    }

    /// A distance from 1 to 32,768: a code of five bits, and the bits that tell those with the same code apart (RFC 1951
    /// section 3.2.5).
    #[inline]
    fn put_distance(&mut self, distance: u32) -> Option<()> {
        let less = distance - 1;
        let extra = less.max(2).ilog2() - 1;
        let code = if less < 2 { less } else { 2 * extra + (less >> extra) };
        self.put(code.reverse_bits() >> 27 | (less & ((1 << extra) - 1)) << 5, 5 + extra)
    }

    /// Fills the last byte, and appends the rest of an empty block without compression. Returns how long all of it is.
    fn finish(mut self) -> Option<usize> {
        let rest = self.count.div_ceil(8) as usize;
        for byte in self.waiting.to_le_bytes().into_iter().take(rest).chain([0, 0, 0xff, 0xff]) {
            *self.output.get_mut(self.len)? = byte;
            self.len += 1;
        }
        Some(self.len)
    }
}

/// The bits of a code, in the order in which they are written, and how many they are.
type Code = (u16, u8);

/// The fixed code of a literal or a length (RFC 1951 section 3.2.6), which is written from its highest bit on.
const fn fixed(symbol: u16) -> Code {
    let (code, count) = match symbol {
        0..=143 => (0x30 + symbol, 8),
        144..=255 => (0x190 + symbol - 144, 9),
        256..=279 => (symbol - 256, 7),
        _ => (0xC0 + symbol - 280, 8),
    };
    (code.reverse_bits() >> (16 - count), count)
}

/// The code of a length, with the bits that tell those with the same code apart (RFC 1951 section 3.2.5).
const fn length(len: u16) -> Code {
    let less = len - SHORTEST as u16;
    if len == LONGEST as u16 {
        return fixed(285);
    }
    let extra = if less < 8 { 0 } else { less.ilog2() as u16 - 2 };
    let (bits, count) = fixed(257 + 4 * extra + (less >> extra));
    (bits | (less & ((1 << extra) - 1)) << count, count + extra as u8)
}

const LITERALS: [Code; 256] = {
    let mut codes = [(0, 0); 256];
    let mut byte = 0;
    while byte < 256 {
        codes[byte] = fixed(byte as u16);
        byte += 1;
    }
    codes
};

/// From [`SHORTEST`] on.
const LENGTHS: [Code; LONGEST - SHORTEST + 1] = {
    let mut codes = [(0, 0); LONGEST - SHORTEST + 1];
    let mut less = 0;
    while less < codes.len() {
        codes[less] = length((less + SHORTEST) as u16);
        less += 1;
    }
    codes
};

/// The end of a block.
const END: Code = fixed(256);
/// The lengths that there are codes for. Four bytes and more are looked for.
const SHORTEST: usize = 3;
const LONGEST: usize = 258;
/// A power of two.
const PLACES: usize = 4096;

#[cfg(all(test, feature = "deflate"))]
mod tests {
    use sockeye_proto::deflate::{Inflate as _, Stop};

    use super::*;
    use crate::transport::codec::{Deflater, Inflater};

    /// What `output` says, read by another.
    fn inflated(output: &[u8], len: usize) -> Vec<u8> {
        let mut plain = vec![0; len + 1];
        let mut inflater = Inflater::new().unwrap();
        inflater.begin([&[], &[]]);
        let done = inflater.inflate(output, &mut plain);
        assert_eq!((done.consumed, done.stop), (output.len(), Stop::Waiting));
        plain.truncate(done.produced);
        plain
    }

    fn chance(state: &mut u64, of: u64) -> u64 {
        *state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        (*state >> 33) % of
    }

    /// Bytes of an alphabet of a few or of many, parts of which come again at all distances.
    fn message(state: &mut u64, len: usize) -> Vec<u8> {
        let letters = [2, 16, 256][chance(state, 3) as usize];
        let mut message = Vec::new();
        while message.len() < len {
            let from = chance(state, message.len() as u64 + 1) as usize;
            let again = [3, 5, 40, 600][chance(state, 4) as usize];
            if chance(state, 3) == 0 {
                message.extend_from_within(from..(from + again).min(message.len()));
            } else {
                message.extend((0..again).map(|_| chance(state, letters) as u8));
            }
        }
        message.truncate(len);
        message
    }

    #[test]
    fn what_it_makes_is_read_by_others() {
        let (mut quick, mut state) = (Quick::new(), 1);
        for round in 0..3000 {
            let most = if round % 50 == 0 { Quick::MOST as u64 + 1 } else { 2000 };
            let len = chance(&mut state, most) as usize;
            let message = message(&mut state, len);
            quick.set_window(256 << chance(&mut state, 8));
            let mut output = vec![0; len * 9 / 8 + 64];
            let made = quick.deflate(&message, &mut output).unwrap();
            assert!(output[..made].ends_with(&[0, 0, 0xff, 0xff]));
            assert_eq!(inflated(&output[..made], len), message, "round {round}");
            // With less room there is nothing.
            let less = chance(&mut state, made as u64) as usize;
            assert_eq!(quick.deflate(&message, &mut vec![0; less]), None);
        }
    }

    /// All lengths and all distances.
    #[test]
    fn every_code_is_read_by_others() {
        let mut quick = Quick::new();
        quick.set_window(32 * 1024);
        let mut state = 1;
        let noise: Vec<u8> = (0..Quick::MOST).map(|_| chance(&mut state, 256) as u8).collect();
        let lens = (4..=LONGEST + 10).map(|len| (len, 3 * len % 700 + 1));
        let distances = (1..600).chain((600..Quick::MOST - 10).step_by(7)).map(|distance| (9, distance));
        for (len, distance) in lens.chain(distances) {
            let mut message = noise[..distance].to_vec();
            (0..len).for_each(|at| message.push(message[at]));
            let mut output = vec![0; 2 * message.len() + 64];
            let made = quick.deflate(&message, &mut output).unwrap();
            assert_eq!(inflated(&output[..made], message.len()), message, "{len} bytes, {distance} before");
        }
    }

    /// It refers back by no more than the window.
    #[test]
    fn the_window_is_kept() {
        let mut quick = Quick::new();
        let mut state = 1;
        let part: Vec<u8> = (0..100).map(|_| chance(&mut state, 256) as u8).collect();
        for window in [256, 512, 2048] {
            for distance in [window - 1, window, window + 1] {
                let between: Vec<u8> = (100..distance).map(|_| chance(&mut state, 256) as u8).collect();
                let message = [&part[..], &between, &part].concat();
                quick.set_window(window);
                let mut output = vec![0; 2 * message.len() + 64];
                let made = quick.deflate(&message, &mut output).unwrap();
                let literals =
                    message.iter().map(|byte| usize::from(LITERALS[usize::from(*byte)].1)).sum::<usize>() / 8;
                assert_eq!(made < literals - 80, distance <= window, "window {window}, {distance} before");
            }
        }
    }

    /// The table is used for messages without end.
    #[test]
    fn places_do_not_run_out() {
        let mut quick = Quick::new();
        quick.set_window(32 * 1024);
        let message = b"a message, a message, a message".repeat(9);
        let mut output = vec![0; 400];
        for base in [1, u32::MAX / 2 - 1, u32::MAX / 2, u32::MAX / 2 + 1] {
            quick.base = quick.base.max(base);
            for _ in 0..3 {
                let made = quick.deflate(&message, &mut output).unwrap();
                assert_eq!(inflated(&output[..made], message.len()), message);
                assert!(made < 60);
            }
        }
        assert!(quick.base < 2000);
    }

    /// Text becomes as short as with zlib's compressor at the same level, but for little.
    #[test]
    fn it_is_as_good_as_the_other_at_level_1() {
        let (mut state, mut quick) = (1, Quick::new());
        quick.set_window(32 * 1024);
        let mut zlib = Deflater::new(1, 15).unwrap();
        for len in [300, 1024, 5000, 16_000] {
            let mut sums = [0, 0];
            for _ in 0..20 {
                let mut text = String::new();
                while text.len() < len {
                    let (symbol, bid) = (chance(&mut state, 300), chance(&mut state, 100_000));
                    let size = chance(&mut state, 500);
                    text.push_str(&format!("{{\"symbol\":\"S{symbol}\",\"bid\":{bid},\"size\":{size}}},"));
                }
                let mut output = vec![0; 2 * text.len()];
                sums[0] += quick.deflate(text.as_bytes(), &mut output).unwrap();
                zlib.begin([&[], &[]]);
                sums[1] += zlib.deflate(text.as_bytes(), &mut output).unwrap();
            }
            assert!(sums[0] <= sums[1] + sums[1] / 50, "{sums:?} for {len}");
        }
    }
}
