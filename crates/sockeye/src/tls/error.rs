//! Why certificates, keys and roots could not be used: always with the file, and with what to do.

use std::error;
use std::fmt;
use std::io;
use std::path::Path;

/// Why a [`ServerTls`](super::ServerTls) or [`ClientTls`](super::ClientTls) could not be built, or not be loaded again.
///
/// `Display` names the file, what is wrong with it, and what to do. `Debug` prints the same, because that is what is shown when
/// `main` returns an error.
///
/// ```
/// # #[cfg(feature = "tls-ring")] {
/// use sockeye::tls::{LoadErrorKind, Pem, Provider, ServerTls};
///
/// let error = ServerTls::builder(Provider::Ring)
///     .certificate(Pem::file("/no/such/cert.pem"), Pem::file("/no/such/key.pem"))
///     .build()
///     .unwrap_err();
/// assert_eq!(error.kind(), LoadErrorKind::Unreadable);
/// assert!(error.to_string().starts_with("/no/such/cert.pem: cannot be read: No such file"));
/// # }
/// ```
pub struct LoadError(Box<Inner>);

struct Inner {
    kind: LoadErrorKind,
    path: Option<Box<Path>>,
    text: String,
    cause: Option<Box<dyn error::Error + Send + Sync>>,
}

/// What a [`LoadError`] is about.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum LoadErrorKind {
    /// The system refused to open or to read a file.
    Unreadable,
    /// The file is longer than such files are.
    TooLong,
    /// What should be PEM is something else, or damaged.
    NotPem,
    /// There is no certificate in it.
    NoCertificate,
    /// There is no private key in it.
    NoKey,
    /// The private key is encrypted.
    EncryptedKey,
    /// The private key is damaged, or of a kind that the provider does not have.
    UnusableKey,
    /// The private key is not that of the certificate.
    KeyMismatch,
    /// A certificate is damaged, or of a kind that is not supported.
    UnusableCertificate,
    /// The certificates are not each followed by the one that issued it.
    WrongOrder,
    /// The certificate has expired.
    Expired,
    /// The certificate is not valid yet.
    NotYetValid,
    /// There are no roots to trust.
    NoRoots,
    /// There is no revocation list, or it is unusable.
    UnusableRevocations,
    /// The text is not a pin.
    InvalidPin,
    /// What was asked for is contradictory, or the provider cannot do it.
    Configuration,
}

impl LoadError {
    /// `path` is the file to blame, if what was read came from one.
    pub(super) fn new(kind: LoadErrorKind, path: Option<&Path>, text: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, path: path.map(Into::into), text: text.into(), cause: None }))
    }

    /// An error that no file is to blame for.
    pub(super) fn configuration(kind: LoadErrorKind, text: impl Into<String>) -> Self {
        Self::new(kind, None, text)
    }

    pub(super) fn because(mut self, cause: impl error::Error + Send + Sync + 'static) -> Self {
        self.0.cause = Some(Box::new(cause));
        self
    }

    /// What it is about.
    pub fn kind(&self) -> LoadErrorKind {
        self.0.kind
    }

    /// The file to blame, if it is one.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// What the system said, if it refused a file.
    pub fn io_error(&self) -> Option<&io::Error> {
        self.0.cause.as_ref()?.downcast_ref()
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path() {
            Some(path) => write!(f, "{}: {}", path.display(), self.0.text),
            None => f.write_str(&self.0.text),
        }
    }
}

impl fmt::Debug for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl error::Error for LoadError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.0.cause.as_deref().map(|cause| cause as &(dyn error::Error + 'static))
    }
}
