//! One turn of the loop.
//!
//! ```text
//!  wait ─▶ events ─▶ accepts ─▶ deadlines ─▶ jobs ─▶ ready list (one round) ─▶ publishes ─▶ free slots
//!            └──────────── commands are carried out between steps ──────────┘
//! ```
//!
//! While the ready list is not empty the next wait only polls. A connection that used up its share
//! of the turn goes on the ready list of the next turn; events for it until then are noted.

use std::io;
use std::time::Duration;

use sockeye_proto::time::Instant;

use crate::conn::{Abort, Outcome};
use crate::error::Error;
use crate::id::ConnId;
use crate::service::core::{Control, Service, ServiceState};
use crate::state::{Entry, ReadBudget};
use crate::statistics::{Culprit, WorkOwner};
use crate::sys::{CloseHow, EVENTS_PER_WAIT, Readiness, WAKE};

impl Service {
    /// Never inlined: `cargo xtask bench tls counts` counts what is done in it, and finds it by its name.
    /// `follows`: the last turn has just ended, and nothing happened since.
    #[inline(never)]
    pub(super) fn turn(&mut self, timeout: Option<Duration>, follows: bool) -> Result<ServiceState, Error> {
        if std::mem::replace(&mut self.is_in_turn, true) {
            return Err(Error::poisoned());
        }
        let state = self.take_turn(timeout, follows);
        self.is_in_turn = false;
        if let Some(watch) = &self.external {
            watch.borrow_mut().settle();
        }
        state
    }

    fn take_turn(&mut self, timeout: Option<Duration>, follows: bool) -> Result<ServiceState, Error> {
        self.wait(timeout, follows)?;
        let whole = ReadBudget { bytes: self.env.limits.turn_bytes, frames: self.env.limits.turn_frames };
        self.env.share = ReadBudget::share(whole, self.events.len() + self.env.state.registry.ready_len());
        self.begin_with_ends();
        let mut events = std::mem::take(&mut self.events);
        let woken = self.handle_events(&events);
        events.clear();
        self.events = events;
        self.accept_some();
        self.fire_deadlines();
        if woken {
            self.take_resolved();
            self.run_jobs();
        }
        // Most turns leave none.
        if self.env.state.has_work() {
            self.do_work();
        }
        self.env.state.registry.begin_shares();
        self.end_drain_of_connects();
        self.free_dead();
        self.env.io.tidy(self.env.state.now);
        let (account, statistics) = (&self.env.state.account, &mut self.env.io.meters.statistics);
        (statistics.held_bytes, statistics.held_bytes_most) = (account.held() as u64, account.most() as u64);
        if self.env.state.topic_counts.are_new {
            self.count_topics();
        }
        self.turn_ends();
        if let Some(board) = &mut self.env.board {
            board.turn_ends(self.env.state.now, &self.env.io.meters.statistics);
        }
        if self.is_drained() {
            self.env.state.registry.forget_ready();
            return Ok(ServiceState::Drained);
        }
        Ok(ServiceState::Running)
    }

    /// What callbacks asked for, those that are ready, and what was published.
    #[inline(never)]
    fn do_work(&mut self) {
        self.start_requested_drain();
        self.carry_out();
        self.env.state.spread_all_writable();
        self.run_ready();
        self.flush_publishes();
        self.carry_out();
        self.env.state.spread_all_writable();
    }

    /// The events of one turn. Returns whether the loop was woken. It is apart from the turn, so that it has the registers
    /// for itself.
    #[inline(never)]
    fn handle_events(&mut self, events: &[Readiness]) -> bool {
        let mut woken = false;
        let most = self.env.io.effort().saturating_add(self.most_effort());
        for event in events {
            if event.token == WAKE {
                woken = true;
            } else if event.token >> 32 == 0 {
                self.low_token(event.token);
            } else {
                self.on_event(*event, most);
            }
        }
        let work = &mut self.env.io.meters.statistics.work;
        work.turns += 1;
        work.events += events.len() as u64;
        woken
    }

    /// Waits no longer than the caller, the ready list and the next deadline allow.
    fn wait(&mut self, timeout: Option<Duration>, follows: bool) -> Result<(), Error> {
        // A drained service has nothing to wait for.
        let timeout = if self.is_drained() { Some(Duration::ZERO) } else { timeout };
        let timeout = self.no_longer_than(timeout, follows);
        let result = self.env.io.sys.wait(timeout, &mut self.events);
        self.crowded = self.events.len() >= EVENTS_PER_WAIT;
        self.env.state.now = self.env.io.sys.now();
        self.env.io.codecs.begin_turn(self.env.state.now);
        self.turn_begins();
        match result {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.events.clear();
                Ok(())
            }
            Err(error) => Err(Error::poll(error)),
        }
    }

    /// How long to wait: until the next deadline, and not longer than the caller wants.
    #[inline]
    fn no_longer_than(&mut self, timeout: Option<Duration>, follows: bool) -> Option<Duration> {
        if timeout == Some(Duration::ZERO) {
            // The caller does not wait, so no deadline can make the wait shorter.
            return timeout;
        }
        let own = self.next_deadline().map(|at| {
            // The clock was read at the end of the last turn.
            let now = self.ended_at.filter(|_| follows).unwrap_or_else(|| self.env.io.sys.now());
            at.saturating_duration_since(now)
        });
        match (timeout, own) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Ends and limits requested between turns come before anything else.
    fn begin_with_ends(&mut self) {
        if self.env.state.queue.has_own() {
            self.carry_out_limits();
            self.carry_out_requested_ends();
        }
        self.start_requested_drain();
    }

    /// Tokens without a generation are those of listeners, and of sockets that are not connected yet.
    #[cold]
    fn low_token(&mut self, token: u64) {
        if self.accepting.is_listener(token) {
            self.accepting.mark_ready(token);
        } else {
            self.racer_event(token);
        }
    }

    /// How much the events of a turn may cost, and its round of the ready list, in bytes received and sent.
    fn most_effort(&self) -> u64 {
        let share = u64::try_from(self.env.limits.turn_bytes).unwrap_or(u64::MAX);
        share.saturating_mul(WHOLE_SHARES).max(LEAST_EFFORT)
    }

    /// Notes the event, and takes a step if the turn's effort is below `most`. An event of an older generation finds no
    /// connection.
    #[inline]
    fn on_event(&mut self, event: Readiness, most: u64) {
        let id = ConnId::from_u64(event.token);
        let Some(entry) = self.env.state.registry.get(id) else { return };
        let Some(conn) = self.connections.in_slot(id) else { return };
        conn.note(&event);
        // Its step comes with the ready list: two steps would be two shares.
        if entry.is_queued() {
            return;
        }
        if self.env.io.effort() < most {
            self.step_entry(id, entry);
        } else {
            self.late_event(id, entry, most);
        }
    }

    /// The events before this one took all that the turn may cost. What may be a short message among a flood is still
    /// answered, the rest waits.
    #[cold]
    fn late_event(&mut self, id: ConnId, entry: Entry, most: u64) {
        if entry.is_open() && self.env.io.effort() < most.saturating_add(LATE_EFFORT) {
            self.small_step(id, entry);
        } else {
            self.env.state.registry.enqueue(id);
        }
    }

    /// A step with a small share.
    #[cold]
    fn small_step(&mut self, id: ConnId, entry: Entry) {
        let share = self.env.share;
        let is_sealed = self.connections.in_slot(id).is_some_and(|conn| conn.is_sealed());
        self.env.share = share.min(if is_sealed { LATE_SEALED } else { LATE });
        self.step_entry(id, entry);
        self.env.share = share;
        self.env.io.note_effort(STEP);
    }

    /// One round of the ready list, as far as the turn's effort allows. The rest is first in the next turn.
    #[inline]
    fn run_ready(&mut self) {
        let count = self.env.state.registry.ready_len();
        if count == 0 {
            return;
        }
        self.env.io.meters.statistics.work.ready_rounds += 1;
        let most = self.env.io.effort().saturating_add(self.most_effort());
        for _ in 0..count {
            if self.env.io.effort() >= most {
                self.step_closing();
                break;
            }
            let Some(id) = self.env.state.registry.next_ready() else { break };
            self.env.io.meters.statistics.work.ready_steps += 1;
            self.env.io.note_effort(STEP);
            self.step(id);
        }
    }

    /// The rest of the ready list waits for the next turn, but for connections that are being closed: what is published from
    /// now on must not go before their Close frames.
    #[cold]
    fn step_closing(&mut self) {
        if !std::mem::take(&mut self.closing_waits) {
            return;
        }
        for _ in 0..self.env.state.registry.ready_len() {
            let Some(id) = self.env.state.registry.next_ready() else { break };
            if self.is_closing(id) {
                self.step(id);
            } else {
                self.env.state.registry.enqueue(id);
            }
        }
    }

    /// Whether it was open, and its end has begun.
    fn is_closing(&mut self, id: ConnId) -> bool {
        self.env.state.registry.get(id).is_some_and(Entry::is_open)
            && self.connections.in_slot(id).is_some_and(|conn| !conn.is_open())
    }

    /// One step of one connection, and the commands of its callbacks.
    pub(super) fn step(&mut self, id: ConnId) {
        if let Some(entry) = self.env.state.registry.get(id) {
            self.step_entry(id, entry);
        }
    }

    #[inline(always)]
    fn step_entry(&mut self, id: ConnId, entry: Entry) {
        let Self { env, connections, .. } = self;
        let Some(conn) = connections.in_slot(id) else { return };
        match conn.step(env, id, entry) {
            Outcome::Wait if !conn.needs_arming() && !env.state.has_new_commands() => {}
            outcome => self.after_step(id, outcome),
        }
    }

    /// Carries out the outcome of a step.
    fn after_step(&mut self, id: ConnId, outcome: Outcome) {
        match outcome {
            Outcome::Wait => self.arm(id),
            Outcome::Yield | Outcome::Later => {
                self.env.io.meters.statistics.limits.turn_bytes += u64::from(matches!(outcome, Outcome::Yield));
                self.env.state.registry.enqueue_later(id);
                self.closing_waits |= self.is_closing(id);
                self.arm(id);
            }
            Outcome::Gone(how) => self.close_and_retire(id, how),
            Outcome::Unopened(unopened) => self.retire_unopened(id, *unopened),
        }
        self.carry_out_between();
    }

    /// Requests of a callback or job are carried out before the next one, so that commands do not
    /// pile up.
    pub(super) fn carry_out_between(&mut self) {
        if !self.env.state.outgoing.is_empty() {
            self.flush_large_publishes();
        }
        self.carry_out();
    }

    /// Sets the loop's timer for the connection's next deadline.
    #[inline]
    pub(super) fn arm(&mut self, id: ConnId) {
        let Some(conn) = self.connections.get_mut(&self.env.state.registry, id) else { return };
        let deadline = conn.deadline();
        if deadline < conn.armed() {
            conn.set_armed(deadline);
            self.timers.add(deadline, id);
        }
    }

    /// Closes the socket now. The slot is freed at the end of the turn, so that an event of this
    /// batch cannot reach a successor.
    pub(super) fn close_and_retire(&mut self, id: ConnId, how: CloseHow) {
        if let Some(conn) = self.connections.take(id) {
            if let Some(entry) = self.env.state.registry.get_mut(id) {
                entry.set_ended();
            }
            conn.close_socket(&mut self.env, id, how);
            self.env.io.meters.statistics.connection_ends();
            self.dead.push(id);
        }
    }

    #[inline]
    fn free_dead(&mut self) {
        if !self.dead.is_empty() {
            self.free_slots();
        }
        self.settle_places();
        let Self { timers, connections, connecting, env, .. } = self;
        let registry = &env.state.registry;
        if timers.may_be_old(registry.len()) {
            timers.sweep(registry.len(), |at, id| {
                let conn = connections.get(registry, id);
                registry.contains(id) && conn.map_or_else(|| connecting.is_armed(id, at), |conn| conn.armed() == at)
            });
        }
    }

    #[inline(never)]
    fn free_slots(&mut self) {
        let before = self.env.state.registry.len();
        for id in self.dead.drain(..) {
            // The next connection in the slot is subscribed to nothing.
            self.env.state.end_topics(id);
            self.env.state.registry.remove(id);
        }
        self.connections.crowd.shrinks(before, self.env.state.registry.len(), &self.env.state.account);
        self.accepting.end_pause();
        if let Some(slots) = self.env.state.registry.give_back() {
            self.connections.truncate(slots);
        }
    }

    fn fire_deadlines(&mut self) {
        let now = self.env.state.now;
        if self.timers.next().is_some_and(|at| at <= now) {
            self.fire_timers(now);
        }
        if self.env.state.own_timers.next().is_some_and(|at| at <= now) {
            self.fire_own_timers();
        }
        if !self.env.state.holdings.is_empty() {
            self.end_slow_senders();
        }
        if !self.ticks.is_empty() || self.env.state.opened {
            self.tick();
        }
        if self.env.state.lifecycle.drain_deadline().is_some_and(|deadline| deadline <= now) {
            self.abandon_all();
        }
    }

    /// The deadlines of connections and attempts. All due entries are taken first: one that is due again at once waits for the
    /// next turn.
    #[inline(never)]
    fn fire_timers(&mut self, now: Instant) {
        let mut due = std::mem::take(&mut self.due);
        while let Some(entry) = self.timers.pop_due(now) {
            due.push(entry);
        }
        for (at, id) in due.drain(..) {
            // What has arrived and was not read yet comes before the callback of a deadline.
            if let Some(entry) = self.env.state.registry.get(id).filter(|entry| entry.is_queued() && entry.is_open()) {
                self.small_step(id, entry);
            }
            let Self { env, connections, .. } = self;
            let Some(conn) = connections.get_mut(&env.state.registry, id) else {
                self.attempt_due(id, at);
                continue;
            };
            if conn.armed() != at {
                continue;
            }
            conn.set_armed(crate::conn::NEVER);
            if conn.deadline() > now {
                self.arm(id);
            } else {
                env.io.meters.statistics.work.deadlines += 1;
                let outcome = conn.due(env, id);
                self.after_step(id, outcome);
            }
        }
        // Many connections with the same deadline must not leave their memory behind.
        due.shrink_to(DUE);
        self.due = due;
    }

    /// Calls for the timers of protocols and endpoints that are due. One that is set for now by these calls waits for the
    /// next turn.
    fn fire_own_timers(&mut self) {
        let now = self.env.state.now;
        for (endpoint, token) in self.env.state.own_timers.due(now) {
            if self.env.state.own_timers.take(endpoint, token, now) {
                self.env.io.meters.statistics.work.deadlines += 1;
                self.env.call_endpoint(endpoint, None, Culprit::OwnTimer, |object, commands| {
                    object.own_timer(commands, endpoint, token);
                });
                self.carry_out_between();
            }
        }
    }

    /// Calls `tick` of the endpoints that are due. Missed ticks are not repeated. While all connections of an endpoint are
    /// closing, `tick` is not called and does not wake the loop, until another one opens, unless the endpoint ticks alone.
    fn tick(&mut self) {
        let now = self.env.state.now;
        let opened = std::mem::take(&mut self.env.state.opened);
        for index in 0..self.ticks.len() {
            let tick = &mut self.ticks[index];
            tick.resting &= !opened;
            if tick.next > now || tick.resting {
                continue;
            }
            let on_time = tick.next + tick.every;
            tick.next = if on_time > now { on_time } else { now + tick.every };
            let endpoint = tick.endpoint;
            let registry = &self.env.state.registry;
            let is_active = self.ticks[index].alone
                || registry.iter().any(|(id, entry)| {
                    let conn = self.connections.get(registry, id);
                    entry.is_open() && entry.endpoint == endpoint && conn.is_some_and(|conn| conn.is_open())
                });
            self.ticks[index].resting = !is_active;
            if is_active {
                self.env.io.meters.statistics.work.ticks += 1;
                self.env
                    .call_endpoint(endpoint, None, Culprit::Tick, |object, commands| object.tick(commands, endpoint));
            }
        }
    }

    /// The drain timed out: remaining connections are reset.
    fn abandon_all(&mut self) {
        for id in self.env.state.registry.ids() {
            let Self { env, connections, .. } = self;
            if let Some(conn) = connections.in_slot(id) {
                conn.abort(env, id, Abort::DrainTimeout);
                self.close_and_retire(id, CloseHow::Reset);
            }
        }
        self.abandon_connects();
    }

    fn run_jobs(&mut self) {
        let (jobs, drain) = self.jobs.take();
        for (job, _) in jobs {
            self.env.io.meters.statistics.work.jobs += 1;
            self.env.io.steps_over(0);
            job(&mut Control { service: self });
            self.env.io.lap(Culprit::Job, WorkOwner::default());
            self.carry_out_between();
        }
        if drain {
            self.env.state.lifecycle.request_drain();
        }
    }
}

/// The events of a turn may cost as much as so many whole shares, and so may its round of the ready list.
const WHOLE_SHARES: u64 = 2;

/// However small the shares are, a turn may cost as much.
const LEAST_EFFORT: u64 = 1024 * 1024;

/// The share of an event that comes late in a turn of much work.
const LATE: ReadBudget = ReadBudget { bytes: 4 * 1024, frames: 16 };

/// The same where records are sealed. They are opened as a whole, so a smaller share would save nothing, and what is over
/// would be kept aside. A message that takes a record and a few bytes is not cut.
const LATE_SEALED: ReadBudget = ReadBudget { bytes: 20 * 1024, frames: 16 };

/// What late events may cost together: some 1,000 small steps, which is as many as a wait reports.
const LATE_EFFORT: u64 = 4 * 1024 * 1024;

/// A step costs as much as so many bytes beside those that it moves.
const STEP: u64 = 2 * 1024;

/// Capacity kept for the deadlines of one turn.
const DUE: usize = 1024;
