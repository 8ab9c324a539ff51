//! Messages that wait for the next flush: published ones, for all connections of an endpoint, and pushed ones, for one of them.
//!
//! The loop flushes at the end of a turn, so that one send for each connection carries all of it. What a connection sends
//! before that, in its own step, goes behind what waits for it: then it is *caught up*, and the flush sends the rest.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;

use sockeye_proto::wire::MessageKind;

use crate::transport::batch::{Batch, Frames};

/// The messages that wait, for the loop and for the callbacks that it calls: who sends looks here first.
pub(crate) struct Outgoing {
    /// Whether anything waits: one flag, since it is looked at before each message.
    any: Cell<bool>,
    endpoints: RefCell<Vec<Waiting>>,
    /// The most bytes that may wait for one connection.
    pub(crate) hard: usize,
}

/// What waits for the connections of one endpoint.
#[derive(Default)]
pub(crate) struct Waiting {
    /// For all of them.
    pub(crate) published: Batch,
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
}

/// Consecutive messages of a batch.
pub(crate) struct Run<'a> {
    frames: Frames<'a>,
    messages: Range<usize>,
}

impl<'a> Run<'a> {
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
        Self { any: Cell::new(false), endpoints: RefCell::new(endpoints), hard }
    }

    /// Whether nothing waits.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        !self.any.get()
    }

    /// The number of endpoints.
    pub(crate) fn endpoints(&self) -> u16 {
        self.endpoints.borrow().len() as u16
    }

    fn with<R>(&self, endpoint: u16, call: impl FnOnce(&mut Waiting) -> R) -> Option<R> {
        self.endpoints.borrow_mut().get_mut(usize::from(endpoint)).map(call)
    }

    pub(crate) fn publish(&self, endpoint: u16, kind: MessageKind, payload: &[u8]) {
        self.any.set(true);
        if let Some(Err(error)) = self.with(endpoint, |waiting| waiting.published.push(kind, payload)) {
            tracing::error!(%error, bytes = payload.len(), "no memory to publish a message, which is lost");
        }
    }

    /// Keeps a message for one connection, for which `queued` bytes wait elsewhere. False when there is no room for it.
    pub(crate) fn push(&self, endpoint: u16, id: u64, queued: usize, kind: MessageKind, payload: &[u8]) -> bool {
        let queued = queued.saturating_add(self.pushed_bytes(endpoint, id));
        if queued > 0 && queued.saturating_add(payload.len()) > self.hard {
            return false;
        }
        self.any.set(true);
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
        let has_waiting = |waiting: &mut Waiting| {
            let published = waiting.published.frames();
            waiting.apart.get(&id).map_or(published.len(), |apart| apart.len(published)) > 0
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
        self.with(endpoint, |waiting| {
            let fresh = Apart::default();
            let apart = waiting.apart.get(&id).unwrap_or(&fresh);
            let bytes = apart.bytes(waiting.published.frames());
            if bytes == 0 || bytes > most {
                return;
            }
            apart.runs(waiting.published.frames(), &mut put);
            let pushed = apart.pushed.bytes();
            waiting.pushed_bytes -= pushed;
            let taken = waiting.published.len();
            waiting.apart.insert(id, Apart { taken, ..Apart::default() });
        });
    }

    /// Clears the flag: everything is about to be taken.
    pub(crate) fn begin_flush(&self) {
        self.any.set(false);
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
    /// What differs at a connection; `None` if it is sent what all are sent.
    pub(crate) fn take_apart(&mut self, id: u64) -> Option<Apart> {
        if self.apart.is_empty() { None } else { self.apart.remove(&id) }
    }

    /// The connections at which something differs.
    pub(crate) fn into_apart(self) -> impl Iterator<Item = (u64, Apart)> {
        self.apart.into_iter()
    }
}

impl Apart {
    /// How many bytes wait for the connection, of the published ones and its own.
    pub(crate) fn bytes(&self, published: Frames<'_>) -> usize {
        self.published_bytes(published) + self.pushed.bytes()
    }

    /// How many bytes of the published ones wait for it.
    pub(crate) fn published_bytes(&self, published: Frames<'_>) -> usize {
        published.bytes(self.taken..published.len()).len()
    }

    /// How many messages wait for it.
    pub(crate) fn len(&self, published: Frames<'_>) -> usize {
        published.len() - self.taken.min(published.len()) + self.pushed.len()
    }

    /// How many published messages it was sent ahead of the others, if nothing else is different.
    pub(crate) fn only_taken(&self) -> Option<usize> {
        self.pushed.is_empty().then_some(self.taken)
    }

    /// All that waits for it, in order.
    pub(crate) fn runs(&self, published: Frames<'_>, put: &mut impl FnMut(&Run<'_>)) {
        let mut taken = self.taken;
        for (index, &behind) in self.behind.iter().enumerate() {
            if behind > taken {
                put(&Run { frames: published, messages: taken..behind });
                taken = behind;
            }
            put(&Run { frames: self.pushed.frames(), messages: index..index + 1 });
        }
        if taken < published.len() {
            put(&Run { frames: published, messages: taken..published.len() });
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
}
