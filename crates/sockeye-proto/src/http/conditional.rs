//! Conditional requests (RFC 9110 section 13): whether the client already has the representation.

use super::date;
use super::fields::Fields;
use super::head::RequestHead;
use super::syntax::trim_ows;

/// The result of the preconditions of a request.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "RFC 9110 section 13.2.1 has these three outcomes")]
pub enum Precondition {
    /// Answer as if there were no preconditions.
    Met,
    /// Answer with status 304 and no body.
    NotModified,
    /// Answer with status 412.
    Failed,
}

/// Evaluates the preconditions of `head` for a representation with the entity tag `etag` (with its
/// quotes, and `W/` if weak) that was last modified `modified` seconds after 1970. `None`: the time
/// of modification is unknown.
///
/// Takes time linear in the length of the fields. Does not allocate.
#[must_use]
pub fn evaluate(head: &RequestHead<'_>, etag: &str, modified: impl Into<Option<u64>>) -> Precondition {
    let modified = modified.into();
    let fields = &head.fields;
    // RFC 9110 section 13.2.2 defines the order: If-Match, or else If-Unmodified-Since; then
    // If-None-Match, or else If-Modified-Since.
    if fields.get("if-match").is_some() {
        // Section 13.1.1: "An origin server MUST use the strong comparison function when comparing
        // entity tags for If-Match".
        if !lists(fields, "if-match", etag, Comparison::Strong) {
            return Precondition::Failed;
        }
    } else if let Some(since) = moment(fields, "if-unmodified-since") {
        // Section 13.1.4: "A recipient MUST ignore the If-Unmodified-Since header field if the
        // resource does not have a modification date available." Section 13.1.3 says the same of
        // If-Modified-Since.
        if modified.is_some_and(|modified| modified > since) {
            return Precondition::Failed;
        }
    }
    let reads = matches!(head.method, "GET" | "HEAD");
    if fields.get("if-none-match").is_some() {
        // Section 13.1.2: "A recipient MUST use the weak comparison function when comparing entity
        // tags for If-None-Match". Section 13.2.2: "if false for GET/HEAD, respond 304 (Not
        // Modified); if false for other methods, respond 412 (Precondition Failed)".
        if lists(fields, "if-none-match", etag, Comparison::Weak) {
            return if reads { Precondition::NotModified } else { Precondition::Failed };
        }
    } else if reads {
        // Section 13.1.3: "A recipient MUST ignore the If-Modified-Since header field if the
        // received field value is not a valid HTTP-date, the field value has more than one member,
        // or if the request method is neither GET nor HEAD."
        let since = moment(fields, "if-modified-since");
        if modified.zip(since).is_some_and(|(modified, since)| modified <= since) {
            return Precondition::NotModified;
        }
    }
    Precondition::Met
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Comparison {
    Strong,
    Weak,
}

/// An entity tag: `[ "W/" ] DQUOTE *etagc DQUOTE`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Tag<'a> {
    weak: bool,
    opaque: &'a [u8],
}

impl<'a> Tag<'a> {
    /// The tag that `text` begins with, and what follows it.
    fn take(text: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (weak, text) = match text.strip_prefix(b"W/") {
            Some(text) => (true, text),
            None => (false, text),
        };
        let text = text.strip_prefix(b"\"")?;
        let end = text.iter().position(|&byte| byte == b'"')?;
        let opaque = &text[..end];
        // RFC 9110 section 8.8.3: `etagc = %x21 / %x23-7E / obs-text`
        let valid = opaque.iter().all(|&byte| byte > b' ' && byte != 0x7f);
        valid.then(|| (Self { weak, opaque }, &text[end + 1..]))
    }

    /// RFC 9110 section 8.8.3.2.
    fn equals(self, other: Self, comparison: Comparison) -> bool {
        self.opaque == other.opaque && (comparison == Comparison::Weak || !self.weak && !other.weak)
    }
}

/// Whether `etag` is in the list formed by the lines named `name`. What follows a malformed element
/// is ignored.
fn lists(fields: &Fields<'_>, name: &str, etag: &str, comparison: Comparison) -> bool {
    let own = whole(etag.as_bytes());
    fields.all(name).any(|line| {
        // Section 13.1.1: "If the field value is "*", the condition is true if the origin server
        // has a current representation".
        line == b"*" || own.is_some_and(|own| line_has(line, own, comparison))
    })
}

fn line_has(line: &[u8], own: Tag<'_>, comparison: Comparison) -> bool {
    let mut rest = line;
    loop {
        while let [b',' | b' ' | b'\t', after @ ..] = rest {
            rest = after;
        }
        let Some((tag, after)) = Tag::take(rest) else { return false };
        let after = trim_ows(after);
        if !matches!(after, [] | [b',', ..]) {
            return false;
        }
        if tag.equals(own, comparison) {
            return true;
        }
        rest = after;
    }
}

/// Whether `text` is a single entity tag and equals `etag`.
pub(super) fn same_tag(text: &[u8], etag: &str, comparison: Comparison) -> bool {
    matches!((whole(text), whole(etag.as_bytes())), (Some(a), Some(b)) if a.equals(b, comparison))
}

fn whole(text: &[u8]) -> Option<Tag<'_>> {
    Tag::take(text).filter(|(_, rest)| rest.is_empty()).map(|(tag, _)| tag)
}

/// The date in the only line named `name`.
fn moment(fields: &Fields<'_>, name: &str) -> Option<u64> {
    fields.single(name).ok().flatten().and_then(date::parse)
}

#[cfg(test)]
mod tests;
