//! What callbacks may touch while the loop holds a connection: who is alive, and what was wished.
//!
//! Connections themselves live in a table beside this one, so that a callback can ask about any id while the loop
//! works on one of them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sockeye_proto::close::Close;
use sockeye_proto::time::Instant;
use sockeye_proto::wire::{EncodedHeader, MessageKind, OpCode};

use crate::client::Connect;
use crate::client::Retry;
use crate::client::plan::{Outgoing, Plan, Planned};
use crate::id::{ConnId, Gone, Table};
use crate::output::pool::Pool;

/// Which of the service's endpoints.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct EndpointIndex(pub(crate) u16);

impl EndpointIndex {
    pub(crate) const NONE: Self = Self(u16::MAX);

    pub(crate) fn get(self) -> usize {
        usize::from(self.0)
    }
}

/// Which builder a service comes from: the handles of no other are good for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct BuilderId(u64);

impl BuilderId {
    /// One that no other builder of the process has.
    pub(crate) fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed))
    }
}

/// What the connections of an endpoint are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum EndpointKind {
    WebSocket,
    Raw,
    Watcher,
}

/// An endpoint, as others know it.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) kind: EndpointKind,
}

/// The part of a connection that other connections' callbacks may reach: 8 bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Live {
    pub(crate) session: u32,
    pub(crate) endpoint: EndpointIndex,
    flags: u16,
}

/// Before `open` has returned one: the number of none, so that an `open` that panics does not lead to another's session.
const NO_SESSION: u32 = u32::MAX;

const OPEN: u16 = 1;
const WANT_WRITE: u16 = 2;
const QUEUED: u16 = 4;
const PAUSED: u16 = 8;
/// Paused by a layer whose output is behind; [`PAUSED`] is the program's own wish.
const FULL: u16 = 16;
/// On its way: asked for with `connect` or `adopt`, and neither open nor failed yet.
const CONNECTING: u16 = 32;
/// It was asked for with `connect`.
const CLIENT: u16 = 64;
/// It was given to the loop with `adopt`.
const ADOPTED: u16 = 128;
/// What [`Current`] keeps during a step.
const KEPT: u16 = WANT_WRITE | PAUSED | FULL;

impl Live {
    pub(crate) fn new() -> Self {
        Self { session: NO_SESSION, endpoint: EndpointIndex::NONE, flags: 0 }
    }

    /// A connection that is asked for.
    fn connecting(endpoint: EndpointIndex) -> Self {
        Self { session: NO_SESSION, endpoint, flags: CONNECTING | CLIENT }
    }

    /// A descriptor that is to be adopted.
    fn adopting(endpoint: EndpointIndex) -> Self {
        Self { session: NO_SESSION, endpoint, flags: CONNECTING | ADOPTED }
    }

    /// Given to the loop by the program.
    pub(crate) fn is_adopted(self) -> bool {
        self.flags & ADOPTED != 0
    }

    /// Asked for, and neither open nor failed yet.
    pub(crate) fn is_connecting(self) -> bool {
        self.flags & CONNECTING != 0
    }

    /// Its outcome is known.
    pub(crate) fn set_connected(&mut self) {
        self.set(CONNECTING, false);
    }

    /// Asked for with `connect`, that is, not accepted.
    pub(crate) fn is_client(self) -> bool {
        self.flags & CLIENT != 0
    }

    /// A connection whose `open` was called and whose `closed` was not.
    pub(crate) fn is_open(self) -> bool {
        self.flags & OPEN != 0
    }

    pub(crate) fn set_open(&mut self, open: bool) {
        self.set(OPEN, open);
    }

    pub(crate) fn is_paused(self) -> bool {
        self.flags & (PAUSED | FULL) != 0
    }

    /// On the ready list, of this turn or the next.
    #[inline]
    pub(crate) fn is_queued(self) -> bool {
        self.flags & QUEUED != 0
    }

    fn set(&mut self, flag: u16, on: bool) {
        if on {
            self.flags |= flag;
        } else {
            self.flags &= !flag;
        }
    }
}

/// The connection whose step is running. Its flags live here meanwhile; [`Shared::leave`] puts them back.
pub(crate) struct Current {
    pub(crate) id: ConnId,
    /// What the step began with.
    pub(crate) live: Live,
    pub(crate) budget: Budget,
    /// Those of its flags that are [`KEPT`].
    flags: u16,
    /// The endpoint keeps ranges of the present read, and is to be told before it is overwritten.
    pub(crate) keeps_input: bool,
    /// Where the bytes of the present read are: address and length. Callbacks are lent pieces of it.
    window: (usize, usize),
}

/// What is left to read of the turn's share of one connection.
#[derive(Clone, Copy, Default)]
pub(crate) struct Budget {
    pub(crate) read_bytes: usize,
    pub(crate) read_frames: usize,
}

impl Budget {
    pub(crate) fn is_spent(&self) -> bool {
        self.read_bytes == 0 || self.read_frames == 0
    }
}

impl Current {
    fn nobody() -> Self {
        Self {
            id: ConnId::default(),
            live: Live::new(),
            budget: Budget::default(),
            flags: 0,
            keeps_input: false,
            window: (0, 0),
        }
    }

    #[inline]
    pub(crate) fn wants_write(&self) -> bool {
        self.flags & WANT_WRITE != 0
    }

    #[inline]
    pub(crate) fn is_paused(&self) -> bool {
        self.flags & (PAUSED | FULL) != 0
    }

    /// Takes the wish for the writable callback back: it is carried out.
    #[inline]
    pub(crate) fn grant_write(&mut self) {
        self.flags &= !WANT_WRITE;
    }

    /// The offset of `bytes` within the present read, if they are a piece of it.
    #[inline]
    pub(crate) fn offset_of(&self, bytes: &[u8]) -> Option<usize> {
        let offset = (bytes.as_ptr() as usize).wrapping_sub(self.window.0);
        (offset < self.window.1 && bytes.len() <= self.window.1 - offset).then_some(offset)
    }

    /// The present read is in `bytes`.
    #[inline]
    pub(crate) fn arrived(&mut self, bytes: &[u8]) {
        self.window = (bytes.as_ptr() as usize, bytes.len());
    }

    /// The present read is over: its bytes may be overwritten.
    #[inline]
    pub(crate) fn over(&mut self) {
        self.window = (0, 0);
        self.keeps_input = false;
    }
}

/// A descriptor that is to be adopted.
pub(crate) struct Adoption {
    pub(crate) id: ConnId,
    pub(crate) fd: OwnedFd,
}

/// What may be asked of a service: by callbacks, which reach it through their context, by [`Control`](crate::Control)
/// between turns, and by jobs of a [`Remote`](crate::Remote). The spelling is the same everywhere.
///
/// Whatever is asked is done by the loop, between callbacks. A [connection](Self::connection), a
/// [protocol](Self::protocol) or an [endpoint](Self::endpoint) is looked up once, and asked then.
///
/// ```
/// use sockeye::{Commands, ConnId, Gone};
///
/// fn kick(commands: &mut Commands, id: ConnId) -> Result<(), Gone> {
///     let mut connection = commands.connection(id)?;
///     connection.stop_reconnecting();
///     connection.close(sockeye::CloseCode::POLICY);
///     Ok(())
/// }
/// ```
pub struct Commands {
    /// Whose handles are good here.
    pub(crate) builder: BuilderId,
    /// The service's endpoints, by index.
    pub(crate) names: Arc<[Named]>,
    pub(crate) live: Table<Live>,
    /// Connections that have something to do without a new readiness event; each at most once (`QUEUED`).
    pub(crate) ready: VecDeque<ConnId>,
    /// Those that used up their share of this turn. They are `QUEUED` too, and on the ready list from the next turn on.
    later: Vec<ConnId>,
    pub(crate) closes: Vec<(ConnId, Close)>,
    pub(crate) timers: Vec<(ConnId, Option<Instant>)>,
    pub(crate) outgoing: Outgoing,
    pub(crate) adoptions: Vec<Adoption>,
    /// One flag an endpoint: the writable callback of all its connections is asked for.
    all_writable: Vec<bool>,
    any_all_writable: bool,
    /// One buffer an endpoint: the frames published since the last flush.
    pub(crate) publishes: Vec<Vec<u8>>,
    /// How many messages each of them holds.
    pub(crate) published: Vec<u64>,
    /// Something was published, or given to the loop: one flag, since it is looked at after each step.
    pub(crate) any_publish: bool,
    pub(crate) now: Instant,
    /// The same as that of the [`Outlet`](crate::output::Outlet).
    pub(crate) pool: Rc<RefCell<Pool>>,
    pub(crate) drain: bool,
    /// A connection was opened since the ticks were last looked at.
    pub(crate) opened: bool,
    /// The connection whose step is running, and its flags, which its own callbacks change most.
    pub(crate) current: Current,
    /// Whoever holds a share of this stays on the loop's thread.
    _not_send: PhantomData<Rc<()>>,
}

/// What the loop calls it, which keeps everything else of it too.
pub(crate) type Shared = Commands;

impl Commands {
    pub(crate) fn new(builder: BuilderId, names: Arc<[Named]>, now: Instant) -> Self {
        let endpoints = names.len();
        Self {
            builder,
            names,
            live: Table::new(),
            ready: VecDeque::new(),
            later: Vec::new(),
            closes: Vec::new(),
            timers: Vec::new(),
            outgoing: Outgoing::default(),
            adoptions: Vec::new(),
            all_writable: vec![false; endpoints],
            any_all_writable: false,
            publishes: vec![Vec::new(); endpoints],
            published: vec![0; endpoints],
            any_publish: false,
            now,
            pool: Rc::default(),
            drain: false,
            opened: false,
            current: Current::nobody(),
            _not_send: PhantomData,
        }
    }

    /// The endpoint of that name, if its kind is wanted.
    pub(crate) fn find_endpoint(&self, name: &str, is_wanted: impl Fn(EndpointKind) -> bool) -> Option<EndpointIndex> {
        let found = self.names.iter().position(|endpoint| endpoint.name == name && is_wanted(endpoint.kind));
        found.map(|index| EndpointIndex(index as u16))
    }

    /// The name of an endpoint.
    pub(crate) fn name_of(&self, endpoint: EndpointIndex) -> &str {
        self.names.get(endpoint.get()).map_or("", |endpoint| &endpoint.name)
    }

    /// What the connections of an endpoint are.
    pub(crate) fn kind(&self, endpoint: EndpointIndex) -> EndpointKind {
        self.names.get(endpoint.get()).map_or(EndpointKind::WebSocket, |endpoint| endpoint.kind)
    }

    /// Begins a step of a connection.
    #[inline]
    pub(crate) fn enter(&mut self, id: ConnId, live: Live, budget: Budget) {
        self.current.id = id;
        self.current.live = live;
        self.current.budget = budget;
        self.current.flags = live.flags & KEPT;
    }

    /// Ends the step.
    #[inline]
    pub(crate) fn leave(&mut self) {
        if self.current.flags != self.current.live.flags & KEPT {
            self.put_back();
        }
        self.current.id = ConnId::default();
        self.current.over();
    }

    fn put_back(&mut self) {
        if let Some(live) = self.live.get_mut(self.current.id) {
            live.flags = live.flags & !KEPT | self.current.flags;
        }
    }

    #[inline]
    pub(crate) fn want_write(&mut self, id: ConnId) -> Result<(), Gone> {
        if self.current.id == id {
            self.current.flags |= WANT_WRITE;
            return Ok(());
        }
        let live = self.live.get_mut(id).filter(|live| live.is_open()).ok_or(Gone)?;
        // Asked for already, it is either queued or waits for its socket, whose edge is a step: another one would change nothing.
        if live.flags & WANT_WRITE == 0 {
            live.flags |= WANT_WRITE;
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

    /// Pauses reading, or ends the pause, by the program's own wish.
    pub(crate) fn set_paused(&mut self, id: ConnId, paused: bool) {
        self.set_pause(id, PAUSED, paused);
    }

    /// As [`set_paused`](Self::set_paused), for a layer whose output is behind.
    #[inline]
    pub(crate) fn set_full(&mut self, id: ConnId, full: bool) {
        self.set_pause(id, FULL, full);
    }

    #[inline]
    fn set_pause(&mut self, id: ConnId, flag: u16, on: bool) {
        if self.current.id != id {
            self.set_pause_of_other(id, flag, on);
        } else if on {
            self.current.flags |= flag;
        } else {
            self.current.flags &= !flag;
        }
    }

    fn set_pause_of_other(&mut self, id: ConnId, flag: u16, on: bool) {
        let Some(live) = self.live.get_mut(id).filter(|live| live.is_open()) else { return };
        let was_paused = live.is_paused();
        live.set(flag, on);
        if was_paused && !live.is_paused() {
            self.enqueue(id);
        }
    }

    /// Whether the endpoint of the connection whose step is running keeps ranges of the present read.
    #[inline]
    pub(crate) fn set_keeps_input(&mut self, id: ConnId, keeps: bool) {
        if self.current.id == id {
            self.current.keeps_input = keeps;
        }
    }

    /// Asks for the end of a connection.
    pub(crate) fn push_close(&mut self, id: ConnId, close: Close) -> Result<(), Gone> {
        if !self.live.get(id).is_some_and(|live| live.is_open() || live.is_connecting()) {
            return Err(Gone);
        }
        self.closes.push((id, close));
        Ok(())
    }

    /// Asks for a connection; its id is good at once.
    pub(crate) fn push_connect(&mut self, endpoint: EndpointIndex, connect: Connect) -> ConnId {
        let id = self.live.insert(Live::connecting(endpoint));
        self.outgoing.planned.push(Planned { id, plan: Box::new(Plan::new(connect)), after: Duration::ZERO });
        id
    }

    /// Asks for an adoption; its id is good at once.
    pub(crate) fn push_adoption(&mut self, endpoint: EndpointIndex, fd: OwnedFd) -> ConnId {
        let id = self.live.insert(Live::adopting(endpoint));
        self.adoptions.push(Adoption { id, fd });
        self.any_publish = true;
        id
    }

    /// Plans the next attempt after one that failed, unless `random` is missing because there is to be none. `asked` is
    /// how long the server wants to be left alone.
    pub(crate) fn retry(
        &mut self,
        endpoint: EndpointIndex,
        plan: Box<Plan>,
        random: Option<u64>,
        asked: Option<Duration>,
    ) -> Option<Retry> {
        let random = random?;
        let id = self.live.insert(Live::connecting(endpoint));
        let retry = self.outgoing.plan_again(id, plan, random, asked);
        if retry.is_none() {
            self.live.remove(id);
        }
        retry
    }

    /// As [`retry`](Self::retry), after the end of an open connection that was to be kept up.
    pub(crate) fn retry_after_close(&mut self, id: ConnId, random: Option<u64>) -> Option<Retry> {
        let plan = self.outgoing.take_kept(id, self.now)?;
        let endpoint = self.live.get(id)?.endpoint;
        self.retry(endpoint, plan, random, None)
    }

    /// Takes an attempt back that was planned after the end of an open connection.
    pub(crate) fn take_back_retry(&mut self, retry: Retry) {
        self.outgoing.take_back(retry.id);
        self.live.remove(retry.id);
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

    /// Puts a connection on the ready list of the next turn.
    pub(crate) fn enqueue_later(&mut self, id: ConnId) {
        if let Some(live) = self.live.get_mut(id) {
            if live.flags & QUEUED == 0 {
                live.flags |= QUEUED;
                self.later.push(id);
            }
        }
    }

    /// The turn is over: everybody has a whole share again.
    pub(crate) fn begin_shares(&mut self) {
        self.ready.extend(self.later.drain(..));
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

    /// Whether callbacks wished for something that is carried out between steps.
    #[inline]
    pub(crate) fn has_new_wishes(&self) -> bool {
        self.any_publish || !self.closes.is_empty() || !self.timers.is_empty() || !self.outgoing.planned.is_empty()
    }

    /// Whether there is something to do without waiting.
    pub(crate) fn has_wishes(&self) -> bool {
        !self.ready.is_empty()
            || self.any_all_writable
            || self.any_publish
            || !self.closes.is_empty()
            || !self.outgoing.planned.is_empty()
            || !self.adoptions.is_empty()
            || self.drain
    }

    /// Turns the wishes for all connections of a protocol into wishes for each.
    pub(crate) fn spread_all_writable(&mut self) {
        if !self.any_all_writable {
            return;
        }
        self.any_all_writable = false;
        for (id, live) in self.live.iter_mut() {
            let wanted = self.all_writable.get(live.endpoint.get()).copied().unwrap_or(false);
            // As in `want_write`, those that wait for it are left where they are.
            if wanted && live.is_open() && live.flags & WANT_WRITE == 0 {
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
    pub(crate) fn push_publish(&mut self, endpoint: EndpointIndex, kind: MessageKind, payload: &[u8]) {
        if let Some(buffer) = self.publishes.get_mut(endpoint.get()) {
            let opcode = match kind {
                MessageKind::Text => OpCode::Text,
                MessageKind::Binary => OpCode::Binary,
            };
            buffer.extend_from_slice(&EncodedHeader::new(true, 0, opcode, payload.len() as u64, None));
            buffer.extend_from_slice(payload);
            self.published[endpoint.get()] += 1;
            self.any_publish = true;
        }
    }
}
