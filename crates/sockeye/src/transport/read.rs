//! The one read pump: bytes of a connection come into the loop's receive buffer, from what was kept of an earlier read or
//! from the socket.

use std::cell::RefCell;
use std::io;

use sockeye_proto::conn::HEADROOM;

use crate::transport::loop_io::LoopIo;
use crate::transport::pool::{Buffer, Pool, make_room};
use crate::transport::socket::Socket;

/// The outcome of a read.
#[derive(Debug)]
pub(crate) enum Read {
    /// So many bytes, at `rx[HEADROOM..]`.
    Bytes(usize),
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
        if self.kept.is_some() {
            return self.read_kept(&io.pool, rx);
        }
        if !self.readiness.is_readable() || budget == 0 {
            return Read::Nothing;
        }
        let room = &mut rx[HEADROOM..];
        // The tail of the buffer stays free, for what is put in front of what was kept.
        let most = budget.min(room.len() - HEADROOM);
        let room = &mut room[..most];
        loop {
            match self.stream.recv(&mut *io.sys, self.handle, room) {
                Ok(count) if count > 0 => {
                    let asked = room.len();
                    return self.read_some(io, count, asked);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return self.read_nothing(other),
            }
        }
    }

    /// Reads at most `most` bytes behind what `buffer` holds. Nothing may be [kept](Self::keep_unread), and the buffer has the
    /// capacity.
    pub(crate) fn read_behind(&mut self, io: &mut LoopIo, buffer: &mut Vec<u8>, most: usize) -> Read {
        debug_assert!(self.kept.is_none(), "what is kept comes first");
        if !self.readiness.is_readable() || most == 0 {
            return Read::Nothing;
        }
        loop {
            match self.stream.recv_behind(&mut *io.sys, self.handle, buffer, most) {
                Ok(count) if count > 0 => return self.read_some(io, count, most),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return self.read_nothing(other),
            }
        }
    }

    /// `count` bytes came, of `asked`.
    #[inline(always)]
    fn read_some(&mut self, io: &mut LoopIo, count: usize, asked: usize) -> Read {
        io.meters.statistics.received.bytes += count as u64;
        if self.stream.is_drained(count, asked) && self.readiness.trusts_short_reads() {
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

    #[cold]
    fn read_kept(&mut self, pool: &RefCell<Pool>, rx: &mut [u8]) -> Read {
        let Some(mut kept) = self.kept.take() else { return Read::Nothing };
        let bytes = kept.take();
        // Invariant: this is the rest of one read, with what the connection had kept of the read before in front of it (at
        // most HEADROOM bytes), and the receive buffer has that much more room than a read.
        debug_assert!(bytes.len() <= rx.len() - HEADROOM, "more was kept than the receive buffer holds");
        let count = bytes.len().min(rx.len() - HEADROOM);
        rx[HEADROOM..HEADROOM + count].copy_from_slice(&bytes[..count]);
        pool.borrow_mut().give(bytes);
        Read::Bytes(count)
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
        self.kept = Some(Box::new(kept));
    }

    /// Forgets what was kept.
    pub(crate) fn drop_unread(&mut self) {
        self.kept = None;
    }
}
