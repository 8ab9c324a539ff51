//! The opening handshake (RFC 6455 section 4).
//!
//! * [`key`]: `Sec-WebSocket-Key` and its answer.
//! * [`server`]: is a request an offer to speak WebSocket, and the answer to it.
//! * [`client`]: the request, and the check of the response.
//! * [`origin`], [`host`]: allow lists against scripts of other sites and against DNS rebinding.

pub mod client;
pub mod host;
pub mod key;
pub mod origin;
pub mod server;

mod misuse;

pub use self::misuse::ApiMisuse;

/// The version of the protocol: RFC 6455 section 4.1, "The value of this header field MUST be 13."
pub const VERSION: &str = "13";
