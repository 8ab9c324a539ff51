//! TLS on a socket: what of its records is kept between two calls, and in which order bytes leave.
//!
//! ```text
//!  receive:  socket ─▶ loop's receive buffer, upper half ── opened in place ─▶ plaintext, for the phase
//!                         ▲                          └─▶ tail: what is not opened ─┐
//!                         └────────────────────────────────────────────────────────┘
//!  send:     plaintext (cork, backlog) ─▶ sealed in the loop's scratch ─▶ socket, else unsent ─▶ socket
//! ```
//!
//! Invariants: an idle connection has empty buffers here. The tail is an incomplete record, with the bytes before it that an
//! incomplete handshake message needs, or records for whose plaintext there was no room. `unsent` goes before
//! everything that is sealed later. Readiness is that of the socket alone; what is held here is asked for by
//! [`Tls::has_input`] and [`Tls::has_unsent`].

mod one;

use std::cell::RefCell;
use std::collections::TryReserveError;
use std::io::{self, IoSlice};

use crate::tls::{CannotSeal, Front, HEADER, Opened, SEALED_RECORD, Sealed, Sealer, Session, TlsFailure};
use crate::transport::account::Charge;
use crate::transport::pool::Pool;
use crate::transport::readiness::Readiness;
use crate::transport::stream::below::{Below, Lower, MOST_KEPT, Received, Scratch, ask, pass, pass_sealed};
use crate::transport::stream::pieces::{BATCH, Pieces};
use crate::transport::stream::plain::{Plain, deliver, grow};

/// A record without plaintext costs as much as moving so many bytes: it may be a change of keys.
const FRUITLESS: usize = 16 * 1024;
/// A record of a handshake costs as much as moving so many bytes, beside its own.
const SMALL: usize = 256;
/// Records bring so much more than their plaintext, unless they are small.
const USUAL_OVERHEAD: usize = 4 * 1024;

/// How the peer's input ends, once that is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ended {
    /// By close_notify.
    Closed,
    /// By the end of the connection, without close_notify: something may be missing (RFC 8446 section 6.1).
    Cut,
    /// By a failure of the session.
    Failed,
}

/// A connection that speaks TLS.
pub(in crate::transport) struct Tls {
    session: Session,
    tail: Vec<u8>,
    /// How many bytes its first record lacks, at least; 0: it can be opened.
    missing: usize,
    /// Plaintext of a record that there was no room for; `taken` bytes of it were delivered.
    opened: Vec<u8>,
    taken: usize,
    /// Sealed bytes that the socket did not take; `sent` of them it did.
    unsent: Vec<u8>,
    sent: usize,
    /// The memory of the buffers above.
    held: Charge,
    /// What earlier records cost beyond their plaintext, and was not said yet.
    debt: usize,
    ended: Option<Ended>,
    /// The end was reported: what arrives is dropped.
    is_end_reported: bool,
    /// What arrives is dropped unopened.
    ignores_input: bool,
    failure: Option<TlsFailure>,
    /// Bytes received before the handshake was done.
    arrived: usize,
}

impl Tls {
    /// `first` was received already. What is in the scratch is the first flight.
    pub(in crate::transport) fn new(
        session: Session,
        first: &[u8],
        below: &mut Below<'_>,
    ) -> Result<Self, TryReserveError> {
        let mut tls = Self {
            session,
            tail: Vec::new(),
            missing: 0,
            opened: Vec::new(),
            taken: 0,
            unsent: Vec::new(),
            sent: 0,
            held: Charge::default(),
            debt: 0,
            ended: None,
            is_end_reported: false,
            ignores_input: false,
            failure: None,
            arrived: first.len(),
        };
        tls.keep(first, below.pool)?;
        tls.queue(below, 0)?;
        below.scratch.sealed.clear();
        Ok(tls)
    }

    pub(in crate::transport) fn session(&self) -> &Session {
        &self.session
    }

    pub(in crate::transport) fn take_failure(&mut self) -> Option<TlsFailure> {
        self.failure.take()
    }

    /// Bytes received before the handshake was done.
    pub(in crate::transport) fn arrived(&self) -> usize {
        self.arrived
    }

    /// Whether a receive would find something without the socket.
    pub(in crate::transport) fn has_input(&self) -> bool {
        if self.tail.len() + self.opened.len() == 0 && self.ended.is_none() {
            return false;
        }
        !self.ignores_input
            && (self.has_opened()
                || (!self.tail.is_empty() && self.missing == 0 && self.ended.is_none())
                || (self.ended.is_some() && !self.is_end_reported))
    }

    /// Whether plaintext is kept.
    pub(in crate::transport) fn has_opened(&self) -> bool {
        self.taken < self.opened.len()
    }

    pub(in crate::transport) fn has_unsent(&self) -> bool {
        self.sent < self.unsent.len()
    }

    pub(in crate::transport) fn unsent_bytes(&self) -> usize {
        self.unsent.len() - self.sent
    }

    pub(in crate::transport) fn held_bytes(&self) -> usize {
        self.held.bytes()
    }

    /// Whether the input ended without the peer's close_notify.
    pub(in crate::transport) fn is_cut(&self) -> bool {
        self.ended == Some(Ended::Cut)
    }

    /// Nothing that arrives is of use any more: it is dropped unopened.
    pub(in crate::transport) fn ignore_input(&mut self) {
        self.ignores_input = true;
        (self.opened, self.taken) = (Vec::new(), 0);
        // What the session has looked at is still needed for sealing.
        self.tail.truncate(self.session.held());
        self.tail.shrink_to_fit();
        self.held.reduce(self.held_capacity());
    }

    /// Receives, at most once, and opens what arrived: `plain` gets the plaintext. `back` is what sealed bytes are received
    /// into, for at most `most` bytes of plaintext.
    #[inline(never)]
    pub(in crate::transport) fn receive(
        &mut self,
        below: &mut Below<'_>,
        readiness: &mut Readiness,
        back: &mut [u8],
        most: usize,
        plain: &mut Plain<'_>,
    ) -> Received {
        if self.debt > 0 || self.ignores_input || self.has_opened() || self.ended.is_some() {
            return self.receive_otherwise(below, readiness, back, plain);
        }
        let filled = if self.tail.is_empty() || self.missing > 0 {
            if !below.is_readable(*readiness) {
                return Received::Nothing;
            }
            match self.fill(below, readiness, back, most) {
                Ok(filled) => filled,
                Err(received) => return received,
            }
        } else {
            let bytes = self.tail.len();
            back[..bytes].copy_from_slice(&self.tail);
            bytes
        };
        self.open(below, &mut back[..filled], most, plain)
    }

    /// As [`receive`](Self::receive), where nothing is to be opened.
    #[cold]
    fn receive_otherwise(
        &mut self,
        below: &mut Below<'_>,
        readiness: &mut Readiness,
        back: &mut [u8],
        plain: &mut Plain<'_>,
    ) -> Received {
        if self.debt > 0 {
            return Received::Sealed(std::mem::take(&mut self.debt));
        }
        if self.ignores_input {
            return self.drop_arriving(below, readiness, back);
        }
        if self.has_opened() {
            return self.take_opened(below.pool, plain);
        }
        match self.ended {
            Some(ended) => self.after_end(ended, below, readiness, back),
            None => Received::Nothing,
        }
    }

    /// Plaintext that there was no room for.
    fn take_opened(&mut self, pool: &RefCell<Pool>, plain: &mut Plain<'_>) -> Received {
        let bytes = plain.put(&self.opened[self.taken..]);
        self.taken += bytes;
        if !self.has_opened() {
            give(&mut self.opened, pool);
            self.taken = 0;
            self.count(pool);
        }
        Received::Plain(bytes, 0)
    }

    /// Once the end was reported what arrives is dropped: it cannot be opened, or must be ignored.
    fn after_end(
        &mut self,
        ended: Ended,
        below: &mut Below<'_>,
        readiness: &mut Readiness,
        back: &mut [u8],
    ) -> Received {
        if !std::mem::replace(&mut self.is_end_reported, true) {
            return match ended {
                Ended::Closed | Ended::Cut => Received::End,
                Ended::Failed => Received::Failed(io::ErrorKind::InvalidData),
            };
        }
        self.drop_arriving(below, readiness, back)
    }

    fn drop_arriving(&self, below: &mut Below<'_>, readiness: &mut Readiness, back: &mut [u8]) -> Received {
        if !below.is_readable(*readiness) {
            return Received::Nothing;
        }
        match ask(below, readiness, back) {
            Ok(0) => Received::End,
            Ok(count) => Received::Sealed(count),
            Err(received) => received,
        }
    }

    /// One receive of the socket, behind the place of the tail. Returns how many bytes are to be opened.
    #[inline]
    fn fill(
        &mut self,
        below: &mut Below<'_>,
        readiness: &mut Readiness,
        back: &mut [u8],
        most: usize,
    ) -> Result<usize, Received> {
        let had = self.tail.len();
        // Room for a whole record is always there, see `keep`.
        let room = back.get_mut(had..).unwrap_or_default();
        let is_handshaking = self.session.is_handshaking();
        // Behind the handshake data may follow, of which no more is opened with it: it has to fit into the tail.
        let most = if is_handshaking { most.min(MOST_OF_HANDSHAKE) } else { most };
        let asked = asked(most, room.len());
        let count = ask(below, readiness, &mut room[..asked])?;
        if count == 0 {
            return Err(self.note_cut());
        }
        if is_handshaking {
            self.arrived += count;
        }
        if had > 0 { self.fill_behind(below.pool, readiness, back, count) } else { Ok(count) }
    }

    /// So many bytes came behind the place of the tail.
    #[cold]
    fn fill_behind(
        &mut self,
        pool: &RefCell<Pool>,
        readiness: &mut Readiness,
        back: &mut [u8],
        count: usize,
    ) -> Result<usize, Received> {
        let (tail, arrived) = back[..self.tail.len() + count].split_at_mut(self.tail.len());
        if count < self.missing {
            // The record is still incomplete: what came before it stays where it is.
            self.missing -= count;
            if grow(&mut self.tail, arrived).is_err() {
                return Err(without_memory(readiness));
            }
            self.count(pool);
            return Err(Received::Sealed(count));
        }
        tail.copy_from_slice(&self.tail);
        Ok(tail.len() + count)
    }

    /// Opens records in place, and keeps what is not opened.
    #[inline(never)]
    fn open(&mut self, below: &mut Below<'_>, sealed: &mut [u8], most: usize, plain: &mut Plain<'_>) -> Received {
        let Self { session, opened, .. } = self;
        let mut is_kept = true;
        let out = &mut below.scratch.sealed;
        out.clear();
        let done = session.open(sealed, most, out, |bytes| is_kept &= deliver(bytes, plain, opened));
        self.opened(below, sealed, done, is_kept, plain.filled)
    }

    /// What was opened at the front of `sealed`, and brought so many bytes. `is_kept`: there was memory for all that had no room.
    fn opened(
        &mut self,
        below: &Below<'_>,
        sealed: &[u8],
        done: Opened,
        mut is_kept: bool,
        delivered: usize,
    ) -> Received {
        let arrived = sealed.len().saturating_sub(self.tail.len());
        let has_alert = !below.scratch.sealed.is_empty();
        if self.session.has_peer_closed() {
            self.ended = Some(Ended::Closed);
        }
        if let Err(failure) = done.result {
            // Who shakes hands says so, and with whom.
            if !done.was_handshaking {
                tracing::debug!(%failure, "TLS failed");
            }
            self.ended = Some(Ended::Failed);
            self.failure = Some(failure);
        }
        let rest = if self.ended.is_some() { &[][..] } else { &sealed[done.used..] };
        is_kept &= self.keep(rest, below.pool).is_ok();
        if has_alert {
            is_kept &= self.queue(below, 0).is_ok();
        }
        if !is_kept {
            tracing::warn!("no memory for what arrived; the connection is reset");
            self.ended = Some(Ended::Failed);
        }
        let cost = if done.was_handshaking {
            // Of a message that is incomplete nothing is used, however many records it has.
            done.used.max(arrived) + done.records * SMALL
        } else {
            done.used + done.fruitless * FRUITLESS
        };
        let cost = cost.saturating_sub(delivered).max(1);
        if delivered == 0 {
            return Received::Sealed(cost);
        }
        self.note_debt(delivered, cost);
        Received::Plain(delivered, cost)
    }

    /// Keeps sealed bytes that were not opened, or gives the memory of those back that were.
    #[inline]
    fn keep(&mut self, rest: &[u8], pool: &RefCell<Pool>) -> Result<(), TryReserveError> {
        if rest.is_empty() && self.tail.capacity() + self.opened.capacity() == 0 {
            // All was opened, as usual.
            self.missing = HEADER;
            return Ok(());
        }
        self.keep_rest(rest, pool)
    }

    #[cold]
    fn keep_rest(&mut self, rest: &[u8], pool: &RefCell<Pool>) -> Result<(), TryReserveError> {
        self.missing = match Front::of(rest.get(self.session.held()..).unwrap_or_default()) {
            Front::Partial(missing) => missing,
            Front::Record(_) | Front::Wrong => 0,
        };
        if rest.is_empty() {
            give(&mut self.tail, pool);
        } else if rest.len() > MOST_KEPT {
            // A handshake message that does not end.
            self.ended = Some(Ended::Failed);
            self.failure = Some(self.session.too_long());
            give(&mut self.tail, pool);
        } else {
            if self.tail.capacity() == 0 {
                self.tail = pool.borrow_mut().take_middling();
            }
            self.tail.clear();
            grow(&mut self.tail, rest)?;
        }
        self.count(pool);
        Ok(())
    }

    /// Seals plaintext and sends it. Returns how many bytes of it were accepted: all, unless the socket is full. The sealed rest of what was
    /// accepted is kept. Nothing may be unsent.
    #[inline]
    pub(in crate::transport) fn send(&mut self, below: &mut Below<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        debug_assert!(!self.has_unsent(), "what is unsent goes first");
        match slices {
            [only] if only.len() <= BATCH && !only.is_empty() => {
                let sealed = &mut below.scratch.sealed;
                sealed.clear();
                if !self.session.seal_one(only, sealed).map_err(|failure| not_sealed(&failure))? {
                    self.seal(sealed, |sealer| sealer.seal(only))?;
                }
                self.send_sealed(below)?;
                Ok(only.len())
            }
            _ => self.send_pieces(below, Pieces::of(slices)),
        }
    }

    /// As [`send`](Self::send), of any pieces, in as few records as can be, and as many in one send as may be.
    fn send_pieces(&mut self, below: &mut Below<'_>, mut rest: Pieces<'_, '_>) -> io::Result<usize> {
        let mut accepted = 0;
        while !rest.is_empty() {
            let Scratch { sealed, gathered, .. } = &mut *below.scratch;
            sealed.clear();
            let mut bytes = 0;
            self.seal(sealed, |sealer| {
                while let Some(plain) = rest.next(BATCH - bytes, gathered) {
                    bytes += plain.len();
                    sealer.seal(plain)?;
                }
                Ok(())
            })?;
            accepted += bytes;
            if !self.send_sealed(below)? || below.is_full() {
                break;
            }
        }
        Ok(accepted)
    }

    /// Seals into what is to be sent.
    #[inline(never)]
    fn seal(
        &mut self,
        sealed: &mut Sealed,
        write: impl FnMut(&mut Sealer<'_>) -> Result<(), CannotSeal>,
    ) -> io::Result<()> {
        let held = self.tail.get_mut(..self.session.held()).unwrap_or_default();
        self.session.seal(held, sealed, write).map_err(|failure| not_sealed(&failure))
    }

    /// Sends what was sealed. Returns whether the socket took it all; else the rest is kept.
    #[inline(always)]
    fn send_sealed(&mut self, below: &mut Below<'_>) -> io::Result<bool> {
        let sent = pass_sealed(below)?;
        if sent == below.scratch.sealed.as_slice().len() {
            return Ok(true);
        }
        self.queue(below, sent).map_err(|_| io::ErrorKind::OutOfMemory)?;
        Ok(false)
    }

    /// Sends what is unsent, as far as the socket takes it: that of a session below first.
    pub(in crate::transport) fn send_unsent(&mut self, below: &mut Below<'_>) -> io::Result<()> {
        below.send_unsent()?;
        while self.has_unsent() {
            let rest = &self.unsent[self.sent..];
            let (count, offered) = (pass(below, rest)?, rest.len());
            self.sent += count;
            // A short count means that the socket is full.
            if count < offered {
                return Ok(());
            }
        }
        give(&mut self.unsent, below.pool);
        self.sent = 0;
        self.count(below.pool);
        Ok(())
    }

    /// Takes what `inner` has unsent, and keeps it sealed behind what is unsent here, without a look at the socket.
    #[cfg_attr(not(feature = "client"), allow(dead_code, reason = "nothing is sealed for a proxy"))]
    pub(in crate::transport) fn take_unsent(&mut self, inner: &mut Self, below: &mut Below<'_>) -> io::Result<()> {
        for piece in inner.unsent[inner.sent..].chunks(BATCH) {
            below.scratch.sealed.clear();
            self.seal(&mut below.scratch.sealed, |sealer| sealer.seal(piece))?;
            self.queue(below, 0).map_err(|_| io::ErrorKind::OutOfMemory)?;
        }
        give(&mut inner.unsent, below.pool);
        inner.sent = 0;
        inner.count(below.pool);
        Ok(())
    }

    /// Seals close_notify, once, behind what is unsent.
    pub(in crate::transport) fn close(&mut self, below: &mut Below<'_>) -> io::Result<()> {
        below.scratch.sealed.clear();
        let held = self.tail.get_mut(..self.session.held()).unwrap_or_default();
        self.session.close(held, &mut below.scratch.sealed);
        self.queue(below, 0).map_err(|_| io::ErrorKind::OutOfMemory.into())
    }

    /// Whether close_notify was sealed.
    pub(in crate::transport) fn is_closed(&self) -> bool {
        self.session.is_closed()
    }

    /// Keeps what was sealed and not sent.
    pub(in crate::transport) fn queue(&mut self, below: &Below<'_>, sent: usize) -> Result<(), TryReserveError> {
        let rest = &below.scratch.sealed.as_slice()[sent..];
        if rest.is_empty() {
            return Ok(());
        }
        if self.unsent.capacity() == 0 {
            self.unsent = below.pool.borrow_mut().take_middling();
        }
        // Little comes behind it, and what it would grow to is not of middling size.
        self.unsent.try_reserve_exact(rest.len())?;
        self.unsent.extend_from_slice(rest);
        self.count(below.pool);
        Ok(())
    }

    /// Counts what is held for the peer.
    fn count(&mut self, pool: &RefCell<Pool>) {
        self.held.set(pool.borrow().account(), self.held_capacity());
    }

    fn held_capacity(&self) -> usize {
        self.tail.capacity() + self.opened.capacity() + self.unsent.capacity()
    }
}

/// What is received at once while the handshake goes on; what is kept has room for it, behind an incomplete record.
const MOST_OF_HANDSHAKE: usize = MOST_KEPT / 2;

impl Lower for Tls {
    fn has_input(&self) -> bool {
        self.has_input()
    }

    fn has_unsent(&self) -> bool {
        self.has_unsent()
    }

    fn is_closed(&self) -> bool {
        self.is_closed()
    }

    fn receive(
        &mut self,
        below: &mut Below<'_>,
        readiness: &mut Readiness,
        back: &mut [u8],
        most: usize,
        plain: &mut Plain<'_>,
    ) -> Received {
        self.receive(below, readiness, back, most, plain)
    }

    fn send(&mut self, below: &mut Below<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.send(below, slices)
    }

    fn send_unsent(&mut self, below: &mut Below<'_>) -> io::Result<()> {
        self.send_unsent(below)
    }
}

#[cold]
fn not_sealed(failure: &TlsFailure) -> io::Error {
    tracing::debug!(%failure, "nothing can be sealed");
    io::ErrorKind::BrokenPipe.into()
}

#[cold]
fn without_memory(readiness: &mut Readiness) -> Received {
    tracing::warn!("no memory for a record that is incomplete; the connection is reset");
    readiness.set_broken(true);
    Received::Failed(io::ErrorKind::OutOfMemory)
}

/// How many sealed bytes to ask for, for so many of plaintext.
fn asked(most: usize, room: usize) -> usize {
    most.saturating_add(USUAL_OVERHEAD).max(SEALED_RECORD).min(room)
}

/// Gives the memory of a buffer back.
fn give(buffer: &mut Vec<u8>, pool: &RefCell<Pool>) {
    if buffer.capacity() > 0 {
        pool.borrow_mut().give(std::mem::take(buffer));
    }
}
