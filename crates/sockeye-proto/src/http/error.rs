//! Why a head is refused, and the matching status.

use core::fmt;

/// A rule of HTTP that a head breaks. Always a fault of the peer.
///
/// The end of such a message is unknown: answer with [`status`](Self::status) and close the
/// connection.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum HeadError {
    /// The head is not complete. Only returned by `parse`.
    Incomplete,
    /// A line does not end in CR LF, or there is a CR or LF elsewhere.
    LineEnd,
    /// It begins with a TLS record.
    Tls,
    /// An answer that begins as SSH does.
    Ssh,
    /// An answer that does not begin with `HTTP/`.
    NotHttp,
    /// A control character, NUL included.
    Control,
    /// A line begins with white space: a folded field. Responses may have them.
    Folded,
    /// More bytes than [`ProtocolLimits::head_bytes`](crate::limits::ProtocolLimits::head_bytes).
    HeadTooLong,
    /// More field lines than
    /// [`ProtocolLimits::head_lines`](crate::limits::ProtocolLimits::head_lines).
    TooManyLines,
    /// A start line longer than
    /// [`ProtocolLimits::request_line_bytes`](crate::limits::ProtocolLimits::request_line_bytes).
    StartLineTooLong,
    /// A start line that is not `method SP target SP version` or `version SP status SP reason`.
    StartLine,
    /// A version of HTTP other than 1.0 and 1.1.
    Version,
    /// A field name that is empty, is not a token, or is not directly followed by a colon.
    FieldName,
    /// A field value with a forbidden character.
    FieldValue,
    /// No `Host` in an HTTP/1.1 request.
    HostMissing,
    /// More than one `Host`.
    HostRepeated,
    /// A `Host` that is not a host with an optional port.
    HostInvalid,
    /// A request target in an unsupported form, or with a forbidden character.
    Target,
    /// A percent sign that is not followed by two hexadecimal digits.
    TargetEscape,
    /// A decoded path that is not UTF-8, or holds NUL, a backslash or an encoded slash.
    TargetPath,
    /// A path whose `..` segments lead above the root.
    TargetAboveRoot,
    /// A `Content-Length` that is not one decimal number below 2^63.
    LengthInvalid,
    /// More than one `Content-Length`.
    LengthRepeated,
    /// Both `Content-Length` and `Transfer-Encoding`.
    LengthAndEncoding,
    /// `Transfer-Encoding` in an HTTP/1.0 message.
    EncodingOld,
    /// A `Transfer-Encoding` that does not end in exactly one chunked coding.
    EncodingInvalid,
    /// A transfer coding other than chunked. None is supported.
    EncodingUnknown,
}

impl HeadError {
    /// The HTTP status to answer with.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            // RFC 9112 section 3: "A server that receives a request-target longer than any URI it
            // wishes to parse MUST respond with a 414 (URI Too Long) status code".
            Self::StartLineTooLong => 414,
            // RFC 6585 section 5: 431 is for "when the set of request header fields in total is too
            // large", or a single one is.
            Self::HeadTooLong | Self::TooManyLines => 431,
            // RFC 9112 section 6.1: "A server that receives a request message with a transfer
            // coding it does not understand SHOULD respond with 501 (Not Implemented)."
            Self::EncodingUnknown => 501,
            // RFC 9110 section 15.6.6: the server "does not support, or refuses to support, the
            // major version of HTTP that was used in the request message".
            Self::Version => 505,
            _ => 400,
        }
    }

    const fn rule(self) -> &'static str {
        match self {
            Self::Incomplete => "the head is not complete",
            Self::LineEnd => "a line must end in CR LF (RFC 9112 section 2.2)",
            Self::Tls => "it begins with a TLS record, so TLS is spoken on this port",
            Self::Ssh => "it begins as SSH does",
            Self::NotHttp => "it does not begin with HTTP/ (RFC 9112 section 2.3)",
            Self::Control => "control characters are forbidden in a head (RFC 9110 section 5.5)",
            Self::Folded => "a field line must not begin with white space (RFC 9112 section 5.2)",
            Self::HeadTooLong => "the head is too long",
            Self::TooManyLines => "the head has too many field lines",
            Self::StartLineTooLong => "the first line is too long",
            Self::StartLine => "the first line is malformed (RFC 9112 sections 3 and 4)",
            Self::Version => "only HTTP/1.0 and HTTP/1.1 are supported",
            Self::FieldName => "a field name must be a token, directly followed by a colon (RFC 9112 section 5.1)",
            Self::FieldValue => "a field value has a forbidden character (RFC 9110 section 5.5)",
            Self::HostMissing => "a request must have a Host field (RFC 9112 section 3.2)",
            Self::HostRepeated => "a request must have one Host field only (RFC 9112 section 3.2)",
            Self::HostInvalid => "the Host field is not a host with an optional port (RFC 9110 section 7.2)",
            Self::Target => "the request target is malformed (RFC 9112 section 3.2)",
            Self::TargetEscape => "a percent sign needs two hexadecimal digits (RFC 3986 section 2.1)",
            Self::TargetPath => "the path has a forbidden character",
            Self::TargetAboveRoot => "the path leads above the root",
            Self::LengthInvalid => "Content-Length must be one decimal number (RFC 9110 section 8.6)",
            Self::LengthRepeated => "Content-Length is given more than once (RFC 9112 section 6.3)",
            Self::LengthAndEncoding => "Content-Length and Transfer-Encoding exclude each other (RFC 9112 section 6.1)",
            Self::EncodingOld => "HTTP/1.0 has no Transfer-Encoding (RFC 9112 section 6.1)",
            Self::EncodingInvalid => "Transfer-Encoding must end in one chunked (RFC 9112 section 6.3)",
            Self::EncodingUnknown => "chunked is the only supported transfer coding",
        }
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule())
    }
}

impl core::error::Error for HeadError {}
