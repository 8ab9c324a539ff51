//! A server whose bytes go through the transform that stands for TLS: what the loop must do where the bytes of the socket
//! and those of the protocol are not the same.

use std::time::Duration;

use sockeye::Limits;
use sockeye::proto::close::Cause;
use sockeye::sim::{Fault, Faults, PeerEnd};
use sockeye_testing::server::{Bench, Heard};

const SEED: u64 = 7;
/// More than two records.
const LONG: [u8; 2100] = [5; 2100];

fn frames(texts: &[&str]) -> Vec<u8> {
    let frame = |text: &&str| [&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0], text.as_bytes()].concat();
    texts.iter().flat_map(frame).collect()
}

fn set_window(bench: &Bench, client: usize, bytes: usize) {
    bench.clients[client].peer.as_ref().unwrap().set_window(bytes);
}

#[test]
fn records_that_arrive_byte_by_byte_are_put_together() {
    let mut bench = Bench::scrambled(Faults::none().with_segment(1), Limits::default(), SEED);
    let client = bench.open_echo();
    bench.clients[client].binary(&LONG);
    bench.until(|bench| bench.replies(client) == 1);
    assert_eq!(bench.clients[client].heard, [Heard::Binary(LONG.to_vec())]);
    bench.close(client);
    bench.finish();
}

/// The socket is drained by the first read, and no edge comes for what is opened and not delivered.
#[test]
fn a_record_larger_than_the_budget_of_a_turn_is_delivered_to_its_end() {
    let mut limits = Limits::default();
    limits.turn_bytes = 64;
    let mut bench = Bench::scrambled(Faults::none(), limits, SEED);
    let client = bench.open_echo();
    bench.clients[client].binary(&LONG);
    let begin = bench.turns;
    bench.until(|bench| bench.replies(client) == 1);
    assert_eq!(bench.clients[client].heard, [Heard::Binary(LONG.to_vec())]);
    assert!(bench.turns - begin > LONG.len() / 64, "a turn read more than its budget");
    bench.close(client);
    bench.finish();
}

#[test]
fn an_end_inside_a_record_ends_the_connection_and_the_record_is_never_seen() {
    let mut bench = Bench::scrambled(Faults::none(), Limits::default(), SEED);
    let client = bench.open();
    bench.clients[client].text("whole");
    bench.clients[client].shutdown_inside_record();
    bench.until(|bench| bench.closed(client).is_some());
    assert_eq!(bench.closed(client).unwrap().cause, Cause::Eof);
    assert_eq!(bench.notes(client).received.len(), 1);
    bench.finish();
}

/// All of the answer is sealed and none of it is queued, but the socket took only a part.
#[test]
fn a_close_waits_until_the_socket_has_taken_the_last_record() {
    let mut bench = Bench::scrambled(Faults::none().with_buffers(50, 50), Limits::default(), SEED);
    let client = bench.connect();
    set_window(&bench, client, 0);
    bench.clients[client].raw(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    bench.pass(Duration::from_secs(1));
    assert_eq!((bench.clients[client].received, bench.clients[client].end()), (0, None));
    set_window(&bench, client, 10);
    bench.until(|bench| bench.clients[client].end().is_some());
    let heard = &bench.clients[client];
    assert_eq!((heard.status, heard.end()), (Some(426), Some(PeerEnd::Finished)));
    assert!(!heard.ended_inside_record(), "the connection was shut before all was sent");
    bench.finish();
}

/// The Close frame is sealed, and the socket has room for its first bytes only.
#[test]
fn our_side_is_not_ended_before_a_sealed_close_frame_is_sent() {
    let mut bench = Bench::scrambled(Faults::none().with_buffers(50, 50), Limits::default(), SEED);
    let client = bench.open();
    set_window(&bench, client, 0);
    // Its reply has 4 bytes more, of which the record's length is one half and the frame's head the other.
    bench.clients[client].text(&"z".repeat(43));
    bench.pass(Duration::from_secs(1));
    // Not masked.
    bench.clients[client].raw(b"\x81\x02hi");
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.clients[client].end(), None);
    set_window(&bench, client, 10);
    bench.until(|bench| bench.clients[client].end().is_some());
    let heard = &bench.clients[client];
    assert_eq!((bench.replies(client), heard.close_heard()), (1, Some(Some(1002))));
    assert_eq!((heard.end(), heard.ended_inside_record()), (Some(PeerEnd::Finished), false));
    bench.finish();
}

/// The connection lingers from the peer's end on; nothing is queued, and a part of the last record waits for the socket.
#[test]
fn a_peer_that_ended_its_side_gets_the_last_record_whole() {
    let mut bench = Bench::scrambled(Faults::none().with_buffers(50, 50), Limits::default(), SEED);
    let client = bench.open();
    set_window(&bench, client, 0);
    bench.clients[client].text(&"z".repeat(60));
    bench.pass(Duration::from_secs(1));
    bench.clients[client].shutdown();
    bench.until(|bench| bench.closed(client).is_some());
    bench.pass(Duration::from_secs(1));
    set_window(&bench, client, 10);
    bench.until(|bench| bench.clients[client].end().is_some());
    let heard = &bench.clients[client];
    assert_eq!((heard.end(), heard.ended_inside_record()), (Some(PeerEnd::Finished), false));
    assert_eq!(bench.replies(client), 1);
    bench.finish();
}

/// An interrupted send says nothing about the room in the socket, and no edge follows it.
#[test]
fn interrupted_calls_lose_and_delay_nothing() {
    let faults = Faults::none().with(Fault::Interrupted, 500).with_buffers(3000, 3000);
    let mut bench = Bench::scrambled(faults, Limits::default(), SEED);
    let client = bench.open_echo();
    for _ in 0..20 {
        bench.clients[client].binary(&LONG);
    }
    bench.until(|bench| bench.replies(client) == 20);
    assert!(bench.clients[client].messages().all(|heard| *heard == Heard::Binary(LONG.to_vec())));
    assert_eq!(bench.time(), Duration::ZERO);
    bench.close(client);
    bench.finish();
}

#[test]
fn what_is_opened_while_reading_is_paused_is_kept_and_hides_nothing_behind_it() {
    for turn_bytes in [64, 64 << 10] {
        let mut limits = Limits::default();
        limits.turn_bytes = turn_bytes;
        let mut bench = Bench::scrambled(Faults::none(), limits, SEED);
        let client = bench.open();
        let texts = ["!pause 300", "first", &"x".repeat(120), "last"];
        bench.clients[client].raw(&frames(&texts));
        bench.pass(Duration::from_millis(200));
        assert_eq!((bench.notes(client).received.len(), bench.replies(client)), (1, 0), "it was read while paused");
        // Its edge comes before what is opened is read, and no other follows.
        bench.clients[client].raw(&frames(&["behind"]));
        bench.until(|bench| bench.replies(client) == 4);
        let expected = texts[1..].iter().chain(&["behind"]).map(|text| Heard::Text((*text).to_owned()));
        assert_eq!(bench.clients[client].heard, expected.collect::<Vec<_>>());
        bench.close(client);
        bench.finish();
    }
}

/// A record is sealed for each connection by itself, whatever messages they share.
#[test]
fn published_messages_reach_all_whoever_reads_late() {
    let mut bench = Bench::scrambled(Faults::none().with_buffers(1000, 1000), Limits::default(), SEED);
    let clients = [bench.open(), bench.open(), bench.open()];
    let late = clients[2];
    set_window(&bench, late, 0);
    bench.deaf.push(late);
    let text = "y".repeat(600);
    for number in 0..20 {
        // The streams of two connections are at different places.
        bench.clients[clients[0]].text("to itself");
        bench.clients[clients[0]].text(&format!("!pub {number} {text}"));
    }
    let published = |bench: &Bench, client: usize| {
        let texts = bench.clients[client].messages().filter_map(|heard| match heard {
            Heard::Text(text) => text.strip_prefix("\u{1}p0:").map(str::to_owned),
            _ => None,
        });
        texts.collect::<Vec<_>>()
    };
    bench.until(|bench| clients[..2].iter().all(|client| published(bench, *client).len() == 20));
    set_window(&bench, late, 500);
    bench.deaf.clear();
    bench.until(|bench| published(bench, late).len() == 20);
    let expected: Vec<_> = (0..20).map(|number| format!("{}:{number} {text}", number + 1)).collect();
    for client in clients {
        assert!(published(&bench, client) == expected, "client {client} heard something else");
        bench.close(client);
    }
    bench.finish();
}
