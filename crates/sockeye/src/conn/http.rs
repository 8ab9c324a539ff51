//! The HTTP phase: heads, bodies, answers, and the upgrade.
//!
//! One request is answered at a time; what the peer sends behind it waits. Files are read in the writable step, so
//! neither a large file nor a slow reader holds more than one piece of it in memory.

use sockeye_proto::handshake::server::{Offer, refuse, refuse_head};
use sockeye_proto::http::body::{BodyError, Decoder, Length};
use sockeye_proto::http::emit;
use sockeye_proto::http::{HeadError, HeadScanner, RequestHead, Version, target};
use sockeye_proto::time::Instant;

use crate::conn::access::Access;
use crate::conn::read::{Filled, fill, keep};
use crate::conn::upgrade::Counter;
use crate::conn::{Conn, Phase, Stage, Step, linger, upgrade};
use crate::http::{Body, FileBody, HttpRequest, Response};
use crate::limits::Limits;
use crate::output::pool::Buffer;
use crate::output::{Bits, CORK, Out};
use crate::protocol::ConnId;
use crate::statistics::{Culprit, Whose};
use crate::sys::{Address, CloseHow};

/// A connection that speaks HTTP.
pub(crate) struct Http {
    scanner: HeadScanner,
    /// The bytes of an incomplete head; while a body comes, the whole head.
    head: Vec<u8>,
    state: State,
    /// What is left to send of a file.
    file: Option<FileBody>,
    /// The request is a HEAD, whose answer has no body. Known before the head is complete, and even if it is refused.
    bodiless: bool,
    keep_alive: bool,
    /// The service is being drained: end at the next boundary.
    ending: bool,
    /// A request was answered before.
    reused: bool,
    deadline: Instant,
    /// What was left to send when the present window of the slow-reader rule began.
    left: u64,
    /// Of the request that is being answered.
    pub(super) access: Access,
    /// The trusted proxy that the connection came through.
    proxy: Option<Box<Address>>,
}

enum State {
    Head,
    Body { decoder: Decoder, bytes: Buffer },
    Responding,
}

impl Http {
    pub(crate) fn new(limits: &Limits, now: Instant) -> Self {
        Self {
            scanner: HeadScanner::new(&limits.protocol),
            head: Vec::new(),
            state: State::Head,
            file: None,
            bodiless: false,
            keep_alive: true,
            ending: false,
            reused: false,
            deadline: now + limits.handshake_timeout,
            left: 0,
            access: Access::default(),
            proxy: None,
        }
    }

    /// It is a proxy's connection, for a client elsewhere.
    pub(crate) fn came_through(&mut self, proxy: Address) {
        self.proxy = Some(Box::new(proxy));
    }

    pub(crate) fn proxy(&self) -> Option<&Address> {
        self.proxy.as_deref()
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Ends the connection at the next boundary between requests.
    pub(crate) fn end_after_response(&mut self) {
        self.ending = true;
    }

    /// Ready for the next request of a kept-alive connection.
    fn restart(&mut self, limits: &Limits, now: Instant) {
        let ending = self.ending;
        *self = Self::new(limits, now);
        self.ending = ending;
        self.reused = true;
        self.deadline = now + limits.idle_timeout;
    }

    fn is_untouched(&self) -> bool {
        self.head.is_empty() && matches!(self.state, State::Head)
    }
}

/// Reads, answers and writes as far as socket and budget allow.
pub(crate) fn step(stage: &mut Stage, id: ConnId, conn: &mut Conn) -> Step {
    let mut budget = stage.limits.turn_bytes;
    loop {
        let Phase::Http(http) = &conn.phase else { return Step::Again };
        if matches!(http.state, State::Responding) {
            match respond(stage, conn, &mut budget) {
                Step::Again => continue,
                done => return done,
            }
        }
        if http.ending && http.is_untouched() {
            if conn.stash.is_none() && !conn.link.bits.has(Bits::READABLE) {
                return Step::Gone(CloseHow::Normal);
            }
            // The next request is here already: to close now would reset the connection, and the last answer with it.
            return linger::begin(conn, stage.shared.now + stage.limits.protocol.close_timeout);
        }
        if budget == 0 {
            return Step::Yield;
        }
        let most = match http.state {
            // Not more than a head may have: what is over it is refused before it is read.
            State::Head => budget.min(stage.limits.protocol.head_bytes.saturating_sub(http.head.len()).max(1)),
            // What comes behind the body is kept, and copied for each of the requests that it may be full of.
            State::Body { .. } | State::Responding => budget.min(stage.limits.protocol.head_bytes.max(1)),
        };
        let count = match fill(&mut Out::new(&mut stage.outlet, &mut conn.link), &mut conn.stash, &mut stage.rx, most) {
            Filled::Bytes(count) => count,
            Filled::Nothing => return Step::Wait,
            Filled::End | Filled::Failed => return Step::Gone(CloseHow::Normal),
        };
        budget = budget.saturating_sub(count);
        // The buffer is lent to the parser while the rest of the stage answers.
        let rx = std::mem::take(&mut stage.rx);
        let bytes = &rx[sockeye_proto::conn::HEADROOM..sockeye_proto::conn::HEADROOM + count];
        let next = feed(stage, id, conn, bytes);
        stage.rx = rx;
        match next {
            Next::Go => {}
            Next::Upgraded => return Step::Again,
        }
    }
}

/// What a piece of input came to.
pub(crate) enum Next {
    /// Go on in the HTTP phase.
    Go,
    /// The connection is a WebSocket now.
    Upgraded,
}

fn feed(stage: &mut Stage, id: ConnId, conn: &mut Conn, bytes: &[u8]) -> Next {
    let Phase::Http(http) = &mut conn.phase else { return Next::Go };
    if matches!(http.state, State::Body { .. }) {
        return feed_body(stage, conn, bytes);
    }
    if http.head.is_empty() {
        http.bodiless = is_head(bytes);
        return match http.scanner.scan(bytes) {
            Ok(Some(length)) => request(stage, id, conn, &bytes[..length], &bytes[length..]),
            Ok(None) => {
                http.head.extend_from_slice(bytes);
                Next::Go
            }
            Err(error) => {
                hint(&conn.peer, bytes);
                bad_head(stage, conn, error)
            }
        };
    }
    let had = http.head.len();
    http.head.extend_from_slice(bytes);
    http.bodiless = is_head(&http.head);
    match http.scanner.scan(&http.head) {
        Ok(Some(length)) => {
            let head = std::mem::take(&mut http.head);
            let rest = bytes.get(length.saturating_sub(had)..).unwrap_or_default();
            request(stage, id, conn, &head[..length], rest)
        }
        Ok(None) => Next::Go,
        Err(error) => {
            hint(&conn.peer, &http.head);
            bad_head(stage, conn, error)
        }
    }
}

/// Says of what is no request that it may be one behind a PROXY header, which nobody is trusted with who is not named.
fn hint(peer: &Address, head: &[u8]) {
    if head.starts_with(b"PROXY ") || head.starts_with(b"\r\n\r\n\0\r\nQUIT\n") {
        tracing::debug!(
            %peer,
            "a PROXY header of a peer that is not trusted; is it a proxy that proxy_protocol (--proxy-protocol) should name?"
        );
    }
}

/// Whether the request that begins so is a HEAD. One empty line before it is passed over, as the scanner does.
fn is_head(request: &[u8]) -> bool {
    request.strip_prefix(b"\r\n").unwrap_or(request).starts_with(b"HEAD ")
}

/// A head is complete; `rest` is what came behind it.
fn request(stage: &mut Stage, id: ConnId, conn: &mut Conn, head: &[u8], rest: &[u8]) -> Next {
    let parsed = match RequestHead::parse(head, &stage.limits.protocol) {
        Ok(parsed) => parsed,
        Err(error) => {
            hint(&conn.peer, head);
            return bad_head(stage, conn, error);
        }
    };
    if let Phase::Http(http) = &mut conn.phase {
        http.access = Access::of(&conn.peer, Some(&parsed), stage.shared.now);
    }
    let path = match target::normalise(parsed.target) {
        Ok(path) => path,
        Err(error) => return bad_head(stage, conn, error),
    };
    let proxy = match &conn.phase {
        Phase::Http(http) => http.proxy(),
        _ => None,
    };
    if let Some(reason) = stage.policy.host_refusal(&parsed, proxy.unwrap_or(&conn.peer)) {
        // RFC 9110 section 15.5.20: "The 421 (Misdirected Request) status code indicates that the request was directed at a
        // server that is unable or unwilling to produce an authoritative response for the target URI."
        return answer_error(stage, conn, 421, &reason, |refusals| &mut refusals.host);
    }
    match Offer::of(&parsed) {
        Err(refusal) => answer_error(stage, conn, refusal.status, refusal.reason, |refusals| &mut refusals.handshake),
        Ok(Some(offer)) => match upgrade::decide(stage, id, conn, &offer, &path) {
            Ok(()) => {
                keep(&stage.shared.pool, &mut conn.stash, rest);
                Next::Upgraded
            }
            Err(upgrade::Refused { status, reason, counter }) => answer_error(stage, conn, status, &reason, counter),
        },
        Ok(None) => match stage.policy.plain_origin_refusal(&parsed) {
            Some(reason) => answer_error(stage, conn, 403, &reason, |refusals| &mut refusals.origin),
            None => plain(stage, conn, &parsed, &path, head, rest),
        },
    }
}

/// A request that is no offer to speak WebSocket.
fn plain(stage: &mut Stage, conn: &mut Conn, head: &RequestHead<'_>, path: &str, raw: &[u8], rest: &[u8]) -> Next {
    let length = match Length::of_request(head) {
        Ok(length) => length,
        Err(error) => return bad_head(stage, conn, error),
    };
    let limit = stage.limits.protocol.body_bytes;
    match length {
        Length::None | Length::Exact(0) => {
            keep(&stage.shared.pool, &mut conn.stash, rest);
            dispatch(stage, conn, head, path, &[])
        }
        Length::Exact(length) if length > limit => bad_body(stage, conn, BodyError::TooLarge),
        length => {
            let Phase::Http(http) = &mut conn.phase else { return Next::Go };
            // RFC 9110 section 10.1.1: a client that expects 100 may wait for it before it sends the body; but "A server that
            // receives a 100-continue expectation in an HTTP/1.0 request MUST ignore that expectation."
            let waits = rest.is_empty() && head.version == Version::Http11;
            if waits && head.fields.has_token("expect", "100-continue") {
                stage.outlet.cork.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            http.head = raw.to_vec();
            http.state = State::Body { decoder: Decoder::new(length, limit), bytes: Buffer::default() };
            Out::new(&mut stage.outlet, &mut conn.link).flush();
            feed_body(stage, conn, rest)
        }
    }
}

fn feed_body(stage: &mut Stage, conn: &mut Conn, mut input: &[u8]) -> Next {
    let Phase::Http(http) = &mut conn.phase else { return Next::Go };
    let State::Body { decoder, bytes } = &mut http.state else { return Next::Go };
    loop {
        match decoder.decode(&mut input) {
            Ok(Some(piece)) => bytes.0.extend_from_slice(piece),
            Ok(None) => break,
            Err(error) => return bad_body(stage, conn, error),
        }
    }
    if !decoder.is_done() {
        return Next::Go;
    }
    let body = std::mem::take(bytes);
    let raw = std::mem::take(&mut http.head);
    keep(&stage.shared.pool, &mut conn.stash, input);
    // Both were accepted when the head came, so neither fails now.
    let head = match RequestHead::parse(&raw, &stage.limits.protocol) {
        Ok(head) => head,
        Err(error) => return bad_head(stage, conn, error),
    };
    match target::normalise(head.target) {
        Ok(path) => dispatch(stage, conn, &head, &path, &body.0),
        Err(error) => bad_head(stage, conn, error),
    }
}

/// Has the routes answer, and writes the answer's head and the body as far as it is in memory.
fn dispatch(stage: &mut Stage, conn: &mut Conn, head: &RequestHead<'_>, path: &str, body: &[u8]) -> Next {
    let date = stage.outlet.sys.wall_clock();
    stage.outlet.steps_over(0);
    let (statistics, place) = (&stage.outlet.statistics, stage.place.as_ref());
    let (query, peer) = (target::query(head.target), &conn.peer);
    let request = HttpRequest { head, path, query, body, peer, now: date, statistics, place };
    let response = stage.policy.respond(&request);
    stage.outlet.lap(Culprit::Handler, Whose::default());
    let Some(response) = response else {
        let reason = "this is a WebSocket server; connect with a WebSocket client";
        return answer_error(stage, conn, 426, reason, |refusals| &mut refusals.plain);
    };
    let Phase::Http(http) = &mut conn.phase else { return Next::Go };
    // An Upgrade that was declined: what follows may be in the other protocol, so nothing is read behind it.
    let declined = head.fields.get("upgrade").is_some();
    http.keep_alive = head.version == Version::Http11
        && !head.fields.has_token("connection", "close")
        && !declined
        && !http.ending
        && !stage.policy.draining;
    let keep_alive = http.keep_alive;
    if write_head(&mut stage.outlet.cork, &response, date, keep_alive).is_err() {
        // Cannot happen: a Response takes safe fields only.
        return answer_error(stage, conn, 500, "", |refusals| &mut refusals.internal);
    }
    stage.outlet.statistics.responded(response.status());
    if let Phase::Http(http) = &mut conn.phase {
        http.access.answered(response.status());
    }
    let body = response.into_body();
    if let (Phase::Http(http), Body::Bytes(bytes)) = (&mut conn.phase, &body) {
        http.access.sent(bytes.len());
        Out::new(&mut stage.outlet, &mut conn.link).put(bytes);
    }
    if let (Phase::Http(http), Body::File(file)) = (&mut conn.phase, body) {
        http.file = Some(file);
    }
    begin_response(stage, conn);
    Next::Go
}

/// The head of an answer, with the fields that belong to the connection.
fn write_head(out: &mut Vec<u8>, response: &Response, date: u64, keep_alive: bool) -> Result<(), emit::InvalidField> {
    let mut head = emit::ResponseWriter::new(out, response.status()).date(date);
    for (name, value) in response.fields() {
        head = head.field(name, value)?;
    }
    if let Some(length) = response.content_length() {
        head = head.content_length(length);
    }
    if !keep_alive {
        head = head.field("Connection", "close")?;
    }
    head.finish();
    Ok(())
}

fn bad_head(stage: &mut Stage, conn: &mut Conn, error: HeadError) -> Next {
    let limits = &mut stage.outlet.statistics.limits;
    match error {
        HeadError::HeadTooLong => limits.head_bytes += 1,
        HeadError::TooManyLines => limits.head_lines += 1,
        HeadError::StartLineTooLong => limits.request_line_bytes += 1,
        _ => {}
    }
    answer_error(stage, conn, error.status(), &error.to_string(), |refusals| &mut refusals.request)
}

fn bad_body(stage: &mut Stage, conn: &mut Conn, error: BodyError) -> Next {
    stage.outlet.statistics.limits.body_bytes += u64::from(error == BodyError::TooLarge);
    answer_error(stage, conn, error.status(), &error.to_string(), |refusals| &mut refusals.request)
}

/// Answers with an error, after which nothing that the peer sends means anything.
fn answer_error(stage: &mut Stage, conn: &mut Conn, status: u16, reason: &str, counter: Counter) -> Next {
    let statistics = &mut stage.outlet.statistics;
    *counter(&mut statistics.refusals) += 1;
    statistics.responded(status);
    tracing::debug!(peer = %conn.peer, status, reason, "request refused");
    let date = stage.outlet.sys.wall_clock();
    if let Phase::Http(http) = &mut conn.phase {
        if http.access.is_none() {
            http.access = Access::of(&conn.peer, None, stage.shared.now);
        }
        http.access.refused(status, reason);
        http.keep_alive = false;
        if http.bodiless {
            refuse_head(&mut stage.outlet.cork, status, Some(date));
        } else {
            refuse(&mut stage.outlet.cork, status, reason, Some(date));
        }
    }
    conn.stash = None;
    begin_response(stage, conn);
    Next::Go
}

fn begin_response(stage: &Stage, conn: &mut Conn) {
    let waiting = conn.waiting() + stage.outlet.cork.len();
    if let Phase::Http(http) = &mut conn.phase {
        http.state = State::Responding;
        http.deadline = stage.shared.now + stage.limits.slow_reader_window;
        http.left = waiting as u64 + http.file.as_ref().map_or(0, FileBody::remaining);
    }
}

/// Sends what is left of the answer. `Again`: it is all sent, and the next request may come.
fn respond(stage: &mut Stage, conn: &mut Conn, budget: &mut usize) -> Step {
    if let Phase::Http(http) = &mut conn.phase {
        http.access.seen(stage.shared.now);
    }
    if let Some(step) = send_file(stage, conn, budget) {
        return step;
    }
    Out::new(&mut stage.outlet, &mut conn.link).flush();
    if conn.link.bits.has(Bits::BROKEN) {
        return Step::Gone(CloseHow::Normal);
    }
    let Phase::Http(http) = &mut conn.phase else { return Step::Again };
    if conn.link.queue.is_some() {
        return Step::Wait;
    }
    if http.file.is_some() {
        return if *budget == 0 { Step::Yield } else { Step::Later };
    }
    http.access.complete();
    let now = stage.shared.now;
    if http.keep_alive {
        http.restart(&stage.limits, now);
        return Step::Again;
    }
    linger::begin(conn, now + stage.limits.protocol.close_timeout)
}

/// Reads and sends pieces of the file while the socket takes them. `Some`: the connection is over.
fn send_file(stage: &mut Stage, conn: &mut Conn, budget: &mut usize) -> Option<Step> {
    if conn.link.queue.is_some() {
        Out::new(&mut stage.outlet, &mut conn.link).flush();
    }
    loop {
        let Phase::Http(http) = &mut conn.phase else { return None };
        let file = http.file.as_mut()?;
        if file.remaining() == 0 {
            http.file = None;
            return None;
        }
        let writable =
            conn.link.queue.is_none() && conn.link.bits.has(Bits::WRITABLE) && !conn.link.bits.has(Bits::BROKEN);
        if !writable || *budget == 0 {
            return None;
        }
        let room = CORK.min(stage.rx.len()).min(*budget);
        let count = match file.read_at(&mut stage.rx[..room]) {
            Ok(count) if count > 0 => count,
            // Shorter than it was when its length was announced: only ending the connection tells the peer.
            other => {
                tracing::warn!(peer = %conn.peer, ?other, "a file changed or failed while it was sent; the connection is reset");
                return Some(Step::Gone(CloseHow::Reset));
            }
        };
        file.advance(count);
        http.access.sent(count);
        *budget -= count;
        let rx = std::mem::take(&mut stage.rx);
        Out::new(&mut stage.outlet, &mut conn.link).put(&rx[..count]);
        stage.rx = rx;
    }
}

/// The deadline passed: of the head, of the pause between requests, or of the slow-reader rule.
pub(crate) fn due(stage: &mut Stage, conn: &mut Conn) -> Step {
    let waiting = conn.waiting() as u64;
    let Phase::Http(http) = &mut conn.phase else { return Step::Again };
    let limits = &mut stage.outlet.statistics.limits;
    match http.state {
        State::Responding => {
            let left = waiting + http.file.as_ref().map_or(0, FileBody::remaining);
            if http.left.saturating_sub(left) < stage.limits.slow_reader_bytes {
                limits.slow_reader_bytes += 1;
                tracing::debug!(peer = %conn.peer, "the answer is read too slowly; the connection is reset");
                return Step::Gone(CloseHow::Reset);
            }
            http.left = left;
            http.deadline = stage.shared.now + stage.limits.slow_reader_window;
            Step::Again
        }
        State::Head if http.head.is_empty() => {
            let counter = if http.reused { &mut limits.idle_timeout } else { &mut limits.handshake_timeout };
            *counter += 1;
            Step::Gone(CloseHow::Normal)
        }
        State::Head | State::Body { .. } => {
            let counter = if http.reused { &mut limits.idle_timeout } else { &mut limits.handshake_timeout };
            *counter += 1;
            answer_error(stage, conn, 408, "the request took too long", |refusals| &mut refusals.slow);
            Step::Again
        }
    }
}
