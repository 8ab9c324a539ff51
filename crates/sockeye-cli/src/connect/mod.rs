//! `sockeye connect`: a connection for people at a terminal, for filters and for scripts.
//!
//! The main thread runs the loop. What comes of standard input comes over a thread of its own through [`stdin`]: from
//! [`lines`], or from the [`editor`]. What is shown leaves through [`mod@screen`], by a thread too. Between them
//! [`console`] is the protocol that the loop calls, and [`dialog`] decides.

pub(crate) mod args;
mod color;
mod command;
mod console;
mod dialog;
mod editor;
pub(crate) mod encoding;
pub(crate) mod event;
mod expect;
pub(crate) mod lines;
mod packed;
mod screen;
mod secured;
mod show;
pub(crate) mod stdin;
mod topics;

use std::cell::RefCell;
use std::env;
use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _};
use std::mem;
use std::path::Path;
use std::rc::Rc;
use std::thread;
use std::time::Instant;

use sockeye::client::Reconnect;
use sockeye::messages::Message;
use sockeye::service::ServiceState;
use sockeye::{Limits, Service};

use self::args::Connect;
use self::console::Console;
use self::dialog::{Dialog, Plan};
use self::encoding::Encoding;
use self::event::Event;
use self::expect::Expectations;
use self::lines::Format;
use self::screen::{Colors, Screen, Style};
use self::stdin::Stdin;
use self::topics::Feed;
use crate::failure::Failure;
use crate::options::listening::Listening;
use crate::server::{self, Scheme};
use crate::stdout::{Output, Waker};
use crate::stop::Stop;

pub(crate) fn run(connect: &Connect) -> Result<(), Failure> {
    let started = Instant::now();
    // First of all, so that nothing is begun that cannot be asked for.
    let feed = Feed::new(connect)?.map(|feed| Rc::new(RefCell::new(feed)));
    let connect_to = |url| match &feed {
        Some(_) => connect.client.connect_to_hub(url),
        None => connect.client.connect(url),
    };
    let wanted = connect.url.as_deref().map(connect_to).transpose()?;
    let plan = plan(connect, started)?;
    let stop = Stop::prepare()?;
    let waker = Waker::default();
    let stdin = Stdin::new(waker.clone());
    let screen = start_io(connect, started, &stdin, waker.clone()).map_err(no_thread)?;
    let stdout = screen.stdout.clone();
    let dialog = Rc::new(RefCell::new(Dialog::new(plan, screen, stdin.clone())));

    let console = Console::new(Rc::clone(&dialog), connect, feed.clone());
    let builder = Service::builder().limits(limits(connect)).compression(connect.compression()).fallback(console);
    let (mut service, listening) = match &connect.listen {
        Some(listen) => {
            // Of a client it is the one to claim, and of a server the one to admit.
            let origins: Vec<_> = connect.client.origin.iter().cloned().collect();
            let builder = connect.admission.apply(builder, &origins, false)?;
            let interfaces = listen.interface.iter().chain(&connect.interfaces).cloned().collect();
            let tls = (&connect.tls, &connect.admission);
            let listener = server::listen(builder, &Listening::at(interfaces), tls, listen.port, "--listen")?;
            (listener.service, Some((listener.scheme, listener.pin)))
        }
        None => (builder.build().map_err(|error| Failure::general(error.to_string()))?, None),
    };
    waker.tie(service.remote());
    let interrupt = move || {
        stdin.interrupt();
        stdout.hurry();
    };
    stop.watch(interrupt, editor::abandon, editor::resume).map_err(no_thread)?;
    if let Some((scheme, pin)) = listening {
        announce(&dialog.borrow().screen, &service, scheme, pin.as_deref());
    }
    if let Some(mut wanted) = wanted {
        if connect.reconnect || feed.is_some() {
            wanted = wanted.reconnect(Reconnect::new()).map_err(|error| Failure::usage(error.to_string()))?;
        }
        if connect.verbose {
            wanted = wanted.report_handshake();
        }
        // The console is the one protocol that there is.
        service
            .control()
            .protocol_named(console::NAME)
            .map(|mut protocol| protocol.connect(wanted))
            .map_err(|error| Failure::general(error.to_string()))?;
    }
    let ended = talk(&mut service, &dialog);
    dialog.borrow().screen.compressed(&service.statistics().compression);
    if let Some(feed) = &feed {
        feed.borrow().places().iter().for_each(|place| dialog.borrow().screen.note(place));
    }
    drop(service);
    let Ok(dialog) = Rc::try_unwrap(dialog) else {
        return Err(Failure::general("the service is still in use".to_owned()));
    };
    let verdict = dialog.into_inner().finish();
    ended.and(verdict)
}

/// Turns the loop until the dialog is over.
fn talk(service: &mut Service, dialog: &RefCell<Dialog>) -> Result<(), Failure> {
    loop {
        let wait = dialog.borrow().next_look().map(|at| at.saturating_duration_since(Instant::now()));
        let progress = service.run_once(wait).map_err(|error| Failure::general(error.to_string()))?;
        let (conn, close, asks) = {
            let mut dialog = dialog.borrow_mut();
            dialog.look(Instant::now());
            if dialog.is_over() || progress == ServiceState::Drained {
                return Ok(());
            }
            let asks = dialog.conn().is_some() && dialog.wants_to_write() && !mem::replace(&mut dialog.asked, true);
            (dialog.conn(), dialog.close.take(), asks)
        };
        let Some(id) = conn else { continue };
        let mut control = service.control();
        // One that is gone has its `closed` under way.
        if let Some(close) = close {
            if let Ok(mut connection) = control.connection(id) {
                connection.close(close);
            }
        } else if asks {
            if let Ok(mut connection) = control.connection(id) {
                connection.request_writable();
            }
        }
    }
}

fn plan(connect: &Connect, started: Instant) -> Result<Plan, Failure> {
    let mut sends = Vec::new();
    for text in &connect.sends {
        let message = given(text, connect).map_err(|error| Failure::usage(format!("--send {text}: {error}")))?;
        sends.push(message);
    }
    Ok(Plan {
        sends,
        expectations: Expectations::new(connect.expect.clone(), connect.strict),
        count: connect.count,
        hold: connect.hold,
        deadline: connect.timeout.map(|timeout| started + timeout),
        timeout: connect.timeout,
        ping_every: connect.ping_interval,
        forgiving: editor::is_typed(),
    })
}

/// The message of a `--send`: a text, or what is in a file.
fn given(text: &str, connect: &Connect) -> Result<Message<'static>, String> {
    let bytes = match text.strip_prefix('@') {
        None => text.as_bytes().to_vec(),
        Some(rest) if rest.starts_with('@') => rest.as_bytes().to_vec(),
        Some(path) => read_file(Path::new(path), connect.max_message)?,
    };
    match connect.binary {
        Some(Encoding::Raw) => Ok(bytes.into()),
        encoding => {
            let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8; --binary raw sends it as it is")?;
            match encoding {
                None => Ok(text.into()),
                Some(encoding) => encoding.decode(&text).map(Message::from),
            }
        }
    }
}

/// What is in a file that has at most so many bytes.
pub(crate) fn read_file(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > most {
        return Err(format!("it has more than {most} bytes (--max-message)"));
    }
    Ok(bytes)
}

fn limits(connect: &Connect) -> Limits {
    let mut limits = Limits::default();
    limits.protocol_mut().message_bytes = connect.max_message;
    limits
}

/// Starts the threads of input and output.
fn start_io(connect: &Connect, started: Instant, stdin: &Stdin, waker: Waker) -> io::Result<Screen> {
    // Topics are shown, and nothing is typed.
    let reads = connect.topics.topics.is_empty();
    let (typed, watched) = (editor::is_typed() && reads, editor::is_watched());
    let framing = connect.framing();
    let format = Format { commands: typed, encoding: connect.binary, framing, most: connect.max_message };
    let style = if typed && watched && editor::start(format, stdin.clone())? {
        Style::Editor
    } else {
        let stdin = stdin.clone();
        let read = move || lines::read(io::stdin().lock(), format, &stdin);
        if reads {
            thread::Builder::new().name("input".to_owned()).spawn(read)?;
        }
        if watched { Style::Terminal } else { Style::Pipe }
    };
    let stdout = match style {
        Style::Editor => Output::start(waker, editor::print)?,
        _ => Output::to_stdout(waker)?,
    };
    let control = connect.show_control;
    let holds = |is_terminal| connect.color.holds(is_terminal, |name| env::var_os(name));
    let colors = Colors { stdout: holds(watched), stderr: holds(io::stderr().is_terminal()) };
    Ok(Screen {
        stdout,
        style,
        json: connect.json,
        encoding: connect.binary,
        framing,
        quiet: connect.quiet,
        control,
        verbose: connect.verbose,
        colors,
        started,
    })
}

/// Says where clients can connect, and how they know this server.
fn announce(screen: &Screen, service: &Service, scheme: Scheme, pin: Option<&str>) {
    for address in service.local_addresses() {
        let mut shown = String::new();
        server::describe(&mut shown, address, scheme);
        screen.event(&Event::Listening { address: &shown });
        screen.note(&format!("listening on {shown}"));
    }
    if let Some(pin) = pin {
        screen.note(pin);
    }
}

fn no_thread(error: io::Error) -> Failure {
    Failure::general(format!("cannot spawn a thread: {error}"))
}
