//! Connections for their own sake: opened and closed again as fast as it goes, or opened and held.

use std::cell::RefCell;
use std::rc::Rc;

use sockeye::protocol::ProtocolMut;
use sockeye::{Close, CloseCode, Closed, ClosedCx, ConnId, Cx, Failure, Fragment, Handshake, Protocol, Tx};

use super::load::{Load, NAME};

/// All connections of a run.
pub(crate) struct Opening {
    load: Rc<RefCell<Load>>,
    /// Whether there is another when a connection is over; held connections are not replaced.
    again: bool,
}

impl Opening {
    /// Each connection is closed as soon as it is open, and the next one takes its place.
    pub(crate) fn over_and_over(load: Rc<RefCell<Load>>) -> Self {
        Self { load, again: true }
    }

    /// Connections stay.
    pub(crate) fn once(load: Rc<RefCell<Load>>) -> Self {
        Self { load, again: false }
    }

    /// The next connection in the place of one that is over.
    fn replace(&self, own: &mut ProtocolMut<'_>) {
        let load = &mut *self.load.borrow_mut();
        if self.again && load.left > 0 {
            load.left -= 1;
            load.connect(|connect| own.connect(connect));
        }
    }
}

/// One connection.
pub(crate) struct Call {
    /// If it is held.
    number: Option<usize>,
}

impl Protocol for Opening {
    type Session = Call;

    fn name(&self) -> &str {
        NAME
    }

    fn open(&mut self, cx: &mut Cx<'_>, handshake: &Handshake<'_>) -> Call {
        let load = &mut *self.load.borrow_mut();
        let now = load.clock.now();
        load.last_sign = now;
        let asked = load.lines.opened(cx.id(), handshake, now);
        load.tally.answered(asked, now, 1, 0);
        if let Some(tls) = handshake.tls() {
            load.tally.secured(asked, now, tls.is_resumed());
        }
        if self.again {
            cx.close(CloseCode::NORMAL);
            return Call { number: None };
        }
        Call { number: Some(load.lines.number(cx.id())) }
    }

    /// What servers say by themselves is not asked for here, and no answer to anything.
    fn receive(&mut self, _: &mut Cx<'_>, _: &mut Call, _: Fragment<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn writable(&mut self, _: &mut Cx<'_>, _: &mut Call, _: Tx<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn failed(&mut self, own: &mut ProtocolMut<'_>, id: ConnId, failure: Failure) {
        {
            let load = &mut *self.load.borrow_mut();
            load.last_sign = load.clock.now();
            load.lines.failed(id, &failure, load.closing);
            load.targets.end(id);
            if load.lines.is_hopeless() {
                load.left = 0;
            }
        }
        self.replace(own);
    }

    fn closed(&mut self, cx: &mut ClosedCx<'_>, call: Call, closed: Closed) {
        {
            let load = &mut *self.load.borrow_mut();
            load.last_sign = load.clock.now();
            let wished = load.closing || self.again;
            load.targets.end(cx.id());
            load.lines.closed(call.number, &closed, wished);
        }
        self.replace(&mut cx.own_protocol());
    }
}
