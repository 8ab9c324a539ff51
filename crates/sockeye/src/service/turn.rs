//! One turn of the loop.
//!
//! ```text
//!  wait ─▶ events ─▶ accepts ─▶ deadlines ─▶ jobs ─▶ ready list (one round) ─▶ publishes ─▶ free slots
//!            └──────────── wishes are carried out between steps ────────────┘
//! ```
//!
//! What is left on the ready list makes the next wait a look only. A connection that used up its share of the turn waits for
//! the ready list of the next one; what the kernel says of it until then is noted.

use std::io;
use std::time::Duration;

use sockeye_proto::close::{Cause, Close, Timeout};

use crate::client::FailureCause;
use crate::conn::{self, Conn, NEVER, Phase, Step};
use crate::error::Error;
use crate::output::Bits;
use crate::protocol::{ConnId, RawClosed};
use crate::service::{Control, Service, ServiceState};
use crate::shared::Live;
use crate::statistics::{Culprit, Whose};
use crate::sys::{CloseHow, EVENTS_PER_WAIT, Readiness, WAKE};

pub(crate) fn turn(service: &mut Service, timeout: Option<Duration>) -> Result<ServiceState, Error> {
    let progress = take_turn(service, timeout);
    if let Some(watch) = &service.external {
        watch.borrow_mut().settle();
    }
    progress
}

fn take_turn(service: &mut Service, timeout: Option<Duration>) -> Result<ServiceState, Error> {
    wait(service, timeout)?;
    carry_out_ends(service);
    let mut events = std::mem::take(&mut service.events);
    let mut woken = false;
    for event in &events {
        if event.token == WAKE {
            woken = true;
        } else if event.token >> 32 == 0 {
            low_token(service, event.token);
        } else {
            on_event(service, *event);
        }
    }
    let work = &mut service.stage.outlet.statistics.work;
    work.turns += 1;
    work.events += events.len() as u64;
    events.clear();
    service.events = events;
    service.accept_some();
    fire_deadlines(service);
    if woken {
        service.take_resolved();
        run_jobs(service);
    }
    if std::mem::take(&mut service.stage.shared.drain) {
        service.start_drain();
    }
    carry_out(service);
    service.stage.shared.spread_all_writable();
    run_ready(service);
    service.flush_publishes();
    carry_out(service);
    service.stage.shared.spread_all_writable();
    service.stage.shared.begin_shares();
    service.end_drain_of_connects();
    free_dead(service);
    service.stage.shared.pool.borrow_mut().tidy(service.stage.shared.now);
    service.turn_ends();
    if let Some(place) = &mut service.stage.place {
        place.turn_ends(service.stage.shared.now, &service.stage.outlet.statistics);
    }
    Ok(if service.is_drained() { ServiceState::Drained } else { ServiceState::Running })
}

/// What was asked to end between turns ends before anything else happens.
fn carry_out_ends(service: &mut Service) {
    if !service.stage.shared.closes.is_empty() {
        carry_out_closes(service);
    }
    if std::mem::take(&mut service.stage.shared.drain) {
        service.start_drain();
    }
}

/// One round of the ready list.
#[inline]
fn run_ready(service: &mut Service) {
    let count = service.stage.shared.ready.len();
    if count == 0 {
        return;
    }
    service.stage.outlet.statistics.work.ready_rounds += 1;
    for _ in 0..count {
        let Some(id) = service.stage.shared.next_ready() else { break };
        service.stage.outlet.statistics.work.ready_steps += 1;
        step(service, id);
    }
}

/// Waits no longer than the caller, the ready list and the next deadline allow.
fn wait(service: &mut Service, timeout: Option<Duration>) -> Result<(), Error> {
    // Of one that is over nothing comes, so it is not waited for.
    let timeout = if service.is_drained() { Some(Duration::ZERO) } else { timeout };
    let own = service.next_deadline().map(|at| at.saturating_duration_since(service.stage.outlet.sys.now()));
    let timeout = match (timeout, own) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
    let mut events = std::mem::take(&mut service.events);
    let result = service.stage.outlet.sys.wait(timeout, &mut events);
    service.crowded = events.len() >= EVENTS_PER_WAIT;
    service.events = events;
    service.stage.shared.now = service.stage.outlet.sys.now();
    service.turn_begins();
    match result {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            service.events.clear();
            Ok(())
        }
        Err(error) => Err(Error::poll(error)),
    }
}

/// Tokens without a generation are those of listeners, and of sockets that are not connected yet.
#[cold]
fn low_token(service: &mut Service, token: u64) {
    if service.accepting.is_listener(token) {
        service.accepting.ready(token);
    } else {
        service.racer_event(token);
    }
}

/// Notes what the kernel said, and takes a step. An event of an older generation finds nobody.
#[inline]
fn on_event(service: &mut Service, event: Readiness) {
    let id = ConnId::from_u64(event.token);
    let Some(live) = service.stage.shared.live.get(id).copied() else { return };
    let Some(conn) = service.conns.get_mut(id.slot()).and_then(Option::as_mut) else { return };
    let mut bits = 0;
    if event.readable {
        bits |= Bits::READABLE;
    }
    if event.writable {
        bits |= Bits::WRITABLE;
    }
    if event.read_closed {
        // The read side only: what was sent before the end is still to be read.
        bits |= Bits::READ_CLOSED | Bits::READABLE;
    }
    if event.error {
        // Nothing more can be sent; reading tells what still came, and how it ended.
        bits |= Bits::BROKEN | Bits::READABLE;
    }
    conn.link.bits.set(bits);
    // Its step comes with the ready list: two would be two shares.
    if !live.is_queued() {
        step_conn(service, id, live);
    }
}

/// One step of one connection, and the wishes that its callbacks had.
pub(crate) fn step(service: &mut Service, id: ConnId) {
    if let Some(live) = service.stage.shared.live.get(id).copied() {
        step_conn(service, id, live);
    }
}

#[inline(always)]
fn step_conn(service: &mut Service, id: ConnId, live: Live) {
    let Service { stage, conns, .. } = service;
    let Some(conn) = conns.get_mut(id.slot()).and_then(Option::as_mut) else { return };
    match conn::step(stage, id, live, conn) {
        Step::Wait if !conn.needs_arming() && !stage.shared.has_new_wishes() => {}
        step => after(service, id, step),
    }
}

/// Files what a step came to.
fn after(service: &mut Service, id: ConnId, step: Step) {
    match step {
        Step::Wait | Step::Again => arm(service, id),
        Step::Yield | Step::Later => {
            service.stage.outlet.statistics.limits.turn_bytes += u64::from(matches!(step, Step::Yield));
            service.stage.shared.enqueue_later(id);
            arm(service, id);
        }
        Step::Gone(how) => bury(service, id, how),
        Step::Unopened => service.see_to_unopened(),
        Step::Introduced => return service.introduce(id),
    }
    service.between();
}

impl Service {
    /// What callbacks or jobs wished for is done before the next of them, so that wishes do not pile up.
    pub(crate) fn between(&mut self) {
        if self.stage.shared.any_publish {
            self.flush_large_publishes();
        }
        carry_out(self);
    }
}

/// Makes sure that the connection is looked at when its next deadline is due.
#[inline]
fn arm(service: &mut Service, id: ConnId) {
    let Some(conn) = service.conns.get_mut(id.slot()).and_then(Option::as_mut) else { return };
    let deadline = conn.deadline();
    if deadline < conn.armed {
        conn.armed = deadline;
        service.timers.add(deadline, id);
    }
}

/// Closes the socket now; the slot is freed at the end of the turn, so that an event of this batch cannot meet a
/// successor.
pub(crate) fn bury(service: &mut Service, id: ConnId, how: CloseHow) {
    if let Some(conn) = service.conns.get_mut(id.slot()).and_then(Option::take) {
        service.stage.outlet.sys.close(conn.link.handle, how);
        service.stage.outlet.statistics.connection_ends();
        // Connections of our own are not among those that are counted by address, nor those that are not introduced yet.
        let is_own = service.stage.shared.live.get(id).is_some_and(|live| live.is_client() || live.is_adopted());
        if !is_own && !matches!(conn.phase, Phase::Proxied(_)) {
            service.accepting.left(&conn.peer);
        }
        service.dead.push(id);
    }
}

fn free_dead(service: &mut Service) {
    let mut dead = std::mem::take(&mut service.dead);
    let any = !dead.is_empty();
    for id in dead.drain(..) {
        service.stage.shared.live.remove(id);
    }
    service.dead = dead;
    if any {
        service.accepting.room();
    }
    let Service { timers, conns, connecting, stage, .. } = service;
    let shared = &stage.shared;
    timers.sweep(shared.live.len(), |at, id| {
        let conn = conns.get(id.slot()).and_then(Option::as_ref);
        shared.live.contains_key(id) && conn.map_or_else(|| connecting.is_armed(id, at), |conn| conn.armed == at)
    });
}

/// Carries out what callbacks wished for: adoptions, timers, closes and connects.
#[inline]
fn carry_out(service: &mut Service) {
    if !service.stage.shared.adoptions.is_empty() {
        service.start_adoptions();
    }
    if !service.stage.shared.timers.is_empty() {
        carry_out_timers(service);
    }
    if !service.stage.shared.closes.is_empty() {
        carry_out_closes(service);
    }
    if !service.stage.shared.outgoing.planned.is_empty() {
        service.start_connects();
    }
}

fn carry_out_timers(service: &mut Service) {
    let mut timers = std::mem::take(&mut service.stage.shared.timers);
    for (id, at) in timers.drain(..) {
        // What `closed` asks for, or a callback right before it, has nobody to call.
        if !service.stage.shared.live.get(id).is_some_and(|live| live.is_open()) {
            continue;
        }
        if let Some(conn) = service.conn(id) {
            conn.user_timer = at.unwrap_or(NEVER);
            let deadline = conn.deadline();
            if deadline < conn.armed {
                conn.armed = deadline;
                service.timers.add(deadline, id);
            }
        }
    }
    service.stage.shared.timers = timers;
}

fn carry_out_closes(service: &mut Service) {
    let mut closes = std::mem::take(&mut service.stage.shared.closes);
    for (id, close) in closes.drain(..) {
        close_now(service, id, close);
    }
    // Connects that were cancelled were told so, and their callbacks may have wished for more.
    closes.append(&mut service.stage.shared.closes);
    service.stage.shared.closes = closes;
}

/// Starts the closing handshake, or the end of a raw connection; its frame leaves when the ready list comes to it. What
/// is no connection yet becomes none.
fn close_now(service: &mut Service, id: ConnId, close: Close) {
    if service.stage.shared.live.get(id).is_some_and(|live| live.is_connecting()) {
        service.cancel(id, FailureCause::Cancelled);
        return;
    }
    let now = service.stage.shared.now;
    let until = now + service.stage.limits.protocol.close_timeout;
    match service.conn(id).map(|conn| &mut conn.phase) {
        Some(Phase::Ws(ws)) => ws.close(close, now),
        Some(Phase::Raw(raw)) => raw.end(RawClosed::Local, until),
        _ => return,
    }
    service.stage.shared.enqueue(id);
}

/// Room for deadlines of one turn that is kept.
const DUE: usize = 1024;

fn fire_deadlines(service: &mut Service) {
    let now = service.stage.shared.now;
    // All that is due is taken first: an entry that is due again at once waits a turn.
    let mut due = std::mem::take(&mut service.due);
    while let Some(entry) = service.timers.pop_due(now) {
        due.push(entry);
    }
    for (at, id) in due.drain(..) {
        let Some(conn) = service.conn(id) else {
            service.attempt_due(id, at);
            continue;
        };
        if conn.armed != at {
            continue;
        }
        conn.armed = NEVER;
        if conn.deadline() > now {
            arm(service, id);
        } else {
            let Service { stage, conns, .. } = service;
            let Some(conn) = conns.get_mut(id.slot()).and_then(Option::as_mut) else { continue };
            stage.outlet.statistics.work.deadlines += 1;
            let step = conn::due(stage, id, conn);
            after(service, id, step);
        }
    }
    // A crowd with one deadline must not leave its memory behind.
    due.shrink_to(DUE);
    service.due = due;
    tick(service);
    if service.draining.is_some_and(|deadline| deadline <= now) {
        abandon_all(service);
    }
}

/// The protocols' regular callbacks. One that fell behind is called once, not once for each time missed; one whose
/// connections are all being closed is not called, and does not wake the loop, until another opens.
fn tick(service: &mut Service) {
    let now = service.stage.shared.now;
    let opened = std::mem::take(&mut service.stage.shared.opened);
    for index in 0..service.ticks.len() {
        let tick = &mut service.ticks[index];
        tick.resting &= !opened;
        if tick.next > now || tick.resting {
            continue;
        }
        let on_time = tick.next + tick.every;
        tick.next = if on_time > now { on_time } else { now + tick.every };
        let endpoint = tick.endpoint;
        let Service { stage, conns, ticks, .. } = service;
        let anybody = stage.shared.live.iter().any(|(id, live)| {
            let conn = conns.get(id.slot()).and_then(Option::as_ref);
            live.is_open() && live.endpoint == endpoint && conn.is_some_and(Conn::is_open)
        });
        ticks[index].resting = !anybody;
        if let Some(callee) = stage.endpoints.get_mut(endpoint.get()).filter(|_| anybody) {
            stage.outlet.statistics.work.ticks += 1;
            stage.outlet.steps_over(0);
            callee.tick(&mut stage.shared, endpoint);
            stage.outlet.lap(Culprit::Tick, Whose::endpoint(endpoint.0));
        }
    }
}

/// The time of a drain is over: what is left is reset.
fn abandon_all(service: &mut Service) {
    let ids: Vec<_> = service.stage.shared.live.keys().collect();
    for id in ids {
        let Service { stage, conns, .. } = service;
        let Some(conn) = conns.get_mut(id.slot()).and_then(Option::as_mut) else { continue };
        match &mut conn.phase {
            Phase::Ws(ws) => {
                ws.abort(Cause::Timeout(Timeout::Close));
                let closed = ws.closed();
                conn::ws::tell_closed(stage, id, &conn.peer, closed);
            }
            Phase::Raw(_) => conn::raw::tell_closed(stage, id, &conn.peer, RawClosed::Timeout),
            Phase::Http(_) | Phase::Opening(_) | Phase::Proxied(_) | Phase::Linger(_) => {}
        }
        bury(service, id, CloseHow::Reset);
    }
    service.abandon_connects();
}

fn run_jobs(service: &mut Service) {
    let (jobs, drain) = service.jobs.take();
    for job in jobs {
        service.stage.outlet.statistics.work.jobs += 1;
        service.stage.outlet.steps_over(0);
        job(&mut Control { service });
        service.stage.outlet.lap(Culprit::Job, Whose::default());
        service.between();
    }
    if drain {
        service.start_drain();
    }
}
