//! The usual receive: one record, all of it; and the usual send: one record, which the socket takes.
//!
//! What is below comes by value: only where something else happens it is put together in memory.

use std::io::{self, IoSlice};

use crate::tls::{Opened, Whole};
use crate::transport::readiness::Readiness;
use crate::transport::stream::below::{Below, Received, ask_socket, send_some};
use crate::transport::stream::pieces::BATCH;
use crate::transport::stream::plain::{Plain, keep};
use crate::transport::stream::tls::{Ended, Tls, USUAL_OVERHEAD, asked, not_sealed};

impl Tls {
    /// As [`receive`](Self::receive), in fewer steps in the usual case: nothing is kept, and one record comes from the socket, all of it.
    /// `Ok`: so many bytes are in `room`, at a cost beyond them of so many.
    #[inline(always)]
    pub(in crate::transport) fn receive_one(
        &mut self,
        below: Below<'_>,
        readiness: &mut Readiness,
        back: &mut [u8],
        room: &mut [u8],
    ) -> Result<(usize, usize), Received> {
        if !self.is_at_rest() || room.is_empty() {
            return Err(self.receive_to(below, readiness, back, room));
        }
        if !readiness.is_readable() {
            return Err(Received::Nothing);
        }
        let asked = asked(room.len(), back.len());
        let count = ask_socket(below.sys, below.handle, readiness, &mut back[..asked])?;
        if count == 0 {
            return Err(self.note_cut());
        }
        let sealed = &mut back[..count];
        let Self { session, opened, .. } = self;
        let mut is_kept = true;
        let out = &mut below.scratch.sealed;
        out.clear();
        match session.open_whole(sealed, room, out, |bytes| is_kept &= keep(bytes, opened)) {
            Whole::Plain(put) => {
                let cost = count.saturating_sub(put).max(1);
                self.note_debt(put, cost);
                Ok((put, cost))
            }
            Whole::Other(put, done) => Err(self.opened_one(below, sealed, done, is_kept, put)),
            Whole::Nothing => Err(self.open_to(below, sealed, room)),
        }
    }

    #[cold]
    #[inline(never)]
    fn receive_to(
        &mut self,
        mut below: Below<'_>,
        readiness: &mut Readiness,
        back: &mut [u8],
        room: &mut [u8],
    ) -> Received {
        let most = room.len();
        self.receive(&mut below, readiness, back, most, &mut Plain::to(room))
    }

    #[cold]
    #[inline(never)]
    fn open_to(&mut self, mut below: Below<'_>, sealed: &mut [u8], room: &mut [u8]) -> Received {
        let most = room.len();
        self.open(&mut below, sealed, most, &mut Plain::to(room))
    }

    #[cold]
    #[inline(never)]
    fn opened_one(
        &mut self,
        below: Below<'_>,
        sealed: &[u8],
        done: Opened,
        is_kept: bool,
        delivered: usize,
    ) -> Received {
        self.opened(&below, sealed, done, is_kept, delivered)
    }

    /// Whether nothing is kept or owed, and records of an established session are to come.
    #[inline(always)]
    fn is_at_rest(&self) -> bool {
        self.tail.capacity() + self.opened.capacity() + self.debt == 0
            && !self.ignores_input
            && self.ended.is_none()
            && !self.session.is_handshaking()
    }

    /// So much plaintext was delivered, which cost so many bytes beyond it: what is out of proportion is owed.
    #[inline(always)]
    pub(super) fn note_debt(&mut self, delivered: usize, cost: usize) {
        if cost > delivered + USUAL_OVERHEAD {
            self.debt = cost;
        }
    }

    /// The connection has ended.
    #[cold]
    pub(super) fn note_cut(&mut self) -> Received {
        (self.ended, self.is_end_reported) = (Some(Ended::Cut), true);
        Received::End
    }

    /// As [`send`](Self::send), in fewer steps in the usual case: it is one record, to the socket, which takes it.
    #[inline(always)]
    pub(in crate::transport) fn send_one(&mut self, below: Below<'_>, plain: &[u8]) -> io::Result<usize> {
        debug_assert!(!self.has_unsent(), "what is unsent goes first");
        if plain.is_empty() || plain.len() > BATCH {
            return self.send_other(below, plain);
        }
        let sealed = &mut below.scratch.sealed;
        sealed.clear();
        match self.session.seal_one(plain, sealed) {
            Ok(true) => {}
            Ok(false) => return self.send_behind(below, plain),
            Err(failure) => return Err(not_sealed(&failure)),
        }
        let sealed = sealed.as_slice();
        let sent = send_some(below.sys, below.handle, sealed)?;
        if sent < sealed.len() {
            return self.sent_in_part(below, plain, sent);
        }
        Ok(plain.len())
    }

    #[cold]
    #[inline(never)]
    fn send_other(&mut self, mut below: Below<'_>, plain: &[u8]) -> io::Result<usize> {
        self.send(&mut below, &[IoSlice::new(plain)])
    }

    /// Something goes before it, or it is not the usual case.
    #[cold]
    #[inline(never)]
    fn send_behind(&mut self, mut below: Below<'_>, plain: &[u8]) -> io::Result<usize> {
        self.seal(&mut below.scratch.sealed, |sealer| sealer.seal(plain))?;
        self.send_sealed(&mut below)?;
        Ok(plain.len())
    }

    #[cold]
    #[inline(never)]
    fn sent_in_part(&mut self, below: Below<'_>, plain: &[u8], sent: usize) -> io::Result<usize> {
        self.queue(&below, sent).map_err(|_| io::ErrorKind::OutOfMemory)?;
        Ok(plain.len())
    }
}
