//! A client: sends hello, prints the answer and closes. The exit status is 1 if anything went wrong.
//!
//! `cargo run --example echo` in one terminal, `cargo run --example client [URL]` in another.

use std::error::Error;
use std::process::exit;

use sockeye::messages::{self, Handler, Message, MessageCx};
use sockeye::protocol::ProtocolMut;
use sockeye::{Close, CloseCode, Closed, ClosedCx, ConnId, Connect, Failure, Handshake, Service};

struct Hello;

impl Handler for Hello {
    type State = ();

    fn open(&mut self, cx: &mut MessageCx<'_, '_>, _: &Handshake<'_>) {
        cx.push("hello").expect("an empty outbox has room");
    }

    fn message(&mut self, _: &mut MessageCx<'_, '_>, (): &mut (), message: Message<'_>) -> Result<(), Close> {
        println!("{}", message.as_text().unwrap_or("something binary"));
        Err(CloseCode::NORMAL.into())
    }

    fn failed(&mut self, _: &mut ProtocolMut<'_>, _: ConnId, failure: Failure) {
        eprintln!("{failure}");
        exit(1);
    }

    fn closed(&mut self, cx: &mut ClosedCx<'_>, (): (), closed: Closed) {
        if closed.code_seen() != 1000 {
            eprintln!("closed with {}", closed.code_seen());
            exit(1);
        }
        cx.drain(); // and `run` returns
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:9001/".to_owned());
    let mut service = Service::builder().protocol(messages::with("hello", Hello)).build()?;
    service.control().protocol_named("hello")?.connect(Connect::new(&url)?);
    Ok(service.run()?)
}
