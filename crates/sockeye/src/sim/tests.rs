//! The network itself: an edge-triggered echo server that relies on nothing but the promises of `sys` must lose nothing.

use std::collections::BTreeMap;
use std::io::{ErrorKind, IoSlice};
use std::time::Duration;

use sockeye_proto::time::Instant;

use super::{Fault, Faults, Host, Network, Outcome, Peer, PeerEnd, Turn, seeds};
use crate::sys::{Address, CloseHow, Handle, ListenOptions, Readiness, Sys, WAKE};

mod connect;

/// A server that sends back what it receives. It stops reading at short counts, so it needs every edge.
struct Echo {
    bug: Bug,
    sys: Box<dyn Sys>,
    listener: Handle,
    address: Address,
    acceptable: bool,
    retry_accept_at: Option<Instant>,
    connections: BTreeMap<u64, Connection>,
    next_token: u64,
    resets: usize,
}

/// A mistake that programs like this one make.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bug {
    None,
    /// Takes a short read for drained although the end was reported with it.
    ForgetsTheEnd,
    /// Reads once for each edge, and does not remember that there was more.
    ReadsOncePerEdge,
    /// Takes every `send` for complete.
    IgnoresShortSends,
    /// Takes a connection that ended for one without output.
    ClosesBeforeFlushing,
}

struct Connection {
    bug: Bug,
    handle: Handle,
    output: Vec<u8>,
    readable: bool,
    writable: bool,
    read_closed: bool,
    ended: bool,
}

impl Echo {
    fn new(host: &Host, bug: Bug) -> Self {
        let mut sys = host.sys();
        let anywhere = Address::Ip(([127, 0, 0, 1], 0).into());
        let (listener, address) = sys.listen(&anywhere, &ListenOptions::default()).unwrap();
        while sys.register(listener, 0).is_err() {}
        let (connections, next_token) = (BTreeMap::new(), 1);
        Self {
            bug,
            sys,
            listener,
            address,
            acceptable: false,
            retry_accept_at: None,
            connections,
            next_token,
            resets: 0,
        }
    }

    /// One turn; the time until which there is nothing to do.
    fn turn(&mut self) -> Option<Instant> {
        let mut ready = Vec::new();
        if let Err(e) = self.sys.wait(Some(Duration::ZERO), &mut ready) {
            assert_eq!(e.kind(), ErrorKind::Interrupted);
        }
        for report in ready {
            self.note(report);
        }
        if self.retry_accept_at.is_some_and(|at| at <= self.sys.now()) {
            (self.retry_accept_at, self.acceptable) = (None, true);
        }
        self.accept();
        let tokens: Vec<u64> = self.connections.keys().copied().collect();
        for token in tokens {
            self.serve(token);
        }
        self.retry_accept_at
    }

    fn note(&mut self, report: Readiness) {
        if report.token == 0 {
            self.acceptable = true;
        } else if let Some(connection) = self.connections.get_mut(&report.token) {
            connection.readable |= report.readable || report.error;
            connection.writable |= report.writable || report.error;
            connection.read_closed |= report.read_closed;
        }
    }

    fn accept(&mut self) {
        while self.acceptable {
            match self.sys.accept(self.listener) {
                Ok((handle, _)) => {
                    let token = self.next_token;
                    self.next_token += 1;
                    if self.sys.register(handle, token).is_err() {
                        self.sys.close(handle, CloseHow::Reset);
                        continue;
                    }
                    let (readable, writable, read_closed, ended) = (false, false, false, false);
                    let output = Vec::new();
                    self.connections.insert(
                        token,
                        Connection { bug: self.bug, handle, output, readable, writable, read_closed, ended },
                    );
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.acceptable = false,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.acceptable = false;
                    self.retry_accept_at = Some(self.sys.now() + Duration::from_millis(100));
                }
            }
        }
    }

    fn serve(&mut self, token: u64) {
        let Some(connection) = self.connections.get_mut(&token) else { return };
        match connection.pump(self.sys.as_mut()) {
            Ok(false) => return,
            Ok(true) => self.sys.close(connection.handle, CloseHow::Normal),
            Err(()) => {
                self.resets += 1;
                self.sys.close(connection.handle, CloseHow::Reset);
            }
        }
        self.connections.remove(&token);
    }
}

impl Connection {
    /// Moves what can be moved. True: all is done. An error: the connection was reset.
    fn pump(&mut self, sys: &mut dyn Sys) -> Result<bool, ()> {
        loop {
            let mut moved = false;
            if self.writable && !self.output.is_empty() {
                match sys.send(self.handle, &[IoSlice::new(&self.output)]) {
                    Ok(_) if self.bug == Bug::IgnoresShortSends => self.output.clear(),
                    Ok(count) => {
                        self.writable = count == self.output.len();
                        self.output.drain(..count);
                        moved = true;
                    }
                    Err(e) if e.kind() == ErrorKind::WouldBlock => self.writable = false,
                    Err(e) if e.kind() == ErrorKind::Interrupted => moved = true,
                    Err(_) => return Err(()),
                }
            }
            if self.readable && !self.ended && self.output.len() < 4096 {
                let mut buffer = [0; 1000];
                match sys.recv(self.handle, &mut buffer) {
                    Ok(0) => self.ended = true,
                    Ok(count) => {
                        self.output.extend_from_slice(&buffer[..count]);
                        self.readable = match self.bug {
                            Bug::ForgetsTheEnd => count == buffer.len(),
                            Bug::ReadsOncePerEdge => false,
                            _ => count == buffer.len() || self.read_closed,
                        };
                        moved = true;
                    }
                    Err(e) if e.kind() == ErrorKind::WouldBlock => self.readable = false,
                    Err(e) if e.kind() == ErrorKind::Interrupted => moved = true,
                    Err(_) => return Err(()),
                }
            }
            if !moved {
                return Ok(self.ended && (self.output.is_empty() || self.bug == Bug::ClosesBeforeFlushing));
            }
        }
    }
}

fn bytes(length: usize, salt: usize) -> Vec<u8> {
    (0..length).map(|i| (i.wrapping_mul(31).wrapping_add(salt) >> 2) as u8).collect()
}

/// What a peer received, and how it ended.
type Seen = (Vec<u8>, Option<PeerEnd>);

/// `count` peers send, end their side, and take what comes back until the end; then the server must have nothing left.
fn echo_all(network: &Network, count: usize, length: usize) -> (Outcome, Vec<Seen>, Host) {
    echo_all_with(Bug::None, network, count, length)
}

fn echo_all_with(bug: Bug, network: &Network, count: usize, length: usize) -> (Outcome, Vec<Seen>, Host) {
    let host = network.host();
    let mut echo = Echo::new(&host, bug);
    let peers: Vec<Peer> = (0..count).map(|_| network.connect(&echo.address).unwrap()).collect();
    for (salt, peer) in peers.iter().enumerate() {
        peer.send(&bytes(length, salt));
        peer.shutdown();
    }
    let mut received = vec![Vec::new(); count];
    let outcome = network.run(|| {
        let deadline = echo.turn();
        for (received, peer) in received.iter_mut().zip(&peers) {
            received.extend(peer.recv());
        }
        if peers.iter().all(Peer::is_closed) && echo.connections.is_empty() {
            return Turn::Done;
        }
        Turn::Sleep(deadline)
    });
    let ends = peers.iter().map(Peer::end);
    let results = received.into_iter().zip(ends).collect();
    if outcome == Outcome::Done {
        assert_eq!(host.open_handles(), 1, "only the listener is left");
    }
    (outcome, results, host)
}

#[test]
fn a_program_that_keeps_the_rules_loses_nothing() {
    for seed in seeds(60) {
        let faults = Faults::usual().with(Fault::AcceptFailed, 0);
        let faults = if seed % 4 == 0 { faults.with_segment(3).with_buffers(7, 5) } else { faults };
        let length = if seed % 4 == 0 { 300 } else { 20_000 };
        let (outcome, results, _) = echo_all(&Network::with_faults(seed, faults), 5, length);
        assert_eq!(outcome, Outcome::Done, "seed {seed}");
        for (salt, (received, end)) in results.into_iter().enumerate() {
            assert!(received == bytes(length, salt), "seed {seed}, peer {salt}: {} bytes", received.len());
            assert_eq!(end, Some(PeerEnd::Finished), "seed {seed}");
        }
    }
}

#[test]
fn a_program_survives_lost_connections() {
    for seed in seeds(60) {
        let network = Network::with_faults(seed, Faults::harsh());
        let (outcome, results, _) = echo_all(&network, 10, 5000);
        assert_eq!(outcome, Outcome::Done, "seed {seed}");
        for (salt, (received, end)) in results.into_iter().enumerate() {
            let sent = bytes(5000, salt);
            assert!(sent.starts_with(&received), "seed {seed}: bytes come in order");
            assert!(
                end == Some(PeerEnd::Reset) || received == sent,
                "seed {seed}: all of them, unless there was a reset"
            );
        }
    }
}

#[test]
fn one_seed_is_one_run() {
    let run = |seed| {
        let network = Network::with_faults(seed, Faults::harsh());
        let trace = network.trace();
        let (_, _, host) = echo_all(&network, 5, 3000);
        (trace, host.calls(), network.counts())
    };
    for seed in seeds(10) {
        let (first, second) = (run(seed), run(seed));
        first.0.assert_same(&second.0);
        assert_eq!((first.1, first.2), (second.1, second.2));
        assert_ne!(first.0.lines(), run(seed + 1).0.lines());
    }
}

#[test]
fn every_fault_happens() {
    let mut seen = [0; Fault::ALL.len()];
    for seed in 0..20 {
        let network = Network::with_faults(seed, Faults::harsh().with(Fault::LostEdge, 100).with_buffers(2000, 2000));
        let _ = echo_all(&network, 10, 20_000);
        let _ = connect::call_all(&network, 10, 100);
        for (seen, fault) in seen.iter_mut().zip(Fault::ALL) {
            *seen += network.counts().of(fault);
        }
    }
    for (seen, fault) in seen.iter().zip(Fault::ALL) {
        assert!(*seen > 0, "{fault:?} never happened");
    }
}

#[test]
fn programs_that_break_the_rules_are_found() {
    for bug in [Bug::ForgetsTheEnd, Bug::ReadsOncePerEdge, Bug::IgnoresShortSends, Bug::ClosesBeforeFlushing] {
        let goes_wrong = |seed: &u64| {
            let network = Network::with_faults(*seed, Faults::usual().with_buffers(2000, 2000));
            let (outcome, results, _) = echo_all_with(bug, &network, 1, 5000);
            outcome == Outcome::Quiet || results[0].0 != bytes(5000, 0)
        };
        let found = (0..20).filter(goes_wrong).count();
        assert!(found > 0, "{bug:?} went unnoticed");
    }
}

#[test]
fn a_lost_wake_up_is_found() {
    let faults = Faults::usual().with(Fault::LostEdge, 1000).with(Fault::Spurious, 0);
    let stuck = (0..20).filter(|&seed| {
        let network = Network::with_faults(seed, faults.clone());
        echo_all(&network, 1, 100_000).0 == Outcome::Quiet
    });
    assert!(stuck.count() > 0, "a writable edge that never comes must leave a transfer unfinished");
}

#[test]
fn no_faults_is_one_piece() {
    let network = Network::with_faults(1, Faults::none());
    let started = network.now();
    let (outcome, results, host) = echo_all(&network, 1, 900);
    assert_eq!((outcome, network.now()), (Outcome::Done, started));
    assert_eq!(results, [(bytes(900, 0), Some(PeerEnd::Finished))]);
    let calls = host.calls();
    assert_eq!((calls.accept, calls.register, calls.recv, calls.send, calls.close), (2, 2, 2, 1, 1));
    assert_eq!(network.counts(), super::Counts::default());
}

#[test]
fn a_peer_that_does_not_read_pushes_back() {
    let network = Network::with_faults(1, Faults::none().with_buffers(1000, 1000));
    let host = network.host();
    let mut echo = Echo::new(&host, Bug::None);
    let peer = network.connect(&echo.address).unwrap();
    peer.set_window(0);
    peer.send(&bytes(100_000, 0));
    assert_eq!(network.run(|| Turn::Sleep(echo.turn())), Outcome::Quiet);
    assert_eq!(peer.recv(), b"");
    // The server holds at most its own bound, and the two buffers of the connection are full.
    assert!(peer.unsent() > 90_000, "{}", peer.unsent());
    let mut received: Vec<u8> = Vec::new();
    peer.set_window(10);
    let outcome = network.run(|| {
        let deadline = echo.turn();
        let arrived = peer.recv_at_most(7);
        received.extend(&arrived);
        match received.len() {
            100_000 => Turn::Done,
            _ if arrived.is_empty() => Turn::Sleep(deadline),
            _ => Turn::Busy,
        }
    });
    assert_eq!(outcome, Outcome::Done);
    assert_eq!(received, bytes(100_000, 0));
}

#[test]
fn the_descriptor_limit_holds_and_recovers() {
    let network = Network::with_faults(3, Faults::none());
    let host = network.host();
    host.set_descriptor_limit(3 + 1 + 2);
    let mut echo = Echo::new(&host, Bug::None);
    let mut peers: Vec<Peer> = (0..4).map(|_| network.connect(&echo.address).unwrap()).collect();
    let until = network.now() + Duration::from_secs(1);
    let mut turns = 0;
    network.run(|| {
        turns += 1;
        let deadline = echo.turn();
        if network.now() >= until { Turn::Done } else { Turn::Sleep(deadline) }
    });
    assert_eq!(echo.connections.len(), 2);
    assert_eq!(echo.sys.descriptors().in_use, echo.sys.descriptors().limit);
    assert!(turns < 30, "it waits, it does not spin: {turns}");
    peers.drain(..2);
    network.run(|| {
        let deadline = echo.turn();
        if echo.next_token == 5 && echo.connections.len() == 2 { Turn::Done } else { Turn::Sleep(deadline) }
    });
    drop(peers);
}

#[test]
fn closing_with_unread_input_resets() {
    let network = Network::with_faults(4, Faults::none());
    let mut sys = network.sys();
    let (listener, address) =
        sys.listen(&"127.0.0.1:80".parse().map(Address::Ip).unwrap(), &ListenOptions::default()).unwrap();
    let peer = network.connect(&address).unwrap();
    peer.send(b"unread");
    network.advance(Duration::ZERO);
    let (handle, _) = sys.accept(listener).unwrap();
    sys.send(handle, &[IoSlice::new(b"lost")]).unwrap();
    sys.close(handle, CloseHow::Normal);
    network.advance(Duration::ZERO);
    assert_eq!((peer.recv(), peer.end()), (Vec::new(), Some(PeerEnd::Reset)));
    drop(sys);
    assert_eq!(network.open_handles(), 1, "the listener was leaked");
    assert!(network.connect(&address).is_err());
}

#[test]
fn time_passes_only_in_waiting() {
    let network = Network::with_faults(5, Faults::none());
    let mut sys = network.sys();
    let (mut ready, started) = (Vec::new(), network.now());
    sys.wait(Some(Duration::from_secs(3600)), &mut ready).unwrap();
    assert_eq!(network.now(), started + Duration::from_secs(3600));
    network.advance(Duration::from_nanos(1));
    assert_eq!(sys.now(), started + Duration::from_nanos(3_600_000_000_001));
    sys.waker().wake();
    sys.wait(None, &mut ready).unwrap();
    assert_eq!(ready[0].token, WAKE);
    // Deadlines are met exactly.
    let deadline = network.now() + Duration::from_millis(5);
    let mut times = Vec::new();
    network.run(|| {
        times.push(network.now());
        if network.now() >= deadline { Turn::Done } else { Turn::Sleep(Some(deadline)) }
    });
    assert_eq!(times.last(), Some(&deadline));
    assert_eq!(times.len(), 2);
}

#[test]
fn a_clock_on_the_wall_is_set_for_one_host() {
    let network = Network::new(1);
    let (host, other) = (network.host(), network.host());
    let (mut sys, mut others) = (host.sys(), other.sys());
    let (now, wall) = (sys.now(), sys.wall_clock());
    for ahead in [3600, -3600, 0] {
        host.set_wall_clock_ahead(ahead);
        assert_eq!(sys.wall_clock(), wall.saturating_add_signed(ahead));
        assert_eq!((sys.now(), others.wall_clock()), (now, wall));
    }
}

#[test]
fn nothing_that_happened_goes_unseen() {
    let network = Network::with_faults(9, Faults::none());
    let host = network.host();
    let mut echo = Echo::new(&host, Bug::None);
    let peer = network.connect(&echo.address).unwrap();
    peer.send(b"x");
    let started = network.now();
    let outcome = network.run(|| {
        // The peer comes first in the turn: what the server's turn brings it must give it another one, at the same time.
        if peer.recv() == b"x" {
            return Turn::Done;
        }
        echo.turn();
        Turn::Sleep(Some(started + Duration::from_secs(5)))
    });
    assert_eq!((outcome, network.now()), (Outcome::Done, started));
}

#[test]
#[should_panic(expected = "seed 6: host 0 uses Handle(0), which is not open")]
fn a_closed_handle_is_not_used() {
    let network = Network::new(6);
    let mut sys = network.sys();
    let (listener, _) = sys.listen(&Address::Ip(([127, 0, 0, 1], 0).into()), &ListenOptions::default()).unwrap();
    sys.close(listener, CloseHow::Normal);
    let _ = sys.accept(listener);
}

#[test]
#[should_panic(expected = "seed 7: host 0 waits and nothing will ever wake it")]
fn waiting_for_nothing_is_found() {
    let network = Network::with_faults(7, Faults::none());
    let _ = network.sys().wait(None, &mut Vec::new());
}

#[test]
#[should_panic(expected = "the program spins")]
fn spinning_is_found() {
    Network::new(8).run(|| Turn::Busy);
}

#[test]
#[should_panic(expected = "the logs differ at line 1")]
fn logs_show_the_first_difference() {
    let (left, right) = (super::Log::new(), super::Log::new());
    left.note("open");
    right.note("open");
    assert_eq!((left.count("op"), left.lines().len()), (1, 1));
    left.assert_same(&right);
    left.note("message a");
    right.note("message b");
    left.assert_same(&right);
}
