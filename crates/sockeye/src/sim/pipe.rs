//! Connections: two ends, and a pipe from each to the other.
//!
//! ```text
//!  send ─▶ travelling ──(a piece at a time, after its latency)──▶ arrived ─▶ recv
//!          ≤ room                                                 ≤ window
//! ```

use std::collections::VecDeque;
use std::os::unix::net::UnixStream;

use rustix::io::Errno;

use crate::sim::faults::Faults;
use crate::sys::Address;

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) travelling: VecDeque<u8>,
    pub(super) arrived: VecDeque<u8>,
    /// How much may travel at one time.
    pub(super) room: usize,
    /// How much may have arrived and not be read.
    pub(super) window: usize,
    pub(super) fin: Fin,
    /// The arrival of the next piece is scheduled.
    pub(super) moving: bool,
}

/// Where the end of a direction is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fin {
    None,
    Sent,
    Arrived,
}

impl Pipe {
    const fn new(room: usize, window: usize) -> Self {
        Self { travelling: VecDeque::new(), arrived: VecDeque::new(), room, window, fin: Fin::None, moving: false }
    }

    pub(super) fn free(&self) -> usize {
        self.room.saturating_sub(self.travelling.len())
    }

    /// A third must be free before a full pipe counts as writable again, as on Linux: fewer and larger writes.
    pub(super) fn has_room(&self) -> bool {
        self.free() >= self.room.div_ceil(3)
    }

    /// How many bytes could arrive now.
    pub(super) fn movable(&self) -> usize {
        self.travelling.len().min(self.window.saturating_sub(self.arrived.len()))
    }

    /// The end is next.
    pub(super) fn ends_next(&self) -> bool {
        self.fin == Fin::Sent && self.travelling.is_empty()
    }

    pub(super) fn carry(&mut self, count: usize) {
        let (front, back) = first(&self.travelling, count);
        self.arrived.extend(front);
        self.arrived.extend(back);
        self.travelling.drain(..count);
    }

    /// Takes up to `most` bytes of those that have arrived.
    pub(super) fn take(&mut self, most: usize) -> Vec<u8> {
        let count = most.min(self.arrived.len());
        let (front, back) = first(&self.arrived, count);
        let bytes = [front, back].concat();
        self.arrived.drain(..count);
        bytes
    }

    pub(super) fn read(&mut self, out: &mut [u8]) -> usize {
        let count = out.len().min(self.arrived.len());
        let (front, back) = first(&self.arrived, count);
        out[..front.len()].copy_from_slice(front);
        out[front.len()..count].copy_from_slice(back);
        self.arrived.drain(..count);
        count
    }
}

/// The first `count` bytes of a queue, which has as many. As slices: tests are built without optimisation, and byte by byte
/// this would take a quarter of their time.
fn first(queue: &VecDeque<u8>, count: usize) -> (&[u8], &[u8]) {
    let (front, back) = queue.as_slices();
    let split = count.min(front.len());
    (&front[..split], &back[..count - split])
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct End {
    pub(super) owner: Owner,
    /// No connection yet: the other end knows nothing of it.
    pub(super) connecting: bool,
    /// An error that the next call has to report.
    pub(super) error: Option<Errno>,
    /// The connection was reset, or never stood: nothing goes in or out any more.
    pub(super) reset: bool,
    /// This end has ended its sending side.
    pub(super) shut: bool,
    /// `send` found too little room, so a writable edge is owed.
    pub(super) full: bool,
    pub(super) address: Address,
}

/// Who has an end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Owner {
    /// A listener, which has not handed it out yet.
    Listener,
    Host(Place),
    Peer,
    Closed,
}

/// A handle of a host; `serial` tells it from an earlier one of the same number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Place {
    pub(super) host: usize,
    pub(super) handle: u32,
    pub(super) serial: u64,
}

/// An end, by name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct EndId {
    pub(super) connection: u64,
    pub(super) side: usize,
}

impl EndId {
    pub(super) const fn other(self) -> Self {
        Self { connection: self.connection, side: 1 - self.side }
    }
}

/// The end that a descriptor of the program stands for.
#[derive(Debug)]
pub(super) struct Stand {
    pub(super) inode: u64,
    pub(super) end: EndId,
    pub(super) _other: UnixStream,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) ends: [End; 2],
    /// `pipes[side]` carries what `ends[side]` sends.
    pub(super) pipes: [Pipe; 2],
}

impl Connection {
    /// The first end is the one that connects, with its address; `SERVER` waits to be accepted. Scripted peers have no
    /// limits of their own.
    pub(super) fn new(owner: Owner, client: Address, server: Address, faults: &Faults) -> Self {
        let end = |owner, address| End {
            owner,
            connecting: false,
            error: None,
            reset: false,
            shut: false,
            full: false,
            address,
        };
        let (room, window) = match owner {
            Owner::Peer => (usize::MAX, usize::MAX),
            _ => (faults.send_buffer, faults.receive_buffer),
        };
        Self {
            ends: [end(owner, client), end(Owner::Listener, server)],
            pipes: [Pipe::new(room, faults.receive_buffer), Pipe::new(faults.send_buffer, window)],
        }
    }

    /// One side sends at most so much ahead.
    pub(super) fn limit_room(&mut self, side: usize, room: usize) {
        let pipe = &mut self.pipes[side];
        pipe.room = pipe.room.min(room);
    }

    pub(super) fn is_over(&self) -> bool {
        self.ends.iter().all(|end| end.owner == Owner::Closed)
    }
}

/// The side of the end that connects.
pub(super) const CLIENT: usize = 0;

/// The side of the end that a listener hands out.
pub(super) const SERVER: usize = 1;
