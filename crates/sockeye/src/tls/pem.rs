//! Where certificates and keys come from. Files are read when they are needed, again for each reload, and never whole if they are
//! longer than such files can be.

use std::fmt;
use std::fs::File;
use std::io;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::pem::SectionKind;

use super::error::LoadError;
use super::error::LoadErrorKind;

/// A PEM file, or its content. What else is in it, such as a key beside certificates or text between them, is skipped.
#[derive(Clone)]
pub struct Pem(Source);

#[derive(Clone)]
enum Source {
    File(Arc<Path>),
    Bytes(Arc<[u8]>),
}

impl Pem {
    /// A file, which is read when this is used, and again by each reload.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File(path.into().into()))
    }

    /// The content of such a file.
    pub fn bytes(content: impl Into<Vec<u8>>) -> Self {
        Self(Source::Bytes(content.into().into()))
    }

    /// The file, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Source::File(path) => Some(path),
            Source::Bytes(_) => None,
        }
    }

    /// All certificates, in their order; at least one.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, LoadError> {
        let (found, others): (Vec<_>, Vec<_>) =
            self.sections(CERTIFICATES_BYTES)?.into_iter().partition(|(kind, _)| *kind == SectionKind::Certificate);
        if found.is_empty() {
            let text = if others.iter().any(|(kind, _)| is_key(*kind)) {
                "has a private key, and no certificate: are the files of the two swapped?"
            } else if others.iter().any(|(kind, _)| *kind == SectionKind::Csr) {
                "has a request for a certificate: send it to an authority, and use the certificate that it issues"
            } else {
                "has no certificate: a block that begins with -----BEGIN CERTIFICATE----- is needed"
            };
            return Err(LoadError::new(LoadErrorKind::NoCertificate, self.path(), text));
        }
        Ok(found.into_iter().map(|(_, der)| CertificateDer::from(der)).collect())
    }

    /// All private keys, in their order; at least one.
    pub(super) fn keys(&self) -> Result<Vec<PrivateKeyDer<'static>>, LoadError> {
        let found = self.sections(CERTIFICATES_BYTES)?.into_iter();
        let found: Vec<_> = found.filter_map(|(kind, der)| PrivateKeyDer::from_pem(kind, der)).collect();
        if found.is_empty() {
            let text = "has no private key: a block that begins with -----BEGIN PRIVATE KEY-----, \
                        -----BEGIN RSA PRIVATE KEY----- or -----BEGIN EC PRIVATE KEY----- is needed";
            return Err(LoadError::new(LoadErrorKind::NoKey, self.path(), text));
        }
        Ok(found)
    }

    /// All revocation lists; at least one.
    pub(super) fn revocations(&self) -> Result<Vec<CertificateRevocationListDer<'static>>, LoadError> {
        let found = self.sections(REVOCATIONS_BYTES)?.into_iter();
        let found: Vec<_> = found.filter_map(|(kind, der)| CertificateRevocationListDer::from_pem(kind, der)).collect();
        if found.is_empty() {
            let text = "has no revocation list: a block that begins with -----BEGIN X509 CRL----- is needed";
            return Err(LoadError::new(LoadErrorKind::UnusableRevocations, self.path(), text));
        }
        Ok(found)
    }

    fn sections(&self, limit: u64) -> Result<Vec<(SectionKind, Vec<u8>)>, LoadError> {
        let read;
        let content: &[u8] = match &self.0 {
            Source::Bytes(content) => content,
            Source::File(path) => {
                read = self.read(path, limit)?;
                &read
            }
        };
        if content.trim_ascii().is_empty() {
            return Err(LoadError::new(LoadErrorKind::NotPem, self.path(), "is empty, and should be PEM"));
        }
        // An encrypted key is a block of its own kind, or one of a usual kind with this header (RFC 1421).
        if contains(content, b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || contains(content, b"Proc-Type: 4,ENCRYPTED") {
            let text = "has an encrypted private key, and a server that starts by itself cannot ask for its passphrase: \
                        decrypt it (openssl pkey -in ENCRYPTED -out KEY) and let only its owner read it";
            return Err(LoadError::new(LoadErrorKind::EncryptedKey, self.path(), text));
        }
        let sections: Result<Vec<_>, _> = PemObject::pem_slice_iter(content).collect();
        let sections: Vec<(SectionKind, Vec<u8>)> = sections.map_err(|error| {
            let text = format!("is damaged: {error}; write it anew");
            LoadError::new(LoadErrorKind::NotPem, self.path(), text).because(error)
        })?;
        if sections.is_empty() && !contains(content, b"-----BEGIN ") {
            return Err(LoadError::new(LoadErrorKind::NotPem, self.path(), no_pem(content)));
        }
        Ok(sections)
    }

    fn read(&self, path: &Path, limit: u64) -> Result<Vec<u8>, LoadError> {
        let refused = |error: io::Error| {
            let text = match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    format!("cannot be read: {error}; let the user of this process read it")
                }
                io::ErrorKind::IsADirectory => format!("cannot be read: {error}; name the file in it"),
                _ => format!("cannot be read: {error}"),
            };
            LoadError::new(LoadErrorKind::Unreadable, self.path(), text).because(error)
        };
        let mut content = Vec::new();
        File::open(path).map_err(refused)?.take(limit + 1).read_to_end(&mut content).map_err(refused)?;
        if content.len() as u64 > limit {
            let text = format!("is longer than {limit} bytes, which no such file is: is it the right one?");
            return Err(LoadError::new(LoadErrorKind::TooLong, self.path(), text));
        }
        Ok(content)
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::File(path) => f.debug_tuple("File").field(path).finish(),
            // It may hold a key.
            Source::Bytes(content) => write!(f, "Bytes(<{} bytes>)", content.len()),
        }
    }
}

fn is_key(kind: SectionKind) -> bool {
    matches!(kind, SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey)
}

/// What a file is that has no PEM in it.
fn no_pem(content: &[u8]) -> &'static str {
    // A DER certificate or key is a SEQUENCE with a length of two bytes, for it is longer than 255. PKCS #12 is one too.
    if content.starts_with(&[0x30, 0x82]) || content.starts_with(&[0x30, 0x81]) {
        "is DER, and PEM is needed: openssl x509 -inform DER (a certificate), openssl pkey -inform DER (a key) or \
         openssl pkcs12 -nodes (both) convert it"
    } else {
        "is not PEM: no line begins with -----BEGIN"
    }
}

fn contains(content: &[u8], wanted: &[u8]) -> bool {
    // Lines begin blocks and headers.
    content.split(|byte| matches!(byte, b'\n' | b'\r')).any(|line| line.starts_with(wanted))
}

/// The longest file with certificates or keys: the roots of all systems together are a quarter of it.
const CERTIFICATES_BYTES: u64 = 4 << 20;

/// The longest file with revocation lists. Some authorities publish lists of tens of megabytes.
const REVOCATIONS_BYTES: u64 = 256 << 20;
