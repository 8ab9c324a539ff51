//! Writes response heads.
//!
//! ```
//! use sockeye_proto::http::emit::ResponseWriter;
//!
//! let mut out = Vec::new();
//! ResponseWriter::new(&mut out, 204).header("Server", "sockeye")?.finish();
//! assert_eq!(out, b"HTTP/1.1 204 No Content\r\nServer: sockeye\r\n\r\n");
//! # Ok::<(), sockeye_proto::http::emit::InvalidField>(())
//! ```

use alloc::vec::Vec;
use core::fmt;

use super::{date, syntax};

/// Writes a response head to the end of a buffer. Dropping it without [`finish`](Self::finish)
/// restores the buffer.
#[derive(Debug)]
#[must_use = "a head that is not finished is removed again"]
pub struct ResponseWriter<'o> {
    out: &'o mut Vec<u8>,
    /// Where the head begins in `out`; `start <= out.len()`.
    start: usize,
    finished: bool,
}

impl<'o> ResponseWriter<'o> {
    /// Begins a head. A `status` outside 100 to 599 is a mistake of the caller and is sent as 500.
    pub fn new(out: &'o mut Vec<u8>, status: u16) -> Self {
        let status = if (100..=599).contains(&status) { status } else { 500 };
        let start = out.len();
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(syntax::format_decimal(status.into(), &mut [0; 20]));
        // RFC 9112 section 4: the space before an empty reason phrase is required.
        out.push(b' ');
        out.extend_from_slice(reason(status).as_bytes());
        out.extend_from_slice(b"\r\n");
        Self { out, start, finished: false }
    }

    /// Adds a field line.
    ///
    /// # Errors
    /// `name` is not a token, or `value` has CR, LF, NUL or another control character. The whole
    /// head is then removed, because half a response is worse than none.
    pub fn header(self, name: &str, value: &str) -> Result<Self, InvalidField> {
        check_field(name, value)?;
        Ok(self.line(name, value.as_bytes()))
    }

    /// Adds `Content-Length`.
    pub fn content_length(self, length: u64) -> Self {
        self.line("Content-Length", syntax::format_decimal(length, &mut [0; 20]))
    }

    /// Adds `Date`: the time `seconds` after the beginning of 1970.
    pub fn date(self, seconds: u64) -> Self {
        self.line("Date", &date::format(seconds))
    }

    /// Ends the head with the empty line.
    pub fn finish(mut self) {
        self.out.extend_from_slice(b"\r\n");
        self.finished = true;
    }

    /// Adds a field line that is known to be valid.
    pub(crate) fn line(self, name: &str, value: &[u8]) -> Self {
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
        self.out.extend_from_slice(value);
        self.out.extend_from_slice(b"\r\n");
        self
    }
}

impl Drop for ResponseWriter<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.out.truncate(self.start);
        }
    }
}

/// Checks that a field line may be written.
///
/// # Errors
/// `name` is not a token, or `value` has CR, LF, NUL or another control character.
pub fn check_field(name: &str, value: &str) -> Result<(), InvalidField> {
    if !syntax::is_token(name.as_bytes()) {
        return Err(InvalidField::Name);
    }
    if !value.bytes().all(syntax::is_field_text) {
        return Err(InvalidField::Value);
    }
    Ok(())
}

/// The field line is not valid HTTP, or could inject another field or message. A mistake of the
/// calling program.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum InvalidField {
    /// The name is not a token.
    Name,
    /// The value has a control character. CR and LF would begin another field.
    Value,
}

impl fmt::Display for InvalidField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "a field name must be a token",
            Self::Value => "a field value must not have control characters",
        })
    }
}

impl core::error::Error for InvalidField {}

/// The usual reason phrase of `status`. Empty if it has none.
#[must_use]
pub const fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_in_order() {
        let mut out = b"before".to_vec();
        ResponseWriter::new(&mut out, 200)
            .header("A", "b c")
            .unwrap()
            .content_length(u64::MAX)
            .date(784_111_777)
            .finish();
        let expected = "beforeHTTP/1.1 200 OK\r\nA: b c\r\nContent-Length: 18446744073709551615\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n";
        assert_eq!(core::str::from_utf8(&out), Ok(expected));
    }

    #[test]
    fn a_status_without_a_phrase_keeps_its_space() {
        let mut out = Vec::new();
        ResponseWriter::new(&mut out, 299).finish();
        assert_eq!(out, b"HTTP/1.1 299 \r\n\r\n");
        for wrong in [0, 99, 600, u16::MAX] {
            out.clear();
            ResponseWriter::new(&mut out, wrong).finish();
            assert_eq!(out, b"HTTP/1.1 500 Internal Server Error\r\n\r\n");
        }
    }

    #[test]
    fn a_field_that_would_split_the_response_removes_the_head() {
        let mut out = b"x".to_vec();
        for (name, value) in [
            ("A", "b\r\nC: d"),
            ("A", "\n"),
            ("A", "\0"),
            ("A", "\u{7f}"),
            ("A:", "b"),
            ("", "b"),
            ("A B", "c"),
            ("A\r\n", "c"),
        ] {
            assert!(
                ResponseWriter::new(&mut out, 200).header("Ok", "ok").unwrap().header(name, value).is_err(),
                "{name:?} {value:?}"
            );
            assert_eq!(out, b"x");
        }
        let _ = ResponseWriter::new(&mut out, 200);
        assert_eq!(out, b"x");
    }
}
