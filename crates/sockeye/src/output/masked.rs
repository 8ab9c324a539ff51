//! What a client puts out: each frame XORed with a key of its own (RFC 6455 section 5.3).

use std::io;
use std::rc::Rc;

use sockeye_proto::conn::Connection;
use sockeye_proto::wire::{EncodedHeader, FrameHeader, Parsed, Role, mask};

use crate::output::pool::Buffer;
use crate::output::{Bits, CORK, Out};

impl Out<'_> {
    /// A key for one frame. RFC 6455 section 5.3: "The masking key needs to be unpredictable; thus, the masking key
    /// MUST be derived from a strong source of entropy". Without one nothing can be sent: the connection is broken
    /// then.
    #[inline]
    pub(crate) fn mask_key(&mut self) -> Option<[u8; 4]> {
        let mut key = [0; 4];
        match self.outlet.sys.random(&mut key) {
            Ok(()) => Some(key),
            Err(error) => {
                self.no_mask_key(&error);
                None
            }
        }
    }

    #[cold]
    fn no_mask_key(&mut self, error: &io::Error) {
        tracing::error!(%error, "no masking key: the system's random source failed");
        self.link.bits.set(Bits::BROKEN);
    }

    /// Appends a frame whose payload is still to be masked with `key`, as its head says.
    #[inline(always)]
    pub(crate) fn put_frame_masked(&mut self, head: &EncodedHeader, payload: &[u8], key: [u8; 4]) {
        if self.link.queue.is_none() && payload.len() < CORK {
            let cork = &mut self.outlet.cork;
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
        // Piece by piece: a piece is masked in a buffer that is there anyway.
        let mut piece = self.outlet.pool.borrow_mut().take();
        for (index, bytes) in payload.chunks(CORK).enumerate() {
            piece.clear();
            piece.extend_from_slice(bytes);
            mask::apply(&mut piece, key, index * CORK);
            self.put(&piece);
        }
        self.outlet.pool.borrow_mut().give(piece);
    }

    /// Appends a frame whose payload is given away; it is masked where it is.
    pub(crate) fn put_frame_owned_masked(&mut self, head: EncodedHeader, mut payload: Vec<u8>, key: [u8; 4]) {
        mask::apply(&mut payload, key, 0);
        self.put_frame_owned(head, payload);
    }

    /// Sends frames that many connections send alike. A server's are the same bytes for all; a client's are masked each with a
    /// key of its own.
    pub(crate) fn put_published(&mut self, role: Role, frames: &Rc<Buffer>) {
        match role {
            Role::Server => self.put_shared(frames),
            Role::Client => {
                self.put_remasked(&frames.0);
                self.flush();
            }
        }
    }

    fn put_remasked(&mut self, mut frames: &[u8]) {
        while !frames.is_empty() {
            let Ok(Parsed::Complete(header, head_len)) = FrameHeader::parse(frames, Role::Client, 0) else { break };
            let Some(payload) = usize::try_from(header.len).ok().and_then(|len| frames[head_len..].get(..len)) else {
                break;
            };
            let Some(key) = self.mask_key() else { return };
            let head = EncodedHeader::new(header.fin, 0, header.opcode, header.len, Some(key));
            self.put_frame_masked(&head, payload, key);
            frames = &frames[head_len + payload.len()..];
        }
        debug_assert!(frames.is_empty(), "published frames are whole");
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
        let start = self.outlet.cork.len();
        let (outlet, mut failed) = (&mut *self.outlet, false);
        ws.transmit(&mut outlet.cork, &mut || {
            let mut key = [0; 4];
            failed |= outlet.sys.random(&mut key).is_err();
            key
        });
        if failed {
            self.outlet.cork.truncate(start);
            self.link.bits.set(Bits::BROKEN);
        }
        self.outlet.statistics.sent.controls(&self.outlet.cork[start..]);
    }
}
