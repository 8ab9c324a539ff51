//! Clients of one server, on one thread.
//!
//! A peer sends the same frame over and over, and so must get the same reply over and over: what comes back is compared
//! with it byte by byte, however it is cut. Neighbours send different frames, so that a reply to the wrong peer shows.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, TcpStream},
    rc::Rc,
    time::Duration,
};

use rustix::event::epoll;

use crate::wire;

/// What one peer sends, as often as it may be in flight, and what must come back each time.
#[derive(Debug)]
pub struct Talk {
    frame_len: usize,
    batch: Vec<u8>,
    reply: Vec<u8>,
}

impl Talk {
    /// Frames of `size` bytes that begin with `first`, up to `flight` of them sent at once.
    #[must_use]
    pub fn new(size: usize, text: bool, first: u8, flight: usize) -> Self {
        let payload = wire::payload(size, text, first);
        let frame = wire::masked_frame(&payload, text);
        Self { frame_len: frame.len(), batch: frame.repeat(flight.max(1)), reply: wire::plain_frame(&payload, text) }
    }

    /// One for each of a few neighbours.
    #[must_use]
    pub fn several(size: usize, text: bool, flight: usize) -> Vec<Rc<Self>> {
        (b'0'..b'4').map(|first| Rc::new(Self::new(size, text, first, flight))).collect()
    }
}

/// A connection that has been upgraded.
#[derive(Debug)]
pub struct Peer {
    stream: TcpStream,
    talk: Rc<Talk>,
    /// Bytes that may be sent now.
    unsent: usize,
    /// Where in `talk.batch` they begin.
    sent_at: usize,
    /// Where in `talk.reply` the next byte received belongs.
    received_at: usize,
    /// Whether the poller was asked to tell when there is room.
    waits_for_room: bool,
}

impl Peer {
    /// Connects, upgrades, and has the poller report under `token`.
    ///
    /// # Errors
    ///
    /// Those of the system, and an answer that is no upgrade.
    pub fn open(port: u16, talk: &Rc<Talk>, poller: &impl std::os::fd::AsFd, token: u64) -> io::Result<Self> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(&wire::request(port))?;
        let mut head = Vec::new();
        let mut buffer = [0; 4096];
        while !head.ends_with(wire::HEAD_END) {
            match stream.read(&mut buffer)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => head.extend_from_slice(&buffer[..count]),
            }
        }
        expect_upgrade(&head)?;
        stream.set_nonblocking(true)?;
        epoll::add(poller, &stream, epoll::EventData::new_u64(token), epoll::EventFlags::IN)?;
        let talk = Rc::clone(talk);
        Ok(Self { stream, talk, unsent: 0, sent_at: 0, received_at: 0, waits_for_room: false })
    }

    /// Sends `count` messages more, now or when there is room.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn send(&mut self, count: usize, poller: &impl std::os::fd::AsFd, token: u64) -> io::Result<()> {
        self.unsent += count * self.talk.frame_len;
        while self.unsent > 0 {
            let rest = &self.talk.batch[self.sent_at..];
            match self.stream.write(&rest[..rest.len().min(self.unsent)]) {
                Ok(count) => {
                    self.unsent -= count;
                    self.sent_at = (self.sent_at + count) % self.talk.batch.len();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if self.waits_for_room != (self.unsent > 0) {
            self.waits_for_room = self.unsent > 0;
            let flags = if self.waits_for_room {
                epoll::EventFlags::IN | epoll::EventFlags::OUT
            } else {
                epoll::EventFlags::IN
            };
            epoll::modify(poller, &self.stream, epoll::EventData::new_u64(token), flags)?;
        }
        Ok(())
    }

    /// Reads once, and returns how many replies are complete now.
    ///
    /// # Errors
    ///
    /// Those of the system, an end, and a byte that is not the one expected.
    pub fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match self.stream.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error),
        };
        let mut received = &buffer[..count];
        let mut complete = 0;
        while !received.is_empty() {
            let expected = &self.talk.reply[self.received_at..];
            let len = expected.len().min(received.len());
            if received[..len] != expected[..len] {
                return Err(io::Error::new(ErrorKind::InvalidData, "a reply is not what was sent"));
            }
            received = &received[len..];
            self.received_at += len;
            if self.received_at == self.talk.reply.len() {
                self.received_at = 0;
                complete += 1;
            }
        }
        Ok(complete)
    }
}

/// Takes a complete head for an upgrade with the right key, and nothing else.
///
/// # Errors
///
/// `InvalidData` when it is something else.
pub fn expect_upgrade(head: &[u8]) -> io::Result<()> {
    let accept = wire::accept(wire::NONCE.as_bytes());
    let granted = head.starts_with(b"HTTP/1.1 101 ") && head.windows(accept.len()).any(|w| w == accept.as_bytes());
    granted.then_some(()).ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "the upgrade was not granted"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_key_is_an_upgrade() {
        assert!(expect_upgrade(&wire::response(wire::NONCE.as_bytes())).is_ok());
        assert!(expect_upgrade(&wire::response(b"another")).is_err());
        assert!(expect_upgrade(b"HTTP/1.1 400 Bad Request\r\n\r\n").is_err());
    }

    #[test]
    fn neighbours_talk_differently() {
        let talks = Talk::several(20, false, 2);
        assert_ne!(talks[0].reply, talks[1].reply);
        assert_eq!(talks[0].batch.len(), 2 * talks[0].frame_len);
    }
}
