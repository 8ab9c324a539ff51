//! What a handshake agreed on, for callbacks.

use std::fmt;

use super::choice::TlsVersion;
use super::identity::PeerIdentity;
use super::session::Session;

/// What the handshake of a connection agreed on: [`Request::tls`](crate::Request::tls) and
/// [`Handshake::tls`](crate::Handshake::tls) have it.
///
/// ```
/// use sockeye::{Decision, Request};
///
/// /// Lets those in whose certificate names them.
/// fn filter(request: &Request<'_>) -> Decision {
///     let Some(tls) = request.tls() else { return Decision::refuse(403, "over TLS, please") };
///     match tls.peer_identity() {
///         Some(identity) => Decision::accept().with(identity.certificate().pin()),
///         None => Decision::refuse(403, "a certificate, please"),
///     }
/// }
/// # let _ = filter;
/// ```
#[derive(Clone, Copy)]
pub struct TlsAgreement<'a>(&'a Session);

impl<'a> TlsAgreement<'a> {
    pub(crate) fn of(session: &'a Session) -> Self {
        Self(session)
    }

    /// The version.
    #[must_use]
    pub fn version(&self) -> TlsVersion {
        // It is known from the first flight of the server on.
        self.0.version().unwrap_or(TlsVersion::Tls13)
    }

    /// The cipher suite, such as `TLS13_AES_256_GCM_SHA384`.
    #[must_use]
    pub fn cipher(&self) -> &'static str {
        self.0.cipher().unwrap_or_default()
    }

    /// The group of the key exchange, such as `X25519`. `None` where there was no exchange: for a resumed session of TLS 1.2.
    #[must_use]
    pub fn group(&self) -> Option<&'static str> {
        self.0.group()
    }

    /// The server's name as the client sent it (RFC 6066 section 3): letters, digits, hyphens, dots and underscores. `None`
    /// if a client sent none, as it does for an address.
    #[must_use]
    pub fn server_name(&self) -> Option<&'a str> {
        self.0.server_name()
    }

    /// Whether an earlier session was resumed.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.0.is_resumed()
    }

    /// Who the peer is, by the certificate that it showed and that was verified. `None` for a client that showed none. It is read anew
    /// by each call.
    #[must_use]
    pub fn peer_identity(&self) -> Option<PeerIdentity> {
        PeerIdentity::new(self.0.peer_certificates(), self.0.crypto())
    }
}

impl fmt::Debug for TlsAgreement<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsAgreement")
            .field("version", &self.version())
            .field("cipher", &self.cipher())
            .field("group", &self.group())
            .field("server_name", &self.server_name())
            .field("is_resumed", &self.is_resumed())
            .finish()
    }
}
