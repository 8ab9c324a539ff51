//! An outgoing connection between TCP and WebSocket: the proxy, if any, then the opening handshake. Before each of them comes TLS,
//! if the proxy or the server speaks it.

#[cfg(not(any(feature = "tls-aws-lc", feature = "tls-ring")))]
#[path = "opening/no_tls.rs"]
mod tls;
#[cfg(any(feature = "tls-aws-lc", feature = "tls-ring"))]
mod tls;

use sockeye_proto::conn::HEADROOM;
use sockeye_proto::ext::deflate::{Agreed, Settings};
use sockeye_proto::handshake::client::HandshakeError;
use sockeye_proto::http::body::{Decoder, Length};
use sockeye_proto::http::{HeadError, HeadScanner, ResponseHead};
use sockeye_proto::limits::ProtocolLimits;
use sockeye_proto::time::Instant;
use sockeye_proto::wire::Role;

use crate::client::negotiate::{Negotiated, Negotiation};
use crate::client::plan::Plan;
use crate::client::{Connect, FailureCause, HandshakeHead, Proxy, Refusal, Stage};
use crate::conn::env::Env;
use crate::conn::raw::Raw;
use crate::conn::step::Step;
use crate::conn::websocket::WebSocket;
use crate::conn::wire::Wire;
use crate::id::ConnId;
use crate::protocol::Handshake;
use crate::state::EndpointIndex;
use crate::transport::{Charge, Read, SocketWriter};

/// A connection that TCP has connected and that is not a WebSocket yet.
pub(super) struct Opening {
    /// Invariant: `Some` until the connection opens or is given up.
    plan: Option<Box<Plan>>,
    state: State,
    /// The memory of the answer, as far as it has arrived.
    held: Charge,
    /// The deadline of the current stage, not later than that of the attempt.
    deadline: Instant,
}

enum State {
    /// Nothing was sent yet.
    New,
    /// The handshake of TLS with the proxy, before this negotiation.
    #[cfg_attr(not(any(feature = "tls-aws-lc", feature = "tls-ring")), expect(dead_code, reason = "there is no TLS"))]
    SecuringProxy(Negotiation),
    Proxy(Negotiation),
    /// The handshake of TLS with the server.
    #[cfg_attr(not(any(feature = "tls-aws-lc", feature = "tls-ring")), expect(dead_code, reason = "there is no TLS"))]
    Securing,
    Head(Answer),
    Body {
        refusal: Box<Refusal>,
        decoder: Decoder,
        until_close: bool,
    },
}

/// The response to the handshake, as far as it has arrived.
struct Answer {
    nonce: [u8; 16],
    /// What was offered of compression.
    deflate: Option<Settings>,
    scanner: HeadScanner,
    head: Vec<u8>,
    /// Bytes of 1xx responses before it.
    informational: usize,
}

/// An outgoing connection that did not become a WebSocket. The service decides what follows:
/// another address, another attempt, or the callback.
#[derive(Debug)]
pub(crate) struct Unopened {
    pub(crate) plan: Box<Plan>,
    pub(crate) stage: Stage,
    pub(crate) cause: FailureCause,
    /// What arrived of an answer, if the program wants to know it and was not told.
    pub(crate) unreported: Vec<u8>,
}

/// The phase that follows.
pub(super) enum AfterOpening {
    WebSocket(WebSocket),
    #[cfg_attr(not(any(feature = "tls-aws-lc", feature = "tls-ring")), expect(dead_code, reason = "there is no TLS"))]
    Raw(Box<Raw>),
}

impl Opening {
    pub(super) fn new(plan: Box<Plan>) -> Self {
        let deadline = plan.ends();
        Self { plan: Some(plan), state: State::New, held: Charge::default(), deadline }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.held.bytes()
    }

    /// Too much is held for all peers together: the attempt fails.
    #[expect(clippy::unused_self, reason = "without the feature `client` there is none")]
    pub(super) fn shed(&self) -> FailureCause {
        FailureCause::Io(std::io::ErrorKind::OutOfMemory.into())
    }

    fn stage(&self) -> Stage {
        match self.state {
            State::SecuringProxy(_) | State::Proxy(_) => Stage::Proxy,
            State::Securing => Stage::Tls,
            State::New | State::Head(_) | State::Body { .. } => Stage::Handshake,
        }
    }

    /// Writes, reads and decides as far as socket and turn allow. An error ends the attempt:
    /// [`give_up`](Self::give_up).
    pub(super) fn step(
        &mut self,
        wire: &mut Wire,
        env: &mut Env,
        id: ConnId,
    ) -> Result<Step<AfterOpening>, FailureCause> {
        if matches!(self.state, State::New) {
            self.begin(wire, env, id)?;
        }
        let mut budget = env.share.bytes;
        loop {
            if matches!(self.state, State::SecuringProxy(_) | State::Securing) {
                if let Some(step) = self.shake(wire, env, id)? {
                    return Ok(step);
                }
            }
            SocketWriter::new(&mut env.io, &mut wire.socket).flush();
            if wire.socket.is_broken() {
                // A refusing peer may reset without reading our request; its answer may still be readable.
                wire.socket.assume_readable();
            }
            if budget == 0 {
                return Ok(Step::Yield);
            }
            // No more than a head is read before it is known what follows it.
            let most = budget.min(env.limits.protocol.head_bytes.max(1));
            match wire.socket.read(&mut env.io, &mut env.rx, most) {
                Read::Bytes(count) => {
                    budget = budget.saturating_sub(count);
                    // The buffer is lent to the parser while the rest of the loop answers.
                    let rx = std::mem::take(&mut env.rx);
                    let next = self.feed(wire, env, id, &rx[HEADROOM..HEADROOM + count]);
                    env.rx = rx;
                    let held = match &self.state {
                        State::Head(answer) => answer.head.capacity(),
                        State::Body { refusal, .. } => refusal.body().len(),
                        State::Proxy(negotiation) => negotiation.held_bytes(),
                        State::New | State::SecuringProxy(_) | State::Securing => 0,
                    };
                    self.held.set(&env.state.account, held);
                    if let Some(ws) = next? {
                        return Ok(Step::Next(AfterOpening::WebSocket(ws)));
                    }
                }
                Read::Sealed(cost) => budget = budget.saturating_sub(cost),
                Read::Nothing if !wire.socket.is_broken() => return Ok(Step::Wait),
                Read::Nothing | Read::Failed(_) => return Err(self.broken(wire)),
                Read::End => return Err(self.ended(wire.socket.is_cut())),
            }
        }
    }

    /// Sends our first bytes.
    fn begin(&mut self, wire: &mut Wire, env: &mut Env, id: ConnId) -> Result<(), FailureCause> {
        let Some(plan) = &self.plan else { return Err(FailureCause::Ended) };
        let Some(negotiation) = plan.negotiation(&env.limits.protocol).map_err(FailureCause::Proxy)? else {
            return if self.is_secure() { self.secure(wire, env, id, &[]) } else { self.ask(env, id) };
        };
        self.deadline = plan.ends().min(env.state.now + plan.timeouts().proxy);
        if plan.connect().via().is_some_and(Proxy::is_secure) {
            return self.secure_proxy(wire, env, negotiation);
        }
        self.negotiate(env, id, negotiation);
        Ok(())
    }

    /// Sends the first bytes to the proxy.
    fn negotiate(&mut self, env: &mut Env, id: ConnId, negotiation: Negotiation) {
        negotiation.start(env.io.cork());
        if let Some(head) = negotiation.request_head().filter(|_| self.reports_handshake()) {
            env.report_head(id, HandshakeHead::ProxyRequest(head));
        }
        self.state = State::Proxy(negotiation);
    }

    /// Whether the program wants to see it.
    fn reports_handshake(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.reports_handshake())
    }

    /// Whether TLS comes before the request.
    fn is_secure(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.connect().url().is_secure())
    }

    /// Sends the request of the handshake.
    fn ask(&mut self, env: &mut Env, id: ConnId) -> Result<(), FailureCause> {
        let Some(plan) = &self.plan else { return Err(FailureCause::Ended) };
        // RFC 6455 section 4.1: "The nonce MUST be selected randomly for each connection."
        let mut nonce = [0; 16];
        env.io.sys.random(&mut nonce).map_err(FailureCause::Io)?;
        let endpoint = env.state.registry.get(id).map_or(EndpointIndex::NONE, |entry| entry.endpoint);
        let deflate = env.io.codecs.settings(endpoint.0).settings(Role::Client);
        let cork = env.io.cork();
        let before = cork.len();
        let request = plan.connect().request(nonce, deflate, cork);
        request.map_err(|_| FailureCause::Unsupported("the handshake cannot say what was asked for"))?;
        self.deadline = plan.ends().min(env.state.now + plan.timeouts().handshake);
        let scanner = HeadScanner::for_response(&env.limits.protocol);
        self.state = State::Head(Answer { nonce, deflate, scanner, head: Vec::new(), informational: 0 });
        if plan.reports_handshake() {
            let head = env.io.cork()[before..].to_vec();
            env.report_head(id, HandshakeHead::Request(&head));
        }
        Ok(())
    }

    /// Processes input. Returns the WebSocket once the server has accepted.
    fn feed(
        &mut self,
        wire: &mut Wire,
        env: &mut Env,
        id: ConnId,
        mut bytes: &[u8],
    ) -> Result<Option<WebSocket>, FailureCause> {
        if let State::Proxy(negotiation) = &mut self.state {
            match negotiation.feed(&mut bytes, env.io.cork()).map_err(FailureCause::Proxy)? {
                Negotiated::More => return Ok(None),
                Negotiated::Done => {
                    let head = negotiation.response_head();
                    // A SOCKS proxy answers without HTTP.
                    if !head.is_empty() && self.plan.as_ref().is_some_and(|plan| plan.reports_handshake()) {
                        env.report_head(id, HandshakeHead::ProxyResponse(head));
                    }
                    if self.is_secure() {
                        self.secure(wire, env, id, bytes)?;
                        return Ok(None);
                    }
                    self.ask(env, id)?;
                }
            }
            if bytes.is_empty() {
                return Ok(None);
            }
        }
        match &mut self.state {
            State::Head(answer) => {
                answer.head.extend_from_slice(bytes);
                self.read_head(wire, env, id)
            }
            State::Body { refusal, decoder, .. } => {
                if refusal.collect(decoder, &mut bytes, env.limits.protocol.response_body_bytes) {
                    return Err(self.refused());
                }
                Ok(None)
            }
            State::New | State::SecuringProxy(_) | State::Proxy(_) | State::Securing => Ok(None),
        }
    }

    /// Looks for the end of the head, and acts on the head.
    fn read_head(&mut self, wire: &mut Wire, env: &mut Env, id: ConnId) -> Result<Option<WebSocket>, FailureCause> {
        let (Some(plan), State::Head(answer)) = (&self.plan, &mut self.state) else { return Ok(None) };
        loop {
            let found = answer.read(plan.connect(), &env.limits.protocol)?;
            if let (Some(length), true) = (found.length(), plan.reports_handshake()) {
                env.report_head(id, HandshakeHead::Response(&answer.head[..length]));
            }
            match found {
                Head::Incomplete => return Ok(None),
                Head::Informational { length } => answer.skip(length, &env.limits.protocol)?,
                Head::Accepted { length, subprotocol, deflate } => {
                    // Frames may already follow the head.
                    let bytes = std::mem::take(&mut answer.head);
                    let url = plan.connect().url().clone();
                    let (head, rest) = bytes.split_at(length);
                    let wrong = |error| FailureCause::Rule(HandshakeError::Head(error));
                    let head = ResponseHead::parse(head, &env.limits.protocol).map_err(wrong)?;
                    wire.socket.keep_unread(&env.io.pool, rest);
                    let tls = wire.socket.tls();
                    let handshake = Handshake::made(&head, &url, subprotocol.as_deref(), deflate, tls);
                    return Ok(self.open(wire, env, id, &handshake));
                }
                Head::Refused { length } => {
                    let now = env.io.sys.wall_clock();
                    self.begin_refusal(length, &env.limits.protocol, now)?;
                    return Ok(None);
                }
            }
        }
    }

    /// A status other than 101: its body is collected, since it may explain the refusal.
    fn begin_refusal(&mut self, length: usize, limits: &ProtocolLimits, now: u64) -> Result<(), FailureCause> {
        let (Some(plan), State::Head(answer)) = (&self.plan, &mut self.state) else { return Ok(()) };
        let bytes = std::mem::take(&mut answer.head);
        let wrong = |error| FailureCause::Rule(HandshakeError::Head(error));
        let head = ResponseHead::parse(&bytes[..length], limits).map_err(wrong)?;
        let body = Length::of_response(&head).map_err(wrong)?;
        let mut refusal = Box::new(Refusal::new(&head, now));
        // The body is cut at the limit, which is not an error.
        let mut decoder = Decoder::new(body, u64::MAX);
        // The body of a redirect that is followed is of no use.
        let done = matches!(body, Length::None | Length::Exact(0))
            || plan.follows(&refusal)
            || refusal.collect(&mut decoder, &mut &bytes[length..], limits.response_body_bytes);
        self.state = State::Body { refusal, decoder, until_close: body == Length::UntilClose };
        if done { Err(self.refused()) } else { Ok(()) }
    }

    /// The handshake is done: from here on it is a WebSocket.
    fn open(&mut self, wire: &Wire, env: &mut Env, id: ConnId, handshake: &Handshake<'_>) -> Option<WebSocket> {
        let plan = self.plan.take()?;
        let endpoint = env.state.registry.get(id)?.endpoint;
        let mut ws = WebSocket::new(Role::Client, env, endpoint, handshake.agreed());
        env.state.connects.opened(id, plan, env.state.now);
        ws.open(wire, env, id, endpoint, handshake);
        Some(ws)
    }

    fn refused(&mut self) -> FailureCause {
        match std::mem::replace(&mut self.state, State::New) {
            State::Body { refusal, .. } => FailureCause::Refused(refusal),
            _ => FailureCause::Ended,
        }
    }

    /// The peer ended its side before accepting. `is_cut`: without close_notify, so that anybody may have ended it.
    fn ended(&mut self, is_cut: bool) -> FailureCause {
        match &mut self.state {
            State::Body { refusal, until_close, .. } => {
                if !*until_close || is_cut {
                    refusal.cut();
                }
                self.refused()
            }
            State::Proxy(negotiation) => negotiation.end().map_or(FailureCause::Ended, FailureCause::Proxy),
            State::New | State::SecuringProxy(_) | State::Securing | State::Head(_) => FailureCause::Ended,
        }
    }

    /// The refusal of a server or proxy whose body does not come to its end.
    fn cut_short(&mut self) -> Option<FailureCause> {
        match &mut self.state {
            State::Body { refusal, .. } => {
                refusal.cut();
                Some(self.refused())
            }
            State::Proxy(negotiation) => negotiation.cut().map(FailureCause::Proxy),
            State::New | State::SecuringProxy(_) | State::Securing | State::Head(_) => None,
        }
    }

    /// The connection broke. An answer received before that still counts.
    fn broken(&mut self, wire: &mut Wire) -> FailureCause {
        if let Some(refused) = self.cut_short().or_else(|| self.late_refusal(wire)) {
            return refused;
        }
        FailureCause::Io(std::io::ErrorKind::ConnectionReset.into())
    }

    /// Why the attempt ends at its deadline. A refusal with an incomplete body is still a refusal.
    pub(super) fn timed_out(&mut self, now: Instant) -> FailureCause {
        if let Some(refused) = self.cut_short() {
            return refused;
        }
        let after = self.plan.as_ref().map(|plan| plan.time_for(self.stage(), now)).unwrap_or_default();
        FailureCause::Timeout { after }
    }

    /// Ends the attempt. `None` if it was already opened or given up.
    pub(super) fn give_up(&mut self, cause: FailureCause) -> Option<Box<Unopened>> {
        let (stage, plan) = (self.stage(), self.plan.take()?);
        let unreported = match &mut self.state {
            _ if !plan.reports_handshake() => Vec::new(),
            State::Head(answer) => std::mem::take(&mut answer.head),
            State::Proxy(negotiation) => negotiation.response_head().to_vec(),
            State::New | State::SecuringProxy(_) | State::Securing | State::Body { .. } => Vec::new(),
        };
        Some(Box::new(Unopened { plan, stage, cause, unreported }))
    }
}

/// What is known of the response's head.
enum Head {
    Incomplete,
    /// RFC 9110 section 15.2: "A client MUST be able to parse one or more 1xx responses received prior to a final
    /// response".
    Informational {
        length: usize,
    },
    Accepted {
        length: usize,
        subprotocol: Option<String>,
        deflate: Option<Agreed>,
    },
    Refused {
        length: usize,
    },
}

impl Head {
    /// The length of a whole head.
    const fn length(&self) -> Option<usize> {
        match *self {
            Self::Incomplete => None,
            Self::Informational { length } | Self::Accepted { length, .. } | Self::Refused { length } => Some(length),
        }
    }
}

impl Answer {
    /// Looks for the end of the head, and checks it.
    fn read(&mut self, connect: &Connect, limits: &ProtocolLimits) -> Result<Head, FailureCause> {
        let found = self.scanner.scan(&self.head);
        let found = found.map_err(|error| FailureCause::Rule(HandshakeError::Head(error)))?;
        let Some(length) = found else { return Ok(Head::Incomplete) };
        self.scanner.unfold(&mut self.head[..length]);
        match connect.check(&self.head[..length], self.nonce, self.deflate, limits) {
            Ok(accepted) => {
                let (subprotocol, deflate) = (accepted.protocol.map(str::to_owned), accepted.deflate);
                Ok(Head::Accepted { length, subprotocol, deflate })
            }
            Err(HandshakeError::Status(100..=199)) => Ok(Head::Informational { length }),
            Err(HandshakeError::Status(_)) => Ok(Head::Refused { length }),
            Err(rule) => Err(FailureCause::Rule(rule)),
        }
    }

    /// Goes on behind an informational response.
    fn skip(&mut self, length: usize, limits: &ProtocolLimits) -> Result<(), FailureCause> {
        self.head.drain(..length);
        self.informational += length;
        if self.informational > limits.head_bytes {
            return Err(FailureCause::Rule(HandshakeError::Head(HeadError::HeadTooLong)));
        }
        self.scanner = HeadScanner::for_response(limits);
        Ok(())
    }
}
