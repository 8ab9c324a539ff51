//! Borrowed views of one connection, one protocol and one endpoint: the same in every callback and from outside.

use std::ops::{Deref, DerefMut};
use std::os::fd::OwnedFd;
use std::time::Duration;

use sockeye_proto::close::Close;
use sockeye_proto::conn::ControlPayload;
use sockeye_proto::event::AsPayload;
use sockeye_proto::wire::MessageKind;

use crate::limits::{Keepalive, LimitError, table};
use crate::protocol::{ConnId, PushError};
use crate::state::{Commands, ControlRequest, End, EndpointIndex, Entry};

/// One connection of the service. [`Commands::connection`] looks it up, and the context of each callback is one.
///
/// It dereferences to [`Commands`], so all commands to the service are available here. On a
/// connection that is still being opened only [`close`](Self::close) and [`abort`](Self::abort) have an effect.
///
/// ```
/// use sockeye::{CloseCode, Commands, ConnId};
///
/// fn send_away(commands: &mut Commands, id: ConnId) {
///     match commands.connection(id) {
///         Ok(mut connection) => connection.close(CloseCode::POLICY),
///         Err(gone) => println!("{id}: {gone}"),
///     }
/// }
/// ```
pub struct ConnectionMut<'a> {
    pub(crate) commands: &'a mut Commands,
    pub(crate) id: ConnId,
}

impl ConnectionMut<'_> {
    /// The connection's id, which may be kept.
    #[must_use]
    #[inline]
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// Whether this side made the connection ([`ProtocolMut::connect`], [`EndpointMut::connect`]), rather than accepted it.
    #[must_use]
    pub fn is_client(&self) -> bool {
        self.commands.registry.get(self.id).is_some_and(Entry::is_client)
    }

    /// Requests the writable callback of the connection: in this turn if its socket can accept
    /// data, else when it can.
    #[inline]
    pub fn request_writable(&mut self) {
        // One that has ended, or is not open yet, is not written to.
        let _ = self.commands.want_write(self.id);
    }

    /// Stops delivering input, until [`resume_reading`](Self::resume_reading). At most one read is
    /// kept meanwhile; then the peer's sending stalls.
    pub fn pause_reading(&mut self) {
        self.commands.set_paused(self.id, true);
    }

    /// Delivers input again.
    pub fn resume_reading(&mut self) {
        self.commands.set_paused(self.id, false);
    }

    /// Starts the closing handshake of a WebSocket. A connection of ours that is still being opened is
    /// cancelled: its outcome is [`failed`](crate::Protocol::failed). A raw connection ends as by
    /// [`RawClose::Normal`](crate::raw::RawClose::Normal); the code is ignored. An accepted connection that speaks HTTP
    /// still, or waits for its handshake, ends after the answer that has begun, if there is one.
    pub fn close(&mut self, close: impl Into<Close>) {
        self.commands.push_end(self.id, End::Close(close.into()));
    }

    /// Ends the connection at once, without the closing handshake: what waits is not sent, and the peer of a TCP
    /// connection sees a reset. `closed` follows, with cause [`Aborted`](sockeye_proto::close::Cause::Aborted) or
    /// [`RawClosed::Reset`](crate::raw::RawClosed::Reset). A connection that is still being opened is cancelled as by
    /// [`close`](Self::close).
    ///
    /// ```
    /// use sockeye::{Commands, ConnId};
    ///
    /// fn throw_out(commands: &mut Commands, id: ConnId) {
    ///     if let Ok(mut connection) = commands.connection(id) {
    ///         connection.abort(); // without a Close frame, and without time to answer one
    ///     }
    /// }
    /// ```
    pub fn abort(&mut self) {
        self.commands.push_end(self.id, End::Abort);
    }

    /// Ends our sending side of a raw connection, as shutdown(2) with `SHUT_WR` does: what was written leaves, then the peer
    /// sees the end of our output. `writable` is not called any more. Input is delivered as before, until the peer ends
    /// its side: after [`Raw::ended`](crate::raw::Raw::ended) the connection is over, whatever that returns. If the peer
    /// has ended its side already, it is over as soon as everything has left.
    ///
    /// Nothing limits how long the peer goes on: [`set_timer`](Self::set_timer) does.
    ///
    /// It needs a socket with connections. A descriptor that is open for writing only ends by it; on datagram sockets and
    /// terminals, on descriptors of a [`Watcher`](crate::raw::Watcher), and on WebSockets, which have the closing
    /// handshake, it has no effect.
    ///
    /// ```
    /// use sockeye::raw::{Raw, RawClose, RawCx, RawWritable};
    ///
    /// /// Asks one question, and reads the answer to its end.
    /// struct Finger;
    ///
    /// impl Raw for Finger {
    ///     type Session = Vec<u8>;
    ///
    ///     fn name(&self) -> &str {
    ///         "finger"
    ///     }
    ///
    ///     fn open(&mut self, cx: &mut RawCx<'_>) -> Vec<u8> {
    ///         cx.request_writable();
    ///         Vec::new()
    ///     }
    ///
    ///     fn writable(&mut self, cx: &mut RawCx<'_>, _: &mut Vec<u8>, tx: RawWritable<'_>) -> Result<(), RawClose> {
    ///         tx.write(b"joe\r\n");
    ///         cx.shutdown_write(); // that was all
    ///         Ok(())
    ///     }
    ///
    ///     fn receive(&mut self, _: &mut RawCx<'_>, answer: &mut Vec<u8>, bytes: &[u8]) -> Result<(), RawClose> {
    ///         answer.extend_from_slice(&bytes[..bytes.len().min(10_000 - answer.len())]);
    ///         Ok(())
    ///     }
    ///
    ///     fn ended(&mut self, _: &mut RawCx<'_>, answer: &mut Vec<u8>) -> Result<(), RawClose> {
    ///         println!("{}", answer.escape_ascii());
    ///         Ok(())
    ///     }
    /// }
    /// # sockeye::Service::builder().raw(Finger).build().unwrap();
    /// ```
    pub fn shutdown_write(&mut self) {
        self.commands.push_end(self.id, End::Output);
    }

    /// Sends a ping, in this turn if the socket takes data and before further messages. The peer's answer arrives in
    /// [`Protocol::pong`](crate::Protocol::pong).
    ///
    /// One ping can wait: a newer one replaces it. On a connection that is closing, or not a WebSocket, it has no
    /// effect.
    ///
    /// ```
    /// use sockeye::protocol::ConnectionMut;
    /// use sockeye::proto::conn::{ControlPayload, PayloadTooLong};
    ///
    /// fn measure(connection: &mut ConnectionMut<'_>, number: u64) -> Result<(), PayloadTooLong> {
    ///     connection.ping(ControlPayload::new(&number.to_be_bytes())?); // at most 125 bytes
    ///     Ok(())
    /// }
    /// ```
    pub fn ping(&mut self, payload: ControlPayload) {
        self.commands.queue.push_control(self.id, ControlRequest::Ping(payload));
    }

    /// Sends a pong that answers no ping, as [`ping`](Self::ping) sends a ping. RFC 6455 section 5.5.3: "A Pong frame
    /// MAY be sent unsolicited. This serves as a unidirectional heartbeat."
    ///
    /// If a pong waits already, for instance the answer to a ping, that one stays: it is a sign of life as well.
    pub fn pong(&mut self, payload: ControlPayload) {
        self.commands.queue.push_control(self.id, ControlRequest::Pong(payload));
    }

    /// Gives this WebSocket a keepalive of its own, instead of that of
    /// [`Limits::protocol`](crate::Limits::protocol). The silence that has passed counts, so a ping may be due at once.
    pub fn set_keepalive(&mut self, keepalive: Keepalive) {
        self.commands.queue.push_control(self.id, ControlRequest::SetKeepalive(keepalive));
    }

    /// The peer is known to be alive, though nothing arrived on this connection: keepalive counts its silence from now.
    /// For programs that hear of a peer elsewhere, for instance in a datagram.
    pub fn note_alive(&mut self) {
        self.commands.queue.push_control(self.id, ControlRequest::NoteAlive);
    }

    /// The name of its protocol or endpoint; `None` while that is not decided, as before the handshake.
    #[must_use]
    pub fn protocol_name(&self) -> Option<&str> {
        let entry = self.commands.registry.get(self.id)?;
        Some(self.commands.name_of(entry.endpoint)).filter(|name| !name.is_empty())
    }

    /// How many bytes wait for the connection: what its socket did not take by the end of its last step, and what was
    /// [pushed](Self::push) since. Messages in an [outbox](crate::messages::Outbox) are not among them.
    ///
    /// [`Protocol::low_water`](crate::Protocol::low_water) is called when they become few.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.commands.queued_bytes(self.id)
    }

    /// Sends a message to this connection, from anywhere: the answer of a worker thread, a message of one member to
    /// another. It leaves with what is published, at the end of the turn, and in the order of both and of what an
    /// [outbox](crate::messages::Outbox) holds: see [`ProtocolMut::publish_text`]. The message is text
    /// (`&str`, `String`), bytes, a [`Message`](crate::messages::Message) or a [`Payload`](crate::Payload), borrowed or owned
    /// ([`AsPayload`]). What arrived as text was checked then, so a relay checks nothing again.
    ///
    /// Unlike a published message it never closes a connection that reads too slowly. Accepted means queued: a connection
    /// that ends does not send what waits.
    ///
    /// ```
    /// use sockeye::protocol::{Commands, ConnId, PushError};
    ///
    /// fn whisper(commands: &mut Commands, to: ConnId, text: &str) {
    ///     match commands.connection(to).map(|mut connection| connection.push(text)) {
    ///         Ok(Ok(())) => {}
    ///         Ok(Err(PushError::Full)) => println!("{to} reads too slowly"),
    ///         Ok(Err(error)) => println!("{to}: {error}"),
    ///         Err(gone) => println!("{to}: {gone}"),
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// [`PushError::Full`] when [`Limits::output_hard`](crate::Limits::output_hard) would be exceeded by what waits for
    /// it; a longer message is accepted if nothing else does. [`PushError::NotOpen`] when the connection is not an open
    /// WebSocket. Nothing is sent then.
    pub fn push(&mut self, message: impl AsPayload) -> Result<(), PushError> {
        let message = message.as_payload();
        match self.commands.push_message(self.id, message.kind(), message.as_bytes()) {
            Ok(true) => Ok(()),
            Ok(false) => Err(PushError::Full),
            Err(_) => Err(PushError::NotOpen),
        }
    }

    /// Calls [`Protocol::timer`](crate::Protocol::timer) once, after `delay`. It replaces the timer
    /// that was set before.
    pub fn set_timer(&mut self, delay: Duration) {
        let at = self.commands.now() + delay;
        self.commands.queue.push_timer(self.id, Some(at));
    }

    /// Clears the timer.
    pub fn clear_timer(&mut self) {
        self.commands.queue.push_timer(self.id, None);
    }

    /// Sets the largest message in bytes that this connection receives, from its next frame on: a client that has logged in
    /// may send more than a stranger. It replaces [`Protocol::limits`](crate::Protocol::limits) and the service's limit.
    /// Connections with the same limit share the memory for it.
    ///
    /// # Errors
    /// Less than 1 byte, or more than 4 EiB.
    pub fn set_message_bytes(&mut self, bytes: u64) -> Result<(), LimitError> {
        table::message_bytes().check_number(bytes)?;
        self.commands.queue.push_message_bytes(self.id, bytes);
        Ok(())
    }

    /// Says how many bytes the protocol holds for this connection at the moment, in its session or elsewhere. They count
    /// towards [`Limits::total_bytes`](crate::Limits::total_bytes), and a message of which something is held must go on
    /// ([`Limits::slow_sender_bytes`](crate::Limits::slow_sender_bytes)). It is 0 at first, and again once the connection
    /// has ended. [`messages`](crate::messages) says it for what it collects and queues.
    pub fn set_held_bytes(&mut self, bytes: usize) {
        let commands = &mut *self.commands;
        if commands.registry.get(self.id).is_some_and(Entry::is_open) {
            commands.holdings.set(self.id, bytes, &commands.account, commands.now);
        }
    }
}

impl Deref for ConnectionMut<'_> {
    type Target = Commands;

    #[inline]
    fn deref(&self) -> &Commands {
        self.commands
    }
}

impl DerefMut for ConnectionMut<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Commands {
        self.commands
    }
}

/// One WebSocket protocol of the service, with all its connections. [`Commands::protocol`] looks it up by its handle,
/// [`Commands::protocol_named`] by its name, and [`Cx::own_protocol`](crate::Cx::own_protocol) is that of the callback.
///
/// It dereferences to [`Commands`].
///
/// ```
/// use sockeye::{Service, messages};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut service = Service::builder().protocol(messages::echo("chat")).build()?;
/// service.control().protocol_named("chat")?.publish_text("hello");
/// # Ok(()) }
/// ```
pub struct ProtocolMut<'a> {
    pub(crate) commands: &'a mut Commands,
    pub(crate) endpoint: EndpointIndex,
}

impl ProtocolMut<'_> {
    /// The name of the protocol.
    #[must_use]
    pub fn name(&self) -> &str {
        self.commands.name_of(self.endpoint)
    }

    /// The open connections of the protocol. The call looks at all connections of the service and copies the ids, so the
    /// connections can be looked up and ended while the list is walked.
    ///
    /// ```
    /// use sockeye::protocol::ProtocolMut;
    ///
    /// fn rest(own: &mut ProtocolMut<'_>) {
    ///     for id in own.connection_ids() {
    ///         if let Ok(mut connection) = own.connection(id) {
    ///             connection.pause_reading();
    ///         }
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn connection_ids(&self) -> Vec<ConnId> {
        self.commands.registry.open_ids(|endpoint| endpoint == self.endpoint)
    }

    /// Sets a timer that belongs to no connection: [`own_timer`](crate::Protocol::own_timer) is called once, with this token,
    /// after `delay`. It replaces the timer with the same token, if one is set; others are independent. It fires even if no
    /// connection is open, unlike [`tick`](crate::Protocol::tick), and counts for the service's
    /// [next deadline](crate::Service::next_deadline). A drain does not wait for it.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use sockeye::protocol::ProtocolMut;
    ///
    /// const SAVE: u64 = 1;
    ///
    /// fn changed(own: &mut ProtocolMut<'_>) {
    ///     own.set_timer(SAVE, Duration::from_secs(10)); // after ten seconds without another change
    /// }
    /// ```
    pub fn set_timer(&mut self, token: u64, delay: Duration) {
        let at = self.commands.now() + delay;
        self.commands.own_timers.set(self.endpoint, token, at);
    }

    /// Clears the timer with this token.
    pub fn clear_timer(&mut self, token: u64) {
        self.commands.own_timers.clear(self.endpoint, token);
    }

    /// Requests the writable callback of every connection of the protocol.
    pub fn request_writable(&mut self) {
        self.commands.want_write_all(self.endpoint);
    }

    /// Sends a text message to every connection of the protocol.
    ///
    /// **Order.** What a program did first arrives first: at every connection a published message arrives before what is sent,
    /// published, [pushed](ConnectionMut::push) or closed after it, also from elsewhere, and after all that was pushed before it,
    /// also if that still waits in an [outbox](crate::messages::Outbox). Protocols without that layer send in their writable
    /// callbacks, so what they have not sent yet comes later. It waits for the end of a
    /// fragmented message that the connection has begun; if that never ends, it is lost, as by [`abort`](ConnectionMut::abort).
    ///
    /// Messages published in one turn leave in one send for each connection. A connection that has
    /// [`Limits::output_hard`](crate::Limits::output_hard) bytes waiting already is closed (cause
    /// [`Overflow`](sockeye_proto::close::Cause::Overflow)) instead of growing.
    pub fn publish_text(&mut self, text: &str) {
        self.publish(MessageKind::Text, text.as_bytes());
    }

    /// Sends a binary message to every connection of the protocol; see [`publish_text`](Self::publish_text).
    pub fn publish_binary(&mut self, payload: &[u8]) {
        self.publish(MessageKind::Binary, payload);
    }

    /// Text must be valid UTF-8.
    pub(crate) fn publish(&self, kind: MessageKind, payload: &[u8]) {
        self.commands.push_publish(self.endpoint, kind, payload);
    }
}

impl Deref for ProtocolMut<'_> {
    type Target = Commands;

    #[inline]
    fn deref(&self) -> &Commands {
        self.commands
    }
}

impl DerefMut for ProtocolMut<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Commands {
        self.commands
    }
}

/// One [`Raw`](crate::raw::Raw) or [`Watcher`](crate::raw::Watcher) endpoint of the service, with all its connections.
/// [`Commands::endpoint`] looks it up by its handle, [`Commands::endpoint_named`] by its name, and
/// [`RawCx::own_endpoint`](crate::raw::RawCx::own_endpoint) is that of the callback.
///
/// It dereferences to [`Commands`].
///
/// ```
/// use sockeye::raw::EndpointMut;
///
/// fn cut_off(endpoint: &mut EndpointMut<'_>) {
///     for id in endpoint.connection_ids() {
///         if let Ok(mut connection) = endpoint.connection(id) {
///             connection.abort();
///         }
///     }
/// }
/// # let _ = cut_off;
/// ```
pub struct EndpointMut<'a> {
    pub(crate) commands: &'a mut Commands,
    pub(crate) endpoint: EndpointIndex,
}

impl EndpointMut<'_> {
    /// The name of the endpoint.
    #[must_use]
    pub fn name(&self) -> &str {
        self.commands.name_of(self.endpoint)
    }

    /// The open connections of the endpoint; see [`ProtocolMut::connection_ids`].
    #[must_use]
    pub fn connection_ids(&self) -> Vec<ConnId> {
        self.commands.registry.open_ids(|endpoint| endpoint == self.endpoint)
    }

    /// Sets a timer that belongs to no connection, as [`ProtocolMut::set_timer`] does for a protocol: it calls
    /// [`Raw::own_timer`](crate::raw::Raw::own_timer) or [`Watcher::own_timer`](crate::raw::Watcher::own_timer).
    pub fn set_timer(&mut self, token: u64, delay: Duration) {
        let at = self.commands.now() + delay;
        self.commands.own_timers.set(self.endpoint, token, at);
    }

    /// Clears the timer with this token.
    pub fn clear_timer(&mut self, token: u64) {
        self.commands.own_timers.clear(self.endpoint, token);
    }

    /// Requests the writable callback of every connection of the endpoint.
    pub fn request_writable(&mut self) {
        self.commands.want_write_all(self.endpoint);
    }

    /// Gives a descriptor to the loop: a pipe, a terminal, a socket opened or accepted elsewhere, a
    /// datagram socket, an eventfd, a timerfd, anything that can be polled. For a
    /// [`Raw`](crate::raw::Raw) endpoint the loop reads and writes it. For a
    /// [`Watcher`](crate::raw::Watcher) endpoint the program does, when the loop reports readiness.
    ///
    /// The adoption has exactly one outcome, [`open`](crate::raw::Raw::open) or
    /// [`adoption_failed`](crate::raw::Raw::adoption_failed), with the id that is returned here, and not before the
    /// current callback has returned. Implement `adoption_failed` to learn why it failed. An adoption
    /// requested in the last callbacks of a service has no outcome. An adopted descriptor counts as
    /// a connection.
    ///
    /// The loop owns the descriptor from here on and closes it in the end. It becomes non-blocking
    /// and close-on-exec. Non-blocking is a property of the open file description, so every
    /// duplicate of the descriptor is affected: reopen a terminal that other programs use, by its
    /// name.
    ///
    /// These adoptions fail, with an explanation: regular files and directories, which are always
    /// ready; listeners, unless for a `Watcher`; and all while the service ends or is at its limit
    /// of connections.
    ///
    /// ```
    /// # use std::os::fd::BorrowedFd;
    /// use sockeye::Service;
    /// use sockeye::raw::{RawClose, RawCx, Watcher};
    ///
    /// # struct Reader;
    /// # impl Watcher for Reader {
    /// #     type Session = ();
    /// #     fn name(&self) -> &str { "reader" }
    /// #     fn open(&mut self, _: &mut RawCx<'_>) {}
    /// #     fn readable(&mut self, _: &mut RawCx<'_>, _: &mut (), _: BorrowedFd<'_>) -> Result<(), RawClose> { Ok(()) }
    /// # }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut builder = Service::builder();
    /// let reader = builder.add_watcher(Reader);
    /// let mut service = builder.build()?;
    /// let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    /// let id = service.control().endpoint(reader)?.adopt(socket);
    /// # let _ = id;
    /// # Ok(()) }
    /// ```
    pub fn adopt(&mut self, fd: impl Into<OwnedFd>) -> ConnId {
        self.commands.push_adoption(self.endpoint, fd.into())
    }
}

impl Deref for EndpointMut<'_> {
    type Target = Commands;

    #[inline]
    fn deref(&self) -> &Commands {
        self.commands
    }
}

impl DerefMut for EndpointMut<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Commands {
        self.commands
    }
}
