//! Messages without history that wait for answers to PINGs, so that one message of NATS has many.
//!
//! A message costs the broker much the same whatever it has. So what is published to a topic while the broker has not answered goes
//! together. A message that finds few PINGs under way waits for nothing.

use std::collections::BTreeMap;

use sockeye_hub::backplane::{Publish, PublishError};

use crate::wire::{headers, several::Part};

#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// By topic, in an order that does not depend on the process.
    topics: BTreeMap<Box<str>, Batch>,
    bytes: usize,
    messages: usize,
}

/// Messages of a topic, in order.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) subject: String,
    pub(crate) tickets: Vec<u64>,
    /// Each as a [`Part`].
    pub(crate) parts: Vec<u8>,
    /// Of the queue to the broker.
    bytes: usize,
}

impl Waiting {
    pub(crate) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// How many bytes of the queue to the broker they are going to take at most. Short ones need more memory for their names.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn messages(&self) -> usize {
        self.messages
    }

    /// Adds a message. Returns what is to be sent now: as many bytes as `most` are not exceeded, unless by one message.
    pub(crate) fn add(
        &mut self,
        message: &Publish<'_>,
        most: usize,
        subject: impl FnOnce() -> Result<String, PublishError>,
    ) -> Result<[Option<Batch>; 2], PublishError> {
        let part = Part { kind: message.kind, key: message.key, payload: message.payload };
        let is_over = |batch: &Batch| batch.parts.len() + part.bytes() > most;
        let mut before =
            if self.topics.get(message.topic).is_some_and(is_over) { self.take(message.topic) } else { None };
        let batch = if let Some(batch) = self.topics.get_mut(message.topic) {
            batch
        } else {
            let subject = before.as_mut().map_or_else(subject, |batch| Ok(batch.subject.clone()))?;
            let bytes = LINE_BYTES + 2 * message.topic.len() + subject.len() + headers::BYTES_OF_SEVERAL;
            self.bytes += bytes;
            let batch = Batch { subject, tickets: Vec::new(), parts: Vec::new(), bytes };
            self.topics.entry(message.topic.into()).or_insert(batch)
        };
        part.write(&mut batch.parts);
        batch.tickets.push(message.ticket);
        let is_full = batch.tickets.len() >= MOST_MESSAGES || batch.parts.len() >= most;
        // If it goes alone it has other headers.
        let bytes = part.bytes().max(headers::bytes(part.kind, part.key) + part.payload.len());
        batch.bytes += bytes;
        self.bytes += bytes;
        self.messages += 1;
        Ok([before, if is_full { self.take(message.topic) } else { None }])
    }

    /// Takes all off.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Batch> + use<> {
        (self.bytes, self.messages) = (0, 0);
        std::mem::take(&mut self.topics).into_values()
    }

    fn take(&mut self, topic: &str) -> Option<Batch> {
        let batch = self.topics.remove(topic)?;
        self.bytes = self.bytes.saturating_sub(batch.bytes);
        self.messages = self.messages.saturating_sub(batch.tickets.len());
        Some(batch)
    }
}

/// As many are sent without waiting any more.
const MOST_MESSAGES: usize = 256;

/// A command with its numbers, but not its subject.
const LINE_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use sockeye::proto::wire::MessageKind;

    use super::*;

    fn add(waiting: &mut Waiting, topic: &str, ticket: u64, bytes: usize) -> Vec<Vec<u64>> {
        let payload = vec![b'x'; bytes];
        let message = Publish { ticket, topic, kind: MessageKind::Text, key: None, payload: &payload };
        let due = waiting.add(&message, 100, || Ok(format!("s.{topic}"))).expect("a name");
        due.into_iter().flatten().map(|batch| batch.tickets).collect()
    }

    const NOTHING: Vec<Vec<u64>> = Vec::new();

    #[test]
    fn a_full_batch_does_not_wait() {
        let mut waiting = Waiting::default();
        assert_eq!([add(&mut waiting, "t", 1, 1), add(&mut waiting, "t", 2, 1)], [NOTHING, NOTHING]);
        let around = LINE_BYTES + 2 + "s.t".len() + headers::BYTES_OF_SEVERAL;
        assert_eq!((waiting.bytes(), waiting.messages()), (around + 20, 2));
        assert_eq!(add(&mut waiting, "t", 3, 71), [[1, 2, 3]], "as long as it may be");
        assert_eq!(add(&mut waiting, "t", 4, 1), NOTHING);
        assert_eq!(add(&mut waiting, "t", 5, 90), [[4]], "one that has no room goes behind it");
        assert_eq!(add(&mut waiting, "t", 6, 200), [[5], [6]], "one that is longer is alone");
        assert_eq!(add(&mut waiting, "u", 7, 200), [[7]]);
        assert!(waiting.is_empty());
        assert_eq!((waiting.bytes(), waiting.messages()), (0, 0));
    }

    #[test]
    fn all_are_taken_topic_by_topic() {
        let mut waiting = Waiting::default();
        for (ticket, topic) in [(1, "b"), (2, "a"), (3, "b")] {
            assert_eq!(add(&mut waiting, topic, ticket, 1), NOTHING);
        }
        let all: Vec<_> = waiting.take_all().map(|batch| (batch.subject, batch.tickets)).collect();
        assert_eq!(all, [("s.a".to_owned(), vec![2]), ("s.b".to_owned(), vec![1, 3])]);
        assert_eq!((waiting.bytes(), waiting.messages(), waiting.is_empty()), (0, 0, true));
    }

    #[test]
    fn a_name_that_is_refused_leaves_nothing() {
        let mut waiting = Waiting::default();
        let message = Publish { ticket: 1, topic: "t", kind: MessageKind::Text, key: None, payload: b"x" };
        assert!(waiting.add(&message, 100, || Err(PublishError::Name)).is_err());
        assert!(waiting.is_empty());
    }
}
