//! The HTTP phase: heads, bodies, and the upgrade. Answers are in `answer`.
//!
//! One request is answered at a time; pipelined input waits.

mod answer;
mod held;

use std::rc::Rc;

use sockeye_proto::conn::HEADROOM;
use sockeye_proto::handshake::server::Offer;
use sockeye_proto::http::body::{BodyError, Decoder, Length};
use sockeye_proto::http::target::TargetPath;
use sockeye_proto::http::{HeadScanner, RequestHead, Version};
use sockeye_proto::time::Instant;

use crate::conn::env::Env;
use crate::conn::exchange::{Arrival, Exchange};
use crate::conn::file::{Rest, keep_piece};
use crate::conn::head::{hint_at_other_protocol, is_head};
use crate::conn::linger::Linger;
use crate::conn::policy::{Site, Via};
use crate::conn::step::{Closing, Due, Step};
use crate::conn::upgrade::{Kept, Refused, Upgraded, ending, undecided, upgrade};
use crate::conn::websocket::WebSocket;
use crate::conn::wire::Wire;
use crate::http::HttpRequest;
use crate::http::access::Access;
use crate::id::ConnId;
use crate::limits::Limits;
use crate::protocol::Request;
use crate::statistics::{Culprit, WorkOwner};
use crate::sys::{Address, CloseHow};
use crate::transport::pool::Buffer;
use crate::transport::{Charge, Read, SocketWriter};

/// A request takes at least so many bytes of the connection's share of a turn: routes may work long for a short one.
const REQUEST: usize = 16 * 1024;

/// A connection that speaks HTTP.
pub(super) struct Http {
    /// That of its listener.
    site: Rc<Site>,
    scanner: HeadScanner,
    /// The bytes of an incomplete head; while a body arrives or a decision is awaited, the whole head.
    head: Buffer,
    state: State,
    /// The rest of a body to send.
    rest: Option<Rest>,
    /// The request is a HEAD, whose answer has no body. Known before the head is complete, and even if it is refused.
    bodiless: bool,
    keep_alive: bool,
    /// The memory of the head and of the bodies.
    held: Charge,
    /// A request was answered before.
    reused: bool,
    deadline: Instant,
    /// The unsent bytes when the current window of the slow-reader rule began.
    left: u64,
    /// The log entry of the request that is being answered.
    access: Access,
    /// The trusted proxy that the connection came through.
    proxy: Option<Box<Address>>,
}

/// The phase that follows HTTP.
pub(super) enum AfterHttp {
    WebSocket(WebSocket),
    Exchange(Box<Exchange>),
    Linger(Linger),
}

enum State {
    Head,
    Body {
        decoder: Decoder,
        bytes: Buffer,
    },
    /// The program decides later on the handshake, whose head is kept.
    Undecided,
    Responding,
}

impl Http {
    pub(super) fn new(limits: &Limits, now: Instant, site: Rc<Site>) -> Self {
        Self {
            site,
            scanner: HeadScanner::new(&limits.protocol),
            head: Buffer::default(),
            state: State::Head,
            rest: None,
            bodiless: false,
            keep_alive: true,
            held: Charge::default(),
            reused: false,
            deadline: now + limits.handshake_timeout,
            left: 0,
            access: Access::default(),
            proxy: None,
        }
    }

    /// The next request of a connection, whose last one another phase has answered.
    pub(super) fn next(limits: &Limits, now: Instant, Via { site, proxy }: Via) -> Self {
        let mut next = Self::new(limits, now, site);
        next.proxy = proxy;
        next.restart(limits, now);
        next
    }

    /// The connection came through a proxy, for a client elsewhere.
    pub(super) fn through(mut self, proxy: Address) -> Self {
        self.proxy = Some(Box::new(proxy));
        self
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Ready for the next request of a kept-alive connection.
    fn restart(&mut self, limits: &Limits, now: Instant) {
        let proxy = self.proxy.take();
        *self = Self::new(limits, now, Rc::clone(&self.site));
        self.proxy = proxy;
        self.reused = true;
        self.deadline = now + limits.idle_timeout;
    }

    /// The program closes the connection. An answer that has begun is finished; what the peer has sent meanwhile is not
    /// answered.
    pub(super) fn close(&mut self) -> Closing {
        if !matches!(self.state, State::Responding) {
            return Closing::Now;
        }
        self.keep_alive = false;
        Closing::Step
    }

    fn is_between_requests(&self) -> bool {
        self.head.0.is_empty() && matches!(self.state, State::Head)
    }

    /// Reads, answers and writes as far as socket and budget allow.
    pub(super) fn step(&mut self, wire: &mut Wire, env: &mut Env, id: ConnId) -> Step<AfterHttp> {
        let mut budget = env.share.bytes;
        loop {
            if matches!(self.state, State::Responding) {
                match self.respond(wire, env, &mut budget) {
                    None => continue,
                    Some(step) => return step,
                }
            }
            if self.is_undecided() {
                match self.await_decision(wire, env, id) {
                    None => continue,
                    Some(step) => return step,
                }
            }
            if env.state.lifecycle.is_ending() && self.is_between_requests() {
                if !wire.socket.has_input() {
                    return Step::Gone(CloseHow::Normal);
                }
                // The next request has already arrived: closing now would reset the connection, and
                // lose the last answer.
                return Step::Next(AfterHttp::Linger(Linger::begin(wire, env)));
            }
            if budget == 0 {
                return Step::Yield;
            }
            let head_bytes = env.limits.protocol.head_bytes;
            let (most, least) = match self.state {
                // At most the size of a head: more is refused before it is read.
                State::Head => (budget.min(head_bytes.saturating_sub(self.head.0.len()).max(1)), REQUEST),
                // Bytes after the body are kept, and copied for each request in them.
                State::Body { .. } | State::Undecided | State::Responding => (budget.min(head_bytes.max(1)), 0),
            };
            let count = match wire.socket.read(&mut env.io, &mut env.rx, most) {
                Read::Bytes(count) => count,
                Read::Sealed(cost) => {
                    budget = budget.saturating_sub(cost);
                    continue;
                }
                Read::Nothing => return Step::Wait,
                Read::End | Read::Failed(_) => return Step::Gone(CloseHow::Normal),
            };
            budget = budget.saturating_sub(count.max(least));
            // The buffer is lent to the parser while the rest of the loop answers.
            let rx = std::mem::take(&mut env.rx);
            let next = self.feed(wire, env, id, &rx[HEADROOM..HEADROOM + count]);
            env.rx = rx;
            if let Some(next) = next {
                return Step::Next(next);
            }
        }
    }

    /// Processes a piece of input. Returns the next phase once a request leads to it.
    fn feed(&mut self, wire: &mut Wire, env: &mut Env, id: ConnId, bytes: &[u8]) -> Option<AfterHttp> {
        if matches!(self.state, State::Body { .. }) {
            self.feed_body(wire, env, bytes);
            return None;
        }
        if self.head.0.is_empty() {
            self.bodiless = is_head(bytes);
            return match self.scanner.scan(bytes) {
                Ok(Some(length)) => self.request(wire, env, id, &bytes[..length], &bytes[length..]),
                Ok(None) => {
                    self.keep_head(wire, env, bytes);
                    None
                }
                Err(error) => {
                    hint_at_other_protocol(&wire.peer, bytes);
                    self.refuse_head(wire, env, error);
                    None
                }
            };
        }
        let had = self.head.0.len();
        if !self.keep_head(wire, env, bytes) {
            return None;
        }
        self.bodiless = is_head(&self.head.0);
        match self.scanner.scan(&self.head.0) {
            Ok(Some(length)) => {
                let head = std::mem::take(&mut self.head);
                let rest = bytes.get(length.saturating_sub(had)..).unwrap_or_default();
                self.request(wire, env, id, &head.0[..length], rest)
            }
            Ok(None) => None,
            Err(error) => {
                hint_at_other_protocol(&wire.peer, &self.head.0);
                self.refuse_head(wire, env, error);
                None
            }
        }
    }

    /// A head is complete; `rest` is the input after it.
    fn request(&mut self, wire: &mut Wire, env: &mut Env, id: ConnId, head: &[u8], rest: &[u8]) -> Option<AfterHttp> {
        env.io.note_effort(REQUEST as u64);
        let parsed = match RequestHead::parse(head, &env.limits.protocol) {
            Ok(parsed) => parsed,
            Err(error) => {
                hint_at_other_protocol(&wire.peer, head);
                self.refuse_head(wire, env, error);
                return None;
            }
        };
        self.access = Access::of(&wire.peer, Some(&parsed), wire.socket.tls(), env.state.now);
        let path = match TargetPath::parse(parsed.target) {
            Ok(path) => path,
            Err(error) => {
                self.refuse_target(wire, env, &parsed, error);
                return None;
            }
        };
        let sender = self.proxy.as_deref().unwrap_or(&wire.peer);
        if let Some(reason) = self.site.host_refusal(&parsed, sender) {
            // RFC 9110 section 15.5.20: "The 421 (Misdirected Request) status code indicates that
            // the request was directed at a server that is unable or unwilling to produce an
            // authoritative response for the target URI."
            self.answer_error(wire, env, 421, &reason, |refusals| &mut refusals.host);
            return None;
        }
        match Offer::of(&parsed) {
            Err(refusal) => {
                self.answer_error(wire, env, refusal.status, refusal.reason, |refusals| &mut refusals.handshake);
            }
            Ok(Some(offer)) => {
                let site = Rc::clone(&self.site);
                let (access, proxy, tls) = (&mut self.access, self.proxy.as_deref(), wire.socket.tls());
                let request =
                    Request { id, offer: &offer, path: &path, peer: &wire.peer, proxy, listener: site.listener, tls };
                match upgrade(wire, env, &site, &request, |protocol, is_compressed| {
                    access.upgraded(protocol, is_compressed)
                }) {
                    Ok(Upgraded::Open(ws)) => {
                        wire.socket.keep_unread(&env.state.pool, rest);
                        return Some(AfterHttp::WebSocket(ws));
                    }
                    Ok(Upgraded::Undecided) => {
                        wire.socket.keep_unread(&env.state.pool, rest);
                        if !self.keep_head(wire, env, head) {
                            return None;
                        }
                        self.state = State::Undecided;
                        self.deadline = env.state.now + env.limits.decision_timeout;
                        env.state.undecided.insert(id);
                    }
                    Err(refused) => self.refuse_handshake(wire, env, refused),
                }
            }
            Ok(None) => match self.site.plain_origin_refusal(&parsed, wire.socket.tls().is_some()) {
                Some(reason) => self.answer_error(wire, env, 403, &reason, |refusals| &mut refusals.origin),
                None => match self.site.responder(parsed.method, &path) {
                    Some(endpoint) => {
                        let arrival = Arrival { endpoint, head: &parsed, path: &path, rest };
                        return self.exchange(wire, env, id, arrival);
                    }
                    None => self.plain(wire, env, &parsed, &path, head, rest),
                },
            },
        }
        None
    }

    /// Whether the program decides later on a handshake.
    pub(super) fn is_undecided(&self) -> bool {
        matches!(self.state, State::Undecided)
    }

    /// Carries out the decision on a handshake, once there is one. Nothing is read until then: what the peer sends stays
    /// in its socket. `None`: there is an answer to send.
    fn await_decision(&mut self, wire: &mut Wire, env: &mut Env, id: ConnId) -> Option<Step<AfterHttp>> {
        let refused = if env.state.lifecycle.is_ending() {
            ending()
        } else if let Some(decision) = env.state.undecided.take(id) {
            let (access, proxy) = (&mut self.access, self.proxy.as_deref());
            let kept = Kept { id, head: &self.head.0, peer: &wire.peer, proxy };
            match kept.decide(wire, env, &self.site, decision, |protocol, is_compressed| {
                access.upgraded(protocol, is_compressed)
            }) {
                Ok(Upgraded::Open(ws)) => {
                    self.state = State::Head;
                    return Some(Step::Next(AfterHttp::WebSocket(ws)));
                }
                Ok(Upgraded::Undecided) => {
                    env.state.undecided.insert(id);
                    return Some(Step::Wait);
                }
                Err(refused) => refused,
            }
        } else if wire.socket.is_broken() || wire.socket.has_read_closed() {
            // Without a sending side it could not even end the WebSocket (RFC 6455 section 5.5.1).
            return Some(Step::Gone(CloseHow::Normal));
        } else {
            return Some(Step::Wait);
        };
        self.refuse_undecided(wire, env, id, refused);
        None
    }

    /// Ends the wait for a decision.
    fn refuse_undecided(&mut self, wire: &mut Wire, env: &mut Env, id: ConnId, refused: Refused) {
        env.state.undecided.remove(id);
        self.head = Buffer::default();
        self.refuse_handshake(wire, env, refused);
    }

    fn refuse_handshake(&mut self, wire: &mut Wire, env: &mut Env, refused: Refused) {
        let Refused { response, reason, counter } = refused;
        *counter(&mut env.io.meters.statistics.refusals) += 1;
        self.refuse(wire, env, response, &reason);
    }

    /// A request for a responder.
    fn exchange(&mut self, wire: &mut Wire, env: &mut Env, id: ConnId, arrival: Arrival<'_>) -> Option<AfterHttp> {
        match Length::of_request(arrival.head) {
            Err(error) => self.refuse_head(wire, env, error),
            Ok(_) if env.state.lifecycle.is_ending() => self.refuse_handshake(wire, env, ending()),
            Ok(length) => {
                let via = Via { site: Rc::clone(&self.site), proxy: self.proxy.take() };
                let exchange = Exchange::begin(arrival, length, std::mem::take(&mut self.access), via, wire, env, id);
                return Some(AfterHttp::Exchange(Box::new(exchange)));
            }
        }
        None
    }

    /// A request that does not offer to speak WebSocket.
    fn plain(
        &mut self,
        wire: &mut Wire,
        env: &mut Env,
        head: &RequestHead<'_>,
        path: &TargetPath,
        raw: &[u8],
        rest: &[u8],
    ) {
        let length = match Length::of_request(head) {
            Ok(length) => length,
            Err(error) => return self.refuse_head(wire, env, error),
        };
        let limit = env.limits.protocol.body_bytes;
        match length {
            Length::None | Length::Exact(0) => {
                wire.socket.keep_unread(&env.state.pool, rest);
                self.dispatch(wire, env, head, path, &[]);
            }
            // RFC 9110 section 10.1.1: "A server that receives a 100-continue expectation [...] MUST send [...] an
            // immediate response with a final status code, if that status can be determined by examining just the
            // method, target URI, and header fields". Nothing waits for a body that nothing takes.
            _ if self.refuse_by_head(wire, env, head, path) => {}
            Length::Exact(length) if length > limit => self.refuse_body(wire, env, BodyError::TooLarge),
            length => {
                // RFC 9110 section 10.1.1: a client that expects 100 may wait for it before it
                // sends the body; but "A server that receives a 100-continue expectation in an
                // HTTP/1.0 request MUST ignore that expectation."
                let waits = rest.is_empty() && head.version == Version::Http11;
                if waits && head.fields.has_token("expect", "100-continue") {
                    env.io.cork().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                }
                if !self.keep_head(wire, env, raw) {
                    return;
                }
                self.state = State::Body { decoder: Decoder::new(length, limit), bytes: Buffer::default() };
                SocketWriter::new(&mut env.io, &mut wire.socket).flush();
                self.feed_body(wire, env, rest);
            }
        }
    }

    fn feed_body(&mut self, wire: &mut Wire, env: &mut Env, mut input: &[u8]) {
        let State::Body { decoder, bytes } = &mut self.state else { return };
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(piece)) if keep_piece(&mut bytes.0, piece, env) => {}
                Ok(Some(_)) => return self.refuse_body(wire, env, BodyError::TooLarge),
                Ok(None) => break,
                Err(error) => return self.refuse_body(wire, env, error),
            }
        }
        if !decoder.is_done() {
            return self.count(env);
        }
        let body = std::mem::take(bytes);
        let raw = std::mem::take(&mut self.head);
        wire.socket.keep_unread(&env.state.pool, input);
        // Both were accepted when the head came, so neither fails now.
        let head = match RequestHead::parse(&raw.0, &env.limits.protocol) {
            Ok(head) => head,
            Err(error) => return self.refuse_head(wire, env, error),
        };
        match TargetPath::parse(head.target) {
            Ok(path) => self.dispatch(wire, env, &head, &path, &body.0),
            Err(error) => self.refuse_head(wire, env, error),
        }
    }

    /// Answers a request with a body that nothing takes. Returns whether it is one.
    fn refuse_by_head(&mut self, wire: &mut Wire, env: &mut Env, head: &RequestHead<'_>, path: &TargetPath) -> bool {
        let site = Rc::clone(&self.site);
        let routes = site.routes.borrow();
        let Some(routes) = &*routes else {
            self.answer_error(wire, env, 426, NO_ROUTES, |refusals| &mut refusals.plain);
            return true;
        };
        let (statistics, board) = (&env.io.meters.statistics, env.board.as_ref());
        let request = HttpRequest { head, path, body: &[], peer: &wire.peer, now: 0, statistics, board };
        let Some(response) = routes.refusal(&request) else { return false };
        self.refuse(wire, env, response, "nothing here takes such a request");
        true
    }

    /// Has the routes answer.
    fn dispatch(&mut self, wire: &mut Wire, env: &mut Env, head: &RequestHead<'_>, path: &TargetPath, body: &[u8]) {
        let now = env.io.sys.wall_clock();
        env.io.steps_over(0);
        let (statistics, board) = (&env.io.meters.statistics, env.board.as_ref());
        let request = HttpRequest { head, path, body, peer: &wire.peer, now, statistics, board };
        let response = self.site.routes.borrow_mut().as_mut().map(|routes| routes.dispatch(&request));
        env.io.lap(Culprit::Handler, WorkOwner::default());
        let Some(response) = response else {
            return self.answer_error(wire, env, 426, NO_ROUTES, |refusals| &mut refusals.plain);
        };
        // A declined Upgrade: what follows may be in the other protocol, so no more is read.
        let declined = head.fields.get("upgrade").is_some();
        self.keep_alive = head.version == Version::Http11
            && !head.fields.has_token("connection", "close")
            && !declined
            && !env.state.lifecycle.is_ending();
        self.access.answered(response.status());
        self.send(wire, env, response, now);
    }

    /// The deadline passed: of the head, of the pause between requests, or of the slow-reader rule.
    pub(super) fn due(&mut self, wire: &mut Wire, env: &mut Env, id: ConnId) -> Due<AfterHttp> {
        let limits = &mut env.io.meters.statistics.limits;
        match self.state {
            State::Responding => {
                let left = self.unsent(wire);
                if self.left.saturating_sub(left) < env.limits.slow_reader_bytes {
                    limits.slow_reader_bytes += 1;
                    tracing::debug!(peer = %wire.peer, "the answer is read too slowly; the connection is reset");
                    return Due::Over(Step::Gone(CloseHow::Reset));
                }
                self.left = left;
                self.deadline = env.state.now + env.limits.slow_reader_window;
            }
            State::Undecided => {
                limits.decision_timeout += 1;
                self.refuse_undecided(wire, env, id, undecided());
            }
            State::Head | State::Body { .. } => {
                let counter = if self.reused { &mut limits.idle_timeout } else { &mut limits.handshake_timeout };
                *counter += 1;
                if self.is_between_requests() {
                    return Due::Over(Step::Gone(CloseHow::Normal));
                }
                self.answer_error(wire, env, 408, "the request took too long", |refusals| &mut refusals.slow);
            }
        }
        Due::Step
    }
}

/// Why plain requests are refused where there are no routes.
const NO_ROUTES: &str = "this is a WebSocket server; connect with a WebSocket client";
