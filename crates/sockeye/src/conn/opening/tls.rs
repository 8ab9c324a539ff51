//! TLS on an outgoing connection, with a proxy and with the server, before anything is asked of them.

use crate::client::FailureCause;
use crate::client::negotiate::Negotiation;
use crate::client::{HandshakeHead, ProxyFailure, without_zone};
use crate::conn::env::Env;
use crate::conn::opening::{AfterOpening, Opening, State};
use crate::conn::place::HANDSHAKE_EFFORT;
use crate::conn::raw::Raw;
use crate::conn::step::Step;
use crate::conn::wire::Wire;
use crate::id::ConnId;
use crate::state::EndpointKind;
use crate::sys::CloseHow;
use crate::tls::{Above, TlsAgreement, TlsFailure};
use crate::transport::{Broken, Shake, SocketWriter};

impl Opening {
    /// Begins the handshake with the proxy. All that is said to it, credentials too, goes inside.
    pub(super) fn secure_proxy(
        &mut self,
        wire: &mut Wire,
        env: &mut Env,
        negotiation: Negotiation,
    ) -> Result<(), FailureCause> {
        let Some(plan) = &self.plan else { return Err(FailureCause::Ended) };
        let Some(tls) = plan.connect().tls_of_proxy() else {
            return Err(FailureCause::Unsupported("the connect has no configuration of TLS for the proxy"));
        };
        let name = without_zone(plan.connect().first_host().0);
        wire.socket.begin_proxy_tls(&mut env.io, tls, name).map_err(FailureCause::Tls)?;
        env.io.note_effort(HANDSHAKE_EFFORT);
        self.state = State::SecuringProxy(negotiation);
        Ok(())
    }

    /// Begins the handshake with the server. `first` was read behind the answer of a proxy.
    pub(super) fn secure(
        &mut self,
        wire: &mut Wire,
        env: &mut Env,
        id: ConnId,
        first: &[u8],
    ) -> Result<(), FailureCause> {
        let Some(plan) = &self.plan else { return Err(FailureCause::Ended) };
        let Some(tls) = plan.connect().client_tls() else {
            return Err(FailureCause::Unsupported("the connect has no configuration of TLS"));
        };
        let is_raw = endpoint_kind(env, id) == Some(EndpointKind::Raw);
        let above = if is_raw { Above::Raw } else { Above::Http };
        // What was said to a proxy is plain, or sealed for the proxy.
        SocketWriter::new(&mut env.io, &mut wire.socket).flush();
        if wire.socket.has_unsealed() {
            // The rest would go to the server, with credentials that are not for it.
            return Err(FailureCause::Proxy(ProxyFailure::Early));
        }
        let name = without_zone(plan.connect().url().host());
        wire.socket.begin_client_tls(&mut env.io, tls, above, name, first).map_err(FailureCause::Tls)?;
        // As costly as with a peer that connected to us.
        env.io.note_effort(HANDSHAKE_EFFORT);
        self.deadline = plan.ends().min(env.state.now + plan.timeouts().tls);
        self.state = State::Securing;
        Ok(())
    }

    /// Goes on with a handshake, and asks the proxy or the server once it is done. `Some`: that is all for now.
    pub(super) fn shake(
        &mut self,
        wire: &mut Wire,
        env: &mut Env,
        id: ConnId,
    ) -> Result<Option<Step<AfterOpening>>, FailureCause> {
        let (budget, most) = (env.share.bytes, env.limits.tls_handshake_bytes);
        match wire.socket.handshake(&mut env.io, &mut env.rx, budget, most, id) {
            Shake::Done => {}
            Shake::Wait => return Ok(Some(Step::Wait)),
            Shake::Yield => return Ok(Some(Step::Yield)),
            Shake::Failed(broken) => return Err(self.cause(broken)),
        }
        if matches!(self.state, State::SecuringProxy(_)) {
            tracing::debug!(%id, peer = %wire.peer, "secured the way to the proxy");
            if let State::SecuringProxy(negotiation) = std::mem::replace(&mut self.state, State::New) {
                self.negotiate(env, id, negotiation);
            }
            return Ok(None);
        }
        if let Some(session) = wire.socket.tls() {
            let (cipher, group) = (session.cipher(), session.group());
            let version = session.version().map(tracing::field::display);
            tracing::debug!(%id, peer = %wire.peer, version, cipher, group, is_resumed = session.is_resumed(), "secured");
        }
        if endpoint_kind(env, id) == Some(EndpointKind::Raw) {
            return Ok(Some(self.open_raw(wire, env, id)));
        }
        if let Some(session) = wire.socket.tls().filter(|_| self.reports_handshake()) {
            env.report_head(id, HandshakeHead::Secured(TlsAgreement::of(session)));
        }
        self.ask(env, id).map(|()| None)
    }

    /// A raw connection is open once TLS is.
    fn open_raw(&mut self, wire: &Wire, env: &mut Env, id: ConnId) -> Step<AfterOpening> {
        self.plan = None;
        let Some(endpoint) = env.state.registry.get(id).map(|entry| entry.endpoint) else {
            return Step::Gone(CloseHow::Normal);
        };
        let mut raw = Raw::new(endpoint);
        raw.open(wire, env, id);
        Step::Next(AfterOpening::Raw(Box::new(raw)))
    }

    /// The peer's refusal that arrived behind the handshake: with TLS 1.3 the client is done before the server has seen its
    /// certificate (RFC 8446 section 2).
    #[expect(clippy::unused_self, reason = "without TLS there is none")]
    pub(super) fn late_refusal(&self, wire: &mut Wire) -> Option<FailureCause> {
        wire.socket.take_tls_failure().map(FailureCause::Tls)
    }

    fn cause(&self, broken: Broken) -> FailureCause {
        match broken {
            Broken::Rule(failure) => FailureCause::Tls(failure),
            Broken::TooLong => FailureCause::Io(std::io::ErrorKind::InvalidData.into()),
            Broken::Ended => {
                let connect = self.plan.as_ref().map(|plan| plan.connect());
                FailureCause::Tls(match (connect, &self.state) {
                    (Some(connect), State::SecuringProxy(_)) => TlsFailure::proxy_closed(connect.first_host().0),
                    (connect, _) => TlsFailure::server_closed(connect.map_or("", |connect| connect.url().host())),
                })
            }
            Broken::Io(kind) => FailureCause::Io(kind.into()),
        }
    }
}

fn endpoint_kind(env: &Env, id: ConnId) -> Option<EndpointKind> {
    env.state.registry.get(id).map(|entry| env.state.kind(entry.endpoint))
}
