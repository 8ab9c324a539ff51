//! Close codes, close frames, and the summary of how a connection ended.

use alloc::borrow::Cow;
use core::fmt;

use crate::error::Violation;

pub use crate::code::CloseCode;

/// The content of a Close frame: nothing, a code, or a code and a reason of at most 123 bytes (RFC
/// 6455 section 5.5.1).
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Close {
    code: Option<CloseCode>,
    /// `reason.len() <= 123`, and empty when there is no code.
    reason: Cow<'static, str>,
}

impl Close {
    /// The longest reason in bytes: the 125 bytes of a control frame's payload without the two of
    /// the code.
    pub const MAX_REASON_BYTES: usize = 123;

    /// A Close frame with a code and no reason.
    #[must_use]
    pub const fn new(code: CloseCode) -> Self {
        Self { code: Some(code), reason: Cow::Borrowed("") }
    }

    /// A Close frame without a body. The peer's application sees code 1005.
    #[must_use]
    pub const fn empty() -> Self {
        Self { code: None, reason: Cow::Borrowed("") }
    }

    /// A Close frame with a code and a reason.
    ///
    /// # Errors
    /// `reason` has more than 123 bytes.
    pub fn with_reason(code: CloseCode, reason: impl Into<Cow<'static, str>>) -> Result<Self, ReasonTooLong> {
        let reason = reason.into();
        // RFC 6455 section 5.5: "All control frames MUST have a payload length of 125 bytes or
        // less".
        if reason.len() > Self::MAX_REASON_BYTES {
            return Err(ReasonTooLong);
        }
        Ok(Self { code: Some(code), reason })
    }

    /// The code. `None`: the frame has no body.
    #[must_use]
    pub const fn code(&self) -> Option<CloseCode> {
        self.code
    }

    /// The reason. Empty if there is none.
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

/// A close reason is limited to 123 bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ReasonTooLong;

impl fmt::Display for ReasonTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a close reason is limited to 123 bytes")
    }
}

impl core::error::Error for ReasonTooLong {}

/// How a connection ended. A normal closure is one of the values, not an error.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Closed {
    /// Our Close frame, if one was queued. Whether it reached the peer is unknown.
    pub sent: Option<Close>,
    /// The peer's Close frame, if one arrived.
    pub received: Option<Close>,
    /// Which endpoint sent the first Close frame.
    pub initiator: Initiator,
    /// Why the connection ended.
    pub cause: Cause,
}

impl Closed {
    /// The close code as RFC 6455 section 7.1.5 defines it: the received code, 1005 for a Close
    /// frame without a body, 1006 if no Close frame arrived.
    #[must_use]
    pub fn code_seen(&self) -> u16 {
        match &self.received {
            // RFC 6455 section 7.1.5: "If this Close control frame contains no status code, _The
            // WebSocket Connection Close Code_ is considered to be 1005. If _The WebSocket
            // Connection is Closed_ and no Close control frame was received by the endpoint [...]
            // _The WebSocket Connection Close Code_ is considered to be 1006."
            Some(close) => close.code.map_or(1005, CloseCode::get),
            None => 1006,
        }
    }
}

/// Which endpoint sent the first Close frame.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "there are two endpoints")]
pub enum Initiator {
    /// This endpoint: it started the closing handshake, or failed the connection because of a
    /// violation.
    Local,
    /// The peer.
    Peer,
    /// No Close frame was sent or received.
    Neither,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Cause {
    /// The closing handshake completed.
    Handshake,
    /// The peer ended the TCP connection without the closing handshake.
    Eof,
    /// The TCP connection failed.
    Reset,
    /// A deadline passed.
    Timeout(Timeout),
    /// The peer broke a rule.
    Violation(Violation),
    /// The peer read so slowly that the output reached its hard limit.
    Overflow,
    /// The program dropped the connection or its service.
    Dropped,
    /// The program ended the connection at once, without the closing handshake.
    Aborted,
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
        assert_eq!(error.to_string(), "a close reason is limited to 123 bytes");
    }

    #[test]
    fn an_empty_close_is_1005_and_a_missing_one_1006() {
        let mut closed = Closed { sent: None, received: None, initiator: Initiator::Neither, cause: Cause::Eof };
        assert_eq!(closed.code_seen(), 1006);
        closed.received = Some(Close::empty());
        assert_eq!(closed.code_seen(), 1005);
        closed.received = Some(CloseCode::TRY_AGAIN.into());
        assert_eq!(closed.code_seen(), 1013);
    }
}
