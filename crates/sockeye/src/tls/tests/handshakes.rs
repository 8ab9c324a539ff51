//! What each side says of a handshake: who is trusted, what fits, and what does not.

use std::sync::Arc;

use rcgen::ExtendedKeyUsagePurpose;
use rcgen::IsCa;
use rcgen::KeyPair;
use rcgen::date_time_ymd;
use rustls::AlertDescription;
use rustls::HandshakeKind;
use rustls::ProtocolVersion;
use rustls::sign::CertifiedKey;
use rustls::sign::SingleCertAndKey;

use super::*;
use crate::tls::ClientCertificates;
use crate::tls::PeerIdentity;
use crate::tls::SubjectName;
use crate::tls::TlsFailureKind;
use crate::tls::TlsVersion;

/// A server that starts whatever is wrong with its certificate.
fn careless(issued: &Issued) -> ServerTls {
    let provider = PROVIDER.crypto();
    let (chain, key) = issued.pems();
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = key.keys().unwrap().remove(0);
    ServerTls::of(config.with_no_client_auth().with_single_cert(chain.certificates().unwrap(), key).unwrap())
}

/// A server whose key is not that of its certificate.
fn mismatched(issued: &Issued) -> ServerTls {
    let provider = PROVIDER.crypto();
    let (chain, key) = issued.pems();
    let key = provider.key_provider.load_private_key(key.keys().unwrap().remove(0)).unwrap();
    let resolver = SingleCertAndKey::from(CertifiedKey::new(chain.certificates().unwrap(), key));
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    ServerTls::of(config.with_no_client_auth().with_cert_resolver(Arc::new(resolver)))
}

/// Both failures of a handshake of a client that trusts `authority`.
#[track_caller]
fn failures(authority: &Authority, issued: &Issued, alert: AlertDescription) -> TlsFailure {
    let client = client(authority).build().unwrap();
    let (server, client) = handshake(&careless(issued), &client, "a.example").failures();
    assert_eq!(server.alert(), Some(alert.into()), "{server}");
    assert!(server.to_string().starts_with("the client refused with the alert "), "{server}");
    client
}

#[test]
fn expired_certificates_are_refused_with_their_date() {
    let authority = Authority::new("root");
    let issued = authority.issue_with(&["a.example"], |params| params.not_after = date_time_ymd(2020, 2, 29));
    let failure = failures(&authority, &issued, AlertDescription::CertificateExpired);
    assert_eq!(failure.kind(), TlsFailureKind::Expired);
    let since = failure.time().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(since as i64, date_time_ymd(2020, 2, 29).unix_timestamp());
    let text =
        "the certificate of a.example, or one of its issuers, expired on Sat, 29 Feb 2020 00:00:00 GMT: it has to";
    assert!(failure.to_string().starts_with(text), "{failure}");
}

#[test]
fn certificates_of_the_future_are_refused_with_their_date() {
    let authority = Authority::new("root");
    let issued = authority.issue_with(&["a.example"], |params| params.not_before = date_time_ymd(2999, 1, 1));
    let failure = failures(&authority, &issued, AlertDescription::CertificateExpired);
    assert_eq!(failure.kind(), TlsFailureKind::NotYetValid);
    assert!(failure.time().is_some());
    assert!(failure.to_string().contains("is not valid before Tue, 01 Jan 2999 00:00:00 GMT"), "{failure}");
}

#[test]
fn a_wrong_name_is_told_with_the_names_that_are_there() {
    let authority = Authority::new("root");
    let issued = authority.issue(&["b.example", "*.c.example", "192.0.2.1", "2001:db8::"]);
    let failure = failures(&authority, &issued, AlertDescription::BadCertificate);
    assert_eq!(failure.kind(), TlsFailureKind::WrongName);
    assert_eq!(failure.names().len(), 4);
    assert_eq!(failure.names()[0], SubjectName::Dns("b.example".into()));
    let text = "the certificate is not for a.example but for b.example, *.c.example, 192.0.2.1, 2001:db8::: connect by";
    assert!(failure.to_string().starts_with(text), "{failure}");
    let none = failures(&authority, &authority.issue(&[]), AlertDescription::BadCertificate);
    assert!(none.to_string().contains("is not for a.example and has no names"), "{none}");
    let many: Vec<_> = (0..200).map(|number| format!("n{number}.example")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let many = failures(&authority, &authority.issue(&many), AlertDescription::BadCertificate);
    assert_eq!(many.names().len(), 64);
    assert!(many.to_string().contains("n7.example and others"), "{many}");
}

#[test]
fn certificates_of_strangers_are_refused() {
    let issued = Authority::new("other root").issue(&["a.example"]);
    let failure = failures(&Authority::new("root"), &issued, AlertDescription::UnknownCA);
    assert_eq!(failure.kind(), TlsFailureKind::UnknownIssuer);
    let authority = Authority::new("root");
    let without_issuer = authority.intermediate("intermediate").issue(&["a.example"]);
    let failure = failures(&authority, &without_issuer, AlertDescription::UnknownCA);
    assert!(failure.hint().contains("may not send the certificates of its issuers too"), "{failure}");
}

#[test]
fn self_signed_certificates_are_told_apart() {
    let authority = Authority::new("root");
    let issued = self_signed(&["a.example"]);
    let failure = failures(&authority, &issued, AlertDescription::CertificateUnknown);
    assert_eq!(failure.kind(), TlsFailureKind::SelfSigned);
    let tls = try_server(&issued).unwrap();
    let pin = tls.certificates()[0].pin();
    assert_eq!(failure.pin(), Some(&*pin));
    assert!(failure.to_string().contains(&pin) && failure.hint().contains("or pin this key"), "{failure}");
    // That it has the pinned key is not enough, and to pin it is no advice then.
    let (_, failure) = handshake(&tls, &client(&authority).pin(&pin).build().unwrap(), "a.example").failures();
    assert_eq!((failure.kind(), failure.pin()), (TlsFailureKind::SelfSigned, Some(&*pin)));
    assert!(failure.to_string().contains("its key is the pinned one: a pin counts beside"), "{failure}");
    // As `openssl req -x509` makes them.
    let failure = failures(&authority, &as_openssl_makes(|_| ()), AlertDescription::CertificateUnknown);
    assert_eq!(failure.kind(), TlsFailureKind::SelfSigned);
}

/// As `openssl req -x509` makes a certificate: self-signed, and that of an authority.
fn as_openssl_makes(change: impl FnOnce(&mut CertificateParams)) -> Issued {
    let key = KeyPair::generate().unwrap();
    let mut params = params(&["a.example"]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut params);
    Issued { chain: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

/// A client that was given the certificate that this server shows.
fn given(issued: &Issued) -> ClientTls {
    ClientTls::builder(PROVIDER).roots(issued.pems().0).build().unwrap()
}

#[test]
fn a_certificate_that_was_given_is_trusted_as_the_server_shows_it() {
    let authority_too = as_openssl_makes(|_| ());
    let of_unknown_issuer = Authority::new("root").issue(&["a.example"]);
    for issued in [&authority_too, &of_unknown_issuer] {
        let (server, client) = (careless(issued), given(issued));
        handshake(&server, &client, "a.example").connections();
        let (_, failure) = handshake(&server, &client, "b.example").failures();
        assert_eq!(failure.kind(), TlsFailureKind::WrongName);
        assert!(failure.to_string().contains("a.example"), "{failure}");
    }
    // Its key, and not only its bytes: who shows it without the key is refused by the signature.
    let key = KeyPair::generate().unwrap().serialize_pem();
    let thief = Issued { chain: authority_too.chain.clone(), key };
    let (_, failure) = handshake(&mismatched(&thief), &given(&authority_too), "a.example").failures();
    assert_eq!(failure.kind(), TlsFailureKind::BadSignature, "{failure}");
    // Others are others, with the same names too.
    let other = as_openssl_makes(|_| ());
    let (_, failure) = handshake(&careless(&other), &given(&authority_too), "a.example").failures();
    assert_eq!(failure.kind(), TlsFailureKind::SelfSigned, "{failure}");
    let (_, failure) = handshake(&careless(&of_unknown_issuer), &given(&authority_too), "a.example").failures();
    assert_eq!(failure.kind(), TlsFailureKind::UnknownIssuer);
}

/// As when a server has a new certificate, or one of `localhost` is among the roots of the system.
#[test]
fn a_trusted_certificate_of_the_same_name_is_no_issuer() {
    let of_kind = |kind| {
        let key = KeyPair::generate_for(kind).unwrap();
        Issued { chain: params(&["a.example"]).self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
    };
    let shown = of_kind(&rcgen::PKCS_ECDSA_P256_SHA256);
    for trusted in [of_kind(&rcgen::PKCS_ECDSA_P256_SHA256), of_kind(&rcgen::PKCS_ED25519)] {
        let (_, failure) = handshake(&careless(&shown), &given(&trusted), "a.example").failures();
        assert_eq!(failure.kind(), TlsFailureKind::SelfSigned, "{failure}");
        assert!(failure.pin().is_some() && failure.to_string().contains("self-signed"), "{failure}");
    }
}

/// Cryptography says no more than that the signature is wrong.
#[test]
fn a_key_that_is_too_short_is_named() {
    let key = KeyPair::generate().unwrap().serialize_pem();
    let short = Issued { chain: include_str!("rsa-1024.pem").to_owned(), key };
    let (_, failure) = handshake(&mismatched(&short), &given(&short), "a.example").failures();
    assert_eq!(failure.kind(), TlsFailureKind::UnusableCertificate, "{failure}");
    assert!(failure.to_string().contains("has an RSA key of 1024 bits, which is too short"), "{failure}");
}

#[test]
fn a_certificate_that_was_given_is_trusted_within_its_dates() {
    let expired = |params: &mut CertificateParams| params.not_after = date_time_ymd(2020, 2, 29);
    let early = |params: &mut CertificateParams| params.not_before = date_time_ymd(2999, 1, 1);
    let authority = Authority::new("root");
    for issued in [as_openssl_makes(expired), authority.issue_with(&["a.example"], expired)] {
        let (_, failure) = handshake(&careless(&issued), &given(&issued), "a.example").failures();
        assert_eq!(failure.kind(), TlsFailureKind::Expired, "{failure}");
    }
    for issued in [as_openssl_makes(early), authority.issue_with(&["a.example"], early)] {
        let (_, failure) = handshake(&careless(&issued), &given(&issued), "a.example").failures();
        assert_eq!(failure.kind(), TlsFailureKind::NotYetValid, "{failure}");
    }
}

#[test]
fn a_root_that_was_given_need_not_be_the_servers() {
    let root = as_openssl_makes(|_| ());
    let both = ClientTls::builder(PROVIDER).roots(root.pems().0).roots(Authority::new("root").root()).build().unwrap();
    let stranger = Authority::new("x").issue(&["a.example"]);
    let (_, failure) = handshake(&careless(&stranger), &both, "a.example").failures();
    assert_eq!(failure.kind(), TlsFailureKind::UnknownIssuer);
    // An authority's certificate is no server's unless it was given: one issued by a root that was.
    let authority = Authority::new("root");
    let issued =
        authority.issue_with(&["a.example"], |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    let (_, failure) = handshake(&careless(&issued), &client(&authority).build().unwrap(), "a.example").failures();
    assert_eq!(failure.kind(), TlsFailureKind::UnusableCertificate);
    assert!(failure.hint().contains("basicConstraints=CA:FALSE"), "{failure}");
}

#[test]
fn a_self_signed_certificate_can_be_trusted_as_a_root() {
    let issued = self_signed(&["a.example"]);
    let client = ClientTls::builder(PROVIDER).roots(issued.pems().0).build().unwrap();
    handshake(&try_server(&issued).unwrap(), &client, "a.example").connections();
}

#[test]
fn certificates_for_another_use_are_refused() {
    let authority = Authority::new("root");
    let issued = authority.issue_with(&["a.example"], for_clients);
    let failure = failures(&authority, &issued, AlertDescription::UnsupportedCertificate);
    assert_eq!(failure.kind(), TlsFailureKind::WrongUse);
    assert!(failure.hint().contains("serverAuth"), "{failure}");
}

#[test]
fn pins_are_required_beside_a_root() {
    let authority = Authority::new("root");
    let server = try_server(&authority.issue(&["a.example"])).unwrap();
    let pin = server.certificates()[0].pin();
    let other = try_server(&authority.issue(&["a.example"])).unwrap().certificates()[0].pin();
    let with = |pin: &str| client(&authority).pin(pin).build().unwrap();
    handshake(&server, &with(&pin), "a.example").connections();
    handshake(&server, &with(&format!("{other};{pin}")), "a.example").connections();
    let (_, failure) = handshake(&server, &with(&other), "a.example").failures();
    assert_eq!((failure.kind(), failure.pin()), (TlsFailureKind::WrongPin, Some(&*pin)));
    // The name counts all the same.
    let (_, failure) = handshake(&server, &with(&pin), "b.example").failures();
    assert_eq!(failure.kind(), TlsFailureKind::WrongName);
}

#[test]
fn who_verifies_nothing_still_verifies_pins() {
    let expired = Authority::new("x").issue_with(&["x"], |params| params.not_after = date_time_ymd(2020, 2, 29));
    let insecure = || ClientTls::builder(PROVIDER).dangerous_verify_nothing();
    handshake(&careless(&expired), &insecure().build().unwrap(), "a.example").connections();
    let issued = self_signed(&["a.example"]);
    let server = try_server(&issued).unwrap();
    let pinned = insecure().pin(server.certificates()[0].pin()).build().unwrap();
    handshake(&server, &pinned, "192.0.2.1").connections();
    let (_, failure) = handshake(&careless(&expired), &pinned, "a.example").failures();
    assert_eq!(failure.kind(), TlsFailureKind::WrongPin);
}

#[test]
fn the_least_version_is_kept_by_both() {
    let authority = Authority::new("root");
    let issued = authority.issue(&["a.example"]);
    let versions = [TlsVersion::Tls12, TlsVersion::Tls13];
    for (of_server, of_client) in versions.iter().flat_map(|one| versions.iter().map(move |two| (*one, *two))) {
        let server = server(&issued).least_version(of_server).build().unwrap();
        let client = client(&authority).least_version(of_client).build().unwrap();
        let (server, _) = handshake(&server, &client, "a.example").connections();
        assert_eq!(server.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    }
}

#[test]
fn an_old_client_is_told_the_version() {
    let authority = Authority::new("root");
    let issued = authority.issue(&["a.example"]);
    let strict = server(&issued).least_version(TlsVersion::Tls13).build().unwrap();
    let mut config = old_client(&authority);
    let (server, client) = handshake(&strict, &ClientTls::of(config.clone()), "a.example").failures();
    assert_eq!((server.kind(), client.kind()), (TlsFailureKind::NoCommonVersion, TlsFailureKind::NoCommonVersion));
    assert!(client.to_string().contains("protocol_version (70)"), "{client}");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    handshake(&try_server(&issued).unwrap(), &ClientTls::of(config), "a.example").connections();
}

#[test]
fn other_protocols_than_http_1_are_refused() {
    let authority = Authority::new("root");
    let server = try_server(&authority.issue(&["a.example"])).unwrap();
    let offering = |protocols: &[&[u8]]| {
        let mut config = (*client(&authority).build().unwrap().current(Above::Http)).clone();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        handshake(&server, &ClientTls::of(config), "a.example")
    };
    let (of_server, of_client) = offering(&[b"h2"]).failures();
    assert_eq!(of_server.kind(), TlsFailureKind::NoCommonProtocol);
    assert_eq!(of_client.kind(), TlsFailureKind::NoCommonProtocol);
    assert!(of_client.to_string().contains("no_application_protocol (120)"), "{of_client}");
    let (connection, _) = offering(&[b"h2", b"http/1.1"]).connections();
    assert_eq!(connection.alpn_protocol(), Some(&b"http/1.1"[..]));
    offering(&[]).connections();
}

#[test]
fn a_client_shows_its_certificate() {
    let authority = Authority::new("root");
    let staff = Authority::new("staff");
    let office = staff.intermediate("office");
    let issued = authority.issue(&["a.example"]);
    let server = server(&issued).client_certificates(ClientCertificates::required(staff.root())).build().unwrap();
    let me = office.issue_with(&["me.example"], for_clients).followed_by(&office);
    let (chain, key) = me.pems();
    let known = client(&authority).certificate(chain, key).build().unwrap();
    for _ in 0..2 {
        let (server, _) = handshake(&server, &known, "a.example").connections();
        let shown = server.peer_certificates().unwrap();
        let identity = PeerIdentity::new(shown, &PROVIDER.crypto()).unwrap();
        assert_eq!(identity.certificate().names(), [SubjectName::Dns("me.example".into())]);
        assert_eq!(identity.certificate().path(), None);
        assert_eq!(identity.chain().collect::<Vec<_>>(), shown.iter().map(|one| &**one).collect::<Vec<_>>());
        // Each is verified anew.
        assert_eq!(server.handshake_kind(), Some(HandshakeKind::Full));
    }
}

/// A server learns of a refusal; with TLS 1.3 a client has finished by then, and learns of it from an alert.
#[test]
fn clients_without_the_right_certificate_are_refused() {
    let authority = Authority::new("root");
    let staff = Authority::new("staff");
    let issued = authority.issue(&["a.example"]);
    let clients = ClientCertificates::required(staff.root());
    let server = server(&issued).client_certificates(clients.clone()).build().unwrap();
    let showing = |me: &Issued| {
        let (chain, key) = me.pems();
        client(&authority).certificate(chain, key).build().unwrap()
    };
    let (of_server, of_client) = handshake(&server, &client(&authority).build().unwrap(), "a.example").failures();
    assert_eq!((of_server.kind(), of_client.kind()), (TlsFailureKind::NoCertificate, TlsFailureKind::NoCertificate));
    let stranger = showing(&authority.issue_with(&["me.example"], for_clients));
    let (of_server, of_client) = handshake(&server, &stranger, "a.example").failures();
    assert_eq!((of_server.kind(), of_client.alert()), (TlsFailureKind::UnknownIssuer, Some(48)));
    let for_servers = staff.issue_with(&["me.example"], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let (of_server, _) = handshake(&server, &showing(&for_servers), "a.example").failures();
    assert_eq!(of_server.kind(), TlsFailureKind::WrongUse);
    assert!(of_server.hint().contains("clientAuth"), "{of_server}");
}

#[test]
fn a_client_may_go_without_an_optional_certificate() {
    let authority = Authority::new("root");
    let staff = Authority::new("staff");
    let issued = authority.issue(&["a.example"]);
    let server = server(&issued).client_certificates(ClientCertificates::optional(staff.root())).build().unwrap();
    let (connection, _) = handshake(&server, &client(&authority).build().unwrap(), "a.example").connections();
    assert!(connection.peer_certificates().is_none());
    let (chain, key) = authority.issue_with(&["me.example"], for_clients).pems();
    let stranger = client(&authority).certificate(chain, key).build().unwrap();
    let (of_server, _) = handshake(&server, &stranger, "a.example").failures();
    assert_eq!(of_server.kind(), TlsFailureKind::UnknownIssuer);
}

#[test]
fn revoked_certificates_are_refused() {
    let authority = Authority::new("root");
    let staff = Authority::new("staff");
    let issued = authority.issue(&["a.example"]);
    let numbered = |serial: u8| {
        let me = staff.issue_with(&["me.example"], |params| {
            for_clients(params);
            params.serial_number = Some(vec![serial].into());
        });
        let (chain, key) = me.pems();
        client(&authority).certificate(chain, key).build().unwrap()
    };
    let with = |lists: Pem| {
        let clients = ClientCertificates::required(staff.root()).revocations(lists);
        server(&issued).client_certificates(clients).build().unwrap()
    };
    handshake(&with(staff.revoke(&[7], 2999)), &numbered(8), "a.example").connections();
    let (of_server, of_client) = handshake(&with(staff.revoke(&[7], 2999)), &numbered(7), "a.example").failures();
    assert_eq!((of_server.kind(), of_client.alert()), (TlsFailureKind::Revoked, Some(44)));
    // A list that is out of date, and one of somebody else.
    let (of_server, _) = handshake(&with(staff.revoke(&[7], 2021)), &numbered(8), "a.example").failures();
    assert_eq!(of_server.kind(), TlsFailureKind::UnknownRevocation);
    assert!(of_server.to_string().contains("renewed by Fri, 01 Jan 2021"), "{of_server}");
    let (of_server, _) = handshake(&with(authority.revoke(&[7], 2999)), &numbered(8), "a.example").failures();
    assert_eq!(of_server.kind(), TlsFailureKind::UnknownRevocation);
}

#[test]
fn what_is_not_tls_is_said() {
    let authority = Authority::new("root");
    let tls = try_server(&authority.issue(&["a.example"])).unwrap();
    for text in ["GET / HTTP/1.1\r\n\r\n", "SSH-2.0-OpenSSH_10.0\r\n", "\0\0\0\0\0\0"] {
        let mut server = ServerConnection::new(tls.current(Above::Http)).unwrap();
        server.read_tls(&mut text.as_bytes()).unwrap();
        let failure = TlsFailure::from_server(&server.process_new_packets().unwrap_err());
        assert_eq!(failure.kind(), TlsFailureKind::NotTls, "{failure}");
    }
    let name = ServerName::try_from("a.example").unwrap();
    let mut client = ClientConnection::new(client(&authority).build().unwrap().current(Above::Http), name).unwrap();
    client.read_tls(&mut &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..]).unwrap();
    let failure = TlsFailure::from_client(&client.process_new_packets().unwrap_err(), "a.example");
    assert_eq!(failure.kind(), TlsFailureKind::NotTls);
    assert!(failure.to_string().starts_with("what a.example sent is not TLS: does it speak TLS"), "{failure}");
    assert!(std::error::Error::source(&failure).is_some());
}

#[test]
fn early_ends_are_said() {
    assert_eq!(TlsFailure::client_closed().kind(), TlsFailureKind::ClosedInHandshake);
    let failure = TlsFailure::server_closed("a.\u{1b}[2Jexample");
    assert!(failure.to_string().starts_with("a.\\u{1b}[2Jexample ended"), "{failure}");
}

#[test]
fn every_alert_has_a_text() {
    for number in 0..=255 {
        let error = rustls::Error::AlertReceived(AlertDescription::from(number));
        for failure in [TlsFailure::from_server(&error), TlsFailure::from_client(&error, "a.example")] {
            assert_eq!(failure.alert(), Some(number));
            assert!(failure.to_string().contains(&number.to_string()) && !failure.hint().is_empty(), "{failure}");
        }
    }
}

#[test]
fn a_failure_is_one_pointer() {
    assert_eq!(size_of::<TlsFailure>(), size_of::<usize>());
    assert_eq!(size_of::<LoadError>(), size_of::<usize>());
}

#[cfg(all(feature = "tls-aws-lc", feature = "tls-ring"))]
#[test]
fn both_providers_understand_each_other() {
    let authority = Authority::new("root");
    let issued = authority.issue(&["a.example"]);
    let (chain, key) = issued.pems();
    for (one, two) in
        [(Provider::AwsLc, Provider::Ring), (Provider::Ring, Provider::AwsLc), (Provider::AwsLc, Provider::AwsLc)]
    {
        let server = ServerTls::builder(one).certificate(chain.clone(), key.clone()).build().unwrap();
        let client = ClientTls::builder(two).roots(authority.root()).build().unwrap();
        let (server, _) = handshake(&server, &client, "a.example").connections();
        let group = server.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(group == rustls::NamedGroup::X25519MLKEM768, one == two, "{group:?}");
    }
}
