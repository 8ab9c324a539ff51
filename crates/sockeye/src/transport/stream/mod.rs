//! The layer between a socket and the bytes that the protocol sees. Nothing above it knows whether they are sealed,
//! that is, encrypted as TLS does: TLS would be a variant of [`Stream`] and of [`Carrier`].
//!
//! [`Stream::recv`] yields plaintext, and [`Stream::is_drained`] says whether more is there: a stream that seals may hold
//! plaintext that did not fit, and a socket may yield bytes without completing any. [`Stream::send`] takes plaintext and returns how much
//! of it was accepted. A stream that seals may accept plaintext whose sealed bytes the socket did not take;
//! [`Stream::has_sealed`] says so, and [`Stream::send_sealed`] goes on with them before anything else is sent.

#[cfg(any(test, feature = "sim"))]
mod scrambled;

use std::io::{self, IoSlice};

#[cfg(any(test, feature = "sim"))]
use self::scrambled::Scrambled;
#[cfg(any(test, feature = "sim"))]
use crate::sys::append;
use crate::sys::{Handle, Sys};

#[cfg(any(test, feature = "sim"))]
pub use self::scrambled::Scrambler;

/// How the bytes of new connections are carried.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Carrier {
    #[default]
    Plain,
    /// A transform that tests this layer, from this seed.
    #[cfg(any(test, feature = "sim"))]
    Scrambled(u64),
}

impl Carrier {
    pub(super) fn stream(self) -> Stream {
        match self {
            Self::Plain => Stream::Plain,
            #[cfg(any(test, feature = "sim"))]
            Self::Scrambled(seed) => Stream::Scrambled(Box::new(Scrambled::new(seed))),
        }
    }
}

/// How the bytes of one connection are carried.
pub(super) enum Stream {
    /// As they are.
    Plain,
    /// In records of a reversible transform, as TLS would carry them.
    #[cfg(any(test, feature = "sim"))]
    Scrambled(Box<Scrambled>),
}

#[cfg_attr(
    not(any(test, feature = "sim")),
    expect(clippy::needless_pass_by_ref_mut, reason = "a stream that seals changes with each call; plain ones do not")
)]
impl Stream {
    /// Receives plaintext into `room`, which is not empty, and returns how many bytes it is; 0 is the end of the input.
    #[inline(always)]
    pub(super) fn recv(&mut self, sys: &mut dyn Sys, handle: Handle, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain => sys.recv(handle, room),
            #[cfg(any(test, feature = "sim"))]
            Self::Scrambled(stream) => stream.recv(sys, handle, room),
        }
    }

    /// Receives at most `most` bytes of plaintext, which is not 0, behind what `buffer` holds, and returns how many it is; 0 is
    /// the end of the input. The buffer has the capacity.
    pub(super) fn recv_behind(
        &mut self,
        sys: &mut dyn Sys,
        handle: Handle,
        buffer: &mut Vec<u8>,
        most: usize,
    ) -> io::Result<usize> {
        match self {
            Self::Plain => sys.recv_behind(handle, buffer, most),
            #[cfg(any(test, feature = "sim"))]
            Self::Scrambled(stream) => append(buffer, most, |room| stream.recv(sys, handle, room)),
        }
    }

    /// Whether neither the socket nor the stream holds more for now, after a receive of `bytes` into a room of `asked`. A
    /// stream says so only if this receive asked the socket: after an earlier one, an edge may have come.
    #[inline(always)]
    pub(super) fn is_drained(&self, bytes: usize, asked: usize) -> bool {
        match self {
            Self::Plain => bytes < asked,
            #[cfg(any(test, feature = "sim"))]
            Self::Scrambled(stream) => {
                let _ = (bytes, asked);
                stream.is_drained()
            }
        }
    }

    /// Sends plaintext, and returns how many bytes of it were accepted. Fewer than offered: the socket is full.
    #[inline(always)]
    pub(super) fn send(&mut self, sys: &mut dyn Sys, handle: Handle, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain => sys.send(handle, slices),
            #[cfg(any(test, feature = "sim"))]
            Self::Scrambled(stream) => stream.send(sys, handle, slices),
        }
    }

    /// Whether sealed bytes wait that the socket did not take.
    #[inline(always)]
    pub(super) fn has_sealed(&self) -> bool {
        match self {
            Self::Plain => false,
            #[cfg(any(test, feature = "sim"))]
            Self::Scrambled(stream) => stream.has_sealed(),
        }
    }

    /// Sends sealed bytes that wait, as far as the socket takes them.
    pub(super) fn send_sealed(&mut self, sys: &mut dyn Sys, handle: Handle) -> io::Result<()> {
        match self {
            Self::Plain => {
                let _ = (sys, handle);
                Ok(())
            }
            #[cfg(any(test, feature = "sim"))]
            Self::Scrambled(stream) => stream.send_sealed(sys, handle),
        }
    }
}
