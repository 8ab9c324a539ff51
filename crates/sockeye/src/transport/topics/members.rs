//! The subscribers of one topic.

use crate::number_set::{NumberSet, Numbers};

/// A set of slots, walked in their order, as connections lie in memory. A list while it is short or sparse, bits for each slot while
/// that takes less: 4 bytes a member or fewer.
#[derive(Debug)]
pub(super) enum Members {
    /// Sorted.
    List(Vec<u32>),
    Bits {
        set: NumberSet,
        len: usize,
    },
}

impl Default for Members {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl Members {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::List(list) => list.len(),
            Self::Bits { len, .. } => *len,
        }
    }

    pub(super) fn contains(&self, slot: usize) -> bool {
        match self {
            Self::List(list) => u32::try_from(slot).is_ok_and(|slot| list.binary_search(&slot).is_ok()),
            Self::Bits { set, .. } => set.contains(slot),
        }
    }

    /// Returns whether it is new.
    pub(super) fn insert(&mut self, slot: u32) -> bool {
        match self {
            Self::List(list) => {
                let Err(at) = list.binary_search(&slot) else { return false };
                if list.len() == list.capacity() {
                    list.reserve_exact(more(list.len()));
                }
                list.insert(at, slot);
                let (len, last) = (list.len(), list.last().map_or(0, |last| *last as usize));
                // A list takes 32 bits a member.
                if len >= LEAST_BITS && last < len * 32 {
                    let mut set = NumberSet::default();
                    list.iter().for_each(|slot| set.insert(*slot as usize));
                    *self = Self::Bits { set, len };
                }
                true
            }
            Self::Bits { set, len } => {
                let is_new = !set.contains(slot as usize);
                set.insert(slot as usize);
                *len += usize::from(is_new);
                is_new
            }
        }
    }

    /// Returns whether it was there.
    pub(super) fn remove(&mut self, slot: u32) -> bool {
        match self {
            Self::List(list) => {
                let Ok(at) = list.binary_search(&slot) else { return false };
                list.remove(at);
                if list.len() * 4 < list.capacity() {
                    list.shrink_to(list.len() * 2);
                }
                true
            }
            Self::Bits { set, len } => {
                if !set.contains(slot as usize) {
                    return false;
                }
                set.remove(slot as usize);
                *len -= 1;
                // Looked at now and then, since finding the last one takes time.
                if *len < LEAST_BITS / 2 || (len.is_power_of_two() && set.last().is_some_and(|last| last > *len * 64)) {
                    *self = Self::List(set.iter().filter_map(|slot| u32::try_from(slot).ok()).collect());
                }
                true
            }
        }
    }

    /// The slots, in order.
    pub(super) fn iter(&self) -> Slots<'_> {
        match self {
            Self::List(list) => Slots::List(list.iter()),
            Self::Bits { set, .. } => Slots::Bits(set.iter()),
        }
    }
}

/// A walk over [`Members`].
pub(crate) enum Slots<'a> {
    List(std::slice::Iter<'a, u32>),
    Bits(Numbers<'a>),
}

impl Iterator for Slots<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        match self {
            Self::List(list) => list.next().map(|slot| *slot as usize),
            Self::Bits(set) => set.next(),
        }
    }
}

/// By how much a list grows: doubling it would leave half of it empty.
pub(super) fn more(len: usize) -> usize {
    (len / 8).max(4)
}

/// Fewer members are a list.
const LEAST_BITS: usize = 64;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn it_is_a_set_in_each_form() {
        for most in [1, 50, 200, 4_000, 1_000_000] {
            let mut state = u64::from(most);
            let mut below = |most: u32| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as u32 % most
            };
            let (mut members, mut model) = (Members::default(), BTreeSet::new());
            let mut forms = [false; 2];
            for step in 0..6000 {
                let slot = below(most);
                // It grows, shrinks, and grows again.
                if below(8) < if step / 2000 == 1 { 2 } else { 6 } {
                    assert_eq!(members.insert(slot), model.insert(slot as usize));
                } else {
                    let slot = model.range(slot as usize..).next().map_or(slot, |slot| *slot as u32);
                    assert_eq!(members.remove(slot), model.remove(&(slot as usize)));
                }
                assert_eq!(
                    (members.len(), members.contains(slot as usize)),
                    (model.len(), model.contains(&(slot as usize)))
                );
                forms[usize::from(matches!(members, Members::Bits { .. }))] = true;
            }
            assert!(members.iter().eq(model.iter().copied()));
            assert_eq!(forms, [true, (200..=4_000).contains(&most)], "{most}");
            for slot in model {
                assert!(members.remove(slot as u32));
            }
            assert_eq!(members.iter().next(), None);
        }
    }
}
