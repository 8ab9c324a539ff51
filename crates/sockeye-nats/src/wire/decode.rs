//! What a server sends, cut anywhere. Each byte is looked at once, and what is kept is bounded.

use std::mem;
use std::ops::Range;

use sockeye_hub::backplane::BrokerError;

use super::headers::number;

/// One thing that a server says.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Op<'a> {
    Info(&'a [u8]),
    Ping,
    Pong,
    Ok,
    /// The text between the quotes.
    Error(&'a [u8]),
    Message(Message<'a>),
}

/// A message as it arrives.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Message<'a> {
    pub(crate) sid: u64,
    pub(crate) subject: &'a [u8],
    pub(crate) reply: Option<&'a [u8]>,
    /// `None` if it was too long, and its bytes were skipped.
    pub(crate) body: Option<Body<'a>>,
}

#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Body<'a> {
    pub(crate) headers: &'a [u8],
    pub(crate) payload: &'a [u8],
}

#[derive(Debug)]
pub(crate) struct Decoder {
    /// The longest payload that is kept.
    most_bytes: usize,
    /// The line so far; that of a message until its body is complete.
    line: Vec<u8>,
    body: Vec<u8>,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Line,
    /// The line has been given away; it is forgotten with the next call.
    Given,
    Body(Head),
    Skip(Head, usize),
}

/// What the line of a message says.
#[derive(Debug)]
struct Head {
    sid: u64,
    subject: Range<usize>,
    reply: Option<Range<usize>>,
    header_bytes: usize,
    total_bytes: usize,
}

impl Decoder {
    pub(crate) fn new(most_bytes: usize) -> Self {
        Self { most_bytes, line: Vec::new(), body: Vec::new(), state: State::Line }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.most_bytes);
    }

    /// Whether nothing waits for its rest.
    pub(crate) fn is_empty(&self) -> bool {
        self.line.is_empty() || matches!(self.state, State::Given)
    }

    /// Takes bytes off `input` until something is complete. `None` once all are taken.
    pub(crate) fn next<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8]) -> Result<Option<Op<'a>>, BrokerError> {
        if let State::Given = self.state {
            self.forget();
        }
        if let State::Line = self.state {
            if !self.read_line(input)? {
                return Ok(None);
            }
            match message_head(&self.line)? {
                None => {
                    self.state = State::Given;
                    return op(&self.line).map(Some);
                }
                Some(head) => {
                    let fits = head.header_bytes <= MAX_HEADER_BYTES
                        && head.total_bytes - head.header_bytes <= self.most_bytes;
                    self.state = if fits {
                        State::Body(head)
                    } else {
                        let left = head
                            .total_bytes
                            .checked_add(2)
                            .ok_or_else(|| wrong("a message without end", &self.line))?;
                        State::Skip(head, left)
                    };
                }
            }
        }
        match &mut self.state {
            State::Skip(_, left) => {
                let taken = input.len().min(*left);
                *input = &input[taken..];
                *left -= taken;
                if *left > 0 {
                    return Ok(None);
                }
                Ok(self.give(None))
            }
            State::Body(head) => {
                let whole = head.total_bytes + 2;
                if self.body.is_empty() && input.len() >= whole {
                    let (bytes, rest) = input.split_at(whole);
                    *input = rest;
                    self.finish(Some(bytes))
                } else {
                    let (bytes, rest) = input.split_at(input.len().min(whole - self.body.len()));
                    self.body.extend_from_slice(bytes);
                    *input = rest;
                    if self.body.len() < whole { Ok(None) } else { self.finish(None) }
                }
            }
            State::Line | State::Given => Ok(None),
        }
    }

    /// Moves the rest of a line out of `input`. Whether it is complete.
    fn read_line(&mut self, input: &mut &[u8]) -> Result<bool, BrokerError> {
        let end = input.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(input.len(), |at| at + 1);
        if self.line.len() + taken > MAX_LINE_BYTES {
            return Err(BrokerError::Protocol(format!("a line has more than {MAX_LINE_BYTES} bytes")));
        }
        self.line.extend_from_slice(&input[..taken]);
        *input = &input[taken..];
        Ok(end.is_some())
    }

    fn finish<'a>(&'a mut self, bytes: Option<&'a [u8]>) -> Result<Option<Op<'a>>, BrokerError> {
        let whole = bytes.map_or(self.body.len(), <[u8]>::len);
        let ending = bytes.unwrap_or(&self.body).get(whole.saturating_sub(2)..);
        if ending != Some(b"\r\n") {
            return Err(wrong("a message that does not end where its line says", &self.line));
        }
        Ok(self.give(bytes))
    }

    /// The message whose body is complete: in `bytes`, or else in `self.body`; none at all if it was skipped.
    fn give<'a>(&'a mut self, bytes: Option<&'a [u8]>) -> Option<Op<'a>> {
        let (head, is_kept) = match mem::replace(&mut self.state, State::Given) {
            State::Body(head) => (head, true),
            State::Skip(head, _) => (head, false),
            State::Line | State::Given => return None,
        };
        let bytes = bytes.unwrap_or(&self.body);
        let body = if is_kept {
            let headers = bytes.get(..head.header_bytes)?;
            Some(Body { headers, payload: bytes.get(head.header_bytes..head.total_bytes)? })
        } else {
            None
        };
        let subject = self.line.get(head.subject)?;
        let reply = head.reply.and_then(|range| self.line.get(range));
        Some(Op::Message(Message { sid: head.sid, subject, reply, body }))
    }

    /// Makes room for the next line, and gives back memory that only a long message needed.
    fn forget(&mut self) {
        for buffer in [&mut self.line, &mut self.body] {
            if buffer.capacity() > KEPT_BYTES { *buffer = Vec::new() } else { buffer.clear() }
        }
        self.state = State::Line;
    }
}

/// What a line says that has no body behind it.
fn op(line: &[u8]) -> Result<Op<'_>, BrokerError> {
    let line = line.trim_ascii();
    let at = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    let (name, rest) = (&line[..at], line[at..].trim_ascii());
    match () {
        () if name.eq_ignore_ascii_case(b"PING") => Ok(Op::Ping),
        () if name.eq_ignore_ascii_case(b"PONG") => Ok(Op::Pong),
        () if name.eq_ignore_ascii_case(b"+OK") => Ok(Op::Ok),
        () if name.eq_ignore_ascii_case(b"INFO") => Ok(Op::Info(rest)),
        () if name.eq_ignore_ascii_case(b"-ERR") => {
            let text = rest.strip_prefix(b"'").unwrap_or(rest);
            Ok(Op::Error(text.strip_suffix(b"'").unwrap_or(text)))
        }
        () => Err(wrong("a line that NATS does not have", line)),
    }
}

/// What the line of a message says; `None` if it is that of something else.
fn message_head(line: &[u8]) -> Result<Option<Head>, BrokerError> {
    let mut words = Words { line, at: 0 };
    let name = words.next().map_or(&b""[..], |word| &line[word]);
    let has_headers = match () {
        () if name.eq_ignore_ascii_case(b"MSG") => false,
        () if name.eq_ignore_ascii_case(b"HMSG") => true,
        () => return Ok(None),
    };
    let mut head = || {
        let (subject, sid) = (words.next()?, number(&line[words.next()?])?);
        // With a reply there is one word more.
        let mut rest = [words.next(), words.next(), words.next()];
        let numbers = if has_headers { 2 } else { 1 };
        let reply = if rest.iter().flatten().count() > numbers { rest[0].take() } else { None };
        let mut numbers = rest.into_iter().flatten().map(|word| number(&line[word]));
        let header_bytes = if has_headers { numbers.next()?? } else { 0 };
        let total_bytes = numbers.next()??;
        if numbers.next().is_some() || words.next().is_some() || header_bytes > total_bytes {
            return None;
        }
        let (header_bytes, total_bytes) = (usize::try_from(header_bytes).ok()?, usize::try_from(total_bytes).ok()?);
        Some(Head { sid, subject, reply, header_bytes, total_bytes })
    };
    head().map(Some).ok_or_else(|| wrong("a message with a broken line", line))
}

/// The words of a line, as places in it.
struct Words<'a> {
    line: &'a [u8],
    at: usize,
}

impl Iterator for Words<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let is_space = |byte: &u8| byte.is_ascii_whitespace();
        let start = self.at + self.line.get(self.at..)?.iter().position(|byte| !is_space(byte))?;
        let length = self.line[start..].iter().position(is_space).unwrap_or(self.line.len() - start);
        self.at = start + length;
        Some(start..self.at)
    }
}

fn wrong(what: &str, line: &[u8]) -> BrokerError {
    BrokerError::Protocol(format!("{what}: {}", super::info::shown(line.trim_ascii())))
}

/// INFO names all servers of a cluster; a subject has 4,096 bytes at most by default.
const MAX_LINE_BYTES: usize = 64 << 10;

/// Our own take three bytes for one of a key.
const MAX_HEADER_BYTES: usize = 256 << 10;

/// What a buffer keeps between messages.
const KEPT_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a decoder makes of `bytes` in pieces of `size`, as texts.
    fn decoded(bytes: &[u8], size: usize) -> Result<Vec<String>, BrokerError> {
        let mut decoder = Decoder::new(10);
        let mut ops = Vec::new();
        for piece in bytes.chunks(size.max(1)) {
            let mut input = piece;
            while let Some(op) = decoder.next(&mut input)? {
                ops.push(match op {
                    Op::Message(Message { sid, subject, reply, body }) => {
                        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                        let body = body.map(|body| (text(body.headers), text(body.payload)));
                        format!("{sid} {} {:?} {body:?}", text(subject), reply.map(text))
                    }
                    op => format!("{op:?}"),
                });
            }
            assert!(input.is_empty());
        }
        Ok(ops)
    }

    const DIALOGUE: &[u8] = b"INFO {\"a\":1} \r\nPING\r\nPONG\r\n+OK\r\n-ERR 'No\xff way'\r\nMSG a.b 7 5\r\nhello\r\n\
        MSG a.b 8 r.s 0\r\n\r\nHMSG a 9 12 14\r\nNATS/1.0\r\n\r\nhi\r\nhmsg\ta  9\tr 12 12 \r\nNATS/1.0\r\n\r\n\r\n\
        MSG a 1 11\r\n01234567890\r\nMSG a 1 10\r\n0123456789\r\nping\r\n";

    #[test]
    fn a_dialogue_is_read_wherever_it_is_cut() {
        let expected = [
            "Info([123, 34, 97, 34, 58, 49, 125])",
            "Ping",
            "Pong",
            "Ok",
            "Error([78, 111, 255, 32, 119, 97, 121])",
            r#"7 a.b None Some(("", "hello"))"#,
            r#"8 a.b Some("r.s") Some(("", ""))"#,
            r#"9 a None Some(("NATS/1.0\r\n\r\n", "hi"))"#,
            r#"9 a Some("r") Some(("NATS/1.0\r\n\r\n", ""))"#,
            "1 a None None",
            r#"1 a None Some(("", "0123456789"))"#,
            "Ping",
        ];
        for size in 1..=DIALOGUE.len() {
            assert_eq!(decoded(DIALOGUE, size).unwrap(), expected, "pieces of {size} bytes");
        }
    }

    #[test]
    fn what_nats_does_not_say_is_an_error() {
        for bytes in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"\r\n",
            b"MSG\r\n",
            b"MSG a\r\n",
            b"MSG a 1\r\n",
            b"MSG a x 1\r\n",
            b"MSG a 1 -1\r\n",
            b"MSG a 1 b c 1\r\n",
            b"MSG a 1 18446744073709551615\r\n",
            b"MSG a 1 99999999999999999999\r\n",
            b"MSG a 1 2\r\nabc\r\n",
            b"HMSG a 1 5\r\n",
            b"HMSG a 1 5 4\r\n",
            b"HMSG a 1 r r 1 1\r\n",
        ] {
            for size in 1..=bytes.len() {
                assert!(matches!(decoded(bytes, size), Err(BrokerError::Protocol(_))), "{}", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn memory_is_taken_for_what_has_arrived_only() {
        let mut decoder = Decoder::new(usize::MAX / 4);
        let mut input = &b"MSG a 1 1000000000000\r\nabc"[..];
        assert_eq!(decoder.next(&mut input), Ok(None));
        assert!(decoder.body.capacity() < 1000);
        let mut decoder = Decoder::new(10);
        let long = b"x".repeat(MAX_LINE_BYTES);
        let mut input = &long[..];
        assert_eq!(decoder.next(&mut input), Ok(None));
        assert!(decoder.next(&mut &b"x"[..]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_alike_however_cut(bytes in proptest::collection::vec(any::<u8>(), 0..200), size in 1..20_usize) {
            prop_assert_eq!(decoded(&bytes, size).is_ok(), decoded(&bytes, 1000).is_ok());
        }

        #[test]
        fn broken_dialogues_are_read_alike_however_cut(at in 0..DIALOGUE.len(), byte: u8, size in 1..20_usize) {
            let mut bytes = DIALOGUE.to_vec();
            bytes[at] = byte;
            prop_assert_eq!(decoded(&bytes, size), decoded(&bytes, 1000));
        }
    }
}
