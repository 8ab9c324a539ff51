//! A broker for the simulated network, with a protocol of lines of JSON, and the backplane that speaks it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::rc::Rc;

use serde_json::{Value, json};
use sockeye::ConnId;
use sockeye::proto::wire::MessageKind;
use sockeye::raw::{Raw, RawClose, RawClosed, RawClosedCx, RawCx, RawWritable};
use sockeye_hub::backplane::{
    Backplane, BrokerError, Event, Io, Loaded, Place, Position, Publish, PublishError, Security, Stored,
};

/// So many messages of each topic are kept.
pub(crate) const KEPT: usize = 20;

/// What a broker knows, which outlives its process.
#[derive(Default)]
pub(crate) struct Store {
    /// With the epoch; `None` is a broker that keeps nothing.
    pub(crate) epoch: Option<u64>,
    pub(crate) topics: BTreeMap<String, Kept>,
    /// Whose next subscription it refuses.
    pub(crate) refuses: BTreeSet<String>,
    /// Whose subscriptions it ends with the next message.
    pub(crate) ends: BTreeSet<String>,
    /// Whose next message it loses, and says so.
    pub(crate) loses: BTreeSet<String>,
}

#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) base: u64,
    pub(crate) offset: u64,
    /// Offset, previous, data and key.
    pub(crate) messages: VecDeque<(u64, u64, String, Value)>,
}

/// The broker's side.
pub(crate) struct Broker {
    store: Rc<RefCell<Store>>,
    clients: BTreeMap<ConnId, Client>,
}

#[derive(Default)]
struct Client {
    /// With the number of the request that each was subscribed to by.
    topics: BTreeMap<String, u64>,
    out: Vec<u8>,
}

impl Broker {
    pub(crate) fn new(store: Rc<RefCell<Store>>) -> Self {
        Self { store, clients: BTreeMap::new() }
    }

    fn line(&mut self, from: ConnId, line: &Value) {
        let topic = line["topic"].as_str().unwrap_or_default().to_owned();
        let mut store = self.store.borrow_mut();
        let answer = match line["do"].as_str().unwrap() {
            "ping" => json!({"is": "pong"}),
            "unsubscribe" => {
                self.clients.get_mut(&from).unwrap().topics.remove(&topic);
                return;
            }
            "subscribe" if store.refuses.remove(&topic) => {
                json!({"is": "unsubscribed", "topic": topic, "number": line["number"]})
            }
            "subscribe" => {
                let number = line["number"].as_u64().unwrap();
                self.clients.get_mut(&from).unwrap().topics.insert(topic.clone(), number);
                let history = store.epoch.map(|epoch| {
                    let kept = store.topics.get(&topic);
                    let messages: Vec<Value> = kept
                        .into_iter()
                        .flat_map(|kept| &kept.messages)
                        .map(|(offset, previous, data, key)| {
                            json!({"offset": offset, "previous": previous, "data": data, "key": key})
                        })
                        .collect();
                    json!({"epoch": epoch, "base": kept.map_or(0, |kept| kept.base),
                        "offset": kept.map_or(0, |kept| kept.offset), "messages": messages})
                });
                json!({"is": "subscribed", "topic": topic, "number": number, "history": history})
            }
            "publish" => {
                let mut message = json!({"is": "message", "topic": topic, "data": line["data"], "key": line["key"],
                    "offset": 0, "previous": 0});
                let mut position = Value::Null;
                if let Some(epoch) = store.epoch {
                    let kept = store.topics.entry(topic.clone()).or_default();
                    let previous = kept.offset;
                    kept.offset += 1 + previous % 3;
                    let data = line["data"].as_str().unwrap().to_owned();
                    kept.messages.push_back((kept.offset, previous, data, line["key"].clone()));
                    if kept.messages.len() > KEPT {
                        kept.base = kept.messages.pop_front().unwrap().0;
                    }
                    message["offset"] = kept.offset.into();
                    message["previous"] = previous.into();
                    position = json!({"epoch": epoch, "offset": kept.offset});
                }
                let keeps = store.epoch.is_some();
                if !keeps && store.loses.remove(&topic) {
                    message = json!({"is": "missed", "topic": topic});
                }
                let has_ended = store.ends.remove(&topic);
                let bytes = format!("{message}\n");
                for (id, client) in &mut self.clients {
                    if client.topics.contains_key(&topic) && (keeps || *id != from) {
                        client.out.extend_from_slice(bytes.as_bytes());
                    }
                    let number = if has_ended { client.topics.remove(&topic) } else { None };
                    if let Some(number) = number {
                        let end = json!({"is": "unsubscribed", "topic": topic, "number": number});
                        client.out.extend_from_slice(format!("{end}\n").as_bytes());
                    }
                }
                json!({"is": "published", "ticket": line["ticket"], "position": position})
            }
            other => panic!("{other}"),
        };
        let client = self.clients.get_mut(&from).unwrap();
        client.out.extend_from_slice(format!("{answer}\n").as_bytes());
    }
}

impl Raw for Broker {
    type Session = Vec<u8>;

    fn name(&self) -> &str {
        "broker"
    }

    fn open(&mut self, cx: &mut RawCx<'_>) -> Vec<u8> {
        self.clients.insert(cx.id(), Client { out: b"{\"is\":\"ready\"}\n".to_vec(), ..Client::default() });
        cx.request_writable();
        Vec::new()
    }

    fn receive(&mut self, cx: &mut RawCx<'_>, part: &mut Vec<u8>, bytes: &[u8]) -> Result<(), RawClose> {
        part.extend_from_slice(bytes);
        while let Some(end) = part.iter().position(|byte| *byte == b'\n') {
            let line = serde_json::from_slice(&part[..end]).expect("a line of JSON");
            part.drain(..=end);
            self.line(cx.id(), &line);
        }
        cx.own_endpoint().request_writable();
        Ok(())
    }

    fn writable(&mut self, cx: &mut RawCx<'_>, _: &mut Vec<u8>, tx: RawWritable<'_>) -> Result<(), RawClose> {
        let client = self.clients.get_mut(&cx.id()).unwrap();
        if !client.out.is_empty() {
            let _ = tx.write(&std::mem::take(&mut client.out));
        }
        Ok(())
    }

    fn closed(&mut self, cx: &mut RawClosedCx<'_>, _: Vec<u8>, _: RawClosed) {
        self.clients.remove(&cx.id());
    }
}

/// The hub's side.
pub(crate) struct Lines {
    keeps: bool,
    part: Vec<u8>,
    /// The last request for each topic, by its number, until the topic is left or the broker ends it.
    wanted: HashMap<String, u64>,
    /// For which an answer is awaited.
    asked: HashSet<String>,
    requests: u64,
    after: BTreeMap<String, Position>,
}

impl Lines {
    pub(crate) fn new(keeps: bool) -> Self {
        Self {
            keeps,
            part: Vec::new(),
            wanted: HashMap::new(),
            asked: HashSet::new(),
            requests: 0,
            after: BTreeMap::new(),
        }
    }

    fn line(&mut self, line: &Value, io: &mut Io<'_>) {
        let topic = line["topic"].as_str().unwrap_or_default().to_owned();
        let number = |value: &Value| value.as_u64().unwrap();
        let stored = |value: &Value| Stored {
            kind: MessageKind::Text,
            key: value["key"].as_str().map(Into::into),
            payload: value["data"].as_str().unwrap().into(),
            offset: number(&value["offset"]),
            previous: number(&value["previous"]),
        };
        match line["is"].as_str().unwrap() {
            "ready" => io.event(Event::Ready { most_bytes: 5000 }),
            "pong" => {}
            "published" => {
                let at = &line["position"];
                let position =
                    at.is_object().then(|| Position { epoch: number(&at["epoch"]), offset: number(&at["offset"]) });
                io.event(Event::Published { ticket: number(&line["ticket"]), position });
            }
            "missed" => io.event(Event::Missed { topic }),
            // What is said of a subscription that the hub has left is not said of the next one.
            "unsubscribed" | "subscribed" if self.wanted.get(&topic) != Some(&number(&line["number"])) => {}
            "unsubscribed" => {
                self.wanted.remove(&topic);
                self.asked.remove(&topic);
                io.event(Event::Unsubscribed { topic, reason: "it does as it likes".into() });
            }
            "message" => io.event(Event::Message { topic, message: stored(line) }),
            "subscribed" => {
                assert!(self.asked.remove(&topic), "one answer");
                let after = self.after.remove(&topic);
                let history = line["history"].as_object().map(|history| {
                    let base = Position { epoch: number(&history["epoch"]), offset: number(&history["base"]) };
                    let is_complete =
                        after.is_none_or(|after| after.epoch == base.epoch && after.offset >= base.offset);
                    let messages = history["messages"].as_array().unwrap().iter().map(stored).collect();
                    Loaded { base, messages, offset: number(&history["offset"]), is_complete }
                });
                io.event(Event::Subscribed { topic, history });
            }
            other => panic!("{other}"),
        }
    }

    fn say(io: &mut Io<'_>, line: &Value) {
        io.out().extend_from_slice(format!("{line}\n").as_bytes());
    }
}

impl Backplane for Lines {
    fn name(&self) -> &'static str {
        "lines"
    }

    fn place(&self) -> Place {
        Place { host: "10.0.9.9".into(), port: 4000, security: Security::Plain }
    }

    fn keeps_history(&self) -> bool {
        self.keeps
    }

    fn opened(&mut self, _: &mut Io<'_>) {}

    fn receive(&mut self, bytes: &[u8], io: &mut Io<'_>) -> Result<(), BrokerError> {
        self.part.extend_from_slice(bytes);
        while let Some(end) = self.part.iter().position(|byte| *byte == b'\n') {
            let line = serde_json::from_slice(&self.part[..end]).expect("a line of JSON");
            self.part.drain(..=end);
            self.line(&line, io);
        }
        Ok(())
    }

    fn lost(&mut self) {
        *self = Self::new(self.keeps);
    }

    fn ping(&mut self, io: &mut Io<'_>) {
        Self::say(io, &json!({"do": "ping"}));
    }

    fn subscribe(&mut self, topic: &str, after: Option<Position>, io: &mut Io<'_>) -> Result<(), PublishError> {
        assert!(self.asked.insert(topic.into()), "asked twice for {topic}");
        if let Some(after) = after {
            self.after.insert(topic.into(), after);
        }
        self.requests += 1;
        self.wanted.insert(topic.into(), self.requests);
        Self::say(io, &json!({"do": "subscribe", "topic": topic, "number": self.requests}));
        Ok(())
    }

    fn unsubscribe(&mut self, topic: &str, io: &mut Io<'_>) {
        self.wanted.remove(topic);
        self.asked.remove(topic);
        self.after.remove(topic);
        Self::say(io, &json!({"do": "unsubscribe", "topic": topic}));
    }

    fn publish(&mut self, message: Publish<'_>, io: &mut Io<'_>) -> Result<(), PublishError> {
        let Publish { ticket, topic, key, payload, .. } = message;
        let text = |bytes| std::str::from_utf8(bytes).unwrap();
        let line =
            json!({"do": "publish", "ticket": ticket, "topic": topic, "data": text(payload), "key": key.map(text)});
        if line.to_string().len() > io.room() {
            return Err(PublishError::QueueFull);
        }
        Self::say(io, &line);
        Ok(())
    }
}
