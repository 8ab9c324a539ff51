//! The protocol without Sockeye's loop: an echo server of `sockeye-proto` and blocking sockets of the standard library, one
//! thread per connection. Read it for the order of calls, then do the same in your own loop.
//!
//! `cargo run --example proto_alone [ADDRESS]`, then `cargo run -- connect ws://127.0.0.1:9001/`.

use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{self, Duration};

use sockeye_proto::conn::{Connection, HEADROOM, Input, State};
use sockeye_proto::event::{Event, Payload};
use sockeye_proto::handshake::server::{Offer, refuse};
use sockeye_proto::http::{HeadScanner, RequestHead};
use sockeye_proto::limits::ProtocolLimits;
use sockeye_proto::message::{Assembler, encode};
use sockeye_proto::time::Instant;
use sockeye_proto::wire::Role;

/// Bytes of one read.
const READ: usize = 64 * 1024;

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let listener = TcpListener::bind(address)?;
    println!("listening on ws://{}/", listener.local_addr()?);
    for stream in listener.incoming() {
        let stream = stream?;
        thread::spawn(move || serve(stream).unwrap_or_else(|error| eprintln!("{error}")));
    }
    Ok(())
}

fn serve(mut stream: TcpStream) -> Result<(), Box<dyn Error>> {
    let limits = Arc::new(ProtocolLimits::default());
    if let Some(behind) = handshake(&mut stream, &limits)? {
        echo(&mut stream, &limits, &behind)?;
    }
    // Closing with unread input would reset the connection, and a reset can overtake our last words.
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(limits.close_timeout))?;
    io::copy(&mut stream.take(1 << 20), &mut io::sink())?;
    Ok(())
}

/// Answers the request. `Some`: it is a WebSocket now, and these bytes came behind the request already.
fn handshake(stream: &mut TcpStream, limits: &ProtocolLimits) -> io::Result<Option<Vec<u8>>> {
    // Enough for an example. A server for strangers sets a deadline for the whole head, not for each read.
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut scanner = HeadScanner::new(limits);
    let mut bytes = Vec::new();
    let mut out = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return Ok(None);
        }
        bytes.extend_from_slice(&piece[..count]);
        match scanner.scan(&bytes) {
            Ok(None) => {}
            Ok(Some(length)) => {
                let accepted = answer(&bytes[..length], limits, &mut out);
                stream.write_all(&out)?;
                return Ok(accepted.then(|| bytes.split_off(length)));
            }
            Err(error) => {
                refuse(&mut out, error.status(), &error.to_string(), None);
                stream.write_all(&out)?;
                return Ok(None);
            }
        }
    }
}

/// Writes the answer to a complete head, and says whether it is a 101.
fn answer(head: &[u8], limits: &ProtocolLimits, out: &mut Vec<u8>) -> bool {
    let head = match RequestHead::parse(head, limits) {
        Ok(head) => head,
        Err(error) => {
            refuse(out, error.status(), &error.to_string(), None);
            return false;
        }
    };
    match Offer::of(&head) {
        Ok(Some(offer)) => offer.accept(out, None, None, &[]).is_ok(),
        Ok(None) => {
            refuse(out, 426, "this is a WebSocket server", None);
            false
        }
        Err(refusal) => {
            refusal.write(out, None);
            false
        }
    }
}

/// The connection, until it has ended.
fn echo(stream: &mut TcpStream, limits: &Arc<ProtocolLimits>, behind: &[u8]) -> Result<(), Box<dyn Error>> {
    // The protocol's clock is ours: nanoseconds since whenever we like.
    let start = time::Instant::now();
    let now = || Instant::from_nanos(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));

    let mut ws = Connection::new(Role::Server, Arc::clone(limits), now());
    let mut assembler = Assembler::new(limits.message_bytes);
    let mut buffer = vec![0; HEADROOM + READ];
    let mut out = Vec::new();
    // A server does not mask.
    let mut mask = || [0; 4];

    let mut count = behind.len();
    buffer[HEADROOM..][..count].copy_from_slice(behind);
    while ws.state() != State::Ended {
        let mut input = Input::new(&mut buffer[..HEADROOM + count], HEADROOM);
        // An error is a rule that the peer broke; the close frame that says so is queued then.
        while let Ok(Some(event)) = ws.receive(&mut input) {
            if let Event::Fragment(fragment) = event {
                match assembler.push(fragment)? {
                    Some(Payload::Text(text)) => encode::text(&mut ws, text, &mut out, None)?,
                    Some(Payload::Binary(bytes)) => encode::binary(&mut ws, bytes, &mut out, None)?,
                    None => {}
                }
            }
            ws.transmit(&mut out, &mut mask); // pongs, and the answer to a close frame
        }
        if count > 0 {
            ws.receive_done(now());
        }
        ws.transmit(&mut out, &mut mask); // what a deadline or a violation queued
        stream.write_all(&out)?;
        out.clear();
        ws.handle_flushed();
        if ws.state() != State::Ended {
            count = wait(stream, &mut ws, &mut buffer[HEADROOM..], now)?;
        }
    }
    println!("closed: {:?}", ws.closed());
    Ok(())
}

/// Waits for bytes, the end of them, or the connection's next deadline.
fn wait(
    stream: &mut TcpStream,
    ws: &mut Connection,
    buffer: &mut [u8],
    now: impl Fn() -> Instant,
) -> io::Result<usize> {
    let left = ws.next_deadline().map(|at| at.saturating_duration_since(now()).max(Duration::from_millis(1)));
    stream.set_read_timeout(left)?;
    match stream.read(buffer) {
        Ok(0) => ws.handle_eof(),
        Ok(count) => return Ok(count),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => ws.handle_timeout(now()),
        Err(error) if error.kind() == ErrorKind::Interrupted => {}
        Err(_) => ws.handle_reset(),
    }
    Ok(0)
}
