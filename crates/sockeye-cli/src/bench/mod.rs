//! `sockeye bench`: loads a server and measures it, and refuses to report figures when an answer was wrong.
//!
//! [`drive`] takes a run through its stages; [`echo`] and [`opening`] are the protocols; what they share is [`load`], and what
//! they connect to [`targets`].
//! [`pace`] says when messages are due, [`script`] what they are, [`reading`] whether the answers are the same. [`tally`]
//! counts, [`mod@report`] shows, [`threshold`] judges.

pub(crate) mod args;
mod drive;
mod echo;
mod lines;
mod load;
mod opening;
mod pace;
mod progress;
mod reading;
mod records;
mod report;
mod script;
mod self_usage;
pub(crate) mod sizes;
mod tally;
mod targets;
pub(crate) mod threshold;

use std::cell::RefCell;
use std::io::{self, Write as _};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sockeye::proto::wire::MessageKind;
use sockeye::tls::ClientTls;
use sockeye::{Connect, Limits, Service};

use self::args::{Bench, Mode};
use self::drive::{Drive, Measured};
use self::echo::Echo;
use self::load::Load;
use self::opening::Opening;
use self::pace::{Beat, Pace};
use self::report::Report;
use self::script::Script;
use self::targets::Targets;
use crate::failure::{self, Failure};
use crate::figures::{count, per_second};
use crate::log;
use crate::random::Random;
use crate::server;
use crate::stdout::{is_gone, unwritten};

pub(crate) fn run(bench: &Bench) -> Result<(), Failure> {
    if bench.mode != Mode::Echo && (bench.rate.is_some() || bench.text || bench.pipeline > 1) {
        return Err(Failure::usage("--rate, --text and --pipeline require --mode echo".to_owned()));
    }
    let (connect, tls) = bench.client.connect_and_tls(&bench.url)?;
    // A redirect may lead there, too.
    if bench.resume && (bench.mode != Mode::Handshake || tls.is_none()) {
        return Err(Failure::usage("--resume requires --mode handshake and a wss:// URL".to_owned()));
    }
    let signals = server::signals()?;
    self_usage::take_descriptors();
    let seed = bench.seed.unwrap_or_else(Random::any_seed);
    let pace = bench.rate.map_or(Pace::Closed { in_flight: bench.pipeline }, |rate| Pace::Open(Beat::new(rate)));
    let kind = if bench.text { MessageKind::Text } else { MessageKind::Binary };
    let targets = all_targets(bench, &connect, tls.as_ref());
    let compression = bench.compress.compression();
    if bench.mode == Mode::Echo {
        bench.compress.warn_if_short(bench.size.shortest().into());
    }
    let script = if compression.is_on() { Script::of_records } else { Script::new };
    let load = Rc::new(RefCell::new(Load::new(script(&bench.size, kind, seed), pace, targets)));
    let builder = Service::builder().limits(limits(bench)).compression(compression);
    let builder = match bench.mode {
        Mode::Echo => builder.protocol(Echo::new(Rc::clone(&load))),
        Mode::Handshake => builder.protocol(Opening::over_and_over(Rc::clone(&load))),
        Mode::Idle => builder.protocol(Opening::once(Rc::clone(&load))),
    };
    let service = builder.build().map_err(|error| Failure::general(error.to_string()))?;
    let (wanted, most) = (u64::from(bench.connections), service.max_connections() as u64);
    if wanted > most {
        // Known before any server is asked for anything.
        return Err(Failure::general(format!(
            "{} connections are more than the descriptor limit allows, which is {}; raise it with `ulimit -n {}`",
            count(wanted),
            count(most),
            wanted + SPARE
        )));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    server::stop_on(signals, service.remote(), move |_| flag.store(true, Ordering::Relaxed))?;
    // Without the password that the option may have.
    let url = connect.url().to_string();
    let measured = Drive::new(bench, service, Rc::clone(&load), stop).run()?;
    let report = report(bench, url, seed, &load.borrow(), measured);
    show(bench, &report)?;
    let unopened = load.borrow_mut().lines.take_first_failure();
    judge(bench, &report, unopened)
}

/// What is connected to. Handshakes are full, or have sessions of their own, so that each of those under way finds one.
fn all_targets(bench: &Bench, connect: &Connect, tls: Option<&ClientTls>) -> Targets {
    match tls.filter(|_| bench.mode == Mode::Handshake) {
        Some(tls) if bench.resume => {
            Targets::several((0..bench.connections).map(|_| connect.clone().tls(tls.with_own_sessions())))
        }
        Some(tls) => Targets::one(connect.clone().tls(tls.without_sessions())),
        None => Targets::one(connect.clone()),
    }
}

fn limits(bench: &Bench) -> Limits {
    let mut limits = Limits::default();
    let longest = u64::from(bench.size.longest());
    limits.protocol_mut().message_bytes = limits.protocol.message_bytes.max(longest);
    limits
}

fn report(bench: &Bench, url: String, seed: u64, load: &Load, measured: Measured) -> Report {
    Report {
        mode: bench.mode,
        url,
        settings: settings(bench, seed),
        seed,
        span: load.tally.span(),
        warm_up: u64::try_from(bench.warm_up().as_nanos()).unwrap_or(u64::MAX),
        interrupted: measured.interrupted,
        messages: load.tally.messages(),
        bytes: load.tally.bytes(),
        latencies: load.tally.latencies(),
        tls: load.tally.tls(),
        opened: load.lines.opened,
        failed: load.lines.failed,
        lost: load.lines.lost,
        handshakes: load.lines.handshakes(),
        errors: load.lines.errors.clone(),
        own_cpu: measured.own_cpu,
        asked: bench.rate,
        late: measured.late,
        compression: bench.compress.compression().is_on().then_some(measured.compression),
        compressing: load.lines.compressing,
    }
}

fn settings(bench: &Bench, seed: u64) -> String {
    let connections = bench.connections;
    let kind = match (bench.compress.compression().is_on(), bench.text) {
        (false, false) => "binary",
        (false, true) => "text",
        (true, false) => "binary (JSON)",
        (true, true) => "text (JSON)",
    };
    match (bench.mode, bench.rate) {
        (Mode::Echo, Some(rate)) => {
            let rate = per_second(rate);
            format!("{rate} messages a second over {connections} connections, {} {kind}, seed {seed}", bench.size)
        }
        (Mode::Echo, None) => format!(
            "{connections} connections, {} in flight on each, {} {kind}, seed {seed}",
            messages(bench.pipeline),
            bench.size
        ),
        (Mode::Handshake, _) if bench.resume => format!("handshakes that resume, {connections} at a time"),
        (Mode::Handshake, _) => format!("handshakes, {connections} at a time"),
        (Mode::Idle, _) => format!("{connections} connections held"),
    }
}

/// Descriptors for other things than connections.
const SPARE: u64 = 64;

fn messages(number: u32) -> String {
    if number == 1 { "1 message".to_owned() } else { format!("{number} messages") }
}

fn show(bench: &Bench, report: &Report) -> Result<(), Failure> {
    let text = if bench.json { format!("{}\n", report.json()) } else { report.text() };
    // A reader that stops early is not a failure; the exit code says the rest.
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    for warning in report.warning().into_iter().chain(report.shortfall()) {
        log::print(&format!("sockeye: warning: {warning}\n"));
    }
    match written {
        Err(error) if !is_gone(&error) => Err(unwritten(&error)),
        _ => Ok(()),
    }
}

/// The exit code: thresholds, a run that measured nothing, and one with fewer connections than were asked for.
/// `unopened` is why the first of these failed.
fn judge(bench: &Bench, report: &Report, unopened: Option<Failure>) -> Result<(), Failure> {
    let crossed: Vec<String> =
        bench.thresholds.iter().filter_map(|threshold| threshold.crossed(|figure| report.figure(figure))).collect();
    if !crossed.is_empty() {
        return Err(Failure { code: failure::THRESHOLD, message: format!("failed: {}", crossed.join("; ")) });
    }
    if report.mode != Mode::Idle && report.messages == 0 && !report.interrupted {
        let first = report.errors.kinds().next().map_or("no time left", |(_, _, first)| first);
        // That no connection was opened has its own reason.
        let code = unopened.filter(|_| report.opened == 0).map_or(failure::PROTOCOL, |failure| failure.code);
        return Err(Failure { code, message: format!("nothing was answered: {first}") });
    }
    if bench.resume && report.tls.is_some_and(|kinds| kinds.resumed.count == 0) && !report.interrupted {
        let message = format!("the server resumed none of {} TLS sessions", count(report.messages));
        return Err(Failure { code: failure::PROTOCOL, message });
    }
    // Then nothing was measured that was not without the option.
    if report.compression.is_some() && report.opened > 0 && report.compressing == 0 && !report.interrupted {
        let message = "the server agreed to compression on no connection".to_owned();
        return Err(Failure { code: failure::PROTOCOL, message });
    }
    // That a server ended before is an error among others where a time was asked for, and here an end too early.
    let asked = bench.count.filter(|_| report.mode == Mode::Echo && !report.interrupted).unwrap_or_default();
    if report.messages < asked {
        let first = report.errors.kinds().next().map_or("no time left", |(_, _, first)| first);
        let message = format!("{} of {} messages were answered: {first}", count(report.messages), count(asked));
        return Err(Failure { code: failure::PROTOCOL, message });
    }
    // The figures are of another load than the one that was asked for; the reason does not matter.
    match unopened.filter(|_| report.failed > 0 && !report.interrupted) {
        Some(Failure { code, message }) => {
            let all = report.opened + report.failed;
            let message = format!("{} of {} connections were not opened: {message}", count(report.failed), count(all));
            Err(Failure { code, message })
        }
        None => Ok(()),
    }
}
