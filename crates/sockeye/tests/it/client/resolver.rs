//! Hosts that the program looks up itself.

use std::cell::RefCell;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use sockeye::client::{Lookup, Proxy, RawConnect, Resolution};
use sockeye::sys::Address;
use sockeye::{CloseCode, Commands, ConnId, Remote};
use sockeye_testing::client::{Bench, SECOND, ip, to};
use sockeye_testing::raw::{NAME, Note, both_with};

/// What it was asked, and what it is to answer.
#[derive(Clone, Default)]
struct Names {
    asked: Rc<RefCell<Vec<(ConnId, String, u16)>>>,
    answers: Rc<RefCell<Vec<Answer>>>,
}

type Answer = Box<dyn FnOnce(&mut Commands, &Lookup<'_>) -> Resolution>;

impl Names {
    fn bench(&self) -> Bench {
        let Self { asked, answers } = self.clone();
        Bench::described(|builder| {
            builder.resolver(move |commands, lookup| {
                asked.borrow_mut().push((lookup.id(), lookup.host().to_owned(), lookup.port()));
                let answer = answers.borrow_mut().remove(0);
                answer(commands, lookup)
            })
        })
    }

    fn answers(&self, answer: impl FnOnce(&mut Commands, &Lookup<'_>) -> Resolution + 'static) {
        self.answers.borrow_mut().push(Box::new(answer));
    }
}

fn at(address: &str) -> Resolution {
    Resolution::addresses([ip(address)])
}

#[test]
fn an_answer_at_once_may_name_another_port() {
    let names = Names::default();
    let mut bench = names.bench();
    let listener = bench.listen("10.0.0.5:8000");
    names.answers(|_, _| Resolution::addresses([ip("10.0.0.4:1"), ip("10.0.0.5:8000")]));
    let (id, mut server) = bench.open(&to("ws://Example.com/"), &listener);
    assert_eq!(*names.asked.borrow(), [(id, "example.com".to_owned(), 80)]);
    assert_eq!(bench.host.calls().resolve, 0);
    assert!(server.head.contains("\r\nHost: example.com\r\n"));
    server.pump();
    drop(server);
    bench.finish();
}

#[test]
fn addresses_are_not_asked_for() {
    let names = Names::default();
    let mut bench = names.bench();
    let id = bench.connect(&to("ws://10.0.0.1/"));
    assert_eq!(bench.failed(id).1, "Connect: connect 10.0.0.1:80 ConnectionRefused 1");
    assert!(names.asked.borrow().is_empty());
    bench.finish();
}

#[test]
fn an_answer_may_come_later_and_once() {
    let names = Names::default();
    let mut bench = names.bench();
    let listener = bench.listen("10.0.0.5:80");
    names.answers(|_, _| Resolution::later());
    let id = bench.connect(&to("ws://example.com/"));
    assert!(bench.service.control().resolve(id, at("10.0.0.5:80")).is_err(), "nobody has asked yet");
    bench.pass(2 * SECOND);
    assert_eq!(bench.service.control().resolve(id, Resolution::later()), Ok(()));
    assert_eq!(bench.service.control().resolve(id, at("10.0.0.5:80")), Ok(()));
    assert!(bench.service.control().resolve(id, at("10.0.0.6:80")).is_err());
    assert!(bench.service.has_pending_work());
    let mut server = bench.asked(&listener);
    assert_eq!(bench.time(), 2 * SECOND);
    server.open("");
    bench.until(|bench| bench.notes.is_open(id));
    assert!(bench.service.control().resolve(id, at("10.0.0.6:80")).is_err());
    drop(server);
    bench.finish();
}

#[test]
fn the_time_of_the_look_up_is_bounded() {
    let names = Names::default();
    let mut bench = names.bench();
    names.answers(|_, _| Resolution::later());
    let id = bench.connect(&to("ws://example.com/"));
    assert_eq!(bench.failed(id), (3 * SECOND, "Resolve: timeout 3s".to_owned()));
    assert!(bench.service.control().resolve(id, at("10.0.0.5:80")).is_err());
    // In the moment before.
    names.answers(|_, _| Resolution::later());
    let id = bench.connect(&to("ws://example.com/"));
    bench.pass(3 * SECOND - Duration::from_nanos(1));
    bench.service.control().resolve(id, at("10.0.0.5:80")).unwrap();
    assert_eq!(bench.failed(id).1, "Connect: connect 10.0.0.5:80 ConnectionRefused 1");
    bench.finish();
}

#[test]
fn a_connect_that_is_cancelled_takes_no_answer() {
    let names = Names::default();
    let mut bench = names.bench();
    names.answers(|_, _| Resolution::later());
    let id = bench.connect(&to("ws://example.com/"));
    bench.turn();
    bench.service.control().connection(id).unwrap().close(CloseCode::NORMAL);
    assert_eq!(bench.failed(id), (Duration::ZERO, "Resolve: cancelled".to_owned()));
    assert!(bench.service.control().resolve(id, at("10.0.0.5:80")).is_err());
    // The answer first, the end right behind it.
    names.answers(|_, _| Resolution::later());
    let id = bench.connect(&to("ws://example.com/"));
    bench.turn();
    bench.service.control().resolve(id, at("10.0.0.5:80")).unwrap();
    bench.service.control().connection(id).unwrap().abort();
    assert_eq!(bench.failed(id).1, "Resolve: cancelled");
    // The service ends.
    names.answers(|_, _| Resolution::later());
    let id = bench.connect(&to("ws://example.com/"));
    bench.turn();
    bench.service.drain();
    assert_eq!(bench.failed(id).1, "Resolve: dropped");
    assert!(bench.service.control().resolve(id, at("10.0.0.5:80")).is_err());
    bench.finish();
}

#[test]
fn failures_are_the_programs_own() {
    let names = Names::default();
    let mut bench = names.bench();
    names.answers(|_, _| Resolution::error(io::ErrorKind::TimedOut.into()));
    names.answers(|_, _| Resolution::addresses([]));
    for why in ["TimedOut", "NotFound"] {
        let id = bench.connect(&to("ws://example.com/"));
        assert_eq!(bench.failed(id).1, format!("Resolve: resolve example.com {why}"));
    }
    names.answers(|_, _| Resolution::later());
    let id = bench.connect(&to("ws://example.com/"));
    bench.turn();
    bench.service.control().resolve(id, Resolution::error(io::Error::other("no agent"))).unwrap();
    assert_eq!(bench.failed(id).1, "Resolve: resolve example.com Other");
    bench.finish();
}

#[test]
fn not_more_addresses_are_tried_than_there_may_be() {
    let names = Names::default();
    let mut bench = names.bench();
    names.answers(|_, _| Resolution::addresses((1..).map(|port| Address::Ip(([10, 0, 0, 1], port).into()))));
    let id = bench.connect(&to("ws://example.com/"));
    assert_eq!(bench.failed(id).1, "Connect: connect 10.0.0.1:64 ConnectionRefused 64");
    bench.finish();
}

#[test]
fn what_it_does_not_know_is_asked_of_the_system() {
    let names = Names::default();
    let mut bench = names.bench();
    bench.network.name("example.com", [[10, 0, 0, 5].into()]);
    bench.network.name_stalls("stalls");
    names.answers(|_, _| Resolution::system());
    let id = bench.connect(&to("ws://example.com/"));
    assert_eq!(bench.failed(id).1, "Connect: connect 10.0.0.5:80 ConnectionRefused 1");
    names.answers(|_, _| Resolution::later());
    let id = bench.connect(&to("ws://example.com/"));
    bench.pass(SECOND);
    bench.service.control().resolve(id, Resolution::system()).unwrap();
    assert_eq!(bench.failed(id).1, "Connect: connect 10.0.0.5:80 ConnectionRefused 1");
    // The time goes on from the first question.
    names.answers(|_, _| Resolution::later());
    let id = bench.connect(&to("ws://stalls/"));
    bench.pass(SECOND);
    bench.service.control().resolve(id, Resolution::system()).unwrap();
    assert_eq!(bench.failed(id), (2 * SECOND, "Resolve: timeout 3s".to_owned()));
    assert_eq!(bench.host.calls().resolve, 3);
    bench.finish();
}

#[test]
fn it_may_answer_before_it_returns() {
    let names = Names::default();
    let mut bench = names.bench();
    names.answers(|commands, lookup| {
        commands.resolve(lookup.id(), at("10.0.0.5:80")).unwrap();
        Resolution::later()
    });
    let id = bench.connect(&to("ws://example.com/"));
    assert_eq!(bench.failed(id), (Duration::ZERO, "Connect: connect 10.0.0.5:80 ConnectionRefused 1".to_owned()));
    // What it returns is its last word.
    names.answers(|commands, lookup| {
        commands.resolve(lookup.id(), at("10.0.0.5:80")).unwrap();
        at("10.0.0.6:80")
    });
    let id = bench.connect(&to("ws://example.com/"));
    assert_eq!(bench.failed(id).1, "Connect: connect 10.0.0.6:80 ConnectionRefused 1");
    bench.finish();
}

#[test]
fn proxies_and_redirects_are_asked_for_by_their_own_names() {
    let names = Names::default();
    let mut bench = names.bench();
    names.answers(|_, _| at("10.0.0.9:3128"));
    let id = bench.connect(&to("ws://example.com/").proxy(Proxy::parse("http://Proxy:3128").unwrap()));
    assert_eq!(bench.failed(id).1, "Connect: connect 10.0.0.9:3128 ConnectionRefused 1");
    let listener = bench.listen("10.0.0.5:80");
    names.answers(|_, _| at("10.0.0.5:80"));
    names.answers(|_, _| at("10.0.0.6:81"));
    let second = bench.connect(&to("ws://example.com/").redirects(1));
    let server = bench.asked(&listener);
    server.send("HTTP/1.1 307 Go\r\nLocation: http://elsewhere:81/\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(bench.failed(second).1, "Connect: connect 10.0.0.6:81 ConnectionRefused 1");
    let asked: Vec<_> = names.asked.borrow().iter().map(|(id, host, port)| (*id, host.clone(), *port)).collect();
    let wanted = [(id, "proxy", 3128), (second, "example.com", 80), (second, "elsewhere", 81)];
    assert_eq!(asked, wanted.map(|(id, host, port)| (id, host.to_owned(), port)));
    drop(server);
    bench.finish();
}

#[test]
fn a_failure_that_connects_again_does_not_nest() {
    let names = Names::default();
    let mut bench = names.bench();
    for _ in 0..5000 {
        names.answers(|_, _| Resolution::addresses([]));
    }
    let left = Rc::new(RefCell::new(4999));
    bench.notes.in_failed.replace(Some(Box::new(move |own, _, _| {
        if *left.borrow() > 0 {
            *left.borrow_mut() -= 1;
            own.connect(to("ws://example.com/"));
        }
    })));
    bench.connect(&to("ws://example.com/"));
    bench.until(|bench| bench.service.connections() == 0);
    assert_eq!(names.asked.borrow().len(), 5000);
    bench.finish();
}

#[test]
fn a_thread_answers_over_real_sockets() {
    let remote: Arc<OnceLock<Remote>> = Arc::default();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let current: Rc<RefCell<Arc<OnceLock<Remote>>>> = Rc::new(RefCell::new(remote));
    let describe = |builder: sockeye::Builder| {
        let remote: Arc<OnceLock<Remote>> = Arc::default();
        current.replace(Arc::clone(&remote));
        builder.resolver(move |_, lookup| {
            assert_eq!((lookup.host(), lookup.port()), ("name.of.the.program", 7));
            let (id, remote) = (lookup.id(), Arc::clone(&remote));
            thread::spawn(move || {
                let answer = move || Resolution::addresses([Address::Ip(address)]);
                remote.get().unwrap().run(move |control| control.resolve(id, answer()).unwrap()).unwrap();
            });
            Resolution::later()
        })
    };
    both_with(8192, describe, |mut real| {
        assert!(current.borrow().set(real.service.remote()).is_ok());
        let connect = RawConnect::new("name.of.the.program:7").unwrap();
        let id = real.service.control().endpoint_named(NAME).unwrap().connect(connect);
        real.until(|real| !real.log.borrow().is_empty());
        assert_eq!(real.story(id).notes, [Note::Open]);
        drop(listener.accept().unwrap());
        real.end_of(id);
    });
}
