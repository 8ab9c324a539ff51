//! Where a server listens, as text.

use std::fmt::Write as _;

use sockeye::log::escape;
use sockeye::sys::Address;

/// One line for each listener.
pub(super) fn announcement(addresses: &[Address]) -> String {
    let mut lines = String::new();
    for address in addresses {
        lines.push_str("listening on ");
        describe(&mut lines, address);
        lines.push('\n');
    }
    lines
}

/// Writes a URL, or `unix:` and the name of the socket.
pub(crate) fn describe(out: &mut String, address: &Address) {
    match address {
        // The `Display` of a socket address brackets IPv6. Writing to a `String` cannot fail.
        Address::Ip(address) => _ = write!(out, "ws://{address}/"),
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
            describe(&mut text, &address);
            text
        };
        assert_eq!(shown(Address::Ip("127.0.0.1:80".parse().unwrap())), "ws://127.0.0.1:80/");
        assert_eq!(shown(Address::Ip("[::1]:80".parse().unwrap())), "ws://[::1]:80/");
        assert_eq!(shown(Address::Unix("/run/a\nb".into())), "unix:/run/a\\nb");
        assert_eq!(shown(Address::Abstract(b"a\0b".to_vec())), "unix:@a\\u{0}b");
    }
}
