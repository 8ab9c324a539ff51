//! The echo of the library.

use std::{error::Error, io::Write};

use sockeye::{Compression, Limits, Service, messages};

use crate::{Options, Way};

/// Serves until the clients have come and gone.
pub(crate) fn run(options: &Options) -> Result<String, Box<dyn Error>> {
    let mut compression = Compression::new().level(options.level);
    if matches!(options.way, Way::Plain | Way::Receive) {
        compression = compression.threshold_bytes(u32::MAX);
    }
    let mut limits = Limits::default();
    // After a stall the loop reads the clock more often for a time, and below valgrind everything takes long.
    limits.stall = None;
    let builder = Service::builder().limits(limits).listen("127.0.0.1:0").compression(compression);
    let mut service = builder.fallback(messages::echo("echo")).build()?;
    println!("listening on ws://{}/", service.local_addresses()[0]);
    std::io::stdout().flush()?;
    loop {
        service.run_once(None)?;
        let connections = &service.statistics().connections;
        if connections.closed == options.connections as u64 {
            return Ok(service.statistics().to_string());
        }
    }
}
