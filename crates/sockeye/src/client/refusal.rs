//! An answer other than 101.

use std::fmt;
use std::time::Duration;

use sockeye_proto::http::{ResponseHead, date, emit};

/// What the server answered instead of speaking WebSocket.
#[derive(Clone)]
pub struct Refusal {
    status: u16,
    fields: Vec<(String, Vec<u8>)>,
    /// At most `ProtocolLimits::response_body_bytes`.
    body: Vec<u8>,
    truncated: bool,
    retry_after: Option<Duration>,
}

impl Refusal {
    /// The status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The value of the first field named `name`, whatever the case.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields().find_map(|(other, value)| other.eq_ignore_ascii_case(name).then_some(value))
    }

    /// All fields as name and value, in order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The body, as far as it was kept: up to `response_body_bytes` of the [limits](sockeye_proto::limits::ProtocolLimits). Its
    /// transfer coding is undone.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Whether there is more body than was kept, or it ended early.
    #[must_use]
    pub const fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Where the server wants the client: `Location`, if it is text.
    #[must_use]
    pub fn location(&self) -> Option<&str> {
        self.field("location").and_then(|value| std::str::from_utf8(value).ok())
    }

    /// How long the server asks to be left alone: `Retry-After` (RFC 9110 section 10.2.3), of 503 and 429. A date in it
    /// is taken by the server's own clock, if the answer has a `Date` too; one that is over is no wait.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether it is a redirect: 301, 302, 303, 307 or 308.
    #[must_use]
    pub const fn is_redirect(&self) -> bool {
        matches!(self.status, 301 | 302 | 303 | 307 | 308)
    }
}

/// For the loop.
impl Refusal {
    /// What `head` says, without a body yet. It is `now`, in seconds since 1970.
    pub(crate) fn new(head: &ResponseHead<'_>, now: u64) -> Self {
        let fields = head.fields.iter().map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
        // RFC 6585 section 4 has it for 429.
        let asks = matches!(head.status, 429 | 503);
        let retry_after = if asks { retry_after(head, now) } else { None };
        Self { status: head.status, fields, body: Vec::new(), truncated: false, retry_after }
    }

    /// Keeps `piece` of the body as far as `limit` bytes in all allow. `false`: that was all, the rest is not wanted.
    pub(crate) fn keep(&mut self, piece: &[u8], limit: u64) -> bool {
        let room = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(self.body.len());
        let kept = piece.len().min(room);
        self.body.extend_from_slice(&piece[..kept]);
        self.truncated |= kept < piece.len();
        !self.truncated
    }

    /// Notes that the body did not come to its end.
    pub(crate) const fn cut(&mut self) {
        self.truncated = true;
    }
}

/// RFC 9110 section 10.2.3: "The Retry-After field value can be either an HTTP-date or a number of seconds to delay
/// after receiving the response." What is neither says nothing.
fn retry_after(head: &ResponseHead<'_>, now: u64) -> Option<Duration> {
    let value = head.fields.get("retry-after")?;
    if !value.is_empty() && value.iter().all(u8::is_ascii_digit) {
        // More than there is room for is as good as for ever.
        let seconds = std::str::from_utf8(value).ok()?.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds));
    }
    let now = head.fields.get("date").and_then(date::parse).unwrap_or(now);
    date::parse(value).map(|at| Duration::from_secs(at.saturating_sub(now)))
}

/// The status with its phrase.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        status(self.status).fmt(f)
    }
}

/// Fields may be cookies, and the body anything: their numbers only.
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

/// "401 Unauthorized". The phrase is ours: the peer's may be anything.
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
    fn it_says_what_was_answered() {
        let refusal = refusal("HTTP/1.1 302 x\r\nSet-Cookie: a\r\nset-cookie: b\r\nLocation: /c\r\n\r\n");
        assert_eq!(refusal.to_string(), "302 Found");
        assert_eq!(refusal.field("SET-COOKIE"), Some(&b"a"[..]));
        assert_eq!(refusal.fields().count(), 3);
        assert_eq!(refusal.location(), Some("/c"));
        assert!(refusal.is_redirect());
        assert!(!format!("{refusal:?}").contains("ookie"));
    }

    #[test]
    fn a_location_that_is_no_text_is_none() {
        let head = b"HTTP/1.1 302 x\r\nLocation: \xff\r\n\r\n";
        let refusal = Refusal::new(&ResponseHead::parse(head, &ProtocolLimits::default()).unwrap(), 0);
        assert_eq!(refusal.location(), None);
        assert_eq!(refusal.field("location"), Some(&b"\xff"[..]));
    }

    #[test]
    fn it_says_how_long_to_stay_away() {
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
            // It is 08:49:37 here.
            ("Retry-After: Sun, 06 Nov 1994 08:50:00 GMT", Some(23)),
            ("Retry-After: Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("Retry-After: Sun Nov  6 08:50:00 1994", Some(23)),
            // And 08:49:50 at the server.
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
        assert!(!refusal.keep(b"", 5), "what was cut stays cut");
        assert_eq!((refusal.body(), refusal.is_truncated()), (&b"abcde"[..], true));
        refusal = self::refusal("HTTP/1.1 403 x\r\n\r\n");
        refusal.cut();
        assert!(refusal.is_truncated());
    }
}
