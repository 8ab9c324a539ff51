//! A scripted listener: what a test does where hosts connect to.

use std::cell::{RefCell, RefMut};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use rustix::io::Errno;

use crate::sim::peer::Peer;
use crate::sim::pipe::{CLIENT, Owner};
use crate::sim::state::{self, State};
use crate::sys::{Address, CloseHow};

/// A server that a test writes by hand: hosts connect to it as to any other, and each established connection waits here
/// until it is accepted. As with a [`Peer`], things happen only while the clock moves.
///
/// Dropping it ends the listening; connections that were not accepted are reset.
pub struct Listener {
    pub(super) state: Rc<RefCell<State>>,
    pub(super) id: u64,
}

impl Listener {
    /// The next connection, if one is there.
    #[must_use]
    pub fn accept(&self) -> Option<Peer> {
        let mut state = self.state();
        let end = state.listeners.get_mut(&self.id)?.queue.pop_front()?;
        if let Some(connection) = state.connections.get_mut(&end.connection) {
            connection.ends[end.side].owner = Owner::Peer;
            connection.pipes[end.side].room = usize::MAX;
            connection.pipes[CLIENT].window = usize::MAX;
        }
        state.pump(end.other());
        Some(Peer { state: Rc::clone(&self.state), end })
    }

    /// Where it listens; a port of 0 has become a real one.
    #[must_use]
    pub fn address(&self) -> Address {
        self.state().listeners.get(&self.id).map_or(Address::Unnamed, |listener| listener.address.clone())
    }

    /// Sets the most connections that wait. When there are as many, a client over IP waits until there is room, and one
    /// of a Unix socket is refused. Default 4096.
    pub fn set_backlog(&self, connections: usize) {
        if let Some(listener) = self.state().listeners.get_mut(&self.id) {
            listener.backlog = connections;
        }
    }

    fn state(&self) -> RefMut<'_, State> {
        let mut state = self.state.borrow_mut();
        state.catch_up();
        state
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Ok(mut state) = self.state.try_borrow_mut() {
            state.catch_up();
            state.close_listener(self.id);
        }
    }
}

impl State {
    /// Where a listener for `address` will listen.
    pub(super) fn listener_address(&mut self, address: &Address) -> io::Result<Address> {
        let mut address = address.clone();
        match &mut address {
            Address::Ip(ip) if ip.port() == 0 => self.pick_port(ip),
            Address::Unnamed => return Err(io::ErrorKind::InvalidInput.into()),
            _ => {}
        }
        if self.listeners.values().any(|listener| listener.address == address) {
            return Err(Errno::ADDRINUSE.into());
        }
        Ok(address)
    }

    fn pick_port(&mut self, ip: &mut SocketAddr) {
        ip.set_port(40_000 + (self.serial() % 10_000) as u16);
    }

    pub(super) fn listen_scripted(&mut self, address: &Address) -> io::Result<u64> {
        let address = self.listener_address(address)?;
        let id = self.serial();
        let (owner, queue) = (Owner::Peer, Default::default());
        let listener = state::Listener { address, owner, queue, backlog: 4096, room: usize::MAX };
        self.listeners.insert(id, listener);
        Ok(id)
    }

    pub(super) fn close_listener(&mut self, id: u64) {
        let queue = self.listeners.remove(&id).map(|listener| listener.queue);
        for end in queue.unwrap_or_default() {
            self.close_end(end, CloseHow::Reset);
        }
    }
}
