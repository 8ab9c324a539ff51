//! Deadlines of connections, lazily: an entry says when to look, the connection says what is due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use sockeye_proto::time::Instant;

use crate::protocol::ConnId;

/// When to look at which connection.
///
/// A connection remembers the earliest entry it has here and adds another only for an earlier deadline, so activity
/// costs nothing: the entry fires, the connection says that its deadline moved, and gets a new entry. Entries of
/// connections that are over stay until they fire or until they are the majority.
#[derive(Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, u64)>>,
}

impl Timers {
    pub(crate) fn add(&mut self, at: Instant, id: ConnId) {
        self.heap.push(Reverse((at, id.as_u64())));
    }

    /// When the next entry is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes an entry that is due.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(Instant, ConnId)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((at, token))| (at, ConnId::from_u64(token)))
    }

    /// Drops the entries that are not `current`, when they could be the majority: keeps the heap below about twice the
    /// number of connections however fast these come and go.
    pub(crate) fn sweep(&mut self, connections: usize, mut current: impl FnMut(Instant, ConnId) -> bool) {
        if self.heap.len() > 2 * connections + 1024 {
            self.heap.retain(|Reverse((at, token))| current(*at, ConnId::from_u64(*token)));
            self.heap.shrink_to(2 * connections + 1024);
        }
    }
}
