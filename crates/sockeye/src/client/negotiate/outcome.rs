//! The results of a negotiation.

use std::error::Error;
use std::fmt;

use sockeye_proto::http::HeadError;

use crate::client::Refusal;

/// The state of a negotiation. Complete on purpose.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete on purpose")]
pub enum Negotiated {
    /// More input is needed; all of it so far was consumed.
    More,
    /// The tunnel is open. The rest of the input comes from the server.
    Done,
}

/// Why a proxy did not connect us to the server.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ProxyFailure {
    /// The host cannot be sent to the proxy: it is longer than 255 bytes, or neither a name nor an address. Nothing was
    /// sent.
    Host,
    /// The proxy answered with a status other than 2xx: with its fields and the beginning of its body, which often says why.
    Refused(Box<Refusal>),
    /// Its response is not valid HTTP.
    Head(HeadError),
    /// It answered before it had the whole request, the rest of which would have gone to the server.
    Early,
    /// It sent more than 16 interim (1xx) responses.
    Interim,
    /// It answered with this version of SOCKS, or with another protocol that begins with this byte.
    SocksVersion(u8),
    /// It accepts none of the offered authentication methods: none, and user name and password if there are
    /// credentials.
    SocksMethods,
    /// It chose this authentication method, which was not offered.
    SocksMethod(u8),
    /// Its answer to the user name and password has this version instead of 1.
    SocksAuthVersion(u8),
    /// It rejected the user name and password.
    SocksAuth,
    /// It replied with this code other than 0 (RFC 1928 section 6).
    SocksReply(u8),
    /// Its reply has an address of this unknown type.
    SocksAddress(u8),
}

impl ProxyFailure {
    /// Whether the same attempt may succeed later.
    pub(crate) const fn is_transient(&self) -> bool {
        match self {
            Self::Refused(refusal) => matches!(refusal.status(), 408 | 425 | 429 | 500..=599),
            // General failure; network unreachable, host unreachable, connection refused, TTL expired.
            Self::SocksReply(code) => matches!(code, 1 | 3..=6),
            _ => false,
        }
    }
}

impl fmt::Display for ProxyFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("the host cannot be sent to the proxy"),
            Self::Refused(refusal) => write!(f, "the proxy answered {refusal}"),
            Self::Head(HeadError::Tls) => {
                f.write_str("the proxy speaks TLS instead of plain HTTP: is it to be written with https://?")
            }
            Self::Head(error) => write!(f, "the proxy's response is not valid HTTP: {error}"),
            Self::Early => f.write_str("the proxy answered before it had the whole request"),
            Self::Interim => f.write_str("the proxy sent too many interim (1xx) responses"),
            Self::SocksVersion(b'H') => f.write_str("the proxy speaks HTTP instead of SOCKS 5"),
            Self::SocksVersion(ALERT) => f.write_str("the proxy speaks TLS instead of SOCKS 5"),
            Self::SocksVersion(version) => write!(f, "the proxy answered with version {version} instead of SOCKS 5"),
            Self::SocksMethods => f.write_str("the proxy requires another authentication method"),
            Self::SocksMethod(method) => {
                write!(f, "the proxy chose authentication method {method}, which was not offered (RFC 1928 section 3)")
            }
            Self::SocksAuthVersion(version) => {
                write!(
                    f,
                    "the proxy answered the authentication with version {version} instead of 1 (RFC 1929 section 2)"
                )
            }
            Self::SocksAuth => f.write_str("the proxy rejected the user name and password"),
            Self::SocksReply(code) => write!(f, "the proxy failed to connect: {}", socks_reply(*code)),
            Self::SocksAddress(kind) => {
                write!(f, "the proxy replied with an address of type {kind} (RFC 1928 section 6)")
            }
        }
    }
}

impl Error for ProxyFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Head(error) => Some(error),
            _ => None,
        }
    }
}

/// What TLS answers to something else begins with this byte (RFC 8446 section 5.1).
const ALERT: u8 = 21;

/// The meaning of a reply code, in the words of RFC 1928 section 6.
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
