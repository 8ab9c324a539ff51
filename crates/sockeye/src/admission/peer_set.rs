//! Sets of addresses, in the notation of configuration files.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::sys::Address;

/// A set of peers: an IP network such as `10.0.0.0/8` or `2001:db8::/32`, a single IP address, or
/// `unix` for the peers of Unix sockets.
///
/// ```
/// # use sockeye::service::PeerSet;
/// # fn main() -> Result<(), sockeye::service::InvalidPeerSet> {
/// let inside: PeerSet = "10.0.0.0/8".parse()?;
/// assert!(inside.contains(&std::net::SocketAddr::from(([10, 1, 2, 3], 80)).into()));
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct PeerSet(Members);

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Members {
    /// Addresses whose first `bits` bits equal those of the address; its other bits are 0.
    V4(Ipv4Addr, u8),
    V6(Ipv6Addr, u8),
    Unix,
}

impl PeerSet {
    /// The peers of Unix sockets, with or without a path.
    pub const UNIX: Self = Self(Members::Unix);

    /// Whether a peer with this address belongs to the set.
    #[must_use]
    pub fn contains(&self, peer: &Address) -> bool {
        match (self.0, peer) {
            (Members::Unix, Address::Unix(_) | Address::Abstract(_) | Address::Unnamed) => true,
            (Members::V4(network, bits), Address::Ip(peer)) => match peer.ip() {
                IpAddr::V4(peer) => first(peer.to_bits(), bits) == network.to_bits(),
                IpAddr::V6(_) => false,
            },
            (Members::V6(network, bits), Address::Ip(peer)) => match peer.ip() {
                IpAddr::V4(_) => false,
                IpAddr::V6(peer) => first_v6(peer.to_bits(), bits) == network.to_bits(),
            },
            _ => false,
        }
    }
}

/// The first bits. A shift by the full width would overflow.
fn first(address: u32, bits: u8) -> u32 {
    address & u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0)
}

fn first_v6(address: u128, bits: u8) -> u128 {
    address & u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

/// Only this address.
impl From<IpAddr> for PeerSet {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => Members::V4(address, 32),
            IpAddr::V6(address) => Members::V6(address, 128),
        })
    }
}

impl FromStr for PeerSet {
    type Err = InvalidPeerSet;

    fn from_str(text: &str) -> Result<Self, InvalidPeerSet> {
        let invalid = |why| InvalidPeerSet { text: text.to_owned(), why };
        if text == "unix" {
            return Ok(Self::UNIX);
        }
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| invalid(Why::Address))?;
        let Some(bits) = bits else { return Ok(address.into()) };
        let most = if address.is_ipv4() { 32 } else { 128 };
        let plain = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
        let bits = bits.parse().ok().filter(|bits| plain && *bits <= most).ok_or_else(|| invalid(Why::Bits(most)))?;
        let (members, network): (_, IpAddr) = match address {
            // Peers' addresses are never written this way, so such a network would match no peer.
            IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => return Err(invalid(Why::Mapped)),
            IpAddr::V6(address) => {
                let network = Ipv6Addr::from_bits(first_v6(address.to_bits(), bits));
                (Members::V6(network, bits), network.into())
            }
            IpAddr::V4(address) => {
                let network = Ipv4Addr::from_bits(first(address.to_bits(), bits));
                (Members::V4(network, bits), network.into())
            }
        };
        if network != address {
            return Err(invalid(Why::Beyond(network, bits)));
        }
        Ok(Self(members))
    }
}

impl fmt::Display for PeerSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Members::V4(address, 32) => address.fmt(f),
            Members::V6(address, 128) => address.fmt(f),
            Members::V4(address, bits) => write!(f, "{address}/{bits}"),
            Members::V6(address, bits) => write!(f, "{address}/{bits}"),
            Members::Unix => f.write_str("unix"),
        }
    }
}

/// A text that is not a [`PeerSet`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvalidPeerSet {
    text: String,
    why: Why,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Why {
    Address,
    Bits(u8),
    Mapped,
    Beyond(IpAddr, u8),
}

impl fmt::Display for InvalidPeerSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, why } = self;
        match why {
            Why::Address => {
                write!(f, "{text:?} is not a network: write an IP address, a network such as 10.0.0.0/8, or `unix`")
            }
            Why::Bits(most) => {
                write!(f, "{text:?} is not a network: the number after the slash must be from 0 to {most}")
            }
            Why::Mapped => {
                write!(f, "{text:?} is an IPv4 network written as IPv6, which matches no peer: write it as IPv4")
            }
            Why::Beyond(network, bits) => {
                write!(f, "{text:?} is not a network, since host bits are set: did you mean {network}/{bits}?")
            }
        }
    }
}

impl Error for InvalidPeerSet {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_in_it() {
        for (network, within, without) in [
            ("10.0.0.0/8", &["10.0.0.0", "10.255.255.255"][..], &["9.255.255.255", "11.0.0.0", "::", "a00::"][..]),
            ("192.0.2.7", &["192.0.2.7"], &["192.0.2.6", "192.0.2.8"]),
            ("192.0.2.6/31", &["192.0.2.6", "192.0.2.7"], &["192.0.2.5", "192.0.2.8"]),
            ("0.0.0.0/0", &["0.0.0.0", "255.255.255.255"], &["::", "::1"]),
            ("2001:db8::/32", &["2001:db8::", "2001:db8:ffff::1"], &["2001:db7:ffff::", "2001:db9::", "32.1.13.184"]),
            ("::1", &["::1"], &["::", "::2", "0.0.0.1", "127.0.0.1"]),
            ("::/0", &["::", "ffff::"], &["0.0.0.0", "127.0.0.1"]),
            ("::ffff:192.0.2.7", &["192.0.2.7"], &["192.0.2.8"]),
        ] {
            let parsed: PeerSet = network.parse().unwrap();
            let contains = |peer: &str| parsed.contains(&Address::Ip((peer.parse::<IpAddr>().unwrap(), 1).into()));
            assert!(within.iter().all(|peer| contains(peer)), "{network}");
            assert!(!without.iter().any(|peer| contains(peer)), "{network}");
            assert!(!parsed.contains(&Address::Unnamed) && !parsed.contains(&Address::Unix("/x".into())), "{network}");
            assert_eq!(parsed.to_string().parse(), Ok(parsed));
        }
        let unix: PeerSet = "unix".parse().unwrap();
        assert!(unix.contains(&Address::Unnamed) && unix.contains(&Address::Unix("/x".into())));
        assert!(unix.contains(&Address::Abstract(b"x".to_vec())));
        assert!(!unix.contains(&Address::Ip(([127, 0, 0, 1], 1).into())));
        assert_eq!(unix.to_string(), "unix");
    }

    #[test]
    fn a_wrong_network_is_explained() {
        for (text, why) in [
            ("", "write an IP address"),
            ("localhost", "write an IP address"),
            ("unix:/run/x", "write an IP address"),
            ("10.0.0.0/", "from 0 to 32"),
            ("10.0.0.0/33", "from 0 to 32"),
            ("10.0.0.0/+8", "from 0 to 32"),
            ("10.0.0.0/8/8", "from 0 to 32"),
            ("10.0.0.0/300", "from 0 to 32"),
            ("::1/129", "from 0 to 128"),
            ("10.0.0.1/8", "did you mean 10.0.0.0/8?"),
            ("2001:db8::1/32", "did you mean 2001:db8::/32?"),
            ("::ffff:0:0/96", "write it as IPv4"),
            ("10.0.0.0:80", "write an IP address"),
            ("[::1]", "write an IP address"),
        ] {
            let error = text.parse::<PeerSet>().unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
