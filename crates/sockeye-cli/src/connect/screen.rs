//! Where what happens is shown: messages and events on standard output, the rest on standard error. With a line editor
//! all of it goes through the editor, so that nothing garbles the line.

use std::borrow::Cow;
use std::time::{Duration, Instant, SystemTime};

use sockeye::client::HandshakeHead;
use sockeye::log::escape;
use sockeye::messages::Message;
use sockeye::statistics::Compressed;

use crate::connect::color::Kind;
use crate::connect::encoding::Encoding;
use crate::connect::event::{Event, Origin};
use crate::connect::lines::Framing;
use crate::connect::secured::Secured;
use crate::connect::{editor, show};
use crate::failure::Failure;
use crate::log;
use crate::ping::statistics;
use crate::ratio;
use crate::stdout::Output;

/// Who looks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Style {
    /// A program.
    Pipe,
    /// A person.
    Terminal,
    /// A person who types at the same time.
    Editor,
}

/// Which streams have colours.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Colors {
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
}

/// What is shown, and where.
pub(crate) struct Screen {
    pub(crate) stdout: Output,
    pub(crate) style: Style,
    /// Write every event as a JSON object.
    pub(crate) json: bool,
    pub(crate) encoding: Option<Encoding>,
    pub(crate) framing: Framing,
    pub(crate) quiet: bool,
    /// Pings and pongs too.
    pub(crate) control: bool,
    /// The heads of the handshake, too.
    pub(crate) verbose: bool,
    pub(crate) colors: Colors,
    pub(crate) started: Instant,
}

impl Screen {
    pub(crate) fn message(&self, message: &Message<'_>, origin: Option<&Origin<'_>>) {
        if self.json {
            return self.event(&Event::Message(message, origin));
        }
        let named = origin.filter(|origin| origin.is_named && self.encoding != Some(Encoding::Raw));
        let message = &named.map_or(Cow::Borrowed(message), |origin| Cow::Owned(self.named(origin, message)));
        let mut out = Vec::with_capacity(message.as_bytes().len() + 3);
        show::message(&mut out, message, self.style != Style::Pipe, self.encoding);
        if self.style != Style::Pipe && self.colors.stdout {
            // For a terminal it is text, and ends with its line.
            let text = String::from_utf8_lossy(out.strip_suffix(b"\n").unwrap_or(&out));
            out = (Kind::Received.paint(&text) + "\n").into_bytes();
        }
        if self.style == Style::Pipe && self.framing == Framing::Nul && self.encoding != Some(Encoding::Raw) {
            out.pop();
            out.push(0);
        }
        self.stdout.push(&out);
    }

    /// A message behind the name of its topic.
    fn named(&self, origin: &Origin<'_>, message: &Message<'_>) -> Message<'static> {
        let text: Cow<'_, str> = match message {
            Message::Text(text) => Cow::Borrowed(text),
            Message::Binary(bytes) => self.encoding.unwrap_or(Encoding::Hex).encode(bytes).into(),
        };
        format!("[{}] {text}", origin.topic).into()
    }

    /// For programs that want every event; others get a note, or a message, in its own way.
    pub(crate) fn event(&self, event: &Event<'_>) {
        if self.json {
            let line = event.to_json(SystemTime::now(), self.started.elapsed(), self.encoding);
            self.stdout.push(line.as_bytes());
        }
    }

    /// One is sent.
    pub(crate) fn ping(&self, payload: &[u8]) {
        self.event(&Event::Ping { payload, by: "us" });
        if self.control && !self.json {
            self.say(Kind::Sent, &show::control('>', "ping", payload));
        }
    }

    /// One came, and is answered.
    pub(crate) fn pinged(&self, payload: &[u8]) {
        self.event(&Event::Ping { payload, by: "peer" });
        if self.control && !self.json {
            self.say(Kind::Received, &show::control('<', "ping", payload));
        }
    }

    /// One came, this long after a ping that a person typed.
    pub(crate) fn pong(&self, payload: &[u8], typed: Option<Duration>) {
        self.event(&Event::Pong { payload });
        if (self.control || typed.is_some()) && !self.json {
            let after = typed.map_or_else(String::new, |rtt| format!(" after {} ms", statistics::time(rtt)));
            self.say(Kind::Received, &format!("{}{after}", show::control('<', "pong", payload)));
        }
    }

    /// A head of the handshake, or what TLS agreed on before it.
    pub(crate) fn head(&self, head: HandshakeHead<'_>) {
        if let HandshakeHead::Secured(agreement) = head {
            return self.secured(&Secured::new(&agreement));
        }
        let by = if head.is_sent() { "us" } else { "peer" };
        self.event(&Event::Handshake { by, proxy: head.is_of_proxy(), head: head.bytes() });
        self.show_head(head.is_sent(), head.bytes());
    }

    /// What TLS agreed on.
    pub(crate) fn secured(&self, secured: &Secured) {
        self.event(&Event::Tls(secured));
        for line in secured.lines() {
            self.note(&line);
        }
    }

    /// What compression did, if it did anything.
    pub(crate) fn compressed(&self, counted: &Compressed) {
        if self.verbose && counted.sent + counted.received > 0 {
            self.event(&Event::Compression(counted));
            self.note(&format!("compression: {}", ratio::in_words(counted)));
        }
    }

    /// The request of a client.
    pub(crate) fn request(&self, head: &[u8]) {
        self.event(&Event::Handshake { by: "peer", proxy: false, head });
        self.show_head(false, head);
    }

    fn show_head(&self, is_sent: bool, head: &[u8]) {
        let (mark, kind) = if is_sent { ('>', Kind::Sent) } else { ('<', Kind::Received) };
        if !self.json {
            show::head(mark, head).iter().for_each(|line| self.say(kind, line));
        }
    }

    /// A line about the connection, unless only messages are wanted, or events tell it.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet && !self.json {
            self.answer(text);
        }
    }

    /// A line about something that is wrong, unless events tell it.
    pub(crate) fn warn(&self, text: &str) {
        if !self.json {
            self.answer(text);
        }
    }

    /// A line in response to a typed command.
    pub(crate) fn answer(&self, text: &str) {
        self.say(Kind::Note, &format!("* {}", escape(text)));
    }

    /// A line of ours. What a peer has said in it has to be escaped.
    fn say(&self, kind: Kind, line: &str) {
        let is_stdout = self.style == Style::Editor;
        let colored = if is_stdout { self.colors.stdout } else { self.colors.stderr };
        let line = if colored { kind.paint(line) + "\n" } else { format!("{line}\n") };
        if is_stdout {
            self.stdout.push(line.as_bytes());
        } else {
            log::print(&line);
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.stdout.is_full()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.stdout.is_closed()
    }

    /// Whether everything that was shown arrived.
    pub(crate) fn written(&self) -> Result<(), Failure> {
        self.stdout.written()
    }

    /// Waits until everything is shown. A slow reader gets all of it; after a signal only while it keeps reading. Then the
    /// terminal is restored.
    pub(crate) fn finish(&self) {
        if self.stdout.finish() {
            editor::end();
        } else {
            // The thread that writes may hold the lock of the editor indefinitely.
            editor::abandon();
        }
    }
}
