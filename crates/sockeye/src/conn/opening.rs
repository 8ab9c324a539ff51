//! A connection of our own on its way from TCP to WebSocket: the proxy in between, then the opening handshake.

use sockeye_proto::conn::{Connection, HEADROOM};
use sockeye_proto::handshake::client::HandshakeError;
use sockeye_proto::http::body::{Decoder, Length};
use sockeye_proto::http::{HeadError, HeadScanner, ResponseHead};
use sockeye_proto::time::Instant;
use sockeye_proto::wire::Role;

use crate::client::negotiate::{Negotiated, Negotiation};
use crate::client::plan::{Plan, Unopened};
use crate::client::{FailureCause, Refusal, Stage as ConnectStage};
use crate::conn::read::{Filled, fill, keep};
use crate::conn::{Conn, Phase, Stage, Step, linger, ws};
use crate::output::{Bits, Out};
use crate::protocol::{ConnId, Handshake};

/// A connection that stands and is no WebSocket yet.
pub(crate) struct Opening {
    plan: Box<Plan>,
    state: State,
    /// The end of the present part, which is not later than that of the attempt.
    deadline: Instant,
}

enum State {
    /// Nothing was sent yet.
    New,
    Proxy(Negotiation),
    Head(Answer),
    Body {
        refusal: Box<Refusal>,
        decoder: Decoder,
        until_close: bool,
    },
}

/// The response to the handshake, as far as it came.
struct Answer {
    nonce: [u8; 16],
    scanner: HeadScanner,
    head: Vec<u8>,
    /// Bytes of 1xx responses before it.
    informational: usize,
}

impl Opening {
    pub(crate) fn new(plan: Box<Plan>) -> Self {
        let deadline = plan.ends();
        Self { plan, state: State::New, deadline }
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    fn stage(&self) -> ConnectStage {
        match self.state {
            State::Proxy(_) => ConnectStage::Proxy,
            State::New | State::Head(_) | State::Body { .. } => ConnectStage::Handshake,
        }
    }
}

/// Writes, reads and decides as far as socket and turn allow.
pub(crate) fn step(stage: &mut Stage, id: ConnId, conn: &mut Conn) -> Step {
    if matches!(&conn.phase, Phase::Opening(opening) if matches!(opening.state, State::New)) {
        if let Err(cause) = begin(stage, conn) {
            return give_up(stage, id, conn, cause);
        }
    }
    let mut budget = stage.limits.turn_bytes;
    loop {
        Out::new(&mut stage.outlet, &mut conn.link).flush();
        if conn.link.bits.has(Bits::BROKEN) {
            // Who refuses may end the connection without having read our request: what was answered is there all the same.
            conn.link.bits.set(Bits::READABLE);
        }
        let Phase::Opening(_) = &conn.phase else { return Step::Again };
        if budget == 0 {
            return Step::Yield;
        }
        // More than a head is not read before it is known what follows it.
        let most = budget.min(stage.limits.protocol.head_bytes.max(1));
        match fill(&mut Out::new(&mut stage.outlet, &mut conn.link), &mut conn.stash, &mut stage.rx, most) {
            Filled::Bytes(count) => {
                budget = budget.saturating_sub(count);
                // The buffer is lent to the parser while the rest of the stage answers.
                let rx = std::mem::take(&mut stage.rx);
                let fed = feed(stage, id, conn, &rx[HEADROOM..HEADROOM + count]);
                stage.rx = rx;
                match fed {
                    Ok(Next::Go) => {}
                    Ok(Next::Open) => return Step::Again,
                    Err(cause) => return give_up(stage, id, conn, cause),
                }
            }
            Filled::Nothing if !conn.link.bits.has(Bits::BROKEN) => return Step::Wait,
            Filled::Nothing | Filled::Failed => {
                let cause = broken(conn);
                return give_up(stage, id, conn, cause);
            }
            Filled::End => {
                let cause = ended(conn);
                return give_up(stage, id, conn, cause);
            }
        }
    }
}

enum Next {
    Go,
    Open,
}

/// The first bytes of ours.
fn begin(stage: &mut Stage, conn: &mut Conn) -> Result<(), FailureCause> {
    let Phase::Opening(opening) = &mut conn.phase else { return Ok(()) };
    let negotiation = opening.plan.negotiation(&stage.limits.protocol).map_err(FailureCause::Proxy)?;
    let Some(negotiation) = negotiation else {
        return ask(stage, conn);
    };
    opening.deadline = opening.plan.ends().min(stage.shared.now + opening.plan.timeouts().proxy);
    negotiation.start(&mut stage.outlet.cork);
    opening.state = State::Proxy(negotiation);
    Ok(())
}

/// Sends the request of the handshake.
fn ask(stage: &mut Stage, conn: &mut Conn) -> Result<(), FailureCause> {
    let Phase::Opening(opening) = &mut conn.phase else { return Ok(()) };
    // RFC 6455 section 4.1: "The nonce MUST be selected randomly for each connection."
    let mut nonce = [0; 16];
    stage.outlet.sys.random(&mut nonce).map_err(FailureCause::Io)?;
    let request = opening.plan.connect().request(nonce, &mut stage.outlet.cork);
    request.map_err(|_| FailureCause::Unsupported("the handshake cannot say what was asked for"))?;
    opening.deadline = opening.plan.ends().min(stage.shared.now + opening.plan.timeouts().handshake);
    let scanner = HeadScanner::new(&stage.limits.protocol);
    opening.state = State::Head(Answer { nonce, scanner, head: Vec::new(), informational: 0 });
    Ok(())
}

/// Takes what came.
fn feed(stage: &mut Stage, id: ConnId, conn: &mut Conn, mut bytes: &[u8]) -> Result<Next, FailureCause> {
    let Phase::Opening(opening) = &mut conn.phase else { return Ok(Next::Open) };
    if let State::Proxy(negotiation) = &mut opening.state {
        match negotiation.feed(&mut bytes, &mut stage.outlet.cork).map_err(FailureCause::Proxy)? {
            Negotiated::More => return Ok(Next::Go),
            Negotiated::Done => ask(stage, conn)?,
        }
        if bytes.is_empty() {
            return Ok(Next::Go);
        }
    }
    let Phase::Opening(opening) = &mut conn.phase else { return Ok(Next::Open) };
    match &mut opening.state {
        State::Head(answer) => {
            answer.head.extend_from_slice(bytes);
            read_head(stage, id, conn)
        }
        State::Body { refusal, decoder, .. } => {
            if collect(refusal, decoder, bytes, stage.limits.protocol.response_body_bytes) {
                return Err(refused(opening));
            }
            Ok(Next::Go)
        }
        State::New | State::Proxy(_) => Ok(Next::Go),
    }
}

/// Looks for the end of the head, and decides by it.
fn read_head(stage: &mut Stage, id: ConnId, conn: &mut Conn) -> Result<Next, FailureCause> {
    let (limits, now) = (stage.limits.protocol.clone(), stage.outlet.sys.wall_clock());
    let Phase::Opening(opening) = &mut conn.phase else { return Ok(Next::Open) };
    let State::Head(answer) = &mut opening.state else { return Ok(Next::Go) };
    loop {
        let found =
            answer.scanner.scan(&answer.head).map_err(|error| FailureCause::Rule(HandshakeError::Head(error)))?;
        let Some(len) = found else { return Ok(Next::Go) };
        match opening.plan.connect().check(&answer.head[..len], answer.nonce, &limits) {
            Ok(accepted) => {
                let chosen = accepted.protocol.map(str::to_owned);
                // What came behind the head are frames already.
                let head = std::mem::take(&mut answer.head);
                keep(&stage.outlet.pool, &mut conn.stash, &head[len..]);
                open(stage, id, conn, chosen);
                return Ok(Next::Open);
            }
            // RFC 9110 section 15.2: "A client MUST be able to parse one or more 1xx responses received prior to a
            // final response".
            Err(HandshakeError::Status(100..=199)) => {
                answer.informational += len;
                if answer.informational > limits.head_bytes {
                    return Err(FailureCause::Rule(HandshakeError::Head(HeadError::HeadTooLong)));
                }
                answer.head.drain(..len);
                answer.scanner = HeadScanner::new(&limits);
            }
            Err(HandshakeError::Status(_)) => return begin_refusal(opening, len, &limits, now),
            Err(rule) => return Err(FailureCause::Rule(rule)),
        }
    }
}

/// Another status than 101: its body is collected, since it may say why.
fn begin_refusal(
    opening: &mut Opening,
    len: usize,
    limits: &sockeye_proto::limits::ProtocolLimits,
    now: u64,
) -> Result<Next, FailureCause> {
    let State::Head(answer) = &mut opening.state else { return Ok(Next::Go) };
    let bytes = std::mem::take(&mut answer.head);
    let wrong = |error| FailureCause::Rule(HandshakeError::Head(error));
    let head = ResponseHead::parse(&bytes[..len], limits).map_err(wrong)?;
    let length = Length::of_response(&head).map_err(wrong)?;
    let mut refusal = Box::new(Refusal::new(&head, now));
    // What is over the limit is cut off here, and no error.
    let mut decoder = Decoder::new(length, u64::MAX);
    // What a page says that moved is of no use to who goes where it moved to.
    let done = matches!(length, Length::None | Length::Exact(0))
        || opening.plan.follows(&refusal)
        || collect(&mut refusal, &mut decoder, &bytes[len..], limits.response_body_bytes);
    opening.state = State::Body { refusal, decoder, until_close: length == Length::UntilClose };
    if done { Err(refused(opening)) } else { Ok(Next::Go) }
}

/// Adds to the body of a refusal. Returns whether nothing more is wanted of it.
fn collect(refusal: &mut Refusal, decoder: &mut Decoder, mut input: &[u8], most: u64) -> bool {
    loop {
        match decoder.decode(&mut input) {
            Ok(Some(piece)) => {
                if !refusal.keep(piece, most) {
                    return true;
                }
            }
            Ok(None) => return decoder.is_done(),
            Err(_) => {
                refusal.cut();
                return true;
            }
        }
    }
}

fn refused(opening: &mut Opening) -> FailureCause {
    match std::mem::replace(&mut opening.state, State::New) {
        State::Body { refusal, .. } => FailureCause::Refused(refusal),
        State::New | State::Proxy(_) | State::Head(_) => FailureCause::Ended,
    }
}

/// The peer ended its side before it accepted.
fn ended(conn: &mut Conn) -> FailureCause {
    let Phase::Opening(opening) = &mut conn.phase else { return FailureCause::Ended };
    if let State::Body { refusal, until_close, .. } = &mut opening.state {
        if !*until_close {
            refusal.cut();
        }
        return refused(opening);
    }
    FailureCause::Ended
}

/// The connection broke. What was answered before is not taken back by that.
fn broken(conn: &mut Conn) -> FailureCause {
    if let Phase::Opening(opening) = &mut conn.phase {
        if let State::Body { refusal, .. } = &mut opening.state {
            refusal.cut();
            return refused(opening);
        }
    }
    FailureCause::Io(std::io::ErrorKind::ConnectionReset.into())
}

/// The handshake is done: from here on it is a WebSocket.
fn open(stage: &mut Stage, id: ConnId, conn: &mut Conn, chosen: Option<String>) {
    let ws = Connection::new(Role::Client, stage.limits.protocol.clone(), stage.shared.now);
    let Phase::Opening(opening) = std::mem::replace(&mut conn.phase, Phase::Ws(ws)) else { return };
    tracing::debug!(%id, peer = %conn.peer, protocol = chosen.as_deref().unwrap_or_default(), "open");
    stage.shared.outgoing.opened(id, opening.plan, stage.shared.now);
    ws::tell_open(stage, id, conn, &Handshake { subprotocol: chosen.as_deref() });
}

/// A deadline is over. A refusal whose body did not come to its end is one all the same.
pub(crate) fn due(stage: &mut Stage, id: ConnId, conn: &mut Conn) -> Step {
    let Phase::Opening(opening) = &mut conn.phase else { return Step::Again };
    let cause = if let State::Body { refusal, .. } = &mut opening.state {
        refusal.cut();
        refused(opening)
    } else {
        FailureCause::Timeout { after: opening.plan.time_for(opening.stage(), stage.shared.now) }
    };
    give_up(stage, id, conn, cause)
}

/// It does not become a WebSocket. The service decides what follows: another address, another attempt, or the callback.
pub(crate) fn give_up(stage: &mut Stage, id: ConnId, conn: &mut Conn, cause: FailureCause) -> Step {
    let Phase::Opening(opening) = std::mem::replace(&mut conn.phase, linger::over()) else { return Step::Again };
    let at = opening.stage();
    stage.outlet.cork.clear();
    stage.shared.outgoing.unopened.push(Unopened { id, plan: opening.plan, stage: at, cause });
    Step::Unopened
}
