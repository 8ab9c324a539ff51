//! Connections without messages: bytes as they come.

use std::io;
use std::time::Duration;

use crate::protocol::{ConnId, EndpointMut, RawClose, RawClosed, RawClosedCx, RawCx};
use crate::transport::SocketWriter;

/// The callbacks for connections without WebSocket framing: those of a listener of
/// [`Builder::listen_raw`](crate::Builder::listen_raw), which speak the program's own TCP protocol, those that the
/// program makes with `EndpointMut::connect`, and descriptors that it gives to the loop with [`EndpointMut::adopt`].
///
/// The rules are those of [`Protocol`](crate::Protocol): one object for all connections, one
/// [`Session`](Self::Session) for each, callbacks that never nest, and writing only in
/// [`writable`](Self::writable), with a permission that is used up. The callbacks come in this
/// order: `open`, then any of `receive`, `writable` and `timer`, `ended` at most once and no
/// `receive` after it, then `closed`, exactly once, and nothing after it.
///
/// Returning `Err(end)` ends the connection that way; only `closed` follows.
/// [`ConnectionMut::close`](crate::protocol::ConnectionMut::close) does the same as
/// `Err(RawClose::Normal)`: the code is ignored. There is no keepalive, and the only deadlines are
/// those that the program sets with
/// [`ConnectionMut::set_timer`](crate::protocol::ConnectionMut::set_timer). To publish, use a
/// WebSocket protocol of the service ([`Commands::protocol`](crate::Commands::protocol)).
///
/// On anything but a TCP or Unix stream socket, each read and each write is one system call: a
/// datagram, the counter of an eventfd, a record of inotify. The loop does not interpret them. Lost
/// datagrams, in either direction, are not errors, and an empty one is delivered as such. The
/// hang-up of a terminal is the end of its input. Writing to a pipe without readers breaks it and
/// raises SIGPIPE, which Rust programs ignore from their start; a program that restores the default
/// action must not write to pipes here.
///
/// A panic in a callback is not caught: it unwinds through the loop.
///
/// ```
/// use sockeye::Service;
/// use sockeye::raw::{Raw, RawClose, RawCx, RawWritable};
///
/// /// Sends back what comes.
/// struct Echo;
///
/// impl Raw for Echo {
///     type Session = Vec<u8>;
///
///     fn name(&self) -> &str {
///         "echo"
///     }
///
///     fn open(&mut self, _: &mut RawCx<'_>) -> Vec<u8> {
///         Vec::new()
///     }
///
///     fn receive(&mut self, cx: &mut RawCx<'_>, kept: &mut Vec<u8>, bytes: &[u8]) -> Result<(), RawClose> {
///         kept.extend_from_slice(bytes);
///         cx.pause_reading(); // until this is sent: so what is kept is bounded
///         cx.request_writable();
///         Ok(())
///     }
///
///     fn writable(&mut self, cx: &mut RawCx<'_>, kept: &mut Vec<u8>, tx: RawWritable<'_>) -> Result<(), RawClose> {
///         tx.write(kept);
///         kept.clear();
///         cx.resume_reading();
///         Ok(())
///     }
/// }
///
/// # fn main() -> Result<(), sockeye::Error> {
/// let mut builder = Service::builder();
/// let echo = builder.add_raw(Echo);
/// let service = builder.listen_raw("127.0.0.1:0", echo).build()?;
/// # let _ = service;
/// # Ok(()) }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an endpoint of raw connections",
    label = "the trait `Raw` is not implemented for it",
    note = "for a WebSocket protocol, `messages::on` included: `Builder::protocol`; for a `Watcher`: `Builder::watcher`"
)]
pub trait Raw: 'static {
    /// The state of one connection.
    type Session: 'static;

    /// The endpoint's name: a token, unique among all endpoints, WebSocket protocols included.
    fn name(&self) -> &str;

    /// The connection is open. Returns its session. [`is_client`](crate::protocol::ConnectionMut::is_client) of `cx` is true
    /// for those that the endpoint made itself.
    fn open(&mut self, cx: &mut RawCx<'_>) -> Self::Session;

    /// The bytes of one read; empty only for an empty datagram or packet. On a stream the network
    /// decides where pieces are cut.
    ///
    /// # Errors
    /// How to end the connection.
    fn receive(&mut self, cx: &mut RawCx<'_>, session: &mut Self::Session, bytes: &[u8]) -> Result<(), RawClose>;

    /// The handshake that [`ConnectionMut::start_tls`](crate::protocol::ConnectionMut::start_tls) asked for is done. What is
    /// received from here on came sealed, and what is written leaves sealed. [`RawCx::tls`] says what was agreed on. Forget
    /// what was said in plain before.
    ///
    /// It is not called for connections that have TLS from their beginning: those are `open` only then.
    ///
    /// # Errors
    /// How to end the connection.
    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))))]
    fn secured(&mut self, cx: &mut RawCx<'_>, session: &mut Self::Session) -> Result<(), RawClose> {
        let _ = (cx, session);
        Ok(())
    }

    /// TLS failed on an open connection: in a handshake that
    /// [`ConnectionMut::start_tls`](crate::protocol::ConnectionMut::start_tls) asked for, or behind it. `closed` follows.
    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))))]
    fn tls_failed(&mut self, cx: &mut RawCx<'_>, session: &mut Self::Session, failure: &crate::tls::TlsFailure) {
        let _ = (cx, session, failure);
    }

    /// The peer has ended its sending side: it has closed the connection, or only its half of it. With `Ok` the program
    /// can go on writing, as long as the peer accepts it, until it ends the connection; `receive` is not called any more.
    /// The default ends the connection once all output is sent.
    ///
    /// If the program had ended its own side before, with
    /// [`shutdown_write`](crate::protocol::ConnectionMut::shutdown_write), the connection is over after this call.
    ///
    /// # Errors
    /// How to end the connection. [`RawClose::Normal`] is reported as [`RawClosed::Peer`].
    fn ended(&mut self, cx: &mut RawCx<'_>, session: &mut Self::Session) -> Result<(), RawClose> {
        let _ = (cx, session);
        Err(RawClose::Normal)
    }

    /// There is room for output, after one of the `request_writable` calls. The call uses up the
    /// request; several requests before it count as one.
    ///
    /// It is never called for a descriptor opened for reading only. The default writes nothing.
    ///
    /// # Errors
    /// How to end the connection.
    fn writable(
        &mut self,
        cx: &mut RawCx<'_>,
        session: &mut Self::Session,
        tx: RawWritable<'_>,
    ) -> Result<(), RawClose> {
        let _ = (cx, session, tx);
        Ok(())
    }

    /// What waits for the peer has fallen below [`Limits::output_low_water`](crate::Limits::output_low_water), after it
    /// had reached that; see [`ConnectionMut::queued_bytes`](crate::protocol::ConnectionMut::queued_bytes).
    ///
    /// # Errors
    /// How to end the connection.
    fn low_water(&mut self, cx: &mut RawCx<'_>, session: &mut Self::Session) -> Result<(), RawClose> {
        let _ = (cx, session);
        Ok(())
    }

    /// The connection has ended. The session is passed by value: no callback follows.
    fn closed(&mut self, cx: &mut RawClosedCx<'_>, session: Self::Session, ended: RawClosed) {
        let _ = (cx, session, ended);
    }

    /// A connection requested with [`connect`](EndpointMut::connect) failed. Each connect has exactly one outcome: this
    /// or [`open`](Self::open). The default logs a warning, unless the program itself cancelled it.
    #[cfg(feature = "client")]
    fn failed(&mut self, own: &mut EndpointMut<'_>, id: ConnId, failure: crate::client::Failure) {
        let _ = own;
        failure.warn_unheard(id);
    }

    /// An adoption failed with this error. Each adoption has exactly one outcome: this or
    /// [`open`](Self::open). The default logs a warning.
    fn adoption_failed(&mut self, own: &mut EndpointMut<'_>, id: ConnId, error: io::Error) {
        let _ = own;
        tracing::warn!(%id, endpoint = self.name(), %error, "adoption failed, and Raw::adoption_failed is not implemented");
    }

    /// The timer set with [`ConnectionMut::set_timer`](crate::protocol::ConnectionMut::set_timer)
    /// has expired.
    ///
    /// # Errors
    /// How to end the connection.
    fn timer(&mut self, cx: &mut RawCx<'_>, session: &mut Self::Session) -> Result<(), RawClose> {
        let _ = (cx, session);
        Ok(())
    }

    /// A timer set with [`EndpointMut::set_timer`] is due, with its token.
    fn own_timer(&mut self, own: &mut EndpointMut<'_>, token: u64) {
        let _ = (own, token);
    }

    /// How often [`tick`](Self::tick) is called; as [`Protocol::interval`](crate::Protocol::interval).
    fn interval(&self) -> Option<Duration> {
        None
    }

    /// Whether [`tick`](Self::tick) is called while no connection of this endpoint is open, too, from the start of the loop: an
    /// endpoint that makes its connections itself is woken by nothing else. Asked once, when the service is built.
    fn ticks_alone(&self) -> bool {
        false
    }

    /// Called every [`interval`](Self::interval) while any connection of this endpoint is open; without one,
    /// if it [ticks alone](Self::ticks_alone). Missed ticks are not repeated.
    fn tick(&mut self, own: &mut EndpointMut<'_>) {
        let _ = own;
    }
}

/// The permission to write once. Writing consumes it; [`RawAfterWrite::more`] gives it back while the peer keeps up.
#[must_use = "the permission is lost when it is dropped unused: ask for the writable callback again"]
pub struct RawWritable<'a> {
    port: &'a mut RawSendCx<'a>,
}

impl<'a> RawWritable<'a> {
    pub(crate) fn new(port: &'a mut RawSendCx<'a>) -> Self {
        Self { port }
    }

    /// Writes all of `bytes`: what the system does not accept at once waits in the connection's
    /// queue. An empty slice writes nothing.
    pub fn write(self, bytes: &[u8]) -> RawAfterWrite<'a> {
        let io = &mut *self.port.out.io;
        io.send_budget = io.send_budget.saturating_sub(bytes.len() + io.frame_cost);
        self.port.out.put_bytes(bytes);
        RawAfterWrite { port: self.port }
    }
}

/// Bytes were handed over: to the system, or to the connection's queue when that had no room.
pub struct RawAfterWrite<'a> {
    port: &'a mut RawSendCx<'a>,
}

impl<'a> RawAfterWrite<'a> {
    /// The permission for another write, while less than
    /// [`Limits::output_low_water`](crate::Limits::output_low_water) waits and this connection's
    /// share of the turn is not used up. When it is `None` and there is more to write, ask for the
    /// writable callback again.
    #[must_use]
    pub fn more(self) -> Option<RawWritable<'a>> {
        let io = &*self.port.out.io;
        (io.send_budget > 0 && self.port.out.socket.backlog_bytes() < io.low_water)
            .then_some(RawWritable { port: self.port })
    }
}

/// The output of one connection, borrowed by a permission for one callback.
pub(crate) struct RawSendCx<'a> {
    pub(crate) out: SocketWriter<'a>,
}
