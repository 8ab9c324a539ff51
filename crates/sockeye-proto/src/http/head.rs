//! Parsed heads. `httparse` checks the grammar of single lines; the rules for the whole head are
//! checked here.

use alloc::vec;
use alloc::vec::Vec;

use super::authority::Authority;
use super::error::HeadError;
use super::fields::{Fields, Repeated};
use super::scan::HeadScanner;
use super::target;
use crate::limits::ProtocolLimits;

/// The head of a request, borrowed from the buffer.
///
/// Guaranteed: the method is a token. The target is visible ASCII without `#`. An HTTP/1.1 request
/// has exactly one valid `Host`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RequestHead<'b> {
    /// The method, as sent. Methods are case-sensitive.
    pub method: &'b str,
    /// The target, as sent. Use [`target::normalise`] to get its path.
    pub target: &'b str,
    /// The HTTP version.
    pub version: Version,
    /// The header fields.
    pub fields: Fields<'b>,
}

impl<'b> RequestHead<'b> {
    /// Parses a head that is complete, as reported by a [`HeadScanner`]. Ignores bytes after the
    /// head.
    ///
    /// # Errors
    /// The head breaks a rule, or is not complete ([`HeadError::Incomplete`]). The rules of the
    /// scanner are checked again.
    pub fn parse(buf: &'b [u8], limits: &ProtocolLimits) -> Result<Self, HeadError> {
        let (head, mut lines) = delimit(buf, HeadScanner::new(limits))?;
        let mut request = httparse::Request::new(&mut lines);
        if let Err(error) = request.parse(head) {
            return Err(translate(error, head));
        }
        let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
            return Err(HeadError::StartLine);
        };
        let count = request.headers.len();
        lines.truncate(count);
        let version = if version == 0 { Version::Http10 } else { Version::Http11 };
        let head = Self { method, target, version, fields: Fields::new(lines) };
        // RFC 9112 section 3: "Recipients of an invalid request-line SHOULD respond with either a
        // 400 (Bad Request) error"; section 3.2: no form of target has a fragment, and a URI is
        // ASCII.
        if !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(HeadError::Target);
        }
        head.check_host()?;
        Ok(head)
    }

    /// The host that the request is for, with its port if one is given: the host of an absolute
    /// target, otherwise the `Host` field.
    ///
    /// RFC 9112 section 3.2.2: "When an origin server receives a request with an absolute-form of
    /// request-target, the origin server MUST ignore the received Host header field (if any) and
    /// instead use the host information of the request-target."
    #[must_use]
    pub fn host(&self) -> Option<&'b str> {
        if let Some((authority, _)) = target::split_absolute(self.target) {
            return Some(authority);
        }
        self.fields.get("host").and_then(|host| core::str::from_utf8(host).ok())
    }

    /// Whether the connection may serve another request after this one.
    ///
    /// RFC 9112 section 9.3: "If the "close" connection option is present [...], the connection
    /// will not persist after the current response; else, if the received protocol is HTTP/1.1 (or
    /// later), the connection will persist [...]; else, if the received protocol is HTTP/1.0, the
    /// "keep-alive" connection option is present, [...] the connection will persist".
    #[must_use]
    pub fn keeps_alive(&self) -> bool {
        let has = |option| self.fields.has_token("connection", option);
        !has("close") && (self.version == Version::Http11 || has("keep-alive"))
    }

    /// RFC 9112 section 3.2: "A server MUST respond with a 400 (Bad Request) status code to any
    /// HTTP/1.1 request message that lacks a Host header field and to any request message that
    /// contains more than one Host header field line or a Host header field with an invalid field
    /// value."
    fn check_host(&self) -> Result<(), HeadError> {
        match self.fields.single("host") {
            Err(Repeated) => Err(HeadError::HostRepeated),
            Ok(None) if self.version == Version::Http11 => Err(HeadError::HostMissing),
            Ok(None) => Ok(()),
            Ok(Some(host)) => {
                let valid = core::str::from_utf8(host).ok().and_then(Authority::parse);
                valid.map(|_| ()).ok_or(HeadError::HostInvalid)
            }
        }
    }
}

/// The head of a response, borrowed from the buffer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ResponseHead<'b> {
    /// The HTTP version.
    pub version: Version,
    /// The status code: three digits.
    pub status: u16,
    /// The header fields.
    pub fields: Fields<'b>,
}

impl<'b> ResponseHead<'b> {
    /// Parses a head that is complete, as reported by a [`HeadScanner`], and
    /// [unfolded](HeadScanner::unfold). Ignores bytes after the head.
    ///
    /// # Errors
    /// The head breaks a rule, has folded lines, or is not complete ([`HeadError::Incomplete`]). The
    /// rules of the scanner are checked again.
    pub fn parse(buf: &'b [u8], limits: &ProtocolLimits) -> Result<Self, HeadError> {
        let (head, mut lines) = delimit(buf, HeadScanner::for_response(limits))?;
        let mut response = httparse::Response::new(&mut lines);
        if let Err(error) = response.parse(head) {
            return Err(translate(error, head));
        }
        let (Some(status), Some(version)) = (response.code, response.version) else { return Err(HeadError::StartLine) };
        let count = response.headers.len();
        lines.truncate(count);
        let version = if version == 0 { Version::Http10 } else { Version::Http11 };
        Ok(Self { version, status, fields: Fields::new(lines) })
    }
}

/// A supported version of HTTP. Any other version is refused.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_enums, reason = "any other version is refused")]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// The bytes of the head from its start line on, and storage for exactly its lines.
fn delimit(buf: &[u8], mut scanner: HeadScanner) -> Result<(&[u8], Vec<httparse::Header<'_>>), HeadError> {
    let end = scanner.scan(buf)?.ok_or(HeadError::Incomplete)?;
    if scanner.has_folds() {
        return Err(HeadError::Folded);
    }
    Ok((&buf[scanner.start()..end], vec![httparse::EMPTY_HEADER; scanner.lines()]))
}

fn translate(error: httparse::Error, head: &[u8]) -> HeadError {
    match error {
        httparse::Error::HeaderName => HeadError::FieldName,
        httparse::Error::HeaderValue => HeadError::FieldValue,
        httparse::Error::TooManyHeaders => HeadError::TooManyLines,
        httparse::Error::Version if names_other_version(head) => HeadError::Version,
        _ => HeadError::StartLine,
    }
}

/// Whether the start line has an `HTTP-version` (RFC 9112 section 2.3:
/// `HTTP-name "/" DIGIT "." DIGIT`) in its place.
fn names_other_version(head: &[u8]) -> bool {
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let is_version = |word: &[u8]| matches!(word, [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9']);
    let mut words = line.split(|&byte| byte == b' ');
    words.next().is_some_and(is_version) || words.nth(1).is_some_and(is_version)
}

#[cfg(test)]
mod tests;
