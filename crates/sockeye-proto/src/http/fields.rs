//! The field lines of a head, borrowed from the buffer that holds it.

use alloc::vec::Vec;

use super::syntax;

/// The fields of a head, in the order received. Names are compared without regard to case.
///
/// Guaranteed: every name is a token; every value is free of control characters except tab, and has no white space at
/// its ends.
#[derive(Clone, Debug)]
pub struct Fields<'b> {
    // One allocation for all lines, as large as the lines that were really received (<= ProtocolLimits::head_lines).
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

    /// Does the comma-separated list that all lines named `name` form contain `token`, whatever the case?
    #[must_use]
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.all(name).flat_map(syntax::list).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// The number of lines.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Is there no line at all?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The value of the only line named `name`.
    pub(crate) fn single(&self, name: &str) -> Result<Option<&'b [u8]>, Repeated> {
        let mut values = self.all(name);
        let first = values.next();
        if values.next().is_some() { Err(Repeated) } else { Ok(first) }
    }
}

/// A field that may stand only once stands more than once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Repeated;
