//! What the views of connections and protocols can do with the feature `client`.

use std::os::fd::OwnedFd;

use crate::client::{Connect, RawConnect, Resolution, Retry};
use crate::id::{ConnId, Gone};
use crate::protocol::cx::ClosedCx;
use crate::protocol::views::{ConnectionMut, EndpointMut, ProtocolMut};
use crate::state::Commands;

impl Commands {
    /// Answers a look-up that the program's resolver left for later ([`Builder::resolver`](crate::Builder::resolver)).
    /// The connect goes on after the current callback. [`Resolution::later`] has no effect here.
    ///
    /// # Errors
    /// [`Gone`] when no look-up of that id waits: the connect was cancelled, its time has passed, or it was answered
    /// before.
    pub fn resolve(&mut self, id: ConnId, resolution: Resolution) -> Result<(), Gone> {
        self.connects.resolve(id, resolution)
    }
}

impl ProtocolMut<'_> {
    /// Connects to a server, for this protocol. The connect has exactly one outcome,
    /// [`open`](crate::Protocol::open) or [`failed`](crate::Protocol::failed), with the id that is
    /// returned here. Nothing blocks, and neither is called before the current callback has
    /// returned. While the service is being drained every connect fails; a connect after its end
    /// has no outcome.
    pub fn connect(&mut self, connect: Connect) -> ConnId {
        self.commands.push_connect(self.endpoint, connect)
    }

    /// As [`connect`](Self::connect), over a socket that the program has connected itself: a socket pair, a tunnel of its
    /// own, a descriptor that it inherited. It must be a connected TCP or Unix stream socket; otherwise the outcome is
    /// [`failed`](crate::Protocol::failed) with
    /// [`FailureCause::Descriptor`](crate::client::FailureCause::Descriptor).
    ///
    /// The URL names the server in the handshake, and nothing is looked up or connected: addresses, proxy and socket
    /// options of `connect` are not used. A redirect is a failure, and nothing follows the end of the connection, because
    /// there is one descriptor only.
    ///
    /// The loop owns the descriptor from here on, and closes it in the end; it becomes non-blocking and close-on-exec.
    ///
    /// ```
    /// use std::os::unix::net::UnixStream;
    ///
    /// use sockeye::{Connect, Service, messages};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut builder = Service::builder();
    /// let echo = builder.add_protocol(messages::echo("echo"));
    /// let mut service = builder.build()?;
    /// let (ours, theirs) = UnixStream::pair()?;
    /// // Both ends in one service, without a listener.
    /// service.control().serve(theirs)?;
    /// let connect = Connect::new("ws://localhost/")?.subprotocol("echo")?;
    /// service.control().protocol(echo)?.connect_over(ours, connect);
    /// # Ok(()) }
    /// ```
    pub fn connect_over(&mut self, fd: impl Into<OwnedFd>, connect: Connect) -> ConnId {
        self.commands.push_connect_over(self.endpoint, connect, fd.into())
    }
}

impl EndpointMut<'_> {
    /// Connects to a server, for this endpoint: a [`Raw`](crate::raw::Raw), whose connections the loop reads and writes,
    /// or a [`Watcher`](crate::raw::Watcher), where the program does. The connect has exactly one outcome,
    /// [`open`](crate::raw::Raw::open) or [`failed`](crate::raw::Raw::failed), with the id that is returned here. The
    /// rules are those of [`ProtocolMut::connect`], and closing the id cancels it likewise.
    ///
    /// ```
    /// use sockeye::Service;
    /// use sockeye::client::RawConnect;
    /// use sockeye::raw::{Raw, RawClose, RawCx, RawWritable};
    ///
    /// /// Asks a server for its banner.
    /// struct Banner;
    ///
    /// impl Raw for Banner {
    ///     type Session = ();
    ///
    ///     fn name(&self) -> &str {
    ///         "banner"
    ///     }
    ///
    ///     fn open(&mut self, cx: &mut RawCx<'_>) {
    ///         cx.request_writable();
    ///     }
    ///
    ///     fn writable(&mut self, _: &mut RawCx<'_>, _: &mut (), tx: RawWritable<'_>) -> Result<(), RawClose> {
    ///         tx.write(b"hello\n");
    ///         Ok(())
    ///     }
    ///
    ///     fn receive(&mut self, _: &mut RawCx<'_>, _: &mut (), bytes: &[u8]) -> Result<(), RawClose> {
    ///         println!("{}", bytes.escape_ascii());
    ///         Err(RawClose::Normal)
    ///     }
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut builder = Service::builder();
    /// let banner = builder.add_raw(Banner);
    /// let mut service = builder.build()?;
    /// let id = service.control().endpoint(banner)?.connect(RawConnect::new("mail.example.com:25")?);
    /// # let _ = id;
    /// # Ok(()) }
    /// ```
    pub fn connect(&mut self, connect: RawConnect) -> ConnId {
        self.commands.push_connect(self.endpoint, connect.into_connect())
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
