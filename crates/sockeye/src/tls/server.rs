//! The server's side: what new handshakes use, and how it is exchanged.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;

/// Certificates and rules of listeners. Clones share one state: a reload is seen by all threads at once.
#[derive(Clone)]
pub(crate) struct ServerTls(Arc<RwLock<Arc<ServerConfig>>>);

impl ServerTls {
    /// What new handshakes use from now on.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    #[cfg(test)]
    pub(crate) fn of(config: ServerConfig) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(config))))
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}
