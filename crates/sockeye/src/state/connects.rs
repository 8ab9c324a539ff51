//! The connects of a service that were requested and not started, and the reconnecting ones.

use std::collections::HashMap;
use std::time::Duration;

use sockeye_proto::time::Instant;

use crate::client::Retry;
use crate::client::plan::Plan;
use crate::id::ConnId;

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
}

impl Connects {
    /// Whether there are some to start.
    #[inline]
    pub(crate) fn has_planned(&self) -> bool {
        !self.planned.is_empty()
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
