//! What a program must not put into a handshake.

use core::fmt;

use crate::http::emit::{self, InvalidField};
use crate::http::syntax;

/// The calling program asked for a handshake that must not be written. Nothing was written.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ApiMisuse {
    /// The host is not a name or address with an optional port.
    Host,
    /// The target does not begin with `/`, or has a space, a control character, `#` or a character
    /// outside ASCII.
    Target,
    /// The origin is neither `null` nor `scheme://host[:port]`.
    Origin,
    /// The name of a subprotocol is not a token.
    Protocol,
    /// A subprotocol is offered twice.
    ProtocolRepeated,
    /// The client did not offer the subprotocol.
    ProtocolNotOffered,
    /// A field name is not a token.
    FieldName,
    /// A field value has a control character.
    FieldValue,
    /// The handshake writes the field itself, or the field would change where the message ends.
    FieldReserved,
}

impl fmt::Display for ApiMisuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "the host must be a name or address with an optional port",
            Self::Target => "the target must begin with / and be visible ASCII without #",
            Self::Origin => "the origin must be null or scheme://host[:port]",
            Self::Protocol => "a subprotocol must be a token",
            Self::ProtocolRepeated => "a subprotocol must be offered only once",
            Self::ProtocolNotOffered => "the subprotocol was not offered by the client",
            Self::FieldName => "a field name must be a token",
            Self::FieldValue => "a field value must not have control characters",
            Self::FieldReserved => "the field is written by the handshake itself",
        })
    }
}

impl core::error::Error for ApiMisuse {}

impl From<InvalidField> for ApiMisuse {
    fn from(error: InvalidField) -> Self {
        match error {
            InvalidField::Name => Self::FieldName,
            InvalidField::Value => Self::FieldValue,
        }
    }
}

/// Checks that the calling program may add this field to a handshake.
///
/// # Errors
/// [`ApiMisuse::FieldName`], [`ApiMisuse::FieldValue`], [`ApiMisuse::FieldReserved`].
pub fn check_extra(name: &str, value: &str) -> Result<(), ApiMisuse> {
    emit::check_field(name, value)?;
    let websocket = name.as_bytes().get(..14).is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"sec-websocket-"));
    if websocket || RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name)) {
        return Err(ApiMisuse::FieldReserved);
    }
    Ok(())
}

/// RFC 6455 section 4.1: a subprotocol is a "non-empty string with characters in the range U+0021
/// to U+007E not including separator characters": a token.
pub(super) fn check_protocol(name: &str) -> Result<(), ApiMisuse> {
    if syntax::is_token(name.as_bytes()) { Ok(()) } else { Err(ApiMisuse::Protocol) }
}

const RESERVED: [&str; 6] = ["connection", "content-length", "host", "transfer-encoding", "trailer", "upgrade"];
