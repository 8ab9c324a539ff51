//! One descriptor of the loop: what the kernel said about it, what was read and not used, and what it did not take yet.

use std::io;
use std::os::fd::BorrowedFd;

use crate::sys::{self, Address, DescriptorKind, Handle};
use crate::tls::Session;
use crate::transport::backlog::Backlog;
use crate::transport::loop_io::LoopIo;
use crate::transport::readiness::Readiness;
use crate::transport::stream::Stream;

/// A socket or another descriptor of the loop.
pub(crate) struct Socket {
    pub(super) handle: Handle,
    pub(super) kind: DescriptorKind,
    pub(super) readiness: Readiness,
    /// The peer took all that waited, since [`take_progress`](Self::take_progress) was last called.
    pub(super) emptied: bool,
    /// How its bytes are carried, and what of them was read and not used up.
    pub(super) stream: Stream,
    /// What the socket has not taken; `None` when nothing waits.
    pub(super) backlog: Option<Box<Backlog>>,
}

impl Socket {
    /// An accepted or adopted descriptor, of which the poller has reported nothing yet.
    pub(crate) fn new(handle: Handle, kind: DescriptorKind, peer: &Address) -> Self {
        let mut socket = Self {
            handle,
            kind,
            readiness: Readiness::default(),
            emptied: false,
            stream: Stream::default(),
            backlog: None,
        };
        if !matches!(peer, Address::Ip(_)) {
            socket.readiness.set_stops_early();
        }
        socket
    }

    /// A stream socket that was just accepted or connected: it takes output.
    pub(crate) fn connected(io: &LoopIo, handle: Handle, peer: &Address) -> Self {
        let mut socket = Self::new(handle, DescriptorKind::Stream, peer);
        socket.stream = io.carrier.stream();
        socket.readiness.set_writable(true);
        socket
    }

    pub(crate) fn handle(&self) -> Handle {
        self.handle
    }

    pub(crate) fn kind(&self) -> DescriptorKind {
        self.kind
    }

    /// Notes what the poller reported.
    #[inline]
    pub(crate) fn note(&mut self, event: &sys::Readiness) {
        self.readiness.note(event);
    }

    /// Whether there is something to read: kept, or announced by the poller.
    #[inline]
    pub(crate) fn has_input(&self) -> bool {
        self.readiness.is_readable() || self.stream.has_input()
    }

    /// Whether something that was read is kept.
    pub(crate) fn has_kept(&self) -> bool {
        self.stream.has_kept()
    }

    /// Whether output can go to the socket at once: it is writable, and nothing waits before it.
    #[inline]
    pub(crate) fn is_clear(&self) -> bool {
        self.backlog.is_none() && self.readiness.can_send()
    }

    /// Whether output waits for the socket.
    #[inline]
    pub(crate) fn has_backlog(&self) -> bool {
        self.backlog.is_some()
    }

    /// Whether output waits that was not sealed yet, if it is to be.
    #[cfg(all(feature = "client", any(feature = "tls-aws-lc", feature = "tls-ring")))]
    pub(crate) fn has_unsealed(&self) -> bool {
        self.backlog.as_ref().is_some_and(|backlog| !backlog.is_empty())
    }

    /// How many bytes wait for the socket.
    pub(crate) fn backlog_bytes(&self) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.len() + self.stream.sealed_bytes())
    }

    /// How much memory is held for the peer: output that waits, and input that was kept.
    pub(crate) fn held_bytes(&self) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.held_bytes()) + self.stream.held_bytes()
    }

    /// Whether the kernel said that the descriptor takes output.
    pub(crate) fn is_writable(&self) -> bool {
        self.readiness.is_writable()
    }

    /// Whether the connection was reset or failed: nothing more can be sent.
    #[inline]
    pub(crate) fn is_broken(&self) -> bool {
        self.readiness.is_broken()
    }

    /// Whether the poller said that the peer ended its sending side. What it sent before may still be unread.
    pub(crate) fn has_read_closed(&self) -> bool {
        self.readiness.has_read_closed()
    }

    /// The session with the other end, if the connection speaks TLS. What a proxy in between speaks does not count.
    pub(crate) fn tls(&self) -> Option<&Session> {
        self.stream.tls().map(|tls| tls.session())
    }

    /// Whether bytes come in records that are opened as a whole.
    pub(crate) fn is_sealed(&self) -> bool {
        self.stream.upper_tls().is_some()
    }

    /// Whether the input ended without the peer having said so, where bytes are sealed: something may be missing.
    pub(crate) fn is_cut(&self) -> bool {
        self.stream.upper_tls().is_some_and(|tls| tls.is_cut())
    }

    pub(crate) fn mark_broken(&mut self) {
        self.readiness.set_broken(true);
    }

    pub(crate) fn mark_unreadable(&mut self) {
        self.readiness.set_readable(false);
    }

    pub(crate) fn mark_unwritable(&mut self) {
        self.readiness.set_writable(false);
    }

    /// Reads even though the poller has not said that there is something: a failed send may hide what arrived before.
    #[cfg(feature = "client")]
    pub(crate) fn assume_readable(&mut self) {
        self.readiness.set_readable(true);
    }

    /// Tries both directions in the next step, even without a report of the poller.
    pub(crate) fn assume_ready(&mut self) {
        self.readiness.set_readable(true);
        self.readiness.set_writable(true);
    }

    /// Whether no step and no edge may follow for what waits: the socket broke, or a signal interrupted the last send.
    pub(crate) fn needs_step(&self) -> bool {
        self.is_broken() || (self.has_backlog() && self.is_writable())
    }

    /// Whether the peer took all of its output, or at least `least` bytes of it, since this was last called.
    pub(crate) fn take_progress(&mut self, least: u64) -> bool {
        let emptied = std::mem::take(&mut self.emptied);
        emptied | self.backlog.as_mut().is_some_and(|backlog| backlog.take_progress() as u64 >= least)
    }

    /// Takes the error of one datagram away, so that it ends nothing. A loop that watches levels would report it without
    /// end.
    pub(crate) fn clear_error(&mut self, io: &mut LoopIo) {
        io.sys.clear_error(self.handle);
        self.readiness.set_broken(false);
    }

    /// Forgets the error of one datagram, which the next read finds.
    pub(crate) fn forget_error(&mut self) {
        self.readiness.set_broken(false);
    }

    /// How ready the descriptor is now, by level.
    pub(crate) fn look(&self, io: &mut LoopIo, reads: bool, writes: bool) -> io::Result<sys::Readiness> {
        io.sys.look(self.handle, reads, writes)
    }

    /// How many bytes can be read without waiting; 0 when the system does not tell.
    pub(crate) fn unread_bytes(&self, io: &mut LoopIo) -> u64 {
        io.sys.unread(self.handle).unwrap_or(0)
    }

    /// The descriptor, for the program that reads and writes it itself.
    pub(crate) fn borrow<'io>(&self, io: &'io LoopIo) -> io::Result<BorrowedFd<'io>> {
        io.sys.borrow(self.handle)
    }

    /// The address of our end; [`Address::Unnamed`] when it has none, or is over.
    pub(crate) fn local_address(&self, io: &mut LoopIo) -> Address {
        io.sys.local_address(self.handle).unwrap_or(Address::Unnamed)
    }

    /// Ends our sending side; input still arrives.
    pub(crate) fn shutdown_write(&self, io: &mut LoopIo) -> io::Result<()> {
        io.sys.shutdown_write(self.handle)
    }
}
