//! A client of a server, which publishes and subscribes.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use sockeye::messages::{Handler, Message, MessageCx};
use sockeye::protocol::ProtocolMut;
use sockeye::{Close, CloseCode, Closed, ClosedCx, ConnId, Failure, Handshake};
use sockeye_hub::client::{Asked, Client, HubEvent as Event, Subscribe};

use crate::ledger::{Ledger, Name, TOPICS, topic_name};

/// What all members and the test share.
pub(crate) struct Common {
    pub(crate) ledger: Ledger,
    pub(crate) is_publishing: bool,
    /// How many answers a member waits for.
    pub(crate) window: usize,
    /// Of each member.
    pub(crate) status: Vec<Status>,
    /// Why messages were not acknowledged: by member and reason, how often.
    pub(crate) reasons: BTreeMap<(usize, String), u64>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Status {
    pub(crate) is_open: bool,
    /// Topics whose subscription was confirmed.
    pub(crate) subscribed: usize,
    pub(crate) unanswered: usize,
    pub(crate) acknowledged: u64,
    pub(crate) not_acknowledged: u64,
    pub(crate) connections: u32,
}

pub(crate) struct Member {
    index: usize,
    client: Client,
    common: Rc<RefCell<Common>>,
    published: HashMap<u64, Name>,
    /// Until the next tick, since something was not acknowledged.
    pauses: bool,
}

impl Member {
    pub(crate) fn new(index: usize, common: &Rc<RefCell<Common>>) -> Self {
        let mut client = Client::new();
        for topic in 0..TOPICS {
            client.subscribe(&topic_name(topic), Subscribe::default()).expect("a name");
        }
        Self { index, client, common: Rc::clone(common), published: HashMap::new(), pauses: false }
    }

    fn hear(&mut self, event: Event<'_>) {
        let common = &mut *self.common.borrow_mut();
        let (status, ledger) = (&mut common.status[self.index], &mut common.ledger);
        match event {
            Event::Subscribed { topic, at, .. } => {
                status.subscribed += 1;
                ledger.subscribed(self.index, number(&topic), &at);
            }
            Event::Gap { topic, after, until } => ledger.gap(self.index, number(&topic), &after, &until),
            Event::Message { topic, payload, .. } => {
                let (text, is_binary) = match &payload {
                    Message::Text(text) => (&**text, false),
                    Message::Binary(bytes) => (std::str::from_utf8(bytes).unwrap_or_default(), true),
                };
                let name = Name::parse(text).unwrap_or_else(|| panic!("{text:?} was never published"));
                assert_eq!(name.is_binary(), is_binary, "{name:?}");
                let at = self.client.bookmark(&topic).expect("the place of a message");
                ledger.saw(self.index, number(&topic), name, at);
            }
            Event::Published { id, at } => {
                status.acknowledged += 1;
                ledger.acknowledged(self.published.remove(&id).expect("an answer to a publish"), at.as_ref());
            }
            Event::Unknown { id, reason } | Event::Refused { asked: Some(Asked::Publish(id)), reason, .. } => {
                *common.reasons.entry((self.index, reason.into_owned())).or_default() += 1;
                status.not_acknowledged += 1;
                self.pauses = true;
                ledger.not_acknowledged(self.published.remove(&id).expect("an answer to a publish"));
            }
            Event::Refused { code, reason, .. } => assert!(code.is_temporary(), "{code}: {reason}"),
            event => panic!("{event:?}"),
        }
        status.unanswered = self.client.unanswered();
    }

    /// Publishes as many as may be on their way.
    fn publish(&mut self, cx: &mut MessageCx<'_, '_>) {
        let common = &mut *self.common.borrow_mut();
        while common.is_publishing && !self.pauses && self.client.unanswered() < common.window {
            let name = common.ledger.next(self.index);
            let (topic, text) = (topic_name(name.topic()), name.text());
            let payload = if name.is_binary() { Message::from(text.as_bytes()) } else { Message::from(text.as_str()) };
            let (id, request) = self.client.publish(&topic, payload, None).expect("a connection");
            common.ledger.sent(name, common.status[self.index].connections);
            self.published.insert(id, name);
            push(cx, request);
        }
        common.status[self.index].unanswered = self.client.unanswered();
    }
}

impl Handler for Member {
    type State = ();

    fn open(&mut self, cx: &mut MessageCx<'_, '_>, _: &Handshake<'_>) {
        let status = &mut self.common.borrow_mut().status[self.index];
        (status.is_open, status.subscribed) = (true, 0);
        status.connections += 1;
        for request in self.client.opened() {
            push(cx, request.into());
        }
    }

    fn message(&mut self, cx: &mut MessageCx<'_, '_>, (): &mut (), message: Message<'_>) -> Result<(), Close> {
        for event in self.client.received(&message)? {
            self.hear(event);
        }
        self.publish(cx);
        Ok(())
    }

    fn writable(&mut self, cx: &mut MessageCx<'_, '_>, (): &mut ()) -> Result<(), Close> {
        for request in self.client.retry() {
            push(cx, request.into());
        }
        self.publish(cx);
        Ok(())
    }

    fn closed(&mut self, _: &mut ClosedCx<'_>, (): (), _: Closed) {
        let lost: Vec<_> = self.client.lost().collect();
        lost.into_iter().for_each(|event| self.hear(event));
        let status = &mut self.common.borrow_mut().status[self.index];
        (status.is_open, status.subscribed) = (false, 0);
    }

    /// The next attempt follows.
    fn failed(&mut self, _: &mut ProtocolMut<'_>, _: ConnId, _: Failure) {}

    fn interval(&self) -> Option<Duration> {
        Some(Duration::from_millis(20))
    }

    /// What was refused for now is tried again.
    fn tick(&mut self, own: &mut ProtocolMut<'_>) {
        self.pauses = false;
        own.request_writable();
    }
}

fn push(cx: &mut MessageCx<'_, '_>, request: Message<'_>) {
    // A window of requests is far below what the outbox takes.
    if cx.push(request).is_err() {
        cx.close(CloseCode::TRY_AGAIN);
    }
}

/// That of a topic.
fn number(topic: &str) -> usize {
    (0..TOPICS)
        .find(|number| topic_name(*number) == topic)
        .unwrap_or_else(|| panic!("{topic} is not a topic of this test"))
}
