//! Parsing of frame headers. On the hot path: measure before and after a change.
//!
//! A header is refused at its first illegal byte, in the order of the bytes, so the result for a
//! stream does not depend on how it was cut.

use super::layout::{FIN, LENGTH_16, LENGTH_64, MASK, RSV};
use super::opcode::{MessageKind, OpCode, Role};
use crate::error::Violation;

/// A parsed frame header that is legal for the role that received it (RFC 6455 section 5.2).
///
/// Whether its frame may follow the frames before it is checked by
/// [`Connection`](crate::conn::Connection). [`EncodedHeader`](super::EncodedHeader) is the form
/// that is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct FrameHeader {
    /// Whether the message ends with this frame.
    pub fin: bool,
    /// The reserved bits in place: `0x40`, `0x20`, `0x10`.
    pub rsv: u8,
    /// The type of the frame.
    pub opcode: OpCode,
    /// The masking key. Present exactly if the peer is a client.
    pub mask: Option<[u8; 4]>,
    /// The payload length in bytes: below 2^63, and below 126 for a control frame.
    pub len: u64,
}

/// What [`FrameHeader::parse`] found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a header is complete or it is not")]
pub enum Parsed {
    /// At least this many more bytes are needed.
    NeedMore(usize),
    /// The header, and its length in bytes.
    Complete(FrameHeader, usize),
}

impl FrameHeader {
    /// Parses the header at the front of `bytes`, as received by an endpoint of role `role`.
    ///
    /// `allowed_rsv` holds the reserved bits that negotiated extensions define. Only the first
    /// frame of a message may use them.
    ///
    /// # Errors
    /// The part of the header that has arrived breaks a rule.
    #[inline]
    pub fn parse(bytes: &[u8], role: Role, allowed_rsv: u8) -> Result<Parsed, Violation> {
        let &[first, second, ref rest @ ..] = bytes else { return Self::parse_start(bytes, allowed_rsv) };
        let opcode = check_first(first, allowed_rsv)?;
        let masked = second & MASK != 0;
        // RFC 6455 section 5.1: "The server MUST close the connection upon receiving a frame that
        // is not masked." and "A client MUST close a connection if it detects a masked frame."
        if masked != (role == Role::Server) {
            return Err(wrong_mask(role));
        }
        let field = second & !MASK;
        // Section 5.5: "All control frames MUST have a payload length of 125 bytes or less and MUST
        // NOT be fragmented."
        if opcode.is_control() && field > 125 {
            return Err(Violation::ControlTooLong);
        }
        let (len, len_bytes) = match field {
            LENGTH_16 => match rest.first_chunk() {
                Some(&bytes) => (minimal_16(u16::from_be_bytes(bytes))?, 2),
                None => return Self::parse_length_start(rest, field, masked),
            },
            LENGTH_64 => match rest.first_chunk() {
                Some(&bytes) => (minimal_64(u64::from_be_bytes(bytes))?, 8),
                None => return Self::parse_length_start(rest, field, masked),
            },
            field => (u64::from(field), 0),
        };
        let mut header = Self { fin: first & FIN != 0, rsv: first & RSV, opcode, mask: None, len };
        if !masked {
            return Ok(Parsed::Complete(header, 2 + len_bytes));
        }
        match rest[len_bytes..].first_chunk() {
            Some(&key) => {
                header.mask = Some(key);
                Ok(Parsed::Complete(header, 6 + len_bytes))
            }
            None => Ok(Parsed::NeedMore(len_bytes + 4 - rest.len())),
        }
    }

    /// Fewer than two bytes.
    #[cold]
    fn parse_start(bytes: &[u8], allowed_rsv: u8) -> Result<Parsed, Violation> {
        match bytes {
            [] => Ok(Parsed::NeedMore(2)),
            [first, ..] => check_first(*first, allowed_rsv).map(|_| Parsed::NeedMore(1)),
        }
    }

    /// Part of an extended length. Refuses it if no further byte can make it legal.
    #[cold]
    fn parse_length_start(rest: &[u8], field: u8, masked: bool) -> Result<Parsed, Violation> {
        let width = if field == LENGTH_16 { 2 } else { 8 };
        if width == 8 {
            if rest.first().is_some_and(|byte| byte & 0x80 != 0) {
                return Err(Violation::LengthTopBit);
            }
            // After six zero bytes, the value fits in 16 bits.
            if rest.len() >= 6 && rest.iter().take(6).all(|&byte| byte == 0) {
                return Err(Violation::LengthNotMinimal);
            }
        }
        let key = if masked { 4 } else { 0 };
        Ok(Parsed::NeedMore(width + key - rest.len()))
    }
}

/// The header of an unfragmented message that has arrived whole.
pub(crate) struct WholeFrame {
    pub(crate) kind: MessageKind,
    pub(crate) header_len: usize,
    pub(crate) len: usize,
    /// Little endian; 0 if the frame is not masked.
    pub(crate) key: u32,
}

impl WholeFrame {
    /// Recognises the usual frame, legal and shorter than 64 KiB, in as few steps as possible.
    /// `None` means only that [`FrameHeader::parse`] must decide.
    #[inline(always)]
    pub(crate) fn of(bytes: &[u8], role: Role) -> Option<Self> {
        match role {
            Role::Server => Self::with_key::<4>(bytes),
            Role::Client => Self::with_key::<0>(bytes),
        }
    }

    /// The masking key has `KEY` bytes.
    #[inline(always)]
    fn with_key<const KEY: usize>(bytes: &[u8]) -> Option<Self> {
        let &[first, second] = bytes.first_chunk()?;
        let kind = match first {
            0x81 => MessageKind::Text,
            0x82 => MessageKind::Binary,
            _ => return None,
        };
        let field = second ^ if KEY == 0 { 0 } else { MASK };
        let (len, rest, length_len) = if field < LENGTH_16 {
            (usize::from(field), &bytes[2..], 2)
        } else {
            let (&extended, rest) = bytes[2..].split_first_chunk()?;
            let len = u16::from_be_bytes(extended);
            if field != LENGTH_16 || len < u16::from(LENGTH_16) {
                return None;
            }
            (usize::from(len), rest, 4)
        };
        let key = rest.first_chunk::<KEY>()?.first_chunk().map_or(0, |&key| u32::from_le_bytes(key));
        if rest.len() - KEY < len {
            return None;
        }
        Some(Self { kind, header_len: length_len + KEY, len, key })
    }
}

/// Checks everything that the first byte determines.
#[inline]
fn check_first(first: u8, allowed_rsv: u8) -> Result<OpCode, Violation> {
    // RFC 6455 section 5.2: "MUST be 0 unless an extension is negotiated that defines meanings for
    // non-zero values. If a nonzero value is received and none of the negotiated extensions defines
    // the meaning of such a nonzero value, the receiving endpoint MUST _Fail the WebSocket
    // Connection_."
    if first & RSV & !allowed_rsv != 0 {
        return Err(Violation::ReservedBit);
    }
    // Section 5.2: "If an unknown opcode is received, the receiving endpoint MUST _Fail the
    // WebSocket Connection_."
    let Some(opcode) = OpCode::of_first_byte(first) else { return Err(Violation::ReservedOpCode) };
    // Section 5.5: "All control frames MUST have a payload length of 125 bytes or less and MUST NOT
    // be fragmented."
    if opcode.is_control() && first & FIN == 0 {
        return Err(Violation::ControlFragmented);
    }
    // RFC 7692 section 6: "An endpoint MUST NOT set the "Per-Message Compressed" bit of control
    // frames and non-first fragments of a data message." No other known extension defines these
    // bits.
    if first & RSV != 0 && !matches!(opcode, OpCode::Text | OpCode::Binary) {
        return Err(Violation::ReservedBit);
    }
    Ok(opcode)
}

// RFC 6455 section 5.2: "Note that in all cases, the minimal number of bytes MUST be used to encode
// the length".
#[inline]
fn minimal_16(len: u16) -> Result<u64, Violation> {
    if len < 126 { Err(Violation::LengthNotMinimal) } else { Ok(u64::from(len)) }
}

#[inline]
fn minimal_64(len: u64) -> Result<u64, Violation> {
    if len > u64::from(u16::MAX) && len >> 63 == 0 { Ok(len) } else { Err(wrong_64(len)) }
}

#[cold]
fn wrong_64(len: u64) -> Violation {
    // Section 5.2: "the following 8 bytes interpreted as a 64-bit unsigned integer (the most
    // significant bit MUST be 0)".
    if len >> 63 != 0 { Violation::LengthTopBit } else { Violation::LengthNotMinimal }
}

#[cold]
fn wrong_mask(role: Role) -> Violation {
    match role {
        Role::Server => Violation::MaskMissing,
        Role::Client => Violation::MaskForbidden,
    }
}
