//! The whole-message layer under test: an echo that notes what it is called for.

use std::rc::Rc;

use sockeye::messages::{Handler, Message, MessageCx, Messages, with};
use sockeye::{Close, CloseCode, Closed, ClosedCx, Decision, Handshake, Request};

use super::hub::Hub;
use super::machine::hash;

pub const NAME: &str = "echo";

pub struct Echo {
    hub: Rc<Hub>,
    target: usize,
}

pub fn echo(hub: &Rc<Hub>, outbox_bytes: usize) -> Messages<Echo> {
    with(NAME, Echo { hub: hub.clone(), target: 0 }).outbox_bytes(outbox_bytes)
}

impl Handler for Echo {
    type State = usize;

    fn filter(&mut self, request: &Request<'_>) -> Decision {
        let peer = request.path().trim_start_matches('/').split('/').next().unwrap_or("0");
        self.target = peer.parse().unwrap_or(0);
        Decision::accept()
    }

    fn open(&mut self, cx: &mut MessageCx<'_, '_>, _: &Handshake<'_>) -> usize {
        let _inside = self.hub.enter("open");
        self.hub.note(cx.now(), || format!("{} open as {}", self.target, cx.id()));
        self.hub.opened(self.target, cx.id());
        self.target
    }

    fn message(&mut self, cx: &mut MessageCx<'_, '_>, peer: &mut usize, message: Message<'_>) -> Result<(), Close> {
        let _inside = self.hub.enter_open("message", *peer, cx.id());
        self.hub.received_piece(*peer, "a message");
        let (kind, bytes) = (message.kind(), message.as_bytes());
        self.hub.note(cx.now(), || format!("{peer} received {} bytes", bytes.len()));
        self.hub.of(*peer, |notes| notes.received.push(format!("{kind:?} {} {:x}", bytes.len(), hash(bytes))));
        cx.push(message).map_err(|_| CloseCode::TRY_AGAIN.into())
    }

    fn closed(&mut self, cx: &mut ClosedCx<'_>, peer: usize, closed: Closed) {
        let _inside = self.hub.enter("closed");
        self.hub.note(cx.now(), || format!("{peer} {closed:?}"));
        self.hub.closed(peer, cx.id(), cx.now(), closed);
    }
}
