//! What is below a session: the socket, or another session, that with a proxy.
//!
//! Through a proxy that speaks TLS itself the session with the server has the one with the proxy in the place of the socket. Only
//! [`ask`] and [`pass`] know of it. What the lower one holds counts as input of the socket, and while it has something unsent it
//! takes nothing, as a socket that is full.

use std::cell::RefCell;
use std::io::{self, IoSlice};

use crate::sys::{Handle, Sys};
use crate::tls::{SEALED_RECORD, Sealed};
use crate::transport::pool::Pool;
use crate::transport::readiness::Readiness;
use crate::transport::stream::plain::Plain;

/// What the loop lends for sealing.
#[derive(Debug, Default)]
pub(in crate::transport) struct Scratch {
    pub(in crate::transport) sealed: Sealed,
    /// Plaintext of several pieces that goes into one record.
    pub(super) gathered: Vec<u8>,
    /// For a session below another one. There is none before the first such connection.
    lower: Option<Box<LowerScratch>>,
}

/// What a session below another one needs beside what that has.
#[derive(Debug)]
struct LowerScratch {
    scratch: Scratch,
    /// What it receives into.
    back: Box<[u8]>,
}

/// The loop and the socket, for the time of one call.
pub(in crate::transport) struct Below<'a> {
    pub(in crate::transport) sys: &'a mut dyn Sys,
    pub(in crate::transport) scratch: &'a mut Scratch,
    pub(in crate::transport) pool: &'a RefCell<Pool>,
    pub(in crate::transport) handle: Handle,
    /// The session that the bytes go through on their way to the socket.
    pub(in crate::transport) lower: Option<&'a mut dyn Lower>,
}

/// A session below another one.
pub(in crate::transport) trait Lower {
    fn has_input(&self) -> bool;

    fn has_unsent(&self) -> bool;

    /// Whether its close_notify was sealed.
    fn is_closed(&self) -> bool;

    fn receive(
        &mut self,
        below: &mut Below<'_>,
        readiness: &mut Readiness,
        back: &mut [u8],
        most: usize,
        plain: &mut Plain<'_>,
    ) -> Received;

    fn send(&mut self, below: &mut Below<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    fn send_unsent(&mut self, below: &mut Below<'_>) -> io::Result<()>;
}

/// The outcome of a receive.
pub(in crate::transport) enum Received {
    /// So many bytes of plaintext were delivered, at a cost beyond them of so many bytes.
    Plain(usize, usize),
    /// None, at this cost, which is not 0.
    Sealed(usize),
    Nothing,
    End,
    Failed(io::ErrorKind),
}

impl<'a> Below<'a> {
    /// With a session in between, if there is one.
    pub(in crate::transport) fn through<'b>(self, lower: Option<&'b mut dyn Lower>) -> Below<'b>
    where
        'a: 'b,
    {
        Below { sys: self.sys, scratch: self.scratch, pool: self.pool, handle: self.handle, lower }
    }

    /// The session in between, what is below that, and what it receives into.
    fn lower(&mut self) -> Option<(&mut dyn Lower, Below<'_>, &mut [u8])> {
        let Some(session) = &mut self.lower else { return None };
        let lower = self.scratch.lower.get_or_insert_with(|| {
            Box::new(LowerScratch { scratch: Scratch::default(), back: vec![0; LEAST_BACK].into_boxed_slice() })
        });
        let LowerScratch { scratch, back } = &mut **lower;
        let below = Below { sys: &mut *self.sys, scratch, pool: self.pool, handle: self.handle, lower: None };
        Some((&mut **session, below, back))
    }

    /// Whether it is worth asking for more.
    #[inline(always)]
    pub(super) fn is_readable(&self, readiness: Readiness) -> bool {
        readiness.is_readable() || self.lower.as_ref().is_some_and(|lower| lower.has_input())
    }

    /// Whether the session in between takes nothing now, though it took what it was given.
    #[inline(always)]
    pub(in crate::transport) fn is_full(&self) -> bool {
        self.lower.as_ref().is_some_and(|lower| lower.has_unsent())
    }

    /// Sends what the session in between has unsent.
    #[inline(always)]
    pub(super) fn send_unsent(&mut self) -> io::Result<()> {
        match self.lower() {
            Some((lower, mut below, _)) => lower.send_unsent(&mut below),
            None => Ok(()),
        }
    }
}

/// Asks what is below. What the socket says of itself is noted, and no more.
#[inline(always)]
pub(super) fn ask(below: &mut Below<'_>, readiness: &mut Readiness, room: &mut [u8]) -> Result<usize, Received> {
    if below.lower.is_some() {
        return ask_lower(below, readiness, room);
    }
    ask_socket(below.sys, below.handle, readiness, room)
}

/// The same, of the socket.
#[inline(always)]
pub(super) fn ask_socket(
    sys: &mut dyn Sys,
    handle: Handle,
    readiness: &mut Readiness,
    room: &mut [u8],
) -> Result<usize, Received> {
    loop {
        match sys.recv(handle, room) {
            Ok(count) => {
                if count == 0 || (count < room.len() && readiness.trusts_short_reads()) {
                    readiness.set_readable(false);
                }
                return Ok(count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(no_answer(&error, readiness)),
        }
    }
}

#[cold]
fn ask_lower(below: &mut Below<'_>, readiness: &mut Readiness, room: &mut [u8]) -> Result<usize, Received> {
    let Some((lower, mut below, back)) = below.lower() else { return Err(Received::Nothing) };
    match lower.receive(&mut below, readiness, back, room.len(), &mut Plain::to(room)) {
        Received::Plain(count, _) => Ok(count),
        Received::End => Ok(0),
        other => Err(other),
    }
}

/// The socket had nothing, or is broken.
#[cold]
fn no_answer(error: &io::Error, readiness: &mut Readiness) -> Received {
    readiness.set_readable(false);
    if error.kind() == io::ErrorKind::WouldBlock {
        return Received::Nothing;
    }
    tracing::debug!(%error, "receive failed");
    readiness.set_broken(true);
    Received::Failed(error.kind())
}

/// Passes sealed bytes on. Returns how many of them were taken: fewer than all, once the socket is full.
#[inline(always)]
pub(super) fn pass(below: &mut Below<'_>, bytes: &[u8]) -> io::Result<usize> {
    if below.lower.is_some() {
        return pass_to_lower(below, bytes);
    }
    send_some(below.sys, below.handle, bytes)
}

/// The same, to the socket.
#[inline(always)]
pub(super) fn send_some(sys: &mut dyn Sys, handle: Handle, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match sys.send(handle, &[IoSlice::new(bytes)]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cold]
fn pass_to_lower(below: &mut Below<'_>, bytes: &[u8]) -> io::Result<usize> {
    let Some((lower, mut below, _)) = below.lower() else { return Ok(0) };
    match () {
        // Nothing follows its close_notify.
        () if lower.is_closed() => Ok(bytes.len()),
        () if lower.has_unsent() => Ok(0),
        () => lower.send(&mut below, &[IoSlice::new(bytes)]),
    }
}

/// Sends what is in the scratch. Returns how many bytes of it were taken.
#[inline(always)]
pub(super) fn pass_sealed(below: &mut Below<'_>) -> io::Result<usize> {
    if below.lower.is_none() {
        return send_some(below.sys, below.handle, below.scratch.sealed.as_slice());
    }
    let sealed = std::mem::take(&mut below.scratch.sealed);
    let sent = pass_to_lower(below, sealed.as_slice());
    below.scratch.sealed = sealed;
    sent
}

/// The most that is kept unopened: the records of a handshake message of 64 KiB, and one that is incomplete.
pub(super) const MOST_KEPT: usize = 96 * 1024;
/// The receive buffer has room for that, and for one more record, beside the plaintext of a record.
pub(in crate::transport) const LEAST_BACK: usize = MOST_KEPT + SEALED_RECORD;
