//! The protocol of the clients under test: it notes what it is called for, and holds every callback to the rules.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use sockeye::client::{FailureCause, HandshakeHead, Retry};
use sockeye::proto::conn::ControlPayload;
use sockeye::proto::time::Instant;
use sockeye::proto::wire::MessageKind;
use sockeye::protocol::{Fragmented, ProtocolMut};
use sockeye::{Close, Closed, ClosedCx, ConnId, Cx, Failure, Fragment, Handshake, Protocol, Tx};

pub const NAME: &str = "probe";

/// What a client came to.
#[derive(Debug)]
pub enum Seen {
    Open(Option<String>),
    Message(MessageKind, Vec<u8>),
    Pong(Vec<u8>),
    Failed(Failure),
    Closed(Closed, Option<Retry>),
}

/// What a client is to send.
#[derive(Clone, Debug)]
pub enum Say {
    Message(MessageKind, Vec<u8>),
    Owned(MessageKind, Vec<u8>),
    Fragments(MessageKind, VecDeque<Vec<u8>>),
    Ping(Vec<u8>),
}

type InOpen = Box<dyn FnMut(&mut Cx<'_>)>;
type InFailed = Box<dyn FnMut(&mut ProtocolMut<'_>, ConnId, &Failure)>;
type InClosed = Box<dyn FnMut(&mut ClosedCx<'_>, &Closed)>;
type InHead = Box<dyn FnMut(&mut ProtocolMut<'_>, ConnId)>;
type InTick = Box<dyn FnMut(&mut ProtocolMut<'_>)>;

#[derive(Default)]
pub struct Notes {
    pub seen: RefCell<Vec<(Instant, ConnId, Seen)>>,
    /// The heads of handshakes, marked as curl does: `>` if sent, `<` if received, and `p` if of a proxy.
    pub heads: RefCell<Vec<(ConnId, String)>>,
    /// What waits to be sent.
    pub queues: RefCell<HashMap<ConnId, VecDeque<Say>>>,
    /// What else the callbacks do.
    pub in_open: RefCell<Option<InOpen>>,
    pub in_failed: RefCell<Option<InFailed>>,
    pub in_closed: RefCell<Option<InClosed>>,
    pub in_head: RefCell<Option<InHead>>,
    pub in_tick: RefCell<Option<InTick>>,
    /// Messages are sent back.
    pub echoes: Cell<bool>,
    inside: Cell<bool>,
    open: RefCell<HashSet<ConnId>>,
    over: RefCell<HashSet<ConnId>>,
    /// Each session has a share.
    pub sessions: Rc<()>,
}

impl Notes {
    fn enter(self: &Rc<Self>) -> Inside {
        assert!(!self.inside.replace(true), "a callback inside another");
        Inside(self.clone())
    }

    fn note(&self, now: Instant, id: ConnId, seen: Seen) {
        self.seen.borrow_mut().push((now, id, seen));
    }

    /// Ids that have had their outcome, and are not open any more.
    pub fn is_over(&self, id: ConnId) -> bool {
        self.over.borrow().contains(&id)
    }

    pub fn is_open(&self, id: ConnId) -> bool {
        self.open.borrow().contains(&id)
    }

    /// What this client came to.
    pub fn of<T>(&self, id: ConnId, look: impl Fn(&Seen) -> Option<T>) -> Vec<T> {
        self.seen.borrow().iter().filter(|(_, of, _)| *of == id).filter_map(|(_, _, seen)| look(seen)).collect()
    }

    pub fn messages(&self, id: ConnId) -> Vec<(MessageKind, Vec<u8>)> {
        self.of(id, |seen| match seen {
            Seen::Message(kind, payload) => Some((*kind, payload.clone())),
            _ => None,
        })
    }

    pub fn closed(&self, id: ConnId) -> Option<(Closed, Option<Retry>)> {
        let closed = self.of(id, |seen| match seen {
            Seen::Closed(closed, retry) => Some((closed.clone(), *retry)),
            _ => None,
        });
        assert!(closed.len() <= 1);
        closed.into_iter().next()
    }

    /// The failure of a connect, as one looks at it.
    pub fn failure<T>(&self, id: ConnId, look: impl Fn(&Failure) -> T) -> Option<T> {
        let failed = self.of(id, |seen| match seen {
            Seen::Failed(failure) => Some(look(failure)),
            _ => None,
        });
        assert!(failed.len() <= 1);
        failed.into_iter().next()
    }

    pub fn retry(&self, id: ConnId) -> Option<Retry> {
        self.failure(id, |failure| failure.retry).flatten().or_else(|| self.closed(id)?.1)
    }
}

struct Inside(Rc<Notes>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.inside.set(false);
    }
}

pub struct Probe {
    pub notes: Rc<Notes>,
    pub interval: Option<Duration>,
}

pub struct Session {
    partial: Vec<u8>,
    /// Of a message that was begun.
    rest: VecDeque<Vec<u8>>,
    _alive: Rc<()>,
}

impl Protocol for Probe {
    type Session = Session;

    fn name(&self) -> &str {
        NAME
    }

    fn open(&mut self, cx: &mut Cx<'_>, handshake: &Handshake<'_>) -> Session {
        let notes = self.notes.clone();
        let _inside = notes.enter();
        let id = cx.id();
        assert!(cx.is_client() && cx.is_open(id));
        assert!(!notes.is_over(id) && notes.open.borrow_mut().insert(id), "open came twice");
        notes.note(cx.now(), id, Seen::Open(handshake.subprotocol().map(str::to_owned)));
        if notes.queues.borrow().contains_key(&id) {
            cx.request_writable();
        }
        if let Some(hook) = &mut *notes.in_open.borrow_mut() {
            hook(cx);
        }
        Session { partial: Vec::new(), rest: VecDeque::new(), _alive: notes.sessions.clone() }
    }

    fn receive(&mut self, cx: &mut Cx<'_>, session: &mut Session, fragment: Fragment<'_>) -> Result<(), Close> {
        let _inside = self.notes.enter();
        let id = cx.id();
        assert!(self.notes.is_open(id));
        session.partial.extend_from_slice(fragment.payload.as_bytes());
        if fragment.last {
            let payload = std::mem::take(&mut session.partial);
            if self.notes.echoes.get() {
                let say = Say::Message(fragment.kind, payload.clone());
                self.notes.queues.borrow_mut().entry(id).or_default().push_back(say);
                cx.request_writable();
            }
            self.notes.note(cx.now(), id, Seen::Message(fragment.kind, payload));
        }
        Ok(())
    }

    fn writable(&mut self, cx: &mut Cx<'_>, session: &mut Session, tx: Tx<'_>) -> Result<(), Close> {
        let _inside = self.notes.enter();
        assert!(self.notes.is_open(cx.id()));
        let mut queues = self.notes.queues.borrow_mut();
        let queue = queues.entry(cx.id()).or_default();
        let mut next = match tx {
            Tx::Idle(writable) => Some(writable),
            Tx::Mid(fragmented) => go_on(fragmented, &mut session.rest),
            _ => None,
        };
        while let Some(mut writable) = next.take() {
            let Some(say) = queue.pop_front() else { break };
            next = match say {
                Say::Ping(payload) => {
                    writable.ping(ControlPayload::new(&payload).unwrap());
                    Some(writable)
                }
                Say::Message(MessageKind::Text, payload) => {
                    writable.text(std::str::from_utf8(&payload).unwrap()).more()
                }
                Say::Message(MessageKind::Binary, payload) => writable.binary(&payload).more(),
                Say::Owned(MessageKind::Text, payload) => {
                    writable.text_owned(String::from_utf8(payload).unwrap()).more()
                }
                Say::Owned(MessageKind::Binary, payload) => writable.binary_owned(payload).more(),
                Say::Fragments(kind, mut pieces) => {
                    let first = pieces.pop_front().unwrap_or_default();
                    session.rest = pieces;
                    match kind {
                        MessageKind::Text => {
                            let begun = writable.begin_text(std::str::from_utf8(&first).unwrap());
                            begun.more().and_then(|next| go_on(Fragmented::Text(next), &mut session.rest))
                        }
                        MessageKind::Binary => {
                            let begun = writable.begin_binary(&first);
                            begun.more().and_then(|next| go_on(Fragmented::Binary(next), &mut session.rest))
                        }
                    }
                }
            };
        }
        if !queue.is_empty() || !session.rest.is_empty() {
            cx.request_writable();
        }
        Ok(())
    }

    fn closed(&mut self, cx: &mut ClosedCx<'_>, _: Session, closed: Closed) {
        let notes = self.notes.clone();
        let _inside = notes.enter();
        let id = cx.id();
        assert!(notes.open.borrow_mut().remove(&id), "closed without open");
        notes.over.borrow_mut().insert(id);
        if let Some(hook) = &mut *notes.in_closed.borrow_mut() {
            hook(cx, &closed);
        }
        notes.note(cx.now(), id, Seen::Closed(closed, cx.retry()));
    }

    fn handshake_head(&mut self, own: &mut ProtocolMut<'_>, id: ConnId, head: HandshakeHead<'_>) {
        let _inside = self.notes.enter();
        assert!(!self.notes.is_open(id) && !self.notes.is_over(id), "a head comes before the outcome");
        let mark = format!("{}{} ", if head.is_of_proxy() { "p" } else { "" }, if head.is_sent() { '>' } else { '<' });
        self.notes.heads.borrow_mut().push((id, mark + &String::from_utf8_lossy(head.bytes())));
        if let Some(hook) = &mut *self.notes.in_head.borrow_mut() {
            hook(own, id);
        }
    }

    fn failed(&mut self, own: &mut ProtocolMut<'_>, id: ConnId, failure: Failure) {
        let notes = self.notes.clone();
        let _inside = notes.enter();
        assert!(!notes.is_open(id) && notes.over.borrow_mut().insert(id), "a second outcome");
        assert!(!own.is_open(id));
        assert!(
            !failure.to_string().is_empty()
                && !matches!(failure.cause, FailureCause::Io(ref e) if e.to_string().is_empty())
        );
        if let Some(hook) = &mut *notes.in_failed.borrow_mut() {
            hook(own, id, &failure);
        }
        notes.note(own.now(), id, Seen::Failed(failure));
    }

    fn pong(&mut self, cx: &mut Cx<'_>, _: &mut Session, payload: &[u8]) -> Result<(), Close> {
        let _inside = self.notes.enter();
        self.notes.note(cx.now(), cx.id(), Seen::Pong(payload.to_vec()));
        Ok(())
    }

    fn interval(&self) -> Option<Duration> {
        self.interval
    }

    fn tick(&mut self, own: &mut ProtocolMut<'_>) {
        let _inside = self.notes.enter();
        if let Some(hook) = &mut *self.notes.in_tick.borrow_mut() {
            hook(own);
        }
    }
}

/// Goes on with a fragmented message as far as may be.
fn go_on<'t>(mut fragmented: Fragmented<'t>, rest: &mut VecDeque<Vec<u8>>) -> Option<sockeye::Writable<'t>> {
    loop {
        let piece = rest.pop_front().unwrap_or_default();
        let text = || std::str::from_utf8(&piece).unwrap();
        fragmented = match (fragmented, rest.is_empty()) {
            (Fragmented::Text(permission), true) => return permission.finish(text()).more(),
            (Fragmented::Binary(permission), true) => return permission.finish(&piece).more(),
            (Fragmented::Text(permission), false) => Fragmented::Text(permission.fragment(text()).more()?),
            (Fragmented::Binary(permission), false) => Fragmented::Binary(permission.fragment(&piece).more()?),
            _ => unreachable!("there are two kinds"),
        };
    }
}
