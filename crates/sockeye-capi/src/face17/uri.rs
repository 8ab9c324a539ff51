//! `lws_parse_uri`: a URL cut into scheme, address, port and path where it lies.
//!
//! The parts are ended by NUL bytes written over what separated them, so the text is not a URL any more afterwards. The path
//! lacks its leading slash. User and password are not understood. An address that begins with `+` is a Unix socket: it ends
//! at the colon.

use std::ops::Range;

/// Where the parts of a text are. All but the path have been ended by a NUL.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Parts {
    /// Empty if there is none.
    pub(crate) scheme: Range<usize>,
    /// Host, address without brackets, or `+` and the path of a socket.
    pub(crate) address: Range<usize>,
    /// That of the text, else that of the scheme, if it is known.
    pub(crate) port: Option<i32>,
    /// What is behind the slash. `None` if there is nothing: a path of `/`.
    pub(crate) path: Option<usize>,
}

/// Cuts `text`, which does not include its NUL.
pub(crate) fn cut(text: &mut [u8]) -> Parts {
    let (scheme, mut at) = match text.windows(3).position(|window| window == b"://") {
        Some(colon) => (0..colon, colon + 3),
        None => (0..0, 0),
    };
    let mut port = scheme_port(&text[scheme.clone()]);
    if !text[..at].is_empty() {
        text[scheme.end] = 0;
    }
    let is_bracketed = text.get(at) == Some(&b'[');
    let is_socket = text.get(at) == Some(&b'+');
    at += usize::from(is_bracketed);
    let end = at
        + find(&text[at..], |byte| match byte {
            b']' => is_bracketed,
            b':' => !is_bracketed,
            b'/' => !is_bracketed && !is_socket,
            _ => false,
        });
    let address = at..end;
    at = end;
    if is_bracketed && at < text.len() {
        text[at] = 0;
        at += 1;
    }
    if text.get(at) == Some(&b':') {
        text[at] = 0;
        at += 1;
        port = Some(number(&text[at..]));
        at += find(&text[at..], |byte| byte == b'/');
    }
    if at < text.len() && !(is_bracketed && text[at] != b'/') {
        text[at] = 0;
        at += 1;
    }
    let path = (at < text.len()).then_some(at);
    Parts { scheme, address, port, path }
}

fn find(text: &[u8], ends: impl Fn(u8) -> bool) -> usize {
    text.iter().position(|byte| ends(*byte)).unwrap_or(text.len())
}

fn scheme_port(scheme: &[u8]) -> Option<i32> {
    match scheme {
        b"http" | b"ws" => Some(80),
        b"https" | b"wss" => Some(443),
        _ => None,
    }
}

/// As atoi(3) reads it: the digits that it begins with.
fn number(text: &[u8]) -> i32 {
    text.iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0, |sum: i32, digit| sum.saturating_mul(10).saturating_add(i32::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scheme, address, port and path as a C program sees them: texts up to their NUL.
    fn parts(text: &str) -> (String, String, Option<i32>, String) {
        let mut bytes = text.as_bytes().to_vec();
        let parts = cut(&mut bytes);
        bytes.push(0);
        let text = |at: usize| {
            let end = at + bytes[at..].iter().position(|byte| *byte == 0).unwrap();
            String::from_utf8(bytes[at..end].to_vec()).unwrap()
        };
        let scheme = if parts.scheme.is_empty() { String::new() } else { text(parts.scheme.start) };
        // The address of an empty text begins at its NUL.
        (scheme, text(parts.address.start), parts.port, parts.path.map_or_else(|| "/".to_owned(), text))
    }

    #[test]
    fn parts_are_those_of_libwebsockets() {
        for (text, scheme, address, port, path) in [
            ("ws://h:123/a/b?c", "ws", "h", Some(123), "a/b?c"),
            ("ws://h", "ws", "h", Some(80), "/"),
            ("/x", "", "", None, "x"),
            ("http://h/", "http", "h", Some(80), "/"),
            ("https://h", "https", "h", Some(443), "/"),
            ("wss://[::1]:99/q", "wss", "::1", Some(99), "q"),
            ("[::1]:5/", "", "::1", Some(5), "/"),
            ("h:12", "", "h", Some(12), "/"),
            ("h", "", "h", None, "/"),
            ("", "", "", None, "/"),
            ("ws://u:p@h/x", "ws", "u", Some(0), "x"),
            ("://h", "", "h", None, "/"),
            ("ws:///x", "ws", "", Some(80), "x"),
            ("ws://h:", "ws", "h", Some(0), "/"),
            ("ws://h?x", "ws", "h?x", Some(80), "/"),
            ("http://h:80x/", "http", "h", Some(80), "/"),
            ("WSS://h", "WSS", "h", None, "/"),
            ("foo://h/x", "foo", "h", None, "x"),
            (":8/x", "", "", Some(8), "x"),
            ("ws://[::1", "ws", "::1", Some(80), "/"),
            ("+/tmp/x:/p", "", "+/tmp/x", Some(0), "p"),
            ("ws://+/tmp/s:/p", "ws", "+/tmp/s", Some(0), "p"),
            ("//h/x", "", "", None, "/h/x"),
            ("ws://h/a//b", "ws", "h", Some(80), "a//b"),
            ("ws://h//", "ws", "h", Some(80), "/"),
            ("ws://h:99999999999999/", "ws", "h", Some(i32::MAX), "/"),
        ] {
            let expected = (scheme.to_owned(), address.to_owned(), port, path.to_owned());
            assert_eq!(parts(text), expected, "{text}");
        }
    }

    #[test]
    fn a_text_cut_anywhere_has_parts_within_it() {
        for text in ["wss://[::1]:99/q/r", "ws://+/tmp/s:/p", "http://host.example:8080/a?b"] {
            for end in 0..=text.len() {
                let mut bytes = text.as_bytes()[..end].to_vec();
                let parts = cut(&mut bytes);
                assert!(
                    parts.scheme.end <= end && parts.address.end <= end && parts.address.start <= end,
                    "{text} {end}"
                );
                assert!(parts.path.is_none_or(|path| path < end), "{text} {end}");
            }
        }
    }
}
