//! A negotiation with either kind of proxy.

use std::fmt;

use sockeye_proto::limits::ProtocolLimits;

use crate::client::negotiate::http::Http;
use crate::client::negotiate::outcome::{Negotiated, ProxyFailure};
use crate::client::negotiate::socks::Socks;
use crate::client::proxy::{Proxy, ProxyKind};

/// A negotiation with one proxy for one connection. See the [module](crate::client::negotiate).
pub struct Negotiation {
    inner: Inner,
}

enum Inner {
    Http(Http),
    Socks(Socks),
}

impl Proxy {
    /// A negotiation for a connection to `host`, a name or an address without brackets.
    ///
    /// # Errors
    /// `ProxyFailure::Host`: the host cannot be sent to this kind of proxy. Nothing is sent then.
    pub fn negotiate(&self, host: &str, port: u16, limits: &ProtocolLimits) -> Result<Negotiation, ProxyFailure> {
        let credentials = self.credentials.as_ref();
        let inner = match self.kind {
            // TLS is below it.
            ProxyKind::Http | ProxyKind::Https => Inner::Http(Http::new(credentials, host, port, limits)?),
            ProxyKind::Socks => Inner::Socks(Socks::new(credentials, host, port)?),
        };
        Ok(Negotiation { inner })
    }
}

impl Negotiation {
    /// Appends the first request to `out`. Call it once, before anything else.
    pub fn start(&self, out: &mut Vec<u8>) {
        match &self.inner {
            Inner::Http(http) => http.start(out),
            Inner::Socks(socks) => socks.start(out),
        }
    }

    /// Consumes what belongs to the negotiation from the front of `input`, and appends the next request to `out`.
    ///
    /// # Errors
    /// The proxy refuses, or its answer is invalid. The negotiation is over then, and further calls return the same
    /// error. The refusal of an HTTP proxy is known once its body is complete, which is kept up to
    /// [`response_body_bytes`](ProtocolLimits); see [`end`](Self::end).
    pub fn feed(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<Negotiated, ProxyFailure> {
        match &mut self.inner {
            Inner::Http(http) => http.feed(input),
            Inner::Socks(socks) => socks.feed(input, out),
        }
    }

    /// The proxy has closed the connection. Returns its refusal, if it had begun one, with as much of the body as came.
    pub fn end(&mut self) -> Option<ProxyFailure> {
        match &mut self.inner {
            Inner::Http(http) => http.end(),
            Inner::Socks(_) => None,
        }
    }

    /// The proxy is not waited for any longer, or the connection broke. Returns what [`end`](Self::end) does, with the
    /// body marked as [truncated](crate::client::Refusal::is_truncated).
    pub fn cut(&mut self) -> Option<ProxyFailure> {
        match &mut self.inner {
            Inner::Http(http) => http.cut(),
            Inner::Socks(_) => None,
        }
    }

    /// What [`start`](Self::start) appends, if that is HTTP.
    pub(crate) fn request_head(&self) -> Option<&[u8]> {
        match &self.inner {
            Inner::Http(http) => Some(http.request_head()),
            Inner::Socks(_) => None,
        }
    }

    /// The head of the answer as far as it has arrived; empty if it is not HTTP.
    pub(crate) fn response_head(&self) -> &[u8] {
        match &self.inner {
            Inner::Http(http) => http.response_head(),
            Inner::Socks(_) => &[],
        }
    }

    /// The memory of the answer, as far as it has arrived.
    pub(crate) fn held_bytes(&self) -> usize {
        match &self.inner {
            Inner::Http(http) => http.held_bytes(),
            Inner::Socks(_) => 0,
        }
    }
}

/// Shows only the protocol: the rest holds credentials.
impl fmt::Debug for Negotiation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.inner {
            Inner::Http(_) => "Negotiation(http)",
            Inner::Socks(_) => "Negotiation(socks5)",
        })
    }
}
