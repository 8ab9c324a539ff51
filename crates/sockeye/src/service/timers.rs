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

    /// Whether entries of connections that are over could be the majority. Sweeping then keeps the heap below about twice the
    /// number of connections however fast these come and go.
    #[inline]
    pub(crate) fn may_be_old(&self, connections: usize) -> bool {
        self.heap.len() > 2 * connections + 1024
    }

    /// Drops the entries that are not `current`.
    #[inline(never)]
    pub(crate) fn sweep(&mut self, connections: usize, mut current: impl FnMut(Instant, ConnId) -> bool) {
        self.heap.retain(|Reverse((at, token))| current(*at, ConnId::from_u64(*token)));
        self.heap.shrink_to(2 * connections + 1024);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Each once, none early, and nobody has to wait for a later look.
    #[test]
    fn a_hundred_thousand_with_one_deadline_are_due_together() {
        let deadline = Instant::from_nanos(0) + Duration::from_secs(25);
        let mut timers = Timers::default();
        for number in 0..100_000 {
            timers.add(deadline, ConnId::from_u64(number));
        }
        assert_eq!(timers.next(), Some(deadline));
        let early = Instant::from_nanos(deadline.as_nanos() - 1);
        assert_eq!(timers.pop_due(early), None);
        let mut due = 0;
        while let Some((at, _)) = timers.pop_due(deadline) {
            assert_eq!(at, deadline);
            due += 1;
            // One that is armed anew for this very moment is due in it too, and ends nothing.
            if due == 1 {
                timers.add(deadline, ConnId::from_u64(1));
            }
        }
        assert_eq!((due, timers.next()), (100_001, None));
    }
}
