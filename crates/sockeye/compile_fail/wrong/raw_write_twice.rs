//! Writing twice with one permission, to a raw connection.

use sockeye::raw::{Raw, RawClose, RawCx, RawWritable};

struct Wrong;

impl Raw for Wrong {
    type Session = ();

    fn name(&self) -> &str {
        "wrong"
    }

    fn open(&mut self, _: &mut RawCx<'_>) -> Self::Session {
        Default::default()
    }

    fn receive(&mut self, cx: &mut RawCx<'_>, session: &mut Self::Session, bytes: &[u8]) -> Result<(), RawClose> {
        let _ = (cx, session, bytes);
        Ok(())
    }

    fn writable(&mut self, cx: &mut RawCx<'_>, session: &mut Self::Session, tx: RawWritable<'_>) -> Result<(), RawClose> {
        let _ = (cx, session);
        tx.write(b"one");
        tx.write(b"two");
        Ok(())
    }
}

fn main() {}
