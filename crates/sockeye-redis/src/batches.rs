//! Messages with history that wait until others of their topic are numbered, so that one run of the script numbers many.
//!
//! Running a script costs Redis more than what it does for a message. So a topic has few runs under way, and what comes meanwhile goes
//! together. A message of a topic that is quiet waits for nothing.

use std::collections::HashMap;
use std::sync::Arc;

use crate::resp::write_argument;

#[derive(Debug, Default)]
pub(crate) struct Batches {
    /// Those that have a run under way.
    topics: HashMap<Arc<str>, Topic>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Topic {
    /// Runs that have no answer.
    runs: usize,
    waiting: Batch,
}

/// Messages of a topic, in order.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) tickets: Vec<u64>,
    /// As arguments of a command.
    pub(crate) arguments: Vec<u8>,
    /// What was set aside for it in the queue.
    bytes: usize,
}

impl Batches {
    /// How many bytes of the queue to the broker are for those that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a message that is made of these parts, for which so many bytes of the queue are set aside. Returns what is to be sent.
    pub(crate) fn add(&mut self, topic: &str, ticket: u64, parts: &[&[u8]], bytes: usize) -> Option<(Arc<str>, Batch)> {
        let name = match self.topics.get_key_value(topic) {
            Some((name, _)) => Arc::clone(name),
            None => Arc::from(topic),
        };
        let state = self.topics.entry(Arc::clone(&name)).or_default();
        write_argument(&mut state.waiting.arguments, parts);
        state.waiting.tickets.push(ticket);
        state.waiting.bytes += bytes;
        self.bytes += bytes;
        let is_full = state.waiting.tickets.len() >= MOST_MESSAGES || state.waiting.arguments.len() >= MOST_BYTES;
        if state.runs >= MOST_RUNS && !is_full {
            return None;
        }
        let batch = self.take(&name)?;
        Some((name, batch))
    }

    /// A run has its answer. Returns what is to be sent next.
    pub(crate) fn answered(&mut self, topic: &Arc<str>) -> Option<Batch> {
        let state = self.topics.get_mut(topic)?;
        state.runs = state.runs.saturating_sub(1);
        if !state.waiting.tickets.is_empty() {
            return self.take(topic);
        }
        if state.runs == 0 {
            self.topics.remove(topic);
        }
        None
    }

    fn take(&mut self, topic: &Arc<str>) -> Option<Batch> {
        let state = self.topics.get_mut(topic)?;
        state.runs += 1;
        let batch = std::mem::take(&mut state.waiting);
        self.bytes = self.bytes.saturating_sub(batch.bytes);
        Some(batch)
    }
}

/// How many runs of a topic are under way while others wait: the broker has the next one when it has answered one.
const MOST_RUNS: usize = 2;

/// A batch with as many messages, or bytes, is sent at once. Redis does nothing else while the script runs, half a millisecond then.
const MOST_MESSAGES: usize = 64;
const MOST_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn add(batches: &mut Batches, ticket: u64, bytes: usize) -> Option<Vec<u64>> {
        batches.add("t", ticket, &[&vec![b'x'; bytes]], bytes).map(|(_, batch)| batch.tickets)
    }

    #[test]
    fn what_comes_meanwhile_goes_together() {
        let mut batches = Batches::default();
        let topic: Arc<str> = "t".into();
        assert_eq!([add(&mut batches, 1, 1), add(&mut batches, 2, 1)], [Some(vec![1]), Some(vec![2])]);
        assert_eq!([add(&mut batches, 3, 1), add(&mut batches, 4, 1)], [None, None]);
        assert_eq!(batches.add("u", 5, &[b"x"], 1).map(|(_, batch)| batch.tickets), Some(vec![5]));
        assert_eq!(batches.bytes(), 2);
        let next = batches.answered(&topic).expect("a batch");
        assert_eq!((next.tickets, next.arguments), (vec![3, 4], b"$1\r\nx\r\n$1\r\nx\r\n".to_vec()));
        assert_eq!(batches.bytes(), 0);
        for name in ["t", "t", "u"] {
            assert!(batches.answered(&name.into()).is_none());
        }
        assert!(batches.topics.is_empty());
    }

    #[test]
    fn a_full_batch_does_not_wait() {
        let mut batches = Batches::default();
        for ticket in 0..2 {
            assert!(add(&mut batches, ticket, 1).is_some());
        }
        for ticket in 2..65 {
            assert_eq!(add(&mut batches, ticket, 1), None);
        }
        assert_eq!(add(&mut batches, 65, 1).map(|tickets| tickets.len()), Some(64));
        assert_eq!(add(&mut batches, 66, 1), None);
        assert_eq!(add(&mut batches, 67, MOST_BYTES), Some(vec![66, 67]));
        assert_eq!(batches.bytes(), 0);
    }
}
