//! The heads of an opening handshake, for programs that show them.

use std::fmt;

#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
use crate::tls::TlsAgreement;

/// A head of an opening handshake: request or status line, fields, and the empty line behind them, as
/// [`Protocol::handshake_head`](crate::Protocol::handshake_head) gets it. Between those of a proxy and those of the server comes
/// what TLS agreed on, which has no bytes.
///
/// Passwords, tokens and cookies are in it as they are sent. `Debug` shows only its size.
///
/// ```
/// use sockeye::client::HandshakeHead;
/// use sockeye::log::escape;
///
/// fn show(head: HandshakeHead<'_>) {
///     let mark = if head.is_sent() { '>' } else { '<' };
///     for line in head.bytes().split_inclusive(|byte| *byte == b'\n') {
///         // A server can put anything in its fields.
///         eprintln!("{mark} {}", escape(String::from_utf8_lossy(line).trim_end()));
///     }
/// }
/// # show(HandshakeHead::Response(b"HTTP/1.1 101 x\r\n\r\n"));
/// ```
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum HandshakeHead<'a> {
    /// The request to an HTTP proxy for a tunnel (`CONNECT`, RFC 9110 section 9.3.6). A SOCKS proxy is asked without HTTP.
    ProxyRequest(&'a [u8]),
    /// The final answer of an HTTP proxy.
    ProxyResponse(&'a [u8]),
    /// What TLS with the server agreed on. The request follows, inside.
    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))))]
    Secured(TlsAgreement<'a>),
    /// The request to the server.
    Request(&'a [u8]),
    /// An answer of the server: an informational one (1xx), the 101, or a refusal.
    Response(&'a [u8]),
}

impl<'a> HandshakeHead<'a> {
    /// The head as bytes, with its line ends. Of an answer that cannot be used it is what arrived of it; lines that were
    /// folded (RFC 9112 section 5.2) are already joined.
    #[must_use]
    pub const fn bytes(self) -> &'a [u8] {
        match self {
            #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
            Self::Secured(_) => &[],
            Self::ProxyRequest(bytes) | Self::ProxyResponse(bytes) | Self::Request(bytes) | Self::Response(bytes) => {
                bytes
            }
        }
    }

    /// Whether this side sent it.
    #[must_use]
    pub const fn is_sent(self) -> bool {
        matches!(self, Self::ProxyRequest(_) | Self::Request(_))
    }

    /// Whether the other side is a proxy and not the server.
    #[must_use]
    pub const fn is_of_proxy(self) -> bool {
        matches!(self, Self::ProxyRequest(_) | Self::ProxyResponse(_))
    }
}

impl fmt::Debug for HandshakeHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ProxyRequest(_) => "ProxyRequest",
            Self::ProxyResponse(_) => "ProxyResponse",
            #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
            Self::Secured(_) => "Secured",
            Self::Request(_) => "Request",
            Self::Response(_) => "Response",
        })?;
        write!(f, "({} bytes)", self.bytes().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let heads = [
            (HandshakeHead::ProxyRequest(b"secret"), "ProxyRequest(6 bytes)", true, true),
            (HandshakeHead::ProxyResponse(b"secret"), "ProxyResponse(6 bytes)", false, true),
            (HandshakeHead::Request(b"secret"), "Request(6 bytes)", true, false),
            (HandshakeHead::Response(b""), "Response(0 bytes)", false, false),
        ];
        for (head, shown, is_sent, is_of_proxy) in heads {
            assert_eq!((&*format!("{head:?}"), head.is_sent(), head.is_of_proxy()), (shown, is_sent, is_of_proxy));
        }
    }
}
