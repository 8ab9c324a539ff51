//! Range requests (RFC 9110 section 14) with a single range.

use super::conditional::{Comparison, same_tag};
use super::date;
use super::head::RequestHead;
use super::syntax;

/// Which part of a representation to send.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a single range has these three outcomes")]
pub enum Range {
    /// All of it, with status 200.
    Whole,
    /// These bytes, with status 206; `start <= end_inclusive < len`.
    Part {
        /// The offset of the first byte.
        start: u64,
        /// The offset of the last byte.
        end_inclusive: u64,
    },
    /// None of it: answer with status 416 and `Content-Range: bytes */len`.
    Unsatisfiable,
}

/// The range that `head` requests of a representation of `len` bytes, with the entity tag `etag`
/// (with its quotes), last modified `modified` seconds after 1970. `None`: the time of modification
/// is unknown.
///
/// A request with several ranges, or with an invalid one, gets the whole representation: RFC 9110
/// section 14.2 lets a server "ignore the Range header field", and multipart responses help
/// attackers more often than readers. Takes time linear in the length of the field. Does not
/// allocate.
#[must_use]
pub fn single(head: &RequestHead<'_>, len: u64, etag: &str, modified: impl Into<Option<u64>>) -> Range {
    // RFC 9110 section 14.2: "A server MUST ignore a Range header field received with a request
    // method that is unrecognized or for which range handling is not defined. For this
    // specification, GET is the only method for which range handling is defined."
    if head.method != "GET" {
        return Range::Whole;
    }
    let Ok(Some(value)) = head.fields.single("range") else { return Range::Whole };
    if !is_current(head, etag, modified.into()) {
        return Range::Whole;
    }
    let Some((unit, set)) = split_once(value, b'=') else { return Range::Whole };
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return Range::Whole;
    }
    one(syntax::trim_ows(set), len)
}

/// RFC 9110 section 13.1.5: "A recipient of an If-Range header field MUST ignore the Range header
/// field if the If-Range condition evaluates to false."
fn is_current(head: &RequestHead<'_>, etag: &str, modified: Option<u64>) -> bool {
    match head.fields.single("if-range") {
        Ok(None) => true,
        // "A valid entity-tag can be distinguished from a valid HTTP-date by examining the first
        // three characters for a DQUOTE." An entity tag is compared strongly, a date exactly.
        Ok(Some(validator)) if validator.iter().take(3).any(|&byte| byte == b'"') => {
            same_tag(validator, etag, Comparison::Strong)
        }
        Ok(Some(validator)) => modified.is_some() && date::parse(validator) == modified,
        Err(_) => false,
    }
}

/// RFC 9110 section 14.1.1: `int-range = first-pos "-" [ last-pos ]`,
/// `suffix-range = "-" suffix-length`.
fn one(spec: &[u8], len: u64) -> Range {
    let Some((first, last)) = split_once(spec, b'-') else { return Range::Whole };
    if first.is_empty() {
        let Some(suffix) = saturating_decimal(last) else { return Range::Whole };
        // "If the selected representation is shorter than the specified suffix-length, the entire
        // representation is used." Section 14.1.2: "When a selected representation has zero length,
        // the only satisfiable form of range-spec in a GET request is a suffix-range with a
        // non-zero suffix-length." It has no last byte that a Content-Range could name.
        return match (suffix, len) {
            (0, _) => Range::Unsatisfiable,
            (_, 0) => Range::Whole,
            _ => Range::Part { start: len.saturating_sub(suffix), end_inclusive: len - 1 },
        };
    }
    let Some(start) = saturating_decimal(first) else { return Range::Whole };
    let end = if last.is_empty() { Some(u64::MAX) } else { saturating_decimal(last) };
    let Some(end) = end else { return Range::Whole };
    // "An int-range is invalid if the last-pos value is present and less than the first-pos."
    if end < start {
        return Range::Whole;
    }
    // An int-range is satisfiable if its first-pos is less than the current length.
    if start >= len {
        return Range::Unsatisfiable;
    }
    Range::Part { start, end_inclusive: end.min(len - 1) }
}

/// Parses `1*DIGIT`. A number that does not fit is beyond the end of any representation, so it
/// saturates.
fn saturating_decimal(digits: &[u8]) -> Option<u64> {
    let valid = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    valid.then(|| syntax::decimal(digits).unwrap_or(u64::MAX))
}

fn split_once(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|&byte| byte == separator)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

#[cfg(test)]
mod tests;
