//! Messages for all connections of a protocol: gathered for a turn, framed once, one send for each connection.

use std::rc::Rc;

use crate::conn::{Abort, Conn, Published};
use crate::id::ConnId;
use crate::service::core::Service;
use crate::state::{Commands, EndpointIndex, Entry};
use crate::statistics::{Culprit, WorkOwner};
use crate::sys::CloseHow;
use crate::topic::Delivery;
use crate::transport::{Apart, Audience, Framed, LoopIo, Outgoing, Waiting};

impl Service {
    /// Sends what was published and pushed in this turn.
    pub(super) fn flush_publishes(&mut self) {
        if self.env.state.outgoing.is_empty() {
            return;
        }
        self.env.state.outgoing.begin_flush();
        self.env.io.steps_over(0);
        self.flush_batches(0);
        self.env.state.outgoing.end_flush();
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
        let mut outcomes = Outcomes::default();
        let kind = waiting.audience();
        let Self { env, connections, .. } = self;
        if batch.frames().len() > 0 {
            env.io.meters.statistics.work.publishes += 1;
        }
        match kind {
            Audience::All if batch.frames().len() == 0 => {}
            Audience::All => {
                for (id, entry) in env.state.registry.iter() {
                    if !entry.is_open() || entry.endpoint != endpoint {
                        continue;
                    }
                    if let Some(conn) = connections.in_slot(id) {
                        let apart = waiting.take_apart(id.as_u64());
                        outcomes.publish(conn, &mut env.io, &batch, apart.as_ref(), (id, entry));
                    }
                }
            }
            Audience::One(topic) => {
                let outgoing = Rc::clone(&env.io.outgoing);
                let topics = outgoing.topics();
                for (id, entry) in
                    topics.slots(topic).into_iter().flatten().filter_map(|slot| env.state.registry.at(slot))
                {
                    debug_assert_eq!(entry.endpoint, endpoint, "a topic of another protocol");
                    if let Some(conn) = connections.in_slot(id).filter(|_| entry.endpoint == endpoint) {
                        let apart = waiting.take_if_apart(&topics, id);
                        outcomes.publish(conn, &mut env.io, &batch, apart.as_ref(), (id, entry));
                    }
                }
            }
            Audience::Several(_) | Audience::AllAndTopics => {
                for id in listeners(&env.state, endpoint, &kind) {
                    let Some(entry) = env.state.registry.get(id).filter(|entry| entry.is_open()) else { continue };
                    if let Some(conn) = connections.in_slot(id) {
                        let apart = waiting.take_chosen(&env.io.outgoing.topics(), id);
                        outcomes.publish(conn, &mut env.io, &batch, apart.as_ref(), (id, entry));
                    }
                }
            }
        }
        // Those for which only something of their own waits, or messages of topics that they have left.
        for id in waiting.apart_ids() {
            let Some(entry) = env.state.registry.get(id).filter(|entry| entry.is_open()) else { continue };
            let Some(conn) = connections.in_slot(id) else { continue };
            let apart = waiting.take_chosen(&env.io.outgoing.topics(), id);
            outcomes.publish(conn, &mut env.io, &batch, apart.as_ref(), (id, entry));
        }
        self.settle_flush(endpoint, batch, outcomes);
    }

    fn settle_flush(&mut self, endpoint: EndpointIndex, batch: Rc<Framed>, outcomes: Outcomes) {
        let env = &mut self.env;
        env.io.meters.statistics.sent.messages += outcomes.messages;
        let mark = env.io.low_water;
        for (id, queued) in outcomes.behind {
            self.env.state.registry.note_growth(id, queued, mark);
        }
        for id in outcomes.held_back {
            if let Some(entry) = self.env.state.registry.get_mut(id) {
                entry.set_held_back(true);
            }
        }
        for id in outcomes.again {
            self.env.state.registry.enqueue(id);
        }
        for id in outcomes.over {
            self.overflow(id);
        }
        // No connection kept a share: the memory serves the next turn.
        if let Some(empty) = Rc::into_inner(batch).and_then(|batch| batch.recycle(Outgoing::KEPT_BYTES)) {
            self.env.state.outgoing.recycle(endpoint.0, empty);
        }
    }

    /// What was published to topics, for the statistics.
    #[cold]
    pub(super) fn count_topics(&mut self) {
        let counts = &mut self.env.state.topic_counts;
        counts.are_new = false;
        let statistics = &mut self.env.io.meters.statistics;
        let Delivery { queued, dropped, closed, .. } = counts.delivery;
        let all = &mut statistics.topics;
        (all.published, all.queued, all.dropped, all.closed) = (counts.published, queued, dropped, closed);
        let limits = &mut statistics.limits;
        limits.topics_per_connection = counts.too_many_for_connection;
        limits.topic_name_bytes = counts.names;
        limits.topics = counts.too_many_topics;
        let topics = self.env.state.outgoing.topics();
        statistics.topics_now = topics.len() as u64;
        statistics.subscriptions_now = topics.subscriptions() as u64;
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

/// The connections that a batch for several audiences is for, each once.
#[cold]
fn listeners(state: &Commands, endpoint: EndpointIndex, audience: &Audience) -> Vec<ConnId> {
    let Audience::Several(topics) = audience else { return state.registry.open_ids(|of| of == endpoint) };
    let table = state.outgoing.topics();
    let mut slots: Vec<usize> = topics.iter().filter_map(|topic| table.slots(*topic)).flatten().collect();
    slots.sort_unstable();
    slots.dedup();
    slots.into_iter().filter_map(|slot| state.registry.at(slot)).map(|(id, _)| id).collect()
}

/// What became of a batch at its connections.
#[derive(Default)]
struct Outcomes {
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

impl Outcomes {
    #[inline(always)]
    fn publish(
        &mut self,
        conn: &mut Conn,
        io: &mut LoopIo,
        batch: &Rc<Framed>,
        apart: Option<&Apart>,
        (id, entry): (ConnId, Entry),
    ) {
        let published = conn.publish(io, batch, apart, id, entry);
        let queued = conn.queued_bytes().saturating_add(io.outgoing.slow_bytes(id));
        self.note(id, published, queued);
    }

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
            Published::Slow => {}
            Published::Sent(count) => self.messages += count as u64,
        }
    }
}
