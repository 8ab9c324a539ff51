//! Prints the messages of topics. It reconnects, goes on where it was, and reports what it missed.
//!
//! `sockeye serve --topics` in one terminal, `cargo run -p sockeye-hub --example watch ws://127.0.0.1:7681/topics news` in another; then
//! `sockeye publish ws://127.0.0.1:7681/topics news hello` in a third.

use std::error::Error;
use std::time::Duration;

use sockeye::client::Reconnect;
use sockeye::messages::{self, Handler, Message, MessageCx};
use sockeye::protocol::ProtocolMut;
use sockeye::{Close, CloseCode, Closed, ClosedCx, ConnId, Connect, Failure, Handshake, Service};
use sockeye_hub::SUBPROTOCOL;
use sockeye_hub::client::{Client, HubEvent, Subscribe};

/// One connection at a time, and what outlives it.
struct Watch {
    client: Client,
}

impl Handler for Watch {
    type State = ();

    fn open(&mut self, cx: &mut MessageCx<'_, '_>, handshake: &Handshake<'_>) {
        if handshake.subprotocol() != Some(SUBPROTOCOL) {
            eprintln!("the server is not a hub");
            cx.stop_reconnecting();
            return cx.close(CloseCode::NORMAL);
        }
        send(cx, self.client.opened());
    }

    fn message(&mut self, cx: &mut MessageCx<'_, '_>, (): &mut (), message: Message<'_>) -> Result<(), Close> {
        for event in self.client.received(&message)? {
            match event {
                HubEvent::Message { topic, payload, .. } => {
                    println!("[{topic}] {}", payload.as_text().unwrap_or("(binary)"));
                }
                HubEvent::Gap { topic, after, until } => {
                    eprintln!("[{topic}] messages behind {after} up to {until} may be lost");
                }
                HubEvent::Refused { code, reason, .. } => {
                    eprintln!("{code}: {reason}");
                    if code.is_temporary() {
                        cx.set_timer(AGAIN);
                    }
                }
                HubEvent::Unsubscribed { topic, reason, .. } => eprintln!("[{topic}] {reason}"),
                _ => {}
            }
        }
        Ok(())
    }

    fn timer(&mut self, cx: &mut MessageCx<'_, '_>, (): &mut ()) -> Result<(), Close> {
        send(cx, self.client.retry());
        Ok(())
    }

    fn closed(&mut self, _: &mut ClosedCx<'_>, (): (), closed: Closed) {
        eprintln!("{closed}");
        // Each publish without an answer would be unknown now; this program has none.
        let _ = self.client.lost().count();
    }

    fn failed(&mut self, _: &mut ProtocolMut<'_>, _: ConnId, failure: Failure) {
        eprintln!("{failure}");
    }
}

fn send(cx: &mut MessageCx<'_, '_>, requests: Vec<String>) {
    for request in requests {
        // The outbox has room for a hundred thousand subscriptions; with more of them the rest follows in `writable`.
        if cx.push(request).is_err() {
            return cx.close(CloseCode::TRY_AGAIN);
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("usage: watch URL TOPIC..")?;
    let mut client = Client::new();
    for topic in arguments {
        client.subscribe(&topic, Subscribe { last: Some(10), ..Subscribe::default() })?;
    }
    let mut service = Service::builder().protocol(messages::with("watch", Watch { client })).build()?;
    let hub = Connect::new(&url)?.subprotocol(SUBPROTOCOL)?.reconnect(Reconnect::default())?;
    service.control().protocol_named("watch")?.connect(hub);
    Ok(service.run()?)
}

/// How long to wait before a topic that is refused for now is asked for again.
const AGAIN: Duration = Duration::from_secs(1);
