//! The client's side: the handshake request, and the check of the response.

use alloc::vec::Vec;
use core::fmt;

use super::misuse::{check_extra, check_protocol};
use super::{ApiMisuse, VERSION, key, origin};
use crate::ext::deflate::{self, Agreed, NegotiationError};
use crate::ext::params::{self, Extension};
use crate::http::authority::Authority;
use crate::http::{HeadError, ResponseHead, Version, syntax};
use crate::limits::ProtocolLimits;

/// A handshake request. Each part is checked when it is added, so nothing can inject another field
/// or another request.
///
/// ```
/// use sockeye_proto::handshake::client::UpgradeRequest;
///
/// let request = UpgradeRequest::new("example.com", "/chat")?
///     .protocol("chat.v2")?
///     .header("Authorization", "Bearer abc")?;
/// let mut out = Vec::new();
/// request.write(&mut out, [7; 16]); // the nonce must be random and new for each connection
/// assert!(out.starts_with(b"GET /chat HTTP/1.1\r\nHost: example.com\r\n"));
/// # Ok::<(), sockeye_proto::handshake::ApiMisuse>(())
/// ```
#[derive(Clone, Debug)]
pub struct UpgradeRequest<'a> {
    host: &'a str,
    target: &'a str,
    origin: Option<&'a str>,
    protocols: Vec<&'a str>,
    deflate: Option<deflate::Settings>,
    fields: Vec<(&'a str, &'a str)>,
}

impl<'a> UpgradeRequest<'a> {
    /// A request for `target` (path and query, percent-encoded) at `host` (with the port, unless it
    /// is the default port).
    ///
    /// # Errors
    /// [`ApiMisuse::Host`], [`ApiMisuse::Target`].
    pub fn new(host: &'a str, target: &'a str) -> Result<Self, ApiMisuse> {
        Authority::parse(host).ok_or(ApiMisuse::Host)?;
        let valid = target.starts_with('/') && target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        if !valid {
            return Err(ApiMisuse::Target);
        }
        Ok(Self { host, target, origin: None, protocols: Vec::new(), deflate: None, fields: Vec::new() })
    }

    /// Sets the `Origin` field: `scheme://host[:port]` or `null`.
    ///
    /// # Errors
    /// [`ApiMisuse::Origin`].
    pub fn origin(mut self, origin: &'a str) -> Result<Self, ApiMisuse> {
        if !origin::is_valid(origin) {
            return Err(ApiMisuse::Origin);
        }
        self.origin = Some(origin);
        Ok(self)
    }

    /// Offers a subprotocol. Earlier ones are preferred.
    ///
    /// # Errors
    /// [`ApiMisuse::Protocol`], [`ApiMisuse::ProtocolRepeated`].
    pub fn protocol(mut self, name: &'a str) -> Result<Self, ApiMisuse> {
        check_protocol(name)?;
        // RFC 6455 section 4.1: the elements "MUST all be unique strings".
        if self.protocols.contains(&name) {
            return Err(ApiMisuse::ProtocolRepeated);
        }
        self.protocols.push(name);
        Ok(self)
    }

    /// Offers compression (`permessage-deflate`). The same settings are to be passed to [`check`].
    #[must_use]
    pub const fn deflate(mut self, settings: deflate::Settings) -> Self {
        self.deflate = Some(settings);
        self
    }

    /// Adds a header field, such as cookies or authorization.
    ///
    /// # Errors
    /// [`ApiMisuse::FieldName`], [`ApiMisuse::FieldValue`], [`ApiMisuse::FieldReserved`].
    pub fn header(mut self, name: &'a str, value: &'a str) -> Result<Self, ApiMisuse> {
        check_extra(name, value)?;
        if name.eq_ignore_ascii_case("origin") {
            return Err(ApiMisuse::FieldReserved);
        }
        self.fields.push((name, value));
        Ok(self)
    }

    /// The offered subprotocols, to be passed to [`check`].
    #[must_use]
    pub fn protocols(&self) -> &[&'a str] {
        &self.protocols
    }

    /// Appends the request to `out`. RFC 6455 section 4.1: the nonce is "a randomly selected
    /// 16-byte value [...] The nonce MUST be selected randomly for each connection."
    pub fn write(&self, out: &mut Vec<u8>, nonce: [u8; 16]) {
        let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| out.extend_from_slice(part));
        put(&[b"GET ", self.target.as_bytes(), b" HTTP/1.1\r\nHost: ", self.host.as_bytes()]);
        put(&[b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ", &key::encode(nonce)]);
        put(&[b"\r\nSec-WebSocket-Version: ", VERSION.as_bytes(), b"\r\n"]);
        if let Some(origin) = self.origin {
            put(&[b"Origin: ", origin.as_bytes(), b"\r\n"]);
        }
        for (index, protocol) in self.protocols.iter().enumerate() {
            put(&[if index == 0 { b"Sec-WebSocket-Protocol: " } else { b", " }, protocol.as_bytes()]);
        }
        if !self.protocols.is_empty() {
            put(&[b"\r\n"]);
        }
        if let Some(settings) = self.deflate {
            put(&[b"Sec-WebSocket-Extensions: ", settings.offer().as_bytes(), b"\r\n"]);
        }
        for (name, value) in &self.fields {
            put(&[name.as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
        }
        put(&[b"\r\n"]);
    }
}

/// A response that accepts the request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Accepted<'b> {
    /// The subprotocol that the server chose, one of those offered.
    pub protocol: Option<&'b str>,
    /// How messages are compressed, if compression was offered and the server accepted it.
    pub deflate: Option<Agreed>,
    /// The response.
    pub head: ResponseHead<'b>,
}

/// Checks the response `head` against the request that was sent with `nonce` and offered the
/// subprotocols `offered`, compression by `deflate`, and no other extensions. `head` must be complete, as reported by a
/// [`HeadScanner`](crate::http::HeadScanner).
///
/// # Errors
/// The response breaks a rule, or its status is not 101.
pub fn check<'b>(
    head: &'b [u8],
    nonce: [u8; 16],
    offered: &[&str],
    deflate: Option<deflate::Settings>,
    limits: &ProtocolLimits,
) -> Result<Accepted<'b>, HandshakeError> {
    let head = ResponseHead::parse(head, limits).map_err(HandshakeError::Head)?;
    // RFC 6455 section 4.1: "If the status code received from the server is not 101, the client
    // handles the response per HTTP [RFC2616] procedures."
    if head.status != 101 {
        return Err(HandshakeError::Status(head.status));
    }
    if head.version != Version::Http11 {
        return Err(HandshakeError::OldHttp);
    }
    let fields = &head.fields;
    // "If the response lacks an |Upgrade| header field or the |Upgrade| header field contains a
    // value that is not an ASCII case-insensitive match for the value "websocket", the client MUST
    // _Fail the WebSocket Connection_."
    if !fields.single("upgrade").ok().flatten().is_some_and(|value| value.eq_ignore_ascii_case(b"websocket")) {
        return Err(HandshakeError::Upgrade);
    }
    // "If the response lacks a |Connection| header field or the |Connection| header field doesn't
    // contain a token that is an ASCII case-insensitive match for the value "Upgrade", the client
    // MUST _Fail the WebSocket Connection_."
    if !fields.has_token("connection", "upgrade") {
        return Err(HandshakeError::Connection);
    }
    // "If the response lacks a |Sec-WebSocket-Accept| header field or the |Sec-WebSocket-Accept|
    // contains a value other than the base64-encoded SHA-1 of the concatenation [...], the client
    // MUST _Fail the WebSocket Connection_."
    if fields.single("sec-websocket-accept") != Ok(Some(&key::accept(&key::encode(nonce))[..])) {
        return Err(HandshakeError::Accept);
    }
    let extensions = params::parse(fields.all("sec-websocket-extensions"));
    let deflate = check_extensions(&extensions.map_err(|_| HandshakeError::ExtensionMalformed)?, deflate)?;
    let protocol = match fields.single("sec-websocket-protocol") {
        Ok(None) => None,
        // "If the response includes a |Sec-WebSocket-Protocol| header field and this header field
        // indicates the use of a subprotocol that was not present in the client's handshake [...],
        // the client MUST _Fail the WebSocket Connection_."
        Ok(Some(value)) => {
            // Section 4.2.2: the server sends "either the value of a single subprotocol" or none.
            if value.contains(&b',') {
                return Err(HandshakeError::ProtocolRepeated);
            }
            let chosen = syntax::token(value).filter(|chosen| offered.contains(chosen));
            Some(chosen.ok_or(HandshakeError::ProtocolNotOffered)?)
        }
        // Section 11.3.4: it "MUST NOT appear more than once in an HTTP response".
        Err(_) => return Err(HandshakeError::ProtocolRepeated),
    };
    Ok(Accepted { protocol, deflate, head })
}

fn check_extensions(
    extensions: &[Extension<'_>],
    deflate: Option<deflate::Settings>,
) -> Result<Option<Agreed>, HandshakeError> {
    match deflate {
        Some(settings) => settings.check(extensions).map_err(|error| match error {
            NegotiationError::ExtensionNotOffered => HandshakeError::ExtensionNotOffered,
            error => HandshakeError::Deflate(error),
        }),
        // RFC 6455 section 4.1: "If the response includes a |Sec-WebSocket-Extensions| header field
        // and this header field indicates the use of an extension that was not present in the client's
        // handshake [...], the client MUST _Fail the WebSocket Connection_."
        None if !extensions.is_empty() => Err(HandshakeError::ExtensionNotOffered),
        None => Ok(None),
    }
}

/// Why the handshake failed: the server refused it or broke a rule.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The response is not HTTP.
    Head(HeadError),
    /// The server answered with a status other than 101: a refusal, a redirect, or an interim
    /// response (1xx).
    Status(u16),
    /// The server switched protocols in HTTP/1.0, which does not allow it.
    OldHttp,
    /// `Upgrade` is missing or is not `websocket`.
    Upgrade,
    /// `Connection` lacks the token `Upgrade`.
    Connection,
    /// `Sec-WebSocket-Accept` is missing, repeated or wrong: the response belongs to another
    /// request, or the server does not speak WebSocket.
    Accept,
    /// `Sec-WebSocket-Protocol` names a subprotocol that was not offered.
    ProtocolNotOffered,
    /// `Sec-WebSocket-Protocol` is repeated, or has more than one value.
    ProtocolRepeated,
    /// `Sec-WebSocket-Extensions` names an extension that was not offered.
    ExtensionNotOffered,
    /// `Sec-WebSocket-Extensions` is malformed.
    ExtensionMalformed,
    /// `Sec-WebSocket-Extensions` is not an answer to the offer of compression.
    Deflate(NegotiationError),
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = match self {
            Self::Head(error) => return write!(f, "the response is not HTTP: {error}"),
            Self::Deflate(error) => return fmt::Display::fmt(error, f),
            Self::Status(status) => return write!(f, "the server answered {status} instead of 101"),
            Self::OldHttp => "the server switched protocols in HTTP/1.0",
            Self::Upgrade => "Upgrade is not websocket",
            Self::Connection => "Connection lacks the token Upgrade",
            Self::Accept => "Sec-WebSocket-Accept does not answer the key",
            Self::ProtocolNotOffered => "the server chose a subprotocol that was not offered",
            Self::ProtocolRepeated => "the server chose more than one subprotocol",
            Self::ExtensionNotOffered => "the server uses an extension that was not offered",
            Self::ExtensionMalformed => "Sec-WebSocket-Extensions is malformed",
        };
        write!(f, "{rule} (RFC 6455 section 4.1)")
    }
}

impl core::error::Error for HandshakeError {}

#[cfg(test)]
mod tests;
