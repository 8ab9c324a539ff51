//! A market feed where the newest value wins: a peer that reads slowly misses values, and nothing piles up for it.
//!
//! `cargo run --example feed [ADDRESS]`, then `cargo run -- connect ws://127.0.0.1:7681/ --protocol feed`.

#[cfg(test)]
mod tests;

use std::time::Duration;

use sockeye::messages::{self, Handler, Message, MessageCx};
use sockeye::protocol::ProtocolMut;
use sockeye::sys::ListenOptions;
use sockeye::{Close, CloseCode, Handshake, Service};

struct Feed {
    /// Counts the changes of the price.
    version: u64,
    price: f64,
}

impl Handler for Feed {
    /// The version that was pushed last.
    type State = u64;

    fn open(&mut self, cx: &mut MessageCx<'_, '_>, _: &Handshake<'_>) -> u64 {
        cx.request_writable();
        0
    }

    fn message(&mut self, _: &mut MessageCx<'_, '_>, _: &mut u64, _: Message<'_>) -> Result<(), Close> {
        Err(CloseCode::POLICY.into())
    }

    /// The socket can take data, and nothing of this connection waits: only now is the price looked at.
    fn writable(&mut self, cx: &mut MessageCx<'_, '_>, last: &mut u64) -> Result<(), Close> {
        if *last != self.version {
            *last = self.version;
            cx.push(format!("{} {:.2}", self.version, self.price)).map_err(|_| CloseCode::INTERNAL)?;
        }
        Ok(())
    }

    fn interval(&self) -> Option<Duration> {
        Some(Duration::from_millis(10))
    }

    /// The price changes. Each connection hears of it when its socket can take data.
    fn tick(&mut self, own: &mut ProtocolMut<'_>) {
        self.version += 1;
        self.price *= 1.0 + 0.001 * (self.version as f64).sin();
        own.request_writable();
    }
}

fn main() -> Result<(), sockeye::Error> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7681".to_owned());
    let feed = messages::with("feed", Feed { version: 1, price: 100.0 });
    let mut options = ListenOptions::default();
    options.unsent_bytes = Some(4 * 1024); // or the system holds megabytes of old prices for a slow peer
    let mut service = Service::builder().protocol(feed).listen_with(address, options).build()?;
    println!("listening on ws://{}/", service.local_addresses()[0]);
    service.run()
}
