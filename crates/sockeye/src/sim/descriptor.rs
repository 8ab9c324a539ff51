//! Connections that reach a program as a descriptor, and not by listening or connecting.
//!
//! What to know before editing: the program holds a real descriptor, since [`OwnedFd`] can be nothing else. It is one end of a
//! socket pair that carries nothing, and its inode says which simulated end it stands for. The network keeps the other end of
//! the pair, so that the number stays unique.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::fs::fstat;

use crate::sim::host::What;
use crate::sim::pipe::{CLIENT, Connection, EndId, Owner, SERVER, Stand};
use crate::sim::state::State;
use crate::sys::{Address, Adopted, DescriptorKind, Handle};

impl State {
    /// A connection that is established, without a listener. `owner` has its first end.
    pub(super) fn pair(&mut self, owner: Owner) -> (u64, [OwnedFd; 2]) {
        let id = self.serial();
        let connection = Connection::new(owner, Address::Unnamed, Address::Unnamed, &self.faults);
        self.connections.insert(id, connection);
        let stand_for = |side| {
            let made = UnixStream::pair().and_then(|(fd, other)| {
                let fd = OwnedFd::from(fd);
                let inode = fstat(&fd)?.st_ino;
                Ok((fd, Stand { inode, end: EndId { connection: id, side }, _other: other }))
            });
            match made {
                Ok(made) => made,
                Err(error) => self.fail(format_args!("no descriptor can stand for a simulated one: {error}")),
            }
        };
        let [(one, first), (other, second)] = [CLIENT, SERVER].map(stand_for);
        self.stands.extend([first, second]);
        (id, [one, other])
    }

    /// A host takes a descriptor; `None`: it is not of this network.
    pub(super) fn adopt(&mut self, host: usize, fd: &OwnedFd) -> io::Result<Option<Adopted>> {
        let inode = fstat(fd.as_fd())?.st_ino;
        let Some(at) = self.stands.iter().position(|stand| stand.inode == inode) else { return Ok(None) };
        let end = self.stands.swap_remove(at).end;
        let place = self.open_slot(host, What::End(end));
        let connection = self.connection(end);
        connection.ends[end.side].owner = Owner::Host(place);
        let peer = connection.ends[1 - end.side].address.clone();
        Ok(Some(Adopted { peer, ..Adopted::new(Handle::new(place.handle), DescriptorKind::Stream) }))
    }
}
