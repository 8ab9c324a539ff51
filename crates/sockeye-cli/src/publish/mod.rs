//! `sockeye publish`: messages for a topic of a hub.
//!
//! The main thread runs the loop. What is published comes through the queue of [`stdin`](crate::connect::stdin), which a thread fills from standard
//! input, or the command line. [`publisher`] is the handler that the loop calls.

pub(crate) mod args;
mod publisher;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::thread;
use std::time::Instant;

use sockeye::log::escape;
use sockeye::service::ServiceState;
use sockeye::{CloseCode, Service, messages};

use self::args::Publish;
use self::publisher::{Plan, Publisher, Run};
use crate::connect::encoding::Encoding;
use crate::connect::lines::{self, Format};
use crate::connect::stdin::{Input, Stdin};
use crate::failure::Failure;
use crate::stdout::{Output, Waker};
use crate::stop::Stop;
use crate::{connect, log};

pub(crate) fn run(publish: &Publish) -> Result<(), Failure> {
    let wanted = publish.client.connect_to_hub(&publish.url)?;
    let token = publish.token.read()?;
    let given = given(publish)?;
    let stop = Stop::prepare()?;
    let waker = Waker::default();
    let stdin = Stdin::new(waker.clone());
    let stdout = Output::to_stdout(waker.clone()).map_err(no_thread)?;
    let plan = Plan {
        topic: publish.topic.clone(),
        key: publish.message_key.clone(),
        timeout: publish.timeout,
        json: publish.json,
        is_single: given.is_some(),
    };
    let run = Run::new(plan, token.as_deref(), stdin.clone(), stdout.clone());
    run.check().map_err(|error| Failure::usage(error.to_string()))?;
    let run = Rc::new(RefCell::new(run));
    let protocol = messages::with(publisher::NAME, Publisher::new(Rc::clone(&run)));
    let mut service =
        Service::builder().protocol(protocol).build().map_err(|error| Failure::general(error.to_string()))?;
    waker.tie(service.remote());
    match given {
        Some(input) => [input, Input::End].into_iter().for_each(|input| stdin.push(input)),
        None => read(publish, stdin.clone()).map_err(no_thread)?,
    }
    let interrupt = move || {
        stdin.interrupt();
        stdout.hurry();
    };
    stop.watch(interrupt, || (), || ()).map_err(no_thread)?;
    service
        .control()
        .protocol_named(publisher::NAME)
        .map(|mut protocol| protocol.connect(wanted))
        .map_err(|error| Failure::general(error.to_string()))?;
    turn(&mut service, &run)?;
    drop(service);
    let run = run.borrow();
    run.stdout.finish();
    if !publish.quiet && !publish.json {
        log::print(&format!("* {}\n", escape(&run.summary())));
    }
    run.verdict().and_then(|()| run.stdout.written())
}

/// The one message of the command line.
fn given(publish: &Publish) -> Result<Option<Input>, Failure> {
    let (name, bytes) = match (&publish.message, &publish.file) {
        (Some(text), _) => ("MESSAGE".to_owned(), text.clone().into_bytes()),
        (None, Some(path)) => {
            let name = format!("--file {}", path.display());
            let bytes = connect::read_file(path, publish.max_message);
            let bytes = bytes.map_err(|error| Failure::usage(format!("{name}: {error}")))?;
            (name, bytes)
        }
        (None, None) => return Ok(None),
    };
    if publish.binary == Some(Encoding::Raw) {
        return Ok(Some(Input::Message(bytes.into())));
    }
    let wrong = |error: String| Failure::usage(format!("{name}: {error}"));
    let text = String::from_utf8(bytes);
    let text = text.map_err(|_| wrong("it is not UTF-8; --binary raw publishes it as it is".to_owned()))?;
    match Input::of_line(text, false, publish.binary) {
        Input::Wrong(error) => Err(wrong(error)),
        input => Ok(Some(input)),
    }
}

/// Starts the thread that reads standard input.
fn read(publish: &Publish, stdin: Stdin) -> io::Result<()> {
    let format =
        Format { commands: false, encoding: publish.binary, framing: publish.framing(), most: publish.max_message };
    let reading = move || lines::read(io::stdin().lock(), format, &stdin);
    thread::Builder::new().name("input".to_owned()).spawn(reading).map(drop)
}

/// Turns the loop until everything is published, or nothing more can be.
fn turn(service: &mut Service, run: &RefCell<Run>) -> Result<(), Failure> {
    loop {
        let wait = run.borrow().next_look().map(|at| at.saturating_duration_since(Instant::now()));
        let progress = service.run_once(wait).map_err(|error| Failure::general(error.to_string()))?;
        let (conn, wants_to_close, wants_to_write) = {
            let mut run = run.borrow_mut();
            run.look(Instant::now());
            if run.is_over() || progress == ServiceState::Drained {
                return Ok(());
            }
            (run.conn(), run.wants_to_close(), run.wants_to_write())
        };
        let mut control = service.control();
        // One that is gone has its `closed` under way.
        let Some(mut connection) = conn.and_then(|id| control.connection(id).ok()) else { continue };
        if wants_to_close {
            connection.close(CloseCode::NORMAL);
        } else if wants_to_write {
            connection.request_writable();
        }
    }
}

fn no_thread(error: io::Error) -> Failure {
    Failure::general(format!("cannot spawn a thread: {error}"))
}
