//! What failures say to people: no dump of the library beneath, and something that can be done.

use rustls::CertificateError;
use rustls::Error;

use super::*;
use crate::tls::TlsFailureKind;

fn of_server(error: CertificateError) -> TlsFailure {
    TlsFailure::from_client(&Error::InvalidCertificate(error), "a.example")
}

#[test]
fn a_signature_of_an_old_kind_is_said_in_words() {
    let supported_algorithms = PROVIDER.crypto().signature_verification_algorithms.all;
    let failure = of_server(CertificateError::UnsupportedSignatureAlgorithmContext {
        signature_algorithm_id: vec![6, 9, 42, 134, 72, 134, 247, 13, 1, 1, 5],
        supported_algorithms: supported_algorithms.iter().map(|algorithm| algorithm.signature_alg_id()).collect(),
    });
    assert_eq!(failure.kind(), TlsFailureKind::UnusableCertificate);
    assert!(failure.to_string().contains("SHA-1 is not"), "{failure}");
    assert!(!failure.to_string().contains(['[', '{']), "{failure}");
}

#[test]
fn a_certificate_without_names_needs_one() {
    let failure = of_server(CertificateError::NotValidForName);
    assert_eq!(failure.kind(), TlsFailureKind::WrongName);
    assert!(failure.to_string().contains("has no names: have it issued for this one, as subjectAltName"), "{failure}");
}

/// Some libraries send such a hello if they are told to speak TLS 1.1 at most.
#[test]
fn a_hello_of_tls_1_1_is_about_the_version() {
    let hello = [&[3, 2][..], &[7; 32], &[0, 0, 2, 0xc0, 0x13, 1, 0, 0, 8, 0, 10, 0, 4, 0, 2, 0, 23]].concat();
    let length = u8::try_from(hello.len()).unwrap();
    let record = [&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &hello].concat();
    let tls = try_server(&Authority::new("root").issue(&["a.example"])).unwrap();
    let mut server = ServerConnection::new(tls.current(Above::Http)).unwrap();
    server.read_tls(&mut &*record).unwrap();
    let failure = TlsFailure::from_server(&server.process_new_packets().unwrap_err());
    assert_eq!(failure.kind(), TlsFailureKind::NoCommonVersion, "{failure}");
    assert!(failure.to_string().contains("names no signature algorithms"), "{failure}");
    assert!(failure.hint().contains("TLS 1.0 and 1.1 are not supported"), "{failure}");
}
