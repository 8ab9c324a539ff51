//! Why a handshake failed: which rule was broken, and what to do.

use std::fmt;

/// A handshake that failed, or a record that was none.
#[derive(Clone, Debug)]
pub(crate) struct TlsFailure(Box<rustls::Error>);

impl TlsFailure {
    /// What a server met.
    pub(crate) fn from_server(error: &rustls::Error) -> Self {
        Self(Box::new(error.clone()))
    }

    /// What a client met that asked for `name`.
    pub(crate) fn from_client(error: &rustls::Error, _name: &str) -> Self {
        Self(Box::new(error.clone()))
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for TlsFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}
