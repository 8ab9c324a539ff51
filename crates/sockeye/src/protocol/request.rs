//! The handshake request, as the filter sees it.

use sockeye_proto::handshake::origin::Origin;
use sockeye_proto::handshake::server::Offer;

use crate::sys::Address;

/// A handshake that waits for the protocol's [`Decision`](crate::Decision).
pub struct Request<'a> {
    pub(crate) offer: &'a Offer<'a>,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) peer: &'a Address,
    pub(crate) proxy: Option<&'a Address>,
}

impl<'a> Request<'a> {
    /// The path: percent-decoded once, without dot segments, starting with `/`.
    #[must_use]
    pub fn path(&self) -> &'a str {
        self.path
    }

    /// The query: what follows the `?` of the target, unchanged.
    #[must_use]
    pub fn query(&self) -> Option<&'a str> {
        self.query
    }

    /// The first header of that name (in any case), unchanged.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.offer.head.fields.get(name)
    }

    /// All headers, unchanged.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.offer.head.fields.iter()
    }

    /// The subprotocols that the client offers, in its order of preference.
    pub fn protocols(&self) -> impl Iterator<Item = &'a str> {
        self.offer.protocols()
    }

    /// The `Origin` header, when there is exactly one and it is readable text (RFC 6454 section 7).
    #[must_use]
    pub fn origin(&self) -> Option<&'a str> {
        match self.offer.origin() {
            Origin::One(origin) => Some(origin),
            Origin::Missing | Origin::Several => None,
        }
    }

    /// The address of the peer.
    #[must_use]
    pub fn peer(&self) -> &'a Address {
        self.peer
    }

    /// The address of the trusted proxy that the connection came through
    /// ([`Builder::proxy_protocol`](crate::Builder::proxy_protocol)), if there is one. Then
    /// [`peer`](Self::peer) is the client that the proxy named.
    #[must_use]
    pub fn proxy(&self) -> Option<&'a Address> {
        self.proxy
    }
}
