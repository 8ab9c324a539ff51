//! The topics of each endpoint, and who is subscribed to them. What waits for subscribers that read too slowly is in [`slow`].

mod members;
mod slow;

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::id::ConnId;
use crate::topic::TopicOptions;

pub(crate) use self::members::Slots;
use self::members::{Members, more};
pub(crate) use self::slow::{Item, Kept, SlowReaders};

/// All topics of a service.
#[derive(Default)]
pub(crate) struct Topics {
    /// Of each endpoint, by name. A tree: names that peers choose cannot make it slow.
    names: Vec<BTreeMap<Rc<str>, u32>>,
    count: usize,
    topics: Vec<Topic>,
    free: Vec<u32>,
    /// Numbers that messages of this turn may still have. They become free with the next flush.
    retired: Vec<u32>,
    /// The first link of the connection in each slot.
    first: Vec<u32>,
    links: Vec<Link>,
    /// The first free link.
    free_link: Option<u32>,
    subscriptions: usize,
}

struct Topic {
    name: Rc<str>,
    endpoint: u16,
    members: Members,
    /// Its own options. It is kept without subscribers, too.
    own: Option<TopicOptions>,
}

/// One topic of a connection, and the next one.
struct Link {
    topic: u32,
    next: u32,
}

/// No link, or no topic.
const NONE: u32 = u32::MAX;

impl Topics {
    /// How many topics there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Whether there is nothing here.
    pub(crate) fn is_unused(&self) -> bool {
        self.subscriptions == 0
    }

    /// How many subscriptions there are.
    pub(crate) fn subscriptions(&self) -> usize {
        self.subscriptions
    }

    pub(crate) fn find(&self, endpoint: u16, name: &str) -> Option<u32> {
        self.names.get(usize::from(endpoint))?.get(name).copied()
    }

    /// The topic of that name, which begins to exist if it did not.
    fn find_or_add(&mut self, endpoint: u16, name: &str) -> u32 {
        if let Some(topic) = self.find(endpoint, name) {
            return topic;
        }
        let name: Rc<str> = Rc::from(name);
        let topic = Topic { name: Rc::clone(&name), endpoint, members: Members::default(), own: None };
        let number = match self.free.pop() {
            Some(number) => {
                self.topics[number as usize] = topic;
                number
            }
            None => {
                grow(&mut self.topics);
                self.topics.push(topic);
                (self.topics.len() - 1) as u32
            }
        };
        let names = usize::from(endpoint);
        if self.names.len() <= names {
            self.names.resize_with(names + 1, BTreeMap::new);
        }
        self.names[names].insert(name, number);
        self.count += 1;
        number
    }

    /// A topic without subscribers and options ceases to exist.
    fn end_if_unused(&mut self, topic: u32) {
        let Some(of) = self.topics.get_mut(topic as usize) else { return };
        if of.members.len() > 0 || of.own.is_some() {
            return;
        }
        let name = std::mem::replace(&mut of.name, Rc::from(""));
        of.members = Members::default();
        if let Some(names) = self.names.get_mut(usize::from(of.endpoint)) {
            self.count -= usize::from(names.remove(&name).is_some());
        }
        self.retired.push(topic);
    }

    /// No message waits any more, so none has the number of a topic that was retired.
    pub(crate) fn flushed(&mut self) {
        self.free.append(&mut self.retired);
        if self.count == 0 {
            // The memory of a crowd that has gone.
            (self.topics, self.free) = (Vec::new(), Vec::new());
        }
    }

    /// The options of a topic.
    pub(crate) fn options(&self, topic: u32) -> TopicOptions {
        self.topics.get(topic as usize).and_then(|topic| topic.own).unwrap_or_default()
    }

    /// Gives a topic options of its own, or takes them back.
    pub(crate) fn set_options(&mut self, endpoint: u16, name: &str, own: Option<TopicOptions>) {
        if own.is_none() && self.find(endpoint, name).is_none() {
            return;
        }
        let topic = self.find_or_add(endpoint, name);
        self.topics[topic as usize].own = own;
        self.end_if_unused(topic);
    }

    /// The options of a topic, whether or not it exists.
    pub(crate) fn options_of(&self, endpoint: u16, name: &str) -> TopicOptions {
        self.find(endpoint, name).map(|topic| self.options(topic)).unwrap_or_default()
    }

    /// How many subscribers a topic has.
    pub(crate) fn members(&self, topic: u32) -> usize {
        self.topics.get(topic as usize).map_or(0, |topic| topic.members.len())
    }

    /// Whether a connection is subscribed to a topic.
    pub(crate) fn is_member(&self, topic: u32, id: ConnId) -> bool {
        self.topics.get(topic as usize).is_some_and(|topic| topic.members.contains(id.slot()))
    }

    /// The slots of the subscribers of a topic, in order.
    pub(crate) fn slots(&self, topic: u32) -> Option<Slots<'_>> {
        self.topics.get(topic as usize).map(|topic| topic.members.iter())
    }

    /// The topics of a connection, the newest first.
    pub(crate) fn of(&self, id: ConnId) -> impl Iterator<Item = u32> + '_ {
        let mut link = self.first.get(id.slot()).copied().unwrap_or(NONE);
        std::iter::from_fn(move || {
            let Link { topic, next } = *self.links.get(link as usize)?;
            link = next;
            Some(topic)
        })
    }

    /// The name of a topic.
    pub(crate) fn name(&self, topic: u32) -> Option<&str> {
        self.topics.get(topic as usize).map(|topic| &*topic.name)
    }

    /// Subscribes a connection. Returns the topic if that is new.
    pub(crate) fn join(&mut self, endpoint: u16, name: &str, id: ConnId) -> Option<u32> {
        let topic = self.find_or_add(endpoint, name);
        let slot = id.slot();
        if !self.topics[topic as usize].members.insert(slot as u32) {
            return None;
        }
        if self.first.len() <= slot {
            self.first.reserve_exact((slot + 1 - self.first.len()).max(more(self.first.len())));
            self.first.resize(slot + 1, NONE);
        }
        let link = Link { topic, next: self.first[slot] };
        self.first[slot] = match self.free_link {
            Some(number) => {
                let free = std::mem::replace(&mut self.links[number as usize], link);
                self.free_link = (free.next != NONE).then_some(free.next);
                number
            }
            None => {
                grow(&mut self.links);
                self.links.push(link);
                (self.links.len() - 1) as u32
            }
        };
        self.subscriptions += 1;
        Some(topic)
    }

    /// Ends a subscription.
    pub(crate) fn leave(&mut self, topic: u32, id: ConnId) {
        let slot = id.slot();
        if self.topics.get_mut(topic as usize).is_some_and(|topic| topic.members.remove(slot as u32)) {
            self.unlink(slot, topic);
            self.end_if_unused(topic);
        }
    }

    fn unlink(&mut self, slot: usize, topic: u32) {
        let (mut before, mut link) = (NONE, self.first.get(slot).copied().unwrap_or(NONE));
        while let Some(&Link { topic: of, next }) = self.links.get(link as usize) {
            if of != topic {
                (before, link) = (link, next);
                continue;
            }
            match self.links.get_mut(before as usize) {
                Some(before) => before.next = next,
                None => self.first[slot] = next,
            }
            self.links[link as usize] = Link { topic: NONE, next: self.free_link.unwrap_or(NONE) };
            self.free_link = Some(link);
            self.subscriptions -= 1;
            break;
        }
        if self.subscriptions == 0 {
            // The memory of a crowd that has gone.
            (self.links, self.free_link, self.first) = (Vec::new(), None, Vec::new());
        }
    }

    /// The connection has ended.
    pub(crate) fn end(&mut self, id: ConnId) {
        let topics: Vec<u32> = self.of(id).collect();
        for topic in topics {
            self.leave(topic, id);
        }
    }
}

/// Makes room for one more. Doubling would leave half of it empty.
fn grow<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(more(list.len()));
    }
}
