//! TLS of peers: certificates made for the run, a session of rustls on a peer's socket, and records that no library would send.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::client::Resumption;
use rustls::crypto::cipher::{MessageEncrypter, OutboundChunks, OutboundPlainMessage};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{
    ClientConfig, ClientConnection, ConnectionTrafficSecrets, ContentType, ProtocolVersion, RootCertStore,
    SupportedCipherSuite, SupportedProtocolVersion, crypto,
};

use super::TempDir;

/// A certificate for `localhost` in files, with its key, and the authority that issued it.
pub(crate) struct Credentials {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
    authority: CertificateDer<'static>,
}

impl Credentials {
    pub(crate) fn new() -> Self {
        let (mut params, key) = (CertificateParams::default(), KeyPair::generate().expect("a key"));
        params.distinguished_name.push(DnType::CommonName, "abuse");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).expect("a certificate").pem();
        let folder = TempDir::new();
        let authority = CertificateDer::from_pem_slice(authority.as_bytes()).expect("just made");
        let credentials = Self { folder, issuer: Issuer::new(params, key), authority };
        credentials.renew();
        credentials
    }

    /// Puts another certificate in the place of the one before.
    pub(crate) fn renew(&self) {
        let params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        let key = KeyPair::generate().expect("a key");
        let chain = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        fs::write(self.chain(), chain + &key.serialize_pem()).expect("own folder");
    }

    /// Cuts the file off in its middle.
    pub(crate) fn damage(&self) {
        let text = fs::read(self.chain()).expect("own folder");
        fs::write(self.chain(), &text[..text.len() / 2]).expect("own folder");
    }

    /// The file of the certificate, and of its key.
    pub(crate) fn chain(&self) -> PathBuf {
        self.folder.path().join("chain.pem")
    }

    /// The certificate that is in the file.
    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.chain()).expect("a certificate")
    }

    /// What a client begins with. It resumes no session: each handshake costs the server as much as one can.
    pub(crate) fn client(&self, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone()).expect("a certificate");
        let builder = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()));
        let builder = builder.with_protocol_versions(&[version]).expect("ring has both versions");
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.resumption = Resumption::disabled();
        config.enable_secret_extraction = true;
        Arc::new(config)
    }
}

/// The session of a peer.
pub(crate) struct Tls {
    connection: ClientConnection,
    /// The server ended its side by close_notify.
    pub(crate) is_closed: bool,
}

impl Tls {
    pub(crate) fn new(config: &Arc<ClientConfig>) -> Self {
        let name = ServerName::try_from("localhost").expect("a name");
        let connection = ClientConnection::new(Arc::clone(config), name).expect("a configuration of ours");
        Self { connection, is_closed: false }
    }

    /// The server's certificate.
    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        let chain = self.connection.peer_certificates().expect("the handshake is done");
        chain[0].clone().into_owned()
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// The sealed bytes that wait to be sent.
    pub(crate) fn sealed(&mut self) -> Vec<u8> {
        let mut sealed = Vec::new();
        while self.connection.wants_write() {
            self.connection.write_tls(&mut sealed).expect("memory");
        }
        sealed
    }

    /// Seals `plain` as one record for each 16 KiB.
    pub(crate) fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::new();
        for piece in plain.chunks(16 << 10) {
            self.connection.writer().write_all(piece).expect("room for a record");
            sealed.extend(self.sealed());
        }
        sealed
    }

    /// Opens what arrived. `None`: the server sent a fatal alert.
    pub(crate) fn open(&mut self, mut sealed: &[u8], plain: &mut Vec<u8>) -> Option<()> {
        while !sealed.is_empty() {
            self.connection.read_tls(&mut sealed).expect("room for what is opened");
            let state = match self.connection.process_new_packets() {
                Ok(state) => state,
                Err(rustls::Error::AlertReceived(_)) => return None,
                Err(error) => panic!("TLS of the server: {error}"),
            };
            self.is_closed |= state.peer_has_closed();
            match self.connection.reader().read_to_end(plain) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => panic!("plaintext: {error}"),
                _ => {}
            }
        }
        Some(())
    }

    /// Asks for new keys (RFC 8446 section 4.6.3).
    pub(crate) fn key_update(&mut self) -> Vec<u8> {
        self.connection.refresh_traffic_keys().expect("TLS 1.3");
        self.sealed()
    }

    pub(crate) fn close_notify(&mut self) -> Vec<u8> {
        self.connection.send_close_notify();
        self.sealed()
    }

    /// From now on the test makes the records itself.
    pub(crate) fn forger(self) -> Forger {
        let suite = self.connection.negotiated_cipher_suite().expect("the handshake is done");
        let secrets = self.connection.dangerous_extract_secrets().expect("it is allowed");
        let (next, secrets) = secrets.tx;
        Forger { encrypter: encrypter(suite, secrets), next }
    }
}

/// Seals records of any kind and size.
pub(crate) struct Forger {
    encrypter: Box<dyn MessageEncrypter>,
    next: u64,
}

impl Forger {
    pub(crate) fn record(&mut self, typ: ContentType, payload: &[u8]) -> Vec<u8> {
        let payload = OutboundChunks::Single(payload);
        let plain = OutboundPlainMessage { typ, version: ProtocolVersion::TLSv1_2, payload };
        let record = self.encrypter.encrypt(plain, self.next).expect("a record");
        self.next += 1;
        record.encode()
    }
}

fn encrypter(suite: SupportedCipherSuite, secrets: ConnectionTrafficSecrets) -> Box<dyn MessageEncrypter> {
    let (ConnectionTrafficSecrets::Aes128Gcm { key, iv } | ConnectionTrafficSecrets::Aes256Gcm { key, iv }) = secrets
    else {
        panic!("not AES: {suite:?}")
    };
    match suite {
        SupportedCipherSuite::Tls13(suite) => suite.aead_alg.encrypter(key, iv),
        SupportedCipherSuite::Tls12(suite) => {
            // RFC 5288 section 3: four bytes of the nonce are the connection's, the others go with each record.
            let (implicit, explicit) = iv.as_ref().split_at(4);
            suite.aead_alg.encrypter(key, implicit, explicit)
        }
    }
}
