//! Numbers that look random and come again from the same seed. Not for secrets.

/// SplitMix64, by Steele, Lea and Flood: one addition and a few shifts a number, and every seed is as good as another.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A random seed, from the keys of the standard library's hash maps.
    pub(crate) fn any_seed() -> u64 {
        use std::hash::{BuildHasher, RandomState};
        // Short enough to be typed again.
        RandomState::new().hash_one(0) >> 32
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// One of 0 to `bound - 1`; `bound` is at least one.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        // The high half of a product is uniform up to 2^-32, which is close enough here.
        (((self.next() >> 32) * u64::from(bound)) >> 32) as u32
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            let other = self.below(u32::try_from(index + 1).unwrap_or(u32::MAX)) as usize;
            items.swap(index, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_sequence_of_seed_0() {
        let mut random = Random::new(0);
        assert_eq!([random.next(), random.next()], [0xE220_A839_7B1D_CDAF, 0x6E78_9E6A_A1B9_65F4]);
    }

    #[test]
    fn every_number_below_the_bound_comes_and_no_other() {
        let mut random = Random::new(1);
        let mut seen = [0; 7];
        for _ in 0..7_000 {
            seen[random.below(7) as usize] += 1;
        }
        assert!(seen.iter().all(|count| (800..1_200).contains(count)), "{seen:?}");
        assert_eq!(Random::new(2).below(1), 0);
    }

    #[test]
    fn filling_does_not_depend_on_the_length() {
        let (mut short, mut long) = ([0; 13], [0; 64]);
        Random::new(3).fill(&mut short);
        Random::new(3).fill(&mut long);
        assert_eq!(short, long[..13]);
    }

    #[test]
    fn a_shuffle_loses_nothing() {
        let mut items: Vec<u32> = (0..100).collect();
        Random::new(4).shuffle(&mut items);
        assert!(items.windows(2).any(|pair| pair[0] > pair[1]));
        items.sort_unstable();
        assert!(items.into_iter().eq(0..100));
    }
}
