//! Connections of our own, from the wish to a socket that stands: waiting, looking up, racing.
//!
//! ```text
//!  connect ─▶ Later ─▶ Resolving ─▶ Racing ─▶ conn::opening ─▶ open
//!                └─────────┴────────────┴────────────┴───────▶ failed (and perhaps the next attempt)
//! ```
//!
//! Every connect has exactly one outcome: the endpoint's `open`, or its `failed`, which only [`outcome`] calls.

mod outcome;
mod race;

use std::collections::HashMap;

use sockeye_proto::time::Instant;

use self::race::Race;
use crate::client::plan::{Plan, Planned, Target};
use crate::client::{FailureCause, Stage};
use crate::conn::NEVER;
use crate::protocol::ConnId;
use crate::service::Service;
use crate::sys::{Address, Resolved, Sys};

/// Tokens of sockets that are not connected yet: below the first generation, above all listeners.
const FIRST_TOKEN: u64 = 1 << 31;

/// What has no socket yet, or more than one.
#[derive(Default)]
pub(crate) struct Connecting {
    attempts: HashMap<ConnId, Attempt>,
    /// Whose socket has which token.
    racers: HashMap<u64, ConnId>,
    last_token: u64,
    /// Those that are about to be begun, behind the present one.
    next: usize,
}

/// One attempt.
pub(crate) struct Attempt {
    plan: Box<Plan>,
    /// Its earliest entry in the loop's timers.
    armed: Instant,
    part: Part,
}

enum Part {
    /// It begins then.
    Later(Instant),
    Resolving {
        until: Instant,
    },
    Racing(Race),
}

impl Attempt {
    fn new(plan: Box<Plan>, part: Part) -> Self {
        Self { plan, armed: NEVER, part }
    }

    fn deadline(&self) -> Instant {
        match &self.part {
            Part::Later(at) => *at,
            Part::Resolving { until } => self.plan.ends().min(*until),
            Part::Racing(race) => self.plan.ends().min(race.deadline()),
        }
    }

    fn stage(&self) -> Stage {
        match self.part {
            Part::Later(_) | Part::Resolving { .. } => Stage::Resolve,
            Part::Racing(_) => Stage::Connect,
        }
    }
}

impl Connecting {
    /// Whether the loop's timers have the right entry for this attempt.
    pub(crate) fn is_armed(&self, id: ConnId, at: Instant) -> bool {
        self.attempts.get(&id).is_some_and(|attempt| attempt.armed == at)
    }

    /// A token for one more socket.
    fn token(&mut self, id: ConnId) -> u64 {
        loop {
            self.last_token = (self.last_token + 1) % FIRST_TOKEN;
            let token = FIRST_TOKEN + self.last_token;
            if let std::collections::hash_map::Entry::Vacant(entry) = self.racers.entry(token) {
                entry.insert(id);
                return token;
            }
        }
    }

    /// Takes an attempt out, with its sockets closed.
    fn take(&mut self, sys: &mut dyn Sys, id: ConnId) -> Option<Attempt> {
        let mut attempt = self.attempts.remove(&id)?;
        if let Part::Racing(race) = &mut attempt.part {
            for token in race.close_all(sys) {
                self.racers.remove(&token);
            }
        }
        Some(attempt)
    }
}

impl Service {
    /// Begins the connects that were wished for. Those that a callback of one of these wishes for wait for the next time.
    pub(crate) fn start_connects(&mut self) {
        let planned = std::mem::take(&mut self.stage.shared.outgoing.planned);
        self.connecting.next = planned.len();
        for Planned { id, plan, after } in planned {
            self.connecting.next -= 1;
            if !self.is_connecting(id) {
                continue;
            }
            let now = self.stage.shared.now;
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
        self.stage.shared.live.get(id).is_some_and(|live| live.is_connecting())
    }

    fn start_attempt(&mut self, id: ConnId, mut plan: Box<Plan>) {
        let now = self.stage.shared.now;
        plan.begin(now);
        if self.stage.policy.draining {
            return self.fail(id, plan, Stage::Resolve, FailureCause::Dropped);
        }
        if !self.has_room() {
            let limit = self.max_connections;
            return self.fail(id, plan, Stage::Connect, FailureCause::NoRoom { limit });
        }
        self.attempt(id, plan);
    }

    /// Whether there are no more connections than there may be. Those that ended in this turn have their slots until its end, and
    /// those that were wished for later come later.
    pub(super) fn has_room(&self) -> bool {
        let shared = &self.stage.shared;
        let connects = self.connecting.next + shared.outgoing.planned.len();
        let others = self.dead.len() + connects + self.adopting + shared.adoptions.len();
        shared.live.len().saturating_sub(others) <= self.max_connections
    }

    /// The first part of an attempt, or of what a redirect leads to.
    fn attempt(&mut self, id: ConnId, plan: Box<Plan>) {
        if plan.connect().url().is_secure() {
            return self.fail(
                id,
                plan,
                Stage::Connect,
                FailureCause::Unsupported("wss:// needs TLS, which is not built yet"),
            );
        }
        let now = self.stage.shared.now;
        match plan.target() {
            Target::Addresses(addresses) => self.race(id, plan, addresses),
            Target::Name { host, port } => match self.stage.outlet.sys.resolve(id.as_u64(), &host, port) {
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

    /// Answers of the resolver may be there.
    pub(crate) fn take_resolved(&mut self) {
        while let Some(Resolved { ticket, addresses, .. }) = self.stage.outlet.sys.resolved() {
            let id = ConnId::from_u64(ticket);
            // Nobody waits any more: cancelled, or too late.
            let Some(Attempt { part: Part::Resolving { .. }, .. }) = self.connecting.attempts.get(&id) else {
                continue;
            };
            let Some(attempt) = self.connecting.take(&mut *self.stage.outlet.sys, id) else { continue };
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
            self.between();
        }
    }

    /// A deadline of an attempt may be due.
    pub(crate) fn attempt_due(&mut self, id: ConnId, at: Instant) {
        let now = self.stage.shared.now;
        let Some(attempt) = self.connecting.attempts.get_mut(&id).filter(|attempt| attempt.armed == at) else { return };
        attempt.armed = NEVER;
        if attempt.deadline() > now {
            return self.arm_attempt(id);
        }
        match &attempt.part {
            Part::Later(_) => {
                let Some(attempt) = self.connecting.take(&mut *self.stage.outlet.sys, id) else { return };
                self.start_attempt(id, attempt.plan);
            }
            Part::Racing(race) if attempt.plan.ends() > now && !race.is_over(now) => self.race_on(id),
            Part::Resolving { .. } | Part::Racing(_) => {
                self.look_again(id);
                self.attempt_timed_out(id);
            }
        }
        self.between();
    }

    /// Asks once more before a deadline ends an attempt. If the loop itself was held up the answer may be there since long, and
    /// the system tells of so many sockets at a time only.
    fn look_again(&mut self, id: ConnId) {
        self.take_resolved();
        let Some(Attempt { part: Part::Racing(race), .. }) = self.connecting.attempts.get(&id) else { return };
        for token in race.tokens() {
            self.racer_event(token);
        }
    }

    fn attempt_timed_out(&mut self, id: ConnId) {
        let now = self.stage.shared.now;
        let is_due = |attempt: &Attempt| attempt.deadline() <= now;
        if !self.connecting.attempts.get(&id).is_some_and(is_due) {
            return;
        }
        let Some(attempt) = self.connecting.take(&mut *self.stage.outlet.sys, id) else { return };
        let (stage, after) = (attempt.stage(), attempt.plan.time_for(attempt.stage(), now));
        self.fail(id, attempt.plan, stage, FailureCause::Timeout { after });
    }

    /// Makes sure that the attempt is looked at when its next deadline is due.
    fn arm_attempt(&mut self, id: ConnId) {
        let Some(attempt) = self.connecting.attempts.get_mut(&id) else { return };
        let deadline = attempt.deadline();
        if deadline < attempt.armed {
            attempt.armed = deadline;
            self.timers.add(deadline, id);
        }
    }
}
