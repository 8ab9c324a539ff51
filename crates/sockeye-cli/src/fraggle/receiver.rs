//! The client of fraggle-protocol: checks every message, and says so.

use std::cell::RefCell;
use std::io::{self, Write as _};
use std::rc::Rc;

use sockeye::proto::close::{Cause, Initiator};
use sockeye::protocol::ProtocolMut;
use sockeye::{Close, CloseCode, Closed, ClosedCx, Cx, Fragment, Handshake, Protocol, Tx};

use super::generator::NAME;
use super::verifier::Verifier;
use crate::failure::{self, Failure};

/// fraggle-protocol, for the one connection of a client.
pub(crate) struct Receiver {
    report: Rc<RefCell<Report>>,
}

/// What has come of it so far.
#[derive(Debug)]
pub(crate) struct Report {
    /// Messages to check; none: as many as come.
    pub(crate) count: Option<u64>,
    pub(crate) checked: u64,
    pub(crate) bytes: u64,
    pub(crate) failure: Option<Failure>,
}

impl Receiver {
    pub(crate) fn new(report: Rc<RefCell<Report>>) -> Self {
        Self { report }
    }
}

impl Report {
    pub(crate) fn new(count: Option<u64>) -> Self {
        Self { count, checked: 0, bytes: 0, failure: None }
    }

    fn is_done(&self) -> bool {
        self.count.is_some_and(|count| self.checked >= count)
    }

    fn take(&mut self, verifier: &mut Verifier, fragment: &Fragment<'_>) -> Result<(), Close> {
        let piece = fragment.payload.as_bytes();
        match verifier.take(fragment.kind, piece, fragment.remaining == 0, fragment.last) {
            Ok(None) => Ok(()),
            Ok(Some(message)) => {
                self.checked += 1;
                self.bytes += message.bytes;
                let fragments = match message.fragments {
                    0 => String::new(),
                    fragments => format!(" in {fragments} fragments"),
                };
                // The output may have no reader.
                let _ = writeln!(
                    io::stdout(),
                    "message {}: {} bytes{fragments}, and the sum {:#010x} is right",
                    self.checked,
                    message.bytes,
                    message.sum
                );
                if self.is_done() { Err(CloseCode::NORMAL.into()) } else { Ok(()) }
            }
            Err(wrong) => {
                let message = format!("message {}: {wrong}", self.checked + 1);
                self.failure = Some(Failure { code: failure::PROTOCOL, message });
                Err(CloseCode::POLICY.into())
            }
        }
    }

    /// The connection is over: was that an end?
    fn end(&mut self, verifier: &Verifier, closed: &Closed) {
        // If this side closed, it is known why: enough messages, a wrong one, or a signal.
        let ours = closed.initiator == Initiator::Local && !matches!(closed.cause, Cause::Violation(_));
        if self.failure.is_some() || self.is_done() || ours {
            return;
        }
        let code = closed.code_seen();
        let (code, message) = match &closed.cause {
            Cause::Violation(violation) => (failure::PROTOCOL, format!("the server broke the protocol: {violation}")),
            Cause::Handshake if matches!(code, 1000 | 1001 | 1005) && !verifier.is_inside() => match self.count {
                None => return,
                Some(count) => (
                    failure::THRESHOLD,
                    format!("the server closed with {code} after {} of {count} messages", self.checked),
                ),
            },
            Cause::Handshake => (failure::PROTOCOL, format!("the server closed with {code} inside a message")),
            cause => (failure::PROTOCOL, format!("the connection was lost: {cause:?}")),
        };
        self.failure = Some(Failure { code, message });
    }
}

impl Protocol for Receiver {
    type Session = Verifier;

    fn name(&self) -> &str {
        NAME
    }

    fn open(&mut self, _: &mut Cx<'_>, handshake: &Handshake<'_>) -> Verifier {
        if handshake.compression().is_some() { Verifier::compressed() } else { Verifier::default() }
    }

    fn receive(&mut self, _: &mut Cx<'_>, verifier: &mut Verifier, fragment: Fragment<'_>) -> Result<(), Close> {
        self.report.borrow_mut().take(verifier, &fragment)
    }

    /// Clients of this protocol say nothing.
    fn writable(&mut self, _: &mut Cx<'_>, _: &mut Verifier, _: Tx<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn failed(&mut self, own: &mut ProtocolMut<'_>, _: sockeye::ConnId, failure: sockeye::Failure) {
        let mut report = self.report.borrow_mut();
        if report.failure.is_none() {
            report.failure = Some(Failure::from(&failure));
        }
        own.drain();
    }

    fn closed(&mut self, cx: &mut ClosedCx<'_>, verifier: Verifier, closed: Closed) {
        self.report.borrow_mut().end(&verifier, &closed);
        cx.drain();
    }
}
