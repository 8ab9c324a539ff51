//! The WebSocket phase: read, deliver, answer, and let the protocol write.

use std::cell::Cell;

use sockeye_proto::close::{Cause, Close, Closed, Timeout};
use sockeye_proto::conn::{Connection, HEADROOM, Input, State};
use sockeye_proto::error::Violation;
use sockeye_proto::event::Event;
use sockeye_proto::wire::Role;

use crate::conn::read::{Filled, fill, stash};
use crate::conn::{Conn, NEVER, Phase, Stage, Step, linger, out};
use crate::output::{Bits, CORK, Out, Queue};
use crate::protocol::endpoint::Endpoint;
use crate::protocol::{ConnId, Cx, Port, Tx, Wishes};
use crate::shared::{Budget, EndpointIndex, Live, Shared};
use crate::sys::{Address, CloseHow};

/// The context of a callback. A macro, so that only the fields it names are borrowed.
macro_rules! cx {
    ($stage:expr, $peer:expr, $arrived:expr) => {
        Cx {
            id: $stage.shared.current.id,
            peer: $peer,
            wishes: Wishes {
                endpoint: $stage.shared.current.live.endpoint,
                pool: &$stage.pool,
                arrived: $arrived,
                shared: &mut $stage.shared,
            },
        }
    };
}

/// Reads, delivers, answers and writes as far as socket and budget allow.
#[inline]
pub(crate) fn step(stage: &mut Stage, id: ConnId, live: Live, conn: &mut Conn) -> Step {
    let budget = Budget {
        read_bytes: stage.limits.turn_bytes,
        read_frames: stage.limits.turn_frames,
        write: stage.limits.turn_bytes,
    };
    stage.shared.enter(id, live, budget);
    let more = round(stage, conn) && more_rounds(stage, conn);
    flush(stage, conn);
    if conn.held.is_some() {
        release(stage, conn);
    }
    // The last flush may have made room for a writable callback that waits.
    let can_write = can_write(stage, conn);
    stage.shared.leave();
    let Phase::Ws(ws) = &conn.phase else { return Step::Again };
    if ws.state() != State::Open || ws.wants_transmit() || conn.bits.has(Bits::BROKEN) {
        if let Some(step) = settle(stage, id, conn, can_write) {
            return step;
        }
    }
    if more || can_write { Step::Yield } else { Step::Wait }
}

/// Reads, delivers and answers once. Returns whether another round would find something to do.
#[inline(always)]
fn round(stage: &mut Stage, conn: &mut Conn) -> bool {
    let (read, count) = deliver(stage, conn);
    let wrote = write(stage, conn, count);
    if stage.shared.current.unsecured {
        secure(stage, conn, count);
    }
    (read || wrote) && can_go_on(stage, conn)
}

/// Goes on while the budget allows. Returns whether there may be more to do. Apart from the first round, which is nearly
/// always the only one, so that nothing of that is kept for a next.
#[inline(never)]
fn more_rounds(stage: &mut Stage, conn: &mut Conn) -> bool {
    while !stage.shared.current.budget.is_spent() {
        if !round(stage, conn) {
            return false;
        }
    }
    true
}

/// Whether another round would find something to read or somebody to call.
#[inline]
fn can_go_on(stage: &Stage, conn: &Conn) -> bool {
    has_input(stage, conn) || can_write(stage, conn)
}

/// Whether there is something to read, and reading is wanted.
#[inline]
fn has_input(stage: &Stage, conn: &Conn) -> bool {
    (conn.stash.is_some() || conn.bits.has(Bits::READABLE)) && !is_paused(stage, conn)
}

/// Whether what the peer sends has to wait. Once a Close frame of ours is queued nothing is delivered any more, so there
/// is nothing to wait for, and the peer's Close frame must be found.
#[inline]
fn is_paused(stage: &Stage, conn: &Conn) -> bool {
    stage.shared.current.is_paused() && matches!(&conn.phase, Phase::Ws(ws) if ws.state() == State::Open)
}

/// Whether the protocol asked for its writable callback and could have it now.
#[inline]
fn can_write(stage: &Stage, conn: &Conn) -> bool {
    let Phase::Ws(ws) = &conn.phase else { return false };
    stage.shared.current.wants_write()
        && conn.queue.is_none()
        && conn.bits.is_writable()
        && (ws.state() == State::Open || (ws.can_send() && !conn.bits.has(Bits::LAST_CALL)))
}

/// Sends what waits, as far as the socket takes it.
#[inline]
fn flush(stage: &mut Stage, conn: &mut Conn) {
    if conn.queue.is_some() || !stage.cork.is_empty() {
        out!(stage, conn).flush();
    }
}

/// One read, and the callbacks for what it brought. Returns whether anything came, if only the end, and how many bytes.
#[inline(always)]
fn deliver(stage: &mut Stage, conn: &mut Conn) -> (bool, usize) {
    if is_paused(stage, conn) {
        return (false, 0);
    }
    let most = stage.shared.current.budget.read_bytes;
    let count = match fill(&mut out!(stage, conn), &mut conn.stash, &mut stage.rx, most) {
        Filled::Bytes(count) => count,
        Filled::Nothing => return (false, 0),
        ended => return (end_of_input(conn, &ended), 0),
    };
    stage.shared.current.budget.read_bytes = most.saturating_sub(count);
    let rx = &mut stage.rx[..HEADROOM + count];
    stage.shared.current.arrived(rx);
    let mut input = Input::new(rx, HEADROOM);
    let Live { endpoint, session, .. } = stage.shared.current.live;
    let (Phase::Ws(ws), Some(endpoint)) = (&mut conn.phase, stage.endpoints.get_mut(endpoint.get())) else {
        return (false, 0);
    };
    let mut cx = cx!(stage, &conn.peer, &[]);
    while !input.is_empty() {
        let current = &mut cx.shared.current;
        if current.budget.read_frames == 0 || (current.is_paused() && ws.state() == State::Open) {
            stash(&stage.pool, &mut conn.stash, input.into_rest());
            break;
        }
        current.budget.read_frames -= 1;
        let event = ws.receive(&mut input);
        let result = match event {
            Ok(Some(Event::Fragment(ref fragment))) => endpoint.receive(&mut cx, session, fragment),
            Ok(None) => break,
            other => {
                let mut out = out!(stage, conn);
                control_event(ws, other, &mut out, &mut **endpoint, &mut cx, session)
            }
        };
        let id = cx.shared.current.id;
        obey(ws, cx.shared, id, result);
    }
    ws.receive_done(stage.shared.now);
    (true, count)
}

#[cold]
fn end_of_input(conn: &mut Conn, filled: &Filled) -> bool {
    if let Phase::Ws(ws) = &mut conn.phase {
        match filled {
            Filled::Failed => ws.handle_reset(),
            _ => ws.handle_eof(),
        }
    }
    true
}

/// The writable callback, if it was asked for and the socket takes data. Returns whether it was called.
#[inline(always)]
fn write(stage: &mut Stage, conn: &mut Conn, count: usize) -> bool {
    if conn.queue.is_some() {
        out!(stage, conn).flush();
    }
    if !can_write(stage, conn) {
        return false;
    }
    before_write(stage, conn);
    stage.shared.current.grant_write();
    let Live { endpoint, session, .. } = stage.shared.current.live;
    let (Phase::Ws(ws), Some(endpoint)) = (&mut conn.phase, stage.endpoints.get_mut(endpoint.get())) else {
        return false;
    };
    let before = stage.shared.current.budget.write;
    let left = Cell::new(before);
    let last = conn.bits.has(Bits::LAST_CALL);
    let result = {
        let out = out!(stage, conn);
        let mut port = Port {
            ws: &mut *ws,
            out,
            low_water: stage.limits.output_low_water,
            frame_cost: stage.shared.frame_cost,
            last,
            budget: &left,
        };
        let mut cx = cx!(stage, &conn.peer, &stage.rx[..HEADROOM + count]);
        endpoint.writable(&mut cx, session, Tx::new(&mut port))
    };
    // A call that sends nothing costs as much as a small frame: who asks again and again does not keep the loop.
    let unused = if left.get() == before { stage.shared.frame_cost } else { 0 };
    stage.shared.current.budget.write = left.get().saturating_sub(unused);
    let id = stage.shared.current.id;
    obey(ws, &mut stage.shared, id, result);
    true
}

/// Pings and pongs go before more data: a callback that fills the socket each time would keep them waiting for ever. So
/// would it a Close frame, before which there is one call more.
#[inline]
fn before_write(stage: &mut Stage, conn: &mut Conn) {
    let Phase::Ws(ws) = &mut conn.phase else { return };
    if ws.state() != State::Open {
        conn.bits.set(Bits::LAST_CALL);
    } else if ws.wants_transmit() {
        ws.transmit(&mut stage.cork, &mut || [0; 4]);
    }
}

/// Has the endpoint copy what it still means to send from the receive buffer.
#[cold]
fn secure(stage: &mut Stage, conn: &Conn, count: usize) {
    stage.shared.current.unsecured = false;
    let Live { endpoint, session, .. } = stage.shared.current.live;
    if let Some(endpoint) = stage.endpoints.get_mut(endpoint.get()) {
        let mut cx = cx!(stage, &conn.peer, &stage.rx[..HEADROOM + count]);
        endpoint.secure(&mut cx, session);
    }
}

/// Sends what was published while a fragmented message was unfinished, once it is finished.
#[cold]
fn release(stage: &mut Stage, conn: &mut Conn) {
    if matches!(&conn.phase, Phase::Ws(ws) if ws.mid_message().is_some()) {
        return;
    }
    if let Some(held) = conn.held.take() {
        let mut out = out!(stage, conn);
        for frames in &held.frames {
            out.put_shared(frames);
        }
        out.flush();
    }
}

/// Sends what the protocol has to say on its own account, and ends the connection when it is over.
#[cold]
fn settle(stage: &mut Stage, id: ConnId, conn: &mut Conn, can_write: bool) -> Option<Step> {
    let has_input = has_input(stage, conn);
    let Phase::Ws(ws) = &mut conn.phase else { return None };
    let mut out = out!(stage, conn);
    // A Close frame waits for the last call before it.
    if ws.state() == State::Open || !can_write {
        answer(ws, &mut out);
        out.flush();
    }
    // A reset is terminal. What came before it is delivered first, unless reading is paused: there is no edge to come
    // any more, and who waits for room to answer waits in vain.
    if conn.bits.has(Bits::BROKEN) && !has_input {
        ws.handle_reset();
    }
    if ws.state() == State::Draining && conn.queue.is_none() && !ws.wants_transmit() {
        ws.handle_flushed();
    }
    (ws.state() == State::Ended).then(|| finish(stage, id, conn))
}

/// Starts the close that a callback returned or wished for its own connection, so that nothing is delivered after it.
#[inline]
fn obey(ws: &mut Connection, shared: &mut Shared, id: ConnId, result: Result<(), Close>) {
    if let Err(close) = result {
        ws.close(close, shared.now);
    }
    if !shared.closes.is_empty() {
        find_own_close(ws, shared, id);
    }
}

#[cold]
fn find_own_close(ws: &mut Connection, shared: &mut Shared, id: ConnId) {
    let now = shared.now;
    shared.closes.retain(|(wished, close)| {
        if *wished == id {
            ws.close(close.clone(), now);
        }
        *wished != id
    });
}

/// Pings, pongs, closes and violations.
#[cold]
fn control_event(
    ws: &mut Connection,
    event: Result<Option<Event<'_>>, Violation>,
    out: &mut Out<'_>,
    endpoint: &mut dyn Endpoint,
    cx: &mut Cx<'_>,
    session: u32,
) -> Result<(), Close> {
    let result = match event {
        // Nothing is delivered behind a close of our own.
        Ok(Some(Event::Pong(payload))) if ws.state() == State::Open => endpoint.pong(cx, session, payload),
        Err(violation) => {
            tracing::debug!(id = %cx.id, peer = %cx.peer, %violation, "protocol violation");
            Ok(())
        }
        Ok(_) => Ok(()),
    };
    // The pong is queued already. Each is sent now, so that every ping is answered while the socket takes data; once it
    // does not, the connection keeps the newest only. A Close frame waits for the end of the step: what is owed for the
    // messages before it goes first.
    if ws.state() == State::Open {
        answer(ws, out);
    }
    result
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

/// The connection is over: tells the endpoint, and decides how the TCP connection ends.
#[cold]
pub(crate) fn finish(stage: &mut Stage, id: ConnId, conn: &mut Conn) -> Step {
    let Phase::Ws(ws) = &conn.phase else { return Step::Gone(CloseHow::Normal) };
    let closed = ws.closed();
    let how = ending(&closed, conn);
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

fn ending(closed: &Closed, conn: &Conn) -> Ending {
    match closed.cause {
        // Its time is up: a violation ends at once when all is sent.
        Cause::Violation(_) if conn.queue.is_some() => Ending::Reset,
        Cause::Violation(_) => Ending::Linger,
        // The peer ended its side only, and may still read what was handed over for it.
        Cause::Eof if conn.queue.is_some() => Ending::Linger,
        Cause::Timeout(Timeout::Close | Timeout::Keepalive) | Cause::Overflow | Cause::Dropped => Ending::Reset,
        _ => Ending::Close,
    }
}

/// After a complete closing handshake the peer has nothing more to say. What it sent all the same is read, so that our
/// close does not become a reset that overtakes our close frame.
fn drain(stage: &mut Stage, conn: &mut Conn) -> Step {
    conn.stash = None;
    let mut budget = stage.limits.turn_bytes;
    while budget > 0 {
        match fill(&mut out!(stage, conn), &mut conn.stash, &mut stage.rx, budget) {
            Filled::Bytes(count) => budget -= count.min(budget),
            _ => return Step::Gone(CloseHow::Normal),
        }
    }
    linger::begin(conn, stage.shared.now + stage.limits.protocol.close_timeout)
}

/// The `closed` callback, once.
pub(crate) fn tell_closed(stage: &mut Stage, id: ConnId, peer: &Address, closed: Closed) {
    let Some(live) = stage.shared.live.get_mut(id).filter(|live| live.is_open()) else { return };
    live.set_open(false);
    let live = *live;
    let Some(endpoint) = stage.endpoints.get_mut(live.endpoint.get()) else { return };
    let wishes = Wishes { shared: &mut stage.shared, endpoint: live.endpoint, pool: &stage.pool, arrived: &[] };
    endpoint.closed(&mut Cx { wishes, id, peer }, live.session, closed);
}

/// A deadline of the protocol or of the user's timer may be due.
pub(crate) fn due(stage: &mut Stage, id: ConnId, conn: &mut Conn) {
    let now = stage.shared.now;
    if let Phase::Ws(ws) = &mut conn.phase {
        if ws.next_deadline().is_some_and(|at| at <= now) {
            let moved = takes_output(&mut conn.queue, &mut conn.bits, stage.limits.slow_reader_bytes);
            let paused = conn.queue.is_none() && stage.shared.live.get(id).is_some_and(|live| live.is_paused());
            // The silence is our own while we do not read; and who takes what waits for it is alive, while the ping may wait
            // behind that. Stuck output says the contrary, and may be why we do not read.
            if ws.state() == State::Open && (paused || (moved && ws.awaits_pong())) {
                ws.receive_done(now);
            }
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
    stage.shared.enter(id, live, Budget::default());
    let wishes = Wishes { shared: &mut stage.shared, endpoint: live.endpoint, pool: &stage.pool, arrived: &[] };
    let result = endpoint.timer(&mut Cx { wishes, id, peer: &conn.peer }, live.session);
    stage.shared.leave();
    obey(ws, &mut stage.shared, id, result);
}

/// Whether the peer took all of its output, or a good piece of it, since this was last asked.
fn takes_output(queue: &mut Option<Box<Queue>>, bits: &mut Bits, least: u64) -> bool {
    let emptied = bits.has(Bits::MOVED);
    bits.clear(Bits::MOVED);
    emptied | queue.as_mut().is_some_and(|queue| queue.take_moved() as u64 >= least)
}

/// Takes a connection over from the handshake: the 101 is in the cork, `open` was not called yet.
pub(crate) fn open(stage: &mut Stage, id: ConnId, conn: &mut Conn, endpoint: EndpointIndex) {
    conn.phase = Phase::Ws(Connection::new(Role::Server, stage.limits.protocol.clone(), stage.shared.now));
    let Some(callee) = stage.endpoints.get_mut(endpoint.get()) else { return };
    if let Some(live) = stage.shared.live.get_mut(id) {
        live.endpoint = endpoint;
        live.set_open(true);
    }
    stage.shared.opened = true;
    let wishes = Wishes { shared: &mut stage.shared, endpoint, pool: &stage.pool, arrived: &[] };
    let session = callee.open(&mut Cx { wishes, id, peer: &conn.peer });
    if let Some(live) = stage.shared.live.get_mut(id) {
        live.session = session;
    }
    if let Phase::Ws(ws) = &mut conn.phase {
        obey(ws, &mut stage.shared, id, Ok(()));
    }
}
