//! How an attempt ends without a connection: it is redirected, fails, or is cancelled.

use crate::client::plan::Plan;
use crate::client::{Failure, FailureCause, HandshakeHead, Refusal, Retry, Stage};
use crate::conn::Unopened;
use crate::id::ConnId;
use crate::protocol::endpoint::Endpoint;
use crate::protocol::{EndpointMut, ProtocolMut};
use crate::service::core::Service;
use crate::statistics::Culprit;
use crate::sys::CloseHow;

impl Service {
    /// A connection of our own did not become a WebSocket. Closes its socket, and follows a redirect.
    pub(crate) fn retire_unopened(&mut self, id: ConnId, unopened: Unopened) {
        let Unopened { mut plan, stage, cause, unreported } = unopened;
        if let Some(conn) = self.connections.take(id) {
            conn.close_socket(&mut self.env, id, CloseHow::Normal);
            self.env.io.meters.statistics.connection_ends();
        }
        if !unreported.is_empty() {
            let head = if stage == Stage::Proxy { HandshakeHead::ProxyResponse } else { HandshakeHead::Response };
            self.env.report_head(id, head(&unreported));
        }
        let redirected = match &cause {
            FailureCause::Refused(refusal) if !self.env.state.lifecycle.is_ending() => plan.redirect(refusal),
            _ => Ok(false),
        };
        match redirected {
            Ok(true) => {
                tracing::debug!(%id, to = %plan.connect().url().authority(), "redirected");
                self.attempt(id, plan);
            }
            Ok(false) => self.fail(id, plan, stage, cause),
            Err(error) => self.fail(id, plan, stage, FailureCause::Redirect(error)),
        }
    }

    /// A connect failed: the callback, and perhaps the next attempt.
    pub(super) fn fail(&mut self, id: ConnId, mut plan: Box<Plan>, stage: Stage, cause: FailureCause) {
        let Some(entry) = self.env.state.registry.get_mut(id).filter(|entry| entry.is_connecting()) else { return };
        entry.set_connected();
        let endpoint = entry.endpoint;
        self.env.state.connects.end_lookup(id);
        let failures = &mut self.env.io.meters.statistics.failures;
        *match stage {
            Stage::Resolve => &mut failures.resolve,
            Stage::Connect => &mut failures.connect,
            Stage::Proxy => &mut failures.proxy,
            Stage::Tls => &mut failures.tls,
            Stage::Handshake => &mut failures.handshake,
        } += 1;
        let mut failure = Failure::new(stage, cause).by(plan.route());
        let again = failure.is_transient() && !self.env.state.lifecycle.is_ending();
        plan.count_failure();
        let random = if again { self.env.io.random_u64() } else { None };
        let asked = failure.refusal().and_then(Refusal::retry_after);
        if let Some(Retry { id, after }) = self.env.state.retry(endpoint, plan, random, asked) {
            failure = failure.with_retry(id, after);
        }
        tracing::debug!(%id, %failure, "no connection");
        self.dead.push(id);
        self.env.call_endpoint(endpoint, Some(id), Culprit::Failed, |object, commands| match object {
            Endpoint::WebSocket(protocol) => protocol.failed(&mut ProtocolMut { commands, endpoint }, id, failure),
            Endpoint::Raw(raw) => raw.failed(&mut EndpointMut { commands, endpoint }, id, failure),
            Endpoint::Watcher(watcher) => watcher.failed(&mut EndpointMut { commands, endpoint }, id, failure),
            Endpoint::Responder(_) => {}
        });
    }

    /// Gives up a connect or an adoption that has no outcome yet.
    pub(crate) fn cancel(&mut self, id: ConnId, cause: FailureCause) {
        if self.cancel_adoption(id) {
            return;
        }
        if let Some(attempt) = self.connecting.take(&mut *self.env.io.sys, id) {
            let stage = attempt.stage();
            return self.fail(id, attempt.plan, stage, cause);
        }
        if let Some(plan) = self.env.state.connects.take_planned(id) {
            return self.fail(id, plan, Stage::Resolve, cause);
        }
        let unopened = self.connections.in_slot(id).and_then(|conn| conn.give_up(cause));
        if let Some(unopened) = unopened {
            self.env.io.clear_cork();
            self.retire_unopened(id, *unopened);
        }
    }
}
