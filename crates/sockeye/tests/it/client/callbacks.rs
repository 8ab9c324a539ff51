//! Connects from inside callbacks and from other threads, and what else they wish for there.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use sockeye::sim::Faults;
use sockeye::{CloseCode, ConnId, Limits, Service};
use sockeye_testing::client::{Bench, NAME, Notes, Probe, SECOND, Server, ip, to};

/// A place for ids that callbacks come by.
type Ids = Rc<RefCell<Vec<ConnId>>>;

fn ids() -> (Ids, Ids) {
    let ids = Rc::default();
    (Rc::clone(&ids), ids)
}

#[test]
fn connects_are_wished_for_in_every_callback() {
    let mut bench = Bench::new();
    let listener = bench.listen("10.0.0.1:80");
    let (wished, ids) = ids();
    // Each callback asks for one, once.
    let wish = |wished: &Ids| {
        let (wished, once) = (wished.clone(), Cell::new(true));
        move |own: &mut sockeye::protocol::ProtocolMut<'_>, url: &str| {
            if once.replace(false) {
                wished.borrow_mut().push(own.connect(to(url)));
            }
        }
    };
    let (in_open, in_closed, in_failed, in_tick) = (wish(&wished), wish(&wished), wish(&wished), wish(&wished));
    *bench.notes.in_open.borrow_mut() = Some(Box::new(move |cx| in_open(&mut cx.own_protocol(), "ws://10.0.0.1/open")));
    *bench.notes.in_closed.borrow_mut() =
        Some(Box::new(move |cx, _| in_closed(&mut cx.own_protocol(), "ws://10.0.0.1/closed")));
    *bench.notes.in_failed.borrow_mut() = Some(Box::new(move |w, _, _| in_failed(w, "ws://10.0.0.1/failed")));
    *bench.notes.in_tick.borrow_mut() = Some(Box::new(move |own| in_tick(own, "ws://10.0.0.1/tick")));
    bench.connect(&to("ws://10.0.0.9/"));
    let mut servers: Vec<Server> = Vec::new();
    let mut closed = false;
    bench.until(|bench| {
        servers.extend(Server::accept(&listener));
        for server in &mut servers {
            if !server.is_open() && server.heard_head() {
                server.open("");
            }
        }
        // Failed, opened, and ticked: then one closes.
        if ids.borrow().len() == 3 && !closed {
            closed = true;
            servers[0].peer.reset();
        }
        ids.borrow().len() == 4 && ids.borrow().iter().filter(|id| bench.notes.is_open(**id)).count() == 3
    });
    let paths: Vec<&str> = servers.iter().map(|server| server.head.split(' ').nth(1).unwrap()).collect();
    assert_eq!(paths, ["/failed", "/open", "/tick", "/closed"]);
    drop(servers);
    bench.finish();
}

#[test]
fn a_connect_from_another_thread() {
    let mut bench = Bench::new();
    let remote = bench.service.remote();
    std::thread::spawn(move || {
        remote
            .run(|control| {
                assert!(control.protocol_named("nobody").is_err());
                control.protocol_named(NAME).unwrap().connect(to("ws://10.0.0.1/"));
            })
            .unwrap();
    })
    .join()
    .unwrap();
    bench.until(|bench| bench.notes.seen.borrow().len() == 1);
    let id = bench.notes.seen.borrow()[0].1;
    assert_eq!(bench.why(id), "Connect: connect 10.0.0.1:80 ConnectionRefused 1");
    bench.finish();
}

/// What the `failed` of one that was cancelled asks for is done like anything else.
#[test]
fn wishes_of_those_who_are_told_of_a_cancellation_are_not_lost() {
    let mut bench = Bench::new();
    bench.network.silence(&ip("10.0.0.1:80"));
    let (all, ids) = ids();
    *bench.notes.in_failed.borrow_mut() = Some(Box::new(move |own, _, _| {
        // Each that falls takes the next along.
        if let Some(next) = ids.borrow_mut().pop() {
            own.connection(next).unwrap().close(CloseCode::NORMAL);
        }
    }));
    for _ in 0..5 {
        let id = bench.connect(&to("ws://10.0.0.1/"));
        all.borrow_mut().push(id);
    }
    let tick = bench.connect(&to("ws://10.0.0.9/"));
    bench.failed(tick);
    bench.until(|bench| bench.service.connections() == 0);
    assert_eq!(bench.time(), Duration::ZERO);
    bench.finish();
}

/// `connections` counts those that are on their way, and what is over gives its place back.
#[test]
fn there_is_no_room() {
    let mut limits = Limits::default();
    limits.connections = Some(2);
    let mut bench = Bench::with(1, Faults::none(), limits);
    bench.network.name_stalls("slow.example");
    let [first, second, third] = [(); 3].map(|()| bench.connect(&to("ws://slow.example/")));
    let (took, why) = bench.failed(third);
    assert_eq!((took, &*why), (Duration::ZERO, "Connect: no room 2"));
    assert!(bench.notes.failure(third, sockeye::Failure::is_transient).unwrap());
    bench.service.control().connection(first).unwrap().close(CloseCode::NORMAL);
    let fourth = bench.connect(&to("ws://10.0.0.9/"));
    assert_eq!(bench.failed(fourth).1, "Connect: connect 10.0.0.9:80 ConnectionRefused 1");
    assert_eq!(bench.failed(second), (3 * SECOND, "Resolve: timeout 3s".to_owned()));
    bench.finish();
}

/// A bound for each address is one for those who come from there, not for where we go to.
#[test]
fn connections_of_our_own_are_not_counted_by_address() {
    use sockeye::sim::{Network, PeerEnd, Turn};
    let network = Network::with_faults(1, Faults::none());
    let notes = Rc::new(Notes::default());
    let mut limits = Limits::default();
    limits.connections_per_address = Some(1);
    let probe = Probe { notes: notes.clone(), interval: None };
    let mut service =
        Service::builder().limits(limits).protocol(probe).listen("127.0.0.1:81").build_with(network.sys()).unwrap();
    let listener = network.listen(&ip("127.0.0.1:80"));
    let guest = network.connect(&ip("127.0.0.1:81")).unwrap();
    let id = service.control().protocol_named(NAME).unwrap().connect(to("ws://127.0.0.1/"));
    let mut server: Option<Server> = None;
    let mut second = None;
    network.run(|| {
        service.run_once(Some(Duration::ZERO)).unwrap();
        server = server.take().or_else(|| Server::accept(&listener));
        if let Some(server) = &mut server {
            if !server.is_open() && server.heard_head() {
                server.open("");
                server.peer.shutdown();
            }
        }
        if notes.is_over(id) && second.is_none() {
            second = Some(network.connect(&ip("127.0.0.1:81")).unwrap());
        }
        if second.as_ref().is_some_and(|second| second.end().is_some()) { Turn::Done } else { Turn::Sleep(None) }
    });
    assert_eq!((second.unwrap().end(), guest.end()), (Some(PeerEnd::Reset), None));
    drop(service);
    assert_eq!(network.open_handles(), 0);
}

/// A program that answers every failure with the next connect does not keep its service from its end.
#[test]
fn a_drain_ends_though_a_program_never_gives_up() {
    let mut bench = Bench::new();
    bench.network.name_stalls("slow.example");
    *bench.notes.in_failed.borrow_mut() = Some(Box::new(|own, _, _| _ = own.connect(to("ws://slow.example/"))));
    bench.connect(&to("ws://slow.example/"));
    bench.pass(10 * SECOND);
    bench.service.drain();
    assert_eq!(bench.until(|bench| bench.drained), Duration::ZERO);
    bench.drop_all();
}
