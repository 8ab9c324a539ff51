//! HTTP/1.1 as far as a WebSocket server and client need it, and strictly (RFC 9110, RFC 9112).
//!
//! Top to bottom, in the order in which a request meets them:
//!
//! * [`HeadScanner`]: finds the end of a head in bytes that arrive in any pieces; looks at each byte once; enforces the
//!   limits.
//! * [`RequestHead`] and [`ResponseHead`]: the parsed head, borrowed from the buffer, with its [`Fields`].
//! * [`body`]: how long the body is, and a decoder for it.
//! * [`target`]: the one normaliser of request targets, for upgrades and plain requests alike.
//! * [`conditional`], [`range`]: what a request wants of a representation that has a validator.
//! * [`emit`], [`date`]: writing a response head.
//!
//! Before editing: two recipients that disagree on where a message ends are a request-smuggling hole. So everything
//! doubtful is refused here, never repaired, also where the RFC would let us repair it.

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
