//! The only normaliser of request targets, for plain requests and upgrades. So an access rule never
//! sees another path than the file server.
//!
//! ```
//! use sockeye_proto::http::target;
//!
//! assert_eq!(target::normalise("/a/./b//../c%20d?q=1").as_deref(), Ok("/a/c d"));
//! assert!(target::normalise("/../etc/passwd").is_err());
//! ```

use alloc::string::String;
use alloc::vec::Vec;

use super::authority::Authority;
use super::error::HeadError;

/// The path that a request target names, decoded.
///
/// Percent-encoding is decoded once; dot segments and empty segments are removed. The path begins
/// with `/`, and ends with `/` if the target names a directory. It does not include the query.
///
/// It may have anything between its slashes, so that a handler can take any name: encoded slashes,
/// NUL, backslashes. Bytes that are not UTF-8 become U+FFFD. Rules compare with [`is`](Self::is) and
/// [`below`](Self::below), for which an encoded slash separates nothing: `/a%2Fb` is not `/a/b` (RFC
/// 3986 section 2.2), and a proxy in front that forbids `/a/` has not forbidden it. Whatever looks
/// up files must refuse a path that is not [plain](Self::is_plain).
///
/// ```
/// use sockeye_proto::http::target::TargetPath;
///
/// let path = TargetPath::parse("/room/a%2Fb?token=1")?;
/// assert_eq!((path.as_str(), path.below("/room/")), ("/room/a/b", Some("a/b")));
/// assert!(!path.is("/room/a/b") && !path.is_plain());
/// # Ok::<(), sockeye_proto::http::HeadError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TargetPath {
    decoded: String,
    /// The first slash that was percent-encoded; `< decoded.len()`.
    encoded_slash: Option<usize>,
    is_plain: bool,
}

impl TargetPath {
    /// The path of `target`.
    ///
    /// # Errors
    /// * [`HeadError::Target`]: it is neither a path nor an absolute URI, or has a character that a
    ///   target cannot have.
    /// * [`HeadError::TargetEscape`]: it has a `%` without two hexadecimal digits.
    /// * [`HeadError::TargetAboveRoot`]: it has more `..` segments than other segments before them.
    ///   RFC 3986 section 5.2.4 would drop these, but legitimate clients do not send them.
    pub fn parse(target: &str) -> Result<Self, HeadError> {
        let (path, _) = split(target)?;
        let mut out: Vec<u8> = Vec::with_capacity(path.len().max(1));
        // Where the segments begin that are in `out`.
        let mut starts: Vec<usize> = Vec::new();
        let (mut encoded_slash, mut is_plain) = (None, true);
        let mut segments = path.split('/').skip(1).peekable();
        while let Some(segment) = segments.next() {
            let start = out.len();
            out.push(b'/');
            decode(segment.as_bytes(), &mut out)?;
            // The decoded segment is checked, because %2e%2e is dot-dot to a file system.
            let decoded = &out[start + 1..];
            match decoded {
                [] | [b'.'] => out.truncate(start),
                [b'.', b'.'] => out.truncate(starts.pop().ok_or(HeadError::TargetAboveRoot)?),
                _ => {
                    is_plain &= !decoded.iter().any(|byte| matches!(byte, 0 | b'/' | b'\\'));
                    if encoded_slash.is_none() {
                        encoded_slash = decoded.iter().position(|&byte| byte == b'/').map(|at| start + 1 + at);
                    }
                    starts.push(start);
                    continue;
                }
            }
            encoded_slash = encoded_slash.filter(|&at| at < out.len());
            if segments.peek().is_none() {
                out.push(b'/');
            }
        }
        Ok(match String::from_utf8(out) {
            Ok(decoded) => Self { decoded, encoded_slash, is_plain },
            Err(error) => {
                let bytes = error.as_bytes();
                // Replacements have another length than what they replace.
                let encoded_slash = encoded_slash.map(|at| String::from_utf8_lossy(&bytes[..at]).len());
                let decoded = String::from_utf8_lossy(bytes).into_owned();
                Self { decoded, encoded_slash, is_plain: false }
            }
        })
    }

    /// The path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.decoded
    }

    /// Whether it may name a file: it is UTF-8 without NUL, backslash and encoded slash. Servers and
    /// file systems interpret these differently.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// Whether it is exactly `path`, which is given decoded.
    #[must_use]
    pub fn is(&self, path: &str) -> bool {
        self.encoded_slash.is_none() && self.decoded == path
    }

    /// The rest after `prefix`, which is given decoded. `None`: it does not begin with it.
    #[must_use]
    pub fn below(&self, prefix: &str) -> Option<&str> {
        let rest = self.decoded.strip_prefix(prefix)?;
        self.encoded_slash.is_none_or(|at| at >= prefix.len()).then_some(rest)
    }
}

/// The path of `target`, if it may name a file: see [`TargetPath`].
///
/// # Errors
/// As [`TargetPath::parse`], and [`HeadError::TargetPath`] if it is not [plain](TargetPath::is_plain).
pub fn normalise(target: &str) -> Result<String, HeadError> {
    let path = TargetPath::parse(target)?;
    if path.is_plain { Ok(path.decoded) } else { Err(HeadError::TargetPath) }
}

/// Whether `target` is in authority-form, a host and a port, which only CONNECT has (RFC 9112 section
/// 3.2.3).
#[must_use]
pub fn is_authority(target: &str) -> bool {
    Authority::parse(target).is_some_and(|authority| authority.port.is_some())
}

/// The query of `target`: what follows the first `?`, not decoded. `None`: there is no `?`.
#[must_use]
pub fn query(target: &str) -> Option<&str> {
    target.split_once('?').map(|(_, query)| query)
}

/// The first value of `name` in a query, decoded as browsers encode forms
/// (`application/x-www-form-urlencoded`: `+` is a space). Bytes that are not UTF-8 become U+FFFD.
///
/// ```
/// use sockeye_proto::http::target::query_value;
///
/// assert_eq!(query_value("room=a%20b&token=x", "room").as_deref(), Some("a b"));
/// assert_eq!(query_value("room=a%20b&token=x", "name"), None);
/// ```
#[must_use]
pub fn query_value(query: &str, name: &str) -> Option<String> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (form_decoded(key) == name).then(|| form_decoded(value))
    })
}

/// A part of a form, decoded. A percent sign without two hexadecimal digits stands for itself.
fn form_decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let encoded = match rest {
            [b'%', high, low, after @ ..] => hex(*high).ok().zip(hex(*low).ok()).map(|digits| (digits, after)),
            _ => None,
        };
        if let Some(((high, low), after)) = encoded {
            out.push(high << 4 | low);
            rest = after;
        } else {
            out.push(if *first == b'+' { b' ' } else { *first });
            rest = after;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Splits a target into path (at least `/`) and query. Neither is decoded.
fn split(target: &str) -> Result<(&str, Option<&str>), HeadError> {
    if !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(HeadError::Target);
    }
    // RFC 9112 section 3.2.2: "a server MUST accept the absolute-form in requests even though most
    // HTTP/1.1 clients will only send the absolute-form to a proxy". authority-form is for CONNECT,
    // asterisk-form for OPTIONS: neither names a file or an endpoint.
    let rest = match split_absolute(target) {
        Some((authority, rest)) => {
            Authority::parse(authority).ok_or(HeadError::Target)?;
            rest
        }
        None if target.starts_with('/') => target,
        None => return Err(HeadError::Target),
    };
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    Ok((if path.is_empty() { "/" } else { path }, query))
}

/// Splits a target in absolute form into its authority and the rest. `None`: it has another form.
pub(crate) fn split_absolute(target: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = target.split_once("://")?;
    if !["http", "https", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return None;
    }
    Some(rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len())))
}

/// Appends `segment`, percent-decoded once.
fn decode(segment: &[u8], out: &mut Vec<u8>) -> Result<(), HeadError> {
    let mut rest = segment;
    while let [first, after @ ..] = rest {
        let (byte, after) = if *first == b'%' {
            let [high, low, after @ ..] = after else { return Err(HeadError::TargetEscape) };
            (hex(*high)? << 4 | hex(*low)?, after)
        } else {
            (*first, after)
        };
        out.push(byte);
        rest = after;
    }
    Ok(())
}

fn hex(digit: u8) -> Result<u8, HeadError> {
    // A hexadecimal digit is below 16.
    char::from(digit).to_digit(16).map(|value| value as u8).ok_or(HeadError::TargetEscape)
}

#[cfg(test)]
mod tests;
