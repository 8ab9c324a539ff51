//! The way through a proxy, without I/O: bytes in, bytes out.
//!
//! A [`Negotiation`] comes from [`Proxy::negotiate`]. [`start`](Negotiation::start) writes what is said first, and
//! [`feed`](Negotiation::feed) takes what the proxy answers until it is [`Negotiated::Done`]. From there on the connection
//! is the server's.
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
//!
//! Before editing: what is held is bounded by the limits of a head or by a reply of SOCKS; no byte behind the answer is
//! taken; and the outcome does not depend on how the input was cut.

mod http;
mod negotiation;
mod outcome;
mod socks;

pub use negotiation::Negotiation;
pub use outcome::{Negotiated, ProxyFailure};

#[cfg(test)]
mod tests;
