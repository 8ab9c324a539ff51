//! What a peer can do wrong: one variant per rule. [`Violation::close_code`] alone decides which
//! code the peer gets.

use core::fmt;

use crate::code::CloseCode;

/// A rule that the peer broke. The connection has failed, and a Close frame with
/// [`close_code`](Self::close_code) is queued.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Violation {
    /// A reserved bit is set, and no negotiated extension defines it.
    ReservedBit,
    /// A reserved opcode: 3 to 7, 11 to 15.
    ReservedOpCode,
    /// A server received an unmasked frame.
    MaskMissing,
    /// A client received a masked frame.
    MaskForbidden,
    /// A payload length encoded in more bytes than it needs.
    LengthNotMinimal,
    /// A 64-bit payload length with its most significant bit set.
    LengthTopBit,
    /// A control frame with a payload of more than 125 bytes.
    ControlTooLong,
    /// A control frame without the FIN bit.
    ControlFragmented,
    /// A continuation frame with nothing to continue.
    ContinuationUnexpected,
    /// A new message inside an unfinished fragmented one.
    MessageUnfinished,
    /// Text that is not UTF-8.
    TextNotUtf8,
    /// A Close frame with a body of one byte, which is half a code.
    CloseCodeCut,
    /// A Close frame with a code that must not be sent.
    CloseCodeIllegal(u16),
    /// A close reason that is not UTF-8.
    CloseReasonNotUtf8,
    /// A message larger than
    /// [`ProtocolLimits::message_bytes`](crate::limits::ProtocolLimits::message_bytes).
    MessageTooBig,
    /// More tiny fragments in one message than
    /// [`ProtocolLimits::tiny_fragments`](crate::limits::ProtocolLimits::tiny_fragments).
    FragmentsTooTiny,
    /// A compressed message that is not DEFLATE, refers to more than was agreed to keep, or ends within a block.
    DeflateCorrupt,
}

impl Violation {
    /// The code of the Close frame that reports it to the peer.
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        match self {
            // RFC 6455 section 8.1: "When an endpoint is to interpret a byte stream as UTF-8 but
            // finds that the byte stream is not, in fact, a valid UTF-8 stream, that endpoint MUST
            // _Fail the WebSocket Connection_." The code is that of section 7.4.1: "1007 indicates
            // that an endpoint is terminating the connection because it has received data within a
            // message that was not consistent with the type of the message".
            // RFC 7692 names no code for data that cannot be inflated; this is the one of its kind.
            Self::TextNotUtf8 | Self::CloseReasonNotUtf8 | Self::DeflateCorrupt => CloseCode::INVALID_DATA,
            // Section 7.4.1: "1009 indicates that an endpoint is terminating the connection because
            // it has received a message that is too big for it to process."
            Self::MessageTooBig => CloseCode::TOO_BIG,
            // Section 7.4.1: "1008 indicates that an endpoint is terminating the connection because
            // it has received a message that violates its policy."
            Self::FragmentsTooTiny => CloseCode::POLICY,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }

    /// The rule in a few words, short enough for a close reason.
    #[must_use]
    pub const fn rule(self) -> &'static str {
        match self {
            Self::ReservedBit => "reserved bit set without an extension",
            Self::ReservedOpCode => "reserved opcode",
            Self::MaskMissing => "a client must mask its frames",
            Self::MaskForbidden => "a server must not mask its frames",
            Self::LengthNotMinimal => "payload length not in its shortest form",
            Self::LengthTopBit => "payload length with its top bit set",
            Self::ControlTooLong => "control frame over 125 bytes",
            Self::ControlFragmented => "fragmented control frame",
            Self::ContinuationUnexpected => "continuation frame with nothing to continue",
            Self::MessageUnfinished => "new message inside an unfinished one",
            Self::TextNotUtf8 => "text is not UTF-8",
            Self::CloseCodeCut => "close frame with half a code",
            Self::CloseCodeIllegal(_) => "close code that must not be sent",
            Self::CloseReasonNotUtf8 => "close reason is not UTF-8",
            Self::MessageTooBig => "message too big",
            Self::FragmentsTooTiny => "too many tiny fragments",
            Self::DeflateCorrupt => "compressed data is corrupt",
        }
    }

    /// The RFC that states the rule: 6455, or 7692 for compression.
    #[must_use]
    pub const fn rfc(self) -> u16 {
        if matches!(self, Self::DeflateCorrupt) { 7692 } else { 6455 }
    }

    /// The section of that RFC. For limits this is 10.4 of RFC 6455, which leaves them to
    /// the implementation.
    #[must_use]
    pub const fn section(self) -> &'static str {
        match self {
            Self::ReservedBit | Self::ReservedOpCode | Self::LengthNotMinimal | Self::LengthTopBit => "5.2",
            Self::MaskMissing | Self::MaskForbidden => "5.1",
            Self::ControlTooLong | Self::ControlFragmented => "5.5",
            Self::ContinuationUnexpected | Self::MessageUnfinished => "5.4",
            Self::TextNotUtf8 => "8.1",
            Self::CloseCodeCut | Self::CloseReasonNotUtf8 => "5.5.1",
            Self::CloseCodeIllegal(_) => "7.4",
            Self::MessageTooBig | Self::FragmentsTooTiny => "10.4",
            Self::DeflateCorrupt => "7.2.2",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule())?;
        if let Self::CloseCodeIllegal(code) = self {
            write!(f, ": {code}")?;
        }
        write!(f, " (RFC {} section {})", self.rfc(), self.section())
    }
}

impl core::error::Error for Violation {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_violation_is_small() {
        assert!(size_of::<Violation>() <= 16);
        assert!(size_of::<Result<(), Violation>>() <= 16);
    }

    #[test]
    fn display_names_the_rule_and_its_section() {
        assert_eq!(Violation::ReservedBit.to_string(), "reserved bit set without an extension (RFC 6455 section 5.2)");
        assert_eq!(
            Violation::CloseCodeIllegal(1005).to_string(),
            "close code that must not be sent: 1005 (RFC 6455 section 7.4)"
        );
    }
}
