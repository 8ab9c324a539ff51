//! Deadlines: silence of the peer, and the closing handshake. Lazy: a read costs one store, no timer is moved.

use super::control::Pending;
use super::{Connection, State};
use crate::close::{Cause, Timeout};
use crate::time::Instant;

impl Connection {
    /// Notes that bytes arrived: to be called once a read, after the last [`receive`](Self::receive) of it.
    ///
    /// A caller that stops reading on purpose calls it too when a deadline comes, since the silence is not the peer's.
    #[inline]
    pub fn receive_done(&mut self, now: Instant) {
        self.activity = now;
        if self.state == State::Open {
            self.timer = None;
        } else {
            self.start_close_timer(now);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due. It moves with every read: ask again when it has come, not after each
    /// call.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        match (self.state, self.timer) {
            (State::Open, Some(ping)) => Some(ping + self.limits.pong_within),
            (State::Open, None) => self.limits.ping_after.map(|silence| self.activity + silence),
            (State::Closing | State::Draining, deadline) => deadline,
            (State::Ended, _) => None,
        }
    }

    /// Whether the keepalive ping was queued and nothing has come since.
    #[must_use]
    pub fn awaits_pong(&self) -> bool {
        self.state == State::Open && self.timer.is_some()
    }

    /// Does what is due at `now`: queues the keepalive ping, or ends the connection. Without effect when nothing is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.next_deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        match (self.state, self.timer) {
            (State::Open, Some(_)) => self.end(Cause::Timeout(Timeout::Keepalive)),
            (State::Open, None) => {
                // RFC 6455 section 5.5.2: "A Ping frame may serve either as a keepalive or as a means to verify that the remote
                // endpoint is still responsive." A ping of the application that still waits serves as well.
                if self.control.ping.is_none() {
                    self.control.ping = Pending::Empty;
                }
                self.timer = Some(now);
            }
            _ => self.closing_timeout(),
        }
    }

    #[cold]
    fn start_close_timer(&mut self, now: Instant) {
        if self.timer.is_none() && self.state != State::Ended {
            self.timer = Some(now + self.limits.close_timeout);
        }
    }
}
