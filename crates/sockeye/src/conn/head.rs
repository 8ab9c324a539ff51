//! What the first bytes of a request show, before it is parsed.

use crate::sys::Address;

/// Logs a hint when a bad request looks like a PROXY header from a peer that is not trusted, or like TLS.
pub(super) fn hint_at_other_protocol(peer: &Address, head: &[u8]) {
    if head.starts_with(b"PROXY ") || head.starts_with(b"\r\n\r\n\0\r\nQUIT\n") {
        tracing::debug!(
            %peer,
            "a PROXY header of a peer that is not trusted; is it a proxy that proxy_protocol (--proxy-protocol) should name?"
        );
    } else if head.starts_with(&[22, 3]) {
        // The hello of a client (RFC 8446 section 5.1): a handshake record.
        tracing::debug!(%peer, "TLS on a listener without it; is the URL to begin with ws: or http:?");
    }
}

/// Whether a request that starts with these bytes is a HEAD. One empty line before it is skipped,
/// as in the scanner.
pub(super) fn is_head(request: &[u8]) -> bool {
    request.strip_prefix(b"\r\n").unwrap_or(request).starts_with(b"HEAD ")
}
