//! A system whose waiting is done by a loop of the program's own.
//!
//! The inner loop is edge-triggered: a report comes once, and it remembers. The outer loop watches levels. This module
//! stands in between: a direction of a descriptor is watched exactly while the last answer to the inner loop was that there is
//! nothing to read, or no room to write. So nothing is missed, and nothing that the inner loop does not want (a paused
//! reader, a listener at its limit) makes the outer loop spin. The hook learns of changes at the end of a call, when it is
//! known which of them cancel out.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sockeye_proto::time::Instant;

use crate::sys::hook::{Mode, PollHook, Ready};
use crate::sys::{
    Address, AdoptOptions, Adopted, Clock, CloseHow, ConnectOptions, DescriptorKind, Descriptors, ForeignDescriptors,
    Handle, ListenOptions, Names, Poller, Random, Readiness, Resolved, Sockets, Sys, Wake,
};

/// The descriptors that the outer loop watches. Shared by the service and its system.
pub(crate) struct Registrations {
    hook: Box<dyn PollHook>,
    /// The process that registered the descriptors. A child made by `fork` may share the outer poller with it.
    process: u32,
    /// What wakes the loop from other threads.
    waker: Option<RawFd>,
    woken: bool,
    entries: Entries,
    /// Reports for the inner loop.
    reports: Vec<Readiness>,
    /// Entries whose mode may have changed.
    changed: Vec<RawFd>,
}

struct Entry {
    token: u64,
    /// What the inner loop waits for.
    wanted: Mode,
    /// What the outer loop watches.
    watched: Mode,
    /// Whether an error ends it.
    may_end: bool,
    /// Its end was reported, after which there is nothing to watch for.
    ended: bool,
    is_changed: bool,
}

/// By descriptor. The system gives the lowest free number to a new one, so they are few and close together.
#[derive(Default)]
struct Entries(Vec<Option<Entry>>);

impl Entries {
    fn insert(&mut self, fd: RawFd, entry: Entry) {
        let Ok(at) = usize::try_from(fd) else { return };
        if self.0.len() <= at {
            self.0.resize_with(at + 1, || None);
        }
        self.0[at] = Some(entry);
    }

    fn remove(&mut self, fd: RawFd) -> Option<Entry> {
        self.place(fd)?.take()
    }

    fn get_mut(&mut self, fd: RawFd) -> Option<&mut Entry> {
        self.place(fd)?.as_mut()
    }

    fn contains(&self, fd: RawFd) -> bool {
        usize::try_from(fd).is_ok_and(|at| self.0.get(at).is_some_and(Option::is_some))
    }

    fn place(&mut self, fd: RawFd) -> Option<&mut Option<Entry>> {
        self.0.get_mut(usize::try_from(fd).ok()?)
    }

    fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        (0..).zip(&self.0).filter(|(_, entry)| entry.is_some()).map(|(fd, _)| fd)
    }
}

impl Registrations {
    fn change(&mut self, fd: RawFd, change: impl FnOnce(&mut Mode)) {
        let Some(entry) = self.entries.get_mut(fd) else { return };
        change(&mut entry.wanted);
        if entry.wanted != entry.watched && !entry.is_changed {
            entry.is_changed = true;
            self.changed.push(fd);
        }
    }

    /// Whether the inner loop has something to do without waiting.
    pub(crate) fn has_reports(&self) -> bool {
        !self.reports.is_empty() || self.woken
    }

    /// Whether this descriptor is watched.
    pub(crate) fn knows(&self, fd: RawFd) -> bool {
        self.waker == Some(fd) || self.entries.contains(fd)
    }

    /// Tells the hook what the outer loop has to watch from here on.
    pub(crate) fn settle(&mut self) {
        for fd in std::mem::take(&mut self.changed) {
            let Some(entry) = self.entries.get_mut(fd) else { continue };
            entry.is_changed = false;
            if entry.ended {
                // poll(2) would report the end again and again.
                self.entries.remove(fd);
                self.unwatch(fd);
                continue;
            }
            let (more, less) = (entry.wanted - entry.watched, entry.watched - entry.wanted);
            entry.watched = entry.wanted;
            if !more.is_none() {
                self.hook.set_mode(fd, more);
            }
            if !less.is_none() {
                self.hook.clear_mode(fd, less);
            }
        }
    }

    /// The outer loop has nothing to watch once the service ends.
    fn forget_all(&mut self) {
        for fd in std::mem::take(&mut self.entries).descriptors() {
            self.unwatch(fd);
        }
        if let Some(waker) = self.waker.take() {
            self.unwatch(waker);
        }
    }

    /// Tells the hook, unless this is a child made by `fork`: its parent goes on, often with the same poller.
    fn unwatch(&mut self, fd: RawFd) {
        if self.process == std::process::id() {
            self.hook.remove(fd);
        }
    }
}

/// A system that waits for no events itself: the outer loop reports them.
pub(crate) struct External {
    inner: Box<dyn Sys>,
    watch: Rc<RefCell<Registrations>>,
    /// Handles that are connecting and not registered.
    connecting: Vec<Handle>,
    /// Datagram sockets, which an error does not end.
    datagrams: HashSet<RawFd>,
}

impl External {
    /// Wraps `inner`, of which only waiting is not used. Also returns the registrations, for the service.
    ///
    /// # Errors
    /// The hook refuses the descriptor that wakes the loop.
    pub(crate) fn new(inner: Box<dyn Sys>, hook: Box<dyn PollHook>) -> io::Result<(Self, Rc<RefCell<Registrations>>)> {
        let mut watch = Registrations {
            hook,
            process: std::process::id(),
            waker: inner.descriptor().map(|fd| fd.as_raw_fd()),
            woken: false,
            entries: Entries::default(),
            reports: Vec::new(),
            changed: Vec::new(),
        };
        if let Some(waker) = watch.waker {
            watch.hook.add(waker, Mode::READ)?;
        }
        let watch = Rc::new(RefCell::new(watch));
        Ok((Self { inner, watch: watch.clone(), connecting: Vec::new(), datagrams: HashSet::new() }, watch))
    }
}

impl External {
    /// What a receive into a room of `asked` bytes says of the socket: the outer loop is asked for the next bytes.
    fn received(&self, handle: Handle, result: &io::Result<usize>, asked: usize) {
        let is_drained = match result {
            Ok(count) => *count > 0 && *count < asked,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        };
        if is_drained {
            self.watch.borrow_mut().change(descriptor(handle), |wanted| wanted.readable = true);
        }
    }

    /// Whether the program shut its socket down for reading: then it is always readable by level, and no data comes.
    fn is_shut(&mut self, handle: Handle) -> bool {
        self.inner.readiness(handle).is_ok_and(|level| level.read_closed)
    }
}

/// A handle's number is its descriptor's.
fn descriptor(handle: Handle) -> RawFd {
    RawFd::try_from(handle.get()).unwrap_or(RawFd::MAX)
}

impl Registrations {
    /// Takes what the outer loop saw. An end counts only if the descriptor itself `confirmed` it: the report may be
    /// stale, and the number another descriptor's by now. Readiness is not confirmed, since reading and writing do that.
    pub(crate) fn report(&mut self, fd: RawFd, ready: Ready, confirmed: Option<Readiness>) {
        if self.waker == Some(fd) {
            self.woken = true;
            return;
        }
        let Some(entry) = self.entries.get_mut(fd) else { return };
        let mut report = Readiness::new(entry.token);
        report.readable = ready.readable;
        report.writable = ready.writable;
        let mut ended = false;
        if let Some(seen) = confirmed {
            report.readable |= seen.readable;
            report.writable |= seen.writable;
            report.read_closed = seen.read_closed;
            report.error = seen.error;
            // Datagrams go on after an error, but not on a socket that was shut down both ways.
            ended = seen.error && (entry.may_end || seen.read_closed);
        }
        entry.ended |= ended;
        // Reported: not watched again until a call finds nothing.
        let reported = Mode { readable: report.readable, writable: report.writable };
        self.reports.push(report);
        self.change(fd, |wanted| *wanted -= reported);
        if ended {
            self.mark_changed(fd);
        }
    }

    fn mark_changed(&mut self, fd: RawFd) {
        if let Some(entry) = self.entries.get_mut(fd).filter(|entry| !entry.is_changed) {
            entry.is_changed = true;
            self.changed.push(fd);
        }
    }
}

impl Clock for External {
    fn now(&mut self) -> Instant {
        self.inner.now()
    }

    fn wall_clock(&mut self) -> u64 {
        self.inner.wall_clock()
    }

    fn processor_time(&mut self) -> Option<Duration> {
        self.inner.processor_time()
    }
}

impl Random for External {
    fn random(&mut self, out: &mut [u8]) -> io::Result<()> {
        self.inner.random(out)
    }
}

impl Poller for External {
    /// Never waits: the outer loop does.
    fn wait(&mut self, _: Option<Duration>, ready: &mut Vec<Readiness>) -> io::Result<()> {
        ready.clear();
        let mut watch = self.watch.borrow_mut();
        if watch.woken || watch.waker.is_none() {
            // Only the waker is registered there.
            self.inner.wait(Some(Duration::ZERO), ready)?;
            watch.woken = false;
        }
        ready.append(&mut watch.reports);
        Ok(())
    }

    fn waker(&mut self) -> Arc<dyn Wake> {
        self.inner.waker()
    }

    fn register(&mut self, handle: Handle, token: u64) -> io::Result<()> {
        let fd = descriptor(handle);
        let before = self.connecting.len();
        self.connecting.retain(|other| *other != handle);
        // What connects reports that it can be written to; all else is read from first, and has room until the contrary is seen.
        let wanted = if self.connecting.len() < before { Mode::WRITE } else { Mode::READ };
        let mut watch = self.watch.borrow_mut();
        let may_end = !self.datagrams.contains(&fd);
        watch.hook.add(fd, wanted)?;
        watch.entries.insert(fd, Entry { token, wanted, watched: wanted, may_end, ended: false, is_changed: false });
        if wanted == Mode::READ {
            watch.reports.push(Readiness { writable: true, ..Readiness::new(token) });
        }
        Ok(())
    }

    fn reregister(&mut self, handle: Handle, token: u64) -> io::Result<()> {
        let mut watch = self.watch.borrow_mut();
        let Some(entry) = watch.entries.get_mut(descriptor(handle)) else { return Err(ErrorKind::NotFound.into()) };
        entry.token = token;
        watch.change(descriptor(handle), |wanted| *wanted = Mode::READ);
        watch.reports.push(Readiness { writable: true, ..Readiness::new(token) });
        Ok(())
    }

    fn readiness(&mut self, handle: Handle) -> io::Result<Readiness> {
        self.inner.readiness(handle)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.inner.descriptor()
    }
}

impl Sockets for External {
    fn listen(&mut self, address: &Address, options: &ListenOptions) -> io::Result<(Handle, Address)> {
        self.inner.listen(address, options)
    }

    fn accept(&mut self, listener: Handle) -> io::Result<(Handle, Address)> {
        let result = self.inner.accept(listener);
        if matches!(&result, Err(error) if error.kind() == ErrorKind::WouldBlock) {
            self.watch.borrow_mut().change(descriptor(listener), |wanted| wanted.readable = true);
        }
        result
    }

    fn connect(&mut self, address: &Address, options: &ConnectOptions) -> io::Result<Handle> {
        let handle = self.inner.connect(address, options)?;
        self.connecting.push(handle);
        Ok(handle)
    }

    fn connected(&mut self, handle: Handle) -> io::Result<bool> {
        let result = self.inner.connected(handle);
        if matches!(result, Ok(false)) {
            self.watch.borrow_mut().change(descriptor(handle), |wanted| wanted.writable = true);
        }
        result
    }

    fn local_address(&mut self, handle: Handle) -> io::Result<Address> {
        self.inner.local_address(handle)
    }

    fn recv(&mut self, handle: Handle, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.inner.recv(handle, buffer);
        self.received(handle, &result, buffer.len());
        result
    }

    fn recv_behind(&mut self, handle: Handle, buffer: &mut Vec<u8>, most: usize) -> io::Result<usize> {
        let result = self.inner.recv_behind(handle, buffer, most);
        self.received(handle, &result, most);
        result
    }

    fn send(&mut self, handle: Handle, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let offered: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        let result = self.inner.send(handle, buffers);
        let is_full = match &result {
            Ok(count) => *count < offered,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        };
        if is_full {
            self.watch.borrow_mut().change(descriptor(handle), |wanted| wanted.writable = true);
        }
        result
    }

    fn shutdown_write(&mut self, handle: Handle) -> io::Result<()> {
        self.inner.shutdown_write(handle)
    }

    fn close(&mut self, handle: Handle, how: CloseHow) {
        let fd = descriptor(handle);
        self.connecting.retain(|other| *other != handle);
        if !self.datagrams.is_empty() {
            self.datagrams.remove(&fd);
        }
        let mut watch = self.watch.borrow_mut();
        if watch.entries.remove(fd).is_some() {
            watch.unwatch(fd);
        }
        drop(watch);
        self.inner.close(handle, how);
    }

    fn descriptors(&mut self) -> Descriptors {
        self.inner.descriptors()
    }
}

impl Names for External {
    fn resolve(&mut self, ticket: u64, host: &str, port: u16) -> io::Result<()> {
        self.inner.resolve(ticket, host, port)
    }

    fn resolved(&mut self) -> Option<Resolved> {
        self.inner.resolved()
    }
}

impl ForeignDescriptors for External {
    fn inherit(&mut self, listener: OwnedFd, options: &ListenOptions) -> io::Result<(Handle, Address)> {
        self.inner.inherit(listener, options)
    }

    fn adopt(&mut self, fd: OwnedFd, options: &AdoptOptions) -> io::Result<Adopted> {
        let adopted = self.inner.adopt(fd, options)?;
        if adopted.kind == DescriptorKind::Datagrams {
            self.datagrams.insert(descriptor(adopted.handle));
        }
        Ok(adopted)
    }

    fn read(&mut self, handle: Handle, kind: DescriptorKind, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.inner.read(handle, kind, buffer);
        let is_drained = matches!(&result, Err(error) if error.kind() == ErrorKind::WouldBlock);
        if is_drained && !(kind == DescriptorKind::Datagrams && self.is_shut(handle)) {
            self.watch.borrow_mut().change(descriptor(handle), |wanted| wanted.readable = true);
        }
        result
    }

    fn write(&mut self, handle: Handle, kind: DescriptorKind, bytes: &[u8]) -> io::Result<usize> {
        let result = self.inner.write(handle, kind, bytes);
        if matches!(&result, Err(error) if error.kind() == ErrorKind::WouldBlock) {
            self.watch.borrow_mut().change(descriptor(handle), |wanted| wanted.writable = true);
        }
        result
    }

    fn look(&mut self, handle: Handle, readable: bool, writable: bool) -> io::Result<Readiness> {
        let level = self.inner.look(handle, readable, writable)?;
        let missing = Mode { readable: readable && !level.readable, writable: writable && !level.writable };
        if !missing.is_none() {
            self.watch.borrow_mut().change(descriptor(handle), |wanted| *wanted |= missing);
        }
        Ok(level)
    }

    fn clear_error(&mut self, handle: Handle) {
        self.inner.clear_error(handle);
    }

    fn unread(&mut self, handle: Handle) -> Option<u64> {
        self.inner.unread(handle)
    }

    fn borrow(&self, handle: Handle) -> io::Result<BorrowedFd<'_>> {
        self.inner.borrow(handle)
    }
}

impl Drop for External {
    fn drop(&mut self) {
        self.watch.borrow_mut().forget_all();
    }
}
