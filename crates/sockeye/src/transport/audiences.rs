//! Whom the messages of a turn are for.

use std::collections::BTreeMap;

/// The numbers of published messages by whom they are for. Nothing is here while all messages are for all connections.
#[derive(Default)]
pub(super) struct Audiences {
    pub(super) all: Vec<usize>,
    pub(super) topics: BTreeMap<u32, Vec<usize>>,
    /// Messages that one subscriber does not get.
    pub(super) excepted: BTreeMap<usize, u64>,
    /// How many messages there are.
    pub(super) count: usize,
}

/// Whom the published messages of an endpoint are for.
pub(crate) enum Audience {
    /// All its connections.
    All,
    /// The subscribers of one topic.
    One(u32),
    /// The subscribers of several.
    Several(Vec<u32>),
    /// Some are for all, some for the subscribers of topics.
    AllAndTopics,
}

impl Audiences {
    pub(super) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// Whom they are for, all together.
    pub(super) fn audience(&self) -> Audience {
        let Self { all, topics, excepted, .. } = self;
        match topics.first_key_value() {
            None => Audience::All,
            Some((topic, _)) if all.is_empty() && topics.len() == 1 && excepted.is_empty() => Audience::One(*topic),
            Some(_) if all.is_empty() => Audience::Several(topics.keys().copied().collect()),
            Some(_) => Audience::AllAndTopics,
        }
    }
}
