//! What held the loop up, and who is named for it. Callbacks let virtual time pass, so every duration is exact.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sockeye::http::{Response, Routes};
use sockeye::protocol::ProtocolMut;
use sockeye::service::AcceptedConnection;
use sockeye::sim::{Faults, Host, Network, Peer};
use sockeye::statistics::{Culprit, Stall, Stalls};
use sockeye::{
    Close, Closed, ClosedCx, ConnId, Connect, Cx, Decision, Failure, Fragment, Handshake, Limits, Protocol, Request,
    Service, Tx,
};
use sockeye_testing::server::upgrade;

const MILLI: Duration = Duration::from_millis(1);
const TEXT: &[u8] = b"\x81\x82\0\0\0\0hi";

/// What a callback does once: its name, how long it takes, and whether it computes.
type Planned = (&'static str, Duration, bool);

/// Its callbacks take as long as the test says.
#[derive(Clone)]
struct Slow {
    host: Host,
    network: Network,
    plan: Rc<RefCell<Vec<Planned>>>,
}

impl Slow {
    /// The next call of `callback` takes so long, and computes for all of it or waits.
    fn next(&self, callback: &'static str, time: Duration, computes: bool) {
        self.plan.borrow_mut().push((callback, time, computes));
    }

    fn pass(&self, callback: &str) {
        let mut plan = self.plan.borrow_mut();
        let Some(at) = plan.iter().position(|(planned, ..)| *planned == callback) else { return };
        let (_, time, computes) = plan.remove(at);
        if computes { self.host.compute(time) } else { self.network.advance(time) }
    }
}

impl Protocol for Slow {
    type Session = ();

    fn name(&self) -> &'static str {
        "slow"
    }

    fn filter(&mut self, _: &Request<'_>) -> Decision {
        self.pass("filter");
        Decision::accept()
    }

    fn open(&mut self, cx: &mut Cx<'_>, _: &Handshake<'_>) {
        cx.set_timer(Duration::from_secs(3));
        self.pass("open");
    }

    fn receive(&mut self, cx: &mut Cx<'_>, (): &mut (), _: Fragment<'_>) -> Result<(), Close> {
        cx.request_writable();
        self.pass("receive");
        Ok(())
    }

    fn writable(&mut self, _: &mut Cx<'_>, (): &mut (), _: Tx<'_>) -> Result<(), Close> {
        self.pass("writable");
        Ok(())
    }

    fn closed(&mut self, _: &mut ClosedCx<'_>, (): (), _: Closed) {
        self.pass("closed");
    }

    fn failed(&mut self, _: &mut ProtocolMut<'_>, _: ConnId, _: Failure) {
        self.pass("failed");
    }

    fn ping(&mut self, _: &mut Cx<'_>, (): &mut (), _: &[u8]) -> Result<(), Close> {
        self.pass("ping");
        Ok(())
    }

    fn pong(&mut self, _: &mut Cx<'_>, (): &mut (), _: &[u8]) -> Result<(), Close> {
        self.pass("pong");
        Ok(())
    }

    fn timer(&mut self, _: &mut Cx<'_>, (): &mut ()) -> Result<(), Close> {
        self.pass("timer");
        Ok(())
    }

    fn interval(&self) -> Option<Duration> {
        Some(Duration::from_secs(2))
    }

    fn tick(&mut self, _: &mut ProtocolMut<'_>) {
        self.pass("tick");
    }
}

struct Bench {
    slow: Slow,
    service: Service,
}

impl Bench {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let network = Network::with_faults(1, Faults::none());
        let host = network.host();
        let slow = Slow { host: host.clone(), network, plan: Rc::default() };
        let (handler, filter) = (slow.clone(), slow.clone());
        let routes = Routes::new().get("/", move |_| {
            handler.pass("handler");
            Response::text("x")
        });
        let admits = move |_: &AcceptedConnection<'_>| {
            filter.pass("accept");
            true
        };
        let builder = Service::builder().limits(limits).protocol(slow.clone()).routes(routes).filter(admits);
        let service = builder.listen("127.0.0.1:80").build_with(host.sys()).unwrap();
        Self { slow, service }
    }

    fn turn(&mut self) {
        self.service.run_once(Some(Duration::ZERO)).unwrap();
    }

    fn asking(&mut self, request: &[u8]) -> Peer {
        let peer = self.slow.network.connect(&self.service.local_addresses()[0]).unwrap();
        peer.send(request);
        (0..3).for_each(|_| self.turn());
        peer
    }

    fn open(&mut self) -> Peer {
        self.asking(&upgrade(""))
    }

    fn stalls(&self) -> &Stalls {
        &self.service.statistics().stalls
    }

    /// The only one, or the longest.
    fn worst(&self) -> &Stall {
        self.stalls().worst.as_ref().expect("a stall")
    }

    /// A stall, after which every step is measured.
    fn make_watchful(&mut self, peer: &Peer) {
        self.slow.next("receive", 101 * MILLI, true);
        peer.send(TEXT);
        self.turn();
        assert_eq!(self.stalls().count, 1);
    }
}

/// Whose duration and name must come out exactly, whatever happened before.
#[test]
fn rare_callbacks_are_always_named() {
    let took = 150 * MILLI + Duration::from_nanos(1);
    for (name, culprit, of_protocol) in [
        ("accept", Culprit::Accept, false),
        ("filter", Culprit::Filter, true),
        ("open", Culprit::Open, true),
        ("handler", Culprit::Handler, false),
        ("ping", Culprit::Ping, true),
        ("pong", Culprit::Pong, true),
        ("timer", Culprit::Timer, true),
        ("tick", Culprit::Tick, true),
        ("closed", Culprit::Closed, true),
        ("failed", Culprit::Failed, true),
    ] {
        let mut bench = Bench::new();
        bench.slow.next(name, took, true);
        let peer = bench.open();
        let _page = bench.asking(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        peer.send(b"\x89\x80\0\0\0\0\x8a\x80\0\0\0\0");
        bench.turn();
        bench.slow.network.advance(Duration::from_secs(4));
        bench.turn();
        drop(peer);
        bench.turn();
        let nowhere = Connect::new("ws://192.0.2.1/").unwrap();
        bench.service.control().protocol_named("slow").unwrap().connect(nowhere);
        (0..3).for_each(|_| bench.turn());
        let (stalls, worst) = (bench.stalls(), bench.worst());
        assert_eq!((stalls.count, stalls.total, worst.duration, worst.culprit), (1, took, took, culprit), "{name}");
        assert_eq!(worst.protocol.as_deref(), of_protocol.then_some("slow"), "{name}");
        let of_connection = of_protocol && name != "tick";
        assert_eq!(worst.connection.is_some(), of_connection, "{name}");
        assert_eq!((worst.computed, worst.is_asleep()), (Some(took), false));
        assert_eq!((stalls.longest_turn, stalls.busy), (took, took), "{name}");
    }
}

thread_local! {
    /// For jobs, which have to be `Send`, and run on this thread all the same.
    static HOST: RefCell<Option<Host>> = const { RefCell::new(None) };
}

#[test]
fn a_job_is_named() {
    let mut bench = Bench::new();
    bench.turn();
    HOST.set(Some(bench.slow.host.clone()));
    let compute = || HOST.with_borrow(|host| host.as_ref().expect("set above").compute(200 * MILLI));
    bench.service.remote().run(move |_| compute()).unwrap();
    bench.turn();
    assert_eq!((bench.worst().duration, bench.worst().culprit), (200 * MILLI, Culprit::Job));
}

#[test]
fn one_step_in_a_quiet_turn_is_named_by_its_connection() {
    let mut bench = Bench::new();
    let (_other, peer) = (bench.open(), bench.open());
    bench.slow.next("receive", 123 * MILLI, true);
    peer.send(TEXT);
    bench.turn();
    let worst = bench.worst().clone();
    assert_eq!((worst.duration, worst.culprit), (123 * MILLI, Culprit::Steps(1)));
    assert_eq!((worst.protocol.as_deref(), worst.connection.is_some()), (Some("slow"), true));
    assert!(worst.to_string().starts_with("123ms in a step of protocol slow, connection "), "{worst}");
}

#[test]
fn one_step_of_a_crowd_is_one_of_many_at_first_and_named_the_next_time() {
    for (callback, culprit) in [("receive", Culprit::Receive), ("writable", Culprit::Writable)] {
        let mut bench = Bench::new();
        let peers: Vec<_> = (0..100).map(|_| bench.open()).collect();
        bench.slow.next(callback, 150 * MILLI, true);
        peers.iter().for_each(|peer| peer.send(TEXT));
        bench.turn();
        let worst = bench.worst().clone();
        assert_eq!((worst.duration, worst.culprit), (150 * MILLI, Culprit::Steps(64)));
        assert_eq!((worst.protocol, worst.connection), (None, None));

        let took = 151 * MILLI + Duration::from_nanos(7);
        bench.slow.next(callback, took, true);
        peers[20].send(TEXT);
        peers[21].send(TEXT);
        bench.turn();
        let worst = bench.worst().clone();
        assert_eq!((worst.duration, worst.culprit, worst.protocol.as_deref()), (took, culprit, Some("slow")));
        assert!(worst.connection.is_some());
        assert_eq!((bench.stalls().count, bench.stalls().total), (2, 150 * MILLI + took));
    }
}

#[test]
fn each_callback_of_one_turn_is_measured_by_itself_while_the_loop_is_watchful() {
    let mut bench = Bench::new();
    let peer = bench.open();
    bench.make_watchful(&peer);
    // None of them is a stall, though the turn is one.
    bench.slow.next("receive", 60 * MILLI, true);
    bench.slow.next("writable", 70 * MILLI, true);
    peer.send(TEXT);
    bench.turn();
    let stalls = bench.stalls();
    assert_eq!((stalls.count, stalls.longest_turn), (2, 130 * MILLI));
    assert_eq!((bench.worst().culprit, bench.worst().duration), (Culprit::Turn, 130 * MILLI));
    assert_eq!(stalls.busy, 231 * MILLI);
}

#[test]
fn the_loop_is_watchful_for_a_second_and_twice_as_long_after_each_stall_without_a_name() {
    let mut bench = Bench::new();
    let peer = bench.open();
    for (count, seconds) in [1, 2, 4, 8, 16, 32, 64, 64].into_iter().enumerate() {
        let took = 200 * MILLI + (2 * count as u32) * MILLI;
        bench.slow.next("receive", took, true);
        peer.send(TEXT);
        bench.turn();
        assert_eq!((bench.worst().culprit, bench.worst().duration), (Culprit::Steps(1), took), "{seconds}");
        bench.slow.network.advance(Duration::from_secs(seconds) - MILLI);
        bench.turn();
        bench.slow.next("receive", took + MILLI, true);
        peer.send(TEXT);
        bench.turn();
        assert_eq!((bench.worst().culprit, bench.worst().duration), (Culprit::Receive, took + MILLI), "{seconds}");
        // A name adds a second.
        bench.slow.network.advance(Duration::from_secs(1));
        peer.send(b"\x8a\x80\0\0\0\0");
        bench.turn();
    }
}

#[test]
fn waiting_is_no_stall_and_neither_is_what_is_under_the_threshold() {
    let mut bench = Bench::new();
    let peer = bench.open();
    bench.slow.next("receive", 100 * MILLI - Duration::from_nanos(1), true);
    peer.send(TEXT);
    bench.turn();
    // Between turns, and in the wait of one.
    bench.slow.network.advance(Duration::from_secs(1));
    bench.service.run_once(Some(Duration::from_millis(700))).unwrap();
    bench.service.control().protocol_named("slow").unwrap().request_writable();
    bench.slow.network.advance(Duration::from_millis(500));
    bench.turn();
    assert_eq!((bench.stalls().count, bench.stalls().worst.clone()), (0, None));
    assert_eq!(bench.stalls().busy, 100 * MILLI - Duration::from_nanos(1));
}

#[test]
fn a_stopped_process_is_told_from_one_that_computes() {
    let mut bench = Bench::new();
    let peer = bench.open();
    bench.slow.next("receive", Duration::from_secs(5), false);
    peer.send(TEXT);
    bench.turn();
    let worst = bench.worst().clone();
    assert_eq!((worst.duration, worst.computed), (Duration::from_secs(5), Some(Duration::ZERO)));
    assert!(worst.is_asleep());
    assert!(worst.to_string().ends_with("the process was stopped"), "{worst}");
}

#[test]
fn without_a_threshold_nothing_is_measured() {
    let mut limits = Limits::default();
    limits.stall = None;
    let mut bench = Bench::with(limits);
    let peer = bench.open();
    bench.slow.next("receive", Duration::from_secs(5), true);
    peer.send(TEXT);
    bench.turn();
    assert_eq!(bench.stalls(), &Stalls::default());
}
