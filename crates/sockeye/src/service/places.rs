//! How many connections there may be: of one service, and of several together, as those of threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::sys::Descriptors;

/// Descriptors reserved for other uses: files being served, the program's own.
const RESERVE: u64 = 16;
/// Descriptors reserved for the poller, waker and listener of each further service in the process.
const RESERVE_SERVICE: u64 = 4;

/// How many connections the descriptor limit has room for, if the process has so many services.
pub(super) fn room(descriptors: Descriptors, services: u64) -> usize {
    let reserve = RESERVE + (services - 1) * RESERVE_SERVICE;
    let room = descriptors.limit.saturating_sub(descriptors.in_use).saturating_sub(reserve);
    usize::try_from(room.max(1)).unwrap_or(usize::MAX)
}

/// How many connections all services have, and may have.
#[derive(Debug)]
pub(crate) struct Places {
    limit: AtomicUsize,
    taken: AtomicUsize,
    services: usize,
}

impl Places {
    /// Of so many services.
    pub(crate) fn new(services: usize) -> Arc<Self> {
        Arc::new(Self { limit: AtomicUsize::new(usize::MAX), taken: AtomicUsize::new(0), services })
    }

    /// The least of the limits that the services have.
    pub(crate) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }
}

/// The part of one service in [`Places`].
#[derive(Debug)]
pub(crate) struct Share {
    places: Arc<Places>,
    /// Which of the services it is.
    index: usize,
    /// How many of its connections are counted in `places`.
    counted: usize,
}

impl Share {
    pub(crate) fn new(places: &Arc<Places>, index: usize) -> Self {
        Self { places: Arc::clone(places), index, counted: 0 }
    }

    /// No more than this for all services.
    pub(super) fn limit_to(&self, most: usize) {
        self.places.limit.fetch_min(most, Ordering::Relaxed);
    }

    /// An equal part of the limit. The parts of all services add up to it.
    pub(super) fn part(&self) -> usize {
        let (limit, services) = (self.places.limit(), self.places.services.max(1));
        limit / services + usize::from(self.index < limit % services)
    }

    /// The service has so many connections now.
    pub(super) fn settle(&mut self, connections: usize) {
        let taken = &self.places.taken;
        match connections.checked_sub(self.counted) {
            Some(0) => {}
            Some(more) => _ = taken.fetch_add(more, Ordering::Relaxed),
            None => _ = taken.fetch_sub(self.counted - connections, Ordering::Relaxed),
        }
        self.counted = connections;
    }

    /// Takes a place for one more connection, unless all are taken. It counts as one of this service, which gives it back
    /// with the next [`settle`](Self::settle) if no connection came.
    pub(super) fn take(&mut self) -> bool {
        let limit = self.places.limit();
        let more = |taken: usize| (taken < limit).then(|| taken + 1);
        let took = self.places.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        self.counted += usize::from(took);
        took
    }

    /// Whether all services together are within the limit.
    pub(super) fn is_within(&self) -> bool {
        self.places.taken.load(Ordering::Relaxed) <= self.places.limit()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.settle(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_are_taken_than_there_are_and_all_come_back() {
        let places = Places::new(3);
        let mut shares: Vec<_> = (0..3).map(|index| Share::new(&places, index)).collect();
        shares[0].limit_to(12);
        shares[1].limit_to(10);
        assert_eq!(shares.iter().map(Share::part).collect::<Vec<_>>(), [4, 3, 3]);
        // One may have them all.
        assert!((0..10).all(|_| shares[2].take()));
        assert!(!shares[0].take() && !shares[2].take());
        // A connect takes its place first, and asks then.
        shares[0].settle(1);
        assert!(!shares[0].is_within());
        shares[0].settle(0);
        assert!(shares[0].is_within());
        // It came to one connection less.
        shares[2].settle(9);
        assert!(shares[1].take());
        assert!(!shares[0].take());
        drop(shares);
        assert_eq!(places.taken.load(Ordering::Relaxed), 0);
    }
}
