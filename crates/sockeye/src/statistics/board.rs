//! The statistics of several threads: each service publishes a copy of its own where all can read it.
//!
//! No thread waits for another: each makes its own copies, and a lock is held only to exchange a pointer. A busy loop
//! publishes a copy every [`PERIOD`]. A loop that becomes idle publishes once more, and is not woken for it again until
//! something happens.

use std::iter::Sum;
use std::ops::AddAssign;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sockeye_proto::time::Instant;

use crate::statistics::Statistics;

/// The latest copies, one for each thread.
#[derive(Debug)]
pub(crate) struct Board {
    places: Box<[Mutex<Arc<Statistics>>]>,
}

impl Board {
    pub(crate) fn new(threads: usize) -> Arc<Self> {
        Arc::new(Self { places: (0..threads).map(|_| Mutex::default()).collect() })
    }

    /// The sum of all copies.
    pub(crate) fn sum(&self) -> Statistics {
        self.sum_with(usize::MAX, &Statistics::default())
    }

    /// Notes the end of a thread: its counters stay, and its gauges become 0.
    pub(crate) fn end(&self, index: usize, statistics: &Statistics) {
        let over = Statistics {
            connections_now: 0,
            connections_limit: 0,
            held_bytes: 0,
            held_bytes_limit: 0,
            websockets_now: 0,
            ..statistics.clone()
        };
        self.put(index, over);
    }

    /// The sum of all copies, with `own` in place of one thread's copy.
    fn sum_with(&self, index: usize, own: &Statistics) -> Statistics {
        let mut sum = own.clone();
        for (other, place) in self.places.iter().enumerate() {
            if other != index {
                let latest = Arc::clone(&lock(place));
                sum += &*latest;
            }
        }
        sum
    }

    fn put(&self, index: usize, statistics: Statistics) {
        let Some(place) = self.places.get(index) else { return };
        let latest = Arc::new(statistics);
        let before = std::mem::replace(&mut *lock(place), latest);
        // Freed outside the lock, unless a reader still has it.
        drop(before);
    }
}

fn lock(place: &Mutex<Arc<Statistics>>) -> MutexGuard<'_, Arc<Statistics>> {
    // A poisoned lock holds no half-done change: only a pointer is exchanged under it.
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The place of one service among those of all threads.
#[derive(Debug)]
pub(crate) struct BoardSlot {
    board: Arc<Board>,
    index: usize,
    /// The next copy is not made before this time.
    next: Instant,
    /// The statistics changed since the last copy.
    unsaid: bool,
}

impl BoardSlot {
    pub(crate) fn new(board: Arc<Board>, index: usize) -> Self {
        Self { board, index, next: Instant::from_nanos(0), unsaid: false }
    }

    /// Notes that a turn is over.
    #[inline]
    pub(crate) fn turn_ends(&mut self, now: Instant, statistics: &Statistics) {
        self.unsaid = now < self.next;
        if !self.unsaid {
            self.next = now + PERIOD;
            self.board.put(self.index, statistics.clone());
        }
    }

    /// When to publish the next copy, if nothing else happens.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.unsaid.then_some(self.next)
    }

    /// The sum of `own` and the latest copies of the others. `own` is published first: a reader that asks one thread
    /// after another must not see a counter decrease, which Prometheus takes for a restart from 0.
    pub(crate) fn sum(&self, own: &Statistics) -> Statistics {
        self.board.put(self.index, own.clone());
        self.board.sum_with(self.index, own)
    }
}

/// Adds the statistics of another service. Current values are added too. So are peaks, which may have been at different
/// times, so their sum is an upper bound. The longest turn and the worst stall are the worse of the two.
impl AddAssign<&Self> for Statistics {
    fn add_assign(&mut self, other: &Self) {
        // All fields by name, so that a new one cannot be forgotten here.
        let Self {
            connections,
            connections_now,
            connections_most,
            connections_limit,
            held_bytes,
            held_bytes_most,
            held_bytes_limit,
            websockets,
            websockets_now,
            websockets_most,
            received,
            sent,
            compression,
            topics,
            topics_now,
            subscriptions_now,
            closes,
            raw_closes,
            request_ends,
            codes_received,
            codes_sent,
            responses,
            tls,
            refusals,
            limits,
            failures,
            work,
            stalls,
        } = other;
        self.connections.add(connections);
        self.connections_now += connections_now;
        self.connections_most += connections_most;
        self.connections_limit += connections_limit;
        self.held_bytes += held_bytes;
        self.held_bytes_most += held_bytes_most;
        self.held_bytes_limit += held_bytes_limit;
        self.websockets.add(websockets);
        self.websockets_now += websockets_now;
        self.websockets_most += websockets_most;
        self.received.add(received);
        self.sent.add(sent);
        self.compression.add(compression);
        self.topics.add(topics);
        self.topics_now += topics_now;
        self.subscriptions_now += subscriptions_now;
        self.closes.add(closes);
        self.raw_closes.add(raw_closes);
        self.request_ends.add(request_ends);
        self.codes_received.add(codes_received);
        self.codes_sent.add(codes_sent);
        for (status, count) in responses {
            *self.responses.entry(*status).or_default() += count;
        }
        self.tls.add(tls);
        self.refusals.add(refusals);
        self.limits.add(limits);
        self.failures.add(failures);
        self.work.add(work);
        self.stalls.add(stalls);
    }
}

/// Adds as `+=` does.
impl<'a> Sum<&'a Self> for Statistics {
    fn sum<I: Iterator<Item = &'a Self>>(all: I) -> Self {
        all.fold(Self::default(), |mut sum, one| {
            sum += one;
            sum
        })
    }
}

/// Half of the promised second, which leaves time for a long turn.
const PERIOD: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn turns(turns: u64) -> Statistics {
        let mut statistics = Statistics::default();
        statistics.work.turns = turns;
        statistics
    }

    #[test]
    fn a_copy_is_made_every_period_and_once_more_when_idle() {
        let board = Board::new(2);
        let mut place = BoardSlot::new(Arc::clone(&board), 1);
        assert_eq!(place.deadline(), None);
        place.turn_ends(millis(1), &turns(1));
        assert_eq!((board.sum().work.turns, place.deadline()), (1, None));
        for (turn, now) in [(2, 2), (3, 500)] {
            place.turn_ends(millis(now), &turns(turn));
            assert_eq!((board.sum().work.turns, place.deadline()), (1, Some(millis(501))));
        }
        place.turn_ends(millis(501), &turns(4));
        assert_eq!((board.sum().work.turns, place.deadline()), (4, None));
        place.turn_ends(millis(60_000), &turns(5));
        assert_eq!((board.sum().work.turns, place.deadline()), (5, None));
    }

    #[test]
    fn a_sum_has_the_current_values_of_the_asking_thread() {
        let board = Board::new(3);
        let (mut first, mut second) = (BoardSlot::new(Arc::clone(&board), 0), BoardSlot::new(Arc::clone(&board), 1));
        first.turn_ends(millis(1), &turns(10));
        second.turn_ends(millis(1), &turns(100));
        assert_eq!(first.sum(&turns(11)).work.turns, 111);
        // A counter that was shown once does not decrease.
        assert_eq!(second.sum(&turns(100)).work.turns, 111);
        assert_eq!(board.sum().work.turns, 111);
        let over = Statistics {
            connections_now: 3,
            websockets_now: 2,
            connections_most: 4,
            connections_limit: 9,
            ..turns(20)
        };
        board.end(0, &over);
        second.turn_ends(millis(2000), &Statistics { connections_limit: 7, ..turns(100) });
        let sum = board.sum();
        assert_eq!((sum.work.turns, sum.connections_now, sum.websockets_now, sum.connections_most), (120, 0, 0, 4));
        assert_eq!(sum.connections_limit, 7, "a thread that ended has no connections");
    }
}
