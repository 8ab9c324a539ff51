//! Certificates that are exchanged while the server runs.

use std::fs;
use std::sync::Arc;
use std::thread;

use rcgen::KeyPair;
use rustls::HandshakeKind;

use super::*;
use crate::tls::LoadErrorKind;

struct Files {
    folder: Folder,
    tls: ServerTls,
}

impl Files {
    fn new(issued: &Issued) -> Self {
        let folder = Folder::new();
        let (chain, key) = (folder.write("cert.pem", &issued.chain), folder.write("key.pem", &issued.key));
        let tls = ServerTls::builder(PROVIDER).certificate(chain, key).build().unwrap();
        Self { folder, tls }
    }

    fn write(&self, issued: &Issued) {
        self.folder.write("cert.pem", &issued.chain);
        self.folder.write("key.pem", &issued.key);
    }

    fn name(&self) -> String {
        format!("{:?}", self.tls.certificates()[0].names())
    }
}

#[test]
fn new_handshakes_use_the_new_certificate_in_all_threads() {
    let authority = Authority::new("root");
    let files = Files::new(&authority.issue(&["a.example"]));
    let client = client(&authority).build().unwrap();
    let clone = files.tls.clone();
    handshake(&clone, &client, "a.example").connections();
    files.write(&authority.issue(&["b.example"]));
    assert_eq!(files.tls.reload().unwrap().kept_keys.len(), 0);
    let other = client.clone();
    let in_thread = thread::spawn(move || {
        handshake(&clone, &other, "b.example").connections();
    });
    in_thread.join().unwrap();
    assert_eq!(files.name(), "[Dns(\"b.example\")]");
}

#[test]
fn a_handshake_under_way_goes_on_with_the_old_one() {
    let authority = Authority::new("root");
    let files = Files::new(&authority.issue(&["a.example"]));
    let before = files.tls.current(Above::Http);
    files.write(&authority.issue(&["b.example"]));
    files.tls.reload().unwrap();
    assert!(!Arc::ptr_eq(&before, &files.tls.current(Above::Http)));
    assert!(Arc::ptr_eq(&before.ticketer, &files.tls.current(Above::Http).ticketer));
}

#[test]
fn broken_files_keep_the_old_certificate() {
    let authority = Authority::new("root");
    let issued = authority.issue(&["a.example"]);
    let files = Files::new(&issued);
    let client = client(&authority).build().unwrap();
    let other = authority.issue(&["b.example"]);
    for round in 0..100 {
        let expected = match round % 4 {
            0 => files.folder.write("cert.pem", &other.chain[..100]),
            1 => files.folder.write("cert.pem", &other.chain),
            2 => files.folder.write("key.pem", ""),
            _ => {
                files.write(&issued);
                files.tls.reload().unwrap();
                continue;
            }
        };
        let error = files.tls.reload().unwrap_err();
        assert!(error.path().is_some() && expected.path().is_some(), "{error}");
        assert_eq!(files.name(), "[Dns(\"a.example\")]");
        handshake(&files.tls, &client, "a.example").connections();
    }
}

#[test]
fn a_key_that_can_no_longer_be_read_is_kept() {
    let authority = Authority::new("root");
    let key = KeyPair::generate().unwrap();
    let files = Files::new(&authority.issue_for(&key, &["a.example"], |_| ()));
    // Whatever the reason is: a test may run as root, whom no mode stops.
    let path = files.folder.0.join("key.pem");
    fs::remove_file(&path).unwrap();
    // Renewed with the same key.
    let renewed = authority.issue_for(&key, &["a.example", "b.example"], |_| ());
    files.folder.write("cert.pem", &renewed.chain);
    let reloaded = files.tls.reload().unwrap();
    assert_eq!(&*reloaded.kept_keys[0].0, path);
    assert_eq!(reloaded.kept_keys[0].1.kind(), std::io::ErrorKind::NotFound);
    handshake(&files.tls, &client(&authority).build().unwrap(), "b.example").connections();
    // Renewed with another.
    files.folder.write("cert.pem", authority.issue(&["c.example"]).chain);
    let error = files.tls.reload().unwrap_err();
    assert_eq!(error.kind(), LoadErrorKind::KeyMismatch);
    assert!(error.to_string().contains("cannot be read any more"), "{error}");
    handshake(&files.tls, &client(&authority).build().unwrap(), "b.example").connections();
}

#[test]
fn sessions_are_resumed_after_a_reload() {
    let authority = Authority::new("root");
    for version in [crate::tls::TlsVersion::Tls12, crate::tls::TlsVersion::Tls13] {
        let files = Files::new(&authority.issue(&["a.example"]));
        let mut config = (*client(&authority).build().unwrap().current(Above::Http)).clone();
        if version == crate::tls::TlsVersion::Tls12 {
            config = old_client(&authority);
        }
        let client = ClientTls::of(config);
        let (server, _) = handshake(&files.tls, &client, "a.example").connections();
        assert_eq!(server.handshake_kind(), Some(HandshakeKind::Full));
        files.write(&authority.issue(&["a.example"]));
        files.tls.reload().unwrap();
        let (server, client) = handshake(&files.tls, &client, "a.example").connections();
        assert_eq!(server.handshake_kind(), Some(HandshakeKind::Resumed), "{version:?}");
        assert!(client.tls13_tickets_received() <= 1);
    }
}

#[test]
fn sessions_are_shared_by_clones_and_by_nothing_else() {
    let authority = Authority::new("root");
    let files = Files::new(&authority.issue(&["a.example"]));
    let client = client(&authority).build().unwrap();
    let kind = |client: &ClientTls| {
        let (server, _) = handshake(&files.tls, client, "a.example").connections();
        server.handshake_kind().unwrap()
    };
    let (full, resumed) = (HandshakeKind::Full, HandshakeKind::Resumed);
    assert_eq!([kind(&client), kind(&client.clone())], [full, resumed]);
    let own = client.with_own_sessions();
    assert_eq!([kind(&own), kind(&own), kind(&client)], [full, resumed, resumed]);
    let without = client.without_sessions();
    assert_eq!([kind(&without), kind(&without)], [full, full]);
    // It trusts whom the other trusts, and no more.
    let others = Files::new(&Authority::new("other").issue(&["a.example"]));
    assert!(handshake(&others.tls, &without, "a.example").client.is_err());
}
