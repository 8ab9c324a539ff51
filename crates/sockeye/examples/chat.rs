//! A chat room with whole messages and a closure. `/quit` leaves it.
//!
//! `cargo run --example chat [ADDRESS]`, then in the consoles of two browser windows:
//!
//! ```js
//! chat = new WebSocket("ws://127.0.0.1:7681/", "chat"); chat.onmessage = event => console.log(event.data)
//! chat.send("hello")
//! ```

use sockeye::{CloseCode, Service, messages};

fn main() -> Result<(), sockeye::Error> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7681".to_owned());
    let mut lines = 0_u64;
    let chat = messages::on("chat", move |cx, message| {
        let Some(text) = message.as_text() else { return Err(CloseCode::UNSUPPORTED.into()) };
        if text == "/quit" {
            return Err(CloseCode::NORMAL.into()); // starts the closing handshake
        }
        lines += 1;
        let line = format!("{lines} {}: {text}", cx.id());
        cx.own_protocol().publish_text(&line); // framed once, for every connection of this protocol
        Ok(())
    });
    let mut service = Service::builder().protocol(chat).listen(address).build()?;
    println!("listening on ws://{}/", service.local_addresses()[0]);
    service.run()
}
