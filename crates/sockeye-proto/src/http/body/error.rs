//! Why a body is refused, and the matching status.

use core::fmt;

/// Why a body is refused. Always a fault of the peer. The end of the body is then unknown, so the
/// connection must be closed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum BodyError {
    /// More bytes than the limit, or a size that does not fit 64 bits.
    TooLarge,
    /// A chunk size that is not 1 to 16 hexadecimal digits.
    ChunkSize,
    /// A line of the chunked coding that does not end in CR LF, or chunk data longer than its size.
    LineEnd,
    /// A forbidden character in a chunk extension.
    Extension,
    /// A malformed trailer line.
    Trailer,
    /// Too many bytes of chunk extensions and trailers.
    Overhead,
}

impl BodyError {
    /// The HTTP status to answer with: 400 or 413.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            // RFC 9110 section 15.5.14: "the request content is larger than the server is willing
            // or able to process".
            Self::TooLarge => 413,
            _ => 400,
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "the body is too large",
            Self::ChunkSize => "a chunk size must be 1 to 16 hexadecimal digits (RFC 9112 section 7.1)",
            Self::LineEnd => "a line of a chunked body must end in CR LF (RFC 9112 section 7.1)",
            Self::Extension => "a chunk extension has a forbidden character (RFC 9112 section 7.1.1)",
            Self::Trailer => "a trailer line is malformed (RFC 9112 section 7.1.2)",
            Self::Overhead => "chunk extensions and trailers are too long",
        })
    }
}

impl core::error::Error for BodyError {}
