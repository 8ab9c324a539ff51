//! Sending: headers of data frames, and the waiting control frames. What was received is of no concern here.

use alloc::vec::Vec;
use core::{fmt, mem};

use super::control::Pending;
use super::{Connection, ControlPayload, State};
use crate::wire::{EncodedHeader, MessageKind, OpCode, Role, mask};

impl Connection {
    /// Whether data may be sent: the connection is open, or our Close frame waits and was not transmitted yet.
    ///
    /// The second case is for what was to be sent before the Close frame: RFC 6455 section 5.5.1 lets an endpoint
    /// "delay sending a Close frame until its current message is sent", and the answers to what came before a violation
    /// are owed all the same.
    #[must_use]
    #[inline]
    pub fn can_send(&self) -> bool {
        self.state == State::Open || self.handshake.has_unsent()
    }

    /// The kind of the fragmented message that we have begun and not finished.
    #[must_use]
    #[inline]
    pub const fn mid_message(&self) -> Option<MessageKind> {
        self.sending
    }

    /// The header of the next data frame of `len` payload bytes. `kind` begins a message, `None` continues one; `last` ends it.
    ///
    /// Put the header on the wire, then the payload, XORed with `mask` (see [`mask::apply`]) by a client. A client
    /// gives a key from a strong source of randomness, a new one for each frame; a server gives none.
    ///
    /// # Errors
    /// The frame is not allowed now; see [`SendError`]. Nothing has changed then.
    #[inline]
    pub fn frame(
        &mut self,
        kind: Option<MessageKind>,
        last: bool,
        len: u64,
        mask: Option<[u8; 4]>,
    ) -> Result<EncodedHeader, SendError> {
        // RFC 6455 section 5.5.1: "The application MUST NOT send any more data frames after sending a Close frame."
        if !self.can_send() {
            return Err(SendError::Closed);
        }
        // Section 5.1: "a client MUST mask all frames that it sends to the server" and "A server MUST NOT mask any frames that it
        // sends to the client."
        match (self.role, mask.is_some()) {
            (Role::Server, false) | (Role::Client, true) => {}
            (Role::Client, false) => return Err(SendError::MaskMissing),
            (Role::Server, true) => return Err(SendError::MaskForbidden),
        }
        if len >> 63 != 0 {
            return Err(SendError::TooLong);
        }
        // Section 5.4: "The fragments of one message MUST NOT be interleaved between the fragments of another message unless an
        // extension has been negotiated that can interpret the interleaving."
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

    /// Queues a ping, in place of one that still waits.
    ///
    /// # Errors
    /// [`SendError::Closed`].
    pub fn ping(&mut self, payload: ControlPayload) -> Result<(), SendError> {
        if self.state != State::Open {
            return Err(SendError::Closed);
        }
        self.control.ping.set(payload);
        Ok(())
    }

    /// Whether [`transmit`](Self::transmit) would append anything.
    #[must_use]
    #[inline]
    pub fn wants_transmit(&self) -> bool {
        !self.control.ping.is_none() || !self.control.pong.is_none() || self.handshake.has_unsent()
    }

    /// Appends the control frames that wait: ping, pong, Close. Says whether there were any.
    ///
    /// Called after each event, every ping of the peer is answered; called less often (because the output is full),
    /// only the newest one is. `mask` is asked for a masking key for each frame, by a client only.
    #[inline]
    pub fn transmit(&mut self, out: &mut Vec<u8>, mask: &mut dyn FnMut() -> [u8; 4]) -> bool {
        self.wants_transmit() && self.transmit_waiting(out, mask)
    }

    #[cold]
    fn transmit_waiting(&mut self, out: &mut Vec<u8>, mask: &mut dyn FnMut() -> [u8; 4]) -> bool {
        let ping = mem::take(&mut self.control.ping);
        let pong = mem::take(&mut self.control.pong);
        for (opcode, waiting) in [(OpCode::Ping, ping), (OpCode::Pong, pong)] {
            match waiting {
                Pending::None => {}
                Pending::Empty => self.put_control(opcode, &[], out, mask),
                Pending::Payload(payload) => self.put_control(opcode, payload.as_bytes(), out, mask),
            }
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

/// Why a frame may not be sent now. The caller's mistake, except for [`Closed`](Self::Closed), which can happen any time.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum SendError {
    /// The connection is over, or our Close frame was sent.
    Closed,
    /// A message was begun inside an unfinished one.
    MidMessage,
    /// There is no unfinished message to continue.
    NotMidMessage,
    /// A client's frame needs a masking key.
    MaskMissing,
    /// A server's frame has no masking key.
    MaskForbidden,
    /// A frame has fewer than 2^63 bytes.
    TooLong,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the connection is closed or closing",
            Self::MidMessage => "a message was begun inside an unfinished one",
            Self::NotMidMessage => "there is no unfinished message to continue",
            Self::MaskMissing => "a client's frame needs a masking key",
            Self::MaskForbidden => "a server's frame has no masking key",
            Self::TooLong => "a frame has fewer than 2^63 bytes",
        })
    }
}

impl core::error::Error for SendError {}
