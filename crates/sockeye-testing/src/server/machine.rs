//! The server's protocol: it sends messages back, and does what messages that begin with `!` say.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use sockeye::proto::close::Initiator;
use sockeye::proto::wire::MessageKind;
use sockeye::protocol::{AfterFragment, AfterSend, Fragmented};
use sockeye::{
    Close, CloseCode, Closed, ClosedCx, ConnId, Cx, Decision, Fragment, Handshake, Protocol, Request, Tx, Writable,
};
use sockeye_proto::conn::ControlPayload;
use sockeye_proto::time::Instant;

use super::hub::Hub;
use crate::rng::Rng;

pub const NAME: &str = "machine";

pub struct Machine {
    pub hub: Rc<Hub>,
    /// From `filter`, for the `open` that follows it.
    pub target: (usize, String),
}

/// What waits to be sent to one connection, in order.
enum Reply {
    Message { kind: MessageKind, payload: Vec<u8>, owned: bool },
    Fragments { kind: MessageKind, pieces: VecDeque<Vec<u8>> },
    Ping(Vec<u8>),
}

pub struct Session {
    peer: usize,
    rng: Rng,
    replies: VecDeque<Reply>,
    /// The rest of the fragmented message that was begun.
    rest: Option<VecDeque<Vec<u8>>>,
    partial: Option<(MessageKind, Vec<u8>)>,
    timer: Option<Instant>,
    resume: Option<Instant>,
    again: u32,
    published: u32,
    /// Counts the sessions that are kept.
    _alive: Rc<()>,
}

impl Machine {
    pub fn new(hub: &Rc<Hub>) -> Self {
        Self { hub: hub.clone(), target: (0, String::new()) }
    }

    fn ask(&self, cx: &mut Cx<'_>, session: &Session) {
        self.hub.asked(session.peer);
        cx.request_writable();
    }

    fn message(
        &self,
        cx: &mut Cx<'_>,
        session: &mut Session,
        kind: MessageKind,
        payload: Vec<u8>,
    ) -> Result<(), Close> {
        let shown = String::from_utf8_lossy(&payload).chars().take(40).collect::<String>();
        self.hub.note(cx.now(), || format!("{} received {} bytes: {shown}", session.peer, payload.len()));
        self.hub
            .of(session.peer, |notes| notes.received.push(format!("{kind:?} {} {:x}", payload.len(), hash(&payload))));
        let command = std::str::from_utf8(&payload).ok().and_then(|text| text.strip_prefix('!')).map(str::to_owned);
        match command.filter(|_| kind == MessageKind::Text) {
            Some(command) => self.command(cx, session, &command)?,
            None => session.replies.push_back(Reply::Message { kind, payload, owned: false }),
        }
        if !session.replies.is_empty() {
            self.ask(cx, session);
        }
        Ok(())
    }

    fn command(&self, cx: &mut Cx<'_>, session: &mut Session, command: &str) -> Result<(), Close> {
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        let number = || rest.split(' ').next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0);
        let after = || rest.split_once(' ').map_or("", |(_, after)| after);
        match verb {
            "frag" => session.replies.push_back(fragments(number() as usize, after())),
            "big" => {
                let payload = pattern(number() as usize);
                session.replies.push_back(Reply::Message { kind: MessageKind::Binary, payload, owned: false });
            }
            "own" => {
                let payload = rest.as_bytes().to_vec();
                session.replies.push_back(Reply::Message { kind: MessageKind::Text, payload, owned: true });
            }
            "ping" => session.replies.push_back(Reply::Ping(rest.as_bytes().to_vec())),
            "pub" => {
                session.published += 1;
                cx.own_protocol().publish_text(&format!("\u{1}p{}:{}:{rest}", session.peer, session.published));
            }
            "timer" => {
                session.timer = Some(cx.now() + Duration::from_millis(number()));
                arm(cx, session);
            }
            "again" => {
                (session.again, session.timer) = (number() as u32, Some(cx.now()));
                arm(cx, session);
            }
            "pause" => {
                session.resume = Some(cx.now() + Duration::from_millis(number()));
                arm(cx, session);
                cx.pause_reading();
                self.hub.of(session.peer, |notes| notes.paused = true);
            }
            "hold" | "free" => self.pause(cx, number() as usize, verb == "hold"),
            "wake" => self.wake(cx, number() as usize),
            "all" => {
                self.hub.asked_all();
                cx.own_protocol().request_writable();
            }
            "stale" => self.check_ids(cx),
            "kill" => self.kill(cx, number() as usize),
            "close" | "err" => {
                let close = CloseCode::new(number() as u16).map_or_else(Close::empty, Close::new);
                let now = cx.now();
                self.hub.of(session.peer, |notes| _ = notes.close_asked_at.get_or_insert(now));
                if verb == "err" {
                    return Err(close);
                }
                cx.close(close);
            }
            _ => self.hub.fail(format!("there is no command {command:?}: a message was damaged")),
        }
        Ok(())
    }

    fn wake(&self, cx: &mut Cx<'_>, peer: usize) {
        if let Some(id) = self.hub.id_of(peer) {
            self.hub.asked(peer);
            self.hub.of(peer, |notes| notes.pokes += 1);
            match cx.connection(id) {
                Ok(mut connection) => connection.request_writable(),
                Err(_) => self.hub.fail(format!("peer {peer} is open, and asking for it says that it is gone")),
            }
        }
    }

    fn pause(&self, cx: &mut Cx<'_>, peer: usize, paused: bool) {
        if let Some(id) = self.hub.id_of(peer) {
            self.hub.of(peer, |notes| notes.paused = paused);
            match cx.connection(id) {
                Ok(mut connection) if paused => connection.pause_reading(),
                Ok(mut connection) => connection.resume_reading(),
                Err(_) => self.hub.fail(format!("peer {peer} is open, and pausing it says that it is gone")),
            }
        }
    }

    fn kill(&self, cx: &mut Cx<'_>, peer: usize) {
        if let Some(id) = self.hub.id_of(peer) {
            let now = cx.now();
            self.hub.of(peer, |notes| _ = notes.close_asked_at.get_or_insert(now));
            match cx.connection(id) {
                Ok(mut connection) => connection.close(CloseCode::new(4000 + peer as u16).unwrap_or(CloseCode::NORMAL)),
                Err(_) => self.hub.fail(format!("peer {peer} is open, and closing it says that it is gone")),
            }
        }
    }

    /// Ids of the past are gone for every purpose, and those of the present are not.
    fn check_ids(&self, cx: &mut Cx<'_>) {
        for id in self.hub.stale_ids() {
            if cx.is_open(id) || cx.connection(id).is_ok() {
                self.hub.fail(format!("{id} is over, and something was reached by it"));
            }
        }
        if self.hub.open_ids().iter().any(|(id, _)| !cx.is_open(*id)) {
            self.hub.fail("a connection without `closed` is not open");
        }
    }

    /// Sends one reply; `None` when there is no permission for another.
    fn send<'t>(&self, session: &mut Session, mut writable: Writable<'t>, reply: Reply) -> Option<Writable<'t>> {
        let sent = match reply {
            Reply::Ping(payload) => {
                writable.ping(ControlPayload::new(&payload).unwrap_or_default());
                return Some(writable);
            }
            Reply::Message { kind: MessageKind::Text, payload, owned } => {
                let text = String::from_utf8(payload).unwrap_or_default();
                if owned { writable.text_owned(text) } else { writable.text(&text) }
            }
            Reply::Message { payload, owned: true, .. } => writable.binary_owned(payload),
            Reply::Message { payload, .. } => writable.binary(&payload),
            Reply::Fragments { kind, mut pieces } => {
                let first = pieces.pop_front().unwrap_or_default();
                session.rest = Some(pieces);
                let fragmented = match kind {
                    MessageKind::Text => {
                        writable.begin_text(std::str::from_utf8(&first).unwrap_or("")).more().map(Fragmented::Text)
                    }
                    MessageKind::Binary => writable.begin_binary(&first).more().map(Fragmented::Binary),
                };
                return self.go_on(session, fragmented?);
            }
        };
        sent.more()
    }

    /// Goes on with the fragmented message, for some pieces or to its end.
    fn go_on<'t>(&self, session: &mut Session, mut fragmented: Fragmented<'t>) -> Option<Writable<'t>> {
        loop {
            if session.rng.percent(40) {
                return None;
            }
            let Some(rest) = &mut session.rest else {
                self.hub.fail(format!("peer {} has an unfinished message that nobody began", session.peer));
                return None;
            };
            let piece = rest.pop_front().unwrap_or_default();
            let last = rest.is_empty();
            if last {
                session.rest = None;
                return finish(fragmented, &piece).more();
            }
            fragmented = fragment(fragmented, &piece)?;
        }
    }
}

impl Protocol for Machine {
    type Session = Session;

    fn name(&self) -> &str {
        NAME
    }

    fn filter(&mut self, request: &Request<'_>) -> Decision {
        let _inside = self.hub.enter("filter");
        let (peer, how) = request.path().trim_start_matches('/').split_once('/').unwrap_or(("0", ""));
        self.target = (peer.parse().unwrap_or(0), how.to_owned());
        Decision::accept()
    }

    fn open(&mut self, cx: &mut Cx<'_>, _: &Handshake<'_>) -> Session {
        let _inside = self.hub.enter("open");
        let (peer, how) = self.target.clone();
        self.hub.note(cx.now(), || format!("{peer} open as {}", cx.id()));
        self.hub.opened(peer, cx.id());
        let rng = Rng::new(peer as u64);
        let (replies, rest, partial, timer, resume, again) = Default::default();
        let _alive = self.hub.sessions.clone();
        let mut session = Session { peer, rng, replies, rest, partial, timer, resume, again, published: 0, _alive };
        let done = if how == "plain" { Ok(()) } else { self.command(cx, &mut session, &how.replace('/', " ")) };
        if let Err(close) = done {
            cx.close(close);
        }
        if !session.replies.is_empty() {
            self.ask(cx, &session);
        }
        session
    }

    fn receive(&mut self, cx: &mut Cx<'_>, session: &mut Session, fragment: Fragment<'_>) -> Result<(), Close> {
        let _inside = self.hub.enter_open("receive", session.peer, cx.id());
        self.hub.received_piece(session.peer, "a piece");
        if fragment.first != session.partial.is_none() {
            self.hub.fail(format!("peer {}: `first` is out of step", session.peer));
        }
        let (kind, mut payload) = session.partial.take().unwrap_or((fragment.kind, Vec::new()));
        if kind != fragment.kind || (fragment.last && fragment.remaining > 0) {
            self.hub.fail(format!("peer {}: a message changed its kind or ended too soon", session.peer));
        }
        payload.extend_from_slice(fragment.payload.as_bytes());
        if !fragment.last {
            session.partial = Some((kind, payload));
            return Ok(());
        }
        self.message(cx, session, kind, payload)
    }

    fn writable(&mut self, cx: &mut Cx<'_>, session: &mut Session, tx: Tx<'_>) -> Result<(), Close> {
        let _inside = self.hub.enter_open("writable", session.peer, cx.id());
        self.hub.served(session.peer);
        if self.hub.of(session.peer, |notes| std::mem::take(&mut notes.pokes)) > 0 {
            let poke = Reply::Message { kind: MessageKind::Text, payload: b"\x01k".to_vec(), owned: false };
            session.replies.push_back(poke);
        }
        let mut permission = match tx {
            Tx::Idle(writable) if session.rest.is_none() => Some(writable),
            Tx::Mid(fragmented) => self.go_on(session, fragmented),
            _ => {
                self.hub.fail(format!("peer {}: the permission does not know of the unfinished message", session.peer));
                None
            }
        };
        while let Some(writable) = permission.take() {
            let Some(reply) = session.replies.pop_front() else { break };
            permission = self.send(session, writable, reply);
            if session.rng.percent(20) {
                break;
            }
        }
        if session.rest.is_some() || !session.replies.is_empty() {
            self.ask(cx, session);
        }
        Ok(())
    }

    fn pong(&mut self, cx: &mut Cx<'_>, session: &mut Session, _: &[u8]) -> Result<(), Close> {
        let _inside = self.hub.enter_open("pong", session.peer, cx.id());
        self.hub.received_piece(session.peer, "a pong");
        Ok(())
    }

    fn timer(&mut self, cx: &mut Cx<'_>, session: &mut Session) -> Result<(), Close> {
        self.hub.callbacks.set(self.hub.callbacks.get() + 1);
        let _inside = self.hub.enter_open("timer", session.peer, cx.id());
        let now = cx.now();
        let due = session.timer.into_iter().chain(session.resume).min();
        if due != Some(now) {
            self.hub.fail(format!("peer {}: its timer is due at {due:?} and comes at {now:?}", session.peer));
        }
        if session.timer == Some(now) {
            session.timer = None;
            if session.again > 0 {
                (session.again, session.timer) = (session.again - 1, Some(now));
            } else {
                let payload = b"\x01t".to_vec();
                session.replies.push_back(Reply::Message { kind: MessageKind::Text, payload, owned: false });
                self.ask(cx, session);
            }
        }
        if session.resume == Some(now) {
            session.resume = None;
            self.hub.of(session.peer, |notes| notes.paused = false);
            cx.resume_reading();
        }
        arm(cx, session);
        Ok(())
    }

    fn closing(&mut self, cx: &mut Cx<'_>, session: &mut Session, received: &Close) {
        let _inside = self.hub.enter_open("closing", session.peer, cx.id());
        self.hub.note(cx.now(), || format!("{} closing {received:?}", session.peer));
        self.hub.closing(session.peer);
    }

    fn closed(&mut self, cx: &mut ClosedCx<'_>, session: Session, closed: Closed) {
        if closed.initiator == Initiator::Peer && !self.hub.of(session.peer, |notes| notes.closing) {
            self.hub.fail(format!("peer {} closed, and closing did not come", session.peer));
        }
        let _inside = self.hub.enter("closed");
        self.hub.note(cx.now(), || format!("{} {closed:?}", session.peer));
        let id: ConnId = cx.id();
        self.hub.closed(session.peer, id, cx.now(), closed);
        if cx.is_open(id) || cx.connection(id).is_ok() {
            self.hub.fail(format!("peer {} is closed, and open", session.peer));
        }
    }
}

/// One timer of the connection serves both purposes.
fn arm(cx: &mut Cx<'_>, session: &Session) {
    match session.timer.into_iter().chain(session.resume).min() {
        Some(at) => {
            let delay = at.saturating_duration_since(cx.now());
            cx.set_timer(delay);
        }
        None => cx.clear_timer(),
    }
}

fn finish<'t>(fragmented: Fragmented<'t>, piece: &[u8]) -> AfterSend<'t> {
    match fragmented {
        Fragmented::Text(text) => text.finish(std::str::from_utf8(piece).unwrap_or("")),
        Fragmented::Binary(binary) => binary.finish(piece),
        _ => unreachable!("there are two kinds"),
    }
}

fn fragment<'t>(fragmented: Fragmented<'t>, piece: &[u8]) -> Option<Fragmented<'t>> {
    match fragmented {
        Fragmented::Text(text) => {
            AfterFragment::more(text.fragment(std::str::from_utf8(piece).unwrap_or(""))).map(Fragmented::Text)
        }
        Fragmented::Binary(binary) => binary.fragment(piece).more().map(Fragmented::Binary),
        _ => unreachable!("there are two kinds"),
    }
}

/// `text` in `count` pieces (at least two), none of which cuts a code point; some may be empty.
fn fragments(count: usize, text: &str) -> Reply {
    let chars: Vec<char> = text.chars().collect();
    let count = count.max(2);
    let each = chars.len() / count + 1;
    let mut pieces: VecDeque<Vec<u8>> =
        chars.chunks(each).map(|piece| piece.iter().collect::<String>().into_bytes()).collect();
    pieces.resize(count, Vec::new());
    Reply::Fragments { kind: MessageKind::Text, pieces }
}

/// The payload that `!big` asks for.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i.wrapping_mul(31) ^ (i >> 8)) as u8).collect()
}

/// FNV-1a, to compare what is too long to keep.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
