//! The real system: `mio` for readiness, `rustix` for the calls themselves.
//!
//! What to know before editing: `recv` and `send` run once a message, so each is one system call on a borrowed descriptor,
//! with nothing copied. Descriptors live in a table indexed by their own number; that is what makes a [`Handle`] safe to
//! turn back into a descriptor without `unsafe`.

use std::collections::HashSet;
use std::fs;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use nix::time::{ClockId, clock_gettime};
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{self, RecvFlags, SendAncillaryBuffer, Shutdown, SocketFlags, sockopt};
use rustix::process::{Resource, getrlimit};
use sockeye_proto::time::Instant;

mod address;
mod adopt;
mod connect;
#[expect(unsafe_code, reason = "memory that fork does not copy is the system's to give, and no crate wraps it")]
mod entropy;
mod inherit;
mod listen;
mod resolve;
#[cfg(test)]
mod tests;

use self::adopt::Found;
use self::entropy::Entropy;
use self::listen::SocketPath;
use self::resolve::Resolver;
use crate::sys::{
    Address, AdoptOptions, Adopted, Clock, CloseHow, ConnectOptions, DescriptorKind, Descriptors, EVENTS_PER_WAIT,
    ForeignDescriptors, Handle, ListenOptions, Names, Poller, Random, Readiness, Resolved, Sockets, WAKE, Wake, append,
};

/// The operating system.
#[derive(Debug)]
pub struct Real {
    poll: Poll,
    events: Events,
    waker: Arc<RealWaker>,
    /// The epoch of `now`, as [`monotonic`] counts: that of the process.
    start: u64,
    /// Files that Unix listeners made, removed just before these are closed: so they stand before the table, too. As many as
    /// there are Unix listeners.
    paths: Vec<(Handle, SocketPath)>,
    table: Table,
    /// Descriptors that others opened, and may still have.
    foreign: HashSet<Handle>,
    entropy: Entropy,
    /// Since the first question.
    resolver: Option<Resolver>,
    /// The process that opened the poller. A child made by `fork` has the same poller.
    process: u32,
}

/// When the first one was made: all in a process have one clock.
static START: OnceLock<u64> = OnceLock::new();

impl Real {
    /// Opens a poller and its waker: two or three descriptors.
    ///
    /// # Errors
    /// The system's, usually because there is no descriptor left.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), Token(WAKE_TOKEN))?;
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS_PER_WAIT),
            waker: Arc::new(RealWaker(waker)),
            start: *START.get_or_init(monotonic),
            paths: Vec::new(),
            table: Table::default(),
            foreign: HashSet::new(),
            entropy: Entropy::default(),
            resolver: None,
            process: std::process::id(),
        })
    }
}

impl Clock for Real {
    fn now(&mut self) -> Instant {
        Instant::from_nanos(monotonic().saturating_sub(self.start))
    }

    fn wall_clock(&mut self) -> u64 {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    fn processor_time(&mut self) -> Option<Duration> {
        // As in `monotonic`: not by way of rustix.
        clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).ok().map(Duration::from)
    }
}

impl Random for Real {
    fn random(&mut self, out: &mut [u8]) -> io::Result<()> {
        self.entropy.fill(out)
    }
}

impl Poller for Real {
    fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Readiness>) -> io::Result<()> {
        ready.clear();
        self.poll.poll(&mut self.events, timeout)?;
        ready.extend(self.events.iter().map(|event| Readiness {
            token: if event.token().0 == WAKE_TOKEN { WAKE } else { event.token().0 as u64 },
            readable: event.is_readable(),
            writable: event.is_writable(),
            read_closed: event.is_read_closed(),
            // HUP alone is `write closed` in mio's words: both sides have ended.
            error: event.is_error() || event.is_write_closed(),
            urgent: event.is_priority(),
        }));
        Ok(())
    }

    fn waker(&mut self) -> Arc<dyn Wake> {
        Arc::clone(&self.waker) as Arc<dyn Wake>
    }

    fn register(&mut self, handle: Handle, token: u64) -> io::Result<()> {
        let token = token_of(token)?;
        let socket = self.table.borrow(handle)?.as_raw_fd();
        self.poll.registry().register(&mut SourceFd(&socket), token, BOTH)
    }

    fn reregister(&mut self, handle: Handle, token: u64) -> io::Result<()> {
        let token = token_of(token)?;
        let socket = self.table.borrow(handle)?.as_raw_fd();
        self.poll.registry().reregister(&mut SourceFd(&socket), token, BOTH)
    }

    fn readiness(&mut self, handle: Handle) -> io::Result<Readiness> {
        let socket = self.table.borrow(handle)?;
        let mut asked = [PollFd::new(&socket, PollFlags::IN | PollFlags::OUT | PollFlags::RDHUP | PollFlags::PRI)];
        poll_now(&mut asked)?;
        let seen = asked[0].revents();
        Ok(Readiness {
            token: 0,
            readable: seen.intersects(PollFlags::IN | PollFlags::RDHUP),
            writable: seen.contains(PollFlags::OUT),
            read_closed: seen.intersects(PollFlags::RDHUP | PollFlags::HUP),
            error: seen.intersects(PollFlags::ERR | PollFlags::HUP),
            urgent: seen.contains(PollFlags::PRI),
        })
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.poll.registry().as_fd())
    }
}

impl Sockets for Real {
    fn listen(&mut self, address: &Address, options: &ListenOptions) -> io::Result<(Handle, Address)> {
        let listener = listen::open(address, options)?;
        let handle = self.table.insert(listener.socket);
        if let Some(path) = listener.path {
            self.paths.push((handle, path));
        }
        Ok((handle, listener.local))
    }

    fn accept(&mut self, listener: Handle) -> io::Result<(Handle, Address)> {
        let handle = listener;
        let listener = self.table.borrow(handle)?;
        if !self.foreign.is_empty() && self.foreign.contains(&handle) && !is_readable(listener)? {
            // Others who have it may have made it block again, and then accepting would wait for the next connection.
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (socket, peer) = net::acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
        let peer = peer.map_or(Address::Unnamed, address::read);
        if !INHERITS_OPTIONS && matches!(peer, Address::Ip(_)) {
            // A frame should leave when it is written. Failing means that the peer is gone already: reading will tell.
            let _ = sockopt::set_tcp_nodelay(&socket, true);
        }
        Ok((self.table.insert(socket), peer))
    }

    fn connect(&mut self, address: &Address, options: &ConnectOptions) -> io::Result<Handle> {
        Ok(self.table.insert(connect::begin(address, options)?))
    }

    fn connected(&mut self, handle: Handle) -> io::Result<bool> {
        connect::outcome(self.table.borrow(handle)?)
    }

    fn local_address(&mut self, handle: Handle) -> io::Result<Address> {
        Ok(address::read(net::getsockname(self.table.borrow(handle)?)?))
    }

    fn recv(&mut self, handle: Handle, buffer: &mut [u8]) -> io::Result<usize> {
        let (count, _) = net::recv(self.table.borrow(handle)?, buffer, RecvFlags::DONTWAIT)?;
        Ok(count)
    }

    fn recv_behind(&mut self, handle: Handle, buffer: &mut Vec<u8>, most: usize) -> io::Result<usize> {
        if buffer.capacity() - buffer.len() == most {
            // Room of exactly that size needs not be cleared first.
            let (count, _) = net::recv(self.table.borrow(handle)?, spare_capacity(buffer), RecvFlags::DONTWAIT)?;
            return Ok(count);
        }
        append(buffer, most, |room| self.recv(handle, room))
    }

    fn send(&mut self, handle: Handle, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let socket = self.table.borrow(handle)?;
        let count = match buffers {
            [buffer] => net::send(socket, buffer, adopt::SEND)?,
            buffers => {
                // More than the system takes in one call would be refused as a whole.
                let buffers = &buffers[..buffers.len().min(BUFFERS_PER_SEND)];
                net::sendmsg(socket, buffers, &mut SendAncillaryBuffer::default(), adopt::SEND)?
            }
        };
        Ok(count)
    }

    fn shutdown_write(&mut self, handle: Handle) -> io::Result<()> {
        Ok(net::shutdown(self.table.borrow(handle)?, Shutdown::Write)?)
    }

    fn close(&mut self, handle: Handle, how: CloseHow) {
        // While its listener lives, a file can be neither taken for stale nor have its inode's number given to another.
        self.paths.retain(|(listener, _)| *listener != handle);
        let Some(socket) = self.table.remove(handle) else { return };
        let is_foreign = !self.foreign.is_empty() && self.foreign.remove(&handle);
        if (is_foreign || how == CloseHow::Reset) && self.process != std::process::id() {
            // A child made by `fork` shares the poller and the sockets with its parent, so it only closes its copy.
            return drop(socket);
        }
        if is_foreign {
            // While others have it, closing our descriptor does not make the poller forget it.
            let _ = self.poll.registry().deregister(&mut SourceFd(&socket.as_raw_fd()));
        }
        if how == CloseHow::Reset {
            // If it fails the peer sees an ordinary end, which is the best there is.
            let _ = sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
        }
        // epoll and kqueue forget a descriptor when it is closed, which saves a system call for each connection. (A copy that
        // `fork` made keeps it alive until the child executes something; its reports carry a token of the past.)
        drop(socket);
    }

    fn descriptors(&mut self) -> Descriptors {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Descriptors { limit, in_use: count_open().unwrap_or(self.table.open + UNCOUNTED) }
    }
}

impl Names for Real {
    fn resolve(&mut self, ticket: u64, host: &str, port: u16) -> io::Result<()> {
        let waker = &self.waker;
        self.resolver.get_or_insert_with(|| Resolver::new(Arc::clone(waker) as Arc<dyn Wake>)).ask(ticket, host, port)
    }

    fn resolved(&mut self) -> Option<Resolved> {
        self.resolver.as_mut()?.answer()
    }
}

impl ForeignDescriptors for Real {
    fn inherit(&mut self, listener: OwnedFd, options: &ListenOptions) -> io::Result<(Handle, Address)> {
        let address = inherit::adapt(listener.as_fd(), options)?;
        let handle = self.table.insert(listener);
        self.foreign.insert(handle);
        Ok((handle, address))
    }

    fn adopt(&mut self, fd: OwnedFd, options: &AdoptOptions) -> io::Result<Adopted> {
        let Found { kind, peer, readable, writable } = adopt::adapt(fd.as_fd(), options)?;
        if kind == DescriptorKind::Other {
            // Devices that are always ready say so here only; and a loop outside need not use what would say so.
            let raw = fd.as_raw_fd();
            match self.poll.registry().register(&mut SourceFd(&raw), Token(0), BOTH) {
                Ok(()) => self.poll.registry().deregister(&mut SourceFd(&raw))?,
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return Err(adopt::always_ready("this device"));
                }
                Err(error) => return Err(error),
            }
        }
        let handle = self.table.insert(fd);
        self.foreign.insert(handle);
        Ok(Adopted { handle, kind, peer, readable, writable })
    }

    fn read(&mut self, handle: Handle, kind: DescriptorKind, buffer: &mut [u8]) -> io::Result<usize> {
        adopt::read(self.table.borrow(handle)?, kind, buffer)
    }

    fn write(&mut self, handle: Handle, kind: DescriptorKind, bytes: &[u8]) -> io::Result<usize> {
        adopt::write(self.table.borrow(handle)?, kind, bytes)
    }

    fn clear_error(&mut self, handle: Handle) {
        if let Ok(socket) = self.table.borrow(handle) {
            adopt::clear_errors(socket);
        }
    }

    fn unread(&mut self, handle: Handle) -> Option<u64> {
        rustix::io::ioctl_fionread(self.table.borrow(handle).ok()?).ok()
    }

    fn borrow(&self, handle: Handle) -> io::Result<BorrowedFd<'_>> {
        self.table.borrow(handle)
    }
}

/// Nanoseconds of the system's monotonic clock, which is read several times a turn: without the checks and the arithmetic of
/// two words of `std::time::Instant`.
fn monotonic() -> u64 {
    // By way of the C library rather than of rustix: the latter reads the vDSO by itself, which valgrind hides. It fails for
    // clocks that do not exist only.
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |time| (time.tv_sec() as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec() as u64))
}

/// Whether there is something to accept, or an error to be returned.
fn is_readable(listener: BorrowedFd<'_>) -> io::Result<bool> {
    let mut asked = [PollFd::new(&listener, PollFlags::IN)];
    Ok(poll_now(&mut asked)? > 0)
}

/// A poll that does not wait, repeated when a signal interrupts it.
fn poll_now(asked: &mut [PollFd<'_>]) -> io::Result<usize> {
    Ok(retry_on_intr(|| poll(asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })))?)
}

/// Descriptors at the index of their own number: four bytes for each number up to the highest.
#[derive(Debug, Default)]
struct Table {
    slots: Vec<Option<OwnedFd>>,
    open: u64,
}

impl Table {
    fn insert(&mut self, socket: OwnedFd) -> Handle {
        let index = socket.as_raw_fd().unsigned_abs();
        let handle = Handle::new(index);
        let index = index as usize;
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, || None);
        }
        // The system gave this number out, so the slot is free: `remove` is the only thing that closes.
        self.slots[index] = Some(socket);
        self.open += 1;
        handle
    }

    fn borrow(&self, handle: Handle) -> io::Result<BorrowedFd<'_>> {
        match self.slots.get(handle.get() as usize) {
            Some(Some(socket)) => Ok(socket.as_fd()),
            _ => Err(Errno::BADF.into()),
        }
    }

    fn remove(&mut self, handle: Handle) -> Option<OwnedFd> {
        let socket = self.slots.get_mut(handle.get() as usize)?.take()?;
        self.open -= 1;
        Some(socket)
    }
}

fn token_of(token: u64) -> io::Result<Token> {
    let token = usize::try_from(token).ok().filter(|&token| token != WAKE_TOKEN);
    token.map(Token).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

#[derive(Debug)]
struct RealWaker(Waker);

impl Wake for RealWaker {
    fn wake(&self) {
        // It fails only when its counter is full, and then the loop is being woken already.
        let _ = self.0.wake();
    }
}

/// Open descriptors, less the one that counts them.
fn count_open() -> Option<u64> {
    let entries = fs::read_dir("/proc/self/fd").or_else(|_| fs::read_dir("/dev/fd")).ok()?;
    Some((entries.count() as u64).saturating_sub(1))
}

/// Whether an accepted socket inherits options such as `TCP_NODELAY` from its listener, so that they cost no call for each connection.
const INHERITS_OPTIONS: bool = cfg!(target_os = "linux");

/// Urgent data is asked for where the poller can report it.
#[cfg(any(target_os = "linux", target_os = "android"))]
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE).add(Interest::PRIORITY);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// `IOV_MAX` of every system we know.
const BUFFERS_PER_SEND: usize = 1024;

const WAKE_TOKEN: usize = usize::MAX;

/// Where descriptors cannot be counted: the standard ones, and the poller's.
const UNCOUNTED: u64 = 6;
