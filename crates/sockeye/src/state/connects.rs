//! The connects of a service that were requested and not started, and the reconnecting ones.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use sockeye_proto::time::Instant;

use crate::client::plan::Plan;
use crate::client::{Answer, Resolution, Retry};
use crate::id::{ConnId, Gone};

/// A connect that waits to begin.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) id: ConnId,
    pub(crate) plan: Box<Plan>,
    /// The wait before it.
    pub(crate) after: Duration,
}

/// Connects without a socket yet, and the plans to reconnect open ones.
#[derive(Debug, Default)]
pub(crate) struct Connects {
    /// Requested, and not started.
    pub(crate) planned: Vec<Planned>,
    /// Open, with a reconnect policy.
    kept: HashMap<ConnId, Box<Plan>>,
    /// Connects whose host the program looks up.
    lookups: BTreeSet<ConnId>,
    /// The program's answers, at most one for each, which the loop has not taken.
    pub(crate) resolutions: Vec<(ConnId, Resolution)>,
}

impl Connects {
    /// Whether there are some to start.
    #[inline]
    pub(crate) fn has_planned(&self) -> bool {
        !self.planned.is_empty()
    }

    /// Whether there is something to start, or to go on with.
    #[inline]
    pub(crate) fn has_work(&self) -> bool {
        self.planned.len() | self.resolutions.len() != 0
    }

    /// The program is asked for an address.
    pub(crate) fn begin_lookup(&mut self, id: ConnId) {
        self.lookups.insert(id);
    }

    /// No answer is taken any more. Returns whether one was outstanding.
    pub(crate) fn end_lookup(&mut self, id: ConnId) -> bool {
        self.lookups.remove(&id)
    }

    /// The program has answered by what it returned, which comes before what it queued for it.
    pub(crate) fn forget_lookup(&mut self, id: ConnId) {
        if !self.end_lookup(id) {
            self.resolutions.retain(|(other, _)| *other != id);
        }
    }

    /// Takes the program's answer, once.
    pub(crate) fn resolve(&mut self, id: ConnId, resolution: Resolution) -> Result<(), Gone> {
        if !self.lookups.contains(&id) {
            return Err(Gone);
        }
        if !matches!(resolution.0, Answer::Later) {
            self.lookups.remove(&id);
            self.resolutions.push((id, resolution));
        }
        Ok(())
    }

    /// Those to start.
    pub(crate) fn planned_ids(&self) -> impl ExactSizeIterator<Item = ConnId> {
        self.planned.iter().map(|planned| planned.id)
    }

    /// Drops those to start.
    pub(crate) fn clear_planned(&mut self) {
        self.planned.clear();
    }

    pub(super) fn plan(&mut self, id: ConnId, plan: Box<Plan>) {
        self.planned.push(Planned { id, plan, after: Duration::ZERO });
    }

    /// Cancels a connect that has not started.
    pub(crate) fn take_planned(&mut self, id: ConnId) -> Option<Box<Plan>> {
        let index = self.planned.iter().position(|planned| planned.id == id)?;
        Some(self.planned.remove(index).plan)
    }

    /// A connect succeeded.
    pub(crate) fn opened(&mut self, id: ConnId, mut plan: Box<Plan>, now: Instant) {
        if plan.is_kept_up() {
            plan.set_opened(now);
            self.kept.insert(id, plan);
        }
    }

    /// Whether this connection has a reconnect policy.
    #[inline]
    pub(crate) fn keeps(&self, id: ConnId) -> bool {
        !self.kept.is_empty() && self.kept.contains_key(&id)
    }

    /// Stops reconnecting this connection.
    pub(crate) fn release(&mut self, id: ConnId) {
        self.kept.remove(&id);
    }

    /// The plan of a connection that ended.
    pub(super) fn take_kept(&mut self, id: ConnId, now: Instant) -> Option<Box<Plan>> {
        let mut plan = self.kept.remove(&id)?;
        plan.count_end(now);
        Some(plan)
    }

    /// Plans the attempt after one that has ended, under a new id.
    pub(super) fn plan_again(
        &mut self,
        id: ConnId,
        plan: Box<Plan>,
        random: u64,
        asked: Option<Duration>,
    ) -> Option<Retry> {
        let (plan, after) = plan.again(random, asked)?;
        self.planned.push(Planned { id, plan, after });
        Some(Retry { id, after })
    }
}
