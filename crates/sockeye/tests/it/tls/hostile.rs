//! Hostile peers of both roles: what they send is cut, changed and ended in every state, and limits are odd.
//!
//! `SOCKEYE_MUTATIONS` says how many changed flights to try, of each role.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sockeye::client::{FailureCause, Proxy};
use sockeye::protocol::ProtocolMut;
use sockeye::service::Listen;
use sockeye::sim::{Listener, Network, Peer, Turn};
use sockeye::statistics::Statistics;
use sockeye::sys::Address;
use sockeye::{
    Close, CloseCode, Closed, ClosedCx, ConnId, Connect, Cx, Failure, Fragment, Handshake, Limits, Protocol, Service,
    Tx, messages,
};
use sockeye_testing::connector::Connector;

use super::server::{Bench, Client, UPGRADE, answer, frame, quiet};
use super::{Certified, VERSIONS, certified};

/// What happened, in order.
type Log = Rc<RefCell<Vec<String>>>;

/// Sends one message, and closes when it has come back.
struct Probe(Log);

const MESSAGE: &str = "are you there?";

impl Protocol for Probe {
    type Session = ();

    fn name(&self) -> &str {
        "probe"
    }

    fn open(&mut self, cx: &mut Cx<'_>, _: &Handshake<'_>) {
        cx.request_writable();
    }

    fn receive(&mut self, _: &mut Cx<'_>, (): &mut (), fragment: Fragment<'_>) -> Result<(), Close> {
        assert_eq!(fragment.payload.as_bytes(), MESSAGE.as_bytes());
        Err(CloseCode::NORMAL.into())
    }

    fn writable(&mut self, _: &mut Cx<'_>, (): &mut (), tx: Tx<'_>) -> Result<(), Close> {
        if let Some(permission) = tx.idle() {
            permission.text(MESSAGE);
        }
        Ok(())
    }

    fn closed(&mut self, _: &mut ClosedCx<'_>, (): (), closed: Closed) {
        self.0.borrow_mut().push(format!("closed {:?}", closed.cause));
    }

    fn failed(&mut self, _: &mut ProtocolMut<'_>, _: ConnId, failure: Failure) {
        let cause = match &failure.cause {
            FailureCause::Tls(cause) => format!("{:?}", cause.kind()),
            other => format!("{other:?}"),
        };
        self.0.borrow_mut().push(format!("failed {:?} {cause}", failure.stage));
    }
}

/// Who sends what is changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum From {
    Client,
    Server,
}

/// What the network does to the bytes of one side, from a place on.
enum Harm {
    Nothing,
    /// So many bytes go through, and then this instead of the rest; then, if `ends`, the end.
    Cut {
        at: usize,
        then: &'static [u8],
        ends: bool,
    },
    /// The connection is reset behind so many bytes.
    Reset {
        at: usize,
    },
    /// Changes each piece of a flight that reaches so far.
    Change {
        at: usize,
        numbers: Numbers,
    },
}

/// A client of ours, a server of ours, and between them a network that does harm: on the way to a proxy with TLS of its own, if there
/// is one.
struct Middle {
    network: Network,
    server: Service,
    proxy: Option<Service>,
    client: Service,
    log: Log,
    listener: Listener,
    connect: Connect,
}

impl Middle {
    fn new(certified: &Certified) -> Self {
        let network = quiet();
        let listen = Listen::new("127.0.0.1:443").tls(certified.server.clone());
        let builder = Service::builder().protocol(messages::echo("echo")).listener(listen);
        let server = builder.build_with(network.sys()).unwrap();
        let log = Log::default();
        let client = Service::builder().protocol(Probe(Rc::clone(&log))).build_with(network.sys()).unwrap();
        let middle = Address::Ip(([127, 0, 0, 1], 444).into());
        let listener = network.listen(&middle);
        let connect = Connect::new("wss://localhost/").unwrap().subprotocol("echo").unwrap();
        let connect = connect.to([middle]).tls(certified.own.clone());
        Self { network, server, proxy: None, client, log, listener, connect }
    }

    fn before_proxy(certified: &Certified) -> Self {
        let middle = Self::new(certified);
        middle.network.name("localhost", [[127, 0, 0, 1].into()]);
        let mut proxy = Service::builder();
        let endpoint =
            proxy.add_raw(Connector::new().place("localhost:443", middle.server.local_addresses()[0].clone()));
        let listen = Listen::new("127.0.0.1:3129").raw(endpoint).tls(certified.server.clone());
        let proxy = Some(proxy.listener(listen).build_with(middle.network.sys()).unwrap());
        let connect = middle.connect.to([]).proxy(Proxy::parse("https://localhost:444").unwrap());
        Self { proxy, connect: connect.proxy_tls(certified.own.clone()), ..middle }
    }

    /// One connection, to its end at both sides. Returns what the client says of it, how many bytes the harmed side sent, and
    /// how long it took.
    fn run(&mut self, from: From, mut harm: Harm) -> (String, usize, Duration) {
        let begun = self.network.now();
        self.client.control().protocol_named("probe").unwrap().connect(self.connect.clone());
        let Self { network, server, proxy, client, log, listener, .. } = self;
        let target = proxy.as_ref().unwrap_or(server).local_addresses()[0].clone();
        let (mut near, mut far): (Option<Peer>, Option<Peer>) = (None, None);
        let (mut passed, mut is_harmed, mut turns) = (0, false, 0);
        let net = network.clone();
        network.run(|| {
            if near.is_none() {
                near = listener.accept();
                far = near.as_ref().map(|_| net.connect(&target).unwrap());
            }
            if let (Some(near), Some(far)) = (&near, &far) {
                for side in [From::Client, From::Server] {
                    let (source, sink) = if side == From::Client { (near, far) } else { (far, near) };
                    let mut bytes = source.recv();
                    if side == from && is_harmed {
                        continue;
                    }
                    if side == from {
                        let before = passed;
                        passed += bytes.len();
                        match &mut harm {
                            Harm::Cut { at, then, ends } if passed >= *at => {
                                bytes.truncate(*at - before);
                                bytes.extend_from_slice(then);
                                sink.send(&bytes);
                                if *ends {
                                    sink.shutdown();
                                }
                                is_harmed = true;
                                continue;
                            }
                            Harm::Reset { at } if passed >= *at => {
                                sink.reset();
                                is_harmed = true;
                                continue;
                            }
                            Harm::Change { at, numbers } if passed > *at && !bytes.is_empty() => {
                                change(&mut bytes, numbers);
                            }
                            _ => {}
                        }
                    }
                    if !bytes.is_empty() {
                        sink.send(&bytes);
                    }
                    if source.is_closed() && !bytes.is_empty() || source.end().is_some() {
                        sink.shutdown();
                    }
                }
            }
            server.run_once(Some(Duration::ZERO)).unwrap();
            client.run_once(Some(Duration::ZERO)).unwrap();
            if let Some(proxy) = proxy {
                proxy.run_once(Some(Duration::ZERO)).unwrap();
            }
            turns += 1;
            assert!(turns < 100_000, "no end");
            // The proxy has no patience of its own: what it waits for ends with this run.
            let is_over = !log.borrow().is_empty() && (server.connections() == 0 || proxy.is_some());
            let services = [Some(&*server), Some(&*client), proxy.as_ref()].into_iter().flatten();
            let next = services.filter_map(Service::next_deadline).min();
            if is_over { Turn::Done } else { Turn::Sleep(next) }
        });
        let mut said = std::mem::take(&mut *self.log.borrow_mut());
        assert_eq!(said.len(), 1, "one end: {said:?}");
        (said.remove(0), passed, self.network.now().saturating_duration_since(begun))
    }

    /// Turns until no connection is left.
    fn settle(&mut self) {
        let Self { network, server, proxy, client, .. } = self;
        network.run(|| {
            let mut count = 0;
            for service in [Some(&mut *server), Some(&mut *client), proxy.as_mut()].into_iter().flatten() {
                service.run_once(Some(Duration::ZERO)).unwrap();
                count += service.connections();
            }
            if count == 0 { Turn::Done } else { Turn::Sleep(server.next_deadline()) }
        });
    }

    /// All is well, and nothing is left.
    fn assert_serves(&mut self, what: &str) {
        let (said, ..) = self.run(From::Client, Harm::Nothing);
        assert_eq!(said, "closed Handshake", "{what}");
        self.settle();
        for service in [&self.server, &self.client] {
            assert_eq!(service.statistics().held_bytes, 0, "{what}");
        }
        let statistics = self.server.statistics();
        assert_eq!(under_way(statistics), 0, "{what}: {statistics}");
    }
}

/// Handshakes that have begun and not ended.
fn under_way(statistics: &Statistics) -> u64 {
    let tls = statistics.tls;
    tls.started - (tls.full + tls.resumed + tls.refused + tls.ended + tls.late + tls.aborted + tls.not_tls)
}

/// Arbitrary numbers, the same in each run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

fn change(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    for _ in 0..=numbers.below(3) {
        let at = numbers.below(bytes.len().max(1));
        match numbers.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at.min(bytes.len()), numbers.next() as u8),
            2 if !bytes.is_empty() => _ = bytes.remove(at),
            3 if !bytes.is_empty() => {
                let piece = bytes[at..].to_vec();
                bytes.extend(piece);
            }
            _ if !bytes.is_empty() => bytes[at] ^= 1 << numbers.below(8),
            _ => {}
        }
    }
}

const CLOSE_NOTIFY: &[u8] = &[21, 3, 3, 0, 2, 1, 0];
const WARNINGS: &[u8] = &[21, 3, 3, 0, 2, 1, 90, 21, 3, 3, 0, 2, 1, 90, 21, 3, 3, 0, 2, 1, 90];
const FATAL: &[u8] = &[21, 3, 3, 0, 2, 2, 40];

/// However far a connection is, when the bytes of one side end the other side ends it too, at once.
#[test]
fn the_end_may_come_at_any_byte_of_either_side() {
    the_end_may_come_at_any_byte(Middle::new(&certified(VERSIONS[0])));
}

#[test]
fn the_end_may_come_at_any_byte_before_a_proxy() {
    the_end_may_come_at_any_byte(Middle::before_proxy(&certified(VERSIONS[0])));
}

fn the_end_may_come_at_any_byte(mut middle: Middle) {
    // Only a ping finds out that a proxy is silent, behind which there is a server.
    let patience = Duration::from_secs(if middle.proxy.is_some() { 50 } else { 20 });
    for from in [From::Client, From::Server] {
        let (_, whole, _) = middle.run(from, Harm::Nothing);
        // The handshake is most of it.
        let places = (0..whole).step_by(23).chain([whole - 1]);
        for (number, at) in places.enumerate() {
            let (then, ends): (&[u8], bool) = match number % 5 {
                0 => (b"", true),
                1 => (CLOSE_NOTIFY, true),
                2 => (WARNINGS, true),
                3 => (FATAL, false),
                _ => (&[0x17, 3, 3, 0, 20, 7, 7, 7], true),
            };
            let (said, _, took) = middle.run(from, Harm::Cut { at, then, ends });
            let what = format!("{from:?}, {at} of {whole} bytes, then {then:?} (end: {ends}): {said} in {took:?}");
            // What may still become a record is waited for: as long as a handshake or a close may take.
            let limit = if ends { Duration::from_secs(5) } else { patience };
            assert!(took <= limit, "{what}");
            if number % 8 == 0 {
                let (_, _, took) = middle.run(from, Harm::Reset { at });
                assert!(took <= Duration::from_secs(5), "{from:?}, a reset at {at}: {took:?}");
            }
        }
        middle.assert_serves("after the ends");
    }
}

/// Whatever a network makes of flights, and of what follows them, no more than their connection ends.
#[test]
fn changed_bytes_of_either_side_end_their_connection_only() {
    changed_bytes_end_their_connection_only(Middle::new(&certified(VERSIONS[0])));
}

#[test]
fn changed_bytes_before_a_proxy_end_their_connection_only() {
    changed_bytes_end_their_connection_only(Middle::before_proxy(&certified(VERSIONS[0])));
}

fn changed_bytes_end_their_connection_only(mut middle: Middle) {
    let count = std::env::var("SOCKEYE_MUTATIONS").map_or(150, |count| count.parse().unwrap());
    for (from, seed) in [(From::Client, 0x5eed), (From::Server, 0x5eed5)] {
        let (_, whole, _) = middle.run(from, Harm::Nothing);
        let mut numbers = Numbers(seed);
        for round in 0..count {
            let at = numbers.below(whole);
            let harm = Harm::Change { at, numbers: Numbers(numbers.next()) };
            let (said, ..) = middle.run(from, harm);
            assert!(!said.is_empty());
            if round % 50 == 49 {
                middle.assert_serves(&format!("{from:?}, round {round}"));
            }
        }
    }
    middle.assert_serves("at the end");
}

/// A client may send much right behind its part of the handshake, and both may arrive at once.
#[test]
fn data_behind_the_handshake_may_be_much_whatever_the_limit_of_the_handshake() {
    for most in [4 << 10, 64 << 10, 1 << 20] {
        let certified = certified(VERSIONS[0]);
        let mut limits = Limits::default();
        limits.tls_handshake_bytes = most;
        let mut bench = Bench::new(quiet(), limits, &certified);
        let mut client = Client::new(&bench, &certified);
        client.tls.set_buffer_limit(None);
        let hello = client.sealed();
        client.peer.send(&hello);
        let mut flight = Vec::new();
        bench.until(|_| {
            flight.extend(client.peer.recv());
            !flight.is_empty()
        });
        client.tls.read_tls(&mut &flight[..]).unwrap();
        client.tls.process_new_packets().unwrap();
        let payload = vec![7; 250_000];
        client.say(&[UPGRADE, &frame(&payload)].concat());
        let all = client.sealed();
        client.peer.send(&all);
        let mut clients = [client];
        let wanted = answer(&payload);
        bench.pump(&mut clients, |_, clients| clients[0].heard.len() > wanted.len() || clients[0].peer.end().is_some());
        assert!(clients[0].heard.ends_with(&wanted), "{most}: {}", bench.service.statistics());
        assert_eq!(bench.service.statistics().held_bytes, 0, "{most}");
    }
}

/// Clients of which each has its last flight ready are served in several turns, so that others come in between.
#[test]
fn a_turn_ends_only_so_many_handshakes() {
    let certified = certified(VERSIONS[0]);
    let mut bench = Bench::new(quiet(), Limits::default(), &certified);
    let mut clients: Vec<_> = (0..120).map(|_| Client::new(&bench, &certified)).collect();
    for client in &mut clients {
        let hello = client.sealed();
        client.peer.send(&hello);
    }
    let mut flights = vec![Vec::new(); clients.len()];
    bench.until(|_| {
        for (client, flight) in clients.iter().zip(&mut flights) {
            flight.extend(client.peer.recv());
        }
        flights.iter().all(|flight| !flight.is_empty())
    });
    for (client, flight) in clients.iter_mut().zip(flights) {
        client.tls.read_tls(&mut &flight[..]).unwrap();
        client.tls.process_new_packets().unwrap();
        let last = client.sealed();
        client.peer.send(&last);
    }
    let mut most = 0;
    let mut before = 0;
    bench.until(|service| {
        let done = service.statistics().tls.full;
        most = most.max(done - before);
        before = done;
        done == 120
    });
    assert!(most < 100, "{most} in one turn");
}

/// Handshake messages in records of a byte cost much more than their bytes: a turn has room for few of them.
#[test]
fn tiny_records_of_a_crowd_are_opened_in_many_turns() {
    const CROWD: u64 = 40;
    let certified = certified(VERSIONS[0]);
    let mut bench = Bench::new(quiet(), Limits::default(), &certified);
    let message = [&[1, 0, 0xff, 0xff][..], &[0; 12_000]].concat();
    let records: Vec<u8> = message.iter().flat_map(|byte| [22, 3, 1, 0, 1, *byte]).collect();
    let address = bench.service.local_addresses()[0].clone();
    let peers: Vec<Peer> = (0..CROWD).map(|_| bench.network.connect(&address).unwrap()).collect();
    peers.iter().for_each(|peer| peer.send(&records[..6]));
    bench.until(|service| service.statistics().tls.started == CROWD);
    peers.iter().for_each(|peer| peer.send(&records[6..]));
    let (mut most, mut before) = (0, 0);
    bench.until(|service| {
        let refused = service.statistics().tls.refused;
        most = most.max(refused - before);
        before = refused;
        refused == CROWD
    });
    assert!(most < 10, "{most} in one turn");
}

/// A server whose handshake has no end is given up too.
#[test]
fn a_server_whose_flight_does_not_end_is_given_up() {
    let certified = certified(VERSIONS[0]);
    let middle = Middle::new(&certified);
    let Middle { network, mut client, log, listener, connect, .. } = middle;
    client.control().protocol_named("probe").unwrap().connect(connect);
    // A ServerHello of 65,535 bytes, in records of one byte.
    let message = [&[2, 0, 0xff, 0xff][..], &[0; 40_000]].concat();
    let records: Vec<u8> = message.iter().flat_map(|byte| [22, 3, 3, 0, 1, *byte]).collect();
    let mut peer = None;
    let mut turns = 0;
    network.run(|| {
        if peer.is_none() {
            peer = listener.accept();
            if let Some(peer) = &peer {
                peer.send(&records);
            }
        }
        client.run_once(Some(Duration::ZERO)).unwrap();
        turns += 1;
        assert!(turns < 100_000, "no end");
        if log.borrow().is_empty() { Turn::Sleep(client.next_deadline()) } else { Turn::Done }
    });
    assert_eq!(*log.borrow(), ["failed Tls Io(Kind(InvalidData))"]);
    assert!(client.statistics().held_bytes_most < 256 << 10, "{}", client.statistics().held_bytes_most);
    assert_eq!(client.statistics().held_bytes, 0);
}

/// A handshake that is ended to free memory, or by the program, has an outcome as any other.
#[test]
fn a_handshake_that_we_end_has_an_outcome() {
    let certified = certified(VERSIONS[0]);
    let mut limits = Limits::default();
    limits.total_bytes = Some(1 << 20);
    let mut bench = Bench::new(quiet(), limits, &certified);
    // The first 40 KB of a message that is longer.
    let message = [&[1, 0, 0xff, 0xff][..], &[0; 40_000]].concat();
    let records: Vec<u8> = message
        .chunks(10_000)
        .flat_map(|piece| {
            let length = u16::try_from(piece.len()).unwrap().to_be_bytes();
            [&[22, 3, 1][..], &length, piece].concat()
        })
        .collect();
    let peers: Vec<Peer> = (0..50)
        .map(|_| {
            let peer = bench.network.connect(&bench.service.local_addresses()[0]).unwrap();
            peer.send(&records);
            peer
        })
        .collect();
    bench.until(|_| peers.iter().filter(|peer| peer.end().is_some()).count() >= 20);
    assert!(bench.service.statistics().held_bytes <= 1 << 20);
    drop(peers);
    bench.until(|service| service.connections() == 0);
    let statistics = bench.service.statistics();
    assert_eq!((statistics.tls.started, under_way(statistics), statistics.held_bytes), (50, 0, 0), "{statistics}");
}

/// An idle connection keeps nothing of large records, whichever way it ends or waits.
#[test]
fn nothing_is_held_once_input_is_of_no_use() {
    let certified = certified(VERSIONS[0]);
    let mut bench = Bench::new(quiet(), Limits::default(), &certified);
    let mut clients = [Client::new(&bench, &certified)];
    clients[0].say(UPGRADE);
    bench.pump(&mut clients, |_, clients| clients[0].is_upgraded());
    // A frame that is wrong, and behind it the beginning of a large record.
    clients[0].say(&[0xff, 0x80, 0, 0, 0, 0]);
    let mut bytes = clients[0].sealed();
    clients[0].say(&frame(&[7; 16_000]));
    let large = clients[0].sealed();
    bytes.extend(&large[..10_000]);
    clients[0].peer.send(&bytes);
    bench.until(|service| service.statistics().closes.violation == 1);
    // It lingers, since the peer may still be sending.
    assert_eq!(bench.service.connections(), 1);
    assert_eq!(bench.service.statistics().held_bytes, 0);
}
