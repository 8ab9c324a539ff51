//! What a hub sends.

use std::sync::Arc;

use sockeye::proto::wire::MessageKind;

use super::{MESSAGE, write_epoch};
use crate::backplane::Position;

/// A message as subscribers get it, for as many as there are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Frame {
    Text(Arc<str>),
    Binary(Arc<[u8]>),
}

impl Frame {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }
}

/// A message of a topic.
#[derive(Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) topic: &'a str,
    pub(crate) key: Option<&'a str>,
    pub(crate) kind: MessageKind,
    pub(crate) payload: &'a [u8],
    pub(crate) offset: u64,
    pub(crate) previous: u64,
}

impl Message<'_> {
    /// Text that is not UTF-8 goes as binary: a broker may have got it from anybody. `scratch` is memory that is used again.
    pub(crate) fn frame(&self, scratch: &mut Vec<u8>) -> Frame {
        if self.kind == MessageKind::Text {
            if let Ok(text) = std::str::from_utf8(self.payload) {
                return self.text_frame(text);
            }
        }
        self.binary_frame(scratch)
    }

    fn text_frame(&self, data: &str) -> Frame {
        let (offset, previous) = (self.offset, self.previous);
        let mut object = Object::with_capacity("message", data.len() + self.topic.len() + 80);
        object.string("topic", self.topic).number("offset", offset).number("previous", previous);
        if let Some(key) = self.key {
            object.string("key", key);
        }
        Frame::Text(object.string("data", data).end().into())
    }

    fn binary_frame(&self, frame: &mut Vec<u8>) -> Frame {
        let key = self.key.unwrap_or_default();
        // Both are bounded well below: by the limits of names, and where requests are read.
        let length = |text: &str| u16::try_from(text.len()).unwrap_or(u16::MAX);
        let cut = |text: &'_ str| text.len().min(usize::from(length(text)));
        frame.clear();
        frame.push(MESSAGE);
        frame.extend_from_slice(&length(self.topic).to_be_bytes());
        frame.extend_from_slice(&length(key).to_be_bytes());
        frame.extend_from_slice(&self.offset.to_be_bytes());
        frame.extend_from_slice(&self.previous.to_be_bytes());
        frame.extend_from_slice(&self.topic.as_bytes()[..cut(self.topic)]);
        frame.extend_from_slice(&key.as_bytes()[..cut(key)]);
        frame.extend_from_slice(self.payload);
        let shared = Frame::Binary(frame.as_slice().into());
        frame.clear();
        frame.shrink_to(KEPT_BYTES);
        shared
    }
}

/// As much memory is used again.
const KEPT_BYTES: usize = 64 * 1024;

/// What an error means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Code {
    BadRequest,
    Denied,
    Name,
    TooMany,
    TooLarge,
    Busy,
    Unavailable,
}

impl Code {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::Denied => "denied",
            Self::Name => "name",
            Self::TooMany => "too-many",
            Self::TooLarge => "too-large",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
        }
    }
}

pub(crate) fn subscribed(id: u64, topic: &str, position: Position, recovered: Option<bool>) -> String {
    let mut object = Object::new("subscribed");
    object.number("id", id).string("topic", topic).position(position);
    if let Some(recovered) = recovered {
        object.flag("recovered", recovered);
    }
    object.end()
}

pub(crate) fn unsubscribed(id: Option<u64>, topic: &str, reason: Option<&str>) -> String {
    let mut object = Object::new("unsubscribed");
    if let Some(id) = id {
        object.number("id", id);
    }
    object.string("topic", topic);
    if let Some(reason) = reason {
        object.string("reason", reason);
    }
    object.end()
}

/// The messages that follow are behind this position.
pub(crate) fn gap(topic: &str, position: Position) -> String {
    Object::new("gap").string("topic", topic).position(position).end()
}

pub(crate) fn published(id: u64, position: Option<Position>) -> String {
    let mut object = Object::new("published");
    object.number("id", id);
    if let Some(position) = position {
        object.position(position);
    }
    object.end()
}

pub(crate) fn unknown(id: u64, reason: &str) -> String {
    Object::new("unknown").number("id", id).string("reason", reason).end()
}

pub(crate) fn authorized(id: u64) -> String {
    Object::new("authorized").number("id", id).end()
}

pub(crate) fn presence(topic: &str, count: usize, joined: u64, left: u64) -> String {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    Object::new("presence")
        .string("topic", topic)
        .number("count", count)
        .number("joined", joined)
        .number("left", left)
        .end()
}

pub(crate) fn error(id: Option<u64>, code: Code, reason: &str) -> String {
    let mut object = Object::new("error");
    if let Some(id) = id {
        object.number("id", id);
    }
    object.string("code", code.as_str()).string("reason", reason).end()
}

/// A JSON object with a `type`, written as it comes.
struct Object {
    text: String,
}

impl Object {
    fn new(kind: &str) -> Self {
        Self::with_capacity(kind, 100)
    }

    fn with_capacity(kind: &str, bytes: usize) -> Self {
        let mut text = String::with_capacity(bytes + 16);
        text.push_str("{\"type\":\"");
        text.push_str(kind);
        text.push('"');
        Self { text }
    }

    fn name(&mut self, name: &str) {
        self.text.push_str(",\"");
        self.text.push_str(name);
        self.text.push_str("\":");
    }

    fn string(&mut self, name: &str, value: &str) -> &mut Self {
        self.name(name);
        // Only control characters, quotes and backslashes are escaped, as RFC 8259, section 7 demands. Other text goes as it is.
        if value.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
            let quoted = serde_json::to_string(value).unwrap_or_default();
            self.text.push_str(&quoted);
        } else {
            self.text.push('"');
            self.text.push_str(value);
            self.text.push('"');
        }
        self
    }

    fn number(&mut self, name: &str, value: u64) -> &mut Self {
        self.name(name);
        // Digit by digit: an answer is mostly numbers, and `write!` costs more than all else.
        let (mut digits, mut count, mut rest) = ([0; 20], 0, value);
        for digit in &mut digits {
            *digit = b'0' + (rest % 10) as u8;
            (count, rest) = (count + 1, rest / 10);
            if rest == 0 {
                break;
            }
        }
        self.text.extend(digits[..count].iter().rev().map(|digit| char::from(*digit)));
        self
    }

    fn flag(&mut self, name: &str, value: bool) -> &mut Self {
        self.name(name);
        self.text.push_str(if value { "true" } else { "false" });
        self
    }

    fn position(&mut self, position: Position) -> &mut Self {
        self.name("epoch");
        self.text.push('"');
        write_epoch(&mut self.text, position.epoch);
        self.text.push('"');
        self.number("offset", position.offset)
    }

    fn end(&mut self) -> String {
        self.text.push('}');
        std::mem::take(&mut self.text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    const AT: Position = Position { epoch: 0x1f, offset: 41 };

    #[test]
    fn numbers_are_written_whole() {
        for value in [0, 1, 9, 10, 99, 100, 65_536, u64::MAX - 1, u64::MAX] {
            let position = Some(Position { epoch: value, offset: value });
            let expected = json!({"type": "published", "id": value, "epoch": format!("{value:016x}"), "offset": value});
            assert_eq!(read(&published(value, position)), expected);
        }
    }

    #[test]
    fn replies_are_as_they_are_documented() {
        let subscribed = subscribed(1, "a \"b\"\r\n\0\u{2028}", AT, Some(false));
        let expected = json!({"type": "subscribed", "id": 1, "topic": "a \"b\"\r\n\0\u{2028}", "epoch": "000000000000001f",
            "offset": 41, "recovered": false});
        assert_eq!(read(&subscribed), expected);
        assert_eq!(read(&published(2, None)), json!({"type": "published", "id": 2}));
        assert_eq!(
            read(&error(None, Code::TooMany, "no")),
            json!({"type": "error", "code": "too-many", "reason": "no"})
        );
        assert_eq!(
            read(&presence("t", 3, 2, 1)),
            json!({"type": "presence", "topic": "t", "count": 3, "joined": 2, "left": 1})
        );
        assert_eq!(
            read(&gap("t", AT)),
            json!({"type": "gap", "topic": "t", "epoch": "000000000000001f", "offset": 41})
        );
        assert_eq!(
            read(&unsubscribed(None, "t", Some("r"))),
            json!({"type": "unsubscribed", "topic": "t", "reason": "r"})
        );
        assert_eq!(read(&unknown(4, "r")), json!({"type": "unknown", "id": 4, "reason": "r"}));
        assert_eq!(read(&authorized(5)), json!({"type": "authorized", "id": 5}));
    }

    #[test]
    fn messages_are_framed_by_their_kind() {
        let message =
            Message { topic: "t", key: Some("k"), kind: MessageKind::Text, payload: b"hi", offset: 2, previous: 1 };
        let Frame::Text(text) = message.frame(&mut Vec::new()) else { panic!("text") };
        assert_eq!(
            read(&text),
            json!({"type": "message", "topic": "t", "offset": 2, "previous": 1, "key": "k", "data": "hi"})
        );
        let binary =
            Frame::Binary([&[2, 0, 1, 0, 1][..], &2u64.to_be_bytes(), &1u64.to_be_bytes(), b"tk\xff"].concat().into());
        assert_eq!(Message { kind: MessageKind::Binary, payload: b"\xff", ..message }.frame(&mut Vec::new()), binary);
        assert_eq!(
            Message { payload: b"\xff", ..message }.frame(&mut Vec::new()),
            binary,
            "what is called text and is not UTF-8"
        );
    }
}
