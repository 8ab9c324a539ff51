//! Hosts that connect: to each other, to scripts, and to nobody.

use std::io;
use std::net::{IpAddr, SocketAddr};

use super::*;
use crate::sim::Listener;
use crate::sys::{ConnectOptions, QUESTIONS, Resolved};

/// A program that calls a server by name, a number of times: each call looks the name up, connects, sends, ends its side
/// and reads to the end. Whatever fails is begun anew after a while. It relies on nothing but the promises of `sys`.
struct Caller {
    sys: Box<dyn Sys>,
    port: u16,
    calls: Vec<Call>,
    retries: usize,
}

struct Call {
    phase: Phase,
    sent: Vec<u8>,
    received: Vec<u8>,
    attempts: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Asking,
    Connecting(Handle),
    Talking(Handle, usize),
    Waiting(Instant),
    Done,
}

impl Caller {
    fn new(host: &Host, port: u16, calls: usize, length: usize) -> Self {
        let call = |n| Call { phase: Phase::Asking, sent: bytes(length, n), received: Vec::new(), attempts: 0 };
        let mut new = Self { sys: host.sys(), port, calls: (0..calls).map(call).collect(), retries: 0 };
        for n in 0..calls {
            new.ask(n);
        }
        new
    }

    fn turn(&mut self) -> Option<Instant> {
        let mut ready = Vec::new();
        if let Err(e) = self.sys.wait(Some(Duration::ZERO), &mut ready) {
            assert_eq!(e.kind(), ErrorKind::Interrupted);
        }
        for report in ready {
            if report.token == WAKE {
                while let Some(Resolved { ticket, addresses, .. }) = self.sys.resolved() {
                    self.answered((ticket & 0xffff) as usize, ticket >> 16, addresses);
                }
            } else {
                // Half of the token is the attempt: what comes late is not for its successor.
                let n = (report.token & 0xffff) as usize;
                if self.calls[n].attempts == report.token >> 16 {
                    self.serve(n);
                }
            }
        }
        let now = self.sys.now();
        let mut next: Option<Instant> = None;
        for n in 0..self.calls.len() {
            match self.calls[n].phase {
                Phase::Waiting(at) if at <= now => self.ask(n),
                Phase::Waiting(at) => next = Some(next.map_or(at, |next| next.min(at))),
                _ => {}
            }
        }
        next
    }

    fn ask(&mut self, n: usize) {
        let call = &mut self.calls[n];
        call.attempts += 1;
        (call.phase, call.received) = (Phase::Asking, Vec::new());
        self.sys.resolve(self.token(n), "server.test", self.port).unwrap();
    }

    fn token(&self, n: usize) -> u64 {
        self.calls[n].attempts << 16 | n as u64
    }

    fn answered(&mut self, n: usize, attempt: u64, addresses: io::Result<Vec<SocketAddr>>) {
        assert_eq!(
            (self.calls[n].phase, self.calls[n].attempts),
            (Phase::Asking, attempt),
            "each question has one answer"
        );
        let Ok(addresses) = addresses else { return self.retry(n) };
        match self.sys.connect(&Address::Ip(addresses[0]), &ConnectOptions::default()) {
            Ok(handle) => {
                self.calls[n].phase = Phase::Connecting(handle);
                if self.sys.register(handle, self.token(n)).is_err() {
                    self.retry(n);
                }
            }
            Err(e) => {
                assert!(![ErrorKind::WouldBlock, ErrorKind::Interrupted].contains(&e.kind()));
                self.retry(n);
            }
        }
    }

    fn retry(&mut self, n: usize) {
        self.retries += 1;
        if let Phase::Connecting(handle) | Phase::Talking(handle, _) = self.calls[n].phase {
            self.sys.close(handle, CloseHow::Reset);
        }
        self.calls[n].phase = Phase::Waiting(self.sys.now() + Duration::from_millis(100));
    }

    fn serve(&mut self, n: usize) {
        if let Phase::Connecting(handle) = self.calls[n].phase {
            match self.sys.connected(handle) {
                Ok(true) if self.sys.reregister(handle, self.token(n)).is_ok() => {
                    self.calls[n].phase = Phase::Talking(handle, 0);
                }
                Ok(false) => {}
                _ => self.retry(n),
            }
        }
        let Phase::Talking(handle, mut sent) = self.calls[n].phase else { return };
        let call = &mut self.calls[n];
        while sent < call.sent.len() {
            match self.sys.send(handle, &[IoSlice::new(&call.sent[sent..])]) {
                Ok(count) => sent += count,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.retry(n),
            }
            if sent == call.sent.len() && self.sys.shutdown_write(handle).is_err() {
                return self.retry(n);
            }
        }
        call.phase = Phase::Talking(handle, sent);
        let mut buffer = [0; 500];
        loop {
            match self.sys.recv(handle, &mut buffer) {
                Ok(0) if call.received == call.sent => {
                    self.sys.close(handle, CloseHow::Normal);
                    call.phase = Phase::Done;
                    return;
                }
                Ok(0) => return self.retry(n),
                Ok(count) => call.received.extend_from_slice(&buffer[..count]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.retry(n),
            }
        }
    }

    fn is_done(&self) -> bool {
        self.calls.iter().all(|call| call.phase == Phase::Done)
    }
}

/// A host calls an echo server on another one until each of its calls went through; how many it had to begin anew.
pub(super) fn call_all(network: &Network, calls: usize, length: usize) -> (Outcome, usize) {
    let (server, client) = (network.host(), network.host());
    let mut echo = Echo::new(&server, Bug::None);
    let Address::Ip(address) = echo.address else { panic!("a port") };
    network.name("Server.Test", [address.ip()]);
    let mut caller = Caller::new(&client, address.port(), calls, length);
    let until = network.now() + Duration::from_secs(600);
    let outcome = network.run(|| {
        let deadlines = [caller.turn(), echo.turn()];
        match caller.is_done() && echo.connections.is_empty() {
            true => Turn::Done,
            false if network.now() > until => Turn::Done,
            false => Turn::Sleep(deadlines.into_iter().flatten().min()),
        }
    });
    if caller.is_done() {
        assert_eq!((client.open_handles(), server.open_handles()), (0, 1));
    }
    (outcome, if caller.is_done() { caller.retries } else { usize::MAX })
}

#[test]
fn hosts_reach_each_other() {
    for seed in seeds(60) {
        let (outcome, retries) = call_all(&Network::with_faults(seed, Faults::usual()), 5, 5000);
        assert_eq!((outcome, retries), (Outcome::Done, 0), "seed {seed}");
    }
    for seed in seeds(60) {
        let (outcome, retries) = call_all(&Network::with_faults(seed, Faults::harsh()), 5, 500);
        assert!(outcome == Outcome::Done && retries != usize::MAX, "seed {seed}: {retries}");
    }
}

#[test]
fn connecting_repeats_with_the_seed() {
    for seed in seeds(10) {
        let run = || {
            let network = Network::with_faults(seed, Faults::harsh());
            let trace = network.trace();
            let retries = call_all(&network, 3, 300);
            (trace, retries)
        };
        let (first, second) = (run(), run());
        first.0.assert_same(&second.0);
        assert_eq!(first.1, second.1);
    }
}

const SERVER: Address =
    Address::Ip(SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::new(10, 0, 0, 1), 80)));

fn begin(sys: &mut dyn Sys, to: &Address) -> Handle {
    let handle = sys.connect(to, &ConnectOptions::default()).unwrap();
    while sys.register(handle, 1).is_err() {}
    handle
}

/// What a connecting host sees and when, asked at each of its reports.
fn outcome(network: &Network, sys: &mut dyn Sys, handle: Handle) -> (Option<io::Result<()>>, Duration) {
    let started = network.now();
    let mut ready = Vec::new();
    let mut result = None;
    network.run(|| {
        let _ = sys.wait(Some(Duration::ZERO), &mut ready);
        for report in &ready {
            if result.is_some() {
                break;
            }
            result = match sys.connected(handle) {
                Ok(false) => None,
                other => Some(other.map(drop)),
            };
            assert!(result.is_none() || report.writable, "who waits for room learns it");
        }
        if result.is_some() { Turn::Done } else { Turn::Sleep(None) }
    });
    (result, network.now().saturating_duration_since(started))
}

#[test]
fn a_script_can_be_the_server() {
    for seed in seeds(30) {
        let network = Network::new(seed);
        let host = network.host();
        let mut sys = host.sys();
        let listener = network.listen(&SERVER);
        assert_eq!(listener.address(), SERVER);
        let handle = begin(sys.as_mut(), &SERVER);
        assert!(listener.accept().is_none(), "a round trip takes its time");
        assert!(matches!(outcome(&network, sys.as_mut(), handle).0, Some(Ok(()))), "seed {seed}");
        network.advance(Duration::from_millis(10));
        let peer = listener.accept().expect("it came about");
        assert!(listener.accept().is_none());
        assert_eq!(peer.address(), SERVER);
        assert_eq!(peer.remote_address(), sys.local_address(handle).unwrap());
        // A scripted peer has no bounds of its own, a host has.
        let sent = bytes(100_000, 3);
        peer.send(&sent);
        peer.shutdown();
        let (mut received, mut ready) = (Vec::<u8>::new(), Vec::new());
        let mut is_over = false;
        network.run(|| {
            let _ = sys.wait(Some(Duration::ZERO), &mut ready);
            let mut buffer = [0; 3000];
            while let Ok(count) = sys.recv(handle, &mut buffer) {
                received.extend(&buffer[..count]);
                if count == 0 {
                    is_over = true;
                    break;
                }
            }
            if is_over { Turn::Done } else { Turn::Sleep(None) }
        });
        assert!(received == sent, "seed {seed}: {} bytes", received.len());
        sys.close(handle, CloseHow::Normal);
        network.advance(Duration::from_secs(1));
        assert_eq!(peer.end(), Some(PeerEnd::Finished));
        drop((peer, listener));
        assert_eq!(network.state().connections.len(), 0);
    }
}

#[test]
fn a_listener_that_ends_resets_what_it_has_not_accepted() {
    let network = Network::with_faults(1, Faults::none());
    let mut sys = network.sys();
    let listener = network.listen(&SERVER);
    let handle = begin(sys.as_mut(), &SERVER);
    assert!(outcome(&network, sys.as_mut(), handle).0.unwrap().is_ok());
    drop(listener);
    network.advance(Duration::ZERO);
    assert_eq!(sys.recv(handle, &mut [0; 9]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    let handle = begin(sys.as_mut(), &SERVER);
    let error = outcome(&network, sys.as_mut(), handle).0.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert!(error.raw_os_error().is_some(), "errors look as the system's do");
}

#[test]
fn silent_and_unreachable_places() {
    for seed in seeds(20) {
        let network = Network::new(seed);
        let host = network.host();
        let mut sys = host.sys();
        let _listener = network.listen(&SERVER);
        network.silence(&SERVER);
        let handle = begin(sys.as_mut(), &SERVER);
        assert!(outcome(&network, sys.as_mut(), handle).0.is_none(), "nothing is left to happen");
        sys.close(handle, CloseHow::Normal);
        assert_eq!(network.state().connections.len(), 0);
        network.unreachable(&SERVER);
        assert_eq!(sys.connect(&SERVER, &ConnectOptions::default()).unwrap_err().kind(), ErrorKind::HostUnreachable);
        assert_eq!(host.open_handles(), 0);
        network.reachable(&SERVER);
        let handle = begin(sys.as_mut(), &SERVER);
        assert!(outcome(&network, sys.as_mut(), handle).0.unwrap().is_ok());
    }
}

#[test]
fn a_full_queue_keeps_some_waiting_and_sends_others_away() {
    let network = Network::with_faults(1, Faults::none());
    let mut sys = network.sys();
    let listener = network.listen(&SERVER);
    listener.set_backlog(1);
    let first = begin(sys.as_mut(), &SERVER);
    assert!(outcome(&network, sys.as_mut(), first).0.unwrap().is_ok());
    network.advance(Duration::ZERO);
    let second = begin(sys.as_mut(), &SERVER);
    network.advance(Duration::from_millis(2500));
    assert!(!sys.connected(second).unwrap());
    let _first = listener.accept().unwrap();
    let (result, after) = outcome(&network, sys.as_mut(), second);
    assert!(result.unwrap().is_ok() && after == Duration::from_millis(500), "the request is repeated: {after:?}");

    let path = Address::Unix("/run/server".into());
    assert_eq!(sys.connect(&path, &ConnectOptions::default()).unwrap_err().kind(), ErrorKind::NotFound);
    let listener = network.listen(&path);
    listener.set_backlog(1);
    let handle = sys.connect(&path, &ConnectOptions::default()).unwrap();
    assert!(sys.connected(handle).unwrap(), "it takes no time");
    network.advance(Duration::ZERO);
    assert_eq!(sys.connect(&path, &ConnectOptions::default()).unwrap_err().kind(), ErrorKind::ResourceBusy);
    assert_eq!(listener.accept().unwrap().remote_address(), Address::Unnamed);
}

#[test]
fn connecting_handles_are_closed_without_a_trace() {
    for micros in (0..10_000).step_by(250) {
        let network = Network::with_faults(micros, Faults::usual().with_latency(Duration::from_millis(4)));
        let host = network.host();
        let mut sys = host.sys();
        let listener = network.listen(&SERVER);
        let handle = begin(sys.as_mut(), &SERVER);
        network.advance(Duration::from_micros(micros));
        let stands = !network.state().connections.values().any(|connection| connection.ends[0].connecting);
        sys.close(handle, CloseHow::Normal);
        network.advance(Duration::from_secs(3));
        // Who never knew of it accepts nothing; who does, sees it end.
        let accepted = listener.accept();
        assert_eq!(accepted.is_some(), stands, "after {micros} µs");
        assert!(accepted.as_ref().is_none_or(|peer| peer.end() == Some(PeerEnd::Finished)));
        drop(accepted);
        assert_eq!((host.open_handles(), network.state().connections.len()), (0, 0));
    }
}

#[test]
fn there_are_no_more_handles_than_allowed() {
    let network = Network::with_faults(1, Faults::none());
    let host = network.host();
    host.set_descriptor_limit(3 + 1);
    let mut sys = host.sys();
    let handle = begin(sys.as_mut(), &SERVER);
    let error = sys.connect(&SERVER, &ConnectOptions::default()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::MFILE.raw_os_error()));
    sys.close(handle, CloseHow::Normal);
    begin(sys.as_mut(), &SERVER);
    assert_eq!(host.calls().connect, 3);
}

/// The answers that have come by now, in their order.
fn answers(sys: &mut dyn Sys) -> Vec<(u64, Result<Vec<SocketAddr>, String>)> {
    let answers = std::iter::from_fn(|| sys.resolved());
    answers.map(|answer| (answer.ticket, answer.addresses.map_err(|e| e.to_string()))).collect()
}

#[test]
fn names_are_what_the_network_says() {
    let network = Network::with_faults(1, Faults::none());
    let host = network.host();
    let mut sys = host.sys();
    let ips: [IpAddr; 3] = ["2001:db8::1", "192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap());
    network.name("Many.Example", ips);
    network.name("empty.example", []);
    network.name_fails("ill.example");
    network.name_stalls("stuck.example");
    for (ticket, name) in (0..).zip(["many.EXAMPLE", "empty.example", "ill.example", "stuck.example", "other.example"])
    {
        sys.resolve(ticket, name, 80).unwrap();
    }
    assert!(sys.resolved().is_none(), "never at once");
    let mut ready = Vec::new();
    sys.wait(None, &mut ready).unwrap();
    assert_eq!(ready.iter().map(|report| report.token).collect::<Vec<u64>>(), [WAKE]);
    let failed = |why: &str| Err(format!("failed to lookup address information: {why}"));
    assert_eq!(
        answers(sys.as_mut()),
        [
            (0, Ok(ips.map(|ip| SocketAddr::new(ip, 80)).to_vec())),
            (1, Err("the name has no address".to_owned())),
            (2, failed("Temporary failure in name resolution")),
            (4, failed("Name or service not known")),
        ]
    );
    // What stalls counts; what has been taken does not.
    for ticket in 1..QUESTIONS as u64 {
        sys.resolve(ticket, "stuck.example", 80).unwrap();
    }
    assert_eq!(sys.resolve(9, "many.example", 80).unwrap_err().kind(), ErrorKind::ResourceBusy);
    // The next program starts without the questions of the last one.
    drop(sys);
    let mut sys = host.sys();
    sys.resolve(1, "many.example", 80).unwrap();
    drop(sys);
    let mut sys = host.sys();
    network.advance(Duration::from_secs(1));
    assert!(answers(sys.as_mut()).is_empty());
    assert_eq!(host.calls().resolve, 5 + QUESTIONS as u64 + 1);
}

#[test]
fn answers_come_in_any_order() {
    let orders: std::collections::BTreeSet<Vec<u64>> = (0..20)
        .map(|seed| {
            let network = Network::new(seed);
            let mut sys = network.sys();
            for ticket in 0..3 {
                sys.resolve(ticket, "localhost", 80).unwrap();
            }
            network.advance(Duration::from_secs(1));
            answers(sys.as_mut()).into_iter().map(|(ticket, _)| ticket).collect()
        })
        .collect();
    assert!(orders.len() > 3 && orders.iter().all(|order| order.len() == 3), "{orders:?}");
}

#[test]
#[should_panic(expected = "seed 3: cannot listen on 10.0.0.1:80: Address already in use")]
fn a_place_has_one_listener() {
    let network = Network::new(3);
    let _one: Listener = network.listen(&SERVER);
    let _two = network.listen(&SERVER);
}

#[test]
#[should_panic(expected = "which is still connecting")]
fn an_attempt_is_not_shut_down() {
    let network = Network::with_faults(1, Faults::none());
    let mut sys = network.sys();
    let handle = begin(sys.as_mut(), &SERVER);
    let _ = sys.shutdown_write(handle);
}
