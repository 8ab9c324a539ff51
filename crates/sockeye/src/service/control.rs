//! What may be asked of a service from outside its callbacks.

use std::io;
use std::os::fd::OwnedFd;

use sockeye_proto::close::Close;

use crate::client::Connect;
use crate::protocol::{ConnId, Gone, UnknownProtocol};
use crate::service::{Service, turn};
use crate::statistics::Statistics;

/// A service between two callbacks: what jobs of a [`Remote`](crate::Remote), or the program between turns, may ask.
/// It cannot run the loop, so a job cannot run inside a turn again.
pub struct Control<'a> {
    pub(crate) service: &'a mut Service,
}

impl Control<'_> {
    /// Asks for the writable callback of one connection.
    ///
    /// # Errors
    /// [`Gone`] when the connection is over.
    pub fn request_writable(&mut self, id: ConnId) -> Result<(), Gone> {
        self.service.stage.shared.want_write(id)
    }

    /// Stops delivering what one connection sends; see [`Commands::pause_for`](crate::Commands::pause_for).
    ///
    /// # Errors
    /// [`Gone`] when the connection is over.
    pub fn pause(&mut self, id: ConnId) -> Result<(), Gone> {
        self.service.stage.shared.set_paused(id, true)
    }

    /// Goes on delivering what one connection sends.
    ///
    /// # Errors
    /// [`Gone`] when the connection is over.
    pub fn resume(&mut self, id: ConnId) -> Result<(), Gone> {
        self.service.stage.shared.set_paused(id, false)
    }

    /// Asks for the writable callback of every connection of the named protocol, or endpoint of another kind.
    ///
    /// # Errors
    /// [`UnknownProtocol`] when the service has none of that name.
    pub fn request_writable_all(&mut self, protocol: &str) -> Result<(), UnknownProtocol> {
        let endpoint = UnknownProtocol::ANY.unless(&self.service.stage.shared, protocol)?;
        self.service.stage.shared.want_write_all(endpoint);
        Ok(())
    }

    /// Sends a text message to every connection of the named protocol; see
    /// [`Commands::publish_text`](crate::Commands::publish_text).
    ///
    /// # Errors
    /// [`UnknownProtocol`] when the service has no WebSocket protocol of that name.
    pub fn publish_text(&mut self, protocol: &str, text: &str) -> Result<(), UnknownProtocol> {
        let endpoint = UnknownProtocol::WEBSOCKET.unless(&self.service.stage.shared, protocol)?;
        self.service.stage.shared.publish(endpoint, sockeye_proto::wire::MessageKind::Text, text.as_bytes());
        Ok(())
    }

    /// Sends a binary message to every connection of the named protocol.
    ///
    /// # Errors
    /// As [`publish_text`](Self::publish_text).
    pub fn publish_binary(&mut self, protocol: &str, payload: &[u8]) -> Result<(), UnknownProtocol> {
        let endpoint = UnknownProtocol::WEBSOCKET.unless(&self.service.stage.shared, protocol)?;
        self.service.stage.shared.publish(endpoint, sockeye_proto::wire::MessageKind::Binary, payload);
        Ok(())
    }

    /// Connects as the named protocol; see [`Commands::connect`](crate::Commands::connect).
    ///
    /// # Errors
    /// [`UnknownProtocol`] when the service has no WebSocket protocol of that name.
    pub fn connect(&mut self, protocol: &str, connect: Connect) -> Result<ConnId, UnknownProtocol> {
        let endpoint = UnknownProtocol::WEBSOCKET.unless(&self.service.stage.shared, protocol)?;
        Ok(self.service.stage.shared.connect(endpoint, connect))
    }

    /// Gives a descriptor to the loop, for the [`Raw`](crate::Raw) or [`Watcher`](crate::Watcher) endpoint of that name; see
    /// [`Commands::adopt`](crate::Commands::adopt). `Ok` means that it was taken on; implement
    /// [`failed`](crate::Raw::failed) to hear why it did not come about.
    ///
    /// # Errors
    /// [`UnknownProtocol`] when the service has no such endpoint of that name; the descriptor is closed.
    pub fn adopt(&mut self, protocol: &str, fd: impl Into<OwnedFd>) -> Result<ConnId, UnknownProtocol> {
        let endpoint = UnknownProtocol::DESCRIPTOR.unless(&self.service.stage.shared, protocol)?;
        Ok(self.service.stage.shared.adopt(endpoint, fd.into()))
    }

    /// Serves a connection that something else accepted, such as a parent process, as if a listener of this service
    /// had: HTTP, and WebSocket from there. It must be a connected TCP or Unix stream socket. It is closed in the end;
    /// whoever else has it keeps it open.
    ///
    /// # Errors
    /// The system's, or a text that says what the descriptor is instead, that its peer may not connect, or that the
    /// service has no room for it or is ending. The descriptor is closed.
    pub fn serve(&mut self, fd: impl Into<OwnedFd>) -> io::Result<ConnId> {
        self.service.serve(fd.into())
    }

    /// Starts the closing handshake of one connection. A connect that has no outcome yet is cancelled.
    ///
    /// # Errors
    /// [`Gone`] when the connection is over.
    pub fn close(&mut self, id: ConnId, close: impl Into<Close>) -> Result<(), Gone> {
        if !self.service.stage.shared.live.get(id).is_some_and(|live| live.is_open() || live.is_connecting()) {
            return Err(Gone);
        }
        turn::close_now(self.service, id, close.into());
        Ok(())
    }

    /// Ends the service in good order: listeners are closed at once, every WebSocket gets a close frame with 1001, and
    /// what is left after [`close_timeout`](sockeye_proto::limits::ProtocolLimits::close_timeout) is reset.
    /// [`Service::run`] returns when the last connection is gone.
    pub fn drain(&mut self) {
        self.service.start_drain();
    }

    /// How many connections there are, of any kind.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.service.connections()
    }

    /// What the service has done since it was built.
    #[must_use]
    pub fn statistics(&self) -> &Statistics {
        self.service.statistics()
    }
}
