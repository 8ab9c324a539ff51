//! Messages for all connections of a protocol: framed once, gathered for a turn, one send for each connection.

use std::rc::Rc;

use sockeye_proto::close::Cause;

use crate::conn::{self, Phase};
use crate::output::pool::Buffer;
use crate::output::{Bits, Out};
use crate::protocol::ConnId;
use crate::service::{Service, turn};
use crate::shared::EndpointIndex;
use crate::statistics::{Culprit, Whose};
use crate::sys::CloseHow;

/// A buffer of published frames that is this long leaves before the turn ends.
const LARGE: usize = 64 * 1024;
/// What a share of a buffer costs, beside its bytes.
const SHARE: usize = 64;

impl Service {
    /// Sends what was published in this turn.
    pub(crate) fn flush_publishes(&mut self) {
        if !self.stage.shared.any_publish {
            return;
        }
        self.stage.shared.any_publish = false;
        self.stage.outlet.steps_over(0);
        for index in 0..self.stage.shared.publishes.len() {
            self.flush_publish(index);
        }
        self.stage.outlet.lap(Culprit::Publish, Whose::default());
    }

    /// Sends the buffers that have grown large, so that the memory of a turn stays bounded.
    pub(crate) fn flush_large_publishes(&mut self) {
        for index in 0..self.stage.shared.publishes.len() {
            if self.stage.shared.publishes.get(index).is_some_and(|buffer| buffer.len() >= LARGE) {
                self.flush_publish(index);
            }
        }
    }

    fn flush_publish(&mut self, index: usize) {
        let Some(buffer) = self.stage.shared.publishes.get_mut(index).filter(|buffer| !buffer.is_empty()) else {
            return;
        };
        let bytes = Rc::new(Buffer(std::mem::take(buffer)));
        let messages = std::mem::take(&mut self.stage.shared.published[index]);
        let receivers = self.send_published(EndpointIndex(index as u16), &bytes);
        let statistics = &mut self.stage.outlet.statistics;
        statistics.work.publishes += 1;
        statistics.sent.messages += messages * receivers;
        // Nobody kept a share: the memory serves the next turn.
        if let Ok(mut bytes) = Rc::try_unwrap(bytes) {
            let mut bytes = bytes.take();
            bytes.clear();
            // A large one must not stay in memory for ever.
            bytes.shrink_to(2 * LARGE);
            if let Some(buffer) = self.stage.shared.publishes.get_mut(index).filter(|buffer| buffer.capacity() == 0) {
                *buffer = bytes;
            }
        }
    }

    /// Returns how many connections it goes to.
    fn send_published(&mut self, endpoint: EndpointIndex, bytes: &Rc<Buffer>) -> u64 {
        let hard = self.stage.limits.output_hard;
        let (mut over, mut again, mut receivers) = (Vec::new(), Vec::new(), 0);
        let Self { stage, conns, .. } = self;
        for (id, live) in stage.shared.live.iter() {
            if !live.is_open() || live.endpoint != endpoint {
                continue;
            }
            let Some(conn) = conns.get_mut(id.slot()).and_then(Option::as_mut) else { continue };
            let Phase::Ws(ws) = &conn.phase else { continue };
            if !ws.can_send() {
                continue;
            }
            let waiting = conn.waiting();
            if waiting > 0 && waiting.saturating_add(bytes.0.len()) > hard {
                over.push(id);
                continue;
            }
            receivers += 1;
            if ws.mid_message().is_some() {
                // A message may not come between the fragments of another (RFC 6455 section 5.4).
                let held = conn.held.get_or_insert_default();
                held.len += bytes.0.len() + SHARE;
                held.frames.push(bytes.clone());
            } else {
                let role = ws.role();
                Out::new(&mut stage.outlet, &mut conn.link).put_published(role, bytes);
                if conn.link.bits.has(Bits::BROKEN) || (conn.link.queue.is_some() && conn.link.bits.has(Bits::WRITABLE))
                {
                    again.push(id);
                }
            }
        }
        // No step of these follows, and perhaps no edge: they broke, or a signal came between.
        for id in again {
            self.stage.shared.enqueue(id);
        }
        for id in over {
            self.overflow(id);
        }
        receivers
    }

    /// A peer that takes nothing while more is published for it than it may have waiting is given up.
    #[cold]
    fn overflow(&mut self, id: ConnId) {
        let Self { stage, conns, .. } = self;
        let Some(conn) = conns.get_mut(id.slot()).and_then(Option::as_mut) else { return };
        let Phase::Ws(ws) = &mut conn.phase else { return };
        ws.abort(Cause::Overflow);
        let closed = ws.closed();
        tracing::debug!(%id, peer = %conn.peer, "too much output waits; the connection is reset");
        conn::ws::tell_closed(stage, id, &conn.peer, closed);
        turn::bury(self, id, CloseHow::Reset);
    }
}
