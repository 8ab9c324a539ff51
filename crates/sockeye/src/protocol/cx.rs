//! What a callback may ask for. Commands are written down here and carried out between callbacks.

use std::ops::{Deref, DerefMut};
use std::os::fd::OwnedFd;
use std::time::Duration;

use sockeye_proto::close::Close;
use sockeye_proto::time::Instant;

use crate::client::{Connect, Retry};
use crate::protocol::{ConnId, Gone, UnknownProtocol};
use crate::shared::{EndpointIndex, Shared};
use crate::sys::Address;

/// What may be asked of the loop, of any connection or none. It lives for one callback and cannot leave the thread.
pub struct Commands<'a> {
    pub(crate) shared: &'a mut Shared,
    pub(crate) endpoint: EndpointIndex,
    /// The bytes of the present read, in the callbacks that come after it was delivered.
    pub(crate) arrived: &'a [u8],
}

impl Commands<'_> {
    /// When this turn of the loop began, on the loop's monotonic clock.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.shared.now
    }

    /// How many connections the service has, of any kind.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.live.len()
    }

    /// Whether the connection is an open WebSocket, raw connection or watched descriptor.
    #[must_use]
    pub fn is_open(&self, id: ConnId) -> bool {
        self.shared.live.get(id).is_some_and(|live| live.is_open())
    }

    /// Asks for the writable callback of one connection: in this turn when its socket can take data, else when it can.
    ///
    /// # Errors
    /// [`Gone`] when the connection is over.
    pub fn request_writable_for(&mut self, id: ConnId) -> Result<(), Gone> {
        self.shared.want_write(id)
    }

    /// Asks for the writable callback of every connection of this protocol.
    pub fn request_writable_all(&mut self) {
        self.shared.want_write_all(self.endpoint);
    }

    /// Asks for the writable callback of every connection of another protocol or raw endpoint of the service.
    ///
    /// # Errors
    /// [`UnknownProtocol`] when the service has none of that name.
    pub fn request_writable_all_of(&mut self, protocol: &str) -> Result<(), UnknownProtocol> {
        let endpoint = UnknownProtocol::ANY.unless(self.shared, protocol)?;
        self.shared.want_write_all(endpoint);
        Ok(())
    }

    /// Stops delivering what one connection sends, until [`resume_for`](Self::resume_for). At most one read's worth is
    /// kept meanwhile; then the peer's own sending stalls.
    ///
    /// # Errors
    /// [`Gone`] when the connection is over.
    pub fn pause_for(&mut self, id: ConnId) -> Result<(), Gone> {
        self.shared.set_paused(id, true)
    }

    /// Goes on delivering what one connection sends.
    ///
    /// # Errors
    /// [`Gone`] when the connection is over.
    pub fn resume_for(&mut self, id: ConnId) -> Result<(), Gone> {
        self.shared.set_paused(id, false)
    }

    /// Connects to somewhere, for this protocol. The connect has exactly one outcome: [`open`](crate::Protocol::open), or
    /// [`failed`](crate::Protocol::failed), with the id that is returned here. Nothing blocks, and neither is called before
    /// this callback has returned. While the service is being drained every connect fails; what is wished for after its end
    /// has no outcome.
    pub fn connect(&mut self, connect: Connect) -> ConnId {
        self.shared.connect(self.endpoint, connect)
    }

    /// Connects to somewhere, for another protocol of the service, whose callbacks are told of the outcome; see
    /// [`connect`](Self::connect). From a [`Raw`](crate::Raw) endpoint this is the only way: for itself, every connect fails.
    ///
    /// # Errors
    /// [`UnknownProtocol`] when the service has no WebSocket protocol of that name.
    pub fn connect_as(&mut self, protocol: &str, connect: Connect) -> Result<ConnId, UnknownProtocol> {
        let endpoint = UnknownProtocol::WEBSOCKET.unless(self.shared, protocol)?;
        Ok(self.shared.connect(endpoint, connect))
    }

    /// Gives a descriptor to the loop: a pipe, a terminal, a socket that something else opened or accepted, a datagram
    /// socket, an eventfd, a timerfd, whatever can be watched. For a [`Raw`](crate::Raw) endpoint of that name the loop reads
    /// and writes it, for a [`Watcher`](crate::Watcher) endpoint the program does when the loop says so.
    ///
    /// `Ok` means that it was taken on. The adoption has exactly one outcome, [`open`](crate::Raw::open) or
    /// [`failed`](crate::Raw::failed), with the id that is returned here, and not before this callback has returned: implement
    /// `failed` to hear why it did not come about. What is wished for in the last callbacks of a service that ends has no
    /// outcome. It counts as a connection.
    ///
    /// The descriptor is the loop's from here on, and is closed in the end. It becomes non-blocking and ends with `exec`. The
    /// first of these is a matter of what was opened, and so of everybody who has it by another descriptor: a terminal that
    /// other programs use, too, is better opened anew, by its name.
    ///
    /// Fails, with a text that says so: regular files and directories, which are always ready; listeners, but for a `Watcher`;
    /// while the service ends, or has all the connections it may have.
    ///
    /// # Errors
    /// [`UnknownProtocol`] when the service has no such endpoint of that name; the descriptor is closed.
    pub fn adopt(&mut self, protocol: &str, fd: impl Into<OwnedFd>) -> Result<ConnId, UnknownProtocol> {
        let endpoint = UnknownProtocol::DESCRIPTOR.unless(self.shared, protocol)?;
        Ok(self.shared.adopt(endpoint, fd.into()))
    }

    /// Starts the closing handshake of one connection. A connect that has no outcome yet is cancelled. A raw connection ends
    /// as by [`RawClose::Normal`](crate::RawClose::Normal).
    ///
    /// # Errors
    /// [`Gone`] when the connection is over.
    pub fn close_for(&mut self, id: ConnId, close: impl Into<Close>) -> Result<(), Gone> {
        self.shared.close(id, close.into())
    }

    /// Sends a text message to every connection of this protocol, the own one included.
    ///
    /// It is framed once for all; what is published in one turn leaves in one send for each connection. A
    /// connection that has [`Limits::output_hard`](crate::Limits::output_hard) bytes waiting already is closed
    /// (cause [`Overflow`](sockeye_proto::close::Cause::Overflow)) instead of growing.
    pub fn publish_text(&mut self, text: &str) {
        self.shared.publish(self.endpoint, sockeye_proto::wire::MessageKind::Text, text.as_bytes());
    }

    /// Sends a text message to every connection of another protocol of the service; see [`publish_text`](Self::publish_text).
    ///
    /// # Errors
    /// [`UnknownProtocol`] when the service has no WebSocket protocol of that name.
    pub fn publish_text_to(&mut self, protocol: &str, text: &str) -> Result<(), UnknownProtocol> {
        let endpoint = UnknownProtocol::WEBSOCKET.unless(self.shared, protocol)?;
        self.shared.publish(endpoint, sockeye_proto::wire::MessageKind::Text, text.as_bytes());
        Ok(())
    }

    /// Sends a binary message to every connection of another protocol; see [`publish_text_to`](Self::publish_text_to).
    ///
    /// # Errors
    /// [`UnknownProtocol`] when the service has no WebSocket protocol of that name.
    pub fn publish_binary_to(&mut self, protocol: &str, payload: &[u8]) -> Result<(), UnknownProtocol> {
        let endpoint = UnknownProtocol::WEBSOCKET.unless(self.shared, protocol)?;
        self.shared.publish(endpoint, sockeye_proto::wire::MessageKind::Binary, payload);
        Ok(())
    }

    /// Sends a binary message to every connection of this protocol; see [`publish_text`](Self::publish_text).
    pub fn publish_binary(&mut self, payload: &[u8]) {
        self.shared.publish(self.endpoint, sockeye_proto::wire::MessageKind::Binary, payload);
    }

    /// Ends the service in good order: no new connections, 1001 to the open ones, and
    /// [`Service::run`](crate::Service::run) returns when they are gone.
    pub fn drain(&mut self) {
        self.shared.drain = true;
    }
}

/// What a callback is told of its connection, and what it may ask for. It lives for one callback and cannot leave the
/// thread.
pub struct Cx<'a> {
    pub(crate) wishes: Commands<'a>,
    pub(crate) id: ConnId,
    pub(crate) peer: &'a Address,
}

impl<'a> Deref for Cx<'a> {
    type Target = Commands<'a>;

    fn deref(&self) -> &Self::Target {
        &self.wishes
    }
}

impl DerefMut for Cx<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.wishes
    }
}

impl Cx<'_> {
    /// The connection's id, which may be kept.
    #[must_use]
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// The address of the peer; [`Address::Unnamed`] of what is no connected TCP or Unix socket.
    #[must_use]
    pub fn peer(&self) -> &Address {
        self.peer
    }

    /// Whether it is a connection of our own, asked for with [`connect`](Commands::connect), and not an accepted one.
    #[must_use]
    pub fn is_client(&self) -> bool {
        self.shared.live.get(self.id).is_some_and(|live| live.is_client())
    }

    /// In [`open`](crate::Protocol::open) of a connection of our own: the subprotocol that the server chose, one of
    /// those offered. `None` when it chose none, and in any other callback.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.shared.outgoing.chosen.as_deref()
    }

    /// In [`closed`](crate::Protocol::closed) of a connection that is kept up by a [`Reconnect`](crate::Reconnect) policy: the
    /// attempt that follows. To call it off, close its id.
    #[must_use]
    pub fn retry(&self) -> Option<Retry> {
        self.shared.outgoing.retry
    }

    /// Has no other attempt follow when this connection ends, whatever its [`Reconnect`](crate::Reconnect) policy says. In
    /// [`closed`](crate::Protocol::closed) it takes the attempt back that [`retry`](Self::retry) tells of, and nothing
    /// more is heard of that.
    pub fn stop_reconnecting(&mut self) {
        let id = self.id;
        self.shared.outgoing.release(id);
        if let Some(next) = self.shared.outgoing.take_back_retry() {
            self.shared.live.remove(next);
        }
    }

    /// Asks for the writable callback of this connection.
    pub fn request_writable(&mut self) {
        let id = self.id;
        // Gone is no news here: in `closed` there is nothing left to write to.
        let _ = self.shared.want_write(id);
    }

    /// Stops delivering what this connection sends; see [`Commands::pause_for`].
    pub fn pause_reading(&mut self) {
        let id = self.id;
        let _ = self.shared.set_paused(id, true);
    }

    /// Goes on delivering what this connection sends.
    pub fn resume_reading(&mut self) {
        let id = self.id;
        let _ = self.shared.set_paused(id, false);
    }

    /// Starts the closing handshake of this connection; a raw one ends as by [`RawClose::Normal`](crate::RawClose::Normal).
    pub fn close(&mut self, close: impl Into<Close>) {
        let id = self.id;
        let _ = self.shared.close(id, close.into());
    }

    /// Asks for [`Protocol::timer`](crate::Protocol::timer) once, after `delay`; it replaces the one asked for before.
    pub fn set_timer(&mut self, delay: Duration) {
        let at = self.now() + delay;
        let id = self.id;
        self.shared.timers.push((id, Some(at)));
    }

    /// Asks for no timer callback any more.
    pub fn clear_timer(&mut self) {
        let id = self.id;
        self.shared.timers.push((id, None));
    }
}
