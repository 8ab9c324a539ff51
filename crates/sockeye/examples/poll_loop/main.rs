//! Sockeye inside a bare poll(2) loop: the program watches every descriptor itself, and its own beside them (here one that
//! becomes readable on SIGINT or SIGTERM, which drain the service). Serves a counter, a mirror, an echo, and the files of a
//! folder.
//!
//! `cargo run --example poll_loop [ADDRESS [DIR]]`, then
//! `cargo run -- connect --protocol dumb-increment-protocol ws://127.0.0.1:7681/`.

mod poll;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use sockeye::http::{Files, Routes};
use sockeye::poll::{Mode, PollHook};
use sockeye::protocol::ProtocolMut;
use sockeye::service::ServiceState;
use sockeye::{Close, Cx, Fragment, Handshake, Protocol, Service, Tx, messages};

use self::poll::poll;

/// The program's own list of descriptors.
#[derive(Clone, Default)]
struct Watched(Rc<RefCell<BTreeMap<RawFd, Mode>>>);

impl PollHook for Watched {
    fn add(&mut self, fd: RawFd, mode: Mode) -> io::Result<()> {
        self.0.borrow_mut().insert(fd, mode);
        Ok(())
    }

    fn remove(&mut self, fd: RawFd) {
        self.0.borrow_mut().remove(&fd);
    }

    fn set_mode(&mut self, fd: RawFd, mode: Mode) {
        *self.0.borrow_mut().entry(fd).or_default() |= mode;
    }

    fn clear_mode(&mut self, fd: RawFd, mode: Mode) {
        *self.0.borrow_mut().entry(fd).or_default() -= mode;
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut signals, raised) = UnixStream::pair()?;
    pipe::register(SIGINT, raised.try_clone()?)?;
    pipe::register(SIGTERM, raised)?;

    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:7681".to_owned());
    let mirror = messages::on("lws-mirror-protocol", |cx, message| {
        cx.publish(message);
        Ok(())
    });
    let echo = messages::echo("echo");
    let mut builder = Service::builder().protocol(Counter).protocol(mirror).protocol(echo).listen(address);
    if let Some(folder) = arguments.next() {
        builder = builder.routes(Routes::new().files("/", Files::open(folder)?));
    }
    let watched = Watched::default();
    let mut service = builder.build_external(watched.clone())?;
    println!("listening on ws://{}/", service.local_addresses()[0]);

    loop {
        let mut fds: Vec<_> = watched.0.borrow().iter().map(|(&fd, &mode)| (fd, mode)).collect();
        fds.push((signals.as_raw_fd(), Mode::READ));
        for (fd, ready) in poll(&fds, service.next_timeout())? {
            if fd == signals.as_raw_fd() {
                // The first signal closes the connections; a second one does not wait for that.
                if service.is_draining() {
                    return Ok(());
                }
                let _ = signals.read(&mut [0; 16])?;
                service.drain();
                continue;
            }
            match service.service_fd(fd, ready) {
                // An earlier descriptor of this batch may have closed it.
                Err(error) if error.is_unknown_descriptor() => {}
                result => drop(result?),
            }
        }
        // Deadlines, and the commands of callbacks.
        if service.run_once(None)? == ServiceState::Drained {
            return Ok(());
        }
    }
}

/// dumb-increment-protocol: a number every 50 ms; `reset\n` starts over.
struct Counter;

#[derive(Default)]
struct Count {
    next: u64,
    /// The start of the message that is arriving: as much as it takes to know whether it is a reset.
    command: Vec<u8>,
}

const RESET: &[u8] = b"reset\n";

impl Protocol for Counter {
    type Session = Count;

    fn name(&self) -> &str {
        "dumb-increment-protocol"
    }

    fn open(&mut self, _: &mut Cx<'_>, _: &Handshake<'_>) -> Count {
        Count::default()
    }

    fn receive(&mut self, _: &mut Cx<'_>, count: &mut Count, fragment: Fragment<'_>) -> Result<(), Close> {
        let room = RESET.len() + 1 - count.command.len();
        count.command.extend(fragment.payload.as_bytes().iter().take(room));
        if fragment.last && std::mem::take(&mut count.command) == RESET {
            count.next = 0;
        }
        Ok(())
    }

    fn writable(&mut self, _: &mut Cx<'_>, count: &mut Count, tx: Tx<'_>) -> Result<(), Close> {
        if let Some(permission) = tx.idle() {
            permission.text(&count.next.to_string());
            count.next += 1;
        }
        Ok(())
    }

    fn interval(&self) -> Option<Duration> {
        Some(Duration::from_millis(50))
    }

    fn tick(&mut self, own: &mut ProtocolMut<'_>) {
        own.request_writable();
    }
}
