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

/// The absolute path that `target` names: percent-decoded once, without dot segments and empty
/// segments. It begins with `/`, and ends with `/` if the target names a directory. It does not
/// include the query.
///
/// # Errors
/// * [`HeadError::Target`]: it is neither a path nor an absolute URI, or has a character that a
///   target cannot have.
/// * [`HeadError::TargetEscape`]: it has a `%` without two hexadecimal digits.
/// * [`HeadError::TargetPath`]: it has NUL, a backslash, `%2F`, or bytes that are not UTF-8.
///   Servers and file systems interpret these differently.
/// * [`HeadError::TargetAboveRoot`]: it has more `..` segments than other segments before them. RFC
///   3986 section 5.2.4 would drop these, but legitimate clients do not send them.
pub fn normalise(target: &str) -> Result<String, HeadError> {
    let (path, _) = split(target)?;
    let mut out: Vec<u8> = Vec::with_capacity(path.len().max(1));
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let start = out.len();
        out.push(b'/');
        decode(segment.as_bytes(), &mut out)?;
        // The decoded segment is checked, because %2e%2e is dot-dot to a file system.
        match &out[start + 1..] {
            [] | [b'.'] => out.truncate(start),
            [b'.', b'.'] => {
                out.truncate(start);
                let parent = out.iter().rposition(|&byte| byte == b'/').ok_or(HeadError::TargetAboveRoot)?;
                out.truncate(parent);
            }
            _ => continue,
        }
        if segments.peek().is_none() {
            out.push(b'/');
        }
    }
    String::from_utf8(out).map_err(|_| HeadError::TargetPath)
}

/// The query of `target`: what follows the first `?`, not decoded. `None`: there is no `?`.
#[must_use]
pub fn query(target: &str) -> Option<&str> {
    target.split_once('?').map(|(_, query)| query)
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
        if matches!(byte, 0 | b'/' | b'\\') {
            return Err(HeadError::TargetPath);
        }
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
