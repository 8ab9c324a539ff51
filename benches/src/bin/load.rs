//! Sends messages to a server on this machine, verifies every reply, and prints what they cost the server.
//!
//! One thread, one poller. It ends by itself: after so many messages, after so long, or when a byte is wrong.

#![forbid(unsafe_code)]

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, TcpStream},
    os::fd::OwnedFd,
    process::ExitCode,
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum};
use rustix::{event::epoll, net::sockopt};
use sockeye_benches::{
    peers::{Peer, Talk, expect_upgrade},
    usage, wire,
};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Every connection keeps its messages in flight.
    Echo,
    /// The first connection does, and all of them get every message.
    Broadcast,
    /// Connect, upgrade, close, again.
    Open,
    /// Connections that do nothing, and what memory they cost: `--messages` is of no meaning here.
    Idle,
}

/// A load generator that verifies.
#[derive(Debug, Parser)]
struct Options {
    mode: Mode,
    #[arg(long)]
    port: u16,
    /// The server, for what it uses.
    #[arg(long)]
    pid: Option<u32>,
    #[arg(long, default_value_t = 50)]
    connections: usize,
    /// Messages of each connection that are under way at a time.
    #[arg(long, default_value_t = 1)]
    flight: usize,
    /// Bytes of a message.
    #[arg(long, default_value_t = 20)]
    size: usize,
    #[arg(long)]
    text: bool,
    /// Ends after so many messages of each connection; else after `--seconds`.
    #[arg(long)]
    messages: Option<u64>,
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match options.mode {
        Mode::Open => open(&options),
        Mode::Idle => idle(&options),
        Mode::Echo | Mode::Broadcast => exchange(&options),
    };
    match result {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

/// From when to when it is counted.
struct Course {
    pid: Option<u32>,
    begin: Instant,
    warm: Duration,
    end: Duration,
    /// Nanoseconds of the server and messages when counting began.
    base: Option<(u64, u64)>,
}

impl Course {
    fn new(options: &Options) -> Self {
        let end = if options.messages.is_some() { LIMIT } else { Duration::from_secs_f64(options.seconds.min(60.0)) };
        let warm = if options.messages.is_some() { Duration::ZERO } else { WARM_UP };
        Self { pid: options.pid, begin: Instant::now(), warm, end: warm + end, base: None }
    }

    /// Whether it is over. `count` is what happened so far.
    fn is_over(&mut self, count: u64) -> bool {
        let elapsed = self.begin.elapsed();
        if self.base.is_none() && elapsed >= self.warm {
            self.base = Some((self.server_nanos(), count));
        }
        elapsed >= self.end
    }

    fn server_nanos(&self) -> u64 {
        self.pid.map_or(0, usage::cpu_nanos)
    }

    fn report(&self, count: u64) -> String {
        let (nanos, before) = self.base.unwrap_or_default();
        format!("messages={} server_ns={}", count - before, self.server_nanos().saturating_sub(nanos))
    }
}

/// The connections of a run, and what one wait needs.
struct Crowd {
    poller: OwnedFd,
    peers: Vec<Peer>,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
}

impl Crowd {
    fn open(options: &Options, talks: &[Rc<Talk>]) -> io::Result<Self> {
        let poller = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let peers = (0..options.connections)
            .map(|index| Peer::open(options.port, &talks[index % talks.len()], &poller, index as u64))
            .collect::<io::Result<_>>()?;
        Ok(Self { poller, peers, events: Vec::with_capacity(EVENTS), buffer: vec![0; BUFFER] })
    }

    fn send(&mut self, index: usize, count: usize) -> io::Result<()> {
        self.peers[index].send(count, &self.poller, index as u64)
    }

    /// Waits, and calls `replied` for each connection with the number of replies that it completed.
    fn serve(&mut self, mut replied: impl FnMut(&mut Self, usize, usize) -> io::Result<()>) -> io::Result<()> {
        wait(&self.poller, &mut self.events)?;
        let events = std::mem::take(&mut self.events);
        for event in &events {
            let (flags, data) = (event.flags, event.data);
            let index = data.u64() as usize;
            if flags.contains(epoll::EventFlags::OUT) {
                self.send(index, 0)?;
            }
            if flags != epoll::EventFlags::OUT {
                let count = self.peers[index].receive(&mut self.buffer)?;
                replied(self, index, count)?;
            }
        }
        self.events = events;
        Ok(())
    }
}

/// Echo and broadcast.
fn exchange(options: &Options) -> io::Result<String> {
    let broadcast = options.mode == Mode::Broadcast;
    let talks = if broadcast {
        vec![Rc::new(Talk::new(options.size, options.text, BROADCAST, options.flight))]
    } else {
        Talk::several(options.size, options.text, options.flight)
    };
    let mut crowd = Crowd::open(options, &talks)?;
    let senders = if broadcast { 1 } else { options.connections };
    let mut left = vec![options.messages.unwrap_or(u64::MAX); senders];
    let due = options.messages.map_or(u64::MAX, |each| each * options.connections as u64);
    let mut course = Course::new(options);
    for (index, left) in left.iter_mut().enumerate() {
        crowd.send(index, take(left, options.flight))?;
    }
    let mut count = 0;
    while !course.is_over(count) {
        crowd.serve(|crowd, index, replies| {
            count += replies as u64;
            match left.get_mut(index) {
                Some(left) if replies > 0 => crowd.send(index, take(left, replies)),
                _ => Ok(()),
            }
        })?;
        if count == due {
            return Ok(course.report(count));
        }
    }
    if options.messages.is_some() { Err(ErrorKind::TimedOut.into()) } else { Ok(course.report(count)) }
}

/// Takes up to `count` from what is left.
fn take(left: &mut u64, count: usize) -> usize {
    let count = (*left).min(count as u64);
    *left -= count;
    count as usize
}

/// A connection that is about to be upgraded.
struct Caller {
    stream: TcpStream,
    head: Vec<u8>,
}

impl Caller {
    fn call(port: u16, poller: &OwnedFd, token: u64) -> io::Result<Self> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        // Ended by a reset, so that no port is kept from being used again.
        sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
        stream.set_nonblocking(true)?;
        epoll::add(poller, &stream, epoll::EventData::new_u64(token), epoll::EventFlags::IN)?;
        stream.write_all(&wire::request(port))?;
        Ok(Self { stream, head: Vec::new() })
    }
}

/// Upgrades as many connections as it can, each closed as soon as it is open.
fn open(options: &Options) -> io::Result<String> {
    let poller = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let call = |index: usize| Caller::call(options.port, &poller, index as u64);
    let mut callers = (0..options.connections).map(call).collect::<io::Result<Vec<_>>>()?;
    let mut events = Vec::with_capacity(EVENTS);
    let mut buffer = [0; 4096];
    let mut course = Course::new(options);
    let mut count = 0;
    while !course.is_over(count) {
        wait(&poller, &mut events)?;
        for event in &events {
            let index = { event.data }.u64() as usize;
            let caller = &mut callers[index];
            match caller.stream.read(&mut buffer)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                received => caller.head.extend_from_slice(&buffer[..received]),
            }
            if caller.head.ends_with(wire::HEAD_END) {
                expect_upgrade(&caller.head)?;
                count += 1;
                *caller = Caller::call(options.port, &poller, index as u64)?;
            }
        }
    }
    Ok(course.report(count))
}

/// What connections cost that do nothing: after the upgrade, and after one message each.
fn idle(options: &Options) -> io::Result<String> {
    let pid = options.pid.ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "--pid is needed"))?;
    let settled = || {
        thread::sleep(SETTLE);
        usage::resident_bytes(pid)
    };
    let talks = Talk::several(options.size, options.text, 1);
    // The first connections pay for what is allocated once.
    drop(Crowd::open(&Options { connections: 10, mode: options.mode, ..*options }, &talks)?);
    let empty = settled();
    let mut crowd = Crowd::open(options, &talks)?;
    let opened = settled();
    let deadline = Instant::now() + LIMIT;
    for first in (0..options.connections).step_by(BATCH) {
        let batch = first..options.connections.min(first + BATCH);
        let mut missing = batch.len();
        for index in batch {
            crowd.send(index, 1)?;
        }
        while missing > 0 {
            crowd.serve(|_, _, replies| {
                missing -= replies;
                Ok(())
            })?;
            if Instant::now() > deadline {
                return Err(ErrorKind::TimedOut.into());
            }
        }
    }
    let each = |bytes: u64| bytes.saturating_sub(empty) / options.connections as u64;
    Ok(format!("after_upgrade={} after_message={}", each(opened), each(settled())))
}

/// Waits for events, for a moment at most, so that the time is looked at.
fn wait(poller: &OwnedFd, events: &mut Vec<epoll::Event>) -> io::Result<()> {
    events.clear();
    let moment = rustix::time::Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    match epoll::wait(poller, rustix::buffer::spare_capacity(events), Some(&moment)) {
        Err(rustix::io::Errno::INTR) => Ok(()),
        result => result.map(drop).map_err(Into::into),
    }
}

/// Connections of an idle run that send at a time.
const BATCH: usize = 64;

/// What the server takes as a wish for everybody to get the message: `sockeye echo --broadcast P`.
const BROADCAST: u8 = b'P';

const BUFFER: usize = 1 << 20;

const EVENTS: usize = 1024;

/// Nothing that is counted takes longer, on a slow machine and under valgrind.
const LIMIT: Duration = Duration::from_secs(240);

/// Until the server has done what it does when nothing comes.
const SETTLE: Duration = Duration::from_millis(500);

/// Before it is measured: caches, branch predictors, buffers that grow.
const WARM_UP: Duration = Duration::from_millis(300);
