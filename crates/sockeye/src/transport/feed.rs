//! The end of what was published, kept once for all connections that it was sent to.
//!
//! What is sent compressed belongs to a connection's history, and most of those that something is published for send nothing
//! else. So a connection notes which part of the feed it was sent ([`Told`]), and copies the end of that when it next
//! compresses a message of its own.

use std::ops::Range;
use std::rc::Rc;

use sockeye_proto::conn::Deflation;
use sockeye_proto::ext::deflate::WindowBits;

use crate::transport::account::{Account, Charge};

/// The feeds of a loop: one for each endpoint and window.
#[derive(Default)]
pub(super) struct Feeds {
    feeds: Vec<Feed>,
    charge: Charge,
    /// Where the next feed begins: behind all there have been, so that no place means two things.
    next: u64,
}

/// The compressed messages that were published for an endpoint, uncompressed, in the order in which they were first sent.
struct Feed {
    endpoint: u16,
    window: WindowBits,
    /// The last ones, at least as much as a history has and at most twice that.
    bytes: Vec<u8>,
    /// The place where all of them end.
    end: u64,
}

/// Which part of its feed a connection was sent last, behind what is in its history.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Told {
    from: u64,
    to: u64,
}

impl Feeds {
    /// Adds the messages of a batch, of which a history has at most `most` bytes. Returns where they are.
    pub(super) fn add<'m>(
        &mut self,
        endpoint: u16,
        window: WindowBits,
        most: usize,
        messages: impl Iterator<Item = &'m [u8]>,
        account: &Rc<Account>,
    ) -> Range<u64> {
        let known = self.feeds.iter().position(|feed| (feed.endpoint, feed.window) == (endpoint, window));
        let index = known.unwrap_or_else(|| {
            // Places begin with 1, where no `Told` ends by default.
            let end = self.next.max(1);
            self.feeds.push(Feed { endpoint, window, bytes: Vec::new(), end });
            self.feeds.len() - 1
        });
        let feed = &mut self.feeds[index];
        let start = feed.end;
        messages.for_each(|message| feed.add(message, most));
        let range = start..feed.end;
        self.charge.set(account, self.feeds.iter().map(|feed| feed.bytes.capacity()).sum());
        range
    }

    /// Adds what a connection was sent to its history, as far as that is still here, and empties `told`.
    pub(super) fn fold(&self, told: &mut Told, endpoint: u16, window: WindowBits, deflation: &mut Deflation) {
        let Told { from, to } = std::mem::take(told);
        let from = from.max(to.saturating_sub(deflation.history().most() as u64));
        if from == to {
            return;
        }
        let feed = self.feeds.iter().find(|feed| (feed.endpoint, feed.window) == (endpoint, window));
        let bytes = feed.map_or(&[][..], |feed| feed.part(from, to));
        if bytes.len() as u64 != to - from {
            // A sender may refer to less than its receiver keeps, but to nothing before a gap.
            deflation.forget();
        }
        deflation.sent(bytes);
    }

    /// Gives all of it back. Histories that were to be made of it begin anew.
    pub(super) fn clear(&mut self) {
        self.next = self.feeds.iter().map(|feed| feed.end + 1).fold(self.next, u64::max);
        self.feeds = Vec::new();
        self.charge = Charge::default();
    }
}

impl Told {
    /// Whether there is nothing that the history lacks.
    pub(super) fn is_empty(self) -> bool {
        self.from == self.to
    }

    /// Whether a part of the feed follows upon this.
    #[inline]
    pub(super) fn is_before(&self, part: &Range<u64>) -> bool {
        part.start == self.to
    }

    /// The connection was sent that part, too.
    #[inline]
    pub(super) fn extend(&mut self, part: &Range<u64>) {
        self.to = part.end;
    }

    /// The connection was sent this part, and has all before it in its history.
    pub(super) fn begin(part: Range<u64>) -> Self {
        Self { from: part.start, to: part.end }
    }
}

impl Feed {
    fn add(&mut self, message: &[u8], most: usize) {
        self.end += message.len() as u64;
        if message.len() > most {
            // Nothing before it is in any history. What is kept has no gap.
            self.bytes.clear();
        }
        let message = &message[message.len().saturating_sub(most)..];
        if self.bytes.len() + message.len() > 2 * most {
            self.bytes.drain(..self.bytes.len().saturating_sub(most));
        }
        if self.bytes.capacity() == 0 {
            self.bytes.reserve_exact(2 * most);
        }
        self.bytes.extend_from_slice(message);
    }

    /// What is here of a part: all of it, or its end, or nothing.
    fn part(&self, from: u64, to: u64) -> &[u8] {
        let start = self.end - self.bytes.len() as u64;
        // What is between two places of the feed is no longer than its bytes.
        let index = |place: u64| place.saturating_sub(start) as usize;
        if to > self.end { &[] } else { self.bytes.get(index(from)..index(to)).unwrap_or_default() }
    }
}

#[cfg(all(test, feature = "deflate"))]
mod tests {
    use sockeye_proto::ext::deflate::Direction;

    use super::*;

    const MOST: usize = 100;

    fn deflation() -> Deflation {
        Deflation::new(Direction { window: WindowBits::MAX, takeover: true }, MOST)
    }

    fn message(number: usize) -> Vec<u8> {
        (0..number * 37 % 83 + number % 7 * 29).map(|at| (at * 3 + number) as u8).collect()
    }

    fn publish(feeds: &mut Feeds, endpoint: u16, messages: &[Vec<u8>]) -> Range<u64> {
        feeds.add(endpoint, WindowBits::MAX, MOST, messages.iter().map(|message| &message[..]), &Rc::default())
    }

    struct Listener {
        told: Told,
        deflation: Deflation,
        /// All that belongs to the history.
        all: Vec<u8>,
    }

    impl Listener {
        fn hear(&mut self, feeds: &Feeds, endpoint: u16, part: &Range<u64>, messages: &[Vec<u8>]) {
            if self.told.is_before(part) {
                self.told.extend(part);
            } else {
                feeds.fold(&mut self.told, endpoint, WindowBits::MAX, &mut self.deflation);
                self.told = Told::begin(part.clone());
            }
            self.all.extend(messages.concat());
        }

        fn fold(&mut self, feeds: &Feeds, endpoint: u16) {
            feeds.fold(&mut self.told, endpoint, WindowBits::MAX, &mut self.deflation);
            assert!(self.told.is_empty());
        }
    }

    /// Listeners hear and miss messages, send their own and fold at random. A history is always the end of what its listener was
    /// sent and sent itself; one that hears everything has as much of it as there may be.
    #[test]
    fn a_history_ends_with_what_was_published() {
        let (mut feeds, mut state) = (Feeds::default(), 1_u64);
        let mut chance = |of: u64| {
            state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
            (state >> 33) % of
        };
        let listener = || Listener { told: Told::default(), deflation: deflation(), all: Vec::new() };
        let mut listeners: Vec<Listener> = (0..8).map(|_| listener()).collect();
        for number in 0..4000 {
            let endpoint = chance(2);
            let messages: Vec<_> = (0..chance(3) as usize).map(|more| message(number * 3 + more)).collect();
            let part = publish(&mut feeds, endpoint as u16, &messages);
            for (index, listener) in listeners.iter_mut().enumerate().skip(endpoint as usize * 4).take(4) {
                // The last of each endpoint misses some.
                if index % 4 == 3 && chance(4) == 0 {
                    continue;
                }
                listener.hear(&feeds, endpoint as u16, &part, &messages);
                match chance(12) {
                    0 => {
                        listener.fold(&feeds, endpoint as u16);
                        let own = message(number + index);
                        listener.deflation.sent(&own);
                        listener.all.extend(own);
                    }
                    1 => listener.fold(&feeds, endpoint as u16),
                    _ => continue,
                }
                let history = listener.deflation.history().bytes();
                assert!(listener.all.ends_with(&history), "step {number}, listener {index}");
                if index % 4 != 3 {
                    assert_eq!(history.len(), listener.all.len().min(MOST), "step {number}, listener {index}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_here_any_more_is_a_gap() {
        let mut feeds = Feeds::default();
        let mut heard = deflation();
        heard.sent(b"before");
        let first = publish(&mut feeds, 0, &[vec![1; 60]]);
        // Nothing is missing.
        let mut told = Told::begin(first.clone());
        let mut other = deflation();
        other.sent(b"before");
        feeds.fold(&mut told, 0, WindowBits::MAX, &mut other);
        assert_eq!(other.history().bytes(), [&b"before"[..], &[1; 60]].concat());
        // A part of it is, and then all.
        publish(&mut feeds, 0, &[vec![2; 75]]);
        for kept in [25, 0] {
            publish(&mut feeds, 0, &[vec![3; 80]]);
            let mut told = Told::begin(first.clone());
            feeds.fold(&mut told, 0, WindowBits::MAX, &mut heard);
            assert_eq!(heard.history().bytes(), vec![1; kept]);
        }
        // Of another endpoint or window there is nothing.
        let last = publish(&mut feeds, 0, &[vec![4; 10]]);
        for (endpoint, bits) in [(1, 15), (0, 14)] {
            let mut told = Told::begin(last.clone());
            heard.sent(b"before");
            feeds.fold(&mut told, endpoint, WindowBits::try_from(bits).unwrap(), &mut heard);
            assert_eq!(heard.history().bytes(), [0; 0]);
        }
    }

    /// A place of a feed that was given back means nothing in the next.
    #[test]
    fn what_was_given_back_is_not_taken_for_what_is_new() {
        let (mut feeds, account) = (Feeds::default(), Rc::<Account>::default());
        let mut tolds = Vec::new();
        for round in 1..20 {
            let messages = [vec![round; 50], vec![round; 1]];
            let messages = messages.iter().map(|message| &message[..]);
            let part = feeds.add(u16::from(round % 3), WindowBits::MAX, MOST, messages, &account);
            tolds.push(Told::begin(part));
            assert!(account.held() > 0);
            if round % 4 == 0 {
                feeds.clear();
                assert_eq!(account.held(), 0);
            }
        }
        for (index, told) in tolds.iter_mut().enumerate() {
            let mut deflation = deflation();
            let round = index as u8 + 1;
            feeds.fold(told, u16::from(round % 3), WindowBits::MAX, &mut deflation);
            let kept = round > 16;
            assert_eq!(deflation.history().bytes(), if kept { vec![round; 51] } else { Vec::new() }, "{round}");
        }
    }

    #[test]
    fn a_feed_is_bounded() {
        let mut feeds = Feeds::default();
        for number in 0..1000 {
            publish(&mut feeds, 0, &[message(number), vec![7; number * 13 % 500]]);
            let feed = &feeds.feeds[0];
            assert!(feed.bytes.capacity() == 2 * MOST || feed.bytes.is_empty());
            assert!(number < 10 || feed.bytes.len() >= MOST);
        }
        // Without a history nothing is kept.
        feeds.add(1, WindowBits::MAX, 0, [&[1; 50][..]].into_iter(), &Rc::default());
        assert_eq!(feeds.feeds[1].bytes.capacity(), 0);
    }
}
