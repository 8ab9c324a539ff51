//! Sending a message where only the next fragment of another is allowed.

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
        let _ = (cx, session, fragment);
        Ok(())
    }

    fn writable(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session, tx: Tx<'_>) -> Result<(), Close> {
        let _ = (cx, session);
        if let Tx::Mid(fragmented) = tx {
            fragmented.text("another");
        }
        Ok(())
    }
}

fn main() {}
