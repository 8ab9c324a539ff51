//! The grammar of `Sec-WebSocket-Extensions` (RFC 6455 section 9.1).
//!
//! ```
//! use sockeye_proto::ext::params;
//!
//! let offers = params::parse([&b"permessage-deflate; client_max_window_bits, x; a=\"1\""[..]])?;
//! assert_eq!(offers[0].name, "permessage-deflate");
//! assert_eq!(offers[1].params[0].value.as_deref(), Some("1"));
//! # Ok::<(), params::Malformed>(())
//! ```

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::http::syntax::{is_ows, is_tchar};

/// One extension, as offered or accepted.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Extension<'b> {
    /// The name: a token.
    pub name: &'b str,
    /// The parameters, in order. Whether one may be repeated depends on the extension.
    pub params: Vec<Param<'b>>,
}

/// One parameter of an extension.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Param<'b> {
    /// The name: a token.
    pub name: &'b str,
    /// The unquoted value: a token. `None`: there is no equals sign.
    pub value: Option<Cow<'b, str>>,
}

/// The list does not conform to the grammar, or has more than [`MAX_ITEMS`] items.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the list of extensions is malformed or too long (RFC 6455 section 9.1)")
    }
}

impl core::error::Error for Malformed {}

/// Parses the values of all `Sec-WebSocket-Extensions` lines of a head, in order. By RFC 6455
/// section 9.1 they form one list.
///
/// Takes time linear in the length of the lines. [`MAX_ITEMS`] bounds the memory.
///
/// # Errors
/// RFC 6455 section 9.1: "If a value is received by either the client or the server during
/// negotiation that does not conform to the ABNF below, the recipient of such malformed data MUST
/// immediately _Fail the WebSocket Connection_."
pub fn parse<'b>(lines: impl IntoIterator<Item = &'b [u8]>) -> Result<Vec<Extension<'b>>, Malformed> {
    let mut extensions = Vec::new();
    let mut room = MAX_ITEMS;
    for line in lines {
        let mut cursor = Cursor { rest: line, room };
        cursor.extensions(&mut extensions)?;
        room = cursor.room;
    }
    Ok(extensions)
}

/// Most items in all lines together, where extensions and parameters each count as one. Browsers
/// send two.
pub const MAX_ITEMS: usize = 64;

struct Cursor<'b> {
    /// The bytes that have not been read.
    rest: &'b [u8],
    /// How many more items are allowed.
    room: usize,
}

impl<'b> Cursor<'b> {
    /// `extension-list = 1#extension`, where `#` lets list elements be empty (RFC 9110 section
    /// 5.6.1.2).
    fn extensions(&mut self, out: &mut Vec<Extension<'b>>) -> Result<(), Malformed> {
        loop {
            self.skip_ows();
            if self.rest.is_empty() {
                return Ok(());
            }
            if self.take(b',') {
                continue;
            }
            out.push(self.extension()?);
            if !self.rest.is_empty() && !self.take(b',') {
                return Err(Malformed);
            }
        }
    }

    /// `extension = extension-token *( ";" extension-param )`
    fn extension(&mut self) -> Result<Extension<'b>, Malformed> {
        let name = self.token()?;
        let mut params = Vec::new();
        self.skip_ows();
        while self.take(b';') {
            self.skip_ows();
            params.push(self.param()?);
            self.skip_ows();
        }
        Ok(Extension { name, params })
    }

    /// `extension-param = token [ "=" (token | quoted-string) ]`
    fn param(&mut self) -> Result<Param<'b>, Malformed> {
        let name = self.token()?;
        self.skip_ows();
        if !self.take(b'=') {
            return Ok(Param { name, value: None });
        }
        self.skip_ows();
        let value = if self.take(b'"') { self.quoted()? } else { Cow::Borrowed(self.bare_token()?) };
        Ok(Param { name, value: Some(value) })
    }

    /// A quoted string, from after its opening quote.
    ///
    /// RFC 6455 section 9.1: "When using the quoted-string syntax variant, the value after
    /// quoted-string unescaping MUST conform to the 'token' ABNF."
    fn quoted(&mut self) -> Result<Cow<'b, str>, Malformed> {
        if let Ok(value) = self.bare_token() {
            if self.take(b'"') {
                return Ok(Cow::Borrowed(value));
            }
            return self.unescape(String::from(value)).map(Cow::Owned);
        }
        self.unescape(String::new()).map(Cow::Owned)
    }

    fn unescape(&mut self, mut value: String) -> Result<String, Malformed> {
        loop {
            let (byte, rest) = match self.rest {
                [b'"', rest @ ..] if !value.is_empty() => {
                    self.rest = rest;
                    return Ok(value);
                }
                [b'\\', byte, rest @ ..] | [byte, rest @ ..] => (*byte, rest),
                [] => return Err(Malformed),
            };
            if !is_tchar(byte) {
                return Err(Malformed);
            }
            value.push(char::from(byte));
            self.rest = rest;
        }
    }

    /// A token that counts as an item.
    fn token(&mut self) -> Result<&'b str, Malformed> {
        self.room = self.room.checked_sub(1).ok_or(Malformed)?;
        self.bare_token()
    }

    fn bare_token(&mut self) -> Result<&'b str, Malformed> {
        let end = self.rest.iter().position(|&byte| !is_tchar(byte)).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        if token.is_empty() {
            return Err(Malformed);
        }
        self.rest = rest;
        core::str::from_utf8(token).map_err(|_| Malformed)
    }

    fn skip_ows(&mut self) {
        while let [first, rest @ ..] = self.rest {
            if !is_ows(*first) {
                break;
            }
            self.rest = rest;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        match self.rest {
            [first, rest @ ..] if *first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
