//! What the loop lends to one connection after another so that it can read and write.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use sockeye_proto::time::Instant;

use crate::statistics::{Culprit, Meters, WorkOwner};
use crate::sys::{Handle, Sys};
use crate::transport::aside::Old;
use crate::transport::codecs::Codecs;
use crate::transport::feed::Feeds;
use crate::transport::heap::Fall;
use crate::transport::outgoing::Outgoing;
use crate::transport::pool::{Pool, release};
use crate::transport::stream::{Below, Carrier, Scratch};

/// The system, the cork, the pool of buffers, and the meters that count what goes through them.
pub(crate) struct LoopIo {
    pub(crate) sys: Box<dyn Sys>,
    /// The one cork buffer. Invariant: empty between the steps of two connections.
    pub(super) cork: Vec<u8>,
    pub(crate) pool: Rc<RefCell<Pool>>,
    /// Where output is sealed, of connections that do so.
    pub(super) scratch: Scratch,
    /// What compresses and decompresses.
    pub(crate) codecs: Codecs,
    /// The end of what was published compressed.
    pub(super) feeds: Feeds,
    /// What was freed of histories.
    pub(crate) old: Old,
    fall: Fall,
    look_at: Option<Instant>,
    /// The same as that of the callbacks.
    pub(crate) outgoing: Rc<Outgoing>,
    /// How many bytes the running step may still send in writable callbacks. Each frame costs `frame_cost` beside its
    /// payload.
    pub(crate) send_budget: usize,
    pub(crate) frame_cost: usize,
    /// A writable callback may go on sending while fewer bytes than this wait for the socket.
    pub(crate) low_water: usize,
    /// Why the last send failed, of the running step.
    pub(super) send_error: Option<io::ErrorKind>,
    /// How the bytes of new connections are carried.
    pub(crate) carrier: Carrier,
    /// Counted where the bytes move.
    pub(crate) meters: Meters,
    /// What work has cost beside the bytes that it moved.
    other_effort: u64,
}

impl LoopIo {
    pub(crate) fn new(
        sys: Box<dyn Sys>,
        pool: Rc<RefCell<Pool>>,
        outgoing: Rc<Outgoing>,
        meters: Meters,
        frame_cost: usize,
        low_water: usize,
    ) -> Self {
        Self {
            sys,
            cork: Vec::new(),
            pool,
            scratch: Scratch::default(),
            codecs: Codecs::new(),
            feeds: Feeds::default(),
            old: Old::default(),
            fall: Fall::default(),
            look_at: None,
            outgoing,
            send_budget: 0,
            frame_cost,
            low_water,
            send_error: None,
            carrier: Carrier::default(),
            meters,
            other_effort: 0,
        }
    }

    /// What a stream that seals needs of the loop.
    pub(super) fn below(&mut self, handle: Handle) -> Below<'_> {
        Below { sys: &mut *self.sys, scratch: &mut self.scratch, pool: &self.pool, handle, lower: None }
    }

    /// What the work so far has cost: the bytes that were received and sent, and what was noted beside them.
    #[inline]
    pub(crate) fn effort(&self) -> u64 {
        let statistics = &self.meters.statistics;
        statistics.received.bytes.wrapping_add(statistics.sent.bytes).wrapping_add(self.other_effort)
    }

    /// Notes work that costs as much as moving so many bytes.
    #[inline]
    pub(crate) fn note_effort(&mut self, bytes: u64) {
        self.other_effort = self.other_effort.wrapping_add(bytes);
    }

    /// The cork, for output that is composed in place.
    pub(crate) fn cork(&mut self) -> &mut Vec<u8> {
        &mut self.cork
    }

    pub(crate) fn corked(&self) -> usize {
        self.cork.len()
    }

    /// Drops what was corked for a connection that is over: it must not go to the next one.
    pub(crate) fn clear_cork(&mut self) {
        self.cork.clear();
    }

    /// The turn ends: what a burst left is given back.
    #[inline]
    pub(crate) fn tidy(&mut self, now: Instant) {
        if self.cork.capacity() > CORK_KEPT {
            release(std::mem::take(&mut self.cork));
        }
        let mut pool = self.pool.borrow_mut();
        pool.tidy(now);
        let has_fallen = pool.account().has_fallen();
        drop(pool);
        if has_fallen || self.codecs.is_needed() || self.look_at.is_some() {
            self.tidy_rest(now, has_fallen);
        }
    }

    #[cold]
    fn tidy_rest(&mut self, now: Instant, has_fallen: bool) {
        let were_used = self.codecs.are_used();
        self.codecs.tidy(now, self.pool.borrow().account());
        let is_calm = !has_fallen && self.fall.look_at().is_none() && self.old.is_empty();
        if were_used && is_calm && self.look_at.is_some_and(|at| at > now) {
            // What is looked at too early is looked at again.
            return;
        }
        self.fall.tidy(now, self.pool.borrow().account());
        if !self.codecs.is_needed() {
            self.feeds.clear();
        }
        self.old.tidy(now);
        let all = [self.codecs.look_at(), self.old.look_at(), self.fall.look_at()];
        self.look_at = all.into_iter().flatten().min();
    }

    /// When [`tidy`](Self::tidy) has something to do, beside what the pool has.
    #[inline]
    pub(crate) fn look_at(&self) -> Option<Instant> {
        self.look_at
    }

    /// A frame of data with so many bytes of payload is sent; `last`: its message ends.
    #[inline(always)]
    pub(crate) fn note_frame(&mut self, payload: usize, last: bool) {
        self.send_budget = self.send_budget.saturating_sub(payload + self.frame_cost);
        let sent = &mut self.meters.statistics.sent;
        *if last { &mut sent.messages } else { &mut sent.parts } += 1;
    }

    /// Begins a step of one connection.
    #[inline]
    pub(crate) fn begin_step(&mut self, send_budget: usize) {
        self.send_budget = send_budget;
    }

    /// Takes the error of the last send that failed.
    pub(crate) fn take_send_error(&mut self) -> Option<io::ErrorKind> {
        self.send_error.take()
    }

    /// An unpredictable number; `None` when the system's random source fails.
    pub(crate) fn random_u64(&mut self) -> Option<u64> {
        let mut bytes = [0; 8];
        self.sys.random(&mut bytes).ok()?;
        Some(u64::from_ne_bytes(bytes))
    }

    /// A piece of work is done: its time is attributed to `culprit`.
    #[cold]
    pub(crate) fn lap(&mut self, culprit: Culprit, owner: WorkOwner) {
        if self.meters.stopwatch.is_running() {
            let now = self.sys.now();
            self.meters.stopwatch.lap(now, culprit, owner);
        }
    }

    /// Another piece of work begins: what was done since the clock was last read belongs to the steps before it, but for
    /// `unfinished` ones.
    #[cold]
    pub(crate) fn steps_over(&mut self, unfinished: u32) {
        if self.meters.stopwatch.is_running() {
            let now = self.sys.now();
            self.meters.stopwatch.steps_over(now, unfinished);
        }
    }
}

impl Drop for LoopIo {
    fn drop(&mut self) {
        release(std::mem::take(&mut self.cork));
    }
}

/// A cork that grew larger, by a head of the program's with very long fields, is not kept.
const CORK_KEPT: usize = 512 * 1024;
