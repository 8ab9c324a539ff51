//! How a host connects, or fails to.
//!
//! ```text
//!  connect ── Syn ──▶ a listener? ── Establish ──▶ connected ── Connect ──▶ accept
//!                          └──────── Refuse ─▶ error
//! ```

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::io::Errno;

use crate::sim::faults::Fault;
use crate::sim::host::{Edges, FIRST_PORT, What};
use crate::sim::pipe::{CLIENT, Connection, EndId, Owner, SERVER};
use crate::sim::state::{Event, RECONNECT_NANOS, State, Way};
use crate::sys::{Address, Handle, check_family};

impl State {
    /// A host begins to connect.
    pub(super) fn begin(
        &mut self,
        host: usize,
        to: &Address,
        source: Option<IpAddr>,
        room: usize,
    ) -> io::Result<Handle> {
        if matches!(to, Address::Unnamed) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if self.hosts[host].in_use() >= self.hosts[host].descriptor_limit {
            return Err(Errno::MFILE.into());
        }
        if let (Some(source), Address::Ip(to)) = (source, to) {
            check_family(source, to.ip())?;
        }
        let way = self.ways.iter().find(|(address, _)| address == to).map(|(_, way)| *way);
        if way == Some(Way::Unreachable) {
            return Err(Errno::HOSTUNREACH.into());
        }
        let fails = self.inject(Fault::ConnectFailed);
        if fails && self.random.chance(500) {
            return Err(AT_ONCE[self.random.index(AT_ONCE.len())].into());
        }
        let listener = match (to, way) {
            (Address::Unix(_) | Address::Abstract(_), None) => Some(self.unix_listener(to)?),
            _ => None,
        };
        let connection = self.serial();
        let end = EndId { connection, side: CLIENT };
        let place = self.open_slot(host, What::End(end));
        let local = self.local_address(host, to, source);
        let mut made = Connection::new(Owner::Host(place), local, to.clone(), &self.faults);
        made.ends[CLIENT].connecting = listener.is_none() || fails;
        made.limit_room(CLIENT, room);
        self.connections.insert(connection, made);
        match listener {
            _ if fails => {
                let error = LATER[self.random.index(LATER.len())];
                self.schedule_late(Event::Refuse(end, error));
            }
            Some(listener) => self.schedule(Event::Connect { listener, end: end.other() }),
            None if way == Some(Way::Silent) => {}
            None => self.schedule(Event::Syn(end)),
        }
        Ok(Handle::new(place.handle))
    }

    /// Connecting to a Unix socket takes no time: it works or it does not.
    fn unix_listener(&self, to: &Address) -> io::Result<u64> {
        let Some(id) = self.listener_at(to) else {
            return Err(if matches!(to, Address::Abstract(_)) { Errno::CONNREFUSED } else { Errno::NOENT }.into());
        };
        let listener = &self.listeners[&id];
        if listener.queue.len() >= listener.backlog {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "the listener's queue is full"));
        }
        Ok(id)
    }

    /// A simulated host has every address.
    fn local_address(&mut self, host: usize, to: &Address, source: Option<IpAddr>) -> Address {
        let Address::Ip(to) = to else { return Address::Unnamed };
        let last = self.hosts[host].last_port;
        let port = last.checked_add(1).unwrap_or(FIRST_PORT + 1);
        self.hosts[host].last_port = port;
        let own = match to {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        Address::Ip((source.unwrap_or(own), port).into())
    }

    /// How connecting came out.
    pub(super) fn connected(&mut self, host: usize, handle: Handle) -> io::Result<bool> {
        let (place, end) = self.connection_of(host, handle);
        let own = &mut self.connection(end).ends[end.side];
        if let Some(error) = own.error.take() {
            return Err(error.into());
        }
        if own.connecting || own.reset {
            return Ok(false);
        }
        Ok(!self.would_block(place, Edges::WRITE))
    }

    /// The request arrives where it was sent to.
    pub(super) fn syn_arrives(&mut self, end: EndId) {
        let Some(connection) = self.connections.get(&end.connection) else { return };
        if let Owner::Host(place) = connection.ends[end.side].owner {
            if self.inject(Fault::Spurious) {
                self.report_falsely(place);
            }
        }
        let to = &self.connections[&end.connection].ends[SERVER].address;
        let Some(listener) = self.listener_at(to) else {
            self.schedule(Event::Refuse(end, Errno::CONNREFUSED));
            return;
        };
        let found = &self.listeners[&listener];
        if found.queue.len() >= found.backlog {
            // The system drops the request and it is repeated.
            self.schedule_after(RECONNECT_NANOS, Event::Syn(end));
        } else {
            self.schedule(Event::Establish { listener, end });
        }
    }

    pub(super) fn established(&mut self, listener: u64, end: EndId) {
        let Some(connection) = self.connections.get_mut(&end.connection) else { return };
        let own = &mut connection.ends[end.side];
        own.connecting = false;
        let owner = own.owner;
        self.edge(owner, Edges::WRITE, true);
        self.schedule(Event::Connect { listener, end: end.other() });
    }

    pub(super) fn refused(&mut self, end: EndId, error: Errno) {
        let Some(connection) = self.connections.get_mut(&end.connection) else { return };
        // There is no other end.
        connection.ends[1 - end.side].owner = Owner::Closed;
        let own = &mut connection.ends[end.side];
        (own.connecting, own.reset, own.error) = (false, true, Some(error));
        let owner = own.owner;
        self.edge(owner, Edges::BOTH, true);
    }
}

const AT_ONCE: [Errno; 5] = [Errno::ADDRNOTAVAIL, Errno::NOBUFS, Errno::NOMEM, Errno::NETUNREACH, Errno::NFILE];

const LATER: [Errno; 4] = [Errno::CONNREFUSED, Errno::HOSTUNREACH, Errno::TIMEDOUT, Errno::CONNRESET];
