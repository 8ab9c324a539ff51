//! WebSocket frames on their way out: a client's are masked, each with a key of its own (RFC 6455 section 5.3); control
//! frames go before what is corked later.

use std::io;

use sockeye_proto::conn::Connection;
use sockeye_proto::wire::{EncodedHeader, Role, mask};

use crate::transport::batch::{Framed, opcode};
use crate::transport::write::{CORK, SocketWriter};

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
        // Nothing was sent, so the budget of the step is not used up; the step must not send more all the same.
        self.io.send_budget = 0;
    }

    /// Appends a frame whose payload is still to be masked with `key`, as its head says.
    #[inline(always)]
    pub(crate) fn put_frame_masked(&mut self, head: &EncodedHeader, payload: &[u8], key: [u8; 4]) {
        if !self.socket.has_backlog() && payload.len() < CORK {
            let cork = &mut self.io.cork;
            head.append_to(cork);
            mask::append(cork, payload, key);
            if cork.len() >= CORK {
                self.flush();
            }
            return;
        }
        self.put_long_masked(head, payload, key);
    }

    #[inline(never)]
    fn put_long_masked(&mut self, head: &EncodedHeader, payload: &[u8], key: [u8; 4]) {
        self.put(head);
        // Piece by piece: each is masked in a spare buffer of the pool.
        let mut piece = self.io.pool.borrow_mut().take();
        for (index, bytes) in payload.chunks(CORK).enumerate() {
            piece.clear();
            piece.extend_from_slice(bytes);
            mask::apply(&mut piece, key, index * CORK);
            self.put(&piece);
        }
        self.io.pool.borrow_mut().give(piece);
    }

    /// Appends a frame whose payload is given away; it is masked where it is.
    pub(crate) fn put_frame_owned_masked(&mut self, head: EncodedHeader, mut payload: Vec<u8>, key: [u8; 4]) {
        mask::apply(&mut payload, key, 0);
        self.put_frame_owned(head, payload);
    }

    /// Sends published messages. A server's frames are the same bytes for every connection, a client's are masked.
    pub(crate) fn put_published(&mut self, role: Role, batch: &Framed) {
        match role {
            Role::Server => self.put_shared(batch.bytes()),
            Role::Client => {
                self.put_published_masked(batch);
                // The next connection uses the cork at once, also if this one broke in the middle.
                self.flush();
            }
        }
    }

    fn put_published_masked(&mut self, batch: &Framed) {
        for (kind, payload) in batch.messages() {
            let Some(key) = self.mask_key() else { return };
            let head = EncodedHeader::new(true, 0, opcode(kind), payload.len() as u64, Some(key));
            self.put_frame_masked(&head, payload, key);
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
