//! What the views of connections and protocols can do with the feature `client`.

use crate::client::{Connect, Retry};
use crate::id::ConnId;
use crate::protocol::cx::ClosedCx;
use crate::protocol::views::{ConnectionMut, ProtocolMut};

impl ProtocolMut<'_> {
    /// Connects to a server, for this protocol. The connect has exactly one outcome,
    /// [`open`](crate::Protocol::open) or [`failed`](crate::Protocol::failed), with the id that is
    /// returned here. Nothing blocks, and neither is called before the current callback has
    /// returned. While the service is being drained every connect fails; a connect after its end
    /// has no outcome.
    pub fn connect(&mut self, connect: Connect) -> ConnId {
        self.commands.push_connect(self.endpoint, connect)
    }
}

impl ConnectionMut<'_> {
    /// Prevents another attempt when this connection ends, despite its
    /// [`Reconnect`](crate::client::Reconnect) policy.
    pub fn stop_reconnecting(&mut self) {
        self.commands.connects.release(self.id);
    }
}

impl ClosedCx<'_> {
    /// The next attempt of a connection with a [`Reconnect`](crate::client::Reconnect) policy, if
    /// one follows.
    #[must_use]
    pub fn retry(&self) -> Option<Retry> {
        self.retry
    }

    /// Cancels the attempt announced by [`retry`](Self::retry). It then has no outcome.
    pub fn stop_reconnecting(&mut self) {
        if let Some(retry) = self.retry.take() {
            self.commands.take_back_retry(retry);
        }
    }
}
