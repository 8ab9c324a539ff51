//! Pings and pongs that wait to be sent: at most one of each, however many a peer asks for.

use alloc::boxed::Box;
use core::fmt;

use crate::close::Close;
use crate::wire::{MAX_CONTROL_BYTES, OpCode};

/// The payload of a ping or pong: at most 125 bytes.
///
/// ```
/// use sockeye_proto::conn::ControlPayload;
///
/// let payload = ControlPayload::new(&7_u64.to_be_bytes())?;
/// assert_eq!(payload.as_bytes().len(), 8);
/// assert!(ControlPayload::new(&[0; 126]).is_err());
/// # Ok::<(), sockeye_proto::conn::PayloadTooLong>(())
/// ```
#[derive(Clone, Copy)]
pub struct ControlPayload {
    bytes: [u8; MAX_CONTROL_BYTES],
    /// `len <= MAX_CONTROL_BYTES`
    len: u8,
}

impl ControlPayload {
    /// An empty payload.
    pub const EMPTY: Self = Self { bytes: [0; MAX_CONTROL_BYTES], len: 0 };

    /// A copy of `payload`.
    ///
    /// # Errors
    /// `payload` has more than 125 bytes.
    pub fn new(payload: &[u8]) -> Result<Self, PayloadTooLong> {
        // RFC 6455 section 5.5: "All control frames MUST have a payload length of 125 bytes or
        // less".
        if payload.len() > MAX_CONTROL_BYTES {
            return Err(PayloadTooLong);
        }
        let mut copy = Self { bytes: [0; MAX_CONTROL_BYTES], len: payload.len() as u8 };
        copy.bytes[..payload.len()].copy_from_slice(payload);
        Ok(copy)
    }

    /// The body of a Close frame.
    pub(super) fn of_close(close: &Close) -> Self {
        let mut body = Self::EMPTY;
        if let Some(code) = close.code() {
            // At most 123 bytes, which `Close` guarantees.
            let reason = close.reason().as_bytes();
            // RFC 6455 section 5.5.1: "the first two bytes of the body MUST be a 2-byte unsigned
            // integer (in network byte order) representing a status code".
            body.bytes[..2].copy_from_slice(&code.get().to_be_bytes());
            body.bytes[2..][..reason.len()].copy_from_slice(reason);
            body.len = 2 + reason.len() as u8;
        }
        body
    }

    /// The bytes of the payload.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl Default for ControlPayload {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl Eq for ControlPayload {}

impl PartialEq for ControlPayload {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl fmt::Debug for ControlPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ControlPayload").field(&self.as_bytes()).finish()
    }
}

/// The payload of a control frame is limited to 125 bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PayloadTooLong;

impl fmt::Display for PayloadTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the payload of a control frame is limited to 125 bytes")
    }
}

impl core::error::Error for PayloadTooLong {}

/// The control frames that are sent before the Close frame.
#[derive(Debug, Default)]
pub(super) struct ControlQueue {
    /// Which of them wait, as bits: whether any does is asked for each message.
    waiting: u8,
    /// The payloads of those that have one. Keepalive sends none.
    ping: Option<Box<ControlPayload>>,
    pong: Option<Box<ControlPayload>>,
}

const PING: u8 = 1;
const PONG: u8 = 2;

impl ControlQueue {
    #[inline(always)]
    pub(super) const fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    pub(super) const fn has_ping(&self) -> bool {
        self.waiting & PING != 0
    }

    pub(super) const fn has_pong(&self) -> bool {
        self.waiting & PONG != 0
    }

    /// Queues a ping. Replaces one that still waits.
    pub(super) fn set_ping(&mut self, payload: ControlPayload) {
        self.waiting |= PING;
        set(&mut self.ping, payload);
    }

    /// Queues a pong. Replaces one that still waits.
    pub(super) fn set_pong(&mut self, payload: ControlPayload) {
        self.waiting |= PONG;
        set(&mut self.pong, payload);
    }

    pub(super) fn drop_ping(&mut self) {
        self.waiting &= !PING;
        self.ping = None;
    }

    /// Those that wait, in the order in which they are sent.
    pub(super) fn frames(&self) -> impl Iterator<Item = (OpCode, &[u8])> {
        let all = [(PING, OpCode::Ping, &self.ping), (PONG, OpCode::Pong, &self.pong)];
        let waiting = all.into_iter().filter(|(bit, ..)| self.waiting & bit != 0);
        waiting.map(|(_, opcode, payload)| (opcode, payload.as_deref().map_or(&[][..], ControlPayload::as_bytes)))
    }
}

fn set(place: &mut Option<Box<ControlPayload>>, payload: ControlPayload) {
    match place {
        _ if payload.len == 0 => *place = None,
        Some(place) => **place = payload,
        None => *place = Some(Box::new(payload)),
    }
}
