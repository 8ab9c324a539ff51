//! A client that reconnects, and goes on where it was: it tells the server the last number that it has seen.
//!
//! `cargo run --example resume [URL]`. The server numbers its messages (`NUMBER text`) and takes `from NUMBER`: the example
//! `chat` does not, a feed of yours would.

#[cfg(test)]
mod tests;

use std::error::Error;

use sockeye::client::Reconnect;
use sockeye::messages::{self, Handler, Message, MessageCx};
use sockeye::{Close, CloseCode, Closed, ClosedCx, Connect, Handshake, Service};

/// What must survive a connection belongs to the handler and not to the state of one connection.
struct Feed {
    last: u64,
}

impl Handler for Feed {
    type State = ();

    fn open(&mut self, cx: &mut MessageCx<'_, '_>, _: &Handshake<'_>) {
        let _ = cx.push(format!("from {}", self.last + 1)); // an empty outbox has room
    }

    fn message(&mut self, _: &mut MessageCx<'_, '_>, (): &mut (), message: Message<'_>) -> Result<(), Close> {
        let Some((number, text)) = message.as_text().and_then(|text| text.split_once(' ')) else {
            return Err(CloseCode::POLICY.into());
        };
        self.last = number.parse().map_err(|_| CloseCode::POLICY)?;
        println!("{number}: {text}");
        Ok(())
    }

    fn closed(&mut self, cx: &mut ClosedCx<'_>, (): (), closed: Closed) {
        eprintln!("{closed}; next attempt: {:?}", cx.retry().map(|retry| retry.after));
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:7681/".to_owned());
    let mut service = Service::builder().protocol(messages::with("feed", Feed { last: 0 })).build()?;
    service.control().protocol_named("feed")?.connect(Connect::new(&url)?.reconnect(Reconnect::default())?);
    Ok(service.run()?)
}
