//! `sockeye echo`: every message back as it came.

mod backlog;

use sockeye::{Close, Cx, Fragment, Payload, Protocol, Service, Tx};

use self::backlog::{Backlog, Spares};
use crate::args;
use crate::failure::Failure;
use crate::server;

pub(crate) fn run(echo: &args::Echo) -> Result<(), Failure> {
    let mut limits = server::limits(&echo.common);
    limits.protocol_mut().message_bytes = echo.max_message;
    let prefix = echo.broadcast.clone().map(String::into_bytes);
    let builder = Service::builder().limits(limits).fallback(Echo { prefix, spares: Spares::default() });
    server::run(builder, echo.port, &echo.common)
}

/// Every connection, whatever path and subprotocol it asked for.
struct Echo {
    /// What begins a message for all.
    prefix: Option<Vec<u8>>,
    spares: Spares,
}

impl Protocol for Echo {
    /// A connection that owes nothing owns nothing.
    type Session = Option<Box<Backlog>>;

    fn name(&self) -> &str {
        "echo"
    }

    fn open(&mut self, _: &mut Cx<'_>) -> Self::Session {
        None
    }

    fn receive(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session, fragment: Fragment<'_>) -> Result<(), Close> {
        let backlog = session.get_or_insert_with(|| self.spares.take());
        backlog.push(fragment.payload);
        if !fragment.last {
            return Ok(());
        }
        if let Some(prefix) = &self.prefix {
            let message = backlog.unfinished(fragment.kind);
            if message.as_bytes().starts_with(prefix) {
                match message {
                    Payload::Text(text) => cx.publish_text(text),
                    Payload::Binary(bytes) => cx.publish_binary(bytes),
                }
                backlog.discard(fragment.kind);
                self.tidy(session);
                return Ok(());
            }
        }
        backlog.finish(fragment.kind);
        cx.request_writable();
        if backlog.waiting() >= HIGH {
            cx.pause_reading();
        }
        Ok(())
    }

    fn writable(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session, tx: Tx<'_>) -> Result<(), Close> {
        let Some(backlog) = session else { return Ok(()) };
        let was_high = backlog.waiting() >= HIGH;
        let mut permission = tx.idle();
        while let Some(message) = backlog.front() {
            let Some(writable) = permission else {
                cx.request_writable();
                break;
            };
            let sent = match message {
                Payload::Text(text) => writable.text(text),
                Payload::Binary(bytes) => writable.binary(bytes),
            };
            permission = sent.more();
            backlog.pop();
        }
        if was_high && backlog.waiting() < HIGH {
            cx.resume_reading();
        }
        self.tidy(session);
        Ok(())
    }
}

impl Echo {
    fn tidy(&mut self, session: &mut Option<Box<Backlog>>) {
        if let Some(backlog) = session.take_if(|backlog| backlog.is_empty()) {
            self.spares.give(backlog);
        }
    }
}

/// Bytes that wait to go back, from which on no more are read from that peer.
const HIGH: usize = 1 << 20;
