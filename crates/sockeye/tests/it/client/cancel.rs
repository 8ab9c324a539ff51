//! Connects that are cut short at every instant of every stage: by their program, by a drain, by the end of the service.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sockeye::client::{Proxy, Reconnect};
use sockeye::protocol::ConnectionMut;
use sockeye::sim::{Faults, Listener, PeerEnd, Turn};
use sockeye::{CloseCode, ConnId, Connect, Limits, Service};
use sockeye_testing::client::{Bench, Notes, SECOND, Server, cause, frame, ip, to};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Cut {
    Close,
    Drain,
    Drop,
}

/// Where the way of a connect leads.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// A name, an address that refuses, one that is silent, one that answers.
    Plain,
    Http,
    Socks,
    /// The server refuses, and sends a long body.
    Refused,
    /// The server sends us elsewhere.
    Redirected,
    /// Nobody is there, and it is tried again.
    Again,
}

const WAYS: [Way; 6] = [Way::Plain, Way::Http, Way::Socks, Way::Refused, Way::Redirected, Way::Again];

/// What answers along the way.
struct Others {
    way: Way,
    listener: Listener,
    servers: Vec<(Server, usize)>,
}

impl Others {
    fn new(bench: &Bench, way: Way) -> Self {
        let list = ["10.0.0.7", "10.0.0.8", "10.0.0.1"].map(|address| address.parse().unwrap());
        bench.network.name("one.example", list);
        bench.network.silence(&ip("10.0.0.8:80"));
        Self { way, listener: bench.listen("10.0.0.1:80"), servers: Vec::new() }
    }

    fn connect(&self) -> Connect {
        let connect = to("ws://one.example/").redirects(2);
        match self.way {
            Way::Http => connect.proxy(Proxy::parse("http://one.example:80").unwrap()),
            Way::Socks => connect.proxy(Proxy::parse("socks5://me:pw@one.example:80").unwrap()),
            Way::Again => {
                let again = Reconnect::new().initial(Duration::from_millis(10));
                to("ws://10.0.0.7/").reconnect(again).unwrap()
            }
            _ => connect,
        }
    }

    fn act(&mut self) {
        self.servers.extend(Server::accept(&self.listener).map(|server| (server, 0)));
        for (server, step) in &mut self.servers {
            act(self.way, server, step);
        }
    }
}

fn act(way: Way, server: &mut Server, step: &mut usize) {
    server.pump();
    if server.is_open() {
        if !server.closes().is_empty() && *step < 100 {
            *step = 100;
            server.send(frame(0x88, &1000_u16.to_be_bytes()));
            server.peer.shutdown();
        }
        return;
    }
    let reply: &[u8] = match (way, *step) {
        (Way::Http, 0) if server.heard_head() => b"HTTP/1.1 200 OK\r\n\r\n",
        (Way::Socks, 0) if server.input.len() >= 4 => b"\x05\x02",
        (Way::Socks, 1) if !server.input.is_empty() => b"\x01\x00",
        (Way::Socks, 2) if !server.input.is_empty() => b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00",
        (Way::Refused, 0) if server.heard_head() => {
            server.send("HTTP/1.1 403 x\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n");
            &[b'x'; 900]
        }
        (Way::Redirected, 0) if server.heard_head() && server.head.starts_with("GET / ") => {
            b"HTTP/1.1 302 x\r\nLocation: /new\r\n\r\n"
        }
        (Way::Http | Way::Redirected, _) | (Way::Plain, 0) | (Way::Socks, 3..) => {
            if !server.head.starts_with("GET /new") && !server.heard_head() {
                return;
            }
            return server.open("");
        }
        _ => return,
    };
    server.send(reply);
    if matches!(way, Way::Socks) {
        server.input.clear();
    }
    *step += 1;
}

/// Runs the way up to a turn, cuts it there, and goes on until all is over. Says whether the way is longer than that.
fn cut_at(way: Way, cut: Cut, seed: u64, faults: &Faults, turn: usize) -> bool {
    let mut bench = Bench::with(seed, faults.clone(), Limits::default());
    let mut others = Others::new(&bench, way);
    let connect = others.connect();
    let mut id = bench.connect(&connect);
    let network = bench.network.clone();
    let mut turns = 0;
    network.run(|| {
        if turns == turn {
            return Turn::Done;
        }
        turns += 1;
        bench.turn();
        others.act();
        if let Some(retry) = bench.notes.retry(id) {
            id = retry.id;
        }
        if bench.notes.is_open(id) || bench.notes.is_over(id) {
            return Turn::Done;
        }
        Turn::Sleep(bench.service.next_deadline())
    });
    let goes_on = turns == turn && bench.time() < 4 * SECOND;
    let was_open = bench.notes.is_open(id);
    let was_over = bench.notes.is_over(id);
    match cut {
        Cut::Close => {
            let close = |mut connection: ConnectionMut<'_>| connection.close(CloseCode::NORMAL);
            assert_eq!(bench.service.control().connection(id).map(close).is_ok(), !was_over);
        }
        Cut::Drain => bench.service.drain(),
        Cut::Drop => {
            let notes = bench.drop_all();
            check(&notes, id, was_open, "dropped");
            // Who was connected learns it.
            network.advance(SECOND);
            assert!(others.servers.iter().all(|(server, _)| server.end().is_some()));
            return goes_on;
        }
    }
    if !was_open {
        // Nothing is left of it after one turn.
        assert!(
            was_over || bench.service.next_deadline().is_some_and(|at| at <= network.now()),
            "there is something to do"
        );
        bench.turn();
        assert_eq!(bench.host.open_handles(), 0, "{way:?} {seed} {turn}");
    }
    network.run(|| {
        bench.turn();
        others.act();
        if bench.service.connections() == 0 && (cut == Cut::Close || bench.drained) {
            return Turn::Done;
        }
        Turn::Sleep(if bench.drained { None } else { bench.service.next_deadline() })
    });
    if !was_over {
        check(&bench.notes, id, was_open, if cut == Cut::Close { "cancelled" } else { "dropped" });
    }
    let ended = |server: &Server| server.end().is_some_and(|end| !was_open || end == PeerEnd::Finished);
    network.advance(SECOND);
    assert!(others.servers.iter().all(|(server, _)| ended(server) || !server.is_open()), "{way:?} {seed} {turn}");
    bench.finish();
    goes_on
}

fn check(notes: &Notes, id: ConnId, was_open: bool, why: &str) {
    assert!(notes.is_over(id) && !notes.is_open(id));
    if was_open {
        assert!(notes.closed(id).is_some());
        assert_eq!(notes.closed(id).unwrap().1, None, "no attempt follows");
    } else if notes.closed(id).is_none() {
        let (seen, retry) = notes.failure(id, |failure| (cause(&failure.cause), failure.retry)).unwrap();
        assert!(retry.is_none() && (seen == why || seen.starts_with("refused")), "{seen}, not {why}");
    }
}

#[test]
fn at_every_instant_of_every_stage() {
    for way in WAYS {
        for cut in [Cut::Close, Cut::Drain, Cut::Drop] {
            for (seed, faults) in [(0, Faults::none()), (1, Faults::usual()), (2, Faults::usual().with_segment(40))] {
                let mut turn = 0;
                while cut_at(way, cut, seed, &faults, turn) {
                    turn += 1 + turn / 40;
                }
                assert!(turn > 3, "{way:?} took {turn} turns");
            }
        }
    }
}

/// An answer that comes after all is over meets nobody, even when the slot was given to another.
#[test]
fn a_name_that_is_known_too_late_is_nobodys() {
    let mut bench = Bench::with(3, Faults::none().with_latency(SECOND), Limits::default());
    bench.network.name("one.example", ["10.0.0.1".parse().unwrap()]);
    bench.network.name_stalls("slow.example");
    let first = bench.connect(&to("ws://one.example/"));
    bench.turn();
    bench.service.control().connection(first).unwrap().close(CloseCode::NORMAL);
    bench.turn();
    let second = bench.connect(&to("ws://slow.example/"));
    assert_eq!(bench.failed(second).1, "Resolve: timeout 3s");
    assert_eq!(bench.why(first), "Resolve: cancelled");
    assert_eq!((bench.host.calls().connect, bench.host.calls().resolve), (0, 2));
    bench.finish();
}

/// Closing in the callback in which it was wished for, before anything was done for it.
#[test]
fn wished_for_and_closed_in_one_breath() {
    let mut bench = Bench::new();
    let wished = Rc::new(RefCell::new(None));
    let kept = wished.clone();
    *bench.notes.in_failed.borrow_mut() = Some(Box::new(move |own, _, _| {
        if kept.borrow().is_none() {
            let id = own.connect(to("ws://10.0.0.9/"));
            assert!(!own.is_open(id));
            own.connection(id).unwrap().request_writable(); // has no effect before it is open
            own.connection(id).unwrap().close(CloseCode::NORMAL);
            *kept.borrow_mut() = Some(id);
        }
    }));
    let first = bench.connect(&to("ws://10.0.0.1/"));
    bench.failed(first);
    let id = wished.borrow().unwrap();
    bench.failed(id);
    assert_eq!(bench.why(id), "Resolve: cancelled");
    assert_eq!(bench.host.calls().connect, 1);
    bench.finish();
}

/// Callbacks come from the loop alone: none finds held what the program holds while it asks.
#[test]
fn no_callback_runs_inside_the_call_that_asks_for_an_end() {
    let ends: [fn(&mut Service, ConnId); 3] = [
        |service, id| service.control().connection(id).unwrap().close(CloseCode::NORMAL),
        |service, _| service.control().drain(),
        |service, _| service.drain(),
    ];
    for (index, end) in ends.into_iter().enumerate() {
        for turns in 0..3 {
            let mut bench = Bench::new();
            bench.network.name_stalls("slow.example");
            let state = Rc::new(RefCell::new(Vec::new()));
            let told = state.clone();
            *bench.notes.in_failed.borrow_mut() = Some(Box::new(move |_, id, _| told.borrow_mut().push(id)));
            let id = bench.connect(&to("ws://slow.example/"));
            (0..turns).for_each(|_| bench.turn());
            {
                let _held = state.borrow_mut();
                end(&mut bench.service, id);
                assert_eq!(bench.service.is_draining(), index > 0);
                assert!(
                    bench.service.next_deadline().is_some_and(|at| at <= bench.network.now()),
                    "it is to be done now"
                );
            }
            assert!(state.borrow().is_empty());
            bench.turn();
            assert_eq!(*state.borrow(), [id]);
            bench.drop_all();
        }
    }
}
