//! What is around a message in Redis: enough to tell text from bytes, its key, and who sent it or where it is in the history.
//!
//! ```text
//! plain:     FF 'S' 'K' 1 | origin, 16 bytes               | body
//! numbered:  FF 'S' 'K' 2 | epoch, 16 hexadecimal digits
//!                         | offset, 16 decimal digits      | body
//! body:      kind, 1 byte (0 bytes, 1 text) | length of the key, 4 bytes (all ones: no key) | key | payload
//! ```
//!
//! `FF` begins no text in UTF-8, so what others publish as text is never taken for one of these.

use sockeye::proto::wire::MessageKind;
use sockeye_hub::backplane::{Position, Publish, Stored};

/// Who published: random, so that no two servers have the same.
pub(crate) type Origin = [u8; 16];

/// What was found in a message of a channel.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Envelope {
    /// By a server without history.
    Plain { origin: Origin, message: Stored },
    /// By a server with history.
    Numbered { position: Position, message: Stored },
    /// By a program that knows nothing of envelopes.
    Foreign(Stored),
}

/// The beginning of a plain message.
pub(crate) fn plain(origin: &Origin) -> [u8; 20] {
    let mut start = [0; 20];
    let (magic, rest) = start.split_at_mut(4);
    magic.copy_from_slice(PLAIN);
    rest.copy_from_slice(origin);
    start
}

/// The beginning of a body; key and payload follow.
pub(crate) fn body(message: &Publish<'_>) -> [u8; 5] {
    let key = message.key.map_or(NO_KEY, |key| u32::try_from(key.len()).unwrap_or(NO_KEY));
    let [a, b, c, d] = key.to_be_bytes();
    [u8::from(message.kind == MessageKind::Text), a, b, c, d]
}

/// Reads a message of a channel.
pub(crate) fn open(bytes: &[u8]) -> Envelope {
    let opened = if let Some(rest) = bytes.strip_prefix(PLAIN) {
        open_plain(rest)
    } else if let Some(rest) = bytes.strip_prefix(NUMBERED) {
        open_numbered(rest)
    } else {
        None
    };
    opened.unwrap_or_else(|| Envelope::Foreign(stored(is_text(bytes), None, bytes)))
}

fn open_plain(rest: &[u8]) -> Option<Envelope> {
    let (origin, body) = rest.split_first_chunk()?;
    Some(Envelope::Plain { origin: *origin, message: open_body(body)? })
}

fn open_numbered(rest: &[u8]) -> Option<Envelope> {
    let (epoch, rest) = rest.split_at_checked(16)?;
    let (offset, body) = rest.split_at_checked(16)?;
    let position = Position { epoch: self::epoch(epoch)?, offset: self::offset(offset)? };
    let mut message = open_body(body)?;
    (message.offset, message.previous) = (position.offset, position.offset.checked_sub(1)?);
    Some(Envelope::Numbered { position, message })
}

/// Reads a body. The offsets are left 0.
pub(crate) fn open_body(body: &[u8]) -> Option<Stored> {
    let ([kind, key @ ..], rest) = body.split_first_chunk::<5>()?;
    let (key, payload) = match u32::from_be_bytes(*key) {
        NO_KEY => (None, rest),
        length => rest.split_at_checked(usize::try_from(length).ok()?).map(|(key, payload)| (Some(key), payload))?,
    };
    match kind {
        // The sender may be wrong about it.
        1 => Some(stored(is_text(payload), key, payload)),
        0 => Some(stored(false, key, payload)),
        _ => None,
    }
}

/// An epoch in hexadecimal digits.
pub(crate) fn epoch(digits: &[u8]) -> Option<u64> {
    let is_epoch = digits.len() == 16 && digits.iter().all(u8::is_ascii_hexdigit);
    is_epoch.then(|| u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()).flatten()
}

/// An offset in decimal digits.
pub(crate) fn offset(digits: &[u8]) -> Option<u64> {
    let is_offset = (1..=16).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    is_offset.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

fn stored(is_text: bool, key: Option<&[u8]>, payload: &[u8]) -> Stored {
    let kind = if is_text { MessageKind::Text } else { MessageKind::Binary };
    Stored { kind, key: key.map(<[u8]>::to_vec), payload: payload.to_vec(), offset: 0, previous: 0 }
}

fn is_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok()
}

const PLAIN: &[u8] = b"\xFFSK\x01";
const NUMBERED: &[u8] = b"\xFFSK\x02";
const NO_KEY: u32 = u32::MAX;
