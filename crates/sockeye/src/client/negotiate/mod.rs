//! Connecting through a proxy, without I/O: bytes in, bytes out.
//!
//! [`Proxy::negotiate`](crate::client::Proxy::negotiate) makes a [`Negotiation`]. [`start`](Negotiation::start) writes
//! the first request, and [`feed`](Negotiation::feed) takes the proxy's answers until it returns [`Negotiated::Done`].
//! From then on the bytes of the connection are the server's.
//!
//! ```
//! use sockeye::client::Proxy;
//! use sockeye::client::negotiate::Negotiated;
//! use sockeye::proto::limits::ProtocolLimits;
//!
//! let mut negotiation = Proxy::parse("proxy.example:3128")?.negotiate("example.com", 80, &ProtocolLimits::default())?;
//! let mut out = Vec::new();
//! negotiation.start(&mut out);
//! assert_eq!(out, b"CONNECT example.com:80 HTTP/1.1\r\nHost: example.com:80\r\n\r\n");
//! let mut input: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\nthe server's";
//! assert_eq!(negotiation.feed(&mut input, &mut out)?, Negotiated::Done);
//! assert_eq!(input, b"the server's");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// Before editing: the buffered input is bounded by the limits of a head or by the longest SOCKS reply; no byte after
// the answer is consumed; and the outcome does not depend on how the input was split.

mod http;
mod negotiation;
mod outcome;
mod socks;

pub use negotiation::Negotiation;
pub use outcome::{Negotiated, ProxyFailure};

#[cfg(test)]
mod tests;
