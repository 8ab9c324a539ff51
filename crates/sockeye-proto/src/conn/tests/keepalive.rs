//! Pings after silence, and the end of a peer that stays silent.

use super::*;
use crate::close::{Cause, Timeout};
use crate::conn::ControlPayload;
use core::time::Duration;

fn at(seconds: u64) -> Instant {
    NOW + Duration::from_secs(seconds)
}

fn sent(connection: &mut Connection) -> Vec<u8> {
    let mut out = Vec::new();
    connection.transmit(&mut out, &mut || KEY);
    out
}

#[test]
fn a_silent_peer_gets_a_ping_and_then_times_out() {
    for role in BOTH {
        let mut connection = open(role);
        assert_eq!(connection.next_deadline(), Some(at(25)));
        connection.handle_timeout(at(24));
        assert!(!connection.wants_transmit());
        connection.handle_timeout(at(25));
        assert_eq!(sent(&mut connection), frame(!role, 0x89, b""));
        assert_eq!(connection.next_deadline(), Some(at(45)));
        connection.handle_timeout(at(44));
        assert_eq!(connection.state(), State::Open);
        connection.handle_timeout(at(45));
        assert_eq!(connection.state(), State::Ended);
        assert_eq!(connection.closed().cause, Cause::Timeout(Timeout::Keepalive));
    }
}

#[test]
fn any_input_restarts_keepalive() {
    let mut connection = open(Role::Server);
    assert!(!connection.receive_done(at(10)));
    assert_eq!(connection.next_deadline(), Some(at(35)));
    // A timer that was set for the old deadline does nothing.
    connection.handle_timeout(at(25));
    assert!(!connection.wants_transmit());
    connection.handle_timeout(at(35));
    assert!(connection.wants_transmit());
    assert!(!connection.receive_done(at(40)));
    assert_eq!(connection.next_deadline(), Some(at(65)));
    connection.handle_timeout(at(55));
    assert_eq!(connection.state(), State::Open);
}

#[test]
fn an_answer_that_brings_the_next_ping_forward_says_so() {
    let limits = ProtocolLimits { ping_after: Some(Duration::from_secs(1)), ..ProtocolLimits::default() };
    let mut connection = with_limits(Role::Server, limits);
    connection.handle_timeout(at(1));
    assert_eq!(connection.next_deadline(), Some(at(21)));
    assert!(connection.receive_done(at(2)));
    assert_eq!(connection.next_deadline(), Some(at(3)));
    assert!(!connection.receive_done(at(2)));
}

#[test]
fn a_queued_ping_of_the_application_serves_as_keepalive() {
    let mut connection = open(Role::Server);
    connection.ping(ControlPayload::new(b"mine").unwrap()).unwrap();
    connection.handle_timeout(at(25));
    assert_eq!(sent(&mut connection), frame(Role::Client, 0x89, b"mine"));
    assert_eq!(connection.next_deadline(), Some(at(45)));
}

#[test]
fn without_keepalive_there_is_no_deadline() {
    let mut connection = with_limits(Role::Client, ProtocolLimits { ping_after: None, ..ProtocolLimits::default() });
    assert_eq!(connection.next_deadline(), None);
    connection.handle_timeout(at(1_000_000));
    assert_eq!(connection.state(), State::Open);
    assert!(!connection.wants_transmit());
}

#[test]
fn one_connection_has_a_keepalive_of_its_own() {
    let mut connection = open(Role::Server);
    let seconds = Duration::from_secs;
    connection.set_keepalive(Some(seconds(5)), seconds(2));
    assert_eq!(connection.next_deadline(), Some(at(5)));
    assert!(!connection.is_ping_due(at(4)) && connection.is_ping_due(at(5)));
    connection.handle_timeout(at(5));
    assert!(connection.awaits_pong() && !connection.is_ping_due(at(8)));
    assert_eq!(connection.next_deadline(), Some(at(7)));
    // Without it the ping that is not answered does not matter.
    connection.set_keepalive(None, seconds(2));
    assert_eq!((connection.next_deadline(), connection.awaits_pong()), (None, false));
    connection.handle_timeout(at(100));
    assert_eq!(connection.state(), State::Open);
    connection.set_keepalive(Some(seconds(30)), seconds(2));
    assert_eq!(connection.next_deadline(), Some(at(30)));
    // A closing handshake keeps its deadline.
    connection.close(crate::close::Close::empty(), at(10));
    connection.set_keepalive(None, seconds(2));
    assert_eq!(connection.next_deadline(), Some(at(15)));
    assert!(!connection.is_ping_due(at(100)));
}

#[test]
fn a_pong_that_nobody_asked_for_does_not_replace_an_answer() {
    let payload = |bytes: &[u8]| ControlPayload::new(bytes).unwrap();
    for role in BOTH {
        let mut connection = open(role);
        connection.pong(payload(b"first")).unwrap();
        connection.pong(payload(b"second")).unwrap();
        assert_eq!(sent(&mut connection), frame(!role, 0x8A, b"first"));
        let mut input = vec![0; HEADROOM];
        input.extend(frame(role, 0x89, b"asked"));
        let mut input = Input::new(&mut input, HEADROOM);
        while connection.receive(&mut input).unwrap().is_some() {}
        connection.pong(payload(b"unasked")).unwrap();
        assert_eq!(sent(&mut connection), frame(!role, 0x8A, b"asked"));
        connection.close(crate::close::Close::empty(), NOW);
        assert!(connection.pong(payload(b"late")).is_err());
    }
}
