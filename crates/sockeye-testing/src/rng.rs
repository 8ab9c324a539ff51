//! The scripts' own source of chance, apart from that of the network: one script can meet many networks.

use std::ops::Range;

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x5EED_50CC_EE1E_57A1)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// One of `range`.
    pub fn of(&mut self, range: Range<usize>) -> usize {
        range.start + (self.draw() % (range.end - range.start) as u64) as usize
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.draw() % 100 < percent
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.of(0..from.len())]
    }

    /// A length: mostly short, sometimes around the steps of the frame header, rarely long.
    pub fn length(&mut self, most: usize) -> usize {
        let length = match self.of(0..20) {
            0 => 0,
            1 => self.of(124..128),
            2 => self.of(3000..9000),
            3 => self.of(16_000..40_000),
            4..=8 => self.of(100..600),
            _ => self.of(1..60),
        };
        length.min(most)
    }

    /// Text with code points of one to four bytes, which is no command.
    pub fn text(&mut self, most: usize) -> String {
        let length = self.length(most);
        let mut text = String::with_capacity(length + 4);
        while text.len() < length {
            text.push(*self.pick(&['a', 'z', ' ', '0', 'é', 'ß', '€', '語', '🐟', '𝄞']));
        }
        text
    }

    pub fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = self.length(most);
        (0..length).map(|_| self.draw() as u8).collect()
    }
}
