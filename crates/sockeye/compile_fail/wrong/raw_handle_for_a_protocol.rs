//! A handle of a raw endpoint where one of a protocol is wanted.

use sockeye::Service;
use sockeye::raw::{Raw, RawClose, RawCx};

struct Wrong;

impl Raw for Wrong {
    type Session = ();

    fn name(&self) -> &str {
        "wrong"
    }

    fn open(&mut self, _: &mut RawCx<'_>) {}

    fn receive(&mut self, _: &mut RawCx<'_>, _: &mut (), _: &[u8]) -> Result<(), RawClose> {
        Ok(())
    }
}

fn main() {
    let mut builder = Service::builder();
    let wrong = builder.add_raw(Wrong);
    let mut service = builder.build().unwrap();
    service.control().protocol(wrong).unwrap().publish_text("news");
}
