//! The pings of one connection that are under way, and those that came back.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What a reply is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reply {
    First(Duration),
    /// It came before.
    Again,
    /// It was never sent, or too long ago to know.
    Unknown,
}

#[derive(Debug, Default)]
pub(crate) struct Flight {
    /// When each ping from `first` on was sent; `None`: its reply came. Invariant: `sent.len() <= WINDOW`.
    sent: VecDeque<Option<Instant>>,
    /// Pings before that one are forgotten. They are counted from 1.
    forgotten: u32,
    replied: u32,
}

impl Flight {
    /// The number of the ping that is sent now.
    pub(crate) fn send(&mut self, now: Instant) -> u32 {
        if self.sent.len() == WINDOW {
            self.sent.pop_front();
            self.forgotten = self.forgotten.wrapping_add(1);
        }
        self.sent.push_back(Some(now));
        self.count()
    }

    /// Pings that were sent.
    pub(crate) fn count(&self) -> u32 {
        self.forgotten.wrapping_add(self.sent.len() as u32)
    }

    pub(crate) fn reply(&mut self, seq: u32, now: Instant) -> Reply {
        let index = seq.wrapping_sub(self.forgotten).wrapping_sub(1);
        match self.sent.get_mut(index as usize) {
            None => Reply::Unknown,
            Some(sent) => match sent.take() {
                None => Reply::Again,
                Some(sent) => {
                    self.replied = self.replied.wrapping_add(1);
                    Reply::First(now.saturating_duration_since(sent))
                }
            },
        }
    }

    /// Every ping has its reply.
    pub(crate) fn is_answered(&self) -> bool {
        self.replied == self.count()
    }
}

/// Pings that are remembered.
const WINDOW: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_told_apart() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut flight = Flight::default();
        assert!(flight.is_answered());
        assert_eq!((flight.send(at(0)), flight.send(at(10))), (1, 2));
        assert_eq!(flight.reply(2, at(15)), Reply::First(Duration::from_millis(5)));
        assert!(!flight.is_answered());
        assert_eq!(flight.reply(2, at(16)), Reply::Again);
        assert_eq!(flight.reply(1, at(20)), Reply::First(Duration::from_millis(20)));
        assert!(flight.is_answered());
        for seq in [0, 3, u32::MAX] {
            assert_eq!(flight.reply(seq, at(20)), Reply::Unknown);
        }
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let now = Instant::now();
        let mut flight = Flight::default();
        for _ in 0..WINDOW + 2 {
            flight.send(now);
        }
        assert_eq!(flight.sent.len(), WINDOW);
        assert_eq!(flight.reply(2, now), Reply::Unknown);
        assert_eq!(flight.reply(3, now), Reply::First(Duration::ZERO));
        assert_eq!(flight.count(), WINDOW as u32 + 2);
    }
}
