//! What a topic keeps for clients that come late or come back.

use std::time::Duration;

/// How much of each topic is kept. Beyond any of the bounds the oldest messages go first.
///
/// ```
/// use std::time::Duration;
///
/// use sockeye_hub::History;
///
/// let history = History::of_messages(100).with_age(Duration::from_secs(3600));
/// assert_eq!(history.messages(), 100);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct History {
    messages: usize,
    bytes: usize,
    age: Option<Duration>,
}

impl Default for History {
    /// None.
    fn default() -> Self {
        Self::of_messages(0)
    }
}

impl History {
    /// The last `messages` of each topic, up to 1 MiB. 0: none.
    #[must_use]
    pub fn of_messages(messages: usize) -> Self {
        Self { messages, bytes: 1 << 20, age: None }
    }

    /// At most so many bytes of each topic, where a message counts as it is sent, and 64 bytes. A message that is longer alone is not kept.
    #[must_use]
    pub fn with_bytes(self, bytes: usize) -> Self {
        Self { bytes, ..self }
    }

    /// At most so old.
    #[must_use]
    pub fn with_age(self, age: Duration) -> Self {
        Self { age: Some(age), ..self }
    }

    /// The most messages of a topic.
    #[must_use]
    pub fn messages(self) -> usize {
        self.messages
    }

    /// The most bytes of a topic.
    #[must_use]
    pub fn bytes(self) -> usize {
        self.bytes
    }

    /// The greatest age.
    #[must_use]
    pub fn age(self) -> Option<Duration> {
        self.age
    }
}
