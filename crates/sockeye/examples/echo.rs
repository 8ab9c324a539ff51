//! The shortest server: sends each message back, at any path and with any subprotocol.
//!
//! `cargo run --example echo [ADDRESS]`, then `cargo run -- connect ws://127.0.0.1:9001/`.

use sockeye::{Service, messages};

fn main() -> Result<(), sockeye::Error> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let mut service = Service::builder().fallback(messages::echo("echo")).listen(address).build()?;
    println!("listening on ws://{}/", service.local_addresses()[0]);
    service.run()
}
