//! Where a server listens, as text.

use std::fmt::Write as _;

use sockeye::log::escape;
use sockeye::sys::Address;

/// What a server is for: a page to open, or sockets to connect to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Scheme {
    Http,
    Https,
    Ws,
    Wss,
}

impl Scheme {
    /// The same with TLS.
    pub(super) fn with_tls(self) -> Self {
        match self {
            Self::Http | Self::Https => Self::Https,
            Self::Ws | Self::Wss => Self::Wss,
        }
    }
}

/// One line for each listener.
pub(super) fn announcement(addresses: &[Address], scheme: Scheme) -> String {
    let mut lines = String::new();
    for address in addresses {
        lines.push_str("listening on ");
        describe(&mut lines, address, scheme);
        lines.push('\n');
    }
    lines
}

/// Writes a URL, or `unix:` and the name of the socket.
pub(crate) fn describe(out: &mut String, address: &Address, scheme: Scheme) {
    let scheme = match scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
        Scheme::Ws => "ws",
        Scheme::Wss => "wss",
    };
    match address {
        // The `Display` of a socket address brackets IPv6. Writing to a `String` cannot fail.
        Address::Ip(address) => _ = write!(out, "{scheme}://{address}/"),
        other => _ = write!(out, "{}", escape(&other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_urls_and_control_characters_are_escaped() {
        let shown = |address: Address| {
            let mut text = String::new();
            describe(&mut text, &address, Scheme::Ws);
            text
        };
        assert_eq!(shown(Address::Ip("127.0.0.1:80".parse().unwrap())), "ws://127.0.0.1:80/");
        assert_eq!(shown(Address::Ip("[::1]:80".parse().unwrap())), "ws://[::1]:80/");
        assert_eq!(shown(Address::Unix("/run/a\nb".into())), "unix:/run/a\\nb");
        let all = [Address::Ip("[::1]:80".parse().unwrap()), Address::Unix("/run/a".into())];
        let announced = "listening on http://[::1]:80/\nlistening on unix:/run/a\n";
        assert_eq!(announcement(&all, Scheme::Http), announced, "a page to open");
        let announced = "listening on wss://[::1]:80/\nlistening on unix:/run/a\n";
        assert_eq!(announcement(&all, Scheme::Ws.with_tls()), announced);
        assert_eq!(shown(Address::Abstract(b"a\0b".to_vec())), "unix:@a\\u{0}b");
    }
}
