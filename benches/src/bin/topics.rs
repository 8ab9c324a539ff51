//! Publishes to many connections in one loop, over and over, and reads all of it in the same thread. `cargo xtask bench topics`
//! counts the instructions below the loop's turn and nothing else, so the readers cost nothing.

#![forbid(unsafe_code)]

use std::{
    error::Error,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum};
use sockeye::{Limits, Service, messages, sys::Address};

/// What is published to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// All connections of the protocol.
    All,
    /// One topic, to which all are subscribed.
    One,
    /// One topic after another, each with one subscriber.
    Each,
    /// Nothing: all connections unsubscribe from their topics in one turn, and the time of that turn is printed.
    Leave,
}

/// Publishes to many connections.
#[derive(Debug, Parser)]
struct Options {
    mode: Mode,
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// How many topics there are, in the last two modes; the connections share them evenly.
    #[arg(long, default_value_t = 10_000)]
    topics: usize,
    /// The bytes of a message.
    #[arg(long, default_value_t = 128)]
    size: usize,
    #[arg(long)]
    rounds: usize,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("topics: {error}");
            ExitCode::FAILURE
        }
    }
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn run(options: &Options) -> Result<String, Box<dyn Error>> {
    let mut limits = Limits::default();
    limits.topics_per_connection = options.topics.div_ceil(options.connections).max(1);
    limits.topics = options.topics.max(1);
    // The peers read, and do nothing else.
    limits.protocol_mut().ping_after = None;
    let mut service =
        Service::builder().limits(limits).fallback(messages::echo("news")).listen("127.0.0.1:0").build()?;
    let Address::Ip(address) = service.local_addresses()[0].clone() else { return Err("no address".into()) };
    let mut peers = connect(&mut service, address, options.connections)?;
    subscribe(&mut service, options)?;
    let (remote, message) = (service.remote(), "x".repeat(options.size));
    let mut longest = Duration::ZERO;
    for round in 0..options.rounds {
        let (mode, topic, message) = (options.mode, name(round % options.topics), message.clone());
        remote.run(move |control| {
            let Ok(mut news) = control.protocol_named("news") else { return };
            match mode {
                Mode::All => news.publish_text(&message),
                Mode::One => _ = news.topic("all").publish(&message),
                Mode::Each => _ = news.topic(&topic).publish(&message),
                Mode::Leave => {
                    for id in news.connection_ids() {
                        let Ok(mut connection) = news.connection(id) else { continue };
                        for topic in connection.topics() {
                            connection.unsubscribe(&topic);
                        }
                    }
                }
            }
        })?;
        let before = Instant::now();
        service.run_once(Some(Duration::from_secs(1)))?;
        longest = longest.max(before.elapsed());
        if options.mode != Mode::Leave {
            let receivers = match options.mode {
                Mode::Each => std::slice::from_mut(&mut peers[round % options.topics % options.connections]),
                _ => &mut peers,
            };
            let frame = options.size + if options.size < 126 { 2 } else { 4 };
            let bytes = receivers.len() * frame;
            read(&mut service, receivers, bytes)?;
        }
    }
    let sent = service.statistics().sent.messages;
    Ok(format!("sent={sent} longest_turn_us={}", longest.as_micros()))
}

/// The longest wait for anything. Below valgrind a turn takes seconds.
const WAIT: Duration = Duration::from_secs(120);

fn name(number: usize) -> String {
    format!("topic {number}")
}

fn connect(service: &mut Service, address: SocketAddr, count: usize) -> Result<Vec<TcpStream>, Box<dyn Error>> {
    let mut peers = Vec::new();
    while peers.len() < count {
        let mut some = Vec::new();
        for _ in 0..(count - peers.len()).min(100) {
            let mut peer = TcpStream::connect(address)?;
            peer.set_nonblocking(true)?;
            peer.write_all(REQUEST)?;
            some.push(peer);
        }
        for peer in &mut some {
            let (mut answer, until) = (Vec::new(), Instant::now() + WAIT);
            while !answer.ends_with(b"\r\n\r\n") {
                service.run_once(Some(Duration::ZERO))?;
                take(peer, &mut answer)?;
                if Instant::now() > until {
                    let open = service.connections();
                    let hint = "both ends of each take a descriptor (ulimit -n)";
                    return Err(
                        format!("no answer to a handshake within {WAIT:?}, with {open} connections: {hint}").into()
                    );
                }
            }
        }
        peers.append(&mut some);
    }
    Ok(peers)
}

fn subscribe(service: &mut Service, options: &Options) -> Result<(), Box<dyn Error>> {
    let mut control = service.control();
    let ids = control.protocol_named("news")?.connection_ids();
    for (index, id) in ids.iter().enumerate() {
        let mut connection = control.connection(*id)?;
        match options.mode {
            Mode::All => {}
            Mode::One => _ = connection.subscribe("all")?,
            Mode::Each | Mode::Leave => {
                for topic in (index..options.topics).step_by(ids.len()) {
                    connection.subscribe(&name(topic))?;
                }
            }
        }
    }
    // The first turns are like no other.
    for _ in 0..3 {
        service.run_once(Some(Duration::ZERO))?;
    }
    Ok(())
}

/// Reads so many bytes at all peers together.
fn read(service: &mut Service, peers: &mut [TcpStream], bytes: usize) -> Result<(), Box<dyn Error>> {
    let mut got = Vec::new();
    let until = Instant::now() + WAIT;
    loop {
        for peer in &mut *peers {
            take(peer, &mut got)?;
            if got.len() >= bytes {
                return Ok(());
            }
        }
        if Instant::now() > until {
            return Err(format!("{} of {bytes} bytes arrived", got.len()).into());
        }
        service.run_once(Some(Duration::ZERO))?;
    }
}

fn take(peer: &mut TcpStream, to: &mut Vec<u8>) -> Result<(), Box<dyn Error>> {
    let mut bytes = [0; 4096];
    match peer.read(&mut bytes) {
        Ok(0) => Err("the service closed a connection".into()),
        Ok(count) => {
            to.extend_from_slice(&bytes[..count]);
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error.into()),
    }
}
