//! What a certificate says. Everything is read by the code that verifies certificates, so what is shown here is what peers
//! are held to. It has no getters for dates and addresses; its errors have them, and so it is asked questions that must fail.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;
use std::time::SystemTime;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::AlgorithmIdentifier;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::UnixTime;
use rustls::pki_types::alg_id;
use webpki::EndEntityCert;
use webpki::KeyUsage;

use super::choice;
use super::subject;

/// What a certificate says: whose it is, and how long it is valid.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub(super) path: Option<Box<Path>>,
    pub(super) subject: Box<str>,
    pub(super) names: Vec<SubjectName>,
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
    pub(super) public_key_sha256: [u8; 32],
    pub(super) has_rsa_key: bool,
    pub(super) is_self_issued: bool,
}

/// A name of the subject of a certificate, by its extension `subjectAltName` (RFC 5280 section 4.2.1.6). The common name is
/// not one: RFC 9525 section 2 takes it from the list of names. What a peer sent is unchanged, in `Display` too.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum SubjectName {
    /// A host, or `*.` and a domain.
    Dns(Box<str>),
    /// An address.
    Ip(IpAddr),
    /// A URI, as those of workloads (SPIFFE).
    Uri(Box<str>),
}

impl fmt::Display for SubjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) | Self::Uri(name) => f.write_str(name),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

impl Certificate {
    /// The file that it came from, if it did.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The distinguished name of its subject as RFC 4514 writes it, such as `CN=alice,O=Example`; empty if it has none. Control
    /// characters in it are unchanged. A server is not known by it but by [`names`](Self::names); a client often is.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Whose it is.
    pub fn names(&self) -> &[SubjectName] {
        &self.names
    }

    /// From when on it is valid.
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// How long it is valid. A gauge of it, and an alarm some days before, are what keeps a service reachable.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// The SHA-256 of its public key (of `SubjectPublicKeyInfo`), which stays when the certificate is renewed with the same key.
    pub fn public_key_sha256(&self) -> &[u8; 32] {
        &self.public_key_sha256
    }

    /// The same as a pin, `sha256//` and base64, which [`ClientTlsBuilder::pin`](super::ClientTlsBuilder::pin) and curl's
    /// `--pinnedpubkey` take.
    pub fn pin(&self) -> String {
        pin(&self.public_key_sha256)
    }

    /// Whether the key is RSA. A handshake with one costs the server three to seven times as much as one with ECDSA.
    pub fn has_rsa_key(&self) -> bool {
        self.has_rsa_key
    }

    /// Whether its subject and its issuer are the same, as in a self-signed one. Only clients that were given it trust it.
    pub fn is_self_issued(&self) -> bool {
        self.is_self_issued
    }
}

pub(super) fn pin(sha256: &[u8; 32]) -> String {
    format!("sha256//{}", BASE64_STANDARD.encode(sha256))
}

/// What can be known without the key. Errors are those of the verifier.
pub(super) fn read(der: &CertificateDer<'_>, crypto: &CryptoProvider) -> Result<Certificate, webpki::Error> {
    let parsed = EndEntityCert::try_from(der)?;
    let (not_before, not_after) = validity(&parsed)?;
    let key = parsed.subject_public_key_info();
    Ok(Certificate {
        path: None,
        subject: subject::text(parsed.subject()).into(),
        names: names(&parsed),
        not_before,
        not_after,
        // Every provider has a suite with SHA-256: TLS 1.3 requires one (RFC 8446 section 9.1).
        public_key_sha256: choice::sha256(crypto, &key).unwrap_or_default(),
        // The algorithm is the first field.
        has_rsa_key: key.windows(RSA.len()).take(8).any(|window| window == &*RSA),
        is_self_issued: parsed.issuer() == parsed.subject(),
    })
}

/// The verifier says when a certificate began and ended if it is asked about the time before and after.
fn validity(certificate: &EndEntityCert<'_>) -> Result<(SystemTime, SystemTime), webpki::Error> {
    let verdict_at = |seconds| {
        let at = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        certificate.verify_for_usage(&[], &[], &[], at, KeyUsage::server_auth(), None, None).err()
    };
    let not_before = match verdict_at(0) {
        Some(webpki::Error::CertNotValidYet { not_before, .. }) => not_before.as_secs(),
        Some(error @ (webpki::Error::BadDerTime | webpki::Error::BadDer | webpki::Error::InvalidCertValidity)) => {
            return Err(error);
        }
        // It is older than the epoch.
        _ => 0,
    };
    let not_after = match verdict_at(END_OF_TIME) {
        Some(webpki::Error::CertExpired { not_after, .. }) => not_after.as_secs(),
        Some(error) => return Err(error),
        None => END_OF_TIME,
    };
    Ok((time(not_before), time(not_after)))
}

/// Addresses are named by the verifier only when it looks for one that is not there; the texts are `IpAddress(192.0.2.1)`.
pub(super) fn names(certificate: &EndEntityCert<'_>) -> Vec<SubjectName> {
    let mut names: Vec<_> = certificate.valid_dns_names().map(|name| SubjectName::Dns(name.into())).collect();
    let addresses = match certificate.verify_is_valid_for_subject_name(&ServerName::IpAddress(NO_ADDRESS.into())) {
        Err(webpki::Error::CertNotValidForName(context)) => context.presented,
        _ => Vec::new(),
    };
    names.extend(addresses.iter().filter_map(|name| match presented(name) {
        Some(name @ SubjectName::Ip(_)) => Some(name),
        _ => None,
    }));
    names.extend(certificate.valid_uri_names().map(|name| SubjectName::Uri(name.into())));
    names
}

/// A name as the verifier prints it.
pub(super) fn presented(text: &str) -> Option<SubjectName> {
    let (kind, rest) = text.split_once('(')?;
    let value = rest.strip_suffix(')')?;
    let quoted = || Some(value.strip_prefix('"')?.strip_suffix('"')?.into());
    match kind {
        "DnsName" => Some(SubjectName::Dns(quoted()?)),
        "UniformResourceIdentifier" => Some(SubjectName::Uri(quoted()?)),
        // It leaves the `::` out if all that follows is zero.
        "IpAddress" => value.parse().or_else(|_| format!("{value}::").parse()).ok().map(SubjectName::Ip),
        _ => None,
    }
}

pub(super) fn time(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.min(END_OF_TIME))
}

/// How many bits an RSA key has, of a `SubjectPublicKeyInfo` (RFC 5280 section 4.1). `None`: it is another kind of key.
pub(super) fn rsa_bits(mut key: &[u8]) -> Option<usize> {
    let mut info = subject::take(&mut key)?.content;
    let algorithm = subject::take(&mut info)?.content;
    if !algorithm.starts_with(&RSA) {
        return None;
    }
    // A bit string says first how many bits of its last byte are not used. Here all are.
    let (_, mut bits) = subject::take(&mut info)?.content.split_first()?;
    let mut key = subject::take(&mut bits)?.content;
    let modulus = subject::take(&mut key)?.content;
    let start = modulus.iter().position(|byte| *byte != 0)?;
    // A certificate is shorter than 64 KiB.
    Some((modulus.len() - start) * 8 - modulus[start].leading_zeros() as usize)
}

/// What the algorithm of an RSA key is called.
const RSA: AlgorithmIdentifier = alg_id::RSA_ENCRYPTION;

/// An address that no certificate is for: "this host on this network".
const NO_ADDRESS: std::net::Ipv4Addr = std::net::Ipv4Addr::UNSPECIFIED;

/// The first second of the year 10000, which is after all times that a certificate can name (RFC 5280 section 4.1.2.5).
const END_OF_TIME: u64 = 253_402_300_800;
