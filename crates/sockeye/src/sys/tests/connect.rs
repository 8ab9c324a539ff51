//! What is promised to those who connect, and to those who look names up.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::*;
use crate::sys::Resolved;

pub(super) fn a_connection_stands_and_carries(world: &mut World) {
    let (listener, address) = world.listen();
    let near = world.begin(&address);
    assert_eq!(world.outcome(near), Ok(()));
    // True stays true.
    assert!(world.sys.connected(near).unwrap() || !world.is_exact);
    let far = world.accept(listener);
    for (from, to) in [(near, far), (far, near)] {
        let mut rest = b"through both ends".to_vec();
        world.poll_until("room", |world, _| {
            let count = count_of(world.sys.send(from, &[IoSlice::new(&rest)]));
            rest.drain(..count);
            rest.is_empty()
        });
        assert_eq!(world.recv_until(to, 17), b"through both ends");
    }
    world.sys.shutdown_write(near).unwrap();
    assert_eq!(world.recv_patiently(far), Ok(Vec::new()));
}

pub(super) fn nobody_listening_is_an_error_told_once(world: &mut World) {
    let (listener, address) = world.listen();
    world.sys.close(listener, CloseHow::Normal);
    match world.sys.connect(&address, &ConnectOptions::default()) {
        // A Unix socket's file is gone with its listener.
        Err(e) => assert!([ErrorKind::ConnectionRefused, ErrorKind::NotFound].contains(&e.kind()), "{e}"),
        Ok(handle) => {
            world.sys.register(handle, CLIENT).unwrap();
            let report = world.wait_for(CLIENT, |report| report.error);
            assert!(report.writable && report.readable, "who waits for any direction learns it: {report:?}");
            assert_eq!(kind(world.sys.connected(handle)), ErrorKind::ConnectionRefused);
            for _ in 0..3 {
                assert!(!world.sys.connected(handle).unwrap());
            }
            assert_eq!(kind(world.sys.send(handle, &[IoSlice::new(b"x")])), ErrorKind::BrokenPipe);
            world.sys.close(handle, CloseHow::Normal);
        }
    }
    assert_eq!(kind(world.sys.connect(&Address::Unnamed, &ConnectOptions::default())), ErrorKind::InvalidInput);
}

pub(super) fn a_connecting_handle_is_closed_at_any_time(world: &mut World) {
    let (listener, address) = world.listen();
    for micros in [0, 1, 300, 1000, 2000, 5000, 20_000] {
        for how in [CloseHow::Normal, CloseHow::Reset] {
            for is_registered in [false, true] {
                let handle = world.sys.connect(&address, &ConnectOptions::default()).unwrap();
                if is_registered {
                    world.sys.register(handle, CLIENT).unwrap();
                }
                world.wait(Duration::from_micros(micros));
                world.sys.close(handle, how);
            }
        }
    }
    // What became a connection all the same ends at once. Then everything works as before.
    let near = world.begin(&address);
    assert_eq!(world.outcome(near), Ok(()));
    world.poll_until("room", |world, _| count_of(world.sys.send(near, &[IoSlice::new(b"!")])) == 1);
    loop {
        let far = world.accept(listener);
        match world.recv_patiently(far) {
            Ok(bytes) if bytes == b"!" => break,
            Ok(bytes) => assert_eq!(bytes, b""),
            Err(error) => assert_eq!(error, ErrorKind::ConnectionReset),
        }
        world.sys.close(far, CloseHow::Normal);
    }
}

pub(super) fn an_attempt_that_nobody_answers_says_nothing(world: &mut World) {
    let Some(silent) = (world.silent)(world.sys.as_mut()) else { return };
    let handle = world.begin(&silent);
    let reports = world.wait(Duration::from_millis(100));
    assert!(reports.is_empty() || !world.is_exact, "{reports:?}");
    assert!(!world.sys.connected(handle).unwrap());
    let nothing = [ErrorKind::WouldBlock, ErrorKind::NotConnected];
    assert!(nothing.contains(&kind(world.sys.recv(handle, &mut [0; 8]))));
    assert!(nothing.contains(&kind(world.sys.send(handle, &[IoSlice::new(b"too early")]))));
    assert!(!world.sys.connected(handle).unwrap(), "asking changes nothing");
    world.sys.reregister(handle, LISTENER).unwrap();
    assert!(world.wait(Duration::from_millis(20)).is_empty() || !world.is_exact);
    world.sys.close(handle, CloseHow::Normal);
    assert!(world.wait(Duration::from_millis(20)).is_empty() || !world.is_exact);
}

pub(super) fn another_token_is_a_first_edge(world: &mut World) {
    let (handle, mut far) = world.pair();
    assert_eq!(kind(world.sys.reregister(handle, WAKE)), ErrorKind::InvalidInput);
    world.drain(handle);
    world.wait(Duration::from_millis(50));
    // Nothing has changed, and it is reported all the same, and by the new name only.
    world.sys.reregister(handle, CLIENT).unwrap();
    let mut tokens = Vec::new();
    world.poll_until("a first edge", |_, reports| {
        tokens.extend(reports.iter().map(|report| report.token));
        reports.iter().any(|report| report.token == CLIENT && report.writable)
    });
    far.send(b"unread");
    world.wait_for(CLIENT, |report| report.readable);
    // Spurious reports may have come before the bytes.
    let mut byte = [0];
    world.poll_until("a byte", |world, _| world.sys.recv(handle, &mut byte).is_ok());
    world.sys.reregister(handle, CONNECTION).unwrap();
    world.wait_for(CONNECTION, |report| report.readable);
    assert_eq!(world.recv_until(handle, 5), b"nread");
    let all = world.wait(Duration::from_millis(50));
    assert!(!tokens.contains(&CONNECTION) && all.iter().all(|report| report.token != CLIENT), "{all:?}");
    // Who was not registered has no other token.
    let (listener, _) = world.listen();
    assert_eq!(kind(world.sys.reregister(listener, CLIENT)), ErrorKind::NotFound);
    world.sys.register(listener, CLIENT).unwrap();
}

pub(super) fn addresses_of_both_ends_agree(world: &mut World) {
    let (listener, address) = world.listen();
    assert_eq!(world.sys.local_address(listener).unwrap(), address);
    let mut seen = Vec::new();
    for _ in 0..2 {
        let near = world.begin(&address);
        assert_eq!(world.outcome(near), Ok(()));
        seen.push(world.sys.local_address(near).unwrap());
    }
    let mut peers = Vec::new();
    world.poll_until("both", |world, _| {
        match world.sys.accept(listener) {
            Ok((far, peer)) => {
                assert_eq!(world.sys.local_address(far).unwrap(), address);
                peers.push(peer);
            }
            Err(e) => assert_eq!(e.kind(), ErrorKind::WouldBlock),
        }
        peers.len() == 2
    });
    // In any order: the network keeps none between connections.
    assert!(peers == seen || peers.iter().rev().eq(&seen), "{peers:?} {seen:?}");
    match address {
        Address::Ip(_) => assert_ne!(seen[0], seen[1]),
        _ => assert_eq!(seen, [Address::Unnamed, Address::Unnamed]),
    }
}

pub(super) fn names_are_looked_up_off_the_thread(world: &mut World) {
    assert!(world.sys.resolved().is_none());
    world.sys.resolve(1, "localhost", 80).unwrap();
    world.sys.resolve(2, "no-such-host.invalid", 80).unwrap();
    world.sys.resolve(u64::MAX, "LocalHost", 443).unwrap();
    let mut answers = world.answers(3);
    for (ticket, port) in [(1, 80), (u64::MAX, 443)] {
        let addresses = answers.remove(&ticket).unwrap().unwrap();
        assert!(!addresses.is_empty());
        assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() == port), "{addresses:?}");
    }
    let error = answers.remove(&2).unwrap().unwrap_err().to_string();
    assert!(error.starts_with("failed to lookup address information: "), "{error}");
    assert!(world.sys.resolved().is_none());
    // Questions that nobody waits for are no reason to wait.
    for ticket in 0..8 {
        world.sys.resolve(ticket, "localhost", 80).unwrap();
    }
}

pub(super) fn addresses_are_names_of_their_own(world: &mut World) {
    let texts = ["127.0.0.1", "::1", "2001:db8::7", "255.255.255.255"];
    for (ticket, text) in texts.iter().enumerate() {
        world.sys.resolve(ticket as u64, text, 7681).unwrap();
    }
    let mut answers = world.answers(texts.len());
    for (ticket, text) in texts.iter().enumerate() {
        let expected = SocketAddr::new(text.parse::<IpAddr>().unwrap(), 7681);
        assert_eq!(answers.remove(&(ticket as u64)).unwrap().unwrap(), [expected]);
    }
}

impl World {
    /// An attempt that is registered.
    fn begin(&mut self, address: &Address) -> Handle {
        let handle = self.sys.connect(address, &ConnectOptions::default()).unwrap();
        self.sys.register(handle, CLIENT).unwrap();
        handle
    }

    /// How an attempt comes out, asked only when it is reported.
    fn outcome(&mut self, handle: Handle) -> Result<(), ErrorKind> {
        loop {
            self.wait_for(CLIENT, |report| report.writable || report.error);
            match self.sys.connected(handle) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(e) => return Err(e.kind()),
            }
        }
    }

    /// Answers by their tickets, taken only when there was a wake-up.
    fn answers(&mut self, count: usize) -> BTreeMap<u64, io::Result<Vec<SocketAddr>>> {
        let mut answers = BTreeMap::new();
        while answers.len() < count {
            self.wait_for(WAKE, |report| report.readable);
            while let Some(Resolved { ticket, addresses, .. }) = self.sys.resolved() {
                assert!(answers.insert(ticket, addresses).is_none(), "one answer to each question");
            }
        }
        answers
    }
}

const CLIENT: u64 = 3;
