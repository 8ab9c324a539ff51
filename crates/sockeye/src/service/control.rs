//! What may be asked of a service between two callbacks, beside what [`Commands`] has.

use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::OwnedFd;

use crate::protocol::ConnId;
use crate::service::core::Control;
use crate::state::Commands;
use crate::statistics::Statistics;

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
        &self.service.env.state
    }
}

impl DerefMut for Control<'_> {
    fn deref_mut(&mut self) -> &mut Commands {
        &mut self.service.env.state
    }
}
