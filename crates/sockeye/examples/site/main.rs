//! A web site with a WebSocket: files, a small handler and a chat on one port, with limits and an origin list.
//!
//! `cargo run --example site [ADDRESS [FOLDER]]`, then open <http://127.0.0.1:7681/> in two windows. FOLDER defaults to
//! `files`, beside this source.

use std::error::Error;
use std::time::{Duration, Instant};

use sockeye::http::{Files, Response, Routes};
use sockeye::service::Origins;
use sockeye::{Limits, Service, messages};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:7681".to_owned());
    let folder =
        arguments.next().unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/examples/site/files").to_owned());

    let start = Instant::now();
    let routes = Routes::new()
        .get("/uptime", move |_| Response::text(format!("{} s\n", start.elapsed().as_secs())))
        .files("/", Files::open(&folder)?.header("Cache-Control", "no-cache")?);

    let chat = messages::on("chat", |cx, message| {
        cx.publish(message);
        Ok(())
    });

    let mut limits = Limits::default();
    limits.handshake_timeout = Duration::from_secs(5);
    limits.connections_per_address = Some(100);
    limits.protocol_mut().message_bytes = 4096;

    // Pages of this site may connect, and clients that send no origin, which browsers always do.
    let origins = Origins::only([format!("http://{address}")])?.or_missing();

    let mut service =
        Service::builder().limits(limits).origins(origins).routes(routes).protocol(chat).listen(address).build()?;
    println!("listening on http://{}/", service.local_addresses()[0]);
    Ok(service.run()?)
}
