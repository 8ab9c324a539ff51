//! The WebSocket phase: read, deliver, answer, and let the protocol write.

use std::cell::Cell;

use sockeye_proto::close::{Cause, Close, Closed, Timeout};
use sockeye_proto::conn::{Connection, HEADROOM, Input, State};
use sockeye_proto::error::Violation;
use sockeye_proto::event::Event;
use sockeye_proto::wire::Role;

use crate::conn::output::{Bits, CORK, Out};
use crate::conn::read::{Filled, Stash, fill, stash};
use crate::conn::{Conn, Held, Phase, Stage, Step, linger, out};
use crate::limits::Limits;
use crate::protocol::{ConnId, Cx, Port, Tx, Wishes};
use crate::service::endpoint::Endpoint;
use crate::service::shared::{EndpointIndex, Live, Shared};
use crate::service::timers::NEVER;
use crate::sys::{Address, CloseHow};

/// The context of a callback of `run`. A macro, so that only the fields it names are borrowed.
macro_rules! cx {
    ($run:expr, $pool:expr, $arrived:expr) => {
        Cx {
            wishes: Wishes { shared: &mut *$run.shared, endpoint: $run.live.endpoint, pool: $pool, arrived: $arrived },
            id: $run.id,
            peer: $run.peer,
        }
    };
}

/// One step of one connection: what it works on, gathered once.
struct Run<'a> {
    ws: &'a mut Connection,
    out: Out<'a>,
    stash: &'a mut Option<Box<Stash>>,
    peer: &'a Address,
    endpoint: &'a mut dyn Endpoint,
    live: Live,
    id: ConnId,
    shared: &'a mut Shared,
    rx: &'a mut [u8],
    limits: &'a Limits,
    /// What is left of the turn's share.
    read_bytes: usize,
    read_frames: usize,
    write_budget: usize,
    /// Pieces of messages were delivered in the present read.
    fragments: bool,
    /// How many bytes of the receive buffer the present read filled.
    count: usize,
}

/// Reads, delivers, answers and writes as far as socket and budget allow.
pub(crate) fn step(stage: &mut Stage<'_>, id: ConnId, conn: &mut Conn) -> Step {
    let Some(live) = stage.shared.live.get(id).copied() else { return Step::Gone(CloseHow::Normal) };
    let Conn { handle, bits, phase: Phase::Ws(ws), queue, held, stash, peer, .. } = conn else { return Step::Again };
    let Some(endpoint) = stage.endpoints.get_mut(live.endpoint.get()) else { return Step::Gone(CloseHow::Normal) };
    stage.shared.enter(id, live);
    let out = Out { sys: &mut *stage.sys, handle: *handle, cork: &mut *stage.cork, queue, bits, pool: stage.pool };
    let mut run = Run {
        ws,
        out,
        stash,
        peer,
        endpoint: &mut **endpoint,
        live,
        id,
        shared: &mut *stage.shared,
        rx: &mut *stage.rx,
        limits: stage.limits,
        read_bytes: stage.limits.turn_bytes,
        read_frames: stage.limits.turn_frames,
        write_budget: stage.limits.turn_bytes,
        fragments: false,
        count: 0,
    };
    let more = run.rounds();
    run.out.flush();
    if held.is_some() && run.ws.mid_message().is_none() {
        release(&mut run.out, held);
    }
    let more = more || run.can_go_on();
    run.shared.leave();
    if run.settle() {
        return finish(stage, id, conn);
    }
    if more { Step::Yield } else { Step::Wait }
}

impl Run<'_> {
    /// Read, write, and again while there is something to do. Returns whether the turn's share ended it.
    #[inline]
    fn rounds(&mut self) -> bool {
        loop {
            let read = self.deliver();
            let wrote = self.write();
            if self.fragments {
                self.delivered();
            }
            self.shared.current.over();
            self.count = 0;
            if self.read_bytes == 0 || self.read_frames == 0 || self.write_budget == 0 {
                return true;
            }
            if !(read || wrote) || !self.can_go_on() {
                return false;
            }
        }
    }

    /// Whether another round would find something to read or somebody to call.
    #[inline]
    fn can_go_on(&self) -> bool {
        self.has_input() || self.can_write()
    }

    /// Whether there is something to read, and reading is wanted.
    #[inline]
    fn has_input(&self) -> bool {
        (self.stash.is_some() || self.out.bits.has(Bits::READABLE)) && !self.shared.current.paused
    }

    /// Whether the protocol asked for its writable callback and could have it now.
    #[inline]
    fn can_write(&self) -> bool {
        self.shared.current.wants_write && self.out.is_clear() && self.ws.can_send()
    }

    /// One read, and the callbacks for what it brought. Returns whether anything came, if only the end.
    #[inline]
    fn deliver(&mut self) -> bool {
        self.fragments = false;
        if self.shared.current.paused {
            return false;
        }
        match fill(&mut self.out, self.stash, self.rx, self.read_bytes) {
            Filled::Bytes(count) => self.count = count,
            Filled::Nothing => return false,
            Filled::End => {
                self.ws.handle_eof();
                return true;
            }
            Filled::Failed => {
                self.ws.handle_reset();
                return true;
            }
        }
        self.read_bytes = self.read_bytes.saturating_sub(self.count);
        let rx = &mut self.rx[..HEADROOM + self.count];
        self.shared.current.arrived(rx);
        let mut input = Input::new(rx, HEADROOM);
        while !input.is_empty() {
            if self.read_frames == 0 || self.shared.current.paused {
                stash(self.out.pool, self.stash, input.into_rest());
                break;
            }
            self.read_frames -= 1;
            let result = match self.ws.receive(&mut input) {
                Ok(None) => break,
                Ok(Some(Event::Fragment(fragment))) => {
                    self.fragments = true;
                    let mut cx = cx!(self, self.out.pool, &[]);
                    self.endpoint.receive(&mut cx, self.live.session, fragment)
                }
                other => {
                    let mut cx = cx!(self, self.out.pool, &[]);
                    control_event(self.ws, other, &mut self.out, &mut *self.endpoint, &mut cx, self.live.session)
                }
            };
            obey(self.ws, self.shared, self.id, result);
        }
        self.ws.receive_done(self.shared.now);
        true
    }

    /// The writable callback, if it was asked for and the socket takes data. Returns whether it was called.
    #[inline]
    fn write(&mut self) -> bool {
        if self.out.queue.is_some() {
            self.out.flush();
        }
        if !self.can_write() {
            return false;
        }
        self.shared.current.wants_write = false;
        let budget = Cell::new(self.write_budget);
        let pool = self.out.pool;
        let result = {
            let mut port = Port {
                ws: &mut *self.ws,
                out: self.out.again(),
                low_water: self.limits.output_low_water,
                frame_cost: self.limits.turn_bytes / self.limits.turn_frames,
                budget: &budget,
            };
            let mut cx = cx!(self, pool, &self.rx[..HEADROOM + self.count]);
            self.endpoint.writable(&mut cx, self.live.session, Tx::new(&mut port))
        };
        self.write_budget = budget.get();
        obey(self.ws, self.shared, self.id, result);
        true
    }

    /// Tells the endpoint that the read is over.
    #[inline]
    fn delivered(&mut self) {
        let mut cx = cx!(self, self.out.pool, &self.rx[..HEADROOM + self.count]);
        self.endpoint.delivered(&mut cx, self.live.session);
        obey(self.ws, self.shared, self.id, Ok(()));
    }

    /// Sends what the protocol has to say on its own account. Returns whether the connection is over.
    #[inline]
    fn settle(&mut self) -> bool {
        if self.ws.wants_transmit() {
            answer(self.ws, &mut self.out);
            self.out.flush();
        }
        // A reset is terminal. What came before it is delivered first, unless reading is paused: there is no edge to come
        // any more, and who waits for room to answer waits in vain.
        if self.out.bits.has(Bits::BROKEN) && !self.has_input() {
            self.ws.handle_reset();
        }
        if self.ws.state() == State::Draining && self.out.queue.is_none() && !self.ws.wants_transmit() {
            self.ws.handle_flushed();
        }
        self.ws.state() == State::Ended
    }
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
        Ok(Some(Event::Pong(payload))) => endpoint.pong(cx, session, payload),
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

/// Sends what was published while a fragmented message was unfinished.
#[cold]
fn release(out: &mut Out<'_>, held: &mut Option<Box<Held>>) {
    if let Some(held) = held.take() {
        for frames in &held.frames {
            out.put_shared(frames);
        }
        out.flush();
    }
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
        match fill(&mut out!(stage, conn), &mut conn.stash, stage.rx, budget) {
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
    let wishes = Wishes { shared: &mut *stage.shared, endpoint: live.endpoint, pool: stage.pool, arrived: &[] };
    endpoint.closed(&mut Cx { wishes, id, peer }, live.session, closed);
}

/// A deadline of the protocol or of the user's timer may be due.
pub(crate) fn due(stage: &mut Stage<'_>, id: ConnId, conn: &mut Conn) {
    let now = stage.shared.now;
    if let Phase::Ws(ws) = &mut conn.phase {
        if ws.next_deadline().is_some_and(|at| at <= now) {
            if ws.state() == State::Open && stage.shared.live.get(id).is_some_and(|live| live.is_paused()) {
                // We do not read, so the silence is not the peer's.
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
    stage.shared.enter(id, live);
    let wishes = Wishes { shared: &mut *stage.shared, endpoint: live.endpoint, pool: stage.pool, arrived: &[] };
    let result = endpoint.timer(&mut Cx { wishes, id, peer: &conn.peer }, live.session);
    stage.shared.leave();
    if let Err(close) = result {
        ws.close(close, now);
    }
}

/// Takes a connection over from the handshake: the 101 is in the cork, `open` was not called yet.
pub(crate) fn open(stage: &mut Stage<'_>, id: ConnId, conn: &mut Conn, endpoint: EndpointIndex) {
    conn.phase = Phase::Ws(Connection::new(Role::Server, stage.limits.protocol.clone(), stage.shared.now));
    let Some(callee) = stage.endpoints.get_mut(endpoint.get()) else { return };
    if let Some(live) = stage.shared.live.get_mut(id) {
        live.endpoint = endpoint;
        live.set_open(true);
    }
    let wishes = Wishes { shared: &mut *stage.shared, endpoint, pool: stage.pool, arrived: &[] };
    let session = callee.open(&mut Cx { wishes, id, peer: &conn.peer });
    if let Some(live) = stage.shared.live.get_mut(id) {
        live.session = session;
    }
}
