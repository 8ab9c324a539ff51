//! What a connection knows of its closing handshake, and the body of a received Close frame (RFC
//! 6455 section 5.5.1).

use alloc::boxed::Box;

use crate::close::{Cause, Close, CloseCode, Closed, Initiator};
use crate::error::Violation;
use crate::event::CloseFrame;
use crate::wire::utf8;

/// The Close frames of both sides, and the cause of the end. Allocates when there is something to
/// store.
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
    /// Whether our Close frame is queued and not transmitted.
    #[inline]
    pub(super) fn has_unsent(&self) -> bool {
        self.0.as_ref().is_some_and(|exchange| exchange.unsent)
    }

    /// Our Close frame, if it is queued. It then counts as sent.
    pub(super) fn take_unsent(&mut self) -> Option<Close> {
        let exchange = self.0.as_mut().filter(|exchange| exchange.unsent)?;
        exchange.unsent = false;
        exchange.sent.clone()
    }

    /// Queues our Close frame, unless one was queued before.
    pub(super) fn queue(&mut self, close: Close) {
        let exchange = self.exchange();
        if exchange.sent.is_none() {
            if exchange.received.is_none() {
                exchange.initiator = Initiator::Local;
            }
            exchange.sent = Some(close);
            exchange.unsent = true;
        }
    }

    /// Stores the peer's Close frame.
    pub(super) fn set_received(&mut self, close: Close) {
        let exchange = self.exchange();
        if exchange.sent.is_none() {
            exchange.initiator = Initiator::Peer;
        }
        exchange.received = Some(close);
    }

    /// The peer's Close frame, once it has arrived.
    pub(super) fn received(&self) -> Option<&Close> {
        self.0.as_ref()?.received.as_ref()
    }

    /// Sets the cause of the end, unless there is one: the first cause is kept.
    pub(super) fn set_cause(&mut self, cause: Cause) {
        self.exchange().cause.get_or_insert(cause);
    }

    /// Drops a queued Close frame: the transport is gone.
    pub(super) fn discard_unsent(&mut self) {
        if let Some(exchange) = &mut self.0 {
            exchange.unsent = false;
        }
    }

    /// The summary for the application.
    pub(super) fn summary(&self) -> Closed {
        match &self.0 {
            Some(exchange) => Closed {
                sent: exchange.sent.clone(),
                received: exchange.received.clone(),
                initiator: exchange.initiator,
                cause: exchange.cause.unwrap_or(Cause::Dropped),
            },
            None => Closed { sent: None, received: None, initiator: Initiator::Neither, cause: Cause::Dropped },
        }
    }

    fn exchange(&mut self) -> &mut Exchange {
        self.0.get_or_insert_with(|| {
            Box::new(Exchange { sent: None, unsent: false, received: None, initiator: Initiator::Neither, cause: None })
        })
    }
}

/// Parses the body of a Close frame.
pub(super) fn parse_body(body: &[u8]) -> Result<CloseFrame<'_>, Violation> {
    match body {
        [] => Ok(CloseFrame { code: None, reason: "" }),
        // RFC 6455 section 5.5.1: "If there is a body, the first two bytes of the body MUST be a
        // 2-byte unsigned integer".
        [_] => Err(Violation::CloseCodeCut),
        [high, low, reason @ ..] => {
            let code = legal_code(*high, *low)?;
            // Section 5.5.1: "Following the 2-byte integer, the body MAY contain UTF-8-encoded data
            // with value /reason/".
            let reason = utf8::check(reason).map_err(|_| Violation::CloseReasonNotUtf8)?;
            Ok(CloseFrame { code: Some(code), reason })
        }
    }
}

/// Checks the beginning of an incomplete body, already unmasked.
pub(super) fn check_body_start(body: &[u8]) -> Result<(), Violation> {
    let [high, low, reason @ ..] = body else { return Ok(()) };
    legal_code(*high, *low)?;
    let (text, start) = reason.split_at(reason.len() - utf8::unfinished(reason));
    utf8::check(text).map_err(|_| Violation::CloseReasonNotUtf8)?;
    utf8::check_start(start).map_err(|_| Violation::CloseReasonNotUtf8)
}

fn legal_code(high: u8, low: u8) -> Result<u16, Violation> {
    let code = u16::from_be_bytes([high, low]);
    // RFC 6455 section 7.4.1 of 1005, 1006 and 1015: "MUST NOT be set as a status code in a Close
    // control frame by an endpoint."
    match CloseCode::new(code) {
        Some(_) => Ok(code),
        None => Err(Violation::CloseCodeIllegal(code)),
    }
}
