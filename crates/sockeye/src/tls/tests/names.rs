//! Which of several certificates a client gets.

use rcgen::KeyPair;
use rcgen::PKCS_ED25519;

use super::*;

/// The certificate that a client gets that asks for `name`, by its place in `sets`. The client does not care what is in it.
fn chosen(sets: &[&[&str]], name: &str) -> usize {
    let authority = Authority::new("root");
    let issued: Vec<_> = sets.iter().map(|names| authority.issue(names)).collect();
    let mut builder = ServerTls::builder(PROVIDER);
    for issued in &issued {
        let (chain, key) = issued.pems();
        builder = builder.certificate(chain, key);
    }
    let client = ClientTls::builder(PROVIDER).dangerous_verify_nothing().build().unwrap();
    let (_, client) = handshake(&builder.build().unwrap(), &client, name).connections();
    let shown = &client.peer_certificates().unwrap()[0];
    let is_shown = |issued: &Issued| issued.pems().0.certificates().unwrap()[0] == *shown;
    issued.iter().position(is_shown).unwrap()
}

#[test]
fn exact_names_go_before_wildcards() {
    let sets: [&[&str]; 4] =
        [&["default.example"], &["*.a.example"], &["x.a.example", "B.example"], &["*.x.a.example"]];
    let cases = [
        ("x.a.example", 2),
        ("X.A.Example", 2),
        ("y.a.example", 1),
        ("xn--bcher-kva.a.example", 1),
        ("y.x.a.example", 3),
        // One label and no more, and not none.
        ("a.example", 0),
        ("z.y.a.example", 0),
        ("z.y.x.a.example", 0),
        ("b.example", 2),
        ("c.b.example", 0),
        ("xa.example", 0),
        ("default.example", 0),
        ("unknown.example", 0),
        ("example", 0),
        // No name is asked for with an address.
        ("192.0.2.1", 0),
    ];
    for (name, expected) in cases {
        assert_eq!(chosen(&sets, name), expected, "{name}");
    }
}

#[test]
fn certificates_without_names_can_be_the_default() {
    assert_eq!(chosen(&[&[], &["b.example"]], "a.example"), 0);
    assert_eq!(chosen(&[&[], &["b.example"]], "b.example"), 1);
    assert_eq!(chosen(&[&["192.0.2.1"], &["b.example"]], "192.0.2.1"), 0);
}

/// TLS 1.2 clients from before Ed25519 get the other certificate of the name.
#[test]
fn the_kind_of_key_is_one_that_the_client_understands() {
    let authority = Authority::new("root");
    let ed = authority.issue_for(&KeyPair::generate_for(&PKCS_ED25519).unwrap(), &["a.example"], |_| ());
    let ec = authority.issue(&["a.example"]);
    let (chain, key) = ec.pems();
    let server = server(&ed).certificate(chain, key).build().unwrap();
    let resolved = |schemes: &[rustls::SignatureScheme]| {
        let mut names = super::super::names::Names::default();
        for (issued, certificate) in [&ed, &ec].iter().zip(server.certificates().iter()) {
            let provider = PROVIDER.crypto();
            let key = provider.key_provider.load_private_key(issued.pems().1.keys().unwrap().remove(0)).unwrap();
            let certified = rustls::sign::CertifiedKey::new(issued.pems().0.certificates().unwrap(), key);
            names.add(certified.into(), certificate.names());
        }
        let by_name = names.choose(Some("a.example"), schemes).unwrap().key.algorithm();
        let by_default = names.choose(None, schemes).unwrap().key.algorithm();
        assert_eq!(by_name, by_default);
        by_name
    };
    use rustls::SignatureAlgorithm as Algorithm;
    use rustls::SignatureScheme as Scheme;
    assert_eq!(resolved(&[Scheme::ECDSA_NISTP256_SHA256]), Algorithm::ECDSA);
    assert_eq!(resolved(&[Scheme::ECDSA_NISTP256_SHA256, Scheme::ED25519]), Algorithm::ED25519);
    // None of both: the handshake fails with the first, and with a clear alert.
    assert_eq!(resolved(&[Scheme::RSA_PSS_SHA256]), Algorithm::ED25519);
}
