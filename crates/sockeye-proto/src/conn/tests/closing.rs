//! The closing handshake and the other ways to end: rows CT of the abuse table, and section 7 of
//! the Autobahn suite.

use super::*;
use crate::close::{Cause, Close, CloseCode, Initiator, Timeout};
use crate::conn::ControlPayload;
use Violation as V;
use core::time::Duration;

fn body(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason].concat()
}

#[test]
fn ct01_close_frames_that_must_not_be_sent_fail_at_their_first_bad_byte() {
    for role in BOTH {
        // Half a code is known from the length.
        check_fails(role, &header(role, 0x88, 1), V::CloseCodeCut);
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
            check_fails(role, &frame(role, 0x88, &body(code, b"")), V::CloseCodeIllegal(code));
            let mut longer = frame(role, 0x88, &body(code, b"reason"));
            longer.truncate(longer.len() - 6);
            check_fails(role, &longer, V::CloseCodeIllegal(code));
        }
        for (bad, good_after) in [(&b"\xff"[..], 3), (b"ok\xed\xa0", 1), (b"\xe2\x82", 0)] {
            let mut stream = frame(role, 0x88, &body(1000, &[bad, &b"xxx"[..good_after]].concat()));
            stream.truncate(stream.len() - good_after);
            check_fails(role, &stream, V::CloseReasonNotUtf8);
        }
        check_fails(role, &[0x88, second(role, 126)], V::ControlTooLong);
    }
}

#[test]
fn ct02_legal_close_frames_are_echoed() {
    for role in BOTH {
        for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999] {
            let reason = "r".repeat(123);
            let log = check(role, &frame(role, 0x88, &body(code, reason.as_bytes())));
            assert_eq!(log.received, [Received::Close(Some(code), reason)]);
            assert_eq!(log.output, frame(!role, 0x88, &body(code, b"")));
            assert_eq!(log.closed.code_seen(), code);
            assert_eq!((log.closed.initiator, log.closed.cause), (Initiator::Peer, Cause::Handshake));
            assert_eq!(log.state, State::Draining);
        }
        let log = check(role, &frame(role, 0x88, b""));
        assert_eq!(log.received, [Received::Close(None, String::new())]);
        assert_eq!(log.output, frame(!role, 0x88, b""));
        assert_eq!(log.closed.code_seen(), 1005);
        assert_eq!(log.closed.sent, Some(Close::empty()));
    }
}

#[test]
fn everything_after_a_close_frame_is_ignored() {
    for role in BOTH {
        let close = frame(role, 0x88, &body(1000, "geschlößen".as_bytes()));
        let log = check(role, &close);
        // Autobahn 7.1.2 to 7.1.6: a second close, a ping, data after the close.
        for after in [close.clone(), frame(role, 0x89, b"?"), frame(role, 0x81, b"late"), vec![0xff; 300]] {
            assert_eq!(check(role, &[&close[..], &after].concat()), log);
        }
        // In the middle of a message it is reported at once.
        let log = check(role, &[&frame(role, 0x01, b"begun")[..], &close, &frame(role, 0x80, b"more")].concat());
        assert_eq!(log.received, [Received::Close(Some(1000), "geschlößen".to_string())]);
        assert_eq!(log.unfinished, b"begun");
    }
}

#[test]
fn a_server_ends_once_its_answer_is_flushed_and_a_client_waits_for_it() {
    let mut server = Recorder::new(open(Role::Server), Way::Usual);
    server.read(&frame(Role::Server, 0x88, &body(1000, b"")));
    server.connection.handle_flushed();
    assert_eq!(server.connection.state(), State::Ended);

    let mut client = Recorder::new(open(Role::Client), Way::Usual);
    client.read(&frame(Role::Client, 0x88, &body(1000, b"")));
    client.connection.handle_flushed();
    assert_eq!(client.connection.state(), State::Draining);
    assert_eq!(client.connection.next_deadline(), Some(NOW + ProtocolLimits::default().close_timeout));
    client.connection.handle_eof();
    assert_eq!(client.connection.state(), State::Ended);
    assert_eq!(client.connection.closed().cause, Cause::Handshake);
}

#[test]
fn a_server_that_has_not_flushed_continues_after_eof() {
    let mut buffer = [&[0; HEADROOM][..], &frame(Role::Server, 0x88, &body(1000, b""))].concat();
    let mut server = open(Role::Server);
    server.receive(&mut Input::new(&mut buffer, HEADROOM)).unwrap();
    server.handle_eof();
    server.handle_flushed();
    assert_eq!(server.state(), State::Draining);
    let mut out = Vec::new();
    assert!(server.transmit(&mut out, &mut || KEY));
    server.handle_flushed();
    assert_eq!(server.state(), State::Ended);
    assert_eq!(server.closed().cause, Cause::Handshake);
}

/// A connection that has transmitted its Close frame.
fn closing(role: Role) -> Connection {
    let mut connection = open(role);
    connection.close(Close::with_reason(CloseCode::GOING_AWAY, "bye").unwrap(), NOW);
    let mut out = Vec::new();
    assert!(connection.wants_transmit());
    assert!(connection.transmit(&mut out, &mut || KEY));
    assert_eq!(out, frame(!role, 0x88, &body(1001, b"bye")));
    connection.close(CloseCode::NORMAL.into(), NOW);
    assert!(!connection.wants_transmit());
    assert_eq!(connection.state(), State::Closing);
    connection
}

#[test]
fn data_after_our_close_is_checked_and_dropped() {
    for role in BOTH {
        let make = || closing(role);
        let data = [
            frame(role, 0x82, b"late"),
            frame(role, 0x01, "é".as_bytes()),
            frame(role, 0x89, b"still there?"),
            frame(role, 0x80, b""),
        ]
        .concat();
        let log = check_with(make, &data);
        // RFC 6455 section 5.5.2 requires the pong as long as no Close frame has been received.
        assert_eq!(log.received, [Received::Ping(b"still there?".to_vec())]);
        assert_eq!(log.output, frame(!role, 0x8a, b"still there?"));
        assert_eq!(log.state, State::Closing);

        let log = check_with(make, &[&data[..], &frame(role, 0x88, &body(1001, b""))].concat());
        assert_eq!(log.received.last(), Some(&Received::Close(Some(1001), String::new())));
        assert_eq!(log.state, State::Draining);
        assert_eq!((log.closed.initiator, log.closed.cause), (Initiator::Local, Cause::Handshake));
        assert_eq!(log.closed.sent, Some(Close::with_reason(CloseCode::GOING_AWAY, "bye").unwrap()));
        assert_eq!(log.closed.received, Some(CloseCode::GOING_AWAY.into()));

        let log = check_with(make, &frame(role, 0x81, b"\xff"));
        assert_eq!(log.closed.cause, Cause::Violation(V::TextNotUtf8));
        assert!(log.output.is_empty(), "there is only one Close frame");
    }
}

#[test]
fn closing_in_the_middle_of_a_message_drops_its_rest() {
    for role in BOTH {
        let mut recorder = Recorder::new(open(role), Way::Usual);
        let stream = frame(role, 0x82, b"begun and dropped");
        recorder.read(&stream[..stream.len() - 7]);
        recorder.connection.close(Close::empty(), NOW);
        recorder.read(&stream[stream.len() - 7..]);
        recorder.read(&frame(role, 0x82, b"more"));
        let log = recorder.finish();
        assert_eq!((log.received, log.unfinished), (vec![], b"begun and ".to_vec()));
    }
}

#[test]
fn crossing_close_frames_need_no_answer() {
    for role in BOTH {
        let mut connection = open(role);
        connection.close(CloseCode::NORMAL.into(), NOW);
        // Ours is still queued when the peer's arrives.
        let log = check_once(connection, &frame(role, 0x88, &body(4000, b"me first")));
        assert_eq!(log.output, frame(!role, 0x88, &body(1000, b"")));
        assert_eq!(log.closed.initiator, Initiator::Local);
        assert_eq!(log.closed.code_seen(), 4000);
    }
}

fn check_once(connection: Connection, stream: &[u8]) -> Log {
    feed(connection, Way::Usual, [stream])
}

#[test]
fn ct04_a_peer_that_does_not_answer_is_dropped_at_the_deadline() {
    for role in BOTH {
        let mut connection = closing(role);
        let deadline = NOW + ProtocolLimits::default().close_timeout;
        assert_eq!(connection.next_deadline(), Some(deadline));
        // A flood does not move the deadline.
        let mut recorder = Recorder::new(connection, Way::Usual);
        recorder.read(&frame(role, 0x82, b"flood").repeat(100));
        connection = recorder.connection;
        connection.receive_done(deadline);
        connection.handle_timeout(Instant::from_nanos(deadline.as_nanos() - 1));
        assert_eq!(connection.state(), State::Closing);
        connection.handle_timeout(deadline);
        assert_eq!(connection.state(), State::Ended);
        assert_eq!(connection.closed().cause, Cause::Timeout(Timeout::Close));
        assert_eq!(connection.closed().code_seen(), 1006);
        assert_eq!(connection.next_deadline(), None);
    }
}

#[test]
fn the_deadline_of_draining_starts_at_the_end_of_the_read() {
    for role in BOTH {
        let mut recorder = Recorder::new(open(role), Way::Usual);
        // It is not the one of the keepalive ping before it.
        let silence = recorder.connection.next_deadline().unwrap();
        recorder.connection.handle_timeout(silence);
        recorder.read(&[0xff]);
        assert_eq!(recorder.connection.next_deadline(), Some(NOW + ProtocolLimits::default().close_timeout));
        // A flood does not move it either.
        recorder.connection.receive_done(NOW + Duration::from_secs(1));
        recorder.connection.handle_timeout(NOW + ProtocolLimits::default().close_timeout);
        assert_eq!(recorder.connection.state(), State::Ended);
        assert_eq!(recorder.connection.closed().cause, Cause::Violation(V::ReservedBit));
    }
}

#[test]
fn draining_drops_a_queued_ping_and_keeps_a_queued_pong() {
    let mut server = open(Role::Server);
    server.ping(ControlPayload::EMPTY).unwrap();
    let stream = [frame(Role::Server, 0x89, b"?"), frame(Role::Server, 0x88, b"")].concat();
    let mut buffer = [&[0; HEADROOM][..], &stream].concat();
    let mut input = Input::new(&mut buffer, HEADROOM);
    while server.receive(&mut input).unwrap().is_some() {}
    let mut out = Vec::new();
    server.transmit(&mut out, &mut || unreachable!());
    assert_eq!(out, [frame(Role::Client, 0x8a, b"?"), frame(Role::Client, 0x88, b"")].concat());
}

#[test]
fn ct05_only_the_newest_pong_is_queued() {
    let mut connection = open(Role::Server);
    for n in 0..1000u32 {
        let mut buffer = [&[0; HEADROOM][..], &frame(Role::Server, 0x89, &n.to_be_bytes())].concat();
        connection.receive(&mut Input::new(&mut buffer, HEADROOM)).unwrap();
        let mut buffer = [&[0; HEADROOM][..], &frame(Role::Server, 0x8a, b"unasked")].concat();
        assert_eq!(connection.receive(&mut Input::new(&mut buffer, HEADROOM)), Ok(Some(Event::Pong(b"unasked"))));
    }
    let mut out = Vec::new();
    connection.transmit(&mut out, &mut || unreachable!());
    assert_eq!(out, frame(Role::Client, 0x8a, &999u32.to_be_bytes()));
    assert!(!connection.wants_transmit());
}

#[test]
fn eof_without_a_close_frame_is_abnormal() {
    for role in BOTH {
        let mut connection = open(role);
        connection.handle_eof();
        let closed = connection.closed();
        assert_eq!((closed.initiator, closed.cause, closed.code_seen()), (Initiator::Neither, Cause::Eof, 1006));
        assert_eq!(connection.state(), State::Ended);

        let mut connection = closing(role);
        connection.handle_reset();
        connection.handle_eof();
        assert_eq!((connection.closed().cause, connection.state()), (Cause::Reset, State::Ended));

        // Some peers end with a reset after both Close frames. It changes nothing.
        let mut recorder = Recorder::new(open(role), Way::Usual);
        recorder.read(&frame(role, 0x88, b""));
        recorder.connection.handle_reset();
        assert_eq!((recorder.connection.closed().cause, recorder.connection.state()), (Cause::Handshake, State::Ended));

        let mut connection = open(role);
        connection.ping(ControlPayload::EMPTY).unwrap();
        connection.close(Close::empty(), NOW);
        connection.abort(Cause::Overflow);
        assert_eq!(connection.closed().cause, Cause::Overflow);
        assert!(!connection.wants_transmit(), "the transport is gone");
        assert_eq!(feed(connection, Way::Usual, [&frame(role, 0x82, b"x")[..]]).received, []);
    }
}
