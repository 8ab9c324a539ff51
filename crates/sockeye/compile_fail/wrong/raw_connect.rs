//! Connecting a raw endpoint by the description of a WebSocket: there would be no handshake.

use sockeye::Connect;
use sockeye::raw::{EndpointMut, Raw, RawClose, RawCx};

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

    fn tick(&mut self, own: &mut EndpointMut<'_>) {
        own.connect(Connect::new("ws://localhost/").unwrap());
    }
}

fn main() {}
