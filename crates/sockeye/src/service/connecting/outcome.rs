//! How an attempt ends without a connection: redirected, told as failed, or cancelled.

use crate::client::plan::{Plan, Unopened};
use crate::client::{Failure, FailureCause, Refusal, Retry, Stage};
use crate::protocol::{ConnId, ProtocolMut};
use crate::service::Service;
use crate::statistics::{Culprit, Whose};
use crate::sys::CloseHow;

impl Service {
    /// Sees to connections that stood and did not become WebSockets: their sockets are closed, redirects followed.
    pub(crate) fn see_to_unopened(&mut self) {
        for Unopened { id, mut plan, stage, cause } in std::mem::take(&mut self.stage.shared.outgoing.unopened) {
            if let Some(conn) = self.conns.get_mut(id.slot()).and_then(Option::take) {
                self.stage.outlet.sys.close(conn.link.handle, CloseHow::Normal);
                self.stage.outlet.statistics.connection_ends();
            }
            let redirected = match &cause {
                FailureCause::Refused(refusal) if !self.stage.policy.draining => plan.redirect(refusal),
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
    }

    /// The outcome of a connect that did not come about. Nothing of it is left but the plan.
    pub(super) fn fail(&mut self, id: ConnId, mut plan: Box<Plan>, stage: Stage, cause: FailureCause) {
        let Some(live) = self.stage.shared.live.get_mut(id).filter(|live| live.is_connecting()) else { return };
        live.set_connected();
        let endpoint = live.endpoint;
        let failures = &mut self.stage.outlet.statistics.failures;
        *match stage {
            Stage::Resolve => &mut failures.resolve,
            Stage::Connect => &mut failures.connect,
            Stage::Proxy => &mut failures.proxy,
            Stage::Handshake => &mut failures.handshake,
        } += 1;
        let mut failure = Failure::new(stage, cause);
        let again = failure.may_pass() && !self.stage.policy.draining;
        plan.count_failure();
        let random = if again { self.stage.random_u64() } else { None };
        let asked = failure.refusal().and_then(Refusal::retry_after);
        if let Some(Retry { id, after }) = self.stage.shared.retry(endpoint, plan, random, asked) {
            failure = failure.with_retry(id, after);
        }
        tracing::debug!(%id, %failure, "no connection");
        self.dead.push(id);
        let stage = &mut self.stage;
        let Some(callee) = stage.endpoints.get_mut(endpoint.get()) else { return };
        stage.outlet.steps_over(0);
        callee.failed(&mut ProtocolMut { commands: &mut stage.shared, endpoint }, id, failure);
        stage.outlet.lap(Culprit::Failed, Whose::of(endpoint.0, id));
    }

    /// Gives up a connect or an adoption that has no outcome yet.
    pub(crate) fn cancel(&mut self, id: ConnId, cause: FailureCause) {
        if self.cancel_adoption(id) {
            return;
        }
        if let Some(attempt) = self.connecting.take(&mut *self.stage.outlet.sys, id) {
            let stage = attempt.stage();
            return self.fail(id, attempt.plan, stage, cause);
        }
        let planned = &mut self.stage.shared.outgoing.planned;
        if let Some(index) = planned.iter().position(|planned| planned.id == id) {
            let plan = planned.remove(index).plan;
            return self.fail(id, plan, Stage::Resolve, cause);
        }
        let Self { stage, conns, .. } = self;
        if let Some(conn) = conns.get_mut(id.slot()).and_then(Option::as_mut) {
            crate::conn::opening::give_up(stage, id, conn, cause);
            self.see_to_unopened();
        }
    }

    /// In a drain connects fail at once. When there is nothing else left, or its time is over, what callbacks went on to wish for
    /// has no outcome any more, or there would be no end.
    pub(crate) fn end_drain_of_connects(&mut self) {
        let shared = &self.stage.shared;
        if self.draining.is_none() || (shared.outgoing.planned.is_empty() && shared.adoptions.is_empty()) {
            return;
        }
        let others = self.stage.shared.live.values().filter(|live| !live.is_connecting()).count();
        // Those that ended in this turn have their slots until its end.
        if others == self.dead.len() {
            self.abandon_connects();
        }
    }

    /// Tells all that are on their way, and drops what that leads to.
    pub(crate) fn abandon_connects(&mut self) {
        self.cancel_all();
        self.stage.shared.outgoing.planned.clear();
        self.stage.shared.adoptions.clear();
        self.stage.shared.live.retain(|_, live| !live.is_connecting());
    }

    /// Gives up everything that is on its way: the service ends.
    pub(crate) fn cancel_all(&mut self) {
        // A callback may wish for more meanwhile; draining refuses that.
        let planned = self.stage.shared.outgoing.planned.iter().map(|planned| planned.id);
        let opening = self.stage.shared.live.iter().filter(|(_, live)| live.is_connecting()).map(|(id, _)| id);
        let ids: Vec<_> = planned.chain(opening).collect();
        for id in ids {
            self.cancel(id, FailureCause::Dropped);
        }
    }
}
