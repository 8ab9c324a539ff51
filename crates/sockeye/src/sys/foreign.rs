//! Descriptors that the program opened and hands to the loop.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::sys::address::Address;
use crate::sys::poller::{Poller, Readiness};
use crate::sys::sockets::Handle;
use crate::sys::tcp::ListenOptions;

/// The descriptors of a [`Sys`](crate::sys::Sys) that others opened. A system without descriptors implements none of these.
pub trait ForeignDescriptors: Poller {
    /// Takes a listener that the program opened, with the address it has. It must be a listening stream socket. Of
    /// `options` only `keepalive` and `user_timeout` are set. Closing it closes this descriptor alone, and removes no
    /// file.
    ///
    /// # Errors
    /// `InvalidInput` with what it is instead, `Unsupported` on a system without descriptors.
    fn inherit(&mut self, listener: OwnedFd, options: &ListenOptions) -> io::Result<(Handle, Address)> {
        let _ = (listener, options);
        Err(io::Error::new(io::ErrorKind::Unsupported, "this system takes no listeners that others opened"))
    }

    /// Takes a descriptor of any kind that the program opened. It is made non-blocking, and the caller registers it.
    /// Closing it closes this descriptor alone: other descriptors of the same file or socket stay open.
    ///
    /// # Errors
    /// `InvalidInput` with what it is, when that cannot be watched; `Unsupported` on a system without descriptors. The
    /// descriptor is closed.
    fn adopt(&mut self, fd: OwnedFd, options: &AdoptOptions) -> io::Result<Adopted> {
        let _ = (fd, options);
        Err(io::Error::new(io::ErrorKind::Unsupported, "this system takes no descriptors that others opened"))
    }

    /// Reads once from an adopted handle that is not a [`DescriptorKind::Stream`]: one datagram, packet or record, or what
    /// there is of other input. `Ok(0)` is the end of input, or of [`DescriptorKind::Datagrams`] an empty one. Drained means
    /// `WouldBlock`, in any state.
    ///
    /// # Errors
    /// As [`recv`](crate::sys::Sockets::recv). An error of one datagram only is `Interrupted`.
    fn read(&mut self, handle: Handle, kind: DescriptorKind, buffer: &mut [u8]) -> io::Result<usize> {
        let _ = (handle, kind, buffer);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Writes once to an adopted handle that is not a [`DescriptorKind::Stream`]. Full means `WouldBlock`, however much was
    /// taken before. Bytes that are not empty are never taken as `Ok(0)`.
    ///
    /// # Errors
    /// As [`send`](crate::sys::Sockets::send), except that a pipe without readers raises `SIGPIPE` unless that is ignored. A datagram
    /// that is lost is not an error.
    fn write(&mut self, handle: Handle, kind: DescriptorKind, bytes: &[u8]) -> io::Result<usize> {
        let _ = (handle, kind, bytes);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// As [`readiness`](Poller::readiness), of an adopted handle that other code reads and writes. A direction that is
    /// requested and not ready is reported as an edge when it becomes ready, independent of reads and writes.
    ///
    /// # Errors
    /// The system's, when there is no such handle.
    fn look(&mut self, handle: Handle, readable: bool, writable: bool) -> io::Result<Readiness> {
        let _ = (readable, writable);
        self.readiness(handle)
    }

    /// Clears the pending error of an adopted datagram socket, so that a loop that watches levels does not see it again.
    fn clear_error(&mut self, handle: Handle) {
        let _ = handle;
    }

    /// How many bytes an adopted handle has to read, if the system says.
    fn unread(&mut self, handle: Handle) -> Option<u64> {
        let _ = handle;
        None
    }

    /// The descriptor of an adopted handle, for other code to read and write.
    ///
    /// # Errors
    /// There is no such handle, or the system has no descriptors.
    fn borrow(&self, handle: Handle) -> io::Result<BorrowedFd<'_>> {
        let _ = handle;
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// What an adopted descriptor is, which decides how it is read and written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DescriptorKind {
    /// A stream socket of TCP or Unix, as those that are accepted and connected: [`recv`](crate::sys::Sockets::recv) and
    /// [`send`](crate::sys::Sockets::send).
    Stream,
    /// Another connected socket: of packets, or a stream of another protocol.
    Packets,
    /// A socket without connections.
    Datagrams,
    /// A listening stream socket.
    Listener,
    /// Not a socket.
    Other,
}

/// How to adopt a descriptor.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct AdoptOptions {
    /// Small writes to a TCP connection are sent at once. Default off: as it was opened.
    pub nodelay: bool,
    /// It must be a connected stream socket of TCP or Unix; anything else is `InvalidInput`. Default off.
    pub must_be_connected: bool,
}

/// A descriptor that was adopted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Adopted {
    /// Its handle from here on.
    pub handle: Handle,
    /// What it is.
    pub kind: DescriptorKind,
    /// The peer of a [`DescriptorKind::Stream`]; `Unnamed` otherwise.
    pub peer: Address,
    /// Whether it was opened for reading.
    pub readable: bool,
    /// Whether it was opened for writing.
    pub writable: bool,
}

impl Adopted {
    /// A descriptor that is open for reading and writing, without a peer's address.
    #[must_use]
    pub const fn new(handle: Handle, kind: DescriptorKind) -> Self {
        Self { handle, kind, peer: Address::Unnamed, readable: true, writable: true }
    }
}
