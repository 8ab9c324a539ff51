//! A set of small numbers, such as the slots of a table that are in use.

/// One bit for each number up to the largest, and one for each 64 of those, which says whether any is in the set. So a walk
/// passes over 4,096 absent numbers with one look.
///
/// Invariant: bit `w % 64` of `summary[w / 64]` is set if and only if `words[w]` is not zero.
#[derive(Debug, Default)]
pub(crate) struct NumberSet {
    words: Vec<u64>,
    summary: Vec<u64>,
}

const BITS: usize = u64::BITS as usize;

impl NumberSet {
    pub(crate) fn insert(&mut self, number: usize) {
        let word = number / BITS;
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
            self.summary.resize(word / BITS + 1, 0);
        }
        self.words[word] |= bit(number);
        self.summary[word / BITS] |= bit(word);
    }

    pub(crate) fn remove(&mut self, number: usize) {
        let word = number / BITS;
        let Some(bits) = self.words.get_mut(word) else { return };
        *bits &= !bit(number);
        if *bits == 0 {
            self.summary[word / BITS] &= !bit(word);
        }
    }

    pub(crate) fn contains(&self, number: usize) -> bool {
        self.words.get(number / BITS).is_some_and(|word| word & bit(number) != 0)
    }

    /// The smallest number.
    #[inline]
    pub(crate) fn first(&self) -> Option<usize> {
        self.iter().next()
    }

    /// The largest number.
    pub(crate) fn last(&self) -> Option<usize> {
        let group = self.summary.iter().rposition(|group| *group != 0)?;
        let word = group * BITS + highest(self.summary[group]);
        Some(word * BITS + highest(self.words[word]))
    }

    /// The numbers, in order.
    #[inline]
    pub(crate) fn iter(&self) -> Numbers<'_> {
        Numbers { set: self, group: 0, words: self.summary.first().copied().unwrap_or(0), word: 0, bits: 0 }
    }

    /// Drops the numbers from `end` on, and their memory.
    pub(crate) fn truncate(&mut self, end: usize) {
        let words = end.div_ceil(BITS);
        if words < self.words.len() {
            self.words.truncate(words);
            self.words.shrink_to(words);
            self.summary.truncate(words.div_ceil(BITS));
            self.summary.shrink_to(words.div_ceil(BITS));
            if let Some(group) = self.summary.last_mut().filter(|_| words % BITS != 0) {
                *group &= bit(words) - 1;
            }
        }
        while let Some(last) = self.last().filter(|last| *last >= end) {
            self.remove(last);
        }
    }
}

/// A walk over a [`NumberSet`].
pub(crate) struct Numbers<'a> {
    set: &'a NumberSet,
    /// The index of the summary whose words are walked.
    group: usize,
    /// Its words that were not looked at.
    words: u64,
    /// The index of the word whose numbers are walked.
    word: usize,
    /// Its numbers that were not returned.
    bits: u64,
}

impl Iterator for Numbers<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.bits == 0 {
            while self.words == 0 {
                self.group += 1;
                self.words = *self.set.summary.get(self.group)?;
            }
            self.word = self.group * BITS + self.words.trailing_zeros() as usize;
            self.words &= self.words - 1;
            self.bits = self.set.words[self.word];
        }
        let number = self.word * BITS + self.bits.trailing_zeros() as usize;
        self.bits &= self.bits - 1;
        Some(number)
    }
}

fn bit(number: usize) -> u64 {
    1 << (number % BITS)
}

/// The highest bit of a word that is not zero.
fn highest(word: u64) -> usize {
    word.ilog2() as usize
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn assert_same(set: &NumberSet, model: &BTreeSet<usize>) {
        assert!(set.iter().eq(model.iter().copied()), "{model:?}");
        assert_eq!((set.first(), set.last()), (model.first().copied(), model.last().copied()));
        for (index, word) in set.words.iter().enumerate() {
            assert_eq!(set.summary[index / BITS] & bit(index) != 0, *word != 0);
        }
    }

    #[test]
    fn it_is_a_set() {
        for most in [1, 64, 65, 5000, 300_000] {
            let mut state = most as u64;
            let mut below = |most: usize| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as usize % most
            };
            let (mut set, mut model) = (NumberSet::default(), BTreeSet::new());
            assert_same(&set, &model);
            for step in 0..2000 {
                let number = below(most);
                match below(8) {
                    0..=3 => {
                        set.insert(number);
                        model.insert(number);
                    }
                    4..=6 => {
                        set.remove(number);
                        model.remove(&number);
                    }
                    _ if below(20) == 0 => {
                        set.truncate(number);
                        model.split_off(&number);
                    }
                    _ => {}
                }
                if step % 20 == 0 {
                    assert_same(&set, &model);
                }
            }
            for end in [4096, 4095, 64, 63, 1, 0] {
                set.truncate(end);
                model.split_off(&end);
                assert_same(&set, &model);
                assert!(set.words.capacity() <= end.div_ceil(64).max(1) || set.words.capacity() <= most / 64 + 64);
            }
            set.insert(most);
            assert_eq!(set.iter().collect::<Vec<_>>(), [most]);
        }
    }

    #[test]
    fn a_walk_looks_at_what_is_there() {
        let mut set = NumberSet::default();
        set.insert(3_000_000);
        set.insert(7);
        assert_eq!((set.iter().collect::<Vec<_>>(), set.summary.len()), (vec![7, 3_000_000], 733));
        set.truncate(3_000_000);
        assert_eq!((set.words.len(), set.summary.len(), set.last()), (46_875, 733, Some(7)));
        set.truncate(8);
        assert_eq!((set.words.len(), set.summary.len(), set.last()), (1, 1, Some(7)));
    }
}
