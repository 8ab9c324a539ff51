//! One seed: a service, its peers and the network between them, and what must be true of them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sockeye::Service;
use sockeye::proto::close::{Cause, Initiator};
use sockeye::service::ServiceState;
use sockeye::sim::{Fault, Faults, Host, Network, Outcome, Turn};
use sockeye::sys::Address;
use sockeye_proto::close::Timeout;
use sockeye_proto::time::Instant;
use sockeye_testing::outer::{Outer, Table};
use sockeye_testing::server::{Hub, Machine, Notes, echo};

use super::actor::Actor;
use super::plan::{Ending, Plan, Step, Way};

/// Turns in which nothing happens, not even time.
const SPIN: usize = 20;

struct World {
    network: Network,
    host: Host,
    /// The loop outside, if there is one, and what it watches.
    outer: Option<Outer>,
    watched: Table,
    hub: Rc<Hub>,
    service: Service,
    address: Address,
    actors: Vec<Actor>,
    start: Instant,
    jobs: Vec<Duration>,
    jobs_sent: usize,
    jobs_run: Arc<AtomicUsize>,
    drain: Option<Duration>,
    draining: bool,
    drained: bool,
    /// What had happened in the turn before, and how many turns ago that was.
    happened: ((Instant, u64), usize),
}

/// Runs a seed in all ways and compares what it came to, unless connections are lost. The error tells what went wrong.
pub(crate) fn run_seed(seed: u64, planted: Option<Fault>, verbose: bool) -> Result<(), String> {
    let plan = Plan::new(seed);
    let faults = |cut| match planted {
        Some(fault) => plan.faults(cut).with(fault, 1).with(Fault::Spurious, 0),
        None => plan.faults(cut),
    };
    if verbose {
        println!("{plan:#?}");
    }
    let first = run_plan(&plan, Way::inside(seed), faults(seed), verbose)?;
    let mut others = vec![Way::scrambled(seed, false)];
    if planted.is_none() {
        // Edges are not reported to a loop that watches levels, so none can be lost.
        others.extend([Way::outside(seed), Way::scrambled(seed, true)]);
    }
    if !plan.chaos {
        others.push(Way::elsewhere(seed));
    }
    for way in others {
        let story = run_plan(&plan, way, faults(way.cut), verbose).map_err(|why| format!("{way:?}: {why}"))?;
        if let Some((one, other)) = first.iter().zip(&story).find(|(one, other)| !plan.chaos && one != other) {
            return Err(format!("{way:?}: two ways, two stories:\n {one}\n {other}"));
        }
    }
    Ok(())
}

fn run_plan(plan: &Plan, way: Way, faults: Faults, verbose: bool) -> Result<Vec<String>, String> {
    let run = || {
        let mut world = World::new(plan, way, faults.clone(), verbose)?;
        let trace = verbose.then(|| world.network.trace());
        let result = world.run();
        let result = result.and_then(|()| world.check(plan));
        for line in trace.filter(|_| result.is_err()).iter().flat_map(|trace| trace.lines()).rev().take(100) {
            println!("last first: {line}");
        }
        result
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panicked: {}", text.unwrap_or_default()))
    })
}

impl World {
    fn new(plan: &Plan, way: Way, faults: Faults, verbose: bool) -> Result<Self, String> {
        if verbose {
            println!("{way:?} {faults:?}");
        }
        let Way { cut, outside, scrambled } = way;
        let network = Network::with_faults(cut, faults.clone().with(Fault::RegisterFailed, 0));
        let host = network.host();
        if let Some(limit) = plan.descriptors {
            host.set_descriptor_limit(limit);
        }
        let hub = Rc::new(Hub::default());
        hub.verbose.set(verbose);
        // A turn steps a connection for its report, a spurious one, the ready list and a deadline.
        hub.most_receives.set(plan.limits.turn_frames * 5);
        let watched = Table::default();
        let mut builder = Service::builder()
            .limits(plan.limits.clone())
            .compression(plan.compression)
            .protocol(Machine::new(&hub))
            .protocol(echo::echo(&hub, plan.outbox_bytes))
            .listen(Address::Ip(([127, 0, 0, 1], 0).into()));
        if let Some(seed) = scrambled {
            builder = builder.scrambled(seed);
        }
        let service = if outside {
            builder.build_external_with(host.sys(), watched.clone())
        } else {
            builder.build_with(host.sys())
        };
        let service = service.map_err(|error| error.to_string())?;
        let outer = outside.then(|| Outer::new(watched.clone(), cut));
        network.set_faults(faults);
        let address = service.local_addresses()[0].clone();
        let start = network.now();
        let actors = plan.peers.iter().enumerate().map(|(i, peer)| Actor::new(i, peer.clone(), way, start)).collect();
        let jobs_run = Arc::new(AtomicUsize::new(0));
        let (jobs, drain) = (plan.jobs.clone(), plan.drain);
        let mut world = Self {
            network,
            host,
            outer,
            watched,
            hub,
            service,
            address,
            actors,
            start,
            jobs,
            jobs_sent: 0,
            jobs_run,
            drain,
            draining: false,
            drained: false,
            happened: ((start, 0), 0),
        };
        world.mark_lossy(plan);
        Ok(world)
    }

    /// Connections that others may break.
    fn mark_lossy(&mut self, plan: &Plan) {
        let killed = |index: usize| {
            let kill = format!("kill {index}");
            plan.peers.iter().flat_map(|peer| &peer.steps).any(|step| matches!(step, Step::Command(c) if *c == kill))
        };
        for actor in &mut self.actors {
            actor.lossy = plan.drain.is_some() || (plan.chaos && killed(actor.index));
        }
    }

    fn run(&mut self) -> Result<(), String> {
        let network = self.network.clone();
        let mut result = Ok(());
        let outcome = network.run(|| match self.turn() {
            Ok(turn) => turn,
            Err(why) => {
                result = Err(why);
                Turn::Done
            }
        });
        result?;
        if outcome == Outcome::Quiet {
            let open = self.actors.iter().filter(|actor| !actor.done).map(|actor| actor.index);
            return Err(format!("stalled: nothing will happen, and peers {:?} are not done", open.collect::<Vec<_>>()));
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<Turn, String> {
        let now = self.network.now();
        self.spin(now)?;
        self.hub.next_turn();
        let mut again = false;
        if let Some(outer) = self.outer.as_mut().filter(|_| !self.drained) {
            let turned = outer.turn(&mut self.service, &self.host, &|| self.hub.next_turn())?;
            (self.drained, again) = (turned.drained, turned.again);
        } else if !self.drained {
            let progress = self.service.run_once(Some(Duration::ZERO)).map_err(|error| error.to_string())?;
            self.drained = progress == ServiceState::Drained;
        }
        if let Some(failure) = self.hub.failure() {
            return Err(failure);
        }
        let mut next = self.control(now);
        for at in 0..self.actors.len() {
            let done = self.actors.iter().filter(|actor| actor.done).count();
            let until = self.actors[at].act(&self.network, &self.address, done, self.start);
            next = next.into_iter().chain(until).min();
            if let Some(why) = self.actors[at].stalled(now) {
                return Err(why);
            }
        }
        let counts = self.network.counts();
        let lost = [Fault::Reset, Fault::AcceptFailed, Fault::RegisterFailed].iter().any(|fault| counts.of(*fault) > 0);
        self.actors.iter_mut().for_each(|actor| actor.lossy |= lost);
        let jobs_are_done = self.drained || (!self.draining && self.jobs_run.load(Ordering::Relaxed) == self.jobs_sent);
        if jobs_are_done && self.actors.iter().all(|actor| actor.done) && self.service.connections() == 0 {
            return Ok(Turn::Done);
        }
        if again {
            return Ok(Turn::Busy);
        }
        let own = if self.drained { None } else { self.service.next_deadline() };
        Ok(Turn::Sleep(next.into_iter().chain(own).min()))
    }

    /// A loop that goes round without anything to do.
    fn spin(&mut self, now: Instant) -> Result<(), String> {
        let calls = self.host.calls();
        let happened = (now, calls.recv + calls.send + calls.accept + calls.close + self.hub.callbacks.get());
        self.happened = if self.happened.0 == happened { (happened, self.happened.1 + 1) } else { (happened, 0) };
        // What the network brings at the same time, piece by piece, is no fault of the loop.
        if !self.drained && self.service.next_deadline().is_none_or(|next| next > now) {
            self.happened.1 = 0;
        }
        if self.happened.1 > SPIN {
            let next = self.service.next_deadline();
            return Err(format!("the loop spins: {SPIN} turns at {now:?} without a call or a callback; next {next:?}"));
        }
        Ok(())
    }

    /// What comes from outside the loop.
    fn control(&mut self, now: Instant) -> Option<Instant> {
        self.jobs.sort();
        while let Some(at) = self.jobs.first().copied().filter(|at| self.start + *at <= now) {
            self.jobs.retain(|job| *job != at);
            let (run, number) = (self.jobs_run.clone(), self.jobs_sent);
            self.jobs_sent += 1;
            let job = self.service.remote().run(move |control| {
                assert_eq!(run.fetch_add(1, Ordering::Relaxed), number, "jobs run in order");
                control.protocol_named("machine").unwrap().publish_text("\u{1}job");
            });
            if job.is_err() && !self.drained {
                self.hub.fail("a job was not taken");
            }
        }
        if self.drain.is_some_and(|at| self.start + at <= now) {
            (self.drain, self.draining) = (None, true);
            let _ = self.service.remote().run(|control| control.drain());
        }
        self.jobs.first().copied().into_iter().chain(self.drain).min().map(|at| self.start + at)
    }

    /// After all is over: nothing is left, and everybody saw what they should have.
    fn check(self, plan: &Plan) -> Result<Vec<String>, String> {
        let notes = self.hub.all();
        let mut digest = Vec::new();
        for actor in &self.actors {
            actor.check_heard()?;
            let empty = Notes::default();
            let notes = notes.get(&actor.index).unwrap_or(&empty);
            actor.check_received(&notes.received)?;
            check_closed(actor, notes)?;
            let cause = notes.closed.first().map(|closed| format!("{closed:?}"));
            digest.push(format!("{} {cause:?} {:?} {:?}", actor.index, notes.received, actor.digest()));
        }
        if self.jobs_run.load(Ordering::Relaxed) != self.jobs_sent && plan.drain.is_none() {
            return Err("a job did not run".to_owned());
        }
        let expected = usize::from(!self.drained);
        if self.host.open_handles() != expected {
            return Err(format!("{} handles are open, and {expected} should be", self.host.open_handles()));
        }
        let (host, hub, watched) = (self.host.clone(), self.hub.clone(), self.watched.clone());
        drop(self);
        if !watched.is_empty() {
            return Err("the loop outside still watches something".to_owned());
        }
        if host.leaked_handles() > 0 || Rc::strong_count(&hub.sessions) > 1 || !hub.open_ids().is_empty() {
            return Err("handles or sessions are left".to_owned());
        }
        Ok(digest)
    }
}

fn check_closed(actor: &Actor, notes: &Notes) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("peer {}: {what}: {notes:?}", actor.index));
    if notes.opened as usize != notes.closed.len() {
        return wrong("`closed` did not come once");
    }
    let Some(closed) = notes.closed.first() else { return Ok(()) };
    if closed.cause == Cause::Timeout(Timeout::Close) {
        let asked = notes.close_asked_at.map(|at| at + Duration::from_secs(5));
        if asked != notes.closed_at && !actor.lossy {
            return wrong("the closing handshake was not given 5 s");
        }
    }
    if actor.lossy {
        return Ok(());
    }
    let right = match actor.plan.ending {
        Ending::Close(_) | Ending::CloseEarly(_) => {
            closed.cause == Cause::Handshake && closed.initiator == Initiator::Peer
        }
        Ending::Closed => closed.cause == Cause::Handshake && closed.initiator == Initiator::Local,
        Ending::Ignore => closed.cause == Cause::Timeout(Timeout::Close),
        Ending::HalfClose => closed.cause == Cause::Eof,
        Ending::Violate(_) => matches!(closed.cause, Cause::Violation(_)),
        Ending::Silent => closed.cause == Cause::Timeout(Timeout::Keepalive),
        Ending::Reset | Ending::Drop | Ending::Http(_) => true,
    };
    if right { Ok(()) } else { wrong("it ended in another way") }
}
