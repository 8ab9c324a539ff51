//! A group over services of several simulated hosts, all in one thread.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;

use crate::http::Routes;
use crate::service::RemoteError;
use crate::service::places::{Places, Share};
use crate::sim::{Network, Outcome, Peer, Turn, seeds};
use crate::statistics::{Board, BoardSlot};
use crate::threads::Group;
use crate::{Close, Cx, Fragment, Handshake, Limits, Protocol, Service, Tx};

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Counts what its connections are called for; sends nothing.
#[derive(Clone, Default)]
struct Ear {
    opened: Rc<RefCell<usize>>,
    writable: Rc<RefCell<usize>>,
}

impl Protocol for Ear {
    type Session = ();

    fn name(&self) -> &'static str {
        "ear"
    }

    fn open(&mut self, _: &mut Cx<'_>, _: &Handshake<'_>) {
        *self.opened.borrow_mut() += 1;
    }

    fn receive(&mut self, _: &mut Cx<'_>, (): &mut (), _: Fragment<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn writable(&mut self, _: &mut Cx<'_>, (): &mut (), _: Tx<'_>) -> Result<(), Close> {
        *self.writable.borrow_mut() += 1;
        Ok(())
    }
}

struct World {
    network: Network,
    services: Vec<Service>,
    ears: Vec<Ear>,
    group: Group,
}

impl World {
    fn new(seed: u64, count: usize, limits: &Limits) -> Self {
        let network = Network::new(seed);
        let ears: Vec<_> = (0..count).map(|_| Ear::default()).collect();
        let services = ears.iter().enumerate().map(|(index, ear)| {
            let builder = Service::builder().limits(limits.clone()).fallback(ear.clone());
            builder.listen(format!("127.0.0.{}:80", index + 1)).build_with(network.host().sys()).unwrap()
        });
        let services: Vec<_> = services.collect();
        let group = Group::of(services.iter().map(Service::remote));
        Self { network, services, ears, group }
    }

    /// A WebSocket to each of the services.
    fn peers(&mut self) -> Vec<Peer> {
        let connect = |service: &Service| {
            let peer = self.network.connect(&service.local_addresses()[0]).unwrap();
            peer.send(UPGRADE);
            peer
        };
        let peers = self.services.iter().map(connect).collect();
        let ears = self.ears.clone();
        self.until(|| ears.iter().all(|ear| *ear.opened.borrow() == 1));
        peers
    }

    fn until(&mut self, mut done: impl FnMut() -> bool) {
        let outcome = self.network.clone().run(|| {
            for service in &mut self.services {
                service.run_once(Some(Duration::ZERO)).unwrap();
            }
            if done() {
                return Turn::Done;
            }
            Turn::Sleep(self.services.iter().filter_map(Service::next_deadline).min())
        });
        assert_eq!(outcome, Outcome::Done);
    }
}

#[test]
fn what_is_published_reaches_the_connections_of_all() {
    for seed in seeds(30) {
        let mut world = World::new(seed, 3, &Limits::default());
        let peers = world.peers();
        world.group.protocol("ear").publish_text("one").unwrap();
        world.group.protocol("ear").publish_binary(b"two").unwrap();
        assert_eq!(world.group.protocol("nobody").publish_text("nothing"), Err(RemoteError::UnknownProtocol));
        assert_eq!(world.group.protocol("nobody").publish_binary(b"nothing"), Err(RemoteError::UnknownProtocol));
        assert_eq!(world.group.protocol("nobody").request_writable(), Err(RemoteError::UnknownProtocol));
        world
            .group
            .remote(1)
            .unwrap()
            .run(|control| control.protocol_named("ear").unwrap().publish_text("mine"))
            .unwrap();
        let mut received = vec![Vec::new(); 3];
        let ends: [&[u8]; 3] = [b"\x81\x03one\x82\x03two", b"\x81\x03one\x82\x03two\x81\x04mine", b"\x82\x03two"];
        world.until(|| {
            let take = |(bytes, peer): (&mut Vec<u8>, &Peer)| bytes.extend(peer.recv());
            received.iter_mut().zip(&peers).for_each(take);
            received.iter().zip(ends).all(|(bytes, end)| bytes.ends_with(end))
        });
    }
}

#[test]
fn all_connections_of_all_are_asked_for_their_writable_callback() {
    for seed in seeds(30) {
        let mut world = World::new(seed, 2, &Limits::default());
        let _peers = world.peers();
        let ears = world.ears.clone();
        world.group.protocol("ear").request_writable().unwrap();
        world.until(|| ears.iter().all(|ear| *ear.writable.borrow() == 1));
    }
}

#[test]
fn a_full_service_fills_the_group_and_nobody_gets_the_job() {
    let limits = Limits { remote_jobs: 3, ..Limits::default() };
    let mut world = World::new(0, 2, &limits);
    let ran = std::sync::Arc::new(Mutex::new(0));
    let job = {
        let ran = ran.clone();
        move |_: &mut crate::Control<'_>| *ran.lock().unwrap() += 1
    };
    world.group.remote(1).unwrap().run(job.clone()).unwrap();
    world.group.run_on_all(job.clone()).unwrap();
    world.group.run_on_all(job.clone()).unwrap();
    assert_eq!(world.group.run_on_all(job.clone()), Err(RemoteError::Full));
    // The other one has room for one more, which shows that it did not get the refused one.
    let first = world.group.remote(0).unwrap();
    first.run(job.clone()).unwrap();
    assert_eq!(first.run(job), Err(RemoteError::Full));
    assert_eq!(world.group.remote(2).unwrap_err(), RemoteError::Gone);
    world.until(|| *ran.lock().unwrap() == 6);
    world.group.protocol("ear").publish_text("there is room again").unwrap();
}

#[test]
fn the_bytes_of_messages_that_wait_are_bounded() {
    let limits = Limits { remote_bytes: 100, ..Limits::default() };
    let mut world = World::new(0, 2, &limits);
    world.group.protocol("ear").publish_text(&"x".repeat(60)).unwrap();
    assert_eq!(world.group.protocol("ear").publish_text(&"x".repeat(41)), Err(RemoteError::Full));
    world.group.protocol("ear").publish_binary(&[0; 40]).unwrap();
    // What carries no message is none of it.
    let done = std::sync::Arc::new(Mutex::new(0));
    let told = done.clone();
    world.group.run_on_all(move |_| *told.lock().unwrap() += 1).unwrap();
    world.until(|| *done.lock().unwrap() == 2);
    // One alone may be larger.
    world.group.protocol("ear").publish_binary(&[0; 1000]).unwrap();
    assert_eq!(world.group.protocol("ear").publish_binary(&[0; 1]), Err(RemoteError::Full));
}

/// Between them the connections have their turns.
#[test]
fn many_jobs_run_in_order_in_many_turns_and_a_drain_comes_behind_them() {
    const JOBS: usize = 3000;
    let mut world = World::new(0, 1, &Limits::default());
    let ran = std::sync::Arc::new(Mutex::new(Vec::new()));
    for number in 0..JOBS {
        let ran = ran.clone();
        world.group.run_on_all(move |_| ran.lock().unwrap().push(number)).unwrap();
    }
    world.group.drain().unwrap();
    let mut turns = Vec::new();
    while ran.lock().unwrap().len() < JOBS {
        let before = ran.lock().unwrap().len();
        assert!(!world.services[0].is_draining());
        world.services[0].run_once(Some(Duration::from_millis(10))).unwrap();
        turns.push(ran.lock().unwrap().len() - before);
    }
    assert!(turns.iter().all(|count| *count <= 1024), "{turns:?}");
    assert!(ran.lock().unwrap().iter().copied().eq(0..JOBS));
    assert!(world.services[0].is_draining());
}

/// Threads that never stop publishing must not keep a service from ending.
#[test]
fn jobs_that_come_behind_a_drain_do_not_put_it_off() {
    for before in [0, 500, 1024, 3000] {
        let mut world = World::new(0, 1, &Limits::default());
        let ran = std::sync::Arc::new(Mutex::new(0));
        let give = |world: &World, jobs: usize| {
            for _ in 0..jobs {
                let ran = ran.clone();
                world.group.run_on_all(move |_| *ran.lock().unwrap() += 1).unwrap();
            }
        };
        give(&world, before);
        world.group.drain().unwrap();
        let mut turns = 0;
        while !world.services[0].is_draining() {
            assert!(turns <= before / 1024 + 1, "{before}");
            give(&world, 2000);
            world.services[0].run_once(Some(Duration::from_millis(10))).unwrap();
            turns += 1;
        }
        assert!(*ran.lock().unwrap() >= before, "the jobs before it come first");
    }
}

#[test]
fn services_that_are_over_are_passed_over() {
    let mut world = World::new(0, 2, &Limits::default());
    drop(world.services.remove(0));
    let ran = std::sync::Arc::new(Mutex::new(0));
    let told = ran.clone();
    world.group.run_on_all(move |_| *told.lock().unwrap() += 1).unwrap();
    world.until(|| *ran.lock().unwrap() == 1);
    world.group.drain().unwrap();
    world.until(|| true);
    assert!(world.services[0].is_draining());
    world.services.clear();
    assert_eq!(world.group.protocol("ear").publish_text("late"), Err(RemoteError::Gone));
    assert_eq!(world.group.drain(), Err(RemoteError::Gone));
}

/// One service twice in a group is one service.
#[test]
fn a_service_that_is_named_twice_gets_one_job() {
    let mut world = World::new(0, 1, &Limits::default());
    let remote = world.services[0].remote();
    let group = Group::of([remote.clone(), remote]);
    let ran = std::sync::Arc::new(Mutex::new(0));
    let (first, second) = (ran.clone(), ran.clone());
    group.run_on_all(move |_| *first.lock().unwrap() += 1).unwrap();
    group.run_on_all(move |_| *second.lock().unwrap() += 10).unwrap();
    world.until(|| *ran.lock().unwrap() == 11);
}

#[test]
fn a_drain_needs_no_room_and_comes_behind_the_jobs() {
    let limits = Limits { remote_jobs: 1, ..Limits::default() };
    let mut world = World::new(0, 1, &limits);
    let peers = world.peers();
    world.group.protocol("ear").publish_text("last").unwrap();
    world.group.drain().unwrap();
    let mut received = Vec::new();
    world.until(|| {
        received.extend(peers[0].recv());
        received.ends_with(b"\x81\x04last\x88\x02\x03\xe9")
    });
}

/// Whichever is asked answers for all, and a service at which nothing happens any more is not woken for it.
#[test]
fn each_answers_with_what_all_have_counted_within_a_second() {
    let network = Network::with_faults(1, crate::sim::Faults::none());
    let (board, places) = (Board::new(2), Places::new(2));
    let services = (0..2).map(|index| {
        let place = BoardSlot::new(std::sync::Arc::clone(&board), index);
        let builder = Service::builder().fallback(Ear::default()).routes(Routes::new().metrics("/metrics"));
        let builder = builder.listen(format!("127.0.0.{}:80", index + 1)).shared(
            Vec::new(),
            2,
            place,
            Share::new(&places, index),
        );
        builder.build_with(network.host().sys()).unwrap()
    });
    let group = Group::of([]);
    let mut world = World { network: network.clone(), services: services.collect(), ears: Vec::new(), group };
    let connect = |world: &World, index: usize, request: &[u8]| {
        let peer = network.connect(&world.services[index].local_addresses()[0]).unwrap();
        peer.send(request);
        peer
    };
    // In several turns, the later of which come too early for a copy.
    let mut peers = Vec::new();
    for index in [0, 1, 1] {
        let peer = connect(&world, index, UPGRADE);
        world.until(|| peer.recv().starts_with(b"HTTP/1.1 101 "));
        peers.push(peer);
    }
    let page = |world: &mut World, index: usize| {
        let peer = connect(world, index, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let mut answer = Vec::new();
        world.until(|| {
            answer.extend(peer.recv());
            peer.is_closed()
        });
        String::from_utf8(answer).unwrap()
    };
    for index in 0..2 {
        let asked = network.now();
        let other = |world: &World| world.services[1 - index].next_deadline();
        while other(&world).is_some_and(|at| at.saturating_duration_since(asked) <= Duration::from_secs(1)) {
            let until = other(&world);
            network.run(|| {
                world.services.iter_mut().for_each(|service| _ = service.run_once(Some(Duration::ZERO)).unwrap());
                if other(&world) == until { Turn::Sleep(until) } else { Turn::Done }
            });
        }
        // That was all: nothing is due before the first ping.
        assert!(network.now().saturating_duration_since(asked) <= Duration::from_secs(1));
        let page = page(&mut world, index);
        for line in ["sockeye_websockets 3", "sockeye_http_responses_total{status=\"101\"} 3"] {
            assert!(page.lines().any(|other| other == line), "{line}: {page}");
        }
    }
}
