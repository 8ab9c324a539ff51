//! The usual receive: one record, all of it.

use crate::tls::Opened;
use crate::transport::readiness::Readiness;
use crate::transport::stream::below::{Below, Received, ask};
use crate::transport::stream::plain::Plain;
use crate::transport::stream::tls::{Ended, Tls, USUAL_OVERHEAD, asked, deliver};

impl Tls {
    /// As [`receive`](Self::receive), in fewer steps in the usual case: nothing is kept, and one record comes, all of it.
    #[inline(always)]
    pub(in crate::transport) fn receive_one(
        &mut self,
        below: &mut Below<'_>,
        readiness: &mut Readiness,
        back: &mut [u8],
        most: usize,
        plain: &mut Plain<'_>,
    ) -> Received {
        if !self.is_at_rest() {
            return self.receive(below, readiness, back, most, plain);
        }
        if !below.is_readable(*readiness) {
            return Received::Nothing;
        }
        let asked = asked(most, back.len());
        let count = match ask(below, readiness, &mut back[..asked]) {
            Ok(count) if count > 0 => count,
            Ok(_) => return self.note_cut(),
            Err(received) => return received,
        };
        let sealed = &mut back[..count];
        let Self { session, opened, .. } = self;
        let mut is_kept = true;
        let out = &mut below.scratch.sealed;
        out.clear();
        let done = match session.open_whole(sealed, out, |bytes| is_kept &= deliver(bytes, plain, opened)) {
            None => return self.open(below, sealed, most, plain),
            Some(Ok(()))
                if plain.filled > 0
                    && is_kept
                    && self.opened.is_empty()
                    && out.is_empty()
                    && !self.session.has_peer_closed() =>
            {
                return self.delivered(plain.filled, count.saturating_sub(plain.filled).max(1));
            }
            Some(Ok(())) => Opened::whole(count, plain.filled == 0),
            Some(Err(done)) => done,
        };
        self.opened(below, sealed, done, is_kept, plain.filled)
    }

    /// Whether nothing is kept or owed, and records of an established session are to come.
    #[inline(always)]
    fn is_at_rest(&self) -> bool {
        self.tail.capacity() + self.opened.capacity() + self.debt == 0
            && !self.ignores_input
            && self.ended.is_none()
            && !self.session.is_handshaking()
    }

    /// So much plaintext was delivered, which cost so many bytes beyond it.
    #[inline(always)]
    pub(super) fn delivered(&mut self, delivered: usize, cost: usize) -> Received {
        if cost > delivered + USUAL_OVERHEAD {
            self.debt = cost;
        }
        Received::Plain(delivered, cost)
    }

    /// The connection has ended.
    #[cold]
    pub(super) fn note_cut(&mut self) -> Received {
        (self.ended, self.is_end_reported) = (Some(Ended::Cut), true);
        Received::End
    }
}
