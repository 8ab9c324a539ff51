//! The limits of the protocol, for the connections of each endpoint and for single connections: sets that are shared, so
//! that a connection has a pointer to one and nothing more.

use std::sync::Arc;

use sockeye_proto::limits::ProtocolLimits;

use crate::limits::MessageLimits;
use crate::state::endpoints::EndpointIndex;

/// The sets of limits in use.
#[derive(Default)]
pub(crate) struct MessageLimitSets {
    /// By endpoint.
    endpoints: Vec<Arc<ProtocolLimits>>,
    /// Those with a value for single connections, the newest last.
    own: Vec<(EndpointIndex, Arc<ProtocolLimits>)>,
}

impl MessageLimitSets {
    /// `own`: those that each endpoint has of its own.
    pub(crate) fn new(service: &Arc<ProtocolLimits>, own: impl Iterator<Item = MessageLimits>) -> Self {
        let of = |own: MessageLimits| {
            if own.message_bytes.is_none() && own.piece_bytes.is_none() {
                return Arc::clone(service);
            }
            let mut limits = ProtocolLimits::clone(service);
            limits.message_bytes = own.message_bytes.unwrap_or(limits.message_bytes);
            limits.piece_bytes = own.piece_bytes.or(limits.piece_bytes);
            Arc::new(limits)
        };
        Self { endpoints: own.map(of).collect(), own: Vec::new() }
    }

    /// The limits of an endpoint's connections.
    pub(crate) fn of(&self, endpoint: EndpointIndex) -> Arc<ProtocolLimits> {
        self.endpoints.get(endpoint.get()).cloned().unwrap_or_default()
    }

    /// The same with this largest message.
    pub(super) fn with(&mut self, endpoint: EndpointIndex, bytes: u64) -> Arc<ProtocolLimits> {
        let usual = self.of(endpoint);
        if usual.message_bytes == bytes {
            return usual;
        }
        if let Some((_, set)) = self.own.iter().find(|(of, set)| *of == endpoint && set.message_bytes == bytes) {
            return Arc::clone(set);
        }
        // Most programs have few different limits. With many, each connection still has its own.
        if self.own.len() >= KEPT {
            self.own.remove(0);
        }
        let set = with(&usual, bytes);
        self.own.push((endpoint, Arc::clone(&set)));
        set
    }
}

fn with(limits: &ProtocolLimits, message_bytes: u64) -> Arc<ProtocolLimits> {
    let mut limits = limits.clone();
    limits.message_bytes = message_bytes;
    Arc::new(limits)
}

/// How many sets for single connections are kept to be shared.
const KEPT: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_with_the_same_limit_share_it() {
        let service = Arc::new(ProtocolLimits::default());
        let own = MessageLimits { message_bytes: Some(5), piece_bytes: Some(4), ..MessageLimits::default() };
        let mut sets = MessageLimitSets::new(&service, [MessageLimits::default(), own].into_iter());
        let (first, second) = (EndpointIndex(0), EndpointIndex(1));
        assert_eq!((sets.of(first).piece_bytes, sets.with(second, 6).piece_bytes), (None, Some(4)));
        assert!(Arc::ptr_eq(&sets.of(first), &service));
        assert_eq!(sets.of(second).message_bytes, 5);
        assert!(Arc::ptr_eq(&sets.with(second, 5), &sets.of(second)));
        let one = sets.with(first, 7);
        assert_eq!(one.message_bytes, 7);
        assert!(Arc::ptr_eq(&one, &sets.with(first, 7)));
        assert!(!Arc::ptr_eq(&one, &sets.with(second, 7)), "another endpoint may differ in more");
        for bytes in 100..200 {
            assert_eq!(sets.with(first, bytes).message_bytes, bytes);
        }
        assert_eq!(sets.own.len(), KEPT);
    }
}
