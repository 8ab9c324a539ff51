//! Who may connect: by address, by the number of connections from it, by the origin and host of a
//! request, and by the decision of a filter.

mod decision;
mod peer_set;
mod sites;

use std::collections::HashMap;
use std::net::IpAddr;

use crate::statistics::Statistics;
use crate::sys::Address;

pub use self::decision::Decision;
pub(crate) use self::decision::{Acceptance, Verdict};
pub use self::peer_set::{InvalidPeerSet, PeerSet};
pub use self::sites::{Hosts, Origins};

/// A filter of peers, by address.
pub(crate) type AddressFilter = Box<dyn FnMut(&Address) -> bool>;

/// The service's answer to "may this address connect?".
pub(crate) struct Admission {
    filter: Option<AddressFilter>,
    /// Proxies that are trusted to name their client in a PROXY header.
    proxies: Vec<PeerSet>,
    /// Connections by address; kept only when there is a limit.
    per_address: HashMap<IpAddr, usize>,
    per_address_limit: Option<usize>,
}

impl Admission {
    pub(crate) fn new(filter: Option<AddressFilter>, proxies: Vec<PeerSet>, per_address_limit: Option<usize>) -> Self {
        Self { filter, proxies, per_address: HashMap::new(), per_address_limit }
    }

    /// Whether a peer is a proxy that is trusted to name its client.
    pub(crate) fn is_proxy(&self, peer: &Address) -> bool {
        self.proxies.iter().any(|proxies| proxies.contains(peer))
    }

    /// Whether a peer with this address may connect. If so it is counted until it is
    /// [released](Self::release).
    pub(crate) fn admit(&mut self, peer: &Address, statistics: &mut Statistics) -> bool {
        let is_wanted = self.filter.as_mut().is_none_or(|filter| filter(peer));
        if is_wanted && self.count(peer) {
            return true;
        }
        if is_wanted {
            statistics.refusals.per_address += 1;
            statistics.limits.connections_per_address += 1;
        } else {
            statistics.refusals.address += 1;
        }
        tracing::debug!(%peer, "refused by address");
        false
    }

    fn count(&mut self, peer: &Address) -> bool {
        let (Some(limit), Address::Ip(peer)) = (self.per_address_limit, peer) else { return true };
        let count = self.per_address.entry(peer.ip()).or_default();
        if *count >= limit {
            return false;
        }
        *count += 1;
        true
    }

    /// Uncounts an admitted connection that ended.
    pub(crate) fn release(&mut self, peer: &Address) {
        if let (Some(_), Address::Ip(peer)) = (self.per_address_limit, peer) {
            if let Some(count) = self.per_address.get_mut(&peer.ip()) {
                *count -= 1;
                if *count == 0 {
                    self.per_address.remove(&peer.ip());
                }
            }
        }
    }
}
