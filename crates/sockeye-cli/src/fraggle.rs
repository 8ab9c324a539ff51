//! `sockeye fraggle`: random fragmented messages, each with its sum, said or checked.

mod checking;
mod listener;
mod saying;
mod speaker;

use std::cell::RefCell;
use std::io::{self, Write as _};
use std::rc::Rc;

use sockeye::Service;

use self::checking::{Checking, Report};
use self::saying::Saying;
use crate::args::fraggle::Fraggle;
use crate::background::Background;
use crate::failure::Failure;
use crate::random::Random;
use crate::server;

pub(crate) fn run(fraggle: &Fraggle) -> Result<(), Failure> {
    match &fraggle.url {
        Some(url) => check(fraggle, url),
        None => say(fraggle),
    }
}

fn say(fraggle: &Fraggle) -> Result<(), Failure> {
    let seed = fraggle.seed.unwrap_or_else(Random::any_seed);
    // On standard error, since the first line of output says where it listens.
    crate::log::say(&format!("sockeye: the messages are those of --seed {seed}\n"));
    let count = fraggle.count;
    let common = fraggle.common();
    let own = common.clone();
    server::run(fraggle.port(), &common, &mut Background::default(), move |_| {
        Ok(own.builder()?.fallback(Saying::new(seed, count)))
    })
}

fn check(fraggle: &Fraggle, url: &str) -> Result<(), Failure> {
    let mut connect = fraggle.target.connect(url)?;
    if fraggle.target.protocols.is_empty() {
        connect = connect.subprotocol(NAME).map_err(|error| Failure::general(error.to_string()))?;
    }
    let signals = server::signals()?;
    let report = Rc::new(RefCell::new(Report::new(fraggle.count)));
    let mut service = Service::builder()
        .protocol(Checking::new(Rc::clone(&report)))
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

/// The subprotocol, as libwebsockets' `test-fraggle` calls it.
const NAME: &str = "fraggle-protocol";
