//! Keeping a raw permission past its callback.

use sockeye::{Cx, RawClose, Raw, RawWritable};

struct Wrong;

impl Raw for Wrong {
    type Session = Option<RawWritable<'static>>;

    fn name(&self) -> &str {
        "wrong"
    }

    fn open(&mut self, _: &mut Cx<'_>) -> Self::Session {
        Default::default()
    }

    fn receive(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session, bytes: &[u8]) -> Result<(), RawClose> {
        let _ = (cx, session, bytes);
        Ok(())
    }

    fn writable(&mut self, cx: &mut Cx<'_>, session: &mut Self::Session, tx: RawWritable<'_>) -> Result<(), RawClose> {
        let _ = cx;
        *session = Some(tx);
        Ok(())
    }
}

fn main() {}
