//! lws-mirror-protocol: what one connection sends, all get, the sender included.
//!
//! Messages leave as text, also those that came as binary: that is how the programs of 2013 know it. Binary that is not
//! UTF-8 cannot be text and is left out, with a line in the log for a connection that sends such, if there was none lately.

use std::sync::Arc;
use std::time::Duration;

use sockeye::proto::time::Instant;
use sockeye::protocol::ProtocolMut;
use sockeye::{Close, CloseCode, Closed, ClosedCx, Commands, ConnId, Control, Cx, Fragment, Handshake, Protocol, Tx};

use super::canvas::{Canvas, Errand, Reader, Rounds, Said};
use crate::server::ThreadCx;

/// lws-mirror-protocol, for all the connections of one thread.
pub(crate) struct Mirror {
    /// That of all threads.
    canvas: Arc<Canvas>,
    thread: ThreadCx,
    close_test: bool,
    /// When the log last said that something cannot be mirrored.
    logged_at: Option<Instant>,
}

impl Mirror {
    /// With `close_test` it takes messages and sends none.
    pub(crate) fn new(close_test: bool, canvas: Arc<Canvas>, thread: ThreadCx) -> Self {
        Self { canvas, thread, close_test, logged_at: None }
    }

    fn publish(&mut self, cx: &mut Cx<'_>, writer: &mut Writer) -> Result<(), Close> {
        let message = std::mem::take(&mut writer.message);
        if self.close_test {
            return Ok(());
        }
        let Ok(text) = String::from_utf8(message) else {
            if !std::mem::replace(&mut writer.sends_no_text, true) && self.may_log(cx.now()) {
                tracing::warn!(peer = %cx.peer(), "binary messages that are not UTF-8 are not mirrored");
            }
            return Ok(());
        };
        let (said, rounds) = self.canvas.say(self.reader(cx.id()), text, self.now());
        if said == Said::Held {
            cx.pause_reading();
        }
        self.go(rounds, cx);
        Ok(())
    }

    /// Reconnecting for each such message does not fill the log either.
    fn may_log(&mut self, now: Instant) -> bool {
        let quiet = self.logged_at.is_some_and(|at| now.saturating_duration_since(at) < QUIET);
        if !quiet {
            self.logged_at = Some(now);
        }
        !quiet
    }

    fn reader(&self, id: ConnId) -> Reader {
        Reader { thread: self.thread.index, id }
    }

    /// On a clock that all threads share; those of their loops begin at different moments.
    fn now(&self) -> Instant {
        let since = self.thread.started.elapsed();
        Instant::from_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Does what is to be done in this thread, and has the others do the rest.
    fn go(&self, rounds: Rounds, commands: &mut Commands) {
        for errand in rounds.own {
            do_errand(errand, commands);
        }
        for thread in rounds.ask {
            let canvas = Arc::clone(&self.canvas);
            let asked = self.thread.run_in(thread, move |control| run(&canvas.errands(thread), control));
            if !asked {
                self.canvas.not_asked(thread);
            }
        }
    }
}

/// Another thread asked this one to do its errands.
fn run(errands: &[Errand], control: &mut Control<'_>) {
    for &errand in errands {
        do_errand(errand, control);
    }
}

fn do_errand(errand: Errand, commands: &mut Commands) {
    let (Errand::Write(id) | Errand::Resume(id) | Errand::Close(id)) = errand;
    // One that is gone leaves the canvas with its `closed`.
    let Ok(mut connection) = commands.connection(id) else { return };
    match errand {
        Errand::Write(_) => connection.request_writable(),
        Errand::Resume(_) => connection.resume_reading(),
        Errand::Close(_) => {
            connection.resume_reading();
            connection.close(too_slow(id));
        }
    }
}

fn too_slow(id: ConnId) -> Close {
    tracing::debug!(connection = %id, "closing a connection that reads too slowly");
    // 123 bytes are room enough; without a reason the code alone would do.
    Close::with_reason(CloseCode::POLICY, "reads too slowly").unwrap_or(Close::new(CloseCode::POLICY))
}

/// The query of a page that shows the canvas.
const PAGE: &str = "canvas";

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

    fn open(&mut self, cx: &mut Cx<'_>, handshake: &Handshake<'_>) -> Writer {
        // The page asks for what was drawn before, and how many are here. Programs of 2013 expect nothing but what is sent while
        // they listen.
        let is_page = handshake.request().and_then(|request| request.query()) == Some(PAGE);
        self.canvas.join(self.reader(cx.id()), is_page && !self.close_test);
        if is_page {
            cx.request_writable();
        }
        Writer::default()
    }

    fn receive(&mut self, cx: &mut Cx<'_>, writer: &mut Writer, fragment: Fragment<'_>) -> Result<(), Close> {
        writer.message.extend_from_slice(fragment.payload.as_bytes());
        if fragment.last { self.publish(cx, writer) } else { Ok(()) }
    }

    fn writable(&mut self, cx: &mut Cx<'_>, _: &mut Writer, tx: Tx<'_>) -> Result<(), Close> {
        let reader = self.reader(cx.id());
        let mut permission = tx.idle();
        if let Some(writable) = permission {
            permission = match self.canvas.take_news(reader) {
                // What is mirrored is always text, so no peer can say this.
                Some(pages) => writable.binary(format!("pages {pages}").as_bytes()).more(),
                None => Some(writable),
            };
        }
        while let Some(writable) = permission {
            let Some((text, rounds)) = self.canvas.take(reader, self.now()) else { return Ok(()) };
            permission = writable.text(&text).more();
            self.go(rounds, cx);
        }
        if self.canvas.has_next(reader) {
            cx.request_writable();
        }
        Ok(())
    }

    fn closed(&mut self, cx: &mut ClosedCx<'_>, _: Writer, _: Closed) {
        let rounds = self.canvas.leave(self.reader(cx.id()), self.now());
        self.go(rounds, cx);
    }

    fn interval(&self) -> Option<Duration> {
        Some(Duration::from_secs(1))
    }

    fn tick(&mut self, own: &mut ProtocolMut<'_>) {
        let (count, rounds) = self.canvas.look(self.thread.index, self.now());
        if count > 0 {
            tracing::warn!(count, "closed connections that read too slowly");
        }
        self.go(rounds, own);
    }
}
