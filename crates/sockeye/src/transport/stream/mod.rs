//! The layer between a socket and the bytes that the protocol sees. Nothing above it knows whether they are sealed, that is,
//! encrypted.
//!
//! Most connections are plain and have nothing here. What others need is in one box: what was read and not used, and how
//! their bytes are sealed. A stream that seals may hold plaintext, or records that it has not opened, though the socket has
//! nothing; and a socket may yield bytes without completing any. [`Stream::has_input`] asks both. It may accept
//! plaintext whose sealed bytes the socket did not take; [`Stream::has_sealed`] says so, and [`Stream::send_sealed`] goes on with
//! them before anything else is sent.

#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
mod below;
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
mod tunnel;

use std::io::{self, IoSlice};

#[cfg(any(test, feature = "sim"))]
use self::scrambled::Scrambled;
use self::tls::Tls;
use self::tunnel::Tunnel;
use crate::transport::pool::Buffer;

#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
pub(super) use self::below::{Below, LEAST_BACK, Received, Scratch};
pub(super) use self::plain::Plain;
#[cfg(any(test, feature = "sim"))]
pub use self::scrambled::Scrambler;
#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
pub(super) use self::tls::Tls as TlsStream;
#[cfg(not(any(feature = "tls-aws-lc", feature = "tls-ring")))]
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
    /// Twice, or for a proxy alone.
    #[cfg_attr(
        not(all(feature = "client", any(feature = "tls-aws-lc", feature = "tls-ring"))),
        expect(dead_code, reason = "nothing is sealed for a proxy")
    )]
    Tunnel(Box<Tunnel>),
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

    /// From now on bytes are sealed by TLS for the other end.
    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    pub(super) fn set_tls(&mut self, tls: Tls) {
        match self.0.as_deref_mut() {
            Some(Inner { seal: Seal::Tunnel(tunnel), .. }) => tunnel.begin_inner(tls),
            _ => *self = Self::of(Seal::Tls(Box::new(tls))),
        }
    }

    /// From now on bytes are sealed by TLS for a proxy, which is to connect us to somebody else.
    #[cfg(all(feature = "client", any(feature = "tls-aws-lc", feature = "tls-ring")))]
    pub(super) fn set_proxy_tls(&mut self, tls: Tls) {
        *self = Self::of(Seal::Tunnel(Box::new(Tunnel::new(tls))));
    }

    /// The session with the other end, and not that with a proxy.
    pub(super) fn tls(&self) -> Option<&Tls> {
        match &self.0.as_deref()?.seal {
            Seal::Tls(tls) => Some(tls),
            Seal::Tunnel(tunnel) => tunnel.inner(),
            _ => None,
        }
    }

    /// The session that has the plaintext: with the other end, or else with a proxy.
    pub(super) fn upper_tls(&self) -> Option<&Tls> {
        self.0.as_deref()?.upper_tls()
    }

    /// The session with the peer, if it is the only one and nothing that was read is kept.
    #[inline]
    pub(super) fn only_tls(&mut self) -> Option<&mut Tls> {
        match self.0.as_deref_mut() {
            Some(Inner { kept: None, seal: Seal::Tls(tls) }) => Some(tls),
            _ => None,
        }
    }

    /// The session that has the plaintext, and the one that its sealed bytes go through, if there is one.
    pub(super) fn layers(&mut self) -> Option<(&mut Tls, Option<&mut Tls>)> {
        match &mut self.0.as_deref_mut()?.seal {
            Seal::Tls(tls) => Some((tls, None)),
            Seal::Tunnel(tunnel) => Some(tunnel.layers()),
            _ => None,
        }
    }

    /// Nothing that arrives is of use any more.
    pub(super) fn ignore_input(&mut self) {
        match self.0.as_deref_mut() {
            Some(Inner { seal: Seal::Tls(tls), .. }) => tls.ignore_input(),
            Some(Inner { seal: Seal::Tunnel(tunnel), .. }) => tunnel.ignore_input(),
            _ => {}
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
        self.0.as_deref().is_some_and(|inner| inner.kept.is_some() || inner.upper_tls().is_some_and(Tls::has_opened))
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
        let sealed = match &inner.seal {
            Seal::Tls(tls) => tls.held_bytes(),
            Seal::Tunnel(tunnel) => tunnel.held_bytes(),
            _ => 0,
        };
        inner.kept.as_ref().map_or(0, |kept| kept.0.capacity()) + sealed
    }

    /// How many sealed bytes wait.
    pub(super) fn sealed_bytes(&self) -> usize {
        match self.0.as_deref() {
            Some(Inner { seal: Seal::Tls(tls), .. }) => tls.unsent_bytes(),
            Some(Inner { seal: Seal::Tunnel(tunnel), .. }) => tunnel.unsent_bytes(),
            _ => 0,
        }
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
            Some(Inner { seal: Seal::Tunnel(tunnel), .. }) => {
                let (upper, outer) = tunnel.layers();
                upper.send(&mut below.through(outer.map(|outer| outer as _)), slices)
            }
        }
    }

    /// Sends sealed bytes that wait, as far as the socket takes them.
    pub(super) fn send_sealed(&mut self, mut below: Below<'_>) -> io::Result<()> {
        match self.0.as_deref_mut() {
            None | Some(Inner { seal: Seal::Plain, .. }) => Ok(()),
            #[cfg(any(test, feature = "sim"))]
            Some(Inner { seal: Seal::Scrambled(stream), .. }) => stream.send_sealed(below.sys, below.handle),
            Some(Inner { seal: Seal::Tls(tls), .. }) => tls.send_unsent(&mut below),
            Some(Inner { seal: Seal::Tunnel(tunnel), .. }) => {
                let (upper, outer) = tunnel.layers();
                upper.send_unsent(&mut below.through(outer.map(|outer| outer as _)))
            }
        }
    }

    /// Seals close_notify, once, behind what waits. Returns whether it was sealed now.
    pub(super) fn close(&mut self, mut below: Below<'_>) -> io::Result<bool> {
        match self.0.as_deref_mut() {
            Some(Inner { seal: Seal::Tls(tls), .. }) if !tls.is_closed() => tls.close(&mut below).map(|()| true),
            Some(Inner { seal: Seal::Tunnel(tunnel), .. }) if !tunnel.is_closed() => {
                tunnel.close(&mut below).map(|()| true)
            }
            _ => Ok(false),
        }
    }
}

impl Inner {
    #[cold]
    fn has_input(&self) -> bool {
        let has_more = match &self.seal {
            Seal::Tls(tls) => tls.has_input(),
            Seal::Tunnel(tunnel) => tunnel.has_input(),
            _ => false,
        };
        self.kept.is_some() || has_more
    }

    #[cold]
    fn has_sealed(&self) -> bool {
        match &self.seal {
            Seal::Plain => false,
            #[cfg(any(test, feature = "sim"))]
            Seal::Scrambled(stream) => stream.has_sealed(),
            Seal::Tls(tls) => tls.has_unsent(),
            Seal::Tunnel(tunnel) => tunnel.has_unsent(),
        }
    }

    fn upper_tls(&self) -> Option<&Tls> {
        match &self.seal {
            Seal::Tls(tls) => Some(tls),
            Seal::Tunnel(tunnel) => Some(tunnel.upper()),
            _ => None,
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
