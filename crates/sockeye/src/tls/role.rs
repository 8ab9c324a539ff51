//! The two sides of a handshake.

use std::fmt;

#[cfg(feature = "client")]
use super::client::ClientTls;
use super::server::ServerTls;

/// Which side of a handshake this one is, and with what:
/// [`ConnectionMut::start_tls`](crate::protocol::ConnectionMut::start_tls) takes it.
///
/// ```no_run
/// # #[cfg(feature = "tls-ring")] {
/// use sockeye::tls::{ClientTls, Pem, Provider, ServerTls, TlsRole};
///
/// # fn main() -> Result<(), sockeye::tls::LoadError> {
/// let server = ServerTls::builder(Provider::Ring).certificate(Pem::file("cert.pem"), Pem::file("key.pem")).build()?;
/// let accepting = TlsRole::server(server);
/// let connecting = TlsRole::client(ClientTls::builder(Provider::Ring).build()?, "mail.example.com");
/// # let _ = (accepting, connecting);
/// # Ok(()) }
/// # }
/// ```
#[derive(Clone)]
pub struct TlsRole(pub(crate) Role);

#[derive(Clone)]
pub(crate) enum Role {
    Server(ServerTls),
    /// Of the server of this name.
    #[cfg(feature = "client")]
    Client(ClientTls, Box<str>),
}

impl TlsRole {
    /// This side has the certificate.
    #[must_use]
    pub fn server(tls: ServerTls) -> Self {
        Self(Role::Server(tls))
    }

    /// The peer has a certificate, which must be for `name`: a host name or an IP address.
    #[cfg(feature = "client")]
    #[cfg_attr(docsrs, doc(cfg(feature = "client")))]
    #[must_use]
    pub fn client(tls: ClientTls, name: &str) -> Self {
        Self(Role::Client(tls, name.into()))
    }
}

impl fmt::Debug for TlsRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Role::Server(_) => f.write_str("TlsRole::Server"),
            #[cfg(feature = "client")]
            Role::Client(_, name) => write!(f, "TlsRole::Client({name})"),
        }
    }
}
