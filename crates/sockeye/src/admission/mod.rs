//! Who may connect: by address, by the number of connections from it or its network, by the origin and host of a
//! request, and by the decision of a filter.

mod accepted;
mod decision;
mod peer_set;
mod sites;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::id::ConnId;
use crate::limits::Limits;
use crate::statistics::Statistics;
use crate::sys::Address;

pub use self::accepted::{AcceptedConnection, Ended};
pub use self::decision::Decision;
pub(crate) use self::decision::{Acceptance, Verdict};
pub use self::peer_set::{InvalidPeerSet, PeerSet};
pub use self::sites::{Hosts, Origins};

/// A filter of accepted connections.
pub(crate) type AcceptFilter = Box<dyn FnMut(&AcceptedConnection<'_>) -> bool>;

/// What is called at the end of each connection that was admitted.
pub(crate) type EndHook = Box<dyn FnMut(ConnId, Ended)>;

/// The service's answer to "may this connect?".
pub(crate) struct Admission {
    filter: Option<AcceptFilter>,
    on_end: Option<EndHook>,
    /// Proxies that are trusted to name their client in a PROXY header.
    proxies: Vec<PeerSet>,
    /// Connections by network; kept only when there is a limit.
    per_network: HashMap<IpAddr, usize>,
    limit: Option<usize>,
    networks: Networks,
}

/// How many leading bits of an address make a network, whose connections are counted together.
#[derive(Clone, Copy)]
struct Networks {
    ipv4_bits: u32,
    ipv6_bits: u32,
}

impl Networks {
    /// The first address of the network.
    fn of(self, address: IpAddr) -> IpAddr {
        // An IPv4 address in the form of IPv6, as a PROXY header may have it, is an IPv4 address.
        match address.to_canonical() {
            IpAddr::V4(ip) => {
                let host = u32::MAX.checked_shr(self.ipv4_bits).unwrap_or(0);
                Ipv4Addr::from_bits(ip.to_bits() & !host).into()
            }
            IpAddr::V6(ip) => {
                let host = u128::MAX.checked_shr(self.ipv6_bits).unwrap_or(0);
                Ipv6Addr::from_bits(ip.to_bits() & !host).into()
            }
        }
    }
}

impl Admission {
    pub(crate) fn new(
        filter: Option<AcceptFilter>,
        on_end: Option<EndHook>,
        proxies: Vec<PeerSet>,
        limits: &Limits,
    ) -> Self {
        let networks = Networks { ipv4_bits: limits.ipv4_prefix_bits, ipv6_bits: limits.ipv6_prefix_bits };
        Self { filter, on_end, proxies, per_network: HashMap::new(), limit: limits.connections_per_address, networks }
    }

    /// Whether a peer is a proxy that is trusted to name its client.
    pub(crate) fn is_proxy(&self, peer: &Address) -> bool {
        self.proxies.iter().any(|proxies| proxies.contains(peer))
    }

    /// Whether another connection of this address may be there. If so it is counted until it is
    /// [released](Self::release).
    pub(crate) fn has_room(&mut self, peer: &Address, statistics: &mut Statistics) -> bool {
        let has_room = self.count(peer);
        if !has_room {
            statistics.refusals.per_address += 1;
            statistics.limits.connections_per_address += 1;
            tracing::debug!(%peer, "refused: too many connections of the address");
        }
        has_room
    }

    /// The network of a peer, whose connections are counted together.
    #[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
    pub(crate) fn network(&self, peer: &Address) -> Option<IpAddr> {
        match peer {
            Address::Ip(peer) => Some(self.networks.of(peer.ip())),
            _ => None,
        }
    }

    pub(crate) fn has_filter(&self) -> bool {
        self.filter.is_some()
    }

    /// Whether the program wants a connection that was counted. If not, it is uncounted.
    pub(crate) fn passes(&mut self, accepted: &AcceptedConnection<'_>, statistics: &mut Statistics) -> bool {
        let is_wanted = self.filter.as_mut().is_none_or(|filter| filter(accepted));
        if !is_wanted {
            self.release(accepted.peer);
            statistics.refusals.address += 1;
            tracing::debug!(peer = %accepted.peer, "refused by the filter");
        }
        is_wanted
    }

    /// An admitted connection has ended.
    pub(crate) fn end(&mut self, id: ConnId, peer: &Address, ended: Ended) {
        self.release(peer);
        if let Some(on_end) = &mut self.on_end {
            on_end(id, ended);
        }
    }

    fn count(&mut self, peer: &Address) -> bool {
        let (Some(limit), Address::Ip(peer)) = (self.limit, peer) else { return true };
        let count = self.per_network.entry(self.networks.of(peer.ip())).or_default();
        if *count >= limit {
            return false;
        }
        *count += 1;
        true
    }

    /// Uncounts a connection of this address.
    fn release(&mut self, peer: &Address) {
        if let (Some(_), Address::Ip(peer)) = (self.limit, peer) {
            let network = self.networks.of(peer.ip());
            if let Some(count) = self.per_network.get_mut(&network) {
                *count -= 1;
                if *count == 0 {
                    self.per_network.remove(&network);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str, ipv4_bits: u32, ipv6_bits: u32) -> String {
        Networks { ipv4_bits, ipv6_bits }.of(address.parse().unwrap()).to_string()
    }

    #[test]
    fn addresses_that_share_a_prefix_are_one_network() {
        for (address, ipv4_bits, ipv6_bits, expected) in [
            ("192.0.2.77", 32, 64, "192.0.2.77"),
            ("192.0.2.77", 24, 64, "192.0.2.0"),
            ("192.0.2.77", 25, 64, "192.0.2.0"),
            ("192.0.2.177", 25, 64, "192.0.2.128"),
            ("192.0.2.177", 1, 64, "128.0.0.0"),
            ("2001:db8:1:2:3:4:5:6", 32, 64, "2001:db8:1:2::"),
            ("2001:db8:1:2:3:4:5:6", 32, 48, "2001:db8:1::"),
            ("2001:db8:1:2:3:4:5:6", 32, 128, "2001:db8:1:2:3:4:5:6"),
            ("2001:db8:1:2:3:4:5:6", 32, 1, "::"),
            ("::ffff:192.0.2.77", 24, 1, "192.0.2.0"),
        ] {
            assert_eq!(network(address, ipv4_bits, ipv6_bits), expected, "{address} {ipv4_bits} {ipv6_bits}");
        }
    }

    #[test]
    fn a_host_with_many_addresses_has_no_more_connections_than_one_with_one() {
        let limits = Limits { connections_per_address: Some(2), ..Limits::default() };
        let mut admission = Admission::new(None, None, Vec::new(), &limits);
        let mut statistics = Statistics::default();
        let peer = |text: &str| Address::Ip((text.parse::<IpAddr>().unwrap(), 1).into());
        let mut admit = |admission: &mut Admission, text: &str| admission.has_room(&peer(text), &mut statistics);
        for number in 0..100 {
            assert_eq!(admit(&mut admission, &format!("2001:db8::{number:x}")), number < 2);
        }
        assert!(admit(&mut admission, "2001:db8:0:1::1"), "the next network");
        assert!(admit(&mut admission, "192.0.2.1") && admit(&mut admission, "192.0.2.2"));
        // One that ends makes room, whichever address it had.
        admission.release(&peer("2001:db8::0"));
        assert!(admit(&mut admission, "2001:db8::ffff") && !admit(&mut admission, "2001:db8::1"));
        for end in ["2001:db8::1", "2001:db8::ffff", "2001:db8:0:1::1", "192.0.2.1", "192.0.2.2"] {
            admission.release(&peer(end));
        }
        assert!(admission.per_network.is_empty());
        assert_eq!(statistics.refusals.per_address, 99);
    }
}
