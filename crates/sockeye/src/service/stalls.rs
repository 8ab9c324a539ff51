//! What held the loop up in a turn: records it and logs it.

use std::time::Duration;

use sockeye_proto::time::Instant;

use crate::service::core::Service;
use crate::statistics::{Stall, TurnStalls};

impl Service {
    /// The wait is over. Time spent waiting does not count as a stall.
    #[inline]
    pub(crate) fn turn_begins(&mut self) {
        let io = &mut self.env.io;
        io.meters.stopwatch.begin(self.env.state.now);
        if io.meters.stopwatch.wants_processor() {
            let time = io.sys.processor_time();
            io.meters.stopwatch.processor(time);
        }
    }

    #[inline]
    pub(crate) fn turn_ends(&mut self) {
        let io = &mut self.env.io;
        self.ended_at = None;
        if !io.meters.stopwatch.is_running() {
            return;
        }
        let now = io.sys.now();
        let ended = io.meters.stopwatch.end(now);
        let stalls = &mut io.meters.statistics.stalls;
        stalls.busy += ended.took;
        if ended.is_longest {
            stalls.longest_turn = ended.took;
        }
        if let Some(found) = ended.found {
            // To say so may take long, too.
            return self.stalled(&found, now);
        }
        self.ended_at = Some(now);
    }

    #[cold]
    fn stalled(&mut self, found: &TurnStalls, now: Instant) {
        let Some(culprit) = found.culprit else { return };
        let protocol = self.protocol_of(found);
        let io = &mut self.env.io;
        let time = io.sys.processor_time();
        let computed = io.meters.stopwatch.computed(now, time, found.worst);
        io.meters.stopwatch.watch(now, culprit);
        let stall = Stall { duration: found.worst, culprit, protocol, connection: found.owner.id, computed };
        if let Some(unsaid) = io.meters.stopwatch.may_warn(now) {
            tracing::warn!(stalls = found.count, unsaid, "the loop was held up for {stall}");
        }
        let stalls = &mut io.meters.statistics.stalls;
        stalls.count += found.count;
        stalls.total += found.total;
        let worst = stalls.worst.as_ref().map_or(Duration::ZERO, |worst| worst.duration);
        if found.worst > worst {
            stalls.worst = Some(stall);
        }
    }

    /// The name of the protocol to which the callback or the connection belongs.
    fn protocol_of(&self, found: &TurnStalls) -> Option<String> {
        let connection = found.owner.id.and_then(|id| self.env.state.registry.get(id));
        let endpoint = found.owner.endpoint.map(usize::from).or_else(|| Some(connection?.endpoint.get()))?;
        self.env.state.endpoints.get(endpoint).map(|endpoint| endpoint.name.clone())
    }
}
