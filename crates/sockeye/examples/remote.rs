//! Another thread that publishes: sends each line of standard input to every client. The end of the input (Ctrl-D) drains
//! the service: every connection is closed with 1001.
//!
//! `cargo run --example remote [ADDRESS]`, then `cargo run -- connect ws://127.0.0.1:7681/` in a second terminal, and type in
//! the first.

use std::error::Error;
use std::io;
use std::thread;

use sockeye::service::RemoteError;
use sockeye::{CloseCode, Remote, Service, messages};

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7681".to_owned());
    // What clients say is of no interest.
    let news = messages::on("news", |_, _| Err(CloseCode::POLICY.into()));
    let mut service = Service::builder().protocol(news).listen(address).build()?;
    println!("listening on ws://{}/", service.local_addresses()[0]);

    // A `Service` stays on its thread; a `Remote` may go to any other.
    let remote = service.remote();
    let reader = thread::spawn(move || publish_lines(&remote));
    service.run()?;
    reader.join().unwrap_or(Ok(()))?;
    Ok(())
}

fn publish_lines(remote: &Remote) -> Result<(), RemoteError> {
    for line in io::stdin().lines().map_while(Result::ok) {
        // Runs on the loop's thread, between two callbacks.
        remote.run(move |control| {
            control.protocol_named("news").expect("there is such a protocol").publish_text(&line);
            println!("sent to {} connections", control.connections());
        })?;
    }
    remote.run(|control| control.drain())
}
