//! The server's side: certificates, who may connect, and how both are exchanged while connections are open.

use std::fmt;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::time::SystemTime;

use rustls::CertRevocationListError;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;
use rustls::server::ProducesTickets;
use rustls::server::VerifierBuilderError;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::SigningKey;

use super::certificate::Certificate;
use super::choice::Above;
use super::choice::Provider;
use super::choice::TlsVersion;
use super::error::LoadError;
use super::error::LoadErrorKind;
use super::names::Names;
use super::pair;
use super::pair::Pair;
use super::pem::Pem;
use super::roots;

/// How a server speaks TLS: its certificates and keys, the versions, and whether clients show certificates too.
///
/// It is cheap to clone, and all clones are one: [`reload`](Self::reload) is seen by all listeners and threads at once.
///
/// ```no_run
/// # #[cfg(feature = "tls-ring")] {
/// use sockeye::tls::{Pem, Provider, ServerTls};
///
/// # fn main() -> Result<(), sockeye::tls::LoadError> {
/// let tls = ServerTls::builder(Provider::Ring)
///     .certificate(Pem::file("example.com.pem"), Pem::file("example.com.key"))
///     .certificate(Pem::file("example.org.pem"), Pem::file("example.org.key"))
///     .build()?;
/// for certificate in tls.certificates().iter() {
///     println!("{:?} until {:?}", certificate.names(), certificate.not_after());
/// }
/// // Later, when files have been renewed:
/// if let Err(error) = tls.reload() {
///     eprintln!("the old certificates stay in use: {error}");
/// }
/// let listen = sockeye::service::Listen::new("[::]:443").tls(tls); // for `Builder::listener`
/// # drop(listen);
/// # Ok(()) }
/// # }
/// ```
///
/// Clients may resume a session: they get one ticket, sealed by a key that is replaced every six hours and known to this process
/// only. Nothing is kept for them here. Early data is never accepted, since a request to open a WebSocket must not be replayed
/// (RFC 8446 section 8). Above it HTTP/1.1 is spoken, but on raw connections: a client that offers others by ALPN, and not `http/1.1`, is refused with the alert
/// `no_application_protocol` (RFC 7301 section 3.2).
#[derive(Clone)]
pub struct ServerTls(Arc<Shared>);

struct Shared {
    plan: ServerTlsBuilder,
    crypto: Arc<CryptoProvider>,
    /// Kept over reloads, so that tickets stay valid. `None` if clients show certificates: a resumed session would skip their
    /// verification.
    ticketer: Option<Arc<dyn ProducesTickets>>,
    loaded: RwLock<Loaded>,
    /// Reloads go one after another, else an older one could win.
    reloading: Mutex<()>,
}

struct Loaded {
    config: Arc<ServerConfig>,
    /// For raw connections: no protocol is chosen.
    raw: Arc<ServerConfig>,
    certificates: Arc<[Certificate]>,
    keys: Vec<Arc<dyn SigningKey>>,
}

impl ServerTls {
    /// Begins with the cryptography of `provider`, without a certificate.
    pub fn builder(provider: Provider) -> ServerTlsBuilder {
        ServerTlsBuilder { provider, pairs: Vec::new(), least_version: TlsVersion::Tls12, clients: None }
    }

    /// What new handshakes use from now on.
    pub(crate) fn current(&self, above: Above) -> Arc<ServerConfig> {
        self.read(|loaded| match above {
            Above::Http => loaded.config.clone(),
            Above::Raw => loaded.raw.clone(),
        })
    }

    /// The certificates in use, in the order in which they were given.
    pub fn certificates(&self) -> Arc<[Certificate]> {
        self.read(|loaded| loaded.certificates.clone())
    }

    /// When each certificate expires, as a page for Prometheus has it:
    /// `sockeye_tls_certificate_expiry_timestamp_seconds{index="0",names="example.com"} 1924988399`.
    /// [`Routes::metrics_with_tls`](crate::http::Routes::metrics_with_tls) serves it with the counters.
    #[must_use]
    pub fn prometheus(&self) -> String {
        let mut page =
            format!("# HELP {GAUGE} When a certificate expires, in seconds since 1970\n# TYPE {GAUGE} gauge\n");
        for (index, certificate) in self.certificates().iter().enumerate() {
            let names: Vec<_> = certificate.names.iter().map(ToString::to_string).collect();
            let names = names.join(" ").replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let seconds = certificate.not_after.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
            // Writing to a `String` cannot fail.
            let _ = writeln!(page, "{GAUGE}{{index=\"{index}\",names=\"{names}\"}} {seconds}");
        }
        page
    }

    /// Reads all files again. New handshakes use what is there now; connections that are open, and handshakes under way, go on
    /// with what they have.
    ///
    /// A key that can no longer be read, because the process has given up the user who may, stays in use if the certificate
    /// still fits it; [`Reloaded::kept_keys`] names it.
    ///
    /// It reads files, and so it may wait for a disk. A service calls it from another thread if that matters.
    ///
    /// # Errors
    ///
    /// Something is wrong with one of the files. Then all that was in use stays in use.
    pub fn reload(&self) -> Result<Reloaded, LoadError> {
        let _one_at_a_time = self.0.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = self.read(|loaded| loaded.keys.clone());
        let (loaded, reloaded) = self.0.plan.load(&self.0.crypto, self.0.ticketer.as_ref(), &keys)?;
        *self.0.loaded.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(reloaded)
    }

    /// One with a configuration of the test's own, which cannot be loaded again.
    #[cfg(test)]
    pub(crate) fn of(config: ServerConfig) -> Self {
        #[cfg(feature = "tls-ring")]
        let provider = Provider::Ring;
        #[cfg(not(feature = "tls-ring"))]
        let provider = Provider::AwsLc;
        let (crypto, ticketer) = (config.crypto_provider().clone(), Some(config.ticketer.clone()));
        let config = Arc::new(config);
        let loaded = Loaded { raw: config.clone(), config, certificates: Arc::new([]), keys: Vec::new() };
        let (loaded, reloading) = (RwLock::new(loaded), Mutex::new(()));
        Self(Arc::new(Shared { plan: Self::builder(provider), crypto, ticketer, loaded, reloading }))
    }

    fn read<T>(&self, what: impl FnOnce(&Loaded) -> T) -> T {
        what(&self.0.loaded.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("plan", &self.0.plan).finish_non_exhaustive()
    }
}

/// What a [reload](ServerTls::reload) did.
#[derive(Debug)]
#[non_exhaustive]
pub struct Reloaded {
    /// The files of keys that could not be read, and why. The keys that they had before stay in use.
    pub kept_keys: Vec<(Box<Path>, io::Error)>,
}

/// Makes a [`ServerTls`]. See [`ServerTls::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ServerTlsBuilder {
    provider: Provider,
    pairs: Vec<Pair>,
    least_version: TlsVersion,
    clients: Option<ClientCertificates>,
}

impl ServerTlsBuilder {
    /// Adds a certificate, followed by those of its issuers, and its private key (PKCS #8, PKCS #1 or SEC 1). Both may be in one file.
    ///
    /// A client gets the certificate for the name that it asks for: one with exactly this name, else one with a wildcard for
    /// its first label, else the first that was added. If several are for one name, it gets the first whose kind of key it
    /// understands, so that an ECDSA and an RSA certificate can be beside each other.
    pub fn certificate(mut self, chain: Pem, key: Pem) -> Self {
        self.pairs.push(Pair { chain, key });
        self
    }

    /// The least version; TLS 1.2 unless it is called.
    pub fn least_version(mut self, version: TlsVersion) -> Self {
        self.least_version = version;
        self
    }

    /// Asks clients for certificates. Sessions are then not resumed, since each connection is to be verified.
    pub fn client_certificates(mut self, clients: ClientCertificates) -> Self {
        self.clients = Some(clients);
        self
    }

    /// Reads all files and checks them against each other.
    ///
    /// # Errors
    ///
    /// A file cannot be read or used, a key is not that of its certificate, a certificate has expired or is not valid yet, or none
    /// was given.
    pub fn build(self) -> Result<ServerTls, LoadError> {
        let crypto = self.provider.crypto();
        let ticketer = match &self.clients {
            Some(_) => None,
            None => Some(self.provider.ticketer().map_err(roots::refused)?),
        };
        let (loaded, _) = self.load(&crypto, ticketer.as_ref(), &[])?;
        let (loaded, reloading) = (RwLock::new(loaded), Mutex::new(()));
        Ok(ServerTls(Arc::new(Shared { plan: self, crypto, ticketer, loaded, reloading })))
    }

    /// Makes everything from the files. `keys` are those in use until now.
    fn load(
        &self,
        crypto: &Arc<CryptoProvider>,
        ticketer: Option<&Arc<dyn ProducesTickets>>,
        keys: &[Arc<dyn SigningKey>],
    ) -> Result<(Loaded, Reloaded), LoadError> {
        if self.pairs.is_empty() {
            let text = "a server that speaks TLS needs a certificate and its key";
            return Err(LoadError::configuration(LoadErrorKind::NoCertificate, text));
        }
        let (mut names, mut certificates, mut in_use, mut kept_keys) =
            (Names::default(), Vec::new(), Vec::new(), Vec::new());
        for (index, pair) in self.pairs.iter().enumerate() {
            let loaded = pair::load(pair, crypto, keys.get(index))?;
            names.add(loaded.certified.clone(), &loaded.certificate.names);
            in_use.push(loaded.certified.key.clone());
            certificates.push(loaded.certificate);
            kept_keys.extend(loaded.unreadable_key);
        }
        let builder = ServerConfig::builder_with_provider(crypto.clone())
            .with_protocol_versions(self.least_version.and_later())
            .map_err(roots::refused)?;
        let verifier = match &self.clients {
            Some(clients) => clients.verifier(crypto)?,
            None => WebPkiClientVerifier::no_client_auth(),
        };
        let mut config = builder.with_client_cert_verifier(verifier).with_cert_resolver(Arc::new(names));
        config.alpn_protocols = vec![HTTP.to_vec()];
        config.max_early_data_size = 0;
        // All that is needed to resume is in the tickets.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        if let Some(ticketer) = ticketer {
            // A connection is open for hours: a second ticket, which browsers ask for, would be 250 bytes for nothing.
            config.send_tls13_tickets = 1;
            config.ticketer = ticketer.clone();
        }
        let mut raw = config.clone();
        raw.alpn_protocols.clear();
        let (config, raw) = (Arc::new(config), Arc::new(raw));
        let loaded = Loaded { config, raw, certificates: certificates.into(), keys: in_use };
        Ok((loaded, Reloaded { kept_keys }))
    }
}

/// Which certificates clients have to show, or may.
///
/// ```
/// use sockeye::tls::{ClientCertificates, Pem};
///
/// let staff = ClientCertificates::required(Pem::file("staff-ca.pem")).revocations(Pem::file("staff-crl.pem"));
/// # let _ = staff;
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ClientCertificates {
    roots: Pem,
    revocations: Option<Pem>,
    are_required: bool,
}

impl ClientCertificates {
    /// A client needs a certificate that one of `roots` issued, or an authority below one; any other client is refused.
    pub fn required(roots: Pem) -> Self {
        Self { roots, revocations: None, are_required: true }
    }

    /// A client may have no certificate. One that it shows must be issued by one of `roots`, or by an authority below one.
    pub fn optional(roots: Pem) -> Self {
        Self { roots, revocations: None, are_required: false }
    }

    /// Refuses what these lists revoke (CRLs, RFC 5280 section 5). Then a list of each issuer of a chain is needed, and none may be out
    /// of date: what may have been revoked is refused.
    pub fn revocations(mut self, lists: Pem) -> Self {
        self.revocations = Some(lists);
        self
    }

    fn verifier(&self, crypto: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, LoadError> {
        let mut trusted = RootCertStore::empty();
        roots::add(&mut trusted, &self.roots)?;
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(trusted), crypto.clone());
        if let Some(lists) = &self.revocations {
            builder = builder.with_crls(lists.revocations()?).enforce_revocation_expiration();
        }
        if !self.are_required {
            builder = builder.allow_unauthenticated();
        }
        builder.build().map_err(|error| {
            let text = format!("cannot be used: {error}{}", hint_of_list(&error));
            let lists = self.revocations.as_ref().unwrap_or(&self.roots);
            LoadError::new(LoadErrorKind::UnusableRevocations, lists.path(), text).because(error)
        })
    }
}

/// What to do about a revocation list. `openssl ca -gencrl` writes version 1 by default, which is a failure to parse.
fn hint_of_list(error: &VerifierBuilderError) -> &'static str {
    match error {
        // RFC 5280 section 5.1.2.1: "this field MUST be present and MUST specify version 2"
        VerifierBuilderError::InvalidCrl(
            CertRevocationListError::ParseError
            | CertRevocationListError::UnsupportedCrlVersion
            | CertRevocationListError::InvalidCrlNumber,
        ) => "; is it of version 2, with a number? (openssl ca writes that if crlnumber and crl_extensions are set)",
        _ => "",
    }
}

const GAUGE: &str = "sockeye_tls_certificate_expiry_timestamp_seconds";

/// The protocol's name, RFC 7301 section 6.
pub(super) const HTTP: &[u8] = b"http/1.1";
