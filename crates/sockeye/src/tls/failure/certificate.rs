//! What was wrong with the certificate of a peer.

use rustls::CertificateError;
use rustls::OtherError;
use rustls::pki_types::UnixTime;

use super::facts::Inner;
use super::facts::Peer;
use super::facts::TlsFailureKind;
use super::facts::shown;
use crate::tls::certificate::presented;
use crate::tls::certificate::time;
use crate::tls::pair::when;
use crate::tls::verify::Refusal;

pub(super) fn explain(error: &CertificateError, peer: &Peer<'_>) -> Inner {
    match error {
        CertificateError::UnknownIssuer => Inner::new(
            TlsFailureKind::UnknownIssuer,
            format!("the certificate of {peer} was not issued by an authority that is trusted"),
            match peer {
                Peer::Server(_) | Peer::Proxy(_) => {
                    "if it is a public one, the server may not send the certificates of its issuers too; if it is one of your own, \
                     trust its root"
                }
                Peer::Client => "it is of another one, or the client does not send the certificates of its issuers",
            },
        ),
        CertificateError::ExpiredContext { not_after, .. } => expired(Some(*not_after), peer),
        CertificateError::Expired => expired(None, peer),
        CertificateError::NotValidYetContext { not_before, .. } => not_yet_valid(Some(*not_before), peer),
        CertificateError::NotValidYet => not_yet_valid(None, peer),
        CertificateError::NotValidForNameContext { presented, .. } => wrong_name(presented, peer),
        CertificateError::NotValidForName => wrong_name(&[], peer),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => Inner::new(
            TlsFailureKind::WrongUse,
            format!("the certificate of {peer} is for another use: {error}"),
            match peer {
                Peer::Server(_) | Peer::Proxy(_) => {
                    "a server's certificate needs the extended key usage serverAuth, or none"
                }
                Peer::Client => "a client's certificate needs the extended key usage clientAuth, or none",
            },
        ),
        CertificateError::Revoked => Inner::new(
            TlsFailureKind::Revoked,
            format!("the certificate of {peer} has been revoked"),
            "it needs a new one, with a new key",
        ),
        CertificateError::UnknownRevocationStatus
        | CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => unknown_revocation(error, peer),
        CertificateError::BadSignature => Inner::new(
            TlsFailureKind::BadSignature,
            format!("a signature of {peer} is not that of the key that should have made it"),
            "something between answers in its place, the certificate is damaged, or its key is RSA of less than 2,048 bits",
        ),
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => Inner::new(
            TlsFailureKind::UnusableCertificate,
            format!(
                "the certificate of {peer}, or one of its issuers, has a signature of a kind that is not supported"
            ),
            "SHA-1 is not: have it issued anew, with SHA-256 and a key of RSA, P-256, P-384 or Ed25519",
        ),
        CertificateError::Other(OtherError(cause)) => match cause.downcast_ref() {
            Some(refusal) => refused(refusal, peer),
            None => other(cause.downcast_ref(), error, peer),
        },
        _ => unusable(error, peer),
    }
}

fn expired(at: Option<UnixTime>, peer: &Peer<'_>) -> Inner {
    let since = at.map(|at| time(at.as_secs()));
    let on = since.map(|since| format!(" on {}", when(since))).unwrap_or_default();
    let text = format!("the certificate of {peer}, or one of its issuers, expired{on}");
    let hint = "it has to be renewed there, unless the clock of this machine is wrong";
    Inner { time: since, ..Inner::new(TlsFailureKind::Expired, text, hint) }
}

fn not_yet_valid(at: Option<UnixTime>, peer: &Peer<'_>) -> Inner {
    let until = at.map(|at| time(at.as_secs()));
    let on = until.map(|until| format!(" before {}", when(until))).unwrap_or_default();
    let text = format!("the certificate of {peer}, or one of its issuers, is not valid{on}");
    let hint = "is the clock of this machine right?";
    Inner { time: until, ..Inner::new(TlsFailureKind::NotYetValid, text, hint) }
}

fn wrong_name(names: &[String], peer: &Peer<'_>) -> Inner {
    let names: Vec<_> = names.iter().filter_map(|name| presented(name)).take(NAMES).collect();
    let shown: Vec<_> = names.iter().take(NAMES_SHOWN).map(|name| shown(&name.to_string())).collect();
    let others = names.len().saturating_sub(shown.len());
    let list = match (shown.is_empty(), others) {
        (true, _) => "and has no names".into(),
        (false, 0) => format!("but for {}", shown.join(", ")),
        (false, _) => format!("but for {} and others", shown.join(", ")),
    };
    let text = format!("the certificate is not for {peer} {list}");
    let hint = if shown.is_empty() {
        // RFC 9525 section 2: the common name is no longer one.
        "have it issued for this one, as subjectAltName; the common name does not count"
    } else {
        "connect by a name that it is for, or have it issued for this one too (as subjectAltName)"
    };
    Inner { names, ..Inner::new(TlsFailureKind::WrongName, text, hint) }
}

fn unknown_revocation(error: &CertificateError, peer: &Peer<'_>) -> Inner {
    let text = match error {
        CertificateError::ExpiredRevocationListContext { next_update, .. } => format!(
            "whether the certificate of {peer} has been revoked is not known: the list was to be renewed by {}",
            when(time(next_update.as_secs()))
        ),
        _ => format!(
            "whether the certificate of {peer} has been revoked is not known: a list of one of its issuers is missing"
        ),
    };
    Inner::new(TlsFailureKind::UnknownRevocation, text, "renew the revocation lists, with one of each issuer")
}

fn refused(refusal: &Refusal, peer: &Peer<'_>) -> Inner {
    match refusal {
        Refusal::SelfSigned { pin, is_pinned } => {
            let (key, hint) = if *is_pinned {
                (
                    "the pinned one",
                    "a pin counts beside what is verified: trust it as a root too, or verify only the pin",
                )
            } else {
                (&**pin, "trust it as a root, or pin this key, if you know by other means that it is the right one")
            };
            let text = format!("the certificate of {peer} is self-signed; its key is {key}");
            Inner { pin: Some(pin.clone()), ..Inner::new(TlsFailureKind::SelfSigned, text, hint) }
        }
        Refusal::WrongPin { pin } => {
            let text = format!("the key of {peer} is not a pinned one, but {pin}");
            let hint =
                "it has a new key, or something between answers in its place: ask its operator before you pin this one";
            Inner { pin: Some(pin.clone()), ..Inner::new(TlsFailureKind::WrongPin, text, hint) }
        }
        Refusal::ShortKey { bits } => Inner::new(
            TlsFailureKind::UnusableCertificate,
            format!(
                "the certificate of {peer}, or one of its issuers, has an RSA key of {bits} bits, which is too short"
            ),
            "it needs a new one, of 2,048 bits or more, or of P-256",
        ),
    }
}

fn other(cause: Option<&webpki::Error>, error: &CertificateError, peer: &Peer<'_>) -> Inner {
    let hint = match cause {
        Some(webpki::Error::CaUsedAsEndEntity) => {
            "it is that of an authority (CA:TRUE), which may only issue others: make it with basicConstraints=CA:FALSE"
        }
        Some(webpki::Error::UnsupportedCertVersion) => {
            "it is of X.509 version 1: make it with extensions, which makes it version 3"
        }
        _ => return unusable(error, peer),
    };
    Inner::new(TlsFailureKind::UnusableCertificate, format!("the certificate of {peer} cannot be used"), hint)
}

fn unusable(error: &CertificateError, peer: &Peer<'_>) -> Inner {
    let text = match error {
        CertificateError::Other(OtherError(cause)) => format!("the certificate of {peer} cannot be used: {cause}"),
        _ => format!("the certificate of {peer} cannot be used: {error}"),
    };
    Inner::new(
        TlsFailureKind::UnusableCertificate,
        text,
        "it has to be made anew, by an authority that follows RFC 5280",
    )
}

/// How many names a failure keeps. A certificate may have hundreds.
const NAMES: usize = 64;

/// How many names a text has.
const NAMES_SHOWN: usize = 8;
