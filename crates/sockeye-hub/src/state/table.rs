//! The topics by name, and which of them go first when there are too many.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::topic::{AtBroker, Topic};
use crate::wire::reply::Frame;

pub(crate) struct Table {
    topics: HashMap<Arc<str>, Topic>,
    /// What all histories take.
    bytes: usize,
    /// Those that keep something, the one that was published to longest ago first.
    by_publish: BTreeMap<u64, Arc<str>>,
    /// Those without subscribers, the one that had some longest ago first.
    idle: BTreeMap<u64, Arc<str>>,
    /// Grows with each change of order.
    stamp: u64,
    /// That of the next topic. The first is random, so an epoch is that of one topic of one run.
    epoch: u64,
    /// Topics that were removed, and of which the broker knows.
    gone: Vec<Arc<str>>,
}

impl Table {
    pub(crate) fn new(epoch: u64) -> Self {
        Self {
            topics: HashMap::new(),
            bytes: 0,
            by_publish: BTreeMap::new(),
            idle: BTreeMap::new(),
            stamp: 0,
            epoch,
            gone: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.topics.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name)
    }

    /// For changes that concern neither subscribers nor history.
    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Topic> {
        self.topics.get_mut(name)
    }

    /// For a change of subscribers or history, after which [`settle`](Self::settle) must follow.
    pub(crate) fn change(&mut self, name: &str) -> Option<&mut Topic> {
        let topic = self.topics.get_mut(name)?;
        self.bytes -= topic.bytes();
        Some(topic)
    }

    /// Brings the order of topics up to date.
    pub(crate) fn settle(&mut self, name: &str, now: Duration) {
        let Some(topic) = self.topics.get_mut(name) else { return };
        self.bytes += topic.bytes();
        if !topic.keeps_something() {
            if let Some(stamp) = topic.published.take() {
                self.by_publish.remove(&stamp);
            }
        }
        match (topic.subscribers, topic.idle) {
            (0, None) => {
                self.stamp += 1;
                topic.idle = Some((self.stamp, now));
                self.idle.insert(self.stamp, Arc::clone(&topic.name));
            }
            (1.., Some((stamp, _))) => {
                topic.idle = None;
                self.idle.remove(&stamp);
            }
            _ => {}
        }
    }

    /// Sees to it that the topic is there. False: there are `most` already, all with subscribers.
    pub(crate) fn make(&mut self, name: &str, most: usize, now: Duration) -> bool {
        if self.topics.contains_key(name) {
            return true;
        }
        if self.topics.len() >= most {
            let Some(name) = self.idle.values().next().cloned() else { return false };
            self.remove(&name);
        }
        self.epoch = self.epoch.wrapping_add(1);
        self.stamp += 1;
        let mut topic = Topic::new(name, self.epoch);
        topic.idle = Some((self.stamp, now));
        self.idle.insert(self.stamp, Arc::clone(&topic.name));
        self.topics.insert(Arc::clone(&topic.name), topic);
        true
    }

    /// Adds a message to a topic, for which others may have to forget theirs.
    pub(crate) fn append(&mut self, name: &str, offset: u64, frame: Frame, now: Duration, config: &Config) {
        let Some(topic) = self.topics.get_mut(name) else { return };
        self.bytes -= topic.bytes();
        topic.append(offset, frame, now, config.history);
        self.bytes += topic.bytes();
        let newest = self.by_publish.last_key_value().map(|(stamp, _)| *stamp);
        if !topic.keeps_something() {
            if let Some(stamp) = topic.published.take() {
                self.by_publish.remove(&stamp);
            }
        } else if topic.published.is_none() || topic.published != newest {
            self.stamp += 1;
            if let Some(before) = topic.published.replace(self.stamp) {
                self.by_publish.remove(&before);
            }
            self.by_publish.insert(self.stamp, Arc::clone(&topic.name));
        }
        self.make_room(config.history_bytes);
    }

    /// Has topics forget what they keep, until all take no more than they may. The one that was published to last has it all.
    fn make_room(&mut self, most: usize) {
        while self.bytes > most && self.by_publish.len() > 1 {
            let Some((_, oldest)) = self.by_publish.pop_first() else { return };
            let Some(topic) = self.topics.get_mut(&oldest) else { continue };
            topic.published = None;
            self.bytes -= topic.bytes();
            topic.forget();
        }
    }

    /// Removes the topics that have had no subscribers for a while and keep nothing.
    pub(crate) fn expire(&mut self, now: Duration, config: &Config) {
        let idle: Vec<Arc<str>> = self.idle.values().take(EXPIRE).cloned().collect();
        for name in idle {
            let Some(topic) = self.change(&name) else { continue };
            topic.trim(now, config.history);
            let is_over = topic.idle.is_some_and(|(_, since)| now.saturating_sub(since) >= config.linger);
            let is_at_broker = topic.broker != AtBroker::Unasked;
            let is_needed = topic.keeps_something() && !is_at_broker;
            self.settle(&name, now);
            if is_over && !is_needed {
                self.remove(&name);
            } else if is_over {
                // It is looked at again when the others were.
                self.requeue(&name);
            }
        }
    }

    /// Topics that are not there any more, of which the broker is to be told.
    pub(crate) fn take_gone(&mut self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.gone)
    }

    fn requeue(&mut self, name: &str) {
        let Some(topic) = self.topics.get_mut(name) else { return };
        if let Some((stamp, since)) = topic.idle {
            self.idle.remove(&stamp);
            self.stamp += 1;
            topic.idle = Some((self.stamp, since));
            self.idle.insert(self.stamp, Arc::clone(&topic.name));
        }
    }

    fn remove(&mut self, name: &str) {
        let Some(topic) = self.topics.remove(name) else { return };
        self.bytes -= topic.bytes();
        if let Some(stamp) = topic.published {
            self.by_publish.remove(&stamp);
        }
        if let Some((stamp, _)) = topic.idle {
            self.idle.remove(&stamp);
        }
        if topic.broker != AtBroker::Unasked {
            self.gone.push(topic.name);
        }
    }

    /// All names, for a broker that is connected again: in an order that does not depend on the process.
    pub(crate) fn names(&self) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = self.topics.keys().cloned().collect();
        names.sort_unstable();
        names
    }
}

/// So many topics without subscribers are looked at in a tick.
const EXPIRE: usize = 10_000;
