//! Connection ids, and tables keyed by them.

use std::error::Error;
use std::fmt;

use slotmap::{Key, KeyData, SlotMap, new_key_type};

/// Identifies one connection of one service: slot and generation, written as `slot.generation`. An
/// id is never used for another connection.
///
/// Once the connection has ended the id is stale: requests with it return [`Gone`], and never reach
/// the connection that uses the slot now.
#[derive(Clone, Copy, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ConnId(Slot);

new_key_type! {
    /// The key inside a [`ConnId`], which has another text form.
    struct Slot;
}

impl ConnId {
    /// The id as a number, for logs and for tables keyed by numbers.
    #[must_use]
    pub fn as_u64(self) -> u64 {
        self.0.data().as_ffi()
    }

    pub(crate) fn from_u64(token: u64) -> Self {
        Self(KeyData::from_ffi(token).into())
    }

    /// The slot's index.
    pub(crate) fn slot(self) -> usize {
        (self.as_u64() & 0xFFFF_FFFF) as usize
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.as_u64();
        write!(f, "{}.{}", id & 0xFFFF_FFFF, id >> 32)
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnId({self})")
    }
}

/// A value for each connection, by id. A stale id finds nothing.
pub(crate) struct Table<T>(SlotMap<Slot, T>);

impl<T> Table<T> {
    pub(crate) fn new() -> Self {
        Self(SlotMap::with_key())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Inserts a value under an id that was never used before.
    pub(crate) fn insert(&mut self, value: T) -> ConnId {
        ConnId(self.0.insert(value))
    }

    pub(crate) fn remove(&mut self, id: ConnId) -> Option<T> {
        self.0.remove(id.0)
    }

    #[inline]
    pub(crate) fn get(&self, id: ConnId) -> Option<&T> {
        self.0.get(id.0)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: ConnId) -> Option<&mut T> {
        self.0.get_mut(id.0)
    }

    pub(crate) fn contains_key(&self, id: ConnId) -> bool {
        self.0.contains_key(id.0)
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(ConnId, &mut T) -> bool) {
        self.0.retain(|slot, value| keep(ConnId(slot), value));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConnId, &T)> {
        self.0.iter().map(|(slot, value)| (ConnId(slot), value))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (ConnId, &mut T)> {
        self.0.iter_mut().map(|(slot, value)| (ConnId(slot), value))
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = ConnId> {
        self.0.keys().map(ConnId)
    }
}

/// The connection has already ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Gone;

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection has ended")
    }
}

impl Error for Gone {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_in_one_way() {
        let mut table = Table::new();
        let first = table.insert('a');
        assert_eq!((first.to_string(), format!("{first:?}")), ("1.1".to_owned(), "ConnId(1.1)".to_owned()));
        assert_eq!(table.remove(first), Some('a'));
        let second = table.insert('b');
        assert_eq!(format!("{:?}", Some(second)), "Some(ConnId(1.3))");
        assert_eq!((table.get(first), table.get(second)), (None, Some(&'b')));
        assert_eq!(ConnId::from_u64(second.as_u64()), second);
        assert_eq!(size_of::<Option<ConnId>>(), 8);
    }
}
