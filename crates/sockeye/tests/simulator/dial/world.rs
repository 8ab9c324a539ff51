//! One seed: the services, those who answer them, and what must be true of them.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use sockeye::client::{Proxy, Reconnect, Timeouts};
use sockeye::proto::close::{Cause, Initiator};
use sockeye::proto::time::Instant;
use sockeye::service::ServiceState;
use sockeye::sim::{Fault, Faults, Host, Network, Outcome, Turn};
use sockeye::sys::Address;
use sockeye::{CloseCode, ConnId, Connect, Service, messages};
use sockeye_testing::client::{NAME, Notes, Probe, cause};
use sockeye_testing::outer::{Outer, Table};
use sockeye_testing::rng::Rng;

use super::super::plan::{self, Way};
use super::others::Stage;
use super::{Act, Body, Cut, Dial, Plan, Target, messages as said};

/// What each stage may take, and everything together.
const STAGE: Duration = Duration::from_secs(5);
const ALL: Duration = Duration::from_secs(8);
/// Without anything happening on an open connection that waits for something.
const PATIENCE: Duration = Duration::from_secs(15);
/// Turns in which nothing happens, not even time.
const SPIN: usize = 20;

struct World {
    network: Network,
    services: Vec<Place>,
    calls: Vec<Call>,
    stages: Vec<Option<Stage>>,
    cuts: Vec<(Duration, Cut)>,
    start: Instant,
    chaos: bool,
    verbose: bool,
}

struct Place {
    host: Host,
    /// None: it was dropped.
    service: Option<Service>,
    /// The loop outside, if there is one, and what it watches.
    outer: Option<Outer>,
    watched: Table,
    notes: Rc<Notes>,
    drained: bool,
    /// Connects that callbacks wished for.
    wished: Rc<RefCell<Vec<ConnId>>>,
    happened: ((Instant, u64), usize),
}

/// A connect, and how far it is.
struct Call {
    dial: Dial,
    connect: Connect,
    /// One for each attempt.
    ids: Vec<ConnId>,
    /// When the present one begins.
    begins: Instant,
    /// What came of it, and when.
    progress: (usize, Instant),
    asked_to_close: bool,
    done: bool,
}

/// Runs a seed in all ways and compares what it came to, unless connections are lost. The error tells what went wrong.
pub(crate) fn run_seed(seed: u64, planted: Option<Fault>, verbose: bool) -> Result<(), String> {
    let plan = Plan::new(seed);
    let faults = |cut| match planted {
        Some(fault) => plan::faults(plan.chaos, cut).with(fault, 1).with(Fault::Spurious, 0),
        None => plan::faults(plan.chaos, cut),
    };
    if verbose {
        println!("{plan:#?}");
    }
    let first = run_plan(&plan, Way::inside(seed), faults(seed), verbose)?;
    let mut others = vec![Way::scrambled(seed, false)];
    // Every other seed also runs in loops outside. Edges are not reported to those, so none can be lost.
    if planted.is_none() && seed % 2 == 0 {
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
        let mut world = World::new(plan, way, faults.clone(), verbose);
        let trace = verbose.then(|| world.network.trace());
        let result = world.run().and_then(|()| world.check());
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
    fn new(plan: &Plan, way: Way, faults: Faults, verbose: bool) -> Self {
        let Way { cut, outside, scrambled } = way;
        let network = Network::with_faults(cut, faults.clone().with(Fault::RegisterFailed, 0));
        let loops = |number| outside.then_some(cut + number as u64);
        let services: Vec<Place> =
            (0..plan.services).map(|number| Place::new(&network, plan, number, loops(number), scrambled)).collect();
        network.set_faults(faults);
        for number in 0..plan.services {
            let service = format!("10.0.0.{}", number + 1);
            let several = ["10.0.9.1", "10.0.9.2", &service].map(|address| address.parse().unwrap());
            network.name(&format!("several{number}.example"), several);
        }
        network.silence(&ip("10.0.9.2:80"));
        network.unreachable(&ip("10.0.9.3:80"));
        network.name_fails("fails.example");
        network.name_stalls("stalls.example");
        let start = network.now();
        let calls = plan.dials.iter().enumerate().map(|(at, dial)| Call::new(at, dial, start)).collect();
        let stage = |(at, dial): (usize, &Dial)| match dial.target {
            Target::Written(act) => Some(Stage::new(&network, &format!("10.0.1.{at}:80"), act, scrambled)),
            _ => None,
        };
        let stages = plan.dials.iter().enumerate().map(stage).collect();
        let mut cuts = plan.cuts.clone();
        cuts.sort_by_key(|(at, _)| *at);
        Self { network, services, calls, stages, cuts, start, chaos: plan.chaos, verbose }
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
            let open = self.calls.iter().filter(|call| !call.done).map(|call| (&call.dial.target, &call.ids));
            return Err(format!(
                "stalled: nothing will happen, and these are not done: {:?}",
                open.collect::<Vec<_>>()
            ));
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<Turn, String> {
        let now = self.network.now();
        let mut again = false;
        for place in &mut self.services {
            again |= place.turn(now)?;
        }
        self.cut(now);
        for call in &mut self.calls {
            call.act(&mut self.services, now, self.chaos, self.verbose)?;
        }
        self.stages.iter_mut().flatten().for_each(Stage::act);
        let is_idle = |place: &Place| place.service.as_ref().is_none_or(|service| service.connections() == 0);
        let wished = |place: &Place| place.wished.borrow().iter().all(|id| place.notes.is_over(*id) || place.drained);
        let stages_are_empty = self.stages.iter().flatten().all(Stage::is_empty);
        if self.calls.iter().all(|call| call.done) && self.services.iter().all(is_idle) && stages_are_empty {
            if let Some(place) = self.services.iter().find(|place| place.service.is_some() && !wished(place)) {
                return Err(format!("a connect has no outcome: {:?}", place.wished));
            }
            return Ok(Turn::Done);
        }
        if again {
            return Ok(Turn::Busy);
        }
        let own = self.services.iter().filter(|place| !place.drained).filter_map(|place| place.service.as_ref());
        let own = own.filter_map(Service::next_deadline);
        let starts = self.calls.iter().filter(|call| call.ids.is_empty() && !call.done).map(|call| call.begins);
        let patience = self.calls.iter().filter(|call| !call.done).map(|call| call.progress.1 + PATIENCE);
        let cuts = self.cuts.first().map(|(at, _)| self.start + *at);
        Ok(Turn::Sleep(own.chain(starts).chain(patience.filter(|at| *at > now)).chain(cuts).min()))
    }

    /// What ends things before their time.
    fn cut(&mut self, now: Instant) {
        while self.cuts.first().is_some_and(|(at, _)| self.start + *at <= now) {
            match self.cuts.remove(0).1 {
                Cut::Close(at) => {
                    let call = &self.calls[at];
                    let place = &mut self.services[call.dial.from];
                    if let (Some(service), Some(id)) = (&mut place.service, call.ids.last()) {
                        let is_over = place.notes.is_over(*id);
                        let closed =
                            service.control().connection(*id).map(|mut connection| connection.close(CloseCode::NORMAL));
                        assert!(closed.is_ok() != is_over, "closing it says {closed:?}");
                    }
                }
                Cut::Drain(at) => self.services[at].service.iter_mut().for_each(Service::drain),
                Cut::Drop(at) => {
                    let place = &mut self.services[at];
                    place.service = None;
                    assert_eq!((place.host.open_handles(), place.host.leaked_handles()), (0, 0), "left by a drop");
                    assert_eq!(Rc::strong_count(&place.notes.sessions), 1, "a session is left by a drop");
                    assert!(place.watched.is_empty(), "the loop outside still watches something");
                }
            }
        }
    }

    /// After all is over: nothing is left, and everybody saw what they should have.
    fn check(self) -> Result<Vec<String>, String> {
        let digests =
            self.calls.iter().map(|call| call.digest(&self.services[call.dial.from].notes)).collect::<Vec<_>>();
        for (call, digest) in self.calls.iter().zip(&digests).filter(|_| !self.chaos) {
            let attempts = call.dial.attempts.filter(|_| call.is_tried_again()).unwrap_or(1);
            if digest.matches(&call.expected()).count() != attempts as usize || call.ids.len() != attempts as usize {
                return Err(format!("{digest}, and not {attempts} times {}", call.expected()));
            }
        }
        for place in &self.services {
            let Some(_) = &place.service else { continue };
            let expected = usize::from(!place.drained);
            if place.host.open_handles() != expected {
                return Err(format!("{} handles are open, and {expected} should be", place.host.open_handles()));
            }
            if Rc::strong_count(&place.notes.sessions) > 1 {
                return Err("sessions are left".to_owned());
            }
        }
        let hosts: Vec<Host> = self.services.iter().map(|place| place.host.clone()).collect();
        drop(self);
        if hosts.iter().any(|host| host.leaked_handles() > 0) { Err("leaked".to_owned()) } else { Ok(digests) }
    }
}

impl Place {
    fn new(network: &Network, plan: &Plan, number: usize, outside: Option<u64>, scrambled: Option<u64>) -> Self {
        let host = network.host();
        let notes = Rc::new(Notes::default());
        let wished = Rc::new(RefCell::new(Vec::new()));
        if plan.chaos {
            let (wished, rng) = (wished.clone(), RefCell::new(Rng::new(number as u64)));
            *notes.in_failed.borrow_mut() = Some(Box::new(move |own, _, failure| {
                let chance = rng.borrow_mut().of(0..10);
                if wished.borrow().len() < 5 && chance < 3 {
                    let id = own.connect(connect("ws://10.0.9.1/"));
                    wished.borrow_mut().push(id);
                    if chance == 0 {
                        own.connection(id).expect("it has no outcome yet").close(CloseCode::NORMAL);
                    }
                }
                if let (4, Some(retry)) = (chance, failure.retry) {
                    own.connection(retry.id).expect("it has no outcome yet").close(CloseCode::NORMAL);
                }
            }));
        }
        let mut builder = Service::builder()
            .limits(plan.limits.clone())
            .compression(plan.compressions[number])
            .protocol(messages::echo("echo"))
            .protocol(Probe { notes: notes.clone(), interval: None })
            .listen(ip(&format!("10.0.0.{}:80", number + 1)));
        if let Some(seed) = scrambled {
            builder = builder.scrambled(seed);
        }
        let watched = Table::default();
        let service = match outside {
            Some(_) => builder.build_external_with(host.sys(), watched.clone()),
            None => builder.build_with(host.sys()),
        };
        let outer = outside.map(|seed| Outer::new(watched.clone(), seed));
        let happened = ((network.now(), 0), 0);
        let service = Some(service.expect("a service"));
        Self { host, service, outer, watched, notes, drained: false, wished, happened }
    }

    /// Whether there is something that the loop outside must look at once more.
    fn turn(&mut self, now: Instant) -> Result<bool, String> {
        let Some(service) = self.service.as_mut().filter(|_| !self.drained) else { return Ok(false) };
        let mut again = false;
        if let Some(outer) = &mut self.outer {
            let turned = outer.turn(service, &self.host, &|| ())?;
            (self.drained, again) = (turned.drained, turned.again);
        } else {
            let progress = service.run_once(Some(Duration::ZERO)).map_err(|error| error.to_string())?;
            self.drained = progress == ServiceState::Drained;
        }
        // A loop that goes round without anything to do.
        let calls = self.host.calls();
        let seen = self.notes.seen.borrow().len() as u64;
        let happened = (now, calls.recv + calls.send + calls.accept + calls.close + calls.connect + seen);
        self.happened = if self.happened.0 == happened { (happened, self.happened.1 + 1) } else { (happened, 0) };
        if service.next_deadline().is_none_or(|next| next > now) {
            self.happened.1 = 0;
        }
        if self.happened.1 > SPIN { Err(format!("the loop spins at {now:?}")) } else { Ok(again) }
    }
}

fn ip(address: &str) -> Address {
    Address::Ip(address.parse().unwrap())
}

fn connect(url: &str) -> Connect {
    let mut timeouts = Timeouts::default();
    (timeouts.resolve, timeouts.connect, timeouts.proxy, timeouts.handshake) = (STAGE, STAGE, STAGE, STAGE);
    Connect::new(url).unwrap().timeouts(timeouts).and_then(|connect| connect.timeout(ALL)).unwrap()
}

impl Call {
    fn new(at: usize, dial: &Dial, start: Instant) -> Self {
        let written = format!("10.0.1.{at}:80");
        let proxied =
            |kind: &str| connect("ws://far.example/").proxy(Proxy::parse(&format!("{kind}{written}")).unwrap());
        let connect = match dial.target {
            Target::Service(number) => connect(&format!("ws://10.0.0.{}/", number + 1)).subprotocol("echo").unwrap(),
            Target::Several(number) => connect(&format!("ws://several{number}.example/")).subprotocol("echo").unwrap(),
            Target::Written(Act::Http | Act::HttpRefuses | Act::HttpSilent) => proxied("http://"),
            Target::Written(Act::Socks | Act::SocksRefuses) => proxied("socks5://"),
            Target::Written(_) => connect(&format!("ws://{written}/")),
            Target::Refused => connect("ws://10.0.9.1/"),
            Target::Silent => connect("ws://10.0.9.2/"),
            Target::Unreachable => connect("ws://10.0.9.3/"),
            Target::NameFails => connect("ws://fails.example/"),
            Target::NameStalls => connect("ws://stalls.example/"),
            Target::NameUnknown => connect("ws://unknown.example/"),
            Target::Secure => connect("wss://10.0.9.1/"),
        };
        let mut connect = connect.redirects(dial.redirects);
        if let Some(attempts) = dial.attempts {
            let policy = Reconnect::new().initial(Duration::from_millis(10)).jitter(0.0).attempts(Some(attempts));
            connect = connect.reconnect(policy).unwrap();
        }
        let begins = start + dial.start;
        let progress = (0, begins);
        Self { dial: dial.clone(), connect, ids: Vec::new(), begins, progress, asked_to_close: false, done: false }
    }

    fn act(&mut self, places: &mut [Place], now: Instant, chaos: bool, verbose: bool) -> Result<(), String> {
        let place = &mut places[self.dial.from];
        if self.done {
            return Ok(());
        }
        if self.ids.is_empty() {
            return self.begin(place, now);
        }
        let id = self.ids[self.ids.len() - 1];
        if place.notes.is_over(id) {
            let retry = place.notes.retry(id);
            if verbose {
                println!("{:>14} {:?} {id} is over, next {retry:?}", now.as_nanos(), self.dial.target);
            }
            let Some(retry) = retry else {
                self.done = true;
                return Ok(());
            };
            self.ids.push(retry.id);
            (self.begins, self.asked_to_close) = (now + retry.after, false);
            self.progress = (0, self.begins);
            self.prepare(place, retry.id);
            return Ok(());
        }
        let Some(service) = &mut place.service else {
            return Err(format!("{:?} {id} has no outcome after its service", self.dial.target));
        };
        if !place.notes.is_open(id) {
            let late = now > self.begins + ALL;
            return if late { Err(format!("{:?} {id} has no outcome in time", self.dial.target)) } else { Ok(()) };
        }
        let got = place.notes.seen.borrow().iter().filter(|(_, of, _)| *of == id).count();
        if got != self.progress.0 {
            self.progress = (got, now);
        }
        let heard = place.notes.messages(id);
        // Who closes first where both do is chance.
        let ours = !matches!(self.dial.target, Target::Written(Act::Closes | Act::Breaks));
        if ours && !self.asked_to_close && heard.last().is_some_and(|(_, payload)| payload == b"last") {
            self.asked_to_close = true;
            self.progress.1 = now;
            service
                .control()
                .connection(id)
                .map(|mut connection| connection.close(CloseCode::NORMAL))
                .map_err(|_| "it is open and gone")?;
        }
        // A peer that breaks its end without a word is noticed by its silence.
        if !chaos && now > self.progress.1 + PATIENCE {
            return Err(format!("{:?} {id} is stalled with {} of its messages", self.dial.target, heard.len()));
        }
        Ok(())
    }

    fn begin(&mut self, place: &mut Place, now: Instant) -> Result<(), String> {
        if self.begins > now {
            return Ok(());
        }
        let Some(service) = place.service.as_mut().filter(|_| !place.drained) else {
            self.done = true;
            return Ok(());
        };
        let id = service
            .control()
            .protocol_named(NAME)
            .map(|mut protocol| protocol.connect(self.connect.clone()))
            .map_err(|error| error.to_string())?;
        self.ids.push(id);
        self.prepare(place, id);
        Ok(())
    }

    fn prepare(&self, place: &Place, id: ConnId) {
        place.notes.queues.borrow_mut().insert(id, self.dial.says.clone().into());
    }

    /// What each attempt comes to when nothing is lost.
    fn expected(&self) -> String {
        let (redirects, attempts) = (self.dial.redirects > 0, self.dial.attempts);
        let good = "(open, Handshake Local true)".to_owned();
        let refused = |status: u16, body: &str| format!("(Handshake: refused {status} {body})");
        match self.dial.target {
            Target::Service(_) | Target::Several(_) => good,
            Target::Refused => "(Connect: connect 10.0.9.1:80 ConnectionRefused 1)".to_owned(),
            Target::Silent => "(Connect: timeout 5s)".to_owned(),
            Target::Unreachable => "(Connect: connect 10.0.9.3:80 HostUnreachable 1)".to_owned(),
            Target::NameFails => "(Resolve: resolve fails.example Other)".to_owned(),
            Target::NameStalls => "(Resolve: timeout 5s)".to_owned(),
            Target::NameUnknown => "(Resolve: resolve unknown.example NotFound)".to_owned(),
            Target::Secure => "(Connect: unsupported)".to_owned(),
            Target::Written(act) => match act {
                Act::Echo | Act::Early | Act::Http | Act::Socks => good,
                Act::Redirect if redirects => good,
                Act::Redirect => refused(302, "moved"),
                Act::HttpRefuses => "(Proxy: proxy refused 407 no!)".to_owned(),
                Act::SocksRefuses => "(Proxy: proxy SocksReply(2))".to_owned(),
                Act::HttpSilent => "(Proxy: timeout 5s)".to_owned(),
                Act::Refuse(status, Body::Long) => format!("(Handshake: refused {status} no!no!"),
                Act::Refuse(status, Body::Stalled) => refused(status, "no! cut"),
                Act::Refuse(status, _) => refused(status, "no!"),
                Act::Wrong => "(Handshake: rule Accept)".to_owned(),
                Act::NoHttp => "(Handshake: rule Head".to_owned(),
                Act::Silent | Act::Half => "(Handshake: timeout 5s)".to_owned(),
                Act::Ends | Act::Resets => "(Handshake: lost)".to_owned(),
                Act::Closes => "(open, Handshake Peer ".to_owned(),
                // Its messages may be under way still, so that it is not sure who of the two notices what first.
                Act::Breaks if attempts.is_none() => "(open, lost)".to_owned(),
                Act::Breaks => "(open, ".to_owned(),
            },
        }
    }

    /// Whether that is a reason to try again.
    fn is_tried_again(&self) -> bool {
        match self.dial.target {
            Target::Service(_) | Target::Several(_) | Target::Secure => false,
            Target::Written(act) => match act {
                Act::Refuse(status, _) => matches!(status, 429 | 500 | 503),
                Act::HttpSilent | Act::Silent | Act::Half | Act::Ends | Act::Resets | Act::Closes | Act::Breaks => true,
                _ => false,
            },
            _ => true,
        }
    }

    /// What must be the same on every network.
    fn digest(&self, notes: &Notes) -> String {
        let mut story = format!("{:?}:", self.dial.target);
        let sent = said(&self.dial.says);
        for id in &self.ids {
            let Some((closed, _)) = notes.closed(*id) else {
                let why = notes.failure(*id, |failure| format!("{:?}: {:.80}", failure.stage, cause(&failure.cause)));
                // Which call it is that meets a reset is chance.
                let why = why.unwrap_or_default().replace("io ConnectionReset", "lost").replace("ended", "lost");
                story.push_str(&format!(" ({why})"));
                continue;
            };
            let mut heard = notes.messages(*id);
            if self.dial.target == Target::Written(Act::Early) && !heard.is_empty() {
                assert_eq!(heard.remove(0).1, b"early");
            }
            assert!(sent.starts_with(&heard), "what was heard is not what was said");
            let whole = heard.len() == sent.len();
            let end = match closed.cause {
                Cause::Reset | Cause::Eof => "lost".to_owned(),
                other => format!("{other:?} {:?} {whole}", closed.initiator),
            };
            let good = closed.cause == Cause::Handshake && closed.initiator == Initiator::Local;
            assert!(!good || whole || !self.asked_to_close, "it was closed before all was heard");
            story.push_str(&format!(" (open, {end})"));
        }
        story
    }
}
