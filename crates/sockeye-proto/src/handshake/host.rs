//! Which host names a server answers to. Protects a server on the local machine against DNS
//! rebinding.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use super::ApiMisuse;
use crate::http::authority::{Authority, Host};

/// The hosts that a request may name.
///
/// An entry without a port allows any port, an entry with a port only that one. The comparison
/// ignores case. There are no patterns.
#[derive(Clone, Debug, Default)]
pub struct AllowedHosts {
    hosts: Vec<String>,
}

impl AllowedHosts {
    /// An empty list, which allows nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { hosts: Vec::new() }
    }

    /// Adds a host: a name or an address (IPv6 in brackets), with an optional port.
    ///
    /// # Errors
    /// [`ApiMisuse::Host`]: `host` is anything else.
    pub fn add(&mut self, host: &str) -> Result<(), ApiMisuse> {
        Authority::parse(host).ok_or(ApiMisuse::Host)?;
        self.hosts.push(host.into());
        Ok(())
    }

    /// Whether `host`, as returned by [`RequestHead::host`](crate::http::RequestHead::host), is in
    /// the list.
    #[must_use]
    pub fn allows(&self, host: &str) -> bool {
        let Some(host) = Authority::parse(host) else { return false };
        self.hosts
            .iter()
            .filter_map(|entry| Authority::parse(entry))
            .any(|entry| entry.host == host.host && (entry.port.is_none() || entry.port == host.port))
    }
}

/// Whether `host` cannot be used for DNS rebinding: an IP address, `localhost`, or a name below it.
/// DNS rebinding needs a name that the attacker's name server answers for.
///
/// RFC 6761 section 6.3: "Users are free to use localhost names as they would any other domain
/// names. Users may assume that IPv4 and IPv6 address queries for localhost names will always
/// resolve to the respective IP loopback address."
#[must_use]
pub fn is_local(host: &str) -> bool {
    match Authority::parse(host) {
        Some(Authority { host: Host::V6(_), .. }) => true,
        Some(Authority { host: Host::Name(name), .. }) => name.parse::<Ipv4Addr>().is_ok() || is_localhost(name),
        None => false,
    }
}

/// Whether `name` is `localhost` or a name below it. A trailing dot does not change a name.
fn is_localhost(name: &str) -> bool {
    let last = name.strip_suffix('.').unwrap_or(name).rsplit('.').next().unwrap_or_default();
    last.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_localhost_are_local() {
        for local in [
            "127.0.0.1",
            "127.0.0.1:7681",
            "0.0.0.0",
            "192.0.2.7:80",
            "[::1]",
            "[::1]:7681",
            "[2001:db8::1]",
            "localhost",
            "LocalHost:7681",
            "app.localhost:1",
            "localhost.",
        ] {
            assert!(is_local(local), "{local}");
        }
        for other in [
            "",
            "evil.com",
            "localhost.evil.com",
            "evillocalhost",
            "127.0.0.1.evil.com",
            "127.0.0.1.nip.io:7681",
            "127.0.0.1@evil.com",
            "127.1",
            "2130706433",
            "0x7f.0.0.1",
            "127.0.0.01",
            "::1",
            "localhost..",
            "a b.localhost",
        ] {
            assert!(!is_local(other), "{other}");
        }
    }

    #[test]
    fn only_listed_hosts_are_allowed() {
        let mut list = AllowedHosts::new();
        for host in ["localhost", "[::1]", "example.com:7681"] {
            list.add(host).unwrap();
        }
        for allowed in ["localhost", "LOCALHOST:7681", "localhost:1", "[::1]:80", "[0::1]", "example.com:7681"] {
            assert!(list.allows(allowed), "{allowed}");
        }
        for refused in [
            "",
            "evil.com",
            "localhost.evil.com",
            "example.com",
            "example.com:80",
            "[::2]",
            "localhost/",
            "localhost@evil.com",
            "localhost.",
        ] {
            assert!(!list.allows(refused), "{refused}");
        }
        assert_eq!(list.add("*"), Ok(()), "an asterisk is a character of a name, not a pattern");
        assert!(!list.allows("evil.com"));
        assert_eq!(list.add("a b"), Err(ApiMisuse::Host));
    }
}
