//! The one read pump: bytes of a connection come into the loop's receive buffer, from what was kept of an earlier read or
//! from the socket.

use std::cell::RefCell;
use std::io;

use sockeye_proto::conn::HEADROOM;

use crate::transport::loop_io::LoopIo;
use crate::transport::pool::{Buffer, Pool, make_room};
use crate::transport::socket::Socket;
use crate::transport::stream::{LEAST_BACK, Plain, Received};
use crate::transport::write::SocketWriter;

/// The outcome of a read.
#[derive(Debug)]
pub(crate) enum Read {
    /// So many bytes, at `rx[HEADROOM..]`.
    Bytes(usize),
    /// Bytes that were sealed, and nothing for the protocol: as much work as reading so many bytes, which is never 0.
    Sealed(usize),
    /// Nothing for now; the poller reports when there is more.
    Nothing,
    /// The peer ended its sending side (RFC 9293 section 3.6). Nothing more follows.
    End,
    /// The connection failed.
    Failed(io::ErrorKind),
}

impl Socket {
    /// Reads at most `budget` bytes into `rx[HEADROOM..]`. What was [kept](Self::keep_unread) comes first, all at once.
    #[inline(always)]
    pub(crate) fn read(&mut self, io: &mut LoopIo, rx: &mut [u8], budget: usize) -> Read {
        if !self.stream.is_bare() {
            return self.read_aside(io, rx, budget);
        }
        if !self.readiness.is_readable() || budget == 0 {
            return Read::Nothing;
        }
        let room = &mut rx[HEADROOM..];
        // The tail of the buffer stays free, for what is put in front of what was kept.
        let most = budget.min(room.len() - HEADROOM);
        let room = &mut room[..most];
        loop {
            match io.sys.recv(self.handle, room) {
                Ok(count) if count > 0 => {
                    let is_drained = count < room.len();
                    return self.read_some(io, count, is_drained);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return self.read_nothing(other),
            }
        }
    }

    /// A read of a connection that is not plain, or of which something was kept.
    #[cold]
    #[inline(never)]
    fn read_aside(&mut self, io: &mut LoopIo, rx: &mut [u8], budget: usize) -> Read {
        if budget > 0 {
            let Self { stream, readiness, handle, .. } = self;
            if let Some(tls) = stream.only_tls() {
                let (front, back) = halves(rx);
                let room = &mut front[HEADROOM..];
                let most = budget.min(room.len());
                let received = tls.receive_one(io.below(*handle), readiness, back, &mut room[..most]);
                let has_unsent = tls.has_unsent();
                let received = match received {
                    Ok((bytes, beyond)) if !has_unsent => return read_opened(io, bytes, beyond),
                    Ok((bytes, beyond)) => Received::Plain(bytes, beyond),
                    Err(received) => received,
                };
                return self.received(io, received, has_unsent);
            }
        }
        self.read_otherwise(io, rx, budget)
    }

    /// A read of a connection of which something was kept, or whose bytes are sealed in another way than by one session of TLS.
    #[cold]
    #[inline(never)]
    fn read_otherwise(&mut self, io: &mut LoopIo, rx: &mut [u8], budget: usize) -> Read {
        if let Some(mut kept) = self.stream.take_kept() {
            return read_kept(&mut kept, &io.pool, rx);
        }
        if budget == 0 {
            return Read::Nothing;
        }
        #[cfg(any(test, feature = "sim"))]
        if self.stream.scrambled().is_some() {
            return self.read_scrambled(io, rx, budget);
        }
        let (front, back) = halves(rx);
        let room = &mut front[HEADROOM..];
        let most = budget.min(room.len());
        self.read_sealed(io, back, most, &mut Plain::to(&mut room[..most]))
    }

    #[cfg(any(test, feature = "sim"))]
    fn read_scrambled(&mut self, io: &mut LoopIo, rx: &mut [u8], budget: usize) -> Read {
        let Some(stream) = self.stream.scrambled() else { return Read::Nothing };
        if !self.readiness.is_readable() {
            return Read::Nothing;
        }
        let room = &mut rx[HEADROOM..];
        let most = budget.min(room.len() - HEADROOM);
        loop {
            match stream.recv(&mut *io.sys, self.handle, &mut room[..most]) {
                Ok(count) if count > 0 => {
                    let is_drained = stream.is_drained();
                    return self.read_some(io, count, is_drained);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return self.read_nothing(other),
            }
        }
    }

    /// Reads at most `most` bytes behind what `buffer` holds. Nothing may be [kept](Self::keep_unread), and the buffer has the
    /// capacity. Sealed bytes come through `rx`.
    pub(crate) fn read_behind(&mut self, io: &mut LoopIo, buffer: &mut Vec<u8>, most: usize, rx: &mut [u8]) -> Read {
        debug_assert!(!self.has_kept(), "what is kept comes first");
        if most == 0 {
            return Read::Nothing;
        }
        if !self.stream.is_bare() {
            return self.read_aside_behind(io, buffer, most, rx);
        }
        if !self.readiness.is_readable() {
            return Read::Nothing;
        }
        loop {
            match io.sys.recv_behind(self.handle, buffer, most) {
                Ok(count) if count > 0 => return self.read_some(io, count, count < most),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return self.read_nothing(other),
            }
        }
    }

    fn read_aside_behind(&mut self, io: &mut LoopIo, buffer: &mut Vec<u8>, most: usize, rx: &mut [u8]) -> Read {
        #[cfg(any(test, feature = "sim"))]
        if self.stream.scrambled().is_some() {
            let read = self.read_scrambled(io, rx, most);
            if let Read::Bytes(count) = read {
                buffer.extend_from_slice(&rx[HEADROOM..HEADROOM + count]);
            }
            return read;
        }
        let (_, back) = halves(rx);
        self.read_sealed(io, back, most, &mut Plain::behind(buffer, most))
    }

    /// Receives records into `back`, and opens them there.
    fn read_sealed(&mut self, io: &mut LoopIo, back: &mut [u8], most: usize, plain: &mut Plain<'_>) -> Read {
        let Self { stream, readiness, handle, .. } = self;
        let Some((tls, outer)) = stream.layers() else { return Read::Nothing };
        let mut below = io.below(*handle).through(outer.map(|outer| outer as _));
        let received = tls.receive(&mut below, readiness, back, most, plain);
        let has_unsent = tls.has_unsent() || below.is_full();
        self.received(io, received, has_unsent)
    }

    /// Handles what a session received. Not inlined, so that the usual case, plaintext, stays short.
    #[inline(never)]
    fn received(&mut self, io: &mut LoopIo, received: Received, has_unsent: bool) -> Read {
        if has_unsent {
            SocketWriter::new(io, self).send_sealed();
        }
        match received {
            Received::Plain(bytes, beyond) => read_opened(io, bytes, beyond),
            Received::Sealed(cost) => {
                io.note_effort(cost as u64);
                Read::Sealed(cost)
            }
            Received::Nothing => Read::Nothing,
            Received::End => Read::End,
            Received::Failed(kind) => {
                self.readiness.set_broken(true);
                Read::Failed(kind)
            }
        }
    }

    /// `count` bytes came. `is_drained`: nothing more is there for now.
    #[inline(always)]
    fn read_some(&mut self, io: &mut LoopIo, count: usize, is_drained: bool) -> Read {
        io.meters.statistics.received.bytes += count as u64;
        if is_drained && self.readiness.trusts_short_reads() {
            self.readiness.set_readable(false);
        }
        Read::Bytes(count)
    }

    #[cold]
    fn read_nothing(&mut self, result: io::Result<usize>) -> Read {
        self.readiness.set_readable(false);
        match result {
            Ok(_) => Read::End,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Read::Nothing,
            Err(error) => {
                tracing::debug!(%error, "receive failed");
                self.readiness.set_broken(true);
                Read::Failed(error.kind())
            }
        }
    }

    /// Keeps what was read and cannot be used now, for the next [`read`](Self::read).
    #[cold]
    pub(crate) fn keep_unread(&mut self, pool: &RefCell<Pool>, rest: &[u8]) {
        if rest.is_empty() {
            return;
        }
        let mut buffer = pool.borrow_mut().take();
        if let Err(error) = make_room(&mut buffer, rest.len(), usize::MAX) {
            tracing::warn!(%error, "no memory for input that waits; the connection is reset");
            return self.mark_broken();
        }
        buffer.extend_from_slice(rest);
        let kept = Buffer::new(buffer);
        kept.hold(pool.borrow().account());
        self.stream.keep(kept);
    }

    /// Forgets what was kept.
    pub(crate) fn drop_unread(&mut self) {
        self.stream.take_kept();
    }

    /// Nothing that arrives from now on is of use: it is dropped, and not opened if it is sealed.
    pub(crate) fn ignore_input(&mut self) {
        self.drop_unread();
        self.stream.ignore_input();
    }
}

/// So many bytes were opened, at a cost beyond them of so many.
#[inline(always)]
fn read_opened(io: &mut LoopIo, bytes: usize, beyond: usize) -> Read {
    io.meters.statistics.received.bytes += bytes as u64;
    io.note_effort(beyond as u64);
    Read::Bytes(bytes)
}

/// The halves of the receive buffer: one for plaintext, one for records.
pub(super) fn halves(rx: &mut [u8]) -> (&mut [u8], &mut [u8]) {
    rx.split_at_mut((rx.len() + HEADROOM) / 2)
}

/// The receive buffer of a loop, for reads of at most so many bytes. It has head room for bytes kept from the previous read,
/// and tail room for a stash that begins with them; and room for records, beside their plaintext.
pub(crate) fn receive_buffer(bytes: usize) -> Box<[u8]> {
    vec![0; (HEADROOM + bytes + HEADROOM).max(HEADROOM + 2 * LEAST_BACK)].into_boxed_slice()
}

#[cold]
fn read_kept(kept: &mut Buffer, pool: &RefCell<Pool>, rx: &mut [u8]) -> Read {
    let bytes = kept.take();
    // Invariant: this is the rest of one read, with what the connection had kept of the read before in front of it (at
    // most HEADROOM bytes), and the receive buffer has that much more room than a read.
    debug_assert!(bytes.len() <= rx.len() - HEADROOM, "more was kept than the receive buffer holds");
    let count = bytes.len().min(rx.len() - HEADROOM);
    rx[HEADROOM..HEADROOM + count].copy_from_slice(&bytes[..count]);
    pool.borrow_mut().give(bytes);
    Read::Bytes(count)
}
