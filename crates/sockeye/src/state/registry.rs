//! The connections that exist, and the ready list: 8 bytes for each connection, which callbacks of
//! other connections may access while the loop works on one of them.

use std::collections::{BTreeMap, VecDeque};

use crate::id::{ConnId, ServiceNumber, Table};
use crate::state::endpoints::EndpointIndex;

/// The state of one connection that is accessible outside its own step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// The number of its session at its endpoint.
    pub(crate) session: u32,
    pub(crate) endpoint: EndpointIndex,
    pub(super) flags: u16,
}

/// Marks an entry without a session. An entry has it until `open` has returned, so that a panic in
/// `open` does not lead to another's session.
const NO_SESSION: u32 = u32::MAX;

const OPEN: u16 = 1;
pub(super) const WANTS_WRITE: u16 = 2;
const QUEUED: u16 = 4;
pub(super) const PAUSED: u16 = 8;
/// Paused by a layer whose outbox is well filled; [`PAUSED`] is the program's own pause.
pub(super) const HELD: u16 = 16;
/// Pending: requested with `connect` or `adopt`, and neither open nor failed yet.
const CONNECTING: u16 = 32;
/// Requested with `connect`.
const CLIENT: u16 = 64;
/// Given to the loop with `adopt`.
const ADOPTED: u16 = 128;
/// It counts among the connections of its address.
const ADMITTED: u16 = 256;
/// Accepted, and neither open nor ended: HTTP, or what comes before it.
const BEGINNING: u16 = 512;
/// Output waits for its socket: it is in [`Registry::queued`].
const BEHIND: u16 = 1024;
/// Messages of a layer wait, so what is published and pushed from now on waits behind them.
pub(super) const HOLDS_BACK: u16 = 2048;
/// Something that was published or pushed waits behind messages of a layer.
const HELD_BACK: u16 = 4096;
/// It is being closed, because it reads the messages of its topics too slowly.
const TOO_SLOW: u16 = 8192;
/// The flags that the running step keeps for its own connection.
pub(super) const OF_STEP: u16 = WANTS_WRITE | PAUSED | HELD | HOLDS_BACK;

impl Entry {
    /// A connection that was accepted.
    pub(super) fn accepted() -> Self {
        Self { session: NO_SESSION, endpoint: EndpointIndex::NONE, flags: BEGINNING }
    }

    #[cfg(feature = "client")]
    fn connecting(endpoint: EndpointIndex) -> Self {
        Self { session: NO_SESSION, endpoint, flags: CONNECTING | CLIENT }
    }

    fn adopting(endpoint: EndpointIndex) -> Self {
        Self { session: NO_SESSION, endpoint, flags: CONNECTING | ADOPTED }
    }

    /// Whether the program gave it to the loop.
    pub(crate) fn is_adopted(self) -> bool {
        self.flags & ADOPTED != 0
    }

    /// Whether it was requested, and is neither open nor failed yet.
    pub(crate) fn is_connecting(self) -> bool {
        self.flags & CONNECTING != 0
    }

    /// It is open, or its outcome is known.
    pub(crate) fn set_connected(&mut self) {
        self.set(CONNECTING | BEGINNING, false);
    }

    /// Whether its id can still be used: it is open, or may be in future. Once `closed` or `failed` was called it cannot,
    /// though the socket may linger.
    #[inline]
    pub(crate) fn is_alive(self) -> bool {
        self.flags & (OPEN | CONNECTING | BEGINNING) != 0
    }

    /// Nothing more is to be done with it by its id.
    pub(crate) fn set_ended(&mut self) {
        self.set(OPEN | CONNECTING | BEGINNING, false);
    }

    /// Whether it was requested with `connect`, that is, not accepted.
    pub(crate) fn is_client(self) -> bool {
        self.flags & CLIENT != 0
    }

    /// Whether its `open` was called and its `closed` was not.
    pub(crate) fn is_open(self) -> bool {
        self.flags & OPEN != 0
    }

    pub(crate) fn set_open(&mut self, open: bool) {
        self.set(OPEN, open);
    }

    /// A session of that endpoint begins, on a connection that may have had others before.
    pub(crate) fn begin_session(&mut self, endpoint: EndpointIndex) {
        self.endpoint = endpoint;
        self.session = NO_SESSION;
        self.flags = self.flags & !OF_STEP | OPEN;
    }

    /// The session has ended, and nothing of it is left for the next one.
    pub(crate) fn end_session(&mut self) {
        self.endpoint = EndpointIndex::NONE;
        self.session = NO_SESSION;
        self.flags &= !(OF_STEP | OPEN | TOO_SLOW);
    }

    pub(crate) fn is_paused(self) -> bool {
        self.flags & (PAUSED | HELD) != 0
    }

    /// Whether output waited for its socket when that was last noted.
    #[inline]
    pub(crate) fn is_behind(self) -> bool {
        self.flags & BEHIND != 0
    }

    /// Whether what is published and pushed has to wait behind messages of a layer.
    #[inline]
    pub(crate) fn holds_back(self) -> bool {
        self.flags & HOLDS_BACK != 0
    }

    /// Whether something does.
    pub(crate) fn is_held_back(self) -> bool {
        self.flags & HELD_BACK != 0
    }

    pub(crate) fn set_held_back(&mut self, held: bool) {
        self.set(HELD_BACK, held);
    }

    /// Whether it is being closed, because it reads the messages of its topics too slowly.
    pub(crate) fn is_too_slow(self) -> bool {
        self.flags & TOO_SLOW != 0
    }

    pub(crate) fn set_too_slow(&mut self) {
        self.set(TOO_SLOW, true);
    }

    /// Whether it counts among the connections of its address.
    pub(crate) fn is_admitted(self) -> bool {
        self.flags & ADMITTED != 0
    }

    pub(crate) fn set_admitted(&mut self) {
        self.set(ADMITTED, true);
    }

    /// Whether it is on the ready list, of this turn or the next.
    #[inline]
    pub(crate) fn is_queued(self) -> bool {
        self.flags & QUEUED != 0
    }

    pub(super) fn set(&mut self, flag: u16, on: bool) {
        if on {
            self.flags |= flag;
        } else {
            self.flags &= !flag;
        }
    }
}

/// The connections of a service, and its ready list.
pub(crate) struct Registry {
    entries: Table<Entry>,
    /// Connections that have something to do without a new readiness event; each at most once (`QUEUED`).
    ready: VecDeque<ConnId>,
    /// Those that used up their share of this turn. They are `QUEUED` too, and on the ready list from the next turn on.
    later: Vec<ConnId>,
    /// Connections whose sockets did not take everything (`BEHIND`).
    queued: BTreeMap<ConnId, Queued>,
}

/// What waits for a socket.
#[derive(Clone, Copy)]
struct Queued {
    bytes: usize,
    /// It has reached the mark, and the fall under it was not reported yet.
    was_high: bool,
}

impl Registry {
    pub(super) fn new(service: ServiceNumber) -> Self {
        Self { entries: Table::new(service), ready: VecDeque::new(), later: Vec::new(), queued: BTreeMap::new() }
    }

    /// How many connections there are, of any kind, pending ones included.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether there is no room for another one.
    pub(crate) fn is_full(&self) -> bool {
        self.entries.is_full()
    }

    pub(crate) fn contains(&self, id: ConnId) -> bool {
        self.entries.contains_key(id)
    }

    #[inline]
    pub(crate) fn get(&self, id: ConnId) -> Option<Entry> {
        self.entries.get(id).copied()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: ConnId) -> Option<&mut Entry> {
        self.entries.get_mut(id)
    }

    pub(crate) fn is_connecting(&self, id: ConnId) -> bool {
        self.get(id).is_some_and(Entry::is_connecting)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConnId, Entry)> {
        self.entries.iter().map(|(id, entry)| (id, *entry))
    }

    /// The connection in a slot.
    #[inline]
    pub(crate) fn at(&self, slot: usize) -> Option<(ConnId, Entry)> {
        self.entries.at(slot).map(|(id, entry)| (id, *entry))
    }

    /// Whether output waits for the socket of some connection.
    #[inline]
    pub(crate) fn has_behind(&self) -> bool {
        !self.queued.is_empty()
    }

    /// How many connections there are whose sockets output waits for.
    pub(crate) fn behind_len(&self) -> usize {
        self.queued.len()
    }

    /// The connections whose sockets output waits for.
    pub(crate) fn behind(&self) -> impl Iterator<Item = ConnId> {
        self.queued.keys().copied()
    }

    pub(crate) fn ids(&self) -> Vec<ConnId> {
        self.entries.keys().collect()
    }

    /// The open connections of some endpoints.
    pub(crate) fn open_ids(&self, is_wanted: impl Fn(EndpointIndex) -> bool) -> Vec<ConnId> {
        let open = self.entries.iter().filter(|(_, entry)| entry.is_open() && is_wanted(entry.endpoint));
        open.map(|(id, _)| id).collect()
    }

    pub(crate) fn insert_accepted(&mut self) -> ConnId {
        self.entries.insert(Entry::accepted())
    }

    #[cfg(feature = "client")]
    pub(crate) fn insert_connecting(&mut self, endpoint: EndpointIndex) -> ConnId {
        self.entries.insert(Entry::connecting(endpoint))
    }

    pub(crate) fn insert_adopting(&mut self, endpoint: EndpointIndex) -> ConnId {
        self.entries.insert(Entry::adopting(endpoint))
    }

    pub(crate) fn remove(&mut self, id: ConnId) {
        if self.entries.remove(id).is_some_and(Entry::is_behind) {
            self.queued.remove(&id);
        }
    }

    /// How many bytes wait for the socket of a connection, as last noted.
    pub(crate) fn queued_bytes(&self, id: ConnId) -> usize {
        if self.queued.is_empty() { 0 } else { self.queued.get(&id).map_or(0, |queued| queued.bytes) }
    }

    /// Notes how many bytes wait for the socket of a connection. Returns whether they have fallen under `mark`.
    #[cold]
    pub(crate) fn note_queued(&mut self, id: ConnId, bytes: usize, mark: usize) -> bool {
        let Some(entry) = self.entries.get_mut(id) else { return false };
        entry.set(BEHIND, bytes > 0);
        let was_high = self.queued.get(&id).is_some_and(|queued| queued.was_high);
        let is_low = bytes < mark;
        if bytes > 0 {
            self.queued.insert(id, Queued { bytes, was_high: !is_low });
        } else {
            self.queued.remove(&id);
        }
        was_high && is_low
    }

    /// As [`note_queued`](Self::note_queued), where no callback may follow: a fall is reported by the next step.
    pub(crate) fn note_growth(&mut self, id: ConnId, bytes: usize, mark: usize) {
        if self.note_queued(id, bytes, mark) {
            self.queued.insert(id, Queued { bytes, was_high: true });
            if let Some(entry) = self.entries.get_mut(id) {
                entry.set(BEHIND, true);
            }
        }
    }

    /// Of what waits for the socket of a connection, a part has changed since that was noted.
    pub(crate) fn change_queued(&mut self, id: ConnId, before: usize, now: usize) {
        if let Some(queued) = self.queued.get_mut(&id) {
            queued.bytes = queued.bytes.saturating_sub(before).saturating_add(now);
        }
    }

    /// Drops everything without an outcome.
    pub(crate) fn remove_connecting(&mut self) {
        for id in self.ids() {
            if self.is_connecting(id) {
                self.entries.remove(id);
            }
        }
    }

    /// Puts a connection on the ready list, once.
    pub(crate) fn enqueue(&mut self, id: ConnId) {
        if let Some(entry) = self.entries.get_mut(id) {
            if entry.flags & QUEUED == 0 {
                entry.flags |= QUEUED;
                self.ready.push_back(id);
            }
        }
    }

    /// Puts a connection on the ready list of the next turn.
    pub(crate) fn enqueue_later(&mut self, id: ConnId) {
        if let Some(entry) = self.entries.get_mut(id) {
            if entry.flags & QUEUED == 0 {
                entry.flags |= QUEUED;
                self.later.push(id);
            }
        }
    }

    /// Requests the writable callback of all open connections of the endpoints selected by
    /// `is_wanted`, and queues them.
    pub(super) fn want_write_of(&mut self, is_wanted: impl Fn(EndpointIndex) -> bool) {
        let ready = &mut self.ready;
        self.entries.for_each_mut(|id, entry| {
            // If it was already requested, the connection is queued or waits for its socket, whose
            // edge is a step.
            if is_wanted(entry.endpoint) && entry.is_open() && entry.flags & WANTS_WRITE == 0 {
                entry.flags |= WANTS_WRITE;
                if entry.flags & QUEUED == 0 {
                    entry.flags |= QUEUED;
                    ready.push_back(id);
                }
            }
        });
    }

    /// Gives back the slots of a crowd that has gone. Returns how many remain, if any were given back.
    pub(crate) fn give_back(&mut self) -> Option<usize> {
        self.entries.give_back()
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The number of connections on the ready list of this turn.
    pub(crate) fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// Takes the next id of the ready list. Ids of connections that ended meanwhile are skipped.
    pub(crate) fn next_ready(&mut self) -> Option<ConnId> {
        while let Some(id) = self.ready.pop_front() {
            if let Some(entry) = self.entries.get_mut(id) {
                entry.flags &= !QUEUED;
                return Some(id);
            }
        }
        None
    }

    /// Nothing is left: ids on the ready list are of connections that are gone.
    pub(crate) fn forget_ready(&mut self) {
        self.ready.clear();
    }

    /// The turn has ended: every connection has a whole share again.
    #[inline]
    pub(crate) fn begin_shares(&mut self) {
        if !self.later.is_empty() {
            self.ready.extend(self.later.drain(..));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_eight_bytes() {
        assert_eq!(size_of::<Entry>(), 8);
    }
}
