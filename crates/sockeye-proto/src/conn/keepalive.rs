//! Deadlines of keepalive and of the closing handshake. Lazy: a read costs one store, and no timer
//! is moved.

use alloc::sync::Arc;
use core::time::Duration;

use super::connection::Connection;
use super::control::ControlPayload;
use super::state::State;
use crate::close::{Cause, Timeout};
use crate::time::Instant;

impl Connection {
    /// Records that bytes arrived. Call it once per read, after the last [`receive`](Self::receive)
    /// of that read.
    ///
    /// A caller that has paused reading calls it also at each deadline, because the silence is then
    /// not the peer's.
    ///
    /// Returns whether [`next_deadline`](Self::next_deadline) may have come forward. Usually it moves
    /// back.
    #[inline]
    pub fn receive_done(&mut self, now: Instant) -> bool {
        self.activity = now;
        let is_quiet = self.state == State::Open && self.timer.is_none();
        !is_quiet && self.stop_waiting(now)
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due. The deadline moves back with every read,
    /// so ask again when it has come, not after each call; only when
    /// [`receive_done`](Self::receive_done) says so has it come forward.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        match (self.state, self.timer) {
            (State::Open, Some(ping)) => Some(ping + self.limits.pong_within),
            (State::Open, None) => self.limits.ping_after.map(|silence| self.activity + silence),
            (State::Closing | State::Draining, deadline) => deadline,
            (State::Ended, _) => None,
        }
    }

    /// Gives this connection a keepalive of its own, instead of that of its
    /// [limits](crate::limits::ProtocolLimits): the silence after which a ping is sent (`None`: no pings),
    /// and the longest time from the ping until anything arrives. Both count from when they began, so
    /// something may be due at once.
    ///
    /// The connection then has a copy of its limits.
    pub fn set_keepalive(&mut self, ping_after: Option<Duration>, pong_within: Duration) {
        if (self.limits.ping_after, self.limits.pong_within) != (ping_after, pong_within) {
            let limits = Arc::make_mut(&mut self.limits);
            (limits.ping_after, limits.pong_within) = (ping_after, pong_within);
        }
        if ping_after.is_none() && self.state == State::Open {
            // Nothing is awaited any longer.
            self.timer = None;
        }
    }

    /// Whether [`handle_timeout`](Self::handle_timeout) would queue a keepalive ping. A
    /// [`ping`](Self::ping) that is queued before that serves as it.
    #[must_use]
    pub fn is_ping_due(&self, now: Instant) -> bool {
        self.state == State::Open && self.timer.is_none() && self.next_deadline().is_some_and(|due| due <= now)
    }

    /// Whether a keepalive ping was queued and nothing has arrived since.
    #[must_use]
    pub fn awaits_pong(&self) -> bool {
        self.state == State::Open && self.timer.is_some()
    }

    /// Does what is due at `now`: queues the keepalive ping, or ends the connection. Has no effect
    /// if nothing is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.next_deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        match (self.state, self.timer) {
            (State::Open, Some(_)) => self.end(Cause::Timeout(Timeout::Keepalive)),
            (State::Open, None) => {
                // RFC 6455 section 5.5.2: "A Ping frame may serve either as a keepalive or as a
                // means to verify that the remote endpoint is still responsive." A queued ping of
                // the application serves as well.
                if !self.control.has_ping() {
                    self.control.set_ping(ControlPayload::EMPTY);
                }
                self.timer = Some(now);
            }
            _ => self.closing_timeout(),
        }
    }

    /// Bytes arrived while a ping was unanswered, or while the connection was closing.
    #[cold]
    fn stop_waiting(&mut self, now: Instant) -> bool {
        let before = self.next_deadline();
        if self.state == State::Open {
            self.timer = None;
        } else if self.timer.is_none() && self.state != State::Ended {
            self.timer = Some(now + self.limits.close_timeout);
        }
        self.next_deadline().is_some_and(|after| before.is_none_or(|before| after < before))
    }
}
