//! Writing where only reading is: there is nothing to write with.

use sockeye::{Close, Cx, Fragment, Handshake, Protocol, Tx};

struct Wrong;

impl Protocol for Wrong {
    type Session = ();

    fn name(&self) -> &str {
        "wrong"
    }

    fn open(&mut self, _: &mut Cx<'_>, _: &Handshake<'_>) -> Self::Session {
        Default::default()
    }

    fn receive(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session, fragment: Fragment<'_>) -> Result<(), Close> {
        let _ = (session, fragment);
        cx.text("an answer");
        Ok(())
    }

    fn writable(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session, tx: Tx<'_>) -> Result<(), Close> {
        let _ = (cx, session, tx);
        Ok(())
    }
}

fn main() {}
