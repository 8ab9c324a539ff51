//! The heads of requests, as the program may ask for them after the loop has let go of them.

use sockeye::Request;
use sockeye::http::HttpRequest;

/// A copy of a head.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) method: String,
    /// Without the arguments, and with its escapes replaced.
    pub(crate) path: Vec<u8>,
    pub(crate) query: Vec<u8>,
    /// Names in lower case, and values, in order.
    fields: Vec<(String, Vec<u8>)>,
}

impl Head {
    pub(crate) fn of_request(request: &HttpRequest<'_>) -> Self {
        Self::new(request.method(), request.target(), request.headers())
    }

    pub(crate) fn of_handshake(request: &Request<'_>) -> Self {
        Self::new("GET", request.target(), request.headers())
    }

    fn new<'h>(method: &str, target: &str, fields: impl Iterator<Item = (&'h str, &'h [u8])>) -> Self {
        // RFC 9112 section 3.2.2: "a server MUST accept the absolute-form in requests".
        let target = target
            .split_once("://")
            .filter(|_| !target.starts_with('/'))
            .map_or(target, |(_, rest)| rest.find('/').map_or("/", |slash| &rest[slash..]));
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Self {
            method: method.to_owned(),
            path: unescape(path.as_bytes(), false),
            query: query.as_bytes().to_vec(),
            fields: fields.map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec())).collect(),
        }
    }

    /// The lines of this name.
    pub(crate) fn lines<'h>(&'h self, name: &'h [u8]) -> impl Iterator<Item = &'h [u8]> + 'h {
        self.fields.iter().filter(move |(own, _)| own.as_bytes() == name).map(|(_, value)| value.as_slice())
    }

    /// The value of this name. RFC 9110 section 5.3: several lines are one list.
    pub(crate) fn value(&self, name: &[u8]) -> Option<Vec<u8>> {
        let lines: Vec<_> = self.lines(name).collect();
        (!lines.is_empty()).then(|| lines.join(&b", "[..]))
    }
}

/// `text` with its `%` escapes replaced. An escape that is not valid stays as it is.
pub(crate) fn unescape(text: &[u8], plus_is_space: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        out.push(match (first, tail) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                rest = after;
                nibble(*high) << 4 | nibble(*low)
            }
            (b'+', _) if plus_is_space => b' ',
            _ => *first,
        });
    }
    out
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::{Head, unescape};

    #[test]
    fn a_head_is_looked_up_by_lower_case() {
        let fields: [(&str, &[u8]); 3] = [("Accept", b"a"), ("X-Test", b"1"), ("accept", b"b")];
        let head = Head::new("GET", "/a%20b?c=%20&d", fields.into_iter());
        assert_eq!((head.path.as_slice(), head.query.as_slice()), (&b"/a b"[..], &b"c=%20&d"[..]));
        assert_eq!(head.value(b"accept"), Some(b"a, b".to_vec()));
        assert_eq!(head.lines(b"accept").collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!((head.value(b"x-test"), head.value(b"x")), (Some(b"1".to_vec()), None));
    }

    #[test]
    fn the_path_of_any_target() {
        for (target, path) in [("/", "/"), ("http://h/x?y", "/x"), ("http://h", "/"), ("/x://y", "/x://y"), ("*", "*")]
        {
            assert_eq!(Head::new("GET", target, std::iter::empty()).path, path.as_bytes(), "{target}");
        }
    }

    #[test]
    fn escapes_are_replaced_and_nothing_else() {
        for (text, plain) in [
            ("a%20b", "a b"),
            ("%", "%"),
            ("%2", "%2"),
            ("%zz", "%zz"),
            ("%2%32", "%22"),
            ("a+b", "a+b"),
            ("%25zz", "%zz"),
        ] {
            assert_eq!(unescape(text.as_bytes(), false), plain.as_bytes(), "{text}");
        }
        assert_eq!(unescape(b"a+b%2B", true), b"a b+");
    }
}
