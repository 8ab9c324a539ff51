//! Publishing as a raw endpoint, whose connections have no messages.

use sockeye::raw::{Raw, RawClose, RawCx};

struct Wrong;

impl Raw for Wrong {
    type Session = ();

    fn name(&self) -> &str {
        "wrong"
    }

    fn open(&mut self, _: &mut RawCx<'_>) {}

    fn receive(&mut self, cx: &mut RawCx<'_>, _: &mut (), _: &[u8]) -> Result<(), RawClose> {
        cx.own_endpoint().publish_text("news");
        Ok(())
    }
}

fn main() {}
