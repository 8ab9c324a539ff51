//! The beginning of a connect: waiting, looking the name up, and the deadlines on the way.

use sockeye_proto::time::Instant;

use crate::client::plan::{FirstHop, Plan};
use crate::client::{FailureCause, Stage};
use crate::conn::NEVER;
use crate::id::ConnId;
use crate::service::connecting::attempts::{Attempt, Part};
use crate::service::core::Service;
use crate::state::Planned;
use crate::sys::{Address, Resolved};

impl Service {
    /// Begins the connects that were requested. What their callbacks request waits for the next
    /// call.
    pub(crate) fn start_connects(&mut self) {
        let planned = std::mem::take(&mut self.env.state.connects.planned);
        self.connecting.next = planned.len();
        for Planned { id, plan, after } in planned {
            self.connecting.next -= 1;
            if !self.is_connecting(id) {
                continue;
            }
            let now = self.env.state.now;
            if after.is_zero() {
                self.start_attempt(id, plan);
            } else {
                let part = Part::Later(now + after);
                self.connecting.attempts.insert(id, Attempt::new(plan, part));
                self.arm_attempt(id);
            }
        }
    }

    fn is_connecting(&self, id: ConnId) -> bool {
        self.env.state.registry.is_connecting(id)
    }

    fn start_attempt(&mut self, id: ConnId, mut plan: Box<Plan>) {
        let now = self.env.state.now;
        plan.begin(now);
        if self.env.state.lifecycle.is_ending() {
            return self.fail(id, plan, Stage::Resolve, FailureCause::Dropped);
        }
        if !self.has_room() {
            let limit = self.max_connections;
            return self.fail(id, plan, Stage::Connect, FailureCause::NoRoom { limit });
        }
        self.attempt(id, plan);
    }

    /// Starts an attempt, or what follows from a redirect: the lookup, or the race.
    pub(super) fn attempt(&mut self, id: ConnId, plan: Box<Plan>) {
        if plan.connect().url().is_secure() {
            return self.fail(
                id,
                plan,
                Stage::Connect,
                FailureCause::Unsupported("wss:// needs TLS, which is not built yet"),
            );
        }
        let now = self.env.state.now;
        match plan.target() {
            FirstHop::Addresses(addresses) => self.race(id, plan, addresses),
            FirstHop::Name { host, port } => match self.env.io.sys.resolve(id.as_u64(), &host, port) {
                Ok(()) => {
                    let until = now + plan.timeouts().resolve;
                    let part = Part::Resolving { until };
                    self.connecting.attempts.insert(id, Attempt::new(plan, part));
                    self.arm_attempt(id);
                }
                Err(error) => self.fail(id, plan, Stage::Resolve, FailureCause::Resolve { host, error }),
            },
        }
    }

    /// Takes the answers of the resolver, if there are any.
    pub(crate) fn take_resolved(&mut self) {
        while let Some(Resolved { ticket, addresses, .. }) = self.env.io.sys.resolved() {
            let id = ConnId::from_u64(ticket);
            // The attempt is over: cancelled or timed out.
            let Some(Attempt { part: Part::Resolving { .. }, .. }) = self.connecting.attempts.get(&id) else {
                continue;
            };
            let Some(attempt) = self.connecting.take(&mut *self.env.io.sys, id) else { continue };
            match addresses {
                Ok(addresses) => {
                    let addresses = addresses.into_iter().map(Address::Ip).collect();
                    self.race(id, attempt.plan, addresses);
                }
                Err(error) => {
                    let host = attempt.plan.connect().first_host().0.to_owned();
                    self.fail(id, attempt.plan, Stage::Resolve, FailureCause::Resolve { host, error });
                }
            }
            self.carry_out_between();
        }
    }

    /// Checks whether a deadline of an attempt has passed.
    pub(crate) fn attempt_due(&mut self, id: ConnId, at: Instant) {
        let now = self.env.state.now;
        let Some(attempt) = self.connecting.attempts.get_mut(&id).filter(|attempt| attempt.armed == at) else { return };
        attempt.armed = NEVER;
        if attempt.deadline() > now {
            return self.arm_attempt(id);
        }
        match &attempt.part {
            Part::Later(_) => {
                let Some(attempt) = self.connecting.take(&mut *self.env.io.sys, id) else { return };
                self.start_attempt(id, attempt.plan);
            }
            Part::Racing(race) if attempt.plan.ends() > now && !race.is_over(now) => self.race_on(id),
            Part::Resolving { .. } | Part::Racing(_) => {
                self.look_again(id);
                self.attempt_timed_out(id);
            }
        }
        self.carry_out_between();
    }

    /// Asks once more before a deadline ends an attempt. If the loop itself was held up, the answer may be waiting
    /// already: the system reports a limited number of sockets at a time.
    fn look_again(&mut self, id: ConnId) {
        self.take_resolved();
        let Some(Attempt { part: Part::Racing(race), .. }) = self.connecting.attempts.get(&id) else { return };
        for token in race.tokens() {
            self.racer_event(token);
        }
    }

    fn attempt_timed_out(&mut self, id: ConnId) {
        let now = self.env.state.now;
        let is_due = |attempt: &Attempt| attempt.deadline() <= now;
        if !self.connecting.attempts.get(&id).is_some_and(is_due) {
            return;
        }
        let Some(attempt) = self.connecting.take(&mut *self.env.io.sys, id) else { return };
        let (stage, after) = (attempt.stage(), attempt.plan.time_for(attempt.stage(), now));
        self.fail(id, attempt.plan, stage, FailureCause::Timeout { after });
    }

    /// Makes sure that the attempt is looked at when its next deadline is due.
    pub(super) fn arm_attempt(&mut self, id: ConnId) {
        let Some(attempt) = self.connecting.attempts.get_mut(&id) else { return };
        let deadline = attempt.deadline();
        if deadline < attempt.armed {
            attempt.armed = deadline;
            self.timers.add(deadline, id);
        }
    }
}
