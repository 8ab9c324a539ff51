//! The constants of a frame header (RFC 6455 section 5.2).

/// The longest frame header in bytes: two, a 64-bit length, and a masking key.
pub const MAX_HEADER_BYTES: usize = 14;

/// The longest payload of a control frame in bytes (RFC 6455 section 5.5).
pub const MAX_CONTROL_BYTES: usize = 125;

/// The bit of the first byte that ends a message.
pub(super) const FIN: u8 = 0x80;
/// The reserved bit of a compressed message (RFC 7692 section 6).
pub(crate) const COMPRESSED: u8 = 0x40;
/// The three reserved bits of the first byte.
pub(super) const RSV: u8 = 0x70;
/// The bit of the second byte that announces a masking key.
pub(super) const MASK: u8 = 0x80;
/// The value of the length field that announces a 16-bit length.
pub(super) const LENGTH_16: u8 = 126;
/// The value of the length field that announces a 64-bit length.
pub(super) const LENGTH_64: u8 = 127;
