//! A host: its handles, its calls, and what it waits for.

use std::collections::VecDeque;
use std::ops::BitOr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::sim::pipe::{EndId, Place};
use crate::sim::random::Random;
use crate::sys::{Resolved, Wake};

#[derive(Debug)]
pub(super) struct HostState {
    pub(super) slots: Vec<Option<Slot>>,
    pub(super) open: usize,
    pub(super) descriptor_limit: u64,
    pub(super) waker: Arc<SimWaker>,
    /// For [`Sys::random`](crate::sys::Random::random), so that what a program draws does not change what the network does.
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
    /// Which of its programs, one after another, is running: the answers to one of them do not go to the next.
    pub(super) life: u64,
    /// Names that are being looked up or whose answer was not taken.
    pub(super) questions: usize,
    pub(super) answers: VecDeque<Resolved>,
    pub(super) last_port: u16,
    /// Places with edges to report, oldest first; each at most once.
    pub(super) ready: VecDeque<Place>,
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

    pub(super) fn slot_at(&mut self, place: Place) -> Option<&mut Slot> {
        self.slots.get_mut(place.handle as usize)?.as_mut().filter(|slot| slot.serial == place.serial)
    }
}

/// An open handle.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) what: What,
    pub(super) serial: u64,
    pub(super) token: Option<u64>,
    /// A call returned that there is nothing to read: the next arrival is an edge.
    pub(super) drained: bool,
    /// Injected `WouldBlock`s that are not over.
    pub(super) blocked: Edges,
    pub(super) pending: Edges,
    /// The next report shows room where there is none.
    pub(super) false_report: bool,
}

impl Slot {
    pub(super) const fn new(what: What, serial: u64) -> Self {
        Self {
            what,
            serial,
            token: None,
            drained: false,
            blocked: Edges::NONE,
            pending: Edges::NONE,
            false_report: false,
        }
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
    /// [`wait`](crate::sys::Poller::wait)
    pub wait: u64,
    /// [`accept`](crate::sys::Sockets::accept)
    pub accept: u64,
    /// [`connect`](crate::sys::Sockets::connect)
    pub connect: u64,
    /// [`resolve`](crate::sys::Names::resolve)
    pub resolve: u64,
    /// [`register`](crate::sys::Poller::register) and [`reregister`](crate::sys::Poller::reregister)
    pub register: u64,
    /// [`recv`](crate::sys::Sockets::recv)
    pub recv: u64,
    /// [`send`](crate::sys::Sockets::send)
    pub send: u64,
    /// [`close`](crate::sys::Sockets::close)
    pub close: u64,
}

#[derive(Debug)]
pub(super) struct SimWaker(pub(super) AtomicBool);

impl Wake for SimWaker {
    fn wake(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Lower ports are in use by others.
pub(super) const FIRST_PORT: u16 = 32_767;
