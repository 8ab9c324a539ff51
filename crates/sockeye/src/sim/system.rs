//! The simulated side of [`Sys`]: one host's system calls.

use std::cell::{RefCell, RefMut};
use std::io::{self, IoSlice};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use sockeye_proto::time::Instant;

use crate::sim::faults::Fault;
use crate::sim::host::{Edges, HostState, Slot, What};
use crate::sim::pipe::{Connection, EndId, Fin, Owner, Place};
use crate::sim::state::{Listener, State};
use crate::sys::{
    Address, AdoptOptions, Adopted, Clock, CloseHow, ConnectOptions, Descriptors, ForeignDescriptors, Handle,
    ListenOptions, Names, Poller, Random, Readiness, Resolved, Sockets, WAKE, Wake,
};

/// The system of one host. Dropping it ends the process, so to speak: every handle left is closed.
#[derive(Debug)]
pub(super) struct System {
    pub(super) state: Rc<RefCell<State>>,
    pub(super) host: usize,
}

impl System {
    fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }
}

impl Clock for System {
    fn now(&mut self) -> Instant {
        Instant::from_nanos(self.state().now)
    }

    fn wall_clock(&mut self) -> u64 {
        let state = self.state();
        (EPOCH_SECONDS + state.now / 1_000_000_000).saturating_add_signed(state.hosts[self.host].wall_ahead)
    }

    fn processor_time(&mut self) -> Option<Duration> {
        Some(self.state().hosts[self.host].computed)
    }
}

impl Random for System {
    fn random(&mut self, out: &mut [u8]) -> io::Result<()> {
        self.state().hosts[self.host].random.fill(out);
        Ok(())
    }
}

impl Poller for System {
    fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Readiness>) -> io::Result<()> {
        let mut state = self.state();
        let result = state.wait(self.host, timeout, ready);
        state.note(|| format!("host {} wait {timeout:?} {} {ready:?}", self.host, show(&result)));
        result
    }

    fn waker(&mut self) -> Arc<dyn Wake> {
        Arc::clone(&self.state().hosts[self.host].waker) as Arc<dyn Wake>
    }

    fn reregister(&mut self, handle: Handle, token: u64) -> io::Result<()> {
        let mut state = self.state();
        state.hosts[self.host].calls.register += 1;
        let result = state.reregister(self.host, handle, token);
        state.note(|| format!("host {} reregister {handle:?} {token} {}", self.host, show(&result)));
        result
    }

    fn register(&mut self, handle: Handle, token: u64) -> io::Result<()> {
        let mut state = self.state();
        state.hosts[self.host].calls.register += 1;
        let result = state.register(self.host, handle, token);
        state.note(|| format!("host {} register {handle:?} {token} {}", self.host, show(&result)));
        result
    }

    fn readiness(&mut self, handle: Handle) -> io::Result<Readiness> {
        Ok(self.state().level(self.host, handle))
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

impl Sockets for System {
    fn listen(&mut self, address: &Address, options: &ListenOptions) -> io::Result<(Handle, Address)> {
        let mut state = self.state();
        options.check().and_then(|()| state.listen(self.host, address, options))
    }

    fn accept(&mut self, listener: Handle) -> io::Result<(Handle, Address)> {
        let mut state = self.state();
        state.hosts[self.host].calls.accept += 1;
        let result = state.accept(self.host, listener);
        state.note(|| format!("host {} accept {listener:?} {result:?}", self.host));
        result
    }

    fn connect(&mut self, address: &Address, options: &ConnectOptions) -> io::Result<Handle> {
        options.check()?;
        let mut state = self.state();
        state.hosts[self.host].calls.connect += 1;
        let result =
            state.begin(self.host, address, options.source, room(options.send_buffer_bytes, options.unsent_bytes));
        state.note(|| format!("host {} connect {address} {}", self.host, show(&result)));
        result
    }

    fn connected(&mut self, handle: Handle) -> io::Result<bool> {
        let mut state = self.state();
        let result = state.connected(self.host, handle);
        state.note(|| format!("host {} connected {handle:?} {}", self.host, show(&result)));
        result
    }

    fn local_address(&mut self, handle: Handle) -> io::Result<Address> {
        let state = self.state();
        let address = match state.lookup(self.host, handle).1 {
            What::Listener(id) => state.listeners.get(&id).map(|listener| &listener.address),
            What::End(end) => state.connections.get(&end.connection).map(|c| &c.ends[end.side].address),
        };
        Ok(address.cloned().unwrap_or(Address::Unnamed))
    }

    fn recv(&mut self, handle: Handle, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.state();
        state.hosts[self.host].calls.recv += 1;
        let result = state.recv(self.host, handle, buffer);
        state.note(|| format!("host {} recv {handle:?} {}", self.host, show(&result)));
        result
    }

    fn send(&mut self, handle: Handle, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.state();
        state.hosts[self.host].calls.send += 1;
        let result = state.send(self.host, handle, buffers);
        state.note(|| format!("host {} send {handle:?} {}", self.host, show(&result)));
        result
    }

    fn shutdown_write(&mut self, handle: Handle) -> io::Result<()> {
        let mut state = self.state();
        state.note(|| format!("host {} shutdown {handle:?}", self.host));
        let (_, end) = state.connection_of(self.host, handle);
        if state.connection(end).ends[end.side].connecting {
            state.fail(format_args!("shutdown of {handle:?}, which is still connecting"));
        }
        if state.connection(end).ends[end.side].reset {
            return Err(io::ErrorKind::NotConnected.into());
        }
        state.shut_end(end);
        Ok(())
    }

    fn close(&mut self, handle: Handle, how: CloseHow) {
        let mut state = self.state();
        state.note(|| format!("host {} close {handle:?} {how:?}", self.host));
        state.hosts[self.host].calls.close += 1;
        state.close_handle(self.host, handle, how);
    }

    fn descriptors(&mut self) -> Descriptors {
        let state = self.state();
        let host = &state.hosts[self.host];
        Descriptors { limit: host.descriptor_limit, in_use: host.in_use() }
    }
}

impl Names for System {
    fn resolve(&mut self, ticket: u64, host: &str, port: u16) -> io::Result<()> {
        let mut state = self.state();
        state.hosts[self.host].calls.resolve += 1;
        let result = state.resolve(self.host, ticket, host, port);
        state.note(|| format!("host {} resolve {ticket} {host} {port} {}", self.host, show(&result)));
        result
    }

    fn resolved(&mut self) -> Option<Resolved> {
        let mut state = self.state();
        let host = &mut state.hosts[self.host];
        let answer = host.answers.pop_front()?;
        host.questions -= 1;
        state.note(|| format!("host {} resolved {} {}", self.host, answer.ticket, show(&answer.addresses)));
        Some(answer)
    }
}

impl ForeignDescriptors for System {
    fn adopt(&mut self, fd: OwnedFd, options: &AdoptOptions) -> io::Result<Adopted> {
        // Each is connected, and none has small writes to be sent at once.
        let _ = options;
        let mut state = self.state();
        let result = state.adopt(self.host, &fd);
        state.note(|| format!("host {} adopt {}", self.host, show(&result)));
        result?.ok_or_else(|| {
            io::Error::new(io::ErrorKind::Unsupported, "this system takes no descriptors but those of its Network")
        })
    }
}

impl Drop for System {
    fn drop(&mut self) {
        let Ok(mut state) = self.state.try_borrow_mut() else { return };
        let host = &mut state.hosts[self.host];
        (host.leaked, host.attached) = (host.open, false);
        (host.life, host.questions) = (host.life + 1, 0);
        host.answers.clear();
        let handles: Vec<Handle> =
            (0..).zip(&host.slots).filter(|(_, slot)| slot.is_some()).map(|(n, _)| Handle::new(n)).collect();
        for handle in handles {
            state.close_handle(self.host, handle, CloseHow::Normal);
        }
    }
}

impl HostState {
    pub(super) fn in_use(&self) -> u64 {
        STANDARD_DESCRIPTORS + self.open as u64
    }
}

impl State {
    fn wait(&mut self, host: usize, timeout: Option<Duration>, ready: &mut Vec<Readiness>) -> io::Result<()> {
        ready.clear();
        self.hosts[host].calls.wait += 1;
        self.hosts[host].turn = self.turn;
        if self.inject(Fault::Interrupted) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let deadline = timeout.map(|timeout| (Instant::from_nanos(self.now) + timeout).as_nanos());
        loop {
            self.catch_up();
            self.collect(host, ready);
            if !ready.is_empty() || deadline.is_some_and(|deadline| deadline <= self.now) {
                return Ok(());
            }
            if !self.jump(deadline) {
                self.fail(format_args!("host {host} waits and nothing will ever wake it"));
            }
        }
    }

    fn listen(&mut self, host: usize, address: &Address, options: &ListenOptions) -> io::Result<(Handle, Address)> {
        if self.hosts[host].in_use() >= self.hosts[host].descriptor_limit {
            return Err(Errno::MFILE.into());
        }
        let address = self.listener_address(address)?;
        let id = self.serial();
        let place = self.open_slot(host, What::Listener(id));
        let (owner, backlog) = (Owner::Host(place), options.backlog as usize);
        let room = room(options.send_buffer_bytes, options.unsent_bytes);
        let listener = Listener { address: address.clone(), owner, queue: Default::default(), backlog, room };
        self.listeners.insert(id, listener);
        Ok((Handle::new(place.handle), address))
    }

    fn accept(&mut self, host: usize, handle: Handle) -> io::Result<(Handle, Address)> {
        let (place, what) = self.lookup(host, handle);
        let What::Listener(id) = what else { self.fail(format_args!("accept on {handle:?}, which is not a listener")) };
        if self.hosts[host].in_use() >= self.hosts[host].descriptor_limit {
            return Err(Errno::MFILE.into());
        }
        if self.would_block(place, Edges::READ) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let queued = self.listeners[&id].queue.front().copied();
        let Some(end) = queued else {
            self.drain(place);
            return Err(io::ErrorKind::WouldBlock.into());
        };
        if self.inject(Fault::AcceptFailed) {
            let error = ACCEPT_ERRORS[self.random.index(ACCEPT_ERRORS.len())];
            if [Errno::CONNABORTED, Errno::PROTO, Errno::PERM].contains(&error) {
                self.dequeue(id);
                self.close_end(end, CloseHow::Reset);
            }
            return Err(error.into());
        }
        self.dequeue(id);
        let place = self.open_slot(host, What::End(end));
        let connection = self.connection(end);
        connection.ends[end.side].owner = Owner::Host(place);
        let peer = connection.ends[1 - end.side].address.clone();
        Ok((Handle::new(place.handle), peer))
    }

    fn dequeue(&mut self, listener: u64) {
        if let Some(listener) = self.listeners.get_mut(&listener) {
            listener.queue.pop_front();
        }
    }

    fn register(&mut self, host: usize, handle: Handle, token: u64) -> io::Result<()> {
        let (place, _) = self.lookup(host, handle);
        if token == WAKE {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if self.slot(place).token.is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.set_token(place, token)
    }

    fn reregister(&mut self, host: usize, handle: Handle, token: u64) -> io::Result<()> {
        let (place, _) = self.lookup(host, handle);
        if token == WAKE {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if self.slot(place).token.is_none() {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.set_token(place, token)
    }

    fn set_token(&mut self, place: Place, token: u64) -> io::Result<()> {
        if self.inject(Fault::RegisterFailed) {
            return Err(Errno::NOMEM.into());
        }
        let what = self.slot(place).what;
        let readable = self.readiness(token, what).readable;
        let slot = self.slot(place);
        (slot.token, slot.drained) = (Some(token), !readable);
        self.mark(place, Edges::BOTH);
        Ok(())
    }

    fn recv(&mut self, host: usize, handle: Handle, buffer: &mut [u8]) -> io::Result<usize> {
        let (place, end) = self.connection_of(host, handle);
        if buffer.is_empty() {
            self.fail(format_args!("recv on {handle:?} into an empty buffer"));
        }
        if self.inject(Fault::Race) {
            self.arrive(end.other());
        }
        if self.inject(Fault::Interrupted) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if self.would_block(place, Edges::READ) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let connection = self.connection(end);
        let count = connection.pipes[1 - end.side].read(buffer);
        if count > 0 {
            if count < buffer.len() {
                self.drain(place);
            }
            self.pump(end.other());
            return Ok(count);
        }
        // The end of input, once there, is not taken back by a reset.
        if connection.pipes[1 - end.side].fin == Fin::Arrived {
            return Ok(0);
        }
        if let Some(error) = connection.ends[end.side].error.take() {
            return Err(error.into());
        }
        if connection.ends[end.side].reset {
            return Ok(0);
        }
        self.drain(place);
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn send(&mut self, host: usize, handle: Handle, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let (place, end) = self.connection_of(host, handle);
        let total: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        if total == 0 {
            self.fail(format_args!("send on {handle:?} of nothing"));
        }
        if self.inject(Fault::Race) {
            self.arrive(end.other());
        }
        let own = &mut self.connection(end).ends[end.side];
        if own.connecting {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if let Some(error) = own.error.take() {
            return Err(error.into());
        }
        if own.reset || own.shut {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if self.inject(Fault::Interrupted) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if self.would_block(place, Edges::WRITE) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let connection = self.connection(end);
        let mut count = connection.pipes[end.side].free().min(total);
        if count < total {
            connection.ends[end.side].full = true;
        }
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if count > 1 && self.inject(Fault::ShortSend) {
            count = self.random.size(count - 1);
            self.inject_block(place, Edges::WRITE);
        }
        let bytes = buffers.iter().flat_map(|buffer| buffer.iter()).take(count);
        self.connection(end).pipes[end.side].travelling.extend(bytes);
        self.pump(end);
        Ok(count)
    }

    fn close_handle(&mut self, host: usize, handle: Handle, how: CloseHow) {
        let (_, what) = self.lookup(host, handle);
        self.hosts[host].slots[handle.get() as usize] = None;
        self.hosts[host].open -= 1;
        match what {
            What::End(end) => self.close_end(end, how),
            What::Listener(id) => self.close_listener(id),
        }
    }

    // ---- handles ----

    /// The lowest number that is free, as descriptors have it: numbers are reused at once.
    pub(super) fn open_slot(&mut self, host: usize, what: What) -> Place {
        let serial = self.serial();
        let host_state = &mut self.hosts[host];
        let free = host_state.slots.iter().position(Option::is_none);
        let at = free.unwrap_or_else(|| {
            host_state.slots.push(None);
            host_state.slots.len() - 1
        });
        host_state.slots[at] = Some(Slot::new(what, serial));
        host_state.open += 1;
        Place { host, handle: at as u32, serial }
    }

    /// Using a handle that is not open is a bug of the program; here it ends the test.
    pub(super) fn lookup(&self, host: usize, handle: Handle) -> (Place, What) {
        match self.hosts[host].slots.get(handle.get() as usize) {
            Some(Some(slot)) => (Place { host, handle: handle.get(), serial: slot.serial }, slot.what),
            _ => self.fail(format_args!("host {host} uses {handle:?}, which is not open")),
        }
    }

    pub(super) fn connection_of(&self, host: usize, handle: Handle) -> (Place, EndId) {
        match self.lookup(host, handle) {
            (place, What::End(end)) => (place, end),
            _ => self.fail(format_args!("{handle:?} is a listener")),
        }
    }

    pub(super) fn slot(&mut self, place: Place) -> &mut Slot {
        // `lookup` has just found it, and nothing else closes handles.
        self.hosts[place.host].slots[place.handle as usize].as_mut().expect("an open handle")
    }

    pub(super) fn connection(&mut self, end: EndId) -> &mut Connection {
        // A connection lives until both of its ends are closed, and this one is open.
        self.connections.get_mut(&end.connection).expect("a connection with an open end")
    }

    fn drain(&mut self, place: Place) {
        self.slot(place).drained = true;
    }
}

/// How much may be sent ahead with these options. The simulator does not tell what is on its way from what was not sent.
fn room(send_buffer_bytes: Option<u32>, unsent_bytes: Option<u32>) -> usize {
    [send_buffer_bytes, unsent_bytes].into_iter().flatten().min().map_or(usize::MAX, |bytes| bytes as usize)
}

fn show<T: std::fmt::Debug>(result: &io::Result<T>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("{:?}", error.kind()),
    }
}

const ACCEPT_ERRORS: [Errno; 8] = [
    Errno::MFILE,
    Errno::NFILE,
    Errno::NOBUFS,
    Errno::NOMEM,
    Errno::INTR,
    Errno::CONNABORTED,
    Errno::PROTO,
    Errno::PERM,
];

/// November 2023.
const EPOCH_SECONDS: u64 = 1_700_000_000;

/// Standard input, output and error.
const STANDARD_DESCRIPTORS: u64 = 3;
