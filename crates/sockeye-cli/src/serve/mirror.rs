//! lws-mirror-protocol: what one connection sends, all get, the sender included.
//!
//! Messages leave as text, also those that came as binary: that is how the programs of 2013 know it. Binary that is not
//! UTF-8 cannot be text and is left out, with a line in the log for a connection that sends such, if there was none lately.

use std::time::Duration;

use sockeye::{Close, CloseCode, Closed, ConnId, Cx, Fragment, Instant, Protocol, Tx, Wishes};

use crate::serve::ring::{Flow, Full, Ring};

/// lws-mirror-protocol, for all its connections.
pub(crate) struct Mirror {
    ring: Ring<ConnId>,
    close_test: bool,
    /// When the log last said that something cannot be mirrored.
    logged_at: Option<Instant>,
}

impl Mirror {
    /// With `close_test` it takes messages and sends none.
    pub(crate) fn new(close_test: bool) -> Self {
        Self { ring: Ring::new(), close_test, logged_at: None }
    }

    fn publish(&mut self, cx: &mut Cx<'_>, writer: &mut Writer) -> Result<(), Close> {
        let message = std::mem::take(&mut writer.message);
        if self.close_test {
            return Ok(());
        }
        let Ok(text) = String::from_utf8(message) else {
            if !std::mem::replace(&mut writer.sends_no_text, true) && self.may_log(cx.now()) {
                tracing::warn!(peer = %cx.peer(), "a binary message that is not UTF-8 is not mirrored, nor are more of them");
            }
            return Ok(());
        };
        let now = cx.now();
        // While the ring is this full reading is paused, so this is no more than a precaution. The writer is told.
        let flow = self.ring.push(text, now).map_err(|Full| Close::new(CloseCode::TRY_AGAIN))?;
        self.ring.wake(|id| {
            // One that is gone leaves the ring with its `closed`.
            let _ = cx.request_writable_for(id);
        });
        self.apply(flow, cx);
        Ok(())
    }

    /// Whoever comes back with each such message fills no log either.
    fn may_log(&mut self, now: Instant) -> bool {
        let quiet = self.logged_at.is_some_and(|at| now.saturating_duration_since(at) < QUIET);
        if !quiet {
            self.logged_at = Some(now);
        }
        !quiet
    }

    /// Reading is paused for all, not for the writer only: however many write, the ring never overflows.
    fn apply(&self, flow: Flow, wishes: &mut Wishes<'_>) {
        match flow {
            Flow::Unchanged => {}
            Flow::Pause => {
                tracing::debug!("the mirror reads nothing more until its slowest reader has caught up");
                self.ring.readers().for_each(|id| _ = wishes.pause_for(id));
            }
            Flow::Resume => {
                tracing::debug!("the mirror reads on");
                self.ring.readers().for_each(|id| _ = wishes.resume_for(id));
            }
        }
    }
}

/// At most one line in such a time about what cannot be mirrored.
const QUIET: Duration = Duration::from_secs(1);

/// One connection as a writer.
#[derive(Default)]
pub(crate) struct Writer {
    /// What has come of a message.
    message: Vec<u8>,
    /// The log says so already: one line a connection, however many such messages come.
    sends_no_text: bool,
}

impl Protocol for Mirror {
    type Session = Writer;

    fn name(&self) -> &str {
        "lws-mirror-protocol"
    }

    fn open(&mut self, cx: &mut Cx<'_>) -> Writer {
        self.ring.join(cx.id());
        if self.ring.is_paused() {
            cx.pause_reading();
        }
        Writer::default()
    }

    fn receive(&mut self, cx: &mut Cx<'_>, writer: &mut Writer, fragment: Fragment<'_>) -> Result<(), Close> {
        writer.message.extend_from_slice(fragment.payload.as_bytes());
        if fragment.last { self.publish(cx, writer) } else { Ok(()) }
    }

    fn writable(&mut self, cx: &mut Cx<'_>, _: &mut Writer, tx: Tx<'_>) -> Result<(), Close> {
        let id = cx.id();
        let mut permission = tx.idle();
        while let Some(text) = self.ring.next(id) {
            let Some(writable) = permission else {
                cx.request_writable();
                break;
            };
            permission = writable.text(text).more();
            let flow = self.ring.taken(id);
            self.apply(flow, cx);
        }
        Ok(())
    }

    fn closed(&mut self, cx: &mut Cx<'_>, _: Writer, _: Closed) {
        let flow = self.ring.leave(cx.id());
        self.apply(flow, cx);
    }

    fn interval(&self) -> Option<Duration> {
        Some(Duration::from_secs(1))
    }

    fn tick(&mut self, wishes: &mut Wishes<'_>) {
        let overdue = self.ring.overdue(wishes.now());
        if !overdue.is_empty() {
            let count = overdue.len();
            tracing::warn!(count, "connections that read too slowly for the others are closed");
        }
        for id in overdue {
            tracing::debug!(connection = %id, "reads too slowly for the others and is closed");
            // 123 bytes are room enough; without a reason the code alone would do.
            let close =
                Close::with_reason(CloseCode::POLICY, "reads too slowly").unwrap_or(Close::new(CloseCode::POLICY));
            let _ = wishes.close_for(id, close);
            // It has nothing more to take: the others need not wait for the end of its closing handshake.
            let flow = self.ring.leave(id);
            self.apply(flow, wishes);
            let _ = wishes.resume_for(id);
        }
    }
}
