//! Close codes. Apart from [`close`](crate::close), because [`error`](crate::error) needs them too
//! and `close` uses `error`.
//!
//! Every [`CloseCode`] may be sent: 1005, 1006 and 1015 cannot be constructed.

use core::fmt;

/// A status code that an endpoint may send in a Close frame (RFC 6455 section 7.4 and the IANA
/// registry).
///
/// ```
/// use sockeye_proto::close::CloseCode;
///
/// assert_eq!(CloseCode::NORMAL.to_string(), "1000");
/// assert!(CloseCode::try_from(4000).is_ok()); // private use
/// assert!(CloseCode::try_from(1006).is_err()); // never sent
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: normal closure. The purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the server is going down, or the user has left the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke a rule of the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a kind of data that this endpoint does not accept.
    pub const UNSUPPORTED: Self = Self(1003);
    /// 1007: data that does not match its message kind, such as text that is not UTF-8.
    pub const INVALID_DATA: Self = Self(1007);
    /// 1008: a message that violates the policy of this endpoint.
    pub const POLICY: Self = Self(1008);
    /// 1009: a message that is too big to process.
    pub const TOO_BIG: Self = Self(1009);
    /// 1010: the client requires an extension that the server did not accept.
    pub const EXTENSION: Self = Self(1010);
    /// 1011: an unexpected condition prevents the server from continuing.
    pub const INTERNAL: Self = Self(1011);
    /// 1012: the service is restarting.
    pub const RESTART: Self = Self(1012);
    /// 1013: the service is overloaded; try again later.
    pub const TRY_AGAIN: Self = Self(1013);

    /// The code, if it may be sent in a Close frame: 1000 to 1003, 1007 to 1014, 3000 to 4999.
    /// Otherwise `None`.
    #[must_use]
    #[inline]
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            // RFC 6455 section 7.4.1: "1005 is a reserved value and MUST NOT be set as a status
            // code in a Close control frame by an endpoint." The same holds for 1006 and 1015. 1004
            // is reserved without a meaning. 1012 to 1014 were registered with IANA later. Section
            // 7.4.2: "Status codes in the range 0-999 are not used". 1016 to 2999 are for future
            // revisions and extensions, none of which is supported. 3000 to 4999 belong to
            // libraries and applications.
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(code)),
            _ => None,
        }
    }

    /// The code as a number.
    #[must_use]
    #[inline]
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// As [`CloseCode::new`], with an error for `?`.
///
/// ```
/// use sockeye_proto::close::CloseCode;
///
/// # fn main() -> Result<(), sockeye_proto::close::InvalidCloseCode> {
/// assert_eq!(CloseCode::try_from(1000)?, CloseCode::NORMAL);
/// assert_eq!(CloseCode::try_from(1006).unwrap_err().code(), 1006);
/// # Ok(()) }
/// ```
impl TryFrom<u16> for CloseCode {
    type Error = InvalidCloseCode;

    fn try_from(code: u16) -> Result<Self, InvalidCloseCode> {
        Self::new(code).ok_or(InvalidCloseCode { code })
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

/// A number that must not be sent as a close code (RFC 6455 section 7.4).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct InvalidCloseCode {
    code: u16,
}

impl InvalidCloseCode {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u16 {
        self.code
    }
}

impl fmt::Display for InvalidCloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not a close code that may be sent (RFC 6455 section 7.4)", self.code)
    }
}

impl core::error::Error for InvalidCloseCode {}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn only_the_codes_of_section_7_4_can_be_constructed() {
        for code in 0..=u16::MAX {
            let legal = (1000..=1003).contains(&code) || (1007..=1014).contains(&code) || (3000..=4999).contains(&code);
            assert_eq!(CloseCode::new(code).map(CloseCode::get), legal.then_some(code));
            assert_eq!(
                CloseCode::try_from(code).map(u16::from),
                CloseCode::new(code).map(CloseCode::get).ok_or(InvalidCloseCode { code })
            );
        }
        let error = CloseCode::try_from(1006).unwrap_err();
        assert_eq!(error.to_string(), "1006 is not a close code that may be sent (RFC 6455 section 7.4)");
    }
}
