//! Raw TCP connections and other descriptors: what is not a WebSocket, in the same loop.
//!
//! A [`Raw`] endpoint has connections whose bytes are a protocol of the program's own: those of a listener
//! ([`Builder::listen_raw`](crate::Builder::listen_raw)), those that it makes (`EndpointMut::connect`), and descriptors that it [adopts](EndpointMut::adopt), such as pipes,
//! terminals and datagram sockets. The loop reads and writes them. A [`Watcher`] endpoint has descriptors that the program reads
//! and writes itself, when the loop says so: a library's own socket, a poller, a listener.
//!
//! The rules are those of [`Protocol`](crate::Protocol): one object for all connections of an endpoint, a session for each, a
//! [context](RawCx) that lives for one callback, and writing only with the permission that the writable callback is given.
//!
//! A callback has the session of its own connection and of no other. What is for another one is kept in the endpoint, by
//! its id; `cx.connection(id)?.request_writable()` then calls the other's `writable`, which takes it. In an endpoint that
//! both listens and connects, `cx.is_client()` tells the two directions apart.
//!
//! ```
//! use sockeye::Service;
//! use sockeye::raw::{Raw, RawClose, RawCx};
//!
//! /// Prints what comes.
//! struct Print;
//!
//! impl Raw for Print {
//!     type Session = ();
//!
//!     fn name(&self) -> &str {
//!         "print"
//!     }
//!
//!     fn open(&mut self, cx: &mut RawCx<'_>) {
//!         println!("{} from {}", cx.id(), cx.peer());
//!     }
//!
//!     fn receive(&mut self, _: &mut RawCx<'_>, _: &mut (), bytes: &[u8]) -> Result<(), RawClose> {
//!         println!("{}", bytes.escape_ascii());
//!         Ok(())
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut builder = Service::builder();
//! let print = builder.add_raw(Print);
//! let mut service = builder.build()?;
//! let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
//! service.control().endpoint(print)?.adopt(theirs);
//! # drop(ours);
//! # Ok(()) }
//! ```

pub use crate::protocol::cx::{RawClosedCx, RawCx};
pub use crate::protocol::end::{RawClose, RawClosed};
pub use crate::protocol::handle::EndpointHandle;
pub use crate::protocol::raw::{Raw, RawAfterWrite, RawWritable};
pub use crate::protocol::views::EndpointMut;
pub use crate::protocol::watch::Watcher;
