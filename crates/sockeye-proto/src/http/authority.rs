//! `host [":" port]`, as used in a Host field, an origin and an absolute target (RFC 3986 section
//! 3.2).

use core::net::Ipv6Addr;

/// A valid host, and its port if one is given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Authority<'a> {
    pub(crate) host: Host<'a>,
    pub(crate) port: Option<u16>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Host<'a> {
    /// A registered name or an IPv4 address, as written.
    Name(&'a str),
    /// An IPv6 address in brackets.
    V6(Ipv6Addr),
}

impl PartialEq for Host<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            // RFC 3986 section 3.2.2: "The host subcomponent is case-insensitive."
            (Self::Name(a), Self::Name(b)) => a.eq_ignore_ascii_case(b),
            (Self::V6(a), Self::V6(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Host<'_> {}

impl<'a> Authority<'a> {
    /// Parses `text`. `None`: it is not exactly a host with an optional port, for instance has user
    /// information, a path, spaces or an empty host.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        if let Some(rest) = text.strip_prefix('[') {
            let (address, port) = rest.split_once(']')?;
            // RFC 3986 section 3.2.2: IP-literal = "[" ( IPv6address / IPvFuture ) "]"; no
            // IPvFuture address exists.
            let host = Host::V6(address.parse().ok()?);
            return Some(Self { host, port: port_after(port)? });
        }
        let end = text.find(':').unwrap_or(text.len());
        let (name, port) = text.split_at(end);
        if name.is_empty() || !is_reg_name(name.as_bytes()) {
            return None;
        }
        Some(Self { host: Host::Name(name), port: port_after(port)? })
    }
}

/// Parses `""`, or `":" port` with `port = *DIGIT`. The outer `None`: anything else.
fn port_after(text: &str) -> Option<Option<u16>> {
    let Some(digits) = text.strip_prefix(':') else { return text.is_empty().then_some(None) };
    if digits.is_empty() {
        return Some(None);
    }
    // `parse` alone would accept a plus sign.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().map(Some)
}

/// RFC 3986 section 3.2.2: `reg-name = *( unreserved / pct-encoded / sub-delims )`.
fn is_reg_name(name: &[u8]) -> bool {
    let mut rest = name;
    while let [first, after @ ..] = rest {
        rest = match (first, after) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => after,
            (
                b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=',
                _,
            ) => after,
            (byte, _) if byte.is_ascii_alphanumeric() => after,
            _ => return false,
        };
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_split_and_anything_else_is_refused() {
        let name = |host, port| Some(Authority { host: Host::Name(host), port });
        assert_eq!(Authority::parse("example.com"), name("example.com", None));
        assert_eq!(Authority::parse("Example.COM:80"), name("example.com", Some(80)));
        assert_eq!(Authority::parse("a:"), name("a", None));
        assert_eq!(Authority::parse("127.0.0.1:65535"), name("127.0.0.1", Some(65535)));
        assert_eq!(Authority::parse("a%20b"), name("a%20b", None));
        let v6 = |port| Some(Authority { host: Host::V6(Ipv6Addr::LOCALHOST), port });
        assert_eq!(Authority::parse("[::1]"), v6(None));
        assert_eq!(Authority::parse("[0:0:0:0:0:0:0:1]:7681"), v6(Some(7681)));
        for bad in [
            "",
            ":80",
            "a b",
            "a/b",
            "user@a",
            "a:65536",
            "a:+1",
            "a:-1",
            "a:1:2",
            "::1",
            "[::1",
            "[::1]x",
            "[v1.a]",
            "[fe80::1%25eth0]",
            "a%2",
            "a%zz",
            "a\\b",
            "a?b",
            "a#b",
            "\u{e9}.com",
            "[]",
        ] {
            assert_eq!(Authority::parse(bad), None, "{bad}");
        }
    }
}
