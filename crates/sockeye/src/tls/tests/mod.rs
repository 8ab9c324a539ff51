//! Certificates of every kind, made by authorities of ours, and the handshakes that they allow.

mod handshakes;
mod loading;
mod names;
mod reload;
mod texts;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::CertificateRevocationListParams;
use rcgen::DnType;
use rcgen::ExtendedKeyUsagePurpose;
use rcgen::IsCa;
use rcgen::Issuer;
use rcgen::KeyIdMethod;
use rcgen::KeyPair;
use rcgen::KeyUsagePurpose;
use rcgen::RevokedCertParams;
use rcgen::date_time_ymd;
use rustls::ClientConnection;
use rustls::Connection;
use rustls::ServerConnection;
use rustls::pki_types::ServerName;

use super::Above;
use super::ClientTls;
use super::ClientTlsBuilder;
use super::LoadError;
use super::Pem;
use super::Provider;
use super::ServerTls;
use super::ServerTlsBuilder;
use super::TlsFailure;

/// What tests use, unless they are about both.
const PROVIDER: Provider = {
    #[cfg(feature = "tls-ring")]
    {
        Provider::Ring
    }
    #[cfg(not(feature = "tls-ring"))]
    {
        Provider::AwsLc
    }
};

/// Issues certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key.
#[derive(Clone)]
struct Issued {
    chain: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let (params, key) = (Self::params(name), KeyPair::generate().unwrap());
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// One that this issues.
    fn intermediate(&self, name: &str) -> Self {
        let (params, key) = (Self::params(name), KeyPair::generate().unwrap());
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
    }

    fn issue(&self, names: &[&str]) -> Issued {
        self.issue_with(names, |_| ())
    }

    fn issue_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Issued {
        self.issue_for(&KeyPair::generate().unwrap(), names, change)
    }

    fn issue_for(&self, key: &KeyPair, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let mut params = params(names);
        change(&mut params);
        Issued { chain: params.signed_by(key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }

    fn root(&self) -> Pem {
        Pem::bytes(self.pem.clone())
    }

    /// A revocation list with the certificates of these serial numbers, to be renewed in `year`.
    fn revoke(&self, serials: &[u8], year: i32) -> Pem {
        let revoked_certs = serials.iter().map(|serial| RevokedCertParams {
            serial_number: vec![*serial].into(),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(year, 1, 1),
            crl_number: vec![1].into(),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Pem::bytes(list.signed_by(&self.issuer).unwrap().pem().unwrap())
    }
}

impl Issued {
    fn pems(&self) -> (Pem, Pem) {
        (Pem::bytes(self.chain.clone()), Pem::bytes(self.key.clone()))
    }

    fn followed_by(&self, authority: &Authority) -> Self {
        Self { chain: format!("{}{}", self.chain, authority.pem), key: self.key.clone() }
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, "somebody");
    params
}

fn self_signed(names: &[&str]) -> Issued {
    let key = KeyPair::generate().unwrap();
    Issued { chain: params(names).self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

fn for_clients(params: &mut CertificateParams) {
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
}

fn server(issued: &Issued) -> ServerTlsBuilder {
    let (chain, key) = issued.pems();
    ServerTls::builder(PROVIDER).certificate(chain, key)
}

fn try_server(issued: &Issued) -> Result<ServerTls, LoadError> {
    server(issued).build()
}

fn client(authority: &Authority) -> ClientTlsBuilder {
    ClientTls::builder(PROVIDER).roots(authority.root())
}

/// A client of before 2018.
fn old_client(authority: &Authority) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    crate::tls::roots::add(&mut roots, &authority.root()).unwrap();
    rustls::ClientConfig::builder_with_provider(PROVIDER.crypto())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// What both sides of a handshake came to.
struct Outcome {
    server: Result<ServerConnection, TlsFailure>,
    client: Result<ClientConnection, TlsFailure>,
}

impl Outcome {
    /// What each side says of a handshake that failed.
    fn failures(self) -> (TlsFailure, TlsFailure) {
        (self.server.unwrap_err(), self.client.unwrap_err())
    }

    fn connections(self) -> (ServerConnection, ClientConnection) {
        (self.server.unwrap(), self.client.unwrap())
    }
}

/// A handshake in memory: what one side writes the other one reads, until neither has anything to say.
fn handshake(server: &ServerTls, client: &ClientTls, name: &str) -> Outcome {
    let mut server: Result<_, TlsFailure> = Ok(ServerConnection::new(server.current(Above::Http)).unwrap().into());
    let to = ServerName::try_from(name.to_owned()).unwrap();
    let mut client: Result<_, TlsFailure> = Ok(ClientConnection::new(client.current(Above::Http), to).unwrap().into());
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    loop {
        client = step(client, &mut to_client, &mut to_server, |error| TlsFailure::from_client(error, name));
        server = step(server, &mut to_server, &mut to_client, TlsFailure::from_server);
        if to_server.is_empty() && to_client.is_empty() {
            break;
        }
    }
    Outcome {
        server: server.map(|connection: Connection| match connection {
            Connection::Server(connection) => connection,
            Connection::Client(_) => unreachable!(),
        }),
        client: client.map(|connection: Connection| match connection {
            Connection::Client(connection) => connection,
            Connection::Server(_) => unreachable!(),
        }),
    }
}

fn step(
    side: Result<Connection, TlsFailure>,
    input: &mut Vec<u8>,
    output: &mut Vec<u8>,
    failure: impl Fn(&rustls::Error) -> TlsFailure,
) -> Result<Connection, TlsFailure> {
    let read = std::mem::take(input);
    let (mut side, mut rest, mut error) = (side?, &read[..], None);
    while !rest.is_empty() && error.is_none() {
        side.read_tls(&mut rest).unwrap();
        error = side.process_new_packets().err();
    }
    while side.wants_write() {
        side.write_tls(output).unwrap();
    }
    match error {
        Some(error) => Err(failure(&error)),
        None => Ok(side),
    }
}

/// A folder of a test, which goes away with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("sockeye-tls-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Pem {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        Pem::file(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
