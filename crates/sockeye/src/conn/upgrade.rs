//! From HTTP to WebSocket: who may, and as which protocol.

use std::borrow::Cow;

use sockeye_proto::handshake::server::Offer;
use sockeye_proto::http::target;

use crate::conn::{Conn, Phase, Stage, ws};
use crate::protocol::{ConnId, Handshake, Request, Verdict};
use crate::statistics::{Culprit, Refusals, Whose};

/// Chooses the counter of a reason.
pub(crate) type Counter = fn(&mut Refusals) -> &mut u64;

/// Why not.
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) reason: Cow<'static, str>,
    /// Where it is counted.
    pub(crate) counter: Counter,
}

impl Refused {
    fn new(status: u16, reason: impl Into<Cow<'static, str>>, counter: Counter) -> Self {
        Self { status, reason: reason.into(), counter }
    }
}

/// Decides about a valid offer. `Ok`: the 101 is in the cork and the endpoint's `open` was called.
pub(crate) fn decide(
    stage: &mut Stage,
    id: ConnId,
    conn: &mut Conn,
    offer: &Offer<'_>,
    path: &str,
) -> Result<(), Refused> {
    if stage.policy.draining {
        return Err(Refused::new(503, "the service is ending", |refusals| &mut refusals.draining));
    }
    if let Some(reason) = stage.policy.origin_refusal(offer) {
        return Err(Refused::new(403, reason, |refusals| &mut refusals.origin));
    }
    let Some((endpoint, name)) = stage.policy.choose(offer) else {
        let reason = "none of the subprotocols offered is spoken here";
        return Err(Refused::new(400, reason, |refusals| &mut refusals.subprotocol));
    };
    let Some(callee) = stage.endpoints.get_mut(endpoint.get()) else {
        return Err(Refused::new(500, "", |refusals| &mut refusals.internal));
    };
    let query = target::query(offer.head.target);
    stage.outlet.steps_over(0);
    let proxy = match &conn.phase {
        Phase::Http(http) => http.proxy(),
        _ => None,
    };
    let verdict = callee.filter(&Request { offer, path, query, peer: &conn.peer, proxy }).0;
    stage.outlet.lap(Culprit::Filter, Whose::of(endpoint.0, id));
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
    if let Err(misuse) = offer.accept(&mut stage.outlet.cork, chosen.as_deref(), &[]) {
        tracing::error!(%misuse, "a handshake could not be answered");
        return Err(Refused::new(500, "", |refusals| &mut refusals.internal));
    }
    tracing::debug!(%id, peer = %conn.peer, protocol = chosen.as_deref().unwrap_or_default(), "open");
    stage.outlet.statistics.responded(101);
    if let Phase::Http(http) = &mut conn.phase {
        http.access.upgraded(chosen.as_deref());
    }
    ws::open(stage, id, conn, endpoint, &Handshake { subprotocol: chosen.as_deref() });
    Ok(())
}
