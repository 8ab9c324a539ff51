//! The client's side: whom it trusts, what it shows, and what it remembers.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::ClientConfig;
use rustls::KeyLog;
use rustls::RootCertStore;
use rustls::client::Resumption;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::sign::SingleCertAndKey;

use super::choice::Above;
use super::choice::Provider;
use super::choice::TlsVersion;
use super::error::LoadError;
use super::error::LoadErrorKind;
use super::pair;
use super::pair::Pair;
use super::pem::Pem;
use super::roots;
use super::server::HTTP;
use super::verify::Verifier;

/// How a client speaks TLS: whom it trusts, and the certificate that it shows if it is asked for one.
///
/// It is cheap to clone. Clones share what they remember of servers, so that a reconnect resumes its session: keep one for all
/// connections. Sessions with 256 servers are remembered, in memory only.
///
/// ```no_run
/// # #[cfg(feature = "tls-ring")] {
/// use sockeye::tls::{ClientTls, Pem, Provider, TlsVersion};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tls = ClientTls::builder(Provider::Ring)
///     .system_roots()
///     .roots(Pem::file("our-own-ca.pem"))
///     .least_version(TlsVersion::Tls13)
///     .build()?;
/// # #[cfg(feature = "client")]
/// let feed = sockeye::Connect::new("wss://example.com/feed")?.tls(tls.clone());
/// # Ok(()) }
/// # }
/// ```
#[derive(Clone)]
pub struct ClientTls(Arc<Shared>);

struct Shared {
    plan: ClientTlsBuilder,
    config: Arc<ClientConfig>,
    /// For raw connections: no protocol is offered.
    raw: Arc<ClientConfig>,
}

impl ClientTls {
    /// Begins with the cryptography of `provider`, and trusts the roots of the system.
    pub fn builder(provider: Provider) -> ClientTlsBuilder {
        ClientTlsBuilder {
            provider,
            roots: Vec::new(),
            has_system_roots: false,
            pins: Vec::new(),
            own: None,
            least_version: TlsVersion::Tls12,
            key_log: None,
            verifies: true,
        }
    }

    /// The same, with sessions of its own and none of them yet: servers cannot tell by a ticket that a connection with it and
    /// one with the other are of the same client (RFC 8446 appendix C.4). Nothing is read anew.
    #[must_use]
    pub fn with_own_sessions(&self) -> Self {
        self.with(Resumption::in_memory_sessions(REMEMBERED_SERVERS))
    }

    /// The same, but it remembers no session: every handshake is a full one.
    #[must_use]
    pub fn without_sessions(&self) -> Self {
        self.with(Resumption::disabled())
    }

    fn with(&self, resumption: Resumption) -> Self {
        let mut config = (*self.0.config).clone();
        config.resumption = resumption;
        Self::of_config(self.0.plan.clone(), config)
    }

    /// One with a configuration of the test's own.
    #[cfg(test)]
    pub(crate) fn of(config: ClientConfig) -> Self {
        #[cfg(feature = "tls-ring")]
        let provider = Provider::Ring;
        #[cfg(not(feature = "tls-ring"))]
        let provider = Provider::AwsLc;
        Self::of_config(Self::builder(provider), config)
    }

    /// What new handshakes use.
    pub(crate) fn current(&self, above: Above) -> Arc<ClientConfig> {
        match above {
            Above::Http => self.0.config.clone(),
            Above::Raw => self.0.raw.clone(),
        }
    }

    fn of_config(plan: ClientTlsBuilder, config: ClientConfig) -> Self {
        let mut raw = config.clone();
        raw.alpn_protocols.clear();
        Self(Arc::new(Shared { plan, config: Arc::new(config), raw: Arc::new(raw) }))
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("plan", &self.0.plan).finish_non_exhaustive()
    }
}

/// Makes a [`ClientTls`]. See [`ClientTls::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ClientTlsBuilder {
    provider: Provider,
    roots: Vec<Pem>,
    has_system_roots: bool,
    pins: Vec<String>,
    own: Option<Pair>,
    least_version: TlsVersion,
    key_log: Option<PathBuf>,
    verifies: bool,
}

impl ClientTlsBuilder {
    /// Trusts these roots, and no longer those of the system. A server may also show one of these certificates itself, such as a
    /// self-signed one, whether or not it is an authority's: then its name and its dates are verified, and that it has the key.
    pub fn roots(mut self, roots: Pem) -> Self {
        self.roots.push(roots);
        self
    }

    /// Trusts the roots of the system as well as those of [`roots`](Self::roots). They are where OpenSSL looks for them, or
    /// where the environment variables `SSL_CERT_FILE` and `SSL_CERT_DIR` say.
    pub fn system_roots(mut self) -> Self {
        self.has_system_roots = true;
        self
    }

    /// Requires that the server has this key, or another that is pinned. The certificate is verified all the same. The text is that of
    /// curl's `--pinnedpubkey`, `sha256//` and the SHA-256 of the public key in base64; several are separated by `;`.
    /// [`Certificate::pin`](super::Certificate::pin) is the one of a server, and a [`TlsFailure`](super::TlsFailure) has the one that
    /// came instead.
    pub fn pin(mut self, pin: impl Into<String>) -> Self {
        self.pins.push(pin.into());
        self
    }

    /// The certificate to show to servers that ask for one, followed by those of its issuers, and its private key.
    pub fn certificate(mut self, chain: Pem, key: Pem) -> Self {
        self.own = Some(Pair { chain, key });
        self
    }

    /// The least version; TLS 1.2 unless it is called.
    pub fn least_version(mut self, version: TlsVersion) -> Self {
        self.least_version = version;
        self
    }

    /// Appends the secrets of all connections to a file, in the format of NSS that Wireshark reads. **Who has this file can
    /// read all that is sent.** Only its owner may read it if it is made here. Writing it may wait for a disk.
    pub fn key_log(mut self, path: impl Into<PathBuf>) -> Self {
        self.key_log = Some(path.into());
        self
    }

    /// Connects to whatever answers: **anybody on the way can read and change all that is sent**. Only pins are still
    /// verified: with a [`pin`](Self::pin) the server is the one that has this key, whatever its certificate says about
    /// issuer, names and dates.
    pub fn dangerous_verify_nothing(mut self) -> Self {
        self.verifies = false;
        self
    }

    /// Reads all files, and the roots of the system if they are trusted.
    ///
    /// # Errors
    ///
    /// A file cannot be read or used, a text is not a pin, or there are no roots.
    pub fn build(self) -> Result<ClientTls, LoadError> {
        let crypto = self.provider.crypto();
        let verifier = self.verifier(&crypto)?;
        let builder = ClientConfig::builder_with_provider(crypto.clone())
            .with_protocol_versions(self.least_version.and_later())
            .map_err(roots::refused)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &self.own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let loaded = pair::load(own, &crypto, None)?;
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(loaded.certified)))
            }
        };
        config.alpn_protocols = vec![HTTP.to_vec()];
        config.enable_early_data = false;
        config.resumption = Resumption::in_memory_sessions(REMEMBERED_SERVERS);
        if let Some(path) = &self.key_log {
            config.key_log = Arc::new(KeyLogFile::open(path)?);
        }
        Ok(ClientTls::of_config(self, config))
    }

    fn verifier(&self, crypto: &Arc<CryptoProvider>) -> Result<Verifier, LoadError> {
        let mut pins = Vec::new();
        for pin in self.pins.iter().flat_map(|pins| pins.split(';')) {
            pins.push(parse_pin(pin)?);
        }
        let (mut trusted, mut given) = (RootCertStore::empty(), Vec::new());
        if self.verifies {
            for pem in &self.roots {
                given.extend(roots::add(&mut trusted, pem)?);
            }
            if self.roots.is_empty() || self.has_system_roots {
                roots::add_system(&mut trusted)?;
            }
        }
        let roots = Arc::new(trusted);
        let chain = if self.verifies {
            let builder = WebPkiServerVerifier::builder_with_provider(roots.clone(), crypto.clone());
            Some(builder.build().map_err(|error| {
                LoadError::configuration(LoadErrorKind::NoRoots, format!("there are no roots to trust: {error}"))
            })?)
        } else {
            None
        };
        Ok(Verifier { chain, roots, given, pins, crypto: crypto.clone() })
    }
}

fn parse_pin(text: &str) -> Result<[u8; 32], LoadError> {
    let bytes = text.trim().strip_prefix("sha256//").and_then(|base64| BASE64_STANDARD.decode(base64).ok());
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| {
        let text = format!(
            "{text:?} is not a pin, which is sha256// and the SHA-256 of the public key in 44 characters of base64"
        );
        LoadError::configuration(LoadErrorKind::InvalidPin, text)
    })
}

/// Secrets of connections as Wireshark reads them.
struct KeyLogFile(Mutex<File>);

impl KeyLogFile {
    fn open(path: &Path) -> Result<Self, LoadError> {
        let file = File::options().append(true).create(true).mode(0o600).open(path).map_err(|error| {
            let text = format!("secrets cannot be written there: {error}");
            LoadError::new(LoadErrorKind::Unreadable, Some(path), text).because(error)
        })?;
        Ok(Self(Mutex::new(file)))
    }
}

impl KeyLog for KeyLogFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        // One write for each line: several processes may append to one file.
        let line = format!("{label} {} {}\n", hex(client_random), hex(secret));
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(line.as_bytes()) {
            tracing::warn!(%error, "a secret was not written to the key log");
        }
    }
}

impl fmt::Debug for KeyLogFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyLogFile").finish_non_exhaustive()
    }
}

/// Of how many servers a session is remembered.
const REMEMBERED_SERVERS: usize = 256;
