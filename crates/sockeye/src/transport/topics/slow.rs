//! What waits for subscribers whose sockets do not take data: messages of their topics, and whatever was published
//! for or pushed to them behind those.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::id::ConnId;
use crate::topic::{SlowReader, TopicOptions};
use crate::transport::account::{Account, Charge};
use crate::transport::batch::Framed;

/// Messages in the order in which they are to be sent.
#[derive(Default)]
struct SlowQueue {
    /// By a number that grows.
    items: BTreeMap<u64, Item>,
    next: u64,
    topics: BTreeMap<u32, OfTopic>,
    bytes: usize,
    /// Those of the keys, which are in `bytes`, too.
    key_bytes: usize,
}

/// The numbers of the messages of one topic.
#[derive(Default)]
struct OfTopic {
    all: BTreeSet<u64>,
    /// Of those that a newer one replaces, by key.
    latest: BTreeMap<Key, u64>,
    /// What they take.
    bytes: usize,
}

/// Messages of a batch, from one on: one message of a topic, or all that a flush sent to the connection.
pub(crate) struct Item {
    pub(crate) batch: Rc<Framed>,
    pub(crate) first: usize,
    of: Option<OfMessage>,
}

struct OfMessage {
    topic: u32,
    /// What a newer message replaces, where one does.
    key: Option<Key>,
}

/// Messages without a key have one in common.
type Key = Option<Rc<[u8]>>;

impl Item {
    fn key_bytes(&self) -> usize {
        let key = self.of.as_ref().and_then(|of| of.key.as_ref());
        key.and_then(Option::as_ref).map_or(0, |key| key.len())
    }

    /// What it takes where it waits.
    fn cost(&self) -> usize {
        cost(&self.batch) + self.key_bytes()
    }
}

/// What became of one message of a topic.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kept {
    Queued,
    /// In place of as many older ones.
    InPlaceOf(usize),
    Dropped,
    /// The connection is to be closed.
    TooMuch,
}

/// What waits for all slow subscribers, by the ids of their connections.
#[derive(Default)]
pub(crate) struct SlowReaders {
    queues: BTreeMap<u64, SlowQueue>,
    /// How many messages and batches wait in all queues: the messages are shared, the places in the queues are not.
    items: usize,
    /// The bytes of their keys, each for itself.
    key_bytes: usize,
    charge: Charge,
}

impl SlowReaders {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// Whether something waits for a connection, so that whatever is published for or pushed to it goes behind that.
    pub(crate) fn has(&self, id: ConnId) -> bool {
        self.queues.contains_key(&id.as_u64())
    }

    /// How many bytes wait for a connection.
    pub(crate) fn bytes(&self, id: ConnId) -> usize {
        self.queues.get(&id.as_u64()).map_or(0, |queue| queue.bytes)
    }

    /// Adds a message of a topic for a subscriber, as the topic's options say. `most`: the most bytes that may wait, unless nothing
    /// else does.
    pub(crate) fn keep(
        &mut self,
        id: ConnId,
        (topic, options): (u32, TopicOptions),
        key: Option<&Rc<[u8]>>,
        message: &Rc<Framed>,
        (most, account): (usize, &Rc<Account>),
    ) -> Kept {
        self.change(id, account, |queue| queue.keep(topic, options, key, message, most))
    }

    /// Adds what a flush had for a connection.
    pub(crate) fn keep_all(&mut self, id: ConnId, batch: Rc<Framed>, first: usize, account: &Rc<Account>) {
        self.change(id, account, |queue| queue.keep_all(batch, first));
    }

    /// Takes what is to be sent next to a connection.
    pub(crate) fn pop(&mut self, id: ConnId, account: &Rc<Account>) -> Option<Item> {
        self.change(id, account, SlowQueue::pop)
    }

    /// The connection has left a topic: its messages are dropped.
    pub(crate) fn leave(&mut self, id: ConnId, topic: u32, account: &Rc<Account>) {
        self.change(id, account, |queue| queue.drop_topic(topic));
    }

    /// The connection has ended.
    pub(crate) fn end(&mut self, id: ConnId, account: &Rc<Account>) {
        self.change(id, account, |queue| *queue = SlowQueue::default());
    }

    fn change<R>(&mut self, id: ConnId, account: &Rc<Account>, change: impl FnOnce(&mut SlowQueue) -> R) -> R {
        let queue = self.queues.entry(id.as_u64()).or_default();
        let before = (queue.items.len(), queue.key_bytes);
        let result = change(queue);
        let now = (queue.items.len(), queue.key_bytes);
        if now.0 == 0 {
            self.queues.remove(&id.as_u64());
        }
        self.items = self.items - before.0 + now.0;
        self.key_bytes = self.key_bytes - before.1 + now.1;
        self.charge.set(account, self.items * OVERHEAD + self.key_bytes);
        result
    }
}

impl SlowQueue {
    /// How many messages of a topic wait.
    #[cfg(test)]
    fn len_of(&self, topic: u32) -> usize {
        self.topics.get(&topic).map_or(0, |of| of.all.len())
    }

    fn keep(
        &mut self,
        topic: u32,
        options: TopicOptions,
        key: Option<&Rc<[u8]>>,
        message: &Rc<Framed>,
        most: usize,
    ) -> Kept {
        let is_latest = options.slow_reader() == SlowReader::KeepLatest;
        let may_drop = is_latest || options.slow_reader() == SlowReader::DropOldest;
        let item = Item {
            batch: Rc::clone(message),
            first: 0,
            of: Some(OfMessage { topic, key: is_latest.then(|| key.cloned()) }),
        };
        // Nothing is dropped for a message that has no room even so.
        if may_drop && !self.would_fit(topic, item.cost(), most) {
            return Kept::Dropped;
        }
        let mut dropped = 0;
        if is_latest {
            let older = self.topics.get(&topic).and_then(|of| of.latest.get(&key.cloned()).copied());
            dropped += usize::from(older.inspect(|number| self.drop_one(*number)).is_some());
        }
        while self.is_full(topic, options, item.cost(), most) {
            if options.slow_reader() == SlowReader::Close {
                return Kept::TooMuch;
            }
            if !may_drop || !self.drop_oldest(topic) {
                return Kept::Dropped;
            }
            dropped += 1;
        }
        let cost = item.cost();
        let number = self.add(item);
        let of = self.topics.entry(topic).or_default();
        of.all.insert(number);
        of.bytes += cost;
        if is_latest {
            of.latest.insert(key.cloned(), number);
        }
        if dropped == 0 { Kept::Queued } else { Kept::InPlaceOf(dropped) }
    }

    /// Whether there is room for a message once its topic has no others.
    fn would_fit(&self, topic: u32, cost: usize, most: usize) -> bool {
        if self.bytes.saturating_add(cost) <= most {
            return true;
        }
        let others = self.bytes - self.topics.get(&topic).map_or(0, |of| of.bytes);
        others == 0 || others.saturating_add(cost) <= most
    }

    fn is_full(&self, topic: u32, options: TopicOptions, cost: usize, most: usize) -> bool {
        let count = self.topics.get(&topic).map_or(0, |of| of.all.len());
        count >= options.waiting_messages() as usize || (self.bytes > 0 && self.bytes.saturating_add(cost) > most)
    }

    fn keep_all(&mut self, batch: Rc<Framed>, first: usize) {
        self.add(Item { batch, first, of: None });
    }

    fn add(&mut self, item: Item) -> u64 {
        let number = self.next;
        self.next += 1;
        self.bytes += item.cost();
        self.key_bytes += item.key_bytes();
        self.items.insert(number, item);
        number
    }

    fn pop(&mut self) -> Option<Item> {
        let (number, item) = self.items.pop_first()?;
        self.bytes -= item.cost();
        self.key_bytes -= item.key_bytes();
        self.forget(number, &item);
        Some(item)
    }

    /// The message does not wait any more.
    fn forget(&mut self, number: u64, item: &Item) {
        let Some(OfMessage { topic, key }) = &item.of else { return };
        let Some(of) = self.topics.get_mut(topic) else { return };
        of.all.remove(&number);
        of.bytes -= item.cost();
        if let Some(key) = key.as_ref().filter(|key| of.latest.get(*key) == Some(&number)) {
            of.latest.remove(key);
        }
        if of.all.is_empty() {
            self.topics.remove(topic);
        }
    }

    fn drop_item(&mut self, number: u64) -> Option<Item> {
        let item = self.items.remove(&number)?;
        self.bytes -= item.cost();
        self.key_bytes -= item.key_bytes();
        Some(item)
    }

    fn drop_oldest(&mut self, topic: u32) -> bool {
        let oldest = self.topics.get(&topic).and_then(|of| of.all.first().copied());
        oldest.inspect(|number| self.drop_one(*number)).is_some()
    }

    fn drop_one(&mut self, number: u64) {
        if let Some(item) = self.drop_item(number) {
            self.forget(number, &item);
        }
    }

    /// The connection has left the topic. Returns how many of its messages were dropped.
    fn drop_topic(&mut self, topic: u32) -> usize {
        let of = self.topics.remove(&topic).unwrap_or_default();
        of.all.iter().for_each(|number| _ = self.drop_item(*number));
        of.all.len()
    }
}

/// What a message takes that waits. Its bytes are shared, but count for each connection that they wait for, as in a backlog.
fn cost(batch: &Framed) -> usize {
    batch.memory() + OVERHEAD
}

/// What an entry takes beside its message.
const OVERHEAD: usize = 128;

#[cfg(test)]
mod tests {
    use sockeye_proto::wire::MessageKind;

    use super::*;
    use crate::transport::batch::Batch;

    const MOST: usize = 4000;

    fn message(text: &str) -> Rc<Framed> {
        let mut batch = Batch::default();
        batch.push(MessageKind::Text, text.as_bytes()).unwrap();
        Rc::new(batch.framed())
    }

    fn options(slow_reader: SlowReader) -> TopicOptions {
        TopicOptions::default().with_slow_reader(slow_reader).with_waiting_messages(3)
    }

    /// What is kept of each topic is the sum of its messages: it is not summed for each message that comes.
    fn assert_sums(queue: &SlowQueue) {
        for (topic, of) in &queue.topics {
            let sum: usize = of.all.iter().map(|number| queue.items[number].cost()).sum();
            assert_eq!(of.bytes, sum, "topic {topic}");
        }
    }

    fn rest(queue: &mut SlowQueue) -> String {
        assert_sums(queue);
        let mut all = Vec::new();
        while let Some(item) = queue.pop() {
            let frames = item.batch.frames();
            all.extend(
                frames.messages(item.first..frames.len()).map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()),
            );
        }
        assert!(queue.items.is_empty() && queue.bytes == 0 && queue.key_bytes == 0 && queue.topics.is_empty());
        all.join(" ")
    }

    #[test]
    fn beyond_the_bound_a_topic_does_as_its_options_say() {
        for (slow_reader, fourth, left) in [
            (SlowReader::Close, Kept::TooMuch, "1 2 x 3"),
            (SlowReader::DropOldest, Kept::InPlaceOf(1), "2 x 3 4"),
            (SlowReader::DropNewest, Kept::Dropped, "1 2 x 3"),
        ] {
            let mut queue = SlowQueue::default();
            for text in ["1", "2"] {
                assert_eq!(queue.keep(7, options(slow_reader), None, &message(text), MOST), Kept::Queued);
            }
            queue.keep_all(message("x"), 0);
            assert_eq!(queue.keep(7, options(slow_reader), None, &message("3"), MOST), Kept::Queued);
            assert_eq!(queue.keep(7, options(slow_reader), None, &message("4"), MOST), fourth);
            assert_eq!(queue.len_of(7), 3);
            assert_eq!(rest(&mut queue), left);
        }
    }

    #[test]
    fn the_latest_of_each_key_stays() {
        let mut queue = SlowQueue::default();
        let mut keep = |key: &str, text: &str| {
            let key: Option<Rc<[u8]>> = (!key.is_empty()).then(|| key.as_bytes().into());
            queue.keep(7, options(SlowReader::KeepLatest), key.as_ref(), &message(text), MOST)
        };
        assert_eq!(keep("a", "a1"), Kept::Queued);
        assert_eq!(keep("b", "b1"), Kept::Queued);
        assert_eq!(keep("a", "a2"), Kept::InPlaceOf(1));
        assert_eq!(keep("", "1"), Kept::Queued);
        assert_eq!(keep("", "2"), Kept::InPlaceOf(1));
        assert_eq!(keep("c", "c1"), Kept::InPlaceOf(1), "beyond the bound the oldest goes");
        assert_eq!(rest(&mut queue), "a2 2 c1");
    }

    #[test]
    fn keys_count_as_what_waits() {
        let mut queue = SlowQueue::default();
        let options = options(SlowReader::KeepLatest).with_waiting_messages(100);
        let mut kept = Vec::new();
        for number in 0..5 {
            let key: Rc<[u8]> = vec![number; 1000].into();
            kept.push(queue.keep(7, options, Some(&key), &message(&number.to_string()), MOST));
            assert!(queue.bytes <= MOST && queue.key_bytes == 1000 * queue.items.len());
            assert_sums(&queue);
        }
        assert_eq!(kept, [Kept::Queued, Kept::Queued, Kept::Queued, Kept::InPlaceOf(1), Kept::InPlaceOf(1)]);
        assert_eq!(rest(&mut queue), "2 3 4");

        let (mut slow, account, id) = (SlowReaders::default(), Rc::<Account>::default(), ConnId::from_u64(1));
        let key: Rc<[u8]> = vec![0; 1000].into();
        for number in 0..2 {
            slow.keep(id, (7, options), Some(&key), &message("x"), (MOST, &account));
            assert_eq!(account.held(), OVERHEAD + 1000, "message {number}");
        }
        slow.end(id, &account);
        assert_eq!(account.held(), 0);
    }

    #[test]
    fn bytes_are_bounded_for_all_topics_together() {
        let long = message(&"x".repeat(3000));
        for (slow_reader, kept) in [
            (SlowReader::Close, Kept::TooMuch),
            (SlowReader::DropOldest, Kept::Dropped),
            (SlowReader::DropNewest, Kept::Dropped),
            (SlowReader::KeepLatest, Kept::Dropped),
        ] {
            let mut queue = SlowQueue::default();
            assert_eq!(queue.keep(1, options(slow_reader), None, &long, 10), Kept::Queued, "nothing else waits");
            // Nothing of its own topic could be dropped for it.
            assert_eq!(queue.keep(2, options(slow_reader), None, &long, MOST), kept);
            assert_eq!((queue.len_of(1), queue.len_of(2)), (1, 0));
        }
        let mut queue = SlowQueue::default();
        queue.keep(1, options(SlowReader::DropOldest), None, &long, MOST);
        queue.keep_all(message("x"), 0);
        assert_eq!(queue.keep(1, options(SlowReader::DropOldest), None, &long, MOST), Kept::InPlaceOf(1));
    }

    #[test]
    fn who_leaves_a_topic_gets_nothing_more_of_it() {
        let mut queue = SlowQueue::default();
        for text in ["1", "2", "3"] {
            queue.keep(1, options(SlowReader::Close), None, &message(text), MOST);
            queue.keep(2, options(SlowReader::Close), None, &message(&format!("other {text}")), MOST);
        }
        assert_eq!((queue.drop_topic(1), queue.drop_topic(1)), (3, 0));
        assert_eq!(rest(&mut queue), "other 1 other 2 other 3");
    }

    #[test]
    fn nothing_is_dropped_for_a_message_that_has_no_room_even_so() {
        for slow_reader in [SlowReader::DropOldest, SlowReader::KeepLatest] {
            let mut queue = SlowQueue::default();
            let (one, key): (_, Rc<[u8]>) = (message("1"), Rc::from(&b"key"[..]));
            assert_eq!(queue.keep(1, options(slow_reader), Some(&key), &one, MOST), Kept::Queued);
            assert_eq!(queue.keep(2, options(slow_reader), None, &message(&"x".repeat(2500)), MOST), Kept::Queued);
            let long = message(&"y".repeat(2000));
            assert_eq!(queue.keep(1, options(slow_reader), Some(&key), &long, MOST), Kept::Dropped);
            assert_eq!(queue.len_of(1), 1);
        }
    }
}
