//! The field lines of a head, borrowed from the buffer that holds it.

use alloc::vec::Vec;

use super::syntax;

/// The fields of a head, in the order received. Comparisons of names ignore case.
///
/// Guaranteed: every name is a token. No value has a control character except tab, or white space
/// at its ends.
#[derive(Clone, Debug)]
pub struct Fields<'b> {
    /// One allocation for all lines, sized by the lines received;
    /// `lines.len() <= ProtocolLimits::head_lines`.
    lines: Vec<httparse::Header<'b>>,
}

impl<'b> Fields<'b> {
    pub(super) const fn new(lines: Vec<httparse::Header<'b>>) -> Self {
        Self { lines }
    }

    /// The value of the first line named `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'b [u8]> {
        self.lines.iter().find(|line| line.name.eq_ignore_ascii_case(name)).map(|line| line.value)
    }

    /// The values of all lines named `name`, in order.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &'b [u8]> {
        self.lines.iter().filter(move |line| line.name.eq_ignore_ascii_case(name)).map(|line| line.value)
    }

    /// The value of the first cookie named `name`, as sent (RFC 6265 section 4.2.1). Names are
    /// case-sensitive. A browser sends the cookie with the longest path first.
    ///
    /// ```
    /// use sockeye_proto::http::RequestHead;
    ///
    /// let head = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: theme=dark; id=42\r\n\r\n";
    /// let head = RequestHead::parse(head, &Default::default())?;
    /// assert_eq!(head.fields.cookie("id"), Some(&b"42"[..]));
    /// # Ok::<(), sockeye_proto::http::HeadError>(())
    /// ```
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&'b [u8]> {
        let pairs = self.all("cookie").flat_map(|line| line.split(|&byte| byte == b';')).map(syntax::trim_ows);
        pairs.filter_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")).next()
    }

    /// All lines as name and value, in order.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&'b str, &'b [u8])> {
        self.lines.iter().map(|line| (line.name, line.value))
    }

    /// Whether the comma-separated list formed by all lines named `name` contains `token`. Ignores
    /// case.
    #[must_use]
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.all(name).flat_map(syntax::list).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// The number of lines.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there are no lines.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The value of the only line named `name`. `None`: there is no such line.
    pub(crate) fn single(&self, name: &str) -> Result<Option<&'b [u8]>, Repeated> {
        let mut values = self.all(name);
        let first = values.next();
        if values.next().is_some() { Err(Repeated) } else { Ok(first) }
    }
}

/// A field that may appear only once appears more than once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Repeated;

#[cfg(test)]
mod tests {
    use crate::http::RequestHead;

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: aid=1; id=2;id=3; Id=4; empty=;flag\r\ncookie: late=\"q\"; \xff=x\r\n\r\n";
        let head = RequestHead::parse(head, &crate::limits::ProtocolLimits::default()).unwrap();
        for (name, value) in [
            ("id", Some("2")),
            ("aid", Some("1")),
            ("Id", Some("4")),
            ("empty", Some("")),
            ("late", Some("\"q\"")),
            ("flag", None),
            ("i", None),
            ("none", None),
        ] {
            assert_eq!(head.fields.cookie(name), value.map(str::as_bytes), "{name}");
        }
    }
}
