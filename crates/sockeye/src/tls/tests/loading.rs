//! What files may be wrong with, and what is said of each.

use std::fs;
use std::fs::File;
use std::os::unix::fs::symlink;

use rcgen::KeyPair;
use rcgen::PKCS_ED25519;
use rcgen::PKCS_RSA_SHA256;
use rcgen::date_time_ymd;

use super::*;
use crate::tls::LoadErrorKind;
use crate::tls::SubjectName;

const RSA: &str = include_str!("rsa-pkcs8.pem");
const RSA_PKCS1: &str = include_str!("rsa-pkcs1.pem");
const EC: &str = include_str!("ec-pkcs8.pem");
const EC_SEC1: &str = include_str!("ec-sec1.pem");
const ENCRYPTED_PKCS8: &str = include_str!("encrypted-pkcs8.pem");
const ENCRYPTED_PKCS1: &str = include_str!("encrypted-pkcs1.pem");
const CRL_VERSION_1: &str = include_str!("crl-version-1.pem");

fn refusal(chain: Pem, key: Pem) -> LoadError {
    ServerTls::builder(PROVIDER).certificate(chain, key).build().unwrap_err()
}

#[track_caller]
fn assert_refused(chain: Pem, key: Pem, kind: LoadErrorKind, text: &str) {
    let error = refusal(chain, key);
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(text), "{error}");
}

/// The key of a file of ours, whatever text is before it.
fn key_pair(pem: &str) -> KeyPair {
    let algorithm = if pem == RSA { &PKCS_RSA_SHA256 } else { &rcgen::PKCS_ECDSA_P256_SHA256 };
    KeyPair::from_pkcs8_pem_and_sign_algo(&pem[pem.find("-----").unwrap()..], algorithm).unwrap()
}

#[test]
fn keys_of_every_kind_are_read() {
    let authority = Authority::new("root");
    let rsa = authority.issue_for(&key_pair(RSA), &["a.example"], |_| ());
    let ec = authority.issue_for(&key_pair(EC), &["a.example"], |_| ());
    let ed = authority.issue_for(&KeyPair::generate_for(&PKCS_ED25519).unwrap(), &["a.example"], |_| ());
    let cases = [(&rsa, RSA), (&rsa, RSA_PKCS1), (&ec, EC), (&ec, EC_SEC1), (&ed, &ed.key)];
    for (issued, key) in cases {
        let tls = try_server(&Issued { chain: issued.chain.clone(), key: key.to_owned() }).unwrap();
        assert_eq!(tls.certificates()[0].has_rsa_key(), issued.chain == rsa.chain);
        handshake(&tls, &client(&authority).build().unwrap(), "a.example").connections();
    }
}

#[test]
fn encrypted_keys_are_refused_by_name() {
    let issued = Authority::new("root").issue(&["a.example"]);
    for key in [ENCRYPTED_PKCS8, ENCRYPTED_PKCS1] {
        let text = "has an encrypted private key";
        assert_refused(issued.pems().0, Pem::bytes(key), LoadErrorKind::EncryptedKey, text);
    }
}

#[test]
fn a_key_and_its_certificate_may_be_in_one_file() {
    let issued = Authority::new("root").issue(&["a.example"]);
    let both = Pem::bytes(format!("Subject: a\n{}\r\n{}", issued.key, issued.chain));
    ServerTls::builder(PROVIDER).certificate(both.clone(), both).build().unwrap();
}

#[test]
fn of_several_keys_the_one_that_fits_is_taken() {
    let issued = Authority::new("root").issue(&["a.example"]);
    let keys = Pem::bytes(format!("{RSA}\n{}", issued.key));
    ServerTls::builder(PROVIDER).certificate(issued.pems().0, keys).build().unwrap();
}

#[test]
fn a_key_that_does_not_fit_is_refused() {
    let issued = Authority::new("root").issue(&["a.example"]);
    let folder = Folder::new();
    let (chain, key) = (folder.write("cert.pem", &issued.chain), folder.write("key.pem", RSA));
    let error = refusal(chain.clone(), key.clone());
    assert_eq!((error.kind(), error.path()), (LoadErrorKind::KeyMismatch, key.path()));
    let text = format!("{}: is not the key of {}", key.path().unwrap().display(), chain.path().unwrap().display());
    assert!(error.to_string().starts_with(&text), "{error}");
}

#[test]
fn chains_in_the_wrong_order_are_noticed() {
    let root = Authority::new("root");
    let intermediate = root.intermediate("intermediate");
    let leaf = intermediate.issue(&["a.example"]);
    try_server(&leaf.followed_by(&intermediate)).unwrap();
    try_server(&leaf.followed_by(&intermediate).followed_by(&root)).unwrap();
    let key = || Pem::bytes(leaf.key.clone());
    let first_is_last = Pem::bytes(format!("{}{}", intermediate.pem, leaf.chain));
    assert_refused(
        first_is_last,
        key(),
        LoadErrorKind::WrongOrder,
        "that of the key, which is number 2: put that first",
    );
    let swapped = Pem::bytes(format!("{}{}{}", leaf.chain, root.pem, intermediate.pem));
    assert_refused(swapped, key(), LoadErrorKind::WrongOrder, "certificate 2 is not the issuer of certificate 1");
}

#[test]
fn certificates_out_of_time_are_refused() {
    let authority = Authority::new("root");
    let expired = authority.issue_with(&["a.example"], |params| params.not_after = date_time_ymd(2020, 2, 29));
    let (chain, key) = expired.pems();
    assert_refused(chain, key, LoadErrorKind::Expired, "expired on Sat, 29 Feb 2020 00:00:00 GMT: renew it");
    let future = authority.issue_with(&["a.example"], |params| params.not_before = date_time_ymd(2999, 1, 1));
    let (chain, key) = future.pems();
    assert_refused(chain, key, LoadErrorKind::NotYetValid, "valid from Tue, 01 Jan 2999 00:00:00 GMT on");
}

#[test]
fn what_is_no_pem_is_said() {
    let issued = Authority::new("root").issue(&["a.example"]);
    let (chain, key) = issued.pems();
    let der = chain.certificates().unwrap()[0].to_vec();
    let folder = Folder::new();
    assert_refused(folder.write("c.der", &der), key.clone(), LoadErrorKind::NotPem, "c.der: is DER, and PEM is needed");
    assert_refused(folder.write("e", ""), key.clone(), LoadErrorKind::NotPem, "is empty");
    assert_refused(folder.write("t", "hello"), key.clone(), LoadErrorKind::NotPem, "is not PEM");
    let cut = &issued.chain[..issued.chain.len() - 20];
    assert_refused(Pem::bytes(cut), key.clone(), LoadErrorKind::NotPem, "is damaged");
    assert_refused(Pem::bytes(issued.chain.replace("MII", "M*I")), key.clone(), LoadErrorKind::NotPem, "is damaged");
    let no_certificate = Pem::bytes("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n");
    assert_refused(no_certificate, key.clone(), LoadErrorKind::NoCertificate, "-----BEGIN CERTIFICATE-----");
    assert_refused(key.clone(), chain.clone(), LoadErrorKind::NoCertificate, "swapped?");
    let request = params(&["a.example"]).serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
    assert_refused(Pem::bytes(request), key.clone(), LoadErrorKind::NoCertificate, "a request for a certificate");
    assert_refused(chain.clone(), chain.clone(), LoadErrorKind::NoKey, "-----BEGIN PRIVATE KEY-----");
    let certificate_of_what = Pem::bytes("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    assert_refused(certificate_of_what, key, LoadErrorKind::UnusableCertificate, "number 1");
    let key_of_what = Pem::bytes("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    assert_refused(chain, key_of_what, LoadErrorKind::UnusableKey, "RSA from 2,048 bits on");
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let issued = Authority::new("root").issue(&["a.example"]);
    let folder = Folder::new();
    let key = issued.pems().1;
    let directory = Pem::file(&*folder.0);
    assert_refused(directory, key.clone(), LoadErrorKind::Unreadable, "name the file in it");
    let missing = Pem::file(folder.0.join("missing.pem"));
    assert_refused(
        missing.clone(),
        key.clone(),
        LoadErrorKind::Unreadable,
        "missing.pem: cannot be read: No such file",
    );
    assert!(refusal(missing, key.clone()).io_error().is_some());
    symlink("loop", folder.0.join("loop")).unwrap();
    assert_refused(Pem::file(folder.0.join("loop")), key.clone(), LoadErrorKind::Unreadable, "loop: cannot be read");
    // Sparse, and still not read whole.
    let huge = folder.0.join("huge.pem");
    File::create(&huge).unwrap().set_len(1 << 40).unwrap();
    assert_refused(Pem::file(huge), key.clone(), LoadErrorKind::TooLong, "huge.pem: is longer than 4194304 bytes");
    assert_refused(Pem::file("/dev/zero"), key, LoadErrorKind::TooLong, "/dev/zero: is longer");
}

#[test]
fn a_server_without_a_certificate_is_refused() {
    assert_eq!(ServerTls::builder(PROVIDER).build().unwrap_err().kind(), LoadErrorKind::NoCertificate);
}

#[test]
fn a_certificate_says_whose_it_is_and_until_when() {
    let names = ["a.example", "*.b.example", "192.0.2.7", "2001:db8::1", "2001:db8::"];
    let issued = Authority::new("root").issue_with(&names, |params| {
        let uri = "spiffe://example/a".try_into().unwrap();
        params.subject_alt_names.push(rcgen::SanType::URI(uri));
        params.not_before = date_time_ymd(2001, 2, 3);
        params.not_after = date_time_ymd(2345, 6, 7);
    });
    let folder = Folder::new();
    let chain = folder.write("chain.pem", &issued.chain);
    let tls = ServerTls::builder(PROVIDER).certificate(chain.clone(), issued.pems().1).build().unwrap();
    let certificate = &tls.certificates()[0];
    let dns = |name: &str| SubjectName::Dns(name.into());
    let ip = |name: &str| SubjectName::Ip(name.parse().unwrap());
    let uri = SubjectName::Uri("spiffe://example/a".into());
    let expected = [dns("a.example"), dns("*.b.example"), ip("192.0.2.7"), ip("2001:db8::1"), ip("2001:db8::"), uri];
    assert_eq!(certificate.names(), expected);
    assert_eq!(certificate.path(), chain.path());
    let seconds = |time: std::time::SystemTime| time.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(seconds(certificate.not_before()), date_time_ymd(2001, 2, 3).unix_timestamp() as u64);
    assert_eq!(seconds(certificate.not_after()), date_time_ymd(2345, 6, 7).unix_timestamp() as u64);
    assert!(!certificate.is_self_issued());
    assert!(try_server(&self_signed(&["a.example"])).unwrap().certificates()[0].is_self_issued());
}

/// As `openssl pkey -pubout -outform DER | sha256sum` has it.
#[test]
fn the_pin_is_that_of_curl() {
    let issued = Authority::new("root").issue_for(&key_pair(EC), &["a.example"], |_| ());
    let tls = try_server(&issued).unwrap();
    assert_eq!(tls.certificates()[0].pin(), PIN_OF_EC);
}

#[test]
fn debug_shows_no_key() {
    let issued = Authority::new("root").issue(&["a.example"]);
    let tls = try_server(&issued).unwrap();
    let shown = format!("{tls:?}");
    assert!(shown.contains("Bytes(<"), "{shown}");
    assert!(!shown.contains("PRIVATE"), "{shown}");
}

#[test]
fn unusable_revocation_lists_are_refused() {
    let authority = Authority::new("root");
    let server = server(&authority.issue(&["a.example"]));
    let clients = |lists| crate::tls::ClientCertificates::required(authority.root()).revocations(lists);
    for lists in [authority.root(), Pem::bytes("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n")] {
        let error = server.clone().client_certificates(clients(lists)).build().unwrap_err();
        assert_eq!(error.kind(), LoadErrorKind::UnusableRevocations, "{error}");
    }
    let error = server.client_certificates(clients(Pem::bytes(CRL_VERSION_1))).build().unwrap_err();
    assert!(error.to_string().contains("is it of version 2"), "{error}");
}

#[test]
fn what_a_client_trusts_is_checked() {
    let authority = Authority::new("root");
    let kind = |builder: ClientTlsBuilder| builder.build().unwrap_err().kind();
    let damaged = Pem::bytes("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    assert_eq!(kind(ClientTls::builder(PROVIDER).roots(damaged)), LoadErrorKind::UnusableCertificate);
    assert_eq!(kind(ClientTls::builder(PROVIDER).roots(Pem::bytes(RSA))), LoadErrorKind::NoCertificate);
    for pin in ["", "sha256//", "sha256//AAAA", "md5//x", &PIN_OF_EC[..50], "sha1//AAAAAAAAAAAAAAAAAAAAAAAAAAA="] {
        assert_eq!(kind(client(&authority).pin(pin)), LoadErrorKind::InvalidPin, "{pin}");
    }
    client(&authority).pin(format!("{PIN_OF_EC}; {PIN_OF_EC}")).build().unwrap();
    let folder = Folder::new();
    assert_eq!(kind(client(&authority).key_log(&folder.0)), LoadErrorKind::Unreadable);
    let (chain, _) = authority.issue(&["me.example"]).pems();
    assert_eq!(kind(client(&authority).certificate(chain, Pem::bytes(RSA))), LoadErrorKind::KeyMismatch);
}

#[test]
fn secrets_are_logged_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let authority = Authority::new("root");
    let folder = Folder::new();
    let path = folder.0.join("keys.log");
    let server = try_server(&authority.issue(&["a.example"])).unwrap();
    let client = client(&authority).key_log(&path).build().unwrap();
    handshake(&server, &client, "a.example").connections();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let log = fs::read_to_string(&path).unwrap();
    let line = log.lines().find_map(|line| line.strip_prefix("CLIENT_TRAFFIC_SECRET_0 ")).unwrap();
    let (random, secret) = line.split_once(' ').unwrap();
    assert_eq!(random.len(), 64);
    assert!(secret.len() >= 64 && secret.bytes().all(|byte| byte.is_ascii_hexdigit()), "{line}");
}

const PIN_OF_EC: &str = "sha256//2jk5BUajtcdRuEF7uFJ7eN97k/6XzPnpxAJr7j7ios4=";

/// Whatever a file or a peer has in place of a certificate or a key: an error, or something that works.
#[test]
fn damaged_bytes_do_no_harm() {
    let names = ["a.example", "*.b.example", "192.0.2.7", "2001:db8::1"];
    let issued = Authority::new("root").issue(&names);
    let crypto = PROVIDER.crypto();
    let der = issued.pems().0.certificates().unwrap().remove(0).to_vec();
    let read = |der: Vec<u8>| crate::tls::certificate::read(&der.into(), &crypto).is_ok();
    assert!(read(der.clone()));
    let (mut good, mut bad) = (0, 0);
    for at in 0..der.len() {
        assert!(!read(der[..at].to_vec()));
        for bit in 0..8 {
            let mut damaged = der.clone();
            damaged[at] ^= 1 << bit;
            if read(damaged) { good += 1 } else { bad += 1 }
        }
    }
    assert!(good > 0 && bad > 0, "{good} {bad}");
    for at in 0..issued.key.len() {
        for byte in [0, b'-', b'A', b'\n', 0xff] {
            let mut damaged = issued.key.clone().into_bytes();
            damaged[at] = byte;
            if let Ok(keys) = Pem::bytes(damaged).keys() {
                for key in keys {
                    let _ = crypto.key_provider.load_private_key(key);
                }
            }
        }
    }
}

#[test]
fn names_as_the_verifier_prints_them_are_read() {
    use crate::tls::certificate::presented;
    assert_eq!(presented("DnsName(\"a)\\\"b\")"), Some(SubjectName::Dns("a)\\\"b".into())));
    assert_eq!(presented("IpAddress(0::1)"), Some(SubjectName::Ip("::1".parse().unwrap())));
    for text in
        ["", "(", "DnsName", "DnsName(", "DnsName()", "DnsName(\")", "IpAddress([invalid: 01])", "DirectoryName"]
    {
        assert_eq!(presented(text), None, "{text}");
    }
}

#[test]
fn the_expiry_of_each_certificate_is_a_gauge() {
    let authority = Authority::new("root");
    let one = authority.issue_with(&["a.example", "192.0.2.1"], |params| params.not_after = date_time_ymd(2100, 1, 1));
    let two = authority.issue_with(&[], |params| {
        let odd = "urn:\"\\\n".try_into().unwrap();
        params.subject_alt_names.push(rcgen::SanType::URI(odd));
        params.not_after = date_time_ymd(2100, 1, 2);
    });
    let (chain, key) = two.pems();
    let page = server(&one).certificate(chain, key).build().unwrap().prometheus();
    let lines: Vec<_> = page.lines().filter(|line| !line.starts_with('#')).collect();
    let name = "sockeye_tls_certificate_expiry_timestamp_seconds";
    let expected = [
        format!("{name}{{index=\"0\",names=\"a.example 192.0.2.1\"}} 4102444800"),
        format!("{name}{{index=\"1\",names=\"urn:\\\"\\\\\\n\"}} 4102531200"),
    ];
    assert_eq!(lines, expected);
}
