//! The sessions of a connection through a proxy that speaks TLS itself: that with the proxy, and inside it that with the server, once
//! it has begun.
//!
//! ```text
//!  ws://    phase ── plaintext ────────────▶ outer ──▶ socket
//!  wss://   phase ── plaintext ──▶ inner ──▶ outer ──▶ socket
//! ```

use std::io;

#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
use crate::transport::stream::below::Below;
#[cfg(not(any(feature = "tls-aws-lc", feature = "tls-ring")))]
use crate::transport::stream::tls::Below;
use crate::transport::stream::tls::Tls;

pub(in crate::transport) struct Tunnel {
    /// With the proxy.
    outer: Tls,
    /// With the server. `None`: it does not speak TLS, or not yet.
    inner: Option<Box<Tls>>,
}

impl Tunnel {
    #[cfg_attr(
        not(all(feature = "client", any(feature = "tls-aws-lc", feature = "tls-ring"))),
        expect(dead_code, reason = "nothing is sealed for a proxy")
    )]
    pub(super) fn new(outer: Tls) -> Self {
        Self { outer, inner: None }
    }

    /// What follows is for the server, sealed.
    #[cfg_attr(not(any(feature = "tls-aws-lc", feature = "tls-ring")), expect(dead_code, reason = "nothing is sealed"))]
    pub(super) fn begin_inner(&mut self, inner: Tls) {
        self.inner = Some(Box::new(inner));
    }

    /// The session with the server.
    pub(super) fn inner(&self) -> Option<&Tls> {
        self.inner.as_deref()
    }

    /// The session that has the plaintext.
    pub(super) fn upper(&self) -> &Tls {
        self.inner.as_deref().unwrap_or(&self.outer)
    }

    /// The same, and the one below it.
    pub(super) fn layers(&mut self) -> (&mut Tls, Option<&mut Tls>) {
        match self.inner.as_deref_mut() {
            Some(inner) => (inner, Some(&mut self.outer)),
            None => (&mut self.outer, None),
        }
    }

    pub(super) fn has_input(&self) -> bool {
        self.all().any(Tls::has_input)
    }

    pub(super) fn has_unsent(&self) -> bool {
        self.all().any(Tls::has_unsent)
    }

    pub(super) fn unsent_bytes(&self) -> usize {
        self.all().map(Tls::unsent_bytes).sum()
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.all().map(Tls::held_bytes).sum()
    }

    pub(super) fn ignore_input(&mut self) {
        self.outer.ignore_input();
        if let Some(inner) = &mut self.inner {
            inner.ignore_input();
        }
    }

    /// Whether close_notify was sealed for the proxy, behind which nothing may follow.
    pub(super) fn is_closed(&self) -> bool {
        self.outer.is_closed()
    }

    /// Seals close_notify for the server, and behind it that for the proxy.
    pub(super) fn close(&mut self, below: &mut Below<'_>) -> io::Result<()> {
        if let Some(inner) = &mut self.inner {
            inner.close(below)?;
            self.outer.take_unsent(inner, below)?;
        }
        self.outer.close(below)
    }

    fn all(&self) -> impl Iterator<Item = &Tls> {
        [Some(&self.outer), self.inner.as_deref()].into_iter().flatten()
    }
}
