//! From HTTP to WebSocket: who may, and as which protocol.

use std::borrow::Cow;

use sockeye_proto::handshake::server::Offer;
use sockeye_proto::http::target;

use crate::conn::{Conn, Stage, ws};
use crate::protocol::{ConnId, Request, Verdict};

/// Why not.
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) reason: Cow<'static, str>,
}

impl Refused {
    fn new(status: u16, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { status, reason: reason.into() }
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
        return Err(Refused::new(503, "the service is ending"));
    }
    if !stage.policy.admits_origin(offer) {
        return Err(Refused::new(403, "this origin may not connect"));
    }
    let Some((endpoint, name)) = stage.policy.choose(offer) else {
        return Err(Refused::new(400, "none of the subprotocols offered is spoken here"));
    };
    let Some(callee) = stage.endpoints.get_mut(endpoint.get()) else {
        return Err(Refused::new(500, ""));
    };
    let query = target::query(offer.head.target);
    let verdict = callee.filter(&Request { offer, path, query, peer: &conn.peer }).0;
    let chosen: Option<Cow<'_, str>> = match verdict {
        Verdict::Accept => name.map(Cow::Borrowed),
        Verdict::AcceptAs(name) if offer.protocols().any(|offered| offered == name) => Some(Cow::Owned(name)),
        Verdict::AcceptAs(name) => {
            tracing::error!(protocol = %name, "the filter chose a subprotocol that the client did not offer; none is named");
            None
        }
        Verdict::Refuse { status, reason } => return Err(Refused { status, reason }),
    };
    if let Err(misuse) = offer.accept(&mut stage.outlet.cork, chosen.as_deref(), &[]) {
        tracing::error!(%misuse, "a handshake could not be answered");
        return Err(Refused::new(500, ""));
    }
    tracing::debug!(%id, peer = %conn.peer, protocol = chosen.as_deref().unwrap_or_default(), "open");
    ws::open(stage, id, conn, endpoint);
    Ok(())
}
