//! Pings and pongs that wait to be sent: at most one of each, however many a peer asks for.

use alloc::boxed::Box;
use core::fmt;

use crate::close::Close;
use crate::wire::MAX_CONTROL_BYTES;

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
    pub(super) ping: Pending,
    pub(super) pong: Pending,
}

/// A control frame that waits to be sent, or none.
#[derive(Debug, Default)]
pub(super) enum Pending {
    /// None.
    #[default]
    None,
    /// One without a payload, as keepalive sends it.
    Empty,
    /// One with a payload.
    Payload(Box<ControlPayload>),
}

impl Pending {
    pub(super) const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Queues a frame. Replaces one that still waits.
    pub(super) fn set(&mut self, payload: ControlPayload) {
        match self {
            _ if payload.len == 0 => *self = Self::Empty,
            Self::Payload(place) => **place = payload,
            _ => *self = Self::Payload(Box::new(payload)),
        }
    }
}
