//! Servers with TLS, and clients of rustls itself.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use sockeye::service::Listen;
use sockeye::sim::{Faults, Network, Peer, PeerEnd, Turn};
use sockeye::sys::Address;
use sockeye::{Close, Cx, Decision, Fragment, Handshake, Limits, Protocol, Request, Service, Threads, Tx, messages};

use super::{Certified, VERSIONS, certified};

pub(super) const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A client's frame of binary data, with a mask of zeros.
pub(super) fn frame(payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x82];
    match payload.len() {
        len @ 0..=125 => bytes.push(0x80 | len as u8),
        len @ 126..=65_535 => {
            bytes.push(0x80 | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

/// A server's frame of binary data.
pub(super) fn answer(payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame(payload);
    bytes[1] &= 0x7f;
    let head = bytes.len() - payload.len() - 4;
    bytes.drain(head..head + 4);
    bytes
}

/// A peer of a simulated service that speaks TLS.
pub(super) struct Client {
    pub(super) peer: Peer,
    pub(super) tls: ClientConnection,
    pub(super) heard: Vec<u8>,
    /// The end was announced by close_notify.
    is_closed: bool,
    /// How many bytes arrived that were sealed.
    arrived: Vec<u8>,
}

impl Client {
    pub(super) fn new(bench: &Bench, certified: &Certified) -> Self {
        Self::with(bench, &certified.client)
    }

    pub(super) fn with(bench: &Bench, config: &Arc<ClientConfig>) -> Self {
        let tls = ClientConnection::new(config.clone(), "localhost".try_into().unwrap()).unwrap();
        let peer = bench.network.connect(&bench.service.local_addresses()[0]).unwrap();
        Self { peer, tls, heard: Vec::new(), is_closed: false, arrived: Vec::new() }
    }

    pub(super) fn say(&mut self, bytes: &[u8]) {
        self.tls.writer().write_all(bytes).unwrap();
    }

    /// The sealed bytes that wait to be sent.
    pub(super) fn sealed(&mut self) -> Vec<u8> {
        let mut sealed = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut sealed).unwrap();
        }
        sealed
    }

    pub(super) fn pump(&mut self) {
        let bytes = self.peer.recv();
        self.arrived.extend(&bytes);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            self.tls.read_tls(&mut rest).unwrap();
            let state = self.tls.process_new_packets().unwrap();
            self.is_closed |= state.peer_has_closed();
            let mut plain = vec![0; state.plaintext_bytes_to_read()];
            self.tls.reader().read_exact(&mut plain).unwrap();
            self.heard.extend(plain);
        }
        let sealed = self.sealed();
        if !sealed.is_empty() {
            self.peer.send(&sealed);
        }
    }

    pub(super) fn is_upgraded(&self) -> bool {
        self.heard.windows(4).any(|end| end == b"\r\n\r\n")
    }
}

pub(super) struct Bench {
    pub(super) network: Network,
    pub(super) service: Service,
}

impl Bench {
    pub(super) fn new(network: Network, limits: Limits, certified: &Certified) -> Self {
        let echo = messages::echo("echo");
        let listen = Listen::new("127.0.0.1:443").tls(certified.server.clone());
        let service = Service::builder().limits(limits).protocol(echo).listener(listen);
        let service = service.build_with(network.sys()).unwrap();
        Self { network, service }
    }

    /// Turns until `done`, or until nothing more would happen.
    pub(super) fn until(&mut self, mut done: impl FnMut(&Service) -> bool) {
        let Self { network, service } = self;
        let mut turns = 0;
        network.run(|| {
            service.run_once(Some(Duration::ZERO)).unwrap();
            turns += 1;
            assert!(turns < 100_000, "no end");
            if done(service) { Turn::Done } else { Turn::Sleep(service.next_deadline()) }
        });
    }

    pub(super) fn pump(&mut self, clients: &mut [Client], done: impl Fn(&Service, &[Client]) -> bool) {
        self.until(|service| {
            clients.iter_mut().for_each(Client::pump);
            done(service, clients)
        });
    }
}

pub(super) fn quiet() -> Network {
    Network::with_faults(1, Faults::none())
}

#[test]
fn messages_of_every_size_come_back_over_both_versions() {
    for version in VERSIONS {
        let certified = certified(version);
        let (sender, receiver) = mpsc::channel();
        let server = certified.server.clone();
        let worker = thread::spawn(move || {
            let listen = Listen::new("127.0.0.1:0").tls(server);
            let builder = Service::builder().protocol(messages::echo("echo")).listener(listen);
            let mut service = builder.build().unwrap();
            sender.send((service.local_addresses()[0].clone(), service.remote())).unwrap();
            service.run().unwrap();
            service.statistics().clone()
        });
        let (address, remote) = receiver.recv().unwrap();
        let Address::Ip(address) = address else { panic!("{address}") };
        let tls = ClientConnection::new(certified.client.clone(), "localhost".try_into().unwrap()).unwrap();
        let mut stream = StreamOwned::new(tls, TcpStream::connect(address).unwrap());
        stream.write_all(UPGRADE).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "));
        for length in [0, 1, 125, 126, 16_384, 65_535, 65_536, 1 << 20] {
            let payload: Vec<u8> = (0..length).map(|index: usize| (index * 7) as u8).collect();
            stream.write_all(&frame(&payload)).unwrap();
            let wanted = answer(&payload);
            let mut got = vec![0; wanted.len()];
            stream.read_exact(&mut got).unwrap();
            assert!(got == wanted, "{length} bytes");
        }
        // The Close frame, and then close_notify: without it rustls would report an error.
        stream.write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, [0x88, 2, 0x03, 0xe8]);
        remote.run(|control| control.drain()).unwrap();
        let statistics = worker.join().unwrap();
        assert_eq!((statistics.tls.started, statistics.tls.full, statistics.closes.handshake), (1, 1, 1));
    }
}

#[test]
fn all_threads_speak_tls_and_resume_each_others_sessions() {
    let certified = certified(VERSIONS[0]);
    let threads = Threads::new(2).listen_tls("127.0.0.1:0", certified.server.clone());
    let running = threads.start(|_| Ok(Service::builder().protocol(messages::echo("echo")))).unwrap();
    let Address::Ip(address) = running.local_addresses()[0] else { panic!("not IP") };
    for _ in 0..8 {
        let tls = ClientConnection::new(certified.client.clone(), "localhost".try_into().unwrap()).unwrap();
        let mut stream = StreamOwned::new(tls, TcpStream::connect(address).unwrap());
        stream.write_all(UPGRADE).unwrap();
        stream.write_all(&[&frame(b"hello")[..], &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]].concat()).unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).unwrap();
        assert!(got.ends_with(&[&answer(b"hello")[..], &[0x88, 2, 0x03, 0xe8]].concat()));
    }
    running.drain();
    let mut sum = (0, 0);
    running.join_each(|_, statistics| sum = (sum.0 + statistics.tls.full, sum.1 + statistics.tls.resumed)).unwrap();
    assert_eq!(sum, (1, 7));
}

#[test]
fn bytes_may_be_cut_and_delayed_anywhere() {
    for seed in 0..24 {
        let certified = certified(VERSIONS[seed as usize % 2]);
        let mut bench = Bench::new(Network::new(seed), Limits::default(), &certified);
        let mut clients = [Client::new(&bench, &certified)];
        clients[0].say(UPGRADE);
        bench.pump(&mut clients, |_, clients| clients[0].is_upgraded() || clients[0].peer.end().is_some());
        if clients[0].peer.end().is_some() {
            // A fault of the network ended it.
            continue;
        }
        clients[0].heard.clear();
        let payload: Vec<u8> = (0..40_000).map(|index: usize| (index * 7) as u8).collect();
        clients[0].say(&frame(&payload));
        let wanted = answer(&payload);
        bench
            .pump(&mut clients, |_, clients| clients[0].heard.len() >= wanted.len() || clients[0].peer.end().is_some());
        if clients[0].peer.end().is_none() {
            assert!(clients[0].heard == wanted, "seed {seed}");
        }
    }
}

#[test]
fn single_bytes_are_enough() {
    let certified = certified(VERSIONS[0]);
    let network = Network::with_faults(1, Faults::none().with_segment(1));
    let mut bench = Bench::new(network, Limits::default(), &certified);
    let mut clients = [Client::new(&bench, &certified)];
    clients[0].say(UPGRADE);
    bench.pump(&mut clients, |_, clients| clients[0].is_upgraded());
    clients[0].heard.clear();
    clients[0].say(&frame(&[7; 2000]));
    bench.pump(&mut clients, |_, clients| clients[0].heard.len() >= 2004);
    assert_eq!(clients[0].heard, answer(&[7; 2000]));
    assert_eq!(bench.service.statistics().held_bytes, 0, "an idle connection has no buffer");
}

/// Several messages in one record are answered by one record and one send.
#[test]
fn a_batch_of_messages_is_one_record() {
    let certified = certified(VERSIONS[0]);
    let mut bench = Bench::new(quiet(), Limits::default(), &certified);
    let mut clients = [Client::new(&bench, &certified)];
    clients[0].say(UPGRADE);
    bench.pump(&mut clients, |_, clients| clients[0].is_upgraded());
    clients[0].heard.clear();
    clients[0].arrived.clear();
    let batch: Vec<u8> = (0..16).flat_map(|number| frame(&[number; 20])).collect();
    clients[0].say(&batch);
    bench.pump(&mut clients, |_, clients| clients[0].heard.len() >= 16 * 22);
    // Header, kind and tag.
    assert_eq!(clients[0].arrived.len(), 16 * 22 + 5 + 1 + 16);
}

#[test]
fn plain_http_is_answered_400_and_other_bytes_with_a_reset() {
    let certified = certified(VERSIONS[0]);
    let mut bench = Bench::new(quiet(), Limits::default(), &certified);
    let peer = bench.network.connect(&bench.service.local_addresses()[0]).unwrap();
    peer.send(UPGRADE);
    let mut got = Vec::new();
    bench.until(|_| {
        got.extend(peer.recv());
        peer.end().is_some()
    });
    let text = String::from_utf8(got).unwrap();
    assert!(text.starts_with("HTTP/1.1 400 ") && text.contains("https"), "{text}");
    peer.close();
    let peer = bench.network.connect(&bench.service.local_addresses()[0]).unwrap();
    peer.send(b"\0\x01\x02");
    bench.until(|_| peer.end().is_some());
    assert_eq!((peer.end(), peer.recv()), (Some(PeerEnd::Reset), Vec::new()));
    let statistics = bench.service.statistics();
    assert_eq!((statistics.tls.started, statistics.tls.not_tls, statistics.responses.get(&400)), (2, 2, Some(&1)));
}

#[test]
fn a_hello_on_a_plain_port_is_refused() {
    let certified = certified(VERSIONS[0]);
    let network = quiet();
    let builder = Service::builder().protocol(messages::echo("echo")).listen("127.0.0.1:80");
    let service = builder.build_with(network.sys()).unwrap();
    let mut bench = Bench { network, service };
    let mut client = Client::new(&bench, &certified);
    let hello = client.sealed();
    client.peer.send(&hello);
    let mut got = Vec::new();
    bench.until(|_| {
        got.extend(client.peer.recv());
        client.peer.end().is_some()
    });
    assert!(got.starts_with(b"HTTP/1.1 400 "));
}

#[test]
fn a_handshake_has_a_deadline_and_the_request_another() {
    let certified = certified(VERSIONS[0]);
    for part in [0, 1, 100, usize::MAX] {
        let mut bench = Bench::new(quiet(), Limits::default(), &certified);
        let mut client = Client::new(&bench, &certified);
        let hello = client.sealed();
        let begun = bench.network.now();
        client.peer.send(&hello[..part.min(hello.len())]);
        bench.until(|_| {
            let _ = client.peer.recv();
            client.peer.end().is_some()
        });
        assert_eq!(bench.network.now().saturating_duration_since(begun), Duration::from_secs(10), "{part} bytes");
        let statistics = bench.service.statistics();
        assert_eq!(statistics.limits.tls_handshake_timeout, 1);
        assert_eq!((statistics.tls.started, statistics.tls.late), if part == 0 { (0, 0) } else { (1, 1) });
        assert_eq!(statistics.held_bytes, 0);
    }
    // The time for the request begins when the handshake is done.
    let mut bench = Bench::new(quiet(), Limits::default(), &certified);
    let mut clients = [Client::new(&bench, &certified)];
    let begun = bench.network.now();
    bench.until(|_| true);
    bench.network.advance(Duration::from_secs(9));
    bench.pump(&mut clients, |_, clients| !clients[0].tls.is_handshaking() || clients[0].peer.end().is_some());
    bench.pump(&mut clients, |_, clients| clients[0].peer.end().is_some());
    assert_eq!(bench.network.now().saturating_duration_since(begun), Duration::from_secs(19));
    let statistics = bench.service.statistics();
    assert_eq!((statistics.tls.full, statistics.limits.handshake_timeout), (1, 1));
}

#[test]
fn so_many_handshakes_are_under_way_and_the_others_wait() {
    let certified = certified(VERSIONS[0]);
    let mut limits = Limits::default();
    limits.tls_handshakes = 2;
    let mut bench = Bench::new(quiet(), limits, &certified);
    let mut clients: Vec<_> = (0..5).map(|_| Client::new(&bench, &certified)).collect();
    // Hellos, and nothing after them.
    for client in &mut clients {
        let hello = client.sealed();
        client.peer.send(&hello);
    }
    bench.until(|service| service.statistics().limits.tls_handshakes == 3);
    assert_eq!(bench.service.statistics().tls.started, 2);
    // They go on in their order, as soon as there is room.
    clients.iter_mut().for_each(|client| client.say(UPGRADE));
    bench.pump(&mut clients, |_, clients| clients.iter().all(Client::is_upgraded));
    let statistics = bench.service.statistics();
    assert_eq!((statistics.tls.started, statistics.tls.full, statistics.limits.tls_handshakes), (5, 5, 3));
}

#[test]
fn who_ends_while_it_waits_for_its_handshake_is_gone_at_once() {
    let certified = certified(VERSIONS[0]);
    let mut limits = Limits::default();
    limits.tls_handshakes = 1;
    let timeout = limits.tls_handshake_timeout;
    let mut bench = Bench::new(quiet(), limits, &certified);
    let hello = Client::new(&bench, &certified).sealed();
    let begin = |bench: &Bench| {
        let peer = bench.network.connect(&bench.service.local_addresses()[0]).unwrap();
        peer.send(&hello);
        peer
    };
    let begun = bench.network.now();
    let first = begin(&bench);
    bench.until(|service| service.statistics().tls.started == 1);
    let waiting = [begin(&bench), begin(&bench), begin(&bench)];
    bench.until(|service| service.statistics().limits.tls_handshakes == 3);
    // Both ends, or one.
    waiting[0].shutdown();
    bench.until(|_| waiting[0].end().is_some());
    waiting[2].reset();
    bench.until(|service| service.connections() == 2);
    assert!(bench.network.now().saturating_duration_since(begun) < timeout);
    assert_eq!(bench.service.statistics().limits.tls_handshake_timeout, 0);
    // The one between them keeps its place, and its turn comes.
    drop(first);
    bench.until(|service| service.statistics().tls.started == 2);
    assert!(bench.network.now().saturating_duration_since(begun) < timeout);
    assert!(waiting[1].end().is_none());
}

#[test]
fn an_address_has_so_many_handshakes_under_way() {
    let certified = certified(VERSIONS[0]);
    let mut limits = Limits::default();
    limits.tls_handshakes_per_address = Some(2);
    let mut bench = Bench::new(quiet(), limits, &certified);
    let mut clients: Vec<_> = (0..3).map(|_| Client::new(&bench, &certified)).collect();
    for client in &mut clients {
        let hello = client.sealed();
        client.peer.send(&hello);
    }
    bench.until(|service| service.statistics().limits.tls_handshakes_per_address == 1);
    // Once they are done others may come.
    clients.retain(|client| client.peer.end().is_none());
    assert_eq!(clients.len(), 2);
    clients.iter_mut().for_each(|client| client.say(UPGRADE));
    bench.pump(&mut clients, |_, clients| clients.iter().all(Client::is_upgraded));
    clients.push(Client::new(&bench, &certified));
    clients[2].say(UPGRADE);
    bench.pump(&mut clients, |_, clients| clients.iter().all(Client::is_upgraded));
}

/// However a handshake ends, it makes room for another.
#[test]
fn a_handshake_that_ends_in_any_way_is_not_under_way() {
    let certified = certified(VERSIONS[0]);
    let mut limits = Limits::default();
    (limits.tls_handshakes, limits.tls_handshakes_per_address) = (1, Some(1));
    let timeout = limits.tls_handshake_timeout;
    let mut bench = Bench::new(quiet(), limits, &certified);
    let hello = Client::new(&bench, &certified).sealed();
    let damaged = [&hello[..5], &[0xff; 8], &hello[13..]].concat();
    // A message that does not end.
    let long: Vec<u8> = [&[1, 0, 0xff, 0xff][..], &[0; 40_000]].concat();
    let long = long.iter().flat_map(|byte| [22, 3, 1, 0, 1, *byte]).collect();
    let alert = [&hello[..], &[21, 3, 3, 0, 2, 2, 40]].concat();
    let ways: [(&str, Vec<u8>, bool); 8] = [
        ("HTTP", UPGRADE.to_vec(), false),
        ("not TLS", b"\0\x01\x02".to_vec(), false),
        ("a damaged hello", damaged, false),
        ("a hello without an end", long, false),
        ("an alert", alert, false),
        ("a hello, and the end", hello.clone(), true),
        ("half a hello, and the end", hello[..100].to_vec(), true),
        ("a hello, and silence", hello, false),
    ];
    for (way, bytes, ends) in ways {
        let peer = bench.network.connect(&bench.service.local_addresses()[0]).unwrap();
        peer.send(&bytes);
        if ends {
            peer.shutdown();
        }
        let begun = bench.network.now();
        bench.until(|_| {
            let _ = peer.recv();
            peer.end().is_some()
        });
        let took = bench.network.now().saturating_duration_since(begun);
        assert_eq!(took >= timeout, way == "a hello, and silence", "{way}: {took:?}");
        let mut clients = [Client::new(&bench, &certified)];
        clients[0].say(UPGRADE);
        bench.pump(&mut clients, |_, clients| clients[0].is_upgraded() || clients[0].peer.end().is_some());
        assert!(clients[0].is_upgraded(), "{way} is still under way: {}", bench.service.statistics());
    }
    assert_eq!(bench.service.statistics().limits.tls_handshakes, 0);
}

#[test]
fn one_handshake_a_turn_is_enough_for_a_crowd() {
    let certified = certified(VERSIONS[0]);
    let mut limits = Limits::default();
    limits.turn_tls_handshakes = 1;
    let mut bench = Bench::new(quiet(), limits, &certified);
    let mut clients: Vec<_> = (0..20).map(|_| Client::new(&bench, &certified)).collect();
    clients.iter_mut().for_each(|client| client.say(UPGRADE));
    bench.pump(&mut clients, |_, clients| clients.iter().all(Client::is_upgraded));
    assert!(bench.service.statistics().limits.turn_tls_handshakes > 0);
    assert_eq!(bench.service.statistics().tls.full, 20);
}

#[test]
fn a_hello_that_does_not_end_is_cut_off() {
    let certified = certified(VERSIONS[0]);
    let mut bench = Bench::new(quiet(), Limits::default(), &certified);
    let client = Client::new(&bench, &certified);
    // A message of 65,535 bytes, in records of one byte.
    let message = [&[1, 0, 0xff, 0xff][..], &[0; 40_000]].concat();
    let records: Vec<u8> = message.iter().flat_map(|byte| [22, 3, 1, 0, 1, *byte]).collect();
    client.peer.send(&records);
    bench.until(|_| client.peer.end().is_some());
    let statistics = bench.service.statistics();
    assert_eq!((statistics.limits.tls_handshake_bytes, statistics.tls.refused), (1, 1));
    assert!(statistics.held_bytes_most < 256 * 1024, "{}", statistics.held_bytes_most);
}

#[test]
fn close_notify_in_the_handshake_ends_it() {
    let certified = certified(VERSIONS[0]);
    let mut bench = Bench::new(quiet(), Limits::default(), &certified);
    let mut client = Client::new(&bench, &certified);
    let hello = client.sealed();
    client.peer.send(&hello);
    // A warning, close_notify.
    client.peer.send(&[21, 3, 3, 0, 2, 1, 0]);
    client.peer.shutdown();
    bench.until(|_| {
        let _ = client.peer.recv();
        client.peer.end().is_some()
    });
    let tls = bench.service.statistics().tls;
    assert_eq!((tls.started, tls.refused + tls.ended), (1, 1));
}

#[test]
fn an_end_without_close_notify_is_an_end_without_a_close_frame() {
    for says_so in [true, false] {
        let certified = certified(VERSIONS[0]);
        let mut bench = Bench::new(quiet(), Limits::default(), &certified);
        let mut clients = [Client::new(&bench, &certified)];
        clients[0].say(UPGRADE);
        bench.pump(&mut clients, |_, clients| clients[0].is_upgraded());
        if says_so {
            clients[0].tls.send_close_notify();
            clients[0].pump();
        } else {
            clients[0].peer.shutdown();
        }
        bench.pump(&mut clients, |_, clients| clients[0].peer.end().is_some());
        assert_eq!(bench.service.statistics().closes.eof, 1);
        assert_eq!(bench.service.statistics().codes_received.c1006, 1);
    }
}

#[test]
fn a_record_that_was_changed_ends_the_connection() {
    let certified = certified(VERSIONS[0]);
    let mut bench = Bench::new(quiet(), Limits::default(), &certified);
    let mut clients = [Client::new(&bench, &certified)];
    clients[0].say(UPGRADE);
    bench.pump(&mut clients, |_, clients| clients[0].is_upgraded());
    clients[0].say(&frame(b"one"));
    let mut sealed = clients[0].sealed();
    clients[0].say(&frame(b"two"));
    let mut changed = clients[0].sealed();
    *changed.last_mut().unwrap() ^= 1;
    sealed.extend(changed);
    clients[0].peer.send(&sealed);
    bench.until(|_| clients[0].peer.end().is_some());
    let statistics = bench.service.statistics();
    assert_eq!((statistics.received.messages, statistics.closes.reset), (1, 1));
}

/// What is published is held once, and sealed for each when its socket takes it.
#[test]
fn what_is_published_is_shared_by_peers_that_do_not_read() {
    let certified = certified(VERSIONS[0]);
    let mut bench = Bench::new(quiet(), Limits::default(), &certified);
    let mut clients: Vec<_> = (0..20).map(|_| Client::new(&bench, &certified)).collect();
    clients.iter_mut().for_each(|client| client.say(UPGRADE));
    bench.pump(&mut clients, |_, clients| clients.iter().all(Client::is_upgraded));
    for client in &mut clients {
        client.heard.clear();
        client.peer.set_window(1000);
    }
    let text = "x".repeat(1 << 20);
    bench.service.control().protocol_named("echo").unwrap().publish_text(&text);
    bench.until(|service| service.statistics().sent.messages >= 20);
    let held = bench.service.statistics().held_bytes;
    // One message, and for each a batch of records of which the socket took the beginning.
    assert!(held > 1 << 20 && held < (1 << 20) + 20 * 140 * 1024, "{held}");
    clients.iter().for_each(|client| client.peer.set_window(1 << 20));
    bench.pump(&mut clients, |_, clients| clients.iter().all(|client| client.heard.len() >= text.len() + 10));
    assert!(clients.iter().all(|client| client.heard[10..] == *text.as_bytes()));
    assert_eq!(bench.service.statistics().held_bytes, 0);
}

/// Refuses all, and says what it knows of each.
struct Curious(Rc<RefCell<Vec<String>>>);

impl Protocol for Curious {
    type Session = ();

    fn name(&self) -> &str {
        "curious"
    }

    fn filter(&mut self, request: &Request<'_>) -> Decision {
        let mut line = "plain".to_owned();
        if let Some(tls) = request.tls() {
            let (version, name, identity) = (tls.version(), tls.server_name(), tls.peer_identity());
            assert!(tls.cipher().contains("AES") && tls.group().is_some() && !tls.is_resumed(), "{tls:?}");
            let names = identity.map(|identity| identity.certificate().names()[0].to_string());
            line = format!("{version:?} {name:?} {names:?}");
        }
        self.0.borrow_mut().push(line);
        Decision::refuse(403, "no")
    }

    fn open(&mut self, _: &mut Cx<'_>, _: &Handshake<'_>) {}

    fn receive(&mut self, _: &mut Cx<'_>, (): &mut (), _: Fragment<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn writable(&mut self, _: &mut Cx<'_>, (): &mut (), _: Tx<'_>) -> Result<(), Close> {
        Ok(())
    }
}

#[test]
fn the_filter_sees_what_was_agreed_on_and_who_the_client_is() {
    for (version, shown) in VERSIONS.into_iter().zip(["Tls13", "Tls12"]) {
        let certified = certified(version);
        let network = quiet();
        let heard = Rc::default();
        let tls = Listen::new("127.0.0.1:443").tls(certified.asking.clone());
        let builder = Service::builder().protocol(Curious(Rc::clone(&heard))).listener(tls).listen("127.0.0.1:80");
        let service = builder.build_with(network.sys()).unwrap();
        let mut bench = Bench { network, service };
        let config = certified.client_with_certificate.clone();
        let mut clients = [Client::with(&bench, &certified.client), Client::with(&bench, &config)];
        clients.iter_mut().for_each(|client| client.say(UPGRADE));
        bench.pump(&mut clients, |_, clients| clients.iter().all(Client::is_upgraded));
        let plain = bench.network.connect(&bench.service.local_addresses()[1]).unwrap();
        plain.send(UPGRADE);
        bench.until(|_| heard.borrow().len() == 3);
        let wanted = ["None", "Some(\"client.example\")"].map(|who| format!("{shown} Some(\"localhost\") {who}"));
        assert_eq!(*heard.borrow(), [&wanted[0], &wanted[1], "plain"]);
    }
}

#[test]
fn a_proxy_header_comes_before_tls() {
    let certified = certified(VERSIONS[0]);
    let network = quiet();
    let listen = Listen::new("127.0.0.1:443").tls(certified.server.clone());
    let builder = Service::builder().protocol(messages::echo("echo")).listener(listen);
    let builder = builder.proxy_protocol(["0.0.0.0/0".parse().unwrap()]);
    let service = builder.build_with(network.sys()).unwrap();
    let mut bench = Bench { network, service };
    for cut in [false, true] {
        let mut clients = [Client::new(&bench, &certified)];
        let header = b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\n".to_vec();
        let hello = clients[0].sealed();
        if cut {
            clients[0].peer.send(&header);
            bench.until(|_| true);
            clients[0].peer.send(&hello);
        } else {
            clients[0].peer.send(&[header, hello].concat());
        }
        clients[0].say(UPGRADE);
        bench.pump(&mut clients, |_, clients| clients[0].is_upgraded());
    }
    let tls = bench.service.statistics().tls;
    assert_eq!(tls.full + tls.resumed, 2);
}

#[test]
fn a_service_that_ends_says_so_by_close_notify() {
    let certified = certified(VERSIONS[0]);
    let mut bench = Bench::new(quiet(), Limits::default(), &certified);
    let mut clients = [Client::new(&bench, &certified)];
    clients[0].say(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    bench.pump(&mut clients, |_, clients| clients[0].peer.end().is_some());
    clients[0].pump();
    assert!(clients[0].heard.starts_with(b"HTTP/1.1 426 ") && clients[0].is_closed);
}
