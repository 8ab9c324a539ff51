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
mod layout;
pub mod mask;
mod opcode;
pub mod utf8;

pub use self::encoded::EncodedHeader;
pub(crate) use self::header::WholeFrame;
pub use self::header::{FrameHeader, Parsed};
pub(crate) use self::layout::COMPRESSED;
pub use self::layout::{MAX_CONTROL_BYTES, MAX_HEADER_BYTES};
pub use self::opcode::{MessageKind, OpCode, Role};
