//! Protocols at paths: the part of [`Builder`] that describes them.

use crate::protocol::{Protocol, ProtocolHandle};
use crate::service::builder::Builder;

impl Builder {
    /// Adds a protocol for the clients that ask for this path, with any subprotocols. A
    /// path that ends with a slash stands for everything below it too: `/rooms/` for `/rooms/` and
    /// `/rooms/a/b`, not for `/rooms`. The longest path that matches decides. Paths are given
    /// decoded; an encoded slash of a request separates nothing (`/rooms%2Fa` is not below `/rooms/`).
    ///
    /// A protocol with a path is reached by its paths only, and one without by the subprotocol that
    /// the client offers, at every path that no rule matches. If all protocols have paths, other
    /// paths are answered 404.
    ///
    /// The answer names a subprotocol only if the client offers the protocol's own name; the filter
    /// may choose another one ([`Decision::subprotocol`](crate::Decision::subprotocol)). A browser
    /// that offers subprotocols fails the connection if the answer names none.
    ///
    /// ```
    /// use sockeye::{Service, messages};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let builder = Service::builder()
    ///     .protocol_at("/echo", messages::echo("echo"))
    ///     .protocol_at("/rooms/", messages::on("room", |cx, message| Ok(cx.publish(message))));
    /// let service = builder.listen("127.0.0.1:0").build()?;
    /// # let _ = service;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn protocol_at(mut self, path: impl Into<String>, protocol: impl Protocol) -> Self {
        self.add_protocol_at(path, protocol);
        self
    }

    /// As [`protocol_at`](Self::protocol_at), and returns a handle for
    /// [`Commands::protocol`](crate::Commands::protocol).
    pub fn add_protocol_at<P: Protocol>(&mut self, path: impl Into<String>, protocol: P) -> ProtocolHandle<P> {
        let handle = self.add_protocol(protocol);
        self.add_path(path, handle);
        handle
    }

    /// A further path of a protocol that was added before. From then on it is reached by its paths only; see
    /// [`protocol_at`](Self::protocol_at).
    pub fn add_path<P>(&mut self, path: impl Into<String>, protocol: ProtocolHandle<P>) {
        self.push_path(path.into(), protocol.target);
    }
}
