//! Sending: headers of data frames, and queued control frames. Independent of receiving.

use alloc::vec::Vec;
use core::{fmt, mem};

use super::connection::Connection;
use super::control::ControlPayload;
use super::state::State;
use crate::wire::{EncodedHeader, MessageKind, OpCode, Role, mask};

impl Connection {
    /// Whether data may be sent: the connection is open, or our Close frame is queued but not
    /// transmitted.
    ///
    /// The second case lets the caller finish what goes before the Close frame. RFC 6455 section
    /// 5.5.1 lets an endpoint "delay sending a Close frame until its current message is sent", and
    /// messages that came before a violation may still be answered.
    #[must_use]
    #[inline]
    pub fn can_send(&self) -> bool {
        self.state == State::Open || self.handshake.has_unsent()
    }

    /// The kind of the fragmented message that we have begun but not finished.
    #[must_use]
    #[inline]
    pub const fn mid_message(&self) -> Option<MessageKind> {
        self.sending
    }

    /// The header of the next data frame, with `len` payload bytes. `Some(kind)` begins a message
    /// and `None` continues one; `last` ends it.
    ///
    /// Put the header on the wire, then the payload. A client passes a masking key, new for each
    /// frame and from a cryptographic random source, and XORs the payload with it (see
    /// [`mask::apply`]). A server passes `None`.
    ///
    /// # Errors
    /// The frame is not allowed now, see [`SendError`]. Nothing has changed then.
    #[inline]
    pub fn frame(
        &mut self,
        kind: Option<MessageKind>,
        last: bool,
        len: u64,
        mask: Option<[u8; 4]>,
    ) -> Result<EncodedHeader, SendError> {
        // RFC 6455 section 5.5.1: "The application MUST NOT send any more data frames after sending
        // a Close frame."
        if !self.can_send() {
            return Err(SendError::Closed);
        }
        // Section 5.1: "a client MUST mask all frames that it sends to the server" and "A server
        // MUST NOT mask any frames that it sends to the client."
        match (self.role, mask.is_some()) {
            (Role::Server, false) | (Role::Client, true) => {}
            (Role::Client, false) => return Err(SendError::MaskMissing),
            (Role::Server, true) => return Err(SendError::MaskForbidden),
        }
        if len >> 63 != 0 {
            return Err(SendError::TooLong);
        }
        // Section 5.4: "The fragments of one message MUST NOT be interleaved between the fragments
        // of another message unless an extension has been negotiated that can interpret the
        // interleaving."
        let opcode = match (kind, self.sending) {
            (Some(kind), None) => {
                if !last {
                    self.sending = Some(kind);
                }
                kind.opcode()
            }
            (None, Some(_)) => {
                if last {
                    self.sending = None;
                }
                OpCode::Continuation
            }
            (Some(_), Some(_)) => return Err(SendError::MidMessage),
            (None, None) => return Err(SendError::NotMidMessage),
        };
        Ok(EncodedHeader::new(last, 0, opcode, len, mask))
    }

    /// Queues a ping. Replaces one that still waits.
    ///
    /// # Errors
    /// [`SendError::Closed`]: the connection is not open.
    pub fn ping(&mut self, payload: ControlPayload) -> Result<(), SendError> {
        if self.state != State::Open {
            return Err(SendError::Closed);
        }
        self.control.set_ping(payload);
        Ok(())
    }

    /// Queues a pong that answers no ping. RFC 6455 section 5.5.3: "A Pong frame MAY be sent
    /// unsolicited. This serves as a unidirectional heartbeat." If a pong waits already, which may be
    /// the answer to a ping, that one stays and serves as well.
    ///
    /// # Errors
    /// [`SendError::Closed`]: the connection is not open.
    pub fn pong(&mut self, payload: ControlPayload) -> Result<(), SendError> {
        if self.state != State::Open {
            return Err(SendError::Closed);
        }
        if !self.control.has_pong() {
            self.control.set_pong(payload);
        }
        Ok(())
    }

    /// Whether [`transmit`](Self::transmit) would append anything.
    #[must_use]
    #[inline]
    pub fn wants_transmit(&self) -> bool {
        !self.control.is_empty() || self.handshake.has_unsent()
    }

    /// Whether the connection is open and no control frame waits to be sent: there is nothing to do for it but to receive and
    /// send data.
    #[must_use]
    #[inline(always)]
    pub const fn is_quiet(&self) -> bool {
        // A Close frame waits only once the connection is not open.
        matches!(self.state, State::Open) && self.control.is_empty()
    }

    /// Appends the queued control frames to `out`: ping, pong, Close. Returns whether there were
    /// any.
    ///
    /// If it is called after each event, every ping of the peer is answered. If it is called less
    /// often, for instance because the output is full, only the newest ping is answered. A client
    /// calls `mask` once per frame for a masking key; a server never calls it.
    #[inline]
    pub fn transmit(&mut self, out: &mut Vec<u8>, mask: &mut dyn FnMut() -> [u8; 4]) -> bool {
        self.wants_transmit() && self.transmit_waiting(out, mask)
    }

    #[cold]
    fn transmit_waiting(&mut self, out: &mut Vec<u8>, mask: &mut dyn FnMut() -> [u8; 4]) -> bool {
        for (opcode, payload) in mem::take(&mut self.control).frames() {
            self.put_control(opcode, payload, out, mask);
        }
        if let Some(close) = self.handshake.take_unsent() {
            self.put_control(OpCode::Close, ControlPayload::of_close(&close).as_bytes(), out, mask);
        }
        true
    }

    fn put_control(&self, opcode: OpCode, payload: &[u8], out: &mut Vec<u8>, mask: &mut dyn FnMut() -> [u8; 4]) {
        let key = (self.role == Role::Client).then(mask);
        EncodedHeader::new(true, 0, opcode, payload.len() as u64, key).append_to(out);
        let start = out.len();
        out.extend_from_slice(payload);
        if let Some(key) = key {
            mask::apply(&mut out[start..], key, 0);
        }
    }
}

/// Why a frame may not be sent now. A mistake of the caller, except for [`Closed`](Self::Closed),
/// which can happen at any time.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum SendError {
    /// The connection is over, or our Close frame was sent.
    Closed,
    /// A new message was begun inside an unfinished one.
    MidMessage,
    /// There is no unfinished message to continue.
    NotMidMessage,
    /// A client's frame needs a masking key.
    MaskMissing,
    /// A server's frame must not have a masking key.
    MaskForbidden,
    /// A frame must have fewer than 2^63 payload bytes.
    TooLong,
    /// A compressed message, though compression was not agreed on.
    NotNegotiated,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the connection is closed or closing",
            Self::MidMessage => "a new message was begun inside an unfinished one",
            Self::NotMidMessage => "there is no unfinished message to continue",
            Self::MaskMissing => "a client's frame needs a masking key",
            Self::MaskForbidden => "a server's frame must not have a masking key",
            Self::TooLong => "a frame must have fewer than 2^63 payload bytes",
            Self::NotNegotiated => "compression was not agreed on",
        })
    }
}

impl core::error::Error for SendError {}
