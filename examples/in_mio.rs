//! A Sockeye service in a program that owns a `mio::Poll` and serves a line protocol of its own on another port.
//!
//! `cargo run --example in_mio [ADDRESS [ADDRESS_OF_LINES]]`, then `cargo run -- connect ws://127.0.0.1:9001/`, and in another
//! terminal `nc 127.0.0.1 9002`. The lines are commands: `say TEXT` sends to every WebSocket, `last` shows what a WebSocket sent
//! last, `stop` ends the program.

use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};
use sockeye::service::ServiceState;
use sockeye::{CloseCode, Service, messages};

const SERVICE: Token = Token(0);
const LISTENER: Token = Token(1);
/// The first token of a connection that sends lines.
const FIRST_PEER: usize = 2;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut address = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let last = Rc::new(RefCell::new("nothing".to_owned()));
    let received = Rc::clone(&last);
    let mut builder = Service::builder();
    let board = builder.add_protocol(messages::on("board", move |_, message| {
        let text = message.as_text().ok_or(CloseCode::UNSUPPORTED)?;
        *received.borrow_mut() = text.replace(['\r', '\n'], " ");
        Ok(())
    }));
    let mut service = builder.listen(address("127.0.0.1:9001")).build()?;

    let mut poll = Poll::new()?;
    // One descriptor of the service is all that needs to be watched. The service keeps it open.
    let descriptor = service.descriptor().ok_or("this system has no descriptor to watch")?.as_raw_fd();
    poll.registry().register(&mut SourceFd(&descriptor), SERVICE, Interest::READABLE)?;
    let mut lines = Lines::listen(address("127.0.0.1:9002").parse()?, poll.registry())?;
    println!("listening on ws://{}/", service.local_addresses()[0]);
    println!("listening on tcp://{}/", lines.listener.local_addr()?);

    let mut events = Events::with_capacity(256);
    while service.run_once(Some(Duration::ZERO))? == ServiceState::Running {
        let timeout = if lines.have_input() { Some(Duration::ZERO) } else { service.next_timeout() };
        match poll.poll(&mut events, timeout) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        // An event of the service only ends the wait: the service runs after each.
        for event in &events {
            lines.note_input(event.token());
        }
        lines.serve(poll.registry(), |line| match line.split_once(' ').unwrap_or((line, "")) {
            ("say", text) => {
                let mut control = service.control();
                control.protocol(board).expect("the handle is this service's").publish_text(text);
                format!("sent to {} connections\n", control.connections())
            }
            ("last", "") => format!("{}\n", last.borrow()),
            ("stop", "") => {
                service.drain();
                "stopping\n".to_owned()
            }
            _ => "unknown command\n".to_owned(),
        });
    }
    Ok(())
}

/// The program's own protocol: each line is answered with a line.
struct Lines {
    listener: TcpListener,
    /// mio reports input once, so it is noted until a call finds nothing more.
    may_accept: bool,
    peers: HashMap<Token, Peer>,
    next: usize,
}

struct Peer {
    stream: TcpStream,
    has_input: bool,
    /// The start of the line that is arriving.
    line: Vec<u8>,
}

/// The longest line in bytes, and the most connections.
const LINE: usize = 1024;
const PEERS: usize = 64;

impl Lines {
    fn listen(address: SocketAddr, registry: &Registry) -> io::Result<Self> {
        let mut listener = TcpListener::bind(address)?;
        registry.register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self { listener, may_accept: false, peers: HashMap::new(), next: FIRST_PEER })
    }

    fn note_input(&mut self, token: Token) {
        if token == LISTENER {
            self.may_accept = true;
        } else if let Some(peer) = self.peers.get_mut(&token) {
            peer.has_input = true;
        }
    }

    fn have_input(&self) -> bool {
        self.may_accept || self.peers.values().any(|peer| peer.has_input)
    }

    /// Accepts one connection and reads once from each, so that the WebSockets have their turn.
    fn serve(&mut self, registry: &Registry, mut answer: impl FnMut(&str) -> String) {
        if self.may_accept {
            match self.listener.accept() {
                Ok((stream, _)) if self.peers.len() < PEERS => self.add(stream, registry),
                Ok(_) => {} // closed at once
                Err(_) => self.may_accept = false,
            }
        }
        self.peers.retain(|_, peer| !peer.has_input || peer.serve(&mut answer).is_ok());
    }

    fn add(&mut self, mut stream: TcpStream, registry: &Registry) {
        let token = Token(self.next);
        self.next += 1;
        if registry.register(&mut stream, token, Interest::READABLE).is_ok() {
            self.peers.insert(token, Peer { stream, has_input: true, line: Vec::new() });
        }
    }
}

impl Peer {
    /// An error ends the connection.
    fn serve(&mut self, answer: &mut impl FnMut(&str) -> String) -> io::Result<()> {
        let mut buffer = [0; 4096];
        let count = match self.stream.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.has_input = false;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        for &byte in &buffer[..count] {
            if byte != b'\n' {
                self.line.push(byte);
            } else {
                let answer = answer(String::from_utf8_lossy(&self.line).trim_end());
                self.line.clear();
                // Nothing is queued: a peer that does not read its answers gets an error here.
                self.stream.write_all(answer.as_bytes())?;
            }
            if self.line.len() > LINE {
                return Err(ErrorKind::InvalidData.into());
            }
        }
        Ok(())
    }
}
