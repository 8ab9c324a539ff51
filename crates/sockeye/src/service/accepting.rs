//! The listeners of a service.

use std::io;
use std::time::Duration;

use sockeye_proto::time::Instant;

use crate::conn::Entrance;
use crate::sys::{Address, CloseHow, Handle, Sys};

/// At most one log line about paused accepting in this time.
const QUIET: Duration = Duration::from_secs(1);

/// All listeners of a service.
pub(super) struct Accepting {
    /// A closed listener leaves its place to the next one.
    pub(super) listeners: Vec<Option<Listener>>,
    /// The addresses of the open listeners, in the order in which they were opened.
    pub(super) addresses: Vec<Address>,
    /// The number of the next listener.
    next: u64,
    /// No listener is ready when this is false.
    may_be_ready: bool,
    /// The listener that is first in this turn: a busy one must not starve the others.
    pub(super) first: usize,
    /// Accepting is paused until then, or until a connection ends.
    pub(super) retry_at: Option<Instant>,
    pub(super) logged_at: Option<Instant>,
}

pub(super) struct Listener {
    pub(super) handle: Handle,
    /// That of its handle. The addresses of a name have one number.
    number: u64,
    address: Address,
    /// An edge came and `accept` has not answered "none" since.
    pub(super) ready: bool,
    pub(super) entrance: Entrance,
}

impl Accepting {
    /// No listeners yet; `next` is the number of the first one that is opened later.
    pub(super) fn new(next: u64) -> Self {
        let (listeners, addresses) = (Vec::new(), Vec::new());
        Self { listeners, addresses, next, may_be_ready: false, first: 0, retry_at: None, logged_at: None }
    }

    /// A number for one more listener.
    pub(super) fn next_number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// Adds an open listener, registered under its index.
    pub(super) fn add(
        &mut self,
        sys: &mut dyn Sys,
        handle: Handle,
        address: Address,
        number: u64,
        entrance: Entrance,
    ) -> io::Result<()> {
        let free = self.listeners.iter().position(Option::is_none);
        let index = free.unwrap_or(self.listeners.len());
        if let Err(error) = sys.register(handle, index as u64) {
            sys.close(handle, CloseHow::Normal);
            return Err(error);
        }
        self.addresses.push(address.clone());
        let listener = Some(Listener { handle, number, address, ready: false, entrance });
        match self.listeners.get_mut(index) {
            Some(place) => *place = listener,
            None => self.listeners.push(listener),
        }
        Ok(())
    }

    /// Closes the listener of that number. Returns whether it was open.
    pub(super) fn close(&mut self, sys: &mut dyn Sys, number: u64) -> bool {
        let mut any = false;
        for place in &mut self.listeners {
            if let Some(listener) = place.take_if(|listener| listener.number == number) {
                sys.close(listener.handle, CloseHow::Normal);
                // Only open listeners have an address here, each once.
                if let Some(at) = self.addresses.iter().position(|address| *address == listener.address) {
                    self.addresses.remove(at);
                }
                any = true;
            }
        }
        if !self.any_ready() {
            // Nothing is waited for any more: a time that has passed would keep the loop awake.
            self.retry_at = None;
        }
        any
    }

    /// Whether any listener is open.
    pub(super) fn is_open(&self) -> bool {
        self.listeners.iter().any(Option::is_some)
    }

    /// The addresses of the listener of that number.
    pub(super) fn addresses_of(&self, number: u64) -> Vec<Address> {
        let own = self.listeners.iter().flatten().filter(|listener| listener.number == number);
        own.map(|listener| listener.address.clone()).collect()
    }

    pub(super) fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Listeners have small tokens; a connection's has its generation in the upper half, which is never zero.
    #[inline]
    pub(super) fn is_listener(&self, token: u64) -> bool {
        token < self.listeners.len() as u64
    }

    pub(super) fn is_ready(&self, index: usize) -> bool {
        self.listeners.get(index).is_some_and(|place| place.as_ref().is_some_and(|listener| listener.ready))
    }

    pub(super) fn mark_ready(&mut self, token: u64) {
        if let Some(Some(listener)) = self.listeners.get_mut(token as usize) {
            listener.ready = true;
            self.may_be_ready = true;
        }
    }

    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// A connection ended and its slot is free: a pause is over. Called at the end of the turn,
    /// since until then the slot counts, and accepting would only pause again.
    pub(super) fn end_pause(&mut self) {
        if self.retry_at.is_some() {
            self.retry_at = Some(Instant::from_nanos(0));
        }
    }

    pub(super) fn close_all(&mut self, sys: &mut dyn Sys) {
        for listener in self.listeners.drain(..).flatten() {
            sys.close(listener.handle, CloseHow::Normal);
        }
        self.retry_at = None;
    }

    #[inline]
    pub(super) fn any_ready(&mut self) -> bool {
        self.may_be_ready = self.may_be_ready && self.listeners.iter().flatten().any(|listener| listener.ready);
        self.may_be_ready
    }

    /// Whether a line about paused accepting may be logged now.
    pub(super) fn may_log(&mut self, now: Instant) -> bool {
        let quiet = self.logged_at.is_some_and(|at| now.saturating_duration_since(at) < QUIET);
        if !quiet {
            self.logged_at = Some(now);
        }
        !quiet
    }
}
