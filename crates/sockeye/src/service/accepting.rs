//! The listeners of a service.

use std::io;
use std::time::Duration;

use sockeye_proto::time::Instant;

use crate::state::EndpointIndex;
use crate::sys::{Address, CloseHow, Handle, Sys};

/// At most one log line about paused accepting in this time.
const QUIET: Duration = Duration::from_secs(1);

/// All listeners of a service.
pub(super) struct Accepting {
    pub(super) listeners: Vec<Listener>,
    pub(super) addresses: Vec<Address>,
    /// The listener that is first in this turn: a busy one must not starve the others.
    pub(super) first: usize,
    /// Accepting is paused until then, or until a connection ends.
    pub(super) retry_at: Option<Instant>,
    pub(super) logged_at: Option<Instant>,
}

pub(super) struct Listener {
    pub(super) handle: Handle,
    /// An edge came and `accept` has not answered "none" since.
    pub(super) ready: bool,
    /// The endpoint of its raw connections; `None` for HTTP.
    pub(super) endpoint: Option<EndpointIndex>,
}

impl Accepting {
    pub(super) fn new() -> Self {
        Self { listeners: Vec::new(), addresses: Vec::new(), first: 0, retry_at: None, logged_at: None }
    }

    /// Adds an open listener, registered under its index.
    pub(super) fn add(
        &mut self,
        sys: &mut dyn Sys,
        handle: Handle,
        address: Address,
        endpoint: Option<EndpointIndex>,
    ) -> io::Result<()> {
        let token = self.listeners.len() as u64;
        self.listeners.push(Listener { handle, ready: false, endpoint });
        self.addresses.push(address);
        sys.register(handle, token)
    }

    pub(super) fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Listeners have small tokens; a connection's has its generation in the upper half, which is never zero.
    #[inline]
    pub(super) fn is_listener(&self, token: u64) -> bool {
        token < self.listeners.len() as u64
    }

    pub(super) fn mark_ready(&mut self, token: u64) {
        if let Some(listener) = self.listeners.get_mut(token as usize) {
            listener.ready = true;
        }
    }

    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// A connection ended and its slot is free: a pause is over. Called at the end of the turn,
    /// since until then the slot counts, and accepting would only pause anew.
    pub(super) fn end_pause(&mut self) {
        if self.retry_at.is_some() {
            self.retry_at = Some(Instant::from_nanos(0));
        }
    }

    pub(super) fn close_all(&mut self, sys: &mut dyn Sys) {
        for listener in self.listeners.drain(..) {
            sys.close(listener.handle, CloseHow::Normal);
        }
        self.retry_at = None;
    }

    pub(super) fn any_ready(&self) -> bool {
        self.listeners.iter().any(|listener| listener.ready)
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
