//! What a negotiation leads to.

use std::error::Error;
use std::fmt;

use sockeye_proto::http::HeadError;

use crate::client::refusal::status;

/// How far a negotiation is. Complete on purpose.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete on purpose")]
pub enum Negotiated {
    /// More input is needed; all that was given is taken.
    More,
    /// The way is open. What is left of the input is the server's.
    Done,
}

/// Why there is no way through a proxy.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ProxyFailure {
    /// The host cannot be named to it: longer than 255 bytes, or not a name or an address. Nothing was sent.
    Host,
    /// It answered with a status other than 2xx.
    Status(u16),
    /// Its answer is not HTTP.
    Head(HeadError),
    /// It sent more interim answers (1xx) than anybody needs.
    Interim,
    /// It speaks this version of SOCKS, or something else that begins with this byte.
    SocksVersion(u8),
    /// It takes none of the methods of authentication that it was offered: without, and with user and password if there
    /// are any.
    SocksMethods,
    /// It chose this method of authentication, which it was not offered.
    SocksMethod(u8),
    /// Its answer to user and password is of this version.
    SocksAuthVersion(u8),
    /// It does not take the user and the password.
    SocksAuth,
    /// It replied with this code other than 0 (RFC 1928 section 6).
    SocksReply(u8),
    /// It replied with an address of this unknown type.
    SocksAddress(u8),
}

impl ProxyFailure {
    /// Whether the same may come out otherwise a little later.
    pub(crate) const fn may_pass(self) -> bool {
        match self {
            Self::Status(status) => matches!(status, 408 | 425 | 429 | 500..=599),
            // General failure; network unreachable, host unreachable, connection refused, TTL expired.
            Self::SocksReply(code) => matches!(code, 1 | 3..=6),
            _ => false,
        }
    }
}

impl fmt::Display for ProxyFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("the proxy cannot be asked for this host"),
            Self::Status(code) => write!(f, "the proxy answered {}", status(*code)),
            Self::Head(error) => write!(f, "the proxy's answer is not HTTP: {error}"),
            Self::Interim => f.write_str("the proxy answers without coming to an end"),
            Self::SocksVersion(b'H') => f.write_str("the proxy speaks HTTP instead of SOCKS 5"),
            Self::SocksVersion(version) => write!(f, "the proxy answered with version {version} instead of SOCKS 5"),
            Self::SocksMethods => f.write_str("the proxy wants another authentication"),
            Self::SocksMethod(method) => {
                write!(f, "the proxy chose authentication {method}, which it was not offered (RFC 1928 section 3)")
            }
            Self::SocksAuthVersion(version) => {
                write!(f, "the proxy answered the password with version {version} instead of 1 (RFC 1929 section 2)")
            }
            Self::SocksAuth => f.write_str("the proxy does not take the user and password"),
            Self::SocksReply(code) => write!(f, "the proxy failed to connect: {}", socks_reply(*code)),
            Self::SocksAddress(kind) => {
                write!(f, "the proxy replied with an address of type {kind} (RFC 1928 section 6)")
            }
        }
    }
}

impl Error for ProxyFailure {}

/// What a reply means, in the words of RFC 1928 section 6.
const fn socks_reply(code: u8) -> &'static str {
    match code {
        0 => "succeeded",
        1 => "general SOCKS server failure",
        2 => "connection not allowed by ruleset",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "TTL expired",
        7 => "command not supported",
        8 => "address type not supported",
        _ => "an unassigned code",
    }
}
