//! WebSocket URLs (RFC 6455 section 3, RFC 3986).
//!
//! Before editing: two parsers that disagree about where the host ends are a security hole. A URL that could be read in
//! two ways is rejected here, never repaired; only characters that clearly belong to a path or query are
//! percent-encoded.

use std::error::Error;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::client::chars::is_unreserved_or_sub_delim;
use crate::client::credentials::Credentials;

/// The URL of a WebSocket server: `ws://host[:port]/path?query`.
///
/// Guaranteed: the host is an ASCII name or an address; the port is not 0; the target begins with `/` and is visible
/// ASCII without `#`. `Display` and `Debug` show no credentials, and `Debug` shows no query.
///
/// ```
/// use sockeye::client::Url;
///
/// let url = Url::parse("ws://joe:secret@Example.com:8080/räume?id=7")?;
/// assert_eq!((url.host(), url.port(), url.target()), ("example.com", 8080, "/r%C3%A4ume?id=7"));
/// assert_eq!(url.userinfo(), Some(("joe", "secret")));
/// assert_eq!(url.to_string(), "ws://example.com:8080/r%C3%A4ume?id=7");
/// # Ok::<(), sockeye::client::UrlError>(())
/// ```
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Url {
    secure: bool,
    /// A name in lower case, or an address; IPv6 without brackets, and with its zone if it has one. Only IPv6 has colons.
    host: String,
    /// Not 0.
    port: u16,
    /// Path and query.
    target: String,
    credentials: Option<Credentials>,
}

impl Url {
    /// Parses a URL. `http` and `https` mean `ws` and `wss`, as other software names the same server.
    ///
    /// Characters of the path and the query that must be percent-encoded are encoded, except those that are rejected
    /// everywhere: control characters, spaces, `\` and `#`.
    ///
    /// # Errors
    /// The rule that the text breaks. The error does not repeat the text, which may hold a password.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        check_text(text)?;
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let is = |known: &str| scheme.eq_ignore_ascii_case(known);
        let secure = is("wss") || is("https");
        if !secure && !is("ws") && !is("http") {
            return Err(UrlError::Scheme);
        }
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let Place { credentials, host, port } = Place::parse(authority)?;
        if let Some(credentials) = &credentials {
            // They are sent by RFC 7617, which cannot carry all that a URL can.
            credentials.basic().map_err(|_| UrlError::Userinfo)?;
        }
        let port = port.unwrap_or_else(|| default_port(secure));
        Ok(Self { secure, host, port, target: encode_target(target)?, credentials })
    }

    /// The host: a name in lower case, or an address. IPv6 without brackets; a link-local address with its zone, such as
    /// `fe80::1%eth0` (RFC 4007 section 11).
    ///
    /// In the text of a URL the zone follows `%25` (RFC 6874 section 2), or `%` alone, as other programs write it.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port. Default 80, or 443 for `wss`.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether the scheme is `wss`: WebSocket over TLS.
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.secure
    }

    /// The path (at least `/`) and the query, percent-encoded: the request target.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// `host[:port]` for the `Host` field: IPv6 in brackets and without its zone, which means nothing elsewhere; without the
    /// default port.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = without_zone(&self.host);
        if self.port == default_port(self.secure) { bracketed(host) } else { host_and_port(host, self.port) }
    }

    /// User name and password, decoded. The password is empty if the URL has none.
    #[must_use]
    pub fn userinfo(&self) -> Option<(&str, &str)> {
        self.credentials.as_ref().map(|credentials| (credentials.user(), credentials.password()))
    }

    /// The origin `http[s]://host[:port]` (RFC 6454): what a browser sends as `Origin` from a page of this server.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.secure { "https" } else { "http" }, self.authority())
    }

    /// Resolves `location` against this URL (RFC 3986 section 5.2.2). Credentials are kept only if the origin is the
    /// same.
    ///
    /// # Errors
    /// As for [`parse`](Self::parse), and `UrlError::Userinfo` if `location` has credentials: RFC 9110 section 4.2.4,
    /// "a recipient SHOULD parse for userinfo and treat its presence as an error; it is likely being used to obscure
    /// the authority for the sake of phishing attacks."
    pub fn join(&self, location: &str) -> Result<Self, UrlError> {
        check_text(location)?;
        let mut joined = match location.find([':', '/', '?']) {
            // RFC 3986 section 4.2: "A path segment that contains a colon character (e.g., "this:that") cannot be used
            // as the first segment of a relative-path reference, as it would be mistaken for a scheme name."
            Some(at) if location[at..].starts_with(':') => Self::parse_foreign(location)?,
            _ if location.starts_with("//") => {
                Self::parse_foreign(&format!("{}:{location}", if self.secure { "wss" } else { "ws" }))?
            }
            _ => Self { target: encode_target(&self.merge(location))?, ..self.clone() },
        };
        if joined.is_same_origin(self) {
            joined.credentials.clone_from(&self.credentials);
        }
        let (path, query) = joined.target.split_at(joined.target.find('?').unwrap_or(joined.target.len()));
        joined.target = remove_dot_segments(path) + query;
        check_length(&joined.target)?;
        Ok(joined)
    }

    /// Whether scheme, host and port are equal (RFC 6454 section 5).
    #[must_use]
    pub fn is_same_origin(&self, other: &Self) -> bool {
        (self.secure, &self.host, self.port) == (other.secure, &other.host, other.port)
    }

    /// Of a connection that has no URL: host and port, as in a parsed one.
    pub(super) fn of_host(host: String, port: u16) -> Self {
        Self { secure: false, host, port, target: "/".to_owned(), credentials: None }
    }

    /// The same place, over TLS.
    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    pub(super) fn secured(self) -> Self {
        Self { secure: true, ..self }
    }

    pub(super) const fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// [`authority`](Self::authority) with the zone, if there is one.
    fn place(&self) -> String {
        match self.host.split_once('%') {
            Some((address, zone)) => self.authority().replacen(address, &format!("{address}%25{zone}"), 1),
            None => self.authority(),
        }
    }

    fn parse_foreign(text: &str) -> Result<Self, UrlError> {
        let url = Self::parse(text)?;
        if url.credentials.is_some() { Err(UrlError::Userinfo) } else { Ok(url) }
    }

    /// Path and query of a relative reference, dot segments included.
    fn merge(&self, reference: &str) -> String {
        let path = self.target.split('?').next().unwrap_or_default();
        match reference.as_bytes().first() {
            None => self.target.clone(),
            Some(b'/') => reference.to_owned(),
            Some(b'?') => format!("{path}{reference}"),
            // RFC 3986 section 5.2.3: "all but the last segment of the base URI's path".
            Some(_) => format!("{}{reference}", &path[..path.rfind('/').map_or(0, |at| at + 1)]),
        }
    }
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        Self::parse(text)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "wss" } else { "ws" };
        write!(f, "{scheme}://{}{}", self.place(), self.target)
    }
}

/// Leaves the query out: it may hold tokens.
impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "wss" } else { "ws" };
        let (path, query) = self.target.split_once('?').map_or((&*self.target, ""), |(path, _)| (path, "?.."));
        write!(f, "Url({scheme}://{}{path}{query})", self.place())
    }
}

/// Why a text is not a WebSocket URL.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum UrlError {
    /// It does not begin with `ws://`, `wss://`, `http://` or `https://`.
    Scheme,
    /// A control character, a space or a backslash.
    Character {
        /// The offset of the character, in bytes.
        at: usize,
    },
    /// A fragment. RFC 6455 section 3: "Fragment identifiers are meaningless in the context of WebSocket URIs and MUST
    /// NOT be used on these URIs."
    Fragment,
    /// The host is empty.
    HostMissing,
    /// A host that is neither a name nor an address.
    Host,
    /// A host with non-ASCII characters.
    HostNotAscii,
    /// A name of more than 253 bytes, or with a label of more than 63.
    HostTooLong,
    /// A port that is not a number from 1 to 65535.
    Port,
    /// Credentials that are not percent-encoded UTF-8, have a control character or a colon in the user name, or are not
    /// allowed here.
    Userinfo,
    /// A percent sign without two hexadecimal digits.
    Escape,
    /// More than 8,000 bytes.
    TooLong,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "a WebSocket URL begins with ws:// or wss://",
            Self::Character { at } => {
                return write!(f, "the URL has a control character, space or backslash at byte {at}");
            }
            Self::Fragment => "a WebSocket URL has no fragment; write # as %23 (RFC 6455 section 3)",
            Self::HostMissing => "the URL has no host",
            Self::Host => "the host is neither a name nor an address (IPv4 as four decimal numbers, IPv6 in brackets)",
            Self::HostNotAscii => "the host has non-ASCII characters; use its xn-- form",
            Self::HostTooLong => "the host name is too long (RFC 1035 section 2.3.4)",
            Self::Port => "the port must be a number from 1 to 65535",
            Self::Userinfo => {
                "user name and password must be percent-encoded, without control characters or a colon in the user name"
            }
            Self::Escape => "a percent sign needs two hexadecimal digits; write % as %25 (RFC 3986 section 2.1)",
            Self::TooLong => "the URL is longer than 8000 bytes",
        })
    }
}

impl Error for UrlError {}

/// A parsed `[userinfo@]host[:port]` (RFC 3986 section 3.2), of a URL or a proxy.
pub(super) struct Place {
    pub(super) credentials: Option<Credentials>,
    /// As in [`Url`].
    pub(super) host: String,
    /// Not 0.
    pub(super) port: Option<u16>,
}

impl Place {
    /// `text` has passed [`check_text`].
    pub(super) fn parse(text: &str) -> Result<Self, UrlError> {
        let (userinfo, place) = text.rsplit_once('@').unwrap_or(("", text));
        let (host, port) = match place.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']').ok_or(UrlError::Host)?;
                (ipv6(address)?, port)
            }
            None => {
                let (name, port) = place.split_at(place.find(':').unwrap_or(place.len()));
                (host_name(name)?, port)
            }
        };
        let credentials = match userinfo {
            "" => None,
            userinfo => Some(Credentials::decode(userinfo).map_err(|_| UrlError::Userinfo)?),
        };
        Ok(Self { credentials, host, port: port_behind(port)? })
    }
}

/// Checks the rules for the whole text of a URL.
pub(super) fn check_text(text: &str) -> Result<(), UrlError> {
    check_length(text)?;
    let forbidden = |byte: u8| byte <= b' ' || byte == 0x7f || byte == b'\\';
    if let Some(at) = text.bytes().position(forbidden) {
        return Err(UrlError::Character { at });
    }
    if text.contains('#') { Err(UrlError::Fragment) } else { Ok(()) }
}

/// An IPv6 address with its zone, if it has one.
///
/// RFC 3986 section 3.2.2: IP-literal = "[" ( IPv6address / IPvFuture ) "]"; there is no IPvFuture yet. RFC 6874 section 2:
/// IPv6addrz = IPv6address "%25" ZoneID. Its section 3 suggests that a bare percent sign be taken too, "to make it easier for
/// a user to copy and paste".
fn ipv6(text: &str) -> Result<String, UrlError> {
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => {
            (address, Some(zone.strip_prefix("25").filter(|zone| !zone.is_empty()).unwrap_or(zone)))
        }
        None => (text, None),
    };
    let address: Ipv6Addr = address.parse().map_err(|_| UrlError::Host)?;
    let Some(zone) = zone else { return Ok(address.to_string()) };
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    if !(1..=ZONE_BYTES).contains(&zone.len()) || !zone.bytes().all(is_valid) || address.is_loopback() {
        return Err(UrlError::Host);
    }
    Ok(format!("{address}%{zone}"))
}

/// A host without the zone of its address.
pub(crate) fn without_zone(host: &str) -> &str {
    host.split('%').next().unwrap_or(host)
}

/// The host, in brackets if it is an IPv6 address.
pub(super) fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// `host:port`, IPv6 in brackets.
pub(super) fn host_and_port(host: &str, port: u16) -> String {
    format!("{}:{port}", bracketed(host))
}

const fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

fn check_length(text: &str) -> Result<(), UrlError> {
    if text.len() > MAX_BYTES { Err(UrlError::TooLong) } else { Ok(()) }
}

/// `""`, `":"` or `":" port`.
fn port_behind(text: &str) -> Result<Option<u16>, UrlError> {
    let Some(digits) = text.strip_prefix(':') else {
        // Text after a bracket that is not a port.
        return if text.is_empty() { Ok(None) } else { Err(UrlError::Host) };
    };
    // RFC 3986 section 6.2.3: "an explicit ":port", for which the port is empty or the default for the scheme, is
    // equivalent to one where the port and its ":" delimiter are elided".
    if digits.is_empty() {
        return Ok(None);
    }
    // `parse` alone would accept a plus sign.
    let number = if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None };
    number.filter(|&port| port != 0).map(Some).ok_or(UrlError::Port)
}

/// A name or an IPv4 address, in lower case.
fn host_name(name: &str) -> Result<String, UrlError> {
    if name.is_empty() {
        return Err(UrlError::HostMissing);
    }
    if !name.is_ascii() {
        return Err(UrlError::HostNotAscii);
    }
    // Narrower than the `reg-name` of RFC 3986, much of which no resolver accepts.
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if !name.bytes().all(valid) {
        return Err(UrlError::Host);
    }
    let labels = name.strip_suffix('.').unwrap_or(name);
    // RFC 1035 section 2.3.4: "labels 63 octets or less", "names 255 octets or less", which is 253 in this form.
    if labels.len() > 253 || labels.split('.').any(|label| label.len() > 63) {
        return Err(UrlError::HostTooLong);
    }
    let last = labels.rsplit('.').next().unwrap_or_default();
    let numeric = match last.strip_prefix("0x").or_else(|| last.strip_prefix("0X")) {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => last.bytes().all(|byte| byte.is_ascii_digit()),
    };
    // Some parsers read "127.1", "0x7f000001" and "017700000001" as addresses, others as names.
    let ambiguous = numeric && name.parse::<Ipv4Addr>().is_err();
    if ambiguous || labels.split('.').any(str::is_empty) {
        return Err(UrlError::Host);
    }
    Ok(name.to_ascii_lowercase())
}

/// Path and query, percent-encoded where required.
fn encode_target(text: &str) -> Result<String, UrlError> {
    let mut out = String::with_capacity(text.len() + 1);
    // RFC 6455 section 3: the resource name is "/" if the path component is empty.
    if !text.starts_with('/') {
        out.push('/');
    }
    let mut rest = text.as_bytes();
    while let [byte, behind @ ..] = rest {
        rest = behind;
        match byte {
            b'%' => match behind {
                [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => out.push('%'),
                _ => return Err(UrlError::Escape),
            },
            b'/' | b'?' | b':' | b'@' => out.push(char::from(*byte)),
            byte if is_unreserved_or_sub_delim(*byte) => out.push(char::from(*byte)),
            byte => {
                out.push('%');
                out.push(char::from(HEX[usize::from(byte >> 4)]));
                out.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
    check_length(&out)?;
    Ok(out)
}

/// RFC 3986 section 5.2.4, for a path that begins with `/`.
fn remove_dot_segments(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." => {}
            ".." => out.truncate(out.rfind('/').unwrap_or(0)),
            segment => {
                out.push('/');
                out.push_str(segment);
                continue;
            }
        }
        if is_last {
            out.push('/');
        }
    }
    out
}

/// Longer than the name of any interface.
const ZONE_BYTES: usize = 64;

/// RFC 9112 section 3: "all HTTP senders and recipients support, at a minimum, request-line lengths of 8000 octets."
const MAX_BYTES: usize = 8000;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

#[cfg(test)]
mod tests;
