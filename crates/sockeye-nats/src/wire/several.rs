//! Messages of a topic that were published together, as the payload of one message of NATS. A header says how many they are.
//!
//! ```text
//! for each: length of what follows, 4 bytes | kind, 1 byte (0 bytes, 1 text) | length of the key, 4 bytes (all ones: no key) | key | payload
//! ```
//!
//! Numbers are in network byte order.

use sockeye::proto::wire::MessageKind;

/// One of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Part<'a> {
    pub(crate) kind: MessageKind,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) payload: &'a [u8],
}

impl<'a> Part<'a> {
    /// How many bytes [`write`](Self::write) needs.
    pub(crate) fn bytes(&self) -> usize {
        LENGTH_BYTES + HEAD_BYTES + self.key.map_or(0, <[u8]>::len) + self.payload.len()
    }

    /// Adds it. It is shorter than 4 GiB.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let number = |length: usize| u32::try_from(length).unwrap_or(NO_KEY).to_be_bytes();
        out.extend(number(self.bytes() - LENGTH_BYTES));
        out.push(u8::from(self.kind == MessageKind::Text));
        out.extend(self.key.map_or(NO_KEY.to_be_bytes(), |key| number(key.len())));
        out.extend_from_slice(self.key.unwrap_or_default());
        out.extend_from_slice(self.payload);
    }

    /// Takes one off. What is called text may be none.
    fn read(bytes: &mut &'a [u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
        let (part, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        let ([kind, key @ ..], body) = part.split_first_chunk::<HEAD_BYTES>()?;
        let (key, payload) = match u32::from_be_bytes(*key) {
            NO_KEY => (None, body),
            length => {
                body.split_at_checked(usize::try_from(length).ok()?).map(|(key, payload)| (Some(key), payload))?
            }
        };
        let kind = match kind {
            0 => MessageKind::Binary,
            1 => MessageKind::Text,
            _ => return None,
        };
        *bytes = rest;
        Some(Self { kind, key, payload })
    }
}

/// Reads a payload that has so many. `None` if it has another form, or another number.
pub(crate) fn read(payload: &[u8], count: u64) -> Option<impl Iterator<Item = Part<'_>>> {
    let mut rest = payload;
    for _ in 0..count {
        Part::read(&mut rest)?;
    }
    let is_whole = count > 0 && rest.is_empty();
    rest = payload;
    is_whole.then(|| std::iter::from_fn(move || Part::read(&mut rest)))
}

const LENGTH_BYTES: usize = 4;
const HEAD_BYTES: usize = 5;
const NO_KEY: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PARTS: [Part<'_>; 3] = [
        Part { kind: MessageKind::Text, key: None, payload: b"hi" },
        Part { kind: MessageKind::Binary, key: Some(b"k"), payload: b"\xff" },
        Part { kind: MessageKind::Text, key: Some(b""), payload: b"" },
    ];

    #[test]
    fn what_is_written_is_read() {
        let mut written = Vec::new();
        PARTS.iter().for_each(|part| part.write(&mut written));
        assert_eq!(written.len(), PARTS.iter().map(Part::bytes).sum::<usize>());
        assert_eq!(read(&written, 3).expect("parts").collect::<Vec<_>>(), PARTS);
        for count in [0, 2, 4, u64::MAX] {
            assert!(read(&written, count).is_none(), "{count}");
        }
        for end in 0..written.len() {
            assert!(read(&written[..end], 3).is_none(), "{end}");
        }
        let unknown = [&[0, 0, 0, 5, 2][..], &[0xff; 4]].concat();
        assert!(read(&unknown, 1).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_are_more_than_were_announced(bytes: Vec<u8>, count in 0..4_u64) {
            if let Some(parts) = read(&bytes, count) {
                prop_assert_eq!(parts.count() as u64, count);
            }
        }
    }
}
