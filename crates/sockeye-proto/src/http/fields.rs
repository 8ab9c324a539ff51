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

    /// All lines as name and value, in order.
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
