//! Opcodes, kinds of messages, roles.

use core::ops::Not;

/// The type of a frame (RFC 6455 section 5.2). Reserved opcodes cannot be represented.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "RFC 6455 defines these six, and an unknown one fails the connection")]
#[repr(u8)]
pub enum OpCode {
    /// A further frame of a fragmented message.
    Continuation = 0,
    /// A text message, or its first frame.
    Text = 1,
    /// A binary message, or its first frame.
    Binary = 2,
    /// A frame of the closing handshake.
    Close = 8,
    /// Asks for a pong.
    Ping = 9,
    /// Answers a ping, or is sent unsolicited.
    Pong = 10,
}

impl OpCode {
    /// The opcode in the first byte of a header. `None`: it is reserved.
    #[must_use]
    #[inline]
    pub const fn of_first_byte(byte: u8) -> Option<Self> {
        match byte & 0x0f {
            0 => Some(Self::Continuation),
            1 => Some(Self::Text),
            2 => Some(Self::Binary),
            8 => Some(Self::Close),
            9 => Some(Self::Ping),
            10 => Some(Self::Pong),
            _ => None,
        }
    }

    /// Whether this is a control frame: Close, Ping or Pong.
    #[must_use]
    #[inline]
    pub const fn is_control(self) -> bool {
        // RFC 6455 section 5.5: "Control frames are identified by opcodes where the most
        // significant bit of the opcode is 1."
        self as u8 & 0x08 != 0
    }
}

/// The kind of a message.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "RFC 6455 has two kinds of data, and matching both is the point")]
pub enum MessageKind {
    /// UTF-8 text.
    Text,
    /// Arbitrary bytes.
    Binary,
}

impl MessageKind {
    /// The opcode that begins a message of this kind.
    #[must_use]
    #[inline]
    pub const fn opcode(self) -> OpCode {
        match self {
            Self::Text => OpCode::Text,
            Self::Binary => OpCode::Binary,
        }
    }
}

/// Which end of the connection an endpoint is. `!role` is the role of the peer.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a connection has two ends")]
pub enum Role {
    /// Accepts handshakes. Never masks its frames.
    Server,
    /// Starts handshakes. Always masks its frames.
    Client,
}

impl Not for Role {
    type Output = Self;

    #[inline]
    fn not(self) -> Self {
        match self {
            Self::Server => Self::Client,
            Self::Client => Self::Server,
        }
    }
}
