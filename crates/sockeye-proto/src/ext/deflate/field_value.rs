//! The text of an offer or an answer.

use core::fmt;

use crate::http::syntax;

/// The value of a `Sec-WebSocket-Extensions` field: an offer or an answer of `permessage-deflate`, kept
/// in place. It is never empty.
#[derive(Clone, Copy)]
pub struct FieldValue {
    bytes: [u8; LONGEST],
    /// `length <= LONGEST`
    length: u8,
}

impl FieldValue {
    /// An extension without parameters.
    pub(super) fn new(name: &str) -> Self {
        let mut value = Self { bytes: [0; LONGEST], length: 0 };
        value.append(name.as_bytes());
        value
    }

    /// Adds a parameter.
    pub(super) fn push(&mut self, name: &str, number: Option<u8>) {
        self.append(b"; ");
        self.append(name.as_bytes());
        if let Some(number) = number {
            self.append(b"=");
            self.append(syntax::format_decimal(number.into(), &mut [0; 20]));
        }
    }

    /// The value: letters, digits, and what is between them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length.into()).unwrap_or_default()
    }

    /// There is always room: `LONGEST` is the length of everything together.
    fn append(&mut self, text: &[u8]) {
        for (room, byte) in self.bytes.iter_mut().skip(self.length.into()).zip(text) {
            *room = *byte;
            self.length += 1;
        }
    }
}

impl fmt::Debug for FieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl fmt::Display for FieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(core::str::from_utf8(self.as_bytes()).unwrap_or_default())
    }
}

/// `permessage-deflate` and its four parameters, each window with two digits.
const LONGEST: usize = 128;
