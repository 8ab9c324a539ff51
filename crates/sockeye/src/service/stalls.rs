//! What held the loop up in a turn: filed, told, and looked out for.

use std::time::Duration;

use sockeye_proto::time::Instant;

use crate::service::Service;
use crate::statistics::{Found, Stall};

impl Service {
    /// The wait is over. What the system did meanwhile is no stall of ours.
    #[inline]
    pub(crate) fn turn_begins(&mut self) {
        let outlet = &mut self.stage.outlet;
        outlet.stopwatch.begin(self.stage.shared.now);
        if outlet.stopwatch.wants_processor() {
            let time = outlet.sys.processor_time();
            outlet.stopwatch.processor(time);
        }
    }

    #[inline]
    pub(crate) fn turn_ends(&mut self) {
        let outlet = &mut self.stage.outlet;
        if !outlet.stopwatch.is_running() {
            return;
        }
        let now = outlet.sys.now();
        let (took, found) = outlet.stopwatch.end(now);
        let stalls = &mut outlet.statistics.stalls;
        stalls.busy += took;
        stalls.longest_turn = stalls.longest_turn.max(took);
        if let Some(found) = found {
            self.stalled(&found, now);
        }
    }

    #[cold]
    fn stalled(&mut self, found: &Found, now: Instant) {
        let Some(culprit) = found.culprit else { return };
        let protocol = self.protocol_of(found);
        let outlet = &mut self.stage.outlet;
        let time = outlet.sys.processor_time();
        let computed = outlet.stopwatch.computed(now, time, found.worst);
        outlet.stopwatch.watch(now, culprit);
        let stall = Stall { duration: found.worst, culprit, protocol, connection: found.whose.id, computed };
        if let Some(unsaid) = outlet.stopwatch.may_warn(now) {
            tracing::warn!(stalls = found.count, unsaid, "the loop stood still for {stall}");
        }
        let stalls = &mut outlet.statistics.stalls;
        stalls.count += found.count;
        stalls.total += found.total;
        let worst = stalls.worst.as_ref().map_or(Duration::ZERO, |worst| worst.duration);
        if found.worst > worst {
            stalls.worst = Some(stall);
        }
    }

    /// The name of the protocol whose callback it was, or whose connection.
    fn protocol_of(&self, found: &Found) -> Option<String> {
        let connection = found.whose.id.and_then(|id| self.stage.shared.live.get(id));
        let endpoint = found.whose.endpoint.map(usize::from).or_else(|| Some(connection?.endpoint.get()))?;
        self.stage.shared.names.get(endpoint).map(|endpoint| endpoint.name.clone())
    }
}
