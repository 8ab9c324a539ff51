//! Close codes, close frames, and the summary of how a connection ended.

use alloc::borrow::Cow;
use core::fmt;

use crate::error::Violation;

pub use crate::code::CloseCode;

/// What a Close frame says: nothing, a code, or a code and a reason of at most 123 bytes.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Close {
    code: Option<CloseCode>,
    /// `reason.len() <= 123`, and empty when there is no code.
    reason: Cow<'static, str>,
}

impl Close {
    /// Bytes that a reason may have: 125 of a control frame's payload, less the two of the code.
    pub const MAX_REASON_BYTES: usize = 123;

    /// A Close frame with a code and no reason.
    #[must_use]
    pub const fn new(code: CloseCode) -> Self {
        Self { code: Some(code), reason: Cow::Borrowed("") }
    }

    /// A Close frame without a body; the peer's application sees 1005.
    #[must_use]
    pub const fn empty() -> Self {
        Self { code: None, reason: Cow::Borrowed("") }
    }

    /// A Close frame with a code and a reason.
    ///
    /// # Errors
    /// The reason has more than 123 bytes.
    pub fn with_reason(code: CloseCode, reason: impl Into<Cow<'static, str>>) -> Result<Self, ReasonTooLong> {
        let reason = reason.into();
        // RFC 6455 section 5.5: "All control frames MUST have a payload length of 125 bytes or less".
        if reason.len() > Self::MAX_REASON_BYTES {
            return Err(ReasonTooLong);
        }
        Ok(Self { code: Some(code), reason })
    }

    /// The code, if the frame has a body.
    #[must_use]
    pub const fn code(&self) -> Option<CloseCode> {
        self.code
    }

    /// The reason; empty if there is none.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl From<CloseCode> for Close {
    fn from(code: CloseCode) -> Self {
        Self::new(code)
    }
}

/// A close reason of more than 123 bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ReasonTooLong;

impl fmt::Display for ReasonTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a close reason holds 123 bytes at most")
    }
}

impl core::error::Error for ReasonTooLong {}

/// How a connection ended. Closing normally is one of the values, not an error.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Closed {
    /// Our Close frame, if one was queued (whether it reached the peer cannot be known).
    pub sent: Option<Close>,
    /// The peer's Close frame, if one arrived.
    pub received: Option<Close>,
    /// Whose Close frame came first.
    pub initiator: Initiator,
    /// Why the connection is over.
    pub cause: Cause,
}

impl Closed {
    /// The close code as an application sees it: the received one, 1005 for a Close frame without a body, 1006 if none arrived.
    #[must_use]
    pub fn code_seen(&self) -> u16 {
        match &self.received {
            // RFC 6455 section 7.1.5: "If this Close control frame contains no status code, _The WebSocket Connection Close Code_
            // is considered to be 1005. If _The WebSocket Connection is Closed_ and no Close control frame was received by the
            // endpoint [...] _The WebSocket Connection Close Code_ is considered to be 1006."
            Some(close) => close.code.map_or(1005, CloseCode::get),
            None => 1006,
        }
    }
}

/// Whose Close frame came first.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "there are two endpoints")]
pub enum Initiator {
    /// This endpoint began the closing handshake, or failed the connection because of a violation.
    Local,
    /// The peer began it.
    Peer,
    /// No Close frame was sent or received.
    Neither,
}

/// Why a connection is over.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Cause {
    /// Both Close frames went through.
    Handshake,
    /// The peer ended the TCP connection without the closing handshake.
    Eof,
    /// The TCP connection broke.
    Reset,
    /// A deadline passed.
    Timeout(Timeout),
    /// The peer broke a rule.
    Violation(Violation),
    /// The peer took its data so slowly that the output reached its hard limit.
    Overflow,
    /// The program let go of the connection or of its service.
    Dropped,
}

/// Which deadline passed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Timeout {
    /// [`ProtocolLimits::close_timeout`](crate::limits::ProtocolLimits::close_timeout).
    Close,
    /// [`ProtocolLimits::pong_within`](crate::limits::ProtocolLimits::pong_within).
    Keepalive,
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_reason_has_at_most_123_bytes() {
        assert!(Close::with_reason(CloseCode::NORMAL, "x".repeat(123)).is_ok());
        let error = Close::with_reason(CloseCode::NORMAL, "x".repeat(124)).unwrap_err();
        assert_eq!(error.to_string(), "a close reason holds 123 bytes at most");
    }

    #[test]
    fn the_code_seen_tells_empty_from_missing() {
        let mut closed = Closed { sent: None, received: None, initiator: Initiator::Neither, cause: Cause::Eof };
        assert_eq!(closed.code_seen(), 1006);
        closed.received = Some(Close::empty());
        assert_eq!(closed.code_seen(), 1005);
        closed.received = Some(CloseCode::TRY_AGAIN.into());
        assert_eq!(closed.code_seen(), 1013);
    }
}
