//! Answers of the HTTP phase: the head, the rest of the body as the socket takes it, and refusals.

use sockeye_proto::handshake::server::{refuse, refuse_head};
use sockeye_proto::http::body::BodyError;
use sockeye_proto::http::{HeadError, RequestHead};

use crate::conn::env::Env;
use crate::conn::file::{Rest, send_rest, send_rest_later};
use crate::conn::http::{AfterHttp, Http, State};
use crate::conn::linger::Linger;
use crate::conn::step::Step;
use crate::conn::upgrade::Counter;
use crate::conn::wire::Wire;
use crate::http::access::Access;
use crate::http::{Body, Framing, Response};
use crate::sys::CloseHow;
use crate::transport::SocketWriter;
use crate::transport::pool::Buffer;

impl Http {
    /// Writes the answer's head. The body follows as the socket takes it.
    pub(super) fn send(&mut self, wire: &mut Wire, env: &mut Env, response: Response, date: u64) {
        let framing = Framing::of(&response);
        if response.write_head(env.io.cork(), framing, date, self.keep_alive).is_err() {
            // Cannot happen: a Response takes safe fields only.
            return self.answer_error(wire, env, 500, "", |refusals| &mut refusals.internal);
        }
        env.io.meters.statistics.responded(response.status());
        match response.into_body() {
            Body::Bytes(bytes) => self.rest = Some(Rest::of_bytes(bytes)),
            Body::File(file) => self.rest = Some(Rest::File(file)),
            Body::Empty => {}
        }
        self.begin_response(wire, env);
    }

    /// Answers with a response that refuses the request. Further input of the peer is ignored: what follows may be the
    /// rest of a body, or in another protocol.
    pub(super) fn refuse(&mut self, wire: &mut Wire, env: &mut Env, response: Response, reason: &str) {
        let response = response.finish(self.bodiless);
        tracing::debug!(peer = %wire.peer, status = response.status(), reason, "request refused");
        self.access.refused(response.status(), reason);
        self.keep_alive = false;
        wire.socket.drop_unread();
        let date = env.io.sys.wall_clock();
        self.send(wire, env, response, date);
    }

    /// A target that names no path: it is malformed, or in a form that only methods have which nothing here takes.
    pub(super) fn refuse_target(&mut self, wire: &mut Wire, env: &mut Env, head: &RequestHead<'_>, error: HeadError) {
        match self.site.method_refusal(head) {
            Some(response) => self.refuse(wire, env, response, "nothing here takes this method"),
            None => self.refuse_head(wire, env, error),
        }
    }

    pub(super) fn refuse_head(&mut self, wire: &mut Wire, env: &mut Env, error: HeadError) {
        let limits = &mut env.io.meters.statistics.limits;
        match error {
            HeadError::HeadTooLong => limits.head_bytes += 1,
            HeadError::TooManyLines => limits.head_lines += 1,
            HeadError::StartLineTooLong => limits.request_line_bytes += 1,
            _ => {}
        }
        self.answer_error(wire, env, error.status(), &error.to_string(), |refusals| &mut refusals.request);
    }

    pub(super) fn refuse_body(&mut self, wire: &mut Wire, env: &mut Env, error: BodyError) {
        env.io.meters.statistics.limits.body_bytes += u64::from(error == BodyError::TooLarge);
        self.answer_error(wire, env, error.status(), &error.to_string(), |refusals| &mut refusals.request);
    }

    /// Answers with an error. Further input of the peer is ignored.
    pub(super) fn answer_error(&mut self, wire: &mut Wire, env: &mut Env, status: u16, reason: &str, counter: Counter) {
        let statistics = &mut env.io.meters.statistics;
        *counter(&mut statistics.refusals) += 1;
        statistics.responded(status);
        tracing::debug!(peer = %wire.peer, status, reason, "request refused");
        let date = env.io.sys.wall_clock();
        if self.access.is_none() {
            self.access = Access::of(&wire.peer, None, wire.socket.tls(), env.state.now);
        }
        self.access.refused(status, reason);
        self.keep_alive = false;
        if self.bodiless {
            refuse_head(env.io.cork(), status, Some(date));
        } else {
            refuse(env.io.cork(), status, reason, Some(date));
        }
        wire.socket.drop_unread();
        self.begin_response(wire, env);
    }

    fn begin_response(&mut self, wire: &Wire, env: &Env) {
        self.state = State::Responding;
        self.head = Buffer::default();
        self.count(env);
        self.deadline = env.state.now + env.limits.slow_reader_window;
        self.left = self.unsent(wire) + env.io.corked() as u64;
    }

    /// The unsent bytes of the answer: queued output and the rest of the body.
    pub(super) fn unsent(&self, wire: &Wire) -> u64 {
        wire.socket.backlog_bytes() as u64 + self.rest.as_ref().map_or(0, Rest::remaining)
    }

    /// Sends the rest of the answer. `None` if all is sent, and the next request may come.
    pub(super) fn respond(&mut self, wire: &mut Wire, env: &mut Env, budget: &mut usize) -> Option<Step<AfterHttp>> {
        self.access.seen(env.state.now);
        if let Err(how) = send_rest(&mut self.rest, &mut self.access, wire, env, budget) {
            return Some(Step::Gone(how));
        }
        SocketWriter::new(&mut env.io, &mut wire.socket).flush();
        if wire.socket.is_broken() {
            return Some(Step::Gone(CloseHow::Normal));
        }
        if wire.socket.has_backlog() {
            return Some(Step::Wait);
        }
        if self.rest.is_some() {
            return Some(send_rest_later(wire, *budget));
        }
        self.access.complete();
        if self.keep_alive {
            self.restart(&env.limits, env.state.now);
            return None;
        }
        Some(Step::Next(AfterHttp::Linger(Linger::begin(wire, env))))
    }
}
