//! What all failures have.

use std::fmt;
use std::time::SystemTime;

use rustls::Error;

use crate::tls::certificate::SubjectName;

/// Which rule was broken. What is said of certificates is said of the peer's.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum TlsFailureKind {
    /// The certificate was issued by an authority that is not trusted, or those between it and a root are missing.
    UnknownIssuer,
    /// The certificate is self-signed, and not trusted itself.
    SelfSigned,
    /// The certificate has expired, or one of its issuers; see [`TlsFailure::time`](super::TlsFailure::time).
    Expired,
    /// The certificate is not valid yet, or one of its issuers; see [`TlsFailure::time`](super::TlsFailure::time).
    NotYetValid,
    /// The certificate is for other names; see [`TlsFailure::names`](super::TlsFailure::names).
    WrongName,
    /// The certificate is for another use, such as a client's for a server.
    WrongUse,
    /// The certificate has been revoked, or one of its issuers.
    Revoked,
    /// Whether the certificate has been revoked is not known: a list is missing, or out of date.
    UnknownRevocation,
    /// The key is not one of those that are pinned; see [`TlsFailure::pin`](super::TlsFailure::pin).
    WrongPin,
    /// The certificate is damaged, or of a kind that is not supported.
    UnusableCertificate,
    /// The certificate, or the handshake, has another signature than that of its key.
    BadSignature,
    /// The client has no certificate, and one is required.
    NoCertificate,
    /// There is no version of TLS that both sides have.
    NoCommonVersion,
    /// There is no cipher suite, key exchange or signature that both sides have.
    NoCommonCipher,
    /// There is no protocol above TLS that both sides have (ALPN).
    NoCommonProtocol,
    /// The peer refused, for a reason that it gave; see [`TlsFailure::alert`](super::TlsFailure::alert).
    Alert,
    /// The connection ended before the handshake did.
    ClosedInHandshake,
    /// What the peer sent is not TLS.
    NotTls,
    /// The peer broke the protocol.
    Protocol,
    /// This side failed: random bytes or the time were not to be had.
    Internal,
}

/// What a failure is made of.
#[derive(Clone)]
pub(super) struct Inner {
    pub(super) kind: TlsFailureKind,
    pub(super) text: String,
    pub(super) hint: &'static str,
    pub(super) names: Vec<SubjectName>,
    pub(super) time: Option<SystemTime>,
    pub(super) pin: Option<String>,
    pub(super) alert: Option<u8>,
    pub(super) cause: Option<Error>,
}

impl Inner {
    pub(super) fn new(kind: TlsFailureKind, text: String, hint: &'static str) -> Self {
        Self { kind, text, hint, names: Vec::new(), time: None, pin: None, alert: None, cause: None }
    }
}

/// Who is at the other end.
pub(super) enum Peer<'a> {
    Client,
    Server(&'a str),
    /// A proxy that speaks TLS itself.
    #[cfg_attr(not(feature = "client"), expect(dead_code, reason = "nothing connects"))]
    Proxy(&'a str),
}

impl Peer<'_> {
    pub(super) fn hint_not_tls(&self) -> &'static str {
        match self {
            Self::Client => "has it been given ws:// or http:// instead of wss:// or https://?",
            Self::Server(_) => "does it speak TLS on this port? ws:// and http:// are without",
            Self::Proxy(_) => "does it speak TLS on this port? For one without, write http:// instead of https://",
        }
    }
}

impl fmt::Display for Peer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => f.write_str("the client"),
            Self::Server(name) => f.write_str(&shown(name)),
            Self::Proxy(name) => write!(f, "the proxy {}", shown(name)),
        }
    }
}

/// Text of a peer or of a user, without what could confuse a terminal.
pub(super) fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() { out.extend(character.escape_default()) } else { out.push(character) }
    }
    out
}
