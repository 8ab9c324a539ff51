//! What was published and has no answer yet.
//!
//! Without history the broker confirms nothing by itself: a PONG says that all before its PING was taken, and an error for each message that was not
//! comes before it. An error names a subject, not a message. So it counts once the PONG is there: if as many messages of the subject were refused
//! as are open, it was all of them. If not, the rights have changed in between, and which ones were taken cannot be known.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};

use sockeye_hub::backplane::BrokerError;

#[derive(Debug, Default)]
pub(crate) struct Publishes {
    /// By the number of what was sent.
    open: BTreeMap<u64, Open>,
    /// How many messages these are.
    messages: usize,
    /// Errors by subject, with the text of one.
    violations: HashMap<u64, (usize, String)>,
    hasher: RandomState,
}

/// What one message of NATS has.
#[derive(Debug)]
struct Open {
    ticket: u64,
    /// Those of the messages behind it, if it has several.
    more: Vec<u64>,
    /// A hash of the subject, which costs less than a copy.
    subject: u64,
}

/// What became of messages.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) taken: Vec<u64>,
    pub(crate) refused: Vec<(u64, String)>,
}

impl Publishes {
    /// Whether no more may be open, with so many that are about to be.
    pub(crate) fn is_full(&self, waiting: usize) -> bool {
        self.messages + waiting >= MAX_OPEN
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(crate) fn oldest(&self) -> Option<u64> {
        self.open.first_key_value().map(|(number, _)| *number)
    }

    /// One message of NATS with this number, which has the messages with these tickets.
    pub(crate) fn add(&mut self, number: u64, ticket: u64, more: Vec<u64>, subject: &str) {
        let subject = self.hasher.hash_one(subject);
        self.messages += 1 + more.len();
        self.open.insert(number, Open { ticket, more, subject });
    }

    /// The ticket of a message that has its own answer.
    pub(crate) fn answered(&mut self, number: u64) -> Option<u64> {
        self.remove(number).map(|open| open.ticket)
    }

    pub(crate) fn violation(&mut self, subject: &str, text: String) {
        let subject = self.hasher.hash_one(subject);
        // More subjects than messages: one of them was not ours, and the PONG will say so.
        if self.violations.len() <= self.open.len() {
            self.violations.entry(subject).or_insert((0, text)).0 += 1;
        }
    }

    /// All that was sent up to `number` has been looked at by the broker. With `is_taken` that is the confirmation.
    pub(crate) fn reached(&mut self, number: u64, is_taken: bool) -> Result<Outcome, BrokerError> {
        let mut outcome = Outcome::default();
        if !self.violations.is_empty() {
            let mut counts: HashMap<u64, usize> = HashMap::new();
            for open in self.open.range(..=number).map(|(_, open)| open) {
                *counts.entry(open.subject).or_default() += 1;
            }
            let violations = std::mem::take(&mut self.violations);
            for (subject, (count, text)) in &violations {
                if counts.get(subject) != Some(count) {
                    return Err(BrokerError::Refused(format!(
                        "{text} (and which messages that concerns cannot be told)"
                    )));
                }
            }
            let refused = self.open.range(..=number).filter(|(_, open)| violations.contains_key(&open.subject));
            for number in refused.map(|(number, _)| *number).collect::<Vec<_>>() {
                let Some(open) = self.remove(number) else { continue };
                let text = violations.get(&open.subject).map_or_else(String::new, |(_, text)| text.clone());
                outcome.refused.extend(open.tickets().map(|ticket| (ticket, text.clone())));
            }
        }
        if is_taken {
            let later = self.open.split_off(&number.saturating_add(1));
            for open in std::mem::replace(&mut self.open, later).into_values() {
                outcome.taken.extend(open.tickets());
            }
            self.messages = self.messages.saturating_sub(outcome.taken.len());
        }
        Ok(outcome)
    }

    fn remove(&mut self, number: u64) -> Option<Open> {
        let open = self.open.remove(&number)?;
        self.messages = self.messages.saturating_sub(open.tickets().count());
        Some(open)
    }
}

impl Open {
    fn tickets(&self) -> impl Iterator<Item = u64> {
        std::iter::once(self.ticket).chain(self.more.iter().copied())
    }
}

/// More are not open at once: a broker that takes all and confirms nothing costs no more memory.
const MAX_OPEN: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pong_confirms_what_was_sent_before() {
        let mut publishes = Publishes::default();
        for number in 1..=5 {
            publishes.add(number, number * 10, vec![number * 10 + 1], "a");
        }
        let outcome = publishes.reached(3, true).unwrap();
        assert_eq!((outcome.taken, outcome.refused), (vec![10, 11, 20, 21, 30, 31], vec![]));
        assert_eq!(publishes.oldest(), Some(4));
    }

    #[test]
    fn errors_refuse_all_of_a_subject() {
        let mut publishes = Publishes::default();
        for (number, subject) in [(1, "a"), (2, "b"), (3, "a"), (4, "a")] {
            publishes.add(number, number, Vec::new(), subject);
        }
        publishes.violation("a", "no".to_owned());
        publishes.violation("a", "no".to_owned());
        let outcome = publishes.reached(3, true).unwrap();
        assert_eq!(outcome.taken, [2]);
        assert_eq!(outcome.refused, [(1, "no".to_owned()), (3, "no".to_owned())]);
        assert_eq!(publishes.reached(4, true).unwrap().taken, [4]);
    }

    #[test]
    fn errors_that_fit_no_messages_end_the_connection() {
        for (count, subject) in [(1, "a"), (3, "a"), (1, "c")] {
            let mut publishes = Publishes::default();
            publishes.add(1, 1, Vec::new(), "a");
            publishes.add(2, 2, Vec::new(), "a");
            for _ in 0..count {
                publishes.violation(subject, "no".to_owned());
            }
            assert!(matches!(publishes.reached(2, true), Err(BrokerError::Refused(_))), "{count} {subject}");
        }
    }
}
