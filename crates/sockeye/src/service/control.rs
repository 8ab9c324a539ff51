//! The methods of [`Control`] beyond those of [`Commands`].

use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::OwnedFd;

use crate::protocol::ConnId;
use crate::service::core::Control;
use crate::state::Commands;
use crate::statistics::Statistics;

impl Control<'_> {
    /// Serves a connection accepted elsewhere, for example by a parent process, as if a listener of
    /// this service had accepted it: HTTP, and WebSocket from there. It must be a connected TCP or
    /// Unix stream socket. The service closes this descriptor in the end; duplicates stay open.
    ///
    /// # Errors
    /// An error of the system, or one that explains that the descriptor is of another kind, that
    /// its peer may not connect, that the limit of connections is reached, or that the service is
    /// ending. The descriptor is closed.
    pub fn serve(&mut self, fd: impl Into<OwnedFd>) -> io::Result<ConnId> {
        self.service.serve(fd.into())
    }

    /// What the service has counted since it was built.
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
