//! The server's side: recognises a handshake request, and accepts or refuses it.

use alloc::vec::Vec;
use core::fmt;

use super::misuse::{check_extra, check_protocol};
use super::origin::Origin;
use super::{ApiMisuse, VERSION, key};
use crate::ext::deflate::{self, Agreed};
use crate::ext::params::{self, Extension};
use crate::http::body::Length;
use crate::http::emit::{self, ResponseWriter};
use crate::http::{HeadError, RequestHead, Version, syntax};

/// A valid handshake request. What remains is for the application to decide: path, origin,
/// subprotocol.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Offer<'b> {
    /// The request.
    pub head: &'b RequestHead<'b>,
    key: &'b [u8],
    extensions: Vec<Extension<'b>>,
}

impl<'b> Offer<'b> {
    /// The offer in `head`. `None`: it is a plain HTTP request, possibly with an upgrade to another
    /// protocol.
    ///
    /// # Errors
    /// The request asks for WebSocket but breaks a rule of the handshake.
    pub fn of(head: &'b RequestHead<'b>) -> Result<Option<Self>, OfferError> {
        // RFC 6455 section 4.2.1: "An |Upgrade| header field containing the value "websocket",
        // treated as an ASCII case-insensitive value." RFC 9110 section 7.8: "A server MAY ignore a
        // received Upgrade header field if it wishes to continue using the current protocol".
        if !head.fields.has_token("upgrade", "websocket") {
            return Ok(None);
        }
        check_request(head)?;
        check_version(head)?;
        let key = single_key(head)?;
        check_protocols(head)?;
        let extensions = params::parse(head.fields.all("sec-websocket-extensions"));
        let extensions = extensions.map_err(|_| OfferError::BAD_EXTENSIONS)?;
        Ok(Some(Self { head, key, extensions }))
    }

    /// The `Sec-WebSocket-Key`: 24 characters of base64.
    #[must_use]
    pub const fn key(&self) -> &'b [u8] {
        self.key
    }

    /// The offered subprotocols, most preferred first: at most [`MAX_PROTOCOLS`] different tokens.
    pub fn protocols(&self) -> impl Iterator<Item = &'b str> + use<'b> {
        protocols(self.head).filter_map(syntax::token)
    }

    /// The `Origin` field.
    #[must_use]
    pub fn origin(&self) -> Origin<'b> {
        Origin::of(&self.head.fields)
    }

    /// The offered extensions, most preferred first.
    #[must_use]
    pub fn extensions(&self) -> &[Extension<'b>] {
        &self.extensions
    }

    /// Appends a 101 response to `out`, which accepts the offer with `protocol`, with compression by
    /// `deflate` if a legal form of it is offered, and with the additional fields `extra`.
    ///
    /// Returns how messages are compressed. `None`: they are not. All other extensions are declined.
    ///
    /// # Errors
    /// `protocol` was not offered, or a field of `extra` is not allowed. Nothing is appended then.
    pub fn accept(
        &self,
        out: &mut Vec<u8>,
        protocol: Option<&str>,
        deflate: Option<deflate::Settings>,
        extra: &[(&str, &str)],
    ) -> Result<Option<Agreed>, ApiMisuse> {
        let mut response = ResponseWriter::new(out, 101)
            .line("Upgrade", b"websocket")
            .line("Connection", b"Upgrade")
            .line("Sec-WebSocket-Accept", &key::accept(self.key));
        if let Some(protocol) = protocol {
            // RFC 6455 section 4.2.2: "The value chosen MUST be derived from the client's
            // handshake, specifically by selecting one of the values from the
            // |Sec-WebSocket-Protocol| field". Names are case-sensitive.
            check_protocol(protocol)?;
            if !self.protocols().any(|offered| offered == protocol) {
                return Err(ApiMisuse::ProtocolNotOffered);
            }
            response = response.line("Sec-WebSocket-Protocol", protocol.as_bytes());
        }
        let deflate = deflate.and_then(|settings| settings.accept(&self.extensions));
        if let Some((_, answer)) = &deflate {
            // RFC 7692 section 5: "To accept the use of an offered PMCE, a server MUST include the
            // extension name of the PMCE in the "Sec-WebSocket-Extensions" header field". There is no
            // empty field otherwise, which some clients take for an error.
            response = response.line("Sec-WebSocket-Extensions", answer.as_bytes());
        }
        for (name, value) in extra {
            check_extra(name, value)?;
            response = response.line(name, value.as_bytes());
        }
        response.finish();
        Ok(deflate.map(|(agreed, _)| agreed))
    }
}

/// Why a handshake request is refused. Always a fault of the peer.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct OfferError {
    /// The HTTP status to answer with: 400, 405, 426, 501 or 505.
    pub status: u16,
    /// The broken rule in a few words.
    pub reason: &'static str,
}

impl OfferError {
    const NOT_GET: Self = Self { status: 405, reason: "a WebSocket handshake must be a GET (RFC 6455 section 4.1)" };
    const OLD_HTTP: Self = Self { status: 505, reason: "a WebSocket handshake needs HTTP/1.1 (RFC 6455 section 4.1)" };
    const NO_CONNECTION: Self =
        Self { status: 400, reason: "Connection lacks the token Upgrade (RFC 6455 section 4.2.1)" };
    const HAS_BODY: Self = Self { status: 400, reason: "a WebSocket handshake has no body" };
    const WRONG_VERSION: Self =
        Self { status: 426, reason: "Sec-WebSocket-Version must be 13 (RFC 6455 section 4.2.1)" };
    const SEVERAL_VERSIONS: Self =
        Self { status: 400, reason: "Sec-WebSocket-Version is repeated (RFC 6455 section 11.3.5)" };
    const BAD_KEY: Self =
        Self { status: 400, reason: "Sec-WebSocket-Key must be 16 bytes in base64 (RFC 6455 section 4.2.1)" };
    const SEVERAL_KEYS: Self = Self { status: 400, reason: "Sec-WebSocket-Key is repeated (RFC 6455 section 11.3.1)" };
    const BAD_PROTOCOLS: Self =
        Self { status: 400, reason: "Sec-WebSocket-Protocol must be a list of tokens (RFC 6455 section 4.1)" };
    const MANY_PROTOCOLS: Self = Self { status: 400, reason: "Sec-WebSocket-Protocol lists too many names" };
    const SAME_PROTOCOLS: Self =
        Self { status: 400, reason: "Sec-WebSocket-Protocol lists a name twice (RFC 6455 section 4.1)" };
    const BAD_EXTENSIONS: Self =
        Self { status: 400, reason: "Sec-WebSocket-Extensions is malformed (RFC 6455 section 9.1)" };

    const fn of_head(error: HeadError) -> Self {
        Self { status: error.status(), reason: "the length of the request is unclear (RFC 9112 section 6.3)" }
    }

    /// Appends the whole response to `out`, see [`refuse`].
    pub fn write(&self, out: &mut Vec<u8>, date: Option<u64>) {
        refuse(out, self.status, self.reason, date);
    }
}

impl fmt::Display for OfferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason)
    }
}

impl core::error::Error for OfferError {}

/// Appends a whole response that refuses a request. It closes the connection, because what follows
/// such a request cannot be trusted.
///
/// The body is `reason` as plain text, or the usual phrase of the status if `reason` is empty.
/// `date` is in seconds since
/// 1970. Fields that a status requires are added: 426 names the protocol and the version to use,
///       405 the method. A 405 has no
/// body, since the request may have been a HEAD. For other responses to a HEAD use [`refuse_head`].
pub fn refuse(out: &mut Vec<u8>, status: u16, reason: &str, date: Option<u64>) {
    let reason = if reason.is_empty() { emit::reason(status) } else { reason };
    let response = refusal(out, status, date);
    if status == 405 {
        return response.content_length(0).finish();
    }
    let length = reason.len() as u64 + 1;
    response.line("Content-Type", b"text/plain; charset=utf-8").content_length(length).finish();
    out.extend_from_slice(reason.as_bytes());
    out.push(b'\n');
}

/// Like [`refuse`], for a HEAD request: without a body.
pub fn refuse_head(out: &mut Vec<u8>, status: u16, date: Option<u64>) {
    // RFC 9110 section 9.3.2: "the server MUST NOT send content in the response" to a HEAD. Section
    // 8.6 allows the length to be omitted.
    refusal(out, status, date).finish();
}

/// The part of the head that is the same with and without a body.
fn refusal(out: &mut Vec<u8>, status: u16, date: Option<u64>) -> ResponseWriter<'_> {
    let mut response = ResponseWriter::new(out, status);
    if let Some(date) = date {
        response = response.date(date);
    }
    match status {
        // RFC 9110 section 15.5.22: "The server MUST send an Upgrade header field in a 426
        // response"; section 7.8: "A sender of Upgrade MUST also send an "Upgrade" connection
        // option". RFC 6455 section 4.2.2: "the server MUST abort the WebSocket handshake [...] and
        // instead send an appropriate HTTP error code (such as 426 Upgrade Required) and a
        // |Sec-WebSocket-Version| header field".
        426 => response
            .line("Connection", b"close, Upgrade")
            .line("Upgrade", b"websocket")
            .line("Sec-WebSocket-Version", VERSION.as_bytes()),
        // RFC 9110 section 15.5.6: "The origin server MUST generate an Allow header field in a 405
        // response".
        405 => response.line("Connection", b"close").line("Allow", b"GET"),
        _ => response.line("Connection", b"close"),
    }
}

fn check_request(head: &RequestHead<'_>) -> Result<(), OfferError> {
    // RFC 6455 section 4.1: "The method of the request MUST be GET, and the HTTP version MUST be at
    // least 1.1."
    if head.version != Version::Http11 {
        return Err(OfferError::OLD_HTTP);
    }
    // Before the method: what follows a request of unclear length must not be interpreted at all.
    let length = Length::of_request(head).map_err(OfferError::of_head)?;
    if head.method != "GET" {
        return Err(OfferError::NOT_GET);
    }
    // RFC 6455 section 4.2.1: "A |Connection| header field that includes the token "Upgrade",
    // treated as an ASCII case-insensitive value."
    if !head.fields.has_token("connection", "upgrade") {
        return Err(OfferError::NO_CONNECTION);
    }
    // RFC 6455 defines no body here. One side could read its bytes as frames and the other as a
    // body.
    if !matches!(length, Length::None | Length::Exact(0)) {
        return Err(OfferError::HAS_BODY);
    }
    Ok(())
}

/// RFC 6455 section 4.2.1: "A |Sec-WebSocket-Version| header field, with a value of 13." Section
/// 4.4: a server that does not support the version answers with those it supports.
fn check_version(head: &RequestHead<'_>) -> Result<(), OfferError> {
    match head.fields.single("sec-websocket-version") {
        Ok(Some(version)) if version == VERSION.as_bytes() => Ok(()),
        Ok(_) => Err(OfferError::WRONG_VERSION),
        // RFC 6455 section 11.3.5: "The |Sec-WebSocket-Version| header field MUST NOT appear more
        // than once in an HTTP request."
        Err(_) => Err(OfferError::SEVERAL_VERSIONS),
    }
}

fn single_key<'b>(head: &RequestHead<'b>) -> Result<&'b [u8], OfferError> {
    // RFC 6455 section 11.3.1: "The |Sec-WebSocket-Key| header field MUST NOT appear more than once
    // in an HTTP request."
    let key = head.fields.single("sec-websocket-key").map_err(|_| OfferError::SEVERAL_KEYS)?;
    // RFC 6455 section 4.2.1: "A |Sec-WebSocket-Key| header field with a base64-encoded [...] value
    // that, when decoded, is 16 bytes in length."
    key.filter(|key| key::is_valid(key)).ok_or(OfferError::BAD_KEY)
}

/// RFC 6455 section 4.1: "The elements that comprise this value MUST be non-empty strings with
/// characters in the range U+0021 to U+007E not including separator characters as defined in
/// [RFC2616] and MUST all be unique strings."
fn check_protocols(head: &RequestHead<'_>) -> Result<(), OfferError> {
    // A separate array, so the fields are read only once, also with other names in between.
    let mut seen: [&[u8]; MAX_PROTOCOLS] = [&[]; MAX_PROTOCOLS];
    for (index, element) in protocols(head).enumerate() {
        if !syntax::is_token(element) {
            return Err(OfferError::BAD_PROTOCOLS);
        }
        // An element is never empty, so it never equals an unused place.
        if seen.contains(&element) {
            return Err(OfferError::SAME_PROTOCOLS);
        }
        *seen.get_mut(index).ok_or(OfferError::MANY_PROTOCOLS)? = element;
    }
    Ok(())
}

/// The offered names, unchecked.
fn protocols<'b>(head: &'b RequestHead<'b>) -> impl Iterator<Item = &'b [u8]> + use<'b> {
    head.fields.all("sec-websocket-protocol").flat_map(syntax::list)
}

/// Most subprotocols that one request may offer.
pub const MAX_PROTOCOLS: usize = 64;

#[cfg(test)]
mod tests;
