//! The upgrade from HTTP to WebSocket: whether it is accepted, and for which protocol.

use std::borrow::Cow;

use sockeye_proto::handshake::server::Offer;
use sockeye_proto::http::RequestHead;
use sockeye_proto::http::target::TargetPath;
use sockeye_proto::wire::Role;

use crate::admission::{Acceptance, Decision, Verdict};
use crate::conn::env::Env;
use crate::conn::policy::{Site, Unchosen};
use crate::conn::websocket::WebSocket;
use crate::conn::wire::Wire;
use crate::http::Response;
use crate::id::ConnId;
use crate::protocol::{Handshake, Request};
use crate::state::EndpointIndex;
use crate::statistics::{Culprit, Refusals, WorkOwner};
use crate::sys::Address;

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

/// What follows a valid offer that is not refused.
pub(super) enum Upgraded {
    /// The 101 is in the cork, and the endpoint's `open` was called.
    Open(WebSocket),
    /// The program decides later.
    Undecided,
}

/// Decides on a valid offer. `log` gets the chosen subprotocol before `open` is called.
pub(super) fn upgrade(
    wire: &Wire,
    env: &mut Env,
    site: &Site,
    request: &Request<'_>,
    log: impl FnOnce(Option<&str>, bool),
) -> Result<Upgraded, Refused> {
    if env.state.lifecycle.is_ending() {
        return Err(ending());
    }
    if let Some(reason) = site.origin_refusal(request.offer, request.tls.is_some()) {
        return Err(Refused::new(403, reason, |refusals| &mut refusals.origin));
    }
    let (endpoint, _) = choose(site, request)?;
    let Some(callee) = env.endpoints.web_socket(endpoint) else {
        return Err(Refused::new(500, "", |refusals| &mut refusals.internal));
    };
    env.io.steps_over(0);
    let decision = callee.filter(request);
    env.io.lap(Culprit::Filter, WorkOwner::of(endpoint.0, request.id()));
    decide(wire, env, site, request, decision, log)
}

/// A handshake whose head was kept, since the program decides later.
pub(super) struct Kept<'a> {
    pub(super) id: ConnId,
    pub(super) head: &'a [u8],
    pub(super) peer: &'a Address,
    pub(super) proxy: Option<&'a Address>,
}

impl Kept<'_> {
    /// Carries out the decision.
    pub(super) fn decide(
        &self,
        wire: &Wire,
        env: &mut Env,
        site: &Site,
        decision: Decision,
        log: impl FnOnce(Option<&str>, bool),
    ) -> Result<Upgraded, Refused> {
        let &Self { id, head, peer, proxy } = self;
        // All of it was accepted when the head came, so that nothing fails now.
        let parsed = RequestHead::parse(head, &env.limits.protocol).ok();
        let offer = parsed.as_ref().and_then(|parsed| Offer::of(parsed).ok().flatten());
        let path = parsed.as_ref().and_then(|parsed| TargetPath::parse(parsed.target).ok());
        let (Some(offer), Some(path)) = (&offer, &path) else { return Err(ending()) };
        let request = Request { id, offer, path, peer, proxy, listener: site.listener, tls: wire.socket.tls() };
        decide(wire, env, site, &request, decision, log)
    }
}

/// Carries out a decision.
fn decide(
    wire: &Wire,
    env: &mut Env,
    site: &Site,
    request: &Request<'_>,
    decision: Decision,
    log: impl FnOnce(Option<&str>, bool),
) -> Result<Upgraded, Refused> {
    match decision.0 {
        Verdict::Accept(acceptance) => accept(wire, env, site, request, acceptance, log).map(Upgraded::Open),
        Verdict::Refuse { response, reason } => {
            let needs_allow = response.status() == 405 && response.field("Allow").is_none();
            let response = if needs_allow { response.allowing("GET") } else { response };
            Err(Refused { response, reason, counter: |refusals| &mut refusals.filter })
        }
        Verdict::Later => Ok(Upgraded::Undecided),
    }
}

/// The service ends before the handshake is decided.
pub(super) fn ending() -> Refused {
    Refused::new(503, "the service is ending", |refusals| &mut refusals.draining)
}

/// The program did not decide in time.
pub(super) fn undecided() -> Refused {
    Refused::new(503, "the decision took too long", |refusals| &mut refusals.undecided)
}

/// The endpoint of a request, and the subprotocol to name.
fn choose<'r>(site: &Site, request: &Request<'r>) -> Result<(EndpointIndex, Option<&'r str>), Refused> {
    site.protocols.choose(request.offer, request.path).map_err(|unchosen| match unchosen {
        Unchosen::Path => Refused::new(404, "nothing is at this path", |refusals| &mut refusals.path),
        Unchosen::Subprotocol => {
            let reason = "none of the offered subprotocols is supported here";
            Refused::new(400, reason, |refusals| &mut refusals.subprotocol)
        }
    })
}

/// Writes the 101 and calls `open`.
fn accept(
    wire: &Wire,
    env: &mut Env,
    site: &Site,
    request: &Request<'_>,
    acceptance: Acceptance,
    log: impl FnOnce(Option<&str>, bool),
) -> Result<WebSocket, Refused> {
    let (endpoint, name) = choose(site, request)?;
    let Acceptance { subprotocol, fields, value, is_uncompressed } = acceptance;
    let chosen = match &subprotocol {
        None => name,
        Some(name) if request.protocols().any(|offered| offered == name) => Some(&**name),
        Some(name) => {
            tracing::error!(protocol = %name, "the filter chose a subprotocol that the client did not offer; none is named");
            None
        }
    };
    let fields: Vec<_> = fields.iter().collect();
    let wanted = env.io.codecs.settings(endpoint.0).settings(Role::Server);
    let wanted = wanted.filter(|_| !is_uncompressed && !cannot_inflate(request));
    let agreed = request.offer.accept(env.io.cork(), chosen, wanted, &fields).map_err(|misuse| {
        tracing::error!(%misuse, "a handshake could not be answered");
        Refused::new(500, "", |refusals| &mut refusals.internal)
    })?;
    env.io.meters.statistics.responded(101);
    log(chosen, agreed.is_some());
    let mut ws = WebSocket::new(Role::Server, env, endpoint, agreed);
    ws.open(wire, env, request.id(), endpoint, &Handshake::accepted(request, chosen, agreed, value));
    Ok(ws)
}

/// Safari 15.0 to 15.3 offers compression and does not read all of it.
fn cannot_inflate(request: &Request<'_>) -> bool {
    let agent = request.header_str("User-Agent").unwrap_or_default();
    let version = agent.split_once("Version/15.").map(|(_, version)| version.as_bytes());
    agent.contains("Safari/") && matches!(version, Some([b'0'..=b'3'] | [b'0'..=b'3', b'.' | b' ', ..]))
}
