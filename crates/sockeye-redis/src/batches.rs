//! Messages that wait until others of their topic are answered, so that one command has many.
//!
//! A command costs Redis more than what it does for a message. So a topic has few under way, and what comes meanwhile goes
//! together. A message of a topic that is quiet waits for nothing.

use std::collections::HashMap;
use std::sync::Arc;

use crate::envelope::{self, LENGTH_BYTES, MOST_TOGETHER};

#[derive(Debug, Default)]
pub(crate) struct Batches {
    /// Those that have a command under way.
    topics: HashMap<Arc<str>, Topic>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Topic {
    /// Commands that have no answer.
    runs: usize,
    waiting: Batch,
}

/// Messages of a topic, in order.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) tickets: Vec<u64>,
    /// Their bodies, each with its length in front.
    bodies: Vec<u8>,
    /// What was set aside for it in the queue.
    bytes: usize,
}

/// What is to be sent, in order.
pub(crate) type Due = [Option<(Arc<str>, Batch)>; 2];

impl Batches {
    /// How many bytes of the queue to the broker are for those that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a message whose body is made of these parts, for which so many bytes of the queue are set aside.
    pub(crate) fn add(&mut self, topic: &str, ticket: u64, parts: &[&[u8]], bytes: usize) -> Due {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let is_over = |state: &Topic| {
            !state.waiting.tickets.is_empty() && state.waiting.bodies.len() + LENGTH_BYTES + length > MOST_BYTES
        };
        let before = if self.topics.get(topic).is_some_and(is_over) { self.take(topic) } else { None };
        let state = if let Some(state) = self.topics.get_mut(topic) {
            state
        } else {
            self.topics.entry(topic.into()).or_default()
        };
        // A body is bounded far below.
        let prefix = u32::try_from(length).unwrap_or(u32::MAX);
        state.waiting.bodies.extend_from_slice(&prefix.to_be_bytes());
        parts.iter().for_each(|part| state.waiting.bodies.extend_from_slice(part));
        state.waiting.tickets.push(ticket);
        state.waiting.bytes += bytes;
        self.bytes += bytes;
        let is_full = state.waiting.tickets.len() >= MOST_MESSAGES || state.waiting.bodies.len() >= MOST_BYTES;
        let is_due = state.runs < MOST_RUNS || is_full;
        [before, if is_due { self.take(topic) } else { None }]
    }

    /// A command has its answer. Returns what is to be sent next.
    pub(crate) fn answered(&mut self, topic: &str) -> Option<Batch> {
        let state = self.topics.get_mut(topic)?;
        state.runs = state.runs.saturating_sub(1);
        if !state.waiting.tickets.is_empty() {
            return self.take(topic).map(|(_, batch)| batch);
        }
        if state.runs == 0 {
            self.topics.remove(topic);
        }
        None
    }

    fn take(&mut self, topic: &str) -> Option<(Arc<str>, Batch)> {
        let name = Arc::clone(self.topics.get_key_value(topic)?.0);
        let state = self.topics.get_mut(topic)?;
        state.runs += 1;
        let batch = std::mem::take(&mut state.waiting);
        self.bytes = self.bytes.saturating_sub(batch.bytes);
        Some((name, batch))
    }
}

impl Batch {
    /// All bodies, each with its length in front.
    pub(crate) fn bodies(&self) -> &[u8] {
        &self.bodies
    }

    /// One body after the other.
    pub(crate) fn each(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bodies.as_slice();
        std::iter::from_fn(move || {
            let (body, behind) = envelope::split_length(rest)?;
            rest = behind;
            Some(body)
        })
    }
}

/// How many commands of a topic are under way while others wait: the broker has the next one when it has answered one.
const MOST_RUNS: usize = 2;

/// A batch with as many messages is sent at once, and before it has more bytes, unless one message alone has. Redis does nothing else
/// while it takes a command.
const MOST_MESSAGES: usize = MOST_TOGETHER as usize;
const MOST_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn add(batches: &mut Batches, ticket: u64, bytes: usize) -> Vec<Vec<u64>> {
        let due = batches.add("t", ticket, &[&vec![b'x'; bytes]], bytes);
        due.into_iter().flatten().map(|(_, batch)| batch.tickets).collect()
    }

    const NOTHING: Vec<Vec<u64>> = Vec::new();

    #[test]
    fn what_comes_meanwhile_goes_together() {
        let mut batches = Batches::default();
        assert_eq!([add(&mut batches, 1, 1), add(&mut batches, 2, 1)], [[[1]], [[2]]]);
        assert_eq!([add(&mut batches, 3, 1), add(&mut batches, 4, 1)], [NOTHING, NOTHING]);
        let [None, Some((name, other))] = batches.add("u", 5, &[b"x"], 1) else { panic!("it waits for nothing") };
        assert_eq!((&*name, other.tickets), ("u", vec![5]));
        assert_eq!(batches.bytes(), 2);
        let next = batches.answered("t").expect("a batch");
        assert_eq!(
            (next.bodies(), next.each().collect::<Vec<_>>()),
            (&b"\0\0\0\x01x\0\0\0\x01x"[..], vec![&b"x"[..]; 2])
        );
        assert_eq!((next.tickets, batches.bytes()), (vec![3, 4], 0));
        for name in ["t", "t", "u"] {
            assert!(batches.answered(name).is_none());
        }
        assert!(batches.topics.is_empty());
    }

    #[test]
    fn a_full_batch_does_not_wait() {
        let mut batches = Batches::default();
        for ticket in 0..2 {
            assert_eq!(add(&mut batches, ticket, 1), [[ticket]]);
        }
        for ticket in 2..257 {
            assert_eq!(add(&mut batches, ticket, 1), NOTHING);
        }
        assert_eq!(add(&mut batches, 257, 1), [(2..=257).collect::<Vec<_>>()]);
        assert_eq!(add(&mut batches, 258, 1), NOTHING);
        assert_eq!(add(&mut batches, 259, MOST_BYTES - 9), [[258, 259]], "as long as it may be");
        assert_eq!(add(&mut batches, 260, 1), NOTHING);
        assert_eq!(add(&mut batches, 261, MOST_BYTES - 8), [[260]], "one that has no room goes behind it");
        assert_eq!(add(&mut batches, 262, MOST_BYTES), [vec![261], vec![262]]);
        assert_eq!(batches.bytes(), 0);
    }
}
