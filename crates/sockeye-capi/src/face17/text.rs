//! Texts: base64, and the escapes of URLs.

/// Writes `bytes` as base64 and a NUL. Gives the length without the NUL.
///
/// `None` without room for one byte more than that: programs that count on the failure of the original get it.
pub(crate) fn encode_base64(bytes: &[u8], room: &mut [u8], alphabet: Alphabet) -> Option<usize> {
    let length = bytes.len().div_ceil(3).checked_mul(4)?;
    if room.len() < length.checked_add(2)? {
        return None;
    }
    let letters = alphabet.letters();
    for (group, out) in bytes.chunks(3).zip(room.chunks_mut(4)) {
        let at = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for (index, letter) in out.iter_mut().enumerate() {
            let sextet = (bits >> (18 - 6 * index) & 63) as usize;
            *letter = if index <= group.len() { letters[sextet] } else { b'=' };
        }
    }
    room[length] = 0;
    Some(length)
}

/// Which 62nd and 63rd letters [`encode_base64`] writes. Both are read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Alphabet {
    /// `+` and `/`.
    Standard,
    /// `-` and `_`.
    Url,
}

impl Alphabet {
    fn letters(self) -> &'static [u8; 64] {
        match self {
            Self::Standard => b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
            Self::Url => b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
        }
    }
}

/// Reads base64 up to its padding, and passes over other bytes. Writes whole groups of three bytes while four fit, and then a
/// NUL. Gives the number of bytes.
pub(crate) fn decode_base64(text: &[u8], room: &mut [u8]) -> usize {
    let mut sextets = text.iter().take_while(|letter| **letter != b'=').filter_map(|letter| sextet(*letter));
    let mut length = 0;
    while length + 4 < room.len() {
        let group: Vec<u32> = sextets.by_ref().take(4).collect();
        if group.len() < 2 {
            break;
        }
        let bits = group.iter().fold(0, |bits, sextet| bits << 6 | sextet) << (6 * (4 - group.len()));
        let bytes = [(bits >> 16) as u8, (bits >> 8) as u8, bits as u8];
        let whole = group.len() - 1;
        room[length..length + whole].copy_from_slice(&bytes[..whole]);
        length += whole;
    }
    if let Some(end) = room.get_mut(length) {
        *end = 0;
    }
    length
}

fn sextet(letter: u8) -> Option<u32> {
    Some(u32::from(match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    }))
}

/// `text` with everything but letters, digits and `-._` escaped, and spaces as `+`.
pub(crate) fn escape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' => out.push(*byte),
            b' ' => out.push(b'+'),
            _ => {
                out.push(b'%');
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
    }
    out
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heads::unescape;

    #[test]
    fn base64_is_read_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        for length in 0..=bytes.len() {
            for alphabet in [Alphabet::Standard, Alphabet::Url] {
                let mut text = vec![b'#'; length.div_ceil(3) * 4 + 2];
                let written = encode_base64(&bytes[..length], &mut text, alphabet).unwrap();
                assert_eq!(text[written..], [0, b'#']);
                let mut back = vec![b'#'; length + 5];
                assert_eq!(decode_base64(&text[..written], &mut back), length);
                assert_eq!(back[..length], bytes[..length]);
                assert_eq!(back[length], 0);
            }
        }
    }

    #[test]
    fn base64_needs_a_byte_more_than_its_nul() {
        for size in 0..12 {
            let mut room = vec![b'#'; size];
            let length = encode_base64(b"abcd", &mut room, Alphabet::Standard);
            assert_eq!(length, (size >= 10).then_some(8), "{size}");
        }
        assert_eq!(encode_base64(b"", &mut [], Alphabet::Standard), None);
    }

    #[test]
    fn base64_stops_where_room_or_text_ends() {
        let decode = |text: &[u8], size: usize| {
            let mut room = vec![b'#'; size];
            let length = decode_base64(text, &mut room);
            (length, room[..length].to_vec())
        };
        for (size, length) in [(0, 0), (1, 0), (4, 0), (5, 3), (7, 3), (8, 4)] {
            assert_eq!(decode(b"YWJjZA==", size).0, length, "{size}");
        }
        for (text, bytes) in [
            ("", ""),
            ("YQ==", "a"),
            ("YWI=", "ab"),
            ("YWJ", "ab"),
            ("YW", "a"),
            ("Y", ""),
            ("YWJj\nYWJj", "abcabc"),
            (" YWJj", "abc"),
        ] {
            assert_eq!(decode(text.as_bytes(), 64).1, bytes.as_bytes(), "{text}");
        }
    }

    #[test]
    fn everything_is_escaped_and_read_back() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(unescape(&escape(&all), true), all);
        assert_eq!(escape(b"a b/\xff-._"), b"a+b%2F%FF-._");
    }
}
