//! The headers of a message: those that we write, and one pass over those that arrive.
//!
//! Anybody may publish what our servers read, and the broker hands headers on as they are. So broken headers cost the message
//! its marks, never the connection.

use std::io::Write as _;

use sockeye::proto::wire::MessageKind;

use crate::names;

/// Headers for what NATS does not know of a message. None if it is a text without a key, or a payload that can be no text: to publish a
/// message with headers again costs JetStream twice as much as one without.
pub(crate) fn write(out: &mut Vec<u8>, kind: MessageKind, key: Option<&[u8]>, payload: &[u8]) {
    out.clear();
    let is_marked = kind == MessageKind::Binary && Marks::default().kind(payload) == MessageKind::Text;
    if !is_marked && key.is_none() {
        return;
    }
    out.extend(FIRST_LINE);
    if is_marked {
        out.extend(BINARY_LINE);
    }
    if let Some(key) = key {
        out.extend(KEY);
        names::encode(key, out);
        out.extend(b"\r\n");
    }
    out.extend(b"\r\n");
}

/// The most bytes that [`write`] writes, whatever the payload.
pub(crate) fn bytes(kind: MessageKind, key: Option<&[u8]>) -> usize {
    let mark = if kind == MessageKind::Binary { BINARY_LINE.len() } else { 0 };
    match key {
        None if mark == 0 => 0,
        None => FIRST_LINE.len() + mark + 2,
        Some(key) => FIRST_LINE.len() + mark + KEY.len() + names::encoded_bytes(key) + 4,
    }
}

/// Headers for so many messages that are [together](super::several).
pub(crate) fn write_several(out: &mut Vec<u8>, count: usize) {
    out.clear();
    out.extend(FIRST_LINE);
    // Writing into memory does not fail.
    let _ = write!(out, "Sockeye-Messages: {count}\r\n\r\n");
}

/// The most bytes that [`write_several`] needs.
pub(crate) const BYTES_OF_SEVERAL: usize = FIRST_LINE.len() + 64;

/// How many bytes [`write`] needs for a message without a key.
pub(crate) const BYTES_WITHOUT_KEY: usize = FIRST_LINE.len() + BINARY_LINE.len() + 2;

/// What the headers of a message say.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Marks<'a> {
    /// The number behind the version, which the broker sets where there is no message to deliver.
    pub(crate) status: Option<u16>,
    /// What is behind the status.
    pub(crate) description: &'a [u8],
    pub(crate) is_binary: bool,
    pub(crate) key: Option<Vec<u8>>,
    /// How many messages the payload has, if it may have several.
    pub(crate) messages: Option<u64>,
    /// The stream that has the message.
    pub(crate) stream: Option<&'a [u8]>,
    /// Its number there.
    pub(crate) sequence: Option<u64>,
    /// The number of the last message of the same subject before it.
    pub(crate) last_sequence: Option<u64>,
}

impl<'a> Marks<'a> {
    pub(crate) fn read(headers: &'a [u8]) -> Self {
        let mut marks = Self::default();
        let mut lines = headers.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let Some(status) = lines.next().and_then(|line| line.strip_prefix(b"NATS/1.0")) else { return marks };
        let status = status.trim_ascii();
        let (code, description) = status.split_at(status.iter().position(|byte| *byte == b' ').unwrap_or(status.len()));
        (marks.status, marks.description) =
            (number(code).and_then(|code| code.try_into().ok()), description.trim_ascii());
        for line in lines {
            if let Some(value) = value(line, b"Sockeye-Kind") {
                marks.is_binary = value == b"binary";
            } else if let Some(value) = value(line, b"Sockeye-Key") {
                marks.key = names::decode(value).filter(|key| key.len() <= MAX_KEY_BYTES);
            } else if let Some(value) = value(line, b"Sockeye-Messages") {
                marks.messages = number(value);
            } else if let Some(value) = value(line, b"Nats-Stream") {
                // The stream puts its own behind those of the publisher, so the last one counts.
                marks.stream = Some(value);
            } else if let Some(value) = value(line, b"Nats-Sequence") {
                marks.sequence = number(value);
            } else if let Some(value) = value(line, b"Nats-Last-Sequence") {
                marks.last_sequence = number(value);
            }
        }
        marks
    }

    /// Whether a payload is text: it is called so by nothing, and must be UTF-8.
    pub(crate) fn kind(&self, payload: &[u8]) -> MessageKind {
        if self.is_binary || std::str::from_utf8(payload).is_err() { MessageKind::Binary } else { MessageKind::Text }
    }
}

/// What a line says of `name`, if it is about that.
fn value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (found, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":")?;
    found.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

/// A decimal number, as the protocol writes it.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 20 {
        return None;
    }
    text.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Longer ones have no place in the sub-protocol of hubs.
pub(crate) const MAX_KEY_BYTES: usize = 65_535;

const FIRST_LINE: &[u8] = b"NATS/1.0\r\n";
const KEY: &[u8] = b"Sockeye-Key: ";
const BINARY_LINE: &[u8] = b"Sockeye-Kind: binary\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn written(kind: MessageKind, key: Option<&[u8]>, payload: &[u8]) -> Vec<u8> {
        let mut out = b"old".to_vec();
        write(&mut out, kind, key, payload);
        out
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(written(MessageKind::Text, None, b"x"), b"");
        assert_eq!(bytes(MessageKind::Text, None), 0);
        assert_eq!(bytes(MessageKind::Binary, None), BYTES_WITHOUT_KEY);
        assert_eq!(written(MessageKind::Binary, None, b"x").len(), BYTES_WITHOUT_KEY);
        let mut out = b"old".to_vec();
        write_several(&mut out, 17);
        assert_eq!(Marks::read(&out), Marks { messages: Some(17), ..Marks::default() });
        write_several(&mut out, usize::MAX);
        assert!(out.len() <= BYTES_OF_SEVERAL);
        for kind in [MessageKind::Text, MessageKind::Binary] {
            for key in [&b"k"[..], b"", b"a b\r\nNats-Sequence: 7\r\n\0\xff"] {
                let block = written(kind, Some(key), b"x");
                assert_eq!(block.len(), bytes(kind, Some(key)));
                let marks = Marks::read(&block);
                assert_eq!((marks.kind(b"x"), marks.key.as_deref(), marks.sequence), (kind, Some(key), None));
            }
        }
    }

    #[test]
    fn what_can_be_no_text_needs_no_mark() {
        let binary = MessageKind::Binary;
        assert_eq!(written(binary, None, b"\xff"), b"");
        let block = written(binary, Some(b"k"), b"\xff");
        assert_eq!(block, b"NATS/1.0\r\nSockeye-Key: k\r\n\r\n");
        assert!(block.len() < bytes(binary, Some(b"k")));
        assert_eq!(Marks::read(&block).kind(b"\xff"), binary);
        assert_eq!(Marks::read(&written(binary, None, b"")).kind(b""), binary);
    }

    #[test]
    fn the_last_of_the_streams_numbers_counts() {
        let marks = Marks::read(
            b"NATS/1.0\r\nNats-Sequence: 99\r\nnats-stream: S\r\nNats-Sequence: 3\r\nNats-Last-Sequence: 2\r\n\r\n",
        );
        assert_eq!((marks.stream, marks.sequence, marks.last_sequence), (Some(&b"S"[..]), Some(3), Some(2)));
    }

    #[test]
    fn a_status_is_read() {
        assert_eq!(Marks::read(b"NATS/1.0 503\r\n\r\n").status, Some(503));
        let marks = Marks::read(b"NATS/1.0 408 Request Timeout\r\n\r\n");
        assert_eq!((marks.status, marks.description), (Some(408), &b"Request Timeout"[..]));
        assert_eq!(Marks::read(b"NATS/1.0\r\n\r\n").status, None);
    }

    #[test]
    fn headers_that_are_none_mark_nothing() {
        for block in
            [&b""[..], b"HTTP/1.1\r\nSockeye-Kind: binary\r\n\r\n", b"NATS/1.0", b"NATS/1.0\r\nx\r\n:\r\n\xff:\xff"]
        {
            assert_eq!(Marks::read(block), Marks::default());
        }
        assert_eq!(Marks::read(b"NATS/1.0\r\nSockeye-Key: a b\r\n\r\n").key, None);
        assert_eq!(Marks::read(b"NATS/1.0 99999999\r\n\r\n").status, None);
    }

    #[test]
    fn what_is_no_utf8_is_binary() {
        assert_eq!(Marks::default().kind(b"\xff"), MessageKind::Binary);
        assert_eq!(Marks::default().kind("é".as_bytes()), MessageKind::Text);
    }

    #[test]
    fn numbers_are_decimal() {
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
        for text in [&b""[..], b"18446744073709551616", b"-1", b"+1", b"1 ", b"0x1", b"000000000000000000001"] {
            assert_eq!(number(text), None);
        }
    }
}
