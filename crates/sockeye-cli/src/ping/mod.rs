//! `sockeye ping`: round trips to a server, by ping frames or by messages that it mirrors.

pub(crate) mod args;
mod flight;
mod pinger;
mod probe;
pub(crate) mod statistics;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sockeye::{CloseCode, Limits, Service};

use self::args::Ping;
use self::pinger::{Pinger, Plan, Run};
use self::probe::Probe;
use crate::failure::{Failure, GENERAL};
use crate::stdout::{Output, Waker};
use crate::stop::Stop;

pub(crate) fn run(ping: &Ping) -> Result<(), Failure> {
    let mut wanted = ping.client.connect(&ping.url)?;
    // Without the password that it may have.
    let plan = plan(ping, wanted.url().to_string())?;
    if ping.mirror && ping.client.protocols.is_empty() {
        wanted = wanted.subprotocol(MIRROR).map_err(|error| Failure::usage(error.to_string()))?;
    }
    let signals = Stop::prepare()?;
    let (stop, waker) = (Arc::new(AtomicBool::new(false)), Waker::default());
    let stdout = Output::to_stdout(waker.clone()).map_err(no_thread)?;
    let run = Rc::new(RefCell::new(Run::new(plan, stdout.clone())));
    let mut limits = Limits::default();
    // Silence is what is measured here, and no reason to end.
    limits.protocol_mut().ping_after = None;
    // How a connection ended is to be known before the replies are given up, which ends the run.
    limits.protocol_mut().close_timeout = CLOSING;
    limits.protocol_mut().message_bytes = limits.protocol.message_bytes.max(ping.size);
    let builder = Service::builder()
        .limits(limits)
        .compression(ping.compress.compression())
        .protocol(Pinger::new(Rc::clone(&run)));
    let mut service = builder.build().map_err(|error| Failure::general(error.to_string()))?;
    waker.tie(service.remote());
    let stopped = Arc::clone(&stop);
    let stopping = move || {
        stopped.store(true, Ordering::Relaxed);
        stdout.hurry();
        waker.wake();
    };
    signals.watch(stopping, || (), || ()).map_err(no_thread)?;
    for _ in 0..ping.connections {
        // The pinger is the one protocol that there is.
        let asked = service.control().protocol_named(pinger::NAME).map(|mut protocol| protocol.connect(wanted.clone()));
        asked.map_err(|error| Failure::general(error.to_string()))?;
    }
    turn(&mut service, &run, &stop)?;
    drop(service);
    let mut run = run.borrow_mut();
    conclude(&mut run)
}

fn plan(ping: &Ping, url: String) -> Result<Plan, Failure> {
    let size = usize::try_from(ping.size).unwrap_or(usize::MAX);
    if size < Probe::BYTES {
        return Err(Failure::usage(format!(
            "--size {size}: a ping has at least {} bytes, which identify it",
            Probe::BYTES
        )));
    }
    if !ping.mirror && size > MOST_CONTROL {
        return Err(Failure::usage(format!(
            "--size {size}: a ping frame has at most {MOST_CONTROL} bytes (RFC 6455 section 5.5); use --mirror for larger messages"
        )));
    }
    if !ping.mirror && ping.compress.compression().is_on() {
        return Err(Failure::usage(
            "--compress: ping frames are not compressed (RFC 7692 section 6); use --mirror to ping with messages"
                .to_owned(),
        ));
    }
    if size > MOST_MESSAGE {
        return Err(Failure::usage(format!("--size {size}: the maximum is {MOST_MESSAGE}")));
    }
    ping.compress.warn_if_short(ping.size);
    Ok(Plan {
        url,
        count: ping.count,
        interval: ping.interval.unwrap_or(if ping.flood { FLOOD } else { SECOND }),
        size,
        mirror: ping.mirror,
        compress: ping.compress.compression().is_on(),
        flood: ping.flood,
        connections: ping.connections,
        timeout: ping.timeout,
        json: ping.json,
        quiet: ping.quiet,
    })
}

/// Runs the loop until every connection ended, a signal arrived or the output lost its reader.
fn turn(service: &mut Service, run: &RefCell<Run>, stop: &AtomicBool) -> Result<(), Failure> {
    let failed = |error: sockeye::Error| Failure::general(error.to_string());
    while run.borrow().left > 0 && !stop.load(Ordering::Relaxed) && !run.borrow().stdout.is_closed() {
        service.run_once(None).map_err(failed)?;
    }
    let open = {
        let mut run = run.borrow_mut();
        run.stopping = true;
        run.open.clone()
    };
    for id in open {
        if let Ok(mut connection) = service.control().connection(id) {
            connection.close(CloseCode::NORMAL);
        }
    }
    // After Ctrl-C, do not wait for a server that does not answer.
    let end = Instant::now() + BRIEF;
    while !run.borrow().open.is_empty() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        service.run_once(Some(left)).map_err(failed)?;
    }
    Ok(())
}

/// Shows the statistics.
fn conclude(run: &mut Run) -> Result<(), Failure> {
    let elapsed = run.first.zip(run.last).map_or(Duration::ZERO, |(first, last)| last.saturating_duration_since(first));
    let (plan, statistics) = (&run.plan, run.statistics);
    // Without a connection there is nothing to tell but why.
    if run.first.is_some() || run.failure.is_none() {
        let shown = if plan.json {
            format!("{}\n", statistics.to_json(&plan.url, plan.connections, elapsed))
        } else {
            statistics.show(&plan.url, plan.connections, elapsed)
        };
        run.stdout.push(shown.as_bytes());
    }
    run.stdout.finish();
    run.stdout.written()?;
    match run.failure.take() {
        Some(failure) => Err(failure),
        None if statistics.received > 0 => Ok(()),
        None => Err(Failure { code: GENERAL, message: "no reply".to_owned() }),
    }
}

fn no_thread(error: io::Error) -> Failure {
    Failure::general(format!("cannot spawn a thread: {error}"))
}

const MIRROR: &str = "lws-mirror-protocol";
const SECOND: Duration = Duration::from_secs(1);
/// A flood sends a hundred pings a second at least, as that of ping.
const FLOOD: Duration = Duration::from_millis(10);
/// RFC 6455 section 5.5: "All control frames MUST have a payload length of 125 bytes or less".
const MOST_CONTROL: usize = 125;
const MOST_MESSAGE: usize = 1 << 30;
/// Time for closing handshakes before that.
const CLOSING: Duration = Duration::from_secs(1);
/// Time for closing handshakes at the end.
const BRIEF: Duration = Duration::from_millis(250);
