//! A handshake on a socket that the program has connected.

use std::cell::RefCell;
use std::fs::File;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::pipe::pipe;
use sockeye::client::{FailureCause, Proxy, Reconnect};
use sockeye::messages::{self, Handler, Message, MessageCx};
use sockeye::proto::wire::MessageKind;
use sockeye::protocol::ProtocolMut;
use sockeye::sim::{Faults, Network, seeds};
use sockeye::{Close, CloseCode, ConnId, Connect, Failure, Handshake, Limits, Service};
use sockeye_testing::client::{Bench, SECOND, Say, Server, to};
use sockeye_testing::raw::both_with;
use sockeye_testing::turns::{Together, Turns};

#[test]
fn messages_go_both_ways_without_a_lookup_and_a_connect() {
    let mut bench = Bench::new();
    let (fd, peer) = bench.network.descriptor();
    let mut server = Server::of(peer);
    // Nothing of it is used but the handshake.
    let connect = to("ws://tunnel.example/feed").proxy(Proxy::parse("http://proxy:1").unwrap());
    let id = bench.connect_over(fd, &connect.to([sockeye_testing::client::ip("10.0.0.1:1")]));
    bench.until(|_| server.heard_head());
    assert!(server.head.starts_with("GET /feed HTTP/1.1\r\nHost: tunnel.example\r\n"), "{}", server.head);
    server.open("");
    bench.say(id, Say::Message(MessageKind::Text, b"hi".to_vec()));
    bench.until(|_| {
        server.pump();
        !server.frames.is_empty()
    });
    assert_eq!(server.frames[0].payload, b"hi");
    let calls = bench.host.calls();
    assert_eq!((calls.resolve, calls.connect), (0, 0));
    assert_eq!(bench.service.statistics().connections.connected, 1);
    bench.service.control().connection(id).unwrap().close(CloseCode::NORMAL);
    bench.turn();
    drop(server);
    bench.finish();
}

#[test]
fn there_is_no_second_descriptor_to_redirect_or_reconnect() {
    for is_late in [false, true] {
        let mut bench = Bench::new();
        let (fd, peer) = bench.network.descriptor();
        let mut server = Server::of(peer);
        let connect = to("ws://tunnel/").redirects(5).reconnect(Reconnect::new()).unwrap();
        let id = bench.connect_over(fd, &connect);
        bench.until(|_| server.heard_head());
        if is_late {
            server.open("");
            bench.until(|bench| bench.notes.is_open(id));
        } else {
            server.send("HTTP/1.1 302 Go\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n");
        }
        drop(server);
        bench.until(|bench| bench.notes.is_over(id));
        if !is_late {
            assert_eq!(bench.why(id), "Handshake: refused 302 ");
        }
        assert_eq!(bench.notes.retry(id), None);
        bench.finish();
    }
}

#[test]
fn it_has_the_deadlines_of_a_handshake_and_is_cancelled() {
    let mut bench = Bench::new();
    let (fd, _peer) = bench.network.descriptor();
    let id = bench.connect_over(fd, &to("ws://tunnel/"));
    assert_eq!(bench.failed(id), (6 * SECOND, "Handshake: timeout 6s".to_owned()));
    for turns in [0, 1] {
        let (fd, _peer) = bench.network.descriptor();
        let id = bench.connect_over(fd, &to("ws://tunnel/"));
        (0..turns).for_each(|_| bench.turn());
        bench.service.control().connection(id).unwrap().abort();
        let stage = ["Resolve", "Handshake"][turns];
        assert_eq!(bench.failed(id), (Duration::ZERO, format!("{stage}: cancelled")));
    }
    let (fd, _peer) = bench.network.descriptor();
    let id = bench.connect_over(fd, &to("wss://tunnel/"));
    assert_eq!(bench.failed(id).1, "Connect: unsupported");
    bench.service.drain();
    let (fd, _peer) = bench.network.descriptor();
    let id = bench.connect_over(fd, &to("ws://tunnel/"));
    assert_eq!(bench.failed(id).1, "Resolve: dropped");
    bench.finish();
}

#[test]
fn a_simulated_service_takes_simulated_descriptors_only() {
    let mut bench = Bench::new();
    let id = bench.connect_over(UnixStream::pair().unwrap().0, &to("ws://tunnel/"));
    bench.failed(id);
    let is_told = |failure: &Failure| {
        let text = "the descriptor cannot be used: this system takes no descriptors but those of its Network";
        matches!(failure.cause, FailureCause::Descriptor(_)) && !failure.is_transient() && failure.to_string() == text
    };
    assert_eq!(bench.notes.failure(id, is_told), Some(true));
    bench.finish();
}

#[test]
fn a_failure_that_connects_again_does_not_nest() {
    let mut bench = Bench::new();
    let (left, network) = (RefCell::new(2000), bench.network.clone());
    bench.notes.in_failed.replace(Some(Box::new(move |own, _, _| {
        if *left.borrow() > 0 {
            *left.borrow_mut() -= 1;
            // Its peer is gone already.
            own.connect_over(network.descriptor().0, to("ws://tunnel/"));
        }
    })));
    let (fd, _) = bench.network.descriptor();
    bench.connect_over(fd, &to("ws://tunnel/"));
    bench.until(|bench| bench.service.connections() == 0);
    assert_eq!(bench.service.statistics().failures.handshake, 2001);
    bench.finish();
}

/// Says some messages, and ends when they are back.
struct Client(Rc<RefCell<Vec<String>>>);

impl Handler for Client {
    type State = usize;

    fn open(&mut self, cx: &mut MessageCx<'_, '_>, _: &Handshake<'_>) -> usize {
        for size in [0, 1, 70_000] {
            cx.push("x".repeat(size)).unwrap();
        }
        0
    }

    fn message(&mut self, _: &mut MessageCx<'_, '_>, sum: &mut usize, message: Message<'_>) -> Result<(), Close> {
        *sum += message.as_bytes().len();
        if *sum < 70_001 {
            return Ok(());
        }
        self.0.borrow_mut().push("all".to_owned());
        Err(CloseCode::NORMAL.into())
    }

    fn failed(&mut self, _: &mut ProtocolMut<'_>, _: ConnId, failure: Failure) {
        self.0.borrow_mut().push(failure.to_string());
    }
}

#[test]
fn two_services_talk_over_a_pair() {
    let mut whole = 0;
    for seed in seeds(30) {
        let network = Network::with_faults(seed, Faults::usual());
        let (ours, theirs) = network.pair();
        let seen = Rc::default();
        let mut builder = Service::builder();
        let client = builder.add_protocol(messages::with("client", Client(Rc::clone(&seen))));
        let client_service = builder.build_with(network.sys()).unwrap();
        let server = Service::builder().protocol(messages::echo("echo")).build_with(network.sys()).unwrap();
        let mut both = Together { network, services: [client_service, server] };
        both.services[1].control().serve(theirs).unwrap();
        let connect = Connect::new("ws://pair/").unwrap();
        both.services[0].control().protocol(client).unwrap().connect_over(ours, connect);
        both.turn_until(Duration::from_secs(60), |both| both.services.iter().all(|one| one.connections() == 0));
        let seen = seen.borrow();
        // A fault of the network may have broken it.
        assert!(seen.len() <= 1, "seed {seed}: {seen:?}");
        whole += usize::from(seen[..] == ["all"]);
        assert!(both.services.iter().all(|one| one.connections() == 0), "seed {seed}: it does not end");
        let network = both.network.clone();
        drop(both);
        assert_eq!(network.open_handles(), 0, "seed {seed}");
    }
    assert!(whole > 0, "it never comes to its end");
}

#[test]
fn real_sockets_of_both_families_and_what_is_none() {
    let seen: Rc<RefCell<Vec<String>>> = Rc::default();
    let describe = |builder: sockeye::Builder| builder.protocol(messages::with("client", Client(Rc::clone(&seen))));
    both_with(8192, describe, |mut real| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let unix = UnixStream::pair().unwrap();
        let pairs: [(OwnedFd, OwnedFd); 2] =
            [(tcp.into(), listener.accept().unwrap().0.into()), (unix.0.into(), unix.1.into())];
        for (ours, theirs) in pairs {
            real.service.control().serve(theirs).unwrap();
            let connect = Connect::new("ws://pair/").unwrap().subprotocol("echo").unwrap();
            real.service.control().protocol_named("client").unwrap().connect_over(ours, connect);
            real.until(|real| real.service.connections() == 0);
            assert_eq!(seen.take(), ["all"]);
        }
        let unconnected = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        let others: [OwnedFd; 5] = [
            unconnected,
            listener.into(),
            UdpSocket::bind("127.0.0.1:0").unwrap().into(),
            pipe().unwrap().0,
            File::open("/dev/null").unwrap().into(),
        ];
        for other in others {
            let connect = Connect::new("ws://pair/").unwrap();
            real.service.control().protocol_named("client").unwrap().connect_over(other, connect);
            real.until(|real| real.service.connections() == 0);
            let text = "the descriptor cannot be used: it is not a connected TCP or Unix stream socket";
            assert_eq!(seen.take(), [text]);
        }
        assert!(real.is_quiet());
    });
}

#[test]
fn a_limit_of_connections_holds() {
    let mut limits = Limits::default();
    limits.connections = Some(1);
    let mut bench = Bench::with(1, Faults::none(), limits);
    let (fd, _peer) = bench.network.descriptor();
    let first = bench.connect_over(fd, &to("ws://tunnel/"));
    bench.turn();
    let (fd, _peer) = bench.network.descriptor();
    let second = bench.connect_over(fd, &to("ws://tunnel/"));
    assert_eq!(bench.failed(second).1, "Connect: no room 1");
    bench.failed(first);
    bench.finish();
}
