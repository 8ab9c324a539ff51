//! Policy: which addresses, hosts and origins are served, and with which protocols and routes.

use std::borrow::Cow;
use std::mem;
use std::sync::Arc;

use sockeye_proto::handshake::origin::Origin;
use sockeye_proto::handshake::server::Offer;
use sockeye_proto::http::RequestHead;
use sockeye_proto::http::target::{TargetPath, is_authority};

use crate::admission::{Hosts, Origins};
use crate::conn::paths::Paths;
use crate::http::{HttpRequest, Response, Routes};
use crate::state::{EndpointIndex, EndpointInfo, EndpointKind};
use crate::sys::Address;

/// The service's answers to "may they?" and "what do they get?".
pub(crate) struct Policy {
    pub(crate) origins: Origins,
    pub(crate) hosts: Hosts,
    pub(crate) refused: FirstRefusals,
    /// `None`: nothing but WebSocket is served.
    pub(crate) routes: Option<Routes>,
    pub(crate) paths: Paths,
    /// The endpoints, by index.
    pub(crate) names: Arc<[EndpointInfo]>,
    /// Takes any subprotocol and none.
    pub(crate) fallback: Option<EndpointIndex>,
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

impl Policy {
    /// Why a request for that host is refused; `None` if it is accepted. `sender` is the connected
    /// peer: the proxy, if there is one.
    pub(crate) fn host_refusal(&mut self, head: &RequestHead<'_>, sender: &Address) -> Option<Cow<'static, str>> {
        let reason = self.hosts.refusal(head.host(), sender)?;
        if !mem::replace(&mut self.refused.host, true) {
            tracing::warn!(host = head.host(), %reason, "request refused; others like it are logged at debug level");
        }
        Some(reason)
    }

    /// Why a handshake from that origin is refused; `None` if it is accepted.
    pub(crate) fn origin_refusal(&mut self, offer: &Offer<'_>) -> Option<Cow<'static, str>> {
        let reason = self.origins.refusal(offer.origin(), offer.head.host())?;
        self.warn_of_origin(offer.head, &reason);
        Some(reason)
    }

    /// As [`origin_refusal`](Self::origin_refusal), for a plain request.
    pub(crate) fn plain_origin_refusal(&mut self, head: &RequestHead<'_>) -> Option<Cow<'static, str>> {
        let reason = self.origins.plain_refusal(Origin::of(&head.fields), head.host())?;
        self.warn_of_origin(head, &reason);
        Some(reason)
    }

    fn warn_of_origin(&mut self, head: &RequestHead<'_>, reason: &str) {
        if mem::replace(&mut self.refused.origin, true) {
            return;
        }
        let origin = match Origin::of(&head.fields) {
            Origin::One(origin) => Some(origin),
            Origin::Missing | Origin::Several => None,
        };
        tracing::warn!(origin, host = head.host(), reason, "request refused; others like it are logged at debug level");
    }

    /// The endpoint for an offer, and the subprotocol to name. The path decides, if a protocol is
    /// there. Otherwise it is the first one that the client offers and we support (RFC 6455 section
    /// 4.2.2 point 4). A client that names none gets the fallback, else the first protocol.
    pub(crate) fn choose<'o>(
        &self,
        offer: &Offer<'o>,
        path: &TargetPath,
    ) -> Result<(EndpointIndex, Option<&'o str>), Unchosen> {
        if let Some(endpoint) = self.paths.find(path) {
            let own = self.names.get(endpoint.get()).map_or("", |own| &own.name);
            return Ok((endpoint, offer.protocols().find(|name| *name == own)));
        }
        let is_candidate = |(index, own): &(usize, &EndpointInfo)| {
            own.kind == EndpointKind::WebSocket && !self.paths.has(EndpointIndex(*index as u16))
        };
        let candidates = || self.names.iter().enumerate().filter(is_candidate);
        let mut wanted = None;
        for name in offer.protocols() {
            if let Some((index, _)) = candidates().find(|(_, own)| own.name == name) {
                return Ok((EndpointIndex(index as u16), Some(name)));
            }
            wanted = wanted.or(Some(name));
        }
        match (self.fallback, wanted, candidates().next()) {
            (Some(fallback), wanted, _) => Ok((fallback, wanted)),
            (None, _, None) => Err(Unchosen::Path),
            (None, None, Some((index, _))) => Ok((EndpointIndex(index as u16), None)),
            (None, Some(_), Some(_)) => Err(Unchosen::Subprotocol),
        }
    }

    /// The responder for a plain request, if it is for one.
    pub(crate) fn responder(&self, method: &str, path: &TargetPath) -> Option<EndpointIndex> {
        self.routes.as_ref()?.find_responder(method, path).map(EndpointIndex)
    }

    /// The answer to a plain request; `None` when only WebSocket is served.
    pub(crate) fn respond(&mut self, request: &HttpRequest<'_>) -> Option<Response> {
        self.routes.as_mut().map(|routes| routes.dispatch(request))
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
        let methods = self.routes.as_ref().map_or_else(|| "GET".to_owned(), Routes::methods);
        Some(Response::error(status).allowing(methods))
    }
}
