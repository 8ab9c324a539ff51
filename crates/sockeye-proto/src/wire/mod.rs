//! Frames on the wire (RFC 6455 section 5): headers, masking, UTF-8.
//!
//! ```text
//!  byte 0            byte 1            0, 2 or 8 bytes       0 or 4 bytes   `length` bytes
//! ┌─┬─┬─┬─┬───────┐ ┌─┬─────────────┐ ┌───────────────────┐ ┌────────────┐ ┌─────────────────┐
//! │F│R│R│R│opcode │ │M│ length 0-125│ │ length, if byte 1 │ │ masking    │ │ payload, XORed  │
//! │I│S│S│S│4 bits │ │A│ or 126, 127 │ │ says 126 or 127   │ │ key, if    │ │ with the key    │
//! │N│V│V│V│       │ │S│             │ │ (big endian)      │ │ MASK is 1  │ │ if MASK is 1    │
//! │ │1│2│3│       │ │K│             │ │                   │ │            │ │                 │
//! └─┴─┴─┴─┴───────┘ └─┴─────────────┘ └───────────────────┘ └────────────┘ └─────────────────┘
//! ```

mod encoded;
mod header;
pub mod mask;
mod opcode;
pub mod utf8;

pub use self::encoded::EncodedHeader;
pub(crate) use self::header::WholeFrame;
pub use self::header::{FrameHeader, Parsed};
pub use self::opcode::{MessageKind, OpCode, Role};

/// Bytes of the longest frame header: two, a 64-bit length, a masking key.
pub const MAX_HEADER_BYTES: usize = 14;

/// Bytes that a control frame's payload may have.
pub const MAX_CONTROL_BYTES: usize = 125;

/// The first byte's bit that ends a message.
const FIN: u8 = 0x80;
/// The three reserved bits of the first byte.
const RSV: u8 = 0x70;
/// The second byte's bit that announces a masking key.
const MASK: u8 = 0x80;
/// The length field's value that announces a 16-bit length.
const LENGTH_16: u8 = 126;
/// The length field's value that announces a 64-bit length.
const LENGTH_64: u8 = 127;
