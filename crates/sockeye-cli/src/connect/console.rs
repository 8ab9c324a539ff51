//! The dialog as a protocol: what the loop calls.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sockeye::client::HandshakeHead;
use sockeye::messages::Message;
use sockeye::proto::conn::ControlPayload;
use sockeye::proto::wire::MessageKind;
use sockeye::protocol::{ProtocolMut, Writable};
use sockeye::{Close, CloseCode, Closed, ClosedCx, Cx, Decision, Fragment, Handshake, Protocol, Request, Tx};

use crate::connect::args::Connect;
use crate::connect::dialog::Dialog;
use crate::connect::event::Event;
use crate::connect::packed;
use crate::connect::secured::Secured;
use crate::connect::topics::Feed;

/// One connection at a time.
pub(crate) struct Console {
    dialog: Rc<RefCell<Dialog>>,
    is_client: bool,
    /// Subprotocols are offered.
    offers: bool,
    /// Compression is offered, or accepted.
    compresses: bool,
    /// Goes on with the next client after one has left.
    again: bool,
    /// What `--topic` subscribes to.
    feed: Option<Rc<RefCell<Feed>>>,
}

impl Console {
    pub(crate) fn new(dialog: Rc<RefCell<Dialog>>, connect: &Connect, feed: Option<Rc<RefCell<Feed>>>) -> Self {
        let (is_client, offers) = (connect.url.is_some(), !connect.client.protocols.is_empty());
        let (compresses, again) = (connect.compression().is_on(), connect.reconnect);
        Self { dialog, is_client, offers: is_client && offers, compresses, again, feed }
    }

    /// A whole message.
    fn deliver(&self, cx: &mut Cx<'_>, dialog: &mut Dialog, message: &Message<'_>) {
        match &self.feed {
            None => dialog.message(message),
            Some(feed) if feed.borrow_mut().message(dialog, message) => cx.own_protocol().set_timer(ASK_AGAIN, AGAIN),
            Some(_) => {}
        }
    }

    /// Asks for what the dialog wants; `Err` is its wish to close.
    fn settle(dialog: &mut Dialog, cx: &mut Cx<'_>) -> Result<(), Close> {
        if let Some(close) = dialog.close.take() {
            return Err(close);
        }
        if dialog.screen.is_full() && !dialog.paused {
            dialog.paused = true;
            cx.pause_reading();
        }
        if dialog.wants_to_write() {
            cx.request_writable();
        }
        Ok(())
    }
}

/// What came of a message, if it came in pieces.
#[derive(Default)]
pub(crate) struct Partial(Vec<u8>);

impl Protocol for Console {
    type Session = Partial;

    fn name(&self) -> &str {
        NAME
    }

    fn filter(&mut self, _: &Request<'_>) -> Decision {
        if self.dialog.borrow().conn().is_some() {
            return Decision::refuse(503, "Another client is connected.");
        }
        Decision::accept()
    }

    fn open(&mut self, cx: &mut Cx<'_>, handshake: &Handshake<'_>) -> Partial {
        let mut dialog = self.dialog.borrow_mut();
        let address = cx.peer().to_string();
        // What a server of ours answered was asked for on its command line.
        let subprotocol = handshake.subprotocol().filter(|_| self.is_client);
        if let Some(request) = handshake.request().filter(|_| dialog.screen.verbose) {
            dialog.screen.request(&head(request));
        }
        // A client has shown it before its request.
        if let Some(agreement) = handshake.tls().filter(|_| dialog.screen.verbose && !self.is_client) {
            dialog.screen.secured(&Secured::new(&agreement));
        }
        // After redirects.
        let url = handshake.url().map(ToString::to_string);
        let target = handshake.request().map(Request::target);
        let compression = handshake.compression();
        dialog.screen.event(&Event::Open { url: url.as_deref(), target, address: &address, subprotocol, compression });
        let mut note = match (&url, target) {
            (Some(url), _) => format!("connected to {url} ({address})"),
            (None, target) => format!("{address} is connected, GET {}", target.unwrap_or("/")),
        };
        match subprotocol {
            Some(name) => note = format!("{note}, subprotocol {name}"),
            None if self.offers => note.push_str(", the server chose no subprotocol"),
            None => {}
        }
        dialog.screen.note(&note);
        if self.compresses && dialog.screen.verbose {
            dialog.screen.note(&packed::line(compression, self.is_client));
        }
        dialog.opened(cx.id());
        if let Some(feed) = &self.feed {
            feed.borrow_mut().opened(&mut dialog, subprotocol);
        }
        if let Some(every) = dialog.ping_every() {
            cx.set_timer(every);
        }
        if let Some(close) = dialog.close.take() {
            cx.close(close);
        }
        cx.request_writable();
        Partial::default()
    }

    fn receive(&mut self, cx: &mut Cx<'_>, partial: &mut Partial, fragment: Fragment<'_>) -> Result<(), Close> {
        let mut dialog = self.dialog.borrow_mut();
        if fragment.first && fragment.last {
            self.deliver(cx, &mut dialog, &fragment.payload.into());
        } else {
            partial.0.extend_from_slice(fragment.payload.as_bytes());
            if !fragment.last {
                return Ok(());
            }
            let bytes = std::mem::take(&mut partial.0);
            let message = match fragment.kind {
                // Each piece was checked, and none ends inside a code point.
                MessageKind::Text => Message::from(String::from_utf8(bytes).map_err(|_| CloseCode::INTERNAL)?),
                MessageKind::Binary => bytes.into(),
            };
            self.deliver(cx, &mut dialog, &message);
        }
        Self::settle(&mut dialog, cx)
    }

    fn writable(&mut self, cx: &mut Cx<'_>, _: &mut Partial, tx: Tx<'_>) -> Result<(), Close> {
        let mut dialog = self.dialog.borrow_mut();
        dialog.asked = false;
        if dialog.paused && !dialog.screen.is_full() {
            dialog.paused = false;
            cx.resume_reading();
        }
        let mut permission = tx.idle();
        while let Some(mut writable) = permission {
            let message = dialog.next();
            ping(&mut dialog, &mut writable);
            let Some(message) = message else {
                dialog.rest();
                ping(&mut dialog, &mut writable);
                return Self::settle(&mut dialog, cx);
            };
            let sent = match message {
                Message::Text(text) => writable.text_owned(text.into_owned()),
                Message::Binary(payload) => writable.binary_owned(payload.into_owned()),
            };
            permission = sent.more();
        }
        cx.request_writable();
        Self::settle(&mut dialog, cx)
    }

    fn ping(&mut self, _: &mut Cx<'_>, _: &mut Partial, payload: &[u8]) -> Result<(), Close> {
        self.dialog.borrow().screen.pinged(payload);
        Ok(())
    }

    fn pong(&mut self, cx: &mut Cx<'_>, _: &mut Partial, payload: &[u8]) -> Result<(), Close> {
        let mut dialog = self.dialog.borrow_mut();
        dialog.pong(payload);
        Self::settle(&mut dialog, cx)
    }

    fn timer(&mut self, cx: &mut Cx<'_>, _: &mut Partial) -> Result<(), Close> {
        let mut dialog = self.dialog.borrow_mut();
        if let Some(every) = dialog.ping_every() {
            // While one still waits to be sent another tells nothing more.
            if dialog.pings.is_empty() {
                dialog.pings.push_back(ControlPayload::EMPTY);
            }
            cx.set_timer(every);
        }
        Self::settle(&mut dialog, cx)
    }

    fn closed(&mut self, cx: &mut ClosedCx<'_>, _: Partial, closed: Closed) {
        let retry =
            if self.is_client { cx.retry().map(|retry| retry.after) } else { self.again.then_some(Duration::ZERO) };
        if let Some(feed) = &self.feed {
            feed.borrow_mut().closed();
        }
        let mut dialog = self.dialog.borrow_mut();
        dialog.closed(&closed, retry);
        if dialog.is_over() {
            cx.stop_reconnecting();
        }
    }

    fn own_timer(&mut self, _: &mut ProtocolMut<'_>, _: u64) {
        // What it asks for is sent once the loop has looked at the dialog.
        if let Some(feed) = &self.feed {
            feed.borrow_mut().retry(&mut self.dialog.borrow_mut());
        }
    }

    fn handshake_head(&mut self, _: &mut ProtocolMut<'_>, _: sockeye::ConnId, head: HandshakeHead<'_>) {
        self.dialog.borrow().screen.head(head);
    }

    fn failed(&mut self, _: &mut ProtocolMut<'_>, _: sockeye::ConnId, failure: sockeye::Failure) {
        // Without --reconnect a hub that was never reached is an error, as any server is.
        let is_tried_again = self.again || self.feed.as_ref().is_none_or(|feed| feed.borrow().was_open());
        let retry = failure.retry.filter(|_| is_tried_again).map(|retry| retry.after);
        self.dialog.borrow_mut().failed(&failure, retry);
    }
}

/// The head of a request.
fn head(request: &Request<'_>) -> Vec<u8> {
    let mut head = format!("GET {} HTTP/1.1\r\n", request.target()).into_bytes();
    for (name, value) in request.headers() {
        head.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    head.extend(b"\r\n");
    head
}

/// Sends the pings that wait.
fn ping(dialog: &mut Dialog, writable: &mut Writable<'_>) {
    while let Some(payload) = dialog.pings.pop_front() {
        dialog.screen.ping(payload.as_bytes());
        writable.ping(payload);
    }
}

/// The timer for topics that were refused for now.
const ASK_AGAIN: u64 = 0;
/// How long they wait.
const AGAIN: Duration = Duration::from_secs(2);

/// Its name in the service; peers do not see it.
pub(crate) const NAME: &str = "console";
