//! Listeners and connections.

use std::io::{self, IoSlice};

use crate::sys::address::Address;
use crate::sys::tcp::{ConnectOptions, ListenOptions};

/// The sockets of a [`Sys`](crate::sys::Sys).
pub trait Sockets {
    /// Opens a listener; returns it with the address it really has (port 0 takes a free port).
    ///
    /// # Errors
    /// The system's, with its number where that says all. The text does not name the address.
    fn listen(&mut self, address: &Address, options: &ListenOptions) -> io::Result<(Handle, Address)>;

    /// Takes the next connection and the address of its peer.
    ///
    /// # Errors
    /// `WouldBlock` when there is none. Errors such as `ConnectionAborted` concern one connection that has already ended; out of
    /// descriptors or memory, the connection stays in the queue and *no edge* announces it again.
    fn accept(&mut self, listener: Handle) -> io::Result<(Handle, Address)>;

    /// Begins to connect to `address`, without waiting. The caller registers the handle, and calls
    /// [`connected`](Self::connected) whenever it is reported. To an IP address, small writes are sent at once (`TCP_NODELAY`).
    ///
    /// # Errors
    /// What the system knows at once: no descriptors (`EMFILE`) or ports left, no route to the address, no listener at a
    /// Unix socket, options out of range. `ResourceBusy` when the queue of a Unix listener is full; waiting does not turn
    /// that into a connection. Never `WouldBlock` and never `Interrupted`: an attempt that goes on is a handle.
    fn connect(&mut self, address: &Address, options: &ConnectOptions) -> io::Result<Handle>;

    /// The outcome of an attempt that was reported: true, it is connected; false, not yet, and another report will come.
    ///
    /// # Errors
    /// Why there is no connection, once; after that it returns false.
    fn connected(&mut self, handle: Handle) -> io::Result<bool>;

    /// The address of this end: a listener's own, or where a connection comes from as its peer sees it.
    ///
    /// # Errors
    /// The system's. Before a connection is established the address may be meaningless.
    fn local_address(&mut self, handle: Handle) -> io::Result<Address>;

    /// Reads into `buffer`; `Ok(0)` is the end of input. `buffer` must not be empty.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there; `Interrupted` with nothing read; any other means that the connection is over.
    fn recv(&mut self, handle: Handle, buffer: &mut [u8]) -> io::Result<usize>;

    /// Reads at most `most` bytes, which is not 0, behind what `buffer` holds, which grows by that. `Ok(0)` is the end of
    /// input. The buffer has the capacity.
    ///
    /// # Errors
    /// As [`recv`](Self::recv); the buffer holds what it held.
    fn recv_behind(&mut self, handle: Handle, buffer: &mut Vec<u8>, most: usize) -> io::Result<usize> {
        append(buffer, most, |room| self.recv(handle, room))
    }

    /// Writes the buffers, one after another, as far as there is room. All of them together must not be empty.
    ///
    /// # Errors
    /// `WouldBlock` when there is no room; `Interrupted` with nothing written; any other means that sending is over.
    fn send(&mut self, handle: Handle, buffers: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Ends the sending side: the peer reads `Ok(0)` after the bytes sent before. Not for attempts to connect: those are closed.
    ///
    /// # Errors
    /// The connection is over already.
    fn shutdown_write(&mut self, handle: Handle) -> io::Result<()>;

    /// Closes `handle` and forgets its registration. Cannot fail: even if the system reports an error, the handle is gone.
    fn close(&mut self, handle: Handle, how: CloseHow);

    /// How many descriptors this process may have and has.
    fn descriptors(&mut self) -> Descriptors;
}

/// A listener, connection or adopted descriptor of one [`Sys`](crate::sys::Sys).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Handle(u32);

impl Handle {
    /// The handle numbered `number`.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Its number, which is a descriptor's on the real system.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// How to close.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CloseHow {
    /// Sent bytes are still delivered, then the end. (Unread input turns this into a reset, as TCP has it.)
    Normal,
    /// Bytes that were not delivered yet are dropped, and the peer sees a reset.
    Reset,
}

/// How many descriptors there are, and may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Descriptors {
    /// How many the process may have open at one time (the soft limit).
    pub limit: u64,
    /// How many the process has open, in all parts of the program.
    pub in_use: u64,
}

/// Makes room for `most` bytes behind what `buffer` holds, and keeps those that `recv` filled.
pub(crate) fn append(
    buffer: &mut Vec<u8>,
    most: usize,
    recv: impl FnOnce(&mut [u8]) -> io::Result<usize>,
) -> io::Result<usize> {
    let held = buffer.len();
    buffer.resize(held + most, 0);
    let result = recv(&mut buffer[held..]);
    buffer.truncate(held + result.as_ref().map_or(0, |&count| count));
    result
}
