//! Connections without messages: bytes as they come.

use std::io;
use std::time::Duration;

use crate::protocol::{ConnId, EndpointMut, RawClose, RawClosed, RawClosedCx, RawCx};
use crate::transport::SocketWriter;

/// What an endpoint does on connections whose bytes have no framing of ours: those of a listener of
/// [`Builder::listen_raw`](crate::Builder::listen_raw), which speak a TCP protocol of the program's own, and
/// descriptors that the program gives to the loop with [`EndpointMut::adopt`].
///
/// The rules are those of [`Protocol`](crate::Protocol): one object for all connections, one [`Session`](Self::Session) for
/// each, callbacks that never run inside one another, and writing only in [`writable`](Self::writable), by a permission that is
/// used up. The callbacks come in this order: `open`, then any of `receive`, `writable` and `timer`, `ended` at most once and
/// no `receive` after it, then `closed`, exactly once, and nothing after it.
///
/// Returning `Err(end)` ends the connection so; nothing but `closed` follows. [`ConnectionMut::close`](crate::protocol::ConnectionMut::close) does the same as
/// `Err(RawClose::Normal)`: the code means nothing here. There is no keepalive and no deadline but those that the program sets with
/// [`ConnectionMut::set_timer`](crate::protocol::ConnectionMut::set_timer). Publishing and connecting are for WebSockets:
/// [`Commands::protocol`](crate::Commands::protocol) finds one.
///
/// Of what is no TCP or Unix stream socket each read comes by itself, and each write is a call of its own: a datagram, a
/// number of an eventfd, a record of inotify. What they mean is not looked into. Datagrams that get lost, in either
/// direction, are no errors, and an empty one is received as such. The hang-up of a terminal is the end of its input. A
/// pipe that nobody reads any more breaks when it is written to, and raises SIGPIPE, which Rust programs ignore from
/// their start; a program that restores its default must not write to pipes here.
///
/// A callback that panics takes the loop with it: nothing is caught.
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
/// # Service::builder().raw(Echo).listen_raw("127.0.0.1:0", "echo").build().unwrap();
/// ```
pub trait Raw: 'static {
    /// What is kept for each connection.
    type Session: 'static;

    /// What the endpoint is called: a token, and no other endpoint's name, WebSocket protocols included.
    fn name(&self) -> &str;

    /// The connection is open; what is returned is kept for it.
    fn open(&mut self, cx: &mut RawCx<'_>) -> Self::Session;

    /// What one read brought; empty for an empty datagram or packet only. Of a stream the pieces are as the network cut them.
    ///
    /// # Errors
    /// How to end the connection.
    fn receive(&mut self, cx: &mut RawCx<'_>, session: &mut Self::Session, bytes: &[u8]) -> Result<(), RawClose>;

    /// The peer has ended its sending side. `Ok` goes on writing, for as long as the peer takes it; what is not defined ends
    /// the connection, once all that was written is sent.
    ///
    /// # Errors
    /// How to end the connection. [`RawClose::Normal`] is told as [`RawClosed::Peer`].
    fn ended(&mut self, cx: &mut RawCx<'_>, session: &mut Self::Session) -> Result<(), RawClose> {
        let _ = (cx, session);
        Err(RawClose::Normal)
    }

    /// There is room for output, and this was asked for by one of the `request_writable` calls. A request is used up by the
    /// call; several before it are one.
    ///
    /// It never comes for what was opened for reading only. What is not defined writes nothing.
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

    /// The connection is over. The session comes by value: nothing can follow.
    fn closed(&mut self, cx: &mut RawClosedCx<'_>, session: Self::Session, ended: RawClosed) {
        let _ = (cx, session, ended);
    }

    /// An adoption did not come about, and why. Each ends with exactly one of this and [`open`](Self::open). What is not defined
    /// logs a warning.
    fn failed(&mut self, own: &mut EndpointMut<'_>, id: ConnId, error: io::Error) {
        let _ = own;
        tracing::warn!(%id, endpoint = self.name(), %error, "not adopted; Raw::failed, which would be told, is not implemented");
    }

    /// The moment asked for with [`ConnectionMut::set_timer`](crate::protocol::ConnectionMut::set_timer) is here.
    ///
    /// # Errors
    /// How to end the connection.
    fn timer(&mut self, cx: &mut RawCx<'_>, session: &mut Self::Session) -> Result<(), RawClose> {
        let _ = (cx, session);
        Ok(())
    }

    /// How often [`tick`](Self::tick) is called; as [`Protocol::interval`](crate::Protocol::interval).
    fn interval(&self) -> Option<Duration> {
        None
    }

    /// Called every [`interval`](Self::interval) while any connection of this endpoint is open. Ticks that were missed are not
    /// made up for.
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

    /// Writes all of `bytes`: what the system does not take at once waits in the connection's queue. Nothing is written
    /// of no bytes.
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
    /// The permission for another write, while less than [`Limits::output_low_water`](crate::Limits::output_low_water) waits
    /// and this connection's share of the turn is not used up. When it is `None` and there is more to write, ask for the
    /// writable callback again.
    #[must_use]
    pub fn more(self) -> Option<RawWritable<'a>> {
        let io = &*self.port.out.io;
        (io.send_budget > 0 && self.port.out.socket.backlog_bytes() < io.low_water)
            .then_some(RawWritable { port: self.port })
    }
}

/// Where a permission leads: the connection's way out, for one callback.
pub(crate) struct RawSendCx<'a> {
    pub(crate) out: SocketWriter<'a>,
}
