//! What the server's callbacks note, and the rules that they must come by.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use sockeye::{Closed, ConnId};
use sockeye_proto::time::Instant;

/// The notes of all connections of one service. Nothing here panics: a failure is noted and reported after the turn, so
/// that a service is never unwound out of a callback.
#[derive(Default)]
pub struct Hub {
    failures: RefCell<Vec<String>>,
    conns: RefCell<BTreeMap<usize, Notes>>,
    open: RefCell<BTreeMap<ConnId, usize>>,
    stale: RefCell<Vec<ConnId>>,
    inside: Cell<bool>,
    turn: Cell<u64>,
    all_asked_in: Cell<u64>,
    /// How many there were that show that the loop has work.
    pub callbacks: Cell<u64>,
    /// How many pieces one connection may be brought in a turn.
    pub most_receives: Cell<usize>,
    pub verbose: Cell<bool>,
    /// Each session has a share.
    pub sessions: Rc<()>,
}

/// The notes of one connection.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    pub opened: u32,
    /// Messages in the order they came.
    pub received: Vec<String>,
    pub closed: Vec<Closed>,
    pub closed_at: Option<Instant>,
    /// When the server wished to close it.
    pub close_asked_at: Option<Instant>,
    /// A writable callback is owed.
    asked: bool,
    /// All were asked for, which may be carried out before or after what was asked for this one.
    asked_with_all: bool,
    pub pokes: u32,
    pub paused: bool,
    /// The peer's Close frame was told of.
    pub closing: bool,
    receives: (u64, usize),
}

/// Which callback runs: two of them at one time would be one inside another.
pub struct Inside(Rc<Hub>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.inside.set(false);
    }
}

impl Hub {
    pub fn fail(&self, what: impl Into<String>) {
        self.failures.borrow_mut().push(what.into());
    }

    pub fn failure(&self) -> Option<String> {
        self.failures.borrow().first().cloned()
    }

    pub fn note(&self, now: Instant, line: impl FnOnce() -> String) {
        if self.verbose.get() {
            println!("{:>14} server {}", now.as_nanos(), line());
        }
    }

    pub fn next_turn(&self) {
        self.turn.set(self.turn.get() + 1);
    }

    /// A callback begins.
    pub fn enter(self: &Rc<Self>, what: &str) -> Inside {
        if self.inside.replace(true) {
            self.fail(format!("{what} was called inside another callback"));
        }
        Inside(self.clone())
    }

    /// A callback of an open connection begins.
    pub fn enter_open(self: &Rc<Self>, what: &str, peer: usize, id: ConnId) -> Inside {
        if self.open.borrow().get(&id) != Some(&peer) {
            self.fail(format!("{what} came for peer {peer}, {id}, which is not open"));
        }
        self.enter(what)
    }

    pub fn of<T>(&self, peer: usize, change: impl FnOnce(&mut Notes) -> T) -> T {
        change(self.conns.borrow_mut().entry(peer).or_default())
    }

    pub fn all(&self) -> BTreeMap<usize, Notes> {
        self.conns.borrow().clone()
    }

    pub fn opened(&self, peer: usize, id: ConnId) {
        let again = self.of(peer, |notes| {
            notes.opened += 1;
            notes.asked_with_all = self.all_asked_in.get() == self.turn.get();
            notes.opened > 1
        });
        if again || self.open.borrow_mut().insert(id, peer).is_some() || self.stale.borrow().contains(&id) {
            self.fail(format!("open came twice for peer {peer} or its id {id}"));
        }
    }

    pub fn closed(&self, peer: usize, id: ConnId, now: Instant, closed: Closed) {
        if self.open.borrow_mut().remove(&id) != Some(peer) {
            self.fail(format!("closed came for peer {peer}, {id}, which is not open"));
        }
        self.stale.borrow_mut().push(id);
        self.of(peer, |notes| {
            notes.closed.push(closed);
            notes.closed_at = Some(now);
        });
    }

    /// The peer's Close frame is told of.
    pub fn closing(&self, peer: usize) {
        if self.of(peer, |notes| std::mem::replace(&mut notes.closing, true)) {
            self.fail(format!("closing came twice for peer {peer}"));
        }
    }

    /// The writable callback is asked for.
    pub fn asked(&self, peer: usize) {
        self.of(peer, |notes| notes.asked = true);
    }

    pub fn asked_all(&self) {
        for peer in self.open.borrow().values() {
            self.of(*peer, |notes| notes.asked_with_all = true);
        }
        self.all_asked_in.set(self.turn.get());
    }

    /// The writable callback comes.
    pub fn served(&self, peer: usize) {
        self.callbacks.set(self.callbacks.get() + 1);
        let asked = self.of(peer, |notes| std::mem::take(&mut notes.asked) || notes.asked_with_all);
        if !asked {
            self.fail(format!("peer {peer} was not asked for, and is writable"));
        }
    }

    /// A piece of a message comes.
    pub fn received_piece(&self, peer: usize, what: &str) {
        self.callbacks.set(self.callbacks.get() + 1);
        let turn = self.turn.get();
        let (paused, count) = self.of(peer, |notes| {
            notes.receives = if notes.receives.0 == turn { (turn, notes.receives.1 + 1) } else { (turn, 1) };
            (notes.paused, notes.receives.1)
        });
        if paused {
            self.fail(format!("peer {peer} is paused, and {what} comes"));
        }
        if self.of(peer, |notes| notes.closing) {
            self.fail(format!("peer {peer} is closing, and {what} comes"));
        }
        if count > self.most_receives.get() {
            self.fail(format!("peer {peer} is brought more than {} pieces in one turn", self.most_receives.get()));
        }
    }

    pub fn open_ids(&self) -> Vec<(ConnId, usize)> {
        self.open.borrow().iter().map(|(id, peer)| (*id, *peer)).collect()
    }

    pub fn stale_ids(&self) -> Vec<ConnId> {
        self.stale.borrow().clone()
    }

    /// The open connection of a peer.
    pub fn id_of(&self, peer: usize) -> Option<ConnId> {
        self.open.borrow().iter().find(|(_, of)| **of == peer).map(|(id, _)| *id)
    }
}
