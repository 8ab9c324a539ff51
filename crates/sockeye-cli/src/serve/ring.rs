//! The ring of lws-mirror-protocol: the latest messages, and how far each reader got. It knows nothing of the network.
//!
//! Every reader gets every message that was written after it joined, once and in order. Nothing is overwritten: when the
//! slowest reader is [`PAUSE`] messages behind, [`Flow::Pause`] stops reading from all connections, and when all readers are
//! within [`RESUME`], [`Flow::Resume`] starts it again. A reader that others wait for has to catch up, or at least advance by a
//! whole ring every [`PATIENCE`]; otherwise [`Ring::overdue`] returns it, so that a dead reader cannot stop the others. All
//! readers further behind than [`RESUME`] are waited for at the same time. Those less far behind would be waited for next; they
//! have to make some progress meanwhile, so that several dead readers stop the ring once and not one after another.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use sockeye::proto::time::Instant;

/// Messages are numbered from 0 and never renumbered; `first` is the number of `messages[0]`.
///
/// Invariants: `messages.len() <= CAPACITY`; `first <= reader.next <= first + messages.len()`;
/// `messages[i].waiting` is the number of readers whose `next <= first + i`, and is not 0 for `messages[0]`.
#[derive(Debug)]
pub(crate) struct Ring<Id> {
    messages: VecDeque<Message>,
    first: u64,
    readers: HashMap<Id, Reader>,
    /// The readers that are `resting`, and some that left.
    idle: Vec<Id>,
    paused: bool,
}

#[derive(Debug)]
struct Message {
    text: Arc<str>,
    waiting: usize,
}

#[derive(Clone, Copy, Debug)]
struct Reader {
    next: u64,
    /// It has read everything, and the next message wakes it.
    resting: bool,
    behind: Option<Behind>,
}

/// Since when others have waited for a reader, where it was then, and by how many messages it has to move.
#[derive(Clone, Copy, Debug)]
struct Behind {
    since: Instant,
    next: u64,
    least: u64,
}

/// What a change of the ring means for reading from the network.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub(crate) enum Flow {
    Unchanged,
    /// Stop reading from all, until `Resume`.
    Pause,
    Resume,
}

/// There was no room; the message was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Full;

impl<Id: Copy + Eq + Hash> Ring<Id> {
    pub(crate) fn new() -> Self {
        Self { messages: VecDeque::new(), first: 0, readers: HashMap::new(), idle: Vec::new(), paused: false }
    }

    /// Adds a reader of all messages from now on.
    pub(crate) fn join(&mut self, id: Id) {
        self.readers.insert(id, Reader { next: self.end(), resting: true, behind: None });
        self.idle.push(id);
    }

    pub(crate) fn leave(&mut self, id: Id) -> Flow {
        let Some(reader) = self.readers.remove(&id) else { return Flow::Unchanged };
        for message in self.messages.range_mut(self.index(reader.next)..) {
            message.waiting -= 1;
        }
        // Bounds `idle` by twice the number of readers, at a cost that is spread over the leaving ones.
        if self.idle.len() > 2 * self.readers.len() {
            self.idle.retain(|id| self.readers.contains_key(id));
        }
        self.trim()
    }

    pub(crate) fn push(&mut self, text: String, now: Instant) -> Result<Flow, Full> {
        if self.readers.is_empty() {
            return Ok(Flow::Unchanged);
        }
        if self.messages.len() == CAPACITY {
            return Err(Full);
        }
        self.messages.push_back(Message { text: text.into(), waiting: self.readers.len() });
        if self.paused || self.messages.len() < PAUSE {
            return Ok(Flow::Unchanged);
        }
        self.paused = true;
        self.wait_for_the_slow(now);
        Ok(Flow::Pause)
    }

    /// Names the readers that were resting when the last message came, each once.
    pub(crate) fn wake(&mut self, mut each: impl FnMut(Id)) {
        for id in self.idle.drain(..) {
            if let Some(reader) = self.readers.get_mut(&id) {
                reader.resting = false;
                each(id);
            }
        }
    }

    /// The next message for `id`. When there is none, a later message will wake it.
    pub(crate) fn next(&mut self, id: Id) -> Option<&Arc<str>> {
        let end = self.end();
        let reader = self.readers.get_mut(&id)?;
        if reader.next == end {
            if !reader.resting {
                reader.resting = true;
                self.idle.push(id);
            }
            return None;
        }
        let index = (reader.next - self.first) as usize;
        Some(&self.messages[index].text)
    }

    /// `id` has taken its next message.
    pub(crate) fn taken(&mut self, id: Id) -> Flow {
        let end = self.end();
        let Some(reader) = self.readers.get_mut(&id) else { return Flow::Unchanged };
        let taken = reader.next;
        if taken == end {
            return Flow::Unchanged;
        }
        reader.next += 1;
        if reader.next == end {
            reader.behind = None;
        }
        let index = self.index(taken);
        self.messages[index].waiting -= 1;
        self.trim()
    }

    /// Readers that others have waited for and that have not moved enough since. To be asked regularly.
    pub(crate) fn overdue(&mut self, now: Instant) -> Vec<Id> {
        if self.paused {
            // Those that were waited for may have caught up or left, and still it is paused.
            self.wait_for_the_slow(now);
        }
        let mut overdue = Vec::new();
        for (id, reader) in &mut self.readers {
            let Some(behind) = reader.behind else { continue };
            if now.saturating_duration_since(behind.since) < PATIENCE {
                continue;
            }
            if reader.next - behind.next < behind.least {
                overdue.push(*id);
            }
            // One that was not in the way is let go, until the next pause.
            reader.behind =
                (behind.least == LEAST_WAITED_FOR).then_some(Behind { since: now, next: reader.next, ..behind });
        }
        overdue
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused
    }

    /// Begins to wait for the readers that keep the ring from being resumed, and to watch the others.
    fn wait_for_the_slow(&mut self, now: Instant) {
        let end = self.end();
        for reader in self.readers.values_mut().filter(|reader| reader.next < end) {
            let least = if end - reader.next > RESUME as u64 { LEAST_WAITED_FOR } else { 1 };
            if reader.behind.is_none_or(|behind| behind.least < least) {
                reader.behind = Some(Behind { since: now, next: reader.next, least });
            }
        }
    }

    /// Forgets what all readers have read.
    fn trim(&mut self) -> Flow {
        while self.messages.front().is_some_and(|message| message.waiting == 0) {
            self.messages.pop_front();
            self.first += 1;
        }
        if self.paused && self.messages.len() <= RESUME {
            self.paused = false;
            return Flow::Resume;
        }
        Flow::Unchanged
    }

    /// The number of the next message.
    fn end(&self) -> u64 {
        self.first + self.messages.len() as u64
    }

    /// Where the message `number` is; `number >= first`, so the difference is at most `CAPACITY`.
    fn index(&self, number: u64) -> usize {
        (number - self.first) as usize
    }
}

/// The numbers of the test server of libwebsockets.
pub(crate) const CAPACITY: usize = 128;
pub(crate) const PAUSE: usize = CAPACITY - 2;
pub(crate) const RESUME: usize = CAPACITY - 15;

/// A reader that others wait for moves by a whole ring in a [`PATIENCE`].
const LEAST_WAITED_FOR: u64 = CAPACITY as u64;

/// Long enough for a phone that changes its network, short enough for those who wait for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const START: Instant = Instant::from_nanos(0);

    fn read(ring: &mut Ring<u32>, id: u32) -> Option<String> {
        let text = ring.next(id)?.to_string();
        let _ = ring.taken(id);
        Some(text)
    }

    fn fill(ring: &mut Ring<u32>, count: usize) -> Vec<Flow> {
        (0..count).map(|number| ring.push(number.to_string(), START).unwrap()).collect()
    }

    #[test]
    fn everyone_gets_everything_from_when_it_joined() {
        let mut ring = Ring::new();
        ring.join(1);
        let _ = ring.push("a".into(), START);
        ring.join(2);
        let _ = ring.push("b".into(), START);
        assert_eq!(
            [read(&mut ring, 1), read(&mut ring, 1), read(&mut ring, 1)],
            [Some("a".into()), Some("b".into()), None]
        );
        assert_eq!([read(&mut ring, 2), read(&mut ring, 2)], [Some("b".into()), None]);
        assert!(ring.messages.is_empty());
    }

    #[test]
    fn without_readers_nothing_is_kept() {
        let mut ring = Ring::<u32>::new();
        assert_eq!(fill(&mut ring, 1000), [Flow::Unchanged; 1000]);
        assert!(ring.messages.is_empty());
    }

    #[test]
    fn pauses_at_126_and_resumes_at_113() {
        let mut ring = Ring::new();
        ring.join(1);
        ring.join(2);
        let flows = fill(&mut ring, PAUSE);
        assert_eq!(flows.iter().position(|flow| *flow == Flow::Pause), Some(125));
        while read(&mut ring, 1).is_some() {}
        assert!(ring.is_paused(), "the other reader still has all of them");
        for left in (RESUME + 1..PAUSE).rev() {
            assert_eq!(ring.taken(2), Flow::Unchanged, "{left}");
        }
        assert_eq!(ring.taken(2), Flow::Resume);
        assert_eq!(ring.messages.len(), 113);
    }

    #[test]
    fn a_full_ring_takes_nothing_and_loses_nothing() {
        let mut ring = Ring::new();
        ring.join(1);
        fill(&mut ring, CAPACITY);
        assert_eq!(ring.push("over".into(), START), Err(Full));
        let all: Vec<_> = std::iter::from_fn(|| read(&mut ring, 1)).collect();
        assert_eq!(all.len(), CAPACITY);
        assert_eq!(all[127], "127");
    }

    #[test]
    fn the_dead_reader_that_leaves_frees_the_others() {
        let mut ring = Ring::new();
        ring.join(1);
        ring.join(2);
        fill(&mut ring, PAUSE);
        while read(&mut ring, 1).is_some() {}
        assert_eq!(ring.leave(2), Flow::Resume);
        assert!(ring.messages.is_empty());
        assert_eq!(ring.leave(2), Flow::Unchanged);
    }

    #[test]
    fn only_the_reader_that_does_not_move_is_overdue() {
        let mut ring = Ring::new();
        for id in [1, 2, 3] {
            ring.join(id);
        }
        fill(&mut ring, PAUSE);
        while read(&mut ring, 1).is_some() {}
        for _ in 0..20 {
            read(&mut ring, 2);
        }
        assert_eq!(ring.overdue(START + PATIENCE / 2), [0_u32; 0]);
        while read(&mut ring, 2).is_some() {}
        assert_eq!(ring.overdue(START + PATIENCE), [3]);
    }

    #[test]
    fn a_reader_that_keeps_moving_may_stay_behind() {
        let mut ring = Ring::new();
        ring.join(1);
        fill(&mut ring, PAUSE);
        for round in 1..10 {
            for _ in 0..CAPACITY {
                read(&mut ring, 1);
                let _ = ring.push("more".into(), START);
            }
            assert_eq!(ring.overdue(START + PATIENCE * round), [0_u32; 0]);
        }
        for _ in 0..CAPACITY - 1 {
            read(&mut ring, 1);
            let _ = ring.push("more".into(), START);
        }
        assert_eq!(ring.overdue(START + PATIENCE * 10), [1]);
    }

    #[test]
    fn the_next_slowest_is_waited_for_too() {
        let mut ring = Ring::new();
        ring.join(1);
        fill(&mut ring, 5);
        ring.join(2);
        fill(&mut ring, PAUSE - 5);
        // It leaves by itself; the other one keeps the ring paused now.
        assert_eq!(ring.leave(1), Flow::Unchanged);
        assert!(ring.is_paused());
        assert_eq!(ring.overdue(START + PATIENCE / 5), [0_u32; 0]);
        assert_eq!(ring.overdue(START + PATIENCE), [2], "it was waited for from the pause on");

        // And one that fell behind by what was read meanwhile, while it was paused.
        let mut ring = Ring::new();
        ring.join(1);
        fill(&mut ring, 20);
        ring.join(2);
        fill(&mut ring, PAUSE - 20);
        for _ in 0..10 {
            read(&mut ring, 1);
        }
        read(&mut ring, 2);
        assert!(ring.is_paused());
        assert_eq!(ring.overdue(START + PATIENCE), [1], "ten messages are not enough");
    }

    #[test]
    fn dead_readers_all_over_the_ring_stop_it_once() {
        let mut ring = Ring::new();
        for id in 0..10 {
            ring.join(id);
            fill(&mut ring, 10);
        }
        ring.join(10);
        fill(&mut ring, PAUSE - 100);
        // Slow, but it reads; and it is not in the way.
        read(&mut ring, 5);
        assert!(ring.is_paused());
        let mut overdue = ring.overdue(START + PATIENCE);
        overdue.sort_unstable();
        assert_eq!(overdue, [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]);
        for id in overdue {
            let _ = ring.leave(id);
        }
        assert!(!ring.is_paused());
        assert_eq!(ring.overdue(START + PATIENCE * 3), [0_u32; 0], "nobody waits for it");
    }

    #[test]
    fn each_resting_reader_is_woken_once() {
        let mut ring = Ring::new();
        ring.join(1);
        ring.join(2);
        let woken = |ring: &mut Ring<u32>| {
            let mut ids = Vec::new();
            ring.wake(|id| ids.push(id));
            ids
        };
        fill(&mut ring, 1);
        assert_eq!(woken(&mut ring), [1, 2]);
        fill(&mut ring, 1);
        assert_eq!(woken(&mut ring), [0_u32; 0], "both were woken and have not come yet");
        while read(&mut ring, 2).is_some() {}
        assert_eq!(ring.next(2), None);
        fill(&mut ring, 1);
        assert_eq!(woken(&mut ring), [2]);
    }

    proptest! {
        /// Against a model without bounds: each reader sees exactly the messages of its time, in order, and the bounds hold.
        #[test]
        fn agrees_with_the_model(steps in proptest::collection::vec((0u8..10, 0u32..5), 0..2000)) {
            let mut ring = Ring::new();
            let mut expected: HashMap<u32, VecDeque<String>> = HashMap::new();
            let mut paused = false;
            for (number, (action, id)) in steps.into_iter().enumerate() {
                let flow = match action {
                    0 if !expected.contains_key(&id) => {
                        ring.join(id);
                        expected.insert(id, VecDeque::new());
                        Flow::Unchanged
                    }
                    1 if number % 7 == 0 => {
                        expected.remove(&id);
                        ring.leave(id)
                    }
                    2..=4 => {
                        prop_assert_eq!(ring.next(id).map(|text| &**text), expected.get(&id).and_then(|list| list.front()).map(String::as_str));
                        expected.get_mut(&id).and_then(VecDeque::pop_front);
                        ring.taken(id)
                    }
                    _ if paused => Flow::Unchanged,
                    _ => {
                        expected.values_mut().for_each(|list| list.push_back(number.to_string()));
                        ring.push(number.to_string(), START).expect("room while it is not paused")
                    }
                };
                match flow {
                    Flow::Unchanged => {}
                    Flow::Pause => paused = true,
                    Flow::Resume => paused = false,
                }
                prop_assert_eq!(ring.is_paused(), paused);
                let most = expected.values().map(VecDeque::len).max().unwrap_or(0);
                prop_assert_eq!(ring.messages.len(), most);
                prop_assert!(ring.idle.len() <= 10);
            }
        }
    }
}
