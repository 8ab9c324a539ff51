//! Histories whose reading is cut short: all that was there is told, or that some is missing.

use sockeye_hub::backplane::{Backplane, Event, Loaded, Position};
use sockeye_nats::{History, Nats};

use crate::driver::{Hub, text_of};
use crate::scripted::{SIZES, Scripted, places, reading, ready_with_history, republished, stream};
use crate::server::Server;

/// With messages 4 and 8 of `t`.
const TWO_OF_NINE: &str = r#""first_seq":1,"last_seq":9,"subjects":{"sockeye.in.t":2}"#;

/// What a consumer gives: its `count`th message, with how many behind it.
fn given(sid: u64, sequence: u64, count: u64, pending: u64) -> String {
    format!("MSG sockeye.in.t {sid} $JS.ACK.SOCKEYE.c.1.{sequence}.{count}.17.{pending} 1\r\nb\r\n")
}

/// What ends a batch.
fn status(sid: u64, text: &str) -> String {
    let headers = format!("NATS/1.0 {text}\r\n\r\n");
    format!("HMSG _INBOX.x {sid} {0} {0}\r\n{headers}\r\n", headers.len())
}

fn loaded(events: &[Event]) -> &Loaded {
    let [Event::Subscribed { history: Some(loaded), .. }] = events else { panic!("{events:?}") };
    loaded
}

fn offsets(loaded: &Loaded) -> Vec<u64> {
    loaded.messages.iter().map(|message| message.offset).collect()
}

/// What a refused subscription says.
fn reason(events: &[Event]) -> &str {
    let [Event::Unsubscribed { reason, .. }] = events else { panic!("{events:?}") };
    reason
}

/// Answers questions about the bounds and for a consumer.
fn begin_again(scripted: &mut Scripted) {
    scripted.answers("", &stream(TWO_OF_NINE)).unwrap();
    scripted.answers("", r#"{"name":"c"}"#).unwrap();
}

#[test]
fn a_consumer_that_stops_is_not_at_its_end() {
    for text in [
        "503",
        "409 Leadership Change",
        "409 Consumer Deleted",
        "409 Message Size Exceeds MaxBytes",
        "408 Request Timeout",
        // There was one more.
        "404 No Messages",
    ] {
        for size in SIZES {
            let mut scripted = reading(size);
            for sid in 3..6 {
                scripted.said();
                scripted.hears(given(sid, 4, 1, 1).as_bytes()).unwrap();
                // It has given something, so it is asked for more.
                scripted.hears(status(sid, text).as_bytes()).unwrap();
                assert!(scripted.said().contains("$JS.API.CONSUMER.MSG.NEXT.SOCKEYE.c "), "{text}");
                assert_eq!(scripted.happened(), [], "{text}");
                scripted.hears(status(sid, text).as_bytes()).unwrap();
                if sid < 5 {
                    assert_eq!(scripted.happened(), [], "{text}");
                    begin_again(&mut scripted);
                }
            }
            let events = scripted.happened();
            assert!(reason(&events).contains(text), "{events:?}");
            let said = scripted.said();
            assert!(said.contains("UNSUB 2\r\n") && said.contains("CONSUMER.DELETE"), "{said}");
        }
    }
}

#[test]
fn another_consumer_reads_what_one_has_not() {
    let mut scripted = reading(7);
    scripted.hears(given(3, 4, 1, 1).as_bytes()).unwrap();
    for _ in 0..2 {
        scripted.hears(status(3, "409 Leadership Change").as_bytes()).unwrap();
    }
    scripted.hears(republished(2, 10, 8, "live").as_bytes()).unwrap();
    begin_again(&mut scripted);
    for (sequence, count, pending) in [(4, 1, 1), (8, 2, 0)] {
        scripted.hears(given(4, sequence, count, pending).as_bytes()).unwrap();
    }
    let events = scripted.happened();
    assert_eq!((offsets(loaded(&events[..1])), loaded(&events[..1]).is_complete), (vec![4, 8], true));
    assert_eq!(places(&events[1..]), [(10, 8)]);
}

#[test]
fn messages_that_come_twice_are_passed_over() {
    // Another server leads the consumer, and begins before the one that has gone.
    let mut scripted = reading(100);
    for (sequence, count, pending) in [(4, 1, 1), (4, 1, 1), (8, 2, 0)] {
        assert_eq!(scripted.happened(), []);
        scripted.hears(given(3, sequence, count, pending).as_bytes()).unwrap();
    }
    let events = scripted.happened();
    assert_eq!((offsets(loaded(&events)), loaded(&events).is_complete), (vec![4, 8], true));
}

#[test]
fn a_message_that_is_lost_on_its_way_is_a_hole() {
    const FOUR: &str = r#""first_seq":1,"last_seq":9,"subjects":{"sockeye.in.t":4}"#;
    const HERE: &str = r#"{"message":{}}"#;
    let begin = |given_ones: &[(u64, u64, u64)]| {
        let mut scripted = ready_with_history(100);
        let after = Some(Position { epoch: 5, offset: 4 });
        scripted.act(|nats, io| nats.subscribe("t", after, io)).unwrap();
        scripted.answers("", &stream(FOUR)).unwrap();
        scripted.answers("", r#"{"name":"c"}"#).unwrap();
        for (sequence, count, pending) in given_ones {
            assert_eq!(scripted.happened(), []);
            scripted.hears(given(3, *sequence, *count, *pending).as_bytes()).unwrap();
        }
        scripted
    };
    // The third, or the first.
    for (given_ones, expected, base, is_complete) in [
        (&[(3, 1, 3), (4, 2, 2), (8, 4, 0)][..], &[8][..], 7, false),
        (&[(4, 2, 2), (6, 3, 1), (8, 4, 0)], &[4, 6, 8], 3, true),
    ] {
        let mut scripted = begin(given_ones);
        scripted.answers("", HERE).unwrap();
        let events = scripted.happened();
        let loaded = loaded(&events);
        assert_eq!((offsets(loaded), loaded.base.offset, loaded.is_complete), (expected.to_vec(), base, is_complete));
        assert_eq!(loaded.messages[0].previous, base);
    }
    // The last, which shows by one behind it that is not asked for.
    let mut scripted = begin(&[(3, 1, 3), (4, 2, 2), (6, 3, 1), (11, 5, 0)]);
    let events = scripted.happened();
    assert_eq!((offsets(loaded(&events)), loaded(&events).is_complete), (vec![], false));
    scripted.hears(republished(2, 10, 8, "live").as_bytes()).unwrap();
    assert_eq!(places(&scripted.happened()), [(10, 9)]);
}

#[test]
fn a_hole_shows_when_a_topic_catches_up() {
    let mut scripted = ready_with_history(100);
    scripted.act(|nats, io| nats.subscribe("t", None, io)).unwrap();
    scripted.answers("", &stream(r#""first_seq":0,"last_seq":0"#)).unwrap();
    scripted.hears(republished(2, 1, 0, "a").as_bytes()).unwrap();
    scripted.hears(republished(2, 8, 6, "b").as_bytes()).unwrap();
    assert_eq!(places(&scripted.happened()[1..]), [(1, 0)]);
    for _ in 0..65 {
        scripted.answers("", &stream(r#""first_seq":1,"last_seq":9,"subjects":{"sockeye.in.t":4}"#)).unwrap();
    }
    scripted.answers("", r#"{"name":"c"}"#).unwrap();
    // The third is lost, and another is left.
    for (sequence, count, pending) in [(1, 1, 3), (3, 2, 2), (8, 4, 0)] {
        scripted.hears(given(3, sequence, count, pending).as_bytes()).unwrap();
    }
    scripted.answers("", r#"{"message":{}}"#).unwrap();
    assert_eq!(places(&scripted.happened()), [(8, 7)]);
}

#[test]
fn a_batch_that_is_full_has_an_end_that_says_nothing_of_the_next() {
    // nats-server 2.9.16 tells the end of each batch that could have had more bytes.
    let mut scripted = ready_with_history(10_000);
    scripted.act(|nats, io| nats.subscribe("t", None, io)).unwrap();
    scripted.answers("", &stream(r#""first_seq":1,"last_seq":1025,"subjects":{"sockeye.in.t":1025}"#)).unwrap();
    scripted.answers("", r#"{"name":"c"}"#).unwrap();
    for sequence in 1..=1024 {
        scripted.said();
        scripted.hears(given(3, sequence, sequence, 1025 - sequence).as_bytes()).unwrap();
    }
    assert!(scripted.said().contains("CONSUMER.MSG.NEXT"));
    scripted.hears(status(3, "409 Batch Completed").as_bytes()).unwrap();
    assert_eq!((scripted.said().as_str(), scripted.happened()), ("", vec![]));
    scripted.hears(given(3, 1025, 1025, 0).as_bytes()).unwrap();
    assert_eq!(offsets(loaded(&scripted.happened())).len(), 1025);
}

#[test]
fn a_message_behind_the_last_one_known_is_read() {
    // The server that leads the consumer does not know of 8 yet.
    let mut scripted = reading(100);
    scripted.hears(given(3, 4, 1, 0).as_bytes()).unwrap();
    scripted.answers("", r#"{"message":{"seq":4}}"#).unwrap();
    let events = scripted.happened();
    assert_eq!((offsets(loaded(&events)), loaded(&events).offset), (vec![4], 4));
    scripted.hears(republished(2, 10, 8, "live").as_bytes()).unwrap();
    for _ in 0..65 {
        assert_eq!(scripted.happened(), []);
        scripted.answers("", &stream(r#""first_seq":1,"last_seq":10,"subjects":{"sockeye.in.t":3}"#)).unwrap();
    }
    scripted.answers("", r#"{"name":"c"}"#).unwrap();
    for (sequence, count, pending) in [(4, 1, 2), (8, 2, 1), (10, 3, 0)] {
        scripted.hears(given(4, sequence, count, pending).as_bytes()).unwrap();
    }
    scripted.answers("", r#"{"message":{"seq":4}}"#).unwrap();
    assert_eq!(places(&scripted.happened()), [(8, 4), (10, 8)]);
}

#[test]
fn what_is_no_message_and_no_status_ends_nothing() {
    let mut scripted = reading(100);
    scripted.said();
    scripted.hears(b"MSG x 3 4\r\njunk\r\n").unwrap();
    scripted.hears(b"MSG x 3 $JS.ACK.x 4\r\njunk\r\n").unwrap();
    assert_eq!((scripted.said().as_str(), scripted.happened()), ("", vec![]));
}

#[test]
fn a_broker_with_smaller_batches_is_asked_for_those() {
    for (text, expected) in
        [("Exceeded MaxRequestBatch of 100", "\"batch\":100,"), ("Exceeded MaxRequestBatch", "\"batch\":256,")]
    {
        let mut scripted = reading(100);
        scripted.said();
        scripted.hears(status(3, &format!("409 {text}")).as_bytes()).unwrap();
        let said = scripted.said();
        assert!(said.contains("$JS.API.CONSUMER.MSG.NEXT.SOCKEYE.c ") && said.contains(expected), "{said}");
        for (sequence, count, pending) in [(4, 1, 1), (8, 2, 0)] {
            assert_eq!(scripted.happened(), []);
            scripted.hears(given(3, sequence, count, pending).as_bytes()).unwrap();
        }
        assert_eq!(offsets(loaded(&scripted.happened())), [4, 8]);
        // The next topic begins with them.
        scripted.act(|nats, io| nats.subscribe("t", None, io)).unwrap();
        begin_again(&mut scripted);
        assert!(scripted.said().contains(expected));
    }
    // One that does not want even that says so to people.
    let mut scripted = reading(100);
    for most in [7, 1, 0] {
        scripted.hears(status(3, &format!("409 Exceeded MaxRequestBatch of {most}")).as_bytes()).unwrap();
    }
    for sid in 4..6 {
        begin_again(&mut scripted);
        scripted.hears(status(sid, "409 Exceeded MaxRequestBatch of 0").as_bytes()).unwrap();
    }
    let events = scripted.happened();
    assert!(reason(&events).contains("409 Exceeded MaxRequestBatch of 0"), "{events:?}");
}

#[test]
fn histories_are_read_from_a_server_with_small_batches() {
    let server = Server::start("jetstream { store_dir: \"STORE\", limits { max_request_batch: 10 } }");
    let nats = Nats::new("nats://127.0.0.1").unwrap().history(History::new(100)).unwrap();
    let mut hub = Hub::connect(nats, server.address);
    for topic in ["a", "b"] {
        for number in 0..35 {
            hub.publish(topic, &number.to_string());
        }
        let loaded = hub.subscribe(topic).unwrap();
        let texts: Vec<String> = loaded.messages.iter().map(text_of).collect();
        assert_eq!(texts, (0..35).map(|number| number.to_string()).collect::<Vec<_>>());
    }
}
