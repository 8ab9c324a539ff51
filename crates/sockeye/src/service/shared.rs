//! What callbacks may touch while the loop holds a connection: who is alive, and what was wished.
//!
//! Connections themselves live in a table beside this one, so that a callback can ask about any id while the loop
//! works on one of them.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::rc::Rc;

use slotmap::SlotMap;
use sockeye_proto::close::Close;
use sockeye_proto::time::Instant;
use sockeye_proto::wire::{FrameHead, Kind, OpCode};

use crate::protocol::{ConnId, Gone};

/// Which of the service's endpoints.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct EndpointIndex(pub(crate) u16);

impl EndpointIndex {
    pub(crate) const NONE: Self = Self(u16::MAX);

    pub(crate) fn get(self) -> usize {
        usize::from(self.0)
    }
}

/// The part of a connection that other connections' callbacks may reach: 8 bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Live {
    pub(crate) session: u32,
    pub(crate) endpoint: EndpointIndex,
    flags: u16,
}

const OPEN: u16 = 1;
const WANT_WRITE: u16 = 2;
const QUEUED: u16 = 4;
const PAUSED: u16 = 8;

impl Live {
    pub(crate) fn new() -> Self {
        Self { session: 0, endpoint: EndpointIndex::NONE, flags: 0 }
    }

    /// An open WebSocket whose `open` was called and whose `closed` was not.
    pub(crate) fn is_open(self) -> bool {
        self.flags & OPEN != 0
    }

    pub(crate) fn set_open(&mut self, open: bool) {
        self.set(OPEN, open);
    }

    pub(crate) fn wants_write(self) -> bool {
        self.flags & WANT_WRITE != 0
    }

    pub(crate) fn set_wants_write(&mut self, want: bool) {
        self.set(WANT_WRITE, want);
    }

    pub(crate) fn is_paused(self) -> bool {
        self.flags & PAUSED != 0
    }

    fn set(&mut self, flag: u16, on: bool) {
        if on {
            self.flags |= flag;
        } else {
            self.flags &= !flag;
        }
    }
}

/// Liveness and wishes.
pub(crate) struct Shared {
    pub(crate) live: SlotMap<ConnId, Live>,
    /// Connections that have something to do without a new readiness event; each at most once (`QUEUED`).
    pub(crate) ready: VecDeque<ConnId>,
    pub(crate) closes: Vec<(ConnId, Close)>,
    pub(crate) timers: Vec<(ConnId, Option<Instant>)>,
    /// One flag an endpoint: the writable callback of all its connections is asked for.
    all_writable: Vec<bool>,
    any_all_writable: bool,
    /// One buffer an endpoint: the frames published since the last flush.
    pub(crate) publishes: Vec<Vec<u8>>,
    pub(crate) any_publish: bool,
    pub(crate) now: Instant,
    pub(crate) drain: bool,
    /// The connection whose callback is running; its wishes need no queueing.
    pub(crate) current: Option<ConnId>,
    /// Whoever holds a share of this stays on the loop's thread.
    _not_send: PhantomData<Rc<()>>,
}

impl Shared {
    pub(crate) fn new(endpoints: usize, now: Instant) -> Self {
        Self {
            live: SlotMap::with_key(),
            ready: VecDeque::new(),
            closes: Vec::new(),
            timers: Vec::new(),
            all_writable: vec![false; endpoints],
            any_all_writable: false,
            publishes: vec![Vec::new(); endpoints],
            any_publish: false,
            now,
            drain: false,
            current: None,
            _not_send: PhantomData,
        }
    }

    #[inline]
    pub(crate) fn want_write(&mut self, id: ConnId) -> Result<(), Gone> {
        let live = self.live.get_mut(id).filter(|live| live.is_open()).ok_or(Gone)?;
        live.flags |= WANT_WRITE;
        if self.current != Some(id) {
            self.enqueue(id);
        }
        Ok(())
    }

    pub(crate) fn want_write_all(&mut self, endpoint: EndpointIndex) {
        if let Some(flag) = self.all_writable.get_mut(endpoint.get()) {
            *flag = true;
            self.any_all_writable = true;
        }
    }

    pub(crate) fn set_paused(&mut self, id: ConnId, paused: bool) -> Result<(), Gone> {
        let live = self.live.get_mut(id).filter(|live| live.is_open()).ok_or(Gone)?;
        live.set(PAUSED, paused);
        if !paused {
            self.enqueue(id);
        }
        Ok(())
    }

    pub(crate) fn close(&mut self, id: ConnId, close: Close) -> Result<(), Gone> {
        if !self.live.get(id).is_some_and(|live| live.is_open()) {
            return Err(Gone);
        }
        self.closes.push((id, close));
        Ok(())
    }

    /// Puts a connection on the ready list, once.
    pub(crate) fn enqueue(&mut self, id: ConnId) {
        if let Some(live) = self.live.get_mut(id) {
            if live.flags & QUEUED == 0 {
                live.flags |= QUEUED;
                self.ready.push_back(id);
            }
        }
    }

    /// Takes the next of the ready list. Ids of connections that ended meanwhile are passed over.
    pub(crate) fn next_ready(&mut self) -> Option<ConnId> {
        while let Some(id) = self.ready.pop_front() {
            if let Some(live) = self.live.get_mut(id) {
                live.flags &= !QUEUED;
                return Some(id);
            }
        }
        None
    }

    /// Whether there is something to do without waiting.
    pub(crate) fn has_wishes(&self) -> bool {
        !self.ready.is_empty() || self.any_all_writable || self.any_publish || !self.closes.is_empty() || self.drain
    }

    /// Turns the wishes for all connections of a protocol into wishes for each.
    pub(crate) fn spread_all_writable(&mut self) {
        if !self.any_all_writable {
            return;
        }
        self.any_all_writable = false;
        for (id, live) in &mut self.live {
            if live.is_open() && self.all_writable.get(live.endpoint.get()).copied().unwrap_or(false) {
                live.flags |= WANT_WRITE;
                if live.flags & QUEUED == 0 {
                    live.flags |= QUEUED;
                    self.ready.push_back(id);
                }
            }
        }
        self.all_writable.fill(false);
    }

    /// Frames a message for every connection of a protocol. Servers do not mask (RFC 6455 section 5.1), so the bytes
    /// are the same for all.
    pub(crate) fn publish(&mut self, endpoint: EndpointIndex, kind: Kind, payload: &[u8]) {
        if let Some(buffer) = self.publishes.get_mut(endpoint.get()) {
            let opcode = match kind {
                Kind::Text => OpCode::Text,
                Kind::Binary => OpCode::Binary,
            };
            buffer.extend_from_slice(&FrameHead::new(true, 0, opcode, payload.len() as u64, None));
            buffer.extend_from_slice(payload);
            self.any_publish = true;
        }
    }
}
