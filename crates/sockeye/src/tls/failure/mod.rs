//! Why a handshake failed: which rule was broken, and what to do. Errors of rustls come in, and texts for people go out; what is
//! known is known by type too.

mod alert;
mod certificate;
mod facts;

use std::error;
use std::fmt;
use std::time::SystemTime;

use rustls::Error;
use rustls::InvalidMessage;
use rustls::PeerIncompatible;

use self::facts::Inner;
use self::facts::Peer;
use super::certificate::SubjectName;

pub use self::facts::TlsFailureKind;

/// Why TLS failed with a peer.
///
/// `Display` says what happened, and what to do about it.
#[derive(Clone)]
pub struct TlsFailure(Box<Inner>);

impl TlsFailure {
    /// What a server met with a client.
    #[allow(dead_code, reason = "sessions that use it follow")]
    pub(crate) fn from_server(error: &Error) -> Self {
        Self::new(error, &Peer::Client)
    }

    /// What a client met with the server `name`.
    #[allow(dead_code, reason = "sessions that use it follow")]
    pub(crate) fn from_client(error: &Error, name: &str) -> Self {
        Self::new(error, &Peer::Server(name))
    }

    /// What a client met with the proxy `name`.
    #[cfg(feature = "client")]
    pub(crate) fn from_proxy(error: &Error, name: &str) -> Self {
        Self::new(error, &Peer::Proxy(name))
    }

    /// The client ended the connection within the handshake.
    #[allow(dead_code, reason = "sessions that use it follow")]
    pub(crate) fn client_closed() -> Self {
        Inner::new(
            TlsFailureKind::ClosedInHandshake,
            "the client ended the connection within the handshake".into(),
            "a client that refuses the certificate often does so; its own log says why",
        )
        .into()
    }

    /// The server `name` ended the connection within the handshake.
    #[allow(dead_code, reason = "sessions that use it follow")]
    pub(crate) fn server_closed(name: &str) -> Self {
        Self::closed_by(&Peer::Server(name))
    }

    /// The proxy `name` ended the connection within its own handshake.
    #[cfg(feature = "client")]
    pub(crate) fn proxy_closed(name: &str) -> Self {
        Self::closed_by(&Peer::Proxy(name))
    }

    fn closed_by(peer: &Peer<'_>) -> Self {
        Inner::new(
            TlsFailureKind::ClosedInHandshake,
            format!("{peer} ended the connection within the handshake"),
            "does it speak TLS on this port, and does something between filter by the server's name?",
        )
        .into()
    }

    /// The peer sent more than a handshake may take.
    pub(crate) fn too_many_bytes() -> Self {
        Inner::new(
            TlsFailureKind::Protocol,
            "the handshake takes too many bytes".into(),
            "Limits::tls_handshake_bytes bounds them",
        )
        .into()
    }

    /// TLS cannot begin on this connection.
    pub(crate) fn misplaced(why: &str) -> Self {
        Inner::new(TlsFailureKind::Internal, format!("TLS cannot begin: {why}"), "this is a fault of the program")
            .into()
    }

    fn new(error: &Error, peer: &Peer<'_>) -> Self {
        let mut inner = match error {
            Error::InvalidCertificate(refusal) => certificate::explain(refusal, peer),
            Error::AlertReceived(alert) => alert::explain((*alert).into(), peer),
            Error::NoCertificatesPresented => Inner::new(
                TlsFailureKind::NoCertificate,
                format!("{peer} showed no certificate, and one is required"),
                "give it one of an authority that this server accepts",
            ),
            Error::NoApplicationProtocol => Inner::new(
                TlsFailureKind::NoCommonProtocol,
                format!("{peer} speaks other protocols than http/1.1 (by ALPN)"),
                "have it offer http/1.1, or nothing",
            ),
            Error::PeerIncompatible(what) => incompatible(what, peer),
            // The first byte of a record is its type, and text begins with a letter.
            Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
                Inner::new(TlsFailureKind::NotTls, format!("what {peer} sent is not TLS"), peer.hint_not_tls())
            }
            Error::InvalidMessage(_)
            | Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. }
            | Error::PeerMisbehaved(_)
            | Error::DecryptError
            | Error::PeerSentOversizedRecord
            | Error::InvalidEncryptedClientHello(_) => Inner::new(
                TlsFailureKind::Protocol,
                format!("{peer} broke the protocol: {error}"),
                "its TLS library is at fault, or something between changes what is sent",
            ),
            Error::InvalidCertRevocationList(_) => Inner::new(
                TlsFailureKind::UnknownRevocation,
                format!("whether the certificate of {peer} has been revoked is not known: {error}"),
                "renew the revocation lists",
            ),
            _ => Inner::new(
                TlsFailureKind::Internal,
                format!("TLS failed with {peer}: {error}"),
                "this is a fault of this side",
            ),
        };
        inner.cause = Some(error.clone());
        inner.into()
    }

    /// Which rule was broken.
    pub fn kind(&self) -> TlsFailureKind {
        self.0.kind
    }

    /// What to do about it, in a few words.
    pub fn hint(&self) -> &str {
        self.0.hint
    }

    /// With [`WrongName`](TlsFailureKind::WrongName), the names that the certificate is for, 64 at most.
    pub fn names(&self) -> &[SubjectName] {
        &self.0.names
    }

    /// With [`Expired`](TlsFailureKind::Expired), since when; with [`NotYetValid`](TlsFailureKind::NotYetValid), until when.
    pub fn time(&self) -> Option<SystemTime> {
        self.0.time
    }

    /// With [`WrongPin`](TlsFailureKind::WrongPin) and [`SelfSigned`](TlsFailureKind::SelfSigned), the pin of the key that the
    /// server has.
    pub fn pin(&self) -> Option<&str> {
        self.0.pin.as_deref()
    }

    /// With [`Alert`](TlsFailureKind::Alert), its number (RFC 8446 section 6). Other kinds can have one too.
    pub fn alert(&self) -> Option<u8> {
        self.0.alert
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.text, self.0.hint)
    }
}

impl fmt::Debug for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsFailure").field("kind", &self.0.kind).field("text", &self.0.text).finish_non_exhaustive()
    }
}

impl error::Error for TlsFailure {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.0.cause.as_ref().map(|cause| cause as &(dyn error::Error + 'static))
    }
}

impl From<Inner> for TlsFailure {
    fn from(inner: Inner) -> Self {
        Self(Box::new(inner))
    }
}

fn incompatible(what: &PeerIncompatible, peer: &Peer<'_>) -> Inner {
    match what {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => Inner::new(
            TlsFailureKind::NoCommonVersion,
            format!("{peer} has no version of TLS that this side accepts"),
            "TLS 1.0 and 1.1 are not supported (RFC 8996); if this side insists on TLS 1.3, let it accept 1.2",
        ),
        // TLS 1.2 has them by default, TLS 1.1 cannot have them.
        PeerIncompatible::SignatureAlgorithmsExtensionRequired => Inner::new(
            TlsFailureKind::NoCommonVersion,
            format!("{peer} names no signature algorithms, which TLS has from version 1.2 on"),
            "TLS 1.0 and 1.1 are not supported (RFC 8996)",
        ),
        _ => Inner::new(
            TlsFailureKind::NoCommonCipher,
            format!("{peer} and this side have no cipher in common: {what:?}"),
            "a newer TLS library there will have one; for an old one, an RSA certificate may help",
        ),
    }
}
