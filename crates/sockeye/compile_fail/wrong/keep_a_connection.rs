//! Keeping the view of another connection past the callback: its id is what may be kept.

use sockeye::protocol::ConnectionMut;
use sockeye::{Close, ConnId, Cx, Fragment, Handshake, Protocol, Tx};

struct Wrong {
    other: ConnId,
}

impl Protocol for Wrong {
    type Session = Option<ConnectionMut<'static>>;

    fn name(&self) -> &str {
        "wrong"
    }

    fn open(&mut self, _: &mut Cx<'_>, _: &Handshake<'_>) -> Self::Session {
        None
    }

    fn receive(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session, fragment: Fragment<'_>) -> Result<(), Close> {
        let _ = fragment;
        *session = cx.connection(self.other).ok();
        Ok(())
    }

    fn writable(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session, tx: Tx<'_>) -> Result<(), Close> {
        let _ = (cx, session, tx);
        Ok(())
    }
}

fn main() {}
