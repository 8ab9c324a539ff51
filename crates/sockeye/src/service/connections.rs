//! The table of connections: those that have a socket, by the slot of their id.

use crate::conn::Conn;
use crate::id::ConnId;
use crate::state::Registry;
use crate::transport::Crowd;

/// Connections by slot. The [`Registry`] says which generation of a slot lives.
///
/// Invariant: a slot is used again at the end of a turn at the earliest, and is empty by then.
#[derive(Default)]
pub(super) struct Connections {
    pub(super) slots: Vec<Option<Conn>>,
    /// How many there have been, to give back what they held.
    pub(super) crowd: Crowd,
}

impl Connections {
    /// The connection in the slot of an id that the registry has just been asked for.
    #[inline]
    pub(super) fn in_slot(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.slots.get_mut(id.slot()).and_then(Option::as_mut)
    }

    /// The connection of an id; `None` when the id is stale, or has no socket.
    #[inline]
    pub(super) fn get_mut(&mut self, registry: &Registry, id: ConnId) -> Option<&mut Conn> {
        if registry.contains(id) { self.in_slot(id) } else { None }
    }

    /// As [`get_mut`](Self::get_mut), to look only.
    pub(super) fn get(&self, registry: &Registry, id: ConnId) -> Option<&Conn> {
        if !registry.contains(id) {
            return None;
        }
        self.slots.get(id.slot()).and_then(Option::as_ref)
    }

    pub(super) fn insert(&mut self, id: ConnId, conn: Conn) {
        let slot = id.slot();
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        self.slots[slot] = Some(conn);
    }

    /// Drops the slots behind the first `count`, which are empty.
    pub(super) fn truncate(&mut self, count: usize) {
        debug_assert!(self.slots.iter().skip(count).all(Option::is_none), "a connection without an id");
        self.slots.truncate(count);
        self.slots.shrink_to(count);
    }

    pub(super) fn take(&mut self, id: ConnId) -> Option<Conn> {
        self.slots.get_mut(id.slot()).and_then(Option::take)
    }
}
