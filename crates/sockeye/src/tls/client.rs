//! The client's side: what it trusts, and what it shows.

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;

/// Roots and rules of connections of our own. Clones share one state, the sessions to resume among it.
#[derive(Clone)]
pub(crate) struct ClientTls(Arc<ClientConfig>);

impl ClientTls {
    /// What new handshakes use.
    pub(crate) fn current(&self) -> Arc<ClientConfig> {
        self.0.clone()
    }

    #[cfg(test)]
    pub(crate) fn of(config: ClientConfig) -> Self {
        Self(Arc::new(config))
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").finish_non_exhaustive()
    }
}
