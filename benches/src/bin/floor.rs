//! The least that a server can do to echo: one thread, one poller, one read, one send, and nothing that could be left out.
//!
//! It keeps no limits, checks no UTF-8, answers no ping and times nothing out. What `sockeye echo` costs beside it, in the
//! same run on the same machine, is what the engine costs.

#![forbid(unsafe_code)]

use std::{
    io::{self, Write},
    net::{Ipv4Addr, TcpListener},
    os::fd::{AsRawFd, OwnedFd},
    process::ExitCode,
};

use clap::{Parser, ValueEnum};
use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, EventData, EventFlags},
    io::Errno,
    net::{self, RecvFlags, SendFlags, SocketFlags, sockopt},
};
use sockeye_benches::{
    frames::{Cork, Frames, HEAD},
    wire,
};

/// The least a server can do.
#[derive(Debug, Parser)]
struct Options {
    mode: Mode,
    #[arg(long, default_value_t = 0)]
    port: u16,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// It goes back as it comes, finished or not.
    Ws,
    /// It goes back when it is whole.
    Wsmsg,
    /// Every connection gets it, at the end of a round of the poller.
    Broadcast,
}

fn main() -> ExitCode {
    match Floor::listen(&Options::parse()).and_then(|mut floor| floor.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floor: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The server.
struct Floor {
    mode: Mode,
    poller: OwnedFd,
    listener: TcpListener,
    /// Indexed by the numbers of their descriptors.
    peers: Vec<Option<Peer>>,
    received: Vec<u8>,
    reply: Cork,
    /// What everybody gets at the end of the round.
    published: Vec<u8>,
}

impl Floor {
    fn listen(options: &Options) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port))?;
        // As deep a queue as the system allows: the load comes all at once.
        net::listen(&listener, 4096)?;
        listener.set_nonblocking(true)?;
        let poller = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&poller, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        writeln!(io::stdout(), "listening on ws://{}/", listener.local_addr()?)?;
        Ok(Self {
            mode: options.mode,
            poller,
            listener,
            peers: Vec::new(),
            received: vec![0; RECEIVED],
            reply: Cork::new(RECEIVED + HEAD),
            published: Vec::new(),
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            events.clear();
            match epoll::wait(&self.poller, spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                let (token, flags) = ({ event.data }.u64(), event.flags);
                if token == LISTENER { self.accept()? } else { self.serve(token as usize, flags) }
            }
            self.publish();
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let socket = match net::accept_with(&self.listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            sockopt::set_tcp_nodelay(&socket, true)?;
            let index = socket.as_raw_fd().unsigned_abs() as usize;
            epoll::add(&self.poller, &socket, EventData::new_u64(index as u64), EventFlags::IN)?;
            if self.peers.len() <= index {
                self.peers.resize_with(index + 1, || None);
            }
            let output = Output { socket, unsent: Vec::new(), sent: 0 };
            self.peers[index] = Some(Peer { output, frames: None });
        }
    }

    /// One read, and what it brings. A connection that fails or ends is dropped.
    fn serve(&mut self, index: usize, flags: EventFlags) {
        let Some(peer) = self.peers.get_mut(index).and_then(Option::as_mut) else { return };
        let mut alive = true;
        if flags.contains(EventFlags::OUT) {
            alive = peer.output.send(&self.poller, &[]).is_ok();
        }
        if alive && flags != EventFlags::OUT {
            alive = match net::recv(&peer.output.socket, &mut self.received[..], RecvFlags::empty()) {
                Ok((1.., count)) => peer
                    .turn(&self.received[..count], self.mode, &mut self.reply, &mut self.published, &self.poller)
                    .is_ok_and(|open| open),
                Err(Errno::AGAIN | Errno::INTR) => true,
                _ => false,
            };
        }
        if !alive {
            self.peers[index] = None;
        }
    }

    fn publish(&mut self) {
        if self.published.is_empty() {
            return;
        }
        for peer in self.peers.iter_mut().flatten().filter(|peer| peer.frames.is_some()) {
            // One that fails is dropped by its own event.
            let _ = peer.output.send(&self.poller, &self.published);
        }
        self.published.clear();
    }
}

/// A connection.
struct Peer {
    output: Output,
    /// Since it was upgraded.
    frames: Option<Frames>,
}

impl Peer {
    /// Answers `input`. False ends the connection.
    fn turn(
        &mut self,
        input: &[u8],
        mode: Mode,
        reply: &mut Cork,
        published: &mut Vec<u8>,
        poller: &OwnedFd,
    ) -> io::Result<bool> {
        let Some(frames) = &mut self.frames else {
            let Some(nonce) = wire::nonce(input).filter(|_| input.ends_with(wire::HEAD_END)) else { return Ok(false) };
            self.frames = Some(Frames::default());
            self.output.send(poller, &wire::response(nonce))?;
            return Ok(true);
        };
        reply.clear();
        let open = frames.turn(input, mode != Mode::Ws, reply);
        if let Some(held) = frames.held() {
            self.output.send(poller, held.bytes())?;
            held.clear();
        }
        if mode == Mode::Broadcast {
            published.extend_from_slice(reply.bytes());
        } else if !reply.bytes().is_empty() {
            self.output.send(poller, reply.bytes())?;
        }
        Ok(open)
    }
}

/// The way to a client.
struct Output {
    socket: OwnedFd,
    /// What the socket did not take, of which `sent` bytes have gone since.
    unsent: Vec<u8>,
    sent: usize,
}

impl Output {
    /// Sends what waits and `bytes`, as far as they go; the rest waits.
    fn send(&mut self, poller: &OwnedFd, bytes: &[u8]) -> io::Result<()> {
        if self.unsent.is_empty() {
            let sent = send(&self.socket, bytes)?;
            if sent < bytes.len() {
                self.unsent.extend_from_slice(&bytes[sent..]);
                self.ask(poller, EventFlags::IN | EventFlags::OUT)?;
            }
            return Ok(());
        }
        self.unsent.extend_from_slice(bytes);
        self.sent += send(&self.socket, &self.unsent[self.sent..])?;
        if self.sent == self.unsent.len() {
            (self.unsent, self.sent) = (Vec::new(), 0);
            self.ask(poller, EventFlags::IN)?;
        }
        Ok(())
    }

    fn ask(&self, poller: &OwnedFd, flags: EventFlags) -> io::Result<()> {
        let token = EventData::new_u64(self.socket.as_raw_fd().unsigned_abs().into());
        Ok(epoll::modify(poller, &self.socket, token, flags)?)
    }
}

fn send(socket: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    match net::send(socket, bytes, SendFlags::NOSIGNAL) {
        Err(Errno::AGAIN | Errno::INTR) => Ok(0),
        sent => Ok(sent?),
    }
}

const EVENTS: usize = 1024;

/// The token of the listener; those of connections are the numbers of their descriptors.
const LISTENER: u64 = u64::MAX;

/// Read at a time.
const RECEIVED: usize = 512 * 1024;
