//! Too much is held for all peers together, or for a message that does not go on: connections end, and their memory is
//! free at once.

use sockeye_proto::close::{Close, CloseCode};

use crate::conn::{Abort, Outcome};
use crate::id::ConnId;
use crate::service::core::Service;

impl Service {
    /// Ends the connections for which most is held, until a sixteenth of the limit is free: looking for them costs time for
    /// each connection, and must not be needed again for each that grows.
    #[cold]
    pub(super) fn shed(&mut self) {
        let (limit, before) = (self.env.state.account.limit(), self.env.state.account.held());
        let goal = limit - limit / 16;
        let mut holders: Vec<(usize, ConnId)> = Vec::new();
        for (id, _) in self.env.state.registry.iter() {
            let of_conn = self.connections.get(&self.env.state.registry, id).map_or(0, |conn| conn.held_bytes());
            let of_topics = self.env.state.outgoing.slow_bytes(id);
            let held = of_conn.saturating_add(self.env.state.holdings.of(id)).saturating_add(of_topics);
            if held > 0 {
                holders.push((held, id));
            }
        }
        holders.sort_unstable_by_key(|(held, id)| (std::cmp::Reverse(*held), std::cmp::Reverse(id.as_u64())));
        let mut shed = 0_u64;
        for (held, id) in holders {
            if self.env.state.account.held() <= goal {
                break;
            }
            if let Some(conn) = self.connections.in_slot(id) {
                tracing::debug!(%id, peer = %conn.peer(), held, "most is held for this connection: it is shed");
            }
            self.shed_one(id, Close::new(CloseCode::TRY_AGAIN), Abort::Shed);
            shed += 1;
        }
        self.env.io.meters.statistics.limits.total_bytes += shed;
        let now = self.env.state.now;
        if self.shed_warned.is_none_or(|last| now >= last + WARN_EVERY) {
            self.shed_warned = Some(now);
            let left = self.env.state.account.held();
            tracing::warn!(
                limit,
                held = before,
                left,
                connections = shed,
                "more than Limits::total_bytes was held for peers; the connections that held most were shed"
            );
        }
    }

    /// Ends the connections whose message made too little progress in the window that is over.
    pub(super) fn end_slow_senders(&mut self) {
        let now = self.env.state.now;
        if self.env.state.holdings.window_ends().is_some_and(|at| at > now) {
            return;
        }
        let Self { env, connections, .. } = self;
        let registry = &env.state.registry;
        // While we do not read, or have not read yet, the silence is ours.
        let arrived = |id| {
            registry.get(id).filter(|entry| !entry.is_paused() && !entry.is_queued())?;
            connections.get(registry, id)?.arrived_of_message()
        };
        for id in env.state.holdings.look(now, env.limits.slow_sender_bytes, arrived) {
            let Some(conn) = self.connections.in_slot(id) else { continue };
            tracing::debug!(%id, peer = %conn.peer(), "a message made too little progress; the connection is closed");
            self.env.io.meters.statistics.limits.slow_sender_bytes += 1;
            self.shed_one(id, Close::new(CloseCode::POLICY), Abort::SlowSender);
        }
    }

    fn shed_one(&mut self, id: ConnId, close: Close, abort: Abort) {
        let Self { env, connections, .. } = self;
        let Some(conn) = connections.in_slot(id) else { return };
        match conn.shed(env, id, close, abort) {
            Outcome::Gone(how) => self.close_and_retire(id, how),
            Outcome::Unopened(unopened) => self.retire_unopened(id, *unopened),
            Outcome::Wait | Outcome::Yield | Outcome::Later => {
                self.env.state.registry.enqueue_later(id);
                self.arm(id);
            }
        }
    }
}

/// A crowd of peers that come again and again must not fill the log.
const WARN_EVERY: std::time::Duration = std::time::Duration::from_secs(1);
