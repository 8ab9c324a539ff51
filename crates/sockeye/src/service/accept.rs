//! Accepting: who is admitted, and when accepting pauses.

use std::io;
use std::time::Duration;

use crate::conn::{Conn, Entrance, NEVER};
use crate::id::ConnId;
use crate::service::core::Service;
use crate::state::Entry;
use crate::statistics::{Culprit, WorkOwner};
use crate::sys::{Address, CloseHow, Handle};

/// How long accepting pauses when the system is out of resources for another connection. A
/// connection that ends meanwhile ends the pause too.
const RETRY: Duration = Duration::from_millis(250);

impl Service {
    /// Accepts waiting connections, within the turn's share and the limit of connections.
    pub(crate) fn accept_some(&mut self) {
        let now = self.env.state.now;
        if !self.accepting.any_ready() || self.accepting.retry_at.is_some_and(|at| at > now) {
            return;
        }
        self.env.io.steps_over(0);
        self.accept_waiting();
        self.env.io.lap(Culprit::Accept, WorkOwner::default());
    }

    fn accept_waiting(&mut self) {
        let now = self.env.state.now;
        self.accepting.retry_at = None;
        let mut share = self.env.limits.turn_accepts.max(1);
        let count = self.accepting.listeners.len();
        let first = self.accepting.first;
        self.accepting.first = (first + 1) % count.max(1);
        for index in (first..count).chain(0..first) {
            while self.accepting.is_ready(index) {
                if !self.takes_place() {
                    self.env.io.meters.statistics.limits.connections += 1;
                    self.pause_accepting("the limit of connections is reached", None);
                    return;
                }
                if share == 0 {
                    // More are waiting: continue in the next turn, without a wait.
                    self.accepting.retry_at = Some(now);
                    self.env.io.meters.statistics.limits.turn_accepts += 1;
                    return;
                }
                share -= 1;
                if !self.accept_one(index) {
                    return;
                }
            }
        }
    }

    /// Accepts one connection. Returns false when accepting has to pause.
    fn accept_one(&mut self, index: usize) -> bool {
        let Some(Some(listener)) = self.accepting.listeners.get_mut(index) else { return false };
        match self.env.io.sys.accept(listener.handle) {
            Ok((handle, peer)) => {
                let entrance = listener.entrance.clone();
                self.admit(handle, peer, entrance);
                true
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => {
                    listener.ready = false;
                    true
                }
                // One that is already gone does not stop accepting.
                io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset => true,
                // No room (EMFILE, ENFILE, ENOBUFS, ENOMEM) or refused by the system (EPERM, EPROTO): the connection
                // stays in the queue and no edge announces it again, so a timer does.
                _ => {
                    self.env.io.meters.statistics.limits.descriptors += 1;
                    self.pause_accepting("accepting failed", Some(&error));
                    false
                }
            },
        }
    }

    fn pause_accepting(&mut self, why: &str, error: Option<&io::Error>) {
        let now = self.env.state.now;
        self.accepting.retry_at = Some(now + RETRY);
        self.env.io.meters.statistics.work.accept_pauses += 1;
        if self.accepting.may_log(now) {
            let error = error.map(tracing::field::display);
            tracing::warn!(
                error,
                connections = self.env.state.registry.len(),
                limit = self.max_connections,
                "{why}; accepting pauses"
            );
        }
    }

    fn admit(&mut self, handle: Handle, peer: Address, entrance: Entrance) {
        let is_raw = matches!(entrance, Entrance::Raw { .. });
        let id = self.env.state.registry.insert_accepted();
        let Some(conn) = Conn::accepted(&mut self.env, id, handle, peer, entrance) else {
            self.env.io.sys.close(handle, CloseHow::Reset);
            self.env.state.registry.remove(id);
            return;
        };
        if let Err(error) = self.env.io.sys.register(handle, id.as_u64()) {
            if self.accepting.may_log(self.env.state.now) {
                tracing::warn!(%error, "a connection could not be watched");
            }
            self.env.io.meters.statistics.refusals.unwatched += 1;
            conn.close_socket(&mut self.env, id, CloseHow::Reset);
            self.env.state.registry.remove(id);
            return;
        }
        tracing::debug!(%id, peer = %conn.peer(), "accepted");
        self.install(id, conn);
        if is_raw {
            self.env.io.lap(Culprit::Accept, WorkOwner::default());
        }
        self.begin(id);
    }

    /// Calls `open` for a connection that needs no handshake.
    pub(super) fn begin(&mut self, id: ConnId) {
        let Self { env, connections, .. } = self;
        if let Some(conn) = connections.in_slot(id) {
            conn.begin(env, id);
        }
    }

    /// Stores a connection in its slot.
    pub(super) fn install(&mut self, id: ConnId, mut conn: Conn) {
        let entry = self.env.state.registry.get(id);
        let statistics = &mut self.env.io.meters.statistics;
        if entry.is_some_and(Entry::is_adopted) {
            statistics.connection_adopted();
        } else {
            statistics.connection_begins(entry.is_some_and(Entry::is_client));
        }
        let deadline = conn.deadline();
        conn.set_armed(deadline);
        // Without a deadline there is no timer, not even in centuries: external loops count in
        // small integers.
        if deadline != NEVER {
            self.timers.add(deadline, id);
        }
        self.connections.insert(id, conn);
    }
}
