//! What the network knows: the clock, what is going to happen, hosts, listeners and connections.
//!
//! What to know before editing: everything that happens is an [`Event`] at a time, ordered by time and then by the order of
//! scheduling; nothing here may depend on anything else (no hashing, no addresses, no real clock), or a seed no longer repeats.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Display;
use std::io;
use std::thread;

use rustix::io::Errno;

use crate::sim::faults::{Counts, Fault, Faults};
use crate::sim::host::{Edges, HostState};
use crate::sim::log::Log;
use crate::sim::names::Names;
use crate::sim::pipe::{CLIENT, Connection, EndId, Fin, Owner, Place, SERVER, Stand};
use crate::sim::random::Random;
use crate::sys::{Address, CloseHow, Resolved};

#[derive(Debug)]
pub(super) struct State {
    pub(super) seed: u64,
    /// Nanoseconds; never goes back.
    pub(super) now: u64,
    pub(super) random: Random,
    pub(super) faults: Faults,
    pub(super) counts: Counts,
    pub(super) hosts: Vec<HostState>,
    pub(super) listeners: BTreeMap<u64, Listener>,
    pub(super) connections: BTreeMap<u64, Connection>,
    pub(super) names: Names,
    /// What descriptors of the program stand for, until a host takes them.
    pub(super) stands: Vec<Stand>,
    /// The result of connecting to these addresses, even if there is a listener.
    pub(super) ways: Vec<(Address, Way)>,
    pub(super) log: Option<Log>,
    /// Counts the turns of [`Network::run`](super::Network::run).
    pub(super) turn: u64,
    /// Events that have happened.
    pub(super) happened: u64,
    events: BTreeMap<(u64, u64), Event>,
    last_serial: u64,
}

#[derive(Debug)]
pub(super) struct Listener {
    pub(super) address: Address,
    /// A host, or a script.
    pub(super) owner: Owner,
    pub(super) queue: VecDeque<EndId>,
    pub(super) backlog: usize,
    /// How much the accepted connections may send ahead.
    pub(super) room: usize,
}

/// What the network does with attempts to connect to an address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Way {
    /// It drops their packets.
    Silent,
    /// It reports at once that there is no route.
    Unreachable,
}

/// Something that is going to happen.
#[derive(Debug)]
pub(super) enum Event {
    /// The next piece that this end sent arrives at the other.
    Arrive(EndId),
    /// The reset that the other end sent arrives at this one.
    Reset(EndId),
    /// The request of this end, which wants to connect, reaches the place where a listener may be.
    Syn(EndId),
    /// A listener's answer reaches the end that wants to connect.
    Establish { listener: u64, end: EndId },
    /// A connection fails, and the end that wanted to connect learns it.
    Refuse(EndId, Errno),
    /// A connection reaches a listener.
    Connect { listener: u64, end: EndId },
    /// A name was looked up, or could not be.
    Answer { host: usize, life: u64, answer: Resolved },
    /// An edge that was held back.
    Edge(Place, Edges),
    /// An injected `WouldBlock` is over.
    Unblock(Place, Edges),
}

impl State {
    pub(super) fn new(seed: u64, faults: Faults) -> Self {
        Self {
            seed,
            now: 1_000_000_000_000,
            random: Random::new(seed),
            faults,
            counts: Counts::default(),
            hosts: Vec::new(),
            listeners: BTreeMap::new(),
            connections: BTreeMap::new(),
            names: Names::default(),
            stands: Vec::new(),
            ways: Vec::new(),
            log: None,
            turn: 0,
            happened: 0,
            events: BTreeMap::new(),
            last_serial: 0,
        }
    }

    /// Whether `fault` happens now.
    pub(super) fn inject(&mut self, fault: Fault) -> bool {
        let happens = self.random.chance(self.faults.rate(fault));
        if happens {
            self.counts.add(fault);
        }
        happens
    }

    pub(super) fn serial(&mut self) -> u64 {
        self.last_serial += 1;
        self.last_serial
    }

    pub(super) fn note(&self, line: impl FnOnce() -> String) {
        if let Some(log) = &self.log {
            log.note(format!("{} {}", self.now, line()));
        }
    }

    #[track_caller]
    pub(super) fn fail(&self, what: impl Display) -> ! {
        panic!("simulated network, seed {}: {what}", self.seed)
    }

    // ---- time ----

    pub(super) fn schedule(&mut self, event: Event) {
        let latency = u64::try_from(self.faults.latency.as_nanos()).unwrap_or(u64::MAX);
        let delay = self.random.below(latency.saturating_add(1));
        self.schedule_after(delay, event);
    }

    /// Later than the next piece would come.
    pub(super) fn schedule_late(&mut self, event: Event) {
        let delay = 1 + self.random.below(LATE_NANOS);
        self.schedule_after(delay, event);
    }

    pub(super) fn schedule_after(&mut self, delay: u64, event: Event) {
        let key = (self.now.saturating_add(delay), self.serial());
        self.events.insert(key, event);
    }

    /// When the next thing happens, if anything is going to.
    pub(super) fn next_event(&self) -> Option<u64> {
        self.events.keys().next().map(|(time, _)| *time)
    }

    /// Moves the clock to where the next thing happens or to the deadline; false when there is neither.
    pub(super) fn jump(&mut self, deadline: Option<u64>) -> bool {
        let Some(mut next) = self.next_event().into_iter().chain(deadline).min() else { return false };
        if deadline != Some(next) && self.inject(Fault::Together) {
            next = (next + self.random.below(TOGETHER_NANOS)).min(deadline.unwrap_or(u64::MAX));
        }
        self.now = self.now.max(next);
        true
    }

    /// Lets everything happen that is due.
    pub(super) fn catch_up(&mut self) {
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= self.now) {
            self.happened += 1;
            match entry.remove() {
                Event::Arrive(end) => {
                    if let Some(connection) = self.connections.get_mut(&end.connection) {
                        connection.pipes[end.side].moving = false;
                        self.arrive(end);
                        self.pump(end);
                    }
                }
                Event::Reset(end) => self.reset_arrives(end),
                Event::Syn(end) => self.syn_arrives(end),
                Event::Establish { listener, end } => self.established(listener, end),
                Event::Refuse(end, error) => self.refused(end, error),
                Event::Answer { host, life, answer } => self.answered(host, life, answer),
                Event::Connect { listener, end } => self.connect_arrives(listener, end),
                Event::Edge(place, edges) => self.mark(place, edges),
                Event::Unblock(place, edges) => self.unblock(place, edges),
            }
        }
    }

    // ---- what happens to connections ----

    /// Schedules the next arrival of bytes that `from` sent, if there are any.
    pub(super) fn pump(&mut self, from: EndId) {
        let Some(connection) = self.connections.get_mut(&from.connection) else { return };
        let unread = connection.ends[1 - from.side].owner == Owner::Closed;
        let pipe = &mut connection.pipes[from.side];
        let coming = pipe.movable() > 0 || pipe.ends_next() || (unread && !pipe.travelling.is_empty());
        if coming && !pipe.moving {
            pipe.moving = true;
            self.schedule(Event::Arrive(from));
        }
    }

    /// The next piece from `from`, or its end, arrives.
    pub(super) fn arrive(&mut self, from: EndId) {
        let Some(connection) = self.connections.get_mut(&from.connection) else { return };
        let receiver = connection.ends[1 - from.side].owner;
        let pipe = &mut connection.pipes[from.side];
        let movable = pipe.movable();
        if receiver == Owner::Closed {
            if !pipe.travelling.is_empty() {
                // Nothing reads this any more, which TCP answers with a reset.
                pipe.travelling.clear();
                self.send_reset(from.other());
            } else if pipe.ends_next() {
                pipe.fin = Fin::Arrived;
            }
            return;
        }
        if movable == 0 {
            if pipe.ends_next() {
                pipe.fin = Fin::Arrived;
                self.edge(receiver, Edges::READ, true);
            }
            return;
        }
        if self.inject(Fault::Reset) {
            self.reset_arrives(from);
            self.reset_arrives(from.other());
            return;
        }
        let cut = self.random.chance(self.faults.rate(Fault::Cut));
        let most = movable.min(self.faults.segment);
        let count = if cut { self.random.size(most) } else { most };
        if cut && count < movable {
            self.counts.add(Fault::Cut);
        }
        let ends_with_it = self.random.chance(500);
        let Some(connection) = self.connections.get_mut(&from.connection) else { return };
        let pipe = &mut connection.pipes[from.side];
        pipe.carry(count);
        let ends = pipe.ends_next() && ends_with_it;
        if ends {
            pipe.fin = Fin::Arrived;
        }
        self.edge(receiver, Edges::READ, ends);
        self.room_appears(from);
    }

    /// Owes `end` its writable edge, if it was full.
    fn room_appears(&mut self, end: EndId) {
        let Some(connection) = self.connections.get_mut(&end.connection) else { return };
        let (pipe, end) = (&connection.pipes[end.side], &mut connection.ends[end.side]);
        if end.full && pipe.has_room() {
            end.full = false;
            let owner = end.owner;
            if !self.inject(Fault::LostEdge) {
                self.edge(owner, Edges::WRITE, true);
            }
        }
    }

    /// `end` resets the connection: what it sent is lost, and the other end will know.
    pub(super) fn send_reset(&mut self, end: EndId) {
        if let Some(connection) = self.connections.get_mut(&end.connection) {
            connection.pipes[end.side].travelling.clear();
            self.schedule(Event::Reset(end.other()));
        }
    }

    fn reset_arrives(&mut self, end: EndId) {
        // Linux lets the program read what had arrived; other systems drop it.
        let discards = self.random.chance(500);
        let Some(connection) = self.connections.get_mut(&end.connection) else { return };
        if connection.ends[end.side].reset || connection.ends[end.side].owner == Owner::Closed {
            return;
        }
        connection.pipes[end.side].travelling.clear();
        // What is on its way to this end comes too late.
        connection.pipes[1 - end.side].travelling.clear();
        if discards {
            connection.pipes[1 - end.side].arrived.clear();
        }
        // After the peer's end a reset is what comes of sending to it: TCP has other words for that.
        let had_ended = connection.pipes[1 - end.side].fin == Fin::Arrived;
        let error = if had_ended { Errno::PIPE } else { Errno::CONNRESET };
        let end = &mut connection.ends[end.side];
        (end.reset, end.error) = (true, Some(error));
        let owner = end.owner;
        self.edge(owner, Edges::BOTH, true);
    }

    fn connect_arrives(&mut self, listener: u64, end: EndId) {
        if !self.connections.contains_key(&end.connection) {
            return;
        }
        let Some(found) = self.listeners.get_mut(&listener) else {
            self.close_end(end, CloseHow::Reset);
            return;
        };
        if found.queue.len() >= found.backlog {
            // The system drops the request and the peer repeats it.
            self.schedule_after(RECONNECT_NANOS, Event::Connect { listener, end });
            return;
        }
        found.queue.push_back(end);
        let (owner, room) = (found.owner, found.room);
        if let Some(connection) = self.connections.get_mut(&end.connection) {
            connection.limit_room(end.side, room);
        }
        self.edge(owner, Edges::READ, false);
    }

    /// The owner of `end` closes it.
    pub(super) fn close_end(&mut self, end: EndId, how: CloseHow) {
        let Some(connection) = self.connections.get_mut(&end.connection) else { return };
        if connection.ends[end.side].owner == Owner::Closed {
            return;
        }
        if connection.ends[end.side].connecting {
            // The other side does not know of it yet.
            self.connections.remove(&end.connection);
            return;
        }
        let was_reset = connection.ends[end.side].reset;
        connection.ends[end.side].owner = Owner::Closed;
        if connection.is_over() {
            self.connections.remove(&end.connection);
            return;
        }
        // As TCP has it: closing with input unread resets, because the peer must learn that it was lost.
        let unread = !connection.pipes[1 - end.side].arrived.is_empty();
        connection.pipes[1 - end.side].arrived.clear();
        if was_reset {
            return;
        }
        if how == CloseHow::Reset || unread {
            self.send_reset(end);
        } else {
            self.shut_end(end);
        }
        self.pump(end.other());
    }

    /// `end` has nothing more to send.
    pub(super) fn shut_end(&mut self, end: EndId) {
        let Some(connection) = self.connections.get_mut(&end.connection) else { return };
        connection.ends[end.side].shut = true;
        let pipe = &mut connection.pipes[end.side];
        if pipe.fin == Fin::None {
            pipe.fin = Fin::Sent;
        }
        self.pump(end);
    }

    /// Starts a connection from a scripted peer.
    pub(super) fn connect(&mut self, to: &Address) -> io::Result<EndId> {
        let Some(listener) = self.listener_at(to) else { return Err(io::ErrorKind::ConnectionRefused.into()) };
        let id = self.serial();
        let client = match to {
            Address::Ip(_) => Address::Ip(([127, 0, 0, 1], 50_000 + (id % 15_000) as u16).into()),
            _ => Address::Unnamed,
        };
        self.connections.insert(id, Connection::new(Owner::Peer, client, to.clone(), &self.faults));
        self.schedule(Event::Connect { listener, end: EndId { connection: id, side: SERVER } });
        Ok(EndId { connection: id, side: CLIENT })
    }

    pub(super) fn listener_at(&self, to: &Address) -> Option<u64> {
        self.listeners.iter().find(|(_, listener)| answers_to(&listener.address, to)).map(|(&id, _)| id)
    }
}

/// Every failing test names its seed.
impl Drop for State {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the simulated network had seed {}", self.seed);
        }
    }
}

fn answers_to(listener: &Address, to: &Address) -> bool {
    match (listener, to) {
        (Address::Ip(listener), Address::Ip(to)) => {
            listener.port() == to.port() && (listener.ip() == to.ip() || listener.ip().is_unspecified())
        }
        (listener, to) => listener == to,
    }
}

const LATE_NANOS: u64 = 20_000_000;

const TOGETHER_NANOS: u64 = 5_000_000;

pub(super) const RECONNECT_NANOS: u64 = 1_000_000_000;
