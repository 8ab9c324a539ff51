//! A host: its handles, and the edges that wait to be reported.

use std::collections::VecDeque;
use std::ops::BitOr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::faults::Fault;
use super::pipe::{EndId, Fin, Owner, Place};
use super::random::Random;
use super::state::{Event, State};
use crate::sys::{Handle, Readiness, Resolved, WAKE, Wake};

#[derive(Debug)]
pub(super) struct HostState {
    pub(super) slots: Vec<Option<Slot>>,
    pub(super) open: usize,
    pub(super) descriptor_limit: u64,
    pub(super) waker: Arc<SimWaker>,
    /// For [`Sys::random`](crate::sys::Sys::random), so that what a program draws does not change what the network does.
    pub(super) random: Random,
    pub(super) calls: Calls,
    /// How far its clock on the wall is ahead of the network's, in seconds.
    pub(super) wall_ahead: i64,
    /// The processor's time that its programs used.
    pub(super) computed: Duration,
    /// A `Sys` of this host is in use.
    pub(super) attached: bool,
    /// Handles that were still open when that was dropped.
    pub(super) leaked: usize,
    /// The turn in which this host waited last.
    pub(super) turn: u64,
    /// Which of its programs, one after another, is running: what one of them asked is not told to the next.
    pub(super) life: u64,
    /// Names that are being looked up or whose answer was not taken.
    pub(super) questions: usize,
    pub(super) answers: VecDeque<Resolved>,
    pub(super) last_port: u16,
    /// Places with edges to report, oldest first; each at most once.
    ready: VecDeque<Place>,
}

impl HostState {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            slots: Vec::new(),
            open: 0,
            descriptor_limit: 1024,
            waker: Arc::new(SimWaker(AtomicBool::new(false))),
            random: Random::new(seed),
            calls: Calls::default(),
            wall_ahead: 0,
            computed: Duration::ZERO,
            attached: false,
            leaked: 0,
            turn: 0,
            life: 0,
            questions: 0,
            answers: VecDeque::new(),
            last_port: FIRST_PORT,
            ready: VecDeque::new(),
        }
    }

    /// Something is there to be reported.
    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty() || self.waker.0.load(Ordering::Acquire)
    }

    fn slot_at(&mut self, place: Place) -> Option<&mut Slot> {
        self.slots.get_mut(place.handle as usize)?.as_mut().filter(|slot| slot.serial == place.serial)
    }
}

/// An open handle.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) what: What,
    pub(super) serial: u64,
    pub(super) token: Option<u64>,
    /// The caller was told that there is nothing to read: the next arrival is an edge.
    pub(super) drained: bool,
    /// Planted `WouldBlock`s that are not over.
    pub(super) blocked: Edges,
    pending: Edges,
    /// The next report shows room where there is none.
    phantom: bool,
}

impl Slot {
    pub(super) const fn new(what: What, serial: u64) -> Self {
        Self { what, serial, token: None, drained: false, blocked: Edges::NONE, pending: Edges::NONE, phantom: false }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    Listener(u64),
    End(EndId),
}

/// A set of directions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Edges(u8);

impl Edges {
    pub(super) const NONE: Self = Self(0);
    pub(super) const READ: Self = Self(1);
    pub(super) const WRITE: Self = Self(2);
    pub(super) const BOTH: Self = Self(3);

    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for Edges {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// How often a host made each system call.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Calls {
    /// [`wait`](crate::sys::Sys::wait)
    pub wait: u64,
    /// [`accept`](crate::sys::Sys::accept)
    pub accept: u64,
    /// [`connect`](crate::sys::Sys::connect)
    pub connect: u64,
    /// [`resolve`](crate::sys::Sys::resolve)
    pub resolve: u64,
    /// [`register`](crate::sys::Sys::register) and [`reregister`](crate::sys::Sys::reregister)
    pub register: u64,
    /// [`recv`](crate::sys::Sys::recv)
    pub recv: u64,
    /// [`send`](crate::sys::Sys::send)
    pub send: u64,
    /// [`close`](crate::sys::Sys::close)
    pub close: u64,
}

#[derive(Debug)]
pub(super) struct SimWaker(pub(super) AtomicBool);

impl Wake for SimWaker {
    fn wake(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl State {
    /// Something changed at a handle. An end of input or an error is `certain` to be reported; mere bytes are an edge only
    /// if the caller had drained the handle, and otherwise an edge too many, as on Linux, half of the times.
    pub(super) fn edge(&mut self, owner: Owner, edges: Edges, certain: bool) {
        let Owner::Host(place) = owner else { return };
        let extra = self.random.chance(self.faults.rate(Fault::Spurious));
        let Some(slot) = self.hosts[place.host].slot_at(place) else { return };
        if !(certain || slot.drained || extra) {
            return;
        }
        if edges.has(Edges::READ) {
            slot.drained = false;
        }
        if self.plant(Fault::Delayed) {
            self.schedule_late(Event::Edge(place, edges));
        } else {
            self.mark(place, edges);
        }
    }

    /// Puts a handle on the list of what is to be reported.
    pub(super) fn mark(&mut self, place: Place, edges: Edges) {
        let host = &mut self.hosts[place.host];
        let Some(slot) = host.slot_at(place).filter(|slot| slot.token.is_some()) else { return };
        let is_new = slot.pending == Edges::NONE;
        slot.pending = slot.pending | edges;
        if is_new {
            host.ready.push_back(place);
        }
    }

    /// Reports a handle for no reason.
    pub(super) fn haunt(&mut self, place: Place) {
        if let Some(slot) = self.hosts[place.host].slot_at(place) {
            slot.phantom = true;
            self.mark(place, Edges::WRITE);
        }
    }

    pub(super) fn unblock(&mut self, place: Place, edges: Edges) {
        if let Some(slot) = self.hosts[place.host].slot_at(place) {
            slot.blocked = slot.blocked.without(edges);
            self.mark(place, edges);
        }
    }

    /// Plants a `WouldBlock` at a handle: it lasts a while, and an edge ends it.
    pub(super) fn plant_block(&mut self, place: Place, edges: Edges) {
        if let Some(slot) = self.hosts[place.host].slot_at(place) {
            slot.blocked = slot.blocked | edges;
            if edges.has(Edges::READ) {
                slot.drained = true;
            }
            self.schedule_late(Event::Unblock(place, edges));
        }
    }

    /// Whether a planted `WouldBlock` holds at a handle, or begins now.
    pub(super) fn would_block(&mut self, place: Place, edges: Edges) -> bool {
        if self.hosts[place.host].slot_at(place).is_some_and(|slot| slot.blocked.has(edges)) {
            return true;
        }
        let begins = self.plant(Fault::WouldBlock);
        if begins {
            self.plant_block(place, edges);
        }
        begins
    }

    /// Takes what is to be reported to `host`.
    pub(super) fn collect(&mut self, host: usize, ready: &mut Vec<Readiness>) {
        if self.hosts[host].waker.0.swap(false, Ordering::AcqRel) {
            ready.push(Readiness { readable: true, ..Readiness::new(WAKE) });
        }
        let waiting = self.hosts[host].ready.len();
        let small = waiting > 1 && self.plant(Fault::SmallBatch);
        let batch = if small { self.random.size(waiting) } else { waiting };
        for _ in 0..batch {
            let Some(place) = self.hosts[host].ready.pop_front() else { break };
            ready.extend(self.report(place));
        }
        if !self.hosts[host].slots.is_empty() && self.plant(Fault::Spurious) {
            let at = self.random.index(self.hosts[host].slots.len());
            let token = self.hosts[host].slots[at].as_ref().and_then(|slot| slot.token);
            ready.extend(token.map(|token| Readiness { readable: true, writable: true, ..Readiness::new(token) }));
        }
        if self.faults.rate(Fault::Spurious) > 0 {
            // No order is promised.
            for i in (1..ready.len()).rev() {
                ready.swap(i, self.random.index(i + 1));
            }
        }
    }

    /// The report of a handle that is on the list; none if it was closed, or has nothing to show any more.
    fn report(&mut self, place: Place) -> Option<Readiness> {
        let terse = self.random.chance(self.faults.rate(Fault::Terse));
        let slot = self.hosts[place.host].slot_at(place)?;
        let token = slot.token?;
        let pending = std::mem::replace(&mut slot.pending, Edges::NONE);
        let phantom = std::mem::take(&mut slot.phantom);
        let (what, blocked) = (slot.what, slot.blocked);
        let mut report = self.readiness(token, what);
        if phantom {
            report.writable = true;
            return Some(report);
        }
        if let What::End(end) = what {
            if let Some(connection) = self.connections.get_mut(&end.connection).filter(|_| !report.writable) {
                // As on Linux: who is told that there is no room will be told when there is.
                connection.ends[end.side].full = true;
            }
        }
        report.readable &= !blocked.has(Edges::READ);
        report.read_closed &= !blocked.has(Edges::READ);
        report.writable &= !blocked.has(Edges::WRITE);
        let full = report;
        if terse {
            report.readable &= pending.has(Edges::READ);
            report.read_closed &= pending.has(Edges::READ);
            report.writable &= pending.has(Edges::WRITE);
        }
        if report != full {
            self.counts.add(Fault::Terse);
        }
        let empty = !(report.readable || report.writable || report.read_closed || report.error);
        if empty { None } else { Some(report) }
    }

    /// What a program that watches levels would see of a handle.
    pub(super) fn level(&mut self, host: usize, handle: Handle) -> Readiness {
        let (place, what) = self.lookup(host, handle);
        let blocked = self.hosts[host].slot_at(place).map_or(Edges::NONE, |slot| slot.blocked);
        let mut report = self.readiness(0, what);
        if let What::End(end) = what {
            if let Some(connection) = self.connections.get_mut(&end.connection).filter(|_| !report.writable) {
                // Who is told that there is no room will be told when there is.
                connection.ends[end.side].full = true;
            }
        }
        report.readable &= !blocked.has(Edges::READ);
        report.read_closed &= !blocked.has(Edges::READ);
        report.writable &= !blocked.has(Edges::WRITE);
        report
    }

    /// What is true of a handle at this moment.
    pub(super) fn readiness(&self, token: u64, what: What) -> Readiness {
        let mut report = Readiness::new(token);
        match what {
            What::Listener(id) => report.readable = self.listeners.get(&id).is_some_and(|l| !l.queue.is_empty()),
            What::End(id) => {
                let Some(connection) = self.connections.get(&id.connection) else { return report };
                let (end, input, output) =
                    (&connection.ends[id.side], &connection.pipes[1 - id.side], &connection.pipes[id.side]);
                if end.connecting {
                    return report;
                }
                report.read_closed = end.reset || input.fin == Fin::Arrived;
                report.readable = report.read_closed || !input.arrived.is_empty();
                report.writable = end.reset || end.shut || output.has_room();
                report.error = end.reset || (end.shut && input.fin == Fin::Arrived);
            }
        }
        report
    }
}

/// Ports below are somebody's.
pub(super) const FIRST_PORT: u16 = 32_767;
