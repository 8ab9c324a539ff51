//! Names as one token of a subject: what any text becomes before the broker sees it, and back.

/// Writes `bytes` so that they are a token without a meaning to the broker. Two inputs never have the same output, and the output is never empty.
pub(crate) fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    if bytes.is_empty() {
        out.push(MARK);
    }
    for &byte in bytes {
        if is_plain(byte) {
            out.push(byte);
        } else {
            out.extend([MARK, DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    }
}

/// How many bytes [`encode`] writes.
pub(crate) fn encoded_bytes(bytes: &[u8]) -> usize {
    let each = bytes.iter().map(|byte| if is_plain(*byte) { 1 } else { 3 });
    each.sum::<usize>().max(1)
}

/// The bytes that [`encode`] has made `token` of. `None` if it did not.
pub(crate) fn decode(token: &[u8]) -> Option<Vec<u8>> {
    if token == [MARK] {
        return Some(Vec::new());
    }
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.iter();
    while let Some(&byte) = rest.next() {
        if byte != MARK {
            bytes.push(Some(byte).filter(|byte| is_plain(*byte))?);
            continue;
        }
        let value = (digit(*rest.next()?)? << 4) | digit(*rest.next()?)?;
        bytes.push(Some(value).filter(|byte| !is_plain(*byte))?);
    }
    Some(bytes).filter(|bytes| !bytes.is_empty())
}

/// Whether a text of the program's user is one token that needs no encoding: the name of a stream, or a part of a prefix.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_plain)
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

fn digit(byte: u8) -> Option<u8> {
    let at = DIGITS.iter().position(|digit| *digit == byte)?;
    u8::try_from(at).ok()
}

const MARK: u8 = b'=';
const DIGITS: &[u8; 16] = b"0123456789ABCDEF";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(text: &str) -> String {
        let mut out = Vec::new();
        encode(text.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn no_name_has_a_meaning_to_the_broker() {
        let expected = [
            ("news", "news"),
            ("a-b_C9", "a-b_C9"),
            ("", "="),
            ("*", "=2A"),
            (">", "=3E"),
            ("a.b", "a=2Eb"),
            (".", "=2E"),
            ("a..b", "a=2E=2Eb"),
            ("a b", "a=20b"),
            ("a\r\nPUB b 0\r\n", "a=0D=0APUB=20b=200=0D=0A"),
            ("\0", "=00"),
            ("$SYS", "=24SYS"),
            ("=", "=3D"),
            ("=2A", "=3D2A"),
            ("é", "=C3=A9"),
            ("🐟", "=F0=9F=90=9F"),
        ];
        for (name, token) in expected {
            assert_eq!(encoded(name), token);
            assert_eq!(decode(token.as_bytes()).as_deref(), Some(name.as_bytes()), "{token}");
        }
    }

    #[test]
    fn what_is_no_name_is_none() {
        for token in ["", "a b", "=2", "=2a", "=41", "==", "a=", "=GG", "é", "*"] {
            assert_eq!(decode(token.as_bytes()), None, "{token:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes: Vec<u8>) {
            let mut token = Vec::new();
            encode(&bytes, &mut token);
            prop_assert!(token.iter().all(|byte| is_plain(*byte) || *byte == MARK));
            prop_assert_eq!(token.len(), encoded_bytes(&bytes));
            prop_assert_eq!(decode(&token), Some(bytes));
        }

        #[test]
        fn what_is_decoded_is_encoded_to_the_same(token: Vec<u8>) {
            if let Some(bytes) = decode(&token) {
                let mut again = Vec::new();
                encode(&bytes, &mut again);
                prop_assert_eq!(again, token);
            }
        }
    }
}
