//! Compressed messages (RFC 7692) with `sockeye-proto` alone: both ends in one program, bytes between them, and zlib-rs as the
//! codec. Read it for what is kept where: one compressor and one decompressor serve all connections, and each connection keeps
//! the last 2 KiB of what it sent and received.
//!
//! `cargo run --example proto_deflate` prints how long the messages are as they are, and as they were sent.

use std::error::Error;
use std::sync::Arc;

use sockeye_proto::conn::{Codec, Connection, Deflation, HEADROOM, Inflation, Input};
use sockeye_proto::deflate::{Deflate, Inflate, Inflated, Stop};
use sockeye_proto::event::Event;
use sockeye_proto::ext::deflate::{Agreed, Settings};
use sockeye_proto::handshake::client::{self, UpgradeRequest};
use sockeye_proto::handshake::server::Offer;
use sockeye_proto::http::RequestHead;
use sockeye_proto::limits::ProtocolLimits;
use sockeye_proto::message::{Assembler, encode};
use sockeye_proto::time::Instant;
use sockeye_proto::wire::{MessageKind, Role, mask};
use zlib_rs::{DeflateFlush, InflateFlush, Status};

/// The program's time does not pass.
const NOW: Instant = Instant::from_nanos(0);

fn main() -> Result<(), Box<dyn Error>> {
    let limits = Arc::new(ProtocolLimits::default());
    let (client, server) = handshake(&limits)?;
    // Whoever compresses keeps to the window that was agreed on; here only the client does. zlib has none of 8 bits, and
    // with one of 9 it looks back no farther.
    let mut codecs = Codecs {
        deflate: Compressor(zlib_rs::Deflate::new(1, false, client.send.window.get().max(9))),
        inflate: Decompressor(zlib_rs::Inflate::new(false, 15)),
        output: vec![0; 64 * 1024],
    };
    let (mut client, mut server) = (End::new(Role::Client, client, &limits), End::new(Role::Server, server, &limits));
    let (mut plain, mut sent) = (0, 0);
    for number in 0..20 {
        let message = format!(r#"{{"kind":"position","number":{number},"x":{},"y":{}}}"#, number * 7 % 40, 60 - number);
        let mut wire = Vec::new();
        client.send(&message, &mut codecs, &mut wire)?;
        plain += message.len();
        sent += wire.len();
        assert_eq!(server.receive(&wire, &mut codecs)?, [message]);
    }
    println!("20 messages of {plain} bytes were sent in {sent}");
    Ok(())
}

/// The opening handshake. Returns what each side takes for agreed.
fn handshake(limits: &ProtocolLimits) -> Result<(Agreed, Agreed), Box<dyn Error>> {
    // A real client takes the nonce from a cryptographic random source.
    let nonce = [7; 16];
    let (mut request, mut response) = (Vec::new(), Vec::new());
    UpgradeRequest::new("example.com", "/")?.deflate(Settings::client()).write(&mut request, nonce);
    let head = RequestHead::parse(&request, limits)?;
    let offer = Offer::of(&head)?.ok_or("no WebSocket handshake")?;
    let server = offer.accept(&mut response, None, Some(Settings::server()), &[])?.ok_or("not offered")?;
    let accepted = client::check(&response, nonce, &[], Some(Settings::client()), limits)?;
    Ok((accepted.deflate.ok_or("not accepted")?, server))
}

/// What all connections share.
struct Codecs {
    deflate: Compressor,
    inflate: Decompressor,
    /// Where messages are inflated.
    output: Vec<u8>,
}

/// One end of a connection.
struct End {
    ws: Connection,
    deflation: Deflation,
    inflation: Inflation,
    assembler: Assembler,
}

impl End {
    fn new(role: Role, agreed: Agreed, limits: &Arc<ProtocolLimits>) -> Self {
        Self {
            ws: Connection::new(role, Arc::clone(limits), NOW).with_deflate(agreed),
            deflation: Deflation::new(agreed.send, 2048),
            inflation: Inflation::new(agreed.receive),
            assembler: Assembler::new(limits.message_bytes),
        }
    }

    /// Appends a message to `wire`.
    fn send(&mut self, text: &str, codecs: &mut Codecs, wire: &mut Vec<u8>) -> Result<(), Box<dyn Error>> {
        // A real client takes every key from a cryptographic random source.
        let key = (self.ws.role() == Role::Client).then_some([1, 2, 3, 4]);
        let mut packed = Vec::new();
        if !self.deflation.message(Codec::Any(&mut codecs.deflate), text.as_bytes(), &mut packed) {
            // It would be longer.
            encode::text(&mut self.ws, text, wire, key)?;
            return Ok(());
        }
        let header = self.ws.frame_compressed(MessageKind::Text, true, packed.len() as u64, key)?;
        if let Some(key) = key {
            mask::apply(&mut packed, key, 0);
        }
        wire.extend_from_slice(&header);
        wire.extend_from_slice(&packed);
        Ok(())
    }

    /// The messages in `wire`.
    fn receive(&mut self, wire: &[u8], codecs: &mut Codecs) -> Result<Vec<String>, Box<dyn Error>> {
        let mut buffer = [&[0; HEADROOM][..], wire].concat();
        let mut input = Input::new(&mut buffer, HEADROOM);
        let mut messages = Vec::new();
        while let Some(event) = self.ws.receive(&mut input)? {
            let fragment = match event {
                Event::Fragment(fragment) => Some(fragment),
                Event::Compressed => {
                    // Shared by all: a message that is still in progress when the input ends needs a codec of its own.
                    let Codecs { inflate, output, .. } = codecs;
                    self.ws.inflate(&mut input, &mut self.inflation, inflate, output)?
                }
                _ => None,
            };
            if let Some(fragment) = fragment {
                let message = self.assembler.push(fragment)?;
                messages.extend(message.map(|payload| String::from_utf8_lossy(payload.as_bytes()).into_owned()));
            }
        }
        assert!(!self.inflation.is_within(), "this program sends whole messages");
        self.ws.receive_done(NOW);
        Ok(messages)
    }
}

struct Compressor(zlib_rs::Deflate);

impl Deflate for Compressor {
    fn begin(&mut self, history: [&[u8]; 2]) {
        self.0.reset();
        for part in history.into_iter().filter(|part| !part.is_empty()) {
            self.0.set_dictionary(part).expect("a raw stream takes a dictionary");
        }
    }

    fn deflate(&mut self, input: &[u8], output: &mut [u8]) -> Option<usize> {
        let (read, made) = (self.0.total_in(), self.0.total_out());
        self.0.compress(input, output, DeflateFlush::SyncFlush).ok()?;
        let (read, made) = ((self.0.total_in() - read) as usize, (self.0.total_out() - made) as usize);
        // With the output filled to its last byte, some of the flush may be still to come.
        if read == input.len() && made < output.len() {
            return Some(made);
        }
        // What is left of the message has to come out: zlib-rs keeps it, and a block that is open, over a reset.
        let mut rest = [0; 4096];
        loop {
            let made = self.0.total_out();
            self.0.compress(&[], &mut rest, DeflateFlush::SyncFlush).ok()?;
            if self.0.total_out() - made < rest.len() as u64 {
                return None;
            }
        }
    }
}

struct Decompressor(zlib_rs::Inflate);

impl Inflate for Decompressor {
    fn begin(&mut self, history: [&[u8]; 2]) {
        self.0.reset(false);
        for part in history.into_iter().filter(|part| !part.is_empty()) {
            self.0.set_dictionary(part).expect("a raw stream takes a dictionary");
        }
    }

    fn inflate(&mut self, input: &[u8], output: &mut [u8]) -> Inflated {
        let (read, made) = (self.0.total_in(), self.0.total_out());
        let stop = match self.0.decompress(input, output, InflateFlush::NoFlush) {
            Ok(Status::StreamEnd) => Stop::Final,
            Ok(_) => Stop::Waiting,
            Err(_) => Stop::Corrupt,
        };
        let (consumed, produced) = ((self.0.total_in() - read) as usize, (self.0.total_out() - made) as usize);
        Inflated { consumed, produced, stop }
    }
}
