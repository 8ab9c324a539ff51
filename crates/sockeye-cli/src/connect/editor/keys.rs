//! From the bytes of a terminal to keys.

/// What was pressed, or pasted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Key {
    Char(char),
    Enter,
    Backspace,
    Delete,
    Left,
    Right,
    WordLeft,
    WordRight,
    Home,
    End,
    Up,
    Down,
    /// Ctrl-K.
    KillToEnd,
    /// Ctrl-U.
    KillToStart,
    /// Ctrl-W.
    KillWord,
    /// Ctrl-L.
    Clear,
    /// Ctrl-R.
    Search,
    /// Ctrl-G.
    Cancel,
    /// Ctrl-D: the end of the input if the line is empty.
    EndOfInput,
}

/// Keys of a terminal in the tradition of the VT100, fed in any pieces. Sequences that it does not know are keys that do
/// nothing.
#[derive(Debug, Default)]
pub(super) struct Keys {
    state: State,
    /// Between the marks of bracketed paste: line ends are text there.
    pasting: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Ground,
    /// Bytes of a character, and how many are missing.
    Utf8(Vec<u8>, usize),
    Escape,
    /// Behind `ESC O`.
    Single,
    /// Behind `ESC [`.
    Sequence(Vec<u8>),
}

impl Keys {
    pub(super) fn feed(&mut self, byte: u8) -> Option<Key> {
        match std::mem::take(&mut self.state) {
            State::Ground => self.ground(byte),
            State::Utf8(mut bytes, missing) => {
                if byte & 0xc0 != 0x80 {
                    // The bytes so far are not a character.
                    return self.ground(byte);
                }
                bytes.push(byte);
                if missing > 1 {
                    self.state = State::Utf8(bytes, missing - 1);
                    return None;
                }
                std::str::from_utf8(&bytes).ok().and_then(|text| text.chars().next()).map(Key::Char)
            }
            State::Escape => match byte {
                b'[' => {
                    self.state = State::Sequence(Vec::new());
                    None
                }
                b'O' => {
                    self.state = State::Single;
                    None
                }
                b'b' => Some(Key::WordLeft),
                b'f' => Some(Key::WordRight),
                0x7f | 0x08 => Some(Key::KillWord),
                0x1b => {
                    self.state = State::Escape;
                    None
                }
                _ => None,
            },
            State::Single => letter(byte),
            State::Sequence(mut parameters) => match byte {
                0x40..=0x7e => self.sequence(&parameters, byte),
                _ if parameters.len() < LONGEST => {
                    parameters.push(byte);
                    self.state = State::Sequence(parameters);
                    None
                }
                _ => None,
            },
        }
    }

    fn ground(&mut self, byte: u8) -> Option<Key> {
        let key = match byte {
            b'\r' | b'\n' if self.pasting => Key::Char('\n'),
            b'\r' | b'\n' => Key::Enter,
            b'\t' => Key::Char('\t'),
            0x01 => Key::Home,
            0x02 => Key::Left,
            0x04 => Key::EndOfInput,
            0x05 => Key::End,
            0x06 => Key::Right,
            0x07 => Key::Cancel,
            0x08 | 0x7f => Key::Backspace,
            0x0b => Key::KillToEnd,
            0x0c => Key::Clear,
            0x0e => Key::Down,
            0x10 => Key::Up,
            0x12 => Key::Search,
            0x15 => Key::KillToStart,
            0x17 => Key::KillWord,
            0x1b => {
                self.state = State::Escape;
                return None;
            }
            0x00..=0x1f => return None,
            0x20..=0x7e => Key::Char(char::from(byte)),
            _ => {
                let missing = match byte {
                    0xc2..=0xdf => 1,
                    0xe0..=0xef => 2,
                    0xf0..=0xf4 => 3,
                    _ => return None,
                };
                self.state = State::Utf8(vec![byte], missing);
                return None;
            }
        };
        Some(key)
    }

    fn sequence(&mut self, parameters: &[u8], last: u8) -> Option<Key> {
        match (parameters, last) {
            (b"200", b'~') => {
                self.pasting = true;
                None
            }
            (b"201", b'~') => {
                self.pasting = false;
                None
            }
            (b"3", b'~') => Some(Key::Delete),
            (b"1" | b"7", b'~') => Some(Key::Home),
            (b"4" | b"8", b'~') => Some(Key::End),
            // With Ctrl or Alt.
            (b"1;5" | b"1;3", b'C') => Some(Key::WordRight),
            (b"1;5" | b"1;3", b'D') => Some(Key::WordLeft),
            ([], last) => letter(last),
            _ => None,
        }
    }
}

fn letter(last: u8) -> Option<Key> {
    Some(match last {
        b'A' => Key::Up,
        b'B' => Key::Down,
        b'C' => Key::Right,
        b'D' => Key::Left,
        b'F' => Key::End,
        b'H' => Key::Home,
        _ => return None,
    })
}

/// Bytes of the longest sequence that is read to its end.
const LONGEST: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut keys = Keys::default();
        bytes.iter().filter_map(|byte| keys.feed(*byte)).collect()
    }

    #[test]
    fn characters_of_any_length() {
        let text = "aé€𝄞";
        assert_eq!(keys(text.as_bytes()), text.chars().map(Key::Char).collect::<Vec<_>>());
        assert_eq!(keys(b"\xff\xc3x\xe2\x82y\x80z"), ['x', 'y', 'z'].map(Key::Char));
    }

    #[test]
    fn arrows_and_the_like_in_both_dialects() {
        use Key::*;
        assert_eq!(keys(b"\x1b[A\x1bOA\x1b[B\x1b[C\x1b[D\x1b[H\x1bOF"), [Up, Up, Down, Right, Left, Home, End]);
        assert_eq!(keys(b"\x1b[3~\x1b[1~\x1b[8~\x1b[1;5C\x1b[1;3D"), [Delete, Home, End, WordRight, WordLeft]);
        assert_eq!(keys(b"\x1bb\x1bf\x1b\x7f"), [WordLeft, WordRight, KillWord]);
        assert_eq!(
            keys(b"\x01\x05\x0b\x15\x17\x04\x7f\x12\x07\r"),
            [Home, End, KillToEnd, KillToStart, KillWord, EndOfInput, Backspace, Search, Cancel, Enter]
        );
    }

    #[test]
    fn unknown_sequences_do_nothing() {
        assert_eq!(keys(b"\x1b[15~\x1b[1;2P\x1bz\x00a"), [Key::Char('a')]);
        let mut long = b"\x1b[".to_vec();
        long.extend([b'1'; 1000]);
        keys(&long);
    }

    #[test]
    fn pasted_line_ends_are_text() {
        let pasted: Vec<_> = ['a', '\n', 'b'].map(Key::Char).into_iter().chain([Key::Enter]).collect();
        assert_eq!(keys(b"\x1b[200~a\rb\x1b[201~\r"), pasted);
    }
}
