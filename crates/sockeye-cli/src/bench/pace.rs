//! When messages are due. Moments are nanoseconds of one clock.

/// What decides when the next message goes out.
#[derive(Clone, Debug)]
pub(crate) enum Pace {
    /// The next one goes when an answer has come: so many are under way on each connection.
    Closed { in_flight: u32 },
    /// One after another at fixed times, independent of the answers.
    Open(Beat),
}

/// Messages at fixed moments, in turn over all connections.
///
/// Message `k` is due at `start + k * interval`, on connection `k % connections`. Nothing is stored of it: each connection
/// knows by the time how many it owes, and when each of them was due.
#[derive(Clone, Debug)]
pub(crate) struct Beat {
    start: u64,
    /// Nanoseconds.
    interval: f64,
    connections: u64,
    /// This message and those after it are not sent.
    end: u64,
}

impl Beat {
    pub(crate) fn new(per_second: f64) -> Self {
        Self { start: u64::MAX, interval: 1e9 / per_second, connections: 1, end: u64::MAX }
    }

    pub(crate) fn start(&mut self, now: u64, connections: usize) {
        self.start = now;
        self.connections = (connections as u64).max(1);
    }

    /// Ends after `count` messages from `now` on.
    pub(crate) fn end_after(&mut self, now: u64, count: u64) {
        self.end = self.due(now).saturating_add(count);
    }

    /// Messages that are due before `now` are sent; no others.
    pub(crate) fn end_now(&mut self, now: u64) {
        self.end = self.due(now);
    }

    /// How many messages are due at `now`, on all connections.
    pub(crate) fn due(&self, now: u64) -> u64 {
        match now.checked_sub(self.start) {
            // Saturates, as casts do.
            Some(since) => ((since as f64 / self.interval) as u64).saturating_add(1).min(self.end),
            None => 0,
        }
    }

    /// How many messages are due at `now` on one connection.
    #[inline]
    pub(crate) fn due_on(&self, connection: usize, now: u64) -> u64 {
        (self.due(now) + self.connections - 1).saturating_sub(connection as u64) / self.connections
    }

    /// When message `number` of one connection is due.
    #[inline]
    pub(crate) fn moment_on(&self, connection: usize, number: u64) -> u64 {
        self.moment(number * self.connections + connection as u64)
    }

    pub(crate) fn moment(&self, number: u64) -> u64 {
        self.start.saturating_add((number as f64 * self.interval) as u64)
    }

    /// The connection whose turn message `number` is.
    pub(crate) fn connection(&self, number: u64) -> usize {
        (number % self.connections) as usize
    }

    /// How many messages there are to send when it has ended.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat() -> Beat {
        let mut beat = Beat::new(1000.0);
        beat.start(5_000_000, 3);
        beat
    }

    #[test]
    fn one_message_a_beat_in_turn() {
        let beat = beat();
        assert_eq!([4_999_999, 5_000_000, 5_999_999, 6_000_000].map(|now| beat.due(now)), [0, 1, 1, 2]);
        for now in (5_000_000..30_000_000).step_by(500_000) {
            let each: Vec<u64> = (0..3).map(|connection| beat.due_on(connection, now)).collect();
            assert_eq!(each.iter().sum::<u64>(), beat.due(now), "{now}");
            assert!(each.is_sorted_by(|a, b| a >= b) && each[0] - each[2] <= 1, "{each:?}");
        }
        assert_eq!(beat.connection(7), 1);
        assert_eq!(beat.moment_on(1, 2), beat.moment(7));
    }

    #[test]
    fn a_message_that_is_due_was_due_before_now() {
        let mut beat = Beat::new(333.333);
        beat.start(123, 7);
        for now in (123..50_000_000_000).step_by(77_777_777) {
            for connection in 0..7 {
                let due = beat.due_on(connection, now);
                assert!(due == 0 || beat.moment_on(connection, due - 1) <= now);
                assert!(beat.moment_on(connection, due) + 1 >= now);
            }
        }
    }

    #[test]
    fn an_end_leaves_what_was_due_before() {
        let mut beat = beat();
        beat.end_now(7_000_000);
        assert_eq!((beat.end(), beat.due(u64::MAX)), (3, 3));
        let mut beat = self::beat();
        beat.end_after(5_000_000, 10);
        assert_eq!((beat.due(u64::MAX), beat.due(8_000_000)), (11, 4));
    }

    #[test]
    fn nothing_is_due_before_the_start() {
        let beat = Beat::new(10.0);
        assert_eq!((beat.due(u64::MAX - 1), beat.due_on(0, 100)), (0, 0));
    }
}
