//! A scripted peer: what a test does at the other end of a connection.

use std::cell::{RefCell, RefMut};
use std::fmt;
use std::rc::Rc;

use crate::sim::pipe::{EndId, Fin, Owner};
use crate::sim::state::State;
use crate::sys::{Address, CloseHow};

/// A client, or one connection of a [`Listener`](super::Listener), that a test writes by hand. All it does goes through the
/// same pipes as the host's side, piece by piece; the clock moves only in [`Network::run`](super::Network::run),
/// [`Network::advance`](super::Network::advance) or a host's own waiting.
///
/// Dropping it closes its connection.
///
/// ```
/// use std::time::Duration;
///
/// use sockeye::Service;
/// use sockeye::sim::{Faults, Network};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let network = Network::with_faults(1, Faults::none());
/// let mut service = Service::builder().listen("10.0.0.1:80").build_with(network.sys())?;
/// let peer = network.connect(&service.local_addresses()[0])?;
/// peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
/// for _ in 0..3 {
///     service.run_once(Some(Duration::ZERO))?;
/// }
/// assert!(peer.recv().starts_with(b"HTTP/1.1 426 Upgrade Required\r\n"));
/// # Ok(()) }
/// ```
pub struct Peer {
    pub(super) state: Rc<RefCell<State>>,
    pub(super) end: EndId,
}

/// How a connection ended, as a [`Peer`] saw it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PeerEnd {
    /// The other side ended its sending side, after everything it had sent.
    Finished,
    /// The other side, this one or the network reset the connection.
    Reset,
}

impl Peer {
    /// Sends `bytes`, as much as it may be: what has no room yet waits on this side. Ignored after an end.
    pub fn send(&self, bytes: &[u8]) {
        let mut state = self.state();
        let Some(connection) = state.connections.get_mut(&self.end.connection) else { return };
        let own = &connection.ends[self.end.side];
        if own.owner == Owner::Peer && !own.shut && !own.reset {
            connection.pipes[self.end.side].travelling.extend(bytes);
            state.pump(self.end);
        }
    }

    /// Takes everything that has arrived.
    #[must_use]
    pub fn recv(&self) -> Vec<u8> {
        self.recv_at_most(usize::MAX)
    }

    /// Takes up to `most` bytes of those that have arrived: for peers that read slowly, with [`set_window`](Self::set_window).
    #[must_use]
    pub fn recv_at_most(&self, most: usize) -> Vec<u8> {
        let mut state = self.state();
        let Some(connection) = state.connections.get_mut(&self.end.connection) else { return Vec::new() };
        let bytes = connection.pipes[1 - self.end.side].take(most);
        state.pump(self.end.other());
        bytes
    }

    /// How the other side ended; `None` as long as it can still send. Bytes that came before may still be there to take.
    #[must_use]
    pub fn end(&self) -> Option<PeerEnd> {
        let state = self.state();
        let Some(connection) = state.connections.get(&self.end.connection) else { return Some(PeerEnd::Reset) };
        let own = &connection.ends[self.end.side];
        if own.reset || own.owner == Owner::Closed {
            Some(PeerEnd::Reset)
        } else if connection.pipes[1 - self.end.side].fin == Fin::Arrived {
            Some(PeerEnd::Finished)
        } else {
            None
        }
    }

    /// The other side has ended, one way or the other.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.end().is_some()
    }

    /// Ends the sending side after what was sent; the other direction stays open.
    pub fn shutdown(&self) {
        self.state().shut_end(self.end);
    }

    /// Resets the connection: what did not arrive yet is lost.
    pub fn reset(&self) {
        self.state().close_end(self.end, CloseHow::Reset);
    }

    /// Closes the connection: the other side reads to the end, and what it sends is answered with a reset. If something arrived
    /// that was not [received](Self::recv), closing resets at once, as TCP has it.
    pub fn close(self) {}

    /// Takes no more than `bytes` that are not [received](Self::recv) yet; 0 stops reading, and pushes back on the other side.
    /// Without this there is no limit.
    pub fn set_window(&self, bytes: usize) {
        let mut state = self.state();
        if let Some(connection) = state.connections.get_mut(&self.end.connection) {
            connection.pipes[1 - self.end.side].window = bytes;
            state.pump(self.end.other());
        }
    }

    /// Bytes that were sent and have not reached the other side's buffer: above 0 for long, it has stopped reading.
    #[must_use]
    pub fn unsent(&self) -> usize {
        let state = self.state();
        state.connections.get(&self.end.connection).map_or(0, |c| c.pipes[self.end.side].travelling.len())
    }

    /// The address of this end, which the host sees.
    #[must_use]
    pub fn address(&self) -> Address {
        self.address_of(self.end)
    }

    /// The address of the other end.
    #[must_use]
    pub fn remote_address(&self) -> Address {
        self.address_of(self.end.other())
    }

    fn address_of(&self, end: EndId) -> Address {
        let state = self.state();
        let connection = state.connections.get(&end.connection);
        connection.map_or(Address::Unnamed, |c| c.ends[end.side].address.clone())
    }

    fn state(&self) -> RefMut<'_, State> {
        let mut state = self.state.borrow_mut();
        state.catch_up();
        state
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("connection", &self.end.connection).finish_non_exhaustive()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Ok(mut state) = self.state.try_borrow_mut() {
            state.catch_up();
            state.close_end(self.end, CloseHow::Normal);
        }
    }
}
