//! Which web origins may connect (RFC 6455 section 10.2).
//!
//! ```
//! use sockeye_proto::handshake::origin::AllowedOrigins;
//!
//! let mut origins = AllowedOrigins::new();
//! origins.add("https://example.com")?;
//! assert!(origins.allows("https://example.com:443"));
//! assert!(!origins.allows("https://example.com.evil.com"));
//! # Ok::<(), sockeye_proto::handshake::origin::InvalidOrigin>(())
//! ```

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv6Addr;

use crate::http::Fields;
use crate::http::authority::{Authority, Host};

/// The `Origin` field of a request (RFC 6454 section 7).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete on purpose")]
pub enum Origin<'b> {
    /// No `Origin` field: the client is not a browser.
    Missing,
    /// There is one, as sent.
    One(&'b str),
    /// There is more than one, or one that is not UTF-8. Never admitted.
    Several,
}

impl<'b> Origin<'b> {
    /// The origin in `fields`.
    #[must_use]
    pub fn of(fields: &Fields<'b>) -> Self {
        match fields.single("origin") {
            Ok(None) => Self::Missing,
            Ok(Some(value)) => core::str::from_utf8(value).map_or(Self::Several, Self::One),
            Err(_) => Self::Several,
        }
    }
}

/// The origins that may connect. An origin must equal one of them in scheme, host and port;
/// patterns are not supported.
///
/// The comparison ignores case and fills in the default ports of `http`, `https`, `ws` and `wss`.
///
/// Two origins without a host can be named too: `file://`, which some browsers and web views send
/// for local files, and `null`, which they send for local files, sandboxed frames and `data:` pages.
/// Any page of any site can make a frame with the origin `null`, so with it in the list the origin
/// protects from nothing.
///
/// ```
/// use sockeye_proto::handshake::origin::AllowedOrigins;
///
/// let mut allowed = AllowedOrigins::new();
/// allowed.add("https://example.com")?;
/// assert!(allowed.allows("https://example.com:443"));
/// assert!(!allowed.allows("http://example.com"));
/// # Ok::<(), sockeye_proto::handshake::origin::InvalidOrigin>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct AllowedOrigins {
    origins: Vec<Entry>,
    missing: bool,
}

impl AllowedOrigins {
    /// An empty list, which allows nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { origins: Vec::new(), missing: false }
    }

    /// Adds an origin: `scheme://host`, with a port if it is not the default port of the scheme; a
    /// scheme without hosts, as `file://`; or `null`.
    ///
    /// # Errors
    /// `origin` is anything else, for instance has a path or a wildcard.
    pub fn add(&mut self, origin: &str) -> Result<(), InvalidOrigin> {
        let parsed = Parsed::parse(origin).ok_or(InvalidOrigin)?;
        self.origins.push(parsed.to_entry());
        Ok(())
    }

    /// Sets whether a request without `Origin` is admitted. Default: no. Programs other than
    /// browsers usually send none, and could send any.
    pub const fn allow_missing(&mut self, allow: bool) {
        self.missing = allow;
    }

    /// Whether `origin` is in the list.
    #[must_use]
    pub fn allows(&self, origin: &str) -> bool {
        Parsed::parse(origin).is_some_and(|parsed| self.origins.iter().any(|entry| entry.equals(parsed)))
    }

    /// Whether a request with this origin may connect.
    #[must_use]
    pub fn admits(&self, origin: Origin<'_>) -> bool {
        match origin {
            Origin::Missing => self.missing,
            Origin::One(origin) => self.allows(origin),
            Origin::Several => false,
        }
    }
}

/// The text is neither `scheme://host[:port]` nor `null`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct InvalidOrigin;

impl fmt::Display for InvalidOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an origin must be scheme://host[:port], without a path, or null")
    }
}

impl core::error::Error for InvalidOrigin {}

#[derive(Clone, Debug)]
struct Entry {
    scheme: String,
    host: Option<OwnedHost>,
    port: Option<u16>,
}

#[derive(Clone, Debug)]
enum OwnedHost {
    Name(String),
    V6(Ipv6Addr),
}

impl Entry {
    fn equals(&self, other: Parsed<'_>) -> bool {
        let host = self.host.as_ref().map(|host| match host {
            OwnedHost::Name(name) => Host::Name(name),
            OwnedHost::V6(address) => Host::V6(*address),
        });
        self.scheme.eq_ignore_ascii_case(other.scheme) && self.port == other.port && host == other.host
    }
}

/// RFC 6454 section 4: an origin is the triple of scheme, host and port.
#[derive(Clone, Copy, Debug)]
struct Parsed<'a> {
    /// Empty for `null`.
    scheme: &'a str,
    /// `None`: `null`, or a scheme without hosts.
    host: Option<Host<'a>>,
    /// `None`: none is given, and the scheme has no default port.
    port: Option<u16>,
}

impl<'a> Parsed<'a> {
    fn parse(origin: &'a str) -> Option<Self> {
        // RFC 6454 section 6.1: "If the origin is not a scheme/host/port triple, then return the
        // string "null" (i.e., the code point sequence U+006E, U+0075, U+006C, U+006C) and abort
        // these steps."
        if origin == "null" {
            return Some(Self { scheme: "", host: None, port: None });
        }
        let (scheme, rest) = origin.split_once("://")?;
        // RFC 3986 section 3.1: `scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )`
        let valid = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
        if !valid {
            return None;
        }
        if rest.is_empty() && default_port(scheme).is_none() {
            return Some(Self { scheme, host: None, port: None });
        }
        let Authority { host, port } = Authority::parse(rest)?;
        Some(Self { scheme, host: Some(host), port: port.or_else(|| default_port(scheme)) })
    }

    fn to_entry(self) -> Entry {
        let host = self.host.map(|host| match host {
            Host::Name(name) => OwnedHost::Name(name.into()),
            Host::V6(address) => OwnedHost::V6(address),
        });
        Entry { scheme: self.scheme.into(), host, port: self.port }
    }
}

/// Whether the page with the origin `origin` was served by `host`, as returned by
/// [`RequestHead::host`](crate::http::RequestHead::host).
///
/// True if the scheme is `http` or `https`, and host and port are equal. A `host` without a port is
/// taken to be at the default port of the scheme: a server behind a proxy that terminates TLS does
/// not know which one the browser used.
#[must_use]
pub fn is_from_host(origin: &str, host: &str) -> bool {
    let (Some(origin), Some(host)) = (Parsed::parse(origin), Authority::parse(host)) else { return false };
    let is_web = ["http", "https"].iter().any(|scheme| origin.scheme.eq_ignore_ascii_case(scheme));
    is_web && origin.host == Some(host.host) && origin.port == host.port.or_else(|| default_port(origin.scheme))
}

/// Whether a client may send `text` as its origin.
pub(super) fn is_valid(text: &str) -> bool {
    Parsed::parse(text).is_some()
}

fn default_port(scheme: &str) -> Option<u16> {
    let is = |known: &str| scheme.eq_ignore_ascii_case(known);
    if is("http") || is("ws") {
        Some(80)
    } else if is("https") || is("wss") {
        Some(443)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_origin_is_allowed() {
        let mut list = AllowedOrigins::new();
        for origin in ["http://good.com", "HTTPS://Secure.example:8443", "http://[::1]:7681", "app://main"] {
            list.add(origin).unwrap();
        }
        for allowed in [
            "http://good.com",
            "http://good.com:80",
            "HTTP://GOOD.COM",
            "https://secure.example:8443",
            "http://[0:0::1]:7681",
            "app://main",
        ] {
            assert!(list.allows(allowed), "{allowed}");
        }
        for refused in [
            "",
            "null",
            "evil",
            "http://evil.com",
            "http://good.com.evil.com",
            "http://evilgood.com",
            "http://good.com:8080",
            "https://good.com",
            "http://good.com/",
            "http://good.com/path",
            "http://user@good.com",
            "http://good.com@evil.com",
            "http://good.com#",
            "http://good.com?",
            "http://good.com ",
            " http://good.com",
            "http://good.com, http://good.com",
            "http://good.com http://good.com",
            "http://good.com.",
            "http://[::1]",
            "http://[::2]:7681",
            "http://127.0.0.1",
            "://good.com",
            "good.com",
            "http:good.com",
            "http:///good.com",
            "ws://good.com",
            "app://other",
            "app://main:1",
            "http://good.com:",
            "http://good.com\0",
        ] {
            // An empty port is the default port.
            assert_eq!(list.allows(refused), refused == "http://good.com:", "{refused}");
        }
    }

    #[test]
    fn a_missing_origin_needs_the_option_and_a_repeated_one_is_never_admitted() {
        let mut list = AllowedOrigins::new();
        assert!(!list.admits(Origin::Missing));
        list.allow_missing(true);
        assert!(list.admits(Origin::Missing));
        assert!(!list.admits(Origin::Several));
        assert!(!list.admits(Origin::One("null")));
    }

    #[test]
    fn only_the_same_host_and_port_is_the_same_host() {
        for (origin, host) in [
            ("http://127.0.0.1:7681", "127.0.0.1:7681"),
            ("http://Example.com", "example.COM"),
            ("http://example.com", "example.com:80"),
            ("https://example.com", "example.com"),
            ("https://example.com:443", "example.com:443"),
            ("http://[::1]:7681", "[0:0::1]:7681"),
            ("http://127.0.0.1", "127.0.0.1"),
        ] {
            assert!(is_from_host(origin, host), "{origin} of {host}");
        }
        for (origin, host) in [
            ("http://127.0.0.1:7682", "127.0.0.1:7681"),
            ("http://127.0.0.1", "127.0.0.1:7681"),
            ("http://127.0.0.1:7681", "127.0.0.1"),
            ("https://example.com", "example.com:80"),
            ("http://localhost:7681", "127.0.0.1:7681"),
            ("http://example.com.evil.com", "example.com"),
            ("http://evil.com", "example.com"),
            ("app://example.com", "example.com"),
            ("ws://example.com", "example.com"),
            ("http://example.com/", "example.com"),
            ("http://evil.com@example.com", "example.com"),
            ("null", "null"),
            ("", ""),
        ] {
            assert!(!is_from_host(origin, host), "{origin} of {host}");
        }
    }

    #[test]
    fn only_origins_can_be_added() {
        for bad in [
            "",
            "*",
            "example.com",
            "http://",
            "HTTPS://",
            "wss://",
            "://",
            "file:///",
            "file:",
            "Null",
            "null, null",
            "http://*.example.com/",
            "http://a/",
            "http://a b",
        ] {
            assert_eq!(AllowedOrigins::new().add(bad), Err(InvalidOrigin), "{bad}");
        }
    }

    #[test]
    fn origins_without_a_host_can_be_named_one_by_one() {
        for (named, allowed, refused) in [
            ("null", &["null"][..], &["Null", "null://", "file://", "null:", "http://null", ""][..]),
            ("file://", &["file://", "FILE://"], &["null", "file:///", "file://host", "app://", "file:"]),
            ("capacitor://", &["capacitor://"], &["capacitor://localhost", "null", "file://"]),
            ("capacitor://localhost", &["capacitor://localhost"], &["capacitor://", "ionic://localhost"]),
        ] {
            let mut list = AllowedOrigins::new();
            list.add(named).unwrap();
            allowed.iter().for_each(|origin| assert!(list.allows(origin), "{named}: {origin}"));
            refused.iter().for_each(|origin| assert!(!list.allows(origin), "{named}: {origin}"));
            assert!(!is_from_host(named, "localhost"), "{named}");
        }
    }
}
