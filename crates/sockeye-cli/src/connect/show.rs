//! What people and scripts see of a message or a ping. Pure: the same words every time.

use std::fmt::Write as _;

use sockeye::log::{escape, quote};
use sockeye::messages::Message;

use crate::connect::encoding::Encoding;

/// A message as one entry of standard output, its end included.
///
/// On a terminal nothing of it can move the cursor or pass for something else; in a pipe it is as it came.
pub(crate) fn message(out: &mut Vec<u8>, message: &Message<'_>, terminal: bool, encoding: Option<Encoding>) {
    match message {
        Message::Text(text) if terminal => out.extend_from_slice(marked('<', text).as_bytes()),
        Message::Text(text) => out.extend_from_slice(text.as_bytes()),
        Message::Binary(bytes) if terminal => {
            let shown = encoding.unwrap_or(Encoding::Hex).encode(bytes);
            out.extend_from_slice(format!("< {shown} (binary, {})", count(bytes.len())).as_bytes());
        }
        Message::Binary(bytes) => match encoding {
            Some(Encoding::Raw) => out.extend_from_slice(bytes),
            encoding => out.extend_from_slice(encoding.unwrap_or(Encoding::Hex).encode(bytes).as_bytes()),
        },
    }
    // Raw output is a stream of bytes without the borders of messages.
    if terminal || encoding != Some(Encoding::Raw) {
        out.push(b'\n');
    }
}

/// A ping, a pong or anything else that is not a message, as `< pong "x"`: `<` if received, `>` if sent.
pub(crate) fn control(mark: char, what: &str, payload: &[u8]) -> String {
    let mut line = format!("{mark} {what}");
    match std::str::from_utf8(payload) {
        Ok("") => {}
        Ok(text) => line.push_str(&format!(" {}", quote(text))),
        Err(_) => {
            line.push(' ');
            line.push_str(&Encoding::Hex.encode(payload));
        }
    }
    line
}

/// The lines of a head, each behind its mark, without anything that a terminal obeys: `>` if sent, `<` if received. Bytes that
/// are not UTF-8 are shown as `\xff`. What is long is cut.
pub(crate) fn head(mark: char, head: &[u8]) -> Vec<String> {
    let mut lines: Vec<_> = head.split(|byte| *byte == b'\n').collect();
    // Behind the last line end.
    if lines.last().is_some_and(|rest| rest.is_empty()) {
        lines.pop();
    }
    let mut shown: Vec<_> = lines.iter().take(HEAD_LINES).map(|line| head_line(mark, line)).collect();
    if lines.len() > HEAD_LINES {
        shown.push(format!("{mark} .. and {} more lines", lines.len() - HEAD_LINES));
    }
    shown
}

fn head_line(mark: char, line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut kept = line.len().min(HEAD_LINE);
    // Not inside a character, which has at most four bytes.
    if kept < line.len() {
        let is_inside = |at: &usize| line[*at] & 0xc0 == 0x80;
        kept = (kept - 3..=kept).rev().find(|at| !is_inside(at)).unwrap_or(kept);
    }
    let mut shown = mark.to_string();
    if !line.is_empty() {
        shown.push(' ');
    }
    for chunk in line[..kept].utf8_chunks() {
        // Writing to a `String` does not fail.
        _ = write!(shown, "{}{}", escape(chunk.valid()), chunk.invalid().escape_ascii());
    }
    if kept < line.len() {
        _ = write!(shown, ".. ({} more)", count(line.len() - kept));
    }
    shown
}

/// Text behind a mark; further lines of it are indented, so that none of them looks like an entry of its own.
fn marked(mark: char, text: &str) -> String {
    let mut shown = String::with_capacity(text.len() + 2);
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            shown.push('\n');
        }
        shown.push(if index == 0 { mark } else { ' ' });
        shown.push(' ');
        for (index, part) in line.split('\t').enumerate() {
            if index > 0 {
                shown.push('\t');
            }
            // Writing to a `String` does not fail.
            _ = write!(shown, "{}", escape(part));
        }
    }
    shown
}

fn count(bytes: usize) -> String {
    if bytes == 1 { "1 byte".to_owned() } else { format!("{bytes} bytes") }
}

/// Lines of a head that are shown.
const HEAD_LINES: usize = 128;
/// Bytes of a line of a head that are shown.
const HEAD_LINE: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(message: impl Into<Message<'static>>, terminal: bool, encoding: Option<Encoding>) -> Vec<u8> {
        let mut out = Vec::new();
        super::message(&mut out, &message.into(), terminal, encoding);
        out
    }

    #[test]
    fn a_terminal_gets_nothing_that_it_would_obey() {
        assert_eq!(shown("grüß dich", true, None), "< grüß dich\n".as_bytes());
        assert_eq!(shown("\x1b[2J\x07\u{9b}x\u{202e}", true, None), b"< \\u{1b}[2J\\u{7}\\u{9b}x\\u{202e}\n");
        for text in ["نمی\u{200c}دانم", "क\u{94d}\u{200d}ष", "👩\u{200d}👩\u{200d}👧"] {
            assert_eq!(shown(text, true, None), format!("< {text}\n").as_bytes(), "its joiners hide nothing");
        }
        assert_eq!(shown("a\rb\u{7f}", true, None), b"< a\\rb\\u{7f}\n");
        assert_eq!(shown("{\n\t1\n}", true, None), b"< {\n  \t1\n  }\n");
        assert_eq!(shown("a\n> sent by nobody", true, None), b"< a\n  > sent by nobody\n");
    }

    #[test]
    fn a_pipe_gets_what_came() {
        assert_eq!(shown("\x1b[2J\r\n", false, None), b"\x1b[2J\r\n\n");
        assert_eq!(shown("", false, None), b"\n");
    }

    #[test]
    fn binary_is_shown_as_asked() {
        let bytes = b"\x00\xff".to_vec();
        for (terminal, encoding, expected) in [
            (true, None, &b"< 00ff (binary, 2 bytes)\n"[..]),
            (true, Some(Encoding::Base64), b"< AP8= (binary, 2 bytes)\n"),
            (true, Some(Encoding::Raw), b"< 00ff (binary, 2 bytes)\n"),
            (false, None, b"00ff\n"),
            (false, Some(Encoding::Hex), b"00ff\n"),
            (false, Some(Encoding::Base64), b"AP8=\n"),
            (false, Some(Encoding::Raw), b"\x00\xff"),
        ] {
            assert_eq!(shown(bytes.clone(), terminal, encoding), expected, "{terminal} {encoding:?}");
        }
        assert_eq!(shown(vec![1], true, None), b"< 01 (binary, 1 byte)\n");
        assert_eq!(shown("a", false, Some(Encoding::Raw)), b"a");
    }

    #[test]
    fn control_frames_are_shown_with_their_payload() {
        assert_eq!(control('<', "ping", b""), "< ping");
        assert_eq!(control('>', "pong", b"a\"\x1b"), "> pong \"a\\\"\\u{1b}\"");
        assert_eq!(control('<', "ping", b"\xff\x00"), "< ping ff00");
    }

    #[test]
    fn a_head_is_shown_line_by_line() {
        assert_eq!(head('>', b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), ["> GET / HTTP/1.1", "> Host: a", ">"]);
        assert_eq!(head('<', b"SSH-2.0"), ["< SSH-2.0"]);
        assert_eq!(head('<', b""), Vec::<String>::new());
        assert_eq!(head('<', b"\n\n"), ["<", "<"]);
    }

    #[test]
    fn nothing_of_a_head_is_obeyed_and_everything_is_seen() {
        let shown = head('<', "A: \x1b[2J\u{9b}x\u{202e}\rü\0\n".as_bytes());
        assert_eq!(shown, ["< A: \\u{1b}[2J\\u{9b}x\\u{202e}\\rü\\u{0}"]);
        assert_eq!(head('<', b"A: \xff\xfe\x80b\n"), ["< A: \\xff\\xfe\\x80b"]);
    }

    #[test]
    fn a_long_head_is_cut() {
        let shown = head('<', format!("A: {}\r\n\r\n", "a".repeat(5000)).as_bytes());
        assert_eq!(shown.len(), 2);
        assert!(shown[0].starts_with("< A: aaa") && shown[0].ends_with("a.. (3979 bytes more)"), "{}", shown[0].len());
        assert_eq!(shown[0].len(), 1024 + 1 + 21);
        // Not in the middle of a character.
        for start in 0..4 {
            let line = format!("{}{}", "a".repeat(start), "\u{1f41f}".repeat(400));
            assert!(!head('<', line.as_bytes())[0].contains("\\x"), "{start}");
        }
        // Bytes that are not text are cut at as many.
        assert_eq!(head('<', &[0x80; 2000])[0].matches("\\x80").count(), 1024);
        let shown = head('<', &b"\r\n".repeat(1000));
        assert_eq!((shown.len(), &*shown[128]), (129, "< .. and 872 more lines"));
    }
}
