//! What was published and what was seen, and whether the one agrees with the other.

use std::collections::HashMap;

use sockeye_hub::client::Bookmark;

/// Topics; the number of a message says which is its.
pub(crate) const TOPICS: usize = 2;

pub(crate) fn topic_name(topic: usize) -> String {
    format!("topic {topic}")
}

/// A message: the `number`th of this publisher.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Name {
    pub(crate) publisher: usize,
    pub(crate) number: usize,
}

impl Name {
    pub(crate) fn topic(self) -> usize {
        self.number % TOPICS
    }

    /// Half of them are bytes, the others text.
    pub(crate) fn is_binary(self) -> bool {
        self.number / TOPICS % 2 == 1
    }

    pub(crate) fn text(self) -> String {
        format!("{} {}", self.publisher, self.number)
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (publisher, number) = text.split_once(' ')?;
        Some(Self { publisher: publisher.parse().ok()?, number: number.parse().ok()? })
    }
}

/// A place within an epoch; epochs are numbered as they are met.
type Place = (usize, u64);

/// What a publisher was told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    Sent,
    Acknowledged(Option<Place>),
    /// Unknown or refused.
    Other,
}

struct Sent {
    fate: Fate,
    /// Messages of one connection stay in order.
    connection: u32,
}

/// Something may be missing behind `after`, up to `until`.
#[derive(Clone, Copy)]
struct Gap {
    after: Place,
    until: Place,
}

impl Gap {
    fn covers(self, (epoch, offset): Place) -> bool {
        let is_one = self.after.0 == self.until.0;
        let is_behind = epoch == self.after.0 && offset > self.after.1;
        let is_before = epoch == self.until.0 && offset <= self.until.1;
        // Between two epochs there may have been others.
        if is_one {
            is_behind && is_before
        } else {
            is_behind || is_before || ![self.after.0, self.until.0].contains(&epoch)
        }
    }
}

/// One subscriber's side of one topic.
#[derive(Default)]
struct Log {
    /// In the order of arrival. `None` is a gap.
    entries: Vec<Option<(u32, u32)>>,
    gaps: Vec<Gap>,
    at: Option<Place>,
    /// The greatest number of each publisher.
    heard: Vec<Option<usize>>,
}

#[derive(Default)]
struct Subscriber {
    logs: [Log; TOPICS],
    /// Of each publisher, by number.
    seen: Vec<Vec<bool>>,
}

/// Each member is a publisher and a subscriber.
pub(crate) struct Ledger {
    /// Whether the broker numbers the messages.
    keeps_history: bool,
    epochs: HashMap<String, usize>,
    /// What is where, as all have to see it.
    places: [HashMap<Place, Name>; TOPICS],
    published: Vec<Vec<Sent>>,
    subscribers: Vec<Subscriber>,
    pub(crate) counts: Counts,
}

/// How far something is that is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    pub(crate) done: u64,
    pub(crate) of: u64,
}

impl Progress {
    pub(crate) fn new(done: u64, of: u64) -> Self {
        Self { done: done.min(of), of }
    }

    /// How many of these are so.
    pub(crate) fn count(all: impl IntoIterator<Item = bool>) -> Self {
        let (mut done, mut of) = (0, 0);
        for is_so in all {
            (done, of) = (done + u64::from(is_so), of + 1);
        }
        Self { done, of }
    }

    /// Both.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { done: self.done + other.done, of: self.of + other.of }
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) acknowledged: u64,
    pub(crate) other: u64,
    pub(crate) seen: u64,
    pub(crate) gaps: u64,
    /// Acknowledged, and not seen by a subscriber, which was told of a gap there.
    pub(crate) within_gaps: u64,
}

impl Ledger {
    pub(crate) fn new(members: usize, keeps_history: bool) -> Self {
        let subscriber = || {
            let mut subscriber = Subscriber { seen: vec![Vec::new(); members], ..Subscriber::default() };
            subscriber.logs.iter_mut().for_each(|log| log.heard = vec![None; members]);
            subscriber
        };
        Self {
            keeps_history,
            epochs: HashMap::new(),
            places: Default::default(),
            published: (0..members).map(|_| Vec::new()).collect(),
            subscribers: (0..members).map(|_| subscriber()).collect(),
            counts: Counts::default(),
        }
    }

    fn place(&mut self, at: &Bookmark) -> Place {
        let next = self.epochs.len();
        let epoch = match self.epochs.get(at.epoch()) {
            Some(epoch) => *epoch,
            None => *self.epochs.entry(at.epoch().to_owned()).or_insert(next),
        };
        (epoch, at.offset())
    }

    /// How many messages each has published.
    pub(crate) fn marks(&self) -> Vec<usize> {
        self.published.iter().map(Vec::len).collect()
    }

    pub(crate) fn next(&self, publisher: usize) -> Name {
        Name { publisher, number: self.published[publisher].len() }
    }

    pub(crate) fn sent(&mut self, name: Name, connection: u32) {
        assert_eq!(name, self.next(name.publisher));
        self.published[name.publisher].push(Sent { fate: Fate::Sent, connection });
    }

    pub(crate) fn acknowledged(&mut self, name: Name, at: Option<&Bookmark>) {
        let place = at.map(|at| self.place(at));
        assert!(place.is_some() || !self.keeps_history, "{name:?} was acknowledged without its place");
        self.end(name, Fate::Acknowledged(place));
        self.counts.acknowledged += 1;
        if let Some(place) = place {
            self.settle(name, place);
        }
    }

    pub(crate) fn not_acknowledged(&mut self, name: Name) {
        self.end(name, Fate::Other);
        self.counts.other += 1;
    }

    fn end(&mut self, name: Name, fate: Fate) {
        let sent = &mut self.published[name.publisher][name.number];
        assert_eq!(sent.fate, Fate::Sent, "{name:?} was answered twice");
        sent.fate = fate;
    }

    fn settle(&mut self, name: Name, place: Place) {
        let there = *self.places[name.topic()].entry(place).or_insert(name);
        assert_eq!(there, name, "two messages of {} are at {place:?}", topic_name(name.topic()));
    }

    pub(crate) fn subscribed(&mut self, subscriber: usize, topic: usize, at: &Bookmark) {
        let place = self.place(at);
        self.subscribers[subscriber].logs[topic].at.get_or_insert(place);
    }

    pub(crate) fn saw(&mut self, subscriber: usize, topic: usize, name: Name, at: &Bookmark) {
        let place = self.place(at);
        assert_eq!(name.topic(), topic, "{name:?} is in another topic");
        let sent = self.published[name.publisher].len();
        assert!(name.number < sent, "{name:?} was never published");
        self.settle(name, place);
        let Subscriber { logs, seen } = &mut self.subscribers[subscriber];
        let seen = &mut seen[name.publisher];
        seen.resize(sent.max(seen.len()), false);
        assert!(!std::mem::replace(&mut seen[name.number], true), "subscriber {subscriber} saw {name:?} twice");
        let log = &mut logs[topic];
        let before = log.at.expect("a message before the answer to the subscription");
        assert!(before.0 == place.0, "subscriber {subscriber} is in another epoch without a gap");
        assert!(before.1 < place.1, "subscriber {subscriber} saw {name:?} at {place:?} behind {before:?}");
        log.at = Some(place);
        log.entries.push(Some((name.publisher as u32, name.number as u32)));
        let heard = &mut log.heard[name.publisher];
        *heard = (*heard).max(Some(name.number));
        self.counts.seen += 1;
    }

    pub(crate) fn gap(&mut self, subscriber: usize, topic: usize, after: &Bookmark, until: &Bookmark) {
        let (after, until) = (self.place(after), self.place(until));
        let log = &mut self.subscribers[subscriber].logs[topic];
        let at = log.at.expect("a gap before the answer to the subscription");
        assert_eq!(at.0, after.0, "the gap begins in another epoch");
        log.at = Some(if after.0 == until.0 { until.max(at) } else { until });
        log.entries.push(None);
        log.gaps.push(Gap { after, until });
        self.counts.gaps += 1;
    }

    /// Of how many publishers the subscribers have seen, in each topic, a message beyond its first `marks`; and how many there are.
    pub(crate) fn heard(&self, marks: &[usize]) -> Progress {
        let heard = self.subscribers.iter().flat_map(|subscriber| &subscriber.logs).map(|log| &log.heard);
        let pairs = heard.flat_map(|heard| heard.iter().zip(marks));
        Progress::count(pairs.map(|(heard, mark)| heard.is_some_and(|heard| heard >= *mark)))
    }

    /// Of how many publishers the subscribers have all that has to come, when all has been answered.
    pub(crate) fn complete(&self) -> Progress {
        let last = |publisher: usize, topic: usize| {
            let sent = self.published[publisher].iter().enumerate().rev();
            let mut own = sent.filter(|(number, _)| Name { publisher, number: *number }.topic() == topic);
            own.find(|(_, sent)| matches!(sent.fate, Fate::Acknowledged(_))).map(|(number, _)| number)
        };
        let streams = (0..self.published.len()).flat_map(|publisher| (0..TOPICS).map(move |topic| (publisher, topic)));
        Progress::count(streams.flat_map(|(publisher, topic)| {
            let last = last(publisher, topic);
            self.subscribers.iter().map(move |subscriber| subscriber.logs[topic].heard[publisher] >= last)
        }))
    }

    /// Each acknowledged message was seen by each subscriber, or lies within a gap.
    pub(crate) fn check(&mut self) {
        for subscriber in 0..self.subscribers.len() {
            for topic in 0..TOPICS {
                let missing = self.missing(subscriber, topic);
                self.counts.within_gaps += missing.len() as u64;
                let log = &self.subscribers[subscriber].logs[topic];
                if self.keeps_history {
                    for (name, place) in missing {
                        let place = place.expect("a place, which was checked");
                        let is_covered = log.gaps.iter().any(|gap| gap.covers(place));
                        assert!(
                            is_covered,
                            "subscriber {subscriber} lacks {name:?} at {place:?}, and no gap covers it"
                        );
                    }
                } else {
                    let missing: Vec<Name> = missing.into_iter().map(|(name, _)| name).collect();
                    check_between(subscriber, log, &missing);
                }
                self.check_order(subscriber, topic);
            }
        }
    }

    /// What was acknowledged and not seen, by publisher and number.
    fn missing(&self, subscriber: usize, topic: usize) -> Vec<(Name, Option<Place>)> {
        let seen = &self.subscribers[subscriber].seen;
        let mut missing = Vec::new();
        for (publisher, sent) in self.published.iter().enumerate() {
            for (number, Sent { fate, .. }) in sent.iter().enumerate() {
                let name = Name { publisher, number };
                let is_seen = seen[publisher].get(number).is_some_and(|seen| *seen);
                if let Fate::Acknowledged(place) = fate
                    && name.topic() == topic
                    && !is_seen
                {
                    missing.push((name, *place));
                }
            }
        }
        missing
    }

    /// What one publisher sent on one connection arrives in that order.
    fn check_order(&self, subscriber: usize, topic: usize) {
        let mut last = vec![0; self.published.len()];
        for (publisher, number) in self.subscribers[subscriber].logs[topic].entries.iter().flatten() {
            let (publisher, number) = (*publisher as usize, *number as usize);
            let before = std::mem::replace(&mut last[publisher], number);
            let connection = |number: usize| self.published[publisher][number].connection;
            assert!(
                before <= number || connection(before) != connection(number),
                "subscriber {subscriber} saw {number} of publisher {publisher} behind {before}, of the same connection"
            );
        }
    }
}

/// Where each server numbers the messages itself, those of another have no offset here. But a publisher's messages are in order: a
/// gap was told of between those that were seen before and behind a missing one.
fn check_between(subscriber: usize, log: &Log, missing: &[Name]) {
    // How many gaps there were before each message that was seen.
    let mut gaps = 0;
    let mut seen: HashMap<usize, Vec<(usize, usize)>> = HashMap::new();
    for entry in &log.entries {
        match entry {
            None => gaps += 1,
            Some((publisher, number)) => seen.entry(*publisher as usize).or_default().push((*number as usize, gaps)),
        }
    }
    seen.values_mut().for_each(|seen| seen.sort_unstable());
    for name in missing {
        let seen = seen.get(&name.publisher).map(Vec::as_slice).unwrap_or_default();
        let at = seen.partition_point(|(number, _)| *number < name.number);
        let before = at.checked_sub(1).map_or(0, |before| seen[before].1);
        let behind = seen.get(at).map_or(gaps, |(_, gaps)| *gaps);
        assert!(before < behind, "subscriber {subscriber} lacks {name:?}, and there is no gap where it should be");
    }
}

#[test]
fn what_is_missing_is_found() {
    let at = |offset| Bookmark::new("e", offset).expect("a place");
    let with = |gap: bool| {
        let mut ledger = Ledger::new(1, true);
        ledger.subscribed(0, 0, &at(0));
        ledger.subscribed(0, 1, &at(0));
        for number in 0..6 {
            let name = ledger.next(0);
            ledger.sent(name, 0);
            ledger.acknowledged(name, Some(&at(number / 2 + 1)));
            // The second of the first topic is lost.
            if number == 2 && gap {
                ledger.gap(0, 0, &at(1), &at(2));
            }
            if number != 2 {
                ledger.saw(0, name.topic(), name, &at(number / 2 + 1));
            }
        }
        ledger
    };
    for keeps_history in [true, false] {
        let mut fine = Ledger { keeps_history, ..with(true) };
        fine.check();
        assert_eq!(fine.counts.within_gaps, 1);
        let mut lost = Ledger { keeps_history, ..with(false) };
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| lost.check())).is_err());
    }
}
