//! The way out of descriptors that are no stream sockets: each write is one call, since what one call writes may be a
//! datagram, or a number. Nothing is merged, and a rest is tried again until there is no room, because nothing else
//! says that there is none.

use std::io;

use super::{Bits, Data, Out, queue};

impl Out<'_> {
    /// Writes `bytes` by a call of their own, now or when there is room.
    pub(super) fn put_unit(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.flush_units();
        let sent = if self.link.queue.is_none() { self.write_unit(bytes) } else { 0 };
        if sent < bytes.len() && !self.link.bits.has(Bits::BROKEN) {
            let mut rest = self.outlet.pool.borrow_mut().take();
            rest.extend_from_slice(&bytes[sent..]);
            queue(self.link, &mut self.outlet.statistics).push_rest(Data::Owned(rest), 0);
        }
    }

    /// Writes what waits, piece by piece.
    pub(super) fn flush_units(&mut self) {
        while let Some(mut queue) = self.link.queue.take() {
            let Some(piece) = queue.pieces.front() else { return };
            let len = piece.rest().len();
            let sent = self.write_unit(piece.rest());
            queue.advance(sent, &self.outlet.pool);
            if self.link.bits.has(Bits::BROKEN) {
                return;
            }
            if queue.len > 0 {
                self.link.queue = Some(queue);
            }
            if sent < len {
                return;
            }
        }
    }

    /// Says how many bytes were taken. Less than all of them: there is no room, or it broke.
    fn write_unit(&mut self, bytes: &[u8]) -> usize {
        let mut sent = 0;
        while sent < bytes.len() && self.link.bits.has(Bits::WRITABLE) && !self.link.bits.has(Bits::BROKEN) {
            match self.outlet.sys.write(self.link.handle, self.link.kind, &bytes[sent..]) {
                Ok(0) => self.link.bits.clear(Bits::WRITABLE),
                Ok(count) => {
                    self.outlet.statistics.sent.bytes += count as u64;
                    sent += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.link.bits.clear(Bits::WRITABLE),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::debug!(%error, "write failed");
                    self.outlet.send_error = Some(error.kind());
                    self.link.bits.set(Bits::BROKEN);
                }
            }
        }
        sent
    }
}
