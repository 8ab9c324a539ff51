//! Clients that take turns.

use std::{
    error::Error,
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

use sockeye_benches::{
    packing::{Memory, Packer, TAIL, Unpacker, client_packed, stateful_bytes},
    peers::expect_upgrade,
    wire,
};

use crate::{Options, Way};

/// Has all messages echoed. Says how long they are in all, how long what was sent for them was, and how long they are from
/// compressors that have all that was sent before.
pub(crate) fn run(options: &Options) -> Result<String, Box<dyn Error>> {
    let texts = options.texts();
    let all = |texts: &[String]| texts.iter().map(String::len).sum::<usize>();
    let plain: usize = texts.iter().map(|texts| all(texts)).sum();
    let stateful: usize = texts.iter().map(|texts| stateful_bytes(options.level, texts)).sum();
    let mut peers = texts.into_iter().map(|texts| Peer::open(options, texts)).collect::<Result<Vec<_>, _>>()?;
    for index in 0..options.messages {
        for peer in &mut peers {
            peer.exchange(index, options)?;
        }
    }
    let payloads: usize = peers.iter().map(|peer| peer.payloads).sum();
    Ok(format!("plain={plain} payloads={payloads} stateful={stateful}"))
}

/// A client, and what it says.
struct Peer {
    stream: TcpStream,
    texts: Vec<String>,
    packer: Packer,
    unpacker: Unpacker,
    received: Vec<u8>,
    /// Bytes of compressed and other payloads that it was sent.
    payloads: usize,
}

impl Peer {
    fn open(options: &Options, texts: Vec<String>) -> Result<Self, Box<dyn Error>> {
        let offer = match (options.way, options.memory) {
            (Way::Plain, _) => "",
            (_, Memory::None) => "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
            _ => "permessage-deflate; client_max_window_bits",
        };
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, options.port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&wire::request_offering(options.port, offer))?;
        let mut head = vec![0; 4096];
        let mut len = 0;
        while !head[..len].ends_with(wire::HEAD_END) {
            match stream.read(&mut head[len..])? {
                0 => return Err("the server went away".into()),
                count => len += count,
            }
        }
        expect_upgrade(&head[..len])?;
        let answer = String::from_utf8_lossy(&head[..len]).into_owned();
        if answer.contains("permessage-deflate") == offer.is_empty() {
            return Err(format!("what was agreed on is not what was offered: {answer}").into());
        }
        let window = match answer.split_once("client_max_window_bits=") {
            Some((_, rest)) => rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse()?,
            None => 15,
        };
        let packer = Packer::for_client(window);
        Ok(Self { stream, texts, packer, unpacker: Unpacker::default(), received: Vec::new(), payloads: 0 })
    }

    /// Sends a message, and waits until it is back.
    fn exchange(&mut self, index: usize, options: &Options) -> Result<(), Box<dyn Error>> {
        let text = self.texts[index].as_bytes();
        let frame = if matches!(options.way, Way::Receive | Way::Both) {
            let packed = client_packed(&mut self.packer, options.memory, text);
            wire::masked_frame_packed(&packed)
        } else {
            wire::masked_frame(text, true)
        };
        self.stream.write_all(&frame)?;
        self.received.clear();
        let mut buffer = [0; 16 * 1024];
        let (is_packed, at) = loop {
            match wire::frame_head(&self.received) {
                Some((first, at, len)) if self.received.len() >= at + len => break (first & PACKED != 0, at),
                _ => {}
            }
            match self.stream.read(&mut buffer)? {
                0 => return Err("the server went away".into()),
                count => self.received.extend_from_slice(&buffer[..count]),
            }
        };
        self.payloads += self.received.len() - at;
        let mut plain = vec![0; 64 * 1024];
        let said = if is_packed {
            self.received.extend_from_slice(&TAIL);
            if options.memory == Memory::None {
                self.unpacker.begin(&[]);
            }
            let len = self.unpacker.message(&self.received[at..], &mut plain);
            &plain[..len]
        } else {
            &self.received[at..]
        };
        if said == text { Ok(()) } else { Err("a reply is not what was sent".into()) }
    }
}

/// RSV1, which a compressed message has in its first byte.
const PACKED: u8 = 0x40;

/// For a server below valgrind.
const PATIENCE: Duration = Duration::from_secs(60);
