//! How topics treat their subscribers, and what became of messages: the values of [`topics`](crate::topics).

use std::error::Error;
use std::fmt;
use std::ops::AddAssign;

/// What happens when more messages of a topic wait for a subscriber than may.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum SlowReader {
    /// It is closed with [1013](crate::CloseCode::TRY_AGAIN): it may come back, and knows that it missed something. Nothing is
    /// lost silently, so this is the default. It leaves all its topics at once, and what waits of them is dropped; what was pushed,
    /// or published to all, goes before the Close frame. A connection of ours that is closed so comes back, if it is to
    /// reconnect.
    #[default]
    Close,
    /// The oldest message of the topic that waits for it is dropped: for news.
    DropOldest,
    /// The new message is dropped: for lists whose beginning counts.
    DropNewest,
    /// A message replaces the one that waits with the same [key](crate::topics::TopicMut::publish_latest), at once and not only beyond the bound:
    /// for prices, positions, states. Beyond the bound the oldest is dropped.
    KeepLatest,
}

/// How a topic treats its subscribers.
///
/// ```
/// use sockeye::topics::{SlowReader, TopicOptions};
///
/// let prices = TopicOptions::default().with_slow_reader(SlowReader::KeepLatest).with_waiting_messages(10_000);
/// assert_eq!(prices.waiting_messages(), 10_000);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TopicOptions {
    slow_reader: SlowReader,
    waiting_messages: u32,
}

impl Default for TopicOptions {
    /// [`SlowReader::Close`], beyond 1,024 messages.
    fn default() -> Self {
        Self { slow_reader: SlowReader::default(), waiting_messages: 1024 }
    }
}

impl TopicOptions {
    /// With another treatment of slow readers.
    #[must_use]
    pub fn with_slow_reader(self, slow_reader: SlowReader) -> Self {
        Self { slow_reader, ..self }
    }

    /// With another number of messages that may wait for one subscriber. 0 counts as 1.
    #[must_use]
    pub fn with_waiting_messages(self, messages: u32) -> Self {
        Self { waiting_messages: messages.max(1), ..self }
    }

    /// What happens to slow readers.
    #[must_use]
    pub fn slow_reader(self) -> SlowReader {
        self.slow_reader
    }

    /// How many messages of the topic may wait for one subscriber.
    #[must_use]
    pub fn waiting_messages(self) -> u32 {
        self.waiting_messages
    }
}

/// What became of a published message at the subscribers of this service, each of which is counted once. A connection that is being
/// closed is a subscriber until it has ended.
///
/// [`Statistics::topics`](crate::statistics::Statistics::topics) has the sums, which
/// [`Threads`](crate::Threads) adds up over all services.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Delivery {
    /// It is on its way, or waits for the subscriber. One that ends does not get what waits.
    pub queued: u64,
    /// Subscribers that lost a message, because they read too slowly: this one, or at least one older in whose place it waits.
    pub dropped: u64,
    /// Subscribers that were closed, because they read too slowly.
    pub closed: u64,
}

impl Delivery {
    /// How many subscribers there were, without the excepted one: the sum of all counts.
    #[must_use]
    pub fn subscribers(self) -> u64 {
        self.queued + self.dropped + self.closed
    }
}

impl AddAssign for Delivery {
    fn add_assign(&mut self, other: Self) {
        self.queued += other.queued;
        self.dropped += other.dropped;
        self.closed += other.closed;
    }
}

/// Why a connection was not subscribed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The connection is not an open WebSocket, or is being closed since it reads too slowly.
    NotOpen,
    /// It has as many topics as [`Limits::topics_per_connection`](crate::Limits::topics_per_connection) allows.
    TooManyForConnection,
    /// The service has as many topics as [`Limits::topics`](crate::Limits::topics) allows.
    TooManyTopics,
    /// The name is longer than [`Limits::topic_name_bytes`](crate::Limits::topic_name_bytes), or empty.
    Name,
}

impl fmt::Display for SubscribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotOpen => "the connection is not an open WebSocket",
            Self::TooManyForConnection => {
                "the connection has as many topics as one may have (Limits::topics_per_connection)"
            }
            Self::TooManyTopics => "there are as many topics as there may be (Limits::topics)",
            Self::Name => "the name of the topic is empty or too long (Limits::topic_name_bytes)",
        })
    }
}

impl Error for SubscribeError {}
