//! TLS on real and simulated sockets. rustls has random numbers of its own, so no two runs are the same to the byte.

mod client;
mod compressed;
mod hostile;
mod proxied;
mod raw;
mod routes;
mod scripted;
mod server;
mod stalls;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use sockeye::tls::{ClientCertificates, ClientTls, Pem, Provider, ServerTls};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];

static ISSUERS: AtomicU64 = AtomicU64::new(0);

/// A server for `localhost`, and a client of rustls that trusts it and speaks one version.
struct Certified {
    server: ServerTls,
    /// The same server by rustls alone.
    server_of_rustls: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    /// A client of the service that does the same, in any version.
    own: ClientTls,
    /// A server that also asks for certificates, of the same issuer.
    asking: ServerTls,
    /// A server that refuses who has none.
    strict: ServerTls,
    /// A client that has one, for `client.example`.
    client_with_certificate: Arc<ClientConfig>,
    /// A client of the service that has the same one.
    own_with_certificate: ClientTls,
}

fn certified(version: &'static SupportedProtocolVersion) -> Certified {
    let mut authority = CertificateParams::default();
    // Another name for each: issuers of one name would be taken for one with another key.
    let number = ISSUERS.fetch_add(1, Ordering::Relaxed);
    authority.distinguished_name.push(DnType::CommonName, format!("issuer {number}"));
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server_of_rustls = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(authority.der().to_vec())).unwrap();
    let (chain, key) = (Pem::bytes(own.pem()), Pem::bytes(key.serialize_pem()));
    let server = ServerTls::builder(Provider::Ring).certificate(chain, key);
    let roots_of_clients = ClientCertificates::optional(Pem::bytes(authority.pem()));
    let asking = server.clone().client_certificates(roots_of_clients).build().unwrap();
    let strict = ClientCertificates::required(Pem::bytes(authority.pem()));
    let strict = server.clone().client_certificates(strict).build().unwrap();
    let server = server.build().unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots);
    let its_key = KeyPair::generate().unwrap();
    let its_own =
        CertificateParams::new(["client.example".to_owned()]).unwrap().signed_by(&its_key, &authority).unwrap();
    let own = ClientTls::builder(Provider::Ring).roots(Pem::bytes(authority.pem()));
    let with_own = own.clone().certificate(Pem::bytes(its_own.pem()), Pem::bytes(its_key.serialize_pem()));
    let its_key = PrivateKeyDer::try_from(its_key.serialize_der()).unwrap();
    let with_certificate = client.clone().with_client_auth_cert(vec![its_own.der().clone()], its_key).unwrap();
    Certified {
        server,
        server_of_rustls: Arc::new(server_of_rustls),
        client: Arc::new(client.with_no_client_auth()),
        own: own.build().unwrap(),
        asking,
        strict,
        own_with_certificate: with_own.build().unwrap(),
        client_with_certificate: Arc::new(with_certificate),
    }
}
