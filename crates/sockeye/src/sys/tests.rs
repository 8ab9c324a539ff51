//! What every back end promises, as one list of tests that each of them passes.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use sockeye_proto::time::Instant;

use super::{Address, CloseHow, ConnectOptions, Handle, ListenOptions, Readiness, Real, Sys, WAKE};
use crate::sim;

mod connect;

/// A back end, and somebody at the other end of its connections.
struct World {
    sys: Box<dyn Sys>,
    address: Address,
    connect: Connect,
    /// An address where nobody answers, if there can be one.
    silent: Silent,
    /// No edge is reported but those that are promised.
    is_exact: bool,
    has_resets: bool,
}

type Silent = Box<dyn Fn(&mut dyn Sys) -> Option<Address>>;

type Connect = Box<dyn Fn(&Address) -> Box<dyn Far>>;

/// The other end of a connection. Nothing here waits.
trait Far {
    fn send(&mut self, bytes: &[u8]);
    fn recv(&mut self) -> Vec<u8>;
    /// How the near end ended, once everything before it was received.
    fn end(&mut self) -> Option<sim::PeerEnd>;
    fn shutdown(&mut self);
    fn reset(self: Box<Self>);
    fn stop_reading(&mut self) {}
    fn start_reading(&mut self) {}
}

#[test]
fn the_system_keeps_its_promises_over_tcp() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        for test in TESTS {
            test(&mut real(Address::Ip(address.parse().unwrap()), true));
        }
    }
}

#[test]
fn the_system_keeps_its_promises_over_unix_sockets() {
    for (number, test) in TESTS.iter().enumerate() {
        let name = format!("sockeye-sys-{}-{number}", std::process::id());
        test(&mut real(Address::Unix(std::env::temp_dir().join(name)), false));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_system_keeps_its_promises_over_abstract_sockets() {
    for (number, test) in TESTS.iter().enumerate() {
        let name = format!("sockeye-sys-{}-{number}", std::process::id());
        test(&mut real(Address::Abstract(name.into()), false));
    }
}

#[test]
fn the_simulated_network_keeps_its_promises() {
    // A call that a signal interrupts is repeated by its caller: the tests of the simulator and of the loop do so.
    let faults = sim::Faults::usual().with(sim::Fault::Interrupted, 0);
    for seed in sim::seeds(40) {
        for test in TESTS {
            test(&mut simulated(sim::Network::with_faults(seed, faults.clone()), false));
        }
    }
    for test in TESTS {
        test(&mut simulated(sim::Network::with_faults(0, sim::Faults::none()), true));
        let network = sim::Network::with_faults(0, sim::Faults::none());
        test(&mut World { address: Address::Unix("/run/sockeye".into()), ..simulated(network, true) });
        let network = sim::Network::with_faults(0, sim::Faults::none());
        test(&mut World { address: Address::Abstract("sockeye".into()), ..simulated(network, true) });
    }
}

#[test]
fn systems_of_a_process_have_one_clock_and_hosts_of_a_network_too() {
    let network = sim::Network::new(7);
    let (real, simulated) = ([Real::new().unwrap(), Real::new().unwrap()], [network.sys(), network.sys()]);
    let real: [Box<dyn Sys>; 2] = real.map(|sys| -> Box<dyn Sys> { Box::new(sys) });
    for [mut one, mut other] in [real, simulated] {
        let times = [one.now(), other.now(), one.now(), other.now()];
        assert!(times.is_sorted(), "{times:?}");
    }
}

const TESTS: [fn(&mut World); 23] = [
    bytes_come_and_go,
    an_edge_is_reported_once,
    registration_reports_what_is_there,
    nothing_to_read_is_would_block,
    the_end_of_input_is_zero_for_good,
    half_a_connection_still_sends,
    a_full_output_gives_an_edge_when_there_is_room,
    a_reset_is_an_error_once,
    closing_tells_the_peer,
    closing_with_unread_input_resets,
    sending_to_a_closed_peer_fails_in_the_end,
    handles_are_reused,
    wake_ups_are_reported,
    misuse_is_refused,
    waiting_takes_its_time,
    connect::a_connection_stands_and_carries,
    connect::nobody_listening_is_an_error_told_once,
    connect::a_connecting_handle_is_closed_at_any_time,
    connect::an_attempt_that_nobody_answers_says_nothing,
    connect::another_token_is_a_first_edge,
    connect::addresses_of_both_ends_agree,
    connect::names_are_looked_up_off_the_thread,
    connect::addresses_are_names_of_their_own,
];

fn bytes_come_and_go(world: &mut World) {
    let (handle, mut far) = world.pair();
    far.send(b"hello, ");
    far.send(b"sockeye");
    assert_eq!(world.recv_until(handle, 14), b"hello, sockeye");
    // Several buffers leave in order, in one call or in more.
    let mut rest: Vec<u8> = Vec::new();
    let parts: Vec<[u8; 2]> = (0..3000_u16).map(u16::to_be_bytes).collect();
    rest.extend(parts.iter().flatten());
    let whole = rest.clone();
    let received = world.exchange(handle, far.as_mut(), |sys| {
        let slices: Vec<IoSlice<'_>> = rest.chunks(2).map(IoSlice::new).collect();
        let count = if slices.is_empty() { 0 } else { count_of(sys.send(handle, &slices)) };
        rest.drain(..count);
        rest.is_empty()
    });
    assert_eq!(received, whole);
}

fn an_edge_is_reported_once(world: &mut World) {
    if !world.is_exact {
        return;
    }
    let (handle, mut far) = world.pair();
    world.drain(handle);
    for byte in [b"1", b"2"] {
        far.send(byte);
        assert!(world.wait_for(CONNECTION, |report| report.readable).writable, "all that is ready is shown");
        assert_eq!(world.wait(Duration::from_millis(20)), [], "an edge comes once, read or not");
        assert_eq!(world.recv_until(handle, 1), byte);
    }
}

fn registration_reports_what_is_there(world: &mut World) {
    let (listener, address) = world.listen();
    let mut far = (world.connect)(&address);
    far.send(b"early");
    let handle = world.accept(listener);
    // Long enough for the bytes to arrive: the edge must not be missed because it is older than the registration.
    world.wait(Duration::from_millis(20));
    world.sys.register(handle, CONNECTION).unwrap();
    world.wait_for(CONNECTION, |report| report.writable);
    assert_eq!(world.recv_until(handle, 5), b"early");
}

fn nothing_to_read_is_would_block(world: &mut World) {
    let (listener, _) = world.listen();
    assert_eq!(kind(world.sys.accept(listener)), ErrorKind::WouldBlock);
    let (handle, _far) = world.pair();
    assert_eq!(kind(world.sys.recv(handle, &mut [0; 8])), ErrorKind::WouldBlock);
}

fn the_end_of_input_is_zero_for_good(world: &mut World) {
    let (handle, mut far) = world.pair();
    far.send(b"bye");
    far.shutdown();
    let mut received = Vec::new();
    // Read only what reports call for, and take a short count for drained unless the end was reported: nothing may hang.
    while !received.ends_with(b"(end)") {
        let report = world.wait_for(CONNECTION, |report| report.readable);
        loop {
            let mut buffer = [0; 64];
            match world.sys.recv(handle, &mut buffer) {
                Ok(0) => {
                    received.extend(b"(end)");
                    break;
                }
                Ok(count) => received.extend(&buffer[..count]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => panic!("{e}"),
            }
            if !report.read_closed {
                break;
            }
        }
    }
    assert_eq!(received, b"bye(end)");
    for _ in 0..3 {
        assert_eq!(world.recv_patiently(handle), Ok(Vec::new()));
    }
}

fn half_a_connection_still_sends(world: &mut World) {
    let (handle, mut far) = world.pair();
    far.shutdown();
    assert_eq!(world.recv_patiently(handle), Ok(Vec::new()));
    let mut rest = b"still here".to_vec();
    let received = world.exchange(handle, far.as_mut(), |sys| {
        let count = if rest.is_empty() { 0 } else { count_of(sys.send(handle, &[IoSlice::new(&rest)])) };
        rest.drain(..count);
        rest.is_empty()
    });
    assert_eq!(received, b"still here");
    // The other way round: our end first, and then both are over, which is an error edge.
    let (handle, mut far) = world.pair();
    world.drain(handle);
    world.sys.shutdown_write(handle).unwrap();
    assert_eq!(world.far_end(far.as_mut()), sim::PeerEnd::Finished);
    assert_eq!(kind(world.sys.send(handle, &[IoSlice::new(b"late")])), ErrorKind::BrokenPipe);
    far.send(b"answer");
    assert_eq!(world.recv_until(handle, 6), b"answer");
    far.shutdown();
    world.wait_for(CONNECTION, |report| report.error);
    assert_eq!(world.recv_patiently(handle), Ok(Vec::new()));
}

fn a_full_output_gives_an_edge_when_there_is_room(world: &mut World) {
    let (handle, mut far) = world.pair();
    far.stop_reading();
    let chunk: Vec<u8> = (0..100_000_u32).map(|i| (i % 251) as u8).collect();
    let mut sent = Vec::<u8>::new();
    loop {
        match world.sys.send(handle, &[IoSlice::new(&chunk)]) {
            Ok(count) => sent.extend(&chunk[..count]),
            Err(e) if e.kind() == ErrorKind::WouldBlock => break,
            Err(e) => panic!("{e}"),
        }
        assert!(sent.len() < 1 << 26, "an output has bounds");
    }
    far.start_reading();
    let mut received = Vec::new();
    world.poll_until("a writable edge", |_, reports| {
        received.extend(far.recv());
        reports.iter().any(|report| report.token == CONNECTION && report.writable)
    });
    world.poll_until("the rest", |_, _| {
        received.extend(far.recv());
        received.len() >= sent.len()
    });
    assert!(received == sent, "bytes come in order");
}

fn a_reset_is_an_error_once(world: &mut World) {
    if !world.has_resets {
        return;
    }
    for sends in [false, true] {
        let (handle, far) = world.pair();
        far.reset();
        world.wait_for(CONNECTION, |report| report.error && report.read_closed);
        let send = |world: &mut World| world.sys.send(handle, &[IoSlice::new(b"x")]).map(|_| ());
        if sends {
            assert_eq!(kind(send(world)), ErrorKind::ConnectionReset);
        } else {
            assert_eq!(world.recv_patiently(handle), Err(ErrorKind::ConnectionReset));
        }
        assert_eq!(world.recv_patiently(handle), Ok(Vec::new()));
        assert_eq!(kind(send(world)), ErrorKind::BrokenPipe);
        world.sys.close(handle, CloseHow::Normal);
    }
}

fn closing_tells_the_peer(world: &mut World) {
    let (handle, mut far) = world.pair();
    // Taken or not: what was taken is delivered before the end.
    let sent = count_of(world.sys.send(handle, &[IoSlice::new(b"x")]));
    world.sys.close(handle, CloseHow::Normal);
    let mut received = Vec::new();
    world.poll_until("the end", |_, _| {
        received.extend(far.recv());
        far.end() == Some(sim::PeerEnd::Finished)
    });
    assert_eq!(received.len() + far.recv().len(), sent);
    if world.has_resets {
        let (handle, mut far) = world.pair();
        world.sys.close(handle, CloseHow::Reset);
        assert_eq!(world.far_end(far.as_mut()), sim::PeerEnd::Reset);
    }
}

fn closing_with_unread_input_resets(world: &mut World) {
    if !world.has_resets {
        return;
    }
    let (handle, mut far) = world.pair();
    far.send(b"nobody reads this");
    world.wait_for(CONNECTION, |report| report.readable);
    // A spurious report may have come before the bytes.
    world.recv_until(handle, 1);
    world.wait(Duration::from_millis(50));
    far.send(b"nor this");
    world.wait(Duration::from_millis(50));
    world.sys.close(handle, CloseHow::Normal);
    assert_eq!(world.far_end(far.as_mut()), sim::PeerEnd::Reset);
}

fn sending_to_a_closed_peer_fails_in_the_end(world: &mut World) {
    if !world.has_resets {
        return;
    }
    let (handle, far) = world.pair();
    drop(far);
    assert_eq!(world.recv_patiently(handle), Ok(Vec::new()));
    // The first bytes are taken; the answer to them is a reset.
    world.poll_until("room", |world, _| count_of(world.sys.send(handle, &[IoSlice::new(b"x")])) > 0);
    world.wait_for(CONNECTION, |report| report.error);
    for _ in 0..2 {
        assert_eq!(kind(world.sys.send(handle, &[IoSlice::new(b"x")])), ErrorKind::BrokenPipe);
        assert_eq!(world.recv_patiently(handle), Ok(Vec::new()));
    }
}

fn handles_are_reused(world: &mut World) {
    let (listener, address) = world.listen();
    let _far = [(world.connect)(&address), (world.connect)(&address)];
    let first = world.accept(listener);
    world.sys.register(first, CONNECTION).unwrap();
    world.sys.close(first, CloseHow::Normal);
    // No assertion on the number: in a process with threads somebody else may have taken it.
    let second = world.accept(listener);
    world.sys.register(second, CONNECTION).unwrap();
    world.wait_for(CONNECTION, |report| report.writable);
}

fn wake_ups_are_reported(world: &mut World) {
    let waker = world.sys.waker();
    let other = world.sys.waker();
    thread::spawn(move || other.wake()).join().unwrap();
    world.wait_for(WAKE, |report| report.readable);
    waker.wake();
    waker.wake();
    world.wait_for(WAKE, |report| report.readable);
    if world.is_exact {
        assert_eq!(world.wait(Duration::from_millis(20)), []);
    }
}

fn misuse_is_refused(world: &mut World) {
    let (handle, _far) = world.pair();
    assert_eq!(kind(world.sys.register(handle, 9)), ErrorKind::AlreadyExists);
    let (listener, address) = world.listen();
    assert_eq!(kind(world.sys.register(listener, WAKE)), ErrorKind::InvalidInput);
    assert_eq!(kind(world.sys.listen(&address, &ListenOptions::default())), ErrorKind::AddrInUse);
    assert_eq!(kind(world.sys.listen(&Address::Unnamed, &ListenOptions::default())), ErrorKind::InvalidInput);
    let descriptors = world.sys.descriptors();
    assert!(descriptors.in_use >= 5 && descriptors.in_use < descriptors.limit, "{descriptors:?}");
}

fn waiting_takes_its_time(world: &mut World) {
    let (started, wall) = (world.sys.now(), world.sys.wall_clock());
    assert!(wall > 1_600_000_000);
    world.wait(Duration::from_millis(30));
    assert!(world.sys.now().saturating_duration_since(started) >= Duration::from_millis(30));
    let (mut first, mut second) = ([0; 33], [0; 33]);
    world.sys.random(&mut first).unwrap();
    world.sys.random(&mut second).unwrap();
    assert!(first != second && first[25..] != [0; 8]);
}

impl World {
    fn listen(&mut self) -> (Handle, Address) {
        let (listener, address) = self.sys.listen(&self.address, &ListenOptions::default()).unwrap();
        if let (Address::Ip(asked), Address::Ip(given)) = (&self.address, &address) {
            assert!(asked.ip() == given.ip() && given.port() != 0);
        }
        if let Address::Unix(path) = &mut self.address {
            // The next one needs a name of its own.
            path.set_extension(format!("{}", listener.get()));
        }
        if let Address::Abstract(name) = &mut self.address {
            name.extend(listener.get().to_be_bytes());
        }
        (listener, address)
    }

    fn accept(&mut self, listener: Handle) -> Handle {
        let mut accepted = None;
        self.poll_until("a connection", |world, _| {
            accepted = world.sys.accept(listener).map_err(|e| assert_eq!(e.kind(), ErrorKind::WouldBlock)).ok();
            accepted.is_some()
        });
        accepted.unwrap().0
    }

    /// A connection that was accepted after the listener's edge, registered, and its far end.
    fn pair(&mut self) -> (Handle, Box<dyn Far>) {
        let (listener, address) = self.listen();
        self.sys.register(listener, LISTENER).unwrap();
        let far = (self.connect)(&address);
        self.wait_for(LISTENER, |report| report.readable);
        let handle = self.accept(listener);
        self.sys.close(listener, CloseHow::Normal);
        self.sys.register(handle, CONNECTION).unwrap();
        self.wait_for(CONNECTION, |report| report.writable);
        (handle, far)
    }

    /// Every report of the next `duration`.
    fn wait(&mut self, duration: Duration) -> Vec<Readiness> {
        let until = self.sys.now() + duration;
        let mut all = Vec::new();
        loop {
            let left = until.saturating_duration_since(self.sys.now());
            all.extend(self.wait_once(left));
            if left == Duration::ZERO {
                return all;
            }
        }
    }

    fn wait_once(&mut self, timeout: Duration) -> Vec<Readiness> {
        let mut ready = vec![Readiness::new(77)];
        match self.sys.wait(Some(timeout), &mut ready) {
            Err(e) => assert_eq!(e.kind(), ErrorKind::Interrupted),
            Ok(()) => assert!(ready.iter().all(|report| report.token != 77), "what was there is cleared"),
        }
        ready.retain(|report| report.token != 77);
        ready
    }

    /// Tries until it comes true, with the reports since the last time.
    fn poll_until(&mut self, what: &str, mut is_true: impl FnMut(&mut Self, &[Readiness]) -> bool) {
        let give_up: Instant = self.sys.now() + Duration::from_secs(30);
        let mut reports = Vec::new();
        while !is_true(self, &reports) {
            assert!(self.sys.now() < give_up, "waited in vain for {what}");
            reports = self.wait_once(Duration::from_millis(1));
        }
    }

    fn wait_for(&mut self, token: u64, is_it: impl Fn(&Readiness) -> bool) -> Readiness {
        let mut found = None;
        self.poll_until(&format!("a report of token {token}"), |_, reports| {
            found = reports.iter().copied().find(|report| report.token == token && is_it(report));
            found.is_some()
        });
        found.unwrap()
    }

    fn drain(&mut self, handle: Handle) {
        assert_eq!(kind(self.sys.recv(handle, &mut [0; 64])), ErrorKind::WouldBlock);
    }

    /// What one `recv` that is not `WouldBlock` gives.
    fn recv_patiently(&mut self, handle: Handle) -> Result<Vec<u8>, ErrorKind> {
        let mut result = None;
        self.poll_until("something to read", |world, _| {
            let mut buffer = [0; 64];
            result = match world.sys.recv(handle, &mut buffer) {
                Ok(count) => Some(Ok(buffer[..count].to_vec())),
                Err(e) if e.kind() == ErrorKind::WouldBlock => None,
                Err(e) => Some(Err(e.kind())),
            };
            result.is_some()
        });
        result.unwrap()
    }

    fn recv_until(&mut self, handle: Handle, length: usize) -> Vec<u8> {
        let mut received = Vec::new();
        while received.len() < length {
            let bytes = self.recv_patiently(handle).unwrap();
            assert!(!bytes.is_empty(), "the input ended after {received:?}");
            received.extend(bytes);
        }
        received
    }

    /// Lets `send` send until it says that all is sent, then ends our side; what the far end received.
    fn exchange(&mut self, handle: Handle, far: &mut dyn Far, mut send: impl FnMut(&mut dyn Sys) -> bool) -> Vec<u8> {
        let mut received = Vec::new();
        self.poll_until("room", |world, _| {
            received.extend(far.recv());
            send(world.sys.as_mut())
        });
        self.sys.shutdown_write(handle).unwrap();
        self.poll_until("the end", |_, _| {
            received.extend(far.recv());
            far.end().is_some()
        });
        received.extend(far.recv());
        received
    }

    fn far_end(&mut self, far: &mut dyn Far) -> sim::PeerEnd {
        let mut end = None;
        self.poll_until("the far end to see the end", |_, _| {
            far.recv();
            end = far.end();
            end.is_some()
        });
        end.unwrap()
    }
}

fn kind<T>(result: io::Result<T>) -> ErrorKind {
    result.err().expect("an error").kind()
}

fn count_of(result: io::Result<usize>) -> usize {
    result.unwrap_or_else(|e| {
        assert_eq!(e.kind(), ErrorKind::WouldBlock);
        0
    })
}

fn simulated(network: sim::Network, is_exact: bool) -> World {
    let silent = network.clone();
    World {
        sys: network.sys(),
        address: Address::Ip(([10, 0, 0, 1], 0).into()),
        silent: Box::new(move |_| {
            let address = Address::Ip(([10, 0, 0, 2], 80).into());
            silent.silence(&address);
            Some(address)
        }),
        connect: Box::new(move |address| Box::new(network.connect(address).unwrap())),
        is_exact,
        has_resets: true,
    }
}

impl Far for sim::Peer {
    fn send(&mut self, bytes: &[u8]) {
        Self::send(self, bytes);
    }

    fn recv(&mut self) -> Vec<u8> {
        Self::recv(self)
    }

    fn end(&mut self) -> Option<sim::PeerEnd> {
        Self::end(self)
    }

    fn shutdown(&mut self) {
        Self::shutdown(self);
    }

    fn reset(self: Box<Self>) {
        Self::reset(&self);
    }

    fn stop_reading(&mut self) {
        self.set_window(0);
    }

    fn start_reading(&mut self) {
        self.set_window(usize::MAX);
    }
}

fn real(address: Address, has_resets: bool) -> World {
    let connect = |address: &Address| match address {
        Address::Ip(ip) => {
            let stream = TcpStream::connect(ip).unwrap();
            stream.set_nonblocking(true).unwrap();
            Box::new(Socket { stream, shutdown: |stream| stream.shutdown(Shutdown::Write), end: None }) as Box<dyn Far>
        }
        Address::Unix(path) => {
            let stream = UnixStream::connect(path).unwrap();
            stream.set_nonblocking(true).unwrap();
            Box::new(Socket { stream, shutdown: |stream| stream.shutdown(Shutdown::Write), end: None })
        }
        #[cfg(target_os = "linux")]
        Address::Abstract(name) => {
            use std::os::linux::net::SocketAddrExt;
            let name = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
            let stream = UnixStream::connect_addr(&name).unwrap();
            stream.set_nonblocking(true).unwrap();
            Box::new(Socket { stream, shutdown: |stream| stream.shutdown(Shutdown::Write), end: None })
        }
        other => unreachable!("nobody listens on {other}"),
    };
    let anywhere = address.clone();
    World {
        sys: Box::new(Real::new().unwrap()),
        address,
        connect: Box::new(connect),
        silent: Box::new(move |sys| full_listener(sys, &anywhere)),
        is_exact: true,
        has_resets,
    }
}

/// The address of a TCP listener whose queue is full. Linux drops requests that have no room; other systems refuse some.
fn full_listener(sys: &mut dyn Sys, anywhere: &Address) -> Option<Address> {
    if !cfg!(target_os = "linux") || !matches!(anywhere, Address::Ip(_)) {
        return None;
    }
    let options = ListenOptions { backlog: 1, ..ListenOptions::default() };
    let (_, address) = sys.listen(anywhere, &options).unwrap();
    for _ in 0..16 {
        let handle = sys.connect(&address, &ConnectOptions::default()).unwrap();
        thread::sleep(Duration::from_millis(20));
        if !sys.connected(handle).unwrap() {
            sys.close(handle, CloseHow::Reset);
            return Some(address);
        }
    }
    panic!("the queue is never full");
}

struct Socket<S> {
    stream: S,
    shutdown: fn(&S) -> io::Result<()>,
    end: Option<sim::PeerEnd>,
}

impl<S: Read + Write + AsFd> Far for Socket<S> {
    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    fn recv(&mut self) -> Vec<u8> {
        let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
        while self.end.is_none() {
            match self.stream.read(&mut buffer) {
                Ok(0) => self.end = Some(sim::PeerEnd::Finished),
                Ok(count) => all.extend(&buffer[..count]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.end = Some(sim::PeerEnd::Reset),
            }
        }
        all
    }

    fn end(&mut self) -> Option<sim::PeerEnd> {
        self.end
    }

    fn shutdown(&mut self) {
        (self.shutdown)(&self.stream).unwrap();
    }

    fn reset(self: Box<Self>) {
        rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO)).unwrap();
    }
}

const LISTENER: u64 = 1;
const CONNECTION: u64 = u64::MAX - 1;
