//! What is around a message in Redis: enough to tell text from bytes, its key, and who sent it or where it is in the history.
//!
//! ```text
//! plain:     FF 'S' 'K' 1 | origin, 16 bytes               | body
//! numbered:  FF 'S' 'K' 2 | epoch, 16 hexadecimal digits
//!                         | offset, 16 decimal digits      | body
//! body:      kind, 1 byte (0 bytes, 1 text) | length of the key, 4 bytes (all ones: no key) | key | payload
//! or:        2 | number of bodies, 4 bytes  | for each: its length, 4 bytes | body of kind 0 or 1
//! ```
//!
//! The offset is that of the last body. Numbers are in network byte order, but for those that are digits.
//!
//! `FF` begins no text in UTF-8, so what others publish as text is never taken for one of these.

use sockeye::proto::wire::MessageKind;
use sockeye_hub::backplane::{Position, Publish, Stored};

/// Who published: random, so that no two servers have the same.
pub(crate) type Origin = [u8; 16];

/// What was found in a message of a channel.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Envelope<'a> {
    /// By a server without history.
    Plain { origin: Origin, bodies: Bodies<'a> },
    /// By a server with history. The position is that of the last one, whose offset is at least their number.
    Numbered { last: Position, bodies: Bodies<'a> },
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

/// The beginning of a body that has so many; they follow, each with its length in front.
pub(crate) fn several(count: usize) -> [u8; 5] {
    let [a, b, c, d] = u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes();
    [SEVERAL, a, b, c, d]
}

/// Reads a message of a channel.
pub(crate) fn open(bytes: &[u8]) -> Envelope<'_> {
    let opened = if let Some(rest) = bytes.strip_prefix(PLAIN) {
        open_plain(rest)
    } else if let Some(rest) = bytes.strip_prefix(NUMBERED) {
        open_numbered(rest)
    } else {
        None
    };
    opened.unwrap_or_else(|| Envelope::Foreign(stored(is_text(bytes), None, bytes)))
}

fn open_plain(rest: &[u8]) -> Option<Envelope<'_>> {
    let (origin, body) = rest.split_first_chunk()?;
    Some(Envelope::Plain { origin: *origin, bodies: Bodies::read(body)? })
}

fn open_numbered(rest: &[u8]) -> Option<Envelope<'_>> {
    let (epoch, rest) = rest.split_at_checked(16)?;
    let (offset, body) = rest.split_at_checked(16)?;
    let last = Position { epoch: self::epoch(epoch)?, offset: self::offset(offset)? };
    let bodies = Bodies::read(body)?;
    (last.offset >= bodies.len()).then_some(Envelope::Numbered { last, bodies })
}

/// What was published together, in order: one or several, all of a known form. The offsets are left 0.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Bodies<'a> {
    rest: &'a [u8],
    left: u32,
    is_one: bool,
}

impl<'a> Bodies<'a> {
    /// Reads a body that has one message or several.
    pub(crate) fn read(body: &'a [u8]) -> Option<Self> {
        let ([kind, count @ ..], several) = body.split_first_chunk::<5>()?;
        if *kind != SEVERAL {
            parts(body)?;
            return Some(Self { rest: body, left: 1, is_one: true });
        }
        let count = u32::from_be_bytes(*count);
        // Who may publish here could else have each server deliver millions at once.
        if count > MOST_TOGETHER {
            return None;
        }
        let mut rest = several;
        for _ in 0..count {
            let (body, behind) = split_length(rest)?;
            parts(body)?;
            rest = behind;
        }
        (count > 0 && rest.is_empty()).then_some(Self { rest: several, left: count, is_one: false })
    }

    pub(crate) fn len(&self) -> u64 {
        self.left.into()
    }
}

impl Iterator for Bodies<'_> {
    type Item = Stored;

    fn next(&mut self) -> Option<Stored> {
        self.left = self.left.checked_sub(1)?;
        let body = if self.is_one {
            self.rest
        } else {
            let (body, behind) = split_length(self.rest)?;
            self.rest = behind;
            body
        };
        let Parts { may_be_text, key, payload } = parts(body)?;
        // The sender may be wrong about it.
        Some(stored(may_be_text && is_text(payload), key, payload))
    }
}

/// What a body of one message has.
struct Parts<'a> {
    may_be_text: bool,
    key: Option<&'a [u8]>,
    payload: &'a [u8],
}

fn parts(body: &[u8]) -> Option<Parts<'_>> {
    let ([kind, key @ ..], rest) = body.split_first_chunk::<5>()?;
    let (key, payload) = match u32::from_be_bytes(*key) {
        NO_KEY => (None, rest),
        length => rest.split_at_checked(usize::try_from(length).ok()?).map(|(key, payload)| (Some(key), payload))?,
    };
    match kind {
        0 | 1 => Some(Parts { may_be_text: *kind == 1, key, payload }),
        _ => None,
    }
}

/// What has its length in front, and what is behind it.
pub(crate) fn split_length(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
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
const SEVERAL: u8 = 2;

/// As many messages go together at most. The script that loads a history knows the number, too.
pub(crate) const MOST_TOGETHER: u32 = 256;

/// Those of a length in front of a body.
pub(crate) const LENGTH_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONE: &[u8] = b"\x01\xff\xff\xff\xffhi";
    const TWO: &[u8] = b"\0\0\0\0\x01k\xff";

    fn together(bodies: &[&[u8]]) -> Vec<u8> {
        let each = bodies.iter().flat_map(|body| [&(body.len() as u32).to_be_bytes()[..], body].concat());
        several(bodies.len()).into_iter().chain(each).collect()
    }

    #[test]
    fn several_bodies_are_read_in_order() {
        let body = together(&[ONE, TWO]);
        let bodies = Bodies::read(&body).expect("bodies");
        assert_eq!(bodies.len(), 2);
        let expected = [stored(true, None, b"hi"), stored(false, Some(b"k"), b"\xff")];
        assert_eq!(bodies.collect::<Vec<_>>(), expected);
        assert_eq!(Bodies::read(ONE).expect("a body").collect::<Vec<_>>(), expected[..1]);
    }

    #[test]
    fn what_is_no_body_is_none() {
        let whole = together(&[ONE, TWO]);
        for end in 0..whole.len() {
            assert_eq!(Bodies::read(&whole[..end]), None, "{end}");
        }
        let nested = together(&[&together(&[ONE])]);
        for body in [&[&whole[..], b"x"].concat(), &together(&[]), &nested, &together(&[b"\x03\xff\xff\xff\xff"])] {
            assert_eq!(Bodies::read(body), None, "{}", body.escape_ascii());
        }
        let most = [&[SEVERAL][..], &[0xff; 4], &whole[5..]].concat();
        assert_eq!(Bodies::read(&most), None);
    }

    #[test]
    fn more_than_hubs_send_together_are_no_body() {
        let most = together(&vec![ONE; MOST_TOGETHER as usize]);
        assert_eq!(Bodies::read(&most).map(|bodies| bodies.len()), Some(256));
        let more = together(&vec![ONE; MOST_TOGETHER as usize + 1]);
        assert_eq!(Bodies::read(&more), None);
        assert!(matches!(open(&[PLAIN, &[0; 16], &more].concat()), Envelope::Foreign(_)), "one message of somebody");
    }

    #[test]
    fn the_script_that_loads_knows_how_many_go_together() {
        let is_about_it = |line: &&str| line.trim_start().starts_with("if has >");
        let lines: Vec<&str> = crate::history::LOAD.lines().filter(is_about_it).map(str::trim).collect();
        assert_eq!(lines, [format!("if has > {MOST_TOGETHER} then")]);
    }

    #[test]
    fn the_offset_is_that_of_the_last_body() {
        let envelope = |offset: u64| {
            [b"\xffSK\x0200000000000000aa", format!("{offset:016}").as_bytes(), &together(&[ONE, TWO])].concat()
        };
        let last = |offset| Position { epoch: 0xaa, offset };
        assert!(matches!(open(&envelope(2)), Envelope::Numbered { last: found, .. } if found == last(2)));
        assert!(matches!(open(&envelope(1)), Envelope::Foreign(_)), "the first would have none");
    }

    proptest! {
        #[test]
        fn no_bytes_are_more_messages_than_were_announced(bytes: Vec<u8>, count in 0..4_u32) {
            let bytes = [&[SEVERAL][..], &count.to_be_bytes(), &bytes].concat();
            if let Some(bodies) = Bodies::read(&bytes) {
                prop_assert_eq!(bodies.len(), u64::from(count));
                prop_assert_eq!(bodies.count(), count as usize);
            }
        }
    }
}
