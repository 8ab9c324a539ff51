//! Limits and counters of topics.

use crate::limits::Limits;
use crate::topic::Delivery;

/// How many topics there may be.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TopicLimits {
    pub(crate) per_connection: usize,
    pub(crate) name_bytes: usize,
    pub(crate) topics: usize,
}

impl TopicLimits {
    pub(crate) fn of(limits: &Limits) -> Self {
        Self {
            per_connection: limits.topics_per_connection,
            name_bytes: limits.topic_name_bytes,
            topics: limits.topics,
        }
    }
}

/// What was published to topics, and which limits were hit.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct TopicCounts {
    /// Something was counted since the statistics were last told.
    pub(crate) are_new: bool,
    pub(crate) published: u64,
    pub(crate) delivery: Delivery,
    pub(crate) too_many_for_connection: u64,
    pub(crate) too_many_topics: u64,
    pub(crate) names: u64,
}
