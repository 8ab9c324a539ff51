//! The exchange phase: one HTTP request with a session, from its head to the last byte of its answer.
//!
//! What to know before editing: a request ends once. Either the answer is finished, and the rest of it is sent, or the
//! end is decided otherwise ([`Exchange::over`]): then no callback follows but `closed`. Input behind the body belongs
//! to the next request. While the program has not answered it is read ahead once, so that the end of a peer that is
//! gone is noticed, and kept. Nothing of one request may be left on the connection for the next one: its flags, its
//! timer and its id end with it.

use sockeye_proto::conn::HEADROOM;
use sockeye_proto::http::body::{BodyError, Decoder, Length};
use sockeye_proto::http::target::TargetPath;
use sockeye_proto::http::{RequestHead, Version};
use sockeye_proto::time::Instant;

use crate::conn::call::Caller;
use crate::conn::env::Env;
use crate::conn::file::send_file;
use crate::conn::linger::Linger;
use crate::conn::policy::Via;
use crate::conn::step::{Due, Step};
use crate::conn::wire::{NEVER, Wire};
use crate::http::access::Access;
use crate::http::{HttpRequest, Response, precondition};
use crate::id::{ConnId, RequestId};
use crate::limits::RequestLimits;
use crate::protocol::endpoint::ResponderEndpoint;
use crate::protocol::{Answering, RequestCx, RequestEnd, RequestTimeout, ResponseFault, ResponsePort, ResponseTx};
use crate::state::{End, EndpointIndex, Entry, ReadBudget};
use crate::statistics::{Culprit, WorkOwner};
use crate::sys::CloseHow;
use crate::transport::{LoopIo, Read, Socket, SocketWriter};

/// A request that a responder answers.
pub(super) struct Exchange {
    endpoint: EndpointIndex,
    id: RequestId,
    answering: Answering,
    /// The request's body.
    decoder: Decoder,
    /// The program knows that the body has ended.
    body_reported: bool,
    /// The client waits for 100 (Continue).
    continue_due: bool,
    /// The program must be told that the service is being drained.
    drain_due: bool,
    /// Whether the request lets the connection live.
    may_keep_alive: bool,
    limits: RequestLimits,
    /// The end is decided, though the answer is not finished.
    over: Option<Over>,
    /// When the head arrived.
    since: Instant,
    /// Bytes of the body since the window began that ends at `sender_until`.
    received: u64,
    sender_until: Instant,
    /// The end of the window of the slow-reader rule, while output waits.
    reader_until: Instant,
    answer_until: Instant,
    via: Via,
}

/// A request for a responder, as the HTTP phase hands it over.
pub(super) struct Arrival<'r> {
    pub(super) endpoint: EndpointIndex,
    pub(super) head: &'r RequestHead<'r>,
    pub(super) path: &'r TargetPath,
    /// The input behind the head.
    pub(super) rest: &'r [u8],
}

/// What follows an exchange.
pub(super) enum AfterExchange {
    /// The next request of the connection, which came so.
    Request(Via),
    Linger(Linger),
}

/// How a request ends that was not answered by the program.
#[derive(Clone, Copy)]
struct Over {
    end: RequestEnd,
    /// The status to answer with, if the answer has not begun.
    status: Option<u16>,
}

/// The responder and the context of its callbacks, for one round.
type Callbacks<'a> = Caller<'a, dyn ResponderEndpoint + 'a, RequestCx<'a>>;

impl Exchange {
    /// A head has arrived: the `request` callback, once.
    pub(super) fn begin(
        arrival: Arrival<'_>,
        length: Length,
        access: Access,
        via: Via,
        wire: &mut Wire,
        env: &mut Env,
        id: ConnId,
    ) -> Self {
        let Arrival { endpoint, head, path, rest } = arrival;
        let is_old = head.version == Version::Http10;
        // RFC 9110 section 10.1.1: "A server MAY omit sending a 100 (Continue) response if it has already received some
        // or all of the content for the corresponding request"; and "A server that receives a 100-continue expectation
        // in an HTTP/1.0 request MUST ignore that expectation."
        let has_body = !matches!(length, Length::None | Length::Exact(0));
        let continue_due = has_body && rest.is_empty() && !is_old && head.fields.has_token("expect", "100-continue");
        // A declined Upgrade: what follows may be in the other protocol.
        let is_declined = head.fields.get("upgrade").is_some();
        let may_keep_alive = !is_old && !head.fields.has_token("connection", "close") && !is_declined;
        let mut limits = RequestLimits::of(&env.limits);
        let request_id = env.state.exchanges.begin(id);
        let result = call_request(endpoint, request_id, head, path, &mut limits, wire, env);
        wire.socket.keep_unread(&env.state.pool, rest);
        let mut exchange = Self {
            endpoint,
            id: request_id,
            answering: Answering::new(head.method == "HEAD", is_old, access),
            decoder: Decoder::new(length, limits.body_bytes),
            body_reported: false,
            continue_due,
            drain_due: false,
            may_keep_alive,
            limits,
            over: None,
            since: env.state.now,
            received: 0,
            sender_until: NEVER,
            reader_until: NEVER,
            answer_until: NEVER,
            via,
        };
        match result {
            Ok(session) => {
                if let Some(entry) = env.state.registry.get_mut(id) {
                    entry.session = session;
                }
                env.state.take_ends(id, |end| exchange.end(end));
                // A declared length that is too large fails before the first byte.
                if let Err(error) = exchange.decoder.decode(&mut &b""[..]) {
                    exchange.refuse_body(error, &mut env.io);
                }
            }
            Err(response) => {
                env.forget_session(id);
                exchange.respond(wire, env, response);
            }
        }
        exchange
    }

    /// The program aborts the request, or closes its connection.
    pub(super) fn abort(&mut self) {
        self.over.get_or_insert(Over { end: RequestEnd::Aborted, status: None });
    }

    /// The program closes the connection: an answer that is finished is still sent, anything else is given up.
    pub(super) fn close(&mut self) {
        if self.answering.is_finished() {
            self.answering.stop_keep_alive();
        } else {
            self.abort();
        }
    }

    /// What a callback asked for its own connection.
    fn end(&mut self, end: &End) {
        match end {
            End::Close(_) => self.close(),
            End::Abort => self.abort(),
            End::Output | End::Plain(_) => {}
        }
    }

    /// The service is being drained.
    pub(super) fn drain(&mut self) {
        self.drain_due = true;
    }

    pub(super) fn id(&self) -> RequestId {
        self.id
    }

    pub(super) fn limits(&mut self) -> &mut RequestLimits {
        &mut self.limits
    }

    /// Whether callbacks may follow, other than `closed`.
    pub(super) fn is_open(&self) -> bool {
        self.over.is_none() && !self.answering.is_finished()
    }

    pub(super) fn deadline(&self) -> Instant {
        self.sender_until.min(self.reader_until).min(self.answer_until)
    }

    fn decide(&mut self, end: RequestEnd, status: Option<u16>) {
        if self.is_open() {
            self.over = Some(Over { end, status });
        }
    }

    /// Receives, calls back and writes as far as socket and turn allow.
    pub(super) fn step(&mut self, wire: &mut Wire, env: &mut Env, id: ConnId, entry: Entry) -> Step<AfterExchange> {
        let mut more = false;
        let mut is_paused = false;
        if self.is_open() {
            env.state.enter(id, entry, env.share);
            env.io.begin_step(env.share.bytes);
            env.io.take_send_error();
            self.answering.access.seen(env.state.now);
            self.flush(wire, env);
            more = true;
            while more && self.is_open() && !env.state.running.budget.is_spent() && env.io.send_budget > 0 {
                more = self.round(wire, env);
            }
            self.flush(wire, env);
            is_paused = env.state.running.is_paused();
            env.state.leave();
        }
        if let Some(over) = self.over.take() {
            if let Some(step) = self.conclude(over, wire, env) {
                return step;
            }
        }
        if self.answering.is_finished() {
            return self.finish(wire, env);
        }
        self.arm(wire, env.state.now, is_paused);
        match more {
            false => Step::Wait,
            true if env.state.running.budget.is_spent() || env.io.send_budget == 0 => Step::Yield,
            true => Step::Later,
        }
    }

    /// Sends waiting output, as far as the socket accepts it. A connection that broke ends the request: what is unread
    /// could not be answered.
    fn flush(&mut self, wire: &mut Wire, env: &mut Env) {
        if wire.socket.has_backlog() || env.io.corked() > 0 {
            SocketWriter::new(&mut env.io, &mut wire.socket).flush();
        }
        if wire.socket.is_broken() {
            self.decide(RequestEnd::Broken(env.io.take_send_error()), None);
        }
    }

    /// Receives once, and writes once. Returns whether another round would find something to do.
    fn round(&mut self, wire: &mut Wire, env: &mut Env) -> bool {
        let ahead = env.limits.protocol.head_bytes.max(1);
        let may_keep_alive = self.may_keep_alive && !env.state.lifecycle.is_ending();
        let Env { io, state, endpoints, rx, .. } = env;
        let Wire { socket, peer, .. } = wire;
        let Some(endpoint) = endpoints.responder(self.endpoint) else { return false };
        let session = state.running.entry.session;
        let mut limits = self.limits;
        let cx = RequestCx::new(state, self.endpoint, self.id, peer, &mut limits);
        let mut callbacks = Caller { endpoint, session, cx };
        self.may_keep_alive = may_keep_alive;
        self.report_drain(&mut callbacks, io, socket);
        self.send_continue(&callbacks, io, socket);
        if !self.decoder.is_done() && !callbacks.cx.running.is_paused() {
            self.receive(&mut callbacks, io, socket, rx, ahead);
        }
        self.report_body_end(&mut callbacks, io, socket);
        if self.is_open() && callbacks.cx.running.wants_write() && socket.is_clear() {
            self.write(&mut callbacks, io, socket);
        }
        if self.is_open() && self.decoder.is_done() {
            self.look_for_end(&mut callbacks, io, socket, rx, ahead);
        }
        let running = &callbacks.cx.running;
        let reads = if self.decoder.is_done() { !self.body_reported } else { socket.has_input() };
        let more = reads && !running.is_paused() || running.wants_write() && socket.is_clear();
        self.limits = limits;
        more
    }

    fn report_drain(&mut self, callbacks: &mut Callbacks<'_>, io: &mut LoopIo, socket: &mut Socket) {
        if std::mem::take(&mut self.drain_due) {
            callbacks.call_rarely(io, Culprit::Timer, |responder, cx, session, _| responder.draining(cx, session));
            self.apply(callbacks, io, socket, None);
        }
    }

    /// Tells the client to send the body, if it waits for that and the program wants it.
    fn send_continue(&mut self, callbacks: &Callbacks<'_>, io: &mut LoopIo, socket: &mut Socket) {
        if self.continue_due && self.is_open() && self.answering.is_pending() && !callbacks.cx.running.is_paused() {
            self.continue_due = false;
            io.cork().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            SocketWriter::new(io, socket).flush();
        }
    }

    /// Reads once, and delivers the body that is in it.
    fn receive(
        &mut self,
        callbacks: &mut Callbacks<'_>,
        io: &mut LoopIo,
        socket: &mut Socket,
        rx: &mut [u8],
        ahead: usize,
    ) {
        if !self.is_open() {
            return;
        }
        // What comes behind the body is copied for each request in it, so not too much of that may be read.
        let most = (READ as u64).min(self.decoder.data_left().saturating_add(ahead as u64)) as usize;
        let most = most.min(callbacks.cx.running.budget.bytes);
        match socket.read(io, rx, most) {
            Read::Nothing => {}
            Read::Sealed(cost) => callbacks.cx.running.spend(cost),
            Read::Failed(error) => self.decide(RequestEnd::Broken(Some(error)), None),
            // RFC 9112 section 8: "If the sender closes the connection or the recipient times out before the indicated
            // number of octets are received, the recipient MUST consider the message to be incomplete and close the
            // connection."
            Read::End => self.decide(RequestEnd::PeerGone, None),
            Read::Bytes(count) => {
                let budget = &mut callbacks.cx.running.budget;
                budget.bytes = budget.bytes.saturating_sub(count);
                self.continue_due = false;
                let mut input = &rx[HEADROOM..HEADROOM + count];
                self.deliver(callbacks, io, socket, &mut input);
                socket.keep_unread(&callbacks.cx.pool, input);
            }
        }
    }

    /// The `body` callback for each piece, while the program wants them. `input` then begins behind what was used.
    fn deliver(&mut self, callbacks: &mut Callbacks<'_>, io: &mut LoopIo, socket: &mut Socket, input: &mut &[u8]) {
        while self.is_open() && !callbacks.cx.running.is_paused() && callbacks.cx.running.budget.frames > 0 {
            match self.decoder.decode(input) {
                Ok(Some(piece)) => {
                    self.received += piece.len() as u64;
                    callbacks.cx.running.budget.frames -= 1;
                    let answer = callbacks.call_if_watchful(io, Culprit::Receive, |responder, cx, session, _| {
                        responder.body(cx, session, piece)
                    });
                    self.apply(callbacks, io, socket, answer);
                }
                Ok(None) => return,
                Err(error) => return self.refuse_body(error, io),
            }
        }
    }

    fn report_body_end(&mut self, callbacks: &mut Callbacks<'_>, io: &mut LoopIo, socket: &mut Socket) {
        let is_due = self.decoder.is_done() && !self.body_reported && self.is_open();
        if is_due && !callbacks.cx.running.is_paused() {
            self.body_reported = true;
            let answer = callbacks
                .call_if_watchful(io, Culprit::Receive, |responder, cx, session, _| responder.body_ended(cx, session));
            self.apply(callbacks, io, socket, answer);
        }
    }

    /// The writable callback.
    fn write(&mut self, callbacks: &mut Callbacks<'_>, io: &mut LoopIo, socket: &mut Socket) {
        callbacks.cx.running.grant_write();
        self.answering.set_keep_alive(self.may_keep_alive && self.decoder.is_done());
        let before = io.send_budget;
        let answering = &mut self.answering;
        callbacks.call_if_watchful(io, Culprit::Writable, |responder, cx, session, io| {
            let out = SocketWriter::new(io, socket);
            responder.writable(cx, session, ResponseTx::new(&mut ResponsePort { answering, out }));
        });
        if io.send_budget == before {
            // A call that writes nothing has a cost too, so repeated requests do not hold the loop.
            io.send_budget = before.saturating_sub(io.frame_cost);
        }
        self.apply(callbacks, io, socket, None);
    }

    /// The request is whole and not answered: is the peer still there? What it sent for the next request is kept.
    fn look_for_end(
        &mut self,
        callbacks: &mut Callbacks<'_>,
        io: &mut LoopIo,
        socket: &mut Socket,
        rx: &mut [u8],
        most: usize,
    ) {
        if socket.has_kept() {
            if socket.has_read_closed() {
                self.decide(RequestEnd::PeerGone, None);
            }
            return;
        }
        match socket.read(io, rx, most) {
            Read::Nothing => {}
            Read::Sealed(cost) => callbacks.cx.running.spend(cost),
            Read::Failed(error) => self.decide(RequestEnd::Broken(Some(error)), None),
            Read::End => self.decide(RequestEnd::PeerGone, None),
            Read::Bytes(count) => socket.keep_unread(&callbacks.cx.pool, &rx[HEADROOM..HEADROOM + count]),
        }
    }

    /// Carries out what a callback returned, and what it asked for its own request, so that nothing is delivered after.
    fn apply(&mut self, callbacks: &mut Callbacks<'_>, io: &mut LoopIo, socket: &mut Socket, answer: Option<Response>) {
        if let Some(response) = answer {
            if self.answering.is_pending() {
                self.answering.set_keep_alive(self.may_keep_alive && self.decoder.is_done());
                self.answering.respond(&mut SocketWriter::new(io, socket), response);
            } else {
                self.decide(RequestEnd::Fault(ResponseFault::AnsweredTwice), None);
            }
        }
        if let Some(fault) = self.answering.fault() {
            self.decide(RequestEnd::Fault(fault), None);
        }
        if !callbacks.cx.queue.ends.is_empty() {
            let id = self.id.connection();
            callbacks.cx.take_ends(id, |end| self.end(end));
        }
    }

    fn refuse_body(&mut self, error: BodyError, io: &mut LoopIo) {
        let statistics = &mut io.meters.statistics;
        statistics.limits.body_bytes += u64::from(error == BodyError::TooLarge);
        statistics.refusals.request += 1;
        self.decide(RequestEnd::BadBody(error), Some(error.status()));
    }

    /// Ends the request otherwise than by its answer. `None`: an error remains to be sent.
    #[cold]
    fn conclude(&mut self, over: Over, wire: &mut Wire, env: &mut Env) -> Option<Step<AfterExchange>> {
        let Over { end, status } = over;
        wire.user_timer = NEVER;
        env.report_request_closed(self.id, &wire.peer, end);
        let is_pending = self.answering.is_pending();
        match status {
            Some(status) if is_pending => {
                self.may_keep_alive = false;
                self.respond(wire, env, Response::error(status));
                None
            }
            // A peer that has gone, or that cannot be reached: nothing was begun that it could take for the whole.
            _ if is_pending && matches!(end, RequestEnd::PeerGone | RequestEnd::Broken(_)) => {
                Some(Step::Gone(CloseHow::Normal))
            }
            _ => Some(Step::Gone(CloseHow::Reset)),
        }
    }

    /// Answers without a session.
    fn respond(&mut self, wire: &mut Wire, env: &mut Env, response: Response) {
        let keeps_alive = self.may_keep_alive && self.decoder.is_done() && !env.state.lifecycle.is_ending();
        self.answering.set_keep_alive(keeps_alive);
        self.answering.respond(&mut SocketWriter::new(&mut env.io, &mut wire.socket), response);
    }

    /// The answer is finished: sends the rest of it, then goes on to the next request, or ends the connection.
    fn finish(&mut self, wire: &mut Wire, env: &mut Env) -> Step<AfterExchange> {
        let mut budget = env.share.bytes;
        if let Err(how) = send_file(&mut self.answering.file, &mut self.answering.access, wire, env, &mut budget) {
            wire.user_timer = NEVER;
            env.report_request_closed(self.id, &wire.peer, RequestEnd::Fault(ResponseFault::File));
            return Step::Gone(how);
        }
        SocketWriter::new(&mut env.io, &mut wire.socket).flush();
        if wire.socket.is_broken() {
            let error = env.io.take_send_error();
            wire.user_timer = NEVER;
            env.report_request_closed(self.id, &wire.peer, RequestEnd::Broken(error));
            return Step::Gone(CloseHow::Normal);
        }
        let has_more = !self.decoder.is_done() && discard(wire, env, &mut budget);
        if wire.socket.has_backlog() || self.answering.file.is_some() {
            self.arm(wire, env.state.now, false);
            return match (wire.socket.has_backlog(), budget) {
                (true, _) if !has_more => Step::Wait,
                (_, 0) => Step::Yield,
                _ => Step::Later,
            };
        }
        wire.user_timer = NEVER;
        self.answering.access.complete();
        env.report_request_closed(self.id, &wire.peer, RequestEnd::Answered);
        if self.answering.keeps_alive() {
            return Step::Next(AfterExchange::Request(self.via.clone()));
        }
        Step::Next(AfterExchange::Linger(Linger::begin(wire, env)))
    }

    /// Sets the deadlines for what is awaited now.
    fn arm(&mut self, wire: &mut Wire, now: Instant, is_paused: bool) {
        let limits = &self.limits;
        if self.decoder.is_done() || is_paused || !self.is_open() {
            self.sender_until = NEVER;
        } else if self.sender_until == NEVER {
            self.received = 0;
            self.sender_until = now + limits.slow_sender_window;
        }
        if !wire.socket.has_backlog() && self.answering.file.is_none() {
            self.reader_until = NEVER;
        } else if self.reader_until == NEVER {
            wire.socket.take_progress(0);
            self.reader_until = now + limits.slow_reader_window;
        }
        let timeout = limits.answer_timeout.filter(|_| self.answering.is_pending());
        self.answer_until = timeout.map_or(NEVER, |timeout| self.since + timeout);
    }

    /// A deadline may be due: of the body, of the answer, of a reader, or the user's timer. A step follows.
    pub(super) fn due(&mut self, wire: &mut Wire, env: &mut Env, id: ConnId) -> Due<AfterExchange> {
        let now = env.state.now;
        if self.sender_until <= now {
            if self.received < self.limits.slow_sender_bytes {
                env.io.meters.statistics.limits.slow_sender_bytes += 1;
                env.io.meters.statistics.refusals.slow += 1;
                self.decide(RequestEnd::Timeout(RequestTimeout::SlowSender), Some(408));
            }
            self.sender_until = NEVER;
        }
        if self.reader_until <= now {
            if !wire.socket.take_progress(self.limits.slow_reader_bytes) {
                env.io.meters.statistics.limits.slow_reader_bytes += 1;
                wire.user_timer = NEVER;
                let end = RequestEnd::Timeout(RequestTimeout::SlowReader);
                env.report_request_closed(self.id, &wire.peer, end);
                return Due::Over(Step::Gone(CloseHow::Reset));
            }
            self.reader_until = NEVER;
        }
        if self.answer_until <= now {
            env.io.meters.statistics.limits.answer_timeout += 1;
            self.answer_until = NEVER;
            self.decide(RequestEnd::Timeout(RequestTimeout::Answer), Some(503));
        }
        self.call_timer(wire, env, id);
        Due::Step
    }

    fn call_timer(&mut self, wire: &mut Wire, env: &mut Env, id: ConnId) {
        if wire.user_timer > env.state.now {
            return;
        }
        wire.user_timer = NEVER;
        let Some(entry) = env.state.registry.get(id).filter(|_| self.is_open()) else { return };
        env.state.enter(id, entry, ReadBudget::default());
        let Env { io, state, endpoints, .. } = env;
        let Wire { socket, peer, .. } = wire;
        if let Some(endpoint) = endpoints.responder(self.endpoint) {
            let mut limits = self.limits;
            let cx = RequestCx::new(state, self.endpoint, self.id, peer, &mut limits);
            let mut callbacks = Caller { endpoint, session: entry.session, cx };
            let answer = callbacks.call_rarely(io, Culprit::Timer, |own, cx, session, _| own.timer(cx, session));
            self.apply(&mut callbacks, io, socket, answer);
            self.limits = limits;
        }
        env.state.leave();
    }
}

/// The `request` callback, in a step of its own. Conditional requests are looked at for the answer, as for closures.
fn call_request(
    endpoint: EndpointIndex,
    id: RequestId,
    head: &RequestHead<'_>,
    path: &TargetPath,
    limits: &mut RequestLimits,
    wire: &Wire,
    env: &mut Env,
) -> Result<u32, Response> {
    let connection = id.connection();
    let Some(entry) = env.state.registry.get_mut(connection) else { return Err(Response::error(500)) };
    entry.begin_session(endpoint);
    let entry = *entry;
    env.state.opened = true;
    env.state.enter(connection, entry, ReadBudget::default());
    let now = env.io.sys.wall_clock();
    env.io.steps_over(0);
    let (statistics, board) = (&env.io.meters.statistics, env.board.as_ref());
    let peer = &wire.peer;
    let request = HttpRequest { head, path, body: &[], peer, now, statistics, board };
    let cx = &mut RequestCx::new(&mut env.state, endpoint, id, peer, limits);
    let result = match env.endpoints.responder(endpoint) {
        Some(responder) => responder.request(cx, &request),
        None => Err(Response::error(500)),
    };
    let result = result.map_err(|response| precondition::apply(response, &request));
    env.io.lap(Culprit::Open, WorkOwner::of(endpoint.0, connection));
    env.state.leave();
    result
}

/// Reads and drops a body that is no longer delivered: a peer that is blocked on sending does not read the answer.
/// Returns whether there may be more.
fn discard(wire: &mut Wire, env: &mut Env, budget: &mut usize) -> bool {
    wire.socket.drop_unread();
    while wire.socket.has_input() && *budget > 0 {
        match wire.socket.read(&mut env.io, &mut env.rx, *budget) {
            Read::Bytes(count) | Read::Sealed(count) => *budget = budget.saturating_sub(count),
            Read::Nothing | Read::End | Read::Failed(_) => return false,
        }
    }
    wire.socket.has_input()
}

/// How much of a body is read at a time, which bounds what is kept for a program that pauses.
const READ: usize = 64 * 1024;
