//! Close codes. Below [`close`](crate::close), which tells how a connection ended, and [`error`](crate::error), of which each
//! has a code.
//!
//! A [`CloseCode`] that exists may be put on the wire: 1005, 1006 and 1015 cannot be constructed.

use core::fmt;

/// A status code that an endpoint may send in a Close frame (RFC 6455 section 7.4, and the IANA registry behind it).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the server goes down, or the user left the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke a rule of the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a kind of data that this endpoint does not take.
    pub const UNSUPPORTED: Self = Self(1003);
    /// 1007: data that does not fit its kind, such as text that is not UTF-8.
    pub const INVALID_DATA: Self = Self(1007);
    /// 1008: a message against the policy of this endpoint.
    pub const POLICY: Self = Self(1008);
    /// 1009: a message too big to process.
    pub const TOO_BIG: Self = Self(1009);
    /// 1010: the client misses an extension in the server's answer.
    pub const EXTENSION: Self = Self(1010);
    /// 1011: the server met a condition that keeps it from going on.
    pub const INTERNAL: Self = Self(1011);
    /// 1012: the service restarts.
    pub const RESTART: Self = Self(1012);
    /// 1013: the service is overloaded; try again later.
    pub const TRY_AGAIN: Self = Self(1013);

    /// The code, if it may appear in a Close frame: 1000 to 1003, 1007 to 1014, 3000 to 4999.
    #[must_use]
    #[inline]
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            // RFC 6455 section 7.4.1: "1005 is a reserved value and MUST NOT be set as a status code in a Close control frame by
            // an endpoint." The same is said of 1006 and 1015; 1004 is reserved without a meaning; 1012 to 1014 were registered
            // with IANA later. Section 7.4.2: "Status codes in the range 0-999 are not used"; 1016 to 2999 are for future
            // revisions and extensions, of which none is spoken here; 3000 to 4999 belong to libraries and applications.
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(code)),
            _ => None,
        }
    }

    /// The number.
    #[must_use]
    #[inline]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_codes_of_section_7_4_can_be_made() {
        for code in 0..=u16::MAX {
            let legal = (1000..=1003).contains(&code) || (1007..=1014).contains(&code) || (3000..=4999).contains(&code);
            assert_eq!(CloseCode::new(code).map(CloseCode::get), legal.then_some(code));
        }
    }
}
