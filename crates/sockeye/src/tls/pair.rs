//! A certificate and its key: whether they are fit for use, and for each other.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::InconsistentKeys;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use rustls::sign::SigningKey;
use sockeye_proto::http::date;
use webpki::EndEntityCert;

use super::certificate;
use super::certificate::Certificate;
use super::error::LoadError;
use super::error::LoadErrorKind;
use super::pem::Pem;

/// Where a certificate with its issuers is, and where its key.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) chain: Pem,
    pub(super) key: Pem,
}

pub(super) struct Loaded {
    pub(super) certified: Arc<CertifiedKey>,
    pub(super) certificate: Certificate,
    /// The file of the key, if the key is the one of before.
    pub(super) unreadable_key: Option<(Box<Path>, io::Error)>,
}

/// Reads both files. `before` is the key that was in use, for a process that may not read it any more.
pub(super) fn load(
    pair: &Pair,
    crypto: &CryptoProvider,
    before: Option<&Arc<dyn SigningKey>>,
) -> Result<Loaded, LoadError> {
    let chain = pair.chain.certificates()?;
    let (keys, unreadable_key) = match (pair.key.keys(), before) {
        (Ok(keys), _) => (usable(keys, pair, crypto)?, None),
        (Err(error), Some(before)) => {
            let refusal = error.io_error().map(|error| io::Error::new(error.kind(), error.to_string()));
            let (Some(refusal), Some(path)) = (refusal, error.path()) else { return Err(error) };
            (vec![before.clone()], Some((path.into(), refusal)))
        }
        (Err(error), None) => return Err(error),
    };
    let first = chain.first().ok_or_else(|| unusable(&pair.chain, 0, &webpki::Error::BadDer))?;
    let mut certificate = certificate::read(first, crypto).map_err(|error| unusable(&pair.chain, 0, &error))?;
    is_in_time(&certificate, &pair.chain, SystemTime::now())?;
    let key = fitting(&keys, &chain, pair, unreadable_key.is_some())?;
    is_in_order(&chain, &pair.chain)?;
    certificate.path = pair.chain.path().map(Into::into);
    Ok(Loaded { certified: Arc::new(CertifiedKey::new(chain, key)), certificate, unreadable_key })
}

fn usable(
    keys: Vec<rustls::pki_types::PrivateKeyDer<'static>>,
    pair: &Pair,
    crypto: &CryptoProvider,
) -> Result<Vec<Arc<dyn SigningKey>>, LoadError> {
    let usable: Result<Vec<_>, _> = keys.into_iter().map(|key| crypto.key_provider.load_private_key(key)).collect();
    usable.map_err(|error| {
        let text = "has a private key that is damaged or of a kind that is not supported: use ECDSA with P-256 or P-384, Ed25519, or \
                    RSA from 2,048 bits on";
        LoadError::new(LoadErrorKind::UnusableKey, pair.key.path(), text).because(error)
    })
}

/// The key of the first certificate.
fn fitting(
    keys: &[Arc<dyn SigningKey>],
    chain: &[CertificateDer<'static>],
    pair: &Pair,
    is_of_before: bool,
) -> Result<Arc<dyn SigningKey>, LoadError> {
    let fits = |key: &Arc<dyn SigningKey>, certificate: &CertificateDer<'static>| {
        let verdict = CertifiedKey::new(vec![certificate.clone()], key.clone()).keys_match();
        // A provider that does not know is not asked twice: the handshake would fail.
        matches!(verdict, Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)))
    };
    if let Some(key) = chain.first().and_then(|first| keys.iter().find(|key| fits(key, first))) {
        return Ok(key.clone());
    }
    let other = chain.iter().position(|certificate| keys.iter().any(|key| fits(key, certificate)));
    if let Some(index) = other {
        let text = format!(
            "begins with another certificate than that of the key, which is number {}: put that first, then its issuer, \
             and so on",
            index + 1
        );
        return Err(LoadError::new(LoadErrorKind::WrongOrder, pair.chain.path(), text));
    }
    let chain = pair.chain.path().map_or_else(|| "the certificate".into(), |path| path.display().to_string());
    let text = if is_of_before {
        format!(
            "cannot be read any more, and the key that it had is not that of {chain}: restart, or let this process read it"
        )
    } else {
        format!("is not the key of {chain}: one of the two is of another pair")
    };
    Err(LoadError::new(LoadErrorKind::KeyMismatch, pair.key.path(), text))
}

/// Each certificate has to be followed by that of its issuer. TLS 1.3 asks clients to sort them, and not all do.
fn is_in_order(chain: &[CertificateDer<'static>], pem: &Pem) -> Result<(), LoadError> {
    for (index, two) in chain.windows(2).enumerate() {
        let [one, next] = two else { continue };
        let one = EndEntityCert::try_from(one).map_err(|error| unusable(pem, index, &error))?;
        let next = EndEntityCert::try_from(next).map_err(|error| unusable(pem, index + 1, &error))?;
        // RFC 8446 section 4.4.2: "Each following certificate SHOULD directly certify the one immediately preceding it."
        if one.issuer() != next.subject() {
            let (number, following) = (index + 1, index + 2);
            let text = format!(
                "is not in order: certificate {following} is not the issuer of certificate {number}; each has to be followed \
                 by its issuer, and nothing else belongs there"
            );
            return Err(LoadError::new(LoadErrorKind::WrongOrder, pem.path(), text));
        }
    }
    Ok(())
}

fn is_in_time(certificate: &Certificate, pem: &Pem, now: SystemTime) -> Result<(), LoadError> {
    if certificate.not_after < now {
        let text = format!("has a certificate that expired on {}: renew it", when(certificate.not_after));
        return Err(LoadError::new(LoadErrorKind::Expired, pem.path(), text));
    }
    if now < certificate.not_before {
        let (from, now) = (when(certificate.not_before), when(now));
        let text = format!("has a certificate that is valid from {from} on, and it is {now}: is the clock right?");
        return Err(LoadError::new(LoadErrorKind::NotYetValid, pem.path(), text));
    }
    Ok(())
}

fn unusable(pem: &Pem, index: usize, error: &webpki::Error) -> LoadError {
    let hint = match error {
        webpki::Error::UnsupportedCertVersion => {
            "it is of X.509 version 1, and clients want 3: make it with extensions"
        }
        _ => "make it anew",
    };
    let text = format!("has a certificate that cannot be used, number {}: {error}; {hint}", index + 1);
    LoadError::new(LoadErrorKind::UnusableCertificate, pem.path(), text).because(error.clone())
}

/// A time as headers have it: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(super) fn when(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    String::from_utf8_lossy(&date::format(seconds)).into_owned()
}
