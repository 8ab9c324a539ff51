//! A peer that says exactly the bytes it is told to.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use socket2::{Domain, SockRef, Socket, Type};

use super::{ACCEPT, BINARY, CLOSE, FIN, Frame, GONE, PATIENCE, PING, PONG, RSV1, Request, Server, TEXT, Tls, frame};

/// Why there is nothing more to read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// The connection is gone: end of input, or a reset.
    Gone,
    /// Nothing came in time.
    Silence,
}

/// The answer to a request.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The values of all fields of this name.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let named = self.fields.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// Whether a comma list over all fields of this name has this token.
    pub(crate) fn has_token(&self, name: &str, token: &str) -> bool {
        self.all(name).iter().flat_map(|list| list.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    fn parse(head: &[u8]) -> Self {
        let text: String = head.iter().copied().map(char::from).collect();
        let mut lines = text.split("\r\n");
        let first = lines.next().expect("a line");
        assert!(first.starts_with("HTTP/1.1 "), "not a status line: {first:?}");
        let status = first[9..12].parse().expect("a status");
        let fields = lines.filter(|line| !line.is_empty()).map(|line| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("not a field: {line:?}"));
            (name.to_owned(), value.trim().to_owned())
        });
        Self { status, fields: fields.collect(), body: Vec::new() }
    }
}

pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    inbox: Vec<u8>,
    /// Bytes of `inbox` already taken.
    used: usize,
    patience: Duration,
    tls: Option<Box<Tls>>,
    /// The bits beside the opcode that may be set in what the server sends: those of an extension that was agreed on.
    bits: u8,
}

impl Peer {
    /// A connection over which plaintext can go: with a server of TLS, its handshake is done.
    pub(crate) fn connect(server: &Server) -> Self {
        Self::connect_bare(server).secured(server)
    }

    /// A connection over which nothing has gone, whatever the server speaks.
    pub(crate) fn connect_bare(server: &Server) -> Self {
        Self::over(TcpStream::connect(server.address()).expect("the server listens"))
    }

    /// With socket buffers as small as asked for.
    pub(crate) fn connect_with_buffers(server: &Server, bytes: usize) -> Self {
        let address = server.address();
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
        // Before connecting, so that the window never was larger.
        socket.set_recv_buffer_size(bytes).expect("a legal size");
        socket.set_send_buffer_size(bytes).expect("a legal size");
        socket.connect(&address.into()).expect("the server listens");
        Self::over(socket.into()).secured(server)
    }

    fn secured(self, server: &Server) -> Self {
        match &server.tls {
            Some(config) => self.secured_by(config),
            None => self,
        }
    }

    /// Does the handshake of TLS.
    pub(crate) fn secured_by(mut self, config: &Arc<ClientConfig>) -> Self {
        self.begin_tls(config);
        self.end_handshake();
        self
    }

    /// Goes on with the handshake of TLS until it is done.
    #[track_caller]
    pub(crate) fn end_handshake(&mut self) {
        let deadline = Instant::now() + self.patience;
        while self.tls().is_handshaking() {
            self.fill(deadline).unwrap_or_else(|end| panic!("{end:?} in the handshake of TLS"));
        }
    }

    /// Sends a hello.
    pub(crate) fn begin_tls(&mut self, config: &Arc<ClientConfig>) {
        let mut tls = Tls::new(config);
        let hello = tls.sealed();
        self.send(hello);
        self.tls = Some(Box::new(tls));
    }

    /// The session of a connection that has one.
    #[track_caller]
    pub(crate) fn tls(&mut self) -> &mut Tls {
        self.tls.as_mut().expect("it speaks TLS")
    }

    /// From now on what is sent goes as it is, and what arrives is not opened.
    #[track_caller]
    pub(crate) fn take_tls(&mut self) -> Tls {
        *self.tls.take().expect("it speaks TLS")
    }

    /// Sends bytes that are sealed already, or are to go unsealed.
    pub(crate) fn send_bare(&mut self, bytes: impl AsRef<[u8]>) {
        self.write(bytes.as_ref());
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("TCP");
        stream.set_write_timeout(Some(PATIENCE)).expect("a legal timeout");
        Self { stream, inbox: Vec::new(), used: 0, patience: PATIENCE, tls: None, bits: 0 }
    }

    /// A connection that is upgraded on `/`, to an echo.
    pub(crate) fn upgraded(server: &Server) -> Self {
        Self::upgraded_by(server, &server.upgrade)
    }

    pub(crate) fn upgraded_by(server: &Server, request: &Request) -> Self {
        let mut peer = Self::connect(server);
        peer.upgrade(request);
        peer
    }

    /// Upgraded with this offer of permessage-deflate, which the server has to accept. Compressed messages come as they are.
    pub(crate) fn compressing(server: &Server, offer: &str) -> (Self, String) {
        let mut peer = Self::connect(server);
        let reply = peer.upgrade_to(&server.upgrade.clone().add("Sec-WebSocket-Extensions", offer));
        let answer = reply.field("Sec-WebSocket-Extensions").expect("an extension").to_owned();
        assert!(answer.starts_with("permessage-deflate"), "{answer}");
        peer.bits = RSV1;
        (peer, answer)
    }

    pub(crate) fn upgrade(&mut self, request: &Request) -> Reply {
        let reply = self.upgrade_to(request);
        assert_eq!(reply.field("Sec-WebSocket-Extensions"), None, "an extension that was not offered");
        reply
    }

    fn upgrade_to(&mut self, request: &Request) -> Reply {
        self.send(request.bytes());
        let reply = self.reply().expect("an answer to the upgrade");
        assert_eq!(reply.status, 101, "{:?}", reply.fields);
        assert_eq!(reply.all("Sec-WebSocket-Accept"), [ACCEPT]);
        assert_eq!(reply.all("Upgrade").len(), 1);
        assert_eq!(reply.all("Connection").len(), 1);
        assert!(reply.field("Upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket")));
        assert!(reply.field("Connection").is_some_and(|value| value.eq_ignore_ascii_case("upgrade")));
        reply
    }

    /// Waits at most this long from now on.
    pub(crate) fn patience(&mut self, patience: Duration) -> &mut Self {
        self.patience = patience;
        self
    }

    /// Writes all, as far as the server wants it: that it gives the connection up in between is the reader's to judge.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        match &mut self.tls {
            None => self.write(bytes.as_ref()),
            Some(tls) => {
                let sealed = tls.seal(bytes.as_ref());
                self.write(&sealed);
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        match self.stream.write_all(bytes) {
            Err(error) if !lost(error.kind()) => panic!("writing: {error}"),
            _ => {}
        }
    }

    pub(crate) fn send_frame(&mut self, first: u8, payload: impl AsRef<[u8]>) {
        self.send(frame(first, payload));
    }

    /// Each byte a segment of its own.
    pub(crate) fn send_bytewise(&mut self, bytes: impl AsRef<[u8]>) {
        for byte in bytes.as_ref().chunks(1) {
            self.send(byte);
        }
    }

    /// Upgraded, and then sent messages whose echoes the server cannot get rid of: their reader does not read.
    pub(crate) fn stuffed(server: &Server) -> Self {
        let mut peer = Self::connect_with_buffers(server, 4096);
        peer.upgrade(&server.upgrade);
        let plain = frame(FIN | BINARY, vec![b'm'; 1 << 20]);
        peer.stream.set_write_timeout(Some(Duration::from_millis(300))).expect("legal");
        for _ in 0..40 {
            let message = peer.tls.as_mut().map_or_else(|| plain.clone(), |tls| tls.seal(&plain));
            if peer.stream.write_all(&message).is_err() {
                return peer;
            }
        }
        panic!("the server goes on reading, though nobody reads what it answers")
    }

    /// Ends our sending side.
    pub(crate) fn finish(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Ends the connection by a reset.
    pub(crate) fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("TCP");
    }

    fn unread(&self) -> &[u8] {
        &self.inbox[self.used..]
    }

    /// One read.
    fn fill(&mut self, deadline: Instant) -> Result<(), End> {
        if self.used * 2 >= self.inbox.len() {
            self.inbox.drain(..self.used);
            self.used = 0;
        }
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.stream.set_read_timeout(Some(left)).expect("not zero");
        let mut chunk = [0; 64 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(End::Gone),
            Ok(count) => self.take_in(&chunk[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if Instant::now() < deadline { Ok(()) } else { Err(End::Silence) }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) if lost(error.kind()) => Err(End::Gone),
            Err(error) => panic!("reading: {error}"),
        }
    }

    /// What arrived goes into the inbox, opened if it is sealed.
    fn take_in(&mut self, bytes: &[u8]) -> Result<(), End> {
        let Some(tls) = &mut self.tls else {
            self.inbox.extend_from_slice(bytes);
            return Ok(());
        };
        tls.open(bytes, &mut self.inbox).ok_or(End::Gone)?;
        let answer = tls.sealed();
        self.write(&answer);
        Ok(())
    }

    /// The next response, body and all.
    pub(crate) fn reply(&mut self) -> Result<Reply, End> {
        self.reply_to("GET")
    }

    pub(crate) fn reply_to(&mut self, method: &str) -> Result<Reply, End> {
        let deadline = Instant::now() + self.patience;
        let end = loop {
            if let Some(at) = self.unread().windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.fill(deadline)?;
        };
        let mut reply = Reply::parse(&self.unread()[..end]);
        self.used += end;
        let bodiless = method == "HEAD" || reply.status / 100 == 1 || matches!(reply.status, 204 | 304);
        let length = match reply.field("Content-Length") {
            _ if bodiless => 0,
            Some(length) => length.parse().expect("a length"),
            None if reply.has_token("Transfer-Encoding", "chunked") => {
                reply.body = self.chunks(deadline)?;
                return Ok(reply);
            }
            None => panic!("no length: {reply:?}"),
        };
        while self.unread().len() < length {
            self.fill(deadline)?;
        }
        reply.body = self.unread()[..length].to_vec();
        self.used += length;
        Ok(reply)
    }

    /// A body in chunks, to its end. A server of ours sends neither extensions nor trailers.
    fn chunks(&mut self, deadline: Instant) -> Result<Vec<u8>, End> {
        let mut body = Vec::new();
        loop {
            let line = self.line(deadline)?;
            let size = usize::from_str_radix(&line, 16).unwrap_or_else(|_| panic!("not a size: {line:?}"));
            while self.unread().len() < size + 2 {
                self.fill(deadline)?;
            }
            body.extend_from_slice(&self.unread()[..size]);
            assert_eq!(self.unread()[size..size + 2], *b"\r\n", "the end of a chunk");
            self.used += size + 2;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn line(&mut self, deadline: Instant) -> Result<String, End> {
        loop {
            if let Some(end) = self.unread().windows(2).position(|window| window == b"\r\n") {
                let line = String::from_utf8_lossy(&self.unread()[..end]).into_owned();
                self.used += end + 2;
                return Ok(line);
            }
            self.fill(deadline)?;
        }
    }

    /// The next frame.
    pub(crate) fn frame(&mut self) -> Result<Frame, End> {
        let deadline = Instant::now() + self.patience;
        loop {
            if let Some((frame, end)) = Frame::parse(self.unread(), self.bits) {
                self.used += end;
                return Ok(frame);
            }
            self.fill(deadline)?;
        }
    }

    /// Waits for input, and hands out the first byte and the payload of each frame that is whole.
    pub(crate) fn each_frame(&mut self, mut take: impl FnMut(u8, &[u8])) {
        let deadline = Instant::now() + self.patience;
        self.fill(deadline).unwrap_or_else(|end| panic!("{end:?} instead of a frame"));
        while let Some((start, end)) = Frame::extent(self.unread(), self.bits) {
            if end > self.unread().len() {
                break;
            }
            take(self.unread()[0], &self.unread()[start..end]);
            self.used += end;
        }
    }

    /// The next message or control frame: fragments put together.
    pub(crate) fn message(&mut self) -> Result<Frame, End> {
        let mut whole = self.frame()?;
        while whole.first & FIN == 0 {
            let next = self.frame()?;
            assert_eq!(next.opcode(), 0, "a continuation was due");
            whole.payload.extend_from_slice(&next.payload);
            whole.first |= next.first & FIN;
        }
        Ok(whole)
    }

    /// The next message or control frame is this one. Pings before it are answered: who sends nothing for 25 s gets one, and
    /// a machine may stand still that long.
    #[track_caller]
    pub(crate) fn expect(&mut self, opcode: u8, payload: impl AsRef<[u8]>) {
        let got = if opcode == PING { self.message() } else { self.answer() };
        let got = got.unwrap_or_else(|end| panic!("{end:?} instead of opcode {opcode}"));
        assert_eq!(got.opcode(), opcode, "opcode; payload begins {:?}", &got.payload[..got.payload.len().min(200)]);
        assert!(got.payload == payload.as_ref(), "another payload, of {} bytes", got.payload.len());
    }

    /// One message there and back.
    #[track_caller]
    pub(crate) fn echoes(&mut self) {
        self.send_frame(FIN | TEXT, "are you there?");
        let got = self.answer().unwrap_or_else(|end| panic!("{end:?} instead of an echo"));
        assert_eq!((got.opcode(), String::from_utf8_lossy(&got.payload).as_ref()), (TEXT, "are you there?"));
    }

    /// The next message or control frame, except pings, which are answered.
    pub(crate) fn answer(&mut self) -> Result<Frame, End> {
        loop {
            let message = self.message()?;
            if message.opcode() != PING {
                return Ok(message);
            }
            self.send_frame(FIN | PONG, message.payload);
        }
    }

    /// The server closes with this code, once, and the connection goes, though we do not close.
    #[track_caller]
    pub(crate) fn fails_with(&mut self, codes: &[u16], what: &str) {
        let code = self.close_code(what);
        assert!(codes.contains(&code), "{what}: closed with {code}, not {codes:?}");
        self.gone(what);
    }

    /// The code of the close frame. Messages before it are skipped, and pings answered: who does not is closed with 1008, too.
    #[track_caller]
    pub(crate) fn close_code(&mut self, what: &str) -> u16 {
        loop {
            match self.frame() {
                Ok(frame) if frame.opcode() == CLOSE => return frame.code(),
                Ok(frame) if frame.opcode() == PING => self.send_frame(FIN | PONG, frame.payload),
                Ok(_) => {}
                Err(end) => panic!("{what}: {end:?} without a close frame"),
            }
        }
    }

    /// Nothing follows, and the connection is gone in time.
    #[track_caller]
    pub(crate) fn gone(&mut self, what: &str) {
        let rest = self.rest(GONE, what);
        assert!(rest.is_empty(), "{what}: then {:?}", String::from_utf8_lossy(&rest[..rest.len().min(300)]));
    }

    /// All that comes until the connection is gone, which must be within `limit`.
    #[track_caller]
    pub(crate) fn rest(&mut self, limit: Duration, what: &str) -> Vec<u8> {
        let deadline = Instant::now() + limit;
        loop {
            match self.fill(deadline) {
                Ok(()) => {}
                Err(End::Gone) => break,
                Err(End::Silence) => panic!("{what}: the connection is still there after {limit:?}"),
            }
        }
        self.unread().to_vec()
    }

    /// Reads `count` bytes, whatever they are.
    pub(crate) fn read_exactly(&mut self, count: usize) {
        let deadline = Instant::now() + self.patience;
        let mut left = count;
        while left > 0 {
            let took = left.min(self.unread().len());
            self.used += took;
            left -= took;
            if left > 0 {
                self.fill(deadline).unwrap_or_else(|end| panic!("{end:?} with {left} bytes to come"));
            }
        }
    }

    /// Reads at most `count` bytes of what is there: a slow reader.
    pub(crate) fn trickle(&mut self, count: usize) {
        let mut bytes = vec![0; count];
        self.stream.set_nonblocking(true).expect("own socket");
        let _ = self.stream.read(&mut bytes);
        self.stream.set_nonblocking(false).expect("own socket");
    }

    /// The frames that are there by now.
    pub(crate) fn waiting_frames(&mut self) -> Vec<Frame> {
        let mut chunk = [0; 4096];
        self.stream.set_nonblocking(true).expect("own socket");
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => panic!("the connection is gone"),
                Ok(count) => self.take_in(&chunk[..count]).expect("the connection is not given up"),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("reading: {error}"),
            }
        }
        self.stream.set_nonblocking(false).expect("own socket");
        let mut frames = Vec::new();
        while let Some((frame, end)) = Frame::parse(self.unread(), self.bits) {
            self.used += end;
            frames.push(frame);
        }
        frames
    }

    /// Whether the connection is gone by now; what comes in is thrown away.
    pub(crate) fn is_gone(&mut self) -> bool {
        self.used = self.inbox.len();
        let mut chunk = [0; 4096];
        self.stream.set_nonblocking(true).expect("own socket");
        let gone = loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => break true,
                Ok(_) => {}
                Err(error) => break error.kind() != ErrorKind::WouldBlock,
            }
        };
        self.stream.set_nonblocking(false).expect("own socket");
        gone
    }
}

fn lost(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted)
}

/// `bytes` on a connection of their own are answered with one of `statuses`, and the connection goes.
#[track_caller]
pub(crate) fn refused(server: &Server, what: &str, bytes: impl AsRef<[u8]>, statuses: &[u16]) -> Reply {
    let mut peer = Peer::connect(server);
    peer.send(bytes.as_ref());
    let method = if bytes.as_ref().starts_with(b"HEAD ") { "HEAD" } else { "GET" };
    let reply = peer.reply_to(method).unwrap_or_else(|end| panic!("{what}: {end:?} instead of an answer"));
    assert!(statuses.contains(&reply.status), "{what}: {} instead of {statuses:?}", reply.status);
    peer.gone(what);
    reply
}
