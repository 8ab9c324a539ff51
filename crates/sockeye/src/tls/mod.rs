//! TLS: certificates, roots, and what went wrong.
//!
//! The configuration is here; the session that opens and seals the records of one connection is below `transport`. No type of
//! rustls is in a public signature, so that its next version does not change this interface.

mod client;
mod failure;
mod server;

pub(crate) use self::client::ClientTls;
pub(crate) use self::failure::TlsFailure;
pub(crate) use self::server::ServerTls;
