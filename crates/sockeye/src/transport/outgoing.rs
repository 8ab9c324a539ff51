//! Messages that wait for the next flush: published ones, for all connections of an endpoint, and pushed ones, for one of them.
//!
//! The loop flushes at the end of a turn, so that one send for each connection carries all of it. What a connection sends
//! before that, in its own step, goes behind what waits for it: then it is *caught up*, and the flush sends the rest.

use std::cell::{Cell, Ref, RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use sockeye_proto::wire::MessageKind;

use crate::id::ConnId;
use crate::transport::audiences::{Audience, Audiences};
use crate::transport::batch::{Batch, Frames};
use crate::transport::topics::{SlowReaders, Topics};

/// The messages that wait, for the loop and for the callbacks that it calls: who sends looks here first.
pub(crate) struct Outgoing {
    /// Whether anything waits, [for the next flush](FOR_FLUSH) or [for a slow subscriber](FOR_SLOW): one value, since it is looked
    /// at before each message.
    any: Cell<u8>,
    /// What waited is being sent: some of it may still be here.
    is_flushing: Cell<bool>,
    endpoints: RefCell<Vec<Waiting>>,
    topics: RefCell<Topics>,
    slow: RefCell<SlowReaders>,
    /// The most bytes that may wait for one connection.
    pub(crate) hard: usize,
}

const FOR_FLUSH: u8 = 1;
const FOR_SLOW: u8 = 2;

/// What waits for the connections of one endpoint.
#[derive(Default)]
pub(crate) struct Waiting {
    /// For all of them, or for the subscribers of topics.
    pub(crate) published: Batch,
    /// For whom the messages are, if any is for the subscribers of a topic.
    audiences: Audiences,
    /// Connections that were caught up, or that a message was pushed to, by id.
    apart: BTreeMap<u64, Apart>,
    /// The bytes that were pushed.
    pushed_bytes: usize,
}

/// What differs at one connection.
#[derive(Default)]
pub(crate) struct Apart {
    /// How many of the published messages it was sent already.
    taken: usize,
    /// Messages for it alone.
    pushed: Batch,
    /// For each of them, how many published messages come before it.
    behind: Vec<usize>,
    /// Messages of its topics that are not for it: it subscribed later, or they wait with what it has not read yet.
    skipped: BTreeSet<usize>,
    /// Messages of topics that it has left since.
    owed: BTreeSet<usize>,
    /// Which of the published messages are for it, in order; `None`: all that were not taken.
    only: Option<Vec<usize>>,
}

/// Consecutive messages of a batch.
pub(crate) struct Run<'a> {
    frames: Frames<'a>,
    messages: Range<usize>,
}

impl<'a> Run<'a> {
    /// The messages from the one with the number `first` on.
    pub(crate) fn rest(frames: Frames<'a>, first: usize) -> Self {
        Self { frames, messages: first..frames.len() }
    }

    /// The messages, for a client, which masks each.
    pub(crate) fn messages(&self) -> impl Iterator<Item = (MessageKind, &'a [u8])> {
        self.frames.messages(self.messages.clone())
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    /// A server's frames of them.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.frames.bytes(self.messages.clone())
    }
}

impl Outgoing {
    pub(crate) fn new(endpoints: usize, hard: usize) -> Self {
        let endpoints = (0..endpoints).map(|_| Waiting::default()).collect();
        Self {
            any: Cell::new(0),
            is_flushing: Cell::new(false),
            endpoints: RefCell::new(endpoints),
            topics: RefCell::default(),
            slow: RefCell::default(),
            hard,
        }
    }

    fn set_any(&self, bit: u8, on: bool) {
        let others = self.any.get() & !bit;
        self.any.set(if on { others | bit } else { others });
    }

    #[inline]
    fn has_slow(&self) -> bool {
        self.any.get() & FOR_SLOW != 0
    }

    /// Whether nothing waits for the next flush.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.any.get() & FOR_FLUSH == 0
    }

    /// Whether anything waits, for the next flush or for a slow reader.
    #[inline]
    pub(crate) fn has_any(&self) -> bool {
        self.any.get() != 0
    }

    /// The number of endpoints.
    pub(crate) fn endpoints(&self) -> u16 {
        self.endpoints.borrow().len() as u16
    }

    fn with<R>(&self, endpoint: u16, call: impl FnOnce(&mut Waiting) -> R) -> Option<R> {
        self.endpoints.borrow_mut().get_mut(usize::from(endpoint)).map(call)
    }

    pub(crate) fn publish(&self, endpoint: u16, kind: MessageKind, payload: &[u8]) {
        self.set_any(FOR_FLUSH, true);
        self.with(endpoint, |waiting| {
            if waiting.add(kind, payload) && !waiting.audiences.is_empty() {
                waiting.audiences.all.push(waiting.audiences.count);
                waiting.audiences.count += 1;
            }
        });
    }

    /// Publishes a message to the subscribers of a topic, except those in `apart`. Returns false when there is no memory for it.
    pub(crate) fn publish_to(
        &self,
        endpoint: u16,
        topic: u32,
        kind: MessageKind,
        payload: &[u8],
        except: Option<ConnId>,
        apart: &[ConnId],
    ) -> bool {
        self.set_any(FOR_FLUSH, true);
        self.with(endpoint, |waiting| {
            let number = waiting.published.len();
            if !waiting.add(kind, payload) {
                return false;
            }
            let audiences = &mut waiting.audiences;
            if audiences.is_empty() {
                audiences.all = (0..number).collect();
            }
            audiences.topics.entry(topic).or_default().push(number);
            audiences.count = number + 1;
            if let Some(except) = except {
                audiences.excepted.insert(number, except.as_u64());
            }
            for id in apart {
                waiting.apart.entry(id.as_u64()).or_default().skipped.insert(number);
            }
            true
        })
        .unwrap_or(false)
    }

    /// The topics.
    pub(crate) fn topics(&self) -> Ref<'_, Topics> {
        self.topics.borrow()
    }

    /// What waits for slow subscribers, for changes.
    pub(crate) fn change_slow<R>(&self, change: impl FnOnce(&mut SlowReaders) -> R) -> R {
        let mut slow = self.slow.borrow_mut();
        let result = change(&mut slow);
        self.set_any(FOR_SLOW, !slow.is_empty());
        result
    }

    /// Whether messages of topics wait for a connection.
    #[inline]
    pub(crate) fn is_slow(&self, id: ConnId) -> bool {
        self.has_slow() && self.slow.borrow().has(id)
    }

    /// How many bytes of these, and of what is behind them.
    #[inline]
    pub(crate) fn slow_bytes(&self, id: ConnId) -> usize {
        if self.has_slow() { self.slow.borrow().bytes(id) } else { 0 }
    }

    /// The topics, for changes.
    pub(crate) fn topics_mut(&self) -> RefMut<'_, Topics> {
        let mut topics = self.topics.borrow_mut();
        if self.is_empty() && !self.is_flushing.get() {
            topics.flushed();
        }
        topics
    }

    /// The connection has subscribed: what was published before is not for it.
    pub(crate) fn joined(&self, endpoint: u16, topic: u32, id: ConnId) {
        self.with(endpoint, |waiting| {
            if let Some(numbers) = waiting.audiences.topics.get(&topic) {
                waiting.apart.entry(id.as_u64()).or_default().skipped.extend(numbers);
            }
        });
    }

    /// The connection is about to leave the topic: what was published before is still for it.
    pub(crate) fn leaves(&self, endpoint: u16, topic: u32, id: ConnId) {
        self.with(endpoint, |waiting| {
            let Some(numbers) = waiting.audiences.topics.get(&topic) else { return };
            let apart = waiting.apart.entry(id.as_u64()).or_default();
            let is_owed = |number: &&usize| {
                !apart.skipped.contains(number) && waiting.audiences.excepted.get(number) != Some(&id.as_u64())
            };
            apart.owed.extend(numbers.iter().filter(is_owed));
        });
    }

    /// Keeps a message for one connection, for which `queued` bytes wait elsewhere. False when there is no room for it.
    pub(crate) fn push(&self, endpoint: u16, id: u64, queued: usize, kind: MessageKind, payload: &[u8]) -> bool {
        let queued = queued.saturating_add(self.pushed_bytes(endpoint, id));
        if queued > 0 && queued.saturating_add(payload.len()) > self.hard {
            return false;
        }
        self.set_any(FOR_FLUSH, true);
        self.with(endpoint, |waiting| {
            let apart = waiting.apart.entry(id).or_default();
            let before = apart.pushed.bytes();
            let is_pushed = apart.pushed.push(kind, payload).is_ok();
            if is_pushed {
                apart.behind.push(waiting.published.len());
                waiting.pushed_bytes += apart.pushed.bytes() - before;
            }
            is_pushed
        })
        .unwrap_or(true)
    }

    /// Whether anything waits for a connection.
    pub(crate) fn has_waiting(&self, endpoint: u16, id: u64) -> bool {
        let id = ConnId::from_u64(id);
        self.is_slow(id) || self.has_waiting_for_flush(endpoint, id)
    }

    /// Whether the next flush has something for it.
    pub(crate) fn has_waiting_for_flush(&self, endpoint: u16, id: ConnId) -> bool {
        let topics = self.topics();
        let has_waiting = |waiting: &mut Waiting| {
            let apart = waiting.apart.get(&id.as_u64());
            let is_published = if waiting.audiences.is_empty() {
                waiting.published.len() > apart.map_or(0, |apart| apart.taken)
            } else {
                waiting.numbers(&topics, id).next().is_some()
            };
            is_published || apart.is_some_and(|apart| !apart.pushed.is_empty())
        };
        !self.is_empty() && self.with(endpoint, has_waiting).unwrap_or(false)
    }

    /// How many bytes were pushed to a connection and not sent yet.
    pub(crate) fn pushed_bytes(&self, endpoint: u16, id: u64) -> usize {
        if self.is_empty() {
            return 0;
        }
        let pushed = self.with(endpoint, |waiting| waiting.apart.get(&id).map(|apart| apart.pushed.bytes()));
        pushed.flatten().unwrap_or(0)
    }

    /// Hands over all that waits for one connection, if it is at most `most` bytes. Nothing waits for it then.
    pub(crate) fn catch_up(&self, endpoint: u16, id: u64, most: usize, mut put: impl FnMut(&Run<'_>)) {
        let topics = self.topics();
        self.with(endpoint, |waiting| {
            let only = waiting.chosen(&topics, ConnId::from_u64(id));
            let mut apart = waiting.apart.remove(&id).unwrap_or_default();
            apart.only = only;
            let (bytes, pushed) = (apart.bytes(waiting.published.frames()), apart.pushed.bytes());
            if bytes > 0 && bytes <= most {
                apart.runs(waiting.published.frames(), &mut put);
                waiting.pushed_bytes -= pushed;
                apart = Apart { taken: waiting.published.len(), ..Apart::default() };
            }
            if !apart.is_fresh() {
                waiting.apart.insert(id, apart);
            }
        });
    }

    /// Hands over all that waits for one connection, as a batch of its own, if that is at most `most` bytes.
    pub(crate) fn take_waiting(&self, endpoint: u16, id: ConnId, most: usize) -> Option<Batch> {
        let mut batch = Batch::default();
        let mut is_whole = true;
        self.catch_up(endpoint, id.as_u64(), most, |run| {
            run.messages().for_each(|(kind, payload)| is_whole &= batch.push(kind, payload).is_ok());
        });
        if !is_whole {
            tracing::error!("no memory for a message that was published or pushed, which is lost");
        }
        (!batch.is_empty()).then_some(batch)
    }

    /// Clears the flag: everything is about to be taken.
    pub(crate) fn begin_flush(&self) {
        self.set_any(FOR_FLUSH, false);
        self.is_flushing.set(true);
    }

    /// Everything was taken, but for what was added meanwhile.
    pub(crate) fn end_flush(&self) {
        self.is_flushing.set(false);
        if self.is_empty() && !self.topics().is_unused() {
            self.topics_mut();
        }
    }

    /// Takes what waits for the connections of one endpoint, if it is at least `least` bytes and not nothing.
    pub(crate) fn take(&self, endpoint: u16, least: usize) -> Option<Waiting> {
        self.with(endpoint, |waiting| {
            let bytes = waiting.published.bytes() + waiting.pushed_bytes;
            (bytes > 0 && bytes >= least).then(|| std::mem::take(waiting))
        })?
    }

    /// Returns the memory of a sent batch, if nothing was published meanwhile.
    pub(crate) fn recycle(&self, endpoint: u16, empty: Batch) {
        self.with(endpoint, |waiting| {
            if waiting.published.is_empty() {
                waiting.published = empty;
            }
        });
    }

    /// What has this many bytes leaves before the turn ends, so that the memory of a turn stays bounded.
    pub(crate) const LARGE_BYTES: usize = 64 * 1024;
    /// How many bytes of a batch's memory are kept for the next turn.
    pub(crate) const KEPT_BYTES: usize = 2 * Self::LARGE_BYTES;
}

impl Waiting {
    /// Adds a message. Returns false when there is no memory for it.
    fn add(&mut self, kind: MessageKind, payload: &[u8]) -> bool {
        let added = self.published.push(kind, payload);
        if let Err(error) = &added {
            tracing::error!(%error, bytes = payload.len(), "no memory to publish a message, which is lost");
        }
        added.is_ok()
    }

    /// Whom the published messages are for.
    pub(crate) fn audience(&self) -> Audience {
        self.audiences.audience()
    }

    /// What differs at a connection; `None` if it is sent all messages.
    pub(crate) fn take_apart(&mut self, id: u64) -> Option<Apart> {
        if self.apart.is_empty() { None } else { self.apart.remove(&id) }
    }

    /// The same, where all messages are for the subscribers of one topic, and the connection is one of them.
    #[inline]
    pub(crate) fn take_if_apart(&mut self, topics: &Topics, id: ConnId) -> Option<Apart> {
        if self.apart.contains_key(&id.as_u64()) { self.take_chosen(topics, id) } else { None }
    }

    /// The same, where messages are for the subscribers of topics.
    pub(crate) fn take_chosen(&mut self, topics: &Topics, id: ConnId) -> Option<Apart> {
        let only = self.chosen(topics, id);
        let apart = self.apart.remove(&id.as_u64());
        let chosen = only.is_some().then(Apart::default);
        apart.or(chosen).map(|apart| Apart { only, ..apart })
    }

    /// The connections at which something differs, but for those taken.
    pub(crate) fn apart_ids(&self) -> Vec<ConnId> {
        self.apart.keys().map(|id| ConnId::from_u64(*id)).collect()
    }

    /// Which published messages are for a connection; `None`: all that it was not sent before.
    fn chosen(&self, topics: &Topics, id: ConnId) -> Option<Vec<usize>> {
        if self.audiences.is_empty() {
            return None;
        }
        let mut only: Vec<usize> = self.numbers(topics, id).collect();
        only.sort_unstable();
        only.dedup();
        let taken = self.apart.get(&id.as_u64()).map_or(0, |apart| apart.taken);
        (only.len() < self.audiences.count - taken).then_some(only)
    }

    /// Their numbers, in no order, some twice.
    fn numbers(&self, topics: &Topics, id: ConnId) -> impl Iterator<Item = usize> {
        let audiences = &self.audiences;
        let apart = self.apart.get(&id.as_u64());
        let taken = apart.map_or(0, |apart| apart.taken);
        let rest = move |numbers: &'_ [usize]| numbers.partition_point(|number| *number < taken);
        let of_topics = topics.of(id).filter_map(|topic| audiences.topics.get(&topic));
        let of_topics = of_topics.flat_map(move |numbers| &numbers[rest(numbers)..]);
        let of_topics = of_topics.filter(move |number| apart.is_none_or(|apart| !apart.skipped.contains(number)));
        let owed = apart.into_iter().flat_map(move |apart| apart.owed.range(taken..));
        let all = audiences.all[rest(&audiences.all)..].iter();
        let is_for_it = move |number: &&usize| audiences.excepted.get(number) != Some(&id.as_u64());
        owed.chain(all).chain(of_topics).filter(is_for_it).copied()
    }
}

impl Apart {
    /// How many bytes wait for the connection, of the published ones and its own.
    pub(crate) fn bytes(&self, published: Frames<'_>) -> usize {
        self.published_bytes(published) + self.pushed.bytes()
    }

    /// How many bytes of the published ones wait for it.
    pub(crate) fn published_bytes(&self, published: Frames<'_>) -> usize {
        match &self.only {
            None => published.bytes(self.taken..published.len()).len(),
            Some(only) => only.iter().map(|&number| published.bytes(number..number + 1).len()).sum(),
        }
    }

    /// How many messages wait for it.
    pub(crate) fn len(&self, published: Frames<'_>) -> usize {
        let rest = published.len() - self.taken.min(published.len());
        self.only.as_ref().map_or(rest, Vec::len) + self.pushed.len()
    }

    /// Whether nothing differs.
    fn is_fresh(&self) -> bool {
        self.taken == 0 && self.pushed.is_empty() && self.skipped.is_empty() && self.owed.is_empty()
    }

    /// How many published messages it was sent ahead of the others, if nothing else is different.
    pub(crate) fn only_taken(&self) -> Option<usize> {
        (self.pushed.is_empty() && self.only.is_none()).then_some(self.taken)
    }

    /// All that waits for it, in order.
    pub(crate) fn runs(&self, published: Frames<'_>, put: &mut impl FnMut(&Run<'_>)) {
        let mut taken = self.taken;
        for (index, &behind) in self.behind.iter().enumerate() {
            self.published_runs(published, taken..behind, put);
            taken = taken.max(behind);
            put(&Run { frames: self.pushed.frames(), messages: index..index + 1 });
        }
        self.published_runs(published, taken..published.len(), put);
    }

    /// What it gets of the published messages of a range.
    fn published_runs(&self, frames: Frames<'_>, range: Range<usize>, put: &mut impl FnMut(&Run<'_>)) {
        let Some(only) = &self.only else {
            if !range.is_empty() {
                put(&Run { frames, messages: range });
            }
            return;
        };
        let first = only.partition_point(|number| *number < range.start);
        let last = only.partition_point(|number| *number < range.end).max(first);
        for run in only[first..last].chunk_by(|one, next| one + 1 == *next) {
            put(&Run { frames, messages: run[0]..run[0] + run.len() });
        }
    }

    /// All that waits for it, as a batch of its own.
    pub(crate) fn to_batch(&self, published: Frames<'_>) -> Batch {
        let mut all = Batch::default();
        self.runs(published, &mut |run| {
            for (kind, payload) in run.messages() {
                if let Err(error) = all.push(kind, payload) {
                    tracing::error!(%error, "no memory for a message that was published or pushed, which is lost");
                }
            }
        });
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: MessageKind = MessageKind::Text;

    fn shown(apart: &Apart, published: &Batch) -> String {
        let batch = apart.to_batch(published.frames());
        let messages =
            batch.frames().messages(0..batch.len()).map(|(_, payload)| String::from_utf8_lossy(payload).into_owned());
        messages.collect::<Vec<_>>().join(" ")
    }

    fn caught_up(outgoing: &Outgoing, id: u64) -> Vec<String> {
        let mut seen = Vec::new();
        outgoing.catch_up(0, id, usize::MAX, |run| {
            seen.extend(run.messages().map(|(_, payload)| String::from_utf8_lossy(payload).into_owned()));
        });
        seen
    }

    #[test]
    fn what_was_published_and_pushed_keeps_its_order() {
        let outgoing = Outgoing::new(1, 1000);
        assert!(outgoing.is_empty());
        outgoing.publish(0, TEXT, b"1");
        assert!(outgoing.push(0, 7, 0, TEXT, b"a"));
        assert!(outgoing.push(0, 7, 0, TEXT, b"b"));
        assert_eq!(caught_up(&outgoing, 8), ["1"]);
        outgoing.publish(0, TEXT, b"2");
        outgoing.publish(0, TEXT, b"3");
        assert!(outgoing.push(0, 7, 0, TEXT, b"c"));
        assert!(outgoing.push(0, 8, 0, TEXT, b"x"));
        outgoing.publish(0, TEXT, b"4");
        assert_eq!(outgoing.pushed_bytes(0, 7), 9);
        let mut waiting = outgoing.take(0, 0).unwrap();
        let (seven, eight) = (waiting.take_apart(7).unwrap(), waiting.take_apart(8).unwrap());
        assert_eq!(shown(&seven, &waiting.published), "1 a b 2 3 c 4");
        assert_eq!(shown(&eight, &waiting.published), "2 3 x 4");
        let published = waiting.published.frames();
        assert_eq!((seven.len(published), eight.len(published)), (7, 4));
        assert!(waiting.take_apart(9).is_none());
    }

    #[test]
    fn a_connection_that_is_caught_up_gets_the_rest_only() {
        let outgoing = Outgoing::new(1, 1000);
        outgoing.publish(0, TEXT, b"1");
        assert!(outgoing.push(0, 7, 0, TEXT, b"a"));
        assert_eq!(caught_up(&outgoing, 7), ["1", "a"]);
        assert_eq!(caught_up(&outgoing, 7), Vec::<String>::new());
        outgoing.publish(0, TEXT, b"2");
        let mut waiting = outgoing.take(0, 0).unwrap();
        let apart = waiting.take_apart(7).unwrap();
        assert_eq!((apart.only_taken(), apart.published_bytes(waiting.published.frames())), (Some(1), 3));
        assert_eq!(shown(&apart, &waiting.published), "2");
        // What does not fit stays for the flush.
        outgoing.publish(0, TEXT, b"3");
        outgoing.catch_up(0, 7, 2, |_| panic!("it is too much"));
        assert_eq!(caught_up(&outgoing, 7), ["3"]);
    }

    #[test]
    fn what_waits_for_one_connection_is_bounded() {
        let outgoing = Outgoing::new(1, 10);
        assert!(outgoing.push(0, 7, 0, TEXT, &[b'x'; 50]), "a single one may be longer");
        assert!(!outgoing.push(0, 7, 0, TEXT, b""));
        assert!(!outgoing.push(0, 8, 10, TEXT, b"x"));
        assert!(outgoing.push(0, 8, 9, TEXT, b"x"));
        assert!(outgoing.take(0, 100).is_none());
        assert!(outgoing.take(0, 50).is_some() && outgoing.take(0, 0).is_none());
    }

    /// A flush sends one batch after another, and a callback in between may subscribe a connection to a new topic. The new topic must
    /// not get a number that a message of a later batch has.
    #[test]
    fn the_number_of_a_topic_is_used_again_only_when_no_message_has_it() {
        let outgoing = Outgoing::new(2, 1000);
        let id = ConnId::from_u64(1 << 48 | 1 << 26);
        let old = outgoing.topics_mut().join(1, "old", id).unwrap();
        assert!(outgoing.publish_to(1, old, TEXT, b"1", None, &[]));
        outgoing.topics_mut().leave(old, id);
        assert_ne!(outgoing.topics_mut().join(0, "during the turn", id), Some(old));
        outgoing.begin_flush();
        assert_ne!(outgoing.topics_mut().join(0, "during the flush", id), Some(old));
        assert!(outgoing.take(1, 0).is_some());
        outgoing.end_flush();
        assert_eq!(outgoing.topics_mut().join(0, "after it", id), Some(old));
    }
}
