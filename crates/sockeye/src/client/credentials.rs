//! User name and password.

use std::error::Error;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::client::chars::is_unreserved_or_sub_delim;

/// For a server (RFC 7617) or a proxy (the same, or RFC 1929). Holds no control characters. `Debug` shows nothing.
#[derive(Clone, Eq, Hash, PartialEq)]
pub(super) struct Credentials {
    user: String,
    password: String,
}

impl Credentials {
    pub(super) fn new(user: &str, password: &str) -> Result<Self, CredentialsError> {
        // RFC 7617 section 2: "The user-id and password MUST NOT contain any control characters".
        if user.chars().chain(password.chars()).any(char::is_control) {
            return Err(CredentialsError::Control);
        }
        Ok(Self { user: user.to_owned(), password: password.to_owned() })
    }

    /// Decodes the `userinfo` of a URL (RFC 3986 section 3.2.1).
    pub(super) fn decode(userinfo: &str) -> Result<Self, CredentialsError> {
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        Self::new(&decode(user)?, &decode(password)?)
    }

    pub(super) fn user(&self) -> &str {
        &self.user
    }

    pub(super) fn password(&self) -> &str {
        &self.password
    }

    /// The value of an `Authorization` field, in UTF-8: the only charset that a server can name (RFC 7617 section 2.1).
    pub(super) fn basic(&self) -> Result<String, CredentialsError> {
        // RFC 7617 section 2: "a user-id containing a colon character is invalid, as the first colon in a user-pass
        // string separates user-id and password from one another".
        if self.user.contains(':') {
            return Err(CredentialsError::Colon);
        }
        Ok(format!("Basic {}", STANDARD.encode(format!("{}:{}", self.user, self.password))))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// Why a user name and password cannot be sent.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum CredentialsError {
    /// A control character (RFC 7617 section 2).
    Control,
    /// A colon in the user name (RFC 7617 section 2).
    Colon,
    /// An invalid percent escape, a character that must be escaped, or bytes that are not UTF-8.
    Escape,
    /// An empty user name, or either of them with more than 255 bytes (RFC 1929 section 2).
    Length,
}

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Control => "the user name and password must not contain control characters",
            Self::Colon => "the user name must not contain a colon",
            Self::Escape => "the user name and password must be percent-encoded UTF-8",
            Self::Length => "the user name must have 1 to 255 bytes, the password at most 255",
        })
    }
}

impl Error for CredentialsError {}

fn decode(text: &str) -> Result<String, CredentialsError> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, behind @ ..] = rest {
        rest = behind;
        match (byte, behind) {
            (b'%', [high, low, behind @ ..]) => {
                let digit = |digit: u8| char::from(digit).to_digit(16).ok_or(CredentialsError::Escape);
                // Two digits of four bits each fit in a byte.
                out.push((digit(*high)? << 4 | digit(*low)?) as u8);
                rest = behind;
            }
            (byte, _) if is_unreserved_or_sub_delim(*byte) || *byte == b':' => out.push(*byte),
            _ => return Err(CredentialsError::Escape),
        }
    }
    String::from_utf8(out).map_err(|_| CredentialsError::Escape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_rfc_7617() {
        let basic = |user, password| Credentials::new(user, password).unwrap().basic().unwrap();
        assert_eq!(basic("Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(basic("test", "123\u{a3}"), "Basic dGVzdDoxMjPCow==");
        assert_eq!(basic("", ""), "Basic Og==");
    }

    #[test]
    fn credentials_that_cannot_be_sent_are_rejected() {
        for (user, password) in [("a\r\n", ""), ("a", "\0"), ("\u{7f}", "b"), ("a", "\u{85}")] {
            assert_eq!(Credentials::new(user, password).err(), Some(CredentialsError::Control));
        }
        assert_eq!(Credentials::new("a:b", "c").unwrap().basic(), Err(CredentialsError::Colon));
        assert!(Credentials::new("a", "b:c").unwrap().basic().is_ok());
    }

    #[test]
    fn userinfo_is_decoded_once() {
        let decoded = |text| Credentials::decode(text).map(|found| (found.user, found.password));
        let pair = |user: &str, password: &str| Ok((user.to_owned(), password.to_owned()));
        assert_eq!(decoded("a"), pair("a", ""));
        assert_eq!(decoded("a:"), pair("a", ""));
        assert_eq!(decoded(":b"), pair("", "b"));
        assert_eq!(decoded("a:b:c"), pair("a", "b:c"));
        assert_eq!(decoded("a%3ab:%40%2525"), pair("a:b", "@%25"));
        assert_eq!(decoded("j%C3%B6:p%20w"), pair("j\u{f6}", "p w"));
        for bad in ["%", "%4", "%g0", "%+1", "a@b", "a/b", "a b", "a[b", "j\u{f6}", "%ff", "a^b"] {
            assert_eq!(decoded(bad), Err(CredentialsError::Escape), "{bad}");
        }
        assert_eq!(decoded("a%0d%0a"), Err(CredentialsError::Control));
    }

    #[test]
    fn debug_shows_nothing() {
        let shown = format!("{:?}", Credentials::new("joe", "secret").unwrap());
        assert_eq!(shown, "Credentials(..)");
    }
}
