//! Descriptors that the program reads and writes itself: the loop says when.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::protocol::{ConnId, EndpointMut, RawClose, RawClosed, RawClosedCx, RawCx};

/// What an endpoint does with descriptors that it reads and writes itself: a library's own socket, a poller inside this
/// one, a datagram socket whose senders matter, a listener. They are given to the loop with
/// [`EndpointMut::adopt`], as for a [`Raw`](crate::raw::Raw) endpoint, and the rules are the same. A
/// library that closes its descriptor itself is watched by a duplicate (`try_clone_to_owned`), which is to be closed
/// when the library is done.
///
/// The loop tells of *levels*: [`readable`](Self::readable) comes again in the next turn for as long as there is
/// something to read, so a callback may take as much or as little as it likes. Before each call the descriptor is
/// asked, so that a call means what it says. One that takes nothing has the loop turn without a rest, which leaves the
/// others their share but takes all that a core has: who does not want to be called for now uses [`ConnectionMut::pause_reading`](crate::protocol::ConnectionMut::pause_reading).
///
/// ```
/// use std::net::UdpSocket;
/// use std::os::fd::BorrowedFd;
///
/// use sockeye::Service;
/// use sockeye::raw::{RawClose, RawCx, Watcher};
///
/// /// Answers whoever sends a datagram.
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
pub trait Watcher: 'static {
    /// What is kept for each descriptor.
    type Session: 'static;

    /// What the endpoint is called: a token, and no other endpoint's name, WebSocket protocols included.
    fn name(&self) -> &str;

    /// The descriptor is watched; what is returned is kept for it.
    fn open(&mut self, cx: &mut RawCx<'_>) -> Self::Session;

    /// There is something to read: data, connections to accept, an error, or the end of input. At most once a turn.
    ///
    /// Whoever finds the end of input says so with `Err(RawClose::Normal)`. It is not told twice: when all that came before
    /// was read and this returns `Ok`, it is not called again.
    ///
    /// # Errors
    /// How to end it. The descriptor is closed; [`RawClose::Reset`] has the peer of a TCP connection see a reset.
    fn readable(&mut self, cx: &mut RawCx<'_>, session: &mut Self::Session, fd: BorrowedFd<'_>)
    -> Result<(), RawClose>;

    /// There is room to write, and this was asked for by one of the `request_writable` calls. A request is used up by the
    /// call; several before it are one.
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

    /// It is over: the program ended it, the service was drained or dropped, or the other end is gone ([`RawClosed::Peer`],
    /// [`RawClosed::Broken`]). The session comes by value: nothing can follow.
    fn closed(&mut self, cx: &mut RawClosedCx<'_>, session: Self::Session, ended: RawClosed) {
        let _ = (cx, session, ended);
    }

    /// An adoption did not come about, and why. Each ends with exactly one of this and [`open`](Self::open). What is not defined
    /// logs a warning.
    fn failed(&mut self, own: &mut EndpointMut<'_>, id: ConnId, error: io::Error) {
        let _ = own;
        tracing::warn!(%id, endpoint = self.name(), %error, "not adopted; Watcher::failed, which would be told, is not implemented");
    }

    /// The moment asked for with [`ConnectionMut::set_timer`](crate::protocol::ConnectionMut::set_timer) is here.
    ///
    /// # Errors
    /// As [`readable`](Self::readable).
    fn timer(&mut self, cx: &mut RawCx<'_>, session: &mut Self::Session) -> Result<(), RawClose> {
        let _ = (cx, session);
        Ok(())
    }

    /// How often [`tick`](Self::tick) is called; as [`Protocol::interval`](crate::Protocol::interval).
    fn interval(&self) -> Option<Duration> {
        None
    }

    /// Called every [`interval`](Self::interval) while any descriptor of this endpoint is watched. Ticks that were missed are not
    /// made up for.
    fn tick(&mut self, own: &mut EndpointMut<'_>) {
        let _ = own;
    }
}
