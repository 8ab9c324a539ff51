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

use std::error::Error;
use std::fmt;

use sockeye_proto::http::HeadError;
use sockeye_proto::limits::ProtocolLimits;

use self::http::Http;
use self::socks::Socks;
use super::proxy::{Proxy, ProxyKind};
use super::refusal::status;

mod http;
mod socks;

/// A negotiation with one proxy for one way. See the [module](self).
pub struct Negotiation {
    inner: Inner,
}

enum Inner {
    Http(Http),
    Socks(Socks),
}

/// How far a negotiation is. Complete on purpose.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete on purpose")]
pub enum Negotiated {
    /// More input is needed; all that was given is taken.
    More,
    /// The way is open. What is left of the input is the server's.
    Done,
}

impl Negotiation {
    pub(super) fn new(proxy: &Proxy, host: &str, port: u16, limits: &ProtocolLimits) -> Result<Self, ProxyFailure> {
        let credentials = proxy.credentials.as_ref();
        let inner = match proxy.kind {
            ProxyKind::Http => Inner::Http(Http::new(credentials, host, port, limits)?),
            ProxyKind::Socks => Inner::Socks(Socks::new(credentials, host, port)?),
        };
        Ok(Self { inner })
    }

    /// Appends to `out` what is said first. Once, before anything else.
    pub fn start(&self, out: &mut Vec<u8>) {
        match &self.inner {
            Inner::Http(http) => http.start(out),
            Inner::Socks(socks) => socks.start(out),
        }
    }

    /// Takes what belongs to the negotiation from the front of `input`, and appends what is to be said to `out`.
    ///
    /// # Errors
    /// The proxy refuses, or its answer is none. It is over then; feeding on gives the same again.
    pub fn feed(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<Negotiated, ProxyFailure> {
        match &mut self.inner {
            Inner::Http(http) => http.feed(input),
            Inner::Socks(socks) => socks.feed(input, out),
        }
    }
}

/// Only what is spoken: the rest holds credentials.
impl fmt::Debug for Negotiation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.inner {
            Inner::Http(_) => "Negotiation(http)",
            Inner::Socks(_) => "Negotiation(socks5)",
        })
    }
}

/// Why there is no way through a proxy.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ProxyFailure {
    /// The host cannot be named to it: longer than 255 bytes, or not a name or an address. Nothing was sent.
    Host,
    /// It answered with a status other than 2xx.
    Status(u16),
    /// Its answer is not HTTP.
    Head(HeadError),
    /// It sent more interim answers (1xx) than anybody needs.
    Interim,
    /// It speaks this version of SOCKS, or something else that begins with this byte.
    SocksVersion(u8),
    /// It takes none of the methods of authentication that it was offered: without, and with user and password if there
    /// are any.
    SocksMethods,
    /// It chose this method of authentication, which it was not offered.
    SocksMethod(u8),
    /// Its answer to user and password is of this version.
    SocksAuthVersion(u8),
    /// It does not take the user and the password.
    SocksAuth,
    /// It replied with this code other than 0 (RFC 1928 section 6).
    SocksReply(u8),
    /// It replied with an address of this unknown type.
    SocksAddress(u8),
}

impl ProxyFailure {
    /// Whether the same may come out otherwise a little later.
    pub(super) const fn may_pass(self) -> bool {
        match self {
            Self::Status(status) => matches!(status, 408 | 425 | 429 | 500..=599),
            // General failure; network unreachable, host unreachable, connection refused, TTL expired.
            Self::SocksReply(code) => matches!(code, 1 | 3..=6),
            _ => false,
        }
    }
}

impl fmt::Display for ProxyFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("the proxy cannot be asked for this host"),
            Self::Status(code) => write!(f, "the proxy answered {}", status(*code)),
            Self::Head(error) => write!(f, "the proxy's answer is not HTTP: {error}"),
            Self::Interim => f.write_str("the proxy answers without coming to an end"),
            Self::SocksVersion(b'H') => f.write_str("the proxy speaks HTTP instead of SOCKS 5"),
            Self::SocksVersion(version) => write!(f, "the proxy answered with version {version} instead of SOCKS 5"),
            Self::SocksMethods => f.write_str("the proxy wants another authentication"),
            Self::SocksMethod(method) => {
                write!(f, "the proxy chose authentication {method}, which it was not offered (RFC 1928 section 3)")
            }
            Self::SocksAuthVersion(version) => {
                write!(f, "the proxy answered the password with version {version} instead of 1 (RFC 1929 section 2)")
            }
            Self::SocksAuth => f.write_str("the proxy does not take the user and password"),
            Self::SocksReply(code) => write!(f, "the proxy failed to connect: {}", socks::reply(*code)),
            Self::SocksAddress(kind) => {
                write!(f, "the proxy replied with an address of type {kind} (RFC 1928 section 6)")
            }
        }
    }
}

impl Error for ProxyFailure {}

#[cfg(test)]
mod tests;
