//! What callbacks asked for, carried out between steps.

use sockeye_proto::close::Close;

use crate::client::FailureCause;
use crate::conn::{Abort, Closing};
use crate::id::ConnId;
use crate::service::core::Service;
use crate::state::{End, Entry};
use crate::sys::CloseHow;

impl Service {
    /// Carries out the requests of callbacks: adoptions, timers, closes and connects.
    #[inline]
    pub(super) fn carry_out(&mut self) {
        if self.env.state.has_new_commands() {
            self.carry_out_new();
        }
    }

    #[inline(never)]
    fn carry_out_new(&mut self) {
        if !self.env.state.queue.adoptions.is_empty() {
            self.start_adoptions();
        }
        if self.env.state.account.is_over() {
            self.shed();
        }
        if !self.env.state.queue.message_bytes.is_empty() {
            self.carry_out_limits();
        }
        if !self.env.state.queue.timers.is_empty() {
            self.carry_out_timers();
        }
        if !self.env.state.queue.controls.is_empty() {
            self.carry_out_controls();
        }
        if !self.env.state.queue.ends.is_empty() {
            self.carry_out_requested_ends();
        }
        if self.env.state.connects.has_work() {
            self.start_connects();
        }
        self.env.state.queue.settle();
    }

    #[cold]
    pub(super) fn carry_out_limits(&mut self) {
        while let Some(&(id, _)) = self.env.state.queue.message_bytes.first() {
            let limits = self.env.state.take_limits(id);
            if let (Some(conn), Some(limits)) = (self.connections.in_slot(id), limits) {
                conn.set_limits(limits);
            }
        }
    }

    fn carry_out_timers(&mut self) {
        let mut timers = std::mem::take(&mut self.env.state.queue.timers);
        for (id, at) in timers.drain(..) {
            // A connection that ended meanwhile has no callback for it.
            let is_open = self.env.state.registry.get(id).is_some_and(Entry::is_open);
            if let Some(conn) = self.connections.in_slot(id).filter(|_| is_open) {
                conn.set_user_timer(at);
                self.arm(id);
            }
        }
        self.env.state.queue.timers = timers;
    }

    /// Pings, pongs and keepalive of single connections. A frame leaves with the ready list.
    #[cold]
    fn carry_out_controls(&mut self) {
        let now = self.env.state.now;
        let mut controls = std::mem::take(&mut self.env.state.queue.controls);
        for (id, request) in controls.drain(..) {
            let Some(conn) = self.connections.get_mut(&self.env.state.registry, id) else { continue };
            if conn.control(request, now) {
                self.env.state.registry.enqueue(id);
            }
            self.arm(id);
        }
        self.env.state.queue.controls = controls;
    }

    pub(super) fn carry_out_requested_ends(&mut self) {
        let mut ends = std::mem::take(&mut self.env.state.queue.ends);
        for (id, end) in ends.drain(..) {
            match end {
                End::Close(close) => self.close_now(id, close),
                End::Abort => self.abort_now(id),
                End::Output => self.end_output(id),
                End::Plain(start) => self.start_tls(id, &start),
            }
        }
        // The callbacks of connections that ended may have requested more.
        ends.append(&mut self.env.state.queue.ends);
        self.env.state.queue.ends = ends;
    }

    /// Ends a connection that is alive without notifying its peer.
    fn abort_now(&mut self, id: ConnId) {
        let Some(entry) = self.env.state.registry.get(id).filter(|entry| entry.is_alive()) else { return };
        if entry.is_connecting() {
            return self.cancel(id, FailureCause::Cancelled);
        }
        let Self { env, connections, .. } = self;
        if let Some(conn) = connections.in_slot(id) {
            conn.abort(env, id, Abort::Requested);
            self.close_and_retire(id, CloseHow::Reset);
        }
    }

    /// Starts the closing handshake, or the end of a raw connection; its frame leaves with the
    /// ready list. A connect without an outcome is cancelled. A connection that speaks HTTP ends at once, or after the
    /// answer that has begun.
    fn close_now(&mut self, id: ConnId, close: Close) {
        if self.env.state.registry.is_connecting(id) {
            self.cancel(id, FailureCause::Cancelled);
            return;
        }
        let now = self.env.state.now;
        let until = now + self.env.limits.protocol.close_timeout;
        let Some(conn) = self.connections.get_mut(&self.env.state.registry, id) else { return };
        match conn.close(close, now, until) {
            Closing::Step => {
                self.env.state.registry.enqueue(id);
                self.closing_waits = true;
            }
            Closing::Now => self.close_and_retire(id, CloseHow::Normal),
            Closing::Ignored => {}
        }
    }
}
