//! Output of one connection: the cork first, the backlog for what the socket did not take.

use std::cell::RefCell;
use std::collections::TryReserveError;
use std::io::{self, IoSlice};
use std::rc::Rc;

use sockeye_proto::conn::Connection;
use sockeye_proto::wire::{EncodedHeader, MessageKind};

use crate::sys::{CloseHow, DescriptorKind, Sys};
use crate::transport::backlog::{Backlog, Data};
use crate::transport::loop_io::LoopIo;
use crate::transport::pool::{Buffer, Pool};
use crate::transport::socket::Socket;
use crate::transport::stream::{Below, Scratch};

/// One connection's output for the time of one step.
pub(crate) struct SocketWriter<'a> {
    pub(crate) io: &'a mut LoopIo,
    pub(crate) socket: &'a mut Socket,
}

impl<'a> SocketWriter<'a> {
    #[inline]
    pub(crate) fn new(io: &'a mut LoopIo, socket: &'a mut Socket) -> Self {
        Self { io, socket }
    }

    /// Appends bytes. As many as the cork takes are sent from where they are.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        if self.socket.backlog.is_some() {
            // What was corked without a look at the backlog goes first.
            self.queue_cork(0);
            self.io.cork.clear();
            return self.queue_copy(bytes);
        }
        if bytes.len() >= CORK {
            return self.put_direct(bytes);
        }
        self.io.cork.extend_from_slice(bytes);
        if self.io.cork.len() >= CORK {
            self.flush();
        }
    }

    /// Appends bytes of a raw connection; many are sent from where they are.
    pub(crate) fn put_bytes(&mut self, bytes: &[u8]) {
        if self.socket.kind != DescriptorKind::Stream {
            return self.put_unit(bytes);
        }
        if bytes.len() < DIRECT { self.put(bytes) } else { self.put_direct(bytes) }
    }

    #[cold]
    fn put_direct(&mut self, bytes: &[u8]) {
        let sent = self.send_after_cork(bytes);
        if sent < bytes.len() {
            self.queue_copy(&bytes[sent..]);
        }
    }

    /// Sends as many of the bytes as the socket takes now, behind what is corked. Returns how many that is; nothing of the
    /// rest is kept.
    pub(crate) fn send_some(&mut self, bytes: &[u8]) -> usize {
        self.send_after_cork(bytes)
    }

    /// Appends a frame; a large payload is sent from where it is.
    #[inline(always)]
    pub(crate) fn put_frame(&mut self, head: EncodedHeader, payload: &[u8]) {
        if self.socket.backlog.is_none() && payload.len() < DIRECT {
            return self.put_small(head, payload);
        }
        self.reborrow().put_large(head, payload);
    }

    /// Appends a message that is sent as it is, behind which nothing of it follows, while the socket is clear. Returns whether the
    /// connection allows it.
    #[inline(always)]
    pub(crate) fn put_short(&mut self, ws: &mut Connection, kind: MessageKind, payload: &[u8]) -> bool {
        let Ok(head) = ws.frame(Some(kind), true, payload.len() as u64, None) else { return false };
        self.io.note_frame(payload.len(), true);
        self.put_small(head, payload);
        true
    }

    #[inline(always)]
    fn put_small(&mut self, head: EncodedHeader, payload: &[u8]) {
        head.append_to(&mut self.io.cork);
        self.io.cork.extend_from_slice(payload);
        if self.io.cork.len() >= CORK {
            self.reborrow().flush_full();
        }
    }

    /// Out of line: behind a frame, the cork is rarely full.
    #[cold]
    pub(super) fn flush_full(mut self) {
        self.flush();
    }

    #[inline(never)]
    fn put_large(mut self, head: EncodedHeader, payload: &[u8]) {
        self.put(&head);
        let sent = self.send_after_cork(payload);
        if sent < payload.len() {
            self.queue_copy(&payload[sent..]);
        }
    }

    /// Appends a frame whose payload is given away: an unsent rest is not copied.
    pub(crate) fn put_frame_owned(&mut self, head: EncodedHeader, payload: Vec<u8>) {
        if payload.len() < DIRECT {
            self.put_frame(head, &payload);
            self.io.pool.borrow_mut().give(payload);
            return;
        }
        self.put(&head);
        let sent = self.send_after_cork(&payload);
        if sent == payload.len() {
            self.io.pool.borrow_mut().give(payload);
        } else {
            self.queue_piece(Data::Owned(payload), sent);
        }
    }

    /// Appends bytes that many connections send alike, all behind `start`. An unsent rest is shared, unless sharing would
    /// cost more than a copy.
    pub(crate) fn put_shared(&mut self, bytes: &Rc<Buffer>, start: usize) {
        let start = start.min(bytes.0.len());
        let sent = start + self.send_after_cork(&bytes.0[start..]);
        let rest = &bytes.0[sent..];
        if rest.len() >= SHARE {
            self.queue_piece(Data::Shared(bytes.clone()), sent);
        } else if !rest.is_empty() {
            self.queue_copy(rest);
        }
    }

    /// Sends the cork, then `bytes`, in one call. Returns how many of `bytes` are done with; the caller queues the rest.
    fn send_after_cork(&mut self, bytes: &[u8]) -> usize {
        if !self.socket.is_clear() {
            self.flush();
            if self.socket.is_broken() {
                return bytes.len();
            }
            if !self.socket.is_clear() {
                return 0;
            }
        }
        let corked = self.io.cork.len();
        if corked == 0 && bytes.is_empty() {
            return 0;
        }
        let LoopIo { sys, cork, scratch, pool, .. } = &mut *self.io;
        let below = Carry { sys: &mut **sys, scratch, pool };
        let result = if corked == 0 {
            send(self.socket, below, &[IoSlice::new(bytes)])
        } else {
            send(self.socket, below, &[IoSlice::new(cork), IoSlice::new(bytes)])
        };
        let sent = self.note_sent(result, corked + bytes.len());
        if sent < corked && !self.socket.is_broken() {
            self.queue_cork(sent);
        }
        self.io.cork.clear();
        if self.socket.is_broken() {
            return bytes.len();
        }
        sent.saturating_sub(corked)
    }

    /// Sends what waits: the backlog, then the cork. What the socket does not take stays in the backlog.
    pub(crate) fn flush(&mut self) {
        self.flush_here();
    }

    /// As [`flush`](Self::flush), where each message passes.
    #[inline(always)]
    pub(crate) fn flush_here(&mut self) {
        if self.socket.backlog.is_none() && self.io.cork.is_empty() {
            return;
        }
        if self.socket.is_clear() {
            if !self.socket.stream.is_bare() {
                return self.reborrow().flush_aside();
            }
            let LoopIo { sys, cork, .. } = &mut *self.io;
            let result = sys.send(self.socket.handle, &[IoSlice::new(cork)]);
            if matches!(result, Ok(sent) if sent == self.io.cork.len()) {
                self.io.meters.statistics.sent.bytes += self.io.cork.len() as u64;
                self.io.cork.clear();
                return;
            }
            self.reborrow().flushed_in_part(result);
        } else {
            self.reborrow().flush_both();
        }
    }

    /// The same writer, borrowed again for a rare path, so that the usual path does not build an argument for it.
    #[inline(always)]
    pub(crate) fn reborrow(&mut self) -> SocketWriter<'_> {
        SocketWriter { io: self.io, socket: self.socket }
    }

    /// The same, of a connection that is not plain, or of which something was kept.
    #[cold]
    #[inline(never)]
    fn flush_aside(self) {
        let Socket { stream, handle, .. } = &mut *self.socket;
        let LoopIo { sys, cork, scratch, pool, meters, .. } = &mut *self.io;
        let below = Below { sys: &mut **sys, scratch, pool, handle: *handle, lower: None };
        let (result, has_sealed) = match stream.only_tls() {
            Some(tls) => (tls.send_one(below, cork), tls.has_unsent()),
            None => (stream.send(below, &[IoSlice::new(cork)]), stream.has_sealed()),
        };
        if matches!(result, Ok(sent) if sent == cork.len()) && !has_sealed {
            meters.statistics.sent.bytes += cork.len() as u64;
            cork.clear();
            return;
        }
        self.flushed_in_part(result);
    }

    #[cold]
    fn flushed_in_part(mut self, result: io::Result<usize>) {
        let sent = self.note_sent(result, self.io.cork.len());
        self.keep_cork(sent);
    }

    #[cold]
    fn flush_both(mut self) {
        self.flush_backlog();
        self.keep_cork(0);
    }

    /// Moves what is left of the cork, behind `sent` bytes, to the backlog.
    #[cold]
    fn keep_cork(&mut self, sent: usize) {
        if sent < self.io.cork.len() && !self.socket.is_broken() {
            self.queue_cork(sent);
            self.io.cork.clear();
            // Interrupted by a signal, the socket is still writable, and no edge would come for what was queued.
            self.flush_backlog();
        }
        self.io.cork.clear();
    }

    #[cold]
    fn flush_backlog(&mut self) {
        if self.socket.kind != DescriptorKind::Stream {
            return self.flush_units();
        }
        while self.socket.readiness.can_send() {
            if self.socket.stream.has_sealed() {
                self.flush_sealed();
                continue;
            }
            let Some(backlog) = self.socket.backlog.as_ref() else { return };
            if backlog.is_empty() {
                self.socket.backlog = None;
                self.socket.emptied = true;
                return;
            }
            let mut slices = [IoSlice::new(&[]); PIECES];
            let (mut count, mut offered) = (0, 0);
            for (slice, piece) in slices.iter_mut().zip(&backlog.pieces) {
                *slice = IoSlice::new(piece.unsent());
                offered += piece.unsent().len();
                count += 1;
            }
            let result = self.socket.stream.send(self.io.below(self.socket.handle), &slices[..count]);
            let sent = self.note_sent(result, offered);
            if let Some(backlog) = self.socket.backlog.as_mut() {
                backlog.advance(sent, &self.io.pool);
                if backlog.is_empty() && !self.socket.stream.has_sealed() {
                    self.socket.backlog = None;
                    self.socket.emptied = true;
                }
            }
        }
        if self.socket.is_broken() {
            self.socket.backlog = None;
        }
    }

    /// Goes on with sealed bytes that the socket did not take.
    fn flush_sealed(&mut self) {
        let result = self.socket.stream.send_sealed(self.io.below(self.socket.handle));
        let offered = usize::from(self.socket.stream.has_sealed());
        self.note_sent(result.map(|()| 0), offered);
    }

    /// Sends what was sealed while something was read: an alert. What the socket does not take waits.
    #[cold]
    pub(super) fn send_sealed(&mut self) {
        if self.socket.readiness.can_send() {
            self.flush_sealed();
        } else {
            self.backlog();
        }
    }

    /// Tells the peer that our output is at its end, where bytes are sealed: without that it could have been cut. The end of
    /// the socket's own sending side is to follow. What the socket does not take waits.
    pub(crate) fn end_stream(&mut self) {
        let Socket { stream, handle, .. } = &mut *self.socket;
        match stream.close(self.io.below(*handle)) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return self.break_with(error.kind()),
        }
        if self.socket.stream.has_sealed() {
            self.send_sealed();
        }
    }

    /// The outcome of a send: how many bytes were accepted. A short count means that the socket is full.
    fn note_sent(&mut self, result: io::Result<usize>, offered: usize) -> usize {
        if self.socket.stream.has_sealed() {
            // Behind sealed bytes that wait nothing else may be sent, so there is a backlog even when it is empty.
            self.backlog();
            self.socket.readiness.set_writable(false);
        }
        match result {
            Ok(sent) => {
                self.io.meters.statistics.sent.bytes += sent as u64;
                if sent < offered {
                    self.socket.readiness.set_writable(false);
                }
                sent
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.socket.readiness.set_writable(false);
                0
            }
            // Nothing was sent; the socket is as writable as before, so the next flush tries again.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => {
                tracing::debug!(%error, "send failed");
                self.break_with(error.kind());
                0
            }
        }
    }

    /// The connection broke while something was sent.
    pub(super) fn break_with(&mut self, error: io::ErrorKind) {
        self.io.send_error = Some(error);
        self.socket.readiness.set_broken(true);
    }

    /// The backlog of a socket that did not take everything.
    pub(super) fn backlog(&mut self) -> &mut Backlog {
        if self.socket.backlog.is_none() {
            self.io.meters.statistics.work.queues += 1;
        }
        self.socket.backlog.get_or_insert_default()
    }

    pub(super) fn queue_piece(&mut self, data: Data, sent: usize) {
        self.backlog();
        if let Some(backlog) = &mut self.socket.backlog {
            backlog.push_piece(data, sent, &self.io.pool);
        }
    }

    fn queue_copy(&mut self, rest: &[u8]) {
        self.backlog();
        let Some(backlog) = &mut self.socket.backlog else { return };
        if let Err(error) = backlog.push_bytes(rest, &self.io.pool) {
            self.break_without_memory(&error);
        }
    }

    /// Queues what is in the cork behind `sent` bytes.
    fn queue_cork(&mut self, sent: usize) {
        self.backlog();
        let Some(backlog) = &mut self.socket.backlog else { return };
        if let Err(error) = backlog.push_bytes(&self.io.cork[sent..], &self.io.pool) {
            self.break_without_memory(&error);
        }
    }

    /// What the socket did not take cannot be kept, so nothing may follow it.
    #[cold]
    fn break_without_memory(&mut self, error: &TryReserveError) {
        tracing::warn!(%error, "no memory for output that waits; the connection is reset");
        self.break_with(io::ErrorKind::OutOfMemory);
    }
}

impl Socket {
    /// Closes the descriptor. What waits is dropped.
    pub(crate) fn close(mut self, io: &mut LoopIo, how: CloseHow) {
        if how == CloseHow::Normal && !self.stream.is_bare() && self.is_clear() {
            SocketWriter::new(io, &mut self).end_stream();
        }
        io.sys.close(self.handle, how);
    }
}

/// What a send needs beside the socket.
struct Carry<'a> {
    sys: &'a mut dyn Sys,
    scratch: &'a mut Scratch,
    pool: &'a RefCell<Pool>,
}

/// Sends plaintext, and returns how many bytes of it were accepted. Fewer than offered: the socket is full.
#[inline(always)]
fn send(socket: &mut Socket, carry: Carry<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let Carry { sys, scratch, pool } = carry;
    if socket.stream.is_bare() {
        return sys.send(socket.handle, slices);
    }
    socket.stream.send(Below { sys, scratch, pool, handle: socket.handle, lower: None }, slices)
}

/// The cork is sent when it has this many bytes.
pub(crate) const CORK: usize = 64 * 1024;
/// A payload of this many bytes is not copied into the cork: it goes by the same call from where it is.
const DIRECT: usize = 8 * 1024;
/// A rest of this many bytes is shared among connections.
const SHARE: usize = 512;
/// At most so many pieces of the backlog go in one call.
const PIECES: usize = 16;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sim::{Fault, Faults, Network};
    use crate::statistics::Meters;
    use crate::sys::{Address, Handle, ListenOptions};
    use crate::transport::Outgoing;

    #[test]
    fn small_published_frames_are_copied_and_large_ones_shared() {
        let network = Network::new(1);
        let mut io = LoopIo::new(network.sys(), Rc::default(), Rc::new(Outgoing::new(0, 0)), Meters::new(None), 1, 1);
        // Not writable: nothing is sent.
        let mut socket = Socket::new(Handle::new(0), DescriptorKind::Stream, &Address::Unnamed);
        let mut writer = SocketWriter::new(&mut io, &mut socket);
        let (small, large) = (Rc::new(Buffer::new(vec![1; 3])), Rc::new(Buffer::new(vec![2; SHARE])));
        for _ in 0..1000 {
            writer.put_shared(&small, 0);
        }
        writer.put_shared(&large, 0);
        writer.put_shared(&small, 0);
        let backlog = socket.backlog.unwrap();
        assert_eq!((Rc::strong_count(&small), Rc::strong_count(&large)), (1, 2));
        assert_eq!((backlog.pieces.len(), backlog.len()), (3, 3003 + SHARE));
    }

    #[test]
    fn an_empty_payload_behind_an_interrupted_send_sends_nothing() {
        let network = Network::with_faults(1, Faults::none());
        let host = network.host();
        let mut io = LoopIo::new(host.sys(), Rc::default(), Rc::new(Outgoing::new(0, 0)), Meters::new(None), 1, 1);
        let address = Address::Ip(([127, 0, 0, 1], 80).into());
        let (listener, address) = io.sys.listen(&address, &ListenOptions::default()).unwrap();
        let peer = network.connect(&address).unwrap();
        network.advance(Duration::ZERO);
        let (handle, address) = io.sys.accept(listener).unwrap();
        let mut socket = Socket::connected(&io, handle, &address);

        network.set_faults(Faults::none().with(Fault::Interrupted, 1000));
        SocketWriter::new(&mut io, &mut socket).put_bytes(&[1; DIRECT]);
        assert!(socket.has_backlog() && socket.is_writable());
        assert_eq!(host.calls().send, 1);

        network.set_faults(Faults::none());
        // The simulator fails on a send of zero bytes.
        assert_eq!(SocketWriter::new(&mut io, &mut socket).send_after_cork(&[]), 0);
        assert_eq!(host.calls().send, 2);
        assert!(socket.is_clear());
        network.advance(Duration::ZERO);
        assert_eq!(peer.recv(), [1; DIRECT]);
    }
}
