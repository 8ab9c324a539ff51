//! The layer between a socket and the bytes that the protocol sees. Nothing above it knows whether they are sealed, that is,
//! encrypted.
//!
//! Most connections are plain and have nothing here. What others need is in one box: what was read and not used, and how
//! their bytes are sealed. A stream that seals may hold plaintext, or records that it has not opened, though the socket has
//! nothing; and a socket may yield bytes without completing any. [`Stream::has_input`] asks both. It may accept
//! plaintext whose sealed bytes the socket did not take; [`Stream::has_sealed`] says so, and [`Stream::send_sealed`] goes on with
//! them before anything else is sent.

#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
mod pieces;
mod plain;
#[cfg(any(test, feature = "sim"))]
mod scrambled;
#[cfg(not(any(feature = "tls-aws-lc", feature = "tls-ring")))]
#[path = "no_tls.rs"]
mod tls;
#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
mod tls;

use std::io::{self, IoSlice};

#[cfg(any(test, feature = "sim"))]
use self::scrambled::Scrambled;
use self::tls::Tls;
use crate::transport::pool::Buffer;

pub(super) use self::plain::Plain;
#[cfg(any(test, feature = "sim"))]
pub use self::scrambled::Scrambler;
#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
pub(super) use self::tls::Tls as TlsStream;
pub(super) use self::tls::{Below, LEAST_BACK, Received, Scratch};

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
            Self::Plain => Stream::default(),
            #[cfg(any(test, feature = "sim"))]
            Self::Scrambled(seed) => Stream::of(Seal::Scrambled(Box::new(Scrambled::new(seed)))),
        }
    }
}

/// How the bytes of one connection are carried; `None`: as they are, and nothing is kept.
#[derive(Default)]
pub(super) struct Stream(Option<Box<Inner>>);

/// What few connections need.
struct Inner {
    /// What was read and not used up, because reading is paused or the share of the turn was spent.
    kept: Option<Box<Buffer>>,
    seal: Seal,
}

/// How bytes are sealed.
pub(super) enum Seal {
    Plain,
    /// In records of a reversible transform, as TLS would carry them.
    #[cfg(any(test, feature = "sim"))]
    Scrambled(Box<Scrambled>),
    #[cfg_attr(not(any(feature = "tls-aws-lc", feature = "tls-ring")), expect(dead_code, reason = "nothing is sealed"))]
    Tls(Box<Tls>),
}

impl Stream {
    #[cfg(any(test, feature = "sim", feature = "tls-aws-lc", feature = "tls-ring"))]
    fn of(seal: Seal) -> Self {
        Self(Some(Box::new(Inner { kept: None, seal })))
    }

    /// Whether bytes go as they are, and nothing is kept.
    #[inline(always)]
    pub(super) fn is_bare(&self) -> bool {
        self.0.is_none()
    }

    /// From now on bytes are sealed by TLS.
    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    pub(super) fn set_tls(&mut self, tls: Tls) {
        *self = Self::of(Seal::Tls(Box::new(tls)));
    }

    pub(super) fn tls(&self) -> Option<&Tls> {
        match self.0.as_deref() {
            Some(Inner { seal: Seal::Tls(tls), .. }) => Some(tls),
            _ => None,
        }
    }

    pub(super) fn tls_mut(&mut self) -> Option<&mut Tls> {
        match self.0.as_deref_mut() {
            Some(Inner { seal: Seal::Tls(tls), .. }) => Some(tls),
            _ => None,
        }
    }

    #[cfg(any(test, feature = "sim"))]
    pub(super) fn scrambled(&mut self) -> Option<&mut Scrambled> {
        match self.0.as_deref_mut() {
            Some(Inner { seal: Seal::Scrambled(stream), .. }) => Some(stream),
            _ => None,
        }
    }

    /// Whether there is input that the socket need not be asked for.
    #[inline(always)]
    pub(super) fn has_input(&self) -> bool {
        self.0.as_deref().is_some_and(Inner::has_input)
    }

    /// Whether something that was read is kept, as it goes to the protocol.
    pub(super) fn has_kept(&self) -> bool {
        self.0.as_deref().is_some_and(|inner| inner.kept.is_some() || self.tls().is_some_and(Tls::has_opened))
    }

    pub(super) fn keep(&mut self, kept: Buffer) {
        let inner = self.0.get_or_insert_with(|| Box::new(Inner { kept: None, seal: Seal::Plain }));
        inner.kept = Some(Box::new(kept));
    }

    pub(super) fn take_kept(&mut self) -> Option<Box<Buffer>> {
        let inner = self.0.as_deref_mut().filter(|inner| inner.kept.is_some())?;
        let kept = inner.kept.take();
        if matches!(inner.seal, Seal::Plain) {
            self.0 = None;
        }
        kept
    }

    /// How much memory is held for the peer.
    pub(super) fn held_bytes(&self) -> usize {
        let Some(inner) = self.0.as_deref() else { return 0 };
        inner.kept.as_ref().map_or(0, |kept| kept.0.capacity()) + self.tls().map_or(0, Tls::held_bytes)
    }

    /// How many sealed bytes wait.
    pub(super) fn sealed_bytes(&self) -> usize {
        self.tls().map_or(0, Tls::unsent_bytes)
    }

    /// Whether sealed bytes wait that the socket did not take.
    #[inline(always)]
    pub(super) fn has_sealed(&self) -> bool {
        self.0.as_deref().is_some_and(Inner::has_sealed)
    }

    /// Sends plaintext that is to be sealed, and returns how many bytes of it were accepted. Fewer than offered: the socket is full.
    #[cold]
    pub(super) fn send(&mut self, mut below: Below<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.0.as_deref_mut() {
            None | Some(Inner { seal: Seal::Plain, .. }) => below.sys.send(below.handle, slices),
            #[cfg(any(test, feature = "sim"))]
            Some(Inner { seal: Seal::Scrambled(stream), .. }) => stream.send(below.sys, below.handle, slices),
            Some(Inner { seal: Seal::Tls(tls), .. }) => tls.send(&mut below, slices),
        }
    }

    /// Sends sealed bytes that wait, as far as the socket takes them.
    pub(super) fn send_sealed(&mut self, mut below: Below<'_>) -> io::Result<()> {
        match self.0.as_deref_mut() {
            None | Some(Inner { seal: Seal::Plain, .. }) => Ok(()),
            #[cfg(any(test, feature = "sim"))]
            Some(Inner { seal: Seal::Scrambled(stream), .. }) => stream.send_sealed(below.sys, below.handle),
            Some(Inner { seal: Seal::Tls(tls), .. }) => tls.send_unsent(&mut below),
        }
    }
}

impl Inner {
    #[cold]
    fn has_input(&self) -> bool {
        self.kept.is_some() || matches!(&self.seal, Seal::Tls(tls) if tls.has_input())
    }

    #[cold]
    fn has_sealed(&self) -> bool {
        match &self.seal {
            Seal::Plain => false,
            #[cfg(any(test, feature = "sim"))]
            Seal::Scrambled(stream) => stream.has_sealed(),
            Seal::Tls(tls) => tls.has_unsent(),
        }
    }
}

#[cfg(all(test, any(feature = "tls-aws-lc", feature = "tls-ring")))]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_no_larger_than_it_was() {
        assert_eq!(size_of::<Stream>(), size_of::<usize>());
        assert!(size_of::<Inner>() <= 24, "{}", size_of::<Inner>());
        // 1,128 of them are the session, 1,088 of which are rustls.
        assert!(size_of::<Tls>() <= 1272, "{}", size_of::<Tls>());
    }
}
