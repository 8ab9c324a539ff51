//! Timers in the program's own memory (`lws_sul_schedule`): when each is due, by its address.
//!
//! Nothing here reads a node: a program may free one that is not scheduled, and its address may be scheduled again as another
//! timer. Equal times fire in the order in which they were scheduled.

use std::collections::BTreeMap;
use std::collections::HashMap;

/// The address of a node.
pub(crate) type Node = usize;

/// The scheduled nodes of a context. Times are microseconds of any clock that does not go back.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    due: BTreeMap<(i64, u64), Node>,
    keys: HashMap<Node, (i64, u64)>,
    scheduled: u64,
}

impl Schedule {
    /// Schedules `node` for `due`, instead of when it was.
    pub(crate) fn schedule(&mut self, node: Node, due: i64) {
        self.cancel(node);
        self.scheduled += 1;
        let key = (due, self.scheduled);
        self.due.insert(key, node);
        self.keys.insert(node, key);
    }

    /// Takes `node` out. False if it is not scheduled.
    pub(crate) fn cancel(&mut self, node: Node) -> bool {
        let Some(key) = self.keys.remove(&node) else { return false };
        self.due.remove(&key);
        true
    }

    /// When the next is due.
    #[must_use]
    pub(crate) fn next(&self) -> Option<i64> {
        self.due.first_key_value().map(|(key, _)| key.0)
    }

    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.due.is_empty()
    }

    /// The order in which those are due that are scheduled now: [`fire`](Self::fire) goes no further, so that a timer that
    /// schedules itself for now does not hold the loop up.
    #[must_use]
    pub(crate) fn mark(&self) -> u64 {
        self.scheduled
    }

    /// Takes out the next node that is due at `now` and was scheduled before `mark`.
    pub(crate) fn fire(&mut self, now: i64, mark: u64) -> Option<Node> {
        let key = *self.due.range(..=(now, u64::MAX)).find(|(key, _)| key.1 <= mark)?.0;
        let node = self.due.remove(&key)?;
        self.keys.remove(&node);
        Some(node)
    }

    /// Takes out any node: a context that ends leaves none behind.
    pub(crate) fn take(&mut self) -> Option<Node> {
        let (_, node) = self.due.pop_first()?;
        self.keys.remove(&node);
        Some(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fired(schedule: &mut Schedule, now: i64) -> Vec<Node> {
        let mark = schedule.mark();
        std::iter::from_fn(|| schedule.fire(now, mark)).collect()
    }

    #[test]
    fn nodes_fire_once_in_the_order_of_their_times() {
        let mut schedule = Schedule::default();
        assert_eq!(schedule.next(), None);
        for (node, due) in [(1, 30), (2, 10), (3, 20), (4, 10)] {
            schedule.schedule(node, due);
        }
        assert_eq!(schedule.next(), Some(10));
        assert_eq!(fired(&mut schedule, 9), []);
        assert_eq!(fired(&mut schedule, 20), [2, 4, 3]);
        assert_eq!(schedule.next(), Some(30));
        assert_eq!(fired(&mut schedule, i64::MAX), [1]);
        assert_eq!(fired(&mut schedule, i64::MAX), []);
    }

    #[test]
    fn scheduling_again_moves_a_node() {
        let mut schedule = Schedule::default();
        schedule.schedule(1, 10);
        schedule.schedule(1, 50);
        assert_eq!(fired(&mut schedule, 49), []);
        assert!(schedule.cancel(1));
        assert!(!schedule.cancel(1));
        assert_eq!(schedule.next(), None);
        schedule.schedule(1, i64::MIN);
        assert_eq!(schedule.take(), Some(1));
        assert_eq!(schedule.take(), None);
    }

    #[test]
    fn a_node_that_schedules_itself_for_now_fires_once_a_turn() {
        let mut schedule = Schedule::default();
        schedule.schedule(1, 5);
        let mark = schedule.mark();
        assert_eq!(schedule.fire(5, mark), Some(1));
        schedule.schedule(1, 0);
        assert_eq!(schedule.fire(5, mark), None);
        assert_eq!(fired(&mut schedule, 5), [1]);
    }

    #[test]
    fn many_nodes_come_out_sorted() {
        let mut schedule = Schedule::default();
        let mut state = 7_u32;
        for node in 0..1000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            schedule.schedule(node, i64::from(state >> 8));
            if node % 3 == 0 {
                assert!(schedule.cancel(node));
            }
        }
        let mut last = i64::MIN;
        let mut count = 0;
        while let Some(next) = schedule.next() {
            assert!(next >= last);
            last = next;
            let mark = schedule.mark();
            assert!(schedule.fire(next, mark).is_some());
            count += 1;
        }
        assert_eq!(count, 666);
    }
}
