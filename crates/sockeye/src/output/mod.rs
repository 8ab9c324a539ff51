//! The way of bytes to one socket: the loop's cork first, the connection's own queue for what the socket did not take.
//!
//! ```text
//!  put ─▶ cork (of the loop, empty between connections) ─▶ send ─▶ socket
//!                                                           │ short or would block
//!                                                           ▼
//!                                            queue (of the connection, None when empty)
//! ```
//!
//! Invariants: what is in the cork comes behind all that is in the queue, so bytes leave in the order in which they were
//! put; between the steps of two connections the cork is empty.

pub(crate) mod pool;

mod masked;
mod unit;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;

use sockeye_proto::wire::EncodedHeader;

use self::pool::{Buffer, MAPPED, Pool, release};
use crate::statistics::{Culprit, Statistics, Stopwatch, Whose};
use crate::sys::{DescriptorKind, Handle, Sys};

/// The cork is sent when it has this many bytes.
pub(crate) const CORK: usize = 64 * 1024;
/// A payload of this many bytes is not copied into the cork: it goes by the same call from where it is.
const DIRECT: usize = 8 * 1024;
/// A rest of this many bytes is shared among connections.
const SHARE: usize = 512;
/// A piece of the queue that small rests are gathered in. Twice what the allocator maps by itself, so that the memory of a
/// peer that was far behind goes back to the system and leaves no holes.
const PIECE: usize = 2 * MAPPED;
/// At most so many pieces of the queue go in one call.
const PIECES: usize = 16;

/// What the kernel said about one socket, kept because it says so only once (edge-triggered).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Bits(u8);

impl Bits {
    pub(crate) const READABLE: u8 = 1;
    pub(crate) const WRITABLE: u8 = 2;
    /// The peer ended its sending side; what it sent before is still to be read.
    pub(crate) const READ_CLOSED: u8 = 4;
    /// Reset or error: nothing more can be sent.
    pub(crate) const BROKEN: u8 = 8;
    /// The writable callback was called once more after a Close frame was queued: now that frame goes.
    pub(crate) const LAST_CALL: u8 = 16;
    /// The peer took all that waited, since this was last cleared.
    pub(crate) const MOVED: u8 = 32;
    /// It is no stream socket: nothing goes past the queue, and each write is a call of its own.
    pub(crate) const UNITS: u8 = 64;

    pub(crate) fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }

    /// A stream socket, writable and not broken.
    #[inline]
    pub(crate) fn is_writable(self) -> bool {
        self.0 & (Self::WRITABLE | Self::BROKEN | Self::UNITS) == Self::WRITABLE
    }

    pub(crate) fn set(&mut self, bit: u8) {
        self.0 |= bit;
    }

    pub(crate) fn clear(&mut self, bit: u8) {
        self.0 &= !bit;
    }
}

/// Bytes that the socket has not taken yet.
#[derive(Default)]
pub(crate) struct Queue {
    pieces: VecDeque<Piece>,
    /// Invariant: the sum of what is left of the pieces.
    len: usize,
    /// Bytes that the peer took since this was last asked.
    moved: usize,
}

struct Piece {
    data: Data,
    /// Invariant: `sent < data.len()`.
    sent: usize,
}

enum Data {
    Owned(Vec<u8>),
    Shared(Rc<Buffer>),
}

impl Piece {
    fn rest(&self) -> &[u8] {
        let all = match &self.data {
            Data::Owned(bytes) => bytes.as_slice(),
            Data::Shared(bytes) => bytes.0.as_slice(),
        };
        &all[self.sent..]
    }
}

impl Queue {
    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes that the peer took since the last time.
    pub(crate) fn take_moved(&mut self) -> usize {
        std::mem::take(&mut self.moved)
    }

    fn push_bytes(&mut self, bytes: &[u8], pool: &RefCell<Pool>) {
        if bytes.is_empty() {
            return;
        }
        self.len += bytes.len();
        if let Some(Piece { data: Data::Owned(last), .. }) = self.pieces.back_mut() {
            if last.len() + bytes.len() <= PIECE {
                last.extend_from_slice(bytes);
                return;
            }
        }
        let mut buffer = pool.borrow_mut().take();
        buffer.extend_from_slice(bytes);
        self.pieces.push_back(Piece { data: Data::Owned(buffer), sent: 0 });
    }

    fn push_rest(&mut self, data: Data, sent: usize) {
        let piece = Piece { data, sent };
        self.len += piece.rest().len();
        if !piece.rest().is_empty() {
            self.pieces.push_back(piece);
        }
    }

    fn advance(&mut self, mut taken: usize, pool: &RefCell<Pool>) {
        self.len -= taken;
        self.moved += taken;
        while let Some(front) = self.pieces.front_mut() {
            let rest = front.rest().len();
            if taken < rest {
                front.sent += taken;
                return;
            }
            taken -= rest;
            if let Some(Piece { data: Data::Owned(buffer), .. }) = self.pieces.pop_front() {
                pool.borrow_mut().give(buffer);
            }
        }
    }
}

/// A connection that breaks with much unsent leaves nothing behind.
impl Drop for Queue {
    fn drop(&mut self) {
        for piece in self.pieces.drain(..) {
            if let Data::Owned(buffer) = piece.data {
                release(buffer);
            }
        }
    }
}

/// One connection's socket: its part of the way out.
pub(crate) struct Link {
    pub(crate) handle: Handle,
    pub(crate) kind: DescriptorKind,
    pub(crate) bits: Bits,
    /// What the socket has not taken; `None` when nothing waits.
    pub(crate) queue: Option<Box<Queue>>,
}

impl Link {
    pub(crate) fn new(handle: Handle) -> Self {
        Self { handle, kind: DescriptorKind::Stream, bits: Bits::default(), queue: None }
    }

    /// It is no accepted or connected socket of ours.
    pub(crate) fn set_kind(&mut self, kind: DescriptorKind) {
        self.kind = kind;
        if kind != DescriptorKind::Stream {
            self.bits.set(Bits::UNITS);
        }
    }

    /// Whether it has room for output and none waits, whatever it is.
    pub(crate) fn has_room(&self) -> bool {
        self.queue.is_none() && self.bits.has(Bits::WRITABLE) && !self.bits.has(Bits::BROKEN)
    }

    /// Bytes that wait for the socket.
    pub(crate) fn queued(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.len())
    }

    /// Whether the stream socket takes data, as far as is known.
    #[inline]
    pub(crate) fn is_clear(&self) -> bool {
        self.queue.is_none() && self.bits.is_writable()
    }
}

/// The loop's part of the way out, lent to one connection after another.
pub(crate) struct Outlet {
    pub(crate) sys: Box<dyn Sys>,
    /// The one cork buffer, empty between steps.
    pub(crate) cork: Vec<u8>,
    pub(crate) pool: Rc<RefCell<Pool>>,
    /// What the running step may still send in writable callbacks, in bytes; each frame costs `frame_cost` beside its
    /// payload.
    pub(crate) budget: usize,
    pub(crate) frame_cost: usize,
    /// Queued bytes under which a writable callback may go on sending.
    pub(crate) low_water: usize,
    /// Here because whatever moves bytes, and so all that is counted often, has this at hand.
    pub(crate) statistics: Statistics,
    /// Looked at where the same things happen.
    pub(crate) stopwatch: Stopwatch,
    /// Why the last connection broke whose output failed.
    pub(crate) send_error: Option<io::ErrorKind>,
}

impl Outlet {
    pub(crate) fn new(sys: Box<dyn Sys>, pool: Rc<RefCell<Pool>>, frame_cost: usize, low_water: usize) -> Self {
        let (statistics, stopwatch) = (Statistics::default(), Stopwatch::new(None));
        Self { sys, cork: Vec::new(), pool, budget: 0, frame_cost, low_water, statistics, stopwatch, send_error: None }
    }

    /// A piece of work is over.
    #[cold]
    pub(crate) fn lap(&mut self, culprit: Culprit, whose: Whose) {
        if self.stopwatch.is_running() {
            let now = self.sys.now();
            self.stopwatch.lap(now, culprit, whose);
        }
    }

    /// A callback of which there are many is over.
    pub(crate) fn lap_if_watchful(&mut self, culprit: Culprit, whose: Whose) {
        if self.stopwatch.is_watchful() {
            self.lap(culprit, whose);
        }
    }

    /// What was done since the last look at the clock is over, but for `unfinished` steps: another piece of work begins.
    #[cold]
    pub(crate) fn steps_over(&mut self, unfinished: u32) {
        if self.stopwatch.is_running() {
            let now = self.sys.now();
            self.stopwatch.steps_over(now, unfinished);
        }
    }
}

/// One connection's output for the time of one step.
pub(crate) struct Out<'a> {
    pub(crate) outlet: &'a mut Outlet,
    pub(crate) link: &'a mut Link,
}

impl<'a> Out<'a> {
    #[inline]
    pub(crate) fn new(outlet: &'a mut Outlet, link: &'a mut Link) -> Self {
        Self { outlet, link }
    }

    /// Appends bytes.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        if let Some(queue) = &mut self.link.queue {
            // What was corked without a look at the queue goes first.
            queue.push_bytes(&self.outlet.cork, &self.outlet.pool);
            self.outlet.cork.clear();
            queue.push_bytes(bytes, &self.outlet.pool);
            return;
        }
        self.outlet.cork.extend_from_slice(bytes);
        if self.outlet.cork.len() >= CORK {
            self.flush();
        }
    }

    /// Appends bytes of a raw connection; many are sent from where they are.
    pub(crate) fn put_bytes(&mut self, bytes: &[u8]) {
        if self.link.bits.has(Bits::UNITS) {
            return self.put_unit(bytes);
        }
        if bytes.len() < DIRECT {
            return self.put(bytes);
        }
        let sent = self.send_after_cork(bytes);
        if sent < bytes.len() {
            queue(self.link, &mut self.outlet.statistics).push_bytes(&bytes[sent..], &self.outlet.pool);
        }
    }

    /// Appends a frame; a large payload is sent from where it is.
    #[inline(always)]
    pub(crate) fn put_frame(&mut self, head: EncodedHeader, payload: &[u8]) {
        if self.link.queue.is_none() && payload.len() < DIRECT {
            head.append_to(&mut self.outlet.cork);
            self.outlet.cork.extend_from_slice(payload);
            if self.outlet.cork.len() >= CORK {
                self.flush();
            }
            return;
        }
        self.put_large(head, payload);
    }

    #[inline(never)]
    fn put_large(&mut self, head: EncodedHeader, payload: &[u8]) {
        self.put(&head);
        let sent = self.send_after_cork(payload);
        if sent < payload.len() {
            queue(self.link, &mut self.outlet.statistics).push_bytes(&payload[sent..], &self.outlet.pool);
        }
    }

    /// Appends a frame whose payload is given away: an unsent rest is not copied.
    pub(crate) fn put_frame_owned(&mut self, head: EncodedHeader, payload: Vec<u8>) {
        if payload.len() < DIRECT {
            self.put_frame(head, &payload);
            self.outlet.pool.borrow_mut().give(payload);
            return;
        }
        self.put(&head);
        let sent = self.send_after_cork(&payload);
        if sent == payload.len() {
            self.outlet.pool.borrow_mut().give(payload);
        } else {
            queue(self.link, &mut self.outlet.statistics).push_rest(Data::Owned(payload), sent);
        }
    }

    /// Appends bytes that many connections send alike; an unsent rest is shared, unless a share would cost more than a
    /// copy.
    pub(crate) fn put_shared(&mut self, bytes: &Rc<Buffer>) {
        let sent = self.send_after_cork(&bytes.0);
        let rest = &bytes.0[sent..];
        if rest.len() >= SHARE {
            queue(self.link, &mut self.outlet.statistics).push_rest(Data::Shared(bytes.clone()), sent);
        } else if !rest.is_empty() {
            queue(self.link, &mut self.outlet.statistics).push_bytes(rest, &self.outlet.pool);
        }
    }

    /// Sends the cork, then `bytes`, in one call, and says how many of `bytes` are done with; the caller queues the rest.
    fn send_after_cork(&mut self, bytes: &[u8]) -> usize {
        if !self.link.is_clear() {
            self.flush();
            if self.link.bits.has(Bits::BROKEN) {
                return bytes.len();
            }
            if !self.link.is_clear() {
                return 0;
            }
        }
        let corked = self.outlet.cork.len();
        let result = if corked == 0 {
            self.outlet.sys.send(self.link.handle, &[IoSlice::new(bytes)])
        } else {
            self.outlet.sys.send(self.link.handle, &[IoSlice::new(&self.outlet.cork), IoSlice::new(bytes)])
        };
        let sent = self.taken(result, corked + bytes.len());
        if sent < corked && !self.link.bits.has(Bits::BROKEN) {
            queue(self.link, &mut self.outlet.statistics).push_bytes(&self.outlet.cork[sent..], &self.outlet.pool);
        }
        self.outlet.cork.clear();
        if self.link.bits.has(Bits::BROKEN) {
            return bytes.len();
        }
        sent.saturating_sub(corked)
    }

    /// Sends what waits: the queue, then the cork. What the socket does not take stays in the queue.
    #[inline]
    pub(crate) fn flush(&mut self) {
        if self.link.queue.is_none() && self.outlet.cork.is_empty() {
            return;
        }
        if self.link.is_clear() {
            let result = self.outlet.sys.send(self.link.handle, &[IoSlice::new(&self.outlet.cork)]);
            if matches!(result, Ok(sent) if sent == self.outlet.cork.len()) {
                self.outlet.statistics.sent.bytes += self.outlet.cork.len() as u64;
                self.outlet.cork.clear();
                return;
            }
            self.lent().flushed_in_part(result);
        } else {
            self.lent().flush_both();
        }
    }

    /// The same way out, lent on: what is lent to a rare path only need not be put together for the usual one.
    #[inline(always)]
    pub(crate) fn lent(&mut self) -> Out<'_> {
        Out { outlet: self.outlet, link: self.link }
    }

    #[cold]
    fn flushed_in_part(mut self, result: io::Result<usize>) {
        let sent = self.taken(result, self.outlet.cork.len());
        self.keep_rest(sent);
    }

    #[cold]
    fn flush_both(mut self) {
        self.flush_queue();
        self.keep_rest(0);
    }

    /// Moves what is left of the cork to the queue.
    #[cold]
    fn keep_rest(&mut self, sent: usize) {
        if sent < self.outlet.cork.len() && !self.link.bits.has(Bits::BROKEN) {
            queue(self.link, &mut self.outlet.statistics).push_bytes(&self.outlet.cork[sent..], &self.outlet.pool);
            self.outlet.cork.clear();
            // Interrupted by a signal, the socket is still writable, and no edge would come for what was queued.
            self.flush_queue();
        }
        self.outlet.cork.clear();
    }

    #[cold]
    fn flush_queue(&mut self) {
        if self.link.bits.has(Bits::UNITS) {
            return self.flush_units();
        }
        while self.link.bits.has(Bits::WRITABLE) && !self.link.bits.has(Bits::BROKEN) {
            let Some(queue) = self.link.queue.as_ref() else { return };
            let mut slices = [IoSlice::new(&[]); PIECES];
            let mut count = 0;
            let mut offered = 0;
            for (slice, piece) in slices.iter_mut().zip(&queue.pieces) {
                *slice = IoSlice::new(piece.rest());
                offered += piece.rest().len();
                count += 1;
            }
            let result = self.outlet.sys.send(self.link.handle, &slices[..count]);
            let sent = self.taken(result, offered);
            if let Some(queue) = self.link.queue.as_mut() {
                queue.advance(sent, &self.outlet.pool);
                if queue.len == 0 {
                    self.link.queue = None;
                    self.link.bits.set(Bits::MOVED);
                }
            }
        }
        if self.link.bits.has(Bits::BROKEN) {
            self.link.queue = None;
        }
    }

    /// What a send came to: how many bytes were taken. A short count means that the socket is full.
    fn taken(&mut self, result: io::Result<usize>, offered: usize) -> usize {
        match result {
            Ok(sent) => {
                self.outlet.statistics.sent.bytes += sent as u64;
                if sent < offered {
                    self.link.bits.clear(Bits::WRITABLE);
                }
                sent
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.link.bits.clear(Bits::WRITABLE);
                0
            }
            // Nothing was sent; the socket is as writable as before, so the next flush tries again.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => {
                tracing::debug!(%error, "send failed");
                self.outlet.send_error = Some(error.kind());
                self.link.bits.set(Bits::BROKEN);
                0
            }
        }
    }
}

/// The queue of a connection whose socket did not take everything.
fn queue<'l>(link: &'l mut Link, statistics: &mut Statistics) -> &'l mut Queue {
    if link.queue.is_none() {
        statistics.work.queues += 1;
    }
    link.queue.get_or_insert_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Network;

    #[test]
    fn small_published_frames_are_copied_and_large_ones_shared() {
        let network = Network::new(1);
        // Not writable: nothing is sent.
        let mut outlet = Outlet::new(network.sys(), Rc::default(), 1, 1);
        let mut link = Link::new(Handle::new(0));
        let mut out = Out::new(&mut outlet, &mut link);
        let (small, large) = (Rc::new(Buffer(vec![1; 3])), Rc::new(Buffer(vec![2; SHARE])));
        for _ in 0..1000 {
            out.put_shared(&small);
        }
        out.put_shared(&large);
        out.put_shared(&small);
        let queue = link.queue.unwrap();
        assert_eq!((Rc::strong_count(&small), Rc::strong_count(&large)), (1, 2));
        assert_eq!((queue.pieces.len(), queue.len()), (3, 3003 + SHARE));
    }

    #[test]
    fn a_long_backlog_of_small_frames_is_in_few_large_pieces() {
        let (mut queue, pool) = (Queue::default(), RefCell::new(Pool::default()));
        for _ in 0..10_000 {
            queue.push_bytes(&[7; 100], &pool);
        }
        assert_eq!((queue.pieces.len(), queue.len()), (4, 1_000_000));
    }
}
