//! Every system call of the loop: one trait, a real back end and a simulated one.
//!
//! A back end promises the following; `sys/tests.rs` holds both to it. The loop relies on nothing else.
//!
//! **Handles.** Numbers are reused as soon as they are closed, lowest first, like descriptors. Every handle is non-blocking
//! and not inherited across `exec`. Calls on a handle that is not open fail (real) or panic (simulated): it is a bug of the
//! loop.
//!
//! **Edges.** A handle is registered once, for both directions. The registration itself reports the present readiness as a
//! first edge. Later an edge is reported *once*:
//! * *readable* when bytes or connections arrive after the handle was drained;
//! * *readable* with *read closed* when the end of input arrives, drained or not;
//! * *writable* when room appears after the output was full;
//! * *error* when the connection is over.
//!
//! Drained means: `recv` or `accept` answered `WouldBlock`, or `recv` filled less than the buffer. Full means: `send` answered
//! `WouldBlock` or took less than it was given. A caller that stops sooner must remember that it did: no edge comes to remind it.
//! One exception makes short reads unsafe as a sign: when `read_closed` was reported, the end of input is already there,
//! and only reading until `Ok(0)` or an error finds it.
//!
//! A report shows at least the directions that changed; it may show others that happen to be ready. It may be spurious: the
//! call after it answers `WouldBlock`. Reports of one [`wait`](Sys::wait) may name tokens whose handle was closed since, or
//! has another token by now.
//!
//! **Adopted descriptors.** What is a stream socket of TCP or Unix is as if it had been accepted. All others are moved by
//! [`read`](Sys::read) and [`write`](Sys::write), of which a short count says nothing: drained and full mean
//! `WouldBlock`. *Error* of datagrams is an error of one of them, and passes when it is read.
//!
//! **Connecting.** A handle of [`connect`](Sys::connect) stands when [`connected`](Sys::connected) says so, and not before:
//! reports may be spurious. Until then `recv` and `send` answer `WouldBlock` or `NotConnected` and move nothing. When it
//! stands, *writable* is reported; when it failed, *error* is, and perhaps other directions with it. The reason is told
//! once, by `connected`, `recv` or `send`, whichever is called first: so a program asks `connected` and nothing else until
//! it says true. After a failure only closing is left; closing is possible at any time, with reports of it still on their
//! way, and then the other side sees no connection, or one that ends at once.
//!
//! **Names.** An answer of [`resolve`](Sys::resolve) is announced with [`WAKE`] and taken with [`resolved`](Sys::resolved).
//! Each question has one answer or, if the system never finds one, none. Answers come in any order; dropping the system
//! drops those that are left.
//!
//! **Endings.** `recv` answers `Ok(0)` for good once the peer has ended its side and all its bytes were read. A reset is an error
//! of `recv` or `send`, whichever comes first; after it `recv` answers `Ok(0)` and `send` fails with `BrokenPipe`. A reset
//! that comes after the peer's end is an error of `send` only. `send` never raises `SIGPIPE`. Bytes already received may or
//! may not be readable after a reset. Closing with input unread resets: who must deliver his last words ends his side, and
//! reads on.
//!
//! **Time.** `now` never goes back. `wait` may return early, with or without reports, and then `Err(Interrupted)` is as good as
//! `Ok` with none; it returns late by the granularity of the system at most, and a timeout never becomes a shorter one.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sockeye_proto::time::Instant;

pub(crate) mod cores;
mod real;
mod tcp;
#[cfg(test)]
mod tests;

pub use real::Real;
pub use tcp::{ConnectOptions, ListenOptions, TcpKeepalive};

/// The token under which a [`Wake`] shows up in [`Sys::wait`]. No handle can be registered with it.
pub const WAKE: u64 = u64::MAX;

/// Questions of [`Sys::resolve`] that may be under way at one time, from asking until the answer is taken.
pub const QUESTIONS: usize = 1024;

/// Addresses of one name that are told; the others are dropped.
pub const ADDRESSES: usize = 64;

/// Reports of one [`Sys::wait`] at most; after as many as these there may be more.
pub const EVENTS_PER_WAIT: usize = 1024;

/// The system as the loop sees it. The promises of every back end are listed in the [module's documentation](self).
pub trait Sys {
    /// The monotonic clock.
    fn now(&mut self) -> Instant;

    /// Seconds since 1970, for `Date` fields. May jump.
    fn wall_clock(&mut self) -> u64;

    /// How long the calling thread has had the processor so far; `None` when that is not known.
    fn processor_time(&mut self) -> Option<Duration> {
        None
    }

    /// Fills `out` from the system's cryptographically secure random source. No byte is ever handed out twice, neither here
    /// nor in a child of this process. Small requests are cheap.
    ///
    /// # Errors
    ///
    /// The system's, when it has none to give.
    fn random(&mut self, out: &mut [u8]) -> io::Result<()>;

    /// Waits until a registered handle changes, a [`Wake`] wakes, or `timeout` is over; `None` waits without limit.
    ///
    /// Clears `ready` first. What does not fit one call's worth of reports comes with the next call.
    ///
    /// # Errors
    ///
    /// `Interrupted` when a signal came, with no reports lost.
    fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Readiness>) -> io::Result<()>;

    /// Something other threads can wake this [`wait`](Self::wait) with; the same one each time.
    fn waker(&mut self) -> Arc<dyn Wake>;

    /// Opens a listener; returns it with the address it really has (port 0 takes a free port).
    ///
    /// # Errors
    ///
    /// The system's, with its number where that says all. The text does not name the address.
    fn listen(&mut self, address: &Address, options: &ListenOptions) -> io::Result<(Handle, Address)>;

    /// Takes a listener that somebody else opened, with the address it has. It must be a stream socket that listens. Of
    /// `options` only `keepalive` and `user_timeout` are set. Closing it closes this descriptor alone, and removes no
    /// file.
    ///
    /// # Errors
    ///
    /// `InvalidInput` with what it is instead, `Unsupported` on a system without descriptors.
    fn inherit(&mut self, listener: OwnedFd, options: &ListenOptions) -> io::Result<(Handle, Address)> {
        let _ = (listener, options);
        Err(io::Error::new(io::ErrorKind::Unsupported, "this system takes no listeners that others opened"))
    }

    /// Takes the next connection and the address of its peer.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is none. `ConnectionAborted` and the like concern one connection that is gone already; out of
    /// descriptors or memory, the connection stays in the queue and *no edge* announces it again.
    fn accept(&mut self, listener: Handle) -> io::Result<(Handle, Address)>;

    /// Begins to connect to `address`, without waiting. The handle is to be registered, and is asked with
    /// [`connected`](Self::connected) whenever it is reported. To an IP address, small writes are sent at once (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// What the system knows at once: no descriptors (`EMFILE`) or ports left, no way to the address, nobody listening at a
    /// Unix socket, options that cannot be meant. `ResourceBusy` when the queue of a Unix listener is full, which does
    /// not become a connection by waiting. Never `WouldBlock` and never `Interrupted`: an attempt that goes on is a
    /// handle.
    fn connect(&mut self, address: &Address, options: &ConnectOptions) -> io::Result<Handle>;

    /// How an attempt that was reported came out: true, it stands; false, not yet, and another report will come.
    ///
    /// # Errors
    ///
    /// Why there is no connection, once; after that it is false for ever.
    fn connected(&mut self, handle: Handle) -> io::Result<bool>;

    /// Registers `handle` for both directions under `token`.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` when it was registered before; the system's error when there is no room for it.
    fn register(&mut self, handle: Handle, token: u64) -> io::Result<()>;

    /// Gives a registered handle another token. What is ready now is reported anew under it, as a first edge.
    ///
    /// # Errors
    ///
    /// `NotFound` when it was not registered before; the system's error, and then the old token stands.
    fn reregister(&mut self, handle: Handle, token: u64) -> io::Result<()>;

    /// The address of this end: a listener's own, or where a connection comes from as its peer sees it.
    ///
    /// # Errors
    ///
    /// The system's. Before a connection stands the address may be one that says nothing.
    fn local_address(&mut self, handle: Handle) -> io::Result<Address>;

    /// Has the addresses of `host` looked up elsewhere, so that the loop goes on; [`resolved`](Self::resolved) has the
    /// answer after a [`WAKE`]. `ticket` is the caller's, who keeps those of questions under way apart; an answer that
    /// nobody waits for any more is his to drop, since no system can take a question back.
    ///
    /// # Errors
    ///
    /// `ResourceBusy` when [`QUESTIONS`] are under way; the system's when it cannot begin to look.
    fn resolve(&mut self, ticket: u64, host: &str, port: u16) -> io::Result<()>;

    /// The next answer that has come.
    fn resolved(&mut self) -> Option<Resolved>;

    /// Takes a descriptor that somebody else opened, of whatever kind. It is made non-blocking, and is to be
    /// registered. Closing it closes this descriptor alone: whoever else has what it stands for keeps that.
    ///
    /// # Errors
    ///
    /// `InvalidInput` with what it is, when that cannot be watched; `Unsupported` on a system without descriptors. The
    /// descriptor is closed.
    fn adopt(&mut self, fd: OwnedFd, options: &AdoptOptions) -> io::Result<Adopted> {
        let _ = (fd, options);
        Err(io::Error::new(io::ErrorKind::Unsupported, "this system takes no descriptors that others opened"))
    }

    /// Reads an adopted handle that is no [`DescriptorKind::Stream`], once: what comes is one datagram, packet or record, or what
    /// there is of other input. `Ok(0)` is the end of input, or of [`DescriptorKind::Datagrams`] an empty one. Drained means
    /// `WouldBlock`, whatever came before.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv). What concerns one datagram only is `Interrupted`.
    fn read(&mut self, handle: Handle, kind: DescriptorKind, buffer: &mut [u8]) -> io::Result<usize> {
        let _ = (handle, kind, buffer);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Writes to an adopted handle that is no [`DescriptorKind::Stream`], once. Full means `WouldBlock`, however much was taken
    /// before. What is not empty is not taken as `Ok(0)`.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), but that a pipe without readers raises `SIGPIPE` where that is not ignored. A datagram
    /// that is lost is no error.
    fn write(&mut self, handle: Handle, kind: DescriptorKind, bytes: &[u8]) -> io::Result<usize> {
        let _ = (handle, kind, bytes);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Reads into `buffer`; `Ok(0)` is the end of input. `buffer` must not be empty.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when nothing is there; `Interrupted` with nothing read; any other means that the connection is over.
    fn recv(&mut self, handle: Handle, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes the buffers, one after another, as far as there is room. All of them together must not be empty.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is no room; `Interrupted` with nothing written; any other means that sending is over.
    fn send(&mut self, handle: Handle, buffers: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Ends the sending side: the peer reads `Ok(0)` after the bytes sent before. Not for attempts to connect: those are closed.
    ///
    /// # Errors
    ///
    /// The connection is over already.
    fn shutdown_write(&mut self, handle: Handle) -> io::Result<()>;

    /// Closes `handle` and forgets its registration. Cannot fail: whatever the system says, the handle is gone.
    fn close(&mut self, handle: Handle, how: CloseHow);

    /// How many descriptors this process may have and has.
    fn descriptors(&mut self) -> Descriptors;

    /// What is true of a handle at this moment, whatever was reported of it; the token is 0. For loops that watch levels.
    ///
    /// # Errors
    ///
    /// The system's, when the handle is none.
    fn readiness(&mut self, handle: Handle) -> io::Result<Readiness>;

    /// As [`readiness`](Self::readiness), of an adopted handle that somebody else reads and writes. A direction that is
    /// asked for and is not ready is reported as an edge when it becomes so, whatever was read and written.
    ///
    /// # Errors
    ///
    /// The system's, when the handle is none.
    fn look(&mut self, handle: Handle, readable: bool, writable: bool) -> io::Result<Readiness> {
        let _ = (readable, writable);
        self.readiness(handle)
    }

    /// How many bytes an adopted handle has to read, if the system says.
    fn unread(&mut self, handle: Handle) -> Option<u64> {
        let _ = handle;
        None
    }

    /// The descriptor of an adopted handle, to be read and written by somebody else.
    ///
    /// # Errors
    ///
    /// There is none.
    fn borrow(&self, handle: Handle) -> io::Result<BorrowedFd<'_>> {
        let _ = handle;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The one descriptor that is readable when [`wait`](Self::wait) has something to report; `None` where there is none. To be
    /// watched by another loop, and never to be read from.
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;
}

/// A listener or connection of one [`Sys`].
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

/// What an adopted descriptor is, which decides how it is read and written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DescriptorKind {
    /// A stream socket of TCP or Unix, as those that are accepted and connected: [`Sys::recv`] and [`Sys::send`].
    Stream,
    /// Another connected socket, of packets or of a stream of which no more is known.
    Packets,
    /// A socket without connections.
    Datagrams,
    /// A stream socket that listens.
    Listener,
    /// No socket.
    Other,
}

/// How to adopt a descriptor.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct AdoptOptions {
    /// Small writes to a TCP connection are sent at once. Default off: as whoever opened it left it.
    pub nodelay: bool,
}

/// A descriptor that was adopted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Adopted {
    /// What it is called from here on.
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
    /// One that is read and written, without a peer's address.
    #[must_use]
    pub const fn new(handle: Handle, kind: DescriptorKind) -> Self {
        Self { handle, kind, peer: Address::Unnamed, readable: true, writable: true }
    }
}

/// The answer to a question of [`Sys::resolve`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Resolved {
    /// As given with the question.
    pub ticket: u64,
    /// Where the host is, each with the port of the question: at least one, at most [`ADDRESSES`], none twice, in the order
    /// in which the system would try them (RFC 6724). The text of an error says what the system made of the name.
    pub addresses: io::Result<Vec<SocketAddr>>,
}

impl Resolved {
    /// The answer to the question with this ticket: `found` without what is there twice or too many, and an error when it
    /// is empty.
    #[must_use]
    pub fn new(ticket: u64, found: io::Result<Vec<SocketAddr>>) -> Self {
        let addresses = found.and_then(|found| {
            let mut addresses = Vec::new();
            for address in found {
                if addresses.len() < ADDRESSES && !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            if addresses.is_empty() {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
            }
            Ok(addresses)
        });
        Self { ticket, addresses }
    }
}

/// One report of [`Sys::wait`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Readiness {
    /// As given to [`Sys::register`], or [`WAKE`].
    pub token: u64,
    /// `recv` or `accept` may have something.
    pub readable: bool,
    /// `send` may have room.
    pub writable: bool,
    /// The peer has ended its sending side: read until `Ok(0)` or an error. What it sent before is still to be read.
    pub read_closed: bool,
    /// Both sides have ended, or the connection failed: sending is over, reading tells how it ended.
    pub error: bool,
}

impl Readiness {
    /// A report that says nothing about `token` yet.
    #[must_use]
    pub const fn new(token: u64) -> Self {
        Self { token, readable: false, writable: false, read_closed: false, error: false }
    }
}

/// Where to listen, where a listener is, or where a connection comes from.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Address {
    /// An IPv4 or IPv6 address and port. Of a peer it is never an IPv4 address written as IPv6.
    Ip(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
    /// A Unix socket without a file: any 1 to 107 bytes are a name, which is free again once nobody has the socket. Everybody
    /// on the machine may connect to it who shares its network namespace. Only on Linux.
    Abstract(Vec<u8>),
    /// No address: the usual peer of a Unix socket.
    Unnamed,
}

impl Address {
    /// The Unix socket that is written `unix:NAME`: a path, or an abstract name behind an `@`. `None` when it is empty.
    /// (The path of a file whose name begins with `@` is written `./@name`.)
    #[must_use]
    pub fn unix(name: impl AsRef<OsStr>) -> Option<Self> {
        let name = name.as_ref();
        match name.as_bytes() {
            [] | [b'@'] => None,
            [b'@', name @ ..] => Some(Self::Abstract(name.to_vec())),
            _ => Some(Self::Unix(name.into())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Abstract(name) => write!(f, "unix:@{}", String::from_utf8_lossy(name)),
            Self::Unnamed => f.write_str("unnamed"),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

/// Wakes a [`Sys::wait`] from any thread.
pub trait Wake: Send + Sync {
    /// Makes the present `wait`, or the next one, report [`WAKE`]. Several calls may become one report.
    fn wake(&self);
}

/// How to close.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CloseHow {
    /// What was sent is still delivered, then the end. (Input that was not read turns this into a reset, as TCP has it.)
    Normal,
    /// What was not delivered yet is dropped, and the peer sees a reset.
    Reset,
}

/// The room for descriptors.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Descriptors {
    /// How many the process may have open at one time (the soft limit).
    pub limit: u64,
    /// How many it has open, whoever opened them.
    pub in_use: u64,
}
