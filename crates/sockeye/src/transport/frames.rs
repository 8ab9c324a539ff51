//! WebSocket frames on their way out: a client's are masked, each with a key of its own (RFC 6455 section 5.3); control
//! frames go before what is corked later.

use std::io;
use std::rc::Rc;

use sockeye_proto::conn::Connection;
use sockeye_proto::wire::{EncodedHeader, MessageKind, Role};

use crate::id::ConnId;
use crate::transport::aside::Aside;
use crate::transport::batch::{Framed, opcode};
use crate::transport::mask;
use crate::transport::outgoing::{Apart, Run};
use crate::transport::topics::Item;
use crate::transport::write::{CORK, SocketWriter};

/// The sending side of one WebSocket.
pub(crate) struct Port<'a> {
    pub(crate) ws: &'a mut Connection,
    pub(crate) aside: &'a mut Option<Box<Aside>>,
    pub(crate) endpoint: u16,
}

impl SocketWriter<'_> {
    /// A key for one frame. RFC 6455 section 10.3: "Clients MUST choose a new masking key for each frame, using an
    /// algorithm that cannot be predicted by end applications that provide data." And section 5.3: "The masking key needs
    /// to be unpredictable; thus, the masking key MUST be derived from a strong source of entropy". Without one nothing
    /// can be sent: the connection is broken then.
    #[inline]
    pub(crate) fn mask_key(&mut self) -> Option<[u8; 4]> {
        let mut key = [0; 4];
        match self.io.sys.random(&mut key) {
            Ok(()) => Some(key),
            Err(error) => {
                self.break_without_key(&error);
                None
            }
        }
    }

    #[cold]
    fn break_without_key(&mut self, error: &io::Error) {
        tracing::error!(%error, "no masking key: the system's random source failed");
        self.socket.mark_broken();
        // Nothing was sent, so the budget of the step is not used up; yet the step must not send more.
        self.io.send_budget = 0;
    }

    /// Appends a frame whose payload is still to be masked with `key`, as its head says. The head comes by value, so that it
    /// stays in registers.
    #[inline(always)]
    pub(crate) fn put_frame_masked(&mut self, head: EncodedHeader, payload: &[u8], key: [u8; 4]) {
        if !self.socket.has_backlog() && payload.len() < CORK {
            let cork = &mut self.io.cork;
            head.append_to(cork);
            mask::append(cork, payload, key);
            if cork.len() >= CORK {
                self.reborrow().flush_full();
            }
            return;
        }
        self.put_long_masked(head, payload, key);
    }

    #[inline(never)]
    fn put_long_masked(&mut self, head: EncodedHeader, payload: &[u8], key: [u8; 4]) {
        self.put(&head);
        // Piece by piece: each is masked in a spare buffer of the pool.
        let mut piece = self.io.pool.borrow_mut().take();
        // Each piece but the last is a multiple of the key.
        const { assert!(CORK % 4 == 0) };
        for bytes in payload.chunks(CORK) {
            piece.clear();
            mask::append(&mut piece, bytes, key);
            self.put(&piece);
        }
        self.io.pool.borrow_mut().give(piece);
    }

    /// Appends a frame whose payload is given away; it is masked where it is.
    pub(crate) fn put_frame_owned_masked(&mut self, head: EncodedHeader, mut payload: Vec<u8>, key: [u8; 4]) {
        mask::apply(&mut payload, key);
        self.put_frame_owned(head, payload);
    }

    /// Sends published messages, from the one with the number `first`. A server's frames are the same bytes for every
    /// connection, a client's are masked.
    pub(crate) fn put_published(&mut self, port: &mut Port<'_>, batch: &Framed, first: usize) {
        if let Some(agreed) = port.ws.deflate() {
            return self.put_published_packed(port, agreed, batch, first);
        }
        match port.ws.role() {
            Role::Server => self.put_shared(batch.bytes(), batch.frames().end_of(first)),
            Role::Client => self.put_masked(batch.frames().messages(first..batch.frames().len())),
        }
        // The next connection uses the cork at once, also if this one broke in the middle.
        self.flush();
    }

    /// Sends what waits for one connection: of the published messages, and its own.
    pub(crate) fn put_apart(&mut self, port: &mut Port<'_>, batch: &Framed, apart: &Apart) {
        apart.runs(batch.frames(), &mut |run| self.put_run(port, run));
        self.flush();
    }

    /// Sends what was published and waited for something that went before it.
    #[cold]
    pub(crate) fn release_held(&mut self, port: &mut Port<'_>) {
        let held = port.aside.as_mut().map(|aside| aside.take_held());
        for (batch, first) in held.unwrap_or_default() {
            self.put_published(port, &batch, first);
        }
    }

    /// Sends what waits for this connection before its own next message, unless that is more than may wait for it. Then
    /// the flush decides what becomes of it.
    #[cold]
    pub(crate) fn catch_up(&mut self, port: &mut Port<'_>, id: u64) {
        let outgoing = Rc::clone(&self.io.outgoing);
        // What it has not read yet goes first.
        if outgoing.is_slow(ConnId::from_u64(id)) {
            self.put_slow(port, ConnId::from_u64(id), true);
        }
        if outgoing.is_empty() {
            return;
        }
        let most = if self.socket.has_backlog() {
            outgoing.hard.saturating_sub(self.socket.backlog_bytes())
        } else {
            usize::MAX
        };
        outgoing.catch_up(port.endpoint, id, most, |run| {
            self.io.meters.statistics.sent.messages += run.len() as u64;
            self.put_run(port, run);
        });
    }

    /// Sends messages of topics that waited for the socket of a connection, and what waits behind them, until it takes no more or
    /// the share of the step is used up; `all`: also beyond that, into its backlog. Returns whether only the share held it up.
    #[cold]
    pub(crate) fn put_slow(&mut self, port: &mut Port<'_>, id: ConnId, all: bool) -> bool {
        self.flush();
        let outgoing = Rc::clone(&self.io.outgoing);
        let account = Rc::clone(self.io.pool.borrow().account());
        while all || (self.socket.is_clear() && self.io.send_budget > 0) {
            let Some(Item { batch, first, .. }) = outgoing.change_slow(|slow| slow.pop(id, &account)) else {
                return false;
            };
            let frames = batch.frames();
            let count = frames.len() - first;
            self.io.meters.statistics.sent.messages += count as u64;
            let bytes = frames.bytes(first..frames.len()).len();
            let cost = bytes.saturating_add(count.saturating_mul(self.io.frame_cost));
            self.io.send_budget = self.io.send_budget.saturating_sub(cost);
            if port.ws.deflate().is_some() || bytes >= CORK {
                self.put_published(port, &batch, first);
            } else {
                self.put_run(port, &Run::rest(frames, first));
            }
        }
        self.flush();
        self.socket.is_clear() && outgoing.is_slow(id)
    }

    fn put_run(&mut self, port: &mut Port<'_>, run: &Run<'_>) {
        match port.ws.role() {
            _ if port.ws.deflate().is_some() => self.put_run_packed(port, run.messages()),
            Role::Server => self.put_bytes(run.bytes()),
            Role::Client => self.put_masked(run.messages()),
        }
    }

    pub(super) fn put_masked<'m>(&mut self, messages: impl Iterator<Item = (MessageKind, &'m [u8])>) {
        for (kind, payload) in messages {
            let Some(key) = self.mask_key() else { return };
            let head = EncodedHeader::new(true, 0, opcode(kind), payload.len() as u64, Some(key));
            self.put_frame_masked(head, payload, key);
        }
    }

    /// Appends the control frames that wait to the cork.
    #[inline]
    pub(crate) fn transmit(&mut self, ws: &mut Connection) {
        if ws.wants_transmit() {
            self.transmit_waiting(ws);
        }
    }

    #[cold]
    fn transmit_waiting(&mut self, ws: &mut Connection) {
        let start = self.io.cork.len();
        let (io, mut failed) = (&mut *self.io, false);
        ws.transmit(&mut io.cork, &mut || {
            let mut key = [0; 4];
            failed |= io.sys.random(&mut key).is_err();
            key
        });
        if failed {
            self.io.cork.truncate(start);
            self.socket.mark_broken();
        }
        self.io.meters.statistics.sent.controls(&self.io.cork[start..]);
    }
}
