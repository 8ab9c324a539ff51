//! Raw connections of our own: the race of addresses, deadlines and failures are those of WebSockets, and what follows is that of
//! any raw connection. On the simulated network, and over real sockets in the service's own loop and in one outside.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use sockeye::client::{RawConnect, Timeouts};
use sockeye::raw::{EndpointMut, Raw, RawClose, RawClosed, RawCx, Watcher};
use sockeye::sim::{Faults, Network, PeerEnd, seeds};
use sockeye::sys::Address;
use sockeye::{CloseCode, ConnId, Failure, Limits, Service};
use sockeye_testing::client::ip;
use sockeye_testing::raw::{Bench, NAME, Note, Real, both, both_with};
use sockeye_testing::turns::{Together, Turns};

fn to(place: &str) -> RawConnect {
    let mut timeouts = Timeouts::default();
    timeouts.resolve = Duration::from_secs(3);
    timeouts.connect = Duration::from_secs(4);
    RawConnect::new(place).unwrap().timeouts(timeouts).unwrap()
}

fn named(bench: &Bench, addresses: &[&str]) {
    let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
    bench.network.name("db.example.com", addresses);
}

#[test]
fn bytes_go_to_a_server_and_come_back() {
    let mut bench = Bench::new();
    named(&bench, &["10.0.0.1"]);
    let listener = bench.network.listen(&ip("10.0.0.1:5432"));
    let id = bench.connect_to(to("db.example.com:5432"));
    let mut server = None;
    bench.until(|_| {
        server = server.take().or_else(|| listener.accept());
        server.is_some()
    });
    let server = server.unwrap();
    server.send(b"hello");
    let mut back = Vec::new();
    bench.until(|_| {
        back.extend(server.recv());
        back == b"hello"
    });
    assert!(bench.service.control().connection(id).unwrap().is_client());
    assert_eq!(bench.story_of(id).received, b"hello");
    server.shutdown();
    bench.until(|_| server.end() == Some(PeerEnd::Finished));
    assert_eq!(bench.story_of(id).notes, [Note::Open, Note::Ended, Note::Closed(RawClosed::Peer)]);
    let statistics = bench.service.statistics();
    assert_eq!((statistics.connections.connected, statistics.raw_closes.peer), (1, 1));
    bench.finish();
}

#[test]
fn a_silent_address_has_a_head_start_only() {
    let mut bench = Bench::new();
    named(&bench, &["10.0.0.1", "2001:db8::1", "10.0.0.2"]);
    bench.network.silence(&ip("10.0.0.1:25"));
    let listener = bench.network.listen(&ip("[2001:db8::1]:25"));
    let id = bench.connect_to(to("db.example.com:25"));
    let took = bench.until(|bench| bench.story_of(id).notes == [Note::Open]);
    assert_eq!(took, Duration::from_millis(250));
    assert_eq!(bench.host.open_handles(), 3, "the loser is gone");
    drop(listener);
    bench.finish();
}

#[test]
fn each_failure_is_told_once_with_its_stage() {
    let mut bench = Bench::new();
    bench.network.name_stalls("stalls");
    bench.network.silence(&ip("10.0.0.9:1"));
    let cases: [(RawConnect, u64, &str); 6] = [
        (to("10.0.0.1:1"), 0, "connecting to 10.0.0.1:1 failed: Connection refused"),
        (to("unknown:1"), 0, "unknown: no such host"),
        (to("stalls:1"), 3, "the host lookup did not finish within 3s"),
        (to("10.0.0.9:1"), 4, "no address accepted the connection within 4s"),
        (to("10.0.0.9:1").timeout(Duration::from_secs(2)).unwrap(), 2, "no address accepted the connection within 2s"),
        (
            RawConnect::from(Address::Unix("/run/nobody".into())),
            0,
            "connecting to unix:/run/nobody failed: No such file or directory",
        ),
    ];
    for (connect, seconds, why) in cases {
        let id = bench.connect_to(connect);
        assert_eq!(bench.failed(id), (Duration::from_secs(seconds), why.to_owned()));
    }
    let failures = bench.service.statistics().failures;
    assert_eq!((failures.resolve, failures.connect), (2, 4));
    bench.finish();
}

#[test]
fn it_is_cancelled_at_every_stage() {
    let mut bench = Bench::new();
    bench.network.name_stalls("stalls");
    bench.network.silence(&ip("10.0.0.9:1"));
    for place in ["stalls:1", "10.0.0.9:1"] {
        for turns in [0, 1] {
            let id = bench.connect_to(to(place));
            (0..turns).for_each(|_| bench.turn());
            bench.service.control().connection(id).unwrap().close(CloseCode::NORMAL);
            assert_eq!(bench.failed(id), (Duration::ZERO, "the connection attempt was cancelled".to_owned()));
            assert!(bench.service.control().connection(id).is_err());
        }
    }
    bench.finish();
}

#[test]
fn there_is_no_room_and_no_time_after_the_end() {
    let mut limits = Limits::default();
    limits.connections = Some(1);
    let mut bench = Bench::with(Faults::none(), limits);
    let peer = bench.connect();
    bench.until(|bench| bench.is_open(0));
    let id = bench.connect_to(to("10.0.0.9:1"));
    assert_eq!(bench.failed(id).1, "too many connections: the limit is 1");
    bench.service.drain();
    let id = bench.connect_to(to("10.0.0.9:1"));
    assert_eq!(bench.failed(id).1, "the service stopped before the connection opened");
    bench.until(|_| peer.is_closed());
    drop(peer);
    bench.finish();
}

#[test]
fn the_source_address_and_unix_sockets_are_as_for_websockets() {
    let mut bench = Bench::new();
    let listener = bench.network.listen(&ip("10.0.0.1:7"));
    let local = bench.network.listen(&Address::Unix("/run/daemon".into()));
    let id = bench.connect_to(to("10.0.0.1:7").source([10, 0, 0, 77].into()));
    let by_path = bench.connect_to(to("ignored:1").to([Address::Unix("/run/daemon".into())]));
    bench.until(|bench| [id, by_path].iter().all(|&id| bench.story_of(id).notes == [Note::Open]));
    let (server, at_path) = (listener.accept().unwrap(), local.accept().unwrap());
    let Address::Ip(from) = server.remote_address() else { panic!("it has an address") };
    assert_eq!(from.ip(), IpAddr::from([10, 0, 0, 77]));
    drop((server, at_path));
    bench.finish();
}

#[test]
fn whatever_the_network_does_there_is_one_outcome() {
    let mut opened = 0;
    for seed in seeds(60) {
        let network = Network::with_faults(seed, Faults::usual());
        let address = Address::Ip(([10, 0, 0, 1], 7).into());
        network.name("server", [[10, 0, 0, 9].into(), [10, 0, 0, 1].into()]);
        let mut builder = Service::builder();
        let echo = builder.add_raw(Echo { said: Vec::new(), heard: Vec::new(), ends: 0 });
        let server = builder.listen_raw(address.clone(), echo).build_with(network.sys()).unwrap();
        let mut builder = Service::builder();
        let asks = builder.add_raw(Echo { said: vec![b'q'; 50_000], heard: Vec::new(), ends: 0 });
        let client = builder.build_with(network.sys()).unwrap();
        let mut both = Together { network, services: [server, client] };
        both.services[1].control().endpoint(asks).unwrap().connect(to("server:7"));
        both.turn_until(Duration::from_secs(60), |both| {
            let mut control = both.services[1].control();
            control.endpoint_object(asks).unwrap().ends == 1 && control.connections() == 0
        });
        let mut control = both.services[1].control();
        let object = control.endpoint_object(asks).unwrap();
        assert_eq!(object.ends, 1, "seed {seed}");
        opened += usize::from(object.heard.len() == 50_000);
    }
    assert!(opened > 20, "only {opened} came through");
}

/// Says something, and hears it back. The one without anything to say says what it hears.
struct Echo {
    said: Vec<u8>,
    heard: Vec<u8>,
    ends: usize,
}

impl Raw for Echo {
    type Session = Vec<u8>;

    fn name(&self) -> &str {
        "echo"
    }

    fn open(&mut self, cx: &mut RawCx<'_>) -> Vec<u8> {
        cx.request_writable();
        self.said.clone()
    }

    fn receive(&mut self, cx: &mut RawCx<'_>, out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), RawClose> {
        if cx.is_client() {
            self.heard.extend_from_slice(bytes);
            return if self.heard.len() == self.said.len() { Err(RawClose::Normal) } else { Ok(()) };
        }
        out.extend_from_slice(bytes);
        cx.request_writable();
        Ok(())
    }

    fn writable(
        &mut self,
        _: &mut RawCx<'_>,
        out: &mut Vec<u8>,
        tx: sockeye::raw::RawWritable<'_>,
    ) -> Result<(), RawClose> {
        tx.write(out);
        out.clear();
        Ok(())
    }

    fn closed(&mut self, _: &mut sockeye::raw::RawClosedCx<'_>, _: Vec<u8>, _: RawClosed) {
        self.ends += 1;
    }

    fn failed(&mut self, _: &mut EndpointMut<'_>, _: ConnId, _: Failure) {
        self.ends += 1;
    }
}

fn connect(real: &mut Real, name: &str, connect: RawConnect) -> ConnId {
    real.service.control().endpoint_named(name).unwrap().connect(connect)
}

#[test]
fn over_real_sockets() {
    both(|mut real| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = format!("localhost:{}", listener.local_addr().unwrap().port());
        let id = connect(&mut real, NAME, RawConnect::new(&place).unwrap());
        real.until(|real| !real.log.borrow().is_empty());
        let (mut server, _) = listener.accept().unwrap();
        server.write_all(b"hello").unwrap();
        let mut back = [0; 5];
        real.until(|real| real.received(id) == b"hello");
        server.read_exact(&mut back).unwrap();
        assert_eq!((&back, &real.story(id).notes[..]), (b"hello", &[Note::Open][..]));
        assert!(real.is_quiet());
        drop(server);
        assert_eq!(real.end_of(id), RawClosed::Peer);

        drop(listener);
        let id = connect(&mut real, NAME, RawConnect::new(&place).unwrap());
        real.until(|real| real.log.borrow().len() == 2);
        let [Note::Failed(why)] = &real.story(id).notes[..] else { panic!("it did not fail") };
        assert!(why.starts_with("connecting to ") && why.contains("Connection refused"), "{why}");
    });
}

#[test]
fn to_a_real_unix_socket() {
    both(|mut real| {
        let path = std::env::temp_dir().join(format!("sockeye-connects-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let id = connect(&mut real, NAME, Address::Unix(path.clone()).into());
        real.until(|real| !real.log.borrow().is_empty());
        let (mut server, _) = listener.accept().unwrap();
        server.write_all(b"N").unwrap();
        assert_eq!(real.end_of(id), RawClosed::Local);
        std::fs::remove_file(path).unwrap();
    });
}

/// Reads the descriptor itself.
struct Reads {
    heard: Vec<u8>,
    failed: Option<String>,
}

impl Watcher for Reads {
    type Session = ();

    fn name(&self) -> &str {
        "reads"
    }

    fn open(&mut self, cx: &mut RawCx<'_>) {
        assert!(cx.is_client());
        cx.request_writable();
    }

    fn readable(&mut self, _: &mut RawCx<'_>, (): &mut (), fd: BorrowedFd<'_>) -> Result<(), RawClose> {
        let mut bytes = [0; 100];
        let count = rustix::io::read(fd, &mut bytes).unwrap();
        self.heard.extend_from_slice(&bytes[..count]);
        if count == 0 { Err(RawClose::Normal) } else { Ok(()) }
    }

    fn writable(&mut self, _: &mut RawCx<'_>, (): &mut (), fd: BorrowedFd<'_>) -> Result<(), RawClose> {
        assert_eq!(rustix::io::write(fd, b"hello").unwrap(), 5);
        Ok(())
    }

    fn failed(&mut self, _: &mut EndpointMut<'_>, _: ConnId, failure: Failure) {
        self.failed = Some(failure.to_string());
    }
}

#[test]
fn the_descriptor_of_a_connection_is_lent_to_a_watcher() {
    both_with(
        1,
        |builder| builder.watcher(Reads { heard: Vec::new(), failed: None }),
        |mut real| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let id = connect(&mut real, "reads", Address::Ip(listener.local_addr().unwrap()).into());
            real.until(|real| real.service.statistics().connections.connected == 1);
            let (mut server, _) = listener.accept().unwrap();
            server.set_nonblocking(true).unwrap();
            let mut hello = [0; 5];
            real.until(|_| server.peek(&mut hello).is_ok_and(|count| count == 5));
            server.read_exact(&mut hello).unwrap();
            assert_eq!(&hello, b"hello");
            assert!(real.is_quiet());
            drop(server);
            real.until(|real| real.service.connections() == 0);
            assert!(real.service.control().connection(id).is_err());
        },
    );
}

#[test]
fn the_simulator_has_no_descriptor_to_lend() {
    let network = Network::with_faults(1, Faults::none());
    let _listener = network.listen(&ip("10.0.0.1:7"));
    let mut builder = Service::builder();
    let reads = builder.add_watcher(Reads { heard: Vec::new(), failed: None });
    let service = builder.build_with(network.sys()).unwrap();
    let mut alone = Together { network, services: [service] };
    alone.services[0].control().endpoint(reads).unwrap().connect(to("10.0.0.1:7"));
    alone.turn_for(Duration::from_secs(1));
    let failed = alone.services[0].control().endpoint_object(reads).unwrap().failed.take();
    assert!(failed.is_some_and(|why| why.starts_with("the connection broke")));
    assert_eq!(alone.services[0].connections(), 0);
}
