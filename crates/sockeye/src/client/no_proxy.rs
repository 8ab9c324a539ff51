//! Hosts to reach directly although there is a proxy. No standard defines `no_proxy`; this follows curl and most
//! libraries.

use std::net::IpAddr;

use crate::client::url::without_zone;

/// The value of the environment variable.
pub(super) struct NoProxy<'l> {
    list: &'l str,
}

impl<'l> NoProxy<'l> {
    pub(super) const fn new(list: &'l str) -> Self {
        Self { list }
    }

    /// Whether `host`, in the form of [`Url::host`](crate::client::Url::host), is in the list.
    pub(super) fn covers(&self, host: &str, port: u16) -> bool {
        let entries = self.list.split([',', ' ', '\t']).filter(|entry| !entry.is_empty());
        let host = without_zone(host);
        let address = host.parse().ok().map(|address: IpAddr| address.to_canonical());
        entries.into_iter().any(|entry| entry == "*" || covers(entry, host, address, port))
    }
}

/// An entry that is not understood covers nothing: other programs may understand it.
fn covers(entry: &str, host: &str, address: Option<IpAddr>, port: u16) -> bool {
    // IPv6 without brackets has colons but no port.
    let bare = entry.parse::<IpAddr>().is_ok() || entry.contains('/');
    let (place, wanted) = match entry.rsplit_once(':') {
        Some((place, digits)) if !bare && !entry.ends_with(']') => match digits.parse::<u16>() {
            Ok(wanted) => (place, Some(wanted)),
            Err(_) => return false,
        },
        _ => (entry, None),
    };
    if wanted.is_some_and(|wanted| wanted != port) {
        return false;
    }
    let place = place.strip_prefix('[').and_then(|place| place.strip_suffix(']')).unwrap_or(place);
    match address {
        Some(address) => covers_address(place, address),
        None => covers_name(place, host),
    }
}

fn covers_address(place: &str, address: IpAddr) -> bool {
    let (network, bits) = match place.split_once('/') {
        Some((network, bits)) => (network, Some(bits)),
        None => (place, None),
    };
    let Ok(network) = network.parse::<IpAddr>() else { return false };
    match (network, address, bits.map(str::parse::<u32>)) {
        (_, _, Some(Err(_))) => false,
        (network, address, None) => network.to_canonical() == address,
        (IpAddr::V4(network), IpAddr::V4(address), Some(Ok(bits @ 0..=32))) => {
            // A prefix of 0 would shift by all bits.
            let differing = u32::from(network) ^ u32::from(address);
            differing.checked_shr(32 - bits).unwrap_or(0) == 0
        }
        (IpAddr::V6(network), IpAddr::V6(address), Some(Ok(bits @ 0..=128))) => {
            let differing = u128::from(network) ^ u128::from(address);
            differing.checked_shr(128 - bits).unwrap_or(0) == 0
        }
        _ => false,
    }
}

/// Whether `host` is the name itself or a name below it.
fn covers_name(place: &str, host: &str) -> bool {
    let place = place.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(place);
    let place = place.strip_prefix('.').unwrap_or(place);
    let (place, host) = (place.strip_suffix('.').unwrap_or(place), host.strip_suffix('.').unwrap_or(host));
    let Some(at) = host.len().checked_sub(place.len()) else { return false };
    let ends = host.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(place));
    !place.is_empty() && ends && (at == 0 || host.as_bytes()[at - 1] == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        let all: &[(&str, &str, u16, bool)] = &[
            ("", "example.com", 80, false),
            ("*", "example.com", 80, true),
            ("*", "::1", 80, true),
            ("*,", "127.0.0.1", 80, true),
            ("a*", "abc", 80, false),
            ("example.com", "example.com", 80, true),
            ("EXAMPLE.com", "example.com", 80, true),
            ("example.com", "www.example.com", 80, true),
            (".example.com", "www.example.com", 80, true),
            (".example.com", "example.com", 80, true),
            ("*.example.com", "www.example.com", 80, true),
            ("example.com", "badexample.com", 80, false),
            ("example.com", "example.com.evil", 80, false),
            ("example.com", "com", 80, false),
            ("www.example.com", "example.com", 80, false),
            ("example.com.", "example.com", 80, true),
            ("example.com", "example.com.", 80, true),
            ("com", "example.com", 80, true),
            (".", "example.com", 80, false),
            ("a.b, example.com", "example.com", 80, true),
            ("a.b example.com", "example.com", 80, true),
            (" ,\t,example.com,,", "example.com", 80, true),
            ("example.com:80", "example.com", 80, true),
            ("example.com:80", "www.example.com", 80, true),
            ("example.com:80", "example.com", 81, false),
            ("example.com:", "example.com", 80, false),
            ("example.com:x", "example.com", 80, false),
            ("example.com:99999", "example.com", 80, false),
            ("localhost", "127.0.0.1", 80, false),
            ("127.0.0.1", "localhost", 80, false),
            ("127.0.0.1", "127.0.0.1", 80, true),
            ("127.0.0.1:80", "127.0.0.1", 80, true),
            ("127.0.0.1:80", "127.0.0.1", 81, false),
            ("0.0.1", "127.0.0.1", 80, false),
            (".0.0.1", "127.0.0.1", 80, false),
            ("127.0.0.0/8", "127.255.0.1", 80, true),
            ("127.0.0.0/8", "128.0.0.1", 80, false),
            ("10.1.2.3/32", "10.1.2.3", 80, true),
            ("10.1.2.3/32", "10.1.2.2", 80, false),
            ("0.0.0.0/0", "8.8.8.8", 80, true),
            ("0.0.0.0/0", "::1", 80, false),
            ("0.0.0.0/33", "8.8.8.8", 80, false),
            ("0.0.0.0/", "8.8.8.8", 80, false),
            ("0.0.0.0/-1", "8.8.8.8", 80, false),
            ("x/8", "8.8.8.8", 80, false),
            ("10.0.0.0/8", "ten.example", 80, false),
            ("::1", "::1", 80, true),
            ("[::1]", "::1", 80, true),
            ("[::1]:80", "::1", 80, true),
            ("[::1]:80", "::1", 81, false),
            ("0:0::1", "::1", 80, true),
            ("fd00::/8", "fdff::1", 80, true),
            ("fd00::/8", "fe00::1", 80, false),
            ("::/0", "::1", 80, true),
            ("::/129", "::1", 80, false),
            ("10.0.0.0/8", "::ffff:10.1.1.1", 80, true),
            ("::ffff:10.1.1.1", "10.1.1.1", 80, true),
        ];
        for &(list, host, port, covered) in all {
            assert_eq!(NoProxy::new(list).covers(host, port), covered, "{list:?} {host} {port}");
        }
    }
}
