//! Texts of the broker, for people.

/// At most 200 characters of `bytes`, with everything escaped that could play tricks on a terminal or a log.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes.get(..4 * CHARACTERS).unwrap_or(bytes));
    let mut shown = String::new();
    for character in text.chars().take(CHARACTERS) {
        if character == ' ' || character.is_ascii_graphic() || (character.is_alphanumeric() && !character.is_ascii()) {
            shown.push(character);
        } else {
            shown.extend(character.escape_default());
        }
    }
    if text.chars().nth(CHARACTERS).is_some() || bytes.len() > 4 * CHARACTERS {
        shown.push_str("...");
    }
    shown
}

/// The first word of an error, which says what kind of error it is.
pub(crate) fn code(error: &[u8]) -> &[u8] {
    error.split(|byte| *byte == b' ').next().unwrap_or(error)
}

const CHARACTERS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_hostile_texts_are_cut_and_escaped() {
        assert_eq!(shown(b"ERR no"), "ERR no");
        assert_eq!(shown("ERR größer\u{202e}\x1b[31m\r\n".as_bytes()), "ERR größer\\u{202e}\\u{1b}[31m\\r\\n");
        assert_eq!(shown(&b"a".repeat(200)), "a".repeat(200));
        assert_eq!(shown(&b"a".repeat(100_000)), "a".repeat(200) + "...");
        assert_eq!(shown(b"\xff"), "\\u{fffd}");
        assert_eq!(code(b"NOPERM this user"), b"NOPERM");
        assert_eq!(code(b""), b"");
    }
}
