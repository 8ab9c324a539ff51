//! The HTTP requests with a session: at most one for each connection.

use std::collections::HashMap;

use crate::id::{ConnId, RequestId};

/// Which request each connection carries. Connections without one are not in it.
#[derive(Debug, Default)]
pub(crate) struct Exchanges {
    open: HashMap<ConnId, u64>,
    /// The number of the last request. It never wraps: 2^64 requests take centuries.
    last: u64,
}

impl Exchanges {
    /// A request begins. Its id was never used before.
    pub(crate) fn begin(&mut self, connection: ConnId) -> RequestId {
        self.last += 1;
        self.open.insert(connection, self.last);
        RequestId::new(connection, self.last)
    }

    /// The request of this connection has ended: its id is stale.
    pub(crate) fn end(&mut self, connection: ConnId) {
        self.open.remove(&connection);
        // What a crowd took is given back.
        if self.open.capacity() > 1024 && self.open.len() < self.open.capacity() / 8 {
            self.open.shrink_to(self.open.len() * 2);
        }
    }

    /// The request that this connection carries.
    pub(crate) fn of(&self, connection: ConnId) -> Option<RequestId> {
        self.open.get(&connection).map(|&number| RequestId::new(connection, number))
    }

    /// Whether the request has a session.
    pub(crate) fn contains(&self, id: RequestId) -> bool {
        self.open.get(&id.connection()) == Some(&id.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_has_a_new_id_for_each_request() {
        let mut exchanges = Exchanges::default();
        let connection = ConnId::default();
        let first = exchanges.begin(connection);
        assert!(exchanges.contains(first));
        assert_eq!(exchanges.of(connection), Some(first));
        exchanges.end(connection);
        assert!(!exchanges.contains(first));
        assert_eq!(exchanges.of(connection), None);
        let second = exchanges.begin(connection);
        assert_ne!(first, second);
        assert_eq!((exchanges.contains(first), exchanges.contains(second)), (false, true));
    }
}
