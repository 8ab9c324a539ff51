//! Descriptors that are not stream sockets: each read and each write is one call, because one call may carry a datagram
//! or a number. Nothing is merged. A rest is written again until the call would block: a short count does not mean that
//! the descriptor is full.

use std::io;

use sockeye_proto::conn::HEADROOM;

use crate::sys::DescriptorKind;
use crate::transport::backlog::Data;
use crate::transport::loop_io::LoopIo;
use crate::transport::pool::make_room;
use crate::transport::read::Read;
use crate::transport::socket::Socket;
use crate::transport::write::SocketWriter;

impl Socket {
    /// One read. It ignores the byte budget, so that a datagram is not cut. Only `WouldBlock` means that nothing more is
    /// there.
    ///
    /// `reset` holds the reset that was reported ahead of the packets before it.
    pub(crate) fn read_unit(&mut self, io: &mut LoopIo, rx: &mut [u8], reset: &mut Option<io::ErrorKind>) -> Read {
        loop {
            match io.sys.read(self.handle, self.kind, &mut rx[HEADROOM..]) {
                Ok(0) if self.is_end(io) => {
                    self.mark_unreadable();
                    // A reset that was reported ahead of the packets before it is how the connection ended.
                    return if reset.is_some() { Read::Nothing } else { Read::End };
                }
                Ok(count) => {
                    io.meters.statistics.received.bytes += count as u64;
                    return Read::Bytes(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Linux reports a reset once, and ahead of the packets that came before it.
                Err(error)
                    if self.kind == DescriptorKind::Packets
                        && reset.is_none()
                        && error.kind() != io::ErrorKind::WouldBlock =>
                {
                    self.mark_broken();
                    *reset = Some(error.kind());
                }
                Err(error) => return self.unit_nothing(&error),
            }
        }
    }

    /// Whether a read of no bytes is the end. A datagram may be empty, and a packet too: packets are at their end once the
    /// peer has ended its sending side and nothing is left.
    #[cold]
    fn is_end(&self, io: &mut LoopIo) -> bool {
        match self.kind {
            DescriptorKind::Datagrams => false,
            DescriptorKind::Packets => {
                io.sys.readiness(self.handle).map_or(true, |level| level.read_closed) && self.unread_bytes(io) == 0
            }
            _ => true,
        }
    }

    #[cold]
    fn unit_nothing(&mut self, error: &io::Error) -> Read {
        self.mark_unreadable();
        if error.kind() == io::ErrorKind::WouldBlock {
            return Read::Nothing;
        }
        tracing::debug!(%error, "receive failed");
        self.mark_broken();
        Read::Failed(error.kind())
    }
}

impl SocketWriter<'_> {
    /// Writes `bytes` in one call, now or when there is room.
    pub(super) fn put_unit(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.flush_units();
        let sent = if self.socket.backlog.is_none() { self.write_unit(bytes) } else { 0 };
        if sent < bytes.len() && !self.socket.is_broken() {
            let mut rest = self.io.pool.borrow_mut().take();
            if make_room(&mut rest, bytes.len() - sent, usize::MAX).is_err() {
                return self.break_with(io::ErrorKind::OutOfMemory);
            }
            rest.extend_from_slice(&bytes[sent..]);
            self.queue_piece(Data::Owned(rest), 0);
        }
    }

    /// Writes what waits, piece by piece.
    pub(super) fn flush_units(&mut self) {
        while let Some(mut backlog) = self.socket.backlog.take() {
            let Some(piece) = backlog.pieces.front() else { return };
            let len = piece.unsent().len();
            let sent = self.write_unit(piece.unsent());
            backlog.advance(sent, &self.io.pool);
            if self.socket.is_broken() {
                return;
            }
            if !backlog.is_empty() {
                self.socket.backlog = Some(backlog);
            }
            if sent < len {
                return;
            }
        }
    }

    /// Returns how many bytes were taken. Fewer than all: there is no room, or the descriptor broke.
    fn write_unit(&mut self, bytes: &[u8]) -> usize {
        let mut sent = 0;
        while sent < bytes.len() && self.socket.readiness.can_send() {
            match self.io.sys.write(self.socket.handle, self.socket.kind, &bytes[sent..]) {
                Ok(0) => self.socket.mark_unwritable(),
                Ok(count) => {
                    self.io.meters.statistics.sent.bytes += count as u64;
                    sent += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.socket.mark_unwritable(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::debug!(%error, "write failed");
                    self.break_with(error.kind());
                }
            }
        }
        sent
    }
}
