//! Addresses by the names of network interfaces.

use std::net::IpAddr;

/// Why there is no address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Missing {
    /// No interface has this name, which is not an address either.
    Interface,
    /// The interface has no address of this family.
    Family,
}

/// The address that `name` means: that of an interface, or `name` itself. Over IPv6, IPv4 is usable too.
pub(crate) fn address(name: &str, ipv6: bool) -> Result<IpAddr, Missing> {
    let is_usable = |address: &IpAddr| ipv6 || address.is_ipv4();
    if let Ok(address) = name.parse::<IpAddr>() {
        return Some(address).filter(is_usable).ok_or(Missing::Family);
    }
    let all = if_addrs::get_if_addrs().unwrap_or_default();
    let own: Vec<IpAddr> = all.iter().filter(|interface| interface.name == name).map(if_addrs::Interface::ip).collect();
    if own.is_empty() {
        return Err(Missing::Interface);
    }
    let preferred = own.iter().find(|address| address.is_ipv6() == ipv6);
    preferred.or_else(|| own.iter().find(|address| is_usable(address))).copied().ok_or(Missing::Family)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_interfaces_have_one() {
        assert_eq!(address("127.0.0.1", false), Ok([127, 0, 0, 1].into()));
        assert_eq!(address("127.0.0.1", true), Ok([127, 0, 0, 1].into()));
        assert_eq!(address("::1", true), Ok("::1".parse().unwrap()));
        assert_eq!(address("::1", false), Err(Missing::Family));
        assert_eq!(address("lo", false), Ok([127, 0, 0, 1].into()));
        for name in ["", "no such interface"] {
            assert_eq!([address(name, false), address(name, true)], [Err(Missing::Interface); 2]);
        }
    }
}
