//! Responses other than 101.

use std::fmt;
use std::time::Duration;

use sockeye_proto::http::body::Decoder;
use sockeye_proto::http::{ResponseHead, date, emit};

/// A server's response that refuses the WebSocket handshake: any status other than 101. Or a proxy's response that refuses
/// the tunnel: any status other than 2xx.
#[derive(Clone, Eq, PartialEq)]
pub struct Refusal {
    status: u16,
    fields: Vec<(String, Vec<u8>)>,
    /// At most `ProtocolLimits::response_body_bytes`.
    body: Vec<u8>,
    truncated: bool,
    retry_after: Option<Duration>,
}

impl Refusal {
    /// The status code.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The value of the first header field of this name, case-insensitively.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers().find_map(|(other, value)| other.eq_ignore_ascii_case(name).then_some(value))
    }

    /// The value of the first header field of this name as text; `None` if there is none, or if it is not UTF-8.
    #[must_use]
    pub fn header_str(&self, name: &str) -> Option<&str> {
        self.header(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Names and values of all header fields, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The first bytes of the body, up to [`response_body_bytes`](sockeye_proto::limits::ProtocolLimits), with the
    /// transfer coding removed.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Whether the body is longer than what was kept, or ended early.
    #[must_use]
    pub const fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// The `Location` field, if it is UTF-8.
    #[must_use]
    pub fn location(&self) -> Option<&str> {
        self.header_str("location")
    }

    /// The wait that the server asks for: `Retry-After` (RFC 9110 section 10.2.3) of a 503 or 429. A date is relative
    /// to the server's `Date` if there is one, otherwise to the local clock. A date in the past means zero.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether the status is a redirect: 301, 302, 303, 307 or 308.
    #[must_use]
    pub const fn is_redirect(&self) -> bool {
        matches!(self.status, 301 | 302 | 303 | 307 | 308)
    }
}

/// Used by the loop.
impl Refusal {
    /// A refusal with this head and no body yet. `now` is in seconds since 1970.
    pub(crate) fn new(head: &ResponseHead<'_>, now: u64) -> Self {
        let fields = head.fields.iter().map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
        // RFC 6585 section 4 allows it for 429.
        let asks = matches!(head.status, 429 | 503);
        let retry_after = if asks { retry_after(head, now) } else { None };
        Self { status: head.status, fields, body: Vec::new(), truncated: false, retry_after }
    }

    /// Adds what `decoder` finds in `input` to the body, up to `limit` bytes in total. Returns whether the body is over: it is
    /// complete, full, or malformed.
    pub(crate) fn collect(&mut self, decoder: &mut Decoder, input: &mut &[u8], limit: u64) -> bool {
        loop {
            match decoder.decode(input) {
                Ok(Some(piece)) => {
                    if !self.keep(piece, limit) {
                        return true;
                    }
                }
                Ok(None) => return decoder.is_done(),
                Err(_) => {
                    self.cut();
                    return true;
                }
            }
        }
    }

    /// Appends `piece` to the body, up to `limit` bytes in total. `false`: the limit is reached, stop reading.
    fn keep(&mut self, piece: &[u8], limit: u64) -> bool {
        let room = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(self.body.len());
        let mut kept = piece.len().min(room);
        if self.body.try_reserve(kept).is_err() {
            kept = 0;
        }
        self.body.extend_from_slice(&piece[..kept]);
        self.truncated |= kept < piece.len();
        !self.truncated
    }

    /// Notes that the body ended early.
    pub(crate) const fn cut(&mut self) {
        self.truncated = true;
    }
}

/// RFC 9110 section 10.2.3: "The Retry-After field value can be either an HTTP-date or a number of seconds to delay
/// after receiving the response." Any other value is ignored.
fn retry_after(head: &ResponseHead<'_>, now: u64) -> Option<Duration> {
    let value = head.fields.get("retry-after")?;
    if !value.is_empty() && value.iter().all(u8::is_ascii_digit) {
        // A number too large for a `u64` counts as the largest.
        let seconds = std::str::from_utf8(value).ok()?.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds));
    }
    let now = head.fields.get("date").and_then(date::parse).unwrap_or(now);
    date::parse(value).map(|at| Duration::from_secs(at.saturating_sub(now)))
}

/// The status code with its reason phrase.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        status(self.status).fmt(f)
    }
}

/// Fields and body may hold secrets such as cookies, so only their sizes are shown.
impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal")
            .field("status", &self.status)
            .field("fields", &self.fields.len())
            .field("body_bytes", &self.body.len())
            .field("truncated", &self.truncated)
            .finish()
    }
}

/// Formats as "401 Unauthorized", with our own reason phrase: the peer's may be anything.
pub(super) fn status(status: u16) -> String {
    let reason = emit::reason(status);
    if reason.is_empty() { status.to_string() } else { format!("{status} {reason}") }
}

#[cfg(test)]
mod tests {
    use sockeye_proto::limits::ProtocolLimits;

    use super::*;

    fn refusal(head: &str) -> Refusal {
        Refusal::new(&ResponseHead::parse(head.as_bytes(), &ProtocolLimits::default()).unwrap(), 784_111_777)
    }

    #[test]
    fn it_has_status_and_fields() {
        let refusal = refusal("HTTP/1.1 302 x\r\nSet-Cookie: a\r\nset-cookie: b\r\nLocation: /c\r\n\r\n");
        assert_eq!(refusal.to_string(), "302 Found");
        assert_eq!(refusal.header("SET-COOKIE"), Some(&b"a"[..]));
        assert_eq!((refusal.header_str("set-COOKIE"), refusal.header_str("Set")), (Some("a"), None));
        assert_eq!(refusal.headers().count(), 3);
        assert_eq!(refusal.location(), Some("/c"));
        assert!(refusal.is_redirect());
        assert!(!format!("{refusal:?}").contains("ookie"));
    }

    #[test]
    fn a_location_that_is_not_utf_8_is_none() {
        let head = b"HTTP/1.1 302 x\r\nLocation: \xff\r\n\r\n";
        let refusal = Refusal::new(&ResponseHead::parse(head, &ProtocolLimits::default()).unwrap(), 0);
        assert_eq!((refusal.location(), refusal.header_str("location")), (None, None));
        assert_eq!(refusal.header("location"), Some(&b"\xff"[..]));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        for (fields, seconds) in [
            ("", None),
            ("Retry-After: 120", Some(120)),
            ("Retry-After: 0", Some(0)),
            ("Retry-After: 99999999999999999999999", Some(u64::MAX)),
            ("Retry-After: -1", None),
            ("Retry-After: +5", None),
            ("Retry-After: 1.5", None),
            ("Retry-After: soon", None),
            ("Retry-After:", None),
            // The local clock shows 08:49:37.
            ("Retry-After: Sun, 06 Nov 1994 08:50:00 GMT", Some(23)),
            ("Retry-After: Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("Retry-After: Sun Nov  6 08:50:00 1994", Some(23)),
            // The server's clock shows 08:49:50.
            ("Retry-After: Sun, 06 Nov 1994 08:50:00 GMT\r\nDate: Sun, 06 Nov 1994 08:49:50 GMT", Some(10)),
            ("Retry-After: Sun, 06 Nov 1994 08:50:00 GMT\r\nDate: today", Some(23)),
        ] {
            let end = if fields.is_empty() { "\r\n" } else { "\r\n\r\n" };
            for (status, asks) in [(503, true), (429, true), (500, false), (403, false)] {
                let refusal = refusal(&format!("HTTP/1.1 {status} x\r\n{fields}{end}"));
                let expected = seconds.filter(|_| asks).map(Duration::from_secs);
                assert_eq!(refusal.retry_after(), expected, "{status} {fields}");
            }
        }
    }

    #[test]
    fn a_body_is_kept_up_to_the_limit() {
        let mut refusal = refusal("HTTP/1.1 403 x\r\n\r\n");
        assert!(refusal.keep(b"abc", 5));
        assert!(refusal.keep(b"de", 5));
        assert!(!refusal.is_truncated());
        assert!(!refusal.keep(b"f", 5));
        assert!(!refusal.keep(b"", 5), "a truncated body stays truncated");
        assert_eq!((refusal.body(), refusal.is_truncated()), (&b"abcde"[..], true));
        refusal = self::refusal("HTTP/1.1 403 x\r\n\r\n");
        refusal.cut();
        assert!(refusal.is_truncated());
    }
}
