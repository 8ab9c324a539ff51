//! The closing handshake (RFC 6455 section 7), and the other ways to end.

use alloc::borrow::{Cow, ToOwned};
use alloc::boxed::Box;

use super::control::{ControlQueue, Pending};
use super::{Connection, State};
use crate::close::{Cause, Close, CloseCode, Closed, Initiator, Timeout};
use crate::error::Violation;
use crate::event::CloseFrame;
use crate::time::Instant;
use crate::wire::{Role, utf8};

/// The Close frames of both sides, once there is one, and why the connection ends.
#[derive(Debug, Default)]
pub(super) struct CloseHandshake(Option<Box<Exchange>>);

#[derive(Debug)]
struct Exchange {
    sent: Option<Close>,
    /// `sent` waits to be transmitted.
    unsent: bool,
    received: Option<Close>,
    initiator: Initiator,
    cause: Option<Cause>,
}

impl CloseHandshake {
    #[inline]
    pub(super) fn has_unsent(&self) -> bool {
        self.0.as_ref().is_some_and(|exchange| exchange.unsent)
    }

    pub(super) fn take_unsent(&mut self) -> Option<Close> {
        let exchange = self.0.as_mut().filter(|exchange| exchange.unsent)?;
        exchange.unsent = false;
        exchange.sent.clone()
    }

    fn exchange(&mut self) -> &mut Exchange {
        self.0.get_or_insert_with(|| {
            Box::new(Exchange { sent: None, unsent: false, received: None, initiator: Initiator::Neither, cause: None })
        })
    }

    /// Queues our Close frame, unless one was.
    fn queue(&mut self, close: Close) {
        let exchange = self.exchange();
        if exchange.sent.is_none() {
            if exchange.received.is_none() {
                exchange.initiator = Initiator::Local;
            }
            exchange.sent = Some(close);
            exchange.unsent = true;
        }
    }

    /// There is no one left to send to.
    fn discard_unsent(&mut self) {
        if let Some(exchange) = &mut self.0 {
            exchange.unsent = false;
        }
    }

    /// Notes why it is over; the first cause stays.
    fn set_cause(&mut self, cause: Cause) {
        self.exchange().cause.get_or_insert(cause);
    }
}

impl Connection {
    /// Begins the closing handshake: queues a Close frame and waits for the peer's, for
    /// [`ProtocolLimits::close_timeout`](crate::limits::ProtocolLimits::close_timeout) at most. Without effect when a Close frame of
    /// ours is queued or sent already.
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
            // RFC 6455 section 7.1.5: no Close frame before the end of the TCP connection is an abnormal closure, 1006.
            State::Open | State::Closing => self.end(Cause::Eof),
            // Section 5.5.1: "The server MUST close the underlying TCP connection immediately; the client SHOULD wait for the
            // server to close the connection": it has. A server still has its Close frame to flush, since a client may have ended
            // its sending side only.
            State::Draining if self.role == Role::Client => self.end(Cause::Eof),
            State::Draining | State::Ended => {}
        }
    }

    /// Reading from or writing to the transport failed.
    pub fn handle_reset(&mut self) {
        self.abort(Cause::Reset);
    }

    /// Ends the connection without a closing handshake. `cause` is what [`closed`](Self::closed) will tell, unless it was over
    /// already.
    pub fn abort(&mut self, cause: Cause) {
        self.end(cause);
    }

    /// The transport took all that was transmitted. In [`State::Draining`] this ends a server's connection; a client goes on
    /// waiting for the server to end TCP.
    pub fn handle_flushed(&mut self) {
        // RFC 6455 section 7.1.1: "The underlying TCP connection, in most normal cases, SHOULD be closed first by the server, so
        // that it holds the TIME_WAIT state and not the client".
        if self.state == State::Draining && self.role == Role::Server && !self.wants_transmit() {
            self.state = State::Ended;
        }
    }

    /// How the connection ended. To be asked when it is over; before that, the cause is [`Cause::Dropped`].
    #[must_use]
    pub fn closed(&self) -> Closed {
        match &self.handshake.0 {
            Some(exchange) => Closed {
                sent: exchange.sent.clone(),
                received: exchange.received.clone(),
                initiator: exchange.initiator,
                cause: exchange.cause.unwrap_or(Cause::Dropped),
            },
            None => Closed { sent: None, received: None, initiator: Initiator::Neither, cause: Cause::Dropped },
        }
    }

    /// The peer's Close frame is here: answers it, if our own is not queued or sent already.
    pub(super) fn close_received(&mut self, frame: CloseFrame<'_>) {
        let code = frame.code.and_then(CloseCode::new);
        let exchange = self.handshake.exchange();
        if exchange.sent.is_none() {
            exchange.initiator = Initiator::Peer;
        }
        exchange.received = Some(match code {
            Some(code) => Close::with_reason(code, Cow::Owned(frame.reason.to_owned())).unwrap_or_default(),
            None => Close::empty(),
        });
        // RFC 6455 section 5.5.1: "If an endpoint receives a Close frame and did not previously send a Close frame, the endpoint
        // MUST send a Close frame in response. (When sending a Close frame in response, the endpoint typically echos the status
        // code it received.)"
        self.handshake.queue(code.map_or_else(Close::empty, Close::new));
        self.handshake.set_cause(Cause::Handshake);
        self.drain();
    }

    /// _Fail the WebSocket Connection_.
    #[cold]
    pub(super) fn fail(&mut self, violation: Violation) {
        // RFC 6455 section 7.1.7: "If _The WebSocket Connection is Established_ prior to the point where the endpoint
        // is required to _Fail the WebSocket Connection_, the endpoint SHOULD send a Close frame with an appropriate
        // status code (Section 7.4) before proceeding to _Close the WebSocket Connection_."
        let close = Close::with_reason(violation.close_code(), violation.rule()).unwrap_or_default();
        self.handshake.queue(close);
        self.handshake.set_cause(Cause::Violation(violation));
        self.drain();
    }

    /// A deadline of the closing handshake has passed.
    pub(super) fn closing_timeout(&mut self) {
        self.end(Cause::Timeout(Timeout::Close));
    }

    /// Nothing more is received.
    fn drain(&mut self) {
        if self.state == State::Open {
            // It was that of keepalive; `receive_done` starts the one of closing.
            self.timer = None;
        }
        self.state = State::Draining;
        self.control.ping = Pending::None;
        // RFC 6455 section 7.1.7: "An endpoint MUST NOT continue to attempt to process data (including a responding Close frame)
        // from the remote endpoint after being instructed to _Fail the WebSocket Connection_." Section 1.4: "after receiving a
        // control frame indicating the connection should be closed, a peer discards any further data received."
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

/// Reads the body of a Close frame.
pub(super) fn parse_body(body: &[u8]) -> Result<CloseFrame<'_>, Violation> {
    match body {
        [] => Ok(CloseFrame { code: None, reason: "" }),
        // RFC 6455 section 5.5.1: "If there is a body, the first two bytes of the body MUST be a 2-byte unsigned integer".
        [_] => Err(Violation::CloseCodeCut),
        [high, low, reason @ ..] => {
            let code = legal_code(*high, *low)?;
            // Section 5.5.1: "Following the 2-byte integer, the body MAY contain UTF-8-encoded data with value /reason/".
            let reason = utf8::check(reason).map_err(|_| Violation::CloseReasonNotUtf8)?;
            Ok(CloseFrame { code: Some(code), reason })
        }
    }
}

/// Checks a Close frame that is not complete: `body` is its decoded beginning.
pub(super) fn check_body_start(body: &[u8]) -> Result<(), Violation> {
    let [high, low, reason @ ..] = body else { return Ok(()) };
    legal_code(*high, *low)?;
    let (text, start) = reason.split_at(reason.len() - utf8::unfinished(reason));
    utf8::check(text).map_err(|_| Violation::CloseReasonNotUtf8)?;
    utf8::check_start(start).map_err(|_| Violation::CloseReasonNotUtf8)
}

fn legal_code(high: u8, low: u8) -> Result<u16, Violation> {
    let code = u16::from_be_bytes([high, low]);
    // RFC 6455 section 7.4.1 of 1005, 1006 and 1015: "MUST NOT be set as a status code in a Close control frame by an endpoint."
    match CloseCode::new(code) {
        Some(_) => Ok(code),
        None => Err(Violation::CloseCodeIllegal(code)),
    }
}
