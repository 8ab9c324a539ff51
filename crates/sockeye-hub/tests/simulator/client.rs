//! A client that keeps what it was told, and complains of what must not be.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde_json::{Value, json};
use sockeye::messages::{Handler, Message, MessageCx};
use sockeye::protocol::ProtocolMut;
use sockeye::{Close, Closed, ClosedCx, ConnId, Failure, Handshake};

/// Where a client is in a topic.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct At {
    pub(crate) epoch: String,
    pub(crate) offset: u64,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Stage {
    /// Asked with this id.
    Asked(u64),
    Live,
    Leaving,
    /// It left, and asked again with this id before it had an answer: behind what it had seen then.
    Again(u64, Option<At>),
}

impl Stage {
    /// What comes may be of a subscription that is ending.
    fn is_ending(&self) -> bool {
        matches!(self, Self::Leaving | Self::Again(..))
    }
}

#[derive(Default)]
pub(crate) struct Member {
    pub(crate) id: Option<ConnId>,
    pub(crate) is_open: bool,
    pub(crate) server: usize,
    pub(crate) topics: BTreeMap<String, Stage>,
    /// What it saw last, also of topics that it left.
    pub(crate) at: BTreeMap<String, At>,
    /// By id: the topic and the number.
    pub(crate) publishes: BTreeMap<u64, (String, u64)>,
    /// Requests to subscribe whose answers do not matter any more.
    pub(crate) given_up: BTreeSet<u64>,
    /// How many subscribers it was told there are, of topics where it asked for that.
    pub(crate) counts: BTreeMap<String, u64>,
    next_id: u64,
    /// What it is to send, when it is open.
    pub(crate) to_send: Vec<String>,
}

impl Member {
    pub(crate) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

/// By offset, the number of a message and the `previous` that it came with.
type Known = BTreeMap<u64, (u64, Option<u64>)>;

/// All clients, and what is true.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) members: Vec<Member>,
    /// The number and the `previous` of each message that was seen or confirmed, by topic, epoch (and server, where each numbers for itself)
    /// and offset.
    pub(crate) truth: BTreeMap<(String, String), Known>,
    pub(crate) faults: Vec<String>,
    /// All that clients were told, in its order.
    pub(crate) told: Vec<String>,
    pub(crate) messages: usize,
    pub(crate) recovered: usize,
    pub(crate) gaps: usize,
    pub(crate) unknown: usize,
    pub(crate) refused: usize,
    pub(crate) published: usize,
    /// No message may be lost: no broker that loses any, and no topic that drops any.
    pub(crate) is_strict: bool,
    /// No topic drops messages, so whatever a broker loses clients are told of: none sees a hole by itself.
    pub(crate) drops_nothing: bool,
}

impl Log {
    fn fault(&mut self, why: String) {
        self.faults.push(why);
    }

    pub(crate) fn learn(&mut self, topic: &str, at: &At, number: u64, previous: Option<u64>) {
        let known = self.truth.entry((topic.into(), at.epoch.clone())).or_default();
        let entry = known.entry(at.offset).or_insert((number, previous));
        if entry.0 != number {
            let why = format!("{topic} {at:?} is {number} and {}", entry.0);
            self.faults.push(why);
            return;
        }
        match (entry.1, previous) {
            (Some(one), Some(other)) if one != other => {
                let why = format!("{topic} {at:?} comes behind {one} and {other}");
                self.faults.push(why);
            }
            (None, Some(_)) => entry.1 = previous,
            _ => {}
        }
    }

    pub(crate) fn receive(&mut self, index: usize, value: &Value) {
        self.told.push(format!("{index}: {value}"));
        let topic = value["topic"].as_str().unwrap_or_default().to_owned();
        let id = value["id"].as_u64();
        let at = value["epoch"]
            .as_str()
            .map(|epoch| At { epoch: epoch.to_owned(), offset: value["offset"].as_u64().unwrap() });
        match value["type"].as_str().unwrap() {
            "message" => self.message(index, &topic, value),
            "subscribed" => self.subscribed(index, topic, id.unwrap(), at.unwrap(), value["recovered"].as_bool()),
            "gap" => {
                self.gaps += 1;
                let member = &mut self.members[index];
                if !member.topics.get(&topic).is_some_and(|stage| *stage == Stage::Live || stage.is_ending()) {
                    self.fault(format!("client {index}: a gap of {topic}, which is not subscribed"));
                    return;
                }
                let (at, before) = (at.unwrap(), member.at.get(&topic).cloned());
                if let Some(before) = before
                    && before.epoch == at.epoch
                    && before.offset > at.offset
                {
                    self.fault(format!("client {index}: a gap of {topic} back from {before:?} to {at:?}"));
                }
                self.members[index].at.insert(topic, at);
            }
            "published" => {
                self.published += 1;
                let Some((topic, number)) = self.members[index].publishes.remove(&id.unwrap()) else {
                    self.fault(format!("client {index}: an answer to nothing: {value}"));
                    return;
                };
                if let Some(at) = at {
                    self.learn(&topic, &at, number, None);
                }
            }
            "unknown" | "error" => {
                let is_error = value["type"] == "error";
                *if is_error { &mut self.refused } else { &mut self.unknown } += 1;
                let member = &mut self.members[index];
                let was_publish = member.publishes.remove(&id.unwrap()).is_some();
                let asked = Stage::Asked(id.unwrap());
                let topic = member.topics.iter().find(|(_, stage)| **stage == asked).map(|(topic, _)| topic.clone());
                match topic {
                    Some(topic) if is_error => _ = member.topics.remove(&topic),
                    _ if was_publish || member.given_up.remove(&id.unwrap()) => {}
                    _ => self.fault(format!("client {index}: an answer to nothing: {value}")),
                }
            }
            "unsubscribed" => {
                let member = &mut self.members[index];
                // The next subscription may not ask for it.
                member.counts.remove(&topic);
                match member.topics.get(&topic).cloned() {
                    Some(Stage::Leaving) => _ = member.topics.remove(&topic),
                    Some(Stage::Again(id, at)) => {
                        member.topics.insert(topic.clone(), Stage::Asked(id));
                        match at {
                            Some(at) => member.at.insert(topic, at),
                            None => member.at.remove(&topic),
                        };
                    }
                    _ => self.fault(format!("client {index}: an answer to nothing: {value}")),
                }
            }
            "presence" => {
                let count = value["count"].as_u64().unwrap();
                self.members[index].counts.insert(topic, count);
            }
            other => self.fault(format!("client {index}: {other}")),
        }
    }

    fn subscribed(&mut self, index: usize, topic: String, id: u64, at: At, recovered: Option<bool>) {
        let member = &mut self.members[index];
        let stage = member.topics.get(&topic).cloned();
        if stage == Some(Stage::Asked(id)) {
            member.topics.insert(topic.clone(), Stage::Live);
        } else if !stage.as_ref().is_some_and(Stage::is_ending) {
            self.fault(format!("client {index}: an answer to nothing: {topic} {stage:?}"));
            return;
        }
        let member = &mut self.members[index];
        let before = member.at.insert(topic.clone(), at.clone());
        match (recovered, before) {
            (Some(true), Some(before)) => {
                self.recovered += 1;
                if before != at {
                    self.fault(format!("client {index}, {topic}: recovered, from {before:?} to {at:?}"));
                }
            }
            (Some(false), _) => self.gaps += 1,
            _ => {}
        }
    }

    fn message(&mut self, index: usize, topic: &str, value: &Value) {
        self.messages += 1;
        let (offset, previous) = (value["offset"].as_u64().unwrap(), value["previous"].as_u64().unwrap());
        let number = value["data"].as_str().unwrap().split(' ').next().unwrap().parse().unwrap();
        let (is_strict, drops_nothing) = (self.is_strict, self.drops_nothing);
        let member = &mut self.members[index];
        if !member.topics.get(topic).is_some_and(|stage| *stage == Stage::Live || stage.is_ending()) {
            self.fault(format!("client {index}: a message of {topic}, which is not subscribed"));
            return;
        }
        let at = member.at.get_mut(topic).unwrap();
        let seen = at.offset;
        if offset > seen {
            at.offset = offset;
        }
        let at = At { offset, ..at.clone() };
        // A server that knows less than the client of a history that all servers share may send what was seen; clients drop it.
        if offset <= seen && is_strict {
            self.fault(format!("client {index}, {topic}: {offset} after {seen}"));
        }
        if previous > seen {
            self.gaps += 1;
            if drops_nothing {
                self.fault(format!("client {index}, {topic}: {offset} behind {previous}, and {seen} was the last"));
            }
        }
        self.learn(topic, &at, number, Some(previous));
    }
}

pub(crate) struct Clients(pub(crate) Rc<RefCell<Log>>);

impl Clients {
    fn index(&self, id: ConnId) -> usize {
        self.0.borrow().members.iter().position(|member| member.id == Some(id)).unwrap()
    }
}

impl Handler for Clients {
    type State = usize;

    fn open(&mut self, cx: &mut MessageCx<'_, '_>, _: &Handshake<'_>) -> usize {
        let index = self.index(cx.id());
        self.0.borrow_mut().members[index].is_open = true;
        cx.request_writable();
        index
    }

    fn message(&mut self, _: &mut MessageCx<'_, '_>, index: &mut usize, message: Message<'_>) -> Result<(), Close> {
        let value: Value = serde_json::from_str(message.as_text().expect("all is text")).unwrap();
        self.0.borrow_mut().receive(*index, &value);
        Ok(())
    }

    fn writable(&mut self, cx: &mut MessageCx<'_, '_>, index: &mut usize) -> Result<(), Close> {
        let to_send = std::mem::take(&mut self.0.borrow_mut().members[*index].to_send);
        for text in to_send {
            cx.push(text).unwrap();
        }
        Ok(())
    }

    fn closed(&mut self, _: &mut ClosedCx<'_>, index: usize, _: Closed) {
        end(&mut self.0.borrow_mut().members[index]);
    }

    fn failed(&mut self, _: &mut ProtocolMut<'_>, id: ConnId, _: Failure) {
        let index = self.index(id);
        end(&mut self.0.borrow_mut().members[index]);
    }
}

/// Everything ends with the connection, but for what was seen.
fn end(member: &mut Member) {
    member.id = None;
    member.is_open = false;
    member.topics.clear();
    member.given_up.clear();
    member.counts.clear();
    member.publishes.clear();
    member.to_send.clear();
}

/// A request to subscribe.
pub(crate) fn subscribe(id: u64, topic: &str, since: Option<&At>, last: usize, presence: bool) -> String {
    let since = since.map(|at| json!({"epoch": at.epoch, "offset": at.offset}));
    json!({"type": "subscribe", "id": id, "topic": topic, "since": since, "last": last, "presence": presence})
        .to_string()
}
