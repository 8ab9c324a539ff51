//! The sub-protocol `sockeye.topics.v1`, as `docs/topics.md` describes it.

mod members;
pub(crate) mod reply;
pub(crate) mod request;

/// The first byte of a binary message that publishes.
pub(crate) const PUBLISH: u8 = 1;
/// The first byte of a binary message of a topic.
pub(crate) const MESSAGE: u8 = 2;

/// Beyond this the numbers of JavaScript are not exact.
pub(crate) const MOST_ID: u64 = (1 << 53) - 1;

/// An epoch, as clients know it.
pub(crate) fn epoch_text(epoch: u64) -> String {
    let mut text = String::with_capacity(16);
    write_epoch(&mut text, epoch);
    text
}

/// Writes what [`epoch_text`] is.
pub(crate) fn write_epoch(text: &mut String, epoch: u64) {
    let bytes = epoch.to_be_bytes();
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    text.extend(digits.map(|digit| char::from(HEXADECIMAL[usize::from(digit)])));
}

const HEXADECIMAL: &[u8; 16] = b"0123456789abcdef";

/// The epoch that a client names. `None`: no hub gave it that.
pub(crate) fn parse_epoch(text: &str) -> Option<u64> {
    let is_plain = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    is_plain.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}
