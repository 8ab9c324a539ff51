//! Policy: which hosts and origins a listener serves, and with which protocols and routes.

use std::borrow::Cow;
use std::cell::RefCell;
use std::mem;
use std::rc::Rc;
use std::sync::Arc;

use sockeye_proto::handshake::origin::Origin;
use sockeye_proto::handshake::server::Offer;
use sockeye_proto::http::RequestHead;
use sockeye_proto::http::target::{TargetPath, is_authority};

use crate::admission::{Hosts, Origins};
use crate::conn::paths::Paths;
use crate::http::access::beginning;
use crate::http::{Response, Routes};
use crate::id::ListenerHandle;
use crate::state::{EndpointIndex, EndpointInfo};
use crate::sys::Address;
use crate::tls::ServerTls;

/// Where an accepted connection begins.
#[derive(Clone)]
pub(crate) enum Entrance {
    /// With HTTP.
    Http(Rc<Site>),
    /// At a raw endpoint.
    Raw { endpoint: EndpointIndex, listener: ListenerHandle },
    /// With the handshake of TLS.
    #[cfg_attr(not(any(feature = "tls-aws-lc", feature = "tls-ring")), expect(dead_code, reason = "there is no TLS"))]
    Secured(Rc<Secured>),
}

/// A listener of TLS.
pub(crate) struct Secured {
    pub(crate) tls: ServerTls,
    /// Where its connections begin after the handshake.
    pub(crate) then: Entrance,
}

impl Entrance {
    /// The listener that accepted the connection, if one did.
    pub(super) fn listener(&self) -> Option<ListenerHandle> {
        match self {
            Self::Http(site) => site.listener,
            Self::Raw { listener, .. } => Some(*listener),
            Self::Secured(secured) => secured.then.listener(),
        }
    }
}

/// A listener's answers to "may they?" and "what do they get?". Its connections share it while they speak HTTP, so it outlives
/// a listener that was closed.
#[derive(Clone)]
pub(crate) struct Site {
    /// `None`: the service's own, for connections that no listener accepted.
    pub(crate) listener: Option<ListenerHandle>,
    pub(crate) origins: Origins,
    pub(crate) hosts: Hosts,
    /// `None`: nothing but WebSocket is served. Shared by the listeners that have none of their own.
    pub(crate) routes: Rc<RefCell<Option<Routes>>>,
    pub(crate) protocols: Protocols,
    pub(crate) refused: Rc<RefCell<FirstRefusals>>,
}

/// How a connection came: what a request that follows on it still has to know.
#[derive(Clone)]
pub(super) struct Via {
    pub(super) site: Rc<Site>,
    /// The trusted proxy that the connection came through.
    pub(super) proxy: Option<Box<Address>>,
}

/// The protocols of a listener.
#[derive(Clone)]
pub(crate) struct Protocols {
    pub(crate) paths: Rc<Paths>,
    /// Those that are chosen by subprotocol.
    pub(crate) named: Rc<[EndpointIndex]>,
    /// Takes any subprotocol and none.
    pub(crate) fallback: Option<EndpointIndex>,
    /// All endpoints of the service, by index.
    pub(crate) names: Arc<[EndpointInfo]>,
}

/// What was refused before. The first refusal is logged as a warning, since a failing page does not
/// show why. Later ones are not, since any page can cause any number of them.
#[derive(Debug, Default)]
pub(crate) struct FirstRefusals {
    host: bool,
    origin: bool,
}

/// Why no endpoint is for an offer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unchosen {
    /// No protocol is at the path.
    Path,
    /// The client wants others than there are.
    Subprotocol,
}

impl Site {
    /// Why a request for that host is refused; `None` if it is accepted. `sender` is the connected
    /// peer: the proxy, if there is one.
    pub(crate) fn host_refusal(&self, head: &RequestHead<'_>, sender: &Address) -> Option<Cow<'static, str>> {
        let reason = self.hosts.refusal(head.host(), sender)?;
        if !mem::replace(&mut self.refused.borrow_mut().host, true) {
            let host = head.host().map(beginning);
            tracing::warn!(host, %reason, "request refused; others like it are logged at debug level");
        }
        Some(reason)
    }

    /// Why a handshake from that origin, over TLS or not, is refused; `None` if it is accepted.
    pub(crate) fn origin_refusal(&self, offer: &Offer<'_>, is_secure: bool) -> Option<Cow<'static, str>> {
        let reason = self.origins.refusal(offer.origin(), offer.head.host(), is_secure)?;
        self.warn_of_origin(offer.head, &reason);
        Some(reason)
    }

    /// As [`origin_refusal`](Self::origin_refusal), for a plain request.
    pub(crate) fn plain_origin_refusal(&self, head: &RequestHead<'_>, is_secure: bool) -> Option<Cow<'static, str>> {
        let reason = self.origins.plain_refusal(Origin::of(&head.fields), head.host(), is_secure)?;
        self.warn_of_origin(head, &reason);
        Some(reason)
    }

    fn warn_of_origin(&self, head: &RequestHead<'_>, reason: &str) {
        if mem::replace(&mut self.refused.borrow_mut().origin, true) {
            return;
        }
        let origin = match Origin::of(&head.fields) {
            Origin::One(origin) => Some(origin),
            Origin::Missing | Origin::Several => None,
        };
        let (origin, host) = (origin.map(beginning), head.host().map(beginning));
        tracing::warn!(origin, host, reason, "request refused; others like it are logged at debug level");
    }

    /// The responder for a plain request, if it is for one.
    pub(crate) fn responder(&self, method: &str, path: &TargetPath) -> Option<EndpointIndex> {
        self.routes.borrow().as_ref()?.find_responder(method, path).map(EndpointIndex)
    }

    /// The answer to a request whose target is in a form that only a method has which nothing here takes.
    pub(crate) fn method_refusal(&self, head: &RequestHead<'_>) -> Option<Response> {
        let status = match (head.method, head.target) {
            // RFC 9110 section 9.3.7: "An OPTIONS request with an asterisk ("*") as the request target [...] applies to
            // the server in general rather than to a specific resource."
            ("OPTIONS", "*") => 405,
            // RFC 9110 section 9.1: "An origin server that receives a request method that is unrecognized or not
            // implemented SHOULD respond with the 501 (Not Implemented) status code."
            ("CONNECT", target) if is_authority(target) => 501,
            _ => return None,
        };
        let methods = self.routes.borrow().as_ref().map_or_else(|| "GET".to_owned(), Routes::methods);
        Some(Response::error(status).allowing(methods))
    }
}

impl Protocols {
    /// The endpoint for an offer, and the subprotocol to name. The path decides, if a protocol is
    /// there. Otherwise it is the first one that the client offers and we support (RFC 6455 section
    /// 4.2.2 point 4). A client that names none gets the fallback, else the first protocol.
    pub(crate) fn choose<'o>(
        &self,
        offer: &Offer<'o>,
        path: &TargetPath,
    ) -> Result<(EndpointIndex, Option<&'o str>), Unchosen> {
        let name_of = |endpoint: EndpointIndex| self.names.get(endpoint.get()).map_or("", |own| &own.name);
        if let Some(endpoint) = self.paths.find(path) {
            return Ok((endpoint, offer.protocols().find(|name| *name == name_of(endpoint))));
        }
        let mut wanted = None;
        for name in offer.protocols() {
            if let Some(&endpoint) = self.named.iter().find(|&&endpoint| name_of(endpoint) == name) {
                return Ok((endpoint, Some(name)));
            }
            wanted = wanted.or(Some(name));
        }
        match (self.fallback, wanted, self.named.first()) {
            (Some(fallback), wanted, _) => Ok((fallback, wanted)),
            (None, _, None) => Err(Unchosen::Path),
            (None, None, Some(&first)) => Ok((first, None)),
            (None, Some(_), Some(_)) => Err(Unchosen::Subprotocol),
        }
    }
}
