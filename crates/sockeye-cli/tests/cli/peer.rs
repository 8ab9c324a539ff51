//! A server's side of one connection, written out, so that it can do what no server should.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use sockeye_proto::handshake::key;

use crate::support::{CLOSE, PATIENCE};

/// Serves one connection after another with the scripts, in a thread; `host:port`.
pub(crate) fn serve(scripts: Vec<Box<dyn FnOnce(Peer) + Send>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for script in scripts {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            script(Peer { stream: BufReader::new(stream) });
        }
    });
    address
}

/// Serves one connection.
pub(crate) fn once(script: impl FnOnce(Peer) + Send + 'static) -> String {
    serve(vec![Box::new(script)])
}

/// Upgrades one connection, and goes on with it.
pub(crate) fn upgraded(script: impl FnOnce(&mut Peer) + Send + 'static) -> String {
    once(move |mut peer| {
        peer.upgrade("");
        script(&mut peer);
    })
}

pub(crate) struct Peer {
    stream: BufReader<TcpStream>,
}

impl Peer {
    /// Reads a request up to its blank line.
    pub(crate) fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head).unwrap() == 0 {
                break;
            }
        }
        head
    }

    /// What answers the key of a request.
    pub(crate) fn accept(head: &str) -> String {
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
        String::from_utf8(key::accept(key.as_bytes()).to_vec()).unwrap()
    }

    /// Accepts the handshake, with more header lines; gives the request.
    pub(crate) fn upgrade(&mut self, extra: &str) -> String {
        let head = self.head();
        let accept = Self::accept(&head);
        let fields = format!("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n{extra}");
        self.write(format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n").as_bytes());
        head
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        // The reader may have gone, which the test notices elsewhere.
        let _ = self.stream.get_mut().write_all(bytes);
    }

    /// The connection itself.
    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        self.stream.get_mut()
    }

    pub(crate) fn send(&mut self, opcode: u8, payload: &[u8]) {
        let mut frame = vec![0x80 | opcode, u8::try_from(payload.len()).unwrap()];
        assert!(payload.len() < 126);
        frame.extend(payload);
        self.write(&frame);
    }

    /// The next frame; `None` at the end.
    pub(crate) fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).ok()?;
        assert_eq!(head[1] & 0x80, 0x80, "a client masks");
        let mut length = u64::from(head[1] & 0x7f);
        if length > 125 {
            let mut bytes = vec![0; if length == 126 { 2 } else { 8 }];
            self.stream.read_exact(&mut bytes).ok()?;
            length = bytes.iter().fold(0, |length, byte| length << 8 | u64::from(*byte));
        }
        let mut mask = [0; 4];
        self.stream.read_exact(&mut mask).ok()?;
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut payload).ok()?;
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        Some((head[0] & 0x0f, payload))
    }

    /// Reads to the Close frame, answers it, and gives its code and reason.
    pub(crate) fn closed(&mut self) -> (u16, String) {
        while let Some((opcode, payload)) = self.frame() {
            if opcode == CLOSE {
                self.send(CLOSE, &payload[..2.min(payload.len())]);
                let reason = String::from_utf8(payload[2..].to_vec()).unwrap();
                return (u16::from_be_bytes([payload[0], payload[1]]), reason);
            }
        }
        panic!("no Close frame");
    }

    /// Sends a Close frame.
    pub(crate) fn close(&mut self, code: u16, reason: &str) {
        self.send(CLOSE, &[&code.to_be_bytes(), reason.as_bytes()].concat());
    }

    /// Reads to the Close frame or the end: it is the server that ends a connection that both have closed.
    pub(crate) fn until_closed(&mut self) {
        while self.frame().is_some_and(|(opcode, _)| opcode != CLOSE) {}
    }

    /// Waits for the other side to leave.
    pub(crate) fn gone(&mut self) {
        let _ = self.stream.read_to_end(&mut Vec::new());
    }
}
