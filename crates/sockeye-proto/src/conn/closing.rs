//! The closing handshake (RFC 6455 section 7) and the other ways a connection ends.

use alloc::borrow::{Cow, ToOwned};

use super::connection::Connection;
use super::control::ControlQueue;
use super::state::State;
use crate::close::{Cause, Close, CloseCode, Closed, Timeout};
use crate::error::Violation;
use crate::event::CloseFrame;
use crate::time::Instant;
use crate::wire::Role;

impl Connection {
    /// Starts the closing handshake: queues a Close frame and waits for the peer's, at most for
    /// [`ProtocolLimits::close_timeout`](crate::limits::ProtocolLimits::close_timeout). Has no
    /// effect if our Close frame is already queued or sent.
    pub fn close(&mut self, close: Close, now: Instant) {
        if self.state == State::Open {
            self.handshake.queue(close);
            self.state = State::Closing;
            self.timer = Some(now + self.limits.close_timeout);
            self.receiver.ignore_data();
        }
    }

    /// The peer has ended its sending side of the TCP connection.
    pub fn handle_eof(&mut self) {
        match self.state {
            // RFC 6455 section 7.1.5: no Close frame before the end of the TCP connection is an
            // abnormal closure, 1006.
            State::Open | State::Closing => self.end(Cause::Eof),
            // Section 5.5.1: "The server MUST close the underlying TCP connection immediately; the
            // client SHOULD wait for the server to close the connection": it has. A server still
            // flushes its Close frame, because the client may have ended only its sending side.
            State::Draining if self.role == Role::Client => self.end(Cause::Eof),
            State::Draining | State::Ended => {}
        }
    }

    /// Reading from or writing to the transport failed.
    pub fn handle_reset(&mut self) {
        self.abort(Cause::Reset);
    }

    /// Ends the connection without a closing handshake. [`closed`](Self::closed) then reports
    /// `cause`, unless the connection has a cause already.
    pub fn abort(&mut self, cause: Cause) {
        self.end(cause);
    }

    /// The transport has accepted everything that was transmitted. In [`State::Draining`] this ends
    /// a server's connection. A client keeps waiting for the server to end the TCP connection.
    pub fn handle_flushed(&mut self) {
        // RFC 6455 section 7.1.1: "The underlying TCP connection, in most normal cases, SHOULD be
        // closed first by the server, so that it holds the TIME_WAIT state and not the client".
        if self.state == State::Draining && self.role == Role::Server && !self.wants_transmit() {
            self.state = State::Ended;
        }
    }

    /// How the connection ended. Meaningful once it is over; before that, the cause is
    /// [`Cause::Dropped`].
    #[must_use]
    pub fn closed(&self) -> Closed {
        self.handshake.summary()
    }

    /// The peer's Close frame, if it has arrived.
    #[must_use]
    pub fn close_received(&self) -> Option<&Close> {
        self.handshake.received()
    }

    /// Handles the peer's Close frame. Answers it, unless our own is already queued or sent.
    pub(super) fn take_close(&mut self, frame: CloseFrame<'_>) {
        let code = frame.code.and_then(CloseCode::new);
        self.handshake.set_received(match code {
            Some(code) => Close::with_reason(code, Cow::Owned(frame.reason.to_owned())).unwrap_or_default(),
            None => Close::empty(),
        });
        // RFC 6455 section 5.5.1: "If an endpoint receives a Close frame and did not previously
        // send a Close frame, the endpoint MUST send a Close frame in response. (When sending a
        // Close frame in response, the endpoint typically echos the status code it received.)"
        self.handshake.queue(code.map_or_else(Close::empty, Close::new));
        self.handshake.set_cause(Cause::Handshake);
        self.drain();
    }

    /// _Fail the WebSocket Connection_.
    #[cold]
    pub(super) fn fail(&mut self, violation: Violation) {
        // RFC 6455 section 7.1.7: "If _The WebSocket Connection is Established_ prior to the point
        // where the endpoint is required to _Fail the WebSocket Connection_, the endpoint SHOULD
        // send a Close frame with an appropriate status code (Section 7.4) before proceeding to
        // _Close the WebSocket Connection_."
        let close = Close::with_reason(violation.close_code(), violation.rule()).unwrap_or_default();
        self.handshake.queue(close);
        self.handshake.set_cause(Cause::Violation(violation));
        self.drain();
    }

    /// The deadline of the closing handshake has passed.
    pub(super) fn closing_timeout(&mut self) {
        self.end(Cause::Timeout(Timeout::Close));
    }

    /// Stops receiving.
    fn drain(&mut self) {
        if self.state == State::Open {
            // This was keepalive's timer. `receive_done` starts the one of the closing handshake.
            self.timer = None;
        }
        self.state = State::Draining;
        self.control.drop_ping();
        // RFC 6455 section 7.1.7: "An endpoint MUST NOT continue to attempt to process data
        // (including a responding Close frame) from the remote endpoint after being instructed to
        // _Fail the WebSocket Connection_." Section 1.4: "after receiving a control frame
        // indicating the connection should be closed, a peer discards any further data received."
        self.receiver.discard();
    }

    pub(super) fn end(&mut self, cause: Cause) {
        if self.state != State::Ended {
            self.handshake.set_cause(cause);
            self.handshake.discard_unsent();
            self.control = ControlQueue::default();
            self.state = State::Ended;
            self.receiver.discard();
        }
    }
}
