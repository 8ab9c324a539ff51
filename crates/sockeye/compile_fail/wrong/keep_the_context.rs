//! Keeping the context past its callback.

use sockeye::{Close, Cx, Fragment, Handshake, Protocol, Tx};

struct Wrong;

impl Protocol for Wrong {
    type Session = Option<&'static mut Cx<'static>>;

    fn name(&self) -> &str {
        "wrong"
    }

    fn open(&mut self, _: &mut Cx<'_>, _: &Handshake<'_>) -> Self::Session {
        Default::default()
    }

    fn receive(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session, fragment: Fragment<'_>) -> Result<(), Close> {
        let _ = fragment;
        *session = Some(cx);
        Ok(())
    }

    fn writable(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session, tx: Tx<'_>) -> Result<(), Close> {
        let _ = (cx, session, tx);
        Ok(())
    }
}

fn main() {}
