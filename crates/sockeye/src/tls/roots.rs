//! Whom we trust.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use super::error::LoadError;
use super::error::LoadErrorKind;
use super::pem::Pem;

/// Adds all certificates of a file, and returns them. Each has to be usable: a root that is left out is a failure later, where it
/// cannot be understood.
pub(super) fn add(roots: &mut RootCertStore, pem: &Pem) -> Result<Vec<CertificateDer<'static>>, LoadError> {
    let certificates = pem.certificates()?;
    for (index, certificate) in certificates.iter().enumerate() {
        roots.add(certificate.clone()).map_err(|error| {
            let text = format!("has a certificate that cannot be a root, number {}: {error}", index + 1);
            LoadError::new(LoadErrorKind::UnusableCertificate, pem.path(), text).because(error)
        })?;
    }
    Ok(certificates)
}

/// What rustls refuses whichever files there are.
pub(super) fn refused(error: rustls::Error) -> LoadError {
    LoadError::configuration(LoadErrorKind::Configuration, format!("the provider cannot do this: {error}"))
        .because(error)
}

/// Adds the roots of the system. Those that are unusable are left out: they are not ours to mend.
#[cfg(feature = "client")]
pub(super) fn add_system(roots: &mut RootCertStore) -> Result<(), LoadError> {
    let found = rustls_native_certs::load_native_certs();
    let (added, left_out) = roots.add_parsable_certificates(found.certs);
    tracing::debug!(added, left_out, "roots of the system");
    if added == 0 {
        let reason = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        let text = format!(
            "the system has no root certificates{reason}: install them (on Debian, the package ca-certificates), name a file \
             with SSL_CERT_FILE, or give roots"
        );
        return Err(LoadError::configuration(LoadErrorKind::NoRoots, text));
    }
    Ok(())
}
