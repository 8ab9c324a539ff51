//! Asking a connection to write that has ended.

use sockeye::{Close, Closed, ClosedCx, Cx, Fragment, Handshake, Protocol, Tx};

struct Wrong;

impl Protocol for Wrong {
    type Session = ();

    fn name(&self) -> &str {
        "wrong"
    }

    fn open(&mut self, _: &mut Cx<'_>, _: &Handshake<'_>) {}

    fn receive(&mut self, _: &mut Cx<'_>, _: &mut (), _: Fragment<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn writable(&mut self, _: &mut Cx<'_>, _: &mut (), _: Tx<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn closed(&mut self, cx: &mut ClosedCx<'_>, _: (), _: Closed) {
        cx.request_writable();
    }
}

fn main() {}
