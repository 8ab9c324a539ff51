//! Reading what the stream keeps of a topic, and holding live messages meanwhile.
//!
//! The order is: subscribe to what the stream publishes again; ask for the stream's bounds and how many messages it keeps of the topic; read exactly
//! those by a consumer; report them; report live messages behind the bound. All messages up to the bound are counted by the broker in one
//! step. If that many can be read, none is missing. If fewer, some were dropped meanwhile. A stream drops the oldest first, so when
//! a message that was read is still there, no later one has been dropped: those are reported. A topic that is busy drops as fast as it is
//! read, so to begin again would not end.
//!
//! What reads may stop before its end: another server leads it, or it is gone. Then what it has given says nothing of what it has not, and
//! another one is asked for, a few times. It counts what it gives: where a number of these is missing, a message was lost on its way here, and
//! those before it are left out too.
//!
//! A topic that misses something is read from the last message that is known, since its history may be long. Whether that one is still there
//! is asked in the same way.

use std::collections::VecDeque;

use sockeye_hub::backplane::{Loaded, Position, Stored};

use crate::wire::headers::number;
use crate::wire::info::shown;

#[derive(Debug)]
pub(crate) struct Load {
    /// Where the hub was before.
    pub(crate) after: Option<Position>,
    pub(crate) stage: Stage,
    /// How often the broker was asked while a message was missing.
    pub(crate) rounds: u8,
    /// How often a consumer has stopped before its end.
    pub(crate) stops: u8,
    pub(crate) held: Held,
}

#[derive(Debug)]
pub(crate) enum Stage {
    /// Nothing was asked: others are read first.
    Waiting,
    /// Asked for the bounds.
    Counting,
    /// Asked for a consumer.
    Beginning(Span),
    Reading(Reading),
    /// Read. Asked whether the message at this index is still there.
    Checking(Reading, usize),
    /// Nothing is read: asked only whether the stream is still the same.
    Verifying,
}

/// What the stream had at one time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Bounds {
    /// Messages of the topic.
    pub(crate) count: u64,
    /// The first number in the stream.
    pub(crate) first: u64,
    /// The last number in the stream.
    pub(crate) last: u64,
}

/// What is to be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Span {
    pub(crate) bounds: Bounds,
    /// The number to begin at, 0 for all.
    pub(crate) start: u64,
}

/// What the stream drops.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) epoch: u64,
    /// Messages of a topic that it keeps.
    pub(crate) messages: u64,
    /// Whether it drops a message only when a topic has more than that.
    pub(crate) is_endless: bool,
}

/// What a load ends with.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Finished {
    pub(crate) loaded: Loaded,
    /// For `Topic::floor`.
    pub(crate) bound: u64,
    /// For `Topic::newest`.
    pub(crate) newest: Option<u64>,
}

impl Load {
    pub(crate) fn new(after: Option<Position>) -> Self {
        Self { after, stage: Stage::Waiting, rounds: 0, stops: 0, held: Held::default() }
    }

    /// Holds what arrives until it is known whether the stream is the same.
    pub(crate) fn verifying() -> Self {
        Self { stage: Stage::Verifying, ..Self::new(None) }
    }
}

impl Bounds {
    /// What there is to say of a topic without messages, or one whose messages are dropped faster than they are read.
    pub(crate) fn finish(self, rules: Rules, after: Option<Position>) -> Finished {
        if self.count > 0 {
            return finished(rules, after, self, self.last, Vec::new(), None);
        }
        let base = if rules.is_endless { 0 } else { self.first.saturating_sub(1).min(self.last) };
        let mut end = finished(rules, after, self, base, Vec::new(), Some(0));
        if rules.is_endless {
            end.loaded.offset = 0;
        }
        end
    }
}

/// What a consumer says of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Given {
    /// The message's number in the stream.
    pub(crate) sequence: u64,
    /// How many the consumer has given with it.
    pub(crate) count: u64,
    /// How many it has behind it.
    pub(crate) pending: u64,
}

/// What a batch ends with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Status<'a> {
    pub(crate) code: u16,
    pub(crate) text: &'a [u8],
}

impl Status<'_> {
    /// How many messages a batch may have, if that is why one of `size` is refused.
    fn most_messages(self, size: usize) -> Option<usize> {
        let rest = self.text.strip_prefix(b"Exceeded MaxRequestBatch")?;
        let most = rest.strip_prefix(b" of ").and_then(number).and_then(|most| usize::try_from(most).ok());
        Some(most.unwrap_or(size / 4)).filter(|most| (1..size).contains(most))
    }
}

/// A consumer that reads.
#[derive(Debug)]
pub(crate) struct Reading {
    span: Span,
    /// What the broker calls it.
    pub(crate) consumer: String,
    /// The subscription that it delivers to.
    pub(crate) sid: u64,
    /// The number of the request for the batch.
    pub(crate) asked: u64,
    /// How many messages the batch may have, and how many of them are to come.
    size: usize,
    left: usize,
    /// Whether the batch has brought any.
    has_progress: bool,
    /// What the consumer has said of its last message.
    count: u64,
    pending: u64,
    read: u64,
    messages: VecDeque<Stored>,
    bytes: usize,
    /// The last message that was given up: they became too many bytes, or it was lost.
    given_up: u64,
    newest: u64,
}

/// What is next for a reading.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Next {
    Wait,
    /// Another batch is to be asked for.
    Batch,
    /// One of so many messages at most: the broker gives no longer ones.
    Smaller(usize),
    /// The consumer has given all that it has to give.
    Done,
    /// It gives no more, and has not given all. What it says, for people.
    Stopped(String),
}

impl Reading {
    /// For a consumer that was asked for its first batch.
    pub(crate) fn new(span: Span, consumer: String, sid: u64, asked: u64, size: usize) -> Self {
        Self {
            span,
            consumer,
            sid,
            asked,
            size,
            left: size,
            has_progress: false,
            count: 0,
            pending: 0,
            read: 0,
            messages: VecDeque::new(),
            bytes: 0,
            given_up: 0,
            newest: 0,
        }
    }

    /// A message, or `None` for one that was too long.
    pub(crate) fn message(&mut self, given: Given, message: Option<Stored>) -> Next {
        let Given { sequence, count, pending } = given;
        let last = self.span.bounds.last;
        // Another server that leads the consumer now may give some once more, and count from there.
        let is_new = sequence > self.newest;
        if is_new && count.checked_sub(1) != Some(self.count) {
            self.give_up(last.min(sequence - 1));
        }
        (self.count, self.pending) = (count, pending);
        self.left = self.left.saturating_sub(1);
        if is_new && sequence <= last {
            self.take(sequence, message);
        }
        match () {
            () if pending == 0 || sequence >= last || self.is_whole() => Next::Done,
            () if self.left == 0 => Next::Batch,
            () => Next::Wait,
        }
    }

    fn take(&mut self, sequence: u64, message: Option<Stored>) {
        self.newest = sequence;
        self.read += 1;
        self.has_progress = true;
        match message {
            Some(message) => {
                self.bytes += size(&message);
                self.messages.push_back(message);
                while self.bytes > MAX_BYTES && self.messages.len() > 1 {
                    let Some(oldest) = self.messages.pop_front() else { break };
                    self.bytes -= size(&oldest);
                    self.given_up = oldest.offset;
                }
            }
            None => self.give_up(sequence),
        }
    }

    /// Leaves out all up to a message that is not there.
    fn give_up(&mut self, sequence: u64) {
        self.messages.clear();
        self.bytes = 0;
        self.given_up = sequence;
    }

    /// The broker says that the batch has ended.
    pub(crate) fn batch_ended(&self, status: Status<'_>) -> Next {
        match status.code {
            // If its last message had some behind it, those were dropped, or lost on their way.
            404 if self.pending == 0 => Next::Done,
            _ if self.has_progress => Next::Batch,
            // The batch before this one, which is known from its messages.
            409 if status.text.eq_ignore_ascii_case(b"Batch Completed") => Next::Wait,
            code => match status.most_messages(self.size) {
                Some(size) => Next::Smaller(size),
                None => Next::Stopped(format!("{code} {}", shown(status.text)).trim_end().to_owned()),
            },
        }
    }

    /// Another batch of `size` messages was asked for.
    pub(crate) fn batch_begins(&mut self, asked: u64, size: usize) {
        (self.asked, self.size, self.left) = (asked, size, size);
        self.has_progress = false;
    }

    /// Whether all that the topic has was read.
    pub(crate) fn is_whole(&self) -> bool {
        self.span.start == 0 && self.read == self.span.bounds.count
    }

    /// The number of the message at this index of what was read.
    pub(crate) fn sequence(&self, at: usize) -> Option<u64> {
        self.messages.get(at).map(|message| message.offset)
    }

    /// The index to ask for next, when the message at `at` was dropped.
    pub(crate) fn next_check(&self, at: usize) -> usize {
        let most = self.messages.len();
        let step = match at {
            0 => most / 8,
            small if small < most / 2 => small,
            _ => most.saturating_sub(at) / 2,
        };
        at + step.max(1)
    }

    /// What there is from the message at `at` on, which is still there.
    pub(crate) fn finish_at(self, at: usize, rules: Rules, after: Option<Position>) -> Finished {
        let Self { span, mut messages, newest, .. } = self;
        messages.drain(..at.min(messages.len()));
        let base = messages.front().map_or(span.bounds.last, |oldest| oldest.offset.saturating_sub(1));
        chain(&mut messages, base);
        finished(rules, after, span.bounds, base, messages.into(), Some(newest))
    }

    /// There is nothing of what was read any more.
    pub(crate) fn finish_empty(self, rules: Rules, after: Option<Position>) -> Finished {
        self.span.bounds.finish(rules, after)
    }

    /// What there is, when all was read.
    pub(crate) fn finish(self, rules: Rules, after: Option<Position>) -> Finished {
        let Self { span: Span { bounds, .. }, mut messages, given_up, newest, .. } = self;
        // Fewer messages than the stream keeps of a topic: none was ever dropped for a newer one, as long as those are numbers that the
        // stream still covers. What is dropped for other reasons is dropped from the stream's beginning.
        let mut base = match messages.front() {
            _ if given_up > 0 => given_up,
            Some(_) | None if bounds.count < rules.messages && rules.is_endless => 0,
            Some(_) | None if bounds.count < rules.messages => bounds.first.saturating_sub(1),
            Some(oldest) => oldest.offset.saturating_sub(1),
            None => bounds.last,
        };
        if let Some(oldest) = messages.front() {
            base = base.min(oldest.offset.saturating_sub(1));
        }
        chain(&mut messages, base);
        finished(rules, after, bounds, base, messages.into(), Some(newest))
    }
}

/// Has each message name the one before it.
fn chain(messages: &mut VecDeque<Stored>, base: u64) {
    let mut previous = base;
    for message in messages {
        message.previous = previous;
        previous = message.offset;
    }
}

fn finished(
    rules: Rules,
    after: Option<Position>,
    bounds: Bounds,
    base: u64,
    messages: Vec<Stored>,
    newest: Option<u64>,
) -> Finished {
    let offset = messages.last().map_or(bounds.last, |message| message.offset);
    let is_complete =
        after.is_none_or(|after| after.epoch == rules.epoch && after.offset >= base && after.offset <= bounds.last);
    let base = Position { epoch: rules.epoch, offset: base };
    Finished { loaded: Loaded { base, messages, offset, is_complete }, bound: bounds.last, newest }
}

/// Live messages that wait.
#[derive(Debug, Default)]
pub(crate) struct Held {
    messages: VecDeque<Stored>,
    bytes: usize,
    /// Whether some were given up.
    pub(crate) has_lost: bool,
}

impl Held {
    pub(crate) fn push(&mut self, message: Stored) {
        self.bytes += size(&message);
        self.messages.push_back(message);
        while self.messages.len() > 1 && (self.messages.len() > MAX_HELD || self.bytes > MAX_BYTES) {
            if let Some(oldest) = self.messages.pop_front() {
                self.bytes -= size(&oldest);
                self.has_lost = true;
            }
        }
    }

    /// Whether the first of them behind `floor` follows what is known.
    pub(crate) fn is_next(&self, floor: u64, newest: Option<u64>) -> bool {
        let new = self.messages.iter().filter(|message| message.offset > floor);
        let first = new.min_by_key(|message| message.offset);
        let follows = |first: &Stored| newest.map_or(first.previous <= floor, |newest| newest == first.previous);
        !self.has_lost && first.is_none_or(follows)
    }

    /// Copies of those whose number is not behind `bound`.
    pub(crate) fn up_to(&self, bound: u64) -> impl Iterator<Item = Stored> {
        self.messages.iter().filter(move |message| message.offset <= bound).cloned()
    }

    pub(crate) fn into_messages(self) -> VecDeque<Stored> {
        self.messages
    }
}

fn size(message: &Stored) -> usize {
    message.payload.len() + message.key.as_ref().map_or(0, Vec::len) + size_of::<Stored>()
}

/// How many messages are asked for at once, if the broker gives as many.
pub(crate) const BATCH: usize = 1024;

/// How often the broker is asked before a message that is missing is read: so often it has time to send what was overtaken.
pub(crate) const MAX_ROUNDS: u8 = 64;

/// How many consumers may stop before a load fails.
pub(crate) const MAX_STOPS: u8 = 3;

/// What one load keeps in memory, of the past and of what arrives meanwhile each.
const MAX_BYTES: usize = 16 << 20;
const MAX_HELD: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use sockeye::proto::wire::MessageKind;

    use super::*;

    const RULES: Rules = Rules { epoch: 7, messages: 3, is_endless: true };

    fn stored(offset: u64, bytes: usize) -> Stored {
        Stored { kind: MessageKind::Text, key: None, payload: vec![b'x'; bytes], offset, previous: 0 }
    }

    fn all(bounds: Bounds) -> Span {
        Span { bounds, start: 0 }
    }

    fn read(bounds: Bounds, offsets: &[u64]) -> Reading {
        read_from(all(bounds), offsets)
    }

    fn read_from(span: Span, offsets: &[u64]) -> Reading {
        let mut reading = Reading::new(span, "c".to_owned(), 1, 1, BATCH);
        for offset in offsets {
            give(&mut reading, *offset, Some(1), 9);
        }
        reading
    }

    /// Has the consumer give its next message, of so many bytes.
    fn give(reading: &mut Reading, sequence: u64, bytes: Option<usize>, pending: u64) -> Next {
        let given = Given { sequence, count: reading.count + 1, pending };
        reading.message(given, bytes.map(|bytes| stored(sequence, bytes)))
    }

    fn at(offset: u64) -> Option<Position> {
        Some(Position { epoch: 7, offset })
    }

    #[test]
    fn a_topic_that_never_had_too_many_messages_is_whole() {
        let bounds = Bounds { count: 2, first: 1, last: 9 };
        let end = read(bounds, &[4, 6]).finish(RULES, at(0));
        assert_eq!((end.loaded.base.offset, end.loaded.offset, end.loaded.is_complete), (0, 6, true));
        let previous: Vec<u64> = end.loaded.messages.iter().map(|message| message.previous).collect();
        assert_eq!((previous, end.newest), (vec![0, 4], Some(6)));
    }

    #[test]
    fn a_full_topic_begins_behind_an_unknown_message() {
        let bounds = Bounds { count: 3, first: 1, last: 9 };
        let whole = |after| read(bounds, &[4, 6, 9]).finish(RULES, after).loaded;
        assert_eq!((whole(None).base.offset, whole(None).offset), (3, 9));
        for (offset, is_complete) in [(0, false), (2, false), (3, true), (4, true), (9, true), (10, false)] {
            assert_eq!(whole(at(offset)).is_complete, is_complete, "{offset}");
        }
        assert!(!whole(Some(Position { epoch: 8, offset: 9 })).is_complete);
    }

    #[test]
    fn with_an_age_the_streams_beginning_counts() {
        let rules = Rules { is_endless: false, ..RULES };
        let bounds = Bounds { count: 2, first: 3, last: 9 };
        let end = read(bounds, &[4, 6]).finish(rules, at(1)).loaded;
        assert_eq!((end.base.offset, end.is_complete), (2, false));
        let none = Bounds { count: 0, first: 3, last: 9 }.finish(rules, at(2)).loaded;
        assert_eq!((none.base.offset, none.offset, none.is_complete), (2, 9, true));
        let none = Bounds { count: 0, first: 0, last: 0 }.finish(rules, None).loaded;
        assert_eq!((none.base.offset, none.offset, none.is_complete), (0, 0, true));
        let purged = Bounds { count: 0, first: 10, last: 9 }.finish(rules, at(8)).loaded;
        assert_eq!((purged.base.offset, purged.offset, purged.is_complete), (9, 9, false));
    }

    #[test]
    fn missing_messages_are_noticed() {
        let bounds = Bounds { count: 3, first: 1, last: 9 };
        assert!(read(bounds, &[4, 6, 9]).is_whole());
        assert!(!read(bounds, &[4, 6]).is_whole());
        // It was not to be.
        assert!(!read_from(Span { bounds, start: 1 }, &[4, 6, 9]).is_whole());
        let end = read(bounds, &[4, 6]).finish_empty(RULES, at(8));
        assert_eq!(
            (end.loaded.base.offset, end.loaded.offset, end.loaded.is_complete, end.newest),
            (9, 9, false, None)
        );
    }

    #[test]
    fn what_follows_a_message_that_is_still_there_has_no_hole() {
        let bounds = Bounds { count: 20, first: 1, last: 40 };
        let offsets: Vec<u64> = (21..=36).collect();
        let indices = |reading: &Reading| {
            let next = |at: &usize| Some(reading.next_check(*at)).filter(|at| reading.sequence(*at).is_some());
            std::iter::successors(Some(0), next).collect::<Vec<_>>()
        };
        assert_eq!(indices(&read(bounds, &offsets)), [0, 2, 4, 8, 12, 14, 15]);
        assert_eq!(indices(&read(bounds, &offsets[..3])), [0, 1, 2]);
        assert_eq!(read(bounds, &[]).sequence(0), None);
        let end = read(bounds, &offsets).finish_at(2, RULES, at(22));
        let Loaded { base, messages, offset, is_complete } = end.loaded;
        assert_eq!((base.offset, messages.len(), offset, is_complete), (22, 14, 36, true));
        assert_eq!((messages[0].previous, messages[1].previous, end.bound, end.newest), (22, 23, 40, Some(36)));
        assert!(!read(bounds, &offsets).finish_at(2, RULES, at(21)).loaded.is_complete);
    }

    #[test]
    fn reading_ends_where_the_count_was_taken() {
        let bounds = Bounds { count: 5, first: 1, last: 9 };
        let from_four = || read(bounds, &[4]);
        assert_eq!(give(&mut from_four(), 6, Some(1), 1), Next::Wait);
        for (sequence, pending) in [(10, 1), (7, 0), (9, 5)] {
            assert_eq!(give(&mut from_four(), sequence, Some(1), pending), Next::Done);
        }
        let batch = BATCH as u64;
        let mut reading = read(Bounds { count: 9999, first: 1, last: 9999 }, &(1..batch).collect::<Vec<_>>());
        assert_eq!(give(&mut reading, batch, None, 1), Next::Batch);
        // Not all is to be read, so as many as the topic has say nothing.
        let bounds = Bounds { count: 2, first: 1, last: 9 };
        assert_eq!(give(&mut read_from(Span { bounds, start: 4 }, &[4]), 6, Some(1), 1), Next::Wait);
    }

    #[test]
    fn only_a_consumer_without_more_is_at_its_end() {
        let bounds = Bounds { count: 5, first: 1, last: 9 };
        let end = |reading: &Reading, code, text: &str| reading.batch_ended(Status { code, text: text.as_bytes() });
        let stopped = |text: &str| Next::Stopped(text.to_owned());
        // What it has given is followed by more.
        let mut reading = read(bounds, &[4]);
        assert_eq!(end(&reading, 404, "No Messages"), Next::Batch);
        reading.batch_begins(2, BATCH);
        assert_eq!(end(&reading, 404, "No Messages"), stopped("404 No Messages"));
        assert_eq!(end(&reading, 503, ""), stopped("503"));
        assert_eq!(end(&reading, 409, "Leadership \x1b Change"), stopped("409 Leadership \\u{1b} Change"));
        assert_eq!(end(&reading, 409, "Batch Completed"), Next::Wait);
        // It has given nothing, and has nothing.
        assert_eq!(end(&read(bounds, &[]), 404, "No Messages"), Next::Done);
        assert_eq!(end(&read(bounds, &[]), 503, ""), stopped("503"));
    }

    #[test]
    fn the_most_messages_of_a_batch_are_what_the_broker_says() {
        for (text, expected) in [
            ("Exceeded MaxRequestBatch of 10", Some(10)),
            ("Exceeded MaxRequestBatch", Some(25)),
            ("Exceeded MaxRequestBatch of many", Some(25)),
            ("Exceeded MaxRequestBatch of 0", None),
            // It would be refused again.
            ("Exceeded MaxRequestBatch of 100", None),
            ("Exceeded MaxWaiting", None),
        ] {
            assert_eq!(Status { code: 409, text: text.as_bytes() }.most_messages(100), expected, "{text}");
        }
        let text = b"Exceeded MaxRequestBatch";
        assert_eq!(Status { code: 409, text }.most_messages(3), None);
    }

    #[test]
    fn what_was_lost_on_its_way_and_all_before_it_is_left_out() {
        let bounds = Bounds { count: 5, first: 1, last: 9 };
        let offsets = |reading: &Reading| reading.messages.iter().map(|message| message.offset).collect::<Vec<_>>();
        let mut reading = read(bounds, &[2, 4]);
        let skipped = |sequence, count| Given { sequence, count, pending: 9 };
        assert_eq!(reading.message(skipped(7, 4), Some(stored(7, 1))), Next::Wait);
        assert_eq!((offsets(&reading), reading.given_up, reading.bytes), (vec![7], 6, size(&stored(7, 1))));
        // A repeated message is passed over, whatever the number of its delivery.
        for count in [3, 4, 9] {
            assert_eq!(reading.message(skipped(7, count), Some(stored(7, 1))), Next::Wait);
        }
        assert_eq!(reading.message(skipped(8, 10), Some(stored(8, 1))), Next::Wait);
        assert_eq!((offsets(&reading), reading.given_up, reading.read), (vec![7, 8], 6, 4));
        assert_eq!(reading.message(skipped(u64::MAX, 12), Some(stored(u64::MAX, 1))), Next::Done);
        assert_eq!((offsets(&reading), reading.given_up), (vec![], 9));
        assert_eq!(reading.message(skipped(u64::MAX, 0), None), Next::Done);
    }

    #[test]
    fn what_is_read_is_bounded_and_the_newest_stay() {
        let bounds = Bounds { count: 3, first: 1, last: 9 };
        let mut reading = Reading::new(all(bounds), "c".to_owned(), 1, 1, BATCH);
        for offset in [4, 6, 9] {
            give(&mut reading, offset, Some(MAX_BYTES / 2), 1);
        }
        let end = reading.finish(RULES, at(4)).loaded;
        assert_eq!((end.base.offset, end.messages.len(), end.is_complete), (6, 1, false));
        let mut reading = Reading::new(all(bounds), "c".to_owned(), 1, 1, BATCH);
        give(&mut reading, 4, Some(1), 1);
        give(&mut reading, 6, None, 1);
        give(&mut reading, 9, Some(1), 0);
        let end = reading.finish(RULES, at(6)).loaded;
        assert_eq!((end.base.offset, end.messages.len(), end.messages[0].previous, end.is_complete), (6, 1, 6, true));
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut held = Held::default();
        for offset in 0..100_000 {
            held.push(stored(offset, 0));
        }
        assert!(held.has_lost);
        assert_eq!(held.into_messages().len(), MAX_HELD);
        let mut held = Held::default();
        held.push(stored(1, MAX_BYTES * 2));
        assert!(!held.has_lost);
        held.push(stored(2, 1));
        assert!(held.has_lost);
    }
}
