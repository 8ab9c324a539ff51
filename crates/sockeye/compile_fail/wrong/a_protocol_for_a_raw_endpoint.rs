//! A protocol of WebSockets does not serve raw connections.

use sockeye::{Service, messages};

fn main() {
    let mut builder = Service::builder();
    let echo = builder.add_raw(messages::echo("echo"));
    let _ = builder.listen_raw("127.0.0.1:0", echo);
}
