//! Who a peer is, by its certificate.

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;

use super::certificate;
use super::certificate::Certificate;

/// Who a peer is, by the certificate that it showed. It was verified, unless the program verifies nothing.
///
/// It has two to four kilobytes. A program that wants to know a peer later keeps what it needs, such as a name.
#[derive(Clone, Debug)]
pub struct PeerIdentity {
    chain: Vec<CertificateDer<'static>>,
    certificate: Certificate,
}

impl PeerIdentity {
    /// What a verified chain says. `None` if it is empty or no certificate, which the verifier has excluded.
    pub(crate) fn new(chain: &[CertificateDer<'_>], crypto: &CryptoProvider) -> Option<Self> {
        let certificate = certificate::read(chain.first()?, crypto).ok()?;
        Some(Self { chain: chain.iter().map(|one| one.clone().into_owned()).collect(), certificate })
    }

    /// What its certificate says.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The certificates as they were sent, in DER: its own, then those of issuers.
    pub fn chain(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.chain.iter().map(|one| &**one)
    }
}
