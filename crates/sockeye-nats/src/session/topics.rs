//! The topics that are subscribed to: by their names, and by the numbers that the broker knows them by.

use std::collections::HashMap;

use super::load::{Load, Stage};

#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: String,
    /// Whether the hub knows that the subscription has begun.
    pub(crate) is_confirmed: bool,
    /// With history: the position that the hub is at.
    pub(crate) offset: u64,
    /// With history: the number in the stream up to which all is known. `offset` is not behind it.
    pub(crate) floor: u64,
    /// With history: the number of the last message at or before `floor`, 0 if there is none. `None` if that is not known.
    pub(crate) newest: Option<u64>,
    /// With history: what happens before live messages can be reported.
    pub(crate) load: Option<Load>,
}

#[derive(Debug, Default)]
pub(crate) struct Topics {
    by_sid: HashMap<u64, Topic>,
    sids: HashMap<String, u64>,
}

impl Topics {
    pub(crate) fn insert(&mut self, sid: u64, name: &str, load: Option<Load>) {
        let topic = Topic { name: name.to_owned(), is_confirmed: false, offset: 0, floor: 0, newest: None, load };
        self.sids.insert(name.to_owned(), sid);
        self.by_sid.insert(sid, topic);
    }

    pub(crate) fn sid(&self, name: &str) -> Option<u64> {
        self.sids.get(name).copied()
    }

    pub(crate) fn topic(&mut self, sid: u64) -> Option<&mut Topic> {
        self.by_sid.get_mut(&sid)
    }

    pub(crate) fn load(&mut self, sid: u64) -> Option<&mut Load> {
        self.topic(sid)?.load.as_mut()
    }

    /// The oldest request for a batch of the past that has not ended, of these topics.
    pub(crate) fn oldest_batch<'a>(&self, sids: impl Iterator<Item = &'a u64>) -> Option<u64> {
        let loads = sids.filter_map(|sid| self.by_sid.get(sid)?.load.as_ref());
        loads
            .filter_map(|load| if let Stage::Reading(reading) = &load.stage { Some(reading.asked) } else { None })
            .min()
    }

    pub(crate) fn remove(&mut self, sid: u64) -> Option<Topic> {
        let topic = self.by_sid.remove(&sid)?;
        self.sids.remove(&topic.name);
        Some(topic)
    }
}
