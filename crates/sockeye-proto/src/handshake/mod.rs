//! The opening handshake (RFC 6455 section 4).
//!
//! * [`server`]: recognises a handshake request ([`Offer`](server::Offer)) and answers it.
//! * [`client`]: writes the request ([`UpgradeRequest`](client::UpgradeRequest)) and checks the
//!   response.
//! * [`key`]: `Sec-WebSocket-Key` and `Sec-WebSocket-Accept`.
//! * [`origin`], [`host`]: allow lists against scripts of other sites and against DNS rebinding.

pub mod client;
pub mod host;
pub mod key;
pub mod origin;
pub mod server;

mod misuse;

pub use self::misuse::{ApiMisuse, check_extra};

/// The value of `Sec-WebSocket-Version`. RFC 6455 section 4.1: "The value of this header field MUST
/// be 13."
pub const VERSION: &str = "13";
