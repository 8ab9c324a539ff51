//! `sockeye fraggle`: sends or verifies random fragmented messages with checksums.
//!
//! [`generator`] and [`verifier`] know the format, and nothing of the network; [`sender`] and [`receiver`] are the protocols.

pub(crate) mod args;
mod generator;
mod receiver;
mod sender;
mod verifier;

use std::cell::RefCell;
use std::io::{self, Write as _};
use std::rc::Rc;

use sockeye::Service;

use self::args::Fraggle;
use self::generator::NAME;
use self::receiver::{Receiver, Report};
use self::sender::Sender;
use crate::background::Background;
use crate::failure::Failure;
use crate::log;
use crate::random::Random;
use crate::server::{self, Scheme};

pub(crate) fn run(fraggle: &Fraggle) -> Result<(), Failure> {
    match &fraggle.url {
        Some(url) => verify(fraggle, url),
        None => send(fraggle),
    }
}

fn send(fraggle: &Fraggle) -> Result<(), Failure> {
    let seed = fraggle.seed.unwrap_or_else(Random::any_seed);
    // On standard error, since the first line of output names the address.
    log::print(&format!("sockeye: sending the messages of --seed {seed}\n"));
    let (count, args) = (fraggle.count, fraggle.server());
    let own = args.clone();
    server::run(Scheme::Ws, fraggle.port(), &args, &mut Background::default(), "", move |_| {
        // Fragments are what is tested here.
        Ok(own.builder()?.compression(own.compress.compression().fragments()).fallback(Sender::new(seed, count)))
    })
}

fn verify(fraggle: &Fraggle, url: &str) -> Result<(), Failure> {
    let mut connect = fraggle.client.connect(url)?;
    if fraggle.client.protocols.is_empty() {
        connect = connect.subprotocol(NAME).map_err(|error| Failure::general(error.to_string()))?;
    }
    let signals = server::signals()?;
    let report = Rc::new(RefCell::new(Report::new(fraggle.count)));
    let mut service = Service::builder()
        .compression(fraggle.compress.compression())
        .protocol(Receiver::new(Rc::clone(&report)))
        .build()
        .map_err(|error| Failure::general(error.to_string()))?;
    server::stop_on(signals, service.remote(), |control| control.drain())?;
    service
        .control()
        .protocol_named(NAME)
        .map(|mut protocol| protocol.connect(connect))
        .map_err(|error| Failure::general(error.to_string()))?;
    service.run().map_err(|error| Failure::general(error.to_string()))?;
    let report = report.replace(Report::new(None));
    let errors = if report.failure.is_some() { "1 error" } else { "0 errors" };
    let _ = writeln!(io::stdout(), "{} messages, {} bytes, {errors}", report.checked, report.bytes);
    report.failure.map_or(Ok(()), Err)
}
