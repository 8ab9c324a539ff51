//! HTTP/1.1 as far as a WebSocket server and client need it, parsed strictly (RFC 9110, RFC 9112).
//!
//! In the order in which a request meets them:
//!
//! * [`HeadScanner`]: finds the end of a head in bytes that arrive in pieces. Reads each byte once
//!   and enforces the limits.
//! * [`RequestHead`] and [`ResponseHead`]: the parsed head with its [`Fields`], borrowed from the
//!   buffer.
//! * [`body`]: the length of a body, and a decoder for it.
//! * [`target`]: the only normaliser of request targets, for upgrades and plain requests.
//! * [`conditional`], [`range`]: conditional and range requests.
//! * [`emit`], [`date`]: writing a response head.

// Before editing: two recipients that disagree about where a message ends make request smuggling
// possible. So anything ambiguous is refused, never repaired, even where the RFC allows a repair.

pub mod body;
pub mod conditional;
pub mod date;
pub mod emit;
pub mod range;
pub mod target;

pub(crate) mod authority;
mod error;
mod fields;
mod head;
mod scan;
pub(crate) mod syntax;

pub use self::error::HeadError;
pub use self::fields::Fields;
pub use self::head::{RequestHead, ResponseHead, Version};
pub use self::scan::HeadScanner;
pub use self::syntax::is_token;
