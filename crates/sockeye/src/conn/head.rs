//! What the first bytes of a request show, before it is parsed.

use crate::sys::Address;

/// Logs a hint when a bad request looks like a PROXY header from a peer that is not trusted.
pub(super) fn hint_at_proxy_header(peer: &Address, head: &[u8]) {
    if head.starts_with(b"PROXY ") || head.starts_with(b"\r\n\r\n\0\r\nQUIT\n") {
        tracing::debug!(
            %peer,
            "a PROXY header of a peer that is not trusted; is it a proxy that proxy_protocol (--proxy-protocol) should name?"
        );
    }
}

/// Whether a request that starts with these bytes is a HEAD. One empty line before it is skipped,
/// as in the scanner.
pub(super) fn is_head(request: &[u8]) -> bool {
    request.strip_prefix(b"\r\n").unwrap_or(request).starts_with(b"HEAD ")
}
