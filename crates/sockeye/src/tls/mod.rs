//! TLS: certificates and keys, whom to trust, and why a handshake failed.
//!
//! [`ServerTls`] is what a server needs: certificates by name, versions, client certificates. [`ClientTls`] is what a client
//! needs: roots, pinned keys, a certificate of its own. Both are made by a builder that checks all there is to check, so that what is wrong is
//! said at the start and not by the first peer. [`TlsFailure`] says which rule a handshake broke.
//!
//! The cryptography is that of a [`Provider`], which has to be named.
//!
//! No type of rustls is in a public signature, so that its next version does not change this interface.

mod agreed;
mod certificate;
mod choice;
#[cfg(feature = "client")]
mod client;
mod error;
mod failure;
mod hello;
mod identity;
mod names;
mod pair;
mod pem;
mod record;
mod role;
mod roots;
mod server;
mod session;
mod subject;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(all(test, feature = "client"))]
mod tests;
#[cfg_attr(not(feature = "client"), allow(dead_code, reason = "only clients verify servers"))]
mod verify;

pub use self::agreed::TlsAgreement;
pub use self::certificate::Certificate;
pub use self::certificate::SubjectName;
pub use self::choice::Provider;
pub use self::choice::TlsVersion;
#[cfg(feature = "client")]
pub use self::client::ClientTls;
#[cfg(feature = "client")]
pub use self::client::ClientTlsBuilder;
pub use self::error::LoadError;
pub use self::error::LoadErrorKind;
pub use self::failure::TlsFailure;
pub use self::failure::TlsFailureKind;
pub use self::identity::PeerIdentity;
pub use self::pem::Pem;
pub use self::role::TlsRole;
pub use self::server::ClientCertificates;
pub use self::server::Reloaded;
pub use self::server::ServerTls;
pub use self::server::ServerTlsBuilder;

pub(crate) use self::choice::Above;
pub(crate) use self::record::{Front, HEADER, RECORD, SEALED_RECORD, Sealed};
pub(crate) use self::role::Role;
pub(crate) use self::session::{CannotSeal, Opened, Sealer, Session, Whole};
