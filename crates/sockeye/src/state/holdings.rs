//! What protocols hold for single connections: few connections have any.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use sockeye_proto::time::Instant;

use crate::id::ConnId;
use crate::transport::{Account, Charge};

/// The connections for which a protocol holds something.
#[derive(Default)]
pub(crate) struct Holdings {
    of: HashMap<ConnId, Holding>,
    /// When the current window of the slow-sender rule ends; of use while anything is held.
    window_ends: Option<Instant>,
    /// The length of a window.
    pub(crate) window: Duration,
}

/// A table of so many is kept when it is empty.
const USUAL: usize = 64;

#[derive(Default)]
struct Holding {
    held: Charge,
    /// How much of a message had arrived when the window began. `None`: nothing was held then.
    arrived: Option<u64>,
}

impl Holdings {
    /// So much is held for this connection now.
    pub(crate) fn set(&mut self, id: ConnId, bytes: usize, account: &Rc<Account>, now: Instant) {
        if bytes == 0 {
            return self.remove(id);
        }
        if self.of.is_empty() {
            self.window_ends = Some(now + self.window);
        }
        self.of.entry(id).or_default().held.set(account, bytes);
    }

    /// How much is held for a connection.
    pub(crate) fn of(&self, id: ConnId) -> usize {
        self.of.get(&id).map_or(0, |holding| holding.held.bytes())
    }

    /// The connection has ended.
    pub(crate) fn remove(&mut self, id: ConnId) {
        if self.of.remove(&id).is_some() && self.of.is_empty() && self.of.capacity() > USUAL {
            // The table of a crowd lies behind what the crowd held, and keeps that on the allocator's heap.
            self.of = HashMap::new();
        }
    }

    /// When [`look`](Self::look) has something to do.
    pub(crate) fn window_ends(&self) -> Option<Instant> {
        self.window_ends.filter(|_| !self.of.is_empty())
    }

    /// Whether nothing is held.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// A window has ended, and another begins. Returns the connections of whose message less than `least` arrived in it.
    /// `arrived`: how much of its message has arrived; `None` if no more is awaited.
    pub(crate) fn look(&mut self, now: Instant, least: u64, arrived: impl Fn(ConnId) -> Option<u64>) -> Vec<ConnId> {
        self.window_ends = Some(now + self.window);
        let mut slow = Vec::new();
        for (id, holding) in &mut self.of {
            let before = std::mem::replace(&mut holding.arrived, arrived(*id));
            if let (Some(before), Some(now)) = (before, holding.arrived) {
                // Less than before: it is another message.
                if now.checked_sub(before).is_some_and(|arrived| arrived < least) {
                    slow.push(*id);
                }
            }
        }
        slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_grow_in_a_whole_window_is_slow() {
        let (account, at) = (Rc::new(Account::default()), |secs: u64| Instant::from_nanos(secs * 1_000_000_000));
        let id = ConnId::default();
        let mut holdings = Holdings { window: Duration::from_secs(10), ..Holdings::default() };
        assert!(holdings.is_empty());
        holdings.set(id, 100, &account, at(3));
        assert_eq!(holdings.window_ends(), Some(at(13)));
        for (secs, arrived, is_slow) in
            [(13, 100, false), (23, 149, true), (33, 199, false), (43, 10, false), (53, 10, true)]
        {
            assert_eq!(holdings.look(at(secs), 50, |_| Some(arrived)) == [id], is_slow, "{secs} s");
        }
        assert_eq!(holdings.look(at(63), 50, |_| None), []);
        assert_eq!((holdings.window_ends(), account.held(), holdings.of(id)), (Some(at(73)), 100, 100));
        holdings.set(id, 0, &account, at(64));
        assert_eq!((account.held(), holdings.window_ends()), (0, None));
    }
}
