//! What a hub has done.

/// Counters of a [`Hub`](crate::Hub), of all its threads, since it was built.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct HubStatistics {
    /// Topics that there are now.
    pub topics: usize,
    /// Subscriptions of clients that there are now.
    pub subscriptions: usize,
    /// Bytes that histories take now.
    pub history_bytes: usize,
    /// Messages that were published at this server.
    pub published: u64,
    /// Messages that came from the broker.
    pub from_broker: u64,
    /// Messages that subscribers at this server got and others did not, since the broker was away or too slow.
    pub only_here: u64,
    /// Messages that the broker may have taken or not: the connection to it was lost before it said so.
    pub unknown: u64,
    /// Messages that the broker refused, or that were too long to pass on.
    pub refused: u64,
    /// How often subscribers were told that something may be missing.
    pub gaps: u64,
    /// The state of the broker, if there is one.
    pub broker: Option<BrokerStatus>,
}

/// How the connection to a broker is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct BrokerStatus {
    /// Whether messages can be given to the broker, and come from it.
    pub is_connected: bool,
    /// How often a connection was begun.
    pub attempts: u64,
    /// Bytes that wait for the broker, with those of messages that wait for others.
    pub queued_bytes: usize,
    /// Messages whose receipt the broker has not confirmed yet.
    pub unconfirmed: usize,
    /// Why the last connection ended, or was not made.
    pub last_error: Option<String>,
}
