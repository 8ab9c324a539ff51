//! Where a body ends (RFC 9112 section 6).

use crate::http::error::HeadError;
use crate::http::fields::{Fields, Repeated};
use crate::http::head::{RequestHead, ResponseHead, Version};
use crate::http::syntax;

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Length {
    /// There is no body.
    None,
    /// The body has this many bytes.
    Exact(u64),
    /// The body comes in chunks; an empty chunk ends it.
    Chunked,
    /// The body ends with the connection. Responses only.
    UntilClose,
}

impl Length {
    /// The length of a request's body.
    ///
    /// # Errors
    /// The head breaks a rule. The end of the body is then unknown, so nothing after the head may
    /// be read as a request.
    pub fn of_request(head: &RequestHead<'_>) -> Result<Self, HeadError> {
        // RFC 9112 section 6.3: "If a valid Content-Length header field is present without
        // Transfer-Encoding, its decimal value defines the expected message body length"; "If this
        // is a request message and none of the above are true, then the message body length is zero
        // (no message body is present)."
        Ok(Self::declared(&head.fields, head.version)?.unwrap_or(Self::None))
    }

    /// The length of the body of a response to a GET that did not switch protocols.
    ///
    /// # Errors
    /// The head breaks a rule. The end of the body is then unknown.
    pub fn of_response(head: &ResponseHead<'_>) -> Result<Self, HeadError> {
        // RFC 9112 section 6.3: "any response with a 1xx (Informational), 204 (No Content), or 304
        // (Not Modified) status code is always terminated by the first empty line after the header
        // fields".
        if matches!(head.status, 100..=199 | 204 | 304) {
            return Ok(Self::None);
        }
        Ok(Self::declared(&head.fields, head.version)?.unwrap_or(Self::UntilClose))
    }

    fn declared(fields: &Fields<'_>, version: Version) -> Result<Option<Self>, HeadError> {
        let mut encodings = fields.all("transfer-encoding").peekable();
        let length = fields.single("content-length").map_err(|Repeated| HeadError::LengthRepeated);
        if encodings.peek().is_none() {
            return length?.map(content_length).transpose();
        }
        // RFC 9112 section 6.1: "A server MAY reject a request that contains both Content-Length
        // and Transfer-Encoding". The pair is the classic vector of request smuggling.
        if length != Ok(None) {
            return Err(HeadError::LengthAndEncoding);
        }
        // RFC 9112 section 6.1: "A server or client that receives an HTTP/1.0 message containing a
        // Transfer-Encoding header field MUST treat the message as if the framing is faulty".
        if version == Version::Http10 {
            return Err(HeadError::EncodingOld);
        }
        transfer_encoding(encodings).map(Some)
    }
}

/// RFC 9110 section 8.6: `Content-Length = 1*DIGIT`. A recipient may accept or reject "42, 42" or
/// several equal lines: they are rejected.
fn content_length(value: &[u8]) -> Result<Length, HeadError> {
    // RFC 9110 section 8.6: "a recipient MUST anticipate potentially large decimal numerals and
    // prevent parsing errors due to integer conversion overflows". 2^63 and above are rejected, so
    // a next hop that uses signed numbers agrees with us.
    let length = syntax::decimal(value).filter(|&length| i64::try_from(length).is_ok());
    length.map(Length::Exact).ok_or(HeadError::LengthInvalid)
}

fn transfer_encoding<'b>(lines: impl Iterator<Item = &'b [u8]>) -> Result<Length, HeadError> {
    let mut last_is_chunked = false;
    let mut others = 0_usize;
    for coding in lines.flat_map(|line| line.split(|&byte| byte == b',')).map(syntax::trim_ows) {
        // RFC 9112 section 6.1: "A sender MUST NOT apply the chunked transfer coding more than once
        // to a message body".
        if last_is_chunked || coding.is_empty() {
            return Err(HeadError::EncodingInvalid);
        }
        last_is_chunked = coding.eq_ignore_ascii_case(b"chunked");
        others += usize::from(!last_is_chunked);
    }
    // RFC 9112 section 6.3: "If a Transfer-Encoding header field is present in a request and the
    // chunked transfer coding is not the final encoding, the message body length cannot be
    // determined reliably; the server MUST respond with the 400 (Bad Request) status code".
    match (last_is_chunked, others) {
        (false, _) => Err(HeadError::EncodingInvalid),
        (true, 0) => Ok(Length::Chunked),
        (true, _) => Err(HeadError::EncodingUnknown),
    }
}
