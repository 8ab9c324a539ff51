//! A service between two callbacks.

use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::OwnedFd;

use crate::protocol::ConnId;
use crate::service::Service;
use crate::shared::Commands;
use crate::statistics::Statistics;

/// A service between two callbacks: what jobs of a [`Remote`](crate::Remote), or the program between turns, may ask.
///
/// It dereferences to [`Commands`], so the spelling is that of the callbacks. Whatever is asked is done by the loop: no callback
/// runs before [`Service::run_once`] or [`Service::run`] does, and [`Service::next_deadline`] says that there is something to do.
/// A control cannot run the loop, so a job cannot run inside a turn again.
///
/// ```
/// use sockeye::{CloseCode, Connect, Service, messages};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut builder = Service::builder();
/// let feed = builder.add_protocol(messages::on("feed", |_, _| Ok(())));
/// let mut service = builder.build()?;
/// let id = service.control().protocol(feed)?.connect(Connect::new("ws://127.0.0.1:9/")?);
/// service.control().connection(id)?.close(CloseCode::NORMAL);
/// # Ok(()) }
/// ```
pub struct Control<'a> {
    pub(crate) service: &'a mut Service,
}

impl Control<'_> {
    /// Serves a connection that something else accepted, such as a parent process, as if a listener of this service
    /// had: HTTP, and WebSocket from there. It must be a connected TCP or Unix stream socket. The service closes it in the end;
    /// other descriptors of it stay open.
    ///
    /// # Errors
    /// The system's, or a text that says what the descriptor is instead, that its peer may not connect, or that the
    /// service has no room for it or is ending. The descriptor is closed.
    pub fn serve(&mut self, fd: impl Into<OwnedFd>) -> io::Result<ConnId> {
        self.service.serve(fd.into())
    }

    /// What the service has done since it was built.
    #[must_use]
    pub fn statistics(&self) -> &Statistics {
        self.service.statistics()
    }
}

impl Deref for Control<'_> {
    type Target = Commands;

    fn deref(&self) -> &Commands {
        &self.service.stage.shared
    }
}

impl DerefMut for Control<'_> {
    fn deref_mut(&mut self) -> &mut Commands {
        &mut self.service.stage.shared
    }
}
