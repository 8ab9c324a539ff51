//! The WebSocket phase: read, deliver, answer, and let the protocol write.

use sockeye_proto::close::{Cause, Close, Closed, Initiator, Timeout};
use sockeye_proto::conn::{Connection, HEADROOM, Input, State};
use sockeye_proto::error::Violation;
use sockeye_proto::event::Event;
use sockeye_proto::wire::Role;

use crate::client::Retry;
use crate::conn::read::{Filled, Stash, fill, keep};
use crate::conn::{Conn, NEVER, Phase, Stage, Step, linger};
use crate::output::{Bits, CORK, Link, Out};
use crate::protocol::endpoint::Endpoint;
use crate::protocol::{ClosedCx, ConnId, Cx, Handshake, Port, Tx};
use crate::shared::{Budget, Current, EndpointIndex, Live, Shared};
use crate::statistics::{Culprit, Whose};
use crate::sys::{Address, CloseHow};

/// Reads, delivers, answers and writes as far as socket and budget allow. `WATCHED`: the clock is read around
/// callbacks, which costs more than many of them.
#[inline]
pub(crate) fn step<const WATCHED: bool>(stage: &mut Stage, id: ConnId, live: Live, conn: &mut Conn) -> Step {
    let budget = Budget { read_bytes: stage.limits.turn_bytes, read_frames: stage.limits.turn_frames };
    stage.shared.enter(id, live, budget);
    stage.outlet.budget = stage.limits.turn_bytes;
    let more = round::<WATCHED>(stage, conn) && more_rounds::<WATCHED>(stage, conn);
    flush(stage, conn);
    if conn.held.is_some() {
        release(stage, conn);
    }
    let Phase::Ws(ws) = &conn.phase else { return Step::Again };
    // The last flush may have made room for a writable callback that waits.
    let can_write = can_write_more(&stage.shared.current, ws, &conn.link);
    stage.shared.leave();
    if ws.state() != State::Open || ws.wants_transmit() || conn.link.bits.has(Bits::BROKEN) {
        if let Some(step) = settle(stage, id, conn, can_write) {
            return step;
        }
    }
    match (more, can_write) {
        (true, _) => Step::Yield,
        (false, true) => Step::Later,
        (false, false) => Step::Wait,
    }
}

/// Goes on while the budget allows. Returns whether there may be more to do. Apart from the first round, which is nearly
/// always the only one, so that nothing of that is kept for a next.
#[inline(never)]
fn more_rounds<const WATCHED: bool>(stage: &mut Stage, conn: &mut Conn) -> bool {
    while !stage.shared.current.budget.is_spent() && stage.outlet.budget > 0 {
        if !round::<WATCHED>(stage, conn) {
            return false;
        }
    }
    true
}

/// Reads, delivers and answers once. Returns whether another round would find something to do.
#[inline(always)]
fn round<const WATCHED: bool>(stage: &mut Stage, conn: &mut Conn) -> bool {
    let Stage { outlet, shared, endpoints, rx, .. } = stage;
    let Conn { phase: Phase::Ws(ws), link, stash, peer, .. } = conn else { return false };
    let Live { endpoint, session, .. } = shared.current.live;
    let Some(endpoint) = endpoints.get_mut(endpoint.get()) else { return false };
    let mut out = Out::new(outlet, link);
    let count = if is_paused(&shared.current, ws) { 0 } else { read(shared, ws, &mut out, stash, rx) };
    let arrived = &mut rx[..HEADROOM + count];
    let mut callee = Callee { endpoint: &mut **endpoint, session };
    let id = shared.current.id;
    let own = shared.current.live.endpoint;
    let mut cx = Cx::new(shared, own, id, peer);
    if count > 0 {
        deliver::<WATCHED>(ws, &mut callee, &mut cx, &mut out, stash, arrived);
    }
    cx.input = arrived;
    write::<WATCHED>(ws, &mut callee, &mut cx, &mut out);
    if cx.current.keeps_input {
        release_input(callee, &mut cx);
    }
    has_input(&cx.current, ws, out.link, stash) || can_write_more(&cx.current, ws, out.link)
}

/// Who is called back.
struct Callee<'a> {
    endpoint: &'a mut dyn Endpoint,
    session: u32,
}

/// Whether there is something to read, and reading is wanted.
#[inline]
fn has_input(current: &Current, ws: &Connection, link: &Link, stash: &Option<Box<Stash>>) -> bool {
    (stash.is_some() || link.bits.has(Bits::READABLE)) && !is_paused(current, ws)
}

/// Whether what the peer sends has to wait. Once a Close frame of ours is queued nothing is delivered any more, so there
/// is nothing to wait for, and the peer's Close frame must be found.
#[inline]
fn is_paused(current: &Current, ws: &Connection) -> bool {
    current.is_paused() && ws.state() == State::Open
}

/// Whether the protocol asked for its writable callback and could have it now.
#[inline(always)]
fn can_write(current: &Current, ws: &Connection, link: &Link) -> bool {
    current.wants_write()
        && link.is_clear()
        && (ws.state() == State::Open || (ws.can_send() && !link.bits.has(Bits::LAST_CALL)))
}

/// Whether it asked for it once more, which few do.
#[inline]
fn can_write_more(current: &Current, ws: &Connection, link: &Link) -> bool {
    #[cold]
    fn look(current: &Current, ws: &Connection, link: &Link) -> bool {
        can_write(current, ws, link)
    }
    current.wants_write() && look(current, ws, link)
}

/// Sends what waits, as far as the socket takes it.
#[inline]
fn flush(stage: &mut Stage, conn: &mut Conn) {
    if conn.link.queue.is_some() || !stage.outlet.cork.is_empty() {
        Out::new(&mut stage.outlet, &mut conn.link).flush();
    }
}

/// One read. Returns how many bytes came.
#[inline(always)]
fn read(
    shared: &mut Shared,
    ws: &mut Connection,
    out: &mut Out<'_>,
    stash: &mut Option<Box<Stash>>,
    rx: &mut [u8],
) -> usize {
    let most = shared.current.budget.read_bytes;
    match fill(out, stash, rx, most) {
        Filled::Bytes(count) => {
            shared.current.budget.read_bytes = most.saturating_sub(count);
            count
        }
        Filled::Nothing => 0,
        ended => end_of_input(ws, &ended),
    }
}

#[cold]
fn end_of_input(ws: &mut Connection, filled: &Filled) -> usize {
    match filled {
        Filled::Failed => ws.handle_reset(),
        _ => ws.handle_eof(),
    }
    0
}

/// The callbacks for what a read brought, which is behind the head room of `arrived`.
#[inline(always)]
fn deliver<const WATCHED: bool>(
    ws: &mut Connection,
    callee: &mut Callee<'_>,
    cx: &mut Cx<'_>,
    out: &mut Out<'_>,
    stash: &mut Option<Box<Stash>>,
    arrived: &mut [u8],
) {
    let Callee { endpoint, session } = callee;
    if WATCHED {
        // Reading is over. Between the callbacks that follow is next to nothing: one look at the clock for each does.
        out.outlet.steps_over(0);
    }
    cx.current.arrived(arrived);
    let mut input = Input::new(arrived, HEADROOM);
    while !input.is_empty() {
        let Shared { current, pool, .. } = &mut *cx.connection.commands;
        if current.budget.read_frames == 0 || is_paused(current, ws) {
            keep(pool, stash, input.into_rest());
            break;
        }
        current.budget.read_frames -= 1;
        let event = ws.receive(&mut input);
        let result = match event {
            Ok(Some(Event::Fragment(ref fragment))) => {
                out.outlet.statistics.received.piece(fragment);
                let result = endpoint.receive(cx, *session, fragment);
                if WATCHED {
                    out.outlet.lap(Culprit::Receive, Whose::of(cx.endpoint.0, cx.id()));
                }
                result
            }
            Ok(None) => break,
            other => control_event(ws, other, out.lent(), *endpoint, cx, *session),
        };
        obey(ws, cx, result);
    }
    ws.receive_done(cx.now());
}

/// The writable callback, if it was asked for and the socket takes data.
#[inline(always)]
fn write<const WATCHED: bool>(ws: &mut Connection, callee: &mut Callee<'_>, cx: &mut Cx<'_>, out: &mut Out<'_>) {
    if out.link.queue.is_some() {
        out.flush();
    }
    if !can_write(&cx.current, ws, out.link) {
        return;
    }
    before_write(ws, out);
    cx.current.grant_write();
    let before = out.outlet.budget;
    let last = out.link.bits.has(Bits::LAST_CALL);
    if WATCHED {
        out.outlet.steps_over(0);
    }
    let result = callee.endpoint.writable(cx, callee.session, Tx::new(&mut Port { ws, out: out.lent(), last }));
    if WATCHED {
        out.outlet.lap(Culprit::Writable, Whose::of(cx.endpoint.0, cx.id()));
    }
    if out.outlet.budget == before {
        // A call that sends nothing costs as much as a small frame: who asks again and again does not keep the loop.
        out.outlet.budget = before.saturating_sub(out.outlet.frame_cost);
    }
    obey(ws, cx, result);
}

/// Pings and pongs go before more data: a callback that fills the socket each time would keep them waiting for ever. So
/// would it a Close frame, before which there is one call more.
#[inline]
fn before_write(ws: &mut Connection, out: &mut Out<'_>) {
    if ws.state() != State::Open {
        out.link.bits.set(Bits::LAST_CALL);
    } else if ws.wants_transmit() {
        out.transmit(ws);
    }
}

/// Has the endpoint copy what it still means to send from the receive buffer.
#[cold]
fn release_input(callee: Callee<'_>, cx: &mut Cx<'_>) {
    cx.current.keeps_input = false;
    callee.endpoint.release_input(cx, callee.session);
}

/// Sends what was published while a fragmented message was unfinished, once it is finished.
#[cold]
fn release(stage: &mut Stage, conn: &mut Conn) {
    let Phase::Ws(ws) = &conn.phase else { return };
    if ws.mid_message().is_some() {
        return;
    }
    let role = ws.role();
    if let Some(held) = conn.held.take() {
        let mut out = Out::new(&mut stage.outlet, &mut conn.link);
        for frames in &held.frames {
            out.put_published(role, frames);
        }
        out.flush();
    }
}

/// Sends what the protocol has to say on its own account, and ends the connection when it is over.
#[cold]
fn settle(stage: &mut Stage, id: ConnId, conn: &mut Conn, can_write: bool) -> Option<Step> {
    let Phase::Ws(ws) = &mut conn.phase else { return None };
    let has_input = has_input(&stage.shared.current, ws, &conn.link, &conn.stash);
    let mut out = Out::new(&mut stage.outlet, &mut conn.link);
    // A Close frame waits for the last call before it.
    if ws.state() == State::Open || !can_write {
        answer(ws, &mut out);
        out.flush();
    }
    // A reset is terminal. What came before it is delivered first, unless reading is paused: there is no edge to come
    // any more, and who waits for room to answer waits in vain.
    if conn.link.bits.has(Bits::BROKEN) && !has_input {
        ws.handle_reset();
    }
    if ws.state() == State::Draining && conn.link.queue.is_none() && !ws.wants_transmit() {
        ws.handle_flushed();
    }
    (ws.state() == State::Ended).then(|| finish(stage, id, conn))
}

/// Starts the close that a callback returned or wished for its own connection, so that nothing is delivered after it.
#[inline]
fn obey(ws: &mut Connection, shared: &mut Shared, result: Result<(), Close>) {
    if let Err(close) = result {
        ws.close(close, shared.now);
    }
    if !shared.closes.is_empty() {
        find_own_close(ws, shared, shared.current.id);
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
    mut out: Out<'_>,
    endpoint: &mut dyn Endpoint,
    cx: &mut Cx<'_>,
    session: u32,
) -> Result<(), Close> {
    let received = &mut out.outlet.statistics.received;
    match event {
        Ok(Some(Event::Ping(_))) => received.pings += 1,
        Ok(Some(Event::Pong(_))) => received.pongs += 1,
        Ok(Some(Event::Close(_))) => received.closes += 1,
        _ => {}
    }
    let result = match event {
        // Nothing is delivered behind a close of our own.
        Ok(Some(Event::Pong(payload))) if ws.state() == State::Open => {
            out.outlet.steps_over(0);
            let result = endpoint.pong(cx, session, payload);
            out.outlet.lap(Culprit::Pong, Whose::of(cx.endpoint.0, cx.id()));
            result
        }
        Ok(Some(Event::Ping(payload))) if ws.state() == State::Open => endpoint.ping(cx, session, payload),
        Err(violation) => {
            tracing::debug!(id = %cx.id(), peer = %cx.peer, %violation, "protocol violation");
            Ok(())
        }
        Ok(_) => Ok(()),
    };
    // The pong is queued already. Each is sent now, so that every ping is answered while the socket takes data; once it
    // does not, the connection keeps the newest only. A Close frame waits for the end of the step: what is owed for the
    // messages before it goes first.
    if ws.state() == State::Open {
        answer(ws, &mut out);
    }
    result
}

/// Sends waiting control frames, if the socket takes data.
#[inline]
fn answer(ws: &mut Connection, out: &mut Out<'_>) {
    if ws.wants_transmit() && out.link.is_clear() {
        out.transmit(ws);
        if out.outlet.cork.len() >= CORK {
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
        Cause::Violation(_) if conn.link.queue.is_some() => Ending::Reset,
        Cause::Violation(_) => Ending::Linger,
        // The peer ended its side only, and may still read what was handed over for it.
        Cause::Eof if conn.link.queue.is_some() => Ending::Linger,
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
        match fill(&mut Out::new(&mut stage.outlet, &mut conn.link), &mut conn.stash, &mut stage.rx, budget) {
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
    stage.outlet.statistics.websocket_closes(&closed);
    let retry = if stage.shared.outgoing.keeps(id) { plan_retry(stage, id, &closed) } else { None };
    let Some(endpoint) = stage.endpoints.get_mut(live.endpoint.get()) else { return };
    stage.outlet.steps_over(0);
    endpoint.closed(&mut ClosedCx::new(&mut stage.shared, live.endpoint, id, peer, retry), live.session, closed);
    stage.outlet.lap(Culprit::Closed, Whose::of(live.endpoint.0, id));
}

/// The next attempt of a connection that is to be kept up, unless the program itself ended it.
#[cold]
fn plan_retry(stage: &mut Stage, id: ConnId, closed: &Closed) -> Option<Retry> {
    // A rule that the peer broke is told to it in a Close frame of ours, too.
    let failed = match (closed.cause, &closed.sent) {
        (Cause::Violation(violation), Some(sent)) => {
            sent.code() == Some(violation.close_code()) && sent.reason() == violation.rule()
        }
        _ => false,
    };
    let own = closed.initiator == Initiator::Local && !failed;
    let over = stage.policy.draining || own || closed.cause == Cause::Dropped;
    let random = if over { None } else { stage.random_u64() };
    stage.shared.retry_after_close(id, random)
}

/// A deadline of the protocol or of the user's timer may be due.
pub(crate) fn due(stage: &mut Stage, id: ConnId, conn: &mut Conn) {
    let now = stage.shared.now;
    if let Phase::Ws(ws) = &mut conn.phase {
        if ws.next_deadline().is_some_and(|at| at <= now) {
            let moved = takes_output(&mut conn.link, stage.limits.slow_reader_bytes);
            let paused = conn.link.queue.is_none() && stage.shared.live.get(id).is_some_and(|live| live.is_paused());
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
    stage.outlet.steps_over(0);
    let result = endpoint.timer(&mut Cx::new(&mut stage.shared, live.endpoint, id, &conn.peer), live.session);
    stage.outlet.lap(Culprit::Timer, Whose::of(live.endpoint.0, id));
    obey(ws, &mut stage.shared, result);
    stage.shared.leave();
}

/// Whether the peer took all of its output, or a good piece of it, since this was last asked.
fn takes_output(link: &mut Link, least: u64) -> bool {
    let emptied = link.bits.has(Bits::MOVED);
    link.bits.clear(Bits::MOVED);
    emptied | link.queue.as_mut().is_some_and(|queue| queue.take_moved() as u64 >= least)
}

/// Takes a connection over from the handshake: the 101 is in the cork, `open` was not called yet.
pub(crate) fn open(stage: &mut Stage, id: ConnId, conn: &mut Conn, endpoint: EndpointIndex, handshake: &Handshake<'_>) {
    conn.phase = Phase::Ws(Connection::new(Role::Server, stage.limits.protocol.clone(), stage.shared.now));
    if let Some(live) = stage.shared.live.get_mut(id) {
        live.endpoint = endpoint;
    }
    tell_open(stage, id, conn, handshake);
}

/// The `open` callback, once.
pub(crate) fn tell_open(stage: &mut Stage, id: ConnId, conn: &mut Conn, handshake: &Handshake<'_>) {
    let Some(live) = stage.shared.live.get_mut(id) else { return };
    let endpoint = live.endpoint;
    let Some(callee) = stage.endpoints.get_mut(endpoint.get()) else { return };
    live.set_open(true);
    live.set_connected();
    stage.outlet.statistics.websocket_opens(live.is_client());
    stage.shared.opened = true;
    stage.outlet.steps_over(0);
    let session = callee.open(&mut Cx::new(&mut stage.shared, endpoint, id, &conn.peer), handshake);
    stage.outlet.lap(Culprit::Open, Whose::of(endpoint.0, id));
    if let Some(live) = stage.shared.live.get_mut(id) {
        live.session = session;
    }
    if let Phase::Ws(ws) = &mut conn.phase {
        find_own_close(ws, &mut stage.shared, id);
    }
}
