//! Which cryptography, and which versions.

use std::fmt;
use std::sync::Arc;

use rustls::SupportedCipherSuite;
use rustls::SupportedProtocolVersion;
use rustls::crypto::CryptoProvider;
use rustls::crypto::hash::HashAlgorithm;
use rustls::server::ProducesTickets;

/// Whose cryptography is used. Each is there with a Cargo feature of its own.
///
/// It has to be named: what a program gets does not change because another crate of it wants another feature. Nothing is
/// installed for the whole process.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Provider {
    /// aws-lc-rs, with the feature `tls-aws-lc`: the post-quantum key exchange X25519MLKEM768 is preferred, and RSA keys cost half as
    /// much as with ring. It is made from C and assembler, which takes a compiler and a minute to build.
    #[cfg(feature = "tls-aws-lc")]
    AwsLc,
    /// ring, with the feature `tls-ring`: small, soon built, without post-quantum key exchange.
    #[cfg(feature = "tls-ring")]
    Ring,
}

impl Provider {
    /// The algorithms, ready for use: a provider may need 0.1 s to gather entropy for its first random bytes, which a loop must
    /// not wait for.
    pub(super) fn crypto(self) -> Arc<CryptoProvider> {
        let crypto = match self {
            #[cfg(feature = "tls-aws-lc")]
            Self::AwsLc => rustls::crypto::aws_lc_rs::default_provider(),
            #[cfg(feature = "tls-ring")]
            Self::Ring => rustls::crypto::ring::default_provider(),
        };
        // A failure is reported by the handshake that needs them.
        let _ = crypto.secure_random.fill(&mut [0]);
        Arc::new(crypto)
    }

    /// What seals tickets. Its key is replaced every six hours, and the one before it opens tickets for six hours more.
    pub(super) fn ticketer(self) -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
        match self {
            #[cfg(feature = "tls-aws-lc")]
            Self::AwsLc => rustls::crypto::aws_lc_rs::Ticketer::new(),
            #[cfg(feature = "tls-ring")]
            Self::Ring => rustls::crypto::ring::Ticketer::new(),
        }
    }
}

/// A version of TLS. Older ones are not supported.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2, RFC 5246.
    Tls12,
    /// TLS 1.3, RFC 8446.
    Tls13,
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls12 => "TLS 1.2",
            Self::Tls13 => "TLS 1.3",
        })
    }
}

impl TlsVersion {
    /// This version, and all later ones.
    pub(super) fn and_later(self) -> &'static [&'static SupportedProtocolVersion] {
        static NEWEST_FIRST: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];
        match self {
            Self::Tls12 => &NEWEST_FIRST,
            Self::Tls13 => &NEWEST_FIRST[..1],
        }
    }
}

/// What is spoken above TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Above {
    /// HTTP, which ALPN names.
    Http,
    /// A protocol of the program's own, for which there is no name.
    Raw,
}

/// SHA-256 by the provider's own code, which every cipher suite brings along. `None` if the provider has no suite with it.
pub(super) fn sha256(crypto: &CryptoProvider, bytes: &[u8]) -> Option<[u8; 32]> {
    let hash = crypto.cipher_suites.iter().find_map(|suite| {
        let common = match suite {
            SupportedCipherSuite::Tls12(suite) => &suite.common,
            SupportedCipherSuite::Tls13(suite) => &suite.common,
        };
        (common.hash_provider.algorithm() == HashAlgorithm::SHA256).then_some(common.hash_provider)
    })?;
    hash.hash(bytes).as_ref().try_into().ok()
}
