//! Writing to a raw connection where only reading is: there is nothing to write with.

use sockeye::{Cx, RawClose, Raw, RawWritable};

struct Wrong;

impl Raw for Wrong {
    type Session = ();

    fn name(&self) -> &str {
        "wrong"
    }

    fn open(&mut self, _: &mut Cx<'_>) -> Self::Session {
        Default::default()
    }

    fn receive(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session, bytes: &[u8]) -> Result<(), RawClose> {
        let _ = session;
        cx.write(bytes);
        Ok(())
    }

    fn writable(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session, tx: RawWritable<'_>) -> Result<(), RawClose> {
        let _ = (cx, session, tx);
        Ok(())
    }
}

fn main() {}
