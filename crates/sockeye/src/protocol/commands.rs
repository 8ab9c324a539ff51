//! Commands that concern the whole service, and lookups of its parts.

use std::collections::TryReserveError;

use sockeye_proto::time::Instant;

use crate::protocol::views::{ConnectionMut, EndpointMut, ProtocolMut};
use crate::protocol::{ConnId, Decision, EndpointHandle, Gone, ProtocolHandle, UnknownProtocol};
use crate::state::{Commands, EndpointIndex, EndpointKind, Entry};
use crate::transport::pool::make_room;

impl Commands {
    /// When this turn of the loop began, on the loop's monotonic clock, which all loops of a process have in common.
    #[must_use]
    #[inline]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The number of connections of the service, of any kind.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.registry.len()
    }

    /// The open connections of the service, of any kind: WebSockets, raw connections and watched descriptors. It takes 8 bytes
    /// for each; the ids can be looked up while it is walked over. For those of one protocol see
    /// [`ProtocolMut::connection_ids`].
    #[must_use]
    pub fn connection_ids(&self) -> Vec<ConnId> {
        self.registry.open_ids(|_| true)
    }

    /// Whether the connection is an open WebSocket, raw connection or watched descriptor.
    #[must_use]
    pub fn is_open(&self, id: ConnId) -> bool {
        self.registry.get(id).is_some_and(Entry::is_open)
    }

    /// One connection, which is open or may still open: a handshake or a request of it may be under way.
    ///
    /// # Errors
    /// [`Gone`] when the connection has ended, and for every id that this service never gave out.
    pub fn connection(&mut self, id: ConnId) -> Result<ConnectionMut<'_>, Gone> {
        match self.registry.get(id) {
            Some(entry) if entry.is_alive() => Ok(ConnectionMut { commands: self, id }),
            _ => Err(Gone),
        }
    }

    /// A WebSocket protocol of the service, by the handle that
    /// [`Builder::add_protocol`](crate::Builder::add_protocol) returned.
    ///
    /// # Errors
    /// [`UnknownProtocol::Handle`] when the handle is from the builder of another service.
    pub fn protocol<P>(&mut self, handle: ProtocolHandle<P>) -> Result<ProtocolMut<'_>, UnknownProtocol> {
        if handle.target.builder != self.builder {
            return Err(UnknownProtocol::Handle);
        }
        Ok(ProtocolMut { commands: self, endpoint: handle.target.index })
    }

    /// The WebSocket protocol of that name.
    ///
    /// # Errors
    /// [`UnknownProtocol::Protocol`] when the service has no WebSocket protocol of that name.
    pub fn protocol_named(&mut self, name: &str) -> Result<ProtocolMut<'_>, UnknownProtocol> {
        let endpoint = self.find_endpoint(name, |kind| kind == EndpointKind::WebSocket);
        let endpoint = endpoint.ok_or(UnknownProtocol::Protocol)?;
        Ok(ProtocolMut { commands: self, endpoint })
    }

    /// A raw or watcher endpoint of the service, by the handle that [`Builder::add_raw`](crate::Builder::add_raw) or
    /// [`Builder::add_watcher`](crate::Builder::add_watcher) returned.
    ///
    /// # Errors
    /// [`UnknownProtocol::Handle`] when the handle is from the builder of another service.
    pub fn endpoint<E>(&mut self, handle: EndpointHandle<E>) -> Result<EndpointMut<'_>, UnknownProtocol> {
        if handle.target.builder != self.builder {
            return Err(UnknownProtocol::Handle);
        }
        Ok(EndpointMut { commands: self, endpoint: handle.target.index })
    }

    /// The raw or watcher endpoint of that name.
    ///
    /// # Errors
    /// [`UnknownProtocol::Endpoint`] when the service has no endpoint of that name that is not a WebSocket protocol.
    pub fn endpoint_named(&mut self, name: &str) -> Result<EndpointMut<'_>, UnknownProtocol> {
        let is_wanted = |kind| matches!(kind, EndpointKind::Raw | EndpointKind::Watcher);
        let endpoint = self.find_endpoint(name, is_wanted);
        let endpoint = endpoint.ok_or(UnknownProtocol::Endpoint)?;
        Ok(EndpointMut { commands: self, endpoint })
    }

    /// The WebSocket protocol at an index that was looked up before.
    pub(crate) fn protocol_at(&mut self, endpoint: EndpointIndex) -> ProtocolMut<'_> {
        ProtocolMut { commands: self, endpoint }
    }

    /// Decides on a handshake that [`Decision::later`] left waiting. The answer is sent, and
    /// [`open`](crate::Protocol::open) called, after the current callback. [`Decision::later`] has no
    /// effect here.
    ///
    /// # Errors
    /// [`Gone`] when no handshake of that id waits: the connection has ended, was refused because the
    /// decision took too long, or the decision was made before.
    pub fn decide(&mut self, id: ConnId, decision: Decision) -> Result<(), Gone> {
        self.undecided.decide(id, decision)?;
        self.registry.enqueue(id);
        Ok(())
    }

    /// Shuts the service down gracefully. The loop stops listening, sends every WebSocket a close
    /// frame with 1001, finishes the answers that have begun, and after
    /// [`close_timeout`](sockeye_proto::limits::ProtocolLimits::close_timeout) resets what is left.
    /// [`Service::run`](crate::Service::run) returns when the last connection has ended.
    ///
    /// Messages published and closes requested before this come first.
    pub fn drain(&mut self) {
        self.lifecycle.request_drain();
    }

    /// Whether a drain was requested, is running or is done.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.lifecycle.is_ending() || self.lifecycle.is_drain_requested()
    }

    /// Takes an empty buffer from the loop's pool, with memory if there is a spare one. For layers
    /// that keep data between callbacks: together with [`give_buffer`](Self::give_buffer), a busy
    /// connection allocates nothing.
    #[must_use]
    pub fn take_buffer(&mut self) -> Vec<u8> {
        self.pool.borrow_mut().take()
    }

    /// Appends to a buffer that grows with what a peer sends, and will never hold more than `most` bytes. An empty one
    /// without memory comes from the pool. For layers that keep data between callbacks.
    ///
    /// # Errors
    /// The memory cannot be had. A peer decided how much it is, so it must not end the process: close this connection,
    /// with [`CloseCode::INTERNAL`](crate::CloseCode::INTERNAL).
    pub fn extend_buffer(&mut self, buffer: &mut Vec<u8>, bytes: &[u8], most: usize) -> Result<(), TryReserveError> {
        if buffer.capacity() == 0 {
            *buffer = self.take_buffer();
        }
        make_room(buffer, bytes.len(), most)?;
        buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// As [`extend_buffer`](Self::extend_buffer), for text.
    ///
    /// # Errors
    /// As [`extend_buffer`](Self::extend_buffer).
    pub fn extend_text(&mut self, buffer: &mut String, text: &str, most: usize) -> Result<(), TryReserveError> {
        if buffer.capacity() == 0 {
            // An empty buffer is valid UTF-8.
            *buffer = String::from_utf8(self.take_buffer()).unwrap_or_default();
        }
        make_room(buffer, text.len(), most)?;
        buffer.push_str(text);
        Ok(())
    }

    /// Returns a buffer to the loop's pool: one from [`take_buffer`](Self::take_buffer), or any
    /// other. The loop keeps as many as its limits allow, and frees the rest.
    pub fn give_buffer(&mut self, buffer: Vec<u8>) {
        self.pool.borrow_mut().give(buffer);
    }
}
