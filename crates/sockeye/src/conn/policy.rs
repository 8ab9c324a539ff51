//! Who is served what: addresses, hosts, origins, protocols, plain requests.

use std::sync::Arc;

use sockeye_proto::handshake::origin::{AllowedOrigins, InvalidOrigin};
use sockeye_proto::handshake::server::Offer;
use sockeye_proto::handshake::{ApiMisuse, host};
use sockeye_proto::http::RequestHead;

use crate::conn::network::PeerSet;
use crate::http::{HttpRequest, Response, Routes};
use crate::shared::{EndpointIndex, EndpointKind, Named};
use crate::sys::Address;

/// The pages that may connect (RFC 6455 section 10.2): an exact list of origins, and whether a client that names none,
/// as programs that are not browsers do, may too.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let origins = sockeye::Origins::only(["https://example.com"])?.or_missing();
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Origins {
    list: Option<AllowedOrigins>,
}

impl Origins {
    /// Any origin, or none: for services that need no protection from other sites' pages. This is the default.
    #[must_use]
    pub fn any() -> Self {
        Self { list: None }
    }

    /// Only these: scheme, host and port must be the same.
    ///
    /// # Errors
    /// A text that is not an origin, such as one with a path.
    pub fn only<O: AsRef<str>>(origins: impl IntoIterator<Item = O>) -> Result<Self, InvalidOrigin> {
        let mut list = AllowedOrigins::new();
        for origin in origins {
            list.add(origin.as_ref())?;
        }
        list.allow_missing(false);
        Ok(Self { list: Some(list) })
    }

    /// Clients that name no origin may connect too.
    #[must_use]
    pub fn or_missing(mut self) -> Self {
        if let Some(list) = &mut self.list {
            list.allow_missing(true);
        }
        self
    }
}

/// A filter of peers, by address.
pub(crate) type AddressFilter = Box<dyn FnMut(&Address) -> bool>;

/// The service's answers to "may they?" and "what do they get?".
pub(crate) struct Policy {
    pub(crate) origins: Origins,
    pub(crate) hosts: Option<host::AllowedHosts>,
    pub(crate) addresses: Option<AddressFilter>,
    /// Peers that say in a PROXY header for whom they connect.
    pub(crate) proxies: Vec<PeerSet>,
    /// `None`: nothing but WebSocket is served.
    pub(crate) routes: Option<Routes>,
    /// The endpoints, by index.
    pub(crate) names: Arc<[Named]>,
    /// Takes any subprotocol and none.
    pub(crate) fallback: Option<EndpointIndex>,
    pub(crate) draining: bool,
}

impl Policy {
    /// Whether a peer of that address may connect.
    pub(crate) fn admits(&mut self, peer: &Address) -> bool {
        self.addresses.as_mut().is_none_or(|filter| filter(peer))
    }

    /// Whether a peer is a proxy that is trusted to say for whom it connects.
    pub(crate) fn trusts(&self, peer: &Address) -> bool {
        self.proxies.iter().any(|network| network.contains(peer))
    }

    /// Whether the host that the request names is one of ours.
    pub(crate) fn serves_host(&self, head: &RequestHead<'_>) -> bool {
        self.hosts.as_ref().is_none_or(|hosts| head.host().is_some_and(|host| hosts.allows(host)))
    }

    pub(crate) fn admits_origin(&self, offer: &Offer<'_>) -> bool {
        self.origins.list.as_ref().is_none_or(|list| list.admits(offer.origin()))
    }

    /// The endpoint for an offer, and the subprotocol to name: the first that the client wants and we speak
    /// (RFC 6455 section 4.2.2 point 4). A client that names none gets the fallback, else the first protocol.
    pub(crate) fn choose<'o>(&self, offer: &Offer<'o>) -> Option<(EndpointIndex, Option<&'o str>)> {
        let mut wanted = None;
        let is_websocket = |own: &Named| own.kind == EndpointKind::WebSocket;
        for name in offer.protocols() {
            if let Some(index) = self.names.iter().position(|own| own.name == name && is_websocket(own)) {
                return Some((EndpointIndex(index as u16), Some(name)));
            }
            wanted = wanted.or(Some(name));
        }
        match (self.fallback, wanted) {
            (Some(fallback), wanted) => Some((fallback, wanted)),
            (None, None) => Some((EndpointIndex(self.names.iter().position(is_websocket)? as u16), None)),
            (None, Some(_)) => None,
        }
    }

    /// The answer to a plain request; `None` when only WebSocket is served.
    pub(crate) fn respond(&mut self, request: &HttpRequest<'_>) -> Option<Response> {
        self.routes.as_mut().map(|routes| routes.dispatch(request))
    }
}

/// A host name for [`Builder::hosts`](crate::Builder::hosts) that is none.
pub(crate) fn host_list<H: AsRef<str>>(hosts: impl IntoIterator<Item = H>) -> Result<host::AllowedHosts, ApiMisuse> {
    let mut list = host::AllowedHosts::new();
    for host in hosts {
        list.add(host.as_ref())?;
    }
    Ok(list)
}
