//! Messages for all connections of a protocol: gathered for a turn, framed once, one send for each connection.

use std::rc::Rc;

use crate::conn::{Abort, Published};
use crate::id::ConnId;
use crate::service::core::Service;
use crate::state::{EndpointIndex, Publishing};
use crate::statistics::{Culprit, WorkOwner};
use crate::sys::CloseHow;
use crate::transport::{Batch, Framed};

impl Service {
    /// Sends what was published in this turn.
    pub(super) fn flush_publishes(&mut self) {
        if self.env.state.publishing.is_empty() {
            return;
        }
        self.env.state.publishing.begin_flush();
        self.env.io.steps_over(0);
        self.flush_batches(0);
        self.env.io.lap(Culprit::Publish, WorkOwner::default());
    }

    /// Sends the batches that have grown large.
    pub(super) fn flush_large_publishes(&mut self) {
        self.flush_batches(Publishing::LARGE_BYTES);
    }

    fn flush_batches(&mut self, least: usize) {
        for index in 0..self.env.state.publishing.endpoints() {
            let endpoint = EndpointIndex(index);
            if let Some(batch) = self.env.state.publishing.take(endpoint, least) {
                self.flush_batch(endpoint, batch);
            }
        }
    }

    fn flush_batch(&mut self, endpoint: EndpointIndex, batch: Batch) {
        let messages = batch.len() as u64;
        let framed = Rc::new(batch.framed());
        let receivers = self.send_batch(endpoint, &framed);
        let statistics = &mut self.env.io.meters.statistics;
        statistics.work.publishes += 1;
        statistics.sent.messages += messages * receivers;
        // No connection kept a share: the memory serves the next turn.
        if let Some(empty) = Rc::into_inner(framed).and_then(|framed| framed.recycle(Publishing::KEPT_BYTES)) {
            self.env.state.publishing.recycle(endpoint, empty);
        }
    }

    /// Returns how many connections it goes to.
    fn send_batch(&mut self, endpoint: EndpointIndex, batch: &Rc<Framed>) -> u64 {
        let hard = self.env.limits.output_hard;
        let (mut over, mut again, mut receivers) = (Vec::new(), Vec::new(), 0);
        let Self { env, connections, .. } = self;
        for (id, entry) in env.state.registry.iter() {
            if !entry.is_open() || entry.endpoint != endpoint {
                continue;
            }
            let Some(conn) = connections.in_slot(id) else { continue };
            match conn.publish(&mut env.io, hard, batch) {
                Published::NotWanted => continue,
                Published::Overflow => {
                    over.push(id);
                    continue;
                }
                Published::NeedsStep => again.push(id),
                Published::Sent => {}
            }
            receivers += 1;
        }
        for id in again {
            self.env.state.registry.enqueue(id);
        }
        for id in over {
            self.overflow(id);
        }
        receivers
    }

    /// A peer that takes nothing while more is published for it than may wait is given up.
    #[cold]
    fn overflow(&mut self, id: ConnId) {
        let Self { env, connections, .. } = self;
        let Some(conn) = connections.in_slot(id) else { return };
        tracing::debug!(%id, peer = %conn.peer(), "too much output waits; the connection is reset");
        conn.abort(env, id, Abort::Overflow);
        self.close_and_retire(id, CloseHow::Reset);
    }
}
