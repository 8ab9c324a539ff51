//! Publishes at one hub and reads at another one, with a broker between them, and prints how long that took and what it cost each.
//!
//! One thread publishes and keeps so many messages without an answer, another one reads. Every message has its number, and all have to
//! arrive in order.

#![forbid(unsafe_code)]

use std::{
    error::Error,
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use sockeye_benches::{usage, wire};

/// Publishes at one hub and reads at another one.
#[derive(Clone, Debug, Parser)]
struct Options {
    /// The port of the hub that is published at.
    #[arg(long)]
    publish: u16,
    /// The port of the hub that is read at.
    #[arg(long)]
    read: u16,
    /// The processes whose time is told: both hubs and the broker.
    #[arg(long, value_delimiter = ',')]
    pids: Vec<u32>,
    #[arg(long)]
    messages: u64,
    /// Bytes of a message.
    #[arg(long, default_value_t = 128)]
    size: usize,
    /// Messages that are without an answer at a time.
    #[arg(long, default_value_t = 512)]
    window: u64,
}

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("brokers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<String> {
    let mut reader = Peer::open(options.read)?;
    reader.send(&wire::masked_frame(br#"{"type":"subscribe","id":1,"topic":"flow"}"#, true))?;
    reader.frames(&mut |payload| match payload.starts_with(br#"{"type":"subscribed""#) {
        true => Ok(()),
        false => Err(shown(payload)),
    })?;
    let publisher = Peer::open(options.publish)?;
    let before: Vec<u64> = options.pids.iter().map(|pid| usage::cpu_nanos(*pid)).collect();
    let begin = Instant::now();
    let own = options.clone();
    let publishing = thread::spawn(move || publish(publisher, &own));
    let mut next = 0;
    while next < options.messages {
        reader.frames(&mut |payload| {
            let number = payload.len().checked_sub(options.size).and_then(|at| payload[at..].first_chunk());
            if payload.first() != Some(&2) || number.map(|number| u64::from_be_bytes(*number)) != Some(next) {
                return Err(format!("instead of message {next}: {}", shown(payload)).into());
            }
            next += 1;
            Ok(())
        })?;
    }
    publishing.join().map_err(|_| "the publisher panicked")??;
    let seconds = begin.elapsed().as_secs_f64();
    let used = options.pids.iter().zip(before).map(|(pid, before)| usage::cpu_nanos(*pid).saturating_sub(before));
    let used: Vec<String> =
        used.zip(["publisher", "reader", "broker"]).map(|(ns, of)| format!("{of}_ns={ns}")).collect();
    Ok(format!("messages={} seconds={seconds:.6} {}", options.messages, used.join(" ")))
}

fn publish(mut peer: Peer, options: &Options) -> Result<()> {
    let topic = b"flow";
    let mut payload = vec![b'x'; options.size.max(8)];
    let (mut sent, mut answered) = (0_u64, 0_u64);
    while answered < options.messages {
        let mut frames = Vec::new();
        while sent < options.messages.min(answered + options.window) {
            payload[..8].copy_from_slice(&sent.to_be_bytes());
            let mut request = vec![1, 0, topic.len() as u8, 0, 0];
            request.extend_from_slice(&sent.to_be_bytes());
            request.extend_from_slice(topic);
            request.extend_from_slice(&payload);
            frames.extend_from_slice(&wire::masked_frame(&request, false));
            sent += 1;
        }
        peer.send(&frames)?;
        peer.frames(&mut |payload| {
            if !payload.starts_with(br#"{"type":"published""#) {
                return Err(format!("a message was not published: {}", shown(payload)).into());
            }
            answered += 1;
            Ok(())
        })?;
    }
    Ok(())
}

fn shown(payload: &[u8]) -> Box<dyn Error + Send + Sync> {
    payload.escape_ascii().to_string().into()
}

/// A connection to a hub.
struct Peer {
    stream: TcpStream,
    /// What has arrived begins at the front.
    place: Vec<u8>,
    len: usize,
}

impl Peer {
    fn open(port: u16) -> Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        let mut peer = Self { stream, place: vec![0; 256 * 1024], len: 0 };
        let nonce = wire::NONCE;
        let request = format!(
            "GET /topics HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {nonce}\r\nSec-WebSocket-Protocol: sockeye.topics.v1\r\n\r\n"
        );
        peer.send(request.as_bytes())?;
        loop {
            peer.receive()?;
            let got = &peer.place[..peer.len];
            let Some(at) = got.windows(4).position(|four| four == wire::HEAD_END) else { continue };
            if !got.starts_with(b"HTTP/1.1 101 ") {
                return Err(shown(got));
            }
            peer.drop_front(at + 4);
            return Ok(peer);
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    fn receive(&mut self) -> Result<()> {
        let count = self.stream.read(&mut self.place[self.len..]).map_err(|error| format!("nothing comes: {error}"))?;
        self.len += count;
        if count == 0 { Err("the hub has closed a connection, or sends a long message".into()) } else { Ok(()) }
    }

    /// Waits for one frame at least, and calls `each` with the payloads of all that are there.
    fn frames(&mut self, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut at = 0;
        loop {
            while let Some((_, head, len)) = wire::frame_head(&self.place[at..self.len]) {
                if self.len - at < head + len {
                    break;
                }
                each(&self.place[at + head..at + head + len])?;
                at += head + len;
            }
            if at > 0 {
                self.drop_front(at);
                return Ok(());
            }
            self.receive()?;
        }
    }

    fn drop_front(&mut self, bytes: usize) {
        self.place.copy_within(bytes..self.len, 0);
        self.len -= bytes;
    }
}

/// How long nothing may come.
const LIMIT: Duration = Duration::from_secs(60);
