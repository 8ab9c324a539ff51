//! Close codes, close frames, and the summary of how a connection ended.

use alloc::borrow::Cow;
use core::fmt::{self, Write as _};

use crate::error::Violation;

pub use crate::code::{CloseCode, InvalidCloseCode};

/// The content of a Close frame: nothing, a code, or a code and a reason of at most 123 bytes (RFC
/// 6455 section 5.5.1).
///
/// ```
/// use sockeye_proto::close::{Close, CloseCode};
///
/// let close = Close::with_reason(CloseCode::POLICY, "too many messages")?;
/// assert_eq!((close.code(), close.reason()), (Some(CloseCode::POLICY), "too many messages"));
/// assert_eq!(Close::from(CloseCode::NORMAL).reason(), "");
/// # Ok::<(), sockeye_proto::close::ReasonTooLong>(())
/// ```
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
            return Err(ReasonTooLong { code });
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

/// The code and the reason, as `1008 no such room`; `no code` without one. Control characters and other invisible
/// characters of a reason, which may be the peer's, are escaped.
impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "{code}")?,
            None => f.write_str("no code")?,
        }
        if self.reason.is_empty() {
            return Ok(());
        }
        f.write_char(' ')?;
        for part in self.reason.chars() {
            match part {
                '"' | '\'' | '\\' => f.write_char(part)?,
                _ => write!(f, "{}", part.escape_debug())?,
            }
        }
        Ok(())
    }
}

impl From<CloseCode> for Close {
    fn from(code: CloseCode) -> Self {
        Self::new(code)
    }
}

/// A close reason is limited to 123 bytes.
///
/// It converts into a [`Close`] with the code alone, so a callback that fails with a `Close` can say
/// `Err(Close::with_reason(code, reason)?)`: the code is sent in any case, and the reason if it fits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ReasonTooLong {
    code: CloseCode,
}

/// The code without the reason.
impl From<ReasonTooLong> for Close {
    fn from(error: ReasonTooLong) -> Self {
        Self::new(error.code)
    }
}

impl fmt::Display for ReasonTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a close reason is limited to 123 bytes")
    }
}

impl core::error::Error for ReasonTooLong {}

/// How a connection ended. A normal closure is one of the values, not an error.
///
/// ```
/// use sockeye_proto::close::{Cause, Closed, Initiator};
///
/// fn log(closed: &Closed) {
///     match closed.cause {
///         Cause::Handshake if closed.initiator == Initiator::Peer => println!("left with {}", closed.code_seen()),
///         Cause::Handshake => println!("closed by us"),
///         cause => println!("lost: {cause}"),
///     }
/// }
/// ```
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

/// One line for a log or a person, such as `closed by the peer: 1001 see you`. It names each Close frame that matters.
impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sent = FrameOrNone(self.sent.as_ref());
        match (self.cause, self.initiator) {
            (Cause::Handshake | Cause::Eof, Initiator::Peer) => {
                write!(f, "closed by the peer: {}", FrameOrNone(self.received.as_ref()))
            }
            (Cause::Handshake, _) => write!(f, "closed by us: {sent}"),
            (Cause::Eof, Initiator::Local) => {
                write!(f, "the peer closed the connection without answering our close ({sent})")
            }
            (Cause::Eof, Initiator::Neither) => f.write_str("the peer dropped the connection without a close (1006)"),
            (Cause::Reset, _) => f.write_str("the connection was reset (1006)"),
            (Cause::Timeout(Timeout::Close), _) => write!(f, "the peer did not answer our close ({sent})"),
            (Cause::Timeout(Timeout::Keepalive), _) => f.write_str("the peer did not answer a ping (1006)"),
            (Cause::Violation(_), _) => write!(f, "{}; closed with {}", self.cause, code_of(self.sent.as_ref())),
            (Cause::Timeout(Timeout::Message) | Cause::Shed, _) => write!(f, "{}; closed with {sent}", self.cause),
            (Cause::Overflow | Cause::Dropped | Cause::Aborted, _) => self.cause.fmt(f),
        }
    }
}

/// A Close frame in a text.
struct FrameOrNone<'a>(Option<&'a Close>);

impl fmt::Display for FrameOrNone<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.unwrap_or(&Close::empty()).fmt(f)
    }
}

/// The same without its reason, which repeats the violation.
fn code_of(close: Option<&Close>) -> Close {
    close.and_then(Close::code).map_or(Close::empty(), Close::new)
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

impl fmt::Display for Initiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "us",
            Self::Peer => "the peer",
            Self::Neither => "neither",
        })
    }
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
    /// The service held too much for all its peers together, and most for this one.
    Shed,
    /// The program dropped the connection or its service.
    Dropped,
    /// The program ended the connection at once, without the closing handshake.
    Aborted,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handshake => f.write_str("the closing handshake completed"),
            Self::Eof => f.write_str("the peer ended the TCP connection without the closing handshake"),
            Self::Reset => f.write_str("the connection was reset"),
            Self::Timeout(timeout) => timeout.fmt(f),
            Self::Violation(violation) => write!(f, "the peer broke a rule: {violation}"),
            Self::Overflow => f.write_str("the peer does not read"),
            Self::Shed => f.write_str("too much was held for all peers together"),
            Self::Dropped => f.write_str("the connection was dropped"),
            Self::Aborted => f.write_str("aborted by us"),
        }
    }
}

/// Which deadline passed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Timeout {
    /// [`ProtocolLimits::close_timeout`](crate::limits::ProtocolLimits::close_timeout).
    Close,
    /// [`ProtocolLimits::pong_within`](crate::limits::ProtocolLimits::pong_within).
    Keepalive,
    /// A message that has begun made too little progress.
    Message,
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Close => "the peer did not complete the closing handshake in time",
            Self::Keepalive => "the peer did not answer a ping in time",
            Self::Message => "a message made too little progress",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_close_frame_is_shown_with_its_reason_escaped() {
        let shown = |reason: &'static str| Close::with_reason(CloseCode::POLICY, reason).unwrap().to_string();
        assert_eq!(shown(""), "1008");
        assert_eq!(shown("it's \"over\""), "1008 it's \"over\"");
        assert_eq!(shown("\u{1b}[2Jred\n\u{202e}"), "1008 \\u{1b}[2Jred\\n\\u{202e}");
        assert_eq!(Close::empty().to_string(), "no code");
    }

    #[test]
    fn an_end_is_one_line() {
        let bye = Some(Close::with_reason(CloseCode::GOING_AWAY, "bye").unwrap());
        let normal = Some(CloseCode::NORMAL.into());
        let broken = Some(Close::with_reason(CloseCode::PROTOCOL_ERROR, "reserved opcode").unwrap());
        let violation = Cause::Violation(Violation::ReservedOpCode);
        for (cause, initiator, sent, received, text) in [
            (Cause::Handshake, Initiator::Peer, &normal, &bye, "closed by the peer: 1001 bye"),
            (Cause::Handshake, Initiator::Local, &bye, &normal, "closed by us: 1001 bye"),
            (
                Cause::Eof,
                Initiator::Local,
                &normal,
                &None,
                "the peer closed the connection without answering our close (1000)",
            ),
            (Cause::Eof, Initiator::Peer, &None, &bye, "closed by the peer: 1001 bye"),
            (Cause::Eof, Initiator::Neither, &None, &None, "the peer dropped the connection without a close (1006)"),
            (Cause::Reset, Initiator::Neither, &None, &None, "the connection was reset (1006)"),
            (
                Cause::Timeout(Timeout::Close),
                Initiator::Local,
                &normal,
                &None,
                "the peer did not answer our close (1000)",
            ),
            (
                Cause::Timeout(Timeout::Keepalive),
                Initiator::Neither,
                &None,
                &None,
                "the peer did not answer a ping (1006)",
            ),
            (
                violation,
                Initiator::Local,
                &broken,
                &None,
                "the peer broke a rule: reserved opcode (RFC 6455 section 5.2); closed with 1002",
            ),
            (Cause::Overflow, Initiator::Neither, &None, &None, "the peer does not read"),
            (Cause::Dropped, Initiator::Neither, &None, &None, "the connection was dropped"),
            (Cause::Aborted, Initiator::Neither, &None, &None, "aborted by us"),
        ] {
            let closed = Closed { sent: sent.clone(), received: received.clone(), initiator, cause };
            assert_eq!(closed.to_string(), text);
        }
    }

    #[test]
    fn causes_deadlines_and_initiators_are_words() {
        assert_eq!(Cause::Handshake.to_string(), "the closing handshake completed");
        assert_eq!(Cause::Eof.to_string(), "the peer ended the TCP connection without the closing handshake");
        assert_eq!(
            Cause::Timeout(Timeout::Close).to_string(),
            "the peer did not complete the closing handshake in time"
        );
        assert_eq!(Timeout::Keepalive.to_string(), "the peer did not answer a ping in time");
        assert_eq!(
            [Initiator::Local, Initiator::Peer, Initiator::Neither].map(|by| by.to_string()),
            ["us", "the peer", "neither"]
        );
    }

    #[test]
    fn a_reason_has_at_most_123_bytes() {
        assert!(Close::with_reason(CloseCode::NORMAL, "x".repeat(123)).is_ok());
        let error = Close::with_reason(CloseCode::NORMAL, "x".repeat(124)).unwrap_err();
        assert_eq!(error.to_string(), "a close reason is limited to 123 bytes");
    }

    #[test]
    fn a_reason_that_is_too_long_leaves_the_code() {
        fn refuse(reason: alloc::string::String) -> Result<(), Close> {
            Err(Close::with_reason(CloseCode::POLICY, reason)?)
        }
        let fits = Close::with_reason(CloseCode::POLICY, "x".repeat(123)).unwrap();
        assert_eq!(refuse("x".repeat(123)), Err(fits));
        assert_eq!(refuse("x".repeat(124)), Err(Close::new(CloseCode::POLICY)));
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
