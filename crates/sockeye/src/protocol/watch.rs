//! Descriptors that the program reads and writes itself when the loop reports readiness.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::protocol::{ConnId, EndpointMut, RawClose, RawClosed, RawClosedCx, RawCx};

/// The callbacks for descriptors that the program reads and writes itself: a library's socket, a
/// nested poller, a datagram socket whose senders matter, a listener. They are given to the loop
/// with [`EndpointMut::adopt`], as for a [`Raw`](crate::raw::Raw) endpoint, and the rules are the
/// same. If a library closes its descriptor itself, adopt a duplicate (`try_clone_to_owned`), and
/// close that when the library is done.
///
/// Readiness is level-triggered: [`readable`](Self::readable) is called again in the next turn
/// while there is something to read, so a callback may read as much or as little as it likes. The
/// descriptor is polled before each call, so calls are never spurious. A callback that reads
/// nothing keeps the loop spinning: other connections get their share, but a core is fully used. To
/// stop the calls for a while, use
/// [`ConnectionMut::pause_reading`](crate::protocol::ConnectionMut::pause_reading).
///
/// ```
/// use std::net::UdpSocket;
/// use std::os::fd::BorrowedFd;
///
/// use sockeye::Service;
/// use sockeye::raw::{RawClose, RawCx, Watcher};
///
/// /// Sends each datagram back to its sender.
/// struct Answer(UdpSocket);
///
/// impl Watcher for Answer {
///     type Session = ();
///
///     fn name(&self) -> &str {
///         "answer"
///     }
///
///     fn open(&mut self, _: &mut RawCx<'_>) {}
///
///     fn readable(&mut self, _: &mut RawCx<'_>, _: &mut (), _: BorrowedFd<'_>) -> Result<(), RawClose> {
///         let mut buffer = [0; 1500];
///         if let Ok((length, sender)) = self.0.recv_from(&mut buffer) {
///             let _ = self.0.send_to(&buffer[..length], sender);
///         }
///         Ok(())
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let socket = UdpSocket::bind("127.0.0.1:0")?;
/// let watched = socket.try_clone()?;
/// let mut builder = Service::builder();
/// let answer = builder.add_watcher(Answer(socket));
/// let mut service = builder.build()?;
/// service.control().endpoint(answer)?.adopt(watched);
/// # Ok(()) }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an endpoint of watched descriptors",
    label = "the trait `Watcher` is not implemented for it",
    note = "for descriptors that the loop reads and writes, implement `Raw` and use `Builder::raw`"
)]
pub trait Watcher: 'static {
    /// The state of one descriptor.
    type Session: 'static;

    /// The endpoint's name: a token, unique among all endpoints, WebSocket protocols included.
    fn name(&self) -> &str;

    /// The descriptor is being watched. Returns its session.
    fn open(&mut self, cx: &mut RawCx<'_>) -> Self::Session;

    /// There is something to read: data, connections to accept, an error, or the end of input.
    /// Called at most once a turn.
    ///
    /// At the end of input return `Err(RawClose::Normal)`. The end is reported once: if all input
    /// before it was read and this returns `Ok`, it is not called again.
    ///
    /// # Errors
    /// How to end it. The descriptor is closed; after [`RawClose::Reset`] the peer of a TCP
    /// connection sees a reset.
    fn readable(&mut self, cx: &mut RawCx<'_>, session: &mut Self::Session, fd: BorrowedFd<'_>)
    -> Result<(), RawClose>;

    /// There is room to write, after one of the `request_writable` calls. The call uses up the
    /// request; several requests before it count as one.
    ///
    /// # Errors
    /// As [`readable`](Self::readable).
    fn writable(
        &mut self,
        cx: &mut RawCx<'_>,
        session: &mut Self::Session,
        fd: BorrowedFd<'_>,
    ) -> Result<(), RawClose> {
        let _ = (cx, session, fd);
        Ok(())
    }

    /// It has ended: the program ended it, the service was drained or dropped, or the other end is
    /// gone ([`RawClosed::Peer`], [`RawClosed::Broken`]). The session is passed by value: no
    /// callback follows.
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
        let endpoint = self.name();
        tracing::warn!(%id, endpoint, %error, "adoption failed, and Watcher::adoption_failed is not implemented");
    }

    /// The timer set with [`ConnectionMut::set_timer`](crate::protocol::ConnectionMut::set_timer)
    /// has expired.
    ///
    /// # Errors
    /// As [`readable`](Self::readable).
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

    /// Called every [`interval`](Self::interval) while any descriptor of this endpoint is watched.
    /// Missed ticks are not repeated.
    fn tick(&mut self, own: &mut EndpointMut<'_>) {
        let _ = own;
    }
}
