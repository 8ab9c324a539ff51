//! A chat room on every core: one thread per core, and each message goes to the connections of all threads.
//!
//! `cargo run --example threads [ADDRESS]`, then in the consoles of two browser windows. Ctrl-C ends it.
//!
//! ```js
//! chat = new WebSocket("ws://127.0.0.1:7681/", "chat"); chat.onmessage = event => console.log(event.data)
//! chat.send("hello")
//! ```

use sockeye::messages::{self, Message};
use sockeye::{CloseCode, Service, Threads};

fn main() -> Result<(), sockeye::Error> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7681".to_owned());
    // The closure runs once in each thread: a protocol belongs to one thread, and so does what it captures.
    let threads = Threads::new(0).listen(address).start(|worker| {
        let everyone = worker.group().protocol("chat");
        let chat = messages::on("chat", move |_, message| {
            let published = match &message {
                Message::Text(text) => everyone.publish_text(text),
                Message::Binary(payload) => everyone.publish_binary(payload),
            };
            published.map_err(|_| CloseCode::TRY_AGAIN.into())
        });
        Ok(Service::builder().protocol(chat))
    })?;
    println!("listening on ws://{}/ with {} threads", threads.local_addresses()[0], threads.threads());
    threads.join()
}
