//! The upgrade from HTTP to WebSocket: whether it is accepted, and for which protocol.

use std::borrow::Cow;

use sockeye_proto::wire::Role;

use crate::conn::env::Env;
use crate::conn::websocket::WebSocket;
use crate::conn::wire::Wire;
use crate::http::Response;
use crate::protocol::{Acceptance, Handshake, Request, Verdict};
use crate::state::EndpointIndex;
use crate::statistics::{Culprit, Refusals, WorkOwner};

/// Chooses the counter of a reason.
pub(super) type Counter = fn(&mut Refusals) -> &mut u64;

/// Why a handshake is refused.
pub(super) struct Refused {
    pub(super) response: Response,
    /// For the log.
    pub(super) reason: Cow<'static, str>,
    /// Where it is counted.
    pub(super) counter: Counter,
}

impl Refused {
    fn new(status: u16, reason: impl Into<Cow<'static, str>>, counter: Counter) -> Self {
        let reason = reason.into();
        Self { response: Response::refusal(status, &reason), reason, counter }
    }
}

/// Decides on a valid offer. `Ok`: the 101 is in the cork and the endpoint's `open` was called.
/// `log` gets the chosen subprotocol before that.
pub(super) fn upgrade(
    wire: &Wire,
    env: &mut Env,
    request: &Request<'_>,
    log: impl FnOnce(Option<&str>),
) -> Result<WebSocket, Refused> {
    if env.state.lifecycle.is_ending() {
        return Err(Refused::new(503, "the service is ending", |refusals| &mut refusals.draining));
    }
    if let Some(reason) = env.policy.origin_refusal(request.offer) {
        return Err(Refused::new(403, reason, |refusals| &mut refusals.origin));
    }
    let Some((endpoint, name)) = env.policy.choose(request.offer) else {
        let reason = "none of the offered subprotocols is supported here";
        return Err(Refused::new(400, reason, |refusals| &mut refusals.subprotocol));
    };
    let Some(callee) = env.endpoints.web_socket(endpoint) else {
        return Err(Refused::new(500, "", |refusals| &mut refusals.internal));
    };
    env.io.steps_over(0);
    let verdict = callee.filter(request).0;
    env.io.lap(Culprit::Filter, WorkOwner::of(endpoint.0, request.id()));
    match verdict {
        Verdict::Accept(acceptance) => accept(wire, env, request, endpoint, name, acceptance, log),
        Verdict::Refuse { response, reason } => {
            let needs_allow = response.status() == 405 && response.field("Allow").is_none();
            let response = if needs_allow { response.allowing("GET") } else { response };
            Err(Refused { response, reason, counter: |refusals| &mut refusals.filter })
        }
    }
}

/// Writes the 101 and calls `open`. `name` is the subprotocol that the service chose.
fn accept(
    wire: &Wire,
    env: &mut Env,
    request: &Request<'_>,
    endpoint: EndpointIndex,
    name: Option<&str>,
    acceptance: Acceptance,
    log: impl FnOnce(Option<&str>),
) -> Result<WebSocket, Refused> {
    let Acceptance { subprotocol, fields, value } = acceptance;
    let chosen = match &subprotocol {
        None => name,
        Some(name) if request.protocols().any(|offered| offered == name) => Some(&**name),
        Some(name) => {
            tracing::error!(protocol = %name, "the filter chose a subprotocol that the client did not offer; none is named");
            None
        }
    };
    let fields: Vec<_> = fields.iter().collect();
    if let Err(misuse) = request.offer.accept(env.io.cork(), chosen, &fields) {
        tracing::error!(%misuse, "a handshake could not be answered");
        return Err(Refused::new(500, "", |refusals| &mut refusals.internal));
    }
    env.io.meters.statistics.responded(101);
    log(chosen);
    let mut ws = WebSocket::new(Role::Server, env);
    ws.open(wire, env, request.id(), endpoint, &Handshake::accepted(request, chosen, value));
    Ok(ws)
}
