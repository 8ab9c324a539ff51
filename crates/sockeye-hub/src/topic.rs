//! One topic of a hub: where it is, and what it keeps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::backplane::Position;
use crate::history::History;
use crate::outlet::Place;
use crate::wire::reply::Frame;
use crate::wire::request::Begin;

/// What is known of the topic at the broker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum AtBroker {
    /// It was not subscribed to.
    Unasked,
    /// The subscription is on its way, and subscribers wait for it.
    Asked,
    /// All that is published there arrives.
    Current,
    /// It was current, or subscribers went on without the broker: something may be missed.
    Stale,
    /// It is being subscribed to again.
    AskedAgain,
}

pub(crate) struct Topic {
    pub(crate) name: Arc<str>,
    /// What it is called in the loop.
    pub(crate) data: Arc<str>,
    /// And the topic of its presence there.
    pub(crate) presence: Arc<str>,
    /// That of the last message.
    pub(crate) at: Position,
    /// What follows this offset, and is in the same epoch, is kept without a hole.
    base: u64,
    kept: VecDeque<Entry>,
    bytes: usize,
    /// Of all threads.
    pub(crate) subscribers: usize,
    pub(crate) watchers: usize,
    pub(crate) joined: u64,
    pub(crate) left: u64,
    /// A message about presence is about to be sent.
    pub(crate) is_due: bool,
    pub(crate) broker: AtBroker,
    /// How often the broker has refused it, since it last did not.
    pub(crate) refusals: u64,
    pub(crate) waiting: BTreeSet<Place>,
    /// Whose subscription in the loop is on its way, with its serial number.
    pub(crate) joining: BTreeMap<Place, u64>,
    /// Subscribers miss something and could not be told.
    pub(crate) has_hole: bool,
    /// When its history was added to, on the hub's own count.
    pub(crate) published: Option<u64>,
    /// Since when it has no subscribers.
    pub(crate) idle: Option<(u64, Duration)>,
}

struct Entry {
    offset: u64,
    frame: Frame,
    at: Duration,
}

/// What an entry takes beside its frame.
const ENTRY: usize = 64;

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Start {
    pub(crate) at: Position,
    pub(crate) recovered: Option<bool>,
}

/// What follows a position.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Next {
    /// What was between is not there any more. It goes on behind this position.
    Gap(Position),
    /// In order, with the offset of the last.
    Frames(Vec<Frame>, u64),
    /// Nothing.
    Current,
}

impl Topic {
    pub(crate) fn new(name: &str, epoch: u64) -> Self {
        Self {
            name: name.into(),
            data: format!("t{name}").into(),
            presence: format!("p{name}").into(),
            at: Position { epoch, offset: 0 },
            base: 0,
            kept: VecDeque::new(),
            bytes: 0,
            subscribers: 0,
            watchers: 0,
            joined: 0,
            left: 0,
            is_due: false,
            broker: AtBroker::Unasked,
            refusals: 0,
            waiting: BTreeSet::new(),
            joining: BTreeMap::new(),
            has_hole: false,
            published: None,
            idle: None,
        }
    }

    /// What its history takes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn keeps_something(&self) -> bool {
        !self.kept.is_empty()
    }

    /// Adds the next message, and lets go of what is beyond the bounds.
    pub(crate) fn append(&mut self, offset: u64, frame: Frame, now: Duration, bounds: History) {
        self.at.offset = offset;
        self.bytes += frame.len() + ENTRY;
        self.kept.push_back(Entry { offset, frame, at: now });
        self.trim(now, bounds);
    }

    /// Lets go of what is beyond the bounds.
    pub(crate) fn trim(&mut self, now: Duration, bounds: History) {
        let is_old = |entry: &Entry| bounds.age().is_some_and(|age| now.saturating_sub(entry.at) > age);
        while self.kept.len() > bounds.messages()
            || self.bytes > bounds.bytes()
            || self.kept.front().is_some_and(is_old)
        {
            let Some(entry) = self.kept.pop_front() else { break };
            self.bytes -= entry.frame.len() + ENTRY;
            self.base = entry.offset;
        }
    }

    /// Forgets what it keeps: what came before the present position cannot be had any more.
    pub(crate) fn forget(&mut self) {
        self.forget_until(self.at);
    }

    /// Goes on at another position, and forgets what came before.
    pub(crate) fn forget_until(&mut self, position: Position) {
        self.kept.clear();
        self.kept.shrink_to_fit();
        self.bytes = 0;
        self.at = position;
        self.base = position.offset;
    }

    /// Where a subscription begins that asks for `begin`. A broker that keeps messages may have told a client more than this server knows yet.
    pub(crate) fn start(&self, begin: Begin, is_kept_at_broker: bool) -> Start {
        let at = |offset| Position { epoch: self.at.epoch, offset };
        let from_last = || {
            let last = usize::try_from(begin.last).unwrap_or(usize::MAX).min(self.kept.len());
            let before = self.kept.len() - last;
            match before.checked_sub(1).and_then(|index| self.kept.get(index)) {
                Some(entry) => entry.offset,
                None if last > 0 => self.base,
                None => self.at.offset,
            }
        };
        let Some(since) = begin.since else { return Start { at: at(from_last()), recovered: None } };
        let is_ahead = since.offset > self.at.offset;
        if since.epoch != Some(self.at.epoch) || (is_ahead && !is_kept_at_broker) {
            return Start { at: at(from_last()), recovered: Some(false) };
        }
        let is_whole = since.offset >= self.base;
        Start { at: at(since.offset.max(self.base)), recovered: Some(is_whole) }
    }

    /// What follows `position`, up to `most` bytes, but one message at least.
    pub(crate) fn next(&self, position: Position, most: usize) -> Next {
        let epoch = self.at.epoch;
        if position.epoch != epoch || position.offset < self.base {
            return Next::Gap(Position { epoch, offset: self.base });
        }
        let first = self.kept.partition_point(|entry| entry.offset <= position.offset);
        let (mut frames, mut bytes, mut last) = (Vec::new(), 0, position.offset);
        for entry in self.kept.iter().skip(first) {
            bytes += entry.frame.len();
            if bytes > most && !frames.is_empty() {
                break;
            }
            frames.push(entry.frame.clone());
            last = entry.offset;
        }
        if frames.is_empty() { Next::Current } else { Next::Frames(frames, last) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::request::Since;

    fn frame(bytes: usize) -> Frame {
        Frame::Text("x".repeat(bytes).into())
    }

    fn topic(messages: u64, kept: usize) -> Topic {
        let mut topic = Topic::new("t", 7);
        for offset in 1..=messages {
            topic.append(offset, frame(10), Duration::ZERO, History::of_messages(kept));
        }
        topic
    }

    fn since(epoch: u64, offset: u64) -> Begin {
        Begin { since: Some(Since { epoch: Some(epoch), offset }), last: 0 }
    }

    fn start(topic: &Topic, begin: Begin) -> (u64, Option<bool>) {
        let start = topic.start(begin, false);
        (start.at.offset, start.recovered)
    }

    #[test]
    fn the_start_is_behind_what_the_client_saw_or_a_gap() {
        let topic = topic(10, 4); // 7, 8, 9, 10
        assert_eq!(start(&topic, Begin::default()), (10, None));
        assert_eq!(start(&topic, Begin { since: None, last: 2 }), (8, None));
        assert_eq!(start(&topic, Begin { since: None, last: u64::MAX }), (6, None));
        for offset in 6..=10 {
            assert_eq!(start(&topic, since(7, offset)), (offset, Some(true)));
        }
        for offset in 0..6 {
            assert_eq!(start(&topic, since(7, offset)), (6, Some(false)));
        }
        assert_eq!(start(&topic, since(7, 11)), (10, Some(false)), "it is ahead");
        assert_eq!(start(&topic, since(8, 9)), (10, Some(false)), "another epoch");
        assert_eq!(start(&topic, Begin { last: 1, ..since(8, 9) }), (9, Some(false)));
        let ahead = topic.start(since(7, 11), true);
        assert_eq!((ahead.at.offset, ahead.recovered), (11, Some(true)), "what follows is behind it");
        assert_eq!(topic.next(ahead.at, 100), Next::Current);
        let none = Topic::new("t", 7);
        assert_eq!(start(&none, Begin { since: None, last: 5 }), (0, None));
        assert_eq!(start(&none, since(7, 0)), (0, Some(true)));
    }

    #[test]
    fn what_follows_a_position_is_in_order_or_a_gap() {
        let topic = topic(10, 4);
        let at = |offset| Position { epoch: 7, offset };
        assert_eq!(topic.next(at(10), 100), Next::Current);
        assert_eq!(topic.next(at(7), 100), Next::Frames(vec![frame(10); 3], 10));
        assert_eq!(topic.next(at(6), 0), Next::Frames(vec![frame(10)], 7), "one at least");
        assert_eq!(topic.next(at(6), 25), Next::Frames(vec![frame(10); 2], 8));
        assert_eq!(topic.next(at(5), 100), Next::Gap(at(6)));
        assert_eq!(topic.next(Position { epoch: 8, offset: 8 }, 100), Next::Gap(at(6)));
    }

    #[test]
    fn a_history_is_bounded_by_messages_bytes_and_age() {
        let bounds = History::of_messages(100).with_bytes(3 * (10 + ENTRY)).with_age(Duration::from_secs(5));
        let mut topic = Topic::new("t", 7);
        for offset in 1..=5 {
            topic.append(offset, frame(10), Duration::from_secs(offset), bounds);
        }
        assert_eq!((topic.kept.len(), topic.bytes(), topic.base), (3, 3 * (10 + ENTRY), 2));
        topic.append(6, frame(1000), Duration::from_secs(6), bounds);
        assert_eq!((topic.kept.len(), topic.bytes(), topic.base), (0, 0, 6), "longer than all that may be kept");
        topic.append(7, frame(1), Duration::from_secs(7), bounds);
        topic.trim(Duration::from_secs(12), bounds);
        assert_eq!(topic.kept.len(), 1);
        topic.trim(Duration::from_secs(13), bounds);
        assert_eq!((topic.kept.len(), topic.base, topic.at.offset), (0, 7, 7));
    }
}
