//! The hub's side of one connection.

use std::sync::Arc;
use std::time::Duration;

use sockeye::messages::{Handler, Message, MessageCx};
use sockeye::protocol::ProtocolMut;
use sockeye::{Close, CloseCode, Closed, ClosedCx, ConnId, Handshake};

use crate::backplane::Position;
use crate::outlet::{Asker, Place};
use crate::permissions::Permissions;
use crate::shared::Shared;
use crate::state::{Reading, Receipt, Refusal, Subscribing, ToPublish};
use crate::topic::Next;
use crate::wire::reply::{self, Code, Frame};
use crate::wire::request::{self, BadRequest, Begin, What};

/// All connections of one thread.
pub(crate) struct Server<P> {
    shared: Arc<Shared>,
    permissions: P,
    thread: usize,
}

/// One connection.
pub(crate) struct Client<C> {
    own: C,
    subscriptions: Vec<Subscription>,
    /// Some are not joined yet.
    has_work: bool,
}

struct Subscription {
    topic: Box<str>,
    presence: bool,
    stage: Stage,
}

#[derive(Clone, Copy)]
enum Stage {
    /// For the broker.
    Waits { id: u64, begin: Begin },
    /// It reads what was before, and is here.
    Reads { at: Position },
    /// It gets what is published.
    Joined,
}

impl<P: Permissions> Server<P> {
    pub(crate) fn new(shared: Arc<Shared>, permissions: P, thread: usize) -> Self {
        Self { shared, permissions, thread }
    }

    fn place(&self, id: ConnId) -> Place {
        Place { thread: self.thread, id }
    }

    fn request(
        &mut self,
        cx: &mut MessageCx<'_, '_>,
        client: &mut Client<P::Client>,
        request: request::Request<'_>,
    ) -> Result<(), Close> {
        let id = request.id;
        let done = match request.what {
            What::Subscribe { topic, begin, presence } => self.subscribe(cx, client, id, topic, (begin, presence))?,
            What::Unsubscribe { topic } => {
                self.unsubscribe(cx, client, &topic);
                say(cx, reply::unsubscribed(Some(id), &topic, None))?;
                Ok(())
            }
            What::Authorize { token } => {
                if self.permissions.authorize(&mut client.own, &token) {
                    say(cx, reply::authorized(id))?;
                    Ok(())
                } else {
                    Err(Refusal::new(Code::Denied, "the token is not known here"))
                }
            }
            What::Publish { topic, key, data } => {
                if self.permissions.may_publish(&client.own, &topic) {
                    let (kind, payload) = (data.kind(), data.as_bytes());
                    let from = Some(Asker::Client(self.place(cx.id()), id));
                    let message = ToPublish { topic: &topic, key: key.as_deref(), kind, payload, from };
                    let shared = Arc::clone(&self.shared);
                    match shared.act(self.thread, cx, |state, now, out| state.publish(message, now, out)) {
                        Ok(Receipt::Done(position)) => say(cx, reply::published(id, position)).map(Ok)?,
                        Ok(Receipt::Unknown(reason)) => say(cx, reply::unknown(id, &reason)).map(Ok)?,
                        Ok(Receipt::Pending(_)) => Ok(()),
                        Err(refusal) => Err(refusal),
                    }
                } else {
                    Err(Refusal::new(Code::Denied, "this client may not publish to this topic"))
                }
            }
        };
        match done {
            Ok(()) => Ok(()),
            Err(Refusal { code, reason }) => say(cx, reply::error(Some(id), code, &reason)),
        }
    }

    fn subscribe(
        &mut self,
        cx: &mut MessageCx<'_, '_>,
        client: &mut Client<P::Client>,
        id: u64,
        topic: String,
        (begin, presence): (Begin, bool),
    ) -> Result<Result<(), Refusal>, Close> {
        if !self.permissions.may_subscribe(&client.own, &topic) {
            return Ok(Err(Refusal::new(Code::Denied, "this client may not subscribe to this topic")));
        }
        if client.subscriptions.iter().any(|other| *other.topic == *topic) {
            return Ok(Err(Refusal::new(Code::BadRequest, "it is subscribed to this topic already")));
        }
        let most = self.shared.config.topics_per_connection;
        if client.subscriptions.len() >= most {
            return Ok(Err(Refusal::new(Code::TooMany, format!("a connection has at most {most} topics"))));
        }
        let place = self.place(cx.id());
        let how = (begin, presence);
        let shared = Arc::clone(&self.shared);
        let begun =
            shared.act_on(self.thread, cx, &topic, |state, now, out| state.subscribe(place, &topic, how, now, out));
        let begun = match begun {
            Ok(begun) => begun,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut subscription = Subscription { topic: topic.into(), presence, stage: Stage::Waits { id, begin } };
        let result = self.begun(cx, &mut subscription, id, begun);
        client.has_work |= !matches!(subscription.stage, Stage::Joined);
        // Whatever the result: it is a subscriber, and leaves with the connection.
        client.subscriptions.push(subscription);
        result?;
        self.go_on(cx, client)?;
        Ok(Ok(()))
    }

    /// Answers, if the subscription has begun.
    fn begun(
        &self,
        cx: &mut MessageCx<'_, '_>,
        subscription: &mut Subscription,
        id: u64,
        begun: Subscribing,
    ) -> Result<(), Close> {
        let Subscribing::Begins { start, is_joined } = begun else { return Ok(()) };
        subscription.stage = if is_joined { Stage::Joined } else { Stage::Reads { at: start.at } };
        say(cx, reply::subscribed(id, &subscription.topic, start.at, start.recovered))?;
        if subscription.presence {
            let count = self.shared.look(|state| state.count(&subscription.topic));
            say(cx, reply::presence(&subscription.topic, count, 0, 0))?;
        }
        Ok(())
    }

    /// Goes on with the subscriptions that have not joined yet, as far as there is room.
    fn go_on(&self, cx: &mut MessageCx<'_, '_>, client: &mut Client<P::Client>) -> Result<(), Close> {
        if !client.has_work {
            return Ok(());
        }
        let mut refused = Vec::new();
        client.has_work = false;
        for subscription in &mut client.subscriptions {
            match self.advance(cx, subscription)? {
                Advance::Done => {}
                Advance::Later => client.has_work = true,
                Advance::Refused(id, refusal) => {
                    refused.push(subscription.topic.clone());
                    say(cx, reply::error(Some(id), refusal.code, &refusal.reason))?;
                }
            }
        }
        for topic in refused {
            self.unsubscribe(cx, client, &topic);
        }
        Ok(())
    }

    fn advance(&self, cx: &mut MessageCx<'_, '_>, subscription: &mut Subscription) -> Result<Advance, Close> {
        let (place, presence) = (self.place(cx.id()), subscription.presence);
        let shared = Arc::clone(&self.shared);
        if let Stage::Waits { id, begin } = subscription.stage {
            let how = (begin, presence);
            let topic = &subscription.topic;
            match shared.act_on(self.thread, cx, topic, |state, _, out| state.begin(place, topic, how, out)) {
                Ok(begun) => self.begun(cx, subscription, id, begun)?,
                Err(refusal) => return Ok(Advance::Refused(id, refusal)),
            }
        }
        loop {
            let at = match subscription.stage {
                Stage::Joined => return Ok(Advance::Done),
                // It is woken.
                Stage::Waits { .. } => return Ok(Advance::Later),
                Stage::Reads { at } => at,
            };
            if cx.outbox().bytes() > READ_AHEAD {
                cx.request_writable();
                return Ok(Advance::Later);
            }
            let topic = &subscription.topic;
            match shared.act_on(self.thread, cx, topic, |state, _, out| state.read(place, topic, at, presence, out)) {
                Reading::Joined => subscription.stage = Stage::Joined,
                Reading::Busy => {
                    cx.set_timer(AGAIN);
                    return Ok(Advance::Later);
                }
                Reading::Next(Next::Gap(position)) => {
                    say(cx, reply::gap(topic, position))?;
                    subscription.stage = Stage::Reads { at: position };
                }
                Reading::Next(Next::Frames(frames, offset)) => {
                    for frame in frames {
                        let pushed = match &frame {
                            Frame::Text(text) => cx.push(&**text),
                            Frame::Binary(payload) => cx.push(&**payload),
                        };
                        pushed.map_err(|_| CloseCode::TRY_AGAIN)?;
                    }
                    subscription.stage = Stage::Reads { at: Position { offset, ..at } };
                }
                Reading::Next(Next::Current) => return Ok(Advance::Later),
            }
        }
    }

    fn unsubscribe(&self, cx: &mut MessageCx<'_, '_>, client: &mut Client<P::Client>, topic: &str) {
        let Some(at) = client.subscriptions.iter().position(|other| *other.topic == *topic) else { return };
        let subscription = client.subscriptions.remove(at);
        let place = self.place(cx.id());
        let shared = Arc::clone(&self.shared);
        shared.leave(self.thread, cx, place, &subscription.topic, subscription.presence);
    }
}

enum Advance {
    Done,
    Later,
    Refused(u64, Refusal),
}

/// While so much waits, no more of a history is added.
const READ_AHEAD: usize = 64 * 1024;

/// When a queue was full, it is tried again after this.
const AGAIN: Duration = Duration::from_millis(10);

/// Answers. The loop stops reading from a client whose answers pile up, so there is room.
fn say(cx: &mut MessageCx<'_, '_>, text: String) -> Result<(), Close> {
    cx.push(text).map_err(|_| CloseCode::TRY_AGAIN.into())
}

impl<P: Permissions> Handler for Server<P> {
    type State = Client<P::Client>;

    fn open(&mut self, _: &mut MessageCx<'_, '_>, handshake: &Handshake<'_>) -> Self::State {
        Client { own: self.permissions.open(handshake), subscriptions: Vec::new(), has_work: false }
    }

    fn message(
        &mut self,
        cx: &mut MessageCx<'_, '_>,
        client: &mut Self::State,
        message: Message<'_>,
    ) -> Result<(), Close> {
        match request::parse(&message) {
            Ok(request) => self.request(cx, client, request),
            Err(BadRequest { id, reason }) => say(cx, reply::error(id, Code::BadRequest, reason)),
        }
    }

    fn writable(&mut self, cx: &mut MessageCx<'_, '_>, client: &mut Self::State) -> Result<(), Close> {
        self.go_on(cx, client)
    }

    fn timer(&mut self, cx: &mut MessageCx<'_, '_>, client: &mut Self::State) -> Result<(), Close> {
        self.go_on(cx, client)
    }

    fn closed(&mut self, cx: &mut ClosedCx<'_>, client: Self::State, _: Closed) {
        let place = self.place(cx.id());
        for Subscription { topic, presence, .. } in client.subscriptions {
            self.shared.leave(self.thread, cx, place, &topic, presence);
        }
    }

    fn own_timer(&mut self, own: &mut ProtocolMut<'_>, token: u64) {
        if token == crate::shared::PRESENCE {
            self.shared.tell_presence(self.thread, own);
        }
    }

    fn interval(&self) -> Option<Duration> {
        // Any thread may be the only one that has clients.
        Some(Duration::from_secs(1))
    }

    fn tick(&mut self, own: &mut ProtocolMut<'_>) {
        self.shared.act(self.thread, own, |state, now, out| state.tick(now, out));
    }
}
