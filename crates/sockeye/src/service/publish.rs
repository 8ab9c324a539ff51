//! Messages for all connections of a protocol: gathered for a turn, framed once, one send for each connection.

use std::rc::Rc;

use crate::conn::{Abort, Published};
use crate::id::ConnId;
use crate::service::core::Service;
use crate::state::EndpointIndex;
use crate::statistics::{Culprit, WorkOwner};
use crate::sys::CloseHow;
use crate::transport::{Outgoing, Waiting};

impl Service {
    /// Sends what was published and pushed in this turn.
    pub(super) fn flush_publishes(&mut self) {
        if self.env.state.outgoing.is_empty() {
            return;
        }
        self.env.state.outgoing.begin_flush();
        self.env.io.steps_over(0);
        self.flush_batches(0);
        self.env.io.lap(Culprit::Publish, WorkOwner::default());
    }

    /// Sends the batches that have grown large.
    pub(super) fn flush_large_publishes(&mut self) {
        self.flush_batches(Outgoing::LARGE_BYTES);
    }

    fn flush_batches(&mut self, least: usize) {
        for index in 0..self.env.state.outgoing.endpoints() {
            if let Some(waiting) = self.env.state.outgoing.take(index, least) {
                self.flush_batch(EndpointIndex(index), waiting);
            }
        }
    }

    fn flush_batch(&mut self, endpoint: EndpointIndex, mut waiting: Waiting) {
        let batch = Rc::new(std::mem::take(&mut waiting.published).framed());
        let mut audience = Audience::default();
        let Self { env, connections, .. } = self;
        let registry = &env.state.registry;
        if batch.frames().len() == 0 {
            for (id, apart) in waiting.into_apart() {
                let id = ConnId::from_u64(id);
                let Some(entry) = registry.get(id).filter(|entry| entry.is_open()) else { continue };
                if let Some(conn) = connections.in_slot(id) {
                    let published = conn.publish(&mut env.io, &batch, Some(&apart), entry);
                    audience.note(id, published, conn.queued_bytes());
                }
            }
        } else {
            env.io.meters.statistics.work.publishes += 1;
            for (id, entry) in registry.iter() {
                if !entry.is_open() || entry.endpoint != endpoint {
                    continue;
                }
                if let Some(conn) = connections.in_slot(id) {
                    let apart = waiting.take_apart(id.as_u64());
                    let published = conn.publish(&mut env.io, &batch, apart.as_ref(), entry);
                    audience.note(id, published, conn.queued_bytes());
                }
            }
        }
        env.io.meters.statistics.sent.messages += audience.messages;
        let mark = env.io.low_water;
        for (id, queued) in audience.behind {
            self.env.state.registry.note_growth(id, queued, mark);
        }
        for id in audience.held_back {
            if let Some(entry) = self.env.state.registry.get_mut(id) {
                entry.set_held_back(true);
            }
        }
        for id in audience.again {
            self.env.state.registry.enqueue(id);
        }
        for id in audience.over {
            self.overflow(id);
        }
        // No connection kept a share: the memory serves the next turn.
        if let Some(empty) = Rc::into_inner(batch).and_then(|batch| batch.recycle(Outgoing::KEPT_BYTES)) {
            self.env.state.outgoing.recycle(endpoint.0, empty);
        }
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

/// What became of a batch at its connections.
#[derive(Default)]
struct Audience {
    messages: u64,
    /// Bytes wait for their sockets.
    behind: Vec<(ConnId, usize)>,
    /// Something waits behind messages of a layer.
    held_back: Vec<ConnId>,
    /// They need a step.
    again: Vec<ConnId>,
    /// More waits for them than may.
    over: Vec<ConnId>,
}

impl Audience {
    fn note(&mut self, id: ConnId, published: Published, queued: usize) {
        if queued > 0 {
            self.behind.push((id, queued));
        }
        match published {
            Published::NotWanted => {}
            Published::Overflow => self.over.push(id),
            Published::NeedsStep(count) => {
                self.messages += count as u64;
                self.again.push(id);
            }
            Published::HeldBack(count) => {
                self.messages += count as u64;
                self.held_back.push(id);
            }
            Published::Sent(count) => self.messages += count as u64,
        }
    }
}
