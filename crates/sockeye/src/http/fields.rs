//! Header fields that the program sets.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use sockeye_proto::http::emit::{self, InvalidField};

/// Header fields in the order in which they were set. Names and values are safe to write.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields(Vec<(Cow<'static, str>, Cow<'static, str>)>);

impl Fields {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The first field of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.iter().find_map(|(other, value)| other.eq_ignore_ascii_case(name).then_some(value))
    }

    /// Sets a field whose name and value are known to be safe. It replaces one of the same name, except Set-Cookie.
    pub(super) fn set(&mut self, name: Cow<'static, str>, value: Cow<'static, str>) {
        if !name.eq_ignore_ascii_case("set-cookie") {
            self.remove(&name);
        }
        self.0.push((name, value));
    }

    /// As [`set`](Self::set), for a field that the program gave.
    pub(crate) fn set_checked(
        &mut self,
        name: Cow<'static, str>,
        value: Cow<'static, str>,
    ) -> Result<(), InvalidHeader> {
        let (name, value) = checked(name, value)?;
        self.set(name, value);
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
    }
}

/// Why a header field cannot be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum InvalidHeader {
    /// The name is not a token (RFC 9110 section 5.6.2).
    Name,
    /// The value has a control character, or is not a URL where it must be one.
    Value,
    /// The loop writes this field itself.
    Reserved,
}

impl fmt::Display for InvalidHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "the name of a header field must be a token (RFC 9110 section 5.6.2)",
            Self::Value => "the value of a header field must not contain a control character, nor a URL a space",
            Self::Reserved => "this header field frames the response; the service sets it itself",
        })
    }
}

impl Error for InvalidHeader {}

/// Checks a field that the program gave.
pub(super) fn checked(
    name: Cow<'static, str>,
    value: Cow<'static, str>,
) -> Result<(Cow<'static, str>, Cow<'static, str>), InvalidHeader> {
    // RFC 9110 section 5.5: "Field values containing CR, LF, or NUL characters are invalid and dangerous".
    match emit::check_field(&name, &value) {
        Err(InvalidField::Name) => Err(InvalidHeader::Name),
        Err(_) => Err(InvalidHeader::Value),
        Ok(()) if RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(&name)) => Err(InvalidHeader::Reserved),
        Ok(()) => Ok((name, value)),
    }
}

const RESERVED: [&str; 7] =
    ["Connection", "Content-Length", "Date", "Keep-Alive", "Trailer", "Transfer-Encoding", "Upgrade"];
