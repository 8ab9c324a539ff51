//! Timers of protocols and endpoints, which belong to no connection.

use std::collections::{BTreeMap, BTreeSet};

use sockeye_proto::time::Instant;

use crate::state::endpoints::EndpointIndex;

/// The timers that are set: one for each endpoint and token.
#[derive(Debug, Default)]
pub(crate) struct OwnTimers {
    /// Invariant: the same timers as in `due`.
    set: BTreeMap<(u16, u64), Instant>,
    due: BTreeSet<(Instant, u16, u64)>,
}

impl OwnTimers {
    pub(crate) fn set(&mut self, endpoint: EndpointIndex, token: u64, at: Instant) {
        self.clear(endpoint, token);
        self.set.insert((endpoint.0, token), at);
        self.due.insert((at, endpoint.0, token));
    }

    pub(crate) fn clear(&mut self, endpoint: EndpointIndex, token: u64) {
        if let Some(at) = self.set.remove(&(endpoint.0, token)) {
            self.due.remove(&(at, endpoint.0, token));
        }
    }

    /// When the next one is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, ..)| *at)
    }

    /// Those that are due now, in order. Each is to be [taken](Self::take): a callback may clear another.
    pub(crate) fn due(&self, now: Instant) -> Vec<(EndpointIndex, u64)> {
        if self.next().is_none_or(|at| at > now) {
            return Vec::new();
        }
        let due = self.due.iter().take_while(|(at, ..)| *at <= now);
        due.map(|&(_, endpoint, token)| (EndpointIndex(endpoint), token)).collect()
    }

    /// Clears a timer if it is due now. Returns whether it was.
    pub(crate) fn take(&mut self, endpoint: EndpointIndex, token: u64, now: Instant) -> bool {
        let is_due = self.set.get(&(endpoint.0, token)).is_some_and(|at| *at <= now);
        if is_due {
            self.clear(endpoint, token);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_timer_is_due_once_and_setting_it_again_moves_it() {
        let at = |seconds| Instant::from_nanos(0) + Duration::from_secs(seconds);
        let (own, other) = (EndpointIndex(0), EndpointIndex(1));
        let mut timers = OwnTimers::default();
        timers.set(own, 1, at(5));
        timers.set(own, 2, at(3));
        timers.set(other, 1, at(4));
        timers.set(own, 1, at(2));
        assert_eq!((timers.next(), timers.due(at(1)).len()), (Some(at(2)), 0));
        assert_eq!(timers.due(at(4)), [(own, 1), (own, 2), (other, 1)]);
        timers.clear(own, 2);
        assert!(timers.take(own, 1, at(4)) && !timers.take(own, 1, at(4)) && !timers.take(own, 2, at(4)));
        assert!(!timers.take(other, 1, at(3)) && timers.take(other, 1, at(4)));
        assert_eq!(timers.next(), None);
    }
}
