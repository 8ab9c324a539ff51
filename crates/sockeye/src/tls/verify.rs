//! Whether a server is who it should be.

use std::error;
use std::fmt;
use std::sync::Arc;

use rustls::CertificateError;
use rustls::DigitallySignedStruct;
use rustls::Error;
use rustls::OtherError;
use rustls::RootCertStore;
use rustls::SignatureScheme;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::danger::ServerCertVerified;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::crypto::verify_tls12_signature;
use rustls::crypto::verify_tls13_signature;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::UnixTime;
use rustls::server::ParsedCertificate;
use webpki::EndEntityCert;

use super::certificate;
use super::choice;

/// The verifier of rustls, then the pins.
#[derive(Debug)]
pub(super) struct Verifier {
    /// `None` if nothing is verified but pins.
    pub(super) chain: Option<Arc<WebPkiServerVerifier>>,
    pub(super) roots: Arc<RootCertStore>,
    /// The certificates that the program gave as roots, without those of the system: each is trusted as a server's, too.
    pub(super) given: Vec<CertificateDer<'static>>,
    /// SHA-256 of public keys, one of which the server has to have, unless there are none.
    pub(super) pins: Vec<[u8; 32]>,
    pub(super) crypto: Arc<CryptoProvider>,
}

/// What the verifier of rustls does not tell apart, or does not know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Refusal {
    /// Subject and issuer are the same, and no root. It may have a key that was pinned, which is not enough.
    SelfSigned { pin: String, is_pinned: bool },
    /// None of the pins.
    WrongPin { pin: String },
    /// A signature was made with an RSA key that is too short.
    ShortKey { bits: usize },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SelfSigned { pin, .. } => write!(f, "self-signed, with the key {pin}"),
            Self::WrongPin { pin } => write!(f, "another key than the pinned one: {pin}"),
            Self::ShortKey { bits } => write!(f, "a key of RSA with {bits} bits"),
        }
    }
}

impl error::Error for Refusal {}

impl Verifier {
    fn pin(&self, certificate: &EndEntityCert<'_>) -> Option<[u8; 32]> {
        choice::sha256(&self.crypto, &certificate.subject_public_key_info())
    }

    /// Whether the program gave this very certificate, and all that is wrong with it is that no root issued it, or that it
    /// is a root. The verifier looks at the dates before it says so, and at the name after. Other clients take such a
    /// certificate too, and `openssl req -x509` makes them so.
    fn is_given(&self, error: &Error, end_entity: &CertificateDer<'_>) -> bool {
        is_without_issuer(error) && self.given.iter().any(|given| given == end_entity)
    }

    /// A self-signed certificate has no issuer to be unknown. A trusted one of the same name, such as the one before it, is not its
    /// issuer, though that is what its signature is tried with.
    fn explained(&self, error: Error, end_entity: &CertificateDer<'_>, issuers: &[CertificateDer<'_>]) -> Error {
        let error = of_short_key(error, std::iter::once(end_entity).chain(issuers).chain(&self.given));
        if !is_without_issuer(&error) && !is_of_another_key(&error) {
            return error;
        }
        let Ok(certificate) = EndEntityCert::try_from(end_entity) else { return error };
        let key = certificate.subject_public_key_info();
        let is_root = self.roots.roots.iter().any(|root| {
            // A trust anchor has its key without the header of the SEQUENCE (RFC 5280 section 4.1).
            *root.subject == *certificate.subject() && key.ends_with(&root.subject_public_key_info)
        });
        match self.pin(&certificate) {
            Some(sha256) if certificate.issuer() == certificate.subject() && !is_root => {
                let is_pinned = self.pins.contains(&sha256);
                refused(Refusal::SelfSigned { pin: certificate::pin(&sha256), is_pinned })
            }
            _ => error,
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(chain) = &self.chain {
            match chain.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
                Err(error) if self.is_given(&error, end_entity) => {
                    verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
                }
                Err(error) => return Err(self.explained(error, end_entity, intermediates)),
                Ok(_) => {}
            }
        }
        if !self.pins.is_empty() {
            let certificate = EndEntityCert::try_from(end_entity)
                .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
            let sha256 = self.pin(&certificate).ok_or_else(|| Error::General("no SHA-256".into()))?;
            if !self.pins.contains(&sha256) {
                return Err(refused(Refusal::WrongPin { pin: certificate::pin(&sha256) }));
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.crypto.signature_verification_algorithms)
            .map_err(|error| of_short_key(error, [certificate]))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.crypto.signature_verification_algorithms)
            .map_err(|error| of_short_key(error, [certificate]))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.crypto.signature_verification_algorithms.supported_schemes()
    }
}

/// No root vouches for it, or it is an authority's, which no root vouches for as a server's.
fn is_without_issuer(error: &Error) -> bool {
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => true,
        // `openssl req -x509` makes authorities by default.
        Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) => {
            matches!(cause.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
        }
        _ => false,
    }
}

/// A signature is not that of the key that it was tried with.
fn is_of_another_key(error: &Error) -> bool {
    let Error::InvalidCertificate(error) = error else { return false };
    matches!(
        error,
        CertificateError::BadSignature | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. }
    )
}

/// A signature with an RSA key of less than 2,048 bits is taken for a wrong one. This says which key that was.
fn of_short_key<'a>(error: Error, certificates: impl IntoIterator<Item = &'a CertificateDer<'a>>) -> Error {
    if !matches!(error, Error::InvalidCertificate(CertificateError::BadSignature)) {
        return error;
    }
    let bits = |der| certificate::rsa_bits(&EndEntityCert::try_from(der).ok()?.subject_public_key_info());
    let short = certificates.into_iter().filter_map(bits).find(|bits| *bits < LEAST_RSA);
    short.map_or(error, |bits| refused(Refusal::ShortKey { bits }))
}

/// What both providers verify.
const LEAST_RSA: usize = 2048;

fn refused(refusal: Refusal) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refusal))))
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    fn key(pem: &[u8]) -> Option<usize> {
        let der = CertificateDer::from_pem_slice(pem).unwrap();
        certificate::rsa_bits(&EndEntityCert::try_from(&der).unwrap().subject_public_key_info())
    }

    #[test]
    fn only_a_short_key_explains_a_wrong_signature() {
        let short = include_bytes!("tests/rsa-1024.pem");
        let other = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap().cert.pem();
        assert_eq!((key(short), key(other.as_bytes())), (Some(1024), None));
        let ders = [short, other.as_bytes()].map(|pem| CertificateDer::from_pem_slice(pem).unwrap());
        let wrong = || Error::InvalidCertificate(CertificateError::BadSignature);
        assert_eq!(of_short_key(wrong(), [&ders[1]]), wrong());
        let Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) = of_short_key(wrong(), &ders) else {
            panic!("it is not explained");
        };
        assert_eq!(cause.downcast_ref(), Some(&Refusal::ShortKey { bits: 1024 }));
        let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        assert_eq!(of_short_key(unknown.clone(), &ders), unknown);
    }
}
