//! Listeners with protocols, routes, origins and hosts of their own, opened and closed at run time; and the hooks at the
//! beginning and the end of each connection.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sockeye::http::{Response, Routes};
use sockeye::service::{AcceptedConnection, Hosts, Listen, ListenerHandle, Origins};
use sockeye::sim::{Faults, Network, Peer, Turn};
use sockeye::sys::Address;
use sockeye::{Builder, ConnId, Decision, Limits, Request, Service, messages};
use sockeye_testing::server::upgrade;

use super::handshake::{Door, Notes, ask};

struct World {
    network: Network,
    service: Service,
}

impl World {
    fn new(builder: Builder) -> Self {
        let network = Network::with_faults(1, Faults::none());
        let service = builder.build_with(network.sys()).unwrap();
        Self { network, service }
    }

    fn turns(&mut self, count: usize) {
        for _ in 0..count {
            self.service.run_once(Some(Duration::ZERO)).unwrap();
        }
    }

    fn pass(&mut self, time: Duration) {
        let network = self.network.clone();
        let end = network.now() + time;
        network.run(|| {
            self.service.run_once(Some(Duration::ZERO)).unwrap();
            if network.now() >= end {
                return Turn::Done;
            }
            Turn::Sleep(Some(self.service.next_deadline().unwrap_or(end).min(end)))
        });
    }

    fn connect(&self, address: &str) -> io::Result<Peer> {
        self.network.connect(&Address::Ip(address.parse().unwrap()))
    }

    /// What `peer` is answered at once.
    fn say(&mut self, peer: &Peer, bytes: impl AsRef<[u8]>) -> String {
        peer.send(bytes.as_ref());
        self.turns(4);
        String::from_utf8(peer.recv()).unwrap()
    }

    fn status(&mut self, address: &str, request: impl AsRef<[u8]>) -> u16 {
        let peer = self.connect(address).unwrap();
        let answer = self.say(&peer, request);
        answer.split(' ').nth(1).unwrap_or_default().parse().unwrap_or_default()
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

fn offer(name: &str) -> Vec<u8> {
    upgrade(&format!("Sec-WebSocket-Protocol: {name}\r\n"))
}

fn page(text: &'static str) -> Routes {
    Routes::new().get("/page", move |_| Response::text(text))
}

#[test]
fn a_listener_has_its_own_protocols_routes_origins_and_hosts() {
    let mut builder = Service::builder().protocol(messages::echo("echo")).routes(page("all")).listen("127.0.0.1:80");
    let admin = builder.add_protocol(messages::echo("admin"));
    let room = builder.add_protocol(messages::echo("room"));
    let metrics = Routes::new().metrics("/metrics");
    let builder = builder
        .listener(Listen::new("127.0.0.1:81").only_routes().routes(metrics))
        .listener(Listen::new("127.0.0.1:82").protocol(admin).origins(Origins::same_host()))
        .listener(Listen::new("127.0.0.1:83").protocol_at("/rooms/", room).hosts(Hosts::only(["inner"]).unwrap()));
    let mut world = World::new(builder);
    let inner = |request: Vec<u8>| String::from_utf8(request).unwrap().replace("localhost", "inner");
    for (address, request, status) in [
        ("127.0.0.1:80", upgrade(""), 101),
        ("127.0.0.1:80", offer("echo"), 101),
        // Protocols of other listeners are not here, not even by their name.
        ("127.0.0.1:80", offer("admin"), 400),
        ("127.0.0.1:80", offer("room"), 400),
        ("127.0.0.1:80", get("/metrics").into(), 404),
        ("127.0.0.1:80", get("/page").into(), 200),
        ("127.0.0.1:81", get("/metrics").into(), 200),
        ("127.0.0.1:81", get("/page").into(), 404),
        ("127.0.0.1:81", upgrade(""), 404),
        ("127.0.0.1:81", offer("echo"), 404),
        ("127.0.0.1:82", offer("admin"), 403),
        ("127.0.0.1:82", upgrade("Origin: http://localhost\r\n"), 101),
        ("127.0.0.1:82", upgrade("Origin: http://localhost\r\nSec-WebSocket-Protocol: echo\r\n"), 400),
        // Routes that it does not have itself are the service's.
        ("127.0.0.1:82", get("/page").into(), 200),
        ("127.0.0.1:83", ask("/rooms/a", ""), 421),
        ("127.0.0.1:83", inner(ask("/rooms/a", "")).into(), 101),
        ("127.0.0.1:83", inner(ask("/", "")).into(), 404),
        ("127.0.0.1:83", inner(offer("room")).into(), 404),
        ("127.0.0.1:83", get("/page").into(), 421),
    ] {
        let what = String::from_utf8_lossy(&request).into_owned();
        assert_eq!(world.status(address, request), status, "{address}: {what}");
    }
}

#[test]
fn a_request_knows_its_listener() {
    let seen: Rc<RefCell<Vec<Option<ListenerHandle>>>> = Rc::default();
    let filter = {
        let seen = Rc::clone(&seen);
        move |request: &Request<'_>| {
            seen.borrow_mut().push(request.listener());
            Decision::accept()
        }
    };
    let mut builder = Service::builder().protocol(Door { name: "door", notes: Notes::default(), filter });
    let first = builder.add_listener(Listen::new("127.0.0.1:80"));
    let second = builder.add_listener(Listen::new("127.0.0.1:81"));
    let mut world = World::new(builder);
    let third = world.service.control().listen(Listen::new("127.0.0.1:82")).unwrap();
    for address in ["127.0.0.1:81", "127.0.0.1:82", "127.0.0.1:80"] {
        assert_eq!(world.status(address, upgrade("")), 101, "{address}");
    }
    assert_eq!(*seen.borrow(), [Some(second), Some(third), Some(first)]);
    assert!(first != second && second != third);
}

#[test]
fn a_closed_listener_leaves_its_connections() {
    let mut world = World::new(Service::builder().protocol(messages::echo("echo")).listen("127.0.0.1:80"));
    assert!(world.connect("127.0.0.1:81").is_err());
    let late = Listen::new("127.0.0.1:81").routes(page("late"));
    let late = world.service.control().listen(late).unwrap();
    assert_eq!(world.service.control().addresses_of(late), [Address::Ip("127.0.0.1:81".parse().unwrap())]);
    assert_eq!(world.service.local_addresses().len(), 2);

    let kept = world.connect("127.0.0.1:81").unwrap();
    assert!(world.say(&kept, get("/page")).ends_with("late"));
    let socket = world.connect("127.0.0.1:81").unwrap();
    assert!(world.say(&socket, upgrade("")).starts_with("HTTP/1.1 101 "));

    assert!(world.service.control().stop_listening(late));
    assert!(!world.service.control().stop_listening(late), "it is closed");
    assert!(world.service.control().addresses_of(late).is_empty());
    assert_eq!(world.service.local_addresses().len(), 1);
    world.turns(2);
    assert!(world.connect("127.0.0.1:81").is_err());
    // Connections that it accepted go on, with what it served.
    assert!(world.say(&kept, get("/page")).ends_with("late"));
    // A frame "hi", masked with zeros, comes back.
    peer_echoes(&mut world, &socket);
    assert_eq!(world.status("127.0.0.1:80", get("/page")), 426, "the others have no routes");

    // Another one at the same address is another listener.
    let again = world.service.control().listen(Listen::new("127.0.0.1:81")).unwrap();
    assert_ne!(again, late);
    assert_eq!(world.status("127.0.0.1:81", get("/page")), 426);
    assert!(world.say(&kept, get("/page")).ends_with("late"));
}

fn peer_echoes(world: &mut World, peer: &Peer) {
    peer.send(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']);
    world.turns(3);
    assert_eq!(peer.recv(), [0x81, 2, b'h', b'i']);
}

#[test]
fn an_address_that_cannot_be_listened_on_is_named_and_leaves_nothing() {
    let mut world = World::new(Service::builder().protocol(messages::echo("echo")).listen("127.0.0.1:80"));
    let before = world.network.open_handles();
    let error = world.service.control().listen(Listen::new("127.0.0.1:80")).unwrap_err();
    assert!(error.to_string().contains("127.0.0.1:80"), "{error}");
    assert_eq!(error.as_listen().unwrap().io_error().kind(), io::ErrorKind::AddrInUse);
    assert_eq!((world.network.open_handles(), world.service.local_addresses().len()), (before, 1));

    let mut other = Service::builder();
    let foreign = other.add_protocol(messages::echo("other"));
    let error = world.service.control().listen(Listen::new("127.0.0.1:81").protocol(foreign)).unwrap_err();
    assert!(error.to_string().contains("another service"), "{error}");
    let foreign = other.add_listener(Listen::new("127.0.0.1:80"));
    assert!(!world.service.control().stop_listening(foreign));

    world.service.drain();
    assert!(world.service.control().listen(Listen::new("127.0.0.1:81")).is_err());
}

#[test]
fn a_listener_that_is_closed_in_a_pause_leaves_no_time_to_wake_at() {
    let mut limits = Limits::default();
    limits.connections = Some(2);
    let builder = Service::builder().limits(limits).protocol(messages::echo("echo")).listen("127.0.0.1:80");
    let mut world = World::new(builder);
    let late = world.service.control().listen(Listen::new("127.0.0.1:81")).unwrap();
    // Only the second listener has a connection that waits for room.
    let kept = ["127.0.0.1:80", "127.0.0.1:81"].map(|address| world.connect(address).unwrap());
    for peer in &kept {
        assert!(world.say(peer, upgrade("")).starts_with("HTTP/1.1 101 "));
    }
    let waiting = world.connect("127.0.0.1:81").unwrap();
    world.turns(2);
    let again = world.service.next_deadline().expect("it looks again whether there is room");
    assert!(world.service.control().stop_listening(late));
    assert!(world.service.next_deadline().is_none_or(|at| at > again), "no listener waits for room");
    drop(waiting);
}

#[test]
fn listeners_come_and_go_without_growth() {
    let mut world = World::new(Service::builder().protocol(messages::echo("echo")).listen("127.0.0.1:80"));
    let before = world.network.open_handles();
    for _ in 0..200 {
        let late = world.service.control().listen(Listen::new("127.0.0.1:81")).unwrap();
        let waiting = world.connect("127.0.0.1:81").unwrap();
        assert_eq!(world.status("127.0.0.1:81", upgrade("")), 101);
        drop(waiting);
        assert!(world.service.control().stop_listening(late));
        world.turns(3);
    }
    assert_eq!(world.network.open_handles(), before);
    assert_eq!(world.status("127.0.0.1:80", upgrade("")), 101);
}

/// Beginnings and ends, by connection.
type Lives = Rc<RefCell<HashMap<ConnId, Vec<String>>>>;

fn watched(builder: Builder, lives: &Lives) -> Builder {
    let (begun, ended) = (Rc::clone(lives), Rc::clone(lives));
    builder
        .filter(move |accepted| {
            assert!(accepted.descriptor().is_none(), "the simulated system has none");
            let life = format!(
                "{} at {}",
                if accepted.listener().is_some() { "listener" } else { "none" },
                accepted.local_address()
            );
            assert!(begun.borrow_mut().insert(accepted.id(), vec![life]).is_none(), "it began twice");
            true
        })
        .on_end(move |id, how| ended.borrow_mut().get_mut(&id).expect("it began").push(format!("{how:?}")))
}

#[test]
fn each_beginning_has_one_end() {
    let lives = Lives::default();
    let mut limits = Limits::default();
    limits.handshake_timeout = Duration::from_secs(1);
    let builder = Service::builder().limits(limits).protocol(messages::echo("echo")).routes(page("x"));
    let mut world = World::new(watched(builder, &lives).listen("127.0.0.1:80").listen("127.0.0.2:81"));
    let opened = world.connect("127.0.0.1:80").unwrap();
    world.say(&opened, upgrade(""));
    let answered = world.connect("127.0.0.2:81").unwrap();
    world.say(&answered, get("/page"));
    let refused = world.connect("127.0.0.1:80").unwrap();
    world.say(&refused, offer("other"));
    let silent = world.connect("127.0.0.1:80").unwrap();
    let broken = world.connect("127.0.0.1:80").unwrap();
    world.turns(2);
    broken.reset();
    let stays = world.connect("127.0.0.1:80").unwrap();
    world.say(&stays, upgrade(""));
    assert_eq!(lives.borrow().len(), 6);
    opened.close();
    answered.close();
    refused.close();
    world.pass(Duration::from_secs(20));
    drop(silent);
    let mut ends: Vec<String> = lives.borrow().values().map(|life| life.join(", ")).collect();
    ends.sort();
    let expected = [
        "listener at 127.0.0.1:80",
        "listener at 127.0.0.1:80, Opened",
        "listener at 127.0.0.1:80, Unopened",
        "listener at 127.0.0.1:80, Unopened",
        "listener at 127.0.0.1:80, Unopened",
        "listener at 127.0.0.2:81, Unopened",
    ];
    assert_eq!(ends, expected);
    // What is left ends with the service.
    drop(world);
    assert!(lives.borrow().values().all(|life| life.len() == 2), "{lives:?}");
    drop(stays);
}

#[test]
fn what_does_not_begin_has_no_end() {
    let ends = Rc::new(RefCell::new(0));
    let (asked, ended) = (Rc::new(RefCell::new(0)), Rc::clone(&ends));
    let mut limits = Limits::default();
    limits.connections_per_address = Some(1);
    let filter = {
        let asked = Rc::clone(&asked);
        move |accepted: &AcceptedConnection<'_>| {
            *asked.borrow_mut() += 1;
            assert!(matches!(accepted.peer(), Address::Ip(_)) && accepted.proxy().is_none());
            *asked.borrow() > 1
        }
    };
    let builder = Service::builder().limits(limits).protocol(messages::echo("echo")).listen("127.0.0.1:80");
    let mut world = World::new(builder.filter(filter).on_end(move |_, _| *ended.borrow_mut() += 1));
    // The filter does not want the first one, so that it does not count for its address.
    let first = world.connect("127.0.0.1:80").unwrap();
    world.turns(2);
    assert!(first.is_closed());
    let second = world.connect("127.0.0.1:80").unwrap();
    world.turns(2);
    assert!(!second.is_closed());
    // One too many of the address is not asked about.
    let third = world.connect("127.0.0.1:80").unwrap();
    world.turns(2);
    assert!(third.is_closed());
    assert_eq!((*asked.borrow(), *ends.borrow()), (2, 0));
    second.close();
    world.turns(3);
    assert_eq!(*ends.borrow(), 1);
    let statistics = world.service.statistics();
    assert_eq!((statistics.refusals.address, statistics.refusals.per_address), (1, 1));
}

#[test]
fn a_filter_is_lent_the_descriptor_of_a_real_socket() {
    let seen = Rc::new(RefCell::new(None));
    let filter = {
        let seen = Rc::clone(&seen);
        move |accepted: &AcceptedConnection<'_>| {
            let descriptor = accepted.descriptor().expect("it is a real socket").try_clone_to_owned().unwrap();
            let peer = std::net::TcpStream::from(descriptor).peer_addr().unwrap();
            *seen.borrow_mut() = Some((Address::Ip(peer), accepted.peer().clone(), accepted.local_address().clone()));
            false
        }
    };
    let builder = Service::builder().protocol(messages::echo("echo")).listen("127.0.0.1:0").filter(filter);
    let mut service = builder.build().unwrap();
    let address = service.local_addresses()[0].clone();
    let Address::Ip(ip) = address else { panic!("{address}") };
    let stream = std::net::TcpStream::connect(ip).unwrap();
    while seen.borrow().is_none() {
        service.run_once(None).unwrap();
    }
    let own = Address::Ip(stream.local_addr().unwrap());
    assert_eq!(seen.take(), Some((own.clone(), own, address)));
}
