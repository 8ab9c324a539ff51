//! Waiting for events.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use crate::sys::sockets::Handle;

/// The poller of a [`Sys`](crate::sys::Sys).
pub trait Poller {
    /// Waits until a registered handle changes, a [`Wake`] wakes, or `timeout` is over; `None` waits without limit.
    ///
    /// Clears `ready` first. Reports that do not fit one call come with the next call.
    ///
    /// # Errors
    /// `Interrupted` when a signal came, with no reports lost.
    fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<Readiness>) -> io::Result<()>;

    /// Something other threads can wake this [`wait`](Self::wait) with; the same one each time.
    fn waker(&mut self) -> Arc<dyn Wake>;

    /// Registers `handle` for both directions under `token`.
    ///
    /// # Errors
    /// `AlreadyExists` when it was registered before; the system's error when there is no room for it.
    fn register(&mut self, handle: Handle, token: u64) -> io::Result<()>;

    /// Gives a registered handle another token. What is ready now is reported again under it, as a first edge.
    ///
    /// # Errors
    /// `NotFound` when it was not registered before; the system's error, and then the old token stays.
    fn reregister(&mut self, handle: Handle, token: u64) -> io::Result<()>;

    /// The readiness of a handle at this moment, independent of earlier reports; the token is 0. For loops that watch levels.
    ///
    /// # Errors
    /// The system's, when there is no such handle.
    fn readiness(&mut self, handle: Handle) -> io::Result<Readiness>;

    /// The one descriptor that is readable when [`wait`](Self::wait) has something to report; `None` if the system has no such descriptor. Another
    /// loop may watch it, and must never read from it.
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;
}

/// The token under which a [`Wake`] shows up in [`Poller::wait`]. No handle can be registered with it.
pub const WAKE: u64 = u64::MAX;

/// The most reports of one [`Poller::wait`]; after as many as these there may be more.
pub const EVENTS_PER_WAIT: usize = 1024;

/// One report of [`Poller::wait`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Readiness {
    /// As given to [`Poller::register`], or [`WAKE`].
    pub token: u64,
    /// `recv` or `accept` may have something.
    pub readable: bool,
    /// `send` may have room.
    pub writable: bool,
    /// The peer has ended its sending side: read until `Ok(0)` or an error. What it sent before is still to be read.
    pub read_closed: bool,
    /// Both sides have ended, or the connection failed: sending is over, and reading returns how it ended.
    pub error: bool,
    /// TCP's urgent data arrived (RFC 9293 section 3.8.5). A `recv` ends at its mark, so one that brings less than was asked
    /// for does not mean that nothing more is there.
    pub urgent: bool,
}

impl Readiness {
    /// A report that shows nothing of `token` yet.
    #[must_use]
    pub const fn new(token: u64) -> Self {
        Self { token, readable: false, writable: false, read_closed: false, error: false, urgent: false }
    }
}

/// Wakes a [`Poller::wait`] from any thread.
pub trait Wake: Send + Sync {
    /// Makes the present `wait`, or the next one, report [`WAKE`]. Several calls may become one report.
    fn wake(&self);
}
