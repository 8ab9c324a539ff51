//! The WebSocket phase: read, deliver, answer, and let the protocol write.

use std::cell::{Cell, RefCell};

use sockeye_proto::close::{Cause, Closed, Timeout};
use sockeye_proto::conn::{Connection, HEADROOM, Input, State};
use sockeye_proto::event::Event;
use sockeye_proto::wire::Role;

use crate::conn::output::{Bits, CORK, Out};
use crate::conn::pool::Pool;
use crate::conn::read::{Filled, fill, stash};
use crate::conn::{Conn, Phase, Stage, Step, linger, out};
use crate::protocol::{ConnId, Cx, Port, Tx, Wishes};
use crate::service::endpoint::Endpoint;
use crate::service::shared::{EndpointIndex, Live, Shared};
use crate::service::timers::NEVER;
use crate::sys::{Address, CloseHow};

/// What is left of the turn's share of one connection.
struct Budget {
    bytes: usize,
    frames: usize,
}

/// Reads, delivers, answers and writes as far as socket and budget allow.
pub(crate) fn step(stage: &mut Stage<'_>, id: ConnId, conn: &mut Conn) -> Step {
    stage.shared.current = Some(id);
    let mut budget = Budget { bytes: stage.limits.turn_bytes, frames: stage.limits.turn_frames };
    let write_frames = Cell::new(stage.limits.turn_frames);
    let more = loop {
        let read = deliver(stage, id, conn, &mut budget);
        let wrote = write(stage, id, conn, &write_frames);
        if !read && !wrote {
            break false;
        }
        if budget.bytes == 0 || budget.frames == 0 || write_frames.get() == 0 {
            break true;
        }
        if !has_input(stage.shared, id, conn) && !wants_write(stage.shared, id, conn) {
            break false;
        }
    };
    stage.shared.current = None;
    out!(stage, conn).flush();
    let done = settle(stage, id, conn);
    match done {
        Step::Wait if more || has_input(stage.shared, id, conn) || wants_write(stage.shared, id, conn) => Step::Yield,
        done => done,
    }
}

/// Whether reading would find something now.
#[inline]
fn has_input(shared: &Shared, id: ConnId, conn: &Conn) -> bool {
    (conn.stash.is_some() || conn.bits.has(Bits::READABLE)) && !shared.live.get(id).is_some_and(|live| live.is_paused())
}

/// Whether the protocol asked for its writable callback and could have it now.
#[inline]
fn wants_write(shared: &Shared, id: ConnId, conn: &Conn) -> bool {
    let Phase::Ws(ws) = &conn.phase else { return false };
    shared.live.get(id).is_some_and(|live| live.wants_write())
        && conn.queue.is_none()
        && conn.bits.has(Bits::WRITABLE)
        && !conn.bits.has(Bits::BROKEN)
        && ws.can_send()
}

/// The endpoint's callbacks for one connection, with the context they get.
struct Callee<'a> {
    endpoint: &'a mut dyn Endpoint,
    live: Live,
    id: ConnId,
    peer: &'a Address,
    shared: &'a mut Shared,
    pool: &'a RefCell<Pool>,
}

impl Callee<'_> {
    #[inline]
    fn cx(&mut self) -> (&mut dyn Endpoint, u32, Cx<'_>) {
        let wishes = Wishes { shared: self.shared, endpoint: self.live.endpoint, pool: self.pool };
        (self.endpoint, self.live.session, Cx { wishes, id: self.id, peer: self.peer })
    }

    /// Carries out the close that was wished for this very connection, so that nothing is delivered after it.
    #[inline]
    fn own_close(&mut self, ws: &mut Connection) {
        if self.shared.closes.is_empty() {
            return;
        }
        let now = self.shared.now;
        let id = self.id;
        self.shared.closes.retain(|(wished, close)| {
            if *wished == id {
                ws.close(close.clone(), now);
            }
            *wished != id
        });
    }
}

/// One read, and the callbacks for what it brought. Returns whether anything was read.
#[inline]
fn deliver(stage: &mut Stage<'_>, id: ConnId, conn: &mut Conn, budget: &mut Budget) -> bool {
    let Some(live) = stage.shared.live.get(id).copied() else { return false };
    if live.is_paused() {
        return false;
    }
    let count = match fill(stage, conn, budget.bytes) {
        Filled::Bytes(count) => count,
        Filled::Nothing => return false,
        ended => {
            if let Phase::Ws(ws) = &mut conn.phase {
                match ended {
                    Filled::Failed => ws.handle_reset(),
                    _ => ws.handle_eof(),
                }
            }
            return true;
        }
    };
    budget.bytes = budget.bytes.saturating_sub(count);
    let Stage { sys, shared, endpoints, rx, cork, pool, .. } = stage;
    let Conn { handle, bits, phase, queue, stash: stashed, peer, .. } = conn;
    let Phase::Ws(ws) = phase else { return false };
    let Some(endpoint) = endpoints.get_mut(live.endpoint.get()) else { return false };
    let now = shared.now;
    let mut out = Out { sys: &mut **sys, handle: *handle, cork, queue, bits, pool };
    let mut callee = Callee { endpoint: &mut **endpoint, live, id, peer, shared, pool };
    let mut input = Input::new(&mut rx[..HEADROOM + count], HEADROOM);
    loop {
        if budget.frames == 0 || callee.shared.live.get(id).is_some_and(|live| live.is_paused()) {
            stash(pool, stashed, input.into_rest());
            break;
        }
        if !one_event(ws, &mut input, &mut out, &mut callee) {
            break;
        }
        budget.frames -= 1;
    }
    ws.receive_done(now);
    answer(ws, &mut out);
    true
}

/// Delivers the next event of the input. Returns whether there was one.
#[inline]
fn one_event<'b>(ws: &mut Connection, input: &mut Input<'b>, out: &mut Out<'_>, callee: &mut Callee<'_>) -> bool {
    let result = match ws.receive(input) {
        Ok(None) => return false,
        Ok(Some(Event::Fragment(fragment))) => {
            let (endpoint, session, mut cx) = callee.cx();
            endpoint.receive(&mut cx, session, fragment)
        }
        Ok(Some(Event::Pong(payload))) => {
            let (endpoint, session, mut cx) = callee.cx();
            endpoint.pong(&mut cx, session, payload)
        }
        // Pings and closes: the answer is queued already. Each is sent now, so that every ping is answered while the
        // socket takes data; once it does not, the connection keeps the newest pong only.
        Ok(Some(_)) => {
            answer(ws, out);
            Ok(())
        }
        Err(violation) => {
            tracing::debug!(id = %callee.id, peer = %callee.peer, %violation, "protocol violation");
            answer(ws, out);
            Ok(())
        }
    };
    if let Err(close) = result {
        ws.close(close, callee.shared.now);
    }
    callee.own_close(ws);
    true
}

/// Sends waiting control frames, if the socket takes data.
#[inline]
fn answer(ws: &mut Connection, out: &mut Out<'_>) {
    if ws.wants_transmit() && out.is_clear() {
        ws.transmit(out.cork, &mut || [0; 4]);
        if out.cork.len() >= CORK {
            out.flush();
        }
    }
}

/// The writable callback, if it was asked for and the socket takes data. Returns whether it was called.
#[inline]
fn write(stage: &mut Stage<'_>, id: ConnId, conn: &mut Conn, frames: &Cell<usize>) -> bool {
    if conn.queue.is_some() && conn.bits.has(Bits::WRITABLE) {
        out!(stage, conn).flush();
    }
    if !wants_write(stage.shared, id, conn) {
        return false;
    }
    let Stage { sys, shared, endpoints, cork, pool, limits, .. } = stage;
    let Conn { handle, bits, phase, queue, peer, .. } = conn;
    let Phase::Ws(ws) = phase else { return false };
    let Some(live) = shared.live.get_mut(id) else { return false };
    live.set_wants_write(false);
    let live = *live;
    let Some(endpoint) = endpoints.get_mut(live.endpoint.get()) else { return false };
    let mut callee = Callee { endpoint: &mut **endpoint, live, id, peer, shared, pool };
    let bytes = Cell::new(limits.turn_bytes.max(1));
    let result = {
        let out = Out { sys: &mut **sys, handle: *handle, cork, queue, bits, pool };
        let mut port = Port { ws: &mut *ws, out, low_water: limits.output_low_water, frames, bytes: &bytes };
        let (endpoint, session, mut cx) = callee.cx();
        endpoint.writable(&mut cx, session, Tx::new(&mut port))
    };
    if let Err(close) = result {
        ws.close(close, callee.shared.now);
    }
    callee.own_close(ws);
    true
}

/// Sends what was published while a fragmented message was unfinished.
#[cold]
fn release(stage: &mut Stage<'_>, conn: &mut Conn) {
    let Some(held) = conn.held.take() else { return };
    let mut out = out!(stage, conn);
    for frames in &held.frames {
        out.put_shared(frames);
    }
}

/// Sends what the protocol has to say on its own account, and ends the connection when it is over.
fn settle(stage: &mut Stage<'_>, id: ConnId, conn: &mut Conn) -> Step {
    let Phase::Ws(ws) = &mut conn.phase else { return Step::Again };
    if conn.held.is_some() && ws.mid_message().is_none() {
        release(stage, conn);
    }
    let Phase::Ws(ws) = &mut conn.phase else { return Step::Again };
    if ws.wants_transmit() {
        answer(ws, &mut out!(stage, conn));
        out!(stage, conn).flush();
    }
    let Phase::Ws(ws) = &mut conn.phase else { return Step::Again };
    if conn.bits.has(Bits::BROKEN) && !conn.bits.has(Bits::READABLE) && conn.stash.is_none() {
        ws.handle_reset();
    }
    if ws.state() == State::Draining && conn.queue.is_none() && !ws.wants_transmit() {
        // RFC 6455 section 7.1.1: "the server MUST close the TCP connection immediately" once both Close frames are through.
        ws.handle_flushed();
    }
    if ws.state() == State::Ended { finish(stage, id, conn) } else { Step::Wait }
}

/// The connection is over: tells the endpoint, and decides how the TCP connection ends.
#[cold]
pub(crate) fn finish(stage: &mut Stage<'_>, id: ConnId, conn: &mut Conn) -> Step {
    let Phase::Ws(ws) = &conn.phase else { return Step::Gone(CloseHow::Normal) };
    let closed = ws.closed();
    let how = ending(&closed);
    tracing::debug!(%id, peer = %conn.peer, code = closed.code_seen(), "closed");
    tell_closed(stage, id, &conn.peer, closed);
    match how {
        Ending::Reset => Step::Gone(CloseHow::Reset),
        Ending::Linger => linger::begin(conn, stage.shared.now + stage.limits.protocol.close_timeout),
        Ending::Close => drain(stage, conn),
    }
}

enum Ending {
    Close,
    Linger,
    Reset,
}

fn ending(closed: &Closed) -> Ending {
    match closed.cause {
        Cause::Violation(_) => Ending::Linger,
        Cause::Timeout(Timeout::Close | Timeout::Keepalive) | Cause::Overflow | Cause::Dropped => Ending::Reset,
        _ => Ending::Close,
    }
}

/// After a complete closing handshake the peer has nothing more to say. What it sent all the same is read, so that our
/// close does not become a reset that overtakes our close frame.
fn drain(stage: &mut Stage<'_>, conn: &mut Conn) -> Step {
    conn.stash = None;
    let mut budget = stage.limits.turn_bytes;
    while budget > 0 {
        match fill(stage, conn, budget) {
            Filled::Bytes(count) => budget -= count.min(budget),
            _ => return Step::Gone(CloseHow::Normal),
        }
    }
    linger::begin(conn, stage.shared.now + stage.limits.protocol.close_timeout)
}

/// The `closed` callback, once.
pub(crate) fn tell_closed(stage: &mut Stage<'_>, id: ConnId, peer: &Address, closed: Closed) {
    let Some(live) = stage.shared.live.get_mut(id).filter(|live| live.is_open()) else { return };
    live.set_open(false);
    let live = *live;
    let Some(endpoint) = stage.endpoints.get_mut(live.endpoint.get()) else { return };
    let wishes = Wishes { shared: &mut *stage.shared, endpoint: live.endpoint, pool: stage.pool };
    endpoint.closed(&mut Cx { wishes, id, peer }, live.session, closed);
}

/// A deadline of the protocol or of the user's timer may be due.
pub(crate) fn due(stage: &mut Stage<'_>, id: ConnId, conn: &mut Conn) {
    let now = stage.shared.now;
    if let Phase::Ws(ws) = &mut conn.phase {
        if ws.next_deadline().is_some_and(|at| at <= now) {
            ws.handle_timeout(now);
        }
    }
    if conn.user_timer > now {
        return;
    }
    conn.user_timer = NEVER;
    let Some(live) = stage.shared.live.get(id).copied().filter(|live| live.is_open()) else { return };
    let (Phase::Ws(ws), Some(endpoint)) = (&mut conn.phase, stage.endpoints.get_mut(live.endpoint.get())) else {
        return;
    };
    stage.shared.current = Some(id);
    let shared = &mut *stage.shared;
    let mut callee = Callee { endpoint: &mut **endpoint, live, id, peer: &conn.peer, shared, pool: stage.pool };
    let (endpoint, session, mut cx) = callee.cx();
    if let Err(close) = endpoint.timer(&mut cx, session) {
        ws.close(close, now);
    }
    callee.own_close(ws);
    stage.shared.current = None;
}

/// Takes a connection over from the handshake: the 101 is in the cork, `open` was not called yet.
pub(crate) fn open(stage: &mut Stage<'_>, id: ConnId, conn: &mut Conn, endpoint: EndpointIndex) {
    conn.phase = Phase::Ws(Connection::new(Role::Server, stage.limits.protocol.clone(), stage.shared.now));
    let Some(callee) = stage.endpoints.get_mut(endpoint.get()) else { return };
    if let Some(live) = stage.shared.live.get_mut(id) {
        live.endpoint = endpoint;
        live.set_open(true);
    }
    let wishes = Wishes { shared: &mut *stage.shared, endpoint, pool: stage.pool };
    let session = callee.open(&mut Cx { wishes, id, peer: &conn.peer });
    if let Some(live) = stage.shared.live.get_mut(id) {
        live.session = session;
    }
}
