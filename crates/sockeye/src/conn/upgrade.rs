//! The upgrade from HTTP to WebSocket: whether it is accepted, and for which protocol.

use std::borrow::Cow;

use sockeye_proto::handshake::server::Offer;
use sockeye_proto::http::target;
use sockeye_proto::wire::Role;

use crate::conn::env::Env;
use crate::conn::websocket::WebSocket;
use crate::conn::wire::Wire;
use crate::id::ConnId;
use crate::protocol::{Handshake, Request, Verdict};
use crate::statistics::{Culprit, Refusals, Whose};
use crate::sys::Address;

/// Chooses the counter of a reason.
pub(super) type Counter = fn(&mut Refusals) -> &mut u64;

/// Why a handshake is refused.
pub(super) struct Refused {
    pub(super) status: u16,
    pub(super) reason: Cow<'static, str>,
    /// Where it is counted.
    pub(super) counter: Counter,
}

impl Refused {
    fn new(status: u16, reason: impl Into<Cow<'static, str>>, counter: Counter) -> Self {
        Self { status, reason: reason.into(), counter }
    }
}

/// Decides on a valid offer. `Ok`: the 101 is in the cork and the endpoint's `open` was called.
/// `log` gets the chosen subprotocol before that.
pub(super) fn upgrade(
    proxy: Option<&Address>,
    wire: &Wire,
    env: &mut Env,
    id: ConnId,
    offer: &Offer<'_>,
    path: &str,
    log: impl FnOnce(Option<&str>),
) -> Result<WebSocket, Refused> {
    if env.state.lifecycle.is_ending() {
        return Err(Refused::new(503, "the service is ending", |refusals| &mut refusals.draining));
    }
    if let Some(reason) = env.policy.origin_refusal(offer) {
        return Err(Refused::new(403, reason, |refusals| &mut refusals.origin));
    }
    let Some((endpoint, name)) = env.policy.choose(offer) else {
        let reason = "none of the offered subprotocols is supported here";
        return Err(Refused::new(400, reason, |refusals| &mut refusals.subprotocol));
    };
    let Some(callee) = env.endpoints.web_socket(endpoint) else {
        return Err(Refused::new(500, "", |refusals| &mut refusals.internal));
    };
    let query = target::query(offer.head.target);
    env.io.steps_over(0);
    let verdict = callee.filter(&Request { offer, path, query, peer: &wire.peer, proxy }).0;
    env.io.lap(Culprit::Filter, Whose::of(endpoint.0, id));
    let chosen: Option<Cow<'_, str>> = match verdict {
        Verdict::Accept => name.map(Cow::Borrowed),
        Verdict::AcceptAs(name) if offer.protocols().any(|offered| offered == name) => Some(Cow::Owned(name)),
        Verdict::AcceptAs(name) => {
            tracing::error!(protocol = %name, "the filter chose a subprotocol that the client did not offer; none is named");
            None
        }
        Verdict::Refuse { status, reason } => {
            return Err(Refused::new(status, reason, |refusals| &mut refusals.filter));
        }
    };
    if let Err(misuse) = offer.accept(env.io.cork(), chosen.as_deref(), &[]) {
        tracing::error!(%misuse, "a handshake could not be answered");
        return Err(Refused::new(500, "", |refusals| &mut refusals.internal));
    }
    env.io.meters.statistics.responded(101);
    log(chosen.as_deref());
    let mut ws = WebSocket::new(Role::Server, env);
    ws.open(wire, env, id, endpoint, &Handshake { subprotocol: chosen.as_deref() });
    Ok(ws)
}
