//! Which names this server answers to: the defence of a server on the local machine against DNS rebinding.

use alloc::string::String;
use alloc::vec::Vec;

use super::ApiMisuse;
use crate::http::authority::Authority;

/// Hosts that a request may be for.
///
/// An entry without a port allows any port; one with a port, that one. Compared without regard to case; there are no
/// patterns.
#[derive(Clone, Debug, Default)]
pub struct AllowedHosts {
    hosts: Vec<String>,
}

impl AllowedHosts {
    /// A list that allows nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { hosts: Vec::new() }
    }

    /// Adds a host: a name or an address, IPv6 in brackets, with an optional port.
    ///
    /// # Errors
    /// `ApiMisuse::Host` for anything else.
    pub fn add(&mut self, host: &str) -> Result<(), ApiMisuse> {
        Authority::parse(host).ok_or(ApiMisuse::Host)?;
        self.hosts.push(host.into());
        Ok(())
    }

    /// Is `host`, as [`RequestHead::host`](crate::http::RequestHead::host) gives it, in the list?
    #[must_use]
    pub fn allows(&self, host: &str) -> bool {
        let Some(host) = Authority::parse(host) else { return false };
        self.hosts
            .iter()
            .filter_map(|entry| Authority::parse(entry))
            .any(|entry| entry.host == host.host && (entry.port.is_none() || entry.port == host.port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
