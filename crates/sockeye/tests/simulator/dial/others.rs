//! Servers and proxies written by hand.

use sockeye::sim::{Listener, Network};
use sockeye_testing::client::{Server, frame};

use super::{Act, Body};

/// One place where one act is given, to as many as come.
pub(super) struct Stage {
    pub(super) listener: Listener,
    act: Act,
    scrambled: Option<u64>,
    guests: Vec<Guest>,
}

struct Guest {
    server: Server,
    /// How far the act is.
    step: usize,
    /// Frames that were answered.
    answered: usize,
    gone: bool,
}

impl Stage {
    pub(super) fn new(network: &Network, at: &str, act: Act, scrambled: Option<u64>) -> Self {
        let listener = network.listen(&sockeye::sys::Address::Ip(at.parse().unwrap()));
        Self { listener, act, scrambled, guests: Vec::new() }
    }

    pub(super) fn act(&mut self) {
        while let Some(server) = Server::accept_scrambled(&self.listener, self.scrambled) {
            self.guests.push(Guest { server, step: 0, answered: 0, gone: false });
        }
        for guest in &mut self.guests {
            guest.act(self.act);
        }
        self.guests.retain(|guest| !guest.gone);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.guests.is_empty()
    }
}

impl Guest {
    fn act(&mut self, act: Act) {
        self.server.pump();
        if self.server.end().is_some() {
            self.gone = true;
            return;
        }
        if self.server.is_open() {
            return self.talk(act);
        }
        match act {
            Act::Socks | Act::SocksRefuses => self.socks(act),
            _ if self.server.heard_head() => self.answer(act),
            _ => {}
        }
    }

    /// A head came.
    fn answer(&mut self, act: Act) {
        self.step += 1;
        match act {
            Act::Http if self.step == 1 => self.server.send("HTTP/1.1 100 x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
            Act::HttpRefuses => self.server.send("HTTP/1.1 407 x\r\nContent-Length: 3\r\n\r\nno!"),
            Act::Early => {
                self.server.send("HTTP/1.1 103 x\r\nLink: <a>\r\n\r\n");
                let early = [self.server.acceptance("").into_bytes(), frame(0x81, b"early")].concat();
                self.server.send(early);
                self.server.speak();
            }
            Act::Redirect if !self.server.head.starts_with("GET /new") => {
                self.server.send("HTTP/1.1 302 x\r\nLocation: /new\r\nContent-Length: 5\r\n\r\nmoved");
            }
            Act::Refuse(status, body) => self.refuse(status, body),
            Act::Wrong => self.server.send(self.server.acceptance("").replace("Accept: ", "Accept: x")),
            Act::NoHttp => self.server.send("SSH-2.0-x\r\n\r\n"),
            Act::Silent | Act::HttpSilent => {}
            Act::Half => self.server.send("HTTP/1.1 101 Switching Protocols\r\nUpgr"),
            Act::Ends => {
                let late = self.server.acceptance("");
                self.server.peer.shutdown_inside_record(late.as_bytes());
            }
            Act::Resets => self.server.peer.reset(),
            _ => self.server.open(""),
        }
    }

    fn refuse(&self, status: u16, body: Body) {
        let head = format!("HTTP/1.1 {status} x\r\n");
        let rest = match body {
            Body::Exact => "Content-Length: 3\r\n\r\nno!".to_owned(),
            Body::Chunked => "Transfer-Encoding: chunked\r\n\r\n1\r\nn\r\n2\r\no!\r\n0\r\n\r\n".to_owned(),
            Body::UntilClose => "\r\nno!".to_owned(),
            Body::Long => format!("\r\n{}", "no!".repeat(30_000)),
            Body::Stalled => "Content-Length: 9\r\n\r\nno!".to_owned(),
        };
        self.server.send(head + &rest);
        if body == Body::UntilClose {
            self.server.peer.shutdown();
        }
    }

    fn socks(&mut self, act: Act) {
        let input = &self.server.input;
        // RFC 1928: the methods; then the name of the host, whose length is in the fifth byte.
        let whole = match (self.step, &input[..]) {
            (0, [5, methods, rest @ ..]) => rest.len() >= usize::from(*methods),
            (1, [5, 1, 0, 3, len, rest @ ..]) => rest.len() >= usize::from(*len) + 2,
            (1, [5, 1, 0, 1, rest @ ..]) => rest.len() >= 6,
            _ => false,
        };
        if self.step > 1 {
            if self.server.heard_head() {
                self.server.open("");
            }
        } else if whole {
            self.server.input.clear();
            let refuses = u8::from(act == Act::SocksRefuses) * 2;
            let replies: [&[u8]; 2] = [b"\x05\x00", &[5, refuses, 0, 1, 0, 0, 0, 0, 0, 0]];
            self.server.send(replies[self.step]);
            self.step += 1;
        }
    }

    /// It is open.
    fn talk(&mut self, act: Act) {
        for sent in &self.server.frames[self.answered..] {
            self.answered += 1;
            assert!(sent.key.is_some(), "a frame that is not masked");
            let first = u8::from(sent.last) << 7;
            match sent.opcode {
                9 => self.server.send(frame(0x8A, &sent.payload)),
                8 => {
                    if self.step < 100 {
                        self.server.send(frame(0x88, &sent.payload));
                    }
                    self.server.peer.shutdown();
                }
                10 => {}
                opcode => self.server.send(frame(first | opcode, &sent.payload)),
            }
            if sent.last && sent.opcode < 8 && self.step < 100 {
                match act {
                    Act::Closes => self.server.send(frame(0x88, &1001_u16.to_be_bytes())),
                    Act::Breaks => return self.server.peer.reset(),
                    _ => continue,
                }
                self.step = 100;
            }
        }
        // What goes on coming is not kept twice.
        if self.answered == self.server.frames.len() {
            self.server.frames.clear();
            self.answered = 0;
        }
    }
}
