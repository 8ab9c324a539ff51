//! The end of a connection that has sent its last bytes while the peer may still be sending.
//!
//! Closing a TCP socket with unread input resets the connection, and a reset can overtake our last
//! bytes (RFC 9112 section 9.6). So our side is shut down first, and input is read and dropped
//! until the peer ends its side or the timeout passes.

use sockeye_proto::time::Instant;

use crate::conn::env::Env;
use crate::conn::step::Step;
use crate::conn::wire::{NEVER, Wire};
use crate::sys::CloseHow;
use crate::transport::{Read, SocketWriter};

/// Flush, shut down our side, drain.
pub(super) struct Linger {
    until: Instant,
    /// Our side is shut down.
    is_shut: bool,
    /// The peer ended its side.
    has_ended: bool,
}

impl Linger {
    /// Starts lingering. Queued output is still sent; unused input is dropped.
    pub(super) fn begin(wire: &mut Wire, env: &Env) -> Self {
        wire.socket.ignore_input();
        wire.user_timer = NEVER;
        let until = env.state.now + env.limits.protocol.close_timeout;
        Self { until, is_shut: false, has_ended: false }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.until
    }

    pub(super) fn step(&mut self, wire: &mut Wire, env: &mut Env) -> Step {
        SocketWriter::new(&mut env.io, &mut wire.socket).flush();
        if wire.socket.is_broken() {
            return Step::Gone(CloseHow::Normal);
        }
        if !wire.socket.has_backlog() && !self.is_shut {
            SocketWriter::new(&mut env.io, &mut wire.socket).end_stream();
        }
        if !wire.socket.has_backlog() && !self.is_shut {
            self.is_shut = true;
            if wire.socket.shutdown_write(&mut env.io).is_err() {
                return Step::Gone(CloseHow::Normal);
            }
        }
        let mut budget = env.share.bytes;
        while !self.has_ended {
            if budget == 0 {
                return Step::Yield;
            }
            match wire.socket.read(&mut env.io, &mut env.rx, budget) {
                Read::Bytes(count) | Read::Sealed(count) => budget -= count.min(budget),
                Read::Nothing => return Step::Wait,
                Read::End => self.has_ended = true,
                Read::Failed(_) => return Step::Gone(CloseHow::Normal),
            }
        }
        if wire.socket.has_backlog() { Step::Wait } else { Step::Gone(CloseHow::Normal) }
    }
}
