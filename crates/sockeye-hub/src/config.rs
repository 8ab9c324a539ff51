//! The bounds of a hub.

use std::time::Duration;

use crate::history::History;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    pub(crate) history: History,
    /// All histories together.
    pub(crate) history_bytes: usize,
    pub(crate) topics: usize,
    pub(crate) topics_per_connection: usize,
    pub(crate) name_bytes: usize,
    pub(crate) message_bytes: usize,
    pub(crate) broker_queue_bytes: usize,
    /// How long a topic without subscribers stays subscribed to at the broker, and keeps its numbers.
    pub(crate) linger: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            history: History::default(),
            history_bytes: 64 << 20,
            topics: 100_000,
            topics_per_connection: 128,
            name_bytes: 255,
            message_bytes: 64 * 1024,
            broker_queue_bytes: 16 << 20,
            linger: Duration::from_secs(60),
        }
    }
}
