//! What is known of a session once its handshake is done.

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::{HandshakeKind, ProtocolVersion};

use crate::tls::TlsVersion;
use crate::tls::session::Session;

impl Session {
    /// What certificates are read with.
    pub(crate) fn crypto(&self) -> &CryptoProvider {
        &self.crypto
    }

    /// The name that the client asked for (RFC 6066 section 3).
    pub(crate) fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// The version, once it is agreed on.
    pub(crate) fn version(&self) -> Option<TlsVersion> {
        match self.state().protocol_version()? {
            ProtocolVersion::TLSv1_2 => Some(TlsVersion::Tls12),
            ProtocolVersion::TLSv1_3 => Some(TlsVersion::Tls13),
            _ => None,
        }
    }

    /// The cipher suite, by its name in the registry.
    pub(crate) fn cipher(&self) -> Option<&'static str> {
        self.state().negotiated_cipher_suite()?.suite().as_str()
    }

    /// The group of the key exchange; `None` for a resumed session of TLS 1.2.
    pub(crate) fn group(&self) -> Option<&'static str> {
        self.state().negotiated_key_exchange_group()?.name().as_str()
    }

    /// The protocol that was agreed on (RFC 7301).
    #[cfg_attr(not(test), expect(dead_code, reason = "there is one, and none is as good"))]
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        self.state().alpn_protocol()
    }

    /// Whether an earlier session was resumed.
    pub(crate) fn is_resumed(&self) -> bool {
        self.state().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The peer's certificate and those that it sent along, in DER.
    pub(crate) fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        self.state().peer_certificates().unwrap_or_default()
    }
}
